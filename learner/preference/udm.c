/* See udm.h. */
#include "learner/preference/udm.h"

#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "learner/losses/single.h"

void udm_setup(struct learner *ln, struct udm *u)
{
    u->wanted = ln->config->bco.udm;
    u->room = u->wanted ? (int)ln->config->bco.udm_rows : 0;
    u->C = u->wanted ? ln->shape.C : 0;
    u->V = u->wanted ? ln->shape.V : 0;
    if (u->wanted && ln->group_terms < (size_t)ln->k * (size_t)(u->C + 2))
        ln->group_terms = (size_t)ln->k * (size_t)(u->C + 2);
}

void udm_layout(struct udm *u, struct memory *memory)
{
    size_t room = (size_t)u->room, C = (size_t)u->C;

    u->x = memory_take(memory, room * C * sizeof(float));
    u->y = memory_take(memory, room * sizeof(double));
    u->w = memory_take(memory, C * sizeof(double));
    u->work = memory_take(memory, (7 * C + 3 * room) * sizeof(double));
    u->token = memory_take(memory, (size_t)u->V * sizeof(double));
}

int udm_values(struct udm *u, struct learner_value *out)
{
    if (!u->wanted)
        return 0;
    out[0] = (struct learner_value){ "udm_tokens", u->token, (size_t)u->V };
    out[1] = (struct learner_value){ "udm_fitted", u->kept, 2 };
    return 2;
}

/* ---- records */

static const float *embedding(const struct learner *ln)
{
    int count;
    const struct array *arrays = model_arrays(ln->policy.model, &count);

    for (int i = 0; i < count; i++)
        if (strstr(arrays[i].name, "embed_tokens"))
            return arrays[i].data;
    return arrays[0].data;
}

/* Mean embedding of the prompt of row n. */
static void embed(const struct learner *ln, const struct batch *b, int n, int C, double *out)
{
    const float *table = embedding(ln);
    int first = b->start[n], end = first + b->prompt_len[n];

    memset(out, 0, (size_t)C * sizeof *out);
    for (int t = first; t < end; t++)
        for (int c = 0; c < C; c++)
            out[c] += (double)table[(size_t)b->tokens[t] * C + c];
    for (int c = 0; c < C && end > first; c++)
        out[c] /= end - first;
}

int udm_add(struct learner *ln, struct udm *u, const struct batch *b,
            bool (*desirable)(const struct batch *b, int n))
{
    size_t stride = (size_t)u->C + 2;
    int rc = RL_OK;

    TRY(stats_begin(&ln->stats, b, b->status));
    TRY(stats_room(&ln->stats, (size_t)b->k * stride));
    for (int n = 0; n < b->N; n++) {
        double *record = ln->stats.mine + (size_t)n * stride;
        record[0] = b->weight[n];
        record[1] = desirable(b, n);
        embed(ln, b, n, u->C, record + 2);
    }
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k * stride));
    for (int n = 0; n < b->P * b->k && u->rows < u->room; n++) {
        const double *record = ln->stats.all + (size_t)n * stride;
        if (!(record[0] > 0))
            continue;
        for (int c = 0; c < u->C; c++)
            u->x[(size_t)u->rows * u->C + c] = (float)record[2 + c];
        u->y[u->rows++] = record[1];
    }
done:
    return rc;
}

/* How often the fitted classifier is right on what it was fitted to. */
static double accuracy(const struct udm *u)
{
    int right = 0;

    for (int i = 0; i < u->rows; i++) {
        double z = u->kept[0];
        for (int c = 0; c < u->C; c++)
            z += u->w[c] * (double)u->x[(size_t)i * u->C + c];
        right += (z > 0) == (u->y[i] > 0);
    }
    return (double)right / u->rows;
}

int udm_fit(struct learner *ln, struct udm *u)
{
    const float *table = embedding(ln);
    int desirable = 0;

    for (int i = 0; i < u->rows; i++)
        desirable += u->y[i] > 0;
    if (desirable == 0 || desirable == u->rows)
        return rl_error(RL_EINVAL, "bco.udm: the %d records looked at are all %s; a classifier of "
                        "prompts needs both", u->rows,
                        desirable ? "desirable" : "undesirable");
    u->kept[0] = logistic_fit(u->w, u->x, u->y, u->rows, u->C, u->work);
    u->kept[1] = 1;
    for (int v = 0; v < u->V; v++) {
        u->token[v] = 0;
        for (int c = 0; c < u->C; c++)
            u->token[v] += u->w[c] * (double)table[(size_t)v * u->C + c];
    }
    if (comm_rank(ln->team) == 0)
        log_info("bco.udm: %d records, %d desirable; by their prompts alone %.1f %% are told "
                 "apart", u->rows, desirable, 100 * accuracy(u));
    return RL_OK;
}

double udm_of(const struct udm *u, const struct config *c, const struct batch *b, int n)
{
    int first = b->start[n], end = first + b->prompt_len[n];
    double z = 0;

    for (int t = first; t < end; t++)
        z += u->token[b->tokens[t]];
    z = u->kept[0] + (end > first ? z / (end - first) : 0);
    return udm_weight(sigmoid(z), c->bco.udm_min, c->bco.udm_max);
}
