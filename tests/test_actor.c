/* The actor: the same completions, bit for bit, however they are scheduled, and log-probabilities
 * that are those of the training pass. */
#include <limits.h>
#include <malloc.h>
#include <math.h>

#include "tests/rollouts.h"

static void test_rows_are_prompt_then_response_and_end_where_they_should(void **state)
{
    struct actor_settings set = settings();
    struct held h;
    int ended[4] = {0};

    (void)state;
    fill_with(&h, &set, 0, GROUPS);
    assert_int_equal(h.b.filled, COL_TOKENS | COL_ACTOR_LOGP);
    assert_int_equal(h.b.T, h.b.start[ROWS]);
    for (int row = 0; row < ROWS; row++) {
        int n = h.b.start[row + 1] - h.b.start[row], prompt = lengths[row / SAMPLES];
        const int *ids = h.b.tokens + h.b.start[row];
        const float *logp = h.b.actor_logp + h.b.start[row];

        assert_int_equal(h.b.prompt_len[row], prompt);
        assert_int_equal(h.b.version[row], 42);
        assert_in_range(n, prompt + 1, prompt + set.max_new);
        for (int t = 0; t < prompt; t++) {
            assert_int_equal(ids[t], (row / SAMPLES * 131 + t * 17) % V);
            assert_true(logp[t] == 0);
        }
        for (int t = prompt; t < n; t++) {
            assert_in_range(ids[t], 0, V - 1);
            assert_true(logp[t] < 0);
            assert_true(t == n - 1 || !ends_row(&set, ids[t]));
        }
        assert_int_equal(h.b.finish[row], ends_row(&set, ids[n - 1]) ? FINISH_EOS : FINISH_LENGTH);
        assert_true(h.b.finish[row] == FINISH_EOS || n == prompt + set.max_new);
        ended[h.b.finish[row]]++;
    }
    assert_true(ended[FINISH_EOS] > 0);
    drop(&h);
    set.n_eos = 0;
    fill_with(&h, &set, 0, GROUPS);
    for (int row = 0; row < ROWS; row++)
        assert_int_equal(h.b.start[row + 1] - h.b.start[row], lengths[row / SAMPLES] + set.max_new);
    drop(&h);
}

static void test_actor_logp_is_that_of_the_training_pass_to_the_bit(void **state)
{
    static const float temperatures[] = {1.0f, 0.7f};
    static float logp[ROOM];
    struct trainer *trainer;

    (void)state;
    assert_ok(trainer_create(&trainer, model, ROWS, ROOM, false));
    for (int i = 0; i < 2; i++) {
        struct actor_settings set = settings();
        struct held h;

        set.loss_temperature = temperatures[i];
        set.temperature = 1.1f;
        set.top_k = 300;                /* filters change the draw, not its log-probability */
        set.top_p = 0.95f;
        fill_with(&h, &set, 0, GROUPS);
        assert_ok(model_logprobs(trainer, h.b.tokens, h.b.start, ROWS, temperatures[i], false, logp,
                                 NULL));
        for (int row = 0; row < ROWS; row++) {
            int from = h.b.start[row] + h.b.prompt_len[row];
            assert_memory_equal(logp + from, h.b.actor_logp + from,
                                (h.b.start[row + 1] - from) * sizeof(float));
        }
        drop(&h);
    }
    trainer_destroy(trainer);
}

static void test_rows_at_once_do_not_change_a_bit(void **state)
{
    static const int rows[] = { 2, 5, 8, 16, 64, 1024 };    /* at last whole prompts in a pass */
    struct actor_settings set = settings();
    struct held one, more;

    (void)state;
    set.rows_at_once = 1;
    fill_with(&one, &set, 0, GROUPS);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set.rows_at_once = rows[i];
        set.max_rows = rows[i] > ROWS ? rows[i] : ROWS;
        fill_with(&more, &set, 0, GROUPS);
        assert_same_rows(&more.b, &one.b, 0);
        drop(&more);
    }
    drop(&one);
}

static void test_shares_of_a_step_are_parts_of_the_whole(void **state)
{
    struct actor_settings set = settings();
    struct held whole, part;

    (void)state;
    fill_with(&whole, &set, 0, GROUPS);
    for (int cut = 2; cut < GROUPS; cut += 3) {
        fill_with(&part, &set, 0, cut);
        assert_same_rows(&part.b, &whole.b, 0);
        drop(&part);
        fill_with(&part, &set, cut, GROUPS - cut);
        assert_same_rows(&part.b, &whole.b, cut * SAMPLES);
        drop(&part);
    }
    drop(&whole);
}

