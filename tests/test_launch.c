/* The pages of launch/ that need no other rank: options, placement, sizes, the run folder. */
#include "tests/support.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "launch/folder.h"
#include "launch/options.h"
#include "launch/placement.h"
#include "launch/ring.h"
#include "launch/run.h"

/* ---- options */

static bool flag;
static int64_t number;
static double real;
static const char *word;
static struct option_ints some;
static struct option_texts parts;

static const struct option_row rows[] = {
    { "flag", OPTION_FLAG, &flag, NULL, "a flag" },
    { "n", OPTION_INT, &number, "N", "a number" },
    { "real", OPTION_REAL, &real, "X", "a real" },
    { "word", OPTION_TEXT, &word, "TEXT", "a word" },
    { "some", OPTION_INTS, &some, "N", "numbers" },
    { "part", OPTION_TEXTS, &parts, "TEXT", "words" },
    { 0 },
};

static int parse(const char *line, int *argc, char **argv)
{
    static char copy[256];
    char *save;

    snprintf(copy, sizeof copy, "%s", line);
    flag = false, number = 0, real = 0, word = NULL, *argc = 0;
    some.count = parts.count = 0;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[(*argc)++] = w;
    return options_parse(rows, argc, argv);
}

static void test_options_are_taken_and_words_stay(void **state)
{
    char *argv[16];
    int argc;

    (void)state;
    assert_ok(parse("a --flag -n 7 b --real=2.5 --word x -- --flag", &argc, argv));
    assert_int_equal(argc, 3);
    assert_string_equal(argv[0], "a");
    assert_string_equal(argv[1], "b");
    assert_string_equal(argv[2], "--flag");
    assert_true(flag);
    assert_int_equal(number, 7);
    assert_true(real == 2.5);
    assert_string_equal(word, "x");
}

static void test_options_may_be_given_again(void **state)
{
    char *argv[16], line[256] = "";
    int argc;

    (void)state;
    assert_ok(parse("--part b --some 7 --part=a --some=-2 c", &argc, argv));
    assert_int_equal(argc, 1);
    assert_int_equal(parts.count, 2);
    assert_string_equal(parts.items[0], "b");
    assert_string_equal(parts.items[1], "a");
    assert_int_equal(some.count, 2);
    assert_true(some.items[0] == 7 && some.items[1] == -2);
    status_hold(true);
    assert_int_equal(parse("--some 7x", &argc, argv), RL_EINVAL);
    assert_has(status_message(), "--some: '7x' is not a whole number");
    parts.count = OPTION_TIMES;
    snprintf(line, sizeof line, "--part");
    assert_int_equal(options_parse(rows, &(int){ 2 }, (char *[]){ line, "x" }), RL_EINVAL);
    assert_has(status_message(), "--part: given more than 64 times");
    status_hold(false);
}

static void test_bad_options_are_refused(void **state)
{
    static const char *const bad[] = { "--nothing", "-n", "-n x", "-n 1x", "--real y", "--flag=1",
                                       "-n 99999999999999999999" };
    char *argv[16];
    int argc;

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(bad[i], &argc, argv), RL_EINVAL);
        assert_true(status_message()[0] != '\0');
    }
    status_drop();
    status_hold(false);
}

/* ---- placement */

/* A configuration of 4 leaves, with `ranks` or without. */
static struct config *config_with(const char *ranks)
{
    const char *cfg = support_write(support_folder(), "x.cfg",
                                    "algorithm = \"online_dpo\"; model = \"m\"; prompts = \"p\";\n"
                                    "rewards = { kind = \"length\"; }; output = \"o\";\n"
                                    "reduction_leaves = 4;\n");
    char assignment[256];
    char *arguments[] = { assignment };
    struct config *c;

    snprintf(assignment, sizeof assignment, "ranks=%s", ranks ? ranks : "");
    assert_ok(config_open(&c, cfg, arguments, ranks ? 1 : 0));
    return c;
}

#define DEMO "launch/demo/"

/* The demo's model, on its prompts or on text; `more` is key=value and has the last word. */
static struct config *demo_config(const char *algorithm, const char *more)
{
    const char *folder = support_folder();
    char text[8192] = "", cfg[2048], copy[256], *words[8], *save;
    const char *path;
    struct config *c;
    int n = 0;

