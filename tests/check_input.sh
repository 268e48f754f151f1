#!/bin/sh
# Bad input gets one clear line and the right exit code; nothing is lost and nothing half-written.
# In a single process and, where ranks could disagree, under mpirun: still one line.
. tests/lib.sh
cfg=tests/bits.cfg
out="$WORK/run"
two='rewards=({kind="length";name="a";},{kind="length";name="b";weight=-1.0;})'

# bad CODE PATTERN NAME key=value...: on one rank and on three
bad() {
    code=$1 pattern=$2 name=$3; shift 3
    rm -rf "$out"
    says "$code" "$pattern" "$name" "$RANKWISE" train $cfg output="$out" steps=2 "$@"
    rm -rf "$out"
    says "$code" "$pattern" "$name, 3 ranks" mpirun -np 3 "$RANKWISE" train $cfg output="$out" \
        steps=2 "$@"
    [ ! -e "$out/checkpoints" ] || [ -z "$(ls "$out/checkpoints")" ] ||
        fail "$name leaves no checkpoint"
}

# ---- configuration
sed 's/^steps/stpes/' $cfg > "$WORK/typo.cfg"
says 1 "typo.cfg:9: unknown key 'stpes'; did you mean 'steps'" \
    "an unknown key: line and nearest key" "$RANKWISE" train \
    "$WORK/typo.cfg"
bad 1 "'lr_rate=1': unknown key 'lr_rate'" "an unknown key=value" lr_rate=1
bad 1 "'steps=many': steps: expected an integer, got .many" "a word for a number" steps=many
bad 1 'temperature: -1 is out of range [(]0 to 100[)]' "a number out of range" temperature=-1
bad 1 "dpo.pairing: 'random' is not one of: pair, best_worst, all" \
    "a bad choice lists the choices" dpo.pairing=random
bad 1 'reduction_leaves: 6 is not a power of two' \
    "leaves that are no power of two" reduction_leaves=6
echo 'algorithm = "online_dpo' > "$WORK/cut.cfg"
says 1 'cut.cfg:1: the string that begins here does not end' \
    "a cut configuration" "$RANKWISE" train "$WORK/cut.cfg"
says 1 'cannot read .*/nowhere.cfg: No such file' "a missing configuration" "$RANKWISE" train \
    "$WORK/nowhere.cfg"
says 1 'needs a configuration' "no configuration" "$RANKWISE" train
says 1 "no command 'trian'" "an unknown command" "$RANKWISE" trian
says 1 "unknown option '--promt'" \
    "an unknown option" "$RANKWISE" generate launch/demo/model --promt x

bad 1 "missing key 'raco.weights': raco needs a weight for each objective" \
    "objectives without weights" algorithm=raco "$two"
bad 1 'raco.weights: they sum to 0.9 and must sum to 1' \
    "weights that do not sum to one" algorithm=raco "$two" raco.weights=[0.5,0.4]
bad 1 'raco.weights: 3 weights for 2 rewards' \
    "weights of other objectives" algorithm=mgda "$two" raco.weights=[0.5,0.3,0.2]
bad 1 'raco.weights: expected a list of numbers, got "a"' \
    "a weight that is no number" algorithm=raco "$two" 'raco.weights=[0.5,"a"]'
bad 1 'raco.weights: -0.5 is out of range' \
    "a negative weight" algorithm=pcgrad "$two" raco.weights=[-0.5,1.5]
bad 1 'raco.combine: .mgda. does not go with algorithm .cagrad.' \
    "a rule for another algorithm" algorithm=cagrad "$two" raco.weights=[0.5,0.5] raco.combine=mgda

bad 1 'argument: ppo.gamma: algorithm "grpo" as it is set does not read it' \
    "a key of another algorithm" algorithm=grpo ppo.gamma=0.9
bad 1 'argument: rewards.0.: cap: kind "length" does not read it' \
    "a key of another reward" 'rewards=({kind="length";cap=3;})'

# ---- files
bad 1 '/nowhere: no such model folder or checkpoint' "a missing model" model="$WORK/nowhere"
bad 1 'argument: prompts: .*/nowhere.jsonl: No such file' \
    "missing prompts" prompts="$WORK/nowhere.jsonl"
bad 1 'argument: eval_prompts: .*/nowhere.jsonl: No such file' \
    "missing held-out prompts" eval_every=1 eval_prompts="$WORK/nowhere.jsonl"
