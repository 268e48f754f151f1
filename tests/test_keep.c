/* Which checkpoints of a run stay. */
#include "tests/support.h"

#include <stdio.h>

#include "base/file.h"
#include "launch/keep.h"

/* Steps 1 .. 9 with a checkpoint each, and a line of metrics where `values` has one. */
static void make_run(struct folder *f, const char *const values[10])
{
    char line[128];

    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "%s", support_folder());
    snprintf(f->checkpoints, sizeof f->checkpoints, "%s", f->path);
    assert_ok(append_open(&f->metrics, support_path(f->path, "metrics.jsonl")));
    for (int step = 0; step < 10; step++) {
        snprintf(line, sizeof line, "step-%08d.h5", step);
        if (step > 0)
            support_write(f->path, line, "");
        snprintf(line, sizeof line, "{\"loss\": 1, \"train/step\": %d%s%s}\n", step,
                 values[step] ? ", \"eval/a/score\": " : "", values[step] ? values[step] : "");
        assert_ok(append_lines(&f->metrics, line, strlen(line)));
    }
}

/* The steps that stay, as digits. */
static void assert_stay(const struct folder *f, const struct config *c, const char *steps)
{
    char path[4400], there[10] = "";
    size_t n = 0;

    assert_ok(keep_prune(f, c));
    for (int step = 1; step < 10; step++) {
        folder_checkpoint(f, step, path, sizeof path);
        if (file_exists(path))
            there[n++] = (char)('0' + step);
    }
    assert_string_equal(there, steps);
}

static const char *const values[10] = { "99", NULL, "0.5", "null", "0.9", "0.9", "0.1", "0.3" };

static void test_the_best_stay(void **state)
{
    struct config c = { .keep_last = 1, .keep_best = 3, .best = "eval/a/score", .best_is = "max" };
    struct folder f;

    (void)state;
    make_run(&f, values);
    assert_stay(&f, &c, "2459");        /* step 0 has no checkpoint */
    c.keep_best = 1;
    assert_stay(&f, &c, "59");          /* of equal ones the newer */
    append_close(&f.metrics);
    make_run(&f, values);
    c.keep_best = 2;
    c.best_is = "min";
    c.keep_every = 4;
    assert_stay(&f, &c, "46789");
    append_close(&f.metrics);
}

static void test_lines_that_wait_count(void **state)
{
    static const char waiting[] = "{\"train/step\": 8, \"eval/a/score\": 2}\n";
    struct config c = { .keep_last = 1, .keep_best = 1, .best = "eval/a/score", .best_is = "max" };
    struct folder f;

    (void)state;
    make_run(&f, values);
    text_adds(&f.metrics.waiting, waiting);
    assert_stay(&f, &c, "89");
    append_close(&f.metrics);
}

static void test_a_metric_nobody_has_keeps_none(void **state)
{
    struct config c = { .keep_last = 2, .keep_best = 2, .best = "none", .best_is = "max" };
    struct folder f;

    (void)state;
    make_run(&f, values);
    assert_stay(&f, &c, "89");
    append_close(&f.metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_stay),
        cmocka_unit_test(test_lines_that_wait_count),
        cmocka_unit_test(test_a_metric_nobody_has_keeps_none),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
