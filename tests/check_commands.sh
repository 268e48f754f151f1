#!/bin/sh
# The commands on the demo's model: what they print, and that what one writes the other reads.
. tests/lib.sh
demo=launch/demo/model
out=$WORK/run

for c in train run submit eval plan generate score label tokenize export inspect diff bench; do
    "$RANKWISE" $c --help | grep -q "rankwise $c" && pass "$c --help" || fail "$c --help"
done
"$RANKWISE" --version | grep -q '^rankwise [0-9]' && pass "--version" || fail "--version"
"$RANKWISE" --help | grep -q 'exit codes' && pass "--help" || fail "--help"

# tokenize: there and back, lines and JSONL
text='Tom had a red ball. He was happy!'
ids=$(printf '%s\n' "$text" | "$RANKWISE" tokenize $demo)
[ "$(printf '%s\n' "$ids" | "$RANKWISE" tokenize $demo --decode --skip-special)" = "$text" ] &&
    pass "tokenize there and back" || fail "tokenize there and back" "$ids"
[ "$(printf '{"text":"Tom"}\n' | "$RANKWISE" tokenize $demo --jsonl)" = \
  "{\"ids\":[$(echo Tom | "$RANKWISE" tokenize $demo | tr ' ' ',')]}" ] &&
      pass "tokenize --jsonl" || fail "tokenize --jsonl"
says 1 'standard input:1' "tokenize --decode: an id that is none" sh -c \
    "echo 9999 | $RANKWISE tokenize $demo --decode"

# tokenize --messages: the text of a template and its ids; refusals are counted
mkdir "$WORK/chat"; cp $demo/*.json "$WORK/chat"
printf '{{ bos_token }}{%% for m in messages %%}{{ m.content|trim }}{%% endfor %%}\n' > \
    "$WORK/chat/chat_template.jinja"
printf '{"bos_token":"<s>"}' > "$WORK/chat/tokenizer_config.json"
printf '{"messages":[{"role":"user","content":" %s\\n"}]}\n' "$text" > "$WORK/chat.jsonl"
[ "$("$RANKWISE" tokenize "$WORK/chat" --messages "$WORK/chat.jsonl")" = \
  "{\"text\":\"<s>$text\",\"ids\":[$(echo "$ids" | tr ' ' ',')]}" ] &&
    pass "tokenize --messages" || fail "tokenize --messages" \
    "$("$RANKWISE" tokenize "$WORK/chat" --messages "$WORK/chat.jsonl" 2>&1)"
echo '{"messages":[1]}' >> "$WORK/chat.jsonl"
says 1 'chat.jsonl: 1 of its conversations cannot be written' "tokenize: a bad conversation" \
    "$RANKWISE" tokenize "$WORK/chat" --messages "$WORK/chat.jsonl"
says 1 "$demo: no chat template there" "tokenize: no template" \
    "$RANKWISE" tokenize $demo --messages "$WORK/chat.jsonl"
says 1 "--date: '26.7.24' is no day; one is written 2026-11-28" "tokenize: a bad date" \
    "$RANKWISE" tokenize "$WORK/chat" --messages "$WORK/chat.jsonl" --date 26.7.24

# field NAME LINE: a text of a line of JSON
field() { printf '%s\n' "$2" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\\1/"; }

# generate: the seed decides; greedy needs none; files of prompts
a=$("$RANKWISE" generate $demo --prompt "$text" --seed 3 --n 2)
b=$("$RANKWISE" generate $demo --prompt "$text" --seed 3 --n 2)
c=$("$RANKWISE" generate $demo --prompt "$text" --seed 4 --n 2)
[ -n "$a" ] && [ "$a" = "$b" ] && [ "$a" != "$c" ] &&
    pass "generate: the same seed, the same text" ||
    fail "generate: the same seed, the same text"
[ "$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --seed 1)" = \
  "$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --seed 2)" ] &&
      pass "generate: greedy" || fail "generate: greedy"
[ "$("$RANKWISE" generate $demo --prompt "$text" --min-p 1 --seed 1)" = \
  "$("$RANKWISE" generate $demo --prompt "$text" --top-k 1 --seed 2)" ] &&
      pass "generate: min-p 1 leaves the likeliest, as in training" ||
      fail "generate: min-p 1 leaves the likeliest, as in training"
[ "$("$RANKWISE" generate $demo --prompts launch/demo/held-out.jsonl --json --max-new 4 | wc -l)" \
    -eq 100 ] &&
    pass "generate: a line a prompt" || fail "generate: a line a prompt"

# generate --stop: the text that is there without it, cut before the stop text that comes first
whole=$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --json --max-new 40)
for stop in ' the' 'e' 'as hu' 'k the b'; do
    cut=$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --json --max-new 40 \
        --stop 'never said' --stop "$stop")
    [ "$(field text "$cut")" = "$(field text "$whole" | awk -v s="$stop" \
        '{ print substr($0, 1, index($0, s) - 1) }')" ] && [ "$(field finish "$cut")" = stop ] &&
        pass "generate --stop '$stop'" || fail "generate --stop '$stop'" "$cut"
done
[ "$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --max-new 40 --stop 'took')" = \
  "$text $(field text "$whole" | sed 's/took.*//')" ] &&
    pass "generate --stop, as text" || fail "generate --stop, as text"
