#!/bin/sh
# The bits of every algorithm are those of tests/golden_hashes.txt, whatever the compiler, its level
# of optimization (gcc 12 once dropped a rounding at -O2), the sanitizers and the processor.
. tests/lib.sh

golden=tests/golden_hashes.txt

# The configurations that run as they are; models and judges of the others are elsewhere.
names=$(ls launch/configs | sed -n '/^stories-/d; /^judge[.]/d; s/[.]cfg$//p')
names="$names dpo.bf16 ppo.bf16 raco.bf16"

# hash NAME: of the weights after two steps
hash() {
    dtype=fp32
    [ "$1" = "${1%.bf16}" ] || dtype=bf16
    "$RANKWISE" train "launch/configs/${1%.bf16}.cfg" output="$WORK/$1" steps=2 eval_every=0 \
        checkpoint_every=0 dtype=$dtype >"$WORK/$1.log" 2>&1
    hashes "$WORK/$1" | sed -n 's/^2 //p'
}

if [ -n "${REGENERATE:-}" ]; then
    sed -n '/^#/p' $golden >"$WORK/golden"
    for name in $names; do
        echo "$name $(hash "$name")" >>"$WORK/golden"
    done
    cp "$WORK/golden" $golden
    exit
fi

for name in $names; do
    expected=$(sed -n "s/^$name //p" $golden)
    found=$(hash "$name")
    [ -n "$found" ] && [ "$found" = "$expected" ] && pass "$name: the weights of every machine" ||
        fail "$name: the weights of every machine" \
            "$found is not '$expected' of $golden; $(tail -n 1 "$WORK/$name.log")"
done
finish
