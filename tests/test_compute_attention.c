/* Attention of every backend gives ref's bits, over packed rows and over pages, with keys and
 * values stored as fp32 and as bf16; and pages, however a row is cut into calls, give those of
 * rows. */
#include "tests/backends.h"

static void test_store_is_refs(void **state)
{
    static const size_t lengths[] = { 1, 15, 16, 17, 4096, 9001 };

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i], bytes = n * stored_bytes(ref->dtype);
        float *x = noise(n, 1);

        for (size_t j = 0; j < n; j += 3)
            x[j] = f32_of_bits((word() & 0x807fffffu) | (word() % 2 ? 0x7f000000u : 0));
        void *want = stored(x, n);
        EACH_BACKEND(k) {
            char *y = room(bytes + 1);

            y[bytes] = 77;
            k->store(k, y, x, n);
            compute_wait(k);
            assert_memory_equal(y, want, bytes);
            assert_int_equal(y[bytes], 77);
            drop(y);
        }
        drop(x), drop(want);
    }
}

/* bf16: attention is fp32's of rounded keys and values, o rounded, forward and back. */
static void test_stored_keys_are_rounded_and_nothing_else(void **state)
{
    enum { T = 45, H = 4, G = 2, D = 24, Q = T * H * D, K = T * G * D };
    const struct attention_shape shape = { H, G, D, 0 };
    const int start[] = { 0, T };
    float *q = noise(Q, 3), *key = noise(K, 3), *value = noise(K, 1), *d_o = noise(Q, 1);
    void *stored_key = stored(key, K), *stored_value = stored(value, K);
    float *o = noise(Q, 1), *stats = noise(2 * T * H, 1);
    void *o1 = noise_stored(Q, 1), *stored_o;
    float *stats1 = noise(2 * T * H, 1), *d = room(2 * (Q + 2 * K) * sizeof *d);
    float *d1 = d + Q + 2 * K;
    struct compute *fp32;

    (void)state;
    assert_ok(compute_open(&fp32, "ref", "fp32", 1));
    for (int i = 0; i < K && ref->dtype == COMPUTE_BF16; i++) {
        key[i] = bf16_round(key[i]);
        value[i] = bf16_round(value[i]);
    }
    fp32->attention_forward(fp32, o, stats, q, key, value, start, 1, shape);
    stored_o = stored(o, Q);
    for (int i = 0; i < Q && ref->dtype == COMPUTE_BF16; i++)
        o[i] = bf16_round(o[i]);
    fp32->attention_backward(fp32, d, d + Q, d + Q + K, d_o, q, key, value, o, stats, start, 1,
                             shape);
    ref->attention_forward(ref, o1, stats1, q, stored_key, stored_value, start, 1, shape);
    ref->attention_backward(ref, d1, d1 + Q, d1 + Q + K, d_o, q, stored_key, stored_value, o1,
                            stats1, start, 1, shape);
    assert_memory_equal(o1, stored_o, Q * stored_bytes(ref->dtype));
    assert_memory_equal(stats1, stats, 2 * T * H * sizeof *stats);
    assert_memory_equal(d1, d, (Q + 2 * K) * sizeof *d);
    compute_close(fp32);
    drop(q), drop(key), drop(value), drop(d_o), drop(stored_key), drop(stored_value);
    drop(o), drop(stats), drop(o1), drop(stored_o), drop(stats1), drop(d);
}

static const struct attention_shape heads[] = {
    { 1, 1, 8, 0 }, { 3, 3, 5, 0 }, { 4, 2, 16, 0 }, { 4, 1, 32, 0 }, { 2, 2, 48, 0 },
    { 2, 1, 64, 0 }, { 1, 1, 128, 0 }, { 9, 1, 24, 0 },
    { 2, 1, 8, 1 }, { 3, 3, 5, 31 }, { 2, 1, 16, 32 }, { 2, 2, 20, 33 }, { 1, 1, 8, 100 },
    { 1, 1, 40, 1000 },
};
#define ALL ((int)(sizeof heads / sizeof *heads))
static const struct packed { int D, N, start[8]; } batches[] = {         /* for heads up to D */
    { 128, 6, { 0, 1, 1, 34, 66, 103, 110 } },       /* rows of 1, 0, 33, 32, 37, 7 */
    { 16, 4, { 0, 150, 151, 407, 451 } },            /* of 150, 1, 256 (eight full blocks), 44 */
};

