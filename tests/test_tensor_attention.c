/* Attention of device = "cuda" in bf16, by the tensor cores: beside the same in double, with bounds
 * from the number of terms, and beside ref; a row's bits are its own, whatever is in the batch, and
 * pages, however a row is cut into calls and whatever lay in them, have those of rows.
 *
 * Every batch here is tried forward and back, all keys seen and only a window of them. */
#include "compute/cuda/cuda.h"
#include "tests/backends.h"

#define UNIT 0x1p-22                 /* an addition of the tensor cores, which may cut off */
#define ROUND 0x1.01p-8              /* a number rounded to bf16 */

static struct compute *gpu;

static const int start[] = { 0, 1, 1, 32, 64, 97, 161, 226, 326 };
#define N 8                          /* rows of 1, 0, 31, 32, 33, 64, 65, 100 */
#define T 326

static const struct attention_shape heads[] = {
    { 1, 1, 16, 0 },   { 3, 3, 5, 0 },   { 4, 2, 20, 7 },  { 2, 1, 48, 0 },  { 2, 2, 64, 33 },
    { 17, 1, 8, 64 },  { 3, 1, 96, 0 },  { 2, 1, 128, 0 }, { 1, 1, 250, 40 }, { 1, 1, 256, 0 },
    { 2, 1, 16, 1 },   { 1, 1, 16, 31 }, { 1, 1, 24, 32 },
};
#define ALL_HEADS ((int)(sizeof heads / sizeof *heads))
#define EACH_HEADS(h) for (const struct attention_shape *h = heads; h < heads + ALL_HEADS; h++)

/* What goes in and comes out; lengths in floats or stored elements. */
struct layer {
    const struct attention_shape *h;
    size_t queries, keys, lines;     /* T H D, T G D, T H 2 */
    float *q, *d_o, *dq, *dkey, *dvalue, *stats;
    uint16_t *key, *value, *o;
};

static struct layer layer_new(const struct attention_shape *h)
{
    struct layer x = { .h = h, .queries = (size_t)(T * h->H * h->D),
                       .keys = (size_t)(T * h->G * h->D), .lines = (size_t)(T * h->H * 2) };

    x.q = noise(x.queries, 3), x.d_o = noise(x.queries, 1), x.dq = noise(x.queries, 1);
    x.dkey = noise(x.keys, 1), x.dvalue = noise(x.keys, 1), x.stats = noise(x.lines, 1);
    x.key = noise_stored(x.keys, 3), x.value = noise_stored(x.keys, 1);
    x.o = noise_stored(x.queries, 1);
    return x;
}

static void layer_free(struct layer *x)
{
    drop(x->q), drop(x->d_o), drop(x->dq), drop(x->dkey), drop(x->dvalue), drop(x->stats);
    drop(x->key), drop(x->value), drop(x->o);
}

static void forward(struct compute *k, struct layer *x)
{
    const struct attention_shape *h = x->h;

    k->attention_forward(k, x->o, x->stats, x->q, x->key, x->value, start, N, *h);
    compute_wait(k);
}

static void backward(struct compute *k, struct layer *x)
{
    const struct attention_shape *h = x->h;

    k->attention_backward(k, x->dq, x->dkey, x->dvalue, x->d_o, x->q, x->key, x->value, x->o,
                          x->stats, start, N, *h);
    compute_wait(k);
}

/* ---- the same in double: a query's p, and how far the GPU's may be from them */

struct query {
    int row, t, head, key_head, first, seen;     /* keys first .. first + seen of the row */
    double p[T], dots, slack;        /* slack: relative, of every p, before it is rounded */
};

static double absolute_dot(const float *q, const uint16_t *key, int D, double *dot)
{
    double sum = 0;

    *dot = 0;
    for (int d = 0; d < D; d++) {
        *dot += (double)q[d] * (double)f32_of_bf16(key[d]);
        sum += fabs((double)q[d] * (double)f32_of_bf16(key[d]));
    }
    return sum;
}

