#!/bin/sh
# Write docs/operators.md and docs/tflite-operators.md from the tables of a built hone.
# usage: operators.sh [BUILD]
set -eu
cd "$(dirname "$0")/.."
for page in operators tflite_operators; do
  file=docs/$(echo "$page" | tr _ -).md
  "${1:-build}/tests/docs/print_$page" >"$file.new"
  mv "$file.new" "$file"
done
