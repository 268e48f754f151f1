#!/bin/sh
# Against other programs' libraries, where they are installed: h5py opens our checkpoints,
# transformers loads our export and gives our logits, tokenizers gives our ids, jinja2 (as
# transformers sets it up) writes our conversations; torch's bf16 is
# further from float64 than ours, and runs the work that bench gives it.  PYTHON names the
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
    mkdir "$WORK/families"
    ok "random checkpoints of every family have transformers' logits" "$python" \
        tests/oracle/families.py "${BUILD:-build}/tests/golden" "$WORK/families"
    # the peer of a GPU, on the processor
    for work in train rollout step kernels; do
        echo | RANKWISE_TORCH_DEVICE=cpu RANKWISE_TORCH_COMPILE=0 "$python" \
            tests/oracle/bench_torch_cuda.py work=$work V=512 C=32 L=2 H=4 G=2 D=16 F=64 tied=1 \
            rows=4 prompt=8 new=8 dtype=bf16 > "$WORK/peer" 2>&1
        tail -n 1 "$WORK/peer" | grep -Eq '"tokens": (64|32)|"done": true' &&
            pass "bench_torch_cuda.py, $work" || fail "bench_torch_cuda.py, $work" \
            "$(tail -n 3 "$WORK/peer")"
    done
else skip "transformers is not installed"; fi
if has tokenizers; then
    ok "tokenizers gives the same ids" "$python" tests/oracle/tokenizer.py "$RANKWISE" \
        launch/demo/model
else skip "tokenizers is not installed"; fi
if has transformers && has jinja2; then
    # shellcheck disable=SC2046 (one folder, or none)
    ok "jinja2 writes the same conversations" "$python" tests/oracle/templates.py "$RANKWISE" \
        $(ls -d "$SHARED/data/chat_templates" 2>/dev/null) 20
else skip "transformers or jinja2 is not installed"; fi
finish
