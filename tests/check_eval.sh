#!/bin/sh
# rankwise eval: the figures are those of training's own evaluation, the same bits on any number of
# ranks, and bad input is one line.
. tests/lib.sh
cfg=launch/configs/online_dpo.cfg
pairs='eval_pairs=["launch/demo/held-out-pairs.jsonl"]'
text='eval_text=["launch/demo/stories.txt"]'
few="eval_rows=30 max_new=24"
rows="row_tokens=64"             # of the text only
out=$WORK/run

# value NAME FILE: of a figure in a line of JSON
value() { sed -n "s|.*\"$1\": \([^,}]*\).*|\1|p" "$2" | head -n 1; }
equals() { [ -n "$2" ] && [ "$2" = "$3" ] && pass "$1" || fail "$1" "$2, want $3"; }

ok "the run that is evaluated" run 2 $cfg output="$out" steps=8 eval_every=8 checkpoint_every=4 \
    lr=1e-3 $few "$pairs" "$text" $rows
sed -n 1p "$out/metrics.jsonl" > "$WORK/before"
sed -n '$p' "$out/metrics.jsonl" > "$WORK/after"

# the model at the start: the same numbers as training's evaluation of step 0
ok "a model" sh -c "'$RANKWISE' eval $cfg output='$WORK/none' $few '$pairs' '$text' --json $rows \
    > '$WORK/base.json'"
for name in eval/held-out/score eval/held-out/kl eval/held-out/len \
    eval/held-out-pairs/ranking_accuracy eval/held-out-pairs/accuracy eval/stories/perplexity; do
    equals "before training: $name" "$(value $name "$WORK/base.json")" \
        "$(value $name "$WORK/before")"
done

# the run: pairs and text have no random numbers
"$RANKWISE" eval $cfg output="$out" $few "$pairs" "$text" $rows --json > "$WORK/run.json"
for name in ranking_accuracy ranking_accuracy_per_token ranking_accuracy_ideal accuracy; do
    equals "after training: $name" "$(value eval/held-out-pairs/$name "$WORK/run.json")" \
        "$(value eval/held-out-pairs/$name "$WORK/after")"
done
equals "after training: perplexity" "$(value eval/stories/perplexity "$WORK/run.json")" \
    "$(value eval/stories/perplexity "$WORK/after")"
grep -q 'step-00000008.h5' "$WORK/run.json" && pass "the newest checkpoint of the run" ||
    fail "the newest checkpoint of the run" "$(cut -c1-200 "$WORK/run.json")"

# random weights at the start: the reference is them, and no file of weights is needed
mkdir "$WORK/bare"
cp launch/demo/model/config.json launch/demo/model/tokenizer.json "$WORK/bare"
bare="model=$WORK/bare model_init=random lr=1e-3 rewards={kind=\"length\";}"
ok "a run of a model without weights" run 1 $cfg output="$WORK/random" $bare steps=4 eval_every=4 \
    $few "$pairs"
"$RANKWISE" eval $cfg output="$WORK/no-run" $bare $few "$pairs" --json > "$WORK/first.json"
"$RANKWISE" eval $cfg output="$WORK/random" $bare $few "$pairs" --json > "$WORK/last.json"
sed -n 1p "$WORK/random/metrics.jsonl" > "$WORK/line"
equals "random weights, before training" "$(value eval/held-out/score "$WORK/first.json")" \
    "$(value eval/held-out/score "$WORK/line")"
sed -n '$p' "$WORK/random/metrics.jsonl" > "$WORK/line"
for name in accuracy margin; do
    equals "random weights, after training: $name" \
        "$(value eval/held-out-pairs/$name "$WORK/last.json")" \
        "$(value eval/held-out-pairs/$name "$WORK/line")"
done

# a judge, an earlier checkpoint to compare with; alone and on 2 and 3 ranks
printf '{prompt} A: {a} B: {b} Better:' > "$WORK/judge.txt"
set -- $cfg output="$out" $few "$pairs" "$text" $rows eval.judge="$WORK/judge.txt" eval.samples=2 \
    eval.against="$out/checkpoints/step-00000004.h5" --json
"$RANKWISE" eval "$@" > "$WORK/one.json"
grep -q '"eval/held-out/winrate/judge": .*"eval/held-out-pairs/judge/accuracy": ' \
    "$WORK/one.json" && pass "a judge compares" || fail "a judge compares" "$(cat "$WORK/one.json")"
for n in 2 3; do
    mpirun -np $n "$RANKWISE" eval "$@" > "$WORK/some.json" 2> "$WORK/said"
    cmp -s "$WORK/one.json" "$WORK/some.json" && pass "the same bits on $n ranks" ||
        fail "the same bits on $n ranks" "$(head -c 300 "$WORK/said" "$WORK/some.json")"
