/* The supervisor's parts that start nothing: the decision, placement on fewer ranks, hosts, what
 * mpirun's messages tell, the marker. */
#include "tests/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "launch/folder.h"
#include "launch/hosts.h"
#include "launch/job.h"
#include "launch/losses.h"
#include "launch/outcome.h"
#include "launch/placement.h"

/* ---- the decision */

static struct outcome lost_at(int64_t step, const char *reason)
{
    struct outcome o = { .exit_code = 3, .step = step };

    snprintf(o.reason, sizeof o.reason, "%s", reason);
    return o;
}

static enum next decide(struct losses *l, int64_t step, const char *reason, int64_t most)
{
    struct outcome o = lost_at(step, reason);

    return losses_decide(l, &o, most);
}

static void test_only_a_loss_is_started_again(void **state)
{
    static const int ended[] = { 0, 1, 2, 4, 5 };
    struct losses l = { .furthest = -1 };

    (void)state;
    for (size_t i = 0; i < sizeof ended / sizeof *ended; i++) {
        struct outcome o = { .exit_code = ended[i], .step = 7 };
        assert_int_equal(losses_decide(&l, &o, 9), NEXT_ENDED);
    }
    assert_int_equal(l.count, 0);
    assert_int_equal(decide(&l, 7, "rank 2", 9), NEXT_AGAIN);
    assert_int_equal(l.count, 1);
}

static void test_the_same_loss_twice_is_the_last(void **state)
{
    struct losses l = { .furthest = -1 };

    (void)state;
    assert_int_equal(decide(&l, 7, "rank 2", 9), NEXT_AGAIN);
    assert_int_equal(decide(&l, 7, "rank 3", 9), NEXT_AGAIN);       /* another reason */
    assert_int_equal(decide(&l, 8, "rank 3", 9), NEXT_AGAIN);       /* another step */
    assert_int_equal(decide(&l, 8, "rank 3", 9), NEXT_SAME_TWICE);
    assert_int_equal(decide(&l, 9, "rank 3 died; rank 1 waits", 9), NEXT_AGAIN);
    assert_int_equal(decide(&l, 9, "rank 3 died; rank 0 waits", 9), NEXT_SAME_TWICE);
}

static void test_restarts_are_limited(void **state)
{
    struct losses l = { .furthest = -1 }, none = { .furthest = -1 };

    (void)state;
    assert_int_equal(decide(&l, 1, "a", 2), NEXT_AGAIN);
    assert_int_equal(decide(&l, 2, "a", 2), NEXT_AGAIN);
    assert_int_equal(decide(&l, 3, "a", 2), NEXT_TOO_MANY);
    assert_int_equal(decide(&none, 1, "a", 0), NEXT_TOO_MANY);
}

static void test_starts_without_a_step_wait_longer_each_time(void **state)
{
    struct losses l = { .furthest = -1 };

    (void)state;
    decide(&l, 4, "a", 99);
    assert_true(losses_pause(&l, 2) == 0);
    decide(&l, 4, "b", 99);
    assert_true(losses_pause(&l, 2) == 2);
    decide(&l, 3, "c", 99);
    assert_true(losses_pause(&l, 2) == 4);
    decide(&l, 5, "d", 99);
    assert_true(losses_pause(&l, 2) == 0);
    for (int i = 0; i < 40; i++)
        decide(&l, 5, i % 2 ? "e" : "f", 99);
    assert_true(losses_pause(&l, 2) == 60);
    assert_true(losses_pause(&l, 0) == 0);
}

/* ---- placement on fewer ranks */

static struct config *config_with(const char *algorithm, const char *ranks)
{
    const char *cfg = support_write(support_folder(), "x.cfg",
                                    "model = \"m\"; prompts = \"p\"; pairs = [\"p\"];\n"
                                    "rewards = { kind = \"length\"; }; output = \"o\";\n");
    char name[64], list[600];
    char *arguments[] = { name, list };
    struct config *c;

    snprintf(name, sizeof name, "algorithm=%s", algorithm);
    snprintf(list, sizeof list, "ranks=%s", ranks ? ranks : "");
    assert_ok(config_open(&c, cfg, arguments, ranks ? 2 : 1));
    return c;
}

