#!/bin/sh
# Numbers that go bad: who is named, what is saved, what is skipped and counted, the same on every
# number of ranks and placement and after a resume.  Jumps of the gradient are alarms.
. tests/lib.sh

# Responses with "proud" score what no float holds, none at all, or 1000; others 0.
for score in 1e30 null 1000; do
    cat > "$WORK/$score.sed" <<END
s/^{"id":\([0-9]*\).*"completion":"[^"]*proud.*/{"id":\1,"score":$score}/
t
s/^{"id":\([0-9]*\).*/{"id":\1,"score":0}/
END
done
# rewards SCORE MORE: such a program, and one of ours
rewards() {
    program="{kind=\"process\";name=\"odd\";command=\"sed -u -f $WORK/$1.sed\";$2}"
    echo "rewards=($program,{kind=\"words\";name=\"glad\";words=[\"happy\",\"fun\"];cap=4;})"
}
bad=$(rewards 1e30 'weight=1e9;')
cfg="tests/bits.cfg algorithm=rloo eval_every=0 steps=12 checkpoint_every=5"
apart='ranks=({count=1;roles=["actor"];},{count=1;roles=["learner"];},
    {count=1;roles=["reward","refmodel"];})'

# told RUN: what the metrics say of skips and alarms, step by step
told() {
    grep -o '"optim/skipped": [0-9]*\|"health/[a-z_]*": [-0-9.e+]*' "$1/metrics.jsonl"
}

# same NAME RUN: weights, samples and what is told are those of the run on one rank
same() {
    if [ "$(hashes "$2")" = "$(hashes "$WORK/one")" ] &&
        [ "$(told "$2")" = "$(told "$WORK/one")" ] &&
        cmp -s "$2/samples.jsonl" "$WORK/one/samples.jsonl"; then
        pass "$1"
    else
        fail "$1" "$(hashes "$2" | tail -n 1) is not $(hashes "$WORK/one" | tail -n 1)"
    fi
}

# each NAME key=value...: the run on one rank, then the same on others and in two parts
each() {
    name=$1; shift
    rm -rf "$WORK"/[a-z]*/
    # shellcheck disable=SC2086 (cfg is several arguments)
    ok "$name" run 1 $cfg "$@" output="$WORK/one"
    for n in 2 4; do
        ok "$name, $n ranks" run $n $cfg "$@" output="$WORK/ranks$n"
        same "$name, $n ranks: the same" "$WORK/ranks$n"
    done
    ok "$name, apart" run 3 $cfg "$@" "$apart" output="$WORK/apart"
    same "$name, apart: the same" "$WORK/apart"
    ok "$name, the first part" run 2 $cfg "$@" steps=8 output="$WORK/parts"
    ok "$name, the second part" run 3 $cfg "$@" output="$WORK/parts"
    same "$name, in two parts: the same" "$WORK/parts"
}

# ---- stop
for n in 1 3; do
    who='clip_norm\?\)$'
    [ $n -eq 1 ] || who="$who|\(rank 0\)\$"
    # shellcheck disable=SC2086
    says 4 "step 4, rows 8 to 11: gradient of model.* is -?(inf|nan); .*($who)" \
        "a bad gradient is named with its rows, $n ranks" run $n $cfg "$bad" output="$WORK/stop$n"
    ok "and the state of the step before is saved, $n ranks" \
        test -f "$WORK/stop$n/checkpoints/step-00000003.h5"
done
ok "with the same weights" "$RANKWISE" diff "$WORK/stop1" "$WORK/stop3"

# ---- skip
each "skipped gradients" "$bad" on_nonfinite=skip
[ "$(told "$WORK/one" | tail -n 2 | head -n 1)" = '"health/skipped": 6' ] && pass "are counted" ||
    fail "are counted" "$(told "$WORK/one" | tail -n 3)"
each "skipped batches, max_lag = 1" "$(rewards null 'on_failure="error";')" \
    algorithm=online_dpo on_nonfinite=skip max_lag=1
# shellcheck disable=SC2086
out=$(run 2 $cfg "$bad" on_nonfinite=skip skip_limit=1 output="$WORK/limit" 2>&1); code=$?
case "$code $out" in
"4 "*"step 5: 1 updates in a row were skipped; skip_limit is 1"*) pass "skips have a limit" ;;
*) fail "skips have a limit" "exit $code: $(printf '%s' "$out" | tail -n 3)" ;;
esac

# ---- alarms
each "alarms" "$(rewards 1000)" alarm_after=2 alarm_deviations=3
out=$(told "$WORK/one" | grep '"health/alarms": [1-9]' | head -n 1)
[ -n "$out" ] && pass "are given and counted" || fail "are given and counted" "$(told "$WORK/one")"
# shellcheck disable=SC2086
out=$(run 2 $cfg "$(rewards 1000)" alarm_after=2 alarm_deviations=3 output="$WORK/said" 2>&1)
case $out in
*"optim/grad_norm is "*" standard deviations above its running mean of "*) pass "and said" ;;
*) fail "and said" "$(printf '%s' "$out" | tail -n 3)" ;;
esac
# shellcheck disable=SC2086
ok "none are wanted" run 1 $cfg "$(rewards 1000)" alarm_deviations=0 output="$WORK/none"
out=$(told "$WORK/none" | grep 'deviation\|alarms": [1-9]')
[ -z "$out" ] && pass "and none are given" || fail "and none are given" "$out"
finish
