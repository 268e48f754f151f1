/* RACO whose objectives come from elsewhere than raco.weights and scores: an orchestrator's weights
 * by prompt, signs in a file, several files. */
#include <math.h>

#include "tests/raco_alone.h"

/* ---- weights by prompt */

/* The step of an orchestrator's weights is that of their mean as raco.weights, where one weight
 * or the other orders no pair differently. */
static void test_the_anchor_is_the_mean_over_the_prompts(void **state)
{
    static const char *const modes[] = { "store", "two_pass", "sketch" };
    double mean[2] = { (0.75 + 5 * 0.25) / 6, (0.25 + 5 * 0.75) / 6 };

    (void)state;
    for (int i = 0; i < 4; i++) {           /* the last: coefficients that are known before */
        struct config c = objectives("raco", i < 3 ? modes[i] : "store", 2);
        struct run mixed, fixed;

        c.raco.c = i < 3 ? 0.4 : 0;
        c.raco.weights = (struct reals){ mean, 2 };
        open_alone(&fixed, c);
        c.raco.weights = (struct reals){ 0 };
        c.orchestrator.model = "orchestrator";
        open_alone(&mixed, c);
        for (int n = 0; n < mixed.b->N; n++) {
            double *y = mixed.b->reward + 2 * n, *w = mixed.b->mix + 2 * n;
            w[0] = n / mixed.b->k == 1 ? 0.75 : 0.25;
            w[1] = 1 - w[0];
            y[0] = n % mixed.b->k;
            y[1] = n / mixed.b->k % 2 ? 0.1 * n : -0.01 * n;
            memcpy(fixed.b->reward + 2 * n, y, 2 * sizeof *y);
        }
        mixed.b->filled |= COL_MIX;
        update(&mixed);
        update(&fixed);
        assert_memory_equal(raco_of(&mixed)->w, mean, sizeof mean);
        assert_memory_equal(raco_of(&mixed)->a, raco_of(&fixed)->a, sizeof raco_of(&fixed)->a);
        assert_memory_equal(model_weights(mixed.tiny.model), model_weights(fixed.tiny.model),
                            mixed.tiny.size * sizeof(float));
        close_run(&mixed);
        close_run(&fixed);
    }
}

/* ---- records of files */

static int open_records(struct run *r, struct records *records, double *weights, int n)
{
    const char *const *names;
    int P = (int)records_count(records);
    struct trainer *trainer;

    memset(r, 0, sizeof *r);
    r->tiny = tiny_open(0, "cpu");
    r->config = objectives("raco", "store", 2);
    r->config.source = "pairs";
    r->config.n_rewards = 0;
    r->config.raco.weights = (struct reals){ weights, n };
    r->team = alone;
    r->b = tiny_batch_open(&r->batch, r->tiny.model, P, 2, records_columns(records), 0, P);
    assert_ok(records_next(records, false, 1, 0, r->b));
    assert_ok(trainer_create(&trainer, r->tiny.model, r->b->N, r->b->T, false));
    assert_ok(model_logprobs(trainer, r->b->tokens, r->b->start, r->b->N, 1, false,
                             r->b->ref_logp, NULL));
    trainer_destroy(trainer);
    r->b->filled |= COL_REF_LOGP;
    assert_ok(metrics_create(&r->m));
    return learner_create(&r->learner, &(struct learner_parts){
        .config = &r->config, .policy = r->tiny.model, .team = alone, .records = records, .P = P,
        .k = 2, .max_row_tokens = TINY_ROW, .objectives = records_objectives(records, &names) });
}

static struct records *read_records(const char *const *texts, int n)
{
    static const int eos[] = { 2 };
    struct records_settings set = { .view = VIEW_PAIRS, .vocabulary = 70,
                                    .max_tokens = TINY_ROW, .eos = eos, .n_eos = 1, .join = "" };
    char *paths[2];
    struct records *records;
    const char *folder = support_folder();

    for (int i = 0; i < n; i++)
        paths[i] = (char *)support_write(folder, i ? "harmless.jsonl" : "helpful.jsonl", texts[i]);
    assert_ok(records_open(&records, &(struct strings){ paths, n }, &set));
    return records;
}

#define PAIR(chosen, rejected, more) \
    "{\"prompt_ids\":[3,4],\"chosen_ids\":[" chosen "],\"rejected_ids\":[" rejected "]" more "}\n"

/* Pairs on which the objectives agree, disagree, and on which one has no opinion. */
static void test_signs_of_a_file(void **state)
{
    static const char *const text =
        PAIR("5,6,7", "8,9", ",\"signs\":{\"helpful\":1,\"brief\":1}")
        PAIR("10,11", "12,13,14", ",\"signs\":{\"helpful\":1,\"brief\":-1}")
        PAIR("15,16", "17", ",\"signs\":{\"helpful\":0,\"brief\":-1}")
        PAIR("18,19", "18,19,20", ",\"signs\":{\"helpful\":-1,\"brief\":-1}");
    double weights[] = { 0.6, 0.4 };
    struct records *records = read_records(&text, 1);
    struct run r;

    (void)state;
    assert_ok(open_records(&r, records, weights, 2));
    update(&r);
    assert_true(metrics_get(r.m, "raco/tie_frac/helpful", 0) == 0.25);
    assert_true(metrics_get(r.m, "raco/tie_frac/brief", 1) == 0);
    assert_true(metrics_get(r.m, "raco/agree_frac", 0) == 0.5);
    for (int i = 0; i < 30; i++)
        update(&r);
    assert_true(metrics_get(r.m, "raco/loss/helpful", 1) < 0.69);
    assert_true(metrics_get(r.m, "raco/loss/brief", 1) < 0.69);
    assert_true(metrics_get(r.m, "raco/duality_gap", 1) < 1e-8);
    close_run(&r);
    records_close(records);
}

/* Two files are two objectives, each a mean over its own pairs. */
static void test_files_are_objectives(void **state)
{
    static const char *const texts[] = {
        PAIR("5,6,7", "8,9", "") PAIR("10,11", "12,13,14", "") PAIR("15,16", "17", ""),
        PAIR("8,9", "5,6,7", "") PAIR("21,22", "23,24", ",\"weight\":3"),
    };
    double weights[] = { 0.6, 0.4 }, all[] = { 0.5, 0.3, 0.2 };
    struct records *records = read_records(texts, 2);
    struct run r;

    (void)state;
    assert_ok(open_records(&r, records, weights, 2));
    update(&r);
    assert_true(raco_of(&r)->B[0] == 3 && raco_of(&r)->B[1] == 4);
    assert_int_equal(raco_of(&r)->kinds, KIND_OWN);
    assert_true(fabs(metrics_get(r.m, "raco/loss/helpful", 0) - 0.69314718056) < 1e-9);
    assert_true(metrics_get(r.m, "raco/cos/helpful_harmless", 1) < 0);  /* one pair is both ways */
    close_run(&r);
    status_hold(true);
    assert_int_equal(open_records(&r, records, all, 3), RL_EINVAL);
    assert_non_null(strstr(status_message(), "3 weights for the 2 objectives"));
    status_drop();
    status_hold(false);
    close_run(&r);
    records_close(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_anchor_is_the_mean_over_the_prompts),
        cmocka_unit_test(test_signs_of_a_file),
        cmocka_unit_test(test_files_are_objectives),
    };

    return cmocka_run_group_tests(tests, setup_alone, close_alone);
}
