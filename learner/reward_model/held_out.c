/* Held-out pairs: how many are ranked rightly, how far margins can be believed, and the temperature
 * that makes them believable.  No gradient, batches of any size. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "learner/reward_model/calibration.h"
#include "learner/reward_model/method.h"

/* The evaluation under way. */
struct held_out {
    struct learner *ln;
    const struct batch *b;
    int set;                    /* of the held-out files: that of the training files */
    int room;                   /* pairs of a record, at most */
    struct rm_pair *pairs;      /* (room) of one record */
    double *out;                /* (groups, room, HELD_TERMS) */
};
enum { HELD_WEIGHT, HELD_GAP, HELD_TERMS };

/* Margins of record g, whose rows begin at place `at` of the micro-batch. */
static void measure(struct held_out *e, int g, int at)
{
    struct learner *ln = e->ln;
    struct reward_model *rm = ln->state;
    double *out = e->out + (size_t)g * e->room * HELD_TERMS;
    int n = rm_pairs(ln, e->b, g, e->pairs);

    for (int p = 0; p < n; p++, out += HELD_TERMS) {
        int place[2] = { at + e->pairs[p].w, at + e->pairs[p].l };
        struct duel duel;

        if (rm_heads_of_sets(ln, e->b))
            e->pairs[p].head = e->set < ln->scores ? e->set : 0;
        duel = rm_duel(ln, e->b, g, &e->pairs[p], place, 0);
        out[HELD_WEIGHT] = e->pairs[p].weight;
        out[HELD_GAP] = duel_eval(&duel, rm->scratch).gap;
    }
}

/* Forward of the packed records. */
static int pass(struct held_out *e)
{
    const struct micro *micro = &e->ln->micro;
    int rc = RL_OK;

    TRY(micro_forward(e->ln, false));
    for (int i = 0; i < micro->groups; i++)
        measure(e, micro->group + i, i * e->b->k);
done:
    return rc;
}

static int all_records(struct held_out *e)
{
    struct learner *ln = e->ln;
    const struct batch *b = e->b;
    int rc = RL_OK;

    TRY(micro_check(b, ln->max_row_tokens));
    if (b->k > ln->micro.max_tokens / ln->max_row_tokens)
        return rl_error(RL_EINVAL, "%s: eval_pairs: a record of %d answers; micro_rows = %lld has "
                        "no room for them", config_where(ln->config, "eval_pairs"), b->k,
                        (long long)ln->config->micro_rows);
    for (int group = 0; group < b->groups;) {
        group = micro_pack_rows(ln, b, row_any, group, b->groups, b->groups);
        TRY(pass(e));
    }
done:
    return rc;
}

/* Room for n more margins. */
static int take_gaps(struct reward_model *rm, int n)
{
    double *grown;

    if (rm->n_gaps + n <= rm->gaps_room)
        return RL_OK;
    grown = realloc(rm->gaps, (size_t)(rm->n_gaps + n) * sizeof *grown);
    if (!grown)
        return rl_error(RL_ENOFIT, "no memory for the margins of %d held-out pairs", n);
    rm->gaps = grown;
    rm->gaps_room = rm->n_gaps + n;
    return RL_OK;
}

static void report(struct reward_model *rm, int from, struct metrics *m, const char *prefix)
{
    int n = rm->n_gaps;

    if (n > from)
        metrics_setf(m, calibration_accuracy(rm->gaps + from, n - from), "%saccuracy", prefix);
    if (n == 0)
        return;
    rm->temperature = calibration_temperature(rm->gaps, n);
    metrics_set(m, "rm/accuracy", calibration_accuracy(rm->gaps, n));
    metrics_set(m, "rm/ece", calibration_ece(rm->gaps, n, CALIBRATION_BINS, 1));
    metrics_set(m, "rm/ece_fitted",
                calibration_ece(rm->gaps, n, CALIBRATION_BINS, rm->temperature));
    metrics_set(m, "rm/temperature", rm->temperature);
}

/* Equal on every rank: all of them have all margins, in global order. */
static int collect(struct held_out *e, int *from)
{
    struct learner *ln = e->ln;
    struct reward_model *rm = ln->state;
    size_t all = (size_t)e->b->P * e->room;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, e->out, (size_t)e->room * HELD_TERMS));
    TRY(comm_agree(ln->team, take_gaps(rm, (int)all)));
    *from = rm->n_gaps;
    for (size_t p = 0; p < all; p++) {
        const double *t = ln->stats.all + p * HELD_TERMS;
        if (t[HELD_WEIGHT] > 0)
            rm->gaps[rm->n_gaps++] = t[HELD_GAP];
    }
done:
    return rc;
}

int rm_held_out(struct learner *ln, const struct batch *b, int set, struct metrics *m,
                const char *prefix)
{
    struct reward_model *rm = ln->state;
    struct held_out e = { .ln = ln, .b = b, .set = set, .room = rm_room(ln, b->k) };
    int from = 0, rc = b->status;

    if (set == 0)
        rm->n_gaps = 0;
    e.pairs = calloc((size_t)e.room, sizeof *e.pairs);
    if (rc == RL_OK && !e.pairs)
        rc = rl_error(RL_ENOFIT, "no memory for the pairs of a record");
    TRY(stats_begin(&ln->stats, b, rc));
    TRY(stats_room(&ln->stats, (size_t)e.room * HELD_TERMS));
    e.out = ln->stats.mine;
    memset(e.out, 0, (size_t)b->groups * e.room * HELD_TERMS * sizeof *e.out);
    TRY(comm_agree(ln->team, all_records(&e)));
    TRY(collect(&e, &from));
    report(rm, from, m, prefix);
done:
    free(e.pairs);
    return rc;
}

int learner_held_out(struct learner *ln, const struct batch *b, int set, struct metrics *m,
                     const char *prefix)
{
    return ln->method->held_out ? ln->method->held_out(ln, b, set, m, prefix) : RL_OK;
}
