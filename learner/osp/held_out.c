/* How well the policy judges held-out pairs (spec 2.6): both orders are asked, without a gradient.
 *
 *   accuracy   share of pairs whose chosen answer has lam > 0        bias   mean of (d1 - d2) / 2
 */
#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "data/judge.h"
#include "data/verdict.h"
#include "learner/internal.h"
#include "model/ask.h"

enum { KNOWN, LAM, BIAS, TERMS };       /* of a row; a pair's are those of its first */

static int longest_question(const struct judge *j, const struct batch *b)
{
    int longest = 1;

    for (int n = 0; n + 1 < b->N; n += b->k) {
        int a = b->start[n + 1] - b->start[n] - b->prompt_len[n];
        int c = b->start[n + 2] - b->start[n + 1] - b->prompt_len[n + 1];
        int length = judge_length(j, b->prompt_len[n], a, c);
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* The answer of row n as a judge reads it. */
static struct slice said_by(const struct batch *b, int n)
{
    int from = b->start[n] + b->prompt_len[n], end = b->start[n + 1];

    return (struct slice){ b->tokens + from, end - from - (b->finish[n] == FINISH_EOS) };
}

/* Both orders of the pair that begins at row n. */
static int ask_pair(struct asker *a, const struct judge *j, const struct batch *b, int n,
                    int *tokens, double *out)
{
    const int ids[2] = { judge_answer(j, 0), judge_answer(j, 1) };
    struct slice prompt = judge_strip(j, (struct slice){ b->tokens + b->start[n],
                                                         b->prompt_len[n] });
    struct slice chosen = said_by(b, n), rejected = said_by(b, n + 1);
    int start[3] = { 0 };
    float z[4];
    struct said said;
    int rc = RL_OK;

    start[1] = judge_write(j, prompt, chosen, rejected, tokens);
    start[2] = start[1] + judge_write(j, prompt, rejected, chosen, tokens + start[1]);
    TRY(asker_run(a, tokens, start, 2, ids, 2, z));
    said = said_of((double)z[0], (double)z[1], (double)z[2], (double)z[3]);
    out[KNOWN] = 1;
    out[LAM] = said.lam;
    out[BIAS] = said.bias;
done:
    return rc;
}

/* An evaluation is no iteration: its tables come and go.  Its passes take their turn in what the
 * roles of the rank share (launch/sizes.c counts them). */
static int ask_pairs(struct learner *ln, const struct batch *b, double *out)
{
    int context = model_shape(ln->policy.model)->context;
    int longest = longest_question(ln->judge, b), rc = RL_OK;
    int *tokens = malloc(2 * (size_t)longest * sizeof *tokens);
    struct asker *a = NULL;

    if (!tokens)
        return rl_error(RL_ENOFIT, "no memory for questions of %d tokens", longest);
    if (longest > context)
        TRY(rl_error(RL_EINVAL, "eval_pairs: a judge prompt has %d tokens, the model has %d "
                     "positions; shorten osp.template or leave long pairs out", longest, context));
    TRY(asker_create(&a, ln->policy.model, 2, longest));
    for (int n = 0; n < b->N; n++)
        for (int t = 0; t < TERMS; t++)
            out[n * TERMS + t] = 0;
    for (int n = 0; n + 1 < b->N; n += b->k)
        TRY(ask_pair(a, ln->judge, b, n, tokens, out + n * TERMS));
done:
    asker_destroy(a);
    free(tokens);
    return rc;
}

int learner_judge_pairs(struct learner *ln, const struct batch *b, struct metrics *m,
                        const char *prefix)
{
    double right = 0, agree = 0, bias = 0, count = 0;
    int rc = b->status;

    if (!ln->judge)
        return RL_OK;
    TRY(stats_begin(&ln->stats, b, rc));
    TRY(stats_room(&ln->stats, (size_t)b->k * TERMS));
    TRY(comm_agree(ln->team, ask_pairs(ln, b, ln->stats.mine)));
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k * TERMS));
    for (int n = 0; n < b->P * b->k; n++) {
        const double *t = ln->stats.all + (size_t)n * TERMS;
        if (!(t[KNOWN] > 0))
            continue;
        count++;
        right += t[LAM] > 0;
        agree += fabs(t[LAM]) > fabs(t[BIAS]);
        bias += t[BIAS];
    }
    if (count > 0) {
        metrics_setf(m, right / count, "%sjudge_accuracy", prefix);
        metrics_setf(m, agree / count, "%sjudge_agreement", prefix);
        metrics_setf(m, bias / count, "%sjudge_bias", prefix);
    }
done:
    return rc;
}
