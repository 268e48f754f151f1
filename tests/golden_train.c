/* golden_train.json: the gradient of a cross entropy and of one DPO pair, then six steps of SGD
 * and of AdamW on that pair.
 *
 *   L = -log sigmoid(z),  z = beta (log p(chosen) / ref(chosen) - log p(rejected) / ref(rejected))
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tests/golden.h"

#define STEPS 6

/* Packed rows, and what a pass says about them. */
struct rows {
    struct ids tokens, start;
    float *logp, *dlogp;
};

static void rows_free(struct rows *r)
{
    ids_free(&r->tokens);
    ids_free(&r->start);
    free(r->logp);
    free(r->dlogp);
}

static int rows_room(struct rows *r)
{
    r->logp = calloc((size_t)r->tokens.count + 1, sizeof *r->logp);
    r->dlogp = calloc((size_t)r->tokens.count + 1, sizeof *r->dlogp);
    if (!r->logp || !r->dlogp)
        return rl_error(RL_ENOFIT, "no memory for %d tokens", r->tokens.count);
    return RL_OK;
}

struct work {
    struct golden *g;
    struct trainer *trainer;
    struct rows rows;
    size_t size;                 /* floats in the flat buffer */
    float *grads, *kept, *m, *v; /* kept: the weights of the file */
    struct memory memory;        /* of these */
};

static void work_close(struct work *w)
{
    trainer_destroy(w->trainer);
    rows_free(&w->rows);
    memory_close(&w->memory);
}

static void layout(struct work *w)
{
    w->grads = memory_take(&w->memory, w->size * sizeof(float));
    w->kept = memory_take(&w->memory, w->size * sizeof(float));
    w->m = memory_take(&w->memory, w->size * sizeof(float));
    w->v = memory_take(&w->memory, w->size * sizeof(float));
}

/* After the rows are known. */
static int work_open(struct work *w)
{
    int rc = RL_OK;

    w->size = model_size(model_shape(w->g->model));
    TRY(rows_room(&w->rows));
    TRY(trainer_create(&w->trainer, w->g->model, w->rows.start.count, w->rows.tokens.count, false));
    layout(w);
    TRY(memory_open(&w->memory));
    layout(w);
    memcpy(w->kept, model_weights(w->g->model), w->size * sizeof(float));
done:
    return rc;
}

static int forward(struct work *w)
{
    return model_logprobs(w->trainer, w->rows.tokens.data, w->rows.start.data,
                          w->rows.start.count - 1, 1.0f, true, w->rows.logp, NULL);
}

static int backward(struct work *w)
{
    int rc = RL_OK;

    memset(w->grads, 0, w->size * sizeof(float));
    TRY(model_backward(w->trainer, w->rows.dlogp, NULL, w->grads));
    TRY(model_backward_finish(w->trainer, w->grads));
done:
    return rc;
}

static double norm(const float *g, size_t n)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++)
        squares += (double)g[i] * g[i];
    return sqrt(squares);
}

/* ---- gradients against their golden norms, sums and elements */

static void check_tensor(struct golden *g, const struct array *a, const float *grads,
                         const struct json *want)
{
    const float *x = grads + a->offset;
    const struct json *at = json_get(want, "at");
    double l2 = json_number(json_get(want, "l2"), NAN), sum = 0;

    for (size_t i = 0; i < a->size; i++)
        sum += x[i];
    golden_near(g, norm(x, a->size), l2, 1e-4 * l2, "l2");
    golden_near(g, sum, json_number(json_get(want, "sum"), NAN), 1e-4 * l2, "sum");
    for (size_t i = 0; i < json_size(at); i++) {
        int64_t e = json_int(json_at(json_at(at, i), 0), -1);
        bool inside = e >= 0 && (uint64_t)e < a->size;

        golden_true(g, inside, "element %lld is outside the tensor", (long long)e);
        if (inside)
            golden_near(g, x[e], json_number(json_at(json_at(at, i), 1), NAN), 1e-4 * l2,
                        "element %lld", (long long)e);
    }
}

