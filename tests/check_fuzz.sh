#!/bin/sh
# Fuzz targets, shortly: the inputs of seeds/ and found/ by every build; with clang 2000 more that
# libFuzzer makes of them, the same ones each time.
#   tests/check_fuzz.sh [replay]        replay: the former only
. tests/lib.sh
BUILD=${BUILD:-build}
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=detect_leaks=1
export LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0
targets=$(ls tests/fuzz/*.c | sed 's|.*/||; s|[.]c$||' | grep -Ev '^(support|replay)$')

for t in $targets; do
    # shellcheck disable=SC2046 (names without blanks)
    ok "$t: seeds and what was found" "$BUILD/tests/fuzz/$t" \
        $(ls -d "tests/fuzz/seeds/$t" "tests/fuzz/found/$t" 2>/dev/null)
done
[ "${1:-}" != replay ] || finish

if ! command -v clang > /dev/null; then
    if [ -n "${CI:-}" ]; then fail "clang is not there" "make deps"; else skip "no clang"; fi
    finish
fi
ok "the targets build under clang" make fuzzers
for t in $targets; do
    runs=2000; [ "$t" != process ] || runs=300
    mkdir "$WORK/$t"                    # the first folder is where libFuzzer puts what it makes
    # shellcheck disable=SC2046
    ok "$t: $runs runs" "build-fuzz/tests/fuzz/$t" -runs=$runs -seed=1 -timeout=20 \
        -malloc_limit_mb=64 -rss_limit_mb=2048 -max_len=4096 -artifact_prefix="$WORK/" \
        "$WORK/$t" $(ls -d "tests/fuzz/seeds/$t" "tests/fuzz/found/$t" 2>/dev/null)
done
finish
