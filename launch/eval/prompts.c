/* Held-out prompts: what the model answers, how the rewards find it, how far it is from the
 * reference, and how often it beats another model on the same prompt.
 *
 *   prompts -> policy -> scores, log-probabilities \
 *          \-> other  -> scores, log-probabilities  -> a row of a table each, wins and losses
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/status.h"
#include "data/prompts.h"
#include "launch/eval/eval.h"
#include "launch/sizes.h"
#include "learner/scores.h"

/* Of a row: these, its rewards, and for the policy the verdict against the other. */
enum { LENGTH, CUT, KL, SCORE, REWARDS };

struct side { struct actor *actor; struct batch batch; struct memory memory; double *rows; };

struct session {
    struct eval *e;
    struct prompts *prompts;
    struct stop_strings *stop;
    struct refmodel *reference;
    struct duels *duels;          /* NULL: no judge */
    struct side policy, other;
    int P, k, R, columns;
    int max_new, row_tokens;
    int first, count;                   /* of the groups, this rank's */
    char prefix[320];
};

/* ---- open */

static double loss_temperature(const struct config *c)
{
    const struct algorithm *a = algorithm_find(c->algorithm);
    double t = a ? algorithm_temperature(a, c) : 1;

    return t > 0 ? t : 1;
}

static int open_side(struct session *s, struct side *side, const struct seat *seat)
{
    const struct config *c = s->e->config;
    int groups = s->count < EVAL_GROUPS ? s->count : EVAL_GROUPS, rc = RL_OK;
    int rows = groups * s->k > 0 ? groups * s->k : 1;
    struct actor_settings settings = {
        .temperature = (float)c->temperature, .loss_temperature = (float)loss_temperature(c),
        .top_k = (int)c->top_k, .top_p = (float)c->top_p, .min_p = (float)c->min_p,
        .repetition_penalty = (float)c->repetition_penalty,
        .max_new = s->max_new, .eos = seat->source.eos, .n_eos = seat->source.n_eos,
        .stop_tokens = c->stop_tokens.items, .n_stop_tokens = c->stop_tokens.count,
        .stop = s->stop,
        .seed = (uint64_t)c->seed, .max_prompt = prompts_longest(s->prompts),
        .rows_at_once = (int)c->rollout_rows, .max_rows = rows,
    };

    side->rows = calloc((size_t)s->count * s->k * s->columns + 1, sizeof *side->rows);
    if (!side->rows)
        return rl_error(RL_ENOFIT, "no memory for the scores of %d prompts", s->count);
    TRY(eval_batch(&side->batch, &side->memory, groups, s->k, s->row_tokens, s->R));
    TRY(actor_create(&side->actor, seat->model, &settings));
done:
    return rc;
}

static void close_side(struct side *side)
{
    actor_destroy(side->actor);
    memory_close(&side->memory);
    free(side->rows);
}

static int open_prompts(struct session *s)
{
    const struct config *c = s->e->config;
    const struct source *source = &s->e->policy->source;
    struct chat *chat = NULL;
    int64_t there;
    int longest, rc = RL_OK;

    TRY(config_readable(c, "eval_prompts"));
    TRY(source_chat(&chat, source, c));
    TRY(prompts_open(&s->prompts, c->eval_prompts, source->tokenizer, chat, source->shape.V,
                     s->e->context - 1, strcmp(c->long_prompts, "skip") == 0));
    there = prompts_count(s->prompts);
    longest = prompts_longest(s->prompts);
    there = c->eval_rows > 0 && c->eval_rows < there ? c->eval_rows : there;
    if (there > INT32_MAX)
        TRY(rl_error(RL_EINVAL, "%s: too many prompts; set eval_rows", c->eval_prompts));
    s->P = (int)there;
    s->max_new = c->max_new < s->e->context - longest ? (int)c->max_new : s->e->context - longest;
    s->row_tokens = longest + s->max_new;
    eval_share(s->e, s->P, &s->first, &s->count);
    eval_prefix(c->eval_prompts, s->prefix, sizeof s->prefix);
done:
    chat_close(chat);
    return rc;
}

