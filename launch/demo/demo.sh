#!/bin/sh
# make demo: online DPO on 4 ranks with the model in launch/demo/model, then what changed.
set -e
BUILD=${BUILD:-build}
out=${OUT:-runs/demo}
new=64                              # tokens of the samples shown

# mpirun on a laptop or as root in a container; a cluster's own settings win
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_odls_base_sigkill_timeout=30
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# value NAME: first and last value of a metric in the run
first() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$out/metrics.jsonl" | head -n 1; }
last() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" "$out/metrics.jsonl" | tail -n 1; }
round() { printf '%.2f' "$1"; }

rm -rf "$out"                       # the demo always starts afresh
mpirun -np 4 "$BUILD/rankwise" train launch/demo/demo.cfg output="$out"

prompts=$out/shown.jsonl
sed -n '1p;5p' launch/demo/held-out.jsonl > "$prompts"
for which in before after; do
    model=launch/demo/model
    [ $which = before ] || model=$out
    printf '\n--- %s, on prompts it never saw ---\n' $which
    "$BUILD/rankwise" generate "$model" --prompts "$prompts" --seed 5 --max-new $new
done
score=eval/held-out/score
echo "reward on held-out prompts: $(round "$(first $score)") before," \
    "$(round "$(last $score)") after (KL to the start: $(round "$(last eval/held-out/kl)") nats)"
echo "tokens per second: $(round "$(last perf/gen_tok_s)") generated," \
    "$(round "$(last perf/train_tok_s)") trained"
echo "run folder: $out   (config.cfg, metrics.jsonl, samples.jsonl, checkpoints/)"