[ "$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --json --stop red | \
    sed 's/.*"finish"/"finish"/')" = \
  "$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --json | \
    sed 's/.*"finish"/"finish"/')" ] &&
    pass "generate --stop: not the prompt's" || fail "generate --stop: not the prompt's"
id=$(printf '%s\n' "$whole" | sed 's/.*"ids":\[[0-9]*,[0-9]*,\([0-9]*\),.*/\1/')
cut=$("$RANKWISE" generate $demo --prompt "$text" --temperature 0 --json --stop-token "$id")
[ "$(field finish "$cut")" = eos ] && echo "$cut" | grep -q "\"ids\":\[[0-9]*,[0-9]*,$id\]" &&
    pass "generate --stop-token" || fail "generate --stop-token" "$cut"
says 1 "stop: an empty string" "generate: an empty --stop" "$RANKWISE" generate $demo \
    --prompt x --stop=
says 1 "there is no id 640" "generate: no such --stop-token" "$RANKWISE" generate $demo \
    --prompt x --stop-token 640
stories=$SHARED/data/models/stories260K         # a stop text that spans tokens and ends inside one
if [ -f "$stories/config.json" ]; then
    cut=$("$RANKWISE" generate "$stories" --prompt 'Once upon' --temperature 0 --json \
        --stop 'named Li')
    [ "$(field text "$cut")" = 'a time, there was a little girl ' ] &&
        [ "$(field finish "$cut")" = stop ] &&
        pass "generate --stop with stories260K" || fail "generate --stop with stories260K" "$cut"
else
    skip "generate --stop with stories260K"
fi

# score agrees to the bit with what generate says of its own tokens
row=$("$RANKWISE" generate $demo --prompt "$text" --json --max-new 12)
printf '%s\n' "$row" | sed \
    's/.*"prompt_ids":\(\[[^]]*\]\),"ids":\(\[[^]]*\]\).*/{"prompt_ids":\1,"completion_ids":\2}/' \
        > "$WORK/score.jsonl"
want=$(printf '%s' "$row" | sed 's/.*"logprobs":\(\[[^]]*\]\).*/\1/')
got=$("$RANKWISE" score $demo --data "$WORK/score.jsonl" --top 2 |
    sed 's/.*"logprobs":\(\[[^]]*\]\).*/\1/')
[ "$want" = "$got" ] && pass "score equals generate to the bit" ||
    fail "score equals generate to the bit" "$want $got"

# label: what generate made becomes records, of ids
"$RANKWISE" generate $demo --prompts launch/demo/held-out.jsonl --n 6 --json --max-new 40 \
    > "$WORK/samples.jsonl"
"$RANKWISE" label tests/bits.cfg --samples "$WORK/samples.jsonl" > "$WORK/pairs.jsonl" \
    2> "$WORK/told"
grep -q '^600 samples of 100 prompts -> [1-9][0-9]* pairs' "$WORK/told" &&
    [ "$(wc -l < "$WORK/pairs.jsonl")" -gt 50 ] && pass "label: pairs" ||
    fail "label: pairs" "$(cat "$WORK/told")"
[ "$("$RANKWISE" label tests/bits.cfg --samples "$WORK/samples.jsonl" --as lists 2> "$WORK/told" |
    grep -c '"responses_ids":\[\[.*"scores":\[')" -eq 100 ] &&
    pass "label: lists" || fail "label: lists"
says 1 'pairs.jsonl:1: no list of ids under "ids"' "label: records are no samples" \
    "$RANKWISE" label tests/bits.cfg --samples "$WORK/pairs.jsonl"
says 1 'rewards\[0\]: kind: a "judge" compares' "label: a judge is no label" \
    "$RANKWISE" label launch/configs/osp.cfg --samples "$WORK/samples.jsonl"
says 1 'needs --above' "label: singles of no class" \
    "$RANKWISE" label tests/bits.cfg --samples "$WORK/samples.jsonl" --as singles

