/* Scores -> rewards -> advantages of a step, before its first gradient.
 *
 *   score:       normalised, clipped, without eos, too long; KL taken off where it is in the reward
 *   of a group:  advantages[].group                        the same for each token of a response
 *   of tokens:   shaped reward -> GAE or return to go      whitened before, after, or not
 */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/policy/gae.h"
#include "learner/policy/method.h"

/* ---- scores */

/* The scores of all ranks' rows, in global order, into a mean that goes on. */
static int add_scores(struct learner *ln, const struct batch *b, struct running *r)
{
    int rc = RL_OK;

    for (int n = 0; n < b->N; n++)
        ln->stats.mine[n] = row_score(ln, b, n);
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k));
    for (int n = 0; n < b->P * b->k; n++)
        running_add(r, ln->stats.all[n]);
done:
    return rc;
}

int policy_observe(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;

    return add_scores(ln, b, &p->norm);
}

static double normalised(const struct policy *p, double score)
{
    struct affine a;

    if (p->rules.norm == NORM_NONE)
        return score;
    a = affine_to(p->norm_now.mean, running_std(&p->norm_now), 0, 1);
    return affine_apply(&a, score);
}

static double final_score(const struct policy *p, const struct batch *b, int n, double score)
{
    const struct policy_rules *r = &p->rules;
    int from, end = row_response(b, n, &from);

    score = normalised(p, score);
    score = score_clip(score, -r->reward_clip, r->reward_clip);
    score = eos_score(score, row_ended(b, n), &r->eos);
    return score + r->overlong * overlong_penalty(end - from, r->max_new, r->overlong_cache);
}

/* Does the row count in the loss? */
static bool is_kept(const struct policy *p, const struct batch *b, int n, bool signal)
{
    const struct policy_rules *r = &p->rules;
    int from, end = row_response(b, n, &from);

    return from < end && !(r->overlong_filter && b->finish[n] == FINISH_LENGTH) &&
           (signal || r->max_resample == 0);
}

static void score_rows(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;

    for (int n = 0; n < b->N; n++) {
        double score = row_score(ln, b, n), *terms = policy_terms(p, n);
        int from, end = row_response(b, n, &from);
        p->failed[n] = !isfinite(score);
        p->score[n] = final_score(p, b, n, score);
        p->kept[n] = is_kept(p, b, n, policy_signal(ln->config, b, n / b->k));
        terms[TERM_KEPT] = p->kept[n];
        for (int t = from; t < end; t++)
            terms[TERM_KL] += (double)b->actor_logp[t] - (double)b->ref_logp[t];
    }
}

/* Tokens of row n that have an advantage; sets *from. */
static int advantage_tokens(const struct policy *p, const struct batch *b, int n, int *from)
{
    int end = row_response(b, n, from);

    return p->kept[n] && !p->failed[n] ? end - *from : 0;
}

/* Estimates of the KL of row n's tokens, from the rollout's log-probabilities. */
static const double *row_kl(struct policy *p, const struct batch *b, int from, int count)
{
    if (p->rules.kl_in != KL_IN_REWARD)
        return NULL;
    for (int i = 0; i < count; i++)
        p->kl[i] = p->rules.kl->value((double)b->actor_logp[from + i] -
                                      (double)b->ref_logp[from + i]);
    return p->kl;
}

/* ---- whitening, over the tokens of all ranks that have an advantage */

/* Adds a pair of numbers of each row of the step in global order; mine: (N, 2). */
static int add_rows(struct learner *ln, const struct batch *b, double sums[2])
{
    int rc = RL_OK;

    sums[0] = sums[1] = 0;
    TRY(stats_gather(&ln->stats, ln->stats.mine, 2 * (size_t)b->k));
    for (size_t n = 0; n < (size_t)b->P * (size_t)b->k; n++) {
        sums[0] += ln->stats.all[2 * n];
        sums[1] += ln->stats.all[2 * n + 1];
    }
done:
    return rc;
}

static int whiten(struct learner *ln, const struct batch *b, struct whitening w, double *x)
{
    struct policy *p = ln->state;
    double *mine = ln->stats.mine, sums[2];
    int from, count, rc = RL_OK;

    for (int n = 0; n < b->N; n++) {
        count = advantage_tokens(p, b, n, &from);
        mine[2 * n] = count;
        mine[2 * n + 1] = whiten_row_sum(x + from, NULL, count);
    }
    TRY(add_rows(ln, b, sums));
    whiten_mean(&w, sums[0], sums[1]);
    for (int n = 0; n < b->N; n++) {
        count = advantage_tokens(p, b, n, &from);
        mine[2 * n] = 0;
        mine[2 * n + 1] = whiten_row_squares(x + from, NULL, count, w.mean);
    }
    TRY(add_rows(ln, b, sums));
    whiten_spread(&w, sums[1]);
    for (int n = 0; n < b->N; n++) {
        count = advantage_tokens(p, b, n, &from);
        whiten_row(&w, x + from, NULL, count);
    }
done:
    return rc;
}

