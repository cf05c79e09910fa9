#!/bin/sh
# Write docs/operators.md from the tables of a built hone. usage: operators.sh [BUILD]
set -eu
cd "$(dirname "$0")/.."
"${1:-build}/tests/docs/print_operators" >docs/operators.md.new
mv docs/operators.md.new docs/operators.md