bad 1 'argument: pairs: .*/nowhere.jsonl: No such file' \
    "missing pairs" source=pairs pairs="[\"$WORK/nowhere.jsonl\"]"
model() { rm -rf "$WORK/model"; cp -r launch/demo/model "$WORK/model"; }
model; head -c 5000 launch/demo/model/model.safetensors > "$WORK/model/model.safetensors"
bad 1 'model.safetensors: tensor .* may be cut short' "truncated safetensors" model="$WORK/model"
model; printf '\377\377\377\377\377\377\377\177{}' > "$WORK/model/model.safetensors"
bad 1 'model.safetensors: a header of [0-9]+ bytes does not fit' "a huge header" model="$WORK/model"
model; printf '\120\0\0\0\0\0\0\0%-80s' \
    '{"model.norm.weight":{"dtype":"F32","shape":[96],"data_offsets":[0,384]}}' |
        head -c 88 > "$WORK/model/model.safetensors"
bad 1 'model.safetensors: tensor .model.norm.weight. ends at byte 384' \
    "offsets past the end" model="$WORK/model"
model; head -c 300 launch/demo/model/tokenizer.json > "$WORK/model/tokenizer.json"
bad 1 'tokenizer.json:1: bad JSON' "a cut tokenizer" model="$WORK/model"
model; head -c 100 launch/demo/model/config.json > "$WORK/model/config.json"
bad 1 'config.json:[0-9]+: bad JSON' "a cut config.json" model="$WORK/model"
model; sed -i 's/"vocab_size": *640/"vocab_size": 600/' "$WORK/model/config.json"
bad 1 'tokenizer.json: .*up to 639 but vocab_size in config.json is 600' \
    "a vocabulary that does not match" model="$WORK/model"
model; sed -i 's/"llama"/"mamba"/' "$WORK/model/config.json"
bad 1 'config.json: model_type "mamba" is not supported' \
    "an unknown architecture" model="$WORK/model"

# ---- prompts
: > "$WORK/empty.jsonl"
bad 1 'empty.jsonl: no prompts' "an empty file of prompts" prompts="$WORK/empty.jsonl"
head -c 150 launch/demo/prompts.jsonl > "$WORK/cut.jsonl"
bad 1 'cut.jsonl:3: the last line is cut' "prompts with a cut tail" prompts="$WORK/cut.jsonl"
printf '{"prompt":"Tom"}\n{"prompt":"%s"}\n' "$(yes 'the park' | head -n 300 | tr '\n' ' ')" > \
    "$WORK/long.jsonl"
bad 1 'long.jsonl:2.*long_prompts' "a prompt longer than the context" prompts="$WORK/long.jsonl"
ok "long_prompts = skip leaves it out" run 3 $cfg output="$out" steps=1 \
    prompts="$WORK/long.jsonl" long_prompts=skip
[ "$(printf '%s\n' "$said" | grep -c '^1 prompt of .*long.jsonl longer than 255 tokens')" -eq 1 ] &&
    pass "and says so, once" || fail "and says so, once" "$said"
printf '{"prompt":""}\n' > "$WORK/blank.jsonl"
bad 1 'blank.jsonl:1: the line has an empty prompt' "an empty prompt" prompts="$WORK/blank.jsonl"

# ---- conversations
printf '{"messages":[{"role":"user","content":"Tom had a red ball."}]}\n' > "$WORK/chat.jsonl"
bad 1 'chat.jsonl:1: launch/demo/model: no chat template there' \
    "a conversation, and a model without a template" prompts="$WORK/chat.jsonl" eval_every=0
model; printf '\n{%% do x %%}' > "$WORK/model/chat_template.jinja"
bad 1 "chat.jsonl:1: .*/chat_template.jinja:2: the tag 'do' is not supported" \
    "a template with what is not supported" prompts="$WORK/chat.jsonl" model="$WORK/model"
bad 1 "chat_date: 'May' is no day; one is written" "a day that is none" chat_date=May
printf '\n{{ raise_exception("no") }}' > "$WORK/model/chat_template.jinja"
bad 1 'chat.jsonl:1: .*/chat_template.jinja:2: the template refuses the messages: no' \
    "a template that refuses" prompts="$WORK/chat.jsonl" model="$WORK/model"
ok "nobody asks for a template without conversations" run 1 $cfg output="$out" steps=1 \
    model="$WORK/model"
printf '<s>{%% for m in messages %%}{{ m.content|trim }} {%% endfor %%}' > \
    "$WORK/model/chat_template.jinja"
