#!/bin/sh
# Crash invariance: a run killed with -9 at random instants, between and during checkpoints, and
# resumed by the same
# line on another number of ranks ends with the bits of a run that was never killed. SEED picks the
# instants.
. tests/lib.sh
seed=${SEED:-7}

# draw LOW HIGH: the next number of a small generator, in hundredths of a second
draw() { seed=$(((seed * 1103515245 + 12345) % 2147483648)); \
    drawn=$(($1 + seed / 65536 % ($2 - $1))); }

# killed RANKS OUT DELAY key=value...: start, wait DELAY hundredths after the folder is there, kill
# every process with -9
killed() {
    n=$1 out=$2 delay=$3; shift 3
    mpirun -np "$n" "$RANKWISE" train tests/bits.cfg output="$out" "$@" >/dev/null 2>&1 &
    pid=$!
    tries=0
    while [ ! -s "$out/log.txt" ] && [ ! -s "$out/metrics.jsonl" ] && [ $tries -lt 300 ] &&
        kill -0 $pid 2>/dev/null; do
        sleep 0.02; tries=$((tries + 1))
    done
    sleep "$(printf '%d.%02d' $((delay / 100)) $((delay % 100)))"
    ranks=$(pgrep -P $pid)
    kill -9 $pid $ranks 2>/dev/null
    wait $pid 2>/dev/null
}

for lag in 0 1; do
    keys="steps=16 max_lag=$lag eval_every=0 checkpoint_every=1"
    ok "lag $lag: never killed" run 1 tests/bits.cfg $keys output="$WORK/whole$lag"
    kills=0 resumed=0
    for n in 2 3 1 4 2 3; do
        draw 1 60
        killed $n "$WORK/torn$lag" $drawn $keys
        kills=$((kills + 1))
        [ -n "$(ls "$WORK/torn$lag/checkpoints" 2>/dev/null)" ] && resumed=$((resumed + 1))
    done
    log=$(run 3 tests/bits.cfg $keys output="$WORK/torn$lag" 2>&1) &&
        pass "lag $lag: finished on 3 ranks after $kills kills, $resumed with a checkpoint" ||
        fail "lag $lag: finished after $kills kills" "$(printf '%s' "$log" | tail -n 3)"
    ok "lag $lag: the same weights, samples and checkpoint" "$RANKWISE" diff "$WORK/whole$lag" \
        "$WORK/torn$lag"
    [ "$(hashes "$WORK/whole$lag")" = "$(hashes "$WORK/torn$lag")" ] &&
        pass "lag $lag: the same hash at every step" ||
        fail "lag $lag: the same hash at every step"
    [ -z "$(ls "$WORK/torn$lag/checkpoints" | grep part)" ] &&
        pass "lag $lag: no half checkpoint is left" ||
        fail "lag $lag: no half checkpoint is left"
done

# asked to stop: state saved, 5, and the same line goes on
for signal in INT TERM USR1; do
    out="$WORK/$signal"
    "$RANKWISE" train tests/bits.cfg output="$out" steps=400 eval_every=0 >/dev/null 2>&1 &
    pid=$!
    tries=0
    while [ ! -s "$out/metrics.jsonl" ] &&
        [ $tries -lt 500 ]; do sleep 0.02; tries=$((tries + 1)); done
    kill -$signal $pid
    wait $pid
    code=$?
    [ $code -eq 5 ] && [ -n "$(ls "$out/checkpoints")" ] &&
        pass "SIG$signal: state saved, exit 5" ||
        fail "SIG$signal: state saved, exit 5" "exit $code"
done
step=$(ls "$WORK/TERM/checkpoints" | sed 's/step-0*\([0-9]*\).h5/\1/' | tail -n 1)
ok "the same line goes on after a stop" run 2 tests/bits.cfg output="$WORK/TERM" \
    steps=$((step + 3)) eval_every=0
touch "$WORK/INT/stop"
run 1 tests/bits.cfg output="$WORK/INT" steps=400 eval_every=0 >/dev/null 2>&1
code=$?
[ $code -eq 5 ] && [ ! -e "$WORK/INT/stop" ] && pass "a stop file: exit 5, and it is taken away" ||
    fail "a stop file: exit 5, and it is taken away" "exit $code"
finish