static const uint16_t *key_of(const struct query *x, const uint16_t *keys,
                              const struct attention_shape *h, int j)
{
    return keys + ((x->row + x->first + j) * h->G + x->key_head) * h->D;
}

/* p of a query of row n with numbers q. */
static void find_p(struct query *x, const struct attention_shape *h, const float *q,
                   const uint16_t *keys)
{
    double scale = 1 / sqrt((double)h->D), max = -INFINITY, sum = 0, most = 0;

    for (int j = 0; j < x->seen; j++) {
        most = fmax(most, absolute_dot(q, key_of(x, keys, h, j), h->D, &x->p[j]));
        x->p[j] *= scale;
        max = fmax(max, x->p[j]);
    }
    for (int j = 0; j < x->seen; j++)
        sum += x->p[j] = exp(x->p[j] - max);
    for (int j = 0; j < x->seen; j++)
        x->p[j] /= sum;
    x->slack = 2 * ((h->D + 4) * scale * most + x->seen + 8) * UNIT;
}

static struct query query_at(const struct attention_shape *h, int n, int t, int head)
{
    int i = t - start[n], first = h->window && i >= h->window ? i - h->window + 1 : 0;

    return (struct query){ .row = start[n], .t = t, .head = head,
                           .key_head = head / (h->H / h->G), .first = first,
                           .seen = i + 1 - first };
}

/* x(n) as bf16, in fp32 */
static float *rounded(const float *x, size_t n)
{
    float *y = copy_of(x, n);

    for (size_t i = 0; i < n; i++)
        y[i] = bf16_round(y[i]);
    return y;
}

#define EACH_QUERY(h, x)                                                                          \
    for (int n_ = 0; n_ < N; n_++)                                                                \
        for (int t_ = start[n_]; t_ < start[n_ + 1]; t_++)                                        \
            for (int head_ = 0; head_ < (h)->H; head_++)                                          \
                for (struct query x = query_at(h, n_, t_, head_), *go_ = &x; go_; go_ = NULL)

static void assert_near(const char *what, const struct attention_shape *h, size_t i, double got,
                        double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("H %d, G %d, D %d, window %d: %s[%zu] = %g is not %g: off by %g, bound %g", h->H,
                 h->G, h->D, h->window, what, i, got, want, got - want, bound);
}

/* ---- forward */

/* o of the query's p, channel d, and the sum without signs. */
static double output(const struct query *x, const struct layer *l, int d, double *size)
{
    double o = 0;

    *size = 0;
    for (int j = 0; j < x->seen; j++) {
        double term = x->p[j] * (double)f32_of_bf16(key_of(x, l->value, l->h, j)[d]);

        o += term;
        *size += fabs(term);
    }
    return o;
}

static void test_forward_is_near(void **state)
{
    (void)state;
    EACH_HEADS(h) {
        struct layer l = layer_new(h), r = layer_new(h);
        float *q16 = rounded(l.q, l.queries);

        forward(gpu, &l);
        ref->attention_forward(ref, r.o, r.stats, l.q, l.key, l.value, start, N, *h);
        EACH_QUERY(h, x) {
            struct query exact = x;
            size_t head = (size_t)(x.t * h->H + x.head), at = head * (size_t)h->D;

            find_p(&x, h, q16 + at, l.key);
            find_p(&exact, h, l.q + at, l.key);
            for (int d = 0; d < h->D; d++) {
                double size, size1, o = output(&x, &l, d, &size);
                double o1 = output(&exact, &l, d, &size1), got = f32_of_bf16(l.o[at + (size_t)d]);
                double bound = size * (ROUND + 2 * x.slack) + fabs(o) * 2 * ROUND;

                assert_near("o", h, at + (size_t)d, got, o, bound);
                assert_near("ref's o", h, at + (size_t)d, got, f32_of_bf16(r.o[at + (size_t)d]),
                            bound + fabs(o - o1) + size1 * exact.slack + fabs(o1) * ROUND);
            }
            double dot, p = x.p[x.seen - 1];         /* of the last key, by stats */
            absolute_dot(q16 + at, key_of(&x, l.key, h, x.seen - 1), h->D, &dot);
            double by_stats = exp2(dot / sqrt((double)h->D) * 1.4426950408889634 -
                                   (double)l.stats[2 * head]) / (double)l.stats[2 * head + 1];
            assert_near("p by stats", h, head, by_stats, p, p * 2 * x.slack + 1e-30);
        }
        drop(q16), layer_free(&l), layer_free(&r);
    }
}