rm -rf "$out"
ok "a run on conversations" run 1 $cfg output="$out" steps=1 eval_every=0 \
    prompts="$WORK/chat.jsonl" model="$WORK/model" system="Once upon a time."
grep -q '"prompt":"Once upon a time. Tom had a red ball. "' "$out/samples.jsonl" &&
    pass "and its prompts are the template's text" ||
    fail "and its prompts are the template's text" "$(head -c 300 "$out/samples.jsonl")"

# ---- rewards
bad 1 'argument: rewards.0.: kind: .*"wrods"; the nearest is "words"' \
    "an unknown reward" 'rewards={kind="wrods";}'
bad 1 'rewards.0.: pattern: .*Unmatched' "a bad pattern" 'rewards={kind="regex";pattern="(";}'

printf '{"prompt":"Tom","right":"none"}\n' > "$WORK/right.jsonl"
bad 1 '/right.jsonl:1: the prompt has no number in "right"' "a prompt without a right answer" \
    eval_every=0 prompts="$WORK/right.jsonl" 'rewards={kind="math_answer";field="right";}'
bad 1 '/right.jsonl:1: the prompt has no "instruction_id_list"' "a prompt of no instruction" \
    eval_every=0 prompts="$WORK/right.jsonl" 'rewards={kind="instruction";}'
bad 1 '/right.jsonl:1: the prompt has no text in "answer", which osp.baseline compares with' \
    "a prompt without a baseline" algorithm=osp osp.gate=false osp.baseline=answer \
    eval_every=0 prompts="$WORK/right.jsonl"

# ---- records
p='"prompt":"Tom had a red ball."'
good="{$p,\"chosen\":\"He smiled.\",\"rejected\":\"He cried.\"}"
offline='source="pairs"'
# record PATTERN NAME LINE key=value...: a file of a good line and this one, as line 2
record() {
    pattern=$1 name=$2; printf '%s\n%s\n' "$good" "$3" > "$WORK/records.jsonl"; shift 3
    bad 1 "records.jsonl:2: $pattern" "$name" "$offline" pairs="[\"$WORK/records.jsonl\"]" "$@"
}
bad 1 "missing key 'pairs'" "a source without files" "$offline"
record 'the record has an empty .rejected.' "an empty answer" \
    "{$p,\"chosen\":\"He smiled.\",\"rejected\":\"\"}"
record 'the record has the same answer as .chosen. and .rejected.' "identical answers" \
    "{$p,\"chosen\":\"He smiled.\",\"rejected\":\"He smiled.\"}"
record 'the record has no .rejected.' "a pair of one" "{$p,\"chosen\":\"He smiled.\"}"
record 'the record has no answers' "a prompt alone" "{$p}"
record 'the record has a .label. that is not true' "a label that is none" \
    "{$p,\"completion\":\"He smiled.\",\"label\":\"good\"}" algorithm=kto
record 'the record has a .weight. beyond 1e.30' "a weight whose sums are no numbers" \
    "{$p,\"chosen\":\"He smiled.\",\"rejected\":\"He ran.\",\"weight\":1e308}"
record 'the record is a single answer, and this algorithm learns from pairs' \
    "singles for a method of pairs" "{$p,\"completion\":\"He smiled.\",\"label\":1}"
printf '{%s,"completion":"%s.","label":1}\n' "$p" 'He smiled' "$p" 'He ran' \
    > "$WORK/one-class.jsonl"
for a in kto bco; do
    bad 1 'one-class.jsonl: every label is true; answers of both classes are needed' \
        "$a: labels of one class" algorithm=$a "$offline" pairs="[\"$WORK/one-class.jsonl\"]"
done
printf '%s\n{%s}\n' "$good" "$p" > "$WORK/records.jsonl"
ok "bad records can be dropped" run 2 $cfg output="$WORK/dropped" steps=1 algorithm=dpo "$offline" \
    eval_every=0 pairs="[\"$WORK/records.jsonl\"]" bad_records=drop
grep -q '"data/dropped_frac": 0.5' "$WORK/dropped/metrics.jsonl" && pass "and are counted" ||
    fail "and are counted" "$(head -c 600 "$WORK/dropped/metrics.jsonl")"

for a in modpo amopo; do
    says 1 "argument: pairs: the records of launch/demo/pairs.jsonl have no signs" \
        "$a: pairs without signs" "$RANKWISE" train launch/configs/$a.cfg output="$out" \
        pairs=launch/demo/pairs.jsonl
done

