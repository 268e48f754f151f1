#!/bin/sh
# The bits of every algorithm are those of tests/golden_hashes.txt, whatever the compiler, its level
# of optimization (gcc 12 once dropped a rounding at -O2), the sanitizers and the processor.
. tests/lib.sh

golden=tests/golden_hashes.txt

# hash NAME: of the weights after two steps
hash() {
    "$RANKWISE" train "launch/configs/$1.cfg" output="$WORK/$1" steps=2 eval_every=0 \
        checkpoint_every=0 >"$WORK/$1.log" 2>&1
    hashes "$WORK/$1" | sed -n 's/^2 //p'
}

if [ -n "${REGENERATE:-}" ]; then
    sed -n '/^#/p' $golden >"$WORK/golden"
    for config in launch/configs/*.cfg; do
        name=$(basename "$config" .cfg)
        case $name in stories-* | judge) continue ;; esac   # their models and judges are elsewhere
        echo "$name $(hash "$name")" >>"$WORK/golden"
    done
    cp "$WORK/golden" $golden
    exit
fi

while read -r name expected; do
    [ "$name" = "#" ] && continue
    found=$(hash "$name")
    [ "$found" = "$expected" ] && pass "$name: the weights of every machine" ||
        fail "$name: the weights of every machine" \
            "$found is not $expected; $(tail -n 1 "$WORK/$name.log")"
done <$golden
finish
