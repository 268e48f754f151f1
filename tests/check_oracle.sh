#!/bin/sh
# Against other programs' libraries, where they are installed: h5py opens our checkpoints,
# transformers loads our export and gives our logits, tokenizers gives our ids; torch's bf16 is
# further from float64 than ours.  PYTHON names the
# interpreter.
. tests/lib.sh
python=${PYTHON:-python3}
has() { command -v "$python" >/dev/null && "$python" -c "import $1" >/dev/null 2>&1; }

ok "a run to export" run 1 tests/bits.cfg output="$WORK/run" steps=2 eval_every=0
ok "export" "$RANKWISE" export "$WORK/run" --hf "$WORK/hf"
if has h5py; then ok "h5py opens the checkpoint" "$python" tests/oracle/h5.py "$WORK/run"
else skip "h5py is not installed"; fi
if has torch && has transformers; then
    ok "transformers gives the same logits" "$python" tests/oracle/logits.py "$RANKWISE" "$WORK/hf"
    ok "bf16 is no further from float64 than torch's" "$python" tests/oracle/bf16.py "$RANKWISE" \
        "$WORK/hf"
else skip "transformers is not installed"; fi
if has tokenizers; then
    ok "tokenizers gives the same ids" "$python" tests/oracle/tokenizer.py "$RANKWISE" \
        launch/demo/model
else skip "tokenizers is not installed"; fi
finish