# ---- ranks
says 1 'no rank holds the role "reward"' "no rank for a role" mpirun -np 2 "$RANKWISE" train $cfg \
    output="$out" \
    'ranks=({count=1;roles=["actor","learner"];},{count=1;roles=["refmodel"];})'
says 1 'more ranks than the 2' "more ranks asked for than started" mpirun -np 2 "$RANKWISE" train \
    $cfg output="$out" \
    'ranks=({count=3;roles=["actor","learner","reward","refmodel"];})'
says 1 '4 learner ranks but reduction_leaves = 2' \
    "more learners than leaves" mpirun -np 4 "$RANKWISE" train $cfg \
    output="$out" reduction_leaves=2
ok "more ranks than work" run 4 $cfg output="$WORK/idle" steps=2 prompts_per_step=2 eval_every=0
"$RANKWISE" plan $cfg -n 4 prompts_per_step=2 eval_every=0 | grep -q 'without work' &&
    pass "plan says who is without work" ||
    fail "plan says who is without work"
[ "$("$RANKWISE" plan $cfg -n 2 micro_rows=1000000)" = "$("$RANKWISE" plan $cfg -n 2 \
    micro_rows=52)" ] && pass "micro_rows beyond the batch take no memory" ||
    fail "micro_rows beyond the batch take no memory"
says 2 'does not fit: .* on one host of' \
    "a plan that does not fit" "$RANKWISE" plan $cfg -n 100001 \
    'ranks=({count=1;roles=["learner","reward","refmodel"];},{count=100000;roles=["actor"];})'
bad 2 'a batch of 1000000 prompts .* too large; lower prompts_per_step' \
    "a batch that is too large" prompts_per_step=1000000 \
    samples_per_prompt=1024

# ---- output
touch "$WORK/file"
bad 1 '/file is a file, not a folder' "output below a file" output="$WORK/file/run"
says 1 'cannot make the folder /proc/nowhere' "output where no folder can be made" "$RANKWISE" \
    train $cfg output=/proc/nowhere/run
