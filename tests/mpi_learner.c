/* A team of learners ends with the bits of one learner alone: weights, metrics, evaluations, for
 * every team of 1 to all ranks, with leaves that have no prompt and with ranks that have none. */
#include <math.h>

#include "tests/mpi_check.h"
#include "tests/tiny_learner.h"

#define UPDATES 3

static const char *const compared[] = {
    "loss", "optim/grad_norm", "dpo/rewards/margins", "dpo/scores_margin", "dpo/tie_frac",
    "data/dropped_frac", "mismatch/logp_abs_mean", "async/lag/mean", "reward/mean", "reward/std",
    "reward/len_corr", "kl/ref", "policy/entropy", "len/response/mean", "rollout/zero_std_frac",
};

static void train(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++)
        update(r);
    check_ok(learner_measure(r->learner, r->b, r->m, ""));
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
    check(learner_tokens(one->learner) == learner_tokens(team->learner));
    check_ok(learner_nll(one->learner, one->b, &sums[0], &counts[0]));
    check_ok(learner_nll(team->learner, team->b, &sums[1], &counts[1]));
    check(sums[0] == sums[1] && counts[0] == counts[1]);
}

/* f(the run of a team, the same run alone) for teams of 1 to all ranks. */
static void each_team(struct comm *world, struct config c, int P,
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

    each_team(world, c, TINY_P, compare);
    c.dpo.pairing = "all";
    c.dpo.tie_policy = "soft";
    each_team(world, c, TINY_P, compare);
}

/* Two prompts in four leaves: every other leaf, and with four ranks every other rank, is empty. */
static void test_empty_ranks(struct comm *world)
{
    each_team(world, settings("online_dpo"), 2, compare);
}

static void test_lm(struct comm *world)
{
    each_team(world, settings("lm"), TINY_P, compare);
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
    each_team(world, c, TINY_P, near);
}

/* One rank cannot go on: all stop together, with its line, and the next step is sound. */
static void test_one_bad_rank(struct comm *world)
{
    struct run r;
    int rc;

    open_run(&r, settings("online_dpo"), "cpu", world, TINY_P);
    status_hold(true);
    if (comm_rank(world) == comm_size(world) - 1)
        r.b->reward[0] = NAN;
    rc = learner_update(r.learner, r.b, r.m);
    check(rc == RL_ENAN);
    status_drop();
    status_hold(false);
    if (comm_rank(world) == comm_size(world) - 1)
        r.b->reward[0] = 1;
    check_ok(learner_update(r.learner, r.b, r.m));
    check(learner_version(r.learner) == 1);
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
    fact(world, "leaves and ranks without a prompt", test_empty_ranks);
    fact(world, "language modelling: a team has the bits of one learner", test_lm);
    fact(world, "reduction = \"fast\" is near, and equal on all ranks", test_fast);
    fact(world, "a bad number on one rank stops all", test_one_bad_rank);
    fact(world, "more ranks than leaves are refused", test_too_many_ranks);
    return facts_end(world);
}
