/* The backward pass cut open: its blocks are the whole pass, and rows take any factor. */
#include <math.h>

#include "tests/tiny_model.h"

static const int mixed[] = { 5, 40, 1, 33, 2, 17, 0 };

/* Of tiny_shapes, with a score head or without the vocabulary's. */
static const struct { int shape, scores; bool lm; } heads[] = {
    { 0, 0, true }, { 1, 0, true }, { 2, 1, true }, { 1, 2, true }, { 1, 3, false },
};
#define HEADS ((int)(sizeof heads / sizeof *heads))
#define SCORES 3

struct opened {
    struct model_shape shape;
    struct tiny t;
    struct rows r;
    struct trainer *trainer;
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], score[TINY_TOKENS * SCORES];
    float dscore[TINY_TOKENS * SCORES];
};

static struct model_outputs outputs(const struct opened *o, float *logp, float *entropy,
                                    float *score)
{
    return (struct model_outputs){ .logp = o->shape.lm ? logp : NULL,
                                   .entropy = o->shape.lm ? entropy : NULL,
                                   .score = o->shape.scores > 0 ? score : NULL };
}

static struct model_outputs slopes(struct opened *o)
{
    return outputs(o, o->r.dlogp, o->r.dentropy, o->dscore);
}

static void run(struct opened *o)
{
    struct model_outputs out = outputs(o, o->logp, o->entropy, o->score);

    assert_ok(model_run(o->trainer, o->r.tokens, o->r.start, o->r.N, 0.8f, true, &out));
}

/* o must stay where it is: o->t points into it. */
static void open_head(struct opened *o, int h, const char *compute, bool recompute)
{
    o->shape = tiny_shapes[heads[h].shape];
    o->shape.scores = heads[h].scores;
    o->shape.lm = heads[h].lm;
    o->t = tiny_open_shape(&o->shape, compute);
    o->r = tiny_rows(&o->shape, mixed);
    for (int i = 0; i < o->r.T * o->shape.scores; i++)
        o->dscore[i] = i % 3 == 1 ? 0 : tiny_normal((uint32_t)i + 3000);
    assert_ok(trainer_create_blocks(&o->trainer, o->t.model, o->r.N, o->r.T, recompute));
    run(o);
}

static void close_head(struct opened *o)
{
    trainer_destroy(o->trainer);
    tiny_close(&o->t);
}

/* The whole pass with each row's gradients times its factor. */
static void whole(struct opened *o, const float *scale, float *grads)
{
    struct rows r = o->r;
    float dscore[TINY_TOKENS * SCORES];
    struct model_outputs d = outputs(o, r.dlogp, r.dentropy, dscore);
    int S = o->shape.scores;

    memset(grads, 0, o->t.size * sizeof *grads);
    for (int n = 0; n < r.N; n++)
        for (int t = r.start[n]; t < r.start[n + 1]; t++) {
            r.dlogp[t] *= scale[n];
            r.dentropy[t] *= scale[n];
            for (int i = 0; i < S; i++)
                dscore[t * S + i] = o->dscore[t * S + i] * scale[n];
        }
    assert_ok(model_run_backward(o->trainer, &d, grads));
    assert_ok(model_backward_finish(o->trainer, grads));
}

/* A part, `rows` at a time, in a buffer of its size. */
static void one_part(struct opened *o, int b, int part, const float *scale, int rows, float *grads)
{
    size_t offset, count;
    float *own;

    model_part_range(model_shape(o->t.model), b, part, &offset, &count);
    own = calloc(count, sizeof *own);
    assert_non_null(own);
    for (int n = 0; n < o->r.N; n += rows)
        assert_ok(model_backward_part(o->trainer, b, part, n, n + rows < o->r.N ? n + rows : o->r.N,
                                      scale, own));
    memcpy(grads + offset, own, count * sizeof *own);
    free(own);
}

/* The same by parts of blocks; scale may be NULL. */
static void by_blocks(struct opened *o, const float *scale, int rows, float *grads)
{
    struct model_outputs d = slopes(o);

    memset(grads, 0, o->t.size * sizeof *grads);
    assert_ok(model_backward_begin(o->trainer, &d));
    for (int b = 0; b < model_blocks(model_shape(o->t.model)); b++) {
        for (int part = 0; part < model_parts(model_shape(o->t.model), b); part++)
            one_part(o, b, part, scale, rows, grads);
        assert_ok(model_backward_next(o->trainer));
    }
}

/* To 1e-6 of the largest. */
static void assert_near(const float *a, const float *b, size_t n)
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-6f * most))
            fail_msg("at %zu: %.9g, %.9g", i, (double)a[i], (double)b[i]);
}

static void each(void (*test)(struct opened *o, float *a, float *b))
{
    for (int h = 0; h < HEADS; h++)
        for (int c = 0; c < 4; c++) {
            struct opened o = { 0 };
            float *a, *b;

            open_head(&o, h, tiny_computes[c % 2], c / 2);
            a = malloc(o.t.size * sizeof *a);
            b = malloc(o.t.size * sizeof *b);
            test(&o, a, b);
            close_head(&o);
            free(a);
            free(b);
        }
}

