/* Modules that take turns in one workspace: what they find there is not theirs, what they make is
 * the same bits, and what is no longer there is missed. */
#include "base/workspace.h"
#include "tests/tiny_model.h"

#define KIB ((size_t)1024)

static void count(struct workspace_part *p, size_t bytes)
{
    memory_count(&p->memory);
    memory_take(&p->memory, bytes);
}

static void test_the_largest_user_says_how_much(void **state)
{
    struct workspace w = { 0 };

    (void)state;
    assert_int_equal(workspace_count(&w, 3 * KIB), 0);
    assert_int_equal(workspace_count(&w, 5 * KIB), 0);
    assert_int_equal(w.memory.peak, 5 * KIB);
    workspace_together(&w, true);
    workspace_count(&w, 4 * KIB);
    workspace_count(&w, 2 * KIB + 1);
    workspace_together(&w, false);
    workspace_count(&w, KIB);
    assert_int_equal(w.memory.peak, 6 * KIB + 64);
    assert_int_equal(workspace_count(NULL, 7), 7);
}

static void test_users_share_bytes_and_those_together_do_not(void **state)
{
    struct workspace_part a = { 0 }, b = { 0 }, c = { 0 };
    struct workspace w;

    (void)state;
    assert_ok(workspace_open(&w, 6 * KIB));
    count(&a, 5 * KIB), count(&b, 4 * KIB), count(&c, 2 * KIB);
    assert_ok(workspace_part_open(&a, &w));
    workspace_together(&w, true);
    assert_ok(workspace_part_open(&b, &w));
    assert_ok(workspace_part_open(&c, &w));
    workspace_together(&w, false);
    assert_ptr_equal(a.memory.base, w.memory.base);
    assert_ptr_equal(b.memory.base, w.memory.base);
    assert_ptr_equal(c.memory.base, w.memory.base + 4 * KIB);
    assert_int_equal(a.memory.size, 5 * KIB);

    workspace_part_begin(&a);
    assert_true(workspace_part_holds(&a) && !workspace_part_holds(&b));
    workspace_part_begin(&c);
    assert_true(workspace_part_holds(&b) && workspace_part_holds(&c) && !workspace_part_holds(&a));
    workspace_part_close(&a), workspace_part_close(&b), workspace_part_close(&c);
    workspace_close(&w);
}

static void test_more_than_was_counted_is_refused(void **state)
{
    struct workspace_part a = { 0 };
    struct workspace w;

    (void)state;
    assert_ok(workspace_open(&w, KIB));
    count(&a, KIB + 1);
    assert_int_equal(workspace_part_open(&a, &w), RL_EBUG);
    assert_has(status_message(), "planned memory");
    status_drop();
    workspace_part_close(&a);
    workspace_close(&w);
}

static void test_without_a_workspace_memory_is_ones_own(void **state)
{
    struct workspace_part a = { 0 }, b = { 0 };

    (void)state;
    workspace_together(NULL, true);
    count(&a, KIB), count(&b, KIB);
    assert_ok(workspace_part_open(&a, NULL));
    assert_ok(workspace_part_open(&b, NULL));
    workspace_together(NULL, false);
    workspace_part_begin(&a);
    assert_true(workspace_part_holds(&a) && workspace_part_holds(&b));
    assert_true(a.memory.base != b.memory.base);
    workspace_part_close(&a), workspace_part_close(&b);
}

/* ---- a cache and trainers in turn */

#define T 45                         /* tokens: a whole page and a part */
#define PAGES 2

struct turns {
    struct tiny *t;
    struct rows r;
    struct cache *cache;
    struct trainer *trainer, *scorer;
    int table[PAGES];
    struct memory memory;            /* which a GPU reaches: */
    float *logits, *logp, *entropy, *other, *grads;
};

static void layout(struct turns *o)
{
    o->logits = memory_take(&o->memory, (size_t)o->t->shape->V * sizeof *o->logits);
    o->logp = memory_take(&o->memory, T * sizeof *o->logp);
    o->entropy = memory_take(&o->memory, T * sizeof *o->entropy);
    o->other = memory_take(&o->memory, T * sizeof *o->other);
    o->grads = memory_take(&o->memory, o->t->size * sizeof *o->grads);
}

static void turns_open(struct turns *o, struct tiny *t, bool again)
{
    static const int lengths[] = { T, 0 };

    *o = (struct turns){ .t = t, .r = tiny_rows(t->shape, lengths) };
    memory_count(&o->memory);
    layout(o);
    assert_ok(memory_open(&o->memory));
    layout(o);
    assert_ok(cache_create(&o->cache, t->model, PAGES, 1, T));
    assert_ok(trainer_create(&o->trainer, t->model, 1, T, again));
    assert_ok(trainer_create_scoring(&o->scorer, t->model, 1, T));
}

static size_t turns_bytes(struct tiny *t, bool again)
{
    return cache_bytes(t->shape, t->compute, PAGES, 1, T) +
           trainer_bytes(t->shape, t->compute, 1, T, again) +
           trainer_bytes_scoring(t->shape, t->compute, 1, T);
}

