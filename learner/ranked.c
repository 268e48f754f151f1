/* Held-out pairs without a gradient: how often the chosen answer is the likelier one, raw and per
 * token, with and without the reference (section 5.9; Chen et al. 2024, 2405.19534).
 *
 *   raw           S_w >= S_l                  accuracy    beta (h_w - h_l) > 0,  h = S - R
 *   normalised    S_w / n_w >= S_l / n_l
 *
 * One record of doubles a row, gathered and added in global order. */
#include "base/status.h"
#include "compute/math.h"
#include "learner/internal.h"
#include "learner/ranked.h"

/* Forward of the packed rows; their records into out, `columns` doubles apart. */
static int pairs_pass(struct learner *ln, const struct batch *b, double *out, int columns)
{
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    TRY(model_logprobs(ln->policy.trainer, micro->tokens, micro->start, micro->N, ln->temperature,
                       false, micro->logp, NULL));
    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        double *row = out + (size_t)n * columns;
        row[RANKED_S] = row_sum(micro->logp, from + shift, end + shift);
        row[RANKED_R] = b->filled & COL_REF_LOGP ? row_sum(b->ref_logp, from, end) : 0;
        row[RANKED_N] = end - from;
        for (int r = 0; r < b->R; r++)
            row[RANKED_COLUMNS + r] = b->reward[(size_t)n * b->R + r];
    }
done:
    return rc;
}

static int pairs_rows(struct learner *ln, const struct batch *b, double *out, int columns)
{
    int rc = RL_OK;

    TRY(micro_check(b, ln->max_row_tokens));
    for (int n = 0; n < b->N;) {
        n = micro_pack_each(ln, b, n);
        TRY(pairs_pass(ln, b, out, columns));
    }
done:
    return rc;
}

bool ranked_order(const double *two, int columns, int r, const double **w, const double **l)
{
    const double *a = two, *b = two + columns;
    bool first = a[RANKED_COLUMNS + r] > b[RANKED_COLUMNS + r];

    *w = first ? a : b;
    *l = first ? b : a;
    return a[RANKED_COLUMNS + r] != b[RANKED_COLUMNS + r] && a[RANKED_N] > 0 && b[RANKED_N] > 0;
}

struct ranked ranked_count(const double *table, int pairs, int columns, int r, double beta,
                           double alpha)
{
    struct ranked sum = { 0 };
    const double *w, *l;

    for (int p = 0; p < pairs; p++) {
        double margin;
        if (!ranked_order(table + (size_t)2 * p * columns, columns, r, &w, &l))
            continue;
        margin = beta * ((w[RANKED_S] - w[RANKED_R]) - (l[RANKED_S] - l[RANKED_R]));
        sum.raw += ranks_right(w[RANKED_S], l[RANKED_S]);
        sum.per_token += ranks_right_by_token(w[RANKED_S], l[RANKED_S], (int)w[RANKED_N],
                                              (int)l[RANKED_N]);
        sum.accurate += margin > 0;
        sum.ideal += ideal_log_ratio(w[RANKED_R], l[RANKED_R], alpha, beta) >= 0;
        sum.margin += margin;
        sum.pairs++;
    }
    return sum;
}

static void set_ranking(struct metrics *m, const char *prefix, const char *more,
                        const struct ranked *sum, bool reference)
{
    double n = sum->pairs;

    if (sum->pairs == 0)
        return;
    metrics_setf(m, sum->raw / n, "%sranking_accuracy%s", prefix, more);
    metrics_setf(m, sum->per_token / n, "%sranking_accuracy_per_token%s", prefix, more);
    if (reference) {
        metrics_setf(m, sum->ideal / n, "%sranking_accuracy_ideal%s", prefix, more);
        metrics_setf(m, sum->accurate / n, "%saccuracy%s", prefix, more);
        metrics_setf(m, sum->margin / n, "%smargin%s", prefix, more);
    }
}

/* Perplexity of the chosen answers, whose response tokens are what `sft` learns. */
static void set_perplexity(struct metrics *m, const char *prefix, const double *all, int pairs,
                           int columns)
{
    double sum = 0, tokens = 0;

    for (int p = 0; p < pairs; p++) {
        const double *chosen = all + (size_t)2 * p * columns;
        sum += chosen[RANKED_S];
        tokens += chosen[RANKED_N];
    }
    if (tokens > 0)
        metrics_setf(m, rw_exp(-sum / tokens), "%sperplexity", prefix);
}

int learner_measure_pairs(struct learner *ln, const struct batch *b, struct metrics *m,
                          const char *prefix, const char *const *objectives)
{
    int columns = RANKED_COLUMNS + b->R, rc = b->status;
    const double *all;
    bool reference;

    if (!model_shape(ln->policy.model)->lm)
        return RL_OK;
    if (rc == RL_OK && b->k != 2)
        rc = rl_error(RL_EBUG, "held-out pairs of %d rows", b->k);
    TRY(stats_begin(&ln->stats, b, rc));
    TRY(stats_room(&ln->stats, (size_t)b->k * columns));
    TRY(comm_agree(ln->team, pairs_rows(ln, b, ln->stats.mine, columns)));
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k * columns));
    all = ln->stats.all;
    reference = ln->stats.columns & COL_REF_LOGP;
    for (int r = 0; r < b->R; r++) {
        struct ranked sum = ranked_count(all, b->P, columns, r, ln->config->beta,
                                         ln->config->eval.alpha);
        char more[128] = "";
        if (b->R > 1)
            snprintf(more, sizeof more, "/%s", objectives[r]);
        set_ranking(m, prefix, more, &sum, reference);
    }
    set_perplexity(m, prefix, all, b->P, columns);
done:
    return rc;
}