/* ---- backward: sums in double and what they may be off by */

struct slopes { double *dq, *dkey, *dvalue, *dq_off, *dkey_off, *dvalue_off; };

static struct slopes slopes_new(const struct layer *l)
{
    double *x = calloc(2 * (l->queries + 2 * l->keys), sizeof *x);
    size_t half = l->queries + 2 * l->keys;

    return (struct slopes){ x, x + l->queries, x + l->queries + l->keys, x + half,
                            x + half + l->queries, x + half + l->queries + l->keys };
}

static void add_term(double *sum, double *off, double term, double slack, double other)
{
    *sum += term * other;
    *off += slack * fabs(other);
}

/* One query's share of all slopes; q and d_o as they are rounded. */
static void add_query(struct slopes *s, struct query *x, const struct layer *l, const float *q,
                      const float *d_o)
{
    const struct attention_shape *h = l->h;
    size_t at = (size_t)((x->t * h->H + x->head) * h->D);
    double scale = 1 / sqrt((double)h->D), delta = 0, most = 0;

    find_p(x, h, q + at, l->key);
    for (int d = 0; d < h->D; d++) {
        double term = (double)d_o[at + (size_t)d] * (double)f32_of_bf16(l->o[at + (size_t)d]);

        delta += term;
        most += fabs(term);
    }
    for (int j = 0; j < x->seen; j++) {
        const uint16_t *key = key_of(x, l->key, h, j), *value = key_of(x, l->value, h, j);
        size_t to = (size_t)(key - l->key);
        double dp, size = absolute_dot(d_o + at, value, h->D, &dp), p = x->p[j];
        double ds = p * (dp - delta) * scale, many = x->seen + (T * h->H / h->G);
        double p_off = p * (ROUND + 2 * x->slack + many * UNIT);
        double ds_off = fabs(ds) * (ROUND + 2 * x->slack + many * UNIT) +
                        p * (h->D + 4) * UNIT * (size + most) * scale;

        for (size_t d = 0; d < (size_t)h->D; d++) {
            add_term(&s->dq[at + d], &s->dq_off[at + d], ds, ds_off, (double)f32_of_bf16(key[d]));
            add_term(&s->dkey[to + d], &s->dkey_off[to + d], ds, ds_off, (double)q[at + d]);
            add_term(&s->dvalue[to + d], &s->dvalue_off[to + d], p, p_off, (double)d_o[at + d]);
        }
    }
}

static void slope_is_near(const char *what, const struct attention_shape *h, const float *got,
                          const float *before, const double *slope, const double *off, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_near(what, h, i, (double)got[i] - (double)before[i], slope[i],
                    off[i] + (fabs(slope[i]) + fabs((double)before[i])) * 4 * UNIT + 1e-30);
}

static void test_backward_is_near(void **state)
{
    (void)state;
    EACH_HEADS(h) {
        struct layer l = layer_new(h);
        float *q = rounded(l.q, l.queries), *d_o = rounded(l.d_o, l.queries);
        float *dq = copy_of(l.dq, l.queries), *dkey = copy_of(l.dkey, l.keys);
        float *dvalue = copy_of(l.dvalue, l.keys);
        struct slopes s = slopes_new(&l);

        forward(gpu, &l);
        backward(gpu, &l);
        EACH_QUERY(h, x)
            add_query(&s, &x, &l, q, d_o);
        slope_is_near("dq", h, l.dq, dq, s.dq, s.dq_off, l.queries);
        slope_is_near("dkey", h, l.dkey, dkey, s.dkey, s.dkey_off, l.keys);
        slope_is_near("dvalue", h, l.dvalue, dvalue, s.dvalue, s.dvalue_off, l.keys);
        drop(q), drop(d_o), drop(dq), drop(dkey), drop(dvalue), free(s.dq), layer_free(&l);
    }
}

