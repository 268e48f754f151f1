/* Rewards from outside: shared objects, programs on pipes, servers; what happens when they fail. */
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "reward/reward.h"
#include "tests/scorer.h"
#include "tests/support.h"

#define MANY 3000

static const char *beside(const char *name)
{
    char folder[4000];

    snprintf(folder, sizeof folder, "%s", scorer_self());
    *strrchr(folder, '/') = 0;
    return support_path(folder, name);
}

static struct response texts[MANY];
static double scores[MANY];

/* n responses of 10, 11, ... bytes; the k-th (if any) is `odd`. */
static const struct response *responses(int n, int k, const char *odd)
{
    static char room[MANY + 64];

    memset(room, 'x', sizeof room - 1);
    for (int i = 0; i < n; i++)
        texts[i] = (struct response){ .text = room + MANY + 53 - i, .bytes = (size_t)(10 + i),
                                      .count = i, .finish = FINISH_EOS, .prompt = "so\n" };
    if (k >= 0)
        texts[k].text = odd, texts[k].bytes = strlen(odd);
    return texts;
}

/* Scores of n responses, `rounds` times; *trouble is of the last. */
static void score_rounds(const struct config_reward *c, int n, int rounds, int k, const char *odd,
                         struct text *trouble)
{
    const struct reward_kind *kind = reward_kind_find(c->kind);
    void *state;

    assert_ok(kind->open(&state, c, "here"));
    for (int i = 0; i < rounds; i++) {
        text_clear(trouble);
        assert_ok(kind->score_many(state, responses(n, k, odd), n, scores, trouble));
    }
    kind->close(state);
}

static void assert_lengths(int from, int to)
{
    for (int i = from; i < to; i++)
        if (scores[i] != 10 + i)
            fail_msg("score %d is %g", i, scores[i]);
}

static void assert_says(const struct text *trouble, const char *part)
{
    if (!trouble->data || !strstr(trouble->data, part))
        fail_msg("\"%s\" does not say \"%s\"", trouble->data ? trouble->data : "", part);
}

static void assert_unopened(const struct config_reward *c, const char *part)
{
    void *opened = (void *)c;

    status_hold(true);
    assert_int_equal(reward_kind_find(c->kind)->open(&opened, c, "run.cfg:3"), RL_EINVAL);
    if (!strstr(status_message(), part) || strncmp(status_message(), "run.cfg:3: ", 11) != 0)
        fail_msg("\"%s\" does not say \"%s\"", status_message(), part);
    status_drop();
    status_hold(false);
    assert_null(opened);
}

/* ---- plug-ins */

static void test_the_example_plugin_scores(void **state)
{
    struct config_reward c = { .kind = "plugin", .path = (char *)beside("../reward/example/"
                                                                       "vowels.so") };
    struct response two[2] = { { .text = "banana", .bytes = 6 }, { .text = "" } };
    const struct reward_kind *kind = reward_kind_find("plugin");
    struct text trouble = {0};
    void *opened;

    (void)state;
    assert_ok(kind->open(&opened, &c, "here"));
    assert_ok(kind->score_many(opened, two, 2, scores, &trouble));
    assert_true(scores[0] == 0.5 && isnan(scores[1]));
    kind->close(opened);
    c.settings = "n";
    assert_ok(kind->open(&opened, &c, "here"));
    assert_ok(kind->score_many(opened, two, 1, scores, &trouble));
    assert_true(scores[0] == 2.0 / 6);
    kind->close(opened);
}

static void assert_numbers_are_whole(void)
{
    volatile double small = DBL_MIN;

    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_true(small / 4 > 0);
}

