#!/bin/sh
# rankwise bench: every kind of line with its keys, one line for bad options, and a peer that takes
# turns.  No figure is judged.
. tests/lib.sh
small="--model tiny --rows 4 --prompt 8 --new 8"
tiny="$small --folder $WORK"

step="seconds seconds_min seconds_max tok_s peak_gflops peak_fraction read_gbytes update loss
      rss_mib plan_mib ready first_step_done ranks threads"
# shellcheck disable=SC2086
{
keys "rollout" 1 "seconds seconds_min seconds_max tok_s peak_gflops peak_fraction read_gbytes" \
    "$RANKWISE" bench rollout $small --dtype bf16
keys "train" 1 "$step forward backward optimizer whole_step" "$RANKWISE" bench train $tiny
keys "train on two ranks" 1 "$step reduce" mpirun -np 2 "$RANKWISE" bench train $tiny
keys "step" 1 "$step generate reward ref_logp" "$RANKWISE" bench step $tiny
keys "step of grpo" 1 "$step generate reward ref_logp" \
    "$RANKWISE" bench step $tiny --algorithm grpo --samples 4 reduction=fast
grep -q '"reduction":"fast"' "$WORK/lines" && pass "words go to the configuration" ||
    fail "words go to the configuration" "$(cat "$WORK/lines")"
keys "step of a model in a folder" 1 "$step" "$RANKWISE" bench step --model launch/demo/model \
    --rows 4 --prompt 8 --new 8 --folder "$WORK"
keys "train a model in a folder" 1 "$step" "$RANKWISE" bench train --model launch/demo/model \
    --rows 4 --prompt 8 --new 8 --folder "$WORK"
keys "comm on three ranks" 10 "ranks calls seconds seconds_min seconds_max" \
    mpirun -np 3 "$RANKWISE" bench comm --mb 2
for name in copy "tree sum" MPI_Allreduce weights link; do
    grep "\"bench\":\"$name\"" "$WORK/lines" | grep '"copy_fraction":' | grep -q '"seconds_max":' &&
        pass "comm: $name" || fail "comm: $name"
done
if [ "${SAN:-0}" = 1 ]; then skip "kernels (minutes under sanitizers)"; else
    keys "kernels" 30 "read_fraction read_fraction_min threads worst" \
        "$RANKWISE" bench kernels --dtype bf16
    grep '"bench":"training products"' "$WORK/lines" | grep -q '"peak_fraction_min":' &&
        pass "kernels: the worst product" || fail "kernels: the worst product"
fi
keys "step with samples that nobody learns from" 1 "tokens" \
    "$RANKWISE" bench step $tiny --rows 8 --samples 4
[ "$(value tokens) $(value trained_tokens)" = "128 64" ] && pass "trained tokens are counted" ||
    fail "trained tokens are counted" "$(cat "$WORK/lines")"
keys "step whose rows end early" 1 "tokens" "$RANKWISE" bench step --model launch/demo/model \
    --rows 4 --prompt 8 --new 200 --repeats 1 --folder "$WORK"
[ "$(value tokens)" -gt 32 ] && [ "$(value tokens)" -lt 832 ] && pass "tokens made are counted" ||
    fail "tokens made are counted" "$(cat "$WORK/lines")"
for word in threads=2 dtype=bf16 rows_per_step=1 row_tokens=8; do
    says 1 "$word: bench sets this key from --" "$word" "$RANKWISE" bench train $tiny $word
done
says 1 "bench sets this key from --new" "max_new" "$RANKWISE" bench step $tiny max_new=1
for work in rollout train step; do
    says 1 'the model has 256 positions' "$work: a row that is too long" \
        "$RANKWISE" bench $work --model tiny --new 300
done
ok "a run that writes checkpoints" "$RANKWISE" bench train $tiny checkpoint_every=1
for what in "bench rollout $small" doctor; do
    said=$("$RANKWISE" $what 2>&1 > /dev/full); code=$?
    case $code:$said in *"1:"*"cannot write to standard output"*) pass "$what: a full disk" ;;
        *) fail "$what: a full disk" "exit $code: $said" ;; esac
