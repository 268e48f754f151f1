#!/bin/sh
# Every algorithm, by the configuration of its name in launch/configs: each runs as it is on the
# demo's model, has the same bits on one rank, on three, and with roles apart, and goes on from a
# checkpoint on another number of ranks as if it had never stopped.
. tests/lib.sh

# short runs: what the bits depend on stays as the configuration has it
plain="steps=4 eval_every=0 checkpoint_every=0 prompts_per_step=5 log_samples=20"

# Roles on ranks of their own, three ranks: what the algorithm does not need is left out by it.
apart='ranks=({count=1;roles=["actor"];},{count=1;roles=["learner"];},'
apart=$apart'{count=1;roles=["reward","refmodel"];})'

# equal NAME OUT: the run in OUT has the bits of the one on one rank
equal() {
    if [ -z "$(hashes "$WORK/one")" ] || [ "$(hashes "$2" | tail -n 1)" != \
        "$(hashes "$WORK/one" | tail -n 1)" ]; then
        fail "$1" "weights differ: $("$RANKWISE" diff "$WORK/one" "$2" 2>&1 | tail -n 1)"
    else
        ok "$1" "$RANKWISE" diff "$WORK/one" "$2"
    fi
}

# another NAME RANKS key=value...: a run of its own, compared
another() {
    what=$1 n=$2; shift 2
    rm -rf "$WORK/other"
    if said=$(run "$n" "$config" $short output="$WORK/other" "$@" 2>&1); then
        equal "$what" "$WORK/other"
    else
        fail "$what" "$(printf '%s' "$said" | tail -n 3)"
    fi
}

# resumed NAME: two steps on two ranks, then the other two on four
resumed() {
    rm -rf "$WORK/other"
    if said=$(run 2 "$config" $short output="$WORK/other" steps=2 2>&1 &&
        run 4 "$config" $short output="$WORK/other" 2>&1); then
        equal "$1" "$WORK/other"
    else
        fail "$1" "$(printf '%s' "$said" | tail -n 3)"
    fi
}

# whole NAME: all of it for $config
whole() {
    rm -rf "$WORK/one"
    if said=$(run 1 "$config" $short output="$WORK/one" 2>&1); then
        pass "$1: one rank"
    else
        fail "$1: one rank" "$(printf '%s' "$said" | tail -n 3)"
        return
    fi
    another "$1: 3 ranks" 3 micro_rows=3
    if grep -q '"version"' "$WORK/one/samples.jsonl" 2>/dev/null; then
        another "$1: roles apart" 3 "$apart"
    fi
    resumed "$1: resumed on 4 ranks"
    moved=$(hashes "$WORK/one" | cut -d' ' -f2 | sort -u | wc -l)
    [ "$moved" -ge 2 ] && pass "$1: the weights moved" || fail "$1: the weights moved" \
        "$moved hashes in 4 steps"
}