static void attention_is_refs(const struct packed *rows, const struct attention_shape *h)
{
    int N = rows->N, T = rows->start[N], H = h->H, G = h->G, D = h->D;
    const int *start = rows->start;
    size_t n = (size_t)(T * H * D), g = (size_t)(T * G * D), st = (size_t)(T * H * 2);
    void *key = noise_stored(g, 3), *value = noise_stored(g, 1);
    float *q = noise(n, 3), *d_o = noise(n, 1);
    float *dq0 = noise(n, 1), *dk0 = noise(g, 1), *dv0 = noise(g, 1);
    void *o = noise_stored(n, 1);
    float *stats = noise(st, 1);
    float *dq = copy_of(dq0, n), *dk = copy_of(dk0, g), *dv = copy_of(dv0, g);

    ref->attention_forward(ref, o, stats, q, key, value, start, N, *h);
    ref->attention_backward(ref, dq, dk, dv, d_o, q, key, value, o, stats, start, N, *h);
    EACH_BACKEND(k) {
        void *o1 = noise_stored(n, 1);
        float *stats1 = noise(st, 1);
        float *dq1 = copy_of(dq0, n), *dk1 = copy_of(dk0, g), *dv1 = copy_of(dv0, g);

        k->attention_forward(k, o1, stats1, q, key, value, start, N, *h);
        k->attention_backward(k, dq1, dk1, dv1, d_o, q, key, value, o, stats, start, N, *h);
        same_stored(k, "o", o1, o, n);
        same(k, "stats", stats1, stats, st);
        same(k, "dq", dq1, dq, n);
        same(k, "dkey", dk1, dk, g);
        same(k, "dvalue", dv1, dv, g);
    }
    drop(q), drop(key), drop(value), drop(d_o), drop(dq0), drop(dk0), drop(dv0);
    drop(o), drop(stats), drop(dq), drop(dk), drop(dv);
}

static void test_attention_is_refs(void **state)
{
    (void)state;
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
        for (const struct attention_shape *h = heads; h < heads + ALL; h++)
            if (h->D <= batches[b].D)
                attention_is_refs(&batches[b], h);
}

/* ---- pages: any cut of a row into calls gives attention_forward's bits, whatever lay there */

#define ROWS 3
#define TOKENS 188
#define PAGES 4               /* of a row */
static const int whole[] = { 0, 70, 171, TOKENS };   /* rows of 3, 4 and 1 pages */
static const int table[ROWS * PAGES] = { 5, 0, 3, -1,   1, 7, 4, 2,   6 };
#define ALL_PAGES 8

/* From call late[n] on, a call brings the next cut[n] tokens of row n. */
struct pieces { int cut[ROWS], late[ROWS]; };

/* Extend all rows call by call; pages hold NaN before, and those behind the window are gone.
 * A call takes and gives packed arrays, each row of which is copied from and to the row itself. */