static void blocks_are_the_whole(struct opened *o, float *a, float *b)
{
    static const float ones[TINY_ROWS] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    size_t embedding = (size_t)o->shape.V * o->shape.C;

    whole(o, ones, a);
    by_blocks(o, NULL, o->r.N, b);
    assert_bits(a, b, o->t.size);
    by_blocks(o, ones, o->r.N, b);
    assert_bits(a, b, o->t.size);
    by_blocks(o, ones, 2, b);                   /* a tied head is added call by call */
    if (o->shape.tied)
        assert_near(a, b, embedding);
    else
        assert_bits(a, b, embedding);
    assert_bits(a + embedding, b + embedding, o->t.size - embedding);
}

static void test_blocks_are_the_whole_pass(void **state)
{
    (void)state;
    each(blocks_are_the_whole);
}

static void rows_take_factors(struct opened *o, float *a, float *b)
{
    static const float scale[] = { 0.7f, -1.3f, 0, 2, 0, 0.4f };

    whole(o, scale, a);
    by_blocks(o, scale, o->r.N, b);
    assert_near(a, b, o->t.size);
}

static void test_rows_take_factors(void **state)
{
    (void)state;
    each(rows_take_factors);
}

/* Powers of two round nothing, so leaving rows out must give the bits of a pass without them. */
static void rows_of_factor_0_are_left_out(struct opened *o, float *a, float *b)
{
    static const float scale[] = { 2, 0, 0, 0.5f, 1, 0 };

    whole(o, scale, a);
    by_blocks(o, scale, o->r.N, b);
    assert_bits(a, b, o->t.size);
}

static void test_rows_of_factor_0_are_left_out(void **state)
{
    (void)state;
    each(rows_of_factor_0_are_left_out);
}

/* From the first float to the last, and none is larger than a layer or VOCAB_BLOCK ids. */
static void check_parts(const struct model_shape *s)
{
    size_t at = 0, offset, count, layer, most;
    int first, end;

    assert_int_equal(model_blocks(s), s->L + 2);
    model_part_range(s, 1, 0, &offset, &layer);
    most = layer > (size_t)(VOCAB_BLOCK * s->C) ? layer : (size_t)(VOCAB_BLOCK * s->C);
    most += 32;                 /* up to the next array */
    for (int b = model_blocks(s) - 1; b >= 0; b--)
        for (int part = 0; part < model_parts(s, b); part++) {
            model_part_range(s, b, part, &offset, &count);
            assert_int_equal(offset, at);
            assert_true(count > 0 && count <= most);
            if (model_part_ids(s, b, part, &first, &end))
                assert_true(end <= s->V && (size_t)(end - first) * (size_t)s->C <= count);
            at += count;
        }
    assert_int_equal(at, model_size(s));
}

static void test_parts_are_the_flat_buffer(void **state)
{
    struct model_shape wide = tiny_shapes[1];

    (void)state;
    for (int h = 0; h < HEADS; h++) {
        struct model_shape s = tiny_shapes[heads[h].shape];

        s.scores = heads[h].scores;
        s.lm = heads[h].lm;
        check_parts(&s);
    }
    wide.C = 300;               /* some blocks of ids are a layer's floats */
    check_parts(&wide);
    wide.V = 512;
    check_parts(&wide);
}

static void expect(int got, const char *words)
{
    assert_int_equal(got, RL_EBUG);
    if (!strstr(status_message(), words))
        fail_msg("'%s' does not say '%s'", status_message(), words);
}

static void test_blocks_out_of_order_are_refused(void **state)
{
    struct opened o = { 0 };
    struct model_outputs d;
    struct trainer *plain;
    float *grads;

    (void)state;
    open_head(&o, 0, "ref", false);
    grads = calloc(o.t.size, sizeof *grads);
    d = slopes(&o);
    status_hold(true);
    expect(model_backward_part(o.trainer, 0, 0, 0, 1, NULL, grads), "not under way");
    expect(model_backward_next(o.trainer), "not under way");
    assert_ok(model_backward_begin(o.trainer, &d));
    expect(model_backward_part(o.trainer, 1, 0, 0, 1, NULL, grads), "block 1 ");
    expect(model_backward_part(o.trainer, 0, 0, 0, o.r.N + 1, NULL, grads), "rows 0 to");
    expect(model_backward_part(o.trainer, 0, 1, 0, 1, NULL, grads), "part 1 of a block of 1");
    for (int b = 0; b < model_blocks(model_shape(o.t.model)); b++)
        assert_ok(model_backward_next(o.trainer));
    expect(model_backward_next(o.trainer), "not under way");
    assert_ok(model_backward_begin(o.trainer, &d));
    run(&o);                                                    /* a new forward pass ends it */
    expect(model_backward_next(o.trainer), "not under way");
    assert_ok(model_backward_begin(o.trainer, &d));
    model_changed(o.t.model);
    expect(model_backward_part(o.trainer, 0, 0, 0, 1, NULL, grads), "not under way");
    expect(model_backward_begin(o.trainer, &d), "weights changed");
    assert_ok(trainer_create(&plain, o.t.model, o.r.N, o.r.T, false));
    expect(model_backward_begin(plain, &d), "trainer_create_blocks");
    status_hold(false);
    assert_true(trainer_bytes_blocks(&o.shape, o.t.compute, 4, 100, true) >
                trainer_bytes(&o.shape, o.t.compute, 4, 100, true));
    trainer_destroy(plain);
    close_head(&o);
    free(grads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_the_whole_pass),
        cmocka_unit_test(test_rows_take_factors),
        cmocka_unit_test(test_rows_of_factor_0_are_left_out),
        cmocka_unit_test(test_parts_are_the_flat_buffer),
        cmocka_unit_test(test_blocks_out_of_order_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