#define GROUP(count, role) "{count=" #count ";roles=[\"" #role "\"];}"
#define SEVEN \
    "(" GROUP(4, actor) "," GROUP(2, learner) ",{count=1;roles=[\"reward\",\"refmodel\"];})"

static void check_scaled(const char *ranks, int n, const char *want)
{
    struct config *c = config_with("online_dpo", ranks), *scaled;
    struct text text = { 0 };
    struct placement p;

    placement_scale(c, n, &text);
    assert_string_equal(text.data ? text.data : "", want);
    if (text.data) {                    /* and a run can be made of it */
        assert_ok(config_open(&scaled, c->path,
                              (char *[]){ "algorithm=online_dpo", text.data }, 2));
        assert_ok(placement_make(&p, scaled, n));
        placement_free(&p);
        config_close(scaled);
    }
    text_free(&text);
    config_close(c);
}

static void test_groups_shrink_in_proportion(void **state)
{
    (void)state;
    check_scaled(SEVEN, 7, "");
    check_scaled(SEVEN, 9, "");
    check_scaled(NULL, 1, "");
    check_scaled(SEVEN, 6, "ranks=({count=3;roles=[\"actor\"];},{count=2;roles=[\"learner\"];},"
                           "{count=1;roles=[\"reward\",\"refmodel\"];})");
    check_scaled(SEVEN, 4, "ranks=({count=2;roles=[\"actor\"];},{count=1;roles=[\"learner\"];},"
                           "{count=1;roles=[\"reward\",\"refmodel\"];})");
}

static void test_fewer_ranks_than_groups_hold_several_roles(void **state)
{
    (void)state;
    check_scaled(SEVEN, 2, "ranks=({count=1;roles=[\"actor\"];},"
                           "{count=1;roles=[\"learner\",\"reward\",\"refmodel\"];})");
    check_scaled(SEVEN, 1, "ranks=({count=1;roles=[\"actor\",\"learner\",\"reward\","
                           "\"refmodel\"];})");
}

/* Whatever there was and is left: as many ranks as are left, every role held. */
static void test_every_role_is_kept(void **state)
{
    (void)state;
    for (int a = 1; a < 6; a++)
        for (int b = 1; b < 6; b++)
            for (int n = 1; n < a + b + 1; n++) {
                char ranks[512];
                struct text text = { 0 };
                struct config *c, *scaled;
                struct placement p;
                int idle = 0;
                snprintf(ranks, sizeof ranks,
                         "({count=%d;roles=[\"actor\"];},{count=%d;roles=[\"learner\"];},"
                         "{count=1;roles=[\"reward\",\"refmodel\"];})", a, b);
                c = config_with("online_dpo", ranks);
                placement_scale(c, n, &text);
                assert_ok(config_open(&scaled, c->path,
                                      (char *[]){ "algorithm=online_dpo", text.data }, 2));
                assert_ok(placement_make(&p, scaled, n));
                for (int r = 0; r < n; r++)
                    idle += p.roles[r] == 0;
                assert_int_equal(idle, 0);
                placement_free(&p);
                config_close(scaled);
                config_close(c);
                text_free(&text);
            }
}

/* Ranks that the algorithm has no use for are the first to go. */
static void test_idle_groups_go_first(void **state)
{
    struct config *c = config_with("dpo", SEVEN);
    struct text text = { 0 };

    (void)state;
    placement_scale(c, 3, &text);
    assert_string_equal(text.data, "ranks=({count=2;roles=[\"learner\"];},"
                                   "{count=1;roles=[\"refmodel\"];})");
    text_free(&text);
    config_close(c);
}

/* ---- hosts */

static void test_hosts_by_words_and_by_file(void **state)
{
    const char *file = support_write(support_folder(), "hosts",
                                     "# four\na:2\n\nb slots=3   # more\nc\n");
    struct text here = { 0 }, missing = { 0 };
    struct hosts h;

    (void)state;
    assert_ok(hosts_parse(&h, "a:2,b"));
    assert_int_equal(h.n, 2);
    assert_int_equal(hosts_slots(&h, false), 3);
    hosts_free(&h);
    assert_ok(hosts_parse(&h, file));
    assert_int_equal(h.n, 3);
    h.list[1].answers = false;
    assert_int_equal(hosts_slots(&h, false), 6);
    assert_int_equal(hosts_slots(&h, true), 3);
    hosts_here(&h, true, &here);
    hosts_missing(&h, &missing);
    assert_string_equal(here.data, "a:2,c:1");
    assert_string_equal(missing.data, "b");
    text_free(&here);
    text_free(&missing);
    hosts_free(&h);
}

