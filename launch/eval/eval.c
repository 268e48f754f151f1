/* What an evaluation holds, and how tables and figures come together; see eval.h. */
#include "launch/eval/eval.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "comm/link.h"
#include "launch/sizes.h"

/* ---- models */

/* The seat of the model in `path`, opened if it is the first time. */
static int take_seat(struct eval *e, const char *path, struct seat **out)
{
    struct seat *seat = &e->seats[e->n_seats];
    int rc = RL_OK;

    *out = NULL;
    e->n_seats++;                       /* from here on eval_close closes it */
    TRY(source_open_start(&seat->source, e->config, path));
    for (int i = 0; i < e->n_seats - 1; i++)
        if (strcmp(e->seats[i].source.path, seat->source.path) == 0) {
            source_close(&seat->source);
            e->n_seats--;
            *out = &e->seats[i];
            return RL_OK;
        }
    if (e->n_seats > 1)
        TRY(source_check_text(&seat->source));
    if (seat->source.shape.V != e->seats[0].source.shape.V)
        TRY(rl_error(RL_EINVAL, "%s: vocabulary of %d tokens, but %s has %d: models that are "
                     "compared must share the tokenizer", path, seat->source.shape.V,
                     e->seats[0].source.path, e->seats[0].source.shape.V));
    TRY(source_model(&seat->model, &seat->source, e->compute));
    if (seat->source.random)
        source_draw(&seat->source, seat->model);
    *out = seat;
done:
    return rc;
}

/* The run in `output` when it has a checkpoint, else what it would start from. */
static const char *trained(const struct config *c)
{
    char folder[4200];

    if (path_join(folder, sizeof folder, c->output, "checkpoints") == RL_OK &&
        folder_exists(folder) && checkpoint_newest(folder, NULL, 0) >= 0)
        return c->output;
    return c->model;
}

static int narrow(int context, const struct seat *seat)
{
    return seat && seat->source.shape.context < context ? seat->source.shape.context : context;
}

static int open_models(struct eval *e, const char *model)
{
    const struct config *c = e->config;
    const char *reference = c->refmodel ? c->refmodel : c->model;
    int rc = RL_OK;

    TRY(take_seat(e, model ? model : trained(c), &e->policy));
    e->context = e->policy->source.shape.context;
    if (!e->policy->source.shape.lm)
        return RL_OK;                   /* a reward model: it says nothing */
    TRY(take_seat(e, reference, &e->reference));
    if (strcmp(c->eval.against, "reference") == 0)
        e->other = e->reference == e->policy ? NULL : e->reference;
    else if (strcmp(c->eval.against, "none") != 0)
        TRY(take_seat(e, c->eval.against, &e->other));
    if (c->eval.judge)
        TRY(take_seat(e, c->eval.judge_model ? c->eval.judge_model : reference, &e->judge));
    e->context = narrow(narrow(e->context, e->reference), e->other);
done:
    return rc;
}

/* ---- rewards */

static int open_rewards(struct eval *e)
{
    const struct config *c = e->config;
    const struct seat *judge = strcmp(c->osp.judge, "current") == 0 ? e->policy : e->reference;

    if (c->n_rewards == 0 || !e->reference)
        return RL_OK;
    return rewards_open(&e->rewards, c, &e->policy->source, judge->model, e->compute, e->context);
}

static int open_judge(struct eval *e)
{
    const struct config *c = e->config;
    const struct source *s = &e->policy->source;
    int rc = RL_OK;

    if (e->judge)
        TRY(judge_open(&e->template, c->eval.judge, s->tokenizer, s->shape.V));
    if (e->judge && !e->other && c->eval_pairs.count == 0)
        rc = rl_error(RL_EINVAL, "%s: eval.judge: there are no answers to compare: neither another "
                      "model (eval.against) nor eval_pairs", config_where(c, "eval.judge"));
done:
    return rc;
}

int eval_open(struct eval *e, const struct config *config, struct comm *world, const char *model)
{
    int threads = (int)config->threads, rc = RL_OK;

    memset(e, 0, sizeof *e);
    e->config = config;
    e->world = world;
    if (threads == 0)
        threads = (int)(sysconf(_SC_NPROCESSORS_ONLN) / comm_ranks_on_host(world));
    TRY(compute_open(&e->compute, config->device, config->dtype, threads > 0 ? threads : 1));
    TRY(open_models(e, model));
    TRY(open_judge(e));
    TRY(open_rewards(e));
done:
    return rc;
}

void eval_close(struct eval *e)
{
    rewards_close(&e->rewards);
    judge_close(e->template);
    for (int i = 0; i < e->n_seats; i++) {
        model_destroy(e->seats[i].model);
        source_close(&e->seats[i].source);
    }
    compute_close(e->compute);
    free(e->figures);
    memset(e, 0, sizeof *e);
}

/* ---- shares and tables */

void eval_prefix(const char *path, char *out, size_t room)
{
    char stem[256];

    path_stem(path, stem, sizeof stem);
    snprintf(out, room, "eval/%s/", stem);
}

void eval_share(const struct eval *e, int P, int *first, int *count)
{
    share_of(P, (int)e->config->reduction_leaves, comm_size(e->world), comm_rank(e->world), first,
             count);
}

