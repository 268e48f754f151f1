/* MORE (Zeng et al. 2023, 2312.07401): one reward model of K data sets.  The weight of each data
 * set's loss is the shortest vector's in the hull of their gradients, of the reward head only:
 *
 *   g_k = sum over pairs of data set k of w dvalue/dscore h / sum of w      h: hidden states
 *   m_k = decay m_k + (1 - decay) g_k, the first as it is                   [/ |m_k| or / L_k]
 *   lambda = argmin over the simplex of |sum lambda_k m_k|                  L = sum lambda_k L_k
 *
 * It needs a forward pass of its own, before the one that is differentiated.  The sums over rows
 * are made of one vector a record, gathered and added in global order. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/reward_model/method.h"

int more_setup(struct learner *ln)
{
    struct reward_model *rm = ln->state;
    size_t row;

    if (!rm->more.on)
        return RL_OK;
    rm->more.K = ln->objectives;
    rm->more.C = ln->shape.C;
    row = (size_t)rm->more.C + MORE_TERMS;
    if (rm->more.K < 2 || rm->more.K > COMBINE_MAX)
        return rl_error(RL_EINVAL, "%s: pairs: more weighs 2 to %d data sets, a file each, not %d",
                        config_where(ln->config, "pairs"), COMBINE_MAX, rm->more.K);
    if (ln->group_terms < row)
        ln->group_terms = row;
    return RL_OK;
}

void more_layout(struct learner *ln, struct memory *memory)
{
    struct more *x = &((struct reward_model *)ln->state)->more;
    size_t K = (size_t)x->K, C = (size_t)x->C, groups = (size_t)(ln->rows / ln->k);

    if (!x->on)
        return;
    x->group = memory_take(memory, groups * (C + MORE_TERMS) * sizeof *x->group);
    x->mean = memory_take(memory, K * C * sizeof *x->mean);
    x->seen = memory_take(memory, K * sizeof *x->seen);
    x->step = memory_take(memory, K * C * sizeof *x->step);
}

/* The data set of record g. */
static int set_of(const struct more *x, const struct batch *b, int g)
{
    int k = b->objective[g * b->k];

    return k >= 0 && k < x->K ? k : 0;
}

void more_begin(struct learner *ln, const struct batch *b)
{
    struct more *x = &((struct reward_model *)ln->state)->more;
    size_t row = (size_t)x->C + MORE_TERMS;

    if (!x->on)
        return;
    memset(x->group, 0, (size_t)b->groups * row * sizeof *x->group);
    for (int g = 0; g < b->groups; g++)
        x->group[g * row + x->C + MORE_SET] = set_of(x, b, g);
}

/* One pair's share of its record's head gradient. */
static void add_pair(struct learner *ln, const struct batch *b, int g, const struct rm_pair *pair,
                     double *out)
{
    struct reward_model *rm = ln->state;
    struct micro *micro = &ln->micro;
    const struct trainer *trainer = ln->policy.trainer;
    int w = ln->place[g * b->k + pair->w], l = ln->place[g * b->k + pair->l], C = rm->more.C;
    size_t h_w = ((size_t)micro->start[w + 1] - 1) * C, h_l = ((size_t)micro->start[l + 1] - 1) * C;
    double r_w = micro->score[micro->start[w + 1] - 1], r_l = micro->score[micro->start[l + 1] - 1];
    double d_w, d_l, value;

    value = duel_scores(rm->link, r_w, r_l, pair->margin, ln->config->reward_model.center, &d_w,
                        &d_l);
    for (int c = 0; c < C; c++)
        out[c] += pair->weight * (d_w * model_hidden(trainer, h_w + c) +
                                  d_l * model_hidden(trainer, h_l + c));
    out[C + MORE_WEIGHT] += pair->weight;
    out[C + MORE_VALUE] += pair->weight * value;
}

int more_look(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;
    size_t row = (size_t)rm->more.C + MORE_TERMS;

    for (int g = ln->micro.group; g < ln->micro.group + ln->micro.groups; g++)
        for (int p = 0; p < rm->count[g]; p++)
            add_pair(ln, b, g, &rm->pairs[(size_t)g * rm->room + p], rm->more.group + g * row);
    return RL_OK;
}

static double length(const double *x, int n)
{
    double squares = 0;

    for (int i = 0; i < n; i++)
        squares += x[i] * x[i];
    return sqrt(squares);
}