static void test_bad_hosts_are_refused(void **state)
{
    static const char *const bad[] = { "", "a:0", "a:x", "a:2,a:2", "a;rm", "-x", "a:2 slots=3",
                                       "a lots=3", "a:99999999999" };
    struct hosts h;

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hosts_parse(&h, bad[i]), RL_EINVAL);
        assert_non_null(strstr(status_message(), "--hosts"));
    }
    status_drop();
    status_hold(false);
}

static void test_a_host_that_is_nowhere_does_not_answer(void **state)
{
    struct hosts h;

    (void)state;
    assert_ok(hosts_parse(&h, "localhost:2,no-such-host.invalid"));
    assert_int_equal(hosts_ask(&h, "true"), 2);
    assert_int_equal(hosts_ask(&h, "false"), 0);
    hosts_free(&h);
}

/* Commands of Slurm's in a folder at the head of PATH, until `before` is put back. */
static void stand_in(const char *folder, struct text *before)
{
    struct text path = { 0 };

    text_adds(before, getenv("PATH"));
    text_addf(&path, "%s:%s", folder, before->data);
    setenv("PATH", path.data, 1);
    text_free(&path);
}

static void put_back(struct text *before)
{
    setenv("PATH", before->data, 1);
    text_free(before);
}

/* scontrol's answer. */
static void test_hosts_of_a_slurm_job(void **state)
{
    const char *folder = support_folder();
    const char *scontrol = support_write(folder, "scontrol", "#!/bin/sh\nprintf 'a\\nb\\nc\\n'\n");
    struct text before = { 0 }, here = { 0 };
    struct hosts h;

    (void)state;
    assert_int_equal(chmod(scontrol, 0755), 0);
    stand_in(folder, &before);
    setenv("SLURM_TASKS_PER_NODE", "2(x2),1", 1);
    assert_ok(hosts_of_slurm(&h));
    hosts_here(&h, true, &here);
    assert_string_equal(here.data, "a:2,b:2,c:1");
    hosts_free(&h);
    unsetenv("SLURM_TASKS_PER_NODE");           /* salloc without -n */
    assert_ok(hosts_of_slurm(&h));
    assert_int_equal(hosts_slots(&h, false), 3);
    hosts_free(&h);
    put_back(&before);
    text_free(&here);
}

/* A job of which Slurm has taken b away; hosts that no network knows are mute, not lost. */
static void test_a_slurm_job_loses_a_node(void **state)
{
    const char *folder = support_folder();
    const char *scontrol = support_write(folder, "scontrol", "#!/bin/sh\ncase $2 in\n"
        "config) echo 'SlurmdPort              = 6818' ;;\n"
        "*) [ \"$3\" ] && printf 'localhost\\nc.invalid\\n' ||\n"
        "    printf 'localhost\\nb.invalid\\nc.invalid\\n' ;;\nesac\n");
    const char *squeue = support_write(folder, "squeue", "#!/bin/sh\necho list\n");
    struct text before = { 0 }, missing = { 0 };
    struct hosts h;

    (void)state;
    assert_int_equal(chmod(scontrol, 0755) | chmod(squeue, 0755), 0);
    stand_in(folder, &before);
    setenv("SLURM_JOB_ID", "1", 1);
    assert_ok(hosts_of_slurm(&h));
    assert_int_equal(h.slurmd, 6818);
    assert_int_equal(h.n, 3);
    assert_int_equal(hosts_ask_slurm(&h, true), 2);
    assert_int_equal(hosts_answering(&h), 2);
    assert_null(hosts_silent(&h));
    assert_int_equal(hosts_ask_slurm(&h, false), 2);
    hosts_missing(&h, &missing);
    assert_string_equal(missing.data, "b.invalid");
    h.list[2].mute = false;
    assert_string_equal(hosts_silent(&h), "c.invalid");
    assert_int_equal(hosts_ask_slurm(&h, false), 1);
    hosts_free(&h);
    unsetenv("SLURM_JOB_ID");
    put_back(&before);
    text_free(&missing);
}

