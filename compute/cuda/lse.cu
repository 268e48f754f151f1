/* Log-probabilities from blocks of logits: a block of threads a row, then a thread an element. */
#include "compute/cuda/lse.h"

static __global__ void __launch_bounds__(ROW_BLOCK)
forward(struct lse *state, float *target_logit, float *z, const int *targets, float temperature,
        int v0, int n)
{
    size_t t = blockIdx.x;
    struct lse s = v0 == 0 ? lse{ -INFINITY, 0.0f, 0.0f } : state[t];

    z += t * (size_t)n;
    if (temperature != 1.0f)
        UNROLL_8 for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
            z[i] /= temperature;
    __syncthreads();
    row_add(&s, z, n);
    if (threadIdx.x != 0)
        return;
    state[t] = s;
    if (targets[t] >= v0 && targets[t] - v0 < n)
        target_logit[t] = z[targets[t] - v0];
}

static void lse_forward(struct compute *k, struct lse *state, float *target_logit, float *z,
                        const int *targets, float temperature, int v0, int n, int T)
{
    const int *ids = (const int *)cuda_stage(k, targets, (size_t)T * sizeof *targets);

    launch(k, "lse_forward", forward, (size_t)T, row_threads(n), state, target_logit, z, ids,
           temperature, v0, n);
}

static __global__ void finish(float *logp, float *entropy, const struct lse *state,
                              const float *target_logit, size_t T)
{
    size_t t = element();

    if (t >= T)
        return;
    double sum = state[t].sum, log_sum = rw_log(sum);

    logp[t] = (float)((double)target_logit[t] - (double)state[t].max - log_sum);
    if (entropy)
        entropy[t] = (float)(log_sum - (double)state[t].weighted / sum);
}

static void lse_finish(struct compute *k, float *logp, float *entropy, const struct lse *state,
                       const float *target_logit, int T)
{
    launch(k, "lse_finish", finish, blocks_of((size_t)T), BLOCK, logp, entropy, state,
           target_logit, (size_t)T);
}

/* What is the same for all ids of a row. */
struct slope { float max, sum, log_sum, H, dlogp, dentropy; int target; };

static __global__ void row_slopes(struct slope *slope, const struct lse *state, const int *targets,
                                  const float *dlogp, const float *dentropy, int v0, size_t T)
{
    size_t t = element();

    if (t >= T)
        return;
    double log_sum = rw_log((double)state[t].sum);

    slope[t] = { state[t].max, state[t].sum, (float)log_sum,
                 (float)(log_sum - (double)state[t].weighted / (double)state[t].sum),
                 dlogp[t], dentropy ? dentropy[t] : 0.0f, targets[t] - v0 };
}

static __global__ void backward(float *z, const struct slope *slopes, bool entropy,
                                float temperature, int n, size_t all)
{
    size_t i = element();

    if (i >= all)
        return;
    struct slope s = slopes[i / (size_t)n];
    float y = z[i] - s.max, p = rw_expf(y) / s.sum;
    float d = (((int)(i % (size_t)n) == s.target ? 1.0f : 0.0f) - p) * s.dlogp;

    if (entropy)
        d = fmaf(-(s.dentropy * p), y - s.log_sum + s.H, d);
    z[i] = temperature != 1.0f ? d / temperature : d;
}

static void lse_backward(struct compute *k, float *z, const struct lse *state,
                         const int *targets, const float *dlogp, const float *dentropy,
                         float temperature, int v0, int n, int T)
{
    size_t rows = (size_t)T, all = rows * (size_t)n;
    struct slope *slopes = (struct slope *)cuda_scratch(k, (rows + 1) * sizeof *slopes);
    const int *ids = (const int *)cuda_stage(k, targets, rows * sizeof *targets);
    const float *of_logp = (const float *)cuda_stage(k, dlogp, rows * sizeof *dlogp);
    const float *of_entropy =
        dentropy ? (const float *)cuda_stage(k, dentropy, rows * sizeof *dentropy) : NULL;

    launch(k, "lse_backward", row_slopes, blocks_of(rows), BLOCK, slopes, state, ids, of_logp,
           of_entropy, v0, rows);
    launch(k, "lse_backward", backward, blocks_of(all), BLOCK, z, slopes, dentropy != NULL,
           temperature, n, all);
}

static __global__ void __launch_bounds__(ROW_BLOCK)
softmax_row(float *p, const float *z, float temperature, int V)
{
    softmax_of(p, z, temperature, V);
}

static void softmax(struct compute *k, float *p, const float *z, float temperature, int V)
{
    launch(k, "softmax", softmax_row, 1, row_threads(V), p, z, temperature, V);
}

extern "C" void cuda_fill_lse(struct compute *k)
{
    k->lse_forward = lse_forward;
    k->lse_finish = lse_finish;
    k->lse_backward = lse_backward;
    k->softmax = softmax;
}
