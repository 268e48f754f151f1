/* Rows -> the score head's outputs at each row's last token and at its prompt's last; see
 * scorer.h. */
#include "reward/scorer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "model/passes.h"

struct scorer {
    struct model *model;
    const struct verdict *verdict;
    struct trainer *trainer;     /* forward passes only */
    int room_tokens, max_row_tokens, S;
    struct memory memory;        /* of these: */
    int *tokens, *start;         /* (room_tokens) one pass */
    float *score;                /* (room_tokens, S) */
    double *point, *other, *c, *weights;    /* of a verdict */

    int N, room;                 /* rows that were run, and how many there is room for */
    float *last, *prompt;        /* (room, S) */
    bool fresh;                  /* they are of the batch at hand, without a context */
};

static void layout(struct scorer *s, struct memory *m)
{
    size_t tokens = (size_t)s->room_tokens, S = (size_t)s->S;
    size_t K = (size_t)s->verdict->prototypes;

    s->tokens = memory_take(m, tokens * sizeof *s->tokens);
    s->start = memory_take(m, (tokens + 1) * sizeof *s->start);
    s->score = memory_take(m, tokens * S * sizeof *s->score);
    s->point = memory_take(m, (S + K * S) * sizeof *s->point);
    s->other = memory_take(m, S * sizeof *s->other);
    s->c = memory_take(m, (S + K) * sizeof *s->c);
    s->weights = memory_take(m, K * sizeof *s->weights);
}

size_t scorer_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                    int max_row_tokens)
{
    struct scorer s = { .verdict = &shape->verdict, .room_tokens = micro_rows * max_row_tokens,
                        .max_row_tokens = max_row_tokens, .S = shape->scores };
    struct memory memory;

    memory_count(&memory);
    layout(&s, &memory);
    return sizeof s + memory.peak +
           trainer_bytes_scoring(shape, k, s.room_tokens, s.room_tokens);
}

int scorer_create(struct scorer **out, struct model *model, int micro_rows, int max_row_tokens)
{
    const struct model_shape *shape = model_shape(model);
    struct scorer *s;
    int rc = RL_OK;

    *out = NULL;
    if (shape->scores < 1)
        return rl_error(RL_EBUG, "a scorer of a model without a score head");
    if (micro_rows < 1 || max_row_tokens < 1 || micro_rows > INT_MAX / max_row_tokens)
        return rl_error(RL_EINVAL, "micro_rows: %d rows of %d tokens are not one forward pass",
                        micro_rows, max_row_tokens);
    s = calloc(1, sizeof *s);
    if (!s)
        return rl_error(RL_ENOFIT, "no memory for a reward model");
    *s = (struct scorer){ .model = model, .verdict = &shape->verdict,
                          .room_tokens = micro_rows * max_row_tokens,
                          .max_row_tokens = max_row_tokens, .S = shape->scores };
    memory_count(&s->memory);
    layout(s, &s->memory);
    s->memory.lower = "micro_rows";
    TRY(memory_open(&s->memory));
    layout(s, &s->memory);
    TRY(trainer_create_scoring(&s->trainer, model, s->room_tokens, s->room_tokens));
    *out = s;
    s = NULL;
done:
    scorer_destroy(s);
    return rc;
}

void scorer_destroy(struct scorer *s)
{
    if (!s)
        return;
    trainer_destroy(s->trainer);
    memory_close(&s->memory);
    free(s->last);
    free(s->prompt);
    free(s);
}

const struct model_shape *scorer_shape(const struct scorer *s)
{
    return model_shape(s->model);
}

/* ---- running */

void scorer_begin(struct scorer *s)
{
    s->fresh = false;
}

static int take_room(struct scorer *s, int N)
{
    size_t bytes = (size_t)N * s->S * sizeof(float);

    s->N = 0;
    if (N <= s->room)
        return RL_OK;
    free(s->last);
    free(s->prompt);
    s->last = malloc(bytes);
    s->prompt = malloc(bytes);
    s->room = s->last && s->prompt ? N : 0;
    return s->room ? RL_OK : rl_error(RL_ENOFIT, "no memory for the scores of %d rows", N);
}

/* Append row n of the batch with its context; returns its prompt's length. */
static int add_row(struct scorer *s, const struct batch *b, const struct context *x, int n, int i)
{
    const int *row = b->tokens + b->start[n];
    int length = b->start[n + 1] - b->start[n], head = 0, more = x ? x->n : 0;
    int *out = s->tokens + s->start[i];

    if (x)
        head = x->head < b->prompt_len[n] ? x->head : b->prompt_len[n];
    memcpy(out, row, (size_t)head * sizeof *out);
    memcpy(out + head, x ? x->ids : row, (size_t)more * sizeof *out);
    memcpy(out + head + more, row + head, (size_t)(length - head) * sizeof *out);
    s->start[i + 1] = s->start[i] + length + more;
    return b->prompt_len[n] + more;
}