static void check_gradients(struct work *w, const char *of, const struct json *grads,
                            const struct json *total)
{
    struct golden *g = w->g;
    int n;
    const struct array *arrays = model_arrays(g->model, &n);
    double all = json_number(total, NAN);

    golden_begin(g, "%s gradient", of);
    golden_near(g, norm(w->grads, w->size), all, 1e-4 * all, "norm");
    golden_near(g, (double)json_size(grads), n, 0, "number of tensors");
    golden_end(g);
    for (int i = 0; i < n; i++) {
        const struct json *want = json_get(grads, arrays[i].name);

        golden_begin(g, "%s gradient of %s", of, arrays[i].name);
        golden_true(g, json_is_object(want), "the file has no such tensor");
        if (want)
            check_tensor(g, &arrays[i], w->grads, want);
        golden_end(g);
    }
}

/* ---- cross entropy */

static int cross_entropy(struct golden *g, const struct json *ce)
{
    const struct json *ids = json_get(ce, "ids");
    double want = json_number(json_get(ce, "loss_mean_nats"), NAN), loss = 0;
    struct work w = { .g = g };
    struct rows *r = &w.rows;
    int rc = RL_OK, predicted;

    ids_add(&r->start, 0);
    for (size_t n = 0; n < json_size(ids); n++) {
        if (!golden_ids(json_at(ids, n), &r->tokens))
            TRY(rl_error(RL_EINVAL, "ce.ids: row %zu is no list of ids", n));
        ids_add(&r->start, r->tokens.count);
    }
    predicted = r->tokens.count - (r->start.count - 1);
    if (predicted < 1)
        TRY(rl_error(RL_EINVAL, "ce.ids: no token to predict"));
    TRY(work_open(&w));
    TRY(forward(&w));
    for (int t = 0; t < r->tokens.count; t++) {
        loss -= r->logp[t] / predicted;
        r->dlogp[t] = -1.0f / (float)predicted;         /* ignored at each row's first token */
    }
    golden_begin(g, "ce loss");
    golden_near(g, loss, want, 1e-5 * want, "mean");
    golden_end(g);
    TRY(backward(&w));
    check_gradients(&w, "ce", json_get(ce, "grads"), json_get(ce, "grad_norm"));
done:
    work_close(&w);
    return rc;
}

/* ---- the pair */

struct pair {
    double beta, ref[2];         /* chosen, rejected */
    int prompt;                  /* tokens of the prompt, in both rows */
};

static int read_pair(const struct json *dpo, struct pair *p, struct rows *r)
{
    static const char *const answers[] = { "chosen_ids", "rejected_ids" };

    p->beta = json_number(json_get(dpo, "beta"), NAN);
    p->ref[0] = json_number(json_get(dpo, "ref_chosen_logprob"), NAN);
    p->ref[1] = json_number(json_get(dpo, "ref_rejected_logprob"), NAN);
    p->prompt = (int)json_size(json_get(dpo, "prompt_ids"));
    ids_add(&r->start, 0);
    for (int n = 0; n < 2; n++) {
        if (!golden_ids(json_get(dpo, "prompt_ids"), &r->tokens) || p->prompt < 1 ||
            !golden_ids(json_get(dpo, answers[n]), &r->tokens))
            return rl_error(RL_EINVAL, "dpo: prompt_ids or %s is no list of ids", answers[n]);
        ids_add(&r->start, r->tokens.count);
    }
    return RL_OK;
}

static double answer_logprob(const struct rows *r, const struct pair *p, int n)
{
    double sum = 0;

    for (int t = r->start.data[n] + p->prompt; t < r->start.data[n + 1]; t++)
        sum += r->logp[t];
    return sum;
}

/* Loss, and its slope by every log-probability. */
static double pair_loss(struct rows *r, const struct pair *p)
{
    double z = p->beta * (answer_logprob(r, p, 0) - p->ref[0] -
                          (answer_logprob(r, p, 1) - p->ref[1]));
    float slope = (float)(-p->beta / (1 + exp(z)));

    for (int n = 0; n < 2; n++)
        for (int t = r->start.data[n] + p->prompt; t < r->start.data[n + 1]; t++)
            r->dlogp[t] = n == 0 ? slope : -slope;
    return log1p(exp(-z));
}

