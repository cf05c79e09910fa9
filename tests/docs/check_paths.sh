#!/usr/bin/env bash
# Every path in backticks in the documentation that looks like one of the repository exists.
# Patterns (`src/*.c`) must match something; words with placeholders (<isa>, FILE) are passed over.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0
n=0
for file in README.md ARCHITECTURE.md docs/*.md; do
    while read -r path; do
        path=${path%%:*}
        n=$((n + 1))
        if ! compgen -G "${path%/}" >/dev/null; then
            echo "$file: no such path: $path"
            failed=1
        fi
    done < <(grep -oE '`[^`]+`' "$file" | tr -d '`' |
        grep -E '^(src|include|tests|tools|docs|examples|bench|python|\.ci)/[A-Za-z0-9_./*-]*(:.*)?$' | sort -u)
done
if [ "$n" = 0 ]; then
    echo "no path was found: the search is broken"
    failed=1
fi
[ $failed = 0 ] && echo "$n paths: all exist"
exit $failed
