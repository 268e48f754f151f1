/* A team of learners ends with the bits of one learner alone: weights, metrics, evaluations, for
 * every team of 1 to all ranks, with leaves that have no prompt and with ranks that have none. */
#include <math.h>

#include "tests/mpi_check.h"
#include "tests/tiny_records.h"

#define UPDATES 3

static const char *const compared[] = {
    "loss", "optim/grad_norm", "dpo/rewards/margins", "dpo/scores_margin", "dpo/tie_frac",
    "data/dropped_frac", "mismatch/logp_abs_mean", "async/lag/mean", "reward/mean", "reward/std",
    "reward/len_corr", "kl/ref", "policy/entropy", "len/response/mean", "rollout/zero_std_frac",
    "lcpo/confidence", "lcpo/eta/0", "spa/smoothed_frac", "spce/kl", "list/rewards/best",
    "kto/z0", "bco/delta",
};

static void train(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++)
        update(r);
    check_ok(learner_measure(r->learner, r->b, r->m, ""));
}

static void train_records(struct run *r, struct config config, struct comm *team, int P)
{
    const struct tiny_records *t = tiny_records;

    while (strcmp(t->algorithm, config.algorithm) != 0)
        t++;
    open_groups(r, config, "cpu", team, P, t->k);
    label_records(r);
    if (config.bco.udm) {
        check_ok(learner_preview_add(r->learner, r->b));
        check_ok(learner_preview_end(r->learner));
    }
    for (int i = 0; i < UPDATES; i++)
        update(r);
}

/* What goes on in checkpoints is the same too. */
static void compare_values(struct run *one, struct run *team)
{
    struct learner_value a[LEARNER_VALUES], b[LEARNER_VALUES];
    int n = learner_values(one->learner, a);

    check(learner_values(team->learner, b) == n);
    for (int i = 0; i < n; i++)
        check(a[i].n == b[i].n && memcmp(a[i].x, b[i].x, a[i].n * sizeof(double)) == 0);
}

static void compare(struct run *one, struct run *team)
{
    double sums[2];
    int64_t counts[2];

    check(memcmp(model_weights(one->tiny.model), model_weights(team->tiny.model),
                 one->tiny.size * sizeof(float)) == 0);
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++) {
        double a = metrics_get(one->m, compared[i], -1e9);
        double b = metrics_get(team->m, compared[i], -1e9);
        if (a != b)
            fprintf(stderr, "%s: %.17g alone, %.17g in the team\n", compared[i], a, b);
        check(a == b);
    }
    compare_values(one, team);
    check(learner_tokens(one->learner) == learner_tokens(team->learner));
    check_ok(learner_nll(one->learner, one->b, &sums[0], &counts[0]));
    check_ok(learner_nll(team->learner, team->b, &sums[1], &counts[1]));
    check(sums[0] == sums[1] && counts[0] == counts[1]);
}

/* f(the run of a team, the same run alone) for teams of 1 to all ranks. */
static void each_team(struct comm *world, struct config c, int P,
                      void (*train)(struct run *, struct config, struct comm *, int),
                      void (*f)(struct run *one, struct run *team))
{
    struct comm *alone = comm_alone(), *team;
    struct run one, many;

    train(&one, c, alone, P);
    for (int ranks = 1; ranks <= comm_size(world); ranks++) {
        check_ok(comm_split(world, comm_rank(world) < ranks ? 0 : -1, "learner", &team));
        if (!team)
            continue;
        train(&many, c, team, P);
        f(&one, &many);
        close_run(&many);
        comm_free(team);
    }
    close_run(&one);
    comm_stop(alone);
}

static void test_online_dpo(struct comm *world)
{
    struct config c = settings("online_dpo");

    each_team(world, c, TINY_P, train, compare);
    c.dpo.pairing = "all";
    c.dpo.tie_policy = "soft";
    each_team(world, c, TINY_P, train, compare);
}

/* Scores that did not come, and a mean that goes on from step to step. */
static void train_on_gaps(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++) {
        for (int n = 0; n < r->b->N; n++)
            if ((r->b->group * r->b->k + n + i) % 5 == 0)
                r->b->reward[n] = NAN;
        update(r);
    }
    check_ok(learner_measure(r->learner, r->b, r->m, ""));
    check(metrics_get(r->m, "reward/failed_frac", -1) > 0.2);
}

