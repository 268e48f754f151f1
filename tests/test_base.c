/* base: status codes, the log, planned memory, text, files, the clock. */
#include "tests/support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stop.h"
#include "base/text.h"

#ifdef SANITIZED
/* Asking for too much must fail here too, not end the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

/* ---- status and log ---- */

static void test_worse_status_follows_severity(void **state)
{
    static const int order[] = { RL_OK, RL_ESTOP, RL_EINVAL, RL_EIO, RL_ENOFIT, RL_ENAN, RL_EBUG,
                                 RL_ELOST };

    (void)state;
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++)
            assert_int_equal(status_worse(order[i], order[k]), order[i > k ? i : k]);
}

static void test_exit_codes_are_the_documented_ones(void **state)
{
    static const int codes[][2] = { { RL_OK, 0 }, { RL_EINVAL, 1 }, { RL_EIO, 1 }, { RL_EBUG, 1 },
                                    { RL_ENOFIT, 2 }, { RL_ELOST, 3 }, { RL_ENAN, 4 },
                                    { RL_ESTOP, 5 } };

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(status_exit_code(codes[i][0]), codes[i][1]);
}

static void test_message_is_one_line_and_the_newest(void **state)
{
    (void)state;
    assert_int_equal(rl_error(RL_EIO, "first"), RL_EIO);
    assert_int_equal(rl_error(RL_EINVAL, "a\nb\x01%s", "c"), RL_EINVAL);
    assert_string_equal(status_message(), "a b?c");
    rl_error(RL_EINVAL, "outer: %s", status_message());         /* may quote the line it replaces */
    assert_string_equal(status_message(), "outer: a b?c");
}

static void test_long_message_is_cut_not_overrun(void **state)
{
    struct text big = {0};

    (void)state;
    for (int i = 0; i < 20000; i++)
        text_adds(&big, "x");
    rl_error(RL_EINVAL, "%s", big.data);
    assert_true(strlen(status_message()) < 10000);
    assert_has(status_message(), "xxx...");
    text_free(&big);
}

static void test_log_file_gets_lines_and_errors(void **state)
{
    const char *path = support_path(support_folder(), "log.txt");
    struct text text = {0};

    (void)state;
    log_quiet(true);
    assert_ok(log_open(path));
    log_info("step %d", 7);
    log_close();
    log_info("not in the file");
    log_quiet(false);
    assert_ok(file_read(path, &text));
    assert_has(text.data, " step 7\n");
    assert_null(strstr(text.data, "not in the file"));
    text_free(&text);
    assert_int_equal(log_open("/no/such/folder/log.txt"), RL_EIO);
}

/* ---- memory ---- */

static void layout(struct memory *m, char *out[4])
{
    size_t mark, end;

    out[0] = memory_take(m, 100);
    mark = memory_mark(m);
    out[1] = memory_take(m, 1000);
    end = memory_mark(m);
    memory_rewind(m, mark);
    out[2] = memory_take(m, 64);
    memory_skip(m, end);
    out[3] = memory_take(m, 0);
    memory_skip(m, mark);                           /* already behind it */
}

static void test_memory_plan_counts_then_gives_the_same_layout(void **state)
{
    struct memory m;
    char *p[4];

    (void)state;
    memory_count(&m);
    layout(&m, p);
    assert_null(p[2]);
    assert_int_equal(m.peak, 128 + 1024);
    assert_ok(memory_open(&m));
    layout(&m, p);
    assert_ptr_equal(p[0], m.base);
    assert_ptr_equal(p[1], p[2]);                   /* lives that never meet share bytes */
    assert_ptr_equal(p[3], p[1] + 1024);            /* behind the longer one */
    for (int i = 0; i < 4; i++)
        assert_int_equal((uintptr_t)p[i] % 64, 0);
    for (size_t i = 0; i < m.size; i++)
        assert_int_equal(m.base[i], 0);
    assert_null(memory_take(&m, 1));                /* more than was counted: a named bug */
    assert_has(status_message(), "planned memory");
    memory_close(&m);
    memory_close(&m);
}

