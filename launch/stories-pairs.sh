#!/bin/sh
# Stories sampled from a pretrained model and labelled once, for reward models and offline methods:
# OUT/train.jsonl and OUT/eval.jsonl, pairs of token ids of which the first is the more cheerful;
# OUT/singles.jsonl, samples labelled cheerful or not.  The same bits each time.
#   sh launch/stories-pairs.sh [-n SAMPLES_A_PROMPT] [-o OUT] [CONFIG [key=value ...]]
# CONFIG has the model and the rewards that label: launch/configs/stories-dpo.cfg.
set -e
BUILD=${BUILD:-build}
n=64 out=runs/stories-pairs
while [ $# -gt 0 ]; do
    case $1 in
    -n) n=$2; shift 2 ;;
    -o) out=$2; shift 2 ;;
    -h|--help) sed -n '2,6s/^# //p' "$0"; exit 0 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- launch/configs/stories-dpo.cfg
data=${RANKWISE_SHARED:-../shared}/data
model=$data/models/tinystories-656k
mkdir -p "$out"

# sample SET N SEED: N stories of each prompt of the set
sample() {
    "$BUILD/rankwise" generate "$model" --prompts "$data/prompts/$1.jsonl" --n "$2" --max-new 56 \
        --seed "$3" --json > "$out/samples.jsonl"
}

sample stories "$n" 7
"$BUILD/rankwise" label "$@" --samples "$out/samples.jsonl" > "$out/train.jsonl"
"$BUILD/rankwise" label "$@" --samples "$out/samples.jsonl" --as singles --above 0 \
    > "$out/singles.jsonl"
sample stories.eval 16 8
"$BUILD/rankwise" label "$@" --samples "$out/samples.jsonl" > "$out/eval.jsonl"
rm "$out/samples.jsonl"