static void *attend_by_pieces(struct compute *k, const float *q, const void *key,
                              const void *value, const struct pieces *p,
                              const struct attention_shape *h)
{
    size_t page = page_floats(k->dtype, h->G, h->D), bytes = stored_bytes(k->dtype);
    size_t token = bytes * (size_t)(h->G * h->D), query = (size_t)(h->H * h->D);
    struct pages pages = { noise(ALL_PAGES * page, 1), noise(ALL_PAGES * page, 1) };
    char *o = noise_stored(TOKENS * query, 1), *o1 = noise_stored(TOKENS * query, 1);
    char *key1 = room(TOKENS * token), *value1 = room(TOKENS * token);
    float *q1 = noise(TOKENS * query, 1);
    int done[ROWS] = {0}, start[ROWS + 1] = {0}, needed[ROWS * PAGES];

    for (size_t i = 0; i < ALL_PAGES * page; i++)
        pages.keys[i] = pages.values[i] = f32_of_bits(0xffffffffu);   /* both halves NaN */
    for (int call = 0, left = TOKENS; left > 0; call++, left -= start[ROWS]) {
        struct extend rows = { ROWS, start, done, needed, PAGES };

        for (int n = 0; n < ROWS; n++) {
            int more = whole[n + 1] - whole[n] - done[n];
            size_t to = (size_t)start[n], from = (size_t)(whole[n] + done[n]);

            more = call < p->late[n] ? 0 : more < p->cut[n] ? more : p->cut[n];
            memcpy(key1 + to * token, (const char *)key + from * token, (size_t)more * token);
            memcpy(value1 + to * token, (const char *)value + from * token, (size_t)more * token);
            memcpy(q1 + to * query, q + from * query, (size_t)more * query * sizeof *q);
            start[n + 1] = start[n] + more;
            for (int i = 0; i < PAGES; i++)
                needed[n * PAGES + i] = i < first_seen(h->window, done[n] + 1) / KEY_BLOCK
                                        ? -1 : table[n * PAGES + i];
        }
        k->pages_store(k, pages, key1, value1, &rows, h->G, h->D);
        k->pages_attend(k, o1, q1, pages, &rows, *h);
        compute_wait(k);
        for (int n = 0; n < ROWS; n++) {
            int more = start[n + 1] - start[n];

            memcpy(o + (size_t)(whole[n] + done[n]) * query * bytes,
                   o1 + (size_t)start[n] * query * bytes, (size_t)more * query * bytes);
            done[n] += more;
        }
    }
    drop(pages.keys), drop(pages.values), drop(key1), drop(value1), drop(q1), drop(o1);
    return o;
}

static void test_pages_give_the_bits_of_rows(void **state)
{
    static const struct pieces pieces[] = {
        { { 1, 1, 1 }, { 0, 70, 60 } },              /* token by token, the rows one by one ... */
        { { 7, 1, 45 }, { 0, 0, 3 } },               /* ... and side by side; one starts at 0 */
        { { 45, 100, 1 }, { 2, 5, 0 } },             /* chunks across the edges of pages */
    };

    (void)state;
    for (const struct attention_shape *h = heads; h < heads + ALL; h++) {
        size_t n = (size_t)(TOKENS * h->H * h->D), g = (size_t)(TOKENS * h->G * h->D);
        void *key = noise_stored(g, 3), *value = noise_stored(g, 1);
        float *q = noise(n, 3);
        void *o = noise_stored(n, 1);
        float *stats = noise((size_t)(2 * TOKENS * h->H), 1);

        ref->attention_forward(ref, o, stats, q, key, value, whole, ROWS, *h);
        for (const struct pieces *p = pieces; p < pieces + sizeof pieces / sizeof *pieces; p++) {
            same_stored(ref, "o of pages", attend_by_pieces(ref, q, key, value, p, h), o, n);
            EACH_BACKEND(k)
                same_stored(k, "o of pages", attend_by_pieces(k, q, key, value, p, h), o, n);
        }
        drop(q), drop(key), drop(value), drop(o), drop(stats);
    }
}

