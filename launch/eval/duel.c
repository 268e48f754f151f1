/* A judge compares two answers: it reads a prompt that shows both, once in each order, and its
 * log-probabilities of the answers "A" and "B" are the verdict.
 *
 *   a is shown as A: d1 = l(A) - l(B)       logit (d1 + d2) / 2: what being shown as A adds is in
 *   a is shown as B: d2 = l'(B) - l'(A)     d1 and taken away in d2
 *
 * So a comparison is four rows, a judge prompt and one token each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "launch/eval/eval.h"

#define ROWS 4                          /* of a comparison: two orders times two answers */
#define AT_ONCE 16                      /* comparisons in one batch */

struct duels {
    const struct judge *template;
    const struct source *source;
    struct refmodel *reader;            /* the judge's log-probabilities */
    int longest;                        /* tokens in a row, at most */
    struct batch batch;
    struct memory memory;
};

int duels_create(struct duels **out, struct eval *e, int rows, int longest_prompt,
                    int max_new)
{
    struct duels *v = calloc(1, sizeof *v);
    int most = e->judge->source.shape.context, rc = RL_OK;

    *out = NULL;
    if (!v)
        return rl_error(RL_ENOFIT, "no memory for a judge");
    v->template = e->template;
    v->source = &e->judge->source;
    v->longest = judge_length(e->template, longest_prompt, max_new, max_new) + 1;
    v->longest = v->longest < most ? v->longest : most;
    rows = rows < AT_ONCE ? rows : AT_ONCE;
    TRY(eval_batch(&v->batch, &v->memory, rows, ROWS, v->longest, 0));
    TRY(refmodel_create(&v->reader, e->judge->model, (int)e->config->micro_rows, v->longest, 1));
    *out = v;
done:
    if (rc != RL_OK)
        duels_destroy(v);
    return rc;
}

void duels_destroy(struct duels *v)
{
    if (!v)
        return;
    refmodel_destroy(v->reader);
    memory_close(&v->memory);
    free(v);
}

/* The answer in row n, without the token that ended it. */
static struct slice answer(const struct batch *b, int n)
{
    int from = b->start[n] + b->prompt_len[n], end = b->start[n + 1];

    end -= b->finish[n] == FINISH_EOS && end > from;
    return (struct slice){ b->tokens + from, end - from };
}

/* The four rows of a comparison behind those that are there; false: too long for the judge. */
static bool add_rows(struct duels *v, struct slice prompt, struct slice a, struct slice b)
{
    struct batch *to = &v->batch;

    if (judge_length(v->template, prompt.n, a.n, b.n) + 1 > v->longest)
        return false;
    for (int i = 0; i < ROWS; i++) {
        int n = to->N++, swapped = i / 2, length;
        length = judge_write(v->template, prompt, swapped ? b : a, swapped ? a : b,
                             to->tokens + to->T);
        to->tokens[to->T + length] = judge_answer(v->template, i % 2);
        to->prompt_len[n] = length;
        to->T += length + 1;
        to->start[n + 1] = to->T;
    }
    to->filled = COL_TOKENS;
    return true;
}

/* Log-probability of the answer in row n of the judge's batch. */
static double said(const struct duels *v, int n)
{
    return (double)v->batch.ref_logp[v->batch.start[n + 1] - 1];
}

static void take(const struct duels *v, int first, double *out)
{
    double d1 = said(v, first) - said(v, first + 1), d2 = said(v, first + 3) - said(v, first + 2);

    out[DUEL_LOGIT] = (d1 + d2) / 2;
    out[DUEL_AGREES] = d1 * d2 > 0;
    out[DUEL_BIAS] = (d1 - d2) / 2;
}

int duels_fill(struct duels *v, const struct batch *a, const struct batch *b, double *out,
                  int stride)
{
    int rc = RL_OK;

    for (int n = 0, end; n < a->N; n = end) {
        int first[AT_ONCE];
        batch_clear(&v->batch);
        for (end = n; end < a->N && end < n + AT_ONCE; end++) {
            struct slice prompt = { a->tokens + a->start[end], a->prompt_len[end] };
            first[end - n] = v->batch.N;
            if (!add_rows(v, judge_strip(v->template, prompt), answer(a, end), answer(b, end)))
                first[end - n] = -1;
        }
        if (v->batch.N > 0)
            TRY(refmodel_fill(v->reader, &v->batch));
        for (int i = n; i < end; i++) {
            double *row = out + (size_t)i * stride;
            for (int t = 0; t < DUEL_TERMS; t++)
                row[t] = NAN;
            if (first[i - n] >= 0)
                take(v, first[i - n], row);
        }
    }
done:
    return rc;
}
