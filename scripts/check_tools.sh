#!/bin/sh
# check_tools.sh GO CC: says in one sentence what is missing to build the library, before a compiler's own words would have to be
# understood. Called by make, in the repository.
set -eu

go=$1
cc=$2

fail() {
    echo "$1" >&2
    exit 1
}

need=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
command -v "$go" >/dev/null ||
    fail "Go $need or newer is needed, and there is no '$go' on the PATH: install Go, or name it with GO=..."
# Outside the module: an old Go that is asked inside it answers with an error.
have=$(cd / && "$go" env GOVERSION | sed -n 's/^.*go\([0-9]*\.[0-9]*\).*/\1/p')
[ "$(printf '%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ] ||
    fail "Go $need or newer is needed, and '$go' is Go ${have:-of an unknown version}: install a newer one, or name it with GO=..."

# CC may hold more than a name: options, or a wrapper before the compiler.
command -v "${cc%% *}" >/dev/null ||
    fail "A C compiler is needed, and there is no '${cc%% *}' on the PATH: install gcc, or name another with CC=..."
# shellcheck disable=SC2086
machine=$($cc -dumpmachine)
case $machine in
*musl*) fail "'$cc' builds for musl, which cannot load a Go library into a running process, as every fork of this library does." ;;
*linux*) ;;
*) fail "'$cc' builds for $machine, and the library needs Linux with glibc: name another compiler with CC=..." ;;
esac
