/* Log-sum-exp over the vocabulary in blocks of VOCAB_BLOCK ids, so that no (tokens, vocabulary)
 * array is ever needed.  Per block, with m' = max(m, largest of the block) and a = exp(m - m'):
 *
 *   sum = sum a + fold of exp(z - m')
 *   weighted = (weighted + (m - m') sum) a + fold of exp(z - m') (z - m')
 *
 * Weighing z - max and not z keeps the entropy of a sure distribution from cancelling to nothing.
 */
#include <math.h>
#include <string.h>

#include "compute/math.h"
#include "compute/ref/ref.h"

static void block_add(struct lse *state, const float *z, int n)
{
    float sum[16] = {0}, weighted[16] = {0}, max = state->max;

    for (int i = 0; i < n; i++)
        max = z[i] > max ? z[i] : max;
    max += 0.0f;                               /* -0 becomes +0, whoever was first */
    float a = rw_expf(state->max - max);

    for (int i = 0; i < n; i++) {
        float y = z[i] - max, p = rw_expf(y);

        sum[i % 16] += p;
        weighted[i % 16] = fmaf(p, y, weighted[i % 16]);
    }
    /* sum 0: nothing came before, and max was -infinity */
    float before = state->sum > 0 ? fmaf(state->max - max, state->sum, state->weighted) : 0.0f;
    state->max = max;
    state->sum = fmaf(state->sum, a, fold16(sum));
    state->weighted = fmaf(before, a, fold16(weighted));
}

static void row_add(struct lse *state, float *z, float temperature, int n)
{
    if (temperature != 1.0f)
        for (int i = 0; i < n; i++)
            z[i] /= temperature;
    for (int first = 0; first < n; first += VOCAB_BLOCK)
        block_add(state, z + first, n - first < VOCAB_BLOCK ? n - first : VOCAB_BLOCK);
}

static void lse_forward(struct compute *k, struct lse *state, float *target_logit, float *z,
                        const int *targets, float temperature, int v0, int n, int T)
{
    (void)k;
    for (int t = 0; t < T; t++, z += n) {
        if (v0 == 0)
            state[t] = (struct lse){ .max = -INFINITY };
        row_add(&state[t], z, temperature, n);
        if (targets[t] >= v0 && targets[t] - v0 < n)
            target_logit[t] = z[targets[t] - v0];
    }
}

static void lse_finish(struct compute *k, float *logp, float *entropy, const struct lse *state,
                       const float *target_logit, int T)
{
    (void)k;
    for (int t = 0; t < T; t++) {
        double sum = state[t].sum, log_sum = rw_log(sum);

        logp[t] = (float)((double)target_logit[t] - (double)state[t].max - log_sum);
        if (entropy)
            entropy[t] = (float)(log_sum - (double)state[t].weighted / sum);
    }
}

static void lse_backward(struct compute *k, float *z, const struct lse *state,
                         const int *targets, const float *dlogp, const float *dentropy,
                         float temperature, int v0, int n, int T)
{
    (void)k;
    for (int t = 0; t < T; t++, z += n) {
        double log_sum = rw_log((double)state[t].sum);
        float max = state[t].max, sum = state[t].sum, log_sum_f32 = (float)log_sum;
        float H = (float)(log_sum - (double)state[t].weighted / (double)sum);

        for (int i = 0; i < n; i++) {
            float y = z[i] - max, p = rw_expf(y) / sum;
            float d = ((v0 + i == targets[t] ? 1.0f : 0.0f) - p) * dlogp[t];

            if (dentropy)
                d = fmaf(-(dentropy[t] * p), y - log_sum_f32 + H, d);
            z[i] = temperature != 1.0f ? d / temperature : d;
        }
    }
}

static void softmax(struct compute *k, float *p, const float *z, float temperature, int V)
{
    struct lse state = { .max = -INFINITY };

    (void)k;
    memcpy(p, z, (size_t)V * sizeof *p);
    row_add(&state, p, temperature, V);
    for (int i = 0; i < V; i++)
        p[i] = rw_expf(p[i] - state.max) / state.sum;
}

void ref_fill_lse(struct compute *k)
{
    k->lse_forward = lse_forward;
    k->lse_finish = lse_finish;
    k->lse_backward = lse_backward;
    k->softmax = softmax;
}
