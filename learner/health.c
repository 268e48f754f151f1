/* Numbers that are none, and numbers that only jump.
 *
 *   update --> RL_OK      loss and norm of the gradient against their running means: alarms
 *          --> RL_ENAN    values as before the update; with on_nonfinite = "skip" it counts as done
 *
 * All of it follows from values that are equal on every rank, and is in the checkpoint: the same
 * steps are skipped and the same alarms given on any number of ranks, after any crash. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "learner/internal.h"

#define WATCHED 100.0           /* steps that a running mean remembers */
#define STILL 0.01              /* less than this share of the mean is no jump */

_Static_assert(sizeof(struct health_state) == HEALTH_VALUES * sizeof(double), "a row of doubles");

/* ---- what a skipped update gives back */

static size_t count_values(struct learner *ln)
{
    struct learner_value v[LEARNER_VALUES];
    size_t n = 0;

    for (int i = learner_values(ln, v) - 1; i >= 0; i--)
        n += v[i].n;
    return n;
}

int health_open(struct learner *ln)
{
    ln->health.kept = malloc(count_values(ln) * sizeof(double));
    return ln->health.kept ? RL_OK : rl_error(RL_ENOFIT, "no memory for the learner's values");
}

void health_close(struct learner *ln)
{
    free(ln->health.kept);
}

void health_keep(struct learner *ln)
{
    struct learner_value v[LEARNER_VALUES];
    double *at = ln->health.kept;
    int n = learner_values(ln, v);

    ln->health.skips = false;
    for (int i = 0; i < n; at += v[i++].n)
        memcpy(at, v[i].x, v[i].n * sizeof(double));
}

/* The powers of the betas belong to the weights: both are those of the passes that were done. */
static bool is_power(const struct learner *ln, const double *x)
{
    return x == optimizer_powers(ln->policy.optimizer) ||
           (ln->critic.model && x == optimizer_powers(ln->critic.optimizer));
}

void health_restore(struct learner *ln)
{
    struct learner_value v[LEARNER_VALUES];
    const double *at = ln->health.kept;
    int n = learner_values(ln, v);

    for (int i = 0; i < n; at += v[i++].n)
        if (!is_power(ln, v[i].x))
            memcpy(v[i].x, at, v[i].n * sizeof(double));
}

bool health_skip(struct learner *ln, const struct batch *b)
{
    struct health_state *h = &ln->health.state;
    const char *way = ln->config->on_nonfinite;
    struct unscored u;

    if (!way || strcmp(way, "skip") != 0 || learner_unscored(ln, &u))
        return false;
    if (h->in_row >= (double)ln->config->skip_limit) {
        if (ln->rank == 0)
            log_error("step %lld: %g updates in a row were skipped; skip_limit is %lld",
                      (long long)b->step + 1, h->in_row, (long long)ln->config->skip_limit);
        return false;
    }
    h->in_row++;
    h->skipped++;
    ln->health.skips = true;
    if (ln->rank == 0)
        log_info("step %lld: the update is skipped (%g in a row, %g of this run)",
                 (long long)b->step + 1, h->in_row, h->skipped);
    return true;
}

bool learner_skips(const struct learner *ln)
{
    return ln->health.skips;
}

/* ---- alarms */

/* How many standard deviations x is above the mean of what came before; then x counts too.  A jump
 * counts as if it were no larger than the alarm, or it would hide the next. */
static double watch(struct watch *w, double x, double alarm)
{
    double spread = fmax(sqrt(w->variance), STILL * fabs(w->mean)), above, rate;

    above = spread > 0 ? (x - w->mean) / spread : 0;
    if (w->count > 0 && above > alarm)
        x = w->mean + alarm * spread;
    rate = 1 / fmin(w->count + 1, WATCHED);
    x -= w->mean;
    w->mean += rate * x;
    w->variance = (1 - rate) * (w->variance + rate * x * x);
    w->count++;
    return above;
}

static void watch_metric(struct learner *ln, const struct batch *b, struct metrics *m,
                         struct watch *w, const char *name, const char *deviation)
{
    double alarm = ln->config->alarm_deviations, mean = w->mean, above;
    bool known = w->count >= (double)ln->config->alarm_after;

    if (!metrics_has(m, name) || !isfinite(metrics_get(m, name, 0)))
        return;
    above = watch(w, metrics_get(m, name, 0), alarm);
    if (!known)
        return;
    metrics_set(m, deviation, above);
    if (above <= alarm)
        return;
    ln->health.state.alarms++;
    if (ln->rank == 0)
        log_error("step %lld: %s is %g, %.1f standard deviations above its running mean of %g "
                  "(alarm_deviations = %g)", (long long)b->step + 1, name,
                  metrics_get(m, name, 0), above, mean, alarm);
}

void health_watch(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct health_state *h = &ln->health.state;

    h->in_row = 0;
    if (ln->config->alarm_deviations > 0) {
        watch_metric(ln, b, m, &h->loss, "loss", "health/loss_deviation");
        watch_metric(ln, b, m, &h->norm, "optim/grad_norm", "health/grad_norm_deviation");
    }
}

void health_report(const struct learner *ln, struct metrics *m)
{
    metrics_set(m, "health/skipped", ln->health.state.skipped);
    metrics_set(m, "health/alarms", ln->health.state.alarms);
}

/* ---- whose gradient is no number */

static const struct array *bad_array(const struct model *model, const float *grads, size_t *element)
{
    int count;
    const struct array *arrays = model_arrays(model, &count);

    for (int a = 0; a < count; a++)
        for (*element = 0; *element < arrays[a].size; ++*element)
            if (!isfinite(grads[arrays[a].offset + *element]))
                return &arrays[a];
    return NULL;
}

/* The first group held here whose gradient by itself is no number. */
static void find_group(struct learner *ln, const struct batch *b, bool *found)
{
    float *grads = ln->policy.grads;            /* what is in it is of no use any more */

    model_backward_forget(ln->policy.trainer);
    for (int group = 0; group < b->groups && !*found;) {
        int first = group;
        const struct array *array;
        size_t i;
        group = micro_pack(ln, b, group, group + 1, group + 1);
        if (ln->micro.N == 0)
            continue;
        memset(grads, 0, model_size(&ln->shape) * sizeof *grads);
        if (micro_forward(ln, true) != RL_OK || micro_backward(ln, b, grads) != RL_OK ||
            model_backward_finish(ln->policy.trainer, grads) != RL_OK)
            return;
        if (!(array = bad_array(ln->policy.model, grads, &i)))
            continue;
        *found = true;
        rl_error(RL_ENAN, "step %lld, rows %d to %d: gradient of %s: element %zu is %g; %s; "
                 "nothing was changed (lower lr or clip_norm?)", (long long)b->step + 1,
                 (b->group + first) * b->k, (b->group + group) * b->k - 1, array->name, i,
                 (double)grads[array->offset + i], model_why(ln->policy.model).text);
    }
}

int health_culprit(struct learner *ln, const struct batch *b, int rc)
{
    char general[512];              /* the line that every rank has */
    bool found = false;
    int64_t anywhere;
    int status;

    if (rc != RL_ENAN || ln->method->gradients || ln->blocks || ln->parameters_only)
        return rc;
    snprintf(general, sizeof general, "%s", status_message());
    status_drop();
    find_group(ln, b, &found);
    anywhere = found;
    status = comm_max_int64(ln->team, &anywhere, 1, PHASE_STATS);
    if (status != RL_OK)
        return status;
    if (!found)
        status_drop();
    return anywhere ? rc : rl_error(rc, "%s", general);
}
