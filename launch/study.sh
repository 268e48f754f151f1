#!/bin/sh
# A table of what configurations learn, over seeds: held-out reward before and after, KL, steps,
# wall time.
#   sh launch/study.sh [-n RANKS] [-s "1 2 3"] [-o FOLDER] [-r METRIC] CONFIG ... [-- key=value ...]
# A run stays in FOLDER/<config>-seed<s>; one that is complete is not run again.  METRIC: the score
# behind eval/<set>/ that is shown (default: score).
set -e
BUILD=${BUILD:-build}
ranks=2 seeds="1 2 3" out=runs/study metric=score configs= keys=
while [ $# -gt 0 ]; do
    case $1 in
    -n) ranks=$2; shift 2 ;;
    -s) seeds=$2; shift 2 ;;
    -o) out=$2; shift 2 ;;
    -r) metric=$2; shift 2 ;;
    --) shift; keys=$*; break ;;
    *) configs="$configs $1"; shift ;;
    esac
done
[ -n "$configs" ] || { sed -n '2,6s/^# //p' "$0"; exit 1; }

export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export OMPI_MCA_rmaps_base_oversubscribe=1
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# values FOLDER NAME: the metric eval/<set>/NAME at every evaluation, in order
values() { sed -n "s|.*\"eval/[^/\"]*/$2\": \([-0-9.e+]*\).*|\1|p" "$1/metrics.jsonl"; }

# spread: mean and standard deviation (n - 1) of the numbers on standard input
spread() {
    awk '{ x[NR] = $1; sum += $1 }
         END { if (NR == 0) { print "-"; exit }
               mean = sum / NR
               for (i = 1; i <= NR; i++) squares += (x[i] - mean) ^ 2
               if (NR > 1) printf "%.2f ± %.2f\n", mean, sqrt(squares / (NR - 1))
               else printf "%.2f\n", mean }'
}

# column NAME WHICH CONFIG: spread over the seeds of the first or last value
column() {
    for seed in $seeds; do values "$out/$3-seed$seed" "$1" | $2 -n 1; done | spread
}

echo "| configuration | reward before | after | KL (nats) | tokens before | after | steps |" \
    "wall s |"
echo "|---|---|---|---|---|---|---|---|"
for config in $configs; do
    name=$(basename "$config" .cfg)
    for seed in $seeds; do
        run=$out/$name-seed$seed
        [ -f "$run/wall" ] && continue
        mkdir -p "$run"
        begin=$(date +%s)
        mpirun -np "$ranks" "$BUILD/rankwise" train "$config" seed="$seed" output="$run" $keys \
            > "$run/terminal.txt" 2>&1 || { tail -n 3 "$run/terminal.txt" >&2; exit 1; }
        echo $(($(date +%s) - begin)) > "$run/wall"
    done
    steps=$(sed -n 's|.*"train/step": \([0-9]*\).*|\1|p' "$run/metrics.jsonl" | tail -n 1)
    wall=$(for seed in $seeds; do cat "$out/$name-seed$seed/wall"; done | spread)
    echo "| $name | $(column "$metric" head "$name") | $(column "$metric" tail "$name") |" \
        "$(column kl tail "$name") | $(column len head "$name") | $(column len tail "$name") |" \
        "$steps | $wall |"
done
