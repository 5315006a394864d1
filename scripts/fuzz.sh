#!/bin/sh
# fuzz.sh TIME: runs every fuzz test of the module for TIME each, as in 10s or 10m. They are found by asking the packages, so a
# new one is not forgotten. Called by make fuzz, in the repository; GO names the go command.
set -eu

time=${1-}
go=${GO:-go}
case $time in
*[0-9]h | *[0-9]m | *[0-9]s) ;;
*)
    echo "usage: fuzz.sh TIME, where TIME is how long each fuzz test is to run, as in 10s or 10m" >&2
    exit 2
    ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# fuzz PACKAGE TEST. Where the time ends while a slow input is being run, the go command takes that for a failure, without an input
# that fails: it is none.
fuzz() {
    { "$go" test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "$1" 2>&1 || echo $? >"$scratch/failed"; } | tee "$scratch/log"
    [ -e "$scratch/failed" ] || return 0
    rm "$scratch/failed"
    ! grep -q 'Failing input written' "$scratch/log" && grep -A 1 "^--- FAIL: $2 " "$scratch/log" | grep -q '^ *context deadline exceeded$'
}

# The tests of capi are those of the C library, which they drive as programs: MLN_LIBDIR says where it is.
found=0
packages=$("$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./core/... ./cmd/... ./capi/ctest)
for package in $packages; do
    list=$("$go" test -list '^Fuzz' "$package") || {
        echo "fuzz.sh: the fuzz tests of $package cannot be found" >&2
        exit 1
    }
    for test in $(echo "$list" | grep '^Fuzz' || true); do
        echo "$package $test: $time"
        found=$((found + 1))
        fuzz "$package" "$test"
    done
done
if [ "$found" -eq 0 ]; then
    echo "fuzz.sh: there is no fuzz test; it has to run in the repository" >&2
    exit 1
fi
