#!/bin/sh
# What rules make of two objectives that pull apart, over weights and seeds: a table, hypervolumes
# with their spread, and a picture.
#   sh launch/pareto.sh [-n RANKS] [-s "1 2 3"] [-w "0.1 0.3 0.5 0.7 0.9"] [-a "raco weighted_sum
#       mgda pcgrad"] [-o FOLDER] CONFIG [-- key=value ...]
# CONFIG has two rewards and evaluates at the end; -w are weights of the first, -a algorithms.
# FOLDER/table.md and FOLDER/pareto.svg are made anew each time; a run stays in
# FOLDER/<algorithm>-<weight>-seed<s>, and one that is complete is not run again.
set -e
BUILD=${BUILD:-build}
ranks=1 seeds="1 2 3" weights="0.1 0.3 0.5 0.7 0.9" out=runs/pareto config= keys=
rules="raco weighted_sum mgda pcgrad"
while [ $# -gt 0 ]; do
    case $1 in
    -n) ranks=$2; shift 2 ;;
    -s) seeds=$2; shift 2 ;;
    -w) weights=$2; shift 2 ;;
    -a) rules=$2; shift 2 ;;
    -o) out=$2; shift 2 ;;
    --) shift; keys=$*; break ;;
    *) config=$1; shift ;;
    esac
done
[ -n "$config" ] || { sed -n '2,8s/^# //p' "$0"; exit 1; }

export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export OMPI_MCA_rmaps_base_oversubscribe=1
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# ---- runs
for rule in $rules; do
    for w in $weights; do
        rest=$(awk -v w="$w" 'BEGIN { printf "%.9g", 1 - w }')
        for seed in $seeds; do
            run=$out/$rule-$w-seed$seed
            [ -f "$run/wall" ] && continue
            rm -rf "$run"
            mkdir -p "$run"
            begin=$(date +%s)
            launcher="mpirun -np $ranks"
            [ "$ranks" -gt 1 ] || launcher=
            # shellcheck disable=SC2086 (words on purpose)
            $launcher "$BUILD/rankwise" train "$config" algorithm="$rule" seed="$seed" \
                output="$run" raco.weights="[$w, $rest]" $keys > "$run/terminal.txt" 2>&1 ||
                { tail -n 3 "$run/terminal.txt" >&2; exit 1; }
            echo $(($(date +%s) - begin)) > "$run/wall"
        done
    done
done

# ---- one line a run: rule, weight, seed, then of the first and the last evaluation of held-out
# samples: each objective (reward times its weight), KL; and the seconds it took
objectives() {      # NAME WEIGHT of each reward, in order
    grep '^rewards = ' "$1/config.cfg" | grep -o 'name = "[^"]*"; weight = [-0-9.e+]*' |
        sed 's/name = "\(.*\)"; weight = \(.*\)/\1 \2/'
}
values() { sed -n "s|.*\"eval/[^/\"]*/$2\": \([-0-9.e+]*\).*|\1|p" "$1/metrics.jsonl"; }
points=$out/points.txt
: > "$points"
names=
for rule in $rules; do
    for w in $weights; do
        for seed in $seeds; do
            run=$out/$rule-$w-seed$seed
            names=$(objectives "$run" | cut -d' ' -f1 | tr '\n' ' ')
            line="$rule $w $seed"
            for end in head tail; do
                for i in 1 2; do
                    name=$(objectives "$run" | sed -n "${i}s/ .*//p")
                    factor=$(objectives "$run" | sed -n "${i}s/.* //p")
                    x=$(values "$run" "reward/$name" | $end -n 1)
                    line="$line $(awk -v x="$x" -v f="$factor" 'BEGIN { printf "%.6g", x * f }')"
                done
                line="$line $(values "$run" kl | $end -n 1)"
            done
            echo "$line $(cat "$run/wall")" >> "$points"
        done
    done
done
set -- $names
[ $# -eq 2 ] || { echo "pareto: $config has $# rewards, not 2" >&2; exit 1; }

awk -v first="$1" -v second="$2" -f launch/pareto.awk -v what=table "$points" > "$out/table.md"
awk -v first="$1" -v second="$2" -f launch/pareto.awk -v what=picture "$points" > "$out/pareto.svg"
cat "$out/table.md"