/* The sums above are slopes of output(): along single numbers of q, key and value, of which the
 * loss, do . o, is taken a little before and behind. */
static double loss(const struct layer *l, int token)
{
    double sum = 0, size;

    EACH_QUERY(l->h, x) {
        if (token < start[n_] || token >= start[n_ + 1])
            continue;                /* a row of its own */
        size_t at = (size_t)((x.t * l->h->H + x.head) * l->h->D);

        find_p(&x, l->h, l->q + at, l->key);
        for (int d = 0; d < l->h->D; d++)
            sum += (double)l->d_o[at + (size_t)d] * output(&x, l, d, &size);
    }
    return sum;
}

static double step16(uint16_t *x, const struct layer *l, int token)
{
    uint16_t was = *x;
    double above, below, width;

    *x = bf16_of_f32(f32_of_bf16(was) + 0x1p-5f);
    width = f32_of_bf16(*x), above = loss(l, token);
    *x = bf16_of_f32(f32_of_bf16(was) - 0x1p-5f);
    width -= f32_of_bf16(*x), below = loss(l, token);
    *x = was;
    return (above - below) / width;
}

static double step(float *x, const struct layer *l, int token)
{
    float was = *x;
    double above, below;

    *x = was + 0x1p-7f, above = loss(l, token);
    *x = was - 0x1p-7f, below = loss(l, token);
    *x = was;
    return (above - below) / 0x1p-6;
}

static void test_backward_is_the_slope(void **state)
{
    (void)state;
    for (const struct attention_shape *h = heads + 2; h < heads + 4; h++) {
        struct layer l = layer_new(h);
        float *dq = copy_of(l.dq, l.queries), *dkey = copy_of(l.dkey, l.keys);
        float *dvalue = copy_of(l.dvalue, l.keys);

        forward(gpu, &l);
        backward(gpu, &l);
        for (int i = 0; i < 6; i++) {
            size_t at = word() % l.queries, to = word() % l.keys;
            int query = (int)at / (h->H * h->D), key = (int)to / (h->G * h->D);

            assert_near("slope of q", h, at, (double)(l.dq[at] - dq[at]), step(&l.q[at], &l, query),
                        0.02);
            assert_near("slope of key", h, to, (double)(l.dkey[to] - dkey[to]),
                        step16(&l.key[to], &l, key), 0.05);
            assert_near("slope of value", h, to, (double)(l.dvalue[to] - dvalue[to]),
                        step16(&l.value[to], &l, key), 0.05);
        }
        drop(dq), drop(dkey), drop(dvalue), layer_free(&l);
    }
}

/* What a layer makes, forward and back. */
static void assert_same(const struct layer *a, const struct layer *l)
{
    assert_memory_equal(a->o, l->o, l->queries * sizeof *l->o);
    assert_memory_equal(a->stats, l->stats, l->lines * sizeof *l->stats);
    assert_memory_equal(a->dq, l->dq, l->queries * sizeof *l->dq);
    assert_memory_equal(a->dkey, l->dkey, l->keys * sizeof *l->dkey);
    assert_memory_equal(a->dvalue, l->dvalue, l->keys * sizeof *l->dvalue);
}

/* ---- a row's bits are its own */

