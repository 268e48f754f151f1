/* Held-out pairs: which answer the model finds likelier (learner/ranked.h), and how well reward
 * models tell them apart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/math.h"
#include "launch/eval/reading.h"
#include "learner/ranked.h"

/* Scores of the block by reward models, behind the ranked columns of its rows. */
static int score_block(struct reading *r, double *rows)
{
    const struct config *c = r->e->config;
    struct batch scored = r->batch;
    double *scores;
    int rc = RL_OK;

    if (!r->e->rewards.reward || r->batch.N == 0)
        return RL_OK;
    scores = malloc((size_t)scored.N * (size_t)c->n_rewards * sizeof *scores);
    if (!scores)
        return rl_error(RL_ENOFIT, "no memory for scores");
    scored.R = c->n_rewards;
    scored.reward = scores;
    TRY(reward_fill(r->e->rewards.reward, &scored, NULL, PURPOSE_EVAL));
    for (int n = 0; n < scored.N; n++)
        memcpy(rows + (size_t)n * r->columns + RANKED_COLUMNS + r->scores,
               scores + (size_t)n * (size_t)c->n_rewards, (size_t)c->n_rewards * sizeof *scores);
done:
    free(scores);
    return rc;
}

/* The columns of a row: ranked, labels, rewards, a judge's terms. */
static int judged(const struct reading *r)
{
    return RANKED_COLUMNS + r->scores + r->e->config->n_rewards;
}

static int pairs_all(struct reading *r)
{
    struct batch *b = &r->batch;
    int rc = RL_OK;

    for (int at = 0; at < r->count; at += EVAL_GROUPS) {
        double *rows = r->rows + (size_t)at * r->k * r->columns;
        TRY(reading_block(r, at));
        for (int n = 0; n < b->N; n++) {
            double *row = rows + (size_t)n * r->columns;
            row[RANKED_S] = reading_sum(r->policy_logp, b, n);
            row[RANKED_R] = reading_sum(b->ref_logp, b, n);
            row[RANKED_N] = b->start[n + 1] - b->start[n] - b->prompt_len[n];
            for (int i = 0; i < b->R; i++)
                row[RANKED_COLUMNS + i] = b->reward[(size_t)n * b->R + i];
        }
        TRY(score_block(r, rows));
        if (r->duels)                   /* in the first row of each pair */
            TRY(duels_fill(r->duels, &(struct duel_rows){ b, b, b->groups, 2 },
                           rows + judged(r), 2 * r->columns));
    }
done:
    return rc;
}

/* The margins of the pairs that objective i tells apart, as a column. */
static int add_margin(struct reading *r, const double *all, int i, const char *name)
{
    double *margins = malloc(((size_t)r->P + 1) * sizeof *margins);
    const double *w, *l;
    int rc = RL_OK;

    if (!margins)
        return rl_error(RL_ENOFIT, "no memory for %d margins", r->P);
    for (int p = 0; p < r->P; p++)
        margins[p] = ranked_order(all + (size_t)2 * p * r->columns, r->columns, i, &w, &l)
                   ? r->e->config->beta * ((w[RANKED_S] - w[RANKED_R]) -
                                           (l[RANKED_S] - l[RANKED_R])) : NAN;
    rc = figure_mean(r->e, &(struct table_column){ margins, r->P, 1, 1, 0 }, "%smargin%s",
                     r->prefix, name);
    free(margins);
    return rc;
}

static int add_ranking(struct reading *r, const double *all, int i, const char *name)
{
    const struct config *c = r->e->config;
    struct ranked x = ranked_count(all, r->P, r->columns, i, c->beta, c->eval.alpha);
    double n = x.pairs;
    int rc = RL_OK;

    if (x.pairs == 0)
        return RL_OK;
    TRY(figure_share(r->e, x.raw / n, n, "%sranking_accuracy%s", r->prefix, name));
    TRY(figure_share(r->e, x.per_token / n, n, "%sranking_accuracy_per_token%s", r->prefix, name));
    TRY(figure_share(r->e, x.ideal / n, n, "%sranking_accuracy_ideal%s", r->prefix, name));
    TRY(figure_share(r->e, x.accurate / n, n, "%saccuracy%s", r->prefix, name));
    TRY(add_margin(r, all, i, name));
done:
    return rc;
}