done
says 1 'bench needs one of' "no bench" "$RANKWISE" bench
says 1 'bench needs one of' "another bench" "$RANKWISE" bench everything
says 1 "unknown option '--row'" "another option" "$RANKWISE" bench train --row 3
says 1 'rows 0: from 1 to 4096' "no rows" "$RANKWISE" bench train --rows 0
says 1 'mb 0: from 1 to' "no message" "$RANKWISE" bench comm --mb 0
says 1 'at most 16777216 tokens' "more than there is room for" \
    "$RANKWISE" bench train --rows 4096 --prompt 65536
says 1 'bench train has no --algorithm' "an algorithm of train" \
    "$RANKWISE" bench train --algorithm grpo
says 1 'dpo learns from files' "an algorithm of pairs" "$RANKWISE" bench step --algorithm dpo
says 1 "bench step: .*no 'nope'" "no such algorithm" "$RANKWISE" bench step $tiny --algorithm nope
ok "a step of raco" "$RANKWISE" bench step $tiny --algorithm raco --repeats 1
ok "a step of osp" "$RANKWISE" bench step --model launch/demo/model --rows 4 --prompt 8 --new 8 \
    --algorithm osp --repeats 1
keys "decode" 1 "seconds seconds_min tok_s pass_ms pass_mbytes gbytes peak_gflops read_gbytes
    bound_fraction prefill_seconds prefill_tok_s prefill_fraction" "$RANKWISE" bench decode \
    --model tiny --rows 3 --context 40 --new 3 --dtype bf16
# weights of two layers and of the head, keys and values of 3 rows in the middle of decoding
[ "$(value pass_mbytes)" = 0.10598 ] && pass "bytes of a pass" ||
    fail "bytes of a pass" "$(cat "$WORK/lines")"
says 1 'context \+ --new: the model has 256 positions' "decode: a row that is too long" \
    "$RANKWISE" bench decode --model tiny --context 255 --new 2
says 2 '--model 8b: this needs at least [0-9.]+ GiB' "a model that no machine has room for" \
    "$RANKWISE" bench decode --model 8b --rows 4096 --context 4096
keys "train of rows of a length" 1 "$step" "$RANKWISE" bench train --model tiny --rows 2 \
    --length 24 --repeats 1 --folder "$WORK"
[ "$(value tokens)" = 48 ] && pass "and as many tokens" ||
    fail "and as many tokens" "$(cat "$WORK/lines")"
says 1 'instead of --prompt and --new' "two lengths" "$RANKWISE" bench train --length 8 --new 4
says 1 'kernels needs a --model' "a length of nothing" "$RANKWISE" bench kernels --length 8
keys "start" 1 "repeats first_token first_token_min first_token_max ready whole_run" \
    "$RANKWISE" bench start $tiny
awk -v a="$(value ready)" -v b="$(value first_token)" -v c="$(value whole_run)" \
    'BEGIN { exit !(0 < a && a < b && b < c) }' && pass "start: in this order" ||
    fail "start: in this order" "$(cat "$WORK/lines")"
says 1 "train. ended with 1: .*unknown key 'tempo'" "a start that fails" \
    "$RANKWISE" bench start $tiny tempo=1
says 1 'at most 128, which the first pass' "a start with a long prompt" \
    "$RANKWISE" bench start $tiny --prompt 129
says 1 'without mpirun' "a start of ranks" mpirun -np 1 "$RANKWISE" bench start $tiny
says 1 'bench kernels has no --rows' "an option of others" "$RANKWISE" bench kernels --rows 7
says 1 'bench comm has no --model' "an option of others" "$RANKWISE" bench comm --model tiny
says 1 'bench rollout takes one rank' "ranks that would not know of each other" \
    mpirun -np 2 "$RANKWISE" bench rollout $small
mkdir -p "$WORK/a \"quoted\\ folder"
cp -r launch/demo/model "$WORK/a \"quoted\\ folder/model"
ok "paths with quotes" "$RANKWISE" bench train $tiny --model "$WORK/a \"quoted\\ folder/model" \
    --folder "$WORK/a \"quoted\\ folder"
says 1 'repeats 65: from 1 to 64' "too many repeats" "$RANKWISE" bench train --repeats 65
says 1 'no whole number of prompts' "half a prompt" "$RANKWISE" bench step --rows 3
says 1 'takes options only' "words without a configuration" "$RANKWISE" bench rollout dtype=bf16
says 1 "unknown key 'tempo'" "a word that is no key" "$RANKWISE" bench train $tiny tempo=1
says 1 'no such model folder' "no such model" "$RANKWISE" bench train --model 16m --folder "$WORK"
says 1 'cannot make a folder' "no such folder" \
    "$RANKWISE" bench train --model tiny --folder "$WORK/none"