static void keep(struct scorer *s, int n, int i, int prompt)
{
    size_t S = (size_t)s->S, last = (size_t)s->start[i + 1] - 1;
    size_t at = (size_t)s->start[i] + (prompt > 0 ? prompt - 1 : 0);

    memcpy(s->last + n * S, s->score + last * S, S * sizeof *s->last);
    memcpy(s->prompt + n * S, s->score + at * S, S * sizeof *s->prompt);
}

static int check_rows(const struct scorer *s, const struct batch *b, const struct context *x)
{
    for (int n = 0; n < b->N; n++) {
        int length = b->start[n + 1] - b->start[n] + (x ? x->n : 0);
        if (length < 1 || length > s->max_row_tokens)
            return rl_error(RL_EINVAL, "a row of %d tokens, context included; the reward model "
                            "has room for %d", length, s->max_row_tokens);
    }
    return RL_OK;
}

static int run_some(struct scorer *s, const struct batch *b, const struct context *x, int first,
                    int N)
{
    struct model_outputs out = { .score = s->score };
    int rc = RL_OK;

    s->start[0] = 0;
    for (int i = 0; i < N; i++)
        add_row(s, b, x, first + i, i);
    TRY(model_run(s->trainer, s->tokens, s->start, N, 1, false, &out));
    for (int i = 0; i < N; i++)
        keep(s, first + i, i, b->prompt_len[first + i] + (x ? x->n : 0));
done:
    return rc;
}

struct rows {
    const struct batch *b;
    const struct context *x;
};

static int tokens_of_row(const void *of, int n)
{
    const struct rows *r = of;

    return r->b->start[n + 1] - r->b->start[n] + (r->x ? r->x->n : 0);
}

int scorer_run(struct scorer *s, const struct batch *b, const struct context *context)
{
    struct rows rows = { b, context };
    struct passes passes = { b->N, s->room_tokens, tokens_of_row, &rows };
    int rc = RL_OK;

    if (!context && s->fresh)
        return RL_OK;
    s->fresh = false;
    TRY(take_room(s, b->N));
    TRY(check_rows(s, b, context));
    for (int first = 0, end; first < b->N; first = end) {
        end = pass_end(&passes, first, b->N);
        TRY(run_some(s, b, context, first, end - first));
    }
    s->N = b->N;
    s->fresh = !context;
done:
    return rc;
}

/* ---- what the outputs say */

static const float *parameter(const struct scorer *s, const char *name)
{
    const struct array *a = model_array(s->model, name);

    return a ? a->data : NULL;
}

/* Doubles of n floats, into out. */
static double *widen(double *out, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = x[i];
    return out;
}

static double user_reward(const struct scorer *s, int n, int user)
{
    const struct verdict *v = s->verdict;
    int dim = v->dim, K = v->prototypes;
    const float *own = s->prompt + (size_t)n * s->S + dim;
    const double *f = widen(s->other, s->last + (size_t)n * s->S, dim);
    const double *P = widen(s->point, v->of_prompt ? own : parameter(s, PAL_PROTOTYPES), K * dim);
    const double *w = widen(s->c, parameter(s, PAL_USERS) + (size_t)user * K, K);
    double *a = s->c + K;

    pal_ideal(a, s->weights, w, P, K, dim);
    return pal_reward(v, f, a);
}

double scorer_reward(const struct scorer *s, int n, int which)
{
    const struct verdict *v = s->verdict;
    double sum = 0;

    if (v->kind != VERDICT_POINT)
        return s->last[(size_t)n * s->S + which];
    if (which >= 0)
        return user_reward(s, n, which);
    for (int user = 0; user < v->users; user++)
        sum += user_reward(s, n, user);
    return sum / v->users;
}

static double general_margin(const struct scorer *s, int i, int j)
{
    const struct verdict *v = s->verdict;
    const float *scale = parameter(s, GPM_SCALE);
    size_t S = (size_t)s->S;
    double *c_j = s->c + v->planes;

    gpm_vector(v, s->point, s->last + i * S);
    gpm_vector(v, s->other, s->last + j * S);
    gpm_scales(v, s->c, scale, s->prompt + i * S);
    gpm_scales(v, c_j, scale, s->prompt + j * S);
    for (int l = 0; l < v->planes; l++)
        s->c[l] = 0.5 * (s->c[l] + c_j[l]);
    return gpm_score(s->c, s->point, s->other, v->planes) / v->tau;
}

double scorer_margin(const struct scorer *s, int i, int j, int which)
{
    if (s->verdict->kind == VERDICT_GENERAL)
        return general_margin(s, i, j);
    return scorer_reward(s, i, which) - scorer_reward(s, j, which);
}