    while (strlen(text) < sizeof text - 64)
        strcat(text, "Tom had a red ball. He was happy.\n");
    path = support_write(folder, "t.txt", text);
    snprintf(cfg, sizeof cfg,
             "algorithm = \"%s\"; model = \"" DEMO "model\"; output = \"%s/run\";\n"
             "prompts = \"" DEMO "prompts.jsonl\"; eval_prompts = \"" DEMO "held-out.jsonl\";\n"
             "text = [\"%s\"]; eval_text = [\"%s\"]; rewards = { kind = \"length\"; };\n"
             "pairs = [\"" DEMO "pairs.jsonl\"]; eval_pairs = [\"" DEMO "held-out-pairs.jsonl\"];\n"
             "prompts_per_step = 3; samples_per_prompt = 2; rows_per_step = 3; max_new = 9;\n"
             "threads = 1; reduction_leaves = 4; eval_rows = 2;\n", algorithm, folder, path, path);
    snprintf(copy, sizeof copy, "%s", more);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    assert_ok(config_open(&c, support_write(folder, "x.cfg", cfg), words, n));
    return c;
}

#define APART "({count=1;roles=[\"actor\"];},{count=1;roles=[\"learner\"];}"

static void test_every_rank_holds_every_role_by_default(void **state)
{
    struct config *c = config_with(NULL);
    struct placement p;
    struct text text = { 0 };

    (void)state;
    assert_ok(placement_make(&p, c, 3));
    for (int r = 0; r < 3; r++) {
        assert_int_equal(p.roles[r], ROLE_ALL);
        assert_int_equal(placement_index(&p, ROLE_REWARD, r), r);
    }
    placement_text(&p, 1, &text);
    assert_string_equal(text.data, "actor+learner+reward+refmodel");
    text_free(&text);
    placement_free(&p);
    config_close(c);
}

static void test_groups_of_ranks_are_counted_off(void **state)
{
    struct config *c = config_with(APART ",{count=1;roles=[\"reward\",\"refmodel\"];})");
    struct placement p;

    (void)state;
    assert_ok(placement_make(&p, c, 4));
    assert_int_equal(p.roles[0], ROLE_ACTOR);
    assert_int_equal(p.roles[1], ROLE_LEARNER);
    assert_int_equal(p.roles[2], ROLE_REWARD | ROLE_REFMODEL);
    assert_int_equal(p.roles[3], 0);                /* idle */
    assert_int_equal(placement_index(&p, ROLE_REFMODEL, 2), 0);
    assert_int_equal(placement_index(&p, ROLE_REFMODEL, 3), -1);
    placement_free(&p);
    config_close(c);
}

static void refused(const char *ranks, int started, const char *word_of_it)
{
    struct config *c = config_with(ranks);
    struct placement p;

    status_hold(true);
    assert_int_equal(placement_make(&p, c, started), RL_EINVAL);
    assert_non_null(strstr(status_message(), word_of_it));
    status_drop();
    status_hold(false);
    placement_free(&p);
    config_close(c);
}

/* What a run of files does without: no actor, no reward, no reference but for the loss. */
static void roles_are(const char *more, unsigned train, unsigned evaluate)
{
    struct config *c = demo_config("online_dpo", more);

    assert_int_equal(roles_to_train(c), train);
    assert_int_equal(roles_to_evaluate(c), evaluate);
    config_close(c);
}

static void test_roles_follow_from_what_is_needed(void **state)
{
    (void)state;
    roles_are("", ROLE_ALL, 0);
    roles_are("eval_every=1", ROLE_ALL, ROLE_ALL);
    roles_are("rewards=() eval_every=1", ROLE_ALL & ~ROLE_REWARD, ROLE_ALL & ~ROLE_REWARD);
    roles_are("source=pairs", ROLE_LEARNER | ROLE_REFMODEL, 0);
    roles_are("algorithm=sft", ROLE_LEARNER, 0);
    roles_are("algorithm=sft eval_every=1", ROLE_LEARNER, ROLE_ALL);
    roles_are("algorithm=sft eval_every=1 eval_prompts=\"\"", ROLE_LEARNER, 0);
}

static void test_impossible_placements_are_refused(void **state)
{
    (void)state;
    refused(APART ")", 2, "\"reward\"");
    refused(APART ",{count=1;roles=[\"reward\",\"refmodel\"];})", 2, "2 that were started");
    refused(NULL, 5, "reduction_leaves");
}

/* ---- the ring: colocated roles share a batch, others do not */