/* m_k from this step's sums; weight (K) 0: the data set has no pair in this step. */
static void smooth(struct learner *ln, const double *weight)
{
    struct more *x = &((struct reward_model *)ln->state)->more;
    double decay = ln->config->more.decay;

    for (int k = 0; k < x->K; k++) {
        double *mean = x->mean + (size_t)k * x->C, *step = x->step + (size_t)k * x->C;
        double keep = x->seen[k] > 0 ? decay : 0;

        if (!(weight[k] > 0))
            continue;
        for (int c = 0; c < x->C; c++)
            mean[c] = keep * mean[c] + (1 - keep) * (step[c] / weight[k]);
        x->seen[k]++;
    }
}

/* Inner products of the smoothed gradients, divided as the configuration says. */
static void gram(struct learner *ln, const double *weight, const double *value, double *H)
{
    struct more *x = &((struct reward_model *)ln->state)->more;
    const char *how = ln->config->more.normalise;
    double by[COMBINE_MAX];

    for (int k = 0; k < x->K; k++) {
        double norm = length(x->mean + (size_t)k * x->C, x->C);

        by[k] = 1;
        if (strcmp(how, "norm") == 0 && norm > 0)
            by[k] = norm;
        if (strcmp(how, "loss") == 0 && weight[k] > 0 && value[k] > 0)
            by[k] = value[k] / weight[k];
    }
    for (int i = 0; i < x->K; i++)
        for (int j = 0; j < x->K; j++) {
            const double *a = x->mean + (size_t)i * x->C, *b = x->mean + (size_t)j * x->C;
            double sum = 0;

            for (int c = 0; c < x->C; c++)
                sum += a[c] * b[c];
            H[i * x->K + j] = sum / (by[i] * by[j]);
        }
}

/* Sums of the step by data set, in global order. */
static void add_up(struct learner *ln, int groups, double *weight, double *value)
{
    struct more *x = &((struct reward_model *)ln->state)->more;
    size_t row = (size_t)x->C + MORE_TERMS;

    memset(x->step, 0, (size_t)x->K * x->C * sizeof *x->step);
    memset(weight, 0, (size_t)x->K * sizeof *weight);
    memset(value, 0, (size_t)x->K * sizeof *value);
    for (int g = 0; g < groups; g++) {
        const double *one = ln->stats.all + g * row;
        int k = (int)one[x->C + MORE_SET];

        for (int c = 0; c < x->C; c++)
            x->step[(size_t)k * x->C + c] += one[c];
        weight[k] += one[x->C + MORE_WEIGHT];
        value[k] += one[x->C + MORE_VALUE];
    }
}

/* Data set k's pairs now weigh lambda_k in all. */
static void weigh(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;

    for (int g = 0; g < b->groups; g++)
        for (int p = 0; p < rm->count[g]; p++) {
            double *t = rm->terms + ((size_t)g * rm->room + p) * RM_TERMS;
            t[RM_WEIGHT] *= rm->more.share[set_of(&rm->more, b, g)];
        }
}

int more_prepare(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;
    struct more *x = &rm->more;
    double weight[COMBINE_MAX], value[COMBINE_MAX], H[COMBINE_MAX * COMBINE_MAX];
    double equal[COMBINE_MAX];
    struct combine_settings set = { .skip_empty = true };
    struct combine_report report;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, x->group, (size_t)x->C + MORE_TERMS));
    add_up(ln, b->P, weight, value);
    smooth(ln, weight);
    gram(ln, weight, value, H);
    for (int k = 0; k < x->K; k++)
        equal[k] = 1.0 / x->K;
    combine_solve(combine_find("mgda"), H, equal, x->K, &set, x->weights, &report);
    for (int k = 0; k < x->K; k++)
        x->share[k] = weight[k] > 0 ? x->weights[k] / weight[k] : 0;
    weigh(ln, b);
done:
    return rc;
}

void more_report(struct learner *ln, struct metrics *m)
{
    const struct more *x = &((struct reward_model *)ln->state)->more;

    for (int k = 0; x->on && k < x->K; k++) {
        metrics_setf(m, x->weights[k], "more/lambda/%d", k);
        metrics_setf(m, length(x->mean + (size_t)k * x->C, x->C), "more/g_norm/%d", k);
    }
}