/* ---- six steps */

static void step_sgd(struct work *w, int step)
{
    float *x = model_weights(w->g->model);

    (void)step;
    for (size_t i = 0; i < w->size; i++)
        x[i] -= 1e-3f * w->grads[i];
}

static void step_adamw(struct work *w, int step)
{
    struct compute *k = w->g->compute;
    struct adamw a = { .lr = 2e-5f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f,
                       .weight_decay = 0.1f, .eps_inside = 1, .scale = 1 };

    a.correction1 = (float)(1 - pow(0.9, step + 1));
    a.correction2 = (float)(1 - pow(0.95, step + 1));
    k->adamw(k, model_weights(w->g->model), w->m, w->v, w->grads, w->size, &a);
}

static const struct optimizer {
    const char *name;
    void (*step)(struct work *w, int step);
} optimizers[] = {
    { "sgd", step_sgd },
    { "adamw", step_adamw },
};

static int six_steps(struct work *w, const struct pair *p, const struct optimizer *o,
                     const struct json *want)
{
    const struct json *losses = json_get(want, "loss_before_each_step");
    const struct json *norms = json_get(want, "grad_norm_before_each_step");
    const struct json *after = json_get(want, "after_6_steps");
    struct golden *g = w->g;
    int rc = RL_OK;

    memcpy(model_weights(g->model), w->kept, w->size * sizeof(float));
    model_changed(g->model);
    for (int s = 0; s < STEPS; s++) {
        double loss, size = json_number(json_at(norms, (size_t)s), NAN);

        TRY(forward(w));
        loss = pair_loss(&w->rows, p);
        TRY(backward(w));
        golden_begin(g, "%s step %d", o->name, s);
        golden_near(g, loss, json_number(json_at(losses, (size_t)s), NAN), 2e-5, "loss");
        golden_near(g, norm(w->grads, w->size), size, 1e-3 * size, "gradient norm");
        golden_end(g);
        o->step(w, s);
        model_changed(g->model);
    }
    TRY(forward(w));
    golden_begin(g, "%s after %d steps", o->name, STEPS);
    golden_near(g, answer_logprob(&w->rows, p, 0),
                json_number(json_get(after, "chosen_logprob"), NAN), 2e-3, "chosen_logprob");
    golden_near(g, answer_logprob(&w->rows, p, 1),
                json_number(json_get(after, "rejected_logprob"), NAN), 2e-3, "rejected_logprob");
    golden_end(g);
done:
    return rc;
}

static int preference(struct golden *g, const struct json *dpo)
{
    struct work w = { .g = g };
    struct pair p;
    int rc = RL_OK;

    TRY(read_pair(dpo, &p, &w.rows));
    TRY(work_open(&w));
    TRY(forward(&w));
    golden_begin(g, "dpo at the reference");
    golden_near(g, answer_logprob(&w.rows, &p, 0), p.ref[0], 1e-3, "chosen log-probability");
    golden_near(g, answer_logprob(&w.rows, &p, 1), p.ref[1], 1e-3, "rejected log-probability");
    golden_near(g, pair_loss(&w.rows, &p), json_number(json_get(dpo, "loss_at_ref"), NAN), 2e-5,
                "loss");
    golden_end(g);
    TRY(backward(&w));
    check_gradients(&w, "dpo", json_get(dpo, "grads_at_ref"), json_get(dpo, "grad_norm_at_ref"));
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        const struct json *want = json_get(dpo, optimizers[i].name);

        if (!json_is_null(want))
            TRY(six_steps(&w, &p, &optimizers[i], want));
    }
done:
    work_close(&w);
    return rc;
}

int golden_train(struct golden *g, const struct json *file)
{
    int rc = RL_OK;

    if (!json_is_null(json_get(file, "ce")))
        TRY(cross_entropy(g, json_get(file, "ce")));
    if (!json_is_null(json_get(file, "dpo")))
        TRY(preference(g, json_get(file, "dpo")));
done:
    return rc;
}
