/* Lines on a disk that is full for a while: a limit on the size of files stands for it. */
#include "tests/support.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/file.h"
#include "launch/append.h"

/* No file of this process grows beyond `bytes`; a write gives a piece, then EFBIG. */
static void room(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int no_limit(void **state)
{
    (void)state;
    room(RLIM_INFINITY);
    return 0;
}

static void assert_holds(const char *path, const char *words)
{
    struct text t = { 0 };

    assert_ok(file_read(path, &t));
    assert_string_equal(t.data ? t.data : "", words);
    text_free(&t);
}

static void test_lines_wait_for_room_in_order(void **state)
{
    const char *path = support_write(support_folder(), "metrics.jsonl", "one\n");
    struct append l;

    (void)state;
    assert_ok(append_open(&l, path));
    assert_ok(append_lines(&l, "two\n", 4));
    assert_false(append_waits(&l));
    room(10);
    assert_ok(append_lines(&l, "three\n", 6));     /* two of its bytes find room */
    assert_true(append_waits(&l));
    assert_holds(path, "one\ntwo\n");
    assert_ok(append_lines(&l, "four\n", 5));
    assert_holds(path, "one\ntwo\n");
    assert_int_equal(append_flush(&l), RL_EIO);
    assert_has(status_message(), "metrics.jsonl");
    assert_has(status_message(), "11 bytes of lines are not on the disk");
    status_drop();
    room(RLIM_INFINITY);
    assert_ok(append_lines(&l, "five\n", 5));
    assert_false(append_waits(&l));
    assert_ok(append_flush(&l));
    assert_holds(path, "one\ntwo\nthree\nfour\nfive\n");
    append_close(&l);
}

static void test_a_flush_is_enough(void **state)
{
    const char *path = support_path(support_folder(), "scores.jsonl");
    struct append l;

    (void)state;
    assert_ok(append_open(&l, path));
    room(0);
    assert_ok(append_lines(&l, "one\n", 4));
    room(RLIM_INFINITY);
    assert_ok(append_flush(&l));
    assert_holds(path, "one\n");
    append_close(&l);
    append_close(&l);
}

static void test_what_waits_has_a_bound(void **state)
{
    struct append l;

    (void)state;
    assert_ok(append_open(&l, "/dev/full"));
    assert_ok(append_lines(&l, "one\n", 4));
    assert_int_equal(append_lines(&l, "", APPEND_ROOM - 3), RL_EIO);  /* not read */
    assert_has(status_message(), "4 bytes of lines wait for room");
    status_drop();
    append_close(&l);
    assert_int_equal(append_open(&l, "/none/such/metrics.jsonl"), RL_EIO);
    status_drop();
    append_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lines_wait_for_room_in_order, no_limit),
        cmocka_unit_test_teardown(test_a_flush_is_enough, no_limit),
        cmocka_unit_test(test_what_waits_has_a_bound),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, support_hold, NULL);
}
