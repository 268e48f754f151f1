/* The recorder of spans: what nests, what a full ring drops, threads, what a killed process
 * leaves. */
#include "tests/support.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/trace.h"

static char path[256];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/rankwise-trace-%d.ring", (int)getpid());
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    trace_close();
    unlink(path);
    return 0;
}

static struct trace_log read_back(void)
{
    struct trace_log log;

    trace_close();
    assert_int_equal(trace_read(path, &log), RL_OK);
    return log;
}

static void span(const char *name, int64_t amount)
{
    trace_end(trace_begin(name), TRACE_ROWS, amount);
}

static void test_nothing_is_kept_before_it_is_open(void **state)
{
    struct trace t = trace_begin("early");
    struct trace_log log;

    (void)state;
    clock_sleep(2e-3);
    assert_true(trace_end(t, TRACE_NOTHING, 0) >= 2e-3);        /* the metrics' seconds */
    assert_int_equal(trace_open(path, 8), RL_OK);
    assert_true(trace_end(t, TRACE_NOTHING, 0) >= 2e-3);
    log = read_back();
    assert_int_equal(log.n, 0);
    assert_int_equal(log.dropped, 0);
    trace_log_free(&log);
}

static void test_spans_nest_and_say_what_they_did(void **state)
{
    struct trace outer, inner;
    struct trace_log log;
    double seconds;

    (void)state;
    assert_int_equal(trace_open(path, 8), RL_OK);
    trace_tell(3, "host", "actor+learner", 0.25, 1e-6);
    trace_step(7, true);
    outer = trace_begin("outer");
    inner = trace_begin_at(TRACE_WAIT, "rollout", "link", 42, 5);
    clock_sleep(1e-3);
    seconds = trace_end(inner, TRACE_BYTES, 1000);
    trace_end(outer, TRACE_TOKENS, 9);
    log = read_back();
    assert_int_equal(log.n, 2);
    assert_int_equal(log.rank, 3);
    assert_string_equal(log.host, "host");
    assert_string_equal(log.roles, "actor+learner");
    assert_true(log.offset == 0.25 && log.error == 1e-6);
    assert_string_equal(log.events[0].name, "outer");
    assert_int_equal(log.events[0].unit, TRACE_TOKENS);
    assert_string_equal(log.events[1].name, "rollout");
    assert_string_equal(log.events[1].of, "link");
    assert_int_equal(log.events[1].kind, TRACE_WAIT);
    assert_int_equal(log.events[1].number, 42);
    assert_int_equal(log.events[1].peer, 5);
    assert_int_equal(log.events[1].step, 7);
    assert_int_equal(log.events[1].amount, 1000);
    assert_true(log.events[0].begin <= log.events[1].begin);
    assert_true(log.events[1].end <= log.events[0].end);
    assert_true(fabs(log.events[1].end - log.events[1].begin - seconds) < 1e-9);
    trace_log_free(&log);
}

static void test_a_span_left_open_ends_with_the_one_around_it(void **state)
{
    struct trace outer, left;
    struct trace_log log;

    (void)state;
    assert_int_equal(trace_open(path, 8), RL_OK);
    outer = trace_begin("outer");
    left = trace_begin("left");
    trace_end(outer, TRACE_NOTHING, 0);
    trace_end(left, TRACE_NOTHING, 0);              /* too late */
    span("next", 0);
    log = read_back();
    assert_int_equal(log.n, 2);
    assert_string_equal(log.events[0].name, "outer");
    assert_string_equal(log.events[1].name, "next");
    trace_log_free(&log);
}

static void test_deeper_spans_than_there_is_room_for_are_left_out(void **state)
{
    struct trace t[TRACE_DEPTH + 3];
    struct trace_log log;

    (void)state;
    assert_int_equal(trace_open(path, 64), RL_OK);
    for (int i = 0; i < TRACE_DEPTH + 3; i++)
        t[i] = trace_begin("deep");
    for (int i = TRACE_DEPTH + 2; i >= 0; i--)
        trace_end(t[i], TRACE_NOTHING, 0);
    log = read_back();
    assert_int_equal(log.n, TRACE_DEPTH);
    trace_log_free(&log);
}

static void test_a_full_ring_keeps_the_newest_and_counts_the_rest(void **state)
{
    struct trace_log log;

    (void)state;
    assert_int_equal(trace_open(path, 16), RL_OK);
    for (int i = 0; i < 100; i++)
        span("s", i);
    log = read_back();
    assert_int_equal(log.n, 16);
    assert_int_equal(log.dropped, 84);
    for (int i = 0; i < 16; i++)
        assert_int_equal(log.events[i].amount, 84 + i);
    trace_log_free(&log);
}

static void test_only_the_wanted_steps_are_kept(void **state)
{
    struct trace_log log;

    (void)state;
    assert_int_equal(trace_open(path, 16), RL_OK);
    for (int step = 1; step <= 6; step++) {
        trace_step(step, step >= 3 && step <= 4);
        span("step", 0);
    }
    log = read_back();
    assert_int_equal(log.n, 2);
    assert_int_equal(log.events[0].step, 3);
    assert_int_equal(log.events[1].step, 4);
    trace_log_free(&log);
}

static void *write_spans(void *data)
{
    struct trace t;

    trace_thread(data);
    for (int i = 0; i < 1000; i++) {
        t = trace_begin("outer");
        span("inner", i);
        trace_end(t, TRACE_NOTHING, 0);
    }
    return NULL;
}

static void *write_unnamed(void *data)
{
    span("nobody's", 0);
    return data;
}