done

# a model against itself wins half
"$RANKWISE" eval $cfg output="$out" $few eval.against="$out" --json > "$WORK/self.json"
equals "against itself: half" "$(value eval/held-out/winrate "$WORK/self.json")" 0.5
"$RANKWISE" eval $cfg output="$out" $few eval.against=none | grep -q winrate &&
    fail "against nobody: no win rate" || pass "against nobody: no win rate"
[ "$("$RANKWISE" eval $cfg output="$out" $few | grep -c '^eval/held-out/score .* \.\. ')" -eq 1 ] &&
    pass "a table for people" || fail "a table for people"

# a judge with nothing to compare has no figure; with two answers of a prompt it has
osp="launch/configs/osp.cfg output=$WORK/none eval_rows=4 max_new=8"
# shellcheck disable=SC2086 (several settings)
"$RANKWISE" eval $osp > "$WORK/alone" && ! grep -q 'judge\|score' "$WORK/alone" &&
    pass "one answer: a judge says nothing" || fail "one answer: a judge says nothing"
# shellcheck disable=SC2086
"$RANKWISE" eval $osp eval.samples=2 | grep -q '^eval/held-out/reward/judge ' &&
    pass "two answers: a judge compares" || fail "two answers: a judge compares"

# held-out questions that are longer than any pass of training
long="The box took the drum and ran to the tree. Max looked for the drum all day. It was night."
for i in 1 2 3 4; do
    echo '{"prompt": "Max had a drum.", "chosen": "Max laughed.", "rejected": "It was night."}'
done > "$WORK/short.jsonl"
echo "{\"prompt\": \"Max had a drum.\", \"chosen\": \"$long $long\", \"rejected\": \"$long\"}" \
    > "$WORK/long.jsonl"
ok "a judge learns from short pairs and is asked about a long one" run 1 launch/configs/osp.cfg \
    algorithm=judge prompts=\"\" pairs="[\"$WORK/short.jsonl\"]" \
    eval_pairs="[\"$WORK/long.jsonl\"]" output="$WORK/judge" steps=2 prompts_per_step=2 \
    micro_rows=1 recompute=true eval_every=1

# a reward model: what its training said of the held-out pairs, and how it finds others' answers
ok "a reward model is trained" run 1 $cfg algorithm=reward_model eval_prompts=\"\" \
    pairs='["launch/demo/pairs.jsonl"]' output="$WORK/rm" steps=4 eval_every=4 lr=1e-3 "$pairs"
"$RANKWISE" eval $cfg algorithm=reward_model output="$WORK/rm" "$pairs" --json > "$WORK/rm.json"
sed -n '$p' "$WORK/rm/metrics.jsonl" > "$WORK/rm.after"
equals "a reward model: accuracy" "$(value eval/held-out-pairs/accuracy "$WORK/rm.json")" \
    "$(value rm/accuracy "$WORK/rm.after")"
equals "a reward model: temperature" "$(value eval/held-out-pairs/temperature "$WORK/rm.json")" \
    "$(value rm/temperature "$WORK/rm.after")"
"$RANKWISE" eval $cfg output="$WORK/none" max_new=24 "$pairs" --json \
    rewards="({kind=\"model\";name=\"rm\";model=\"$WORK/rm\";})" > "$WORK/by.json"
equals "its accuracy as a reward" \
    "$(value eval/held-out-pairs/reward/rm/accuracy "$WORK/by.json")" \
    "$(value rm/accuracy "$WORK/rm.after")"

# bad input
bad() {
    pattern=$1 name=$2; shift 2
    says 1 "$pattern" "$name" "$RANKWISE" eval $cfg output="$WORK/none" "$@"
    says 1 "$pattern" "$name, 3 ranks" mpirun -np 3 "$RANKWISE" eval $cfg output="$WORK/none" "$@"
}
bad 'nothing to evaluate on' "no held-out files" eval_prompts=\"\"
bad '/nowhere: no such model folder' "no such model" eval.against="$WORK/nowhere"
bad 'there are no answers to compare' "a judge without a comparison" \
    eval.judge="$WORK/judge.txt"
printf '{a} is better than' > "$WORK/mute.txt"
bad 'mute.txt: no {b}' "a template that hides an answer" \
    eval.judge="$WORK/mute.txt" eval.against="$out"
bad 'eval.samples: 0 is out of range' "no samples" eval.samples=0
bad '/nowhere.jsonl: No such file' "no such pairs" eval_pairs="[\"$WORK/nowhere.jsonl\"]"
says 1 'needs a configuration' "no configuration" "$RANKWISE" eval
finish