/* Not collective. */
static int session_open(struct session *s, struct eval *e)
{
    const struct config *c = e->config;
    int rc = RL_OK;

    *s = (struct session){ .e = e, .k = (int)c->eval.samples,
                           .R = e->rewards.reward ? c->n_rewards : 0 };
    s->columns = REWARDS + s->R + DUEL_TERMS;
    TRY(source_stop(&s->stop, &e->policy->source, c));
    TRY(open_prompts(s));
    TRY(refmodel_create(&s->reference, e->reference->model, eval_micro_rows(e, s->count, s->k),
                        s->row_tokens, (float)loss_temperature(c)));
    TRY(open_side(s, &s->policy, e->policy));
    if (e->other)
        TRY(open_side(s, &s->other, e->other));
    if (e->template && e->other)
        TRY(duels_create(&s->duels, e, prompts_longest(s->prompts), s->max_new));
done:
    return rc;
}

static void session_close(struct session *s)
{
    duels_destroy(s->duels);
    close_side(&s->policy);
    close_side(&s->other);
    refmodel_destroy(s->reference);
    prompts_close(s->prompts);
    stop_strings_close(s->stop);
}

/* ---- a block of prompts */

static void take_row(const struct session *s, const struct batch *b, int n, double *row)
{
    row[LENGTH] = b->start[n + 1] - b->start[n] - b->prompt_len[n];
    row[CUT] = b->finish[n] == FINISH_LENGTH;
    row[KL] = 0;
    for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
        row[KL] += (double)b->actor_logp[t] - (double)b->ref_logp[t];
    row[SCORE] = score_given(s->e->config, b, n);
    for (int r = 0; r < s->R; r++)
        row[REWARDS + r] = b->reward[(size_t)n * s->R + r];
}

/* Answers of one model to the prompts from `at` on, into its table. */
static int answer(struct session *s, struct side *side, int at)
{
    struct batch *b = &side->batch;
    int rc = RL_OK;

    eval_block(s->e, b, s->P, s->k, at);
    TRY(prompts_next(s->prompts, false, 0, 0, b));
    TRY(actor_fill(side->actor, b, PURPOSE_EVAL, 0));
    if (s->e->rewards.reward)
        TRY(reward_fill(s->e->rewards.reward, b, s->prompts, PURPOSE_EVAL));
    TRY(refmodel_fill(s->reference, b));
    for (int n = 0; n < b->N; n++)
        take_row(s, b, n, side->rows + ((size_t)at * s->k + n) * s->columns);
done:
    return rc;
}

static int answer_all(struct session *s)
{
    int rc = RL_OK;

    for (int at = 0; at < s->count; at += EVAL_GROUPS) {
        double *rows = s->policy.rows + (size_t)at * s->k * s->columns;
        TRY(answer(s, &s->policy, at));
        if (s->e->other)
            TRY(answer(s, &s->other, at));
        if (s->duels)
            TRY(duels_fill(s->duels, &(struct duel_rows){ &s->policy.batch, &s->other.batch,
                                                          s->policy.batch.N, 1 },
                           rows + REWARDS + s->R, s->columns));
    }
done:
    return rc;
}

/* ---- figures */

/* Pearson's correlation of a column with the length, over rows where it is finite; NaN: one of them
 * does not vary. */