# the journal: its memory is planned, and a place without room for it is one line
planned()
{
    "$RANKWISE" plan tests/bits.cfg -n 2 "$@" | sed -n 's/^fullest host: *\([0-9]*\).*/\1/p'
}
[ "$(planned journal=memory)" -gt "$(planned journal=off)" ] && pass "plan: the journal's memory" ||
    fail "plan: the journal's memory" "$(planned journal=memory) and $(planned journal=off) MiB"
touch "$WORK/no-folder"
for n in 1 2; do
    says 1 "$WORK/no-folder" "journal_path is a file, $n ranks" run $n tests/bits.cfg steps=1 \
        output="$WORK/nowhere" journal=disk journal_path="$WORK/no-folder"
done
ok "bench checkpoint" "$RANKWISE" bench checkpoint --mb 2 --repeats 1 --folder "$WORK"
[ -z "$(ls "$WORK" | grep rankwise-bench)" ] && pass "bench checkpoint leaves nothing" ||
    fail "bench checkpoint leaves nothing"
"$RANKWISE" bench checkpoint --mb 400 --repeats 64 --folder "$WORK" > /dev/null 2>&1 & bench=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    ls "$WORK"/rankwise-bench.*/* > /dev/null 2>&1 && break; sleep 0.5
done
kill -TERM $bench; wait $bench; code=$?
[ "$code $(ls "$WORK" | grep -c rankwise-bench)" = "5 0" ] &&
    pass "bench checkpoint that is asked to stop leaves nothing" ||
    fail "bench checkpoint that is asked to stop leaves nothing" "exit $code, $(ls "$WORK")"

# train, inspect, export, and the exported folder trains and generates the same
ok "train" run 2 tests/bits.cfg output="$out" steps=3 max_lag=1 checkpoint_every=2 eval_every=0
says 1 "nothere.cfg:[0-9]*: stop_tokens: there is no id 640" "train: no such stop token" sh -c \
    "{ cat tests/bits.cfg; echo 'stop_tokens = [2, 640];'; } > $WORK/nothere.cfg; \
     $RANKWISE plan $WORK/nothere.cfg -n 1"
says 1 "argument: stop: '</s>' is a special token" "train: a stop text that is none" \
    "$RANKWISE" plan tests/bits.cfg -n 1 'stop=["</s>"]'
for n in 1 3; do
    ok "train with stop texts on $n" run $n tests/bits.cfg output="$WORK/stop$n" steps=2 \
        'stop=[" the"]' log_samples=64
done
[ "$(hashes "$WORK/stop1")" = "$(hashes "$WORK/stop3")" ] &&
    pass "the same weights on 1 and 3 ranks" || fail "the same weights on 1 and 3 ranks"
grep '"finish":"stop"' "$WORK/stop3/samples.jsonl" > "$WORK/stopped"
grep -v '"finish":"stop"' "$WORK/stop3/samples.jsonl" > "$WORK/others"
[ -s "$WORK/stopped" ] && ! grep -qv '"completion":"[^"]* the' "$WORK/stopped" &&
    ! grep -q '"completion":"[^"]* the' "$WORK/others" &&
    grep -q '"rollout/stop_ratio":' "$WORK/stop3/metrics.jsonl" &&
    pass "samples and metrics say what stopped" || fail "samples and metrics say what stopped"
ok "inspect" "$RANKWISE" inspect "$out/checkpoints/step-00000002.h5"
"$RANKWISE" inspect "$out" | grep -q 'every checksum holds' && pass "inspect a run" ||
    fail "inspect a run"
ok "export" "$RANKWISE" export "$out" --hf "$WORK/hf"
[ "$("$RANKWISE" generate "$WORK/hf" --prompt "$text" --json)" = \
    "$("$RANKWISE" generate "$out" --prompt "$text" --json)" ] &&
    pass "the exported model says the same" || fail "the exported model says the same"
ok "export as BF16" "$RANKWISE" export "$out/checkpoints/step-00000003.h5" --hf "$WORK/bf16" \
    --dtype BF16
ok "train from a run" run 1 tests/bits.cfg output="$WORK/again" model="$out" refmodel="$WORK/hf" \
    steps=1 eval_every=0
ok "config.cfg of a run trains the same" run 1 "$out/config.cfg" output="$WORK/copy"
ok "diff" "$RANKWISE" diff "$out" "$WORK/copy"
sed 's/^\( *\)c = .*/\1c = 0.3;/' launch/configs/raco.cfg > "$WORK/raco.cfg"
ok "a file serves another algorithm" run 1 "$WORK/raco.cfg" algorithm=mgda output="$WORK/mgda" \
    steps=1 eval_every=0
printf '%s\n' "$said" | grep -q 'left out, as algorithm "mgda" does not read them: raco.c$' &&
    pass "and says what it left out" || fail "and says what it left out" "$said"