says 1 'needs two ranks' "comm alone" "$RANKWISE" bench comm

# a peer that answers half a second and 64 tokens, and notes how many steps we had done then
cat > "$WORK/peer" <<END
#!/bin/sh
echo "\$*" > "$WORK/arguments"
echo 'noise of a library'
echo '{"peer": "stand-in 1.0"}'
while read -r line; do
    wc -l < "\$(ls -d "$WORK"/rankwise-bench.*)/run/metrics.jsonl" >> "$WORK/turns"
    echo '{"seconds": 0.5, "tokens": '\${TOKENS:-64}'}'
done
END
chmod +x "$WORK/peer"
export RANKWISE_PYTHON="$WORK/peer"
keys "a peer" 2 "pairs seconds peer_seconds speed_ratio speed_ratio_min speed_ratio_max" \
    "$RANKWISE" bench train $tiny --against torch --repeats 5
[ "$(tr -d ' \n' < "$WORK/turns")" = 23456 ] && pass "a peer takes turns" ||
    fail "a peer takes turns" "steps before its repeats: $(cat "$WORK/turns")"
grep -q 'bench_torch.py work=train dtype=fp32 V=512 C=32 .* rows=4 prompt=8 new=8' \
    "$WORK/arguments" && pass "a peer is told the work" ||
    fail "a peer is told the work" "$(cat "$WORK/arguments")"
awk -v a="$(value seconds)" -v b="$(value peer_seconds)" -v r="$(value speed_ratio)" \
    'BEGIN { e = a * r / 0.5 - 1; exit !(b == 0.5 && e < 1e-3 && e > -1e-3) }' &&
    pass "the ratio is theirs over ours" || fail "the ratio is theirs over ours" \
    "$(cat "$WORK/lines")"
mkdir -p "$WORK/usr/bin" "$WORK/usr/share/rankwise"
cp "$RANKWISE" "$WORK/usr/bin"
says 1 'no bench_torch.py' "an installation without the scripts" \
    "$WORK/usr/bin/rankwise" bench train $tiny --against torch
touch "$WORK/usr/share/rankwise/bench_torch.py"
ok "an installed script" "$WORK/usr/bin/rankwise" bench train $tiny --against torch
says 1 'ours trained 128' "a step that trains more than the peer's" \
    "$RANKWISE" bench step $tiny --algorithm grpo --samples 4 --against torch ppo.epochs=2
says 1 'not of ppo with 2' "an algorithm that the peer does not do" \
    "$RANKWISE" bench step $tiny --algorithm ppo --against torch
says 1 'not of online_dpo with 4' "samples that the peer would train" \
    "$RANKWISE" bench step $tiny --samples 4 --against torch
cp -r launch/demo/model "$WORK/other"
sed -i 's/"rope_theta": 10000.0/"rope_theta": 20000.0/' "$WORK/other/config.json"
says 1 "peer's model is a Llama with" "a model that the peer has not" \
    "$RANKWISE" bench train $tiny --model "$WORK/other" --against torch
keys "words beside a peer" 2 "words" "$RANKWISE" bench train $tiny --against torch reduction=fast
export TOKENS=63
says 1 '63 tokens in 0.5 seconds is no answer to our 64' "a peer that does other work" \
    "$RANKWISE" bench train $tiny --against torch
says 1 'takes torch or llama.cpp' "another peer" "$RANKWISE" bench train $tiny --against us
says 1 'bench kernels needs a --model' "a peer of kernels without their shapes" \
    "$RANKWISE" bench kernels --against torch
says 1 'bench decode has no --against' "a peer of decode" \
    "$RANKWISE" bench decode --against torch
says 1 'takes one rank' "a peer beside ranks" \
    mpirun -np 2 "$RANKWISE" bench train $tiny --against torch
}
printf '#!/bin/sh\necho '"'"'{"error": "no torch here"}'"'"'\n' > "$WORK/peer"
# shellcheck disable=SC2086
says 1 'against torch: no torch here' "a peer that is not there" \
    "$RANKWISE" bench train $tiny --against torch