static void test_failed_scores(struct comm *world)
{
    struct config c = settings("online_dpo");
    struct config_reward reward = *c.rewards;

    reward.normalise = "running";
    c.rewards = &reward;
    each_team(world, c, TINY_P, train_on_gaps, compare);
}

/* Two prompts in four leaves: every other leaf, and with four ranks every other rank, is empty. */
static void test_empty_ranks(struct comm *world)
{
    each_team(world, settings("online_dpo"), 2, train, compare);
}

/* Policy gradients: epochs, mini-batches, a critic, whitening; a controller that moves. */
static void train_policy(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++)
        update(r);
    check_ok(learner_measure(r->learner, r->b, r->m, ""));
}

static void compare_policy(struct run *one, struct run *team)
{
    static const char *const names[] = {
        "policy/loss", "policy/clipfrac", "policy/ratio/var", "kl/approx", "kl/coef", "adv/std",
        "return/mean", "value/loss", "value/explained_var", "optim/skipped",
    };

    compare(one, team);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(metrics_get(one->m, names[i], -1e9) == metrics_get(team->m, names[i], -1e9));
    if (one->critic.model)
        check(memcmp(model_weights(one->critic.model), model_weights(team->critic.model),
                     one->critic.size * sizeof(float)) == 0);
}

static void test_policy(struct comm *world)
{
    for (const struct algorithm *a = algorithms; a->name; a++) {
        struct config c = settings(a->name);
        c.model = "tiny";
        c.prompts_per_step = TINY_P;
        if (!policy_wants(&c).policy)
            continue;
        c.ppo.epochs = 2;
        c.ppo.minibatches = 3;
        c.ppo.entropy_coef = 0.01;
        c.ppo.kl_control = policy_wants(&c).critic ? "adaptive" : "fixed";
        c.ppo.kl_horizon = 50;
        each_team(world, c, TINY_P, train_policy, compare_policy);
    }
}

/* Reward models of every verdict, and what they say of held-out pairs. */
static void train_reward_model(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++)
        update(r);
    check_ok(learner_held_out(r->learner, r->b, 0, r->m, "eval/a/"));
    check_ok(learner_held_out(r->learner, r->b, 1, r->m, "eval/b/"));
}

static void compare_reward_model(struct run *one, struct run *team)
{
    static const char *const names[] = {
        "loss", "optim/grad_norm", "rm/train_accuracy", "rm/train_margin", "rm/accuracy", "rm/ece",
        "rm/ece_fitted", "rm/temperature", "eval/b/accuracy", "more/lambda/0", "more/g_norm/1",
    };

    check(memcmp(model_weights(one->tiny.model), model_weights(team->tiny.model),
                 one->tiny.size * sizeof(float)) == 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(metrics_get(one->m, names[i], -1e9) == metrics_get(team->m, names[i], -1e9));
    check(metrics_has(one->m, "rm/temperature"));
}

static void test_reward_models(struct comm *world)
{
    struct config c = settings("reward_model");

    c.reward_model.heads = "objectives";
    each_team(world, c, TINY_P, train_reward_model, compare_reward_model);
    c = settings("more");
    each_team(world, c, TINY_P, train_reward_model, compare_reward_model);
    each_team(world, c, 2, train_reward_model, compare_reward_model);   /* empty ranks */
    c = settings("pal");
    each_team(world, c, TINY_P, train_reward_model, compare_reward_model);
    c.pal.fit = "users";
    each_team(world, c, TINY_P, train_reward_model, compare_reward_model);
    c = settings("gpm");
    c.gpm.scale = "learned";
    each_team(world, c, TINY_P, train_reward_model, compare_reward_model);
}

static void test_records(struct comm *world)
{
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = record_settings(t);
        each_team(world, c, TINY_P, train_records, compare);
        c.bco.udm = strcmp(t->algorithm, "bco") == 0;
        if (c.bco.udm)
            each_team(world, c, TINY_P, train_records, compare);
    }
}

/* The same methods on rollouts, and several objectives on one pair. */
static void train_rollouts(struct run *r, struct config config, struct comm *team, int P)
{
    open_groups(r, config, "cpu", team, P, TINY_K);
    if (strcmp(config.algorithm, "spa") == 0)
        move_reference(r->b);
    if (config.raco.weights.count > 0)
        label_objectives(r);
    for (int i = 0; i < UPDATES; i++)
        update(r);
    check_ok(learner_measure(r->learner, r->b, r->m, ""));
}