ok "whose config.cfg trains the same" run 1 "$WORK/mgda/config.cfg" output="$WORK/mgda-copy"
"$RANKWISE" plan tests/bits.cfg -n 3 | grep -q 'gradients among learners' && pass "plan" ||
    fail "plan"
says 2 'too many for one learner' "plan of more pairs than a learner holds" "$RANKWISE" plan \
    tests/bits.cfg -n 2 prompts_per_step=200000 samples_per_prompt=100 dpo.pairing=all
says 1 'nowhere.txt' "plan opens the text" "$RANKWISE" plan tests/lm.cfg -n 1 \
    text="[\"$WORK/nowhere.txt\"]"
mib() { "$RANKWISE" plan tests/bits.cfg -n 1 "$@" | awk '$2 ~ /^actor/ { print int($NF) }'; }
[ "$(mib)" -gt 0 ] && [ "$(mib eval_text='["README.md"]')" -gt "$(mib)" ] &&
    pass "plan counts evaluation on text" || fail "plan counts evaluation on text" "$(mib)"
[ "$(mib eval_every=0 eval_text='["README.md"]' eval_prompts=none)" = "$(mib eval_every=0)" ] &&
    pass "and leaves held-out files alone without evaluations" ||
    fail "and leaves held-out files alone without evaluations"

# the memory of a GPU, without one; what fits
gpu_plan() { "$RANKWISE" plan tests/bits.cfg -n 2 device=cuda "$@"; }
gpu_plan --card h200 | grep -q 'fullest GPU: [0-9.]* MiB of the 143771.0 MiB that h200 has' &&
    pass "plan for a card" || fail "plan for a card" "$(gpu_plan --card h200 | tail -n 1)"
gpu_plan | grep -q 'card or --memory says' && pass "plan for a GPU of unknown memory" ||
    fail "plan for a GPU of unknown memory" "$(gpu_plan | tail -n 1)"
says 2 'does not fit: .* on one GPU of 1024.0 MiB' "a GPU that is too small" gpu_plan --memory 1
says 1 'card H900 is unknown; use one of' "an unknown card" gpu_plan --card H900
says 1 'card is of device = "cuda"' "a processor is no card" "$RANKWISE" plan tests/bits.cfg -n 1 \
    --card H100
says 1 'memory lots: give GiB' "memory in words" gpu_plan --memory lots
says 1 'largest lr: use one of micro_rows' "the largest of another key" gpu_plan --card L4 \
    --largest lr
says 1 'largest needs to know' "the largest for a GPU of unknown memory" gpu_plan --largest max_new
says 2 'does not fit with a smaller prompts_per_step either' "nothing fits" gpu_plan --memory 0.5 \
    --largest prompts_per_step
says 1 'nowhere.jsonl' "the largest with a file that is not there" gpu_plan --card L4 \
    --largest max_new prompts=nowhere.jsonl
"$RANKWISE" plan tests/bits.cfg -n 1 --memory 0.2 --largest prompts_per_step samples_per_prompt=2 \
    dpo.pairing=pair | grep -q 'that fits: [0-9]' && pass "the largest, where 1 is refused" ||
    fail "the largest, where 1 is refused"
"$RANKWISE" plan tests/bits.cfg -n 1 --memory 20 --largest max_new |
    grep -q '^more is refused: .*max_new' &&
    pass "the largest that is allowed" || fail "the largest that is allowed"
most=$("$RANKWISE" plan tests/bits.cfg -n 1 --memory 0.05 --largest prompts_per_step |
    sed -n 's/^largest prompts_per_step that fits: //p')
ok "the largest fits" "$RANKWISE" plan tests/bits.cfg -n 1 --memory 0.05 \
    prompts_per_step="${most:-0}"
says 2 'does not fit' "and one more does not" "$RANKWISE" plan tests/bits.cfg -n 1 --memory 0.05 \
    prompts_per_step=$((${most:-0} + 1))

# language-model training on text
"$RANKWISE" generate $demo --prompts launch/demo/prompts.jsonl --max-new 40 > "$WORK/text.txt"
ok "lm on 1 rank" run 1 tests/lm.cfg text="[\"$WORK/text.txt\"]" eval_text="[\"$WORK/text.txt\"]" \
    output="$WORK/lm1"
ok "lm on 3 ranks" run 3 tests/lm.cfg text="[\"$WORK/text.txt\"]" \
    eval_text="[\"$WORK/text.txt\"]" output="$WORK/lm3"
[ "$(hashes "$WORK/lm1")" = "$(hashes "$WORK/lm3")" ] &&
    pass "lm: the same weights on 1 and 3 ranks" ||
    fail "lm: the same weights on 1 and 3 ranks"
finish