static void test_a_plugin_cannot_change_the_arithmetic(void **state)
{
    struct config_reward c = { .kind = "plugin", .path = (char *)beside("plugin_flush.so") };
    const struct reward_kind *kind = reward_kind_find("plugin");
    struct text trouble = {0};
    void *opened;

    (void)state;
    assert_ok(kind->open(&opened, &c, "here"));
    assert_numbers_are_whole();
    assert_ok(kind->score_many(opened, responses(4, -1, NULL), 4, scores, &trouble));
    assert_numbers_are_whole();
    assert_true(scores[3] == 3);
    kind->close(opened);
    assert_numbers_are_whole();
    c.settings = "later";
    score_rounds(&c, 2, 1, -1, NULL, &trouble);
    assert_true(isnan(scores[0]) && isnan(scores[1]));
    assert_says(&trouble, "out of sorts");
    c.settings = "no";
    assert_unopened(&c, "does not open: the settings say no");
    assert_numbers_are_whole();
    text_free(&trouble);
}

static void test_a_plugin_cannot_end_the_run_as_done(void **state)
{
    struct config_reward c = { .kind = "plugin", .path = (char *)beside("plugin_flush.so"),
                               .settings = "exit" };
    struct text trouble = {0};
    char said[512] = "";
    int ends[2], status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        score_rounds(&c, 2, 1, -1, NULL, &trouble);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    assert_non_null(strstr(said, "plugin_flush.so: the plugin called exit()"));
    close(ends[0]);
    close(ends[1]);
}

static void test_objects_that_are_no_plugins_are_named(void **state)
{
    struct config_reward c = { .kind = "plugin" };

    (void)state;
    assert_unopened(&c, "path: missing");
    c.path = "no-such.so";
    assert_unopened(&c, "no-such.so");
    c.path = (char *)beside("plugin_scoreless.so");
    assert_unopened(&c, "plugin_scoreless.so: rankwise_plugin has no score");
    c.path = "/lib/x86_64-linux-gnu/libm.so.6";
    if (access(c.path, R_OK) == 0)
        assert_unopened(&c, "has no variable rankwise_plugin");
}

/* ---- programs on pipes */

static void test_a_program_scores_one_by_one_or_all_at_once(void **state)
{
    struct config_reward one = scorer_process("plain"), all;
    struct text trouble = {0};

    (void)state;
    score_rounds(&one, 7, 3, -1, NULL, &trouble);
    assert_lengths(0, 7);
    assert_true(trouble.size == 0);
    all = scorer_process("once");
    all.timeout = 20;
    score_rounds(&all, 7, 1, -1, NULL, &trouble);
    assert_lengths(0, 7);
    text_free(&trouble);
}

/* Megabytes each way: whoever writes all before it reads would wait for ever. */
static void test_full_pipes_do_not_block(void **state)
{
    struct config_reward c = scorer_process("noise");
    struct text trouble = {0};

    (void)state;
    score_rounds(&c, 20, 1, -1, NULL, &trouble);
    assert_lengths(0, 20);
    c = scorer_process("plain");
    score_rounds(&c, MANY, 1, -1, NULL, &trouble);
    assert_lengths(0, MANY);
    text_free(&trouble);
}

static void test_a_program_that_dies_is_started_again(void **state)
{
    struct config_reward c = scorer_process("die");
    struct text trouble = {0};

    (void)state;
    signal(SIGPIPE, SIG_DFL);                   /* a pipe without a reader must not end us */
    c.retries = 5;
    score_rounds(&c, 9, 2, -1, NULL, &trouble);         /* two answers a life */
    assert_lengths(0, 9);
    c.retries = 1;
    score_rounds(&c, 9, 1, -1, NULL, &trouble);
    assert_lengths(0, 4);
    assert_true(isnan(scores[4]) && isnan(scores[8]));
    assert_says(&trouble, "ended with exit status 3");
    text_free(&trouble);
}

static void test_a_response_that_kills_is_left_out(void **state)
{
    struct config_reward c = scorer_process("poison 2>/dev/null");
    struct text trouble = {0};

    (void)state;
    score_rounds(&c, 9, 1, 4, "a poisoned one", &trouble);
    assert_lengths(0, 4);
    assert_true(isnan(scores[4]));
    assert_lengths(5, 9);
    assert_says(&trouble, "was killed by signal 6");
    text_free(&trouble);
}

