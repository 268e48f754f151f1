#!/bin/sh
# The goldens of the shared data: logits, log-probabilities, greedy tokens, gradients, training
# steps, losses.
. tests/lib.sh
golden=${BUILD:-build}/tests/golden
printf '{"cases": [{"id": "new", "op": "nothing known"}]}' > "$WORK/none.json"
"$golden" "$WORK/none.json" > "$WORK/said" && fail "nothing compared is a failure" ||
    pass "nothing compared is a failure"
if [ ! -d "$SHARED/data/models" ]; then
    [ -z "$CI" ] || { fail "the shared data must be present under CI"; finish; }
    skip "goldens: no shared data"
    finish
fi

# agrees NAME FILE [MORE]: some numbers are compared, all agree, and none is left out as not
# supported, unless MORE lets the closing line end so
agrees()
{
    said=$("$golden" "$2" 2>&1); code=$?
    closing=$(printf '%s\n' "$said" | tail -n 1)
    [ $code -eq 0 ] &&
        printf '%s\n' "$closing" | grep -Eq "^[1-9][0-9]* passed, 0 failed${3:-}\$" &&
        pass "$1: $closing" || fail "$1" "exit $code: $(printf '%s' "$said" | tail -n 5)"
}

for device in cpu ref; do
    export GOLDEN_DEVICE=$device
    for model in tinystories-656k stories260K stories-char-936k; do
        for file in golden golden_train golden_nll; do
            agrees "$model $file on $device" "$SHARED/data/models/$model/$file.json"
        done
    done
done
# Architectures with random weights: ids only.
for device in cpu ref; do
    export GOLDEN_DEVICE=$device
    for model in tiny-llama3; do
        agrees "$model on $device" "$SHARED/data/models/tiny-random/$model/golden.json"
    done
done
# Every case of every algorithm: none is skipped.
agrees "golden_losses" "$SHARED/spec/golden_losses.json"
finish