static void test_equal_shares_are_one_batch(void **state)
{
    struct config *c = config_with(NULL);
    struct comm *alone = comm_alone();
    struct ring_size size = { .P = 6, .k = 2, .depth = 2, .row_tokens = 10, .R = 1,
                              .roles = ROLE_ALL };
    struct placement p;
    struct ring ring;

    (void)state;
    assert_ok(placement_make(&p, c, 1));
    assert_ok(ring_open(&ring, alone, &p, 4, &size));
    assert_ptr_equal(ring_batch(&ring, ROLE_ACTOR, 0), ring_batch(&ring, ROLE_LEARNER, 0));
    assert_ptr_not_equal(ring_batch(&ring, ROLE_ACTOR, 0), ring_batch(&ring, ROLE_ACTOR, 1));
    assert_ptr_equal(ring_batch(&ring, ROLE_ACTOR, 0), ring_batch(&ring, ROLE_ACTOR, 2));
    ring_begin(&ring, 3);
    assert_int_equal(ring_batch(&ring, ROLE_REWARD, 3)->step, 3);
    assert_int_equal(ring_batch(&ring, ROLE_REWARD, 3)->groups, 6);
    assert_int_equal(ring_bytes(&p, 0, 4, &size), ring.memory.peak);
    ring_close(&ring);
    placement_free(&p);
    comm_stop(alone);
    config_close(c);
}

static void test_a_batch_beyond_addressing_is_refused(void **state)
{
    (void)state;
    assert_ok(ring_check(1000, 8, 4096));
    status_hold(true);
    assert_int_equal(ring_check(1 << 20, 1 << 10, 2), RL_ENOFIT);
    status_drop();
    status_hold(false);
}

/* ---- the sizes: plan counts what a run takes */

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static size_t batches_of(const struct run *r)
{
    size_t bytes = r->train.memory.peak + r->eval.memory.peak;

    for (int i = 0; i < r->inputs.n_eval_pairs; i++)
        bytes += r->eval_pairs[i].memory.peak;
    for (int i = 0; i < r->inputs.n_eval_text; i++)
        bytes += r->eval_rows[i].memory.peak;
    return bytes;
}

static void plan_is_the_run(const char *algorithm, const char *more)
{
    struct config *c = demo_config(algorithm, more);
    struct comm *alone = comm_alone();
    struct bytes b;
    struct run r;
    size_t before, files, taken;

    before = heap();
    assert_ok(inputs_open(&r.inputs, c));
    files = heap() - before;
    inputs_close(&r.inputs);
    before = heap();
    assert_ok(run_open(&r, c, alone));
    taken = heap() - before - files;
    assert_ok(rank_bytes(&r.inputs, c, &r.placement, r.compute, 0, &b));
    assert_int_equal(b.batches, batches_of(&r));
    assert_int_equal(b.total,
                     b.weights + b.reference + b.actor + b.refmodel + b.learner + b.copies +
                     b.passes + b.batches);
    b.total -= b.copies;                /* mapped, not from the heap */
#ifndef SANITIZED
    if (taken < b.total || taken > b.total + b.total / 100 + (1 << 18))
        fail_msg("%s %s: planned %zu bytes, took %zu", algorithm, more, b.total, taken);
#else
    (void)taken;
#endif
    run_close(&r);
    comm_stop(alone);
    config_close(c);
}

static void test_plan_is_what_a_run_takes(void **state)
{
    (void)state;
    plan_is_the_run("online_dpo", "");
    plan_is_the_run("online_dpo", "eval_every=1 max_lag=1");
    plan_is_the_run("online_dpo", "eval_every=1 row_tokens=6");
    plan_is_the_run("lm", "row_tokens=6");
    plan_is_the_run("lm", "row_tokens=6 eval_every=1");
    plan_is_the_run("sft", "");
    plan_is_the_run("online_dpo", "source=pairs");
    plan_is_the_run("online_dpo", "source=pairs eval_every=1");
}

static struct inputs inputs_of(const char *algorithm, const char *more)
{
    struct config *c = demo_config(algorithm, more);
    struct inputs in;

    assert_ok(inputs_open(&in, c));
    config_close(c);
    return in;
}

