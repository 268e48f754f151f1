#!/bin/sh
# launch/pareto.sh: its arithmetic on given points, and a study of a few short runs.
. tests/lib.sh

# Before (0, 0); rule a: (1, 0) and (0, 1), rule b: (1, 1) and (0, 0).  The box begins at -0.1: of
# 1.21, a dominates 1.1 * 0.1 + 0.1 * 1 = 0.21, b all.
cat > "$WORK/points" <<'END'
a 0.1 1 0 0 0 1 0 0.5 3
a 0.9 1 0 0 0 0 1 0.5 3
b 0.1 1 0 0 0 1 1 0.5 3
b 0.9 1 0 0 0 0 0 0.5 3
END
awk -v first=one -v second=two -f launch/pareto.awk -v what=table "$WORK/points" > "$WORK/table"
ok "the dominated area" grep -q '^| a | 0.174 |$' "$WORK/table"
ok "a point that dominates all" grep -q '^| b | 1.000 |$' "$WORK/table"
ok "a point of the table" grep -q '^| a | 0.9 | 0.000 | 1.000 | 0.500 |$' "$WORK/table"

# the same points and others of a second seed: means and spread
sed 's/^\(. .*\) 1 0 0 0/\1 2 0 0 0/; s/0.5 3$/1.5 3/' "$WORK/points" >> "$WORK/points2"
cat "$WORK/points" >> "$WORK/points2"
awk -v first=one -v second=two -f launch/pareto.awk -v what=table "$WORK/points2" > "$WORK/table"
ok "the spread over seeds" grep -q '| 0.9 | 0.000 ± 0.000 | 0.000 ± 0.000 | 1.000 ± 0.707 |$' \
    "$WORK/table"

study() {
    sh launch/pareto.sh -o "$WORK/study" -s "1 2" -w "0.2 0.8" -a "raco mgda" \
        launch/configs/raco.cfg -- steps=2 prompts_per_step=2 max_new=8 eval_every=2 eval_rows=4 \
        checkpoint_every=0
}
ok "a study of eight runs" study
ok "a row a rule and weight, and a rule" test \
    "$(grep -c '^| [rm][ag][cd][oa] | 0' "$WORK/study/table.md")" -eq 6
ok "a picture" grep -q '</svg>' "$WORK/study/pareto.svg"
ok "a point a rule and weight" test "$(grep -c '<title>' "$WORK/study/pareto.svg")" -eq 4
before=$(cat "$WORK/study/raco-0.2-seed1/metrics.jsonl" | cksum)
ok "what is complete is not run again" study
ok "and is as it was" test "$before" = "$(cat "$WORK/study/raco-0.2-seed1/metrics.jsonl" | cksum)"
says 1 "no such model" "a study that cannot run says why" sh launch/pareto.sh -o "$WORK/bad" \
    -s 1 -w 0.5 -a raco launch/configs/raco.cfg -- model="$WORK/nowhere"
finish
