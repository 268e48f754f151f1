#!/bin/sh
# Reward models: the same bits on any ranks and after a resume; what is trained serves as a reward,
# from a run, a checkpoint or an exported folder; bad input says what to do.
. tests/lib.sh
short="steps=6 eval_every=3 checkpoint_every=3"

# end RUN: weights hash of the last step, and the temperature
end() {
    hashes "$1" | tail -n 1
    sed -n 's/.*"rm\/temperature": \([0-9.]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1
}

for a in reward_model more pal gpm; do
    ok "$a trains" run 1 launch/configs/$a.cfg output="$WORK/$a" $short
    run 3 launch/configs/$a.cfg output="$WORK/$a-3" $short micro_rows=8 >/dev/null 2>&1
    [ -n "$(end "$WORK/$a")" ] && [ "$(end "$WORK/$a")" = "$(end "$WORK/$a-3")" ] &&
        pass "$a: the same on 3 ranks, other micro-batches" || fail "$a: the same on 3 ranks"
done
rm "$WORK/more-3/checkpoints/step-00000006.h5"
run 2 launch/configs/more.cfg output="$WORK/more-3" $short >/dev/null 2>&1
[ "$(end "$WORK/more")" = "$(end "$WORK/more-3")" ] && pass "more: the same after a resume" ||
    fail "more: the same after a resume"

# users of a trained model, and one more; nothing else is trained
sed 's/"annotator": 0/"annotator": 4/' launch/demo/pairs.jsonl > "$WORK/more.jsonl"
ok "pal fits new users" run 2 launch/configs/pal.cfg model="$WORK/pal" pal.fit=users \
    pairs="[\"$WORK/more.jsonl\"]" output="$WORK/users" $short
"$RANKWISE" inspect "$WORK/users" | grep -q 'weights/pal.users.weight .*5' &&
    pass "pal knows five users" || fail "pal knows five users"

# the model serves
ok "export" "$RANKWISE" export "$WORK/reward_model" --hf "$WORK/hf"
grep -q '"LlamaForSequenceClassification"' "$WORK/hf/config.json" &&
    grep -q '"rankwise_reward": {"kind": "scores", "temperature": ' "$WORK/hf/config.json" &&
    pass "config.json says what it is" || fail "config.json says what it is"
# use RANKS MODEL key=value...: mean rewards and weights of three steps of online DPO
use() {
    n=$1 model=$2; shift 2
    rm -rf "$WORK/use"
    run "$n" launch/configs/online_dpo.cfg output="$WORK/use" steps=3 eval_every=0 \
        rewards="({kind=\"model\"; model=\"$model\"; calibrated=true;})" "$@" >/dev/null 2>&1
    hashes "$WORK/use"
    sed -n 's/.*"reward\/mean": \([-0-9.e]*\).*/\1/p' "$WORK/use/metrics.jsonl"
}
apart='ranks=({count=2;roles=["actor"];},{count=1;roles=["reward","refmodel"];},'
apart="$apart"'{count=1;roles=["learner"];})'
want=$(use 1 "$WORK/reward_model")
[ -n "$want" ] && pass "a run is a reward" || fail "a run is a reward"
[ "$(use 2 "$WORK/hf")" = "$want" ] && pass "an exported folder says the same, on 2 ranks" ||
    fail "an exported folder says the same, on 2 ranks"
[ "$(use 4 "$WORK/reward_model/checkpoints/step-00000006.h5" "$apart")" = "$want" ] &&
    pass "a checkpoint says the same, roles apart" || fail "a checkpoint says the same, roles apart"
for a in pal gpm; do
    [ -n "$(use 2 "$WORK/$a")" ] && pass "$a is a reward" || fail "$a is a reward"
done
ok "label by a reward model" sh -c "$RANKWISE generate launch/demo/model --prompts \
    launch/demo/held-out.jsonl --n 4 --json > $WORK/samples && $RANKWISE label \
    launch/configs/online_dpo.cfg rewards='({kind=\"model\"; model=\"$WORK/hf\";})' \
    --samples $WORK/samples | grep -q chosen_ids"