/* Chosen groups, by the numbers they have in the step, are what they are in the whole. */
static void test_chosen_groups_are_those_of_the_whole(void **state)
{
    const int number[] = { 1, 4 };
    struct actor_settings set = settings();
    struct held whole, prompts, chosen;
    struct actor *actor;

    (void)state;
    fill_with(&whole, &set, 0, GROUPS);
    prompts_make(&prompts, 0, GROUPS, SAMPLES);
    prompts_make(&chosen, 0, 0, SAMPLES);
    for (int i = 0; i < 2; i++)
        batch_append(&chosen.b, &prompts.b, number[i] * SAMPLES, SAMPLES, COL_TOKENS);
    chosen.b.groups = 2;
    assert_ok(actor_create(&actor, model, &set));
    assert_ok(actor_fill_groups(actor, &chosen.b, PURPOSE_SAMPLE, 42, number));
    for (int i = 0; i < 2; i++) {
        struct batch view = batch_view(&chosen.b, i, 1);
        assert_int_equal(view.N, SAMPLES);
        assert_int_equal(view.T, view.start[SAMPLES] - view.start[0]);
        assert_int_equal(view.prompt[0], number[i]);
        assert_same_rows(&view, &whole.b, number[i] * SAMPLES);
    }
    actor_destroy(actor);
    drop(&whole);
    drop(&prompts);
    drop(&chosen);
}

static void test_seed_step_purpose_and_sample_give_other_tokens(void **state)
{
    struct actor_settings set = settings();
    struct held first, other[3];
    struct actor *actor;

    (void)state;
    set.n_eos = 0;
    fill_with(&first, &set, 0, GROUPS);
    set.seed++;
    fill_with(&other[0], &set, 0, GROUPS);
    set.seed--;
    assert_ok(actor_create(&actor, model, &set));
    prompts_make(&other[1], 0, GROUPS, SAMPLES);
    other[1].b.step++;
    assert_ok(actor_fill(actor, &other[1].b, PURPOSE_SAMPLE, 1));
    prompts_make(&other[2], 0, GROUPS, SAMPLES);
    assert_ok(actor_fill(actor, &other[2].b, PURPOSE_EVAL, 1));
    for (int row = 0; row < ROWS; row++) {
        const int *ids = first.b.tokens + first.b.start[row] + first.b.prompt_len[row];
        size_t bytes = (size_t)set.max_new * sizeof(int);
        for (int i = 0; i < 3; i++)
            assert_memory_not_equal(ids, other[i].b.tokens + (ids - first.b.tokens), bytes);
        if (row % SAMPLES > 0)
            assert_memory_not_equal(ids, ids - lengths[row / SAMPLES] - set.max_new, bytes);
    }
    actor_destroy(actor);
    drop(&first);
    for (int i = 0; i < 3; i++)
        drop(&other[i]);
}

/* Long prompts take turns with short ones while rows are decoded; a place never waits for a prompt
 * that could have been computed. */
static void test_prompts_are_computed_while_rows_are_decoded(void **state)
{
    struct actor_settings set = settings();
    struct actor *actor;
    struct held h, one;
    int64_t tokens;
    double rows;

    (void)state;
    set.n_eos = 0;
    set.rows_at_once = 1;
    fill_with(&one, &set, 0, GROUPS);
    set.rows_at_once = SAMPLES;
    assert_ok(actor_create(&actor, model, &set));
    prompts_make(&h, 0, GROUPS, SAMPLES);
    assert_ok(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 42));
    assert_same_rows(&h.b, &one.b, 0);
    actor_stats(actor, &tokens, &rows);
    assert_true(rows == SAMPLES);       /* of equal length: each group follows the one before */
    actor_destroy(actor);
    drop(&h);
    drop(&one);
}

static void test_a_failed_batch_passes_untouched(void **state)
{
    struct actor_settings set = settings();
    struct actor *actor;
    struct held h, before;

    (void)state;
    assert_ok(actor_create(&actor, model, &set));
    prompts_make(&h, 0, 2, SAMPLES);
    prompts_make(&before, 0, 2, SAMPLES);
    h.b.status = RL_EIO;
    assert_ok(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1));
    assert_int_equal(h.b.status, RL_EIO);
    assert_int_equal(h.b.filled, COL_TOKENS);
    assert_int_equal(h.b.T, before.b.T);
    assert_memory_equal(h.b.tokens, before.b.tokens, h.b.T * sizeof(int));
    actor_destroy(actor);
    drop(&h);
    drop(&before);
}

/* An id that is in the last prompt only, and that no row is fed after drawing it. */
static int id_of_last_prompt(const struct batch *b, const struct actor_settings *set)
{
    for (int t = b->start[ROWS - 1]; t < b->T; t++) {
        int other = 0;
        while (other < b->start[ROWS - SAMPLES] && b->tokens[other] != b->tokens[t])
            other++;
        if (other == b->start[ROWS - SAMPLES] && ends_row(set, b->tokens[t]))
            return b->tokens[t];
    }
    fail_msg("no such id");
    return -1;
}