static void test_threads_have_tracks_of_their_own(void **state)
{
    pthread_t a, b, c;
    struct trace_log log;
    int count[TRACE_THREADS] = { 0 };

    (void)state;
    assert_int_equal(trace_open(path, 8192), RL_OK);
    assert_int_equal(pthread_create(&a, NULL, write_spans, "writer"), 0);
    assert_int_equal(pthread_create(&b, NULL, write_spans, "watch"), 0);
    assert_int_equal(pthread_create(&c, NULL, write_unnamed, NULL), 0);
    for (int i = 0; i < 1000; i++)
        span("main", i);
    assert_int_equal(pthread_join(a, NULL), 0);
    assert_int_equal(pthread_join(b, NULL), 0);
    assert_int_equal(pthread_join(c, NULL), 0);
    assert_int_equal(pthread_create(&a, NULL, write_spans, "writer"), 0);      /* the same track */
    assert_int_equal(pthread_join(a, NULL), 0);
    log = read_back();
    assert_string_equal(log.thread[0], "main");
    assert_string_equal(log.thread[3], "");
    for (size_t i = 0; i < log.n; i++)
        count[log.events[i].thread]++;
    assert_int_equal(count[0], 1000);
    assert_int_equal(count[1] + count[2], 6000);
    assert_int_equal(count[strcmp(log.thread[1], "writer") == 0 ? 1 : 2], 4000);
    trace_log_free(&log);
}

/* Killed inside of two spans, after one that was whole. */
static void test_what_a_killed_process_did_can_be_read(void **state)
{
    struct trace_log log;
    int status;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        if (trace_open(path, 16) != RL_OK)
            _exit(1);
        trace_step(5, true);
        span("done", 1);
        trace_begin("update");
        trace_begin_at(TRACE_MEET, "agreement", "world", 12, -1);
        clock_sleep(1e-3);
        trace_seen();
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    log = read_back();
    assert_int_equal(log.n, 3);
    assert_string_equal(log.events[0].name, "done");
    assert_string_equal(log.events[1].name, "update");
    assert_string_equal(log.events[2].name, "agreement");
    assert_int_equal(log.events[2].number, 12);
    assert_true(log.seen >= log.events[2].begin + 1e-3);
    assert_true(log.events[0].end > 0 && log.events[1].end == 0 && log.events[2].end == 0);
    trace_log_free(&log);
}

static void test_other_files_are_refused(void **state)
{
    struct trace_log log;
    char text[4096] = "RWTRACE1 but no more than that";

    (void)state;
    assert_int_equal(file_write(path, text, 20), RL_OK);
    assert_int_equal(trace_read(path, &log), RL_EINVAL);
    assert_int_equal(file_write(path, text, sizeof text), RL_OK);
    assert_int_equal(trace_read(path, &log), RL_EINVAL);
    assert_int_equal(trace_open("/nowhere/x.ring", 16), RL_EIO);
}

/* What one thread did nests, and has times that a clock can show. */
static void assert_sound(const struct trace_log *log)
{
    for (size_t i = 0; i < log->n; i++) {
        const struct trace_event *a = &log->events[i];
        assert_true(a->begin >= 0 && a->begin <= TRACE_LONGEST && a->end <= TRACE_LONGEST);
        assert_true(a->end == 0 || a->end >= a->begin);
        for (size_t k = 0; k < log->n; k++) {
            const struct trace_event *b = &log->events[k];
            double end = b->end > 0 ? b->end : INFINITY;
            if (a->thread == b->thread && a->end > 0)
                assert_false(a->begin < b->begin && b->begin < a->end && a->end < end);
        }
    }
}

/* A byte of every hundred is another: read without what it hit, or refused. */
static void test_what_is_damaged_is_left_out(void **state)
{
    struct text whole = { 0 }, copy = { 0 };
    struct trace_log log;
    struct trace outer;
    uint32_t random = 1;
    int read = 0, damaged = 0;

    (void)state;
    assert_int_equal(trace_open(path, 64), RL_OK);
    for (int i = 0; i < 15; i++) {
        outer = trace_begin("outer");
        span("inner", i);
        span("inner", i);
        trace_end(outer, TRACE_NOTHING, 0);
    }
    trace_begin("open");
    trace_close();
    assert_int_equal(file_read(path, &whole), RL_OK);
    for (int round = 0; round < 300; round++) {
        text_clear(&copy);
        text_add(&copy, whole.data, whole.size);
        for (size_t at = 0; at < copy.size; at += 1 + random % 200) {
            random = random * 1664525u + 1013904223u;
            copy.data[at] = (char)(random >> 24);
            at += round % 2 ? 0 : sizeof(struct trace_event) * (random >> 20 & 15);
        }
        memcpy(copy.data, whole.data, 64);
        assert_int_equal(file_write(path, copy.data, copy.size), RL_OK);
        if (trace_read(path, &log) != RL_OK)
            continue;
        assert_sound(&log);
        read++;
        damaged += log.damaged > 0;
        trace_log_free(&log);
    }
    assert_in_range(read, 50, 300);
    assert_in_range(damaged, 50, 300);
    text_free(&whole);
    text_free(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_kept_before_it_is_open, make_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_spans_nest_and_say_what_they_did, make_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_a_span_left_open_ends_with_the_one_around_it,
                                        make_path, remove_file),
        cmocka_unit_test_setup_teardown(test_deeper_spans_than_there_is_room_for_are_left_out,
                                        make_path, remove_file),
        cmocka_unit_test_setup_teardown(test_a_full_ring_keeps_the_newest_and_counts_the_rest,
                                        make_path, remove_file),
        cmocka_unit_test_setup_teardown(test_only_the_wanted_steps_are_kept, make_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_threads_have_tracks_of_their_own, make_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_what_a_killed_process_did_can_be_read, make_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_other_files_are_refused, make_path, remove_file),
        cmocka_unit_test_setup_teardown(test_what_is_damaged_is_left_out, make_path, remove_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
