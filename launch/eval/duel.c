/* A judge compares two answers: it reads a prompt that shows both, once in each order, and the
 * logits of "A" and "B" behind it are the verdict (data/verdict.h). */
#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "data/verdict.h"
#include "launch/eval/eval.h"
#include "model/ask.h"

#define AT_ONCE 16                      /* comparisons; each asks twice */

struct duels {
    const struct judge *template;
    struct asker *asker;
    int longest;                        /* tokens in a question, at most */
    int *tokens;                        /* (2 AT_ONCE, longest), packed */
    int start[2 * AT_ONCE + 1], asked;
    float logits[2 * AT_ONCE][2];       /* of "A" and of "B" */
};

int duels_create(struct duels **out, struct eval *e, int longest_prompt, int longest_answer)
{
    struct duels *d = calloc(1, sizeof *d);
    int context = e->judge->source.shape.context, rc = RL_OK;

    *out = NULL;
    if (!d)
        return rl_error(RL_ENOFIT, "no memory for a judge");
    d->template = e->template;
    d->longest = judge_length(e->template, longest_prompt, longest_answer, longest_answer);
    d->longest = d->longest < context ? d->longest : context;
    d->tokens = malloc((size_t)2 * AT_ONCE * (size_t)d->longest * sizeof *d->tokens);
    if (!d->tokens)
        TRY(rl_error(RL_ENOFIT, "no memory for a judge"));
    TRY(asker_create(&d->asker, e->judge->model, 2 * AT_ONCE, d->longest));
    *out = d;
done:
    if (rc != RL_OK)
        duels_destroy(d);
    return rc;
}

void duels_destroy(struct duels *d)
{
    if (!d)
        return;
    asker_destroy(d->asker);
    free(d->tokens);
    free(d);
}

/* The answer in row n, without the token that ended it. */
static struct slice answer(const struct batch *b, int n)
{
    int from = b->start[n] + b->prompt_len[n], end = b->start[n + 1];

    end -= b->finish[n] == FINISH_EOS && end > from;
    return (struct slice){ b->tokens + from, end - from };
}

/* Both orders of a comparison behind those that are there; false: too long for the judge. */
static bool add(struct duels *d, struct slice prompt, struct slice a, struct slice b)
{
    int length = judge_length(d->template, prompt.n, a.n, b.n), *start = d->start + d->asked;

    if (length > d->longest)
        return false;
    judge_write(d->template, prompt, a, b, d->tokens + start[0]);
    start[1] = start[0] + length;
    judge_write(d->template, prompt, b, a, d->tokens + start[1]);
    start[2] = start[1] + length;
    d->asked += 2;
    return true;
}

static int ask(struct duels *d)
{
    const int ids[2] = { judge_answer(d->template, 0), judge_answer(d->template, 1) };

    return d->asked == 0 ? RL_OK : asker_run(d->asker, d->tokens, d->start, d->asked, ids, 2,
                                             d->logits[0]);
}

/* The verdict of the questions from `at` on; below 0: they were not asked. */
static void take(const struct duels *d, int at, double *out)
{
    struct said said;

    out[DUEL_LOGIT] = out[DUEL_AGREES] = out[DUEL_BIAS] = NAN;
    if (at < 0)
        return;
    said = said_of((double)d->logits[at][0], (double)d->logits[at][1],
                   (double)d->logits[at + 1][0], (double)d->logits[at + 1][1]);
    out[DUEL_LOGIT] = said.lam;
    out[DUEL_AGREES] = fabs(said.lam) > fabs(said.bias);        /* d1 d2 > 0 */
    out[DUEL_BIAS] = said.bias;
}

int duels_fill(struct duels *d, const struct duel_rows *rows, double *out, int stride)
{
    const struct batch *a = rows->a, *b = rows->b;
    int at[AT_ONCE], rc = RL_OK;

    for (int i = 0, end; i < rows->n; i = end) {
        d->asked = 0;
        d->start[0] = 0;
        for (end = i; end < rows->n && end < i + AT_ONCE; end++) {
            int n = rows->step * end, m = n + rows->step - 1;
            struct slice prompt = { a->tokens + a->start[n], a->prompt_len[n] };
            at[end - i] = d->asked;
            if (!add(d, judge_strip(d->template, prompt), answer(a, n), answer(b, m)))
                at[end - i] = -1;
        }
        TRY(ask(d));
        for (int j = i; j < end; j++)
            take(d, at[j - i], out + (size_t)j * stride);
    }
done:
    return rc;
}