static void test_a_row_alone_has_its_bits(void **state)
{
    (void)state;
    EACH_HEADS(h) {
        if ((h - heads) % 2)                         /* of D 16, 20, 64, 96, 250 */
            continue;
        struct layer l = layer_new(h), a = layer_new(h);

        memcpy(a.dq, l.dq, l.queries * sizeof *l.dq);
        memcpy(a.dkey, l.dkey, l.keys * sizeof *l.dkey);
        memcpy(a.dvalue, l.dvalue, l.keys * sizeof *l.dvalue);
        forward(gpu, &l);
        backward(gpu, &l);
        for (int n = N - 1; n >= 0; n--) {
            /* by itself, or where it is, with nothing before and behind */
            const int own[] = { 0, start[n + 1] - start[n] }, *row = n % 2 ? start + n : own;
            int t = n % 2 ? 0 : start[n];
            size_t q = (size_t)(t * h->H * h->D), g = (size_t)(t * h->G * h->D);
            size_t line = (size_t)(t * h->H * 2);

            gpu->attention_forward(gpu, a.o + q, a.stats + line, l.q + q, l.key + g, l.value + g,
                                   row, 1, *h);
            gpu->attention_backward(gpu, a.dq + q, a.dkey + g, a.dvalue + g, l.d_o + q, l.q + q,
                                    l.key + g, l.value + g, l.o + q, l.stats + line, row, 1, *h);
        }
        compute_wait(gpu);
        assert_same(&a, &l);
        layer_free(&l), layer_free(&a);
    }
}

/* ---- pages */

#define PAGES 4                      /* of a row */
static const int table[N * PAGES] = {
    4, -1, -1, -1,  -1, -1, -1, -1,  9, -1, -1, -1,  0, -1, -1, -1,
    7, 2, -1, -1,  11, 12, -1, -1,  1, 13, 8, -1,  3, 14, 5, 10,
};
#define ALL_PAGES 15                 /* 6 is nobody's */

/* From call late[n] on, a call brings the next cut[n] tokens of row n. */
struct pieces { int cut[N], late[N]; };

static struct pages pages_new(const struct attention_shape *h, uint32_t garbage)
{
    size_t n = ALL_PAGES * page_floats(COMPUTE_BF16, h->G, h->D);
    struct pages p = { room(n * sizeof(float)), room(n * sizeof(float)) };

    for (size_t i = 0; i < n; i++)
        p.keys[i] = p.values[i] = f32_of_bits(garbage);
    return p;
}

/* Rows piece by piece into l->o; pages held `garbage` before. */
static void attend_by_pieces(struct layer *l, const struct pieces *p, uint32_t garbage)
{
    const struct attention_shape *h = l->h;
    size_t token = (size_t)(h->G * h->D), query = (size_t)(h->H * h->D);
    struct pages pages = pages_new(h, garbage);
    struct layer x = layer_new(h);
    int done[N] = {0}, at[N + 1] = {0};

    for (int call = 0, left = T; left > 0; call++, left -= at[N]) {
        struct extend rows = { N, at, done, table, PAGES };

        for (int n = 0; n < N; n++) {
            int more = start[n + 1] - start[n] - done[n];
            size_t to = (size_t)at[n], from = (size_t)(start[n] + done[n]);

            more = call < p->late[n] ? 0 : more < p->cut[n] ? more : p->cut[n];
            memcpy(x.key + to * token, l->key + from * token, (size_t)more * token * 2);
            memcpy(x.value + to * token, l->value + from * token, (size_t)more * token * 2);
            memcpy(x.q + to * query, l->q + from * query, (size_t)more * query * sizeof *x.q);
            at[n + 1] = at[n] + more;
        }
        gpu->pages_store(gpu, pages, x.key, x.value, &rows, h->G, h->D);
        gpu->pages_attend(gpu, x.o, x.q, pages, &rows, *h);
        compute_wait(gpu);
        for (int n = 0; n < N; n++) {
            memcpy(l->o + (size_t)(start[n] + done[n]) * query, x.o + (size_t)at[n] * query,
                   (size_t)(at[n + 1] - at[n]) * query * sizeof *x.o);
            done[n] += at[n + 1] - at[n];
        }
    }
    drop(pages.keys), drop(pages.values), layer_free(&x);
}

