#!/bin/sh
# device = "cuda" without a GPU: the kernels on the processor (tests/cuda/cuda_runtime.h), each put
# off until somebody waits for it.  Whole steps, with the processor's bits.
. tests/lib.sh
RANKWISE_CUDA=${BUILD:-build}/tests/librankwise_cuda.so
RANKWISE_NCCL=${BUILD:-build}/tests/librankwise_nccl.so
export RANKWISE_CUDA RANKWISE_NCCL
small="steps=1 prompts_per_step=3 max_new=6 eval_every=0"
long='rewards=({kind="length";unit="characters";name="long";})'
two="${long%)},{kind=\"words\";words=[\"the\"];name=\"the\";})"

# same NAME RANKS key=value...: the run on the emulated GPU is that on the processor
same() {
    name=$1 n=$2; shift 2
    rm -rf "$WORK/cpu" "$WORK/cuda"
    for device in cpu cuda-chain; do
        # shellcheck disable=SC2086
        run "$n" tests/bits.cfg $small "$long" "$@" device=$device output="$WORK/${device%-chain}" \
            > "$WORK/said" 2>&1 || { fail "$name" "$(tail -n 3 "$WORK/said")"; return; }
    done
    "$RANKWISE" diff "$WORK/cpu" "$WORK/cuda" > "$WORK/said" 2>&1 &&
        grep -q '^equal' "$WORK/said" && pass "$name" || fail "$name" "$(cat "$WORK/said")"
}

for dtype in fp32 bf16; do
    same "online DPO, $dtype" 1 dtype=$dtype
    same "PPO, $dtype" 1 dtype=$dtype algorithm=ppo
done
export EMULATED_GPUS=2                          # a rank each
same "GRPO with filters and a penalty on two ranks" 2 algorithm=grpo samples_per_prompt=4 top_k=40 \
    top_p=0.9 min_p=0.01 repetition_penalty=1.2
unset EMULATED_GPUS
same "RACO" 1 algorithm=raco "raco.weights=[0.5,0.5]" "$two"
same "recomputed activations, a lag" 1 recompute=true max_lag=1 steps=2 prompts_per_step=2

# The tensor cores' bits: those of one rank, on any number of GPUs and for every placement; and what
# the actor made of a token is what the learner makes of it.
tensor="dtype=bf16 device=cuda steps=2 prompts_per_step=5 max_new=6 eval_every=0 micro_rows=3"
tensor_run() {
    n=$1 out=$2; shift 2
    # shellcheck disable=SC2086
    EMULATED_GPUS=$n run "$n" tests/bits.cfg $tensor "$long" "$@" output="$out" \
        > "$WORK/said" 2>&1 || { fail "tensor cores, $out" "$(tail -n 3 "$WORK/said")"; return 1; }
}
# alike NAME RANKS key=value...: that of one rank
alike() {
    name=$1 n=$2; shift 2
    rm -rf "$WORK/other"
    tensor_run "$n" "$WORK/other" "$@" || return
    "$RANKWISE" diff "$WORK/tensor" "$WORK/other" > "$WORK/said" 2>&1 &&
        grep -q '^equal' "$WORK/said" && pass "$name" || fail "$name" "$(cat "$WORK/said")"
}
tensor_run 1 "$WORK/tensor" && pass "tensor cores"
grep -q '"mismatch/logp_abs_max": 0[,}]' "$WORK/tensor/metrics.jsonl" &&
    ! grep -q '"mismatch/logp_abs_max": 0*[.1-9]' "$WORK/tensor/metrics.jsonl" &&
    pass "tensor cores: learner and actor agree to the bit" ||
    fail "tensor cores: learner and actor agree to the bit" \
        "$(grep -o '"mismatch/logp_abs_max[^,]*' "$WORK/tensor/metrics.jsonl")"
alike "tensor cores, two ranks" 2
alike "tensor cores, three ranks, micro-batches of two rows" 3 micro_rows=2
alike "tensor cores, roles on their own" 3 "$(place 1 actor 1 learner 1 reward,refmodel)"

# unlike VARIABLE=VALUE key=value...: two ranks, of which the second has that in its environment
unlike() {
    rm -rf "$WORK/unlike"
    # shellcheck disable=SC2016,SC2086
    second=$1; shift
    SECOND=$second EMULATED_GPUS=2 mpirun -np 2 sh -c '
        [ "$OMPI_COMM_WORLD_RANK" = 0 ] || export "${SECOND?}"; exec "$@"' - \
        "$RANKWISE" train tests/bits.cfg $small "$long" dtype=bf16 output="$WORK/unlike" "$@"
}
have='rank 0 \(host .*\) has emulated GPU with 4 multiprocessors and no cuBLASLt, rank 1 \(host'
says 1 "$have .*\) another GPU with 4 .*bits differ; take equal GPUs" \
    "GPUs of two models" unlike EMULATED_NAME="another GPU" device=cuda
says 1 "$have .*\) emulated GPU with 3 multip" "GPUs of two sizes" \
    unlike EMULATED_PROCESSORS=3 device=cuda
says 1 "$have .*\) emulated GPU .* cuBLASLt 13\.0\.0, whose" "cuBLASLt on one rank only" \
    unlike RANKWISE_CUBLASLT="${BUILD:-build}/tests/emulated_lt.so" device=cuda
