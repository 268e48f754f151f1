#!/bin/sh
# max_lag = 1 where a learner scores too, or holds the reference: it does so when it needs the
# batch, so that its update does not wait for the actors' next batch; and whatever follows the
# policy meets each batch as it would on one rank, resumed in another placement, too.
. tests/lib.sh
short="max_lag=1 eval_every=0 checkpoint_every=0 prompts_per_step=5 max_new=12 log_samples=20"

# Ranks, roles of each, separated by "|"
places="2|1 actor,reward 1 learner,refmodel
2|1 actor 1 learner,reward,refmodel
4|2 actor 2 learner,reward,refmodel
3|1 actor,learner 1 learner,reward,refmodel 1 reward,refmodel"

# order FILE RANK NAME...: those spans of a rank in the order in which they began
order() {
    file=$1 rank=$2; shift 2
    sed -n "s/.*\"pid\":$rank,\"tid\":0,\"ts\":\([0-9.]*\),.*\"name\":\"\($(
        echo "$*" | sed 's/ /\\|/g')\)\".*/\1 \2/p" "$file" | sort -n | cut -d' ' -f2 | tr '\n' ' '
}

# waits ROLES NAMES EXPECTED: what the learner of the second rank did, and when
waits() {
    out=$WORK/order
    rm -rf "$out"
    ok "actors | $1: three steps" run 2 tests/bits.cfg $short steps=3 trace=true output="$out" \
        "$(place 1 "$2" 1 "$1")"
    found=$(order "$out/trace.json" 1 reward ref_logp update)
    [ "$found" = "$3" ] && pass "actors | $1: an update does not wait for the next batch" ||
        fail "actors | $1: an update does not wait for the next batch" "$found"
}
waits learner,refmodel actor,reward "ref_logp update ref_logp update ref_logp update ref_logp "
waits learner,reward,refmodel actor "reward ref_logp update reward ref_logp update reward ref_logp \
update reward ref_logp "
# Prompts are drawn again where the scores are known at once: these are not put off.
out=$WORK/again
ok "sampled again: three steps" run 2 launch/configs/dapo.cfg $short steps=3 trace=true \
    output="$out" "$(place 1 actor 1 learner,reward,refmodel)"
found=$(order "$out/trace.json" 1 reward update)
[ "$found" = "reward reward update reward update reward update " ] &&
    pass "sampled again: scores come first" || fail "sampled again: scores come first" "$found"

# equal NAME: the run is the one on one rank
equal() {
    [ -n "$(hashes "$WORK/one")" ] && [ "$(hashes "$out")" = "$(hashes "$WORK/one")" ] &&
        "$RANKWISE" diff "$WORK/one" "$out" > "$WORK/log" 2>&1 &&
        pass "$1" || fail "$1" "$(cat "$WORK/log")"
}

# Each placement goes on where the one before it stopped.
while IFS='|' read -r config keys; do
    rm -rf "$WORK/one"
    ok "$keys: one rank" run 1 $config $short $keys steps=6 output="$WORK/one" </dev/null
    echo "$places" > "$WORK/places"
    before=1 roles_before="1 actor,learner,reward,refmodel"
    while IFS='|' read -r ranks roles; do
        out=$WORK/other
        rm -rf "$out"
        ok "$keys: three steps of $roles_before" run $before $config $short $keys steps=3 \
            output="$out" "$(place $roles_before)" </dev/null
        ok "$keys: three of $roles" run $ranks $config $short $keys steps=6 output="$out" \
            "$(place $roles)" </dev/null
        equal "$keys: the same bits"
        before=$ranks roles_before=$roles
    done < "$WORK/places"
done <<'END'
tests/bits.cfg|ref.update=every ref.every=2
launch/configs/osp.cfg|osp.judge=ema osp.decay=0.5 ref.update=ema ref.decay=0.5 journal=memory
launch/configs/osp.cfg|osp.judge=current
END
finish
