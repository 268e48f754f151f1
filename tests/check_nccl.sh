#!/bin/sh
# Ranks with a GPU each, over NCCL, without either (tests/cuda/): whole runs with the processor's
# bits, the order of the calls, and what a loss in the middle of them is called.
. tests/lib.sh
RANKWISE_CUDA=${BUILD:-build}/tests/librankwise_cuda.so
RANKWISE_NCCL=${BUILD:-build}/tests/librankwise_nccl.so
EMULATED_NCCL_LOG=$WORK/calls EMULATED_GPUS=4
export RANKWISE_CUDA RANKWISE_NCCL EMULATED_NCCL_LOG EMULATED_GPUS
small="steps=1 prompts_per_step=2 max_new=4 eval_every=0"
long='rewards=({kind="length";unit="characters";name="long";})'

# train RANKS cpu|cuda key=value...: what it says is in $WORK/said
train() {
    n=$1 device=$2; shift 2
    rm -rf "$WORK/$device" "$WORK"/calls.*
    [ "$device" = cpu ] || set -- "$@" device=cuda-chain
    # shellcheck disable=SC2086
    run "$n" tests/bits.cfg $small "$long" "$@" output="$WORK/$device" > "$WORK/said" 2>&1
}

# same NAME RANKS WORDS key=value...: GPUs give the processor's bits and the log says WORDS once
same() {
    name=$1 n=$2 words=$3; shift 3
    train "$n" cpu "$@" && train "$n" cuda "$@" ||
        { fail "$name" "$(tail -n 3 "$WORK/said")"; return; }
    [ "$(grep -c "$words" "$WORK/said")" -eq 1 ] ||
        { fail "$name" "not said once: $words"; return; }
    "$RANKWISE" diff "$WORK/cpu" "$WORK/cuda" > "$WORK/said" 2>&1 &&
        grep -q '^equal' "$WORK/said" && pass "$name" || fail "$name" "$(cat "$WORK/said")"
}

# called NAME TEST: holds of the calls of the last run
called() { if eval "$2"; then pass "$1"; else fail "$1" "$(head -n 20 "$WORK"/calls.0)"; fi; }

# collective RANK: what every rank of a group has to call in the same order
collective() { grep -E 'Group(Start|End)|Init|Finalize|Destroy|AllReduce' "$WORK/calls.$1"; }