printf '#!/bin/sh\nexit 3\n' > "$WORK/peer"
# shellcheck disable=SC2086
says 1 'ended without an answer' "a peer that ends" "$RANKWISE" bench train $tiny --against torch

# peers that do not answer, and what is left of them
printf '#!/bin/sh\nsleep 300 & echo $$ $! > "%s/pids"\n%s' "$WORK" \
    'echo "{\"peer\": \"stuck\"}"; wait' > "$WORK/stuck"
chmod +x "$WORK/stuck"
# gone NAME: the peer and its child, a second later at most
gone() {
    for i in 1 2 3 4 5 6 7 8 9 10; do
        left=
        for pid in $(cat "$WORK/pids"); do
            case $(cut -d ' ' -f 3 "/proc/$pid/stat" 2>/dev/null) in ''|Z) ;; *) left=$pid ;; esac
        done
        [ -n "$left" ] || { pass "$1"; return; }
        sleep 0.1
    done
    fail "$1" "process $left"
}
export RANKWISE_PYTHON="$WORK/stuck"
# shellcheck disable=SC2086
{
says 1 'no answer in 1 seconds \(--peer-seconds\)' "a peer that is silent" \
    "$RANKWISE" bench train $tiny --against torch --peer-seconds 1
gone "it is ended with its children"
for work in rollout train; do
    rm -f "$WORK/pids"
    TMPDIR=$WORK "$RANKWISE" bench $work $small --against torch \
        > /dev/null 2> "$WORK/errors" & bench=$!
    until [ -s "$WORK/pids" ] || ! kill -0 $bench; do sleep 0.05; done
    kill -TERM $bench; wait $bench; code=$?
    [ $code -eq 5 ] && pass "$work: a stop ends the wait for a peer" ||
        fail "$work: a stop ends the wait for a peer" "exit $code: $(cat "$WORK/errors")"
    gone "$work: and the peer"
done
printf '#!/bin/sh\nexec yes\n' > "$WORK/peer"
export RANKWISE_PYTHON="$WORK/peer"
says 1 'said 1048576 bytes and no answer' "a peer that says yes" \
    "$RANKWISE" bench train $tiny --against torch
printf '#!/bin/sh\nexec cat /dev/zero\n' > "$WORK/peer"
says 1 'said 1048576 bytes and no answer' "a peer whose line does not end" \
    "$RANKWISE" bench train $tiny --against torch
RANKWISE_PYTHON=/nope says 1 'its interpreter is /nope' "a peer's interpreter that is not there" \
    "$RANKWISE" bench train $tiny --against torch
}

if command -v python3 > /dev/null; then
    printf '#!/bin/sh\necho "{\\"pp\\":8,\\"t_tg\\":1}"\n' > "$WORK/llama-batched-bench"
    chmod +x "$WORK/llama-batched-bench"
    export RANKWISE_PYTHON=python3
    # shellcheck disable=SC2086
    PATH=$WORK:$PATH says 1 'a line without tg, pl, t_pp' "a llama.cpp of another version" \
        "$RANKWISE" bench rollout $small --against llama.cpp
else skip "a llama.cpp of another version (no python3)"; fi

# a bench.sh whose commands fail
mkdir -p "$WORK/build"
printf '#!/bin/sh\nexit 3\n' > "$WORK/build/rankwise"
chmod +x "$WORK/build/rankwise"
said=$(BUILD=$WORK/build sh launch/bench.sh 2>&1); code=$?
[ $code -eq 1 ] && pass "bench.sh says that something failed" ||
    fail "bench.sh says that something failed" "exit $code"

# pairs of commands: 10 and 20 tokens a second
ok "two commands in turns" sh launch/bench-pair.sh 3 pair 'echo "{\"tok_s\":10}"' \
    'echo "{\"tok_s\":20}"'
case $said in *'"bench":"pair","pairs":3,"tok_s_a":10,"tok_s_b":20,"ratio":2,'*)
    pass "and their ratio" ;; *) fail "and their ratio" "$said" ;; esac
[ -z "$(ls -d "$WORK"/rankwise-bench.* 2>/dev/null)" ] && pass "no files are left" ||
    fail "no files are left" "$(ls "$WORK")"
finish
