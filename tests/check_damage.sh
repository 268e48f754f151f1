#!/bin/sh
# A damaged checkpoint: the one before it is taken, with a line that says so, and the run ends with
# the bits of one that was never damaged.
. tests/lib.sh

config=launch/configs/grpo.cfg
keys="eval_every=0 checkpoint_every=2 keep_last=9 prompts_per_step=5 max_new=12 max_lag=1"
apart='ranks=({count=1;roles=["actor"];},{count=1;roles=["learner"];},'
apart=$apart'{count=1;roles=["reward","refmodel"];})'

ok "eight steps" run 1 $config $keys steps=8 output="$WORK/whole"
ok "six steps" run 1 $config $keys steps=6 output="$WORK/six"

# begin NAME: a copy of the six steps; $newest is its last checkpoint
begin() {
    rm -rf "$WORK/run"
    cp -r "$WORK/six" "$WORK/run"
    newest=$WORK/run/checkpoints/step-00000006.h5
    size=$(wc -c < "$newest")
}

# goes_on NAME FROM RANKS key=value...: it resumes at FROM and ends as the undamaged run
goes_on() {
    who=$1 from=$2 n=$3; shift 3
    said=$(run "$n" $config $keys steps=8 output="$WORK/run" "$@" 2>&1)
    printf '%s' "$said" | grep -q "resumed at step $from of 8" &&
        pass "$who: resumed at step $from" || fail "$who: resumed at step $from" "$said"
    [ "$(printf '%s' "$said" | grep -c 'step-0000000[24].h5 is damaged')" -eq 0 ] &&
        printf '%s' "$said" | grep -q "$newest is damaged" &&
        pass "$who: and says why" || fail "$who: and says why" "$said"
    ok "$who: weights, samples and checkpoint" "$RANKWISE" diff "$WORK/whole" "$WORK/run"
    [ -f "$newest.damaged" ] && pass "$who: what was damaged is kept" ||
        fail "$who: what was damaged is kept"
}

begin
truncate -s $((size / 2)) "$newest"
goes_on "cut in half" 4 1

begin
: > "$newest"
goes_on "empty" 4 3 "$apart"

begin
at=$(LC_ALL=C grep -abo model.norm.weight "$newest" | head -n 1 | cut -d: -f1)
flip "$newest" $((at + 2))
goes_on "a name with another byte" 4 2

# A byte in the middle belongs to an array: of its sums only one finds it.
begin
flip "$newest" $((size / 2))
goes_on "one byte of an array" 4 3

begin
truncate -s 1000 "$newest"
for old in 2 4; do truncate -s 1000 "$WORK/run/checkpoints/step-0000000$old.h5"; done
said=$(run 2 $config $keys steps=8 output="$WORK/run" 2>&1); code=$?
[ $code -eq 1 ] && [ -f "$WORK/run/checkpoints/step-00000002.h5" ] &&
    printf '%s' "$said" | grep -q 'step-00000002.h5 ' &&
    pass "all of them damaged: one line about each, exit 1, the oldest stays" ||
    fail "all of them damaged: one line about each, exit 1, the oldest stays" "exit $code: $said"

begin
says 1 'lr' "another learning rate is no damage" run 1 $config $keys steps=8 lr=1e-3 \
    output="$WORK/run"
[ -f "$newest" ] && pass "and the checkpoint stays where it is" ||
    fail "and the checkpoint stays where it is"

finish