# A message out for a message in, over all ranks.
balanced() {
    [ "$(cat "$WORK"/calls.* | grep -c ncclSend)" -gt 0 ] &&
        [ "$(cat "$WORK"/calls.* | awk '$1 == "ncclSend" { n += $3 } $1 == "ncclRecv" { n -= $3 }
            END { print n }')" -eq 0 ]
}

# After it was called a group is looked at until it is placed, and nothing else comes between.
looked_at() {
    cat "$WORK"/calls.* | awk '
        open && $1 != "ncclCommGetAsyncError" { bad = 1 }
        /^ncclGroupEnd|Init/ { open = 1 }
        /ready$/ { open = 0 }
        /Init/ && !/blocking=0/ { bad = 1 }
        END { exit bad }'
}

same "gradients of three learners" 3 'learners: 3 GPUs over NCCL'
called "the ranks call in one order" \
    'collective 0 > "$WORK/0"; collective 1 | cmp -s - "$WORK/0" &&
        collective 2 | cmp -s - "$WORK/0"'
called "what is sent is received" balanced
called "no call before the last is placed" looked_at
called "a group ends in order" \
    'grep -h -A 9 Finalize "$WORK/calls.1" | tail -n 1 | grep -q ncclCommDestroy &&
        ! grep -q Abort "$WORK"/calls.*'

apart='ranks=({count=1;roles=["actor","reward","refmodel"];},{count=1;roles=["learner"];})'
same "weights for an actor apart, a step behind" 2 'world: 2 GPUs over NCCL' steps=2 max_lag=1 \
    "$apart"
called "the weights go from GPU to GPU" 'grep -q ncclRecv "$WORK/calls.0" &&
    grep -q ncclSend "$WORK/calls.1" && balanced'
same "two actors, two learners" 4 'world: 4 GPUs over NCCL' \
    'ranks=({count=2;roles=["actor","reward","refmodel"];},{count=2;roles=["learner"];})'

if train 2 cuda reduction=fast && grep -q ncclAllReduce "$WORK/calls.1" &&
    ! grep -q ncclSend "$WORK/calls.1"; then pass "reduction = fast takes NCCL's sum"
else fail "reduction = fast takes NCCL's sum" "$(tail -n 3 "$WORK/said")"; fi

EMULATED_GPUS=1 same "two ranks share a GPU" 2 'without NCCL (ranks 0 and 1 share GPU 0000:01:00.0'
RANKWISE_NCCL=none same "no NCCL" 2 'without NCCL (rank 0: none: cannot open'
# The placement of a host's ranks on its GPUs stays mpirun's; each calls its host its own.
hosts() {
    EMULATED_GPUS=1 mpirun -np 2 sh -c 'NCCL_HOSTID=$OMPI_COMM_WORLD_RANK exec "$@"' sh \
        "$RANKWISE" train tests/bits.cfg $small "$long" device=cuda-chain output="$WORK/hosts" \
        > "$WORK/said" 2>&1 && grep -q 'learners: 2 GPUs over NCCL' "$WORK/said"
}
ok "two ranks share a GPU and have a NCCL_HOSTID each" hosts

# A message gets lost: rank 0 waits for the learner, not for rank 1, which has no part in it.
# shellcheck disable=SC2086
EMULATED_NCCL_FAULT="lose 2 ncclSend 1" \
    says 3 'rank 2 \(host .*, learner\) waits at .* while rank 0 waited 10 s for it at "weights"' \
    "who has no part in the weights is not named" run 3 tests/bits.cfg $small "$long" steps=2 \
    deadline=10 device=cuda-chain output="$WORK/none" \
    "$(place 1 actor 1 reward,refmodel 1 learner)"

# lost NAME CODE FAULT PATTERN: the run ends with CODE and one line that matches; rank 0 aborts
lost() {
    export EMULATED_NCCL_FAULT="$3"
    rm -rf "$WORK/cuda" "$WORK"/calls.*
    # shellcheck disable=SC2086
    says "$2" "$4" "$1" run 2 tests/bits.cfg $small "$long" device=cuda-chain deadline=10 \
        output="$WORK/cuda"
    called "$1: aborted" 'grep -q ncclCommAbort "$WORK/calls.0"'
    unset EMULATED_NCCL_FAULT
}
lost "a rank hangs in a call" 3 "hang 1 ncclGroupEnd 2" \
    'rank 1 \(host .*learner.*did not come to "gradients" of step 1 within 10 s; rank 0 waited'
lost "a rank hangs while groups are made" 3 "hang 1 ncclCommInitRankConfig 1" \
    'rank 1 \(host .*did not come to "start"'
lost "a rank dies in a call" 137 "kill 1 ncclGroupEnd 1" \
    'rank 1 \(host .*died in "update" of step 1'
# shellcheck disable=SC2086
start() { run 3 tests/bits.cfg $small "$long" device=cuda-chain output="$WORK/none"; }
EMULATED_NCCL_FAULT="kill 1 ncclCommInitRankConfig 1" says 137 'rank 1 \(host .*died in "start"' \
    "a rank dies while groups are made" start
for call in ncclCommInitRankConfig ncclCommGetAsyncError; do
    lost "NCCL does not start, $call" 1 "fail 1 $call 1" \
        'rank 1 \(host .*, learners: NCCL: .* error \(.*\); .*_SOCKET_IFNAME .*RANKWISE_NCCL=none'
done
EMULATED_NCCL_FAULT="fail 0 ncclGetUniqueId 1" \
    says 1 'rank 0 \(host .*NCCL: an id .*NCCL_DEBUG=WARN' "NCCL has no id" start
# The stand-in refuses an abort before ncclGroupEnd.
lost "NCCL fails" 3 "fail 1 ncclSend 1" \
    'rank 1 \(host .*, learners: NCCL: sending: unhandled system error'
finish
