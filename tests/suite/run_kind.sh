#!/bin/sh
# usage: run_kind.sh NODE_SUITE KIND KNOWN_FAILURES; exit 77 (skipped) where the cases are absent.
set -eu
cases=${HONE_CASES:-}
if [ -z "$cases" ] || [ ! -d "$cases/$2" ]; then
    echo "skipped: no cases of kind $2; 'make test' makes them (HONE_CASES names the folder)"
    exit 77
fi
exec "$1" "$cases/$2" --expect "$3"