static void test_a_late_program_is_ended_and_started_again(void **state)
{
    struct config_reward c = scorer_process("sleep");
    struct text trouble = {0};
    double t = clock_now();

    (void)state;
    c.timeout = 2;
    score_rounds(&c, 5, 2, -1, NULL, &trouble);         /* it answers one, then sleeps */
    assert_true(scores[0] == 10 && isnan(scores[1]) && isnan(scores[4]));
    assert_says(&trouble, "gave 1 of 5 scores in 2 seconds");
    assert_true(clock_now() - t < 20);
    text_free(&trouble);
}

/* Others wait for the rank that asks no longer than the run's deadline. */
static void assert_lost(const struct config_reward *c, int n, const char *part)
{
    const struct reward_kind *kind = reward_kind_find(c->kind);
    struct text trouble = {0};
    double t = clock_now();
    void *opened;

    assert_ok(kind->open(&opened, c, "here"));
    assert_int_equal(kind->score_many(opened, responses(n, -1, NULL), n, scores, &trouble),
                     RL_ELOST);
    assert_true(clock_now() - t < 20);
    assert_says(&trouble, part);
    kind->close(opened);
    text_free(&trouble);
}

static void test_the_deadline_ends_a_longer_timeout(void **state)
{
    struct config_reward c = scorer_process("sleep");

    (void)state;
    c.timeout = 60;
    c.deadline = 0.5;
    assert_lost(&c, 5, "gave 1 of 5 scores in 0.5 seconds");
}

static void test_what_is_no_reply_is_passed_over(void **state)
{
    struct config_reward c = scorer_process("garbage");
    struct text trouble = {0};

    (void)state;
    score_rounds(&c, 5, 1, -1, NULL, &trouble);
    assert_lengths(0, 5);
    c = scorer_process("plain");
    c.command = "while read line; do echo hello; done";
    c.timeout = 2;
    score_rounds(&c, 2, 1, -1, NULL, &trouble);
    assert_says(&trouble, "its last line that is no reply: hello");
    c.command = "while read line; do echo '{\"scores\":[1,2,3]}'; done";
    score_rounds(&c, 2, 1, -1, NULL, &trouble);
    assert_says(&trouble, "gave 0 of 2 scores");
    text_free(&trouble);
}

/* Memory does not grow with what a program prints. */
static void test_a_line_without_an_end_is_cut_off(void **state)
{
    struct config_reward c = scorer_process("endless");
    struct text trouble = {0};

    (void)state;
    c.retries = 0;
    score_rounds(&c, 2, 1, -1, NULL, &trouble);
    assert_true(isnan(scores[0]) && isnan(scores[1]));
    assert_says(&trouble, "no reply: one of more than 64 MiB");
    text_free(&trouble);
}

static void test_nan_is_no_score(void **state)
{
    struct config_reward c = scorer_process("nan");
    struct text trouble = {0};

    (void)state;
    score_rounds(&c, 4, 1, -1, NULL, &trouble);
    for (int i = 0; i < 4; i++)
        assert_true(isnan(scores[i]));
    assert_int_equal(trouble.size, 0);          /* each came at once: nobody waited */
    c = scorer_process("big");
    score_rounds(&c, 1, 1, -1, NULL, &trouble);
    assert_true(scores[0] == 1e19);
    text_free(&trouble);
}

static void test_commands_that_cannot_run_are_named(void **state)
{
    struct config_reward c = { .kind = "process", .timeout = 1 };

    (void)state;
    assert_unopened(&c, "command: missing");
    c.command = "/no/such/program 2>/dev/null";
    assert_unopened(&c, "\"/no/such/program 2>/dev/null\" ended with exit status 127");
}

/* ---- servers */

static struct config_reward http_of(char **urls, int n)
{
    return (struct config_reward){ .kind = "http", .name = "h", .servers = { urls, n },
                                   .timeout = 5, .retries = 3, .batch = 4, .weight = 1 };
}