static void test_pages_have_the_bits_of_rows(void **state)
{
    static const struct pieces pieces[] = {
        { { 1, 1, 1, 1, 1, 1, 1, 1 }, { 0, 0, 69, 0, 0, 36, 35, 0 } },
        { { 1, 1, 31, 5, 33, 63, 64, 33 }, { 1, 0, 0, 0, 0, 1, 2, 0 } },
    };
    static const uint32_t garbage[] = { 0xffffffffu, 0x7f807f80u };      /* NaN, infinities */

    (void)state;
    EACH_HEADS(h) {
        struct layer l = layer_new(h);
        uint16_t *o = l.o;

        forward(gpu, &l);
        l.o = noise_stored(l.queries, 1);
        for (int i = 0; i < 2; i++) {
            attend_by_pieces(&l, &pieces[i], garbage[i]);
            assert_memory_equal(l.o, o, l.queries * sizeof *o);
        }
        drop(o), layer_free(&l);
    }
}

/* A window of at least the row's length is none. */
static void test_a_wide_window_is_none(void **state)
{
    static const struct attention_shape none = { 4, 2, 64, 0 }, wide = { 4, 2, 64, 100 };
    struct layer l = layer_new(&none), w;

    (void)state;
    w = l;
    w.o = noise_stored(l.queries, 1), w.stats = noise(l.lines, 1);
    w.dq = copy_of(l.dq, l.queries), w.dkey = copy_of(l.dkey, l.keys);
    w.dvalue = copy_of(l.dvalue, l.keys), w.h = &wide;
    forward(gpu, &l);
    backward(gpu, &l);
    forward(gpu, &w);
    backward(gpu, &w);
    assert_same(&w, &l);
    drop(w.o), drop(w.stats), drop(w.dq), drop(w.dkey), drop(w.dvalue), layer_free(&l);
}

/* ---- cards of 99 KiB of shared memory for a block, and of 163 */

static void try_small_card(const struct attention_shape *h, int kib)
{
    const struct pieces pieces = { { 1, 1, 31, 7, 32, 64, 13, 99 }, { 0 } };
    struct layer l = layer_new(h), a = l;
    int all = cuda_of(gpu)->shared;
    char bytes[16];

    a.o = noise_stored(l.queries, 1), a.stats = noise(l.lines, 1);
    a.dq = copy_of(l.dq, l.queries), a.dkey = copy_of(l.dkey, l.keys);
    a.dvalue = copy_of(l.dvalue, l.keys);
    forward(gpu, &l);
    backward(gpu, &l);
    snprintf(bytes, sizeof bytes, "%d", kib << 10);
    setenv("EMULATED_SHARED", bytes, 1);             /* a kernel that wants more is refused */
    cuda_of(gpu)->shared = kib << 10;
    forward(gpu, &a);
    backward(gpu, &a);
    assert_same(&a, &l);
    attend_by_pieces(&a, &pieces, 0);
    assert_ok(compute_sync(gpu));
    assert_memory_equal(a.o, l.o, l.queries * sizeof *l.o);
    unsetenv("EMULATED_SHARED");
    cuda_of(gpu)->shared = all;
    drop(a.o), drop(a.stats), drop(a.dq), drop(a.dkey), drop(a.dvalue), layer_free(&l);
}

static void test_cards_with_less_shared_memory_have_the_bits(void **state)
{
    (void)state;
    EACH_HEADS(h)
        if (h->D >= 128) {
            try_small_card(h, 99);
            try_small_card(h, 163);
        }
}

static int open_gpu(void **state)
{
    (void)state;
    support_gpu();
    return compute_open(&ref, "ref", "bf16", 1) || compute_open(&gpu, "cuda", "bf16", 1);
}

static int close_gpu(void **state)
{
    int rc = compute_sync(gpu);

    (void)state;
    compute_close(gpu);
    compute_close(ref);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_is_near),
        cmocka_unit_test(test_backward_is_near),
        cmocka_unit_test(test_backward_is_the_slope),
        cmocka_unit_test(test_a_row_alone_has_its_bits),
        cmocka_unit_test(test_pages_have_the_bits_of_rows),
        cmocka_unit_test(test_a_wide_window_is_none),
        cmocka_unit_test(test_cards_with_less_shared_memory_have_the_bits),
    };

    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
