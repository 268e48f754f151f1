/* Rows of text beside the batch of an update (PPO-ptx, Ouyang et al. 2022): next-token training
 * that keeps what the model knew.
 *
 *   L += coef mean over tokens predicted of -logp         at temperature 1
 *
 * Row j is trained on in pass j mod passes, in the leaf of the tree that holds it; the leaves cut
 * these rows as they cut groups. */
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

void ptx_layout(struct learner *ln, struct memory *memory, int ranks)
{
    size_t rows = (size_t)ln->text.rows;

    ln->text.nll = memory_take(memory, rows * sizeof *ln->text.nll);
    stats_layout(&ln->text.stats, memory, rows > 0 ? ranks : 0, rows);
}

static bool is_of_pass(const struct learner *ln, const struct batch *b, int n)
{
    return (b->group + n) % ln->passes == ln->pass;
}

int ptx_begin(struct learner *ln)
{
    const struct batch *b = ln->text.b;
    int rc = RL_OK;

    if (ln->text.rows == 0)
        return RL_OK;
    if (!b || b->k != 1 || b->P != ln->text.rows)
        rc = rl_error(RL_EBUG, "an update without its %d rows of text", ln->text.rows);
    else
        rc = b->status == RL_OK ? micro_check(b, ln->max_row_tokens) : b->status;
    if (!b)
        return comm_agree(ln->team, rc);
    TRY(stats_begin(&ln->text.stats, b, rc));
    memset(ln->text.nll, 0, (size_t)b->N * sizeof *ln->text.nll);
done:
    return rc;
}

int ptx_count(struct learner *ln)
{
    const struct batch *b = ln->text.b;
    int64_t counts[2] = { 0 };              /* tokens predicted, tokens */
    int rc = RL_OK;

    if (ln->text.rows == 0)
        return RL_OK;
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        if (!is_of_pass(ln, b, n))
            continue;
        counts[0] += end - from;
        counts[1] += end - b->start[n];
    }
    TRY(comm_sum_int64(ln->team, counts, 2, PHASE_COUNT));
    ln->text.total = (double)counts[0];
    ln->counted[0] += counts[0];
    ln->counted[1] += counts[1];
done:
    return rc;
}

/* Forward, loss and backward of the packed rows. */
static int pass(struct learner *ln, float *slot)
{
    struct micro *micro = &ln->micro;
    const struct batch *b = ln->text.b;
    int rc = RL_OK;

    TRY(model_logprobs(ln->policy.trainer, micro->tokens, micro->start, micro->N, 1.0f, true,
                       micro->logp, NULL));
    memset(micro->dlogp, 0, (size_t)micro->T * sizeof(float));
    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        ln->text.nll[n] = -row_sum(micro->logp, from + shift, end + shift) / ln->text.total;
        row_fill(micro->dlogp, from + shift, end + shift, -ln->text.coef / ln->text.total);
    }
    TRY(model_backward(ln->policy.trainer, micro->dlogp, NULL, slot));
done:
    return rc;
}

int ptx_add(struct learner *ln, int first, int end, float *slot)
{
    int rc = RL_OK;

    for (int n = first; n < end;) {
        n = micro_pack_rows(ln, ln->text.b, is_of_pass, n, end, end);
        if (ln->micro.N > 0)
            TRY(pass(ln, slot));
    }
done:
    return rc;
}

bool ptx_is_in(const struct learner *ln, int first, int end)
{
    for (int n = first; n < end; n++)
        if (is_of_pass(ln, ln->text.b, n))
            return true;
    return false;
}

int ptx_report(struct learner *ln, struct metrics *m, int steps)
{
    double sum = 0;
    int rc = RL_OK;

    if (ln->text.rows == 0 || steps == 0)
        return RL_OK;
    TRY(stats_gather(&ln->text.stats, ln->text.nll, 1));
    for (int n = 0; n < ln->text.rows; n++)
        sum += ln->text.stats.all[n];
    metrics_set(m, "loss", metrics_get(m, "loss", 0) + ln->text.coef * sum / steps);
done:
    return rc;
}
