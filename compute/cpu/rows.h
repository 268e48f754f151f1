/* What goes row by row in lanes: embedding, RMS norm, rotary positions.  ref/norm.c is the
 * definition.  Included by plain.c, avx2.c, avx512.c.
 *
 * The last lanes of a row are loaded as zeros; where a zero could still change a sum (by turning -0
 * into +0) the old lanes are kept. */
#ifndef COMPUTE_CPU_ROWS_H
#define COMPUTE_CPU_ROWS_H

/* One operation on T rows of C: in and out as the operation names them. */
struct rows {
    void *stored;
    float *dx, *rstd, *dw;
    const float *x, *w, *dy;
    const float *known_rstd;
    const int *tokens;
    float eps;
    int T, C;
    bool bf16;                       /* what is stored */
};

/* ---- embedding */

static void embedding_add_columns(void *job, int begin, int end, int thread)
{
    const struct rows *r = job;

    (void)thread;
    for (int t = 0; t < r->T; t++) {
        float *to = r->dw + (size_t)r->tokens[t] * (size_t)r->C;
        const float *from = r->dy + (size_t)t * (size_t)r->C;

        for (int c = begin; c < end; c += 16) {
            int n = end - c < 16 ? end - c : 16;

            put(to, (size_t)c, lanes_add(take(to, (size_t)c, n), take(from, (size_t)c, n)), n);
        }
    }
}

static void embedding_backward(struct compute *k, float *dw, const float *dy, const int *tokens,
                               int T, int C)
{
    struct rows r = { .dw = dw, .dy = dy, .tokens = tokens, .T = T, .C = C };

    cpu_split(k, (double)T * C, C, 16, &r, embedding_add_columns);
}

/* ---- RMS norm */

INLINE struct lanes squares_add(struct lanes sum, const float *x, size_t c, int n)
{
    struct lanes v = take(x, c, n);

    return lanes_select(n, lanes_fma(v, v, sum), sum);
}

static void rmsnorm_forward_part(void *job, int begin, int end, int thread)
{
    const struct rows *r = job;
    size_t C = (size_t)r->C, c;

    (void)thread;
    for (int t = begin; t < end; t++) {
        const float *x = r->x + (size_t)t * C;
        struct lanes sum = lanes_set(0.0f);

        for (c = 0; c + 16 <= C; c += 16)
            sum = squares_add(sum, x, c, 16);
        if (c < C)
            sum = squares_add(sum, x, c, (int)(C - c));
        float rstd = 1.0f / sqrtf(lanes_fold(sum) / (float)r->C + r->eps);
        struct lanes rs = lanes_set(rstd);

        for (c = 0; c < C; c += 16) {
            int n = C - c < 16 ? (int)(C - c) : 16;

            put_stored(r->bf16, r->stored, (size_t)t * C + c,
                       lanes_mul(lanes_mul(take(x, c, n), rs), take(r->w, c, n)), n);
        }
        r->rstd[t] = rstd;
    }
}

static void rmsnorm_forward(struct compute *k, void *y, float *rstd, const float *x,
                            const float *w, float eps, int T, int C)
{
    struct rows r = { .stored = y, .rstd = rstd, .x = x, .w = w, .eps = eps, .T = T, .C = C,
                      .bf16 = k->dtype == COMPUTE_BF16 };

    cpu_split(k, 2.0 * T * C, T, 1, &r, rmsnorm_forward_part);
}

static void rmsnorm_backward_rows(void *job, int begin, int end, int thread)
{
    const struct rows *r = job;
    size_t C = (size_t)r->C;

    (void)thread;
    for (int t = begin; t < end; t++) {
        const float *x = r->x + (size_t)t * C, *dy = r->dy + (size_t)t * C;
        float *dx = r->dx + (size_t)t * C;
        struct lanes sum = lanes_set(0.0f), rs = lanes_set(r->known_rstd[t]);

        for (size_t c = 0; c < C; c += 16) {
            int n = C - c < 16 ? (int)(C - c) : 16;
            struct lanes g = lanes_mul(take(dy, c, n), take(r->w, c, n));

            sum = lanes_select(n, lanes_fma(g, lanes_mul(take(x, c, n), rs), sum), sum);
        }
        struct lanes mean = lanes_set(lanes_fold(sum) / (float)r->C);

        for (size_t c = 0; c < C; c += 16) {
            int n = C - c < 16 ? (int)(C - c) : 16;
            struct lanes h = lanes_mul(take(x, c, n), rs);
            struct lanes g = lanes_mul(take(dy, c, n), take(r->w, c, n));

            put(dx, c, lanes_fma(rs, lanes_negfma(h, mean, g), take(dx, c, n)), n);
        }
    }
}