/* A prompt's rows in one packed call equal each row alone. */
static void test_packing_does_not_matter(void **state)
{
    enum { H = 2, G = 1, D = 16, T = 110 };
    const struct attention_shape shape = { H, G, D, 0 };
    const int *start = batches[0].start, N = batches[0].N;
    void *key = noise_stored(T * G * D, 3), *value = noise_stored(T * G * D, 1);
    void *o = noise_stored(T * H * D, 1);
    float *q = noise(T * H * D, 3), stats[T * H * 2];

    (void)state;
    ref->attention_forward(ref, o, stats, q, key, value, start, N, shape);
    EACH_BACKEND(k) {
        for (int n = 0; n < N; n++) {
            int t = start[n], alone[] = { 0, start[n + 1] - t };
            size_t at = (size_t)(t * G * D);
            void *o1 = noise_stored(T * H * D, 1);
            float *stats1 = room(T * H * 2 * sizeof *stats1);

            k->attention_forward(k, o1, stats1, q + t * H * D, element(key, at),
                                 element(value, at), alone, 1, shape);
            same_stored(k, "o of a row alone", o1, element(o, (size_t)(t * H * D)),
                        (size_t)(alone[1] * H * D));
            drop(stats1);
        }
    }
    drop(q), drop(key), drop(value), drop(o);
}

/* What a window has left may be anything: it is not multiplied by zero. */
static void test_what_left_the_window_does_not_matter(void **state)
{
    enum { W = 33, GONE = 45, FREE = GONE + W - 1, T = 100, D = 20 };   /* FREE .. T see none */
    const struct attention_shape shape = { 1, 1, D, W };
    const int start[] = { 0, T };
    float *x = noise(T * D, 1), *y = noise(T * D, 1), *q = noise(T * D, 2), *d_o = noise(T * D, 1);
    void *key = stored(x, T * D), *value = stored(y, T * D), *o = noise_stored(T * D, 1);
    float *stats = noise(2 * T, 1), *dq = room(T * D * 4), *dk = room(T * D * 4);
    float *dv = room(T * D * 4);
    size_t n = (T - FREE) * D, from = FREE * D;

    (void)state;
    ref->attention_forward(ref, o, stats, q, key, value, start, 1, shape);
    ref->attention_backward(ref, dq, dk, dv, d_o, q, key, value, o, stats, start, 1, shape);
    for (int i = 0; i < GONE * D; i++)
        x[i] = y[i] = NAN;
    void *key1 = stored(x, T * D), *value1 = stored(y, T * D);
    EACH_BACKEND(k) {
        void *o1 = noise_stored(T * D, 1);
        float *stats1 = noise(2 * T, 1), *dq1 = room(T * D * 4), *dk1 = room(T * D * 4);
        float *dv1 = room(T * D * 4);

        k->attention_forward(k, o1, stats1, q, key1, value1, start, 1, shape);
        k->attention_backward(k, dq1, dk1, dv1, d_o, q, key1, value1, o1, stats1, start, 1, shape);
        compute_wait(k);
        assert_memory_equal(element(o1, from), element(o, from), n * stored_bytes(k->dtype));
        assert_memory_equal(stats1 + 2 * FREE, stats + 2 * FREE, 2 * (T - FREE) * sizeof *stats);
        assert_memory_equal(dq1 + from, dq + from, n * sizeof *dq);
        assert_memory_equal(dk1 + from, dk + from, n * sizeof *dk);
        assert_memory_equal(dv1 + from, dv + from, n * sizeof *dv);
        drop(o1), drop(stats1), drop(dq1), drop(dk1), drop(dv1);
    }
    drop(x), drop(y), drop(q), drop(d_o), drop(key), drop(value), drop(o), drop(stats);
    drop(dq), drop(dk), drop(dv), drop(key1), drop(value1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_store_is_refs),
        cmocka_unit_test(test_stored_keys_are_rounded_and_nothing_else),
        cmocka_unit_test(test_attention_is_refs),
        cmocka_unit_test(test_pages_give_the_bits_of_rows),
        cmocka_unit_test(test_packing_does_not_matter),
        cmocka_unit_test(test_what_left_the_window_does_not_matter),
    };

    return cmocka_run_group_tests_name("fp32", tests, open_fp32, backends_close) ||
           cmocka_run_group_tests_name("bf16", tests, open_bf16, backends_close);
}