/* How often score column `by` prefers what objective 0 prefers; ties count half. */
static int add_accuracy(struct reading *r, const double *all, int by, const char *name)
{
    double right = 0;
    int n = 0;

    for (int p = 0; p < r->P; p++) {
        const double *w, *l;
        double gap;
        if (!ranked_order(all + (size_t)2 * p * r->columns, r->columns, 0, &w, &l))
            continue;
        gap = w[RANKED_COLUMNS + by] - l[RANKED_COLUMNS + by];
        if (!isfinite(gap))
            continue;
        right += gap == 0 ? 0.5 : gap > 0;
        n++;
    }
    return figure_share(r->e, n > 0 ? right / n : 0, n, "%sreward/%s/accuracy", r->prefix, name);
}

static int add_chosen(struct reading *r, const double *all)
{
    double nll = 0, tokens = 0;

    for (int p = 0; p < r->P; p++) {
        const double *chosen = all + (size_t)2 * p * r->columns;
        nll -= chosen[RANKED_S];
        tokens += chosen[RANKED_N];
    }
    return tokens > 0 ? figure_add(r->e, rw_exp(nll / tokens), "%sperplexity", r->prefix) : RL_OK;
}

static int add_pairs(struct reading *r, const double *all)
{
    const struct config *c = r->e->config;
    const char *const *names;
    char name[128];
    int rc = RL_OK;

    records_objectives(r->records, &names);
    for (int i = 0; i < r->scores; i++) {
        snprintf(name, sizeof name, "/%s", names[i]);
        TRY(add_ranking(r, all, i, r->scores > 1 ? name : ""));
    }
    TRY(add_chosen(r, all));
    for (int i = 0; i < c->n_rewards && r->e->rewards.reward; i++)
        if (strcmp(c->rewards[i].kind, "model") == 0)
            TRY(add_accuracy(r, all, r->scores + i, c->rewards[i].name));
    if (r->duels)                       /* of a pair's two rows the first */
        TRY(figure_duels(r->e, &(struct table_column){ all, r->P, 1, 2 * r->columns, judged(r) },
                         r->prefix, "judge/accuracy"));
done:
    return rc;
}

static int open_pairs(struct reading *r, const struct strings *path)
{
    int longest, rc = RL_OK;

    TRY(reading_pairs(r, path));
    longest = records_longest(r->records);
    r->k = 2;
    r->scores = records_columns(r->records);
    r->columns = judged(r) + DUEL_TERMS;
    TRY(reading_begin(r, path->items[0], records_count(r->records), longest, r->scores));
    if (r->e->template)
        TRY(duels_create(&r->duels, r->e, longest, longest));
done:
    return rc;
}

int eval_pairs(struct eval *e)
{
    int rc = RL_OK;

    if (!e->reference)
        return eval_reward_model(e);

    for (int f = 0; f < e->config->eval_pairs.count && rc == RL_OK; f++) {
        struct reading r = { .e = e };
        double *all = NULL;
        rc = open_pairs(&r, &(struct strings){ &e->config->eval_pairs.items[f], 1 });
        rc = comm_agree(e->world, rc);
        if (rc == RL_OK)
            rc = comm_agree(e->world, pairs_all(&r));
        if (rc == RL_OK)
            rc = eval_gather(e, r.P, (size_t)r.k * r.columns, r.rows, &all);
        if (rc == RL_OK)
            rc = add_pairs(&r, all);
        free(all);
        reading_end(&r);
    }
    return rc;
}