warned() {
    unlike EMULATED_PROCESSORS=3 device=cuda reduction=fast > "$WORK/said" 2>&1 &&
        [ "$(grep -c "warning: .*results depend on the placement" "$WORK/said")" -eq 1 ]
}
ok "reduction = fast: one warning" warned
ok "with the processor's bits GPUs may differ" unlike EMULATED_PROCESSORS=3 device=cuda-chain

# prints NAME COMMAND...: the same words on both
prints() {
    name=$1; shift
    "$@" --device cpu > "$WORK/cpu.out" 2>&1 && "$@" --device cuda > "$WORK/cuda.out" 2>&1 &&
        cmp -s "$WORK/cpu.out" "$WORK/cuda.out" && pass "$name" ||
        fail "$name" "$(diff "$WORK/cpu.out" "$WORK/cuda.out" | head -n 4)"
}
EMULATED_CALLS=$WORK/calls prints "generate" "$RANKWISE" generate launch/demo/model \
    --prompt "The cat" -n 3 --max-new 8 --seed 5
[ "$(grep -c cudaGraphLaunch "$WORK/calls")" -ge 4 ] && pass "decoding launches a graph" ||
    fail "decoding launches a graph" "$(sort "$WORK/calls" | uniq -c)"

# fits NAME key=value...: the device's memory is what `plan` says, within 3 %
fits() {
    name=$1; shift
    planned=$("$RANKWISE" plan tests/bits.cfg -n 1 $small device=cuda "$@" |
        awk '$2 ~ /^actor/ { printf "%.0f", ($NF - $(NF - 2)) * 1048576 }')
    rm -rf "$WORK/calls" "$WORK/fits-$1"
    EMULATED_CALLS=$WORK/calls run 1 tests/bits.cfg $small device=cuda "$@" \
        output="$WORK/fits-$1" > "$WORK/said" 2>&1
    taken=$(sed -n 's/^device bytes //p' "$WORK/calls" | tail -n 1)
    [ "${taken:-0}" -gt $((planned / 100 * 97)) ] && [ "$taken" -lt $((planned / 100 * 103)) ] &&
        pass "$name" || fail "$name" "planned $planned, taken $taken; $(tail -n 1 "$WORK/said")"
}
fits "memory as planned, fp32" algorithm=online_dpo
fits "memory as planned, PPO in bf16" algorithm=ppo dtype=bf16
fits "memory as planned, RACO in two passes, bf16" algorithm=raco dtype=bf16 raco.mode=two_pass \
    micro_rows=1 "raco.weights=[0.5,0.5]" "$two"
for mode in reproducible fast; do
    RANKWISE_CUBLASLT=${BUILD:-build}/tests/emulated_lt.so \
        fits "memory as planned, with cuBLASLt, $mode" algorithm=online_dpo dtype=bf16 \
        reduction=$mode
done
echo '{"prompt": "The cat", "completion": " was happy"}' > "$WORK/line.jsonl"
prints "score" "$RANKWISE" score launch/demo/model --data "$WORK/line.jsonl" --top 3

EMULATED_GPUS=0 says 1 'device = "cuda": no GPU can be used \(no CUDA-capable device' "no GPU" \
    run 1 tests/bits.cfg steps=1 device=cuda output="$WORK/none"
EMULATED_MEMORY=1000000 says 2 'does not fit: [0-9.]* MiB of 1 rank on a GPU of which 1.0' \
    "a GPU that is full" run 1 tests/bits.cfg steps=1 device=cuda output="$WORK/none"
# Room for one rank, and what its libraries take; each rank sees all of it free.
export EMULATED_MEMORY=900000000
EMULATED_GPUS=2 ok "two GPUs for two ranks" \
    run 2 tests/bits.cfg $small "$long" device=cuda output="$WORK/none"
EMULATED_GPUS=1 says 2 'does not fit: [0-9.]* MiB of 2 ranks on a GPU of which 858.3 MiB are' \
    "one GPU for two ranks" run 2 tests/bits.cfg $small "$long" device=cuda output="$WORK/none"
unset EMULATED_MEMORY
EMULATED_MEMORY=1000000 says 2 'cannot allocate [0-9]* bytes' "generate on a GPU that is full" \
    "$RANKWISE" generate launch/demo/model --prompt "The cat" --device cuda
EMULATED_BROKEN=30 says 3 'GPU 0000:01:00.0: .*: an emulated error' \
    "a GPU that breaks is a loss" run 1 tests/bits.cfg $small device=cuda output="$WORK/broken"
EMULATED_BROKEN=12 says 3 'GPU 0000:01:00.0: memory: an emulated error' \
    "a GPU that breaks at the start is a loss, too" run 1 tests/bits.cfg $small device=cuda \
    dtype=bf16 output="$WORK/broken"
EMULATED_APART=1 says 1 'GPU 0 cannot share memory' "a GPU whose memory is apart" \
    run 1 tests/bits.cfg steps=1 device=cuda output="$WORK/none"
RANKWISE_CUDA=$WORK/none.so says 1 'no GPU can be used \(.*none.so: cannot open' "no library" \
    run 1 tests/bits.cfg steps=1 device=cuda output="$WORK/none"
unset RANKWISE_CUDA
if [ -f "${BUILD:-build}/librankwise_cuda.so" ] && [ ! -e /dev/nvidiactl ]; then
    says 1 'device = "cuda": no GPU can be used' "the real library without a driver" \
        run 1 tests/bits.cfg steps=1 device=cuda output="$WORK/none"
else
    skip "the real library without a driver"
fi
finish
