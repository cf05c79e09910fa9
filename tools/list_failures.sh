#!/bin/sh
# Print the failing cases as tests/suite/known_failures.txt has them. usage: list_failures.sh BUILD CASES
set -eu
for kind in node simple light pytorch-operator pytorch-converted; do
    [ -d "$2/$kind" ] || continue
    "$1/tests/node_suite" "$2/$kind" 2>/dev/null | sed -nE 's/^FAIL ([^:]+): (.*)$/\1: \2/p'
done
