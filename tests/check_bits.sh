#!/bin/sh
# The bit contract: the same seed gives the same weights at every step and the same samples on 1 to
# 4 ranks, for every placement, with 1 and 2 threads, any micro-batch and instruction set; per lag
# and dtype.
. tests/lib.sh

apart3=$(place 1 actor 1 learner 1 reward,refmodel)
apart4=$(place 2 actor 1 learner 1 reward,refmodel)
pairs4=$(place 2 actor,reward 2 learner,refmodel)
three4=$(place 1 reward,refmodel,actor 3 learner)
idle4=$(place 3 actor,reward,refmodel,learner)

# same LAG NAME RANKS key=value...: equal to the run on one rank
dtype=fp32
same() {
    lag=$1 name="$dtype, lag $1: $2" n=$3; shift 3
    out="$WORK/$dtype-x" whole="$WORK/$dtype$lag"
    rm -rf "$out"
    if ! log=$(run "$n" tests/bits.cfg dtype=$dtype max_lag="$lag" output="$out" "$@" 2>&1); then
        fail "$name" "$(printf '%s' "$log" | tail -n 3)"
    elif [ "$(hashes "$out")" != "$(hashes "$whole")" ]; then
        fail "$name" "weights differ: $("$RANKWISE" diff "$whole" "$out" 2>&1)"
    elif ! cmp -s "$out/samples.jsonl" "$whole/samples.jsonl"; then
        fail "$name" "samples differ"
    elif ! "$RANKWISE" diff "$whole" "$out" >/dev/null 2>&1; then
        fail "$name" "diff says: $("$RANKWISE" diff "$whole" "$out" 2>&1)"
    else
        pass "$name"
    fi
}

# first NAME key=value...: one step, equal to the first of the run on one rank (for slow kernels)
first() {
    name="$dtype, $1"; shift
    out="$WORK/first"
    rm -rf "$out"
    run 1 tests/bits.cfg dtype=$dtype output="$out" steps=1 eval_every=0 "$@" >/dev/null 2>&1
    if [ "$(hashes "$out")" = "$(hashes "$WORK/${dtype}0" | grep '^1 ')" ] &&
        [ -n "$(hashes "$out")" ]; then
        pass "$name"
    else
        fail "$name" "$(hashes "$out") is not $(hashes "$WORK/${dtype}0" | grep '^1 ')"
    fi
}

# whole LAG: the run on one rank
whole() {
    ok "$dtype, lag $1: the run on one rank" run 1 tests/bits.cfg dtype=$dtype max_lag=$1 \
        output="$WORK/$dtype$1"
}

for lag in 0 1; do
    whole $lag
    for n in 2 3 4; do same $lag "$n ranks, every role on each" $n; done
    same $lag "roles on their own, 3 ranks" 3 "$apart3"
    same $lag "two actors, 4 ranks" 4 "$apart4"
    same $lag "two roles on a rank, 4 ranks" 4 "$pairs4"
    same $lag "three learners, 4 ranks" 4 "$three4"
    same $lag "one rank idle, 4 ranks" 4 "$idle4"
    same $lag "2 threads" 1 threads=2
    same $lag "2 ranks of 2 threads" 2 threads=2
done
dtype=bf16
for lag in 0 1; do
    whole $lag
    same $lag "3 ranks, every role on each" 3
    same $lag "two actors, 4 ranks" 4 "$apart4"
    same $lag "three learners, 2 threads, 4 ranks" 4 "$three4" threads=2
done
for dtype in fp32 bf16; do
    same 0 "micro-batches of one group" 1 micro_rows=1
    same 0 "three rows decoded at once" 1 rollout_rows=3
    same 0 "all rows decoded at once" 1 rollout_rows=1000
    same 0 "recomputed activations" 1 recompute=true
    first "plain C kernels" device=cpu-plain
    first "the definition (ref)" device=ref
    for name in avx2 avx512 avx512-bf16; do
        if "$RANKWISE" train tests/bits.cfg output="$WORK/try" device=cpu-$name steps=1 \
            eval_every=0 > /dev/null 2>&1; then
            same 0 "cpu-$name kernels" 2 device=cpu-$name
        else
            skip "$dtype: this processor has no $name"
        fi
        rm -rf "$WORK/try"
    done
done

# 20 steps were compared, and the weights moved at each
[ "$(hashes "$WORK/fp320" | cut -d' ' -f2 | sort -u | wc -l)" -eq 21 ] &&
    pass "every step has its own hash" || fail "every step has its own hash"
[ "$(hashes "$WORK/fp320")" != "$(hashes "$WORK/fp321")" ] && pass "lag 1 is another run" ||
    fail "lag 1 is another run"
[ "$(hashes "$WORK/fp320")" != "$(hashes "$WORK/bf160")" ] && pass "bf16 is another run" ||
    fail "bf16 is another run"
ok "another seed" run 1 tests/bits.cfg seed=2 output="$WORK/seed"
[ "$(hashes "$WORK/seed" | tail -n 1)" != "$(hashes "$WORK/fp320" | tail -n 1)" ] &&
    pass "another seed, another hash" || fail "another seed, another hash"

# actor against learner at equal weights: 0 in every step of lag 0; in the first step of lag 1 only
for dtype in fp32 bf16; do
    zero=$(grep -c '"mismatch/logp_abs_max": 0,' "$WORK/${dtype}0/metrics.jsonl")
    [ "$zero" -eq 20 ] && pass "$dtype: mismatch is 0 in all 20 steps" ||
        fail "$dtype: mismatch is 0 in all 20 steps" "in $zero"
done
zero=$(grep -c '"mismatch/logp_abs_max": 0,' "$WORK/fp321/metrics.jsonl")
any=$(grep -c '"mismatch/' "$WORK/fp321/metrics.jsonl")
[ "$zero" -eq 1 ] && [ "$any" -eq 1 ] && pass "lag 1: mismatch in the first step only" ||
    fail "lag 1: mismatch in the first step only" "0 in $zero, present in $any"

# diff names what was planted
cp -r "$WORK/fp320" "$WORK/planted"
sed -i '5s/"completion":"/"completion":"x/' "$WORK/planted/samples.jsonl"
says 1 'step 1: samples.jsonl line 5' "diff names a planted sample" "$RANKWISE" diff "$WORK/fp320" \
    "$WORK/planted"
says 1 'differ: step 0: eval/held-out/score' "diff names the first number of another seed" \
    "$RANKWISE" diff "$WORK/fp320" "$WORK/seed"
cp -r "$WORK/fp320" "$WORK/hash"
sed -i '8s/"train\/weights_hash": "./"train\/weights_hash": "x/' "$WORK/hash/metrics.jsonl"
says 1 'differ: step 7: weights hash' "diff names a planted hash" "$RANKWISE" diff "$WORK/fp320" \
    "$WORK/hash"
cp -r "$WORK/fp320" "$WORK/loss"
sed -i '7s/"loss": [-0-9.e]*/"loss": 1.5/' "$WORK/loss/metrics.jsonl"
says 1 'differ: step 6: loss is [0-9.]+ and 1.5' "diff names a planted loss" "$RANKWISE" diff \
    "$WORK/fp320" "$WORK/loss"
says 1 'weights/model.embed_tokens.weight element [0-9]+: [-0-9.e]+ and [-0-9.e]+' \
    "diff names tensor and element" \
    "$RANKWISE" diff "$WORK/fp320/checkpoints/step-00000020.h5" \
        "$WORK/seed/checkpoints/step-00000020.h5"
finish