/* ---- who died */

static void test_mpirun_says_who_died(void **state)
{
    struct job j = { .rank = -1 };

    (void)state;
    assert_false(job_understands(&j, "There are not enough slots available in the system\n"));
    assert_true(job_understands(&j, "mpirun noticed that process rank 2 with PID 0 on node h3 "
                                    "exited on signal 9 (Killed).\n"));
    assert_int_equal(j.rank, 2);
    assert_string_equal(j.host, "h3");
    assert_string_equal(j.what, "was killed by signal 9 (Killed)");
    assert_true(job_understands(&j, "mpirun noticed that process rank 1 with PID 0 on node h2 "
                                    "exited on signal 9 (Killed).\n"));
    assert_int_equal(j.rank, 2);                        /* the first is the cause */
}

static void test_a_lost_host_has_a_name(void **state)
{
    struct job a = { .rank = -1 }, b = { .rank = -1 };

    (void)state;
    assert_true(job_understands(&a, "ORTE has lost communication with a remote daemon.\n\n"
                                    "  HNP daemon   : [[1,0],0] on node head\n"
                                    "  Remote daemon: [[1,0],3] on node h3\n\nThis is\n"));
    assert_int_equal(a.rank, -1);
    assert_string_equal(a.host, "h3");
    assert_string_equal(a.what, "was lost");
    assert_true(job_understands(&b, "srun: error: h2: task 1: Killed\n"));
    assert_int_equal(b.rank, 1);
    assert_string_equal(b.host, "h2");
    b = (struct job){ .rank = -1 };
    assert_true(job_understands(&b, "srun: error: h4: tasks 6-7: Killed\n"));
    assert_int_equal(b.rank, 6);
    assert_string_equal(b.what, "ended: Killed");
    assert_true(b.sudden);
}

/* What mpirun frames with dashes is its own, but for lines of ours; other dashes are no frame. */
static void test_a_ranks_line_is_heard_in_any_company(void **state)
{
    static const char script[] =
        "exec >&2; echo -----------------------------; echo a; "
        "echo --------------------------------------------------------------------------; "
        "echo MPI_ABORT was invoked on rank 1; echo 'rankwise: rank 1 is stopped'; echo b; "
        "echo --------------------------------------------------------------------------; "
        "echo c";
    char *argv[] = { "sh", "-c", (char *)script, NULL };
    int saved = dup(STDERR_FILENO), out = open(support_path(support_folder(), "said"),
                                               O_RDWR | O_CREAT, 0600);
    char said[4096] = "";
    struct job j;

    (void)state;
    fflush(stderr);
    dup2(out, STDERR_FILENO);
    assert_ok(job_start(&j, argv, STDOUT_FILENO));
    while (!job_watch(&j, 0.1))
        ;
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(pread(out, said, sizeof said - 1, 0) > 0);
    close(out);
    assert_string_equal(j.said, "rank 1 is stopped");
    assert_has(said, "-----------------------------\na\nrankwise: rank 1 is stopped\nc\n");
    job_free(&j);
}

/* ---- what both sides tell each other */

static void test_the_marker_comes_back_or_is_no_marker(void **state)
{
    struct outcome o = { .exit_code = 4, .step = 7, .reason = "NaN in \"x\"" }, back;
    struct restart told = { .start = 99 };
    const char *folder = support_folder();

    (void)state;
    assert_ok(restart_tell(&told));
    assert_ok(outcome_prepare(folder));
    assert_false(outcome_read(folder, 99, &back));
    assert_ok(outcome_write(folder, &o));
    assert_true(outcome_read(folder, 99, &back));
    assert_int_equal(back.exit_code, 4);
    assert_int_equal(back.step, 7);
    assert_string_equal(back.reason, o.reason);
    support_write(folder, "outcome.json", "{\"exit_code\": 0, \"st");
    assert_false(outcome_read(folder, 99, &back));
    support_write(folder, "outcome.json", "{\"exit_code\": 77, \"start\": 99}");
    assert_false(outcome_read(folder, 99, &back));
    support_write(folder, "outcome.json", "{\"exit_code\": 4294967296, \"start\": 99}");
    assert_false(outcome_read(folder, 99, &back));
    support_write(folder, "outcome.json", "{\"exit_code\": 0, \"step\": 12}");   /* no start's */
    assert_false(outcome_read(folder, 99, &back));
    support_write(folder, "outcome.json", "{\"exit_code\": 0, \"start\": 98}");  /* another's */
    assert_false(outcome_read(folder, 99, &back));
    assert_ok(outcome_prepare(folder));
    assert_false(outcome_read(folder, 99, &back));
    unsetenv("RANKWISE_RESTART");
}

