/* The reference model: equal weights give the actor's log-probabilities, bit for bit. */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "refmodel/refmodel.h"
#include "tests/support.h"

enum { V = 520, CONTEXT = 128, GROUPS = 4, SAMPLES = 2, ROWS = GROUPS * SAMPLES, MAX_NEW = 30 };

static const int lengths[GROUPS] = {2, 32, 45, 64};

static struct compute *k;
static struct model *model;
static struct memory memory;
static struct batch batch;       /* completions at temperature 1 */

static int fill_batch(void)
{
    struct actor_settings set = {
        .temperature = 1, .loss_temperature = 1, .top_p = 1, .max_new = MAX_NEW, .seed = 2,
        .eos = (int[]){7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .n_eos = 10,
        .max_prompt = 64, .rows_at_once = 3, .max_rows = ROWS,
    };
    struct batch *b = &batch;
    struct actor *actor = NULL;
    int rc = RL_OK;

    b->P = b->groups = GROUPS, b->k = SAMPLES, b->N = ROWS;
    for (int row = 0; row < ROWS; row++) {
        for (int t = 0; t < lengths[row / SAMPLES]; t++)
            b->tokens[b->T++] = (row / SAMPLES * 97 + t * 31) % V;
        b->prompt_len[row] = lengths[row / SAMPLES];
        b->start[row + 1] = b->T;
    }
    TRY(actor_create(&actor, model, &set));
    TRY(actor_fill(actor, b, PURPOSE_TEST, 0));
done:
    actor_destroy(actor);
    return rc;
}

static int setup(void **state)
{
    const struct model_shape shape = {
        .family = "llama", .V = V, .C = 16, .L = 2, .H = 2, .G = 1, .D = 8, .F = 32,
        .context = CONTEXT, .eps = 1e-5f, .theta = 10000, .tied = false, .lm = true,
    };

    (void)state;
    if (compute_open(&k, "auto", "fp32", 1) != RL_OK ||
        model_create(&model, &shape, k) != RL_OK)
        return -1;
    model_randomize(model, 4, 0.4);
    model_changed(model);
    memory_count(&memory);
    batch_layout(&batch, &memory, ROWS, ROWS * CONTEXT, 0);
    if (memory_open(&memory) != RL_OK)
        return -1;
    batch_layout(&batch, &memory, ROWS, ROWS * CONTEXT, 0);
    return fill_batch();
}

static int teardown(void **state)
{
    (void)state;
    memory_close(&memory);
    model_destroy(model);
    compute_close(k);
    return 0;
}

static void fill(int micro_rows, float temperature)
{
    struct refmodel *ref;

    memset(batch.ref_logp, 0x55, (size_t)batch.T * sizeof *batch.ref_logp);
    batch.filled &= ~(unsigned)COL_REF_LOGP;
    assert_ok(refmodel_create(&ref, model, micro_rows, 64 + MAX_NEW, temperature));
    assert_ok(refmodel_fill(ref, &batch));
    assert_int_equal(batch.filled, COL_TOKENS | COL_ACTOR_LOGP | COL_REF_LOGP);
    refmodel_destroy(ref);
}

static void test_equal_weights_give_the_actors_bits_for_any_cut(void **state)
{
    (void)state;
    for (int micro_rows = 1; micro_rows <= ROWS + 1; micro_rows++) {
        fill(micro_rows, 1);
        assert_memory_equal(batch.ref_logp, batch.actor_logp, batch.T * sizeof(float));
    }
    for (int row = 0; row < ROWS; row++)
        for (int t = 0; t < batch.prompt_len[row]; t++)
            assert_true(batch.ref_logp[batch.start[row] + t] == 0);
}

static void test_another_temperature_or_weight_gives_other_numbers(void **state)
{
    int last = batch.T - 1;

    (void)state;
    fill(3, 0.5f);
    assert_true(batch.ref_logp[last] != batch.actor_logp[last] && batch.ref_logp[last] < 0);
    model_randomize(model, 5, 0.4);
    model_changed(model);
    fill(3, 1);
    assert_true(batch.ref_logp[last] != batch.actor_logp[last]);
    model_randomize(model, 4, 0.4);
    model_changed(model);
}

static void test_bad_numbers_and_failed_batches(void **state)
{
    float *weight = model_weights(model), kept = *weight;
    struct refmodel *ref;

    (void)state;
    assert_ok(refmodel_create(&ref, model, 2, 64 + MAX_NEW, 1));
    *weight = NAN;                      /* of token 0, the first of group 0 */
    model_changed(model);
    batch.step = 6;
    batch.filled = COL_TOKENS;
    status_hold(true);
    assert_int_equal(refmodel_fill(ref, &batch), RL_ENAN);
    assert_non_null(strstr(status_message(), "step 7, row 0:"));
    assert_non_null(strstr(status_message(), "token 2 "));
    assert_non_null(strstr(status_message(), "model.embed_tokens.weight, element 0, is nan"));
    status_hold(false);
    assert_int_equal(batch.status, RL_ENAN);
    assert_int_equal(batch.filled, COL_TOKENS);
    batch.ref_logp[0] = 77;             /* the batch has failed: hands off */
    assert_ok(refmodel_fill(ref, &batch));
    assert_true(batch.ref_logp[0] == 77);
    batch.status = RL_OK;
    batch.filled = COL_TOKENS | COL_ACTOR_LOGP;
    *weight = kept;
    model_changed(model);
    refmodel_destroy(ref);
}

static void test_settings_out_of_range_are_refused(void **state)
{
    struct refmodel *ref = (struct refmodel *)&batch;

    (void)state;
    status_hold(true);
    assert_int_equal(refmodel_create(&ref, model, 0, 10, 1), RL_EINVAL);
    assert_non_null(strstr(status_message(), "micro_rows"));
    assert_null(ref);
    assert_int_equal(refmodel_create(&ref, model, 1 << 20, 1 << 20, 1), RL_EINVAL);
    assert_int_equal(refmodel_create(&ref, model, 1, 10, 0), RL_EINVAL);
    assert_non_null(strstr(status_message(), "temperature"));
    status_hold(false);
}

static void test_planned_bytes_are_those_taken(void **state)
{
#ifdef SANITIZED
    (void)state;
    skip();                             /* the sanitizer's allocator keeps no such counts */
#else
    (void)state;
    for (int rows = 4; rows <= 64; rows *= 4) {
        struct refmodel *ref;
        struct mallinfo2 before = mallinfo2(), after;
        assert_ok(refmodel_create(&ref, model, rows, CONTEXT, 1));
        after = mallinfo2();
        size_t planned = refmodel_bytes(model_shape(model), k, rows, CONTEXT);
        size_t taken = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
        if (taken < planned || taken > planned + 16384)
            fail_msg("%d rows: planned %zu, taken %zu", rows, planned, taken);
        refmodel_destroy(ref);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_weights_give_the_actors_bits_for_any_cut),
        cmocka_unit_test(test_another_temperature_or_weight_gives_other_numbers),
        cmocka_unit_test(test_bad_numbers_and_failed_batches),
        cmocka_unit_test(test_settings_out_of_range_are_refused),
        cmocka_unit_test(test_planned_bytes_are_those_taken),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