static double correlation(const double *table, int rows, int columns, int c)
{
    double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;

    for (int i = 0; i < rows; i++) {
        const double *row = table + (size_t)i * columns;
        if (!isfinite(row[c]))
            continue;
        n++;
        x += row[c];
        y += row[LENGTH];
    }
    for (int i = 0; i < rows; i++) {
        const double *row = table + (size_t)i * columns;
        if (!isfinite(row[c]))
            continue;
        xx += (row[c] - x / n) * (row[c] - x / n);
        yy += (row[LENGTH] - y / n) * (row[LENGTH] - y / n);
        xy += (row[c] - x / n) * (row[LENGTH] - y / n);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

static int add_correlation(struct session *s, const double *table, int c, const char *name)
{
    double x = correlation(table, s->P * s->k, s->columns, c);

    return isfinite(x) ? figure_add(s->e, x, "%s%slen_corr", s->prefix, name) : RL_OK;
}

/* Does reward r say anything of these answers? */
static bool speaks(const struct session *s, int r)
{
    return config_reward_speaks(s->e->config, r, s->k);
}

static bool any_speaks(const struct session *s)
{
    for (int r = 0; r < s->R; r++)
        if (speaks(s, r))
            return true;
    return false;
}

/* What one model did; `who` is "" or "against/". */
static int add_side(struct session *s, const double *table, const char *who)
{
    const struct config *c = s->e->config;
    struct table_column x = { .table = table, .groups = s->P, .k = s->k, .columns = s->columns };
    int rows = s->P * s->k, missing = 0, rc = RL_OK;

    if (any_speaks(s)) {
        x.c = SCORE;
        TRY(figure_mean(s->e, &x, "%s%sscore", s->prefix, who));
        for (int i = 0; i < rows; i++)
            missing += !isfinite(table[(size_t)i * s->columns + SCORE]);
        TRY(figure_add(s->e, (double)missing / rows, "%s%sfailed_frac", s->prefix, who));
    }
    for (int r = 0; r < s->R; r++) {
        x.c = REWARDS + r;
        if (speaks(s, r))
            TRY(figure_mean(s->e, &x, "%s%sreward/%s", s->prefix, who, c->rewards[r].name));
    }
    x.c = KL;
    TRY(figure_mean(s->e, &x, "%s%skl", s->prefix, who));
    x.c = LENGTH;
    TRY(figure_mean(s->e, &x, "%s%slen", s->prefix, who));
    x.c = CUT;
    TRY(figure_mean(s->e, &x, "%s%sclip_ratio", s->prefix, who));
done:
    return rc;
}

static int add_correlations(struct session *s, const double *table)
{
    char name[256];
    int rc = RL_OK;

    if (s->R > 0)
        TRY(add_correlation(s, table, SCORE, ""));
    for (int r = 0; r < s->R; r++) {
        snprintf(name, sizeof name, "reward/%s/", s->e->config->rewards[r].name);
        TRY(add_correlation(s, table, REWARDS + r, name));
    }
done:
    return rc;
}

/* Wins of the policy in a column: 1 each, ties half; rows that one of them lacks are left out.  The
 * responses of a prompt are not independent, so n is the number of prompts. */
static int add_wins(struct session *s, const double *mine, const double *others, int c,
                    const char *name)
{
    double wins = 0, eps = s->e->config->dpo.tie_eps;
    int rows = 0, groups = 0;

    for (int g = 0; g < s->P; g++) {
        int before = rows;
        for (int i = 0; i < s->k; i++) {
            size_t at = ((size_t)g * s->k + i) * s->columns + c;
            double gap = mine[at] - others[at];
            if (!isfinite(gap))
                continue;
            wins += fabs(gap) <= eps ? 0.5 : gap > 0;
            rows++;
        }
        groups += rows > before;
    }
    return rows > 0 ? figure_share(s->e, wins / rows, groups, "%swinrate%s", s->prefix, name)
                    : RL_OK;
}

static int add_comparison(struct session *s, const double *mine, const double *others)
{
    char name[256];
    int rc = RL_OK;

    TRY(add_side(s, others, "against/"));
    if (any_speaks(s))
        TRY(add_wins(s, mine, others, SCORE, ""));
    for (int r = 0; r < s->R && s->R > 1; r++) {
        if (!speaks(s, r))
            continue;
        snprintf(name, sizeof name, "/%s", s->e->config->rewards[r].name);
        TRY(add_wins(s, mine, others, REWARDS + r, name));
    }
    if (s->duels)
        TRY(figure_duels(s->e, &(struct table_column){ mine, s->P, s->k, s->columns,
                                                       REWARDS + s->R }, s->prefix,
                         "winrate/judge"));
done:
    return rc;
}

int eval_prompts(struct eval *e)
{
    struct session s = { 0 };
    double *mine = NULL, *others = NULL;
    size_t per_group;
    int rc;

    if (!e->config->eval_prompts || !e->reference)
        return RL_OK;
    rc = session_open(&s, e);
    TRY(comm_agree(e->world, rc));
    TRY(comm_agree(e->world, answer_all(&s)));
    per_group = (size_t)s.k * s.columns;
    TRY(eval_gather(e, s.P, per_group, s.policy.rows, &mine));
    if (e->other)
        TRY(eval_gather(e, s.P, per_group, s.other.rows, &others));
    TRY(add_side(&s, mine, ""));
    TRY(add_correlations(&s, mine));
    if (e->other)
        TRY(add_comparison(&s, mine, others));
done:
    free(mine);
    free(others);
    session_close(&s);
    return rc;
}