for config in ${ALGORITHMS:-launch/configs/*.cfg}; do
    name=$(basename "$config" .cfg)
    case $name in stories-*) continue ;; esac       # those need ../shared and minutes
    short=$plain
    grep -q '^[a-z_]*prompts = ' "$config" && short="$plain max_new=12"
    whole "$name"
done

# What RACO does without K gradients at once, between two solves, and with signs of a file.
plain="$plain max_new=12"
for keys in "raco.mode=two_pass raco.refresh=3" "raco.mode=sketch" "raco.solve=leaf" \
    'source=pairs pairs=["launch/demo/objectives.jsonl"]'; do
    config=launch/configs/raco.cfg
    short="$plain $keys"
    case ${ALGORITHMS:-$config} in *"$config"*) whole "raco, $keys" ;; esac
done

# Policy gradients: a critic on the policy, text beside the rollouts, responses observed before
# training, weights that lag, prompts sampled again while others train.
while read -r name keys; do
    config=launch/configs/$name.cfg
    short="$plain $keys"
    case ${ALGORITHMS:-$config} in *"$config"*) whole "$name, $keys" </dev/null ;; esac
done <<END
ppo max_lag=1 ppo.critic=shared ppo.critic_lr=-1 ppo.entropy_coef=0.01
ppo ppo.ptx_coef=0.5 text=["launch/demo/stories.txt"] rows_per_step=5 row_tokens=60
grpo max_lag=1 ppo.tis=token ppo.reward_norm=reference ppo.reward_rows=30 ppo.minibatches=2
dapo max_lag=1
END

# Models that follow the policy, and judges of their own, wherever the roles are.
"$RANKWISE" generate launch/demo/model --prompts launch/demo/prompts.jsonl --max-new 12 --json \
    > "$WORK/sft.jsonl"
for keys in "osp.judge=ema osp.decay=0.5 ref.update=every ref.every=2" \
    "prompts=$WORK/sft.jsonl osp.baseline=text osp.pairs=adjacent" \
    "osp.judge=frozen max_lag=1 osp.pairs=best_worst osp.average=probability" \
    "osp.judge=ema ref.update=ema ref.decay=0.5 max_lag=1 osp.link=affine osp.strength=affine" \
    "model_init=random osp.judge=ema ref.update=every ref.every=2 max_lag=1"; do
    [ -z "${ALGORITHMS:-}" ] || break
    config=launch/configs/osp.cfg
    short="steps=4 eval_every=0 checkpoint_every=0 prompts_per_step=5 max_new=12 log_samples=20
        $keys"
    rm -rf "$WORK/one"
    ok "osp $keys: one rank" run 1 "$config" $short output="$WORK/one"
    another "osp $keys: roles apart" 3 "$apart"
    resumed "osp $keys: resumed on 4 ranks"
done

# A reference that follows the policy, on a rank of its own, when nobody samples.
for keys in "ref.update=every ref.every=2" "ref.update=ema ref.decay=0.5 model_init=random"; do
    [ -z "${ALGORITHMS:-}" ] || break
    config=launch/configs/dpo.cfg
    short="steps=4 eval_every=0 checkpoint_every=0 prompts_per_step=5 $keys"
    rm -rf "$WORK/one"
    ok "dpo $keys: one rank" run 1 "$config" $short output="$WORK/one"
    another "dpo $keys: roles apart" 2 \
        'ranks=({count=1;roles=["refmodel"];},{count=1;roles=["learner"];})'
    resumed "dpo $keys: resumed on 4 ranks"
done

# A trained orchestrator's weights by prompt: in the score, in RACO's weights, where prompts are
# sampled again and where batches wait; and the mistakes that are made with one.
orchestrated() {
    trained=$WORK/orchestrator
    two='rewards=({kind="regex";name="loud";pattern="drum|bell|train|ball";cap=4;},'
    two=$two'{kind="regex";name="quiet";pattern="doll|puzzle|book|hat|kite|boat";cap=4;})'
    with="$two orchestrator.model=$trained"
    ok "an orchestrator is trained" run 2 launch/configs/orchestrator.cfg $plain steps=12 \
        max_new=24 output="$trained"
    while read -r name keys; do
        config=launch/configs/$name.cfg
        short="$plain $with $keys"
        whole "$name, orchestrator.model $keys" </dev/null
    done <<END
raco raco.weights=[] raco.mode=two_pass raco.c=0 max_lag=1
amopo source=prompts pairs=[] prompts=launch/demo/prompts.jsonl amopo.alpha=static raco.weights=[]
dapo max_lag=1
online_dpo
raco raco.weights=[]
END
    rm -rf "$WORK/other"
    ok "without an orchestrator" run 1 "$config" $plain $two output="$WORK/other"
    [ "$(hashes "$WORK/other" | head -n 1)" != "$(hashes "$WORK/one" | head -n 1)" ] &&
        pass "its weights count" || fail "its weights count" "the first steps are equal"
    while IFS='|' read -r pattern what keys; do
        rm -rf "$WORK/other"
        says 1 "orchestrator.model: $pattern" "orchestrator.model: $what" \
            "$RANKWISE" train launch/configs/online_dpo.cfg $plain $keys output="$WORK/other"
    done <<END
one reward needs no weights|one reward|orchestrator.model=$trained
.* weighs 2 rewards, and there are 3|three rewards|orchestrator.model=$trained $(printf %s "$two" |
    sed 's/)$/,{kind="length";})/' )
.* has no weights of rewards|a model that is none|$two orchestrator.model=launch/demo/model
END
}
case ${ALGORITHMS:-orchestrator.cfg} in *orchestrator.cfg*) orchestrated ;; esac
finish