/* A folder in the place of outcome.json.part: no new file can be written. */
static void test_the_marker_has_its_room_before(void **state)
{
    struct outcome o = { .exit_code = 1, .step = 12 }, back;
    const char *folder = support_folder();
    struct text t = { 0 };

    (void)state;
    status_hold(true);
    memset(o.reason, 1, sizeof o.reason - 1);       /* six bytes each */
    assert_ok(outcome_prepare(folder));
    assert_ok(outcome_prepare(folder));
    assert_int_equal(mkdir(support_path(folder, "outcome.json.part"), 0777), 0);
    assert_int_equal(mkdir(support_path(folder, "outcome.json.room.part"), 0777), 0);
    assert_ok(outcome_write(folder, &o));
    assert_true(outcome_read(folder, 0, &back));
    assert_int_equal(back.exit_code, 1);
    assert_string_equal(back.reason, o.reason);
    assert_ok(file_read(support_path(folder, "outcome.json"), &t));
    assert_has(t.data + t.size - 12, "\"start\": 0}\n");     /* no rest of the room behind it */
    assert_int_not_equal(outcome_write(folder, &o), RL_OK);
    status_drop();
    assert_int_not_equal(outcome_prepare(folder), RL_OK);
    assert_has(status_message(), "outcome.json.room");
    status_drop();
    status_hold(false);
    text_free(&t);
}

static void test_the_environment_tells_of_a_restart(void **state)
{
    struct restart r = { 3, 17, 5, 1764124481.25, 1764124481250000 }, back;

    (void)state;
    unsetenv("RANKWISE_RESTART");
    assert_false(restart_told(&back));
    assert_ok(restart_tell(&r));
    assert_true(restart_told(&back));
    assert_memory_equal(&r, &back, sizeof r);
    unsetenv("RANKWISE_RESTART");
}

static void test_the_last_whole_line_tells_the_step(void **state)
{
    const char *folder = support_folder();
    int64_t restarts, lost;

    (void)state;
    assert_int_equal(folder_last_step(folder, &restarts, &lost), 0);
    support_write(folder, "metrics.jsonl",
                  "{\"train/step\": 1}\n"
                  "{\"train/step\": 2, \"fault/restarts\": 1, \"fault/lost_steps\": 4}\n"
                  "{\"train/step\": 3, \"fault/res");
    assert_int_equal(folder_last_step(folder, &restarts, &lost), 2);
    assert_int_equal(restarts, 1);
    assert_int_equal(lost, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_a_loss_is_started_again),
        cmocka_unit_test(test_the_same_loss_twice_is_the_last),
        cmocka_unit_test(test_restarts_are_limited),
        cmocka_unit_test(test_starts_without_a_step_wait_longer_each_time),
        cmocka_unit_test(test_groups_shrink_in_proportion),
        cmocka_unit_test(test_fewer_ranks_than_groups_hold_several_roles),
        cmocka_unit_test(test_every_role_is_kept),
        cmocka_unit_test(test_idle_groups_go_first),
        cmocka_unit_test(test_hosts_by_words_and_by_file),
        cmocka_unit_test(test_bad_hosts_are_refused),
        cmocka_unit_test(test_hosts_of_a_slurm_job),
        cmocka_unit_test(test_a_slurm_job_loses_a_node),
        cmocka_unit_test(test_a_host_that_is_nowhere_does_not_answer),
        cmocka_unit_test(test_mpirun_says_who_died),
        cmocka_unit_test(test_a_lost_host_has_a_name),
        cmocka_unit_test(test_a_ranks_line_is_heard_in_any_company),
        cmocka_unit_test(test_the_marker_comes_back_or_is_no_marker),
        cmocka_unit_test(test_the_marker_has_its_room_before),
        cmocka_unit_test(test_the_environment_tells_of_a_restart),
        cmocka_unit_test(test_the_last_whole_line_tells_the_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