static void test_memory_that_cannot_be_had_is_an_error(void **state)
{
    struct memory m;

    (void)state;
    memory_count(&m);
    memory_take(&m, SIZE_MAX / 2);
    memory_take(&m, SIZE_MAX / 2);
    memory_take(&m, SIZE_MAX);                      /* the sum does not wrap around */
    assert_true(m.peak > SIZE_MAX - 128);
    m.lower = "micro_rows";
    assert_int_equal(memory_open(&m), RL_ENOFIT);
    assert_non_null(strstr(status_message(), "GiB); lower micro_rows"));
}

/* ---- text and files ---- */

static void test_text_grows_and_ends_with_zero(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_addf(&t, "%d,", i);
    assert_int_equal(t.size, 3890);
    assert_int_equal(strlen(t.data), t.size);
    text_add(&t, "a\0b", 3);
    assert_int_equal(t.size, 3893);
    text_clear(&t);
    assert_string_equal(t.data, "");
    assert_int_equal(text_reserve(&t, SIZE_MAX), RL_ENOFIT);
    text_free(&t);
    text_adds(&t, "");
    assert_string_equal(t.data, "");
    text_free(&t);
    text_free(&t);
}

static void test_file_comes_back_as_written(void **state)
{
    const char *folder = support_folder(), *path = support_path(folder, "x");
    static char bytes[200001];
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    assert_ok(file_write(path, bytes, sizeof bytes));
    assert_ok(file_read(path, &t));
    assert_int_equal(t.size, sizeof bytes);
    assert_memory_equal(t.data, bytes, sizeof bytes);
    assert_false(file_exists(support_path(folder, "x.part")));
    assert_ok(file_cut(path, 3));
    assert_ok(file_read(path, &t));
    assert_int_equal(t.size, 3);
    assert_int_equal(file_cut(path, 4), RL_EINVAL);
    assert_has(status_message(), "3 bytes, fewer than the 4");
    assert_ok(file_write(path, "", 0));
    assert_ok(file_read(path, &t));
    assert_string_equal(t.data, "");
    assert_ok(file_sync(path));
    text_free(&t);
}

static void test_file_errors_name_the_path(void **state)
{
    const char *folder = support_folder(), *pipe = support_path(folder, "pipe");
    struct text t = {0};

    (void)state;
    assert_int_equal(file_read("/no/such/file", &t), RL_EINVAL);
    assert_string_equal(status_message(), "cannot read /no/such/file: No such file or directory");
    assert_int_equal(file_read(folder, &t), RL_EINVAL);
    assert_has(status_message(), "Is a directory");
    assert_int_equal(file_read("/dev/zero", &t), RL_EINVAL);
    assert_has(status_message(), "/dev/zero is no plain file and does not end within 16 MiB");
    assert_int_equal(file_write("/no/such/folder/x", "a", 1), RL_EINVAL);
    assert_int_equal(file_write(folder, "a", 1), RL_EINVAL);
    assert_has(status_message(), folder);
    assert_int_equal(mkfifo(pipe, 0666), 0);
    assert_int_equal(file_write(pipe, "a", 1), RL_EINVAL);          /* never in place of a device */
    text_free(&t);
}

/* A write that fails half-way (here: at a limit on file sizes) leaves the old file and no .part. */
static void test_failed_write_leaves_the_old_file(void **state)
{
    const char *folder = support_folder(), *path = support_write(folder, "x", "old");
    struct rlimit before, small;
    static char big[100000];
    struct text t = {0};
    int rc;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rc = file_write(path, big, sizeof big);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, RL_EIO);
    assert_has(status_message(), "File too large");
    assert_false(file_exists(support_path(folder, "x.part")));
    assert_ok(file_read(path, &t));
    assert_string_equal(t.data, "old");
    text_free(&t);
}

