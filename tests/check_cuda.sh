#!/bin/sh
# make check-cuda: the whole program on an NVIDIA GPU.  Without one every line is a SKIP.
#   EMULATED=1  rehearses it on the processor (tests/cuda/cuda_runtime.h), where that is feasible
#   SHORT=1     some lines, in a minute
#   DEVICE      what is tried (cuda: in bf16 by tensor cores, with bits of its own)
#   EXACT       the same with the processor's bits (cuda-chain)
. tests/lib.sh
BUILD=${BUILD:-build}
DEVICE=${DEVICE:-cuda} EXACT=${EXACT:-cuda-chain}
folder=$(cd "$BUILD" && pwd)
if [ "${EMULATED:-0}" = 1 ]; then
    RANKWISE_CUDA=$folder/tests/librankwise_cuda.so RANKWISE_TEST_GPU=emulated
    export RANKWISE_NCCL="$folder/tests/librankwise_nccl.so"
else
    RANKWISE_CUDA=$folder/librankwise_cuda.so RANKWISE_TEST_GPU=real
fi
export RANKWISE_CUDA RANKWISE_TEST_GPU
on_gpu() { [ "$RANKWISE_TEST_GPU" = real ]; }
short() { [ "${SHORT:-0}" = 1 ]; }

doctor=$("$RANKWISE" doctor "$WORK" 2>/dev/null)
gpu=$(printf '%s\n' "$doctor" | sed -n 's/^ok *gpu *\(GPU 0: .*\)/\1/p')
nccl=$(printf '%s\n' "$doctor" | sed -n 's/^ok *gpu *\(NCCL [0-9].*\)/\1/p')
if [ -n "$gpu" ]; then
    echo "# $gpu, ${nccl:-no NCCL}"
else
    why=$(printf '%s\n' "$doctor" | sed -n 's/^ok *gpu *//p' | head -n 1)
    echo "# $why"
    [ ! -e /dev/nvidiactl ] || fail "there is a driver of NVIDIA's" "$why"
fi

# try NAME COMMAND...: as ok, where there is a GPU
try() { if [ -n "$gpu" ]; then ok "$@"; else skip "$1"; fi; }

# try_nccl NAME COMMAND...: where there is NCCL, too
try_nccl() { if [ -n "$nccl" ]; then try "$@"; else skip "$1: no NCCL"; fi; }

# ---- operations, each beside ref: bits, and errors and slopes beside double

# all TEST COMMAND...: a program of tests fails none and leaves none out
all() {
    "$@" > "$WORK/said" 2>&1 && ! grep -q 'SKIPPED' "$WORK/said" && return
    grep -E 'SKIPPED|FAILED|rankwise:|ERROR|=====' "$WORK/said" | tail -n 5
    return 1
}
if on_gpu; then ROUNDS=200; else ROUNDS=2; fi     # of random shapes
export ROUNDS
operations="test_compute_ragged test_compute test_compute_bf16 test_compute_attention"
operations="$operations test_compute_slope test_sample test_compute_tensor test_tensor_attention"
if short; then operations="test_compute_ragged test_compute_slope"; fi
for t in $operations; do
    try "$t" all "$BUILD/tests/$t"
done

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
for tool in memcheck racecheck synccheck; do
    for t in $operations; do
        if on_gpu && [ -n "$sanitizer" ]; then
            try "$tool of $t" all env ROUNDS=2 "$sanitizer" --tool $tool --error-exitcode 9 \
                "$BUILD/tests/$t"
        else
            skip "$tool of $t: $(on_gpu && echo "no compute-sanitizer" || echo "a GPU's")"
        fi
    done
done

# ---- models: numbers of other programs

golden() { "$BUILD/tests/golden" "$@"; }
models="tinystories-656k stories260K stories-char-936k"
short && models=
for model in $models; do
    at=$SHARED/data/models/$model
    [ -d "$at" ] || { skip "goldens of $model: no shared data"; continue; }
    for file in golden golden_nll golden_train; do
        GOLDEN_DEVICE=$DEVICE try "$model $file, fp32" golden "$at/$file.json"
    done
    # The processor's bf16 is within these factors; six steps of training drift apart.
    GOLDEN_DTYPE=bf16 GOLDEN_DEVICE=$DEVICE GOLDEN_LOOSER=800 try "$model golden, bf16" \
        golden "$at/golden.json"
    GOLDEN_DTYPE=bf16 GOLDEN_DEVICE=$DEVICE GOLDEN_LOOSER=100 try "$model golden_nll, bf16" \
        golden "$at/golden_nll.json"
done

# ---- runs: whoever computes, in whatever company

if on_gpu; then size="steps=6"; else size="steps=1 prompts_per_step=3 max_new=6"; fi
rewards='rewards=({kind="length";unit="characters";name="long";})'

# ranks N key=value...: each rank is a host of its own to NCCL, so that they may share a GPU
ranks() {
    n=$1; shift
    if [ "$n" -eq 1 ]; then "$RANKWISE" train "$@"; return; fi
    # shellcheck disable=SC2016
    mpirun -np "$n" sh -c 'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec "$@"' - \
        "$RANKWISE" train "$@"
}

# made OUT N key=value...: a run in $WORK/OUT
made() {
    made=$1 n=$2; shift 2
    rm -rf "$WORK/$made"
    # shellcheck disable=SC2086
    ranks "$n" tests/bits.cfg $size "$rewards" eval_every=0 "$@" output="$WORK/$made" \
        > "$WORK/ran" 2>&1 || { tail -n 3 "$WORK/ran"; return 1; }
}

# the last run's gradients went from GPU to GPU
over_nccl() { grep -q 'GPUs over NCCL' "$WORK/ran" || { cat "$WORK/ran"; return 1; }; }

