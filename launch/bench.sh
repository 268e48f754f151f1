#!/bin/sh
# make bench: what docs/performance.md lists under targets, as lines of JSON, in under ten minutes,
# the most important first; also into build/bench.jsonl.  What the time does not reach, and peers
# that are not there, are a line each; what failed is, too, and the exit status is then 1.  From the
# environment: THREADS (default: the cores), BENCH_SECONDS (default 570), RANKWISE_PYTHON (default
# python3).
BUILD=${BUILD:-build}
rankwise=$BUILD/rankwise
out=$BUILD/bench.jsonl
python=${RANKWISE_PYTHON:-python3}
threads=${THREADS:-$(getconf _NPROCESSORS_ONLN)}
end=$(($(date +%s) + ${BENCH_SECONDS:-570}))

# torch.compile takes minutes: the commands of the table run with it, one at a time
export RANKWISE_TORCH_COMPILE="${RANKWISE_TORCH_COMPILE:-0}"
. "$(dirname "$0")/bench-lines.sh"

bench() { line "$rankwise" bench "$@"; }

: > "$out"
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1 | tr -d '"\\')
printf '{"bench":"machine","cpu":"%s","cores":%d,"date":"%s"}\n' "$cpu" \
    "$(getconf _NPROCESSORS_ONLN)" "$(date -u +%Y-%m-%d)" | tee -a "$out"

torch= llama=
if "$python" -c 'import torch' 2>/dev/null; then torch='--against torch'
else echo "bench: $python has no torch: no lines against it" >&2; fi
if command -v llama-batched-bench > /dev/null; then llama='--against llama.cpp'
else echo "bench: no llama-batched-bench on PATH: no lines against llama.cpp" >&2; fi

# shellcheck disable=SC2086 (an option and its value, or nothing)
{
for dtype in fp32 bf16; do bench kernels --dtype $dtype --threads "$threads"; done
for dtype in fp32 bf16; do
    bench train --model 15m --rows 8 --prompt 32 --new 224 --dtype $dtype --threads "$threads" \
        $torch
done
for rows in 1 8 32; do
    bench rollout --model 15m --rows $rows --dtype bf16 --threads "$threads" ${llama:-$torch}
done
bench step --model 15m --dtype bf16 --threads "$threads" $torch
line mpirun -n 4 "$rankwise" bench step --model 15m --rows 64 --prompt 16 --repeats 1
line mpirun -n 2 "$rankwise" bench comm
bench step --model 15m --dtype bf16 --threads "$threads" --algorithm grpo --samples 8 \
    --repeats 1 $torch
bench train --model 124m --rows 4 --prompt 32 --new 224 --dtype bf16 --threads "$threads" \
    --repeats 1 $torch
work="$rankwise bench train --model 124m --rows 4 --new 224 --dtype bf16 --repeats 1"
line sh launch/bench-pair.sh 1 "2 ranks over 1" "$work" "mpirun -n 2 $work"
line sh launch/bench-pair.sh 1 "fast over reproducible" \
    "$rankwise bench train --rows 8 --new 224 --dtype bf16 --threads $threads" \
    "$rankwise bench train --rows 8 --new 224 --dtype bf16 --threads $threads reduction=fast"
for rows in 1 8 32; do
    bench rollout --model 124m --rows $rows --new 16 --dtype bf16 --threads "$threads" \
        --repeats 1 ${llama:-$torch}
done
}
rm -f "$out.status"
exit $failed