static void turns_close(struct turns *o)
{
    compute_wait(o->t->compute);
    cache_destroy(o->cache);
    trainer_destroy(o->trainer);
    trainer_destroy(o->scorer);
    memory_close(&o->memory);
}

static void take_pages(struct turns *o)
{
    for (int i = 0; i < PAGES; i++)
        o->table[i] = cache_page(o->cache);
}

static void give_pages(struct turns *o)
{
    for (int i = 0; i < PAGES; i++)
        cache_release(o->cache, o->table[i]);
}

/* Tokens [from, to) into the cache. */
static int extend(struct turns *o, int from, int to)
{
    int start[] = { 0, to - from };
    struct extend rows = { 1, start, &from, o->table, PAGES };

    return model_extend(o->cache, o->r.tokens + from, &rows, o->logits);
}

static int forward(struct turns *o)
{
    return model_logprobs(o->trainer, o->r.tokens, o->r.start, 1, 0.9f, true, o->logp, o->entropy);
}

static int backward(struct turns *o)
{
    int rc = RL_OK;

    TRY(model_backward(o->trainer, o->r.dlogp, o->r.dentropy, o->grads));
    TRY(model_backward_finish(o->trainer, o->grads));
done:
    return rc;
}

/* What another may leave: no number at all, in every type. */
static void spoil(const struct turns *o)
{
    struct workspace *w = o->t->compute->workspace;

    compute_wait(o->t->compute);
    if (w)
        memset(w->memory.base, 0xff, w->memory.size);
}

static void decode(struct turns *o)
{
    spoil(o);
    take_pages(o);
    assert_ok(extend(o, 0, T - 9));
    assert_ok(extend(o, T - 9, T));
    give_pages(o);
}

static void learn(struct turns *o)
{
    spoil(o);
    memset(o->grads, 0, o->t->size * sizeof *o->grads);
    assert_ok(forward(o));
    assert_ok(backward(o));
}

static void score(struct turns *o)
{
    spoil(o);
    assert_ok(model_logprobs(o->scorer, o->r.tokens, o->r.start, 1, 0.9f, false, o->other, NULL));
}

static void same_as(const struct turns *shared, const struct turns *alone)
{
    assert_bits(shared->logits, alone->logits, alone->t->shape->V);
    assert_bits(shared->logp, alone->logp, T);
    assert_bits(shared->entropy, alone->entropy, T);
    assert_bits(shared->other, alone->other, T);
    assert_bits(shared->grads, alone->grads, alone->t->size);
}

/* Passes of the one begin while the other holds its numbers. */
static void disturb(struct turns *o)
{
    take_pages(o);
    assert_ok(extend(o, 0, 9));
    assert_ok(forward(o));
    assert_int_equal(extend(o, 9, T), RL_EBUG);
    assert_has(status_message(), "pages went to others");
    status_drop();
    give_pages(o);

    assert_ok(forward(o));
    take_pages(o);
    assert_int_equal(backward(o), RL_EBUG);
    assert_has(status_message(), "went to others");
    status_drop();
    give_pages(o);
}

static void take_turns(struct tiny *t, bool again)
{
    struct workspace counted = { 0 }, w;
    struct turns alone, shared;
    size_t own, whole = turns_bytes(t, again);

    turns_open(&alone, t, again);
    decode(&alone), learn(&alone), score(&alone);

    t->compute->workspace = &counted;
    own = turns_bytes(t, again);
    assert_true(own + counted.memory.peak < whole);
    assert_ok(workspace_open(&w, counted.memory.peak));
    t->compute->workspace = &w;
    turns_open(&shared, t, again);
    for (int round = 0; round < 3; round++) {
        decode(&shared), score(&shared), learn(&shared);
        same_as(&shared, &alone);
    }
    disturb(&shared);
    decode(&shared), learn(&shared);
    same_as(&shared, &alone);
    turns_close(&shared);
    t->compute->workspace = NULL;
    workspace_close(&w);
    turns_close(&alone);
}

static void test_turns_change_no_bit(void **state)
{
    static const char *const names[] = { "ref", "cpu", "cuda-chain", "cuda" };

    (void)state;
    support_gpu();
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        for (int i = 0; i < 2 * TINY_SHAPES; i++) {
            bool gpu = strncmp(names[n], "cuda", 4) == 0;
            struct tiny t;

            if (gpu ? i >= 2 : support_gpu_only())
                continue;            /* the emulated one is slow */
#ifdef SANITIZED
            if (gpu && !support_gpu_is_real())
                continue;            /* its threads are fibers, which the sanitizer cannot follow */
#endif
            t = tiny_open_dtype(&tiny_shapes[i / 2], names[n], tiny_dtypes[i % 2]);
            take_turns(&t, i % 3 == 0);
            tiny_close(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_user_says_how_much),
        cmocka_unit_test(test_users_share_bytes_and_those_together_do_not),
        cmocka_unit_test(test_more_than_was_counted_is_refused),
        cmocka_unit_test(test_without_a_workspace_memory_is_ones_own),
        cmocka_unit_test(test_turns_change_no_bit),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
