/* model: a reward model that was trained here or elsewhere (Hugging Face's sequence
 * classification), one copy a rank for all columns that name it.
 *
 *   scores    the output `head` at the row's last token
 *   point     the reward for `user`; below 0: the mean over all users           (PAL)
 *   general   the mean margin over the other responses of the prompt            (GPM)
 *
 * calibrated: divided by the temperature that was fitted on held-out pairs.
 *
 * contexts z with weights p(z) (2407.14916): texts before the prompt.  A response's score is then
 * the mean, over the other responses of its prompt, of the probability to beat them,
 *
 *   P(i beats j) = sum_z p(z) sigmoid(margin of i over j under z)
 *
 * and for a single response the weighted mean of its scores.
 */
#include "reward/kinds/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/mixture.h"
#include "reward/scorer.h"

struct model_kind {
    struct scorer *scorer;
    const struct config_reward *config;
    int which;                   /* head or user */
    double temperature;
    int contexts, head;          /* head: ids that the tokenizer puts before a text */
    struct ids *ids;             /* (contexts) */
    double *weight;              /* (contexts) they sum to 1 */
};

/* ---- opening */

static int check_which(const struct config_reward *c, const char *where,
                       const struct model_shape *shape)
{
    const struct verdict *v = &shape->verdict;

    if (v->kind == VERDICT_SCORES && (c->head < 0 || c->head >= shape->scores))
        return rl_error(RL_EINVAL, "%s: head: %lld, but the model has scores 0 to %d", where,
                        (long long)c->head, shape->scores - 1);
    if (v->kind == VERDICT_POINT && c->user >= v->users)
        return rl_error(RL_EINVAL, "%s: user: %lld, but the model knows users 0 to %d", where,
                        (long long)c->user, v->users - 1);
    return RL_OK;
}

static int set_weights(struct model_kind *k, const struct config_reward *c, const char *where)
{
    int n = k->contexts;
    double sum = 0;

    if (c->context_weights.count > 0 && c->context_weights.count != n)
        return rl_error(RL_EINVAL, "%s: context_weights: %d weights for %d contexts", where,
                        c->context_weights.count, n);
    for (int z = 0; z < n; z++) {
        k->weight[z] = c->context_weights.count > 0 ? c->context_weights.items[z] : 1;
        if (!(k->weight[z] >= 0))
            return rl_error(RL_EINVAL, "%s: context_weights: %g is below 0", where, k->weight[z]);
        sum += k->weight[z];
    }
    if (n > 0 && !(sum > 0))
        return rl_error(RL_EINVAL, "%s: context_weights: all of them are 0", where);
    for (int z = 0; z < n; z++)
        k->weight[z] /= sum;
    return RL_OK;
}

static int open_contexts(struct model_kind *k, const struct config_reward *c, const char *where,
                         const struct reward_model_parts *parts)
{
    struct ids none = { 0 };
    int room = scorer_shape(k->scorer)->context, rc = RL_OK;

    k->contexts = c->contexts.count;
    if (k->contexts == 0)
        return RL_OK;
    if (!parts->tokenizer)
        return rl_error(RL_EINVAL, "%s: contexts: the model has no tokenizer.json", where);
    k->ids = calloc((size_t)k->contexts, sizeof *k->ids);
    k->weight = calloc((size_t)k->contexts, sizeof *k->weight);
    if (!k->ids || !k->weight)
        return rl_error(RL_ENOFIT, "%s: contexts: no memory for %d", where, k->contexts);
    TRY(tokenizer_encode(parts->tokenizer, "", 0, true, &none));
    k->head = none.count;
    for (int z = 0; z < k->contexts; z++) {
        const char *text = c->contexts.items[z];
        TRY(tokenizer_encode(parts->tokenizer, text, strlen(text), false, &k->ids[z]));
        if (k->ids[z].count + parts->row_tokens > room)
            TRY(rl_error(RL_EINVAL, "%s: contexts: %d tokens before rows of %d are more than the "
                         "reward model's %d positions", where, k->ids[z].count, parts->row_tokens,
                         room));
    }
    TRY(set_weights(k, c, where));
done:
    ids_free(&none);
    return rc;
}

int model_kind_open(void **state, const struct config_reward *c, const char *where,
                    const struct reward_model_parts *parts)
{
    struct model_kind *k;
    int rc = RL_OK;

    *state = NULL;
    TRY(check_which(c, where, scorer_shape(parts->scorer)));
    k = calloc(1, sizeof *k);
    if (!k)
        return rl_error(RL_ENOFIT, "%s: no memory for a reward model", where);
    *k = (struct model_kind){ .scorer = parts->scorer, .config = c, .temperature = 1 };
    *state = k;
    k->which = scorer_shape(parts->scorer)->verdict.kind == VERDICT_POINT ? (int)c->user
                                                                          : (int)c->head;
    if (c->calibrated)
        k->temperature = verdict_temperature(&scorer_shape(parts->scorer)->verdict);
    TRY(open_contexts(k, c, where, parts));
done:
    if (rc != RL_OK && *state) {
        model_kind_close(*state);
        *state = NULL;
    }
    return rc;
}

void model_kind_close(void *state)
{
    struct model_kind *k = state;

    if (!k)
        return;
    for (int z = 0; k->ids && z < k->contexts; z++)
        ids_free(&k->ids[z]);
    free(k->ids);
    free(k->weight);
    free(k);
}

/* It reads ids. */
bool model_kind_needs_text(const struct config_reward *c)
{
    (void)c;
    return false;
}

/* ---- scoring */

/* Mean over the other rows of row n's prompt, in order, of the margin, or of what it says in a
 * context of probability p (above 0). */
static double against_others(const struct model_kind *k, const struct batch *b, int n, double p)
{
    int first = n - n % b->k;
    double sum = 0;

    for (int j = first; j < first + b->k; j++)
        if (j != n) {
            double margin = scorer_margin(k->scorer, n, j, k->which) / k->temperature;
            sum += p > 0 ? mixture_term(p, margin) : margin;
        }
    return b->k > 1 ? sum / (b->k - 1) : 0;
}

static double score_row(const struct model_kind *k, const struct batch *b, int n)
{
    bool general = scorer_shape(k->scorer)->verdict.kind == VERDICT_GENERAL;

    if (general)
        return against_others(k, b, n, 0);
    return scorer_reward(k->scorer, n, k->which) / k->temperature;
}

int model_kind_fill(void *state, const struct batch *b, double *scores)
{
    const struct model_kind *k = state;
    int rc = RL_OK;

    if (k->contexts == 0) {
        TRY(scorer_run(k->scorer, b, NULL));
        for (int n = 0; n < b->N; n++)
            scores[n] = score_row(k, b, n);
        return RL_OK;
    }
    memset(scores, 0, (size_t)b->N * sizeof *scores);
    for (int z = 0; z < k->contexts; z++) {
        struct context x = { k->ids[z].data, k->ids[z].count, k->head };
        if (k->weight[z] == 0)
            continue;
        TRY(scorer_run(k->scorer, b, &x));
        for (int n = 0; n < b->N; n++)
            scores[n] += b->k > 1 ? against_others(k, b, n, k->weight[z])
                                  : k->weight[z] * score_row(k, b, n);
    }
done:
    return rc;
}