int eval_gather(struct eval *e, int P, size_t per_group, const double *mine, double **all)
{
    int ranks = comm_size(e->world), first, count, rc = RL_OK;
    size_t *counts = calloc((size_t)ranks, sizeof *counts);

    *all = malloc(((size_t)P * per_group + 1) * sizeof **all);
    TRY(comm_agree(e->world, counts && *all ? RL_OK : rl_error(RL_ENOFIT, "no memory for the "
                                                               "figures of %d groups", P)));
    for (int r = 0; r < ranks; r++) {
        share_of(P, (int)e->config->reduction_leaves, ranks, r, &first, &count);
        counts[r] = (size_t)count * per_group * sizeof **all;
    }
    TRY(comm_allgather(e->world, mine, *all, counts, PHASE_EVAL));
done:
    free(counts);
    if (rc != RL_OK) {
        free(*all);
        *all = NULL;
    }
    return rc;
}

int eval_batch(struct batch *b, struct memory *memory, int groups, int k, int row_tokens, int R)
{
    int rows = groups * k, rc = RL_OK;

    if ((int64_t)rows * row_tokens > INT32_MAX)
        return rl_error(RL_EINVAL, "eval.samples: %d responses of %d tokens to %d prompts are too "
                        "many at once", k, row_tokens, groups);
    memory_count(memory);
    batch_layout(b, memory, rows, rows * row_tokens, R);
    TRY(memory_open_host(memory));
    batch_layout(b, memory, rows, rows * row_tokens, R);
done:
    return rc;
}

int eval_micro_rows(const struct eval *e, int groups, int k)
{
    int64_t rows = (int64_t)(groups < EVAL_GROUPS ? groups : EVAL_GROUPS) * k;

    rows = e->config->micro_rows < rows ? e->config->micro_rows : rows;
    return rows > 0 ? (int)rows : 1;
}

void eval_block(const struct eval *e, struct batch *b, int P, int k, int at)
{
    int first, count;

    eval_share(e, P, &first, &count);
    batch_clear(b);
    b->step = 0;
    b->P = P, b->k = k;
    b->group = first + at;
    b->groups = count - at < EVAL_GROUPS ? count - at : EVAL_GROUPS;
}

/* ---- figures */

static int add(struct eval *e, const struct figure *figure, const char *format, va_list args)
{
    if (e->n_figures == e->room) {
        int room = e->room > 0 ? 2 * e->room : 32;
        struct figure *figures = realloc(e->figures, (size_t)room * sizeof *figures);
        if (!figures)
            return rl_error(RL_ENOFIT, "no memory for %d figures", room);
        e->figures = figures;
        e->room = room;
    }
    e->figures[e->n_figures] = *figure;
    vsnprintf(e->figures[e->n_figures].name, sizeof figure->name, format, args);
    e->n_figures++;
    return RL_OK;
}

int figure_add(struct eval *e, double value, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = add(e, &(struct figure){ .value = value }, format, args);
    va_end(args);
    return rc;
}

int figure_share(struct eval *e, double share, double n, const char *format, ...)
{
    struct figure figure = { .value = share, .sure = true, .in = interval_share(share, n) };
    va_list args;
    int rc;

    if (!(n > 0))
        return RL_OK;
    va_start(args, format);
    rc = add(e, &figure, format, args);
    va_end(args);
    return rc;
}

/* Sum and count of the finite rows of each group; returns those of all. */
static double sum_groups(const struct table_column *x, double *sums, double *counts)
{
    double sum = 0, count = 0;

    for (int g = 0; g < x->groups; g++) {
        sums[g] = counts[g] = 0;
        for (int i = 0; i < x->k; i++) {
            double v = x->table[((size_t)g * x->k + i) * x->columns + x->c];
            if (!isfinite(v))
                continue;
            sums[g] += v;
            counts[g]++;
            sum += v;
        }
        count += counts[g];
    }
    return count > 0 ? sum / count : NAN;
}

int figure_mean(struct eval *e, const struct table_column *column, const char *format, ...)
{
    int resamples = (int)e->config->eval.resamples, n = column->groups, rc = RL_OK;
    double *sums = malloc((2 * (size_t)n + (size_t)resamples) * sizeof *sums);
    struct figure figure = { .sure = true };
    va_list args;

    if (!sums)
        return rl_error(RL_ENOFIT, "no memory for the figures of %d groups", n);
    figure.value = sum_groups(column, sums, sums + n);
    if (isfinite(figure.value)) {
        figure.in = interval_mean(sums, sums + n, n, (uint64_t)e->config->seed, resamples,
                                  sums + 2 * n);
        va_start(args, format);
        rc = add(e, &figure, format, args);
        va_end(args);
    }
    free(sums);
    return rc;
}

int figure_duels(struct eval *e, const struct table_column *column, const char *prefix,
                 const char *wins)
{
    struct table_column x = *column;
    double won = 0, eps = e->config->dpo.tie_eps;
    int rows = 0, groups = 0, rc = RL_OK;

    for (int g = 0; g < x.groups; g++) {
        int before = rows;
        for (int i = 0; i < x.k; i++) {
            double logit = x.table[((size_t)g * x.k + i) * x.columns + column->c + DUEL_LOGIT];
            if (!isfinite(logit))
                continue;
            won += fabs(logit) <= eps ? 0.5 : logit > 0;
            rows++;
        }
        groups += rows > before;
    }
    TRY(figure_share(e, rows > 0 ? won / rows : 0, groups, "%s%s", prefix, wins));
    x.c = column->c + DUEL_LOGIT;
    TRY(figure_mean(e, &x, "%sjudge/logit", prefix));
    x.c = column->c + DUEL_AGREES;
    TRY(figure_mean(e, &x, "%sjudge/order_agreement", prefix));
    x.c = column->c + DUEL_BIAS;
    TRY(figure_mean(e, &x, "%sjudge/order_bias", prefix));
done:
    return rc;
}
