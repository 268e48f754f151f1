#!/bin/sh
# The goldens of the shared data: logits, log-probabilities, greedy tokens, gradients, training
# steps, losses.
. tests/lib.sh
if [ ! -d "$SHARED/data/models" ]; then
    [ -z "$CI" ] || { fail "the shared data must be present under CI"; finish; }
    skip "goldens: no shared data"
    finish
fi
for device in cpu ref; do
    for model in tinystories-656k stories260K stories-char-936k; do
        for file in golden golden_train golden_nll; do
            export GOLDEN_DEVICE=$device
            ok "$model $file on $device" "${BUILD:-build}/tests/golden" \
                "$SHARED/data/models/$model/$file.json"
        done
    done
done
ok "golden_losses" "${BUILD:-build}/tests/golden" "$SHARED/spec/golden_losses.json"
finish
