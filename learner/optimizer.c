/* The optimizer: gradient norm, clipping, learning rate, AdamW.
 *
 *   m = b1 m + (1 - b1) g    v = b2 v + (1 - b2) g^2    w -= lr (mhat / (sqrt(vhat) + eps) + wd w)
 *
 * The elementwise update is compute->adamw; here are the scalars, in double, from repeated
 * multiplication and own cosine, so that they are the same on every machine. */
#include "learner/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "compute/math.h"

#define CHUNKS 1024             /* of which the squares are summed by one operation */

struct optimizer {
    const struct config *config;
    struct model *model;
    struct memory memory;
    size_t n;                   /* floats in the flat buffer */
    size_t first, count;        /* of them: those that are trained */
    float *m, *v;
    double lr;                  /* the peak of the schedule */
    double power[2];            /* beta1^t, beta2^t after t updates */
};

static void layout(struct optimizer *o, struct memory *memory)
{
    o->m = memory_take(memory, o->n * sizeof(float));
    o->v = memory_take(memory, o->n * sizeof(float));
}

int optimizer_create(struct optimizer **out, const struct config *config, struct model *model,
                     double lr)
{
    struct optimizer *o = calloc(1, sizeof *o);
    int rc = RL_OK;

    *out = NULL;
    if (!o)
        return rl_error(RL_ENOFIT, "no memory for the optimizer");
    o->config = config;
    o->model = model;
    o->n = o->count = model_size(model_shape(model));
    o->lr = lr;
    o->power[0] = o->power[1] = 1;
    if (!(config->adam.eps > 0)) {      /* 0 / 0 at weights that never had a gradient */
        rc = rl_error(RL_EINVAL, "adam.eps: %g must be above 0", config->adam.eps);
        goto done;
    }
    memory_count(&o->memory);
    layout(o, &o->memory);
    TRY(memory_open(&o->memory));
    layout(o, &o->memory);
done:
    if (rc == RL_OK)
        *out = o;
    else
        optimizer_destroy(o);
    return rc;
}

void optimizer_destroy(struct optimizer *o)
{
    if (!o)
        return;
    memory_close(&o->memory);
    free(o);
}

void optimizer_only(struct optimizer *o, size_t offset, size_t count)
{
    o->first = offset;
    o->count = count;
}

size_t optimizer_bytes(const struct model_shape *shape)
{
    struct optimizer o = { .n = model_size(shape) };
    struct memory memory;

    memory_count(&memory);
    layout(&o, &memory);
    return memory.peak;
}

float *optimizer_m(struct optimizer *o)
{
    return o->m;
}

float *optimizer_v(struct optimizer *o)
{
    return o->v;
}

double *optimizer_powers(struct optimizer *o)
{
    return o->power;
}

static double cosine(double x)
{
    double s, c;

    rw_sincos(x, &s, &c);
    return c;
}

/* Warm-up climbs in equal steps and reaches the full rate in its last update; then the schedule
 * falls from lr towards lr_min, which update `steps` (the first not done) would have. */
double optimizer_rate(const struct config *c, double lr, int64_t t)
{
    double warm = c->warmup < 1 ? c->warmup * (double)c->steps : c->warmup;
    double rest = (double)c->steps - warm, done, fallen = 0;
    double lr_min = lr == c->lr || c->lr_min < lr ? c->lr_min : lr;

    if ((double)t + 1 < warm)
        return lr * ((double)t + 1) / warm;
    done = rest > 0 ? fmin(fmax(((double)t - warm) / rest, 0), 1) : 0;
    if (strcmp(c->schedule, "linear") == 0)
        fallen = done;
    if (strcmp(c->schedule, "cosine") == 0)
        fallen = 0.5 * (1 - cosine(3.14159265358979323846 * done));
    return lr - (lr - lr_min) * fallen;
}

/* Which array holds the first element that is not finite: for the message only. */
static int blame(const struct model *model, const float *grads)
{
    int count;
    const struct array *arrays = model_arrays(model, &count);

    for (int a = 0; a < count; a++)
        for (size_t i = 0; i < arrays[a].size; i++)
            if (!isfinite(grads[arrays[a].offset + i]))
                return rl_error(RL_ENAN, "gradient of %s: element %zu is %g; weights are as they "
                                "were before this update (lower lr or clip_norm?)", arrays[a].name,
                                i, (double)grads[arrays[a].offset + i]);
    return rl_error(RL_EBUG, "the gradient is not finite outside of every array");
}

int optimizer_norm(const struct model *model, const float *grads, double *norm)
{
    struct compute *k = model_compute(model);
    size_t n = model_size(model_shape(model)), most = (size_t)CHUNKS * HASH_CHUNK;
    double squares = 0, sums[CHUNKS];

    for (size_t i = 0; i < n; i += most) {
        const float *at = grads + i;
        size_t count = n - i < most ? n - i : most;

        k->gram(k, sums, &at, 1, count);
        for (size_t c = 0; c * HASH_CHUNK < count; c++)
            squares += sums[c];
    }
    *norm = sqrt(squares);
    return isfinite(squares) ? RL_OK : blame(model, grads);
}

/* x as a float, from memory: of two such roundings side by side that go on as doubles gcc 12 makes
 * one vector and forgets them, at -O2 and above. */
static float rounded(double x)
{
    volatile float f = (float)x;

    return f;
}

int optimizer_step(struct optimizer *o, float *grads, int64_t t, double *grad_norm, double *lr)
{
    const struct config *c = o->config;
    struct compute *k = model_compute(o->model);
    struct adamw a = { 0 };
    int rc = RL_OK;

    memset(grads, 0, o->first * sizeof *grads);
    memset(grads + o->first + o->count, 0, (o->n - o->first - o->count) * sizeof *grads);
    TRY(optimizer_norm(o->model, grads, grad_norm));
    *lr = optimizer_rate(c, o->lr, t);
    a.lr = (float)*lr;
    a.beta1 = rounded(c->adam.beta1);
    a.beta2 = rounded(c->adam.beta2);
    /* of the rounded betas, which weigh the moments: 1 - 0.999f is 5e-5 off 0.001 */
    o->power[0] *= (double)a.beta1;
    o->power[1] *= (double)a.beta2;
    a.eps = (float)c->adam.eps;
    a.weight_decay = (float)c->adam.weight_decay;
    a.correction1 = (float)(1 - o->power[0]);
    a.correction2 = (float)(1 - o->power[1]);
    a.eps_inside = strcmp(c->adam.eps_mode, "torch") == 0;
    a.scale = 1;
    if (c->clip_norm > 0 && *grad_norm > c->clip_norm)
        a.scale = (float)(c->clip_norm / *grad_norm);

    k->adamw(k, model_weights(o->model) + o->first, o->m + o->first, o->v + o->first,
             grads + o->first, o->count, &a);
    TRY(compute_sync(k));
    model_changed(o->model);
done:
    return rc;
}