# generate --rps shows it the prompt as it was: label, which reads that, scores the same
for seed in 1 2 3; do
    "$RANKWISE" generate launch/demo/model --prompt 'Tom had a red ball.' --json --seed $seed \
        --rps launch/configs/online_dpo.cfg "rewards=({kind=\"model\"; model=\"$WORK/hf\";})" \
        --prefix 'Reward {model}. '
done > "$WORK/chosen"
want=$(sed 's/.*"score":\([^,]*\),.*/\1/' "$WORK/chosen" | sort -rg | tr '\n' ',')
got=$("$RANKWISE" label launch/configs/online_dpo.cfg --as lists --samples "$WORK/chosen" \
    "rewards=({kind=\"model\"; model=\"$WORK/hf\";})" | sed 's/.*"scores":\[\(.*\)\].*/\1,/')
[ -n "$want" ] && [ "$want" = "$got" ] && pass "the best by a reward model" ||
    fail "the best by a reward model" "$want $got"

# heads for objectives: signs of pairs, or files
ok "a head for each sign" run 2 launch/configs/reward_model.cfg output="$WORK/signs" $short \
    reward_model.heads=objectives 'pairs=["launch/demo/objectives.jsonl"]' \
    'eval_pairs=["launch/demo/objectives.jsonl"]'
ok "a head for each file" run 2 launch/configs/reward_model.cfg output="$WORK/files" $short \
    reward_model.heads=objectives \
    'eval_pairs=["launch/demo/held-out-pairs.jsonl","launch/demo/lists.jsonl"]'
for h in signs files; do
    ok "export" "$RANKWISE" export "$WORK/$h" --hf "$WORK/$h-hf"
    grep -q '"id2label": {"0": "LABEL_0", "1": "LABEL_1"}' "$WORK/$h-hf/config.json" &&
        pass "$h: two labels" || fail "$h: two labels"
done
two="({kind=\"model\"; name=\"a\"; model=\"$WORK/signs\";}, {kind=\"model\"; name=\"b\";
       model=\"$WORK/signs-hf\"; head=1; contexts=[\"Tom.\", \"Sad.\"];})"
"$RANKWISE" label launch/configs/online_dpo.cfg rewards="$two" --signs --samples "$WORK/samples" |
    grep -q '"signs":{"a":-*[01],"b":-*[01]}' && pass "two heads, one with contexts" ||
    fail "two heads, one with contexts"

# bad input
reward() { echo "rewards=({kind=\"model\"; $1})"; }
dpo="$RANKWISE train launch/configs/online_dpo.cfg output=$WORK/no"
says 1 'rewards\[0\]: model: missing' "no model" $dpo "$(reward '')"
says 1 'a language model has no scores' "a language model" $dpo \
    "$(reward 'model="launch/demo/model";')"
says 1 'head: 1, but the model has scores 0 to 0' "no such head" $dpo \
    "$(reward "model=\"$WORK/hf\"; head=1;")"
says 1 'no such model folder' "no such folder" $dpo "$(reward 'model="nowhere";')"
says 1 'writes no text' "a reward model as policy" "$RANKWISE" train \
    launch/configs/online_dpo.cfg output="$WORK/no" model="$WORK/hf"
says 1 'pal.fit: "users" needs a model that pal has trained' "users of a language model" \
    "$RANKWISE" train launch/configs/pal.cfg output="$WORK/no" pal.fit=users
says 1 'eval_prompts: reward_model trains scores, not words' "held-out prompts" "$RANKWISE" \
    train launch/configs/reward_model.cfg output="$WORK/no" eval_prompts=launch/demo/held-out.jsonl
says 1 'more weighs 2 to 32 data sets, a file each, not 1' "one data set" "$RANKWISE" train \
    launch/configs/more.cfg output="$WORK/no" 'pairs=["launch/demo/pairs.jsonl"]'
says 1 'gpm.dim: must be even' "half a plane" "$RANKWISE" train launch/configs/gpm.cfg \
    output="$WORK/no" gpm.dim=5
finish
