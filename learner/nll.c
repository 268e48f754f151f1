/* Evaluation on text: negative log-likelihood of packed rows, no gradient. */
#include "base/status.h"
#include "learner/internal.h"


/* Forward of the packed rows; one number for each into out. */
static int nll_pass(struct learner *ln, const struct batch *b, double *out)
{
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    TRY(model_logprobs(ln->policy.trainer, micro->tokens, micro->start, micro->N, 1.0f, false,
                       micro->logp, NULL));
    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        out[n] = -row_sum(micro->logp, from + shift, end + shift);
    }
done:
    return rc;
}

static int nll_rows(struct learner *ln, const struct batch *b, double *out)
{
    int rc = RL_OK;

    TRY(micro_check(b, ln->max_row_tokens));
    for (int n = 0; n < b->N;) {
        n = micro_pack_each(ln, b, n);
        TRY(nll_pass(ln, b, out));
    }
done:
    return rc;
}

int learner_nll(struct learner *ln, const struct batch *b, double *sum, int64_t *count)
{
    int rc = RL_OK;

    *sum = 0;
    *count = 0;
    TRY(stats_begin(&ln->stats, b, b->status));
    TRY(stats_room(&ln->stats, (size_t)b->k));
    TRY(comm_agree(ln->team, nll_rows(ln, b, ln->stats.mine)));
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        *count += end > from ? end - from : 0;
    }
    TRY(comm_sum_int64(ln->team, count, 1, PHASE_EVAL));
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k));
    for (int n = 0; n < b->P * b->k; n++)
        *sum += ln->stats.all[n];
done:
    return rc;
}