# equal A N key=value...: another run has the bits of run A
equal() {
    like=$1; shift
    made other "$@" && "$RANKWISE" diff "$WORK/$like" "$WORK/other" | grep '^equal'
}

for dtype in fp32 bf16; do
    short && [ $dtype = fp32 ] && continue
    try "$dtype: a run on the processor" made cpu 1 dtype=$dtype device=cpu
    try "$dtype: $EXACT has the processor's bits" equal cpu 1 dtype=$dtype device=$EXACT
    try "$dtype: a run on $DEVICE" made gpu 1 dtype=$dtype device=$DEVICE
    try "$dtype: the same again" equal gpu 1 dtype=$dtype device=$DEVICE
    try "$dtype: rows in other company" equal gpu 1 dtype=$dtype device=$DEVICE micro_rows=3
    try "$dtype: two ranks" equal gpu 2 dtype=$dtype device=$DEVICE
    try_nccl "$dtype: over NCCL" over_nccl
    short && continue
    try "$dtype: four ranks" equal gpu 4 dtype=$dtype device=$DEVICE
    try "$dtype: roles on their own" equal gpu 4 dtype=$dtype device=$DEVICE \
        "$(place 2 actor 1 learner 1 reward,refmodel)"
done

# ---- a loss: a rank is killed in the middle of a run over NCCL

# together: mpirun sees a rank die, too, and its code is the signal's.  apart: it does not, nor do
# ranks see each other on the board, as on two hosts: the other rank ends by itself, with 3.
# shellcheck disable=SC2016
together='echo $$ > "$1/pid.$OMPI_COMM_WORLD_RANK"; shift; exec "$@"'
# shellcheck disable=SC2016
apart='at=$1; shift; "$@" & echo $! > "$at/pid.$OMPI_COMM_WORLD_RANK"
    wait $!; code=$?; [ $code -ne 137 ] || sleep 40; exit $code'

# lost CODE WORDS HOW: rank 1 is killed behind step 1; what is said names it, in time
lost() {
    rm -rf "$WORK/lost"
    # shellcheck disable=SC2086
    mpirun -np 2 sh -c "export NCCL_HOSTID=rank\$OMPI_COMM_WORLD_RANK; $3" - "$WORK" \
        "$RANKWISE" train tests/bits.cfg $size steps=100000 "$rewards" eval_every=0 dtype=bf16 \
        device="$DEVICE" deadline=20 output="$WORK/lost" > "$WORK/ran" 2>&1 &
    pid=$!
    tries=0
    until grep -q . "$WORK/lost/metrics.jsonl" 2>/dev/null; do
        kill -0 $pid 2>/dev/null && [ $tries -lt 3000 ] || { cat "$WORK/ran"; return 1; }
        sleep 0.1; tries=$((tries + 1))
    done
    kill -9 "$(cat "$WORK/pid.1")"
    begin=$(date +%s)
    wait $pid; code=$? took=$(($(date +%s) - begin))
    grep 'rankwise: ' "$WORK/ran"
    echo "exit $code after $took s"
    [ $code -eq "$1" ] && [ $took -le 30 ] && over_nccl &&
        grep -q "rankwise: rank 1 (host .*$2" "$WORK/ran"
}
try_nccl "a rank that is killed is named" lost 137 'died in' "$together"
try_nccl "so it is by a rank that cannot see it" lost 3 '' "$apart"

# ---- a real run: the story model, online DPO and PPO, of which the reward rises

# rises OUT: the mean reward of the last steps of a run is above that of the first
rises() {
    sed -n 's/.*"reward\/mean": \([-0-9.e+]*\).*/\1/p' "$WORK/$1/metrics.jsonl" |
        awk '{ x[NR] = $1 } END { n = NR < 10 ? 1 : 10; for (i = 1; i <= n; i++) {
            a += x[i] / n; b += x[NR + 1 - i] / n }
            print "mean reward", a, "->", b, "in", NR, "steps"; exit !(NR > 1 && b > a) }'
}
learns() {
    rm -rf "$WORK/story"
    "$RANKWISE" train launch/demo/demo.cfg device="$DEVICE" output="$WORK/story" "$@" && rises story
}
for dtype in fp32 bf16; do
    short && continue
    if on_gpu; then
        try "online DPO learns, $dtype" learns dtype=$dtype
        try "PPO learns, $dtype" learns dtype=$dtype algorithm=ppo
    else
        skip "online DPO and PPO learn, $dtype: a GPU's, for its time"
    fi
done

# ---- a crash: killed behind a checkpoint, resumed, and as if nothing had been

if on_gpu; then last=40; else last=4; fi
crash="steps=$last checkpoint_every=1 prompts_per_step=3 max_new=6"
killed() {
    made torn 1 $crash device="$DEVICE" &
    pid=$!
    tries=0
    until ls "$WORK/torn/checkpoints" 2>/dev/null | grep -q '^step-'; do
        kill -0 $pid 2>/dev/null && [ $tries -lt 6000 ] || return 1
        sleep 0.1; tries=$((tries + 1))
    done
    kill -9 "$(pgrep -P $pid | head -n 1)" $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ "$(wc -l < "$WORK/torn/metrics.jsonl")" -lt $last ]
}
resumed() {
    # shellcheck disable=SC2086
    ranks 1 tests/bits.cfg $size "$rewards" eval_every=0 $crash device="$DEVICE" \
        output="$WORK/torn" && grep -q 'resumed at step' "$WORK/torn/log.txt" &&
        "$RANKWISE" diff "$WORK/whole" "$WORK/torn" | grep '^equal'
}
if ! short; then
    try "never killed" made whole 1 $crash device="$DEVICE"
    try "killed behind a checkpoint" killed
    try "resumed, with the bits of the run that was not" resumed
fi
finish