static void test_servers_share_the_batches(void **state)
{
    struct scorer a, b;
    char *urls[2] = { a.url, b.url };
    struct config_reward c = http_of(urls, 2);
    struct text trouble = {0};

    (void)state;
    scorer_start(&a, "o");
    scorer_start(&b, "o");
    setenv("http_proxy", "http://127.0.0.1:1", 1);      /* not asked */
    score_rounds(&c, 30, 2, -1, NULL, &trouble);
    unsetenv("http_proxy");
    assert_lengths(0, 30);
    assert_true(trouble.size == 0);
    assert_int_equal(a.counts->requests + b.counts->requests, 16);
    assert_true(a.counts->requests > 2 && b.counts->requests > 2);
    assert_int_equal(a.counts->most, 4);
    scorer_stop(&a);
    scorer_stop(&b);
    text_free(&trouble);
}

static void test_a_request_that_fails_is_repeated(void **state)
{
    static const char *const plans[] = { "5o", "ho", "go", "so", "mo" };
    struct text trouble = {0};

    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct scorer s;
        char *urls[1] = { s.url };
        struct config_reward c = http_of(urls, 1);
        scorer_start(&s, plans[i]);
        score_rounds(&c, 6, 1, -1, NULL, &trouble);
        assert_lengths(0, 6);
        assert_true(trouble.size == 0);
        assert_int_equal(s.counts->requests, 3);
        scorer_stop(&s);
    }
    text_free(&trouble);
}

static void test_a_dead_server_leaves_its_work_to_the_other(void **state)
{
    struct scorer s;
    char *urls[2] = { "http://127.0.0.1:1/", s.url };
    struct config_reward c = http_of(urls, 2);
    struct text trouble = {0};

    (void)state;
    scorer_start(&s, "o");
    score_rounds(&c, 30, 1, -1, NULL, &trouble);
    assert_lengths(0, 30);
    scorer_stop(&s);
    text_free(&trouble);
}

static void test_servers_that_fail_are_named(void **state)
{
    static const struct { const char *plan, *says; } cases[] = {
        { "5", "answers with status 500" }, { "g", "gave 0 scores for 4 responses: <html>" },
        { "s", "gave 3 scores for 4 responses" }, { "m", "gave 5 scores for 4 responses" },
        { "h", "(asked 2 times)" },
    };
    struct text trouble = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scorer s;
        char *urls[1] = { s.url };
        struct config_reward c = http_of(urls, 1);
        scorer_start(&s, cases[i].plan);
        c.retries = 1;
        score_rounds(&c, 4, 1, -1, NULL, &trouble);
        for (int n = 0; n < 4; n++)
            assert_true(isnan(scores[n]));
        assert_int_equal(s.counts->requests, 2);
        assert_says(&trouble, s.url);
        assert_says(&trouble, cases[i].says);
        scorer_stop(&s);
    }
    text_free(&trouble);
}

static void test_a_late_server_is_not_waited_for(void **state)
{
    struct scorer s;
    char *urls[1] = { s.url };
    struct config_reward c = http_of(urls, 1);
    struct text trouble = {0};
    double t = clock_now();

    (void)state;
    scorer_start(&s, "w");
    c.timeout = 0.2;
    c.retries = 0;
    score_rounds(&c, 2, 1, -1, NULL, &trouble);
    assert_true(isnan(scores[0]) && clock_now() - t < 1.5);
    assert_says(&trouble, "(asked 1 times)");
    scorer_stop(&s);
    text_free(&trouble);
}

static void test_the_deadline_ends_the_repeats_of_requests(void **state)
{
    struct scorer s;
    char *urls[1] = { s.url };
    struct config_reward c = http_of(urls, 1);

    (void)state;
    scorer_start(&s, "wwww");
    c.timeout = 0.2;
    c.retries = 1000;
    c.deadline = 0.5;
    assert_lost(&c, 2, "2 of 2 responses have no answer");
    scorer_stop(&s);
}