static void test_folders_are_made_with_their_parents(void **state)
{
    const char *folder = support_folder(), *deep = support_path(folder, "a/b//c/");
    const char *file = support_write(folder, "file", "x");

    (void)state;
    assert_ok(folder_make(deep));
    assert_ok(folder_make(deep));
    assert_true(folder_exists(deep) && !file_exists(deep));
    assert_true(file_exists(file) && !folder_exists(file));
    assert_int_equal(folder_make(support_path(folder, "file/x")), RL_EINVAL);
    assert_has(status_message(), "is a file, not a folder");
    assert_int_equal(folder_make(file), RL_EINVAL);
    assert_int_equal(folder_make(""), RL_EINVAL);
    assert_int_equal(folder_make("/proc/rankwise/x") != RL_OK, 1);
    assert_has(status_message(), "cannot make the folder /proc/rankwise: No such file");
    assert_ok(folder_sync(file));
}

static void test_paths_join_or_say_they_do_not_fit(void **state)
{
    char out[8];

    (void)state;
    assert_ok(path_join(out, sizeof out, "a", "b"));
    assert_string_equal(out, "a/b");
    assert_ok(path_join(out, sizeof out, "a/", "b"));
    assert_string_equal(out, "a/b");
    assert_ok(path_join(out, sizeof out, "", "b"));
    assert_string_equal(out, "b");
    assert_ok(path_join(out, sizeof out, "abcd", "ef"));
    assert_int_equal(path_join(out, sizeof out, "abcd", "efg"), RL_EINVAL);
}

static void test_edits_between_words(void **state)
{
    char longest[TEXT_EDITS + 2];

    (void)state;
    assert_int_equal(text_edits("", ""), 0);
    assert_int_equal(text_edits("", "abc"), 3);
    assert_int_equal(text_edits("kitten", "sitting"), 3);
    assert_int_equal(text_edits("stpes", "steps"), 1);
    memset(longest, 'a', sizeof longest);
    longest[TEXT_EDITS + 1] = 0;
    assert_int_equal(text_edits(longest, "a"), 2 * TEXT_EDITS);
    assert_int_equal(text_edits(longest + 1, "a"), TEXT_EDITS - 1);
}

static void test_clock_goes_forward(void **state)
{
    double begin = clock_now();

    (void)state;
    clock_sleep(0.002);
    assert_true(clock_now() - begin >= 0.002);
    clock_sleep(-1);
    clock_sleep(NAN);
}

static void test_a_stop_is_asked_by_file_or_signal(void **state)
{
    const char *folder = support_folder();

    (void)state;
    support_write(folder, "stop", "");
    assert_false(stop_asked());                 /* nobody looks there */
    stop_folder(folder);
    assert_true(stop_asked());
    assert_false(stop_cut());
    stop_cuts_waits(true);
    assert_true(stop_cut());
    stop_answered();
    assert_false(stop_asked() || stop_cut() || file_exists(support_path(folder, "stop")));
    stop_watch();
    raise(SIGUSR1);
    assert_true(stop_asked() && stop_cut());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worse_status_follows_severity),
        cmocka_unit_test(test_exit_codes_are_the_documented_ones),
        cmocka_unit_test(test_message_is_one_line_and_the_newest),
        cmocka_unit_test(test_long_message_is_cut_not_overrun),
        cmocka_unit_test(test_log_file_gets_lines_and_errors),
        cmocka_unit_test(test_memory_plan_counts_then_gives_the_same_layout),
        cmocka_unit_test(test_memory_that_cannot_be_had_is_an_error),
        cmocka_unit_test(test_text_grows_and_ends_with_zero),
        cmocka_unit_test(test_file_comes_back_as_written),
        cmocka_unit_test(test_file_errors_name_the_path),
        cmocka_unit_test(test_failed_write_leaves_the_old_file),
        cmocka_unit_test(test_folders_are_made_with_their_parents),
        cmocka_unit_test(test_paths_join_or_say_they_do_not_fit),
        cmocka_unit_test(test_clock_goes_forward),
        cmocka_unit_test(test_edits_between_words),
        cmocka_unit_test(test_a_stop_is_asked_by_file_or_signal),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
