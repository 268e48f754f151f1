/* Log-sum-exp over the vocabulary in lanes; ref/lse.c is the definition.
 * Included by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_LSE_H
#define COMPUTE_CPU_LSE_H

struct logits {
    struct lse *state;
    const struct lse *known;
    float *target_logit, *z;
    const int *targets;
    const float *dlogp, *dentropy;
    float temperature;
    int v0, n;
};

INLINE struct lanes divided(float *z, size_t i, int part, struct lanes temperature)
{
    struct lanes v = lanes_div(take(z, i, part), temperature);

    put(z, i, v, part);
    return v;
}

/* Divide a block by the temperature and find its largest, or `max`, in one pass. */
static float block_max(float *z, int n, float temperature, float max)
{
    struct lanes largest = lanes_set(max), t = lanes_set(temperature);
    bool divide = temperature != 1.0f;

    for (int i = 0; i < n; i += 16) {
        int part = n - i < 16 ? n - i : 16;
        size_t at = (size_t)i;
        struct lanes v = divide ? divided(z, at, part, t) : take(z, at, part);

        largest = lanes_select(part, lanes_max(v, largest), largest);
    }
    return lanes_largest(largest) + 0.0f;
}

static void block_add(struct lse *state, float *z, int n, float temperature)
{
    struct lanes sum = lanes_set(0.0f), weighted = sum;
    float max = block_max(z, n, temperature, state->max), a = rw_expf(state->max - max);
    struct lanes m = lanes_set(max);
    size_t i = 0, end = (size_t)n;

    for (; i + 16 <= end; i += 16) {
        struct lanes y = lanes_sub(lanes_load(z + i), m), p = lanes_exp(y);

        sum = lanes_add(sum, p);
        weighted = lanes_fma(p, y, weighted);
    }
    if (i < end) {
        int part = (int)(end - i);
        struct lanes y = lanes_sub(lanes_load_part(z + i, part), m), p = lanes_exp(y);

        sum = lanes_select(part, lanes_add(sum, p), sum);
        weighted = lanes_select(part, lanes_fma(p, y, weighted), weighted);
    }
    float before = state->sum > 0 ? fmaf(state->max - max, state->sum, state->weighted) : 0.0f;
    state->max = max;
    state->sum = fmaf(state->sum, a, lanes_fold(sum));
    state->weighted = fmaf(before, a, lanes_fold(weighted));
}

static void row_add(struct lse *state, float *z, float temperature, int n)
{
    for (int first = 0; first < n; first += VOCAB_BLOCK)
        block_add(state, z + first, n - first < VOCAB_BLOCK ? n - first : VOCAB_BLOCK,
                  temperature);
}

static void lse_forward_part(void *job, int begin, int end, int thread)
{
    const struct logits *l = job;

    (void)thread;
    for (int t = begin; t < end; t++) {
        float *z = l->z + (size_t)t * (size_t)l->n;

        if (l->v0 == 0)
            l->state[t] = (struct lse){ .max = -INFINITY };
        row_add(&l->state[t], z, l->temperature, l->n);
        if (l->targets[t] >= l->v0 && l->targets[t] - l->v0 < l->n)
            l->target_logit[t] = z[l->targets[t] - l->v0];
    }
}

static void lse_forward(struct compute *k, struct lse *state, float *target_logit, float *z,
                        const int *targets, float temperature, int v0, int n, int T)
{
    struct logits l = { .state = state, .target_logit = target_logit, .z = z, .targets = targets,
                        .temperature = temperature, .v0 = v0, .n = n };

    cpu_split(k, 8.0 * T * n, T, 1, &l, lse_forward_part);
}

/* What is the same for all ids of a row. */
struct gradient {
    struct lanes max, sum, dlogp, minus_dentropy, log_sum, H, temperature;
    bool entropy, divide;
};

INLINE struct lanes gradient_at(const struct gradient *g, struct lanes z, struct lanes hit)
{
    struct lanes y = lanes_sub(z, g->max), p = lanes_div(lanes_exp(y), g->sum);
    struct lanes d = lanes_mul(lanes_sub(hit, p), g->dlogp);

    if (g->entropy)
        d = lanes_fma(lanes_mul(g->minus_dentropy, p),
                      lanes_add(lanes_sub(y, g->log_sum), g->H), d);
    return g->divide ? lanes_div(d, g->temperature) : d;
}

static void lse_backward_row(float *z, const struct gradient *g, int target, int n)
{
    struct lanes zero = lanes_set(0.0f), hit;
    bool inside = target >= 0 && target < n;
    float at_target = 0.0f;
    size_t i = 0, end = (size_t)n;

    if (inside) {
        hit = gradient_at(g, lanes_set(z[target]), lanes_set(1.0f));
        lanes_store_part(&at_target, hit, 1);
    }
    for (; i + 16 <= end; i += 16)
        lanes_store(z + i, gradient_at(g, lanes_load(z + i), zero));
    if (i < end) {
        int part = (int)(end - i);

        lanes_store_part(z + i, gradient_at(g, lanes_load_part(z + i, part), zero), part);
    }
    if (inside)
        z[target] = at_target;
}

static void lse_backward_part(void *job, int begin, int end, int thread)
{
    const struct logits *l = job;

    (void)thread;
    for (int t = begin; t < end; t++) {
        const struct lse *s = &l->known[t];
        double log_sum = rw_log((double)s->sum);
        double H = log_sum - (double)s->weighted / (double)s->sum;
        struct gradient g = {
            .max = lanes_set(s->max), .sum = lanes_set(s->sum), .dlogp = lanes_set(l->dlogp[t]),
            .minus_dentropy = lanes_set(l->dentropy ? -l->dentropy[t] : 0.0f),
            .log_sum = lanes_set((float)log_sum), .H = lanes_set((float)H),
            .temperature = lanes_set(l->temperature),
            .entropy = l->dentropy != NULL, .divide = l->temperature != 1.0f,
        };
        int target = l->targets[t] >= l->v0 ? l->targets[t] - l->v0 : -1;

        lse_backward_row(l->z + (size_t)t * (size_t)l->n, &g, target, l->n);
    }
}

static void lse_backward(struct compute *k, float *z, const struct lse *state,
                         const int *targets, const float *dlogp, const float *dentropy,
                         float temperature, int v0, int n, int T)
{
    struct logits l = { .known = state, .z = z, .targets = targets, .dlogp = dlogp,
                        .dentropy = dentropy, .temperature = temperature, .v0 = v0, .n = n };

    cpu_split(k, 8.0 * T * n, T, 1, &l, lse_backward_part);
}

static void softmax(struct compute *k, float *p, const float *z, float temperature, int V)
{
    struct lse state = { .max = -INFINITY };

    (void)k;
    memcpy(p, z, (size_t)V * sizeof *p);
    row_add(&state, p, temperature, V);
    struct lanes max = lanes_set(state.max), sum = lanes_set(state.sum);

    for (int i = 0; i < V; i += 16) {
        int part = V - i < 16 ? V - i : 16;
        size_t at = (size_t)i;

        put(p, at, lanes_div(lanes_exp(lanes_sub(take(p, at, part), max)), sum), part);
    }
}

static void fill_lse(struct compute *k)
{
    k->lse_forward = lse_forward;
    k->lse_backward = lse_backward;
    k->softmax = softmax;
}

#endif
