/* The pages of launch/ that need no other rank: options, placement, the run folder. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "launch/folder.h"
#include "launch/options.h"
#include "launch/placement.h"
#include "launch/ring.h"

/* ---- options */

static bool flag;
static int64_t number;
static double real;
static const char *word;

static const struct option_row rows[] = {
    { "flag", OPTION_FLAG, &flag, NULL, "a flag" },
    { "n", OPTION_INT, &number, "N", "a number" },
    { "real", OPTION_REAL, &real, "X", "a real" },
    { "word", OPTION_TEXT, &word, "TEXT", "a word" },
    { 0 },
};

static int parse(const char *line, int *argc, char **argv)
{
    static char copy[256];
    char *save;

    snprintf(copy, sizeof copy, "%s", line);
    flag = false, number = 0, real = 0, word = NULL, *argc = 0;
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
    struct ring_size size = { .P = 6, .k = 2, .depth = 2, .row_tokens = 10, .R = 1, .links = true };
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
    assert_int_equal(ring_check(1 << 20, 1 << 10, 2), RL_EINVAL);
    status_drop();
    status_hold(false);
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
    assert_ok(folder_create(&f, folder));
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
}

static void test_a_stop_file_is_seen_once(void **state)
{
    const char *folder = support_folder();
    struct folder f;

    (void)state;
    assert_ok(folder_create(&f, folder));
    assert_false(folder_stop(&f));
    support_write(folder, "stop", "");
    assert_true(folder_stop(&f));
    assert_false(folder_stop(&f));
    folder_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_taken_and_words_stay),
        cmocka_unit_test(test_bad_options_are_refused),
        cmocka_unit_test(test_every_rank_holds_every_role_by_default),
        cmocka_unit_test(test_groups_of_ranks_are_counted_off),
        cmocka_unit_test(test_impossible_placements_are_refused),
        cmocka_unit_test(test_equal_shares_are_one_batch),
        cmocka_unit_test(test_a_batch_beyond_addressing_is_refused),
        cmocka_unit_test(test_metrics_are_cut_back),
        cmocka_unit_test(test_a_stop_file_is_seen_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