static void test_sizes_follow_from_the_files(void **state)
{
    struct inputs in = inputs_of("online_dpo", "eval_every=5 max_lag=1 row_tokens=5 eval_pairs=[]");
    int rollout = in.longest_prompt + 9;

    (void)state;
    assert_true(in.longest_prompt > 0 && rollout < in.policy.shape.context);
    assert_int_equal(in.train.P, 3);
    assert_int_equal(in.train.k, 2);
    assert_int_equal(in.train.depth, 2);
    assert_int_equal(in.train.row_tokens, rollout);
    assert_int_equal(in.eval.P, 2);                 /* eval_rows */
    assert_int_equal(in.n_eval_text, 1);
    assert_int_equal(in.eval_rows[0].P, 2);
    assert_int_equal(in.eval_rows[0].row_tokens, 5);
    assert_int_equal(in.row_tokens, rollout);
    inputs_close(&in);
    in = inputs_of("online_dpo", "eval_every=5 eval_pairs=[]");
    assert_int_equal(in.row_tokens, in.policy.shape.context);   /* the learner's, for the text */
    assert_int_equal(in.train.row_tokens, rollout);
    inputs_close(&in);
    in = inputs_of("lm", "row_tokens=6");
    assert_true(in.train.P == 3 && in.train.k == 1 && in.train.row_tokens == 6);
    assert_true(in.row_tokens == 6 && in.eval.P == 0 && in.n_eval_pairs == 0);
    assert_int_equal(in.train.roles, ROLE_LEARNER);
    inputs_close(&in);
}

static void test_held_out_files_wait_for_evaluations(void **state)
{
    const char *none = "eval_prompts=none.jsonl eval_text=[\"none.txt\"] ";
    char more[256];
    struct inputs in = inputs_of("online_dpo", none);
    struct config *c;

    (void)state;
    assert_true(!in.eval_prompts && in.eval.P == 0 && in.n_eval_text == 0);
    inputs_close(&in);
    snprintf(more, sizeof more, "%seval_every=1", none);
    c = demo_config("online_dpo", more);
    status_hold(true);
    assert_int_not_equal(inputs_open(&in, c), RL_OK);
    assert_non_null(strstr(status_message(), "none.jsonl"));
    status_drop();
    status_hold(false);
    inputs_close(&in);
    config_close(c);
}

/* ---- the run folder is cut back to the checkpoint's step */

static size_t lines_after(const char *text, int64_t step)
{
    const char *folder = support_folder();
    struct config *c;
    struct folder f;
    struct text left = { 0 };
    size_t lines = 0;
    const char *cfg = support_write(folder, "x.cfg", "algorithm = \"lm\"; model = \"m\"; "
                                    "text = [\"t\"]; output = \"o\";\n");

    assert_ok(config_open(&c, cfg, NULL, 0));
    assert_ok(folder_create(&f, folder, 1));
    support_write(folder, "metrics.jsonl", text);
    assert_ok(folder_begin(&f, c, step));
    folder_close(&f);
    assert_ok(file_read(support_path(folder, "metrics.jsonl"), &left));
    for (size_t i = 0; i < left.size; i++)
        lines += left.data[i] == '\n';
    assert_true(left.size == 0 || left.data[left.size - 1] == '\n');
    text_free(&left);
    config_close(c);
    return lines;
}

static void test_metrics_are_cut_back(void **state)
{
    const char *text = "{\"train/step\": 0}\n{\"train/step\": 1}\n{\"train/step\": 2}\n{\"train/st";

    (void)state;
    assert_int_equal(lines_after(text, 2), 3);      /* the torn line goes */
    assert_int_equal(lines_after(text, 1), 2);
    assert_int_equal(lines_after(text, 0), 0);      /* a fresh run starts empty */
    assert_int_equal(lines_after("", 5), 0);
    assert_int_equal(lines_after("{\"train/step\": 1}\nx}\n{\"train/step\": 2}\n", 2), 3);
    assert_int_equal(lines_after("{\"train/step\": 1}\nx}\n{\"train/step\": 2}\n", 1), 1);
    assert_int_equal(lines_after("{\"train/step\": 1}\nx}\n", 2), 1);      /* nothing behind it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_taken_and_words_stay),
        cmocka_unit_test(test_options_may_be_given_again),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_every_rank_holds_every_role_by_default),
        cmocka_unit_test(test_groups_of_ranks_are_counted_off),
        cmocka_unit_test(test_roles_follow_from_what_is_needed),
        cmocka_unit_test(test_impossible_placements_are_refused),
        cmocka_unit_test(test_equal_shares_are_one_batch),
        cmocka_unit_test(test_a_batch_beyond_addressing_is_refused),
        cmocka_unit_test(test_plan_is_what_a_run_takes),
        cmocka_unit_test(test_sizes_follow_from_the_files),
        cmocka_unit_test(test_held_out_files_wait_for_evaluations),
        cmocka_unit_test(test_metrics_are_cut_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
