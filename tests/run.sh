#!/bin/sh
# Runs the tests and closes with "N passed, N failed, N skipped".
#   tests/run.sh unit     programs of one process, seconds
#   tests/run.sh all      those, programs under mpirun, goldens, shell tests
. tests/lib.sh
what=${1:-all}
BUILD=${BUILD:-build}
export BUILD CMOCKA_MESSAGE_OUTPUT=tap
logs=$BUILD/log
mkdir -p "$logs"
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0

# count LOG CODE NAME: adds up what the program printed; a crash is one failure
count() {
    p=$(grep -c '^ok [0-9]* - ' "$1"); s=$(grep -c '# SKIP' "$1"); \
        f=$(grep '^not ok ' "$1" | grep -vc '# SKIP')
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -n 1)
    if [ -n "$line" ]; then
        p=${line%% passed*}; f=${line#*passed, }; f=${f%% failed*}; s=0
        case $line in *skipped) s=${line#*failed, }; s=${s%% skipped*} ;; esac
    fi
    [ "$2" -eq 0 ] || [ "$f" -gt 0 ] || f=1
    [ "$p" -gt 0 ] || [ "$f" -gt 0 ] || [ "$s" -gt 0 ] ||
        f=1       # a program without a test is a mistake
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -gt 0 ]; then
        echo "FAILED $3: $p passed, $f failed, $s skipped"
        grep -vE '^(ok|1\.\.)' "$1" | tail -n 30 | sed 's/^/    /'
    else
        echo "ok     $3: $p passed$([ "$s" -eq 0 ] || echo ", $s skipped")"
    fi
}

# program NAME COMMAND...
program() {
    label=$1; shift
    log=$logs/$(echo "$label" | tr ' /' '__').log
    "$@" > "$log" 2>&1
    count "$log" $? "$label"
}

for t in tests/test_*.c; do
    name=$(basename "$t" .c)
    program "$name" "$BUILD/tests/$name"
done
program lint sh tests/test_lint.sh
program "fuzz replay" sh tests/check_fuzz.sh replay
if [ "$what" = all ]; then
    export ASAN_OPTIONS=detect_leaks=0          # Open MPI leaks by itself
    for t in tests/mpi_*.c; do
        name=$(basename "$t" .c)
        for n in 1 2 3 4; do program "$name on $n" mpirun -np $n "$BUILD/tests/$name"; done
    done
    program goldens sh tests/check_goldens.sh
    for t in commands doctor rps eval input health bits hashes resume damage algorithms \
        reward_model pareto oracle submit bench bench_cuda trace overlap gpu nccl; do
        program "check_$t" sh tests/check_$t.sh
    done
    program "check_cuda, rehearsed" env EMULATED=1 SHORT=1 sh tests/check_cuda.sh
    program fuzz sh tests/check_fuzz.sh
    program "chaos" sh tests/chaos/kill.sh 12
    program "faults" sh tests/chaos/faults.sh
    program "chaos on hosts" sh tests/chaos/hosts.sh
    program "chaos under Slurm" sh tests/chaos/slurm.sh
fi
finish