static void rmsnorm_backward_columns(void *job, int begin, int end, int thread)
{
    const struct rows *r = job;

    (void)thread;
    for (int c = begin; c < end; c += 16) {
        int n = end - c < 16 ? end - c : 16;
        struct lanes sum = take(r->dw, (size_t)c, n);

        for (int t = 0; t < r->T; t++) {
            size_t at = (size_t)t * (size_t)r->C + (size_t)c;
            struct lanes h = lanes_mul(take(r->x, at, n), lanes_set(r->known_rstd[t]));

            sum = lanes_fma(take(r->dy, at, n), h, sum);
        }
        put(r->dw, (size_t)c, sum, n);
    }
}

static void rmsnorm_backward(struct compute *k, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int T, int C)
{
    struct rows r = { .dx = dx, .dw = dw, .dy = dy, .x = x, .w = w, .known_rstd = rstd,
                      .T = T, .C = C };

    cpu_split(k, 3.0 * T * C, T, 1, &r, rmsnorm_backward_rows);
    cpu_split(k, 1.0 * T * C, C, 16, &r, rmsnorm_backward_columns);
}

/* ---- rotary */

#define TURNS 64                     /* angles taken from the table at a time */

struct rotation {
    float *x;
    const float *table;
    const int *position;
    float direction;                 /* +1 forward, -1 back */
    int heads, D;
};

/* `n` pairs (a[i], b[i]) turned; cosine and sine hold whole registers */
INLINE void turn_pairs(float *a, float *b, const float *cosine, const float *sine, int n)
{
    for (int i = 0; i < n; i += 16) {
        int part = n - i < 16 ? n - i : 16;
        size_t at = (size_t)i;
        struct lanes x = take(a, at, part), y = take(b, at, part);
        struct lanes c = lanes_load(cosine + i), s = lanes_load(sine + i);
        struct lanes minus = lanes_sub(lanes_set(-0.0f), lanes_mul(y, s));      /* -0 - p is -p */

        put(a, at, lanes_fma(x, c, minus), part);
        put(b, at, lanes_fma(y, c, lanes_mul(x, s)), part);
    }
}

static void rotate_part(void *job, int begin, int end, int thread)
{
    const struct rotation *r = job;
    float cosine[TURNS] ALIGNED = {0}, sine[TURNS] ALIGNED = {0};
    int half = r->D / 2;

    (void)thread;
    for (int t = begin; t < end; t++) {
        const float *turn = r->table + (size_t)r->position[t] * (size_t)r->D;
        float *x = r->x + (size_t)t * (size_t)r->heads * (size_t)r->D;

        for (int first = 0; first < half; first += TURNS) {
            int n = half - first < TURNS ? half - first : TURNS;

            for (int i = 0; i < n; i++) {
                cosine[i] = turn[2 * (first + i)];
                sine[i] = turn[2 * (first + i) + 1] * r->direction;
            }
            for (int h = 0; h < r->heads; h++) {
                float *a = x + (size_t)h * (size_t)r->D + first;

                turn_pairs(a, a + half, cosine, sine, n);
            }
        }
    }
}

static void rotary_forward(struct compute *k, float *x, const float *table, const int *position,
                           int T, int heads, int D)
{
    struct rotation r = { x, table, position, 1.0f, heads, D };

    cpu_split(k, 2.0 * T * heads * D, T, 1, &r, rotate_part);
}

static void rotary_backward(struct compute *k, float *dx, const float *table,
                            const int *position, int T, int heads, int D)
{
    struct rotation r = { dx, table, position, -1.0f, heads, D };

    cpu_split(k, 2.0 * T * heads * D, T, 1, &r, rotate_part);
}

static void fill_rows(struct compute *k)
{
    k->embedding_backward = embedding_backward;
    k->rmsnorm_forward = rmsnorm_forward;
    k->rmsnorm_backward = rmsnorm_backward;
    k->rotary_forward = rotary_forward;
    k->rotary_backward = rotary_backward;
}

#endif
