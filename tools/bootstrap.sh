#!/bin/sh
# Install what a bare Debian 12 lacks. usage: bootstrap.sh build|python
# Does nothing, and needs no rights, where everything is there.
set -eu
need=""
have() { command -v "$1" >/dev/null 2>&1; }
case "${1:-build}" in
build)
    have gcc || have cc || need="$need gcc libc6-dev"
    have cmake || need="$need cmake"
    have ninja || need="$need ninja-build"
    ;;
python)
    have python3 || need="$need python3"
    python3 -c 'import venv, ensurepip' 2>/dev/null || need="$need python3-venv"
    ;;
esac
[ -z "$need" ] && exit 0
if [ "$(id -u)" != 0 ] && ! have sudo; then
    echo "hone: missing:$need. Install these packages, or run as root." >&2
    exit 1
fi
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
echo "installing$need" >&2
export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of words
as_root apt-get install -y -qq --no-install-recommends $need >/dev/null
