#!/bin/sh
# make demo-preferences: samples of the demo's model, labelled by how glad they are, as small files
# of pairs, lists and singles.  The same bits each time.
set -e
BUILD=${BUILD:-build}
work=$BUILD/demo
here=launch/demo
"$BUILD/rankwise" generate "$here/model" --prompts "$here/prompts.jsonl" -n 4 --max-new 64 \
    --seed 7 --json > "$work/samples.jsonl"
for kind in pairs lists singles joint variants objectives; do
    "$work/preferences" "$kind" < "$work/samples.jsonl" > "$here/$kind.jsonl"
done
"$BUILD/rankwise" generate "$here/model" --prompts "$here/held-out.jsonl" -n 4 --max-new 64 \
    --seed 8 --json > "$work/held-out-samples.jsonl"
"$work/preferences" held-out < "$work/held-out-samples.jsonl" > "$here/held-out-pairs.jsonl"
