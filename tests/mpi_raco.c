/* A team of learners ends with the bits of one learner alone for every rule and mode of RACO, for
 * every team of 1 to all ranks. */
#include <math.h>

#include "tests/mpi_check.h"
#include "tests/tiny_raco.h"

#define UPDATES 3

static const char *const compared[] = {
    "loss", "optim/grad_norm", "raco/loss/one", "raco/loss/two", "raco/g_norm/one",
    "raco/cos/one_two", "raco/a/one", "raco/a/two", "raco/p/one", "raco/duality_gap",
    "raco/update_norm", "raco/min_decrease", "raco/agree_frac", "raco/accuracies/two",
    "mismatch/logp_abs_max",
};

static void train(struct run *r, struct config config, struct comm *team, int P)
{
    open_run(r, config, "cpu", team, P);
    for (int i = 0; i < UPDATES; i++)
        update(r);
}

static void compare(struct run *one, struct run *team, const char *name)
{
    bool same = memcmp(model_weights(one->tiny.model), model_weights(team->tiny.model),
                       one->tiny.size * sizeof(float)) == 0;

    if (!same)
        fprintf(stderr, "%s: other weights in a team of %d\n", name, comm_size(team->team));
    check(same);
    for (size_t i = 0; i < sizeof compared / sizeof *compared; i++) {
        double a = metrics_get(one->m, compared[i], -1e9);
        double b = metrics_get(team->m, compared[i], -1e9);

        if (a != b)
            fprintf(stderr, "%s: %s: %.17g alone, %.17g in the team\n", name, compared[i], a, b);
        check(a == b);
    }
}

/* The run of every team of 1 to all ranks against the same run alone. */
static void each_team(struct comm *world, struct config c, int P, const char *name)
{
    struct comm *alone = comm_alone(), *team;
    struct run one, many;

    train(&one, c, alone, P);
    for (int ranks = 1; ranks <= comm_size(world); ranks++) {
        check_ok(comm_split(world, comm_rank(world) < ranks ? 0 : -1, "learner", &team));
        if (!team)
            continue;
        train(&many, c, team, P);
        compare(&one, &many, name);
        close_run(&many);
        comm_free(team);
    }
    close_run(&one);
    comm_stop(alone);
}

static void each_mode(struct comm *world, const char *pairing, int P, int K)
{
    static const char *const modes[] = { "store", "two_pass", "sketch" };

    for (int m = 0; m < 3; m++) {
        struct config c = objectives("raco", modes[m], K);

        c.dpo.pairing = (char *)pairing;
        each_team(world, c, P, modes[m]);
    }
}

static void test_modes(struct comm *world)
{
    each_mode(world, "best_worst", TINY_P, 2);
    each_mode(world, "all", TINY_P, 3);
}

/* Two prompts in four leaves: every other leaf, and with four ranks every other rank, is empty. */
static void test_empty_ranks(struct comm *world)
{
    each_mode(world, "best_worst", 2, 2);
}

static void test_rules(struct comm *world)
{
    static const char *const rules[] = { "cagrad", "mgda", "pcgrad", "weighted_sum" };

    for (int i = 0; i < 4; i++)
        each_team(world, objectives(rules[i], i % 2 ? "store" : "two_pass", 2), TINY_P, rules[i]);
}

static void test_leaves(struct comm *world)
{
    struct config c = objectives("raco", "store", 3);

    c.raco.solve = "leaf";
    each_team(world, c, TINY_P, "solve = leaf");
    each_team(world, c, 2, "solve = leaf, two prompts");
}

static void test_refresh(struct comm *world)
{
    struct config c = objectives("raco", "two_pass", 2);

    c.raco.refresh = 2;
    each_team(world, c, TINY_P, "refresh");
}

/* One rank cannot go on: all stop together, with its line, and the next step is sound. */
static void test_one_bad_rank(struct comm *world)
{
    static const char *const modes[] = { "store", "two_pass", "sketch" };

    for (int m = 0; m < 3; m++) {
        struct run r;
        bool last = comm_rank(world) == comm_size(world) - 1;

        open_run(&r, objectives("raco", modes[m], 2), "cpu", world, TINY_P);
        status_hold(true);
        for (int t = 0; last && t < r.b->T; t++)
            r.b->ref_logp[t] += NAN;
        check(learner_update(r.learner, r.b, r.m) == RL_ENAN);
        status_drop();
        status_hold(false);
        memcpy(r.b->ref_logp, r.b->actor_logp, (size_t)r.b->T * sizeof(float));
        check_ok(learner_update(r.learner, r.b, r.m));
        check(r.learner->version == 1);
        close_run(&r);
    }
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    fact(world, "RACO: a team has the bits of one learner in every mode", test_modes);
    fact(world, "leaves and ranks without a prompt", test_empty_ranks);
    fact(world, "and with every rule", test_rules);
    fact(world, "and with a solve for every leaf", test_leaves);
    fact(world, "and between two solves", test_refresh);
    fact(world, "a bad number on one rank stops all", test_one_bad_rank);
    return facts_end(world);
}
