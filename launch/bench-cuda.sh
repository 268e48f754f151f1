#!/bin/sh
# make bench-cuda: what docs/performance.md lists under targets of a GPU, as lines of JSON, in under
# ten minutes, the most important first; also into build/bench-cuda.jsonl.  What the time does not
# reach and peers that are not there are a line each; what failed is, too, and the exit status is
# then 1.  Without a GPU: one line, exit 1.  From the environment: BENCH_SECONDS (default 570),
# DEVICE (default cuda), RANKWISE_PYTHON (default python3, with torch and transformers), and the
# sizes below, of which those of `train` are what 139 GiB have room for.
BUILD=${BUILD:-build}
rankwise=$BUILD/rankwise
out=$BUILD/bench-cuda.jsonl
python=${RANKWISE_PYTHON:-python3}
device=${DEVICE:-cuda}
end=$(($(date +%s) + ${BENCH_SECONDS:-570}))

model=${MODEL:-1.7b} small=${SMALL:-0.6b} large=${LARGE:-8b}
length=${LENGTH:-2048}                          # tokens of a row that is trained on
rows=${ROWS:-4} paired_rows=${PAIRED_ROWS:-2}   # of it: alone; beside a peer, which needs as much
long=${LONG:-4096}                              # tokens of the row of attention
context=${CONTEXT:-1024} new=${NEW:-64}         # tokens before decode, and made
batch=${BATCH:-64} batches=${BATCHES:-1 8 256}
prompt=${PROMPT:-128} made=${MADE:-128}         # of a row of a rollout, and of a step
step_rows=${STEP_ROWS:-16} mb=${MB:-1024}

. "$(dirname "$0")/bench-lines.sh"

"$rankwise" bench decode --model tiny --rows 1 --context 1 --new 1 --repeats 1 \
    --device "$device" > /dev/null || exit 1

bench() { line "$rankwise" bench "$@" --device "$device"; }

: > "$out"
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
printf '{"bench":"machine","gpu":"%s","cores":%d,"date":"%s"}\n' \
    "$(printf '%s' "${gpu:-unknown}" | tr -d '"\\')" "$(getconf _NPROCESSORS_ONLN)" \
    "$(date -u +%Y-%m-%d)" | tee -a "$out"

torch=
if "$python" -c 'import torch, transformers' 2>/dev/null; then torch='--against torch'
else echo "bench: $python has no torch with transformers: no lines against them" >&2; fi

# shellcheck disable=SC2086 (an option and its value, or nothing)
{
bench kernels --model "$model" --length "$long" --dtype bf16 $torch
bench decode --model "$model" --rows "$batch" --context "$context" --new "$new" --dtype bf16 --fast
bench decode --model "$model" --rows "$batch" --context "$context" --new "$new" --dtype bf16
bench train --model "$model" --rows "$paired_rows" --length "$length" --dtype bf16 $torch
bench rollout --model "$model" --rows "$batch" --prompt "$prompt" --new "$made" --dtype bf16 $torch
line "$rankwise" bench start --model "$model" --rows 2 --new 2 --dtype bf16 --device "$device"
line "$rankwise" bench train --model "$model" --rows "$rows" --length "$length" --dtype bf16 \
    --device "$device" reduction=fast
bench step --model "$model" --rows "$step_rows" --prompt "$prompt" --new "$made" --dtype bf16 \
    --repeats 2 $torch
bench decode --model "$large" --rows "$batch" --context "$context" --new "$new" --dtype bf16
for rows in $batches; do
    bench decode --model "$small" --rows "$rows" --context "$context" --new "$new" --dtype bf16
done
bench kernels --model "$model" --length "$long" --dtype fp32
line mpirun -n 2 "$rankwise" bench comm --mb "$mb" --repeats 2 --device "$device"
bench decode --model "$large" --rows 1 --context "$context" --new "$new" --dtype bf16
}
rm -f "$out.status"
exit $failed