static void test_rollouts(struct comm *world)
{
    static const char *const some[] = { "lcpo", "spa", "lipo", "pro", "gpo", "kto", "bco" };
    struct config c;

    for (const struct tiny_records *t = tiny_records; t->algorithm; t++)
        for (size_t i = 0; i < sizeof some / sizeof *some; i++)
            if (strcmp(t->algorithm, some[i]) == 0)
                each_team(world, rollout_settings(t), TINY_P, train_rollouts, compare);
    each_team(world, objective_settings("modpo", "prompts"), TINY_P, train_rollouts, compare);
    c = objective_settings("amopo", "prompts");
    c.amopo.alpha = "adaptive";
    each_team(world, c, TINY_P, train_rollouts, compare);
}

static void test_lm(struct comm *world)
{
    each_team(world, settings("lm"), TINY_P, train, compare);
}

/* Without the fixed tree the sums are near each other, no more; ranks still agree to the bit. */
static void near(struct run *one, struct run *team)
{
    const float *a = model_weights(one->tiny.model), *b = model_weights(team->tiny.model);
    size_t bytes = team->tiny.size * sizeof(float);
    float *root = malloc(bytes);
    double loss = metrics_get(one->m, "loss", -1);

    check(root != NULL);
    memcpy(root, b, bytes);
    check_ok(comm_broadcast(team->team, root, bytes, 0, PHASE_WEIGHTS));
    check(memcmp(root, b, bytes) == 0);
    for (size_t i = 0; i < one->tiny.size; i++)
        check(fabsf(a[i] - b[i]) < 1e-4f);
    check(fabs(metrics_get(team->m, "loss", -1) - loss) < 1e-4);
    free(root);
}

static void test_fast(struct comm *world)
{
    struct config c = settings("online_dpo");

    c.reduction = "fast";
    c.dpo.pairing = "all";
    each_team(world, c, TINY_P, train, near);
}

/* One rank cannot go on: all stop together, with its line, and the next step is sound. */
static void test_one_bad_rank(struct comm *world)
{
    bool bad = comm_rank(world) == comm_size(world) - 1;
    struct run r;
    int rc;

    open_run(&r, settings("online_dpo"), "cpu", world, TINY_P);
    status_hold(true);
    for (int t = 0; bad && t < r.b->T; t++)
        r.b->ref_logp[t] = NAN;
    rc = learner_update(r.learner, r.b, r.m);
    check(rc == RL_ENAN);
    status_drop();
    status_hold(false);
    if (bad)
        memcpy(r.b->ref_logp, r.b->actor_logp, (size_t)r.b->T * sizeof(float));
    check_ok(learner_update(r.learner, r.b, r.m));
    check(r.learner->version == 1);
    close_run(&r);
}

static void test_too_many_ranks(struct comm *world)
{
    struct config c = settings("online_dpo");
    struct tiny t = tiny_open(0, "cpu");
    struct learner *ln;
    int rc;

    c.reduction_leaves = 1;
    status_hold(true);
    rc = learner_create(&ln, &(struct learner_parts){ .config = &c, .policy = t.model,
                        .team = world, .P = TINY_P, .k = TINY_K, .max_row_tokens = TINY_ROW });
    check(rc == (comm_size(world) > 1 ? RL_EINVAL : RL_OK));
    status_drop();
    status_hold(false);
    learner_destroy(ln);
    tiny_close(&t);
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    fact(world, "online DPO: a team has the bits of one learner", test_online_dpo);
    fact(world, "online DPO: the same with scores that did not come", test_failed_scores);
    fact(world, "leaves and ranks without a prompt", test_empty_ranks);
    fact(world, "policy gradients: a team has the bits of one learner", test_policy);
    fact(world, "every method of records: a team has the bits of one learner", test_records);
    fact(world, "the same methods on rollouts", test_rollouts);
    fact(world, "language modelling: a team has the bits of one learner", test_lm);
    fact(world, "reward models: a team has the bits of one learner", test_reward_models);
    fact(world, "reduction = \"fast\" is near, and equal on all ranks", test_fast);
    fact(world, "a bad number on one rank stops all", test_one_bad_rank);
    fact(world, "more ranks than leaves are refused", test_too_many_ranks);
    return facts_end(world);
}
