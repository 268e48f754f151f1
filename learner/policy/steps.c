/* Mini-batches of rows and their loss:
 *
 *   L = sum over tokens of weight (surrogate + KL - entropy) + vf_coef mean of value loss
 *
 * The weights and the mean divide by counts over all ranks, so that gradients add up. */
#include <math.h>

#include "base/random.h"
#include "base/status.h"
#include "learner/policy/method.h"
#include "learner/policy/value.h"

/* ---- which rows */

/* The order of the step's rows in an epoch: by random number of the global row, so that every rank
 * makes the same mini-batches. */
static void shuffle_rows(struct learner *ln, const struct batch *b, int epoch)
{
    struct policy *p = ln->state;
    int64_t rows = (int64_t)b->P * b->k;

    for (int64_t row = 0; row < rows; row++) {
        struct counter c = { .seed = (uint64_t)ln->config->seed, .purpose = PURPOSE_MINIBATCH,
                             .step = (uint32_t)b->step, .prompt = (uint32_t)row,
                             .position = (uint32_t)epoch };
        uint32_t words[4];
        random_words(&c, words);
        p->order[row] = (struct shuffled){ (uint64_t)words[0] << 32 | words[1], row };
    }
    shuffle_sort(p->order, rows);
}

int policy_select(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;
    int parts = p->rules.minibatches, part = ln->pass % parts;
    int64_t rows = (int64_t)b->P * b->k, first = (int64_t)b->group * b->k;

    for (int n = 0; n < b->N; n++)
        ln->place[n] = parts == 1 && p->kept[n] ? 0 : -1;
    if (parts == 1)
        return RL_OK;
    if (part == 0)
        shuffle_rows(ln, b, ln->pass / parts);
    for (int64_t i = part * rows / parts; i < (part + 1) * rows / parts; i++) {
        int64_t n = p->order[i].item - first;
        if (n >= 0 && n < b->N && p->kept[n])
            ln->place[n] = 0;
    }
    return RL_OK;
}

int policy_count(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;
    int64_t counts[3] = { 0 };              /* tokens, rows, tokens with a return */
    int rc = RL_OK;

    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        if (ln->place[n] < 0)
            continue;
        counts[0] += end - from;
        counts[1]++;
        counts[2] += p->failed[n] ? 0 : end - from;
    }
    TRY(gradients_count(ln, b));
    TRY(comm_sum_int64(ln->team, counts, 3, PHASE_COUNT));
    p->totals = (struct totals){ (double)counts[0], (double)counts[1], p->rules.length };
    p->values = (double)counts[2];
    ln->total = (double)counts[0];
    p->updates += counts[0] > 0;
done:
    return rc;
}

/* ---- the loss of a row */

struct row {
    int i, n, from, end;        /* in the micro-batch, in the batch; tokens of the response */
    int shift;                  /* from the batch's tokens to the packed ones */
    double weight;              /* of a token */
    double *terms;
};

static struct row row_of(const struct learner *ln, const struct batch *b, int i)
{
    const struct policy *p = ln->state;
    struct row row = { .i = i, .n = ln->micro.row[i] };

    row.end = row_response(b, row.n, &row.from);
    row.shift = ln->micro.start[i] - b->start[row.n];
    row.weight = token_weight(p->rules.agg, &p->totals, row.end - row.from);
    row.terms = policy_terms(p, row.n);
    return row;
}

/* In the first mini-batch the weights are those the rows are compared with: every ratio is 1, the
 * approximate KL 0, nothing is clipped.  Else actor and learner do not compute the same. */
static int check_first(const struct learner *ln, const struct batch *b, const struct row *row)
{
    const struct policy *p = ln->state;

    if (ln->pass > 0 || (b->version[row->n] != ln->version && p->rules.tis == TIS_OFF))
        return RL_OK;
    for (int t = row->from; t < row->end; t++) {
        double logp = ln->micro.logp[t + row->shift], old = policy_old(ln, b, row->n, t);
        if (logp != old)
            return rl_error(isfinite(logp) ? RL_EBUG : RL_ENAN,
                            "step %lld, row %d: token %d has log-probability %.9g in the first "
                            "mini-batch and had %.9g when it was sampled: its ratio is not 1",
                            (long long)b->step + 1, b->group * b->k + row->n,
                            t - b->start[row->n], logp, old);
    }
    return RL_OK;
}

static void add_ratio(double *terms, const struct surrogate *s)
{
    terms[TERM_UNITS]++;
    terms[TERM_CLIPPED] += s->clipped;
    terms[TERM_DUAL] += s->dual_clipped;
    terms[TERM_RATIO] += s->ratio;
    terms[TERM_RATIO2] += s->ratio * s->ratio;
    terms[TERM_RATIO_MAX] = fmax(terms[TERM_RATIO_MAX], s->ratio);
}

