#!/bin/sh
# rankwise bench on a GPU that is emulated (tests/cuda/cuda_runtime.h), and make bench-cuda: every
# kind of line with its keys.  No figure is judged.
. tests/lib.sh
RANKWISE_CUDA=${BUILD:-build}/tests/librankwise_cuda.so
export RANKWISE_CUDA
small="--device cuda --model tiny --rows 2 --prompt 8 --new 4 --repeats 1 --folder $WORK"
step="seconds seconds_min tok_s gflops peak_gflops copy_gbytes peak_fraction update"

# shellcheck disable=SC2086
{
keys "train" 1 "$step forward backward optimizer" "$RANKWISE" bench train $small
keys "step" 1 "$step generate ref_logp published_bytes" "$RANKWISE" bench step $small --dtype bf16
[ "$(value published_bytes)" = 0 ] && pass "one rank publishes nothing" ||
    fail "one rank publishes nothing" "$(cat "$WORK/lines")"
keys "step of an actor and a learner" 1 "$step published_bytes weight_sync" \
    mpirun -np 2 "$RANKWISE" bench step $small \
    'ranks=({count=1;roles=["actor","reward"];},{count=1;roles=["learner","refmodel"];})'
[ "$(value published_bytes)" -gt 100000 ] && pass "which publishes its weights" ||
    fail "which publishes its weights" "$(cat "$WORK/lines")"

# the script, beside a peer that answers at once
cat > "$WORK/peer" <<END
#!/bin/sh
[ "\$1" != -c ] || exit 0
echo "\$*" >> "$WORK/arguments"
echo '{"peer": "stand-in 1.0", "peak_gflops": 700, "copy_gbytes": 4000}'
case "\$2" in *kernels)
    echo '{"bench": "torch linear", "gflops": 500}'; echo '{"done": true}'; exit 0 ;;
esac
for word; do case \$word in work=*|rows=*|prompt=*|new=*) eval "\${word#--}" ;; esac; done
[ "\$work" = rollout ] || new=\$((prompt + new))
while read -r line; do echo '{"seconds": 0.5, "tokens": '\$((rows * new))'}'; done
END
chmod +x "$WORK/peer"
export RANKWISE_PYTHON="$WORK/peer" BUILD="${BUILD:-build}"
mkdir -p "$WORK/build"
ln -s "$(realpath "$RANKWISE")" "$WORK/build/rankwise"
tiny() {
    env MODEL=tiny SMALL=tiny LARGE=tiny LENGTH=16 ROWS=1 PAIRED_ROWS=1 LONG=16 CONTEXT=8 NEW=2 \
        BATCH=2 BATCHES=1 PROMPT=4 MADE=4 STEP_ROWS=2 MB=1 BUILD="$WORK/build" "$@"
}
said=$(RANKWISE_CUDA=$(realpath "$RANKWISE_CUDA") tiny sh launch/bench-cuda.sh 2>&1 > /dev/null)
code=$?
}
said=$(printf '%s' "$said" | grep -v '^world: 2 GPUs with')    # or without NCCL
out=$WORK/build/bench-cuda.jsonl
[ $code -eq 0 ] && [ -z "$said" ] && lines "$out" && pass "make bench-cuda" ||
    fail "make bench-cuda" "exit $code: $said"

# has COUNT PATTERN: so many lines of the script match
has() {
    n=$(grep -Ec -- "$2" "$out")
    [ "$n" -eq "$1" ] && pass "lines of $2" || fail "lines of $2" "$n, not $1"
}
has 1 '"bench":"machine","gpu":'
has 2 '"bench":"peak","backend":"cuda",.*"copy_gbytes":'
has 2 '"bench":"attention_forward","T":16,.*"peak_fraction":'
has 2 '"bench":"attention_backward","T":16,.*"peak_fraction":'
has 2 '"bench":"logprob_forward","T":16,.*"peak_fraction":'
has 2 '"bench":"training products",.*"worst":"'
has 2 '"bench":"decoding products, M 64",.*"worst":"'
has 1 '"bench":"torch","peer":"stand-in 1.0","peer_peak_gflops":700,"peer_copy_gbytes":4000'
has 1 '"bench": "torch linear"'
has 1 '"bench":"decode","model":"tiny",.*"reduction":"fast".*"bound_fraction":'
has 4 '"bench":"decode","model":"tiny",.*"reduction":"reproducible".*"bound_fraction":'
has 1 '"bench":"train",.*"reduction":"reproducible".*"peak_fraction":'
has 1 '"bench":"train",.*"reduction":"fast".*"peak_fraction":'
has 1 '"bench":"step",.*"published_bytes":0'
has 3 '"bench":"(train|step|rollout) against torch",.*"peer_peak_gflops":700,.*"speed_ratio":'
has 1 '"bench":"start",.*"device":"cuda",.*"first_token":'
has 1 '"bench":"weights","device":"cuda","ranks":2,'
grep -q 'bench_torch_cuda.py work=train dtype=bf16 V=512 .* tied=1 rows=1 prompt=1 new=15' \
    "$WORK/arguments" && pass "the peer of a GPU is told the work" ||
    fail "the peer of a GPU is told the work" "$(cat "$WORK/arguments")"

EMULATED_MEMORY=100000 says 2 '--model tiny: this needs at least 0.0 GiB, and the GPU has 0.0' \
    "a GPU that is too small" "$RANKWISE" bench decode --model tiny --device cuda --context 8
EMULATED_MEMORY=100000000000 says 2 '--model 8b: this needs at least 119.7 GiB, and the GPU' \
    "an update that is too large" "$RANKWISE" bench train --model 8b --device cuda --rows 1
says 1 'llama.cpp: it is measured on a processor only' "a peer that has no GPU" \
    "$RANKWISE" bench rollout --model tiny --device cuda --against llama.cpp
export EMULATED_GPUS=0
says 1 'device = "cuda": no GPU can be used' "no GPU" "$RANKWISE" bench kernels --device cuda
said=$(tiny RANKWISE_CUDA="$(realpath "$RANKWISE_CUDA")" sh launch/bench-cuda.sh 2>&1); code=$?
case $code:$said in
    '1:rankwise: device = "cuda": no GPU can be used'*) pass "make bench-cuda without one" ;;
    *) fail "make bench-cuda without one" "exit $code: $said" ;;
esac
finish