static struct whitening whitening_of(const struct policy *p, bool keep_mean)
{
    struct whitening w = { .keep_mean = keep_mean, .unbiased = p->rules.unbiased, .eps = 1e-8 };

    if (p->rules.advantage->whiten) {       /* REINFORCE++ has a floor of its own */
        w.eps = 0;
        w.floor = 1e-8;
    }
    return w;
}

/* ---- advantages */

static void group_advantages(struct learner *ln, const struct batch *b, int g)
{
    struct policy *p = ln->state;
    struct advantage_group group = { p->scores, p->lengths, b->k, p->rules.std_eps,
                                     p->rules.ddof };

    for (int i = 0; i < b->k; i++) {
        int n = g * b->k + i, from, end = row_response(b, n, &from), count = end - from;
        const double *kl = row_kl(p, b, from, count);
        p->lengths[i] = count > 0 ? count : 0;
        p->scores[i] = p->failed[n] ? NAN : p->score[n];
        for (int t = 0; kl && t < count; t++)
            p->scores[i] -= p->kl_coef * kl[t];
    }
    p->rules.advantage->group(&group, p->advs);
    for (int i = 0; i < b->k; i++) {
        int n = g * b->k + i, from, end = row_response(b, n, &from);
        for (int t = from; t < end; t++) {
            p->adv[t] = p->kept[n] ? p->advs[i] : 0;
            p->ret[t] = 0;
        }
    }
}

/* Token rewards into ret. */
static void shape_row(struct learner *ln, const struct batch *b, int n)
{
    struct policy *p = ln->state;
    int from, end = row_response(b, n, &from), count = advantage_tokens(p, b, n, &from);

    for (int t = from; t < end; t++)
        p->adv[t] = p->ret[t] = 0;
    shaped_reward(p->ret + from, row_kl(p, b, from, count), NULL, count, p->kl_coef, p->score[n]);
}

static void token_advantages(struct learner *ln, const struct batch *b, int n)
{
    struct policy *p = ln->state;
    const struct policy_rules *r = &p->rules;
    struct gae start = { .gamma = r->gamma, .lambda = r->lambda };
    int from, count = advantage_tokens(p, b, n, &from);

    if (count == 0)
        return;
    if (r->bootstrap && b->finish[n] == FINISH_LENGTH)
        start.next_value = p->after[n];
    memcpy(p->reward, p->ret + from, (size_t)count * sizeof *p->reward);
    gae_row(p->adv + from, p->ret + from, p->reward, r->critic ? p->value + from : NULL, NULL,
            count, start);
}

/* What the report says of the advantages, returns and values of row n. */
static void sum_row(struct learner *ln, const struct batch *b, int n)
{
    struct policy *p = ln->state;
    double *terms = policy_terms(p, n);
    int from, count = advantage_tokens(p, b, n, &from);

    terms[TERM_LENGTH] = count;
    for (int t = from; t < from + count; t++) {
        double value = p->rules.critic ? p->value[t] : 0, error = p->ret[t] - value;
        terms[TERM_ADV] += p->adv[t];
        terms[TERM_ADV2] += p->adv[t] * p->adv[t];
        terms[TERM_RET] += p->ret[t];
        terms[TERM_RET2] += p->ret[t] * p->ret[t];
        terms[TERM_V] += value;
        terms[TERM_ERR] += error;
        terms[TERM_ERR2] += error * error;
    }
}

static int token_level(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;
    int rc = RL_OK;

    for (int n = 0; n < b->N; n++)
        shape_row(ln, b, n);
    if (p->rules.whiten_rewards)
        TRY(whiten(ln, b, whitening_of(p, true), p->ret));
    for (int n = 0; n < b->N; n++)
        token_advantages(ln, b, n);
done:
    return rc;
}

int policy_prepare(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;
    int rc = RL_OK;

    p->norm_now = p->norm;
    if (p->rules.norm == NORM_RUNNING)
        TRY(add_scores(ln, b, &p->norm_now));
    score_rows(ln, b);
    if (p->rules.advantage->group)
        for (int g = 0; g < b->groups; g++)
            group_advantages(ln, b, g);
    else
        TRY(token_level(ln, b));
    if (p->rules.whiten)
        TRY(whiten(ln, b, whitening_of(p, false), p->adv));
    for (int n = 0; n < b->N; n++)
        sum_row(ln, b, n);
done:
    return rc;
}
