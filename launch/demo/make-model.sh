#!/bin/sh
# make demo-model: writes the world, learns a vocabulary, trains the model, exports it to
# launch/demo/model, and writes
# the prompts.  Takes a few minutes; the same bits each time.
set -e
BUILD=${BUILD:-build}
work=$BUILD/demo
here=launch/demo
mkdir -p "$work/init"
"$work/stories" corpus 20000 1 > "$work/stories.txt"
"$work/stories" corpus 500 2 > "$work/held-out.txt"
"$work/bpe" 640 < "$work/stories.txt" > "$work/init/tokenizer.json"
cp "$here/config.json" "$work/init/"
"$work/stories" prompts 400 3 > "$here/prompts.jsonl"
"$work/stories" held-out 100 4 > "$here/held-out.jsonl"
"$work/stories" corpus 60 5 > "$here/stories.txt"
"$BUILD/rankwise" train "$here/lm.cfg" model="$work/init" text="[\"$work/stories.txt\"]" \
    eval_text="[\"$work/held-out.txt\"]" output="$work/run"
"$BUILD/rankwise" export "$work/run" --hf "$here/model" --dtype BF16