static void test_bad_numbers_are_named_and_the_actor_goes_on(void **state)
{
    struct actor_settings set = settings();
    struct actor *actor;
    struct held h, good;
    char where[32];

    (void)state;
    snprintf(where, sizeof where, "step 6, row %d:", ROWS - SAMPLES);
    set.rows_at_once = ROWS;            /* the other rows have their places when the last fails */
    fill_with(&good, &set, 0, GROUPS);
    assert_ok(actor_create(&actor, model, &set));
    for (int i = 0; i < 12; i++) {      /* a fill that fails gives its pages back */
        prompts_make(&h, 0, GROUPS, SAMPLES);
        float *weight = model_weights(model) + C * id_of_last_prompt(&h.b, &set), kept = *weight;
        *weight = i % 2 ? NAN : INFINITY;
        model_changed(model);
        status_hold(true);
        assert_int_equal(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1), RL_ENAN);
        assert_non_null(strstr(status_message(), where));
        assert_non_null(strstr(status_message(), "token 200 "));
        assert_non_null(strstr(status_message(), "model.embed_tokens.weight, element "));
        status_hold(false);
        assert_int_equal(h.b.status, RL_ENAN);
        assert_int_equal(h.b.filled, COL_TOKENS);
        drop(&h);
        *weight = kept;
        model_changed(model);
    }
    prompts_make(&h, 0, GROUPS, SAMPLES);
    assert_ok(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1));
    assert_same_rows(&h.b, &good.b, 0);
    actor_destroy(actor);
    drop(&h);
    drop(&good);
}

static void test_places_are_kept_busy(void **state)
{
    struct actor_settings set = settings();
    struct actor *actor;
    struct held h;
    int64_t tokens;
    double rows;

    (void)state;
    set.rows_at_once = 4;
    assert_ok(actor_create(&actor, model, &set));
    prompts_make(&h, 0, GROUPS, SAMPLES);
    int prompts = h.b.T;
    assert_ok(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1));
    actor_stats(actor, &tokens, &rows);
    assert_int_equal(tokens, h.b.T - prompts);
    assert_true(rows > 3 && rows <= 4);
    actor_destroy(actor);
    drop(&h);
}

static void test_settings_out_of_range_are_named(void **state)
{
    struct actor_settings bad[6];
    static const char *named[6] = {
        "temperature", "loss temperature", "top_k", "top_p", "min_p", "rows",
    };

    (void)state;
    for (int i = 0; i < 6; i++)
        bad[i] = settings();
    bad[0].temperature = NAN;
    bad[1].loss_temperature = 0;
    bad[2].top_k = -1;
    bad[3].top_p = 0;
    bad[4].min_p = 1.5f;
    bad[5].rows_at_once = 0;
    for (int i = 0; i < 6; i++) {
        struct actor *actor = (struct actor *)&bad;
        status_hold(true);
        assert_int_equal(actor_create(&actor, model, &bad[i]), RL_EINVAL);
        assert_non_null(strstr(status_message(), named[i]));
        status_hold(false);
        assert_null(actor);
    }
}

static void test_prompts_that_do_not_fit_are_named(void **state)
{
    struct actor_settings set = settings();
    struct actor *actor;
    struct held h;

    (void)state;
    set.max_prompt = 64;
    assert_ok(actor_create(&actor, model, &set));
    prompts_make(&h, 3, 2, SAMPLES);
    status_hold(true);
    assert_int_equal(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1), RL_EINVAL);
    assert_non_null(strstr(status_message(), "prompt 5 has 65 tokens"));
    drop(&h);
    prompts_make(&h, 3, 1, SAMPLES);
    h.b.max_tokens = (33 + set.max_new) * SAMPLES - 1;          /* of the batch: one too few */
    assert_int_equal(actor_fill(actor, &h.b, PURPOSE_SAMPLE, 1), RL_EBUG);
    status_hold(false);
    actor_destroy(actor);
    drop(&h);
}

static void test_planned_bytes_are_those_taken(void **state)
{
#ifdef SANITIZED
    (void)state;
    skip();                             /* the sanitizer's allocator keeps no such counts */
#else
    struct actor_settings set = settings();
    struct actor *actor;
    struct mallinfo2 before, after;

    (void)state;
    for (int rows = 4; rows <= 256; rows *= 4) {
        set.rows_at_once = rows;
        set.max_rows = 256;
        before = mallinfo2();
        assert_ok(actor_create(&actor, model, &set));
        after = mallinfo2();
        size_t planned = actor_bytes(model_shape(model), k, &set);
        size_t taken = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
        if (taken < planned || taken > planned + 16384)
            fail_msg("%d rows: planned %zu, taken %zu", rows, planned, taken);
        actor_destroy(actor);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_prompt_then_response_and_end_where_they_should),
        cmocka_unit_test(test_actor_logp_is_that_of_the_training_pass_to_the_bit),
        cmocka_unit_test(test_rows_at_once_do_not_change_a_bit),
        cmocka_unit_test(test_shares_of_a_step_are_parts_of_the_whole),
        cmocka_unit_test(test_chosen_groups_are_those_of_the_whole),
        cmocka_unit_test(test_seed_step_purpose_and_sample_give_other_tokens),
        cmocka_unit_test(test_prompts_are_computed_while_rows_are_decoded),
        cmocka_unit_test(test_a_failed_batch_passes_untouched),
        cmocka_unit_test(test_bad_numbers_are_named_and_the_actor_goes_on),
        cmocka_unit_test(test_places_are_kept_busy),
        cmocka_unit_test(test_settings_out_of_range_are_named),
        cmocka_unit_test(test_prompts_that_do_not_fit_are_named),
        cmocka_unit_test(test_planned_bytes_are_those_taken),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
