/* The checkpoints of a run folder by their names: which is the newest, which are deleted. */
#include "tests/support.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "checkpoints/checkpoint.h"

struct place { char path[4096]; };
static struct place place(const char *folder, const char *name)
{
    struct place p;

    if (!*name)
        snprintf(p.path, sizeof p.path, "%s", folder);
    else if (path_join(p.path, sizeof p.path, folder, name) != RL_OK)
        fail_msg("path too long");
    return p;
}

static void assert_line(int rc, const char *words)
{
    const char *line = status_message();

    assert_int_not_equal(rc, RL_OK);
    if (!strstr(line, words) || strchr(line, '\n'))
        fail_msg("expected one line with '%s', got '%s'", words, line);
    status_drop();
}

static void test_the_newest_is_the_largest_complete_step(void **state)
{
    static const char *const others[] = {
        "step-00000099.h5.part", "step-99.h5", "step-00000098.h5x", "xstep-00000097.h5",
        "step-0000009a.h5", "step-000000099.h5", "best.h5"
    };
    struct place folder = place(support_folder(), "");
    char path[4096] = "";

    (void)state;
    assert_int_equal(checkpoint_newest(place(folder.path, "none").path, path, sizeof path), -1);
    assert_int_equal(checkpoint_newest(folder.path, path, sizeof path), -1);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        support_write(folder.path, others[i], "");
    assert_int_equal(checkpoint_newest(folder.path, path, sizeof path), -1);
    support_write(folder.path, "step-00000000.h5", "");
    assert_int_equal(checkpoint_newest(folder.path, NULL, 0), 0);
    support_write(folder.path, "step-00000009.h5", "");
    support_write(folder.path, "step-00000010.h5", "");
    support_write(folder.path, "step-100000000.h5", "");
    assert_int_equal(checkpoint_newest(folder.path, path, sizeof path), 100000000);
    assert_string_equal(path, place(folder.path, "step-100000000.h5").path);
    assert_true(checkpoint_newest(folder.path, path, 5) < -1);
    assert_line(RL_EIO, "path too long");
}

static const struct checkpoint_keep *newest(int n)
{
    static struct checkpoint_keep keep;

    keep.newest = n;
    return &keep;
}

static void test_pruning_keeps_the_newest(void **state)
{
    struct place folder = place(support_folder(), "");
    static const char *const files[] = { "step-00000001.h5", "step-00000005.h5",
                                         "step-00000003.h5", "step-00000004.h5" };

    (void)state;
    for (int i = 0; i < 4; i++)
        support_write(folder.path, files[i], "");
    support_write(folder.path, "step-00000006.h5.part", "half");    /* its writer was killed */
    support_write(folder.path, "notes.part", "mine");
    assert_ok(checkpoint_prune(folder.path, newest(9)));
    assert_true(file_exists(place(folder.path, files[0]).path));
    assert_false(file_exists(place(folder.path, "step-00000006.h5.part").path));
    assert_true(file_exists(place(folder.path, "notes.part").path));
    assert_ok(checkpoint_prune(folder.path, newest(2)));
    assert_false(file_exists(place(folder.path, files[0]).path));
    assert_true(file_exists(place(folder.path, files[1]).path));
    assert_false(file_exists(place(folder.path, files[2]).path));
    assert_true(file_exists(place(folder.path, files[3]).path));
    assert_ok(checkpoint_prune(folder.path, newest(0)));
    assert_true(file_exists(place(folder.path, files[1]).path));
    assert_false(file_exists(place(folder.path, files[3]).path));
    assert_ok(checkpoint_prune(place(folder.path, "none").path, newest(1)));
}

static void test_pruning_spares_multiples_and_named_steps(void **state)
{
    static const int64_t named[] = { 3, 99 };
    const struct checkpoint_keep keep = { 1, 4, named, 2 };
    struct place folder = place(support_folder(), "");
    char name[32];

    (void)state;
    for (int step = 1; step <= 9; step++) {
        snprintf(name, sizeof name, "step-%08d.h5", step);
        support_write(folder.path, name, "");
    }
    assert_ok(checkpoint_prune(folder.path, &keep));
    for (int step = 1; step <= 9; step++) {
        snprintf(name, sizeof name, "step-%08d.h5", step);
        assert_int_equal(file_exists(place(folder.path, name).path),
                         step == 3 || step == 4 || step == 8 || step == 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_is_the_largest_complete_step),
        cmocka_unit_test(test_pruning_keeps_the_newest),
        cmocka_unit_test(test_pruning_spares_multiples_and_named_steps),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