static void test_null_from_a_server_is_no_score(void **state)
{
    struct scorer s;
    char *urls[1] = { s.url };
    struct config_reward c = http_of(urls, 1);
    struct text trouble = {0};

    (void)state;
    scorer_start(&s, "n");
    score_rounds(&c, 3, 1, -1, NULL, &trouble);
    assert_true(isnan(scores[0]) && isnan(scores[2]));
    assert_int_equal(s.counts->requests, 1);
    scorer_stop(&s);
    text_free(&trouble);
}

/* Nobody waits for a program or a server that hangs once a stop is asked, nor for 20 seconds. */
static void test_a_stop_ends_the_wait(void **state)
{
    struct scorer s;
    char *urls[1] = { s.url };
    struct config_reward asked[2] = { scorer_process("sleep"), http_of(urls, 1) };
    const char *folder = support_folder();
    struct text trouble = { 0 };

    (void)state;
    scorer_start(&s, "w");
    stop_folder(folder);
    stop_cuts_waits(true);
    for (int i = 0; i < 2; i++) {
        const struct reward_kind *kind = reward_kind_find(asked[i].kind);
        double begin = clock_now();
        void *handle;
        assert_ok(kind->open(&handle, &asked[i], "here"));
        support_write(folder, "stop", "");
        assert_int_equal(kind->score_many(handle, responses(4, -1, NULL), 4, scores, &trouble),
                         RL_ESTOP);
        kind->close(handle);
        assert_true(clock_now() - begin < 1.9);
        stop_answered();
    }
    assert_int_equal(trouble.size, 0);
    stop_cuts_waits(false);
    scorer_stop(&s);
    text_free(&trouble);
}

static void test_addresses_that_are_none_are_named(void **state)
{
    char *urls[1] = { "ftp://127.0.0.1/" };
    struct config_reward c = http_of(urls, 1);

    (void)state;
    assert_unopened(&c, "\"ftp://127.0.0.1/\" begins with neither");
    urls[0] = "http://";
    assert_unopened(&c, "servers: \"http://\": No host");
    urls[0] = "http://127.0.0.1:99999/";
    assert_unopened(&c, "servers: \"http://127.0.0.1:99999/\": Port number");
    c.servers.count = 0;
    assert_unopened(&c, "servers: missing");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_plugin_scores),
        cmocka_unit_test(test_a_plugin_cannot_change_the_arithmetic),
        cmocka_unit_test(test_a_plugin_cannot_end_the_run_as_done),
        cmocka_unit_test(test_objects_that_are_no_plugins_are_named),
        cmocka_unit_test(test_a_program_scores_one_by_one_or_all_at_once),
        cmocka_unit_test(test_full_pipes_do_not_block),
        cmocka_unit_test(test_a_program_that_dies_is_started_again),
        cmocka_unit_test(test_a_response_that_kills_is_left_out),
        cmocka_unit_test(test_a_late_program_is_ended_and_started_again),
        cmocka_unit_test(test_the_deadline_ends_a_longer_timeout),
        cmocka_unit_test(test_what_is_no_reply_is_passed_over),
        cmocka_unit_test(test_a_line_without_an_end_is_cut_off),
        cmocka_unit_test(test_nan_is_no_score),
        cmocka_unit_test(test_commands_that_cannot_run_are_named),
        cmocka_unit_test(test_servers_share_the_batches),
        cmocka_unit_test(test_a_request_that_fails_is_repeated),
        cmocka_unit_test(test_a_dead_server_leaves_its_work_to_the_other),
        cmocka_unit_test(test_servers_that_fail_are_named),
        cmocka_unit_test(test_a_late_server_is_not_waited_for),
        cmocka_unit_test(test_the_deadline_ends_the_repeats_of_requests),
        cmocka_unit_test(test_null_from_a_server_is_no_score),
        cmocka_unit_test(test_a_stop_ends_the_wait),
        cmocka_unit_test(test_addresses_that_are_none_are_named),
    };

    if (argc == 3 && strcmp(argv[1], "scorer") == 0)
        return scorer_main(argv[2]);
    log_quiet(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
