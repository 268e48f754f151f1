#!/bin/sh
# Fuzzes target after target and prints a line of figures each; exit 1 if anything was found.
#   sh tests/fuzz/run.sh SECONDS [TARGET...]     after `make fuzzers`; see docs/fuzzing.md
# What is interesting is kept in build-fuzz/corpus/, what was found in build-fuzz/findings/.
seconds=${1:-60}; shift
BUILD=build-fuzz
[ $# -gt 0 ] ||
    set -- $(ls tests/fuzz/*.c | sed 's|.*/||; s|[.]c$||' | grep -Ev '^(support|replay)$')
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0
# A file in memory is some KB: no run may take 10 s, one allocation 64 MiB or all of them 2 GiB.
limits="-timeout=10 -malloc_limit_mb=64 -rss_limit_mb=2048 -max_len=4096"
found=0
mkdir -p "$BUILD/findings"
printf '%-12s %8s %12s %10s %8s  %s\n' target seconds executions coverage inputs found
for t in "$@"; do
    corpus=$BUILD/corpus/$t log=$BUILD/findings/$t.log began=$(date +%s)
    mkdir -p "$corpus" "tests/fuzz/found/$t"
    dict=tests/fuzz/json.dict; [ ! -e "tests/fuzz/$t.dict" ] || dict=tests/fuzz/$t.dict
    # shellcheck disable=SC2086 (limits are several arguments)
    "$BUILD/tests/fuzz/$t" $limits -dict=$dict -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="$BUILD/findings/$t-" "$corpus" "tests/fuzz/seeds/$t" \
        "tests/fuzz/found/$t" > "$log" 2>&1 < /dev/null
    code=$?
    rmdir "tests/fuzz/found/$t" 2>/dev/null
    said=nothing
    if [ $code -ne 0 ]; then
        found=1 said="exit $code: $(sed -n 's/^SUMMARY: //p' "$log" | head -n 1)"
    fi
    printf '%-12s %8d %12d %10d %8d  %s\n' "$t" $(($(date +%s) - began)) \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)" \
        "$(ls "$corpus" | wc -l)" "$said"
done
exit $found