# Permissions do not stop root; a mount that is read only does.
read_only() { unshare -m sh -c 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"' "$@"; }
mkdir -p "$WORK/locked"
if read_only "$WORK/locked" true 2>/dev/null; then
    says 1 '/locked.*: Read-only file system' "output on a read-only disk" \
        read_only "$WORK/locked" "$RANKWISE" train $cfg output="$WORK/locked/run"
    says 1 '/locked.*: Read-only file system' "output is a read-only folder" \
        read_only "$WORK/locked" "$RANKWISE" train $cfg output="$WORK/locked"
else skip "output on a read-only disk: no mounts here"; fi
rm -rf "$out"
ok "a run to resume" run 1 $cfg output="$out" steps=2
before=$(hashes "$out" | tail -n 1)
says 1 '/run: holds a checkpoint of step 2; --fresh does not resume' \
    "--fresh refuses to resume" "$RANKWISE" train $cfg output="$out" steps=3 --fresh
says 1 'seed is 5, but the run in .*step-00000002.h5 has 1; it is fixed' \
    "another seed cannot resume" "$RANKWISE" train $cfg output="$out" steps=3 seed=5
says 1 'model is .*, but the run in .* has "launch/demo/model"; it is fixed' \
    "another model cannot resume" "$RANKWISE" train $cfg output="$out" steps=3 model="$out"
model; ok "a run of a model" run 1 $cfg output="$WORK/two" steps=1 model="$WORK/model" eval_every=0
sed -i 's/"num_hidden_layers": *3/"num_hidden_layers": 2/' "$WORK/model/config.json"
rm "$WORK/model/model.safetensors"
echo "Tom had fun." > "$WORK/text.txt"
ok "a model of two layers" run 1 tests/lm.cfg model="$WORK/model" text="[\"$WORK/text.txt\"]" \
    row_tokens=4 steps=1 eval_every=0 output="$WORK/lm"
ok "exported" "$RANKWISE" export "$WORK/lm" --hf "$WORK/model"
says 1 'step-00000001.h5: .*a checkpoint of another model' "a checkpoint of another model" \
    "$RANKWISE" train $cfg output="$WORK/two" steps=3 model="$WORK/model"
[ "$(hashes "$out" | tail -n 1)" = "$before" ] && pass "a refused resume loses nothing" ||
    fail "a refused resume loses nothing"
rm -rf "$WORK/full"
says 1 'cannot write .*/step-00000002.h5.part: File too large' \
    "a disk that fills up while saving" bash -c \
    "ulimit -f 1500; exec \"$RANKWISE\" train $cfg output=\"$WORK/full\" steps=2 eval_every=0"
[ -z "$(ls "$WORK/full/checkpoints" 2>/dev/null)" ] && pass "and leaves no half checkpoint" ||
    fail "and leaves no half checkpoint" "$(ls "$WORK/full/checkpoints")"
cp "$out/checkpoints/step-00000002.h5" "$WORK/damaged.h5"
printf 'x' | dd of="$WORK/damaged.h5" bs=1 seek=300000 conv=notrunc 2>/dev/null
says 1 'damaged.h5 is damaged: .weights/.* does not match' \
    "inspect names the damage" "$RANKWISE" inspect "$WORK/damaged.h5"

# ---- numbers
says 4 'gradient of model.embed_tokens.weight' "numbers gone bad stop the run" "$RANKWISE" train \
    tests/lm.cfg text="[\"$WORK/text.txt\"]" row_tokens=4 rows_per_step=2 steps=100 lr=10 \
    adam.weight_decay=1 clip_norm=0 eval_every=0 output="$WORK/nan"
[ -n "$(ls "$WORK/nan/checkpoints")" ] && pass "and the last good state is saved" ||
    fail "and the last good state is saved"
dead='rewards=({kind="process";name="mine";command="sleep 0.2; exit 3";retries=1'
says 4 'reward "mine": step 1, row 0 has no score: .* ended with exit status 3' \
    "a reward program that dies" "$RANKWISE" train $cfg "$dead;on_failure=\"error\";})" \
    eval_every=0 output="$WORK/dead"
for n in 1 3; do
    for more in max_lag=0 max_lag=1; do
        # in one folder: what did not come is asked again
        says 4 'step 1: no response has all its scores; reward "mine" gave none .*exit status 3' \
            "a step without any score, $n ranks, $more" run $n $cfg "$dead;})" eval_every=0 $more \
            output="$WORK/dead"
    done
done
cat > "$WORK/no-number.sh" <<'END'
while read -r line; do
    id=${line#*:}
    echo "{\"id\":${id%%,*},\"score\":$1}"
done
END
for word in NaN 1e999 null; do
    says 4 'reward "mine": step 1, row 0 has no score: null or not a finite number' \
        "a reward of $word, at once" timeout 60 "$RANKWISE" train $cfg eval_every=0 \
        rewards="({kind=\"process\";name=\"mine\";on_failure=\"error\";timeout=600.0;
        command=\"sh $WORK/no-number.sh $word\";})" output="$WORK/dead"
done
cat > "$WORK/half.sh" <<'END'
while read -r line; do
    id=${line#*:}; id=${id%%,*}
    [ $((id % 2)) -eq 0 ] && echo "{\"id\":$id,\"score\":$id}" || echo "{\"id\":$id,\"score\":null}"
done
END
mpirun -np 3 "$RANKWISE" train $cfg output="$WORK/half" steps=2 eval_every=0 \
    rewards="({kind=\"process\";name=\"mine\";command=\"sh $WORK/half.sh\";})" > "$WORK/said" 2>&1
lines=$(grep -c 'rankwise: reward "mine": step [12]: 26 of 52 responses have no score' "$WORK/said")
[ "$lines" -eq 2 ] && [ "$(grep -c rankwise: "$WORK/said")" -eq 2 ] &&
    pass "three ranks say it in one line a step" ||
    fail "three ranks say it in one line a step" "$(grep rankwise: "$WORK/said")"
says 1 'command: "/no/such" ended with exit status 12[67]' "a reward program that is not there" \
    "$RANKWISE" train $cfg 'rewards={kind="process";command="/no/such";}' output="$WORK/dead"
apart='ranks=({count=1;roles=["actor"];},{count=1;roles=["learner"];},
    {count=1;roles=["reward","refmodel"];})'
norm=$((8 + 3016 + 122880))      # header, embeddings; the first weight of the first norm follows
model; printf '\377\177' | dd of="$WORK/model/model.safetensors" bs=1 seek=$norm conv=notrunc \
    2>/dev/null
for more in eval_every=10 eval_every=0 "eval_every=0 max_lag=1"; do
    # shellcheck disable=SC2086 (several settings)
    says 4 'step 1, row [0-9]+: the logits of token' "the rank that failed speaks ($more)" \
        mpirun -np 3 "$RANKWISE" train $cfg output="$WORK/apart" model="$WORK/model" "$apart" $more
done
finish