/* Means over the response of logp - old, and of old - sampled. */
static void mean_ratios(const struct learner *ln, const struct batch *b, const struct row *row,
                        double *now, double *lag)
{
    *now = *lag = 0;
    for (int t = row->from; t < row->end; t++) {
        double old = policy_old(ln, b, row->n, t);
        *now += (double)ln->micro.logp[t + row->shift] - old;
        *lag += old - (double)b->actor_logp[t];
    }
    *now /= row->end - row->from;
    *lag /= row->end - row->from;
}

static double importance(const struct policy *p, double old, double sampled, double mean_lag)
{
    if (p->rules.tis == TIS_TOKEN)
        return importance_token(old, sampled, p->rules.tis_max);
    return p->rules.tis == TIS_RESPONSE ? importance_response(mean_lag, p->rules.tis_max) : 1;
}

/* The surrogate of every token, and its slope into dlogp. */
static void add_policy(struct learner *ln, const struct batch *b, const struct row *row)
{
    struct policy *p = ln->state;
    struct micro *micro = &ln->micro;
    struct surrogate s = { 0 };
    double now, lag;

    mean_ratios(ln, b, row, &now, &lag);
    if (p->rules.per_response) {
        s = surrogate_response(now, p->adv[row->from], &p->rules.clip);
        add_ratio(row->terms, &s);
    }
    for (int t = row->from; t < row->end; t++) {
        double logp = micro->logp[t + row->shift], old = policy_old(ln, b, row->n, t);
        double weight = row->weight * importance(p, old, b->actor_logp[t], lag);
        if (!p->rules.per_response) {
            s = surrogate_token(logp, old, p->adv[t], &p->rules.clip);
            add_ratio(row->terms, &s);
        }
        row->terms[TERM_POLICY] += weight * s.value;
        row->terms[TERM_LOSS] += weight * s.value;
        row->terms[TERM_APPROX] += 0.5 * (logp - old) * (logp - old);
        micro->dlogp[t + row->shift] = (float)(weight * s.slope);
    }
    row->terms[TERM_TOKENS] += row->end - row->from;
}

static void add_kl(struct learner *ln, const struct batch *b, const struct row *row)
{
    struct policy *p = ln->state;
    struct micro *micro = &ln->micro;
    double weight = row->weight * p->kl_coef;

    for (int t = row->from; t < row->end; t++) {
        double d = (double)micro->logp[t + row->shift] - (double)b->ref_logp[t];
        row->terms[TERM_LOSS] += weight * p->rules.kl->value(d);
        micro->dlogp[t + row->shift] += (float)(weight * p->rules.kl->slope(d));
    }
}

static void add_entropy(struct learner *ln, const struct row *row)
{
    struct policy *p = ln->state;
    struct micro *micro = &ln->micro;
    double weight = row->weight * p->rules.entropy_coef;

    for (int t = row->from; t < row->end; t++) {
        row->terms[TERM_LOSS] -= weight * (double)micro->entropy[t + row->shift];
        micro->dentropy[t + row->shift] = (float)-weight;
    }
}

static void add_values(struct learner *ln, const struct row *row)
{
    struct policy *p = ln->state;
    struct micro *micro = &ln->micro;

    if (p->failed[row->n])
        return;                     /* nobody knows what it returned */
    for (int t = row->from; t < row->end; t++) {
        size_t at = (size_t)(t - 1 + row->shift) * (size_t)ln->scores;
        struct value_loss l = value_token(micro->score[at], p->value[t], p->ret[t],
                                          p->rules.value_clip);
        row->terms[TERM_VALUES]++;
        row->terms[TERM_VALUE_CLIPPED] += l.clipped;
        row->terms[TERM_VALUE] += l.value / p->values;
        row->terms[TERM_LOSS] += p->rules.vf_coef * l.value / p->values;
        micro->dscore[at] = (float)(p->rules.vf_coef * l.slope / p->values);
    }
}

static int add_row(struct learner *ln, const struct batch *b, const struct row *row)
{
    struct policy *p = ln->state;

    add_policy(ln, b, row);
    if (p->rules.kl_in == KL_IN_LOSS)
        add_kl(ln, b, row);
    if (p->rules.entropy_coef > 0)
        add_entropy(ln, row);
    if (p->rules.critic)
        add_values(ln, row);
    if (!isfinite(row->terms[TERM_LOSS]))
        return rl_error(RL_ENAN, "step %lld, row %d: its loss is %g (prompt %lld)",
                        (long long)b->step + 1, b->group * b->k + row->n, row->terms[TERM_LOSS],
                        (long long)b->prompt[row->n] + 1);
    return RL_OK;
}

int policy_loss(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    for (int i = 0; i < ln->micro.N; i++) {
        struct row row = row_of(ln, b, i);
        rows_compare(ln, b, i);
        TRY(check_first(ln, b, &row));
        TRY(add_row(ln, b, &row));
    }
done:
    return rc;
}
