/* The supervisor's story: hosts -> start -> watch -> outcome -> again; see supervisor.h. */
#include "launch/supervisor.h"

#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "launch/attempt.h"
#include "launch/folder.h"
#include "launch/hosts.h"
#include "launch/hung.h"
#include "launch/job.h"
#include "launch/launcher.h"
#include "launch/losses.h"
#include "launch/placement.h"
#include "launch/relay.h"
#include "launch/scratch.h"
#include "launch/timeline.h"
#include "learner/learner.h"

#define LOOK_EVERY 0.2          /* seconds */

struct supervisor {
    struct supervision asked;
    const char *path;                   /* the configuration, and what is given over it */
    char *const *assignments;
    int n_assignments;
    struct config *config;              /* as given */
    struct placement placement;         /* of the next start */
    struct text scaled;                 /* "ranks=(...)" of a start on fewer ranks */
    int ranks;                          /* of the next start */

    char output[4096], program[PATH_MAX];
    char frozen[4200];                  /* the configuration as it was read, */
    bool edited;                        /* for later starts if the file has changed since */
    char scratch[SCRATCH_ROOM];         /* folder on every host for mpirun's files, emptied */
    int lock;
    struct launcher launcher;
    struct hosts hosts, here;           /* here: where mpirun runs */

    struct relay relay;
    struct job job;
    struct hung hung;
    struct losses losses;
    struct restart restart;
};

/* ---- asked to stop */

static volatile sig_atomic_t asked;     /* how often */

static void on_signal(int number)
{
    (void)number;
    asked = asked + 1;
}

static void watch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- before the first start */

static int find_program(struct supervisor *s)
{
    ssize_t n = readlink("/proc/self/exe", s->program, sizeof s->program - 1);

    if (n < 0)
        return rl_error(RL_EIO, "cannot find this program in /proc");
    s->program[n] = 0;
    return RL_OK;
}

/* Who could take part: hosts that were named, those of Slurm, this machine. */
static int find_hosts(struct supervisor *s)
{
    int rc = RL_OK;

    s->launcher.slurm = !s->asked.hosts && getenv("SLURM_JOB_ID");
    TRY(hosts_local(&s->here));
    if (s->asked.hosts)
        TRY(hosts_parse(&s->hosts, s->asked.hosts));
    else if (s->launcher.slurm)
        TRY(hosts_of_slurm(&s->hosts));
    else if (s->asked.ranks < 1)
        return rl_error(RL_EINVAL, "run needs -n RANKS or --hosts");
    if (s->asked.ranks < 1)
        s->asked.ranks = hosts_slots(&s->hosts, false);
    if (s->hosts.n > 0 && s->asked.ranks > hosts_slots(&s->hosts, false))
        rc = rl_error(RL_EINVAL, "-n %" PRId64 ": the hosts take %d ranks; name more hosts, or "
                      "more ranks a host (a:4)", s->asked.ranks, hosts_slots(&s->hosts, false));
done:
    return rc;
}

/* The configuration and what is given over it: those of the command line, or what was read at first
 * when they say something else by now. */
static char **config_words(const struct supervisor *s, char **words, int *n)
{
    words[(*n)++] = (char *)(s->edited ? s->frozen : s->path);
    for (int i = 0; i < s->n_assignments && !s->edited; i++)
        words[(*n)++] = s->assignments[i];
    if (s->scaled.size > 0)
        words[(*n)++] = s->scaled.data;
    return words;
}

/* Train says itself what it leaves out. */
static int open_config(struct supervisor *s, struct config **c)
{
    char **words = calloc((size_t)s->n_assignments + 2, sizeof *words);
    int n = 0, rc = RL_OK;

    if (!words)
        return rl_error(RL_ENOFIT, "no memory for the configuration");
    config_words(s, words, &n);
    log_quiet(true);
    rc = config_open(c, words[0], words + 1, n - 1);
    if (rc == RL_OK)
        rc = algorithm_check(*c);
    log_quiet(false);
    free(words);
    return rc;
}

/* Do the words of the command line still say what they said? */
static void look_for_edits(struct supervisor *s)
{
    struct text then = { 0 }, now = { 0 };
    struct config *c = NULL;
    bool held = status_hold(true);

    text_clear(&s->scaled);
    s->edited = false;
    if (open_config(s, &c) == RL_OK)
        config_text(c, &now);
    config_text(s->config, &then);
    s->edited = !now.data || strcmp(now.data, then.data) != 0;
    status_drop();
    status_hold(held);
    if (s->edited)
        log_info("%s has changed: the run goes on with what was read at first", s->path);
    config_close(c);
    text_free(&then);
    text_free(&now);
}

/* Who does what on s->ranks ranks; fewer than were asked for hold the same roles. */
static int place(struct supervisor *s)
{
    struct config *c = NULL;
    int rc = RL_OK;

    text_clear(&s->scaled);
    if (s->ranks < s->asked.ranks)
        placement_scale(s->config, s->ranks, &s->scaled);
    placement_free(&s->placement);
    TRY(open_config(s, &c));
    TRY(placement_make(&s->placement, c, s->ranks));
done:
    config_close(c);
    return rc;
}

static int begin(struct supervisor *s)
{
    char log[4200];
    int rc = RL_OK;

    if (getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK"))
        return rl_error(RL_EINVAL, "run starts mpirun or srun itself: start it without");
    TRY(find_program(s));
    TRY(find_hosts(s));
    s->ranks = (int)s->asked.ranks;
    TRY(open_config(s, &s->config));
    TRY(place(s));
    if (snprintf(s->output, sizeof s->output, "%s", s->config->output) > 4000)
        return rl_error(RL_EINVAL, "output: path too long: %.60s...", s->output);
    TRY(folder_make(s->output));
    TRY(folder_check(s->output));
    TRY(folder_lock(s->output, ".supervisor",
                    getenv("SLURM_RESTART_COUNT") ? LOCK_SECONDS_HOST : LOCK_SECONDS, &s->lock));
    TRY(path_join(s->frozen, sizeof s->frozen, s->output, "supervised.cfg"));
    TRY(config_save(s->config, s->frozen));
    TRY(path_join(log, sizeof log, s->output, "log.txt"));
    TRY(log_open(log));
    scratch_name(s->scratch, s->output, &s->hosts, s->asked.ranks);
    TRY(launcher_find(&s->launcher, s->launcher.slurm, s->scratch));
    watch_signals();
    TRY(relay_open(&s->relay));
    s->losses.furthest = -1;
    s->restart.reached = folder_last_step(s->output, &s->restart.count, &s->restart.lost_steps);
done:
    return rc;
}

/* ---- a start */

static void say_missing(struct supervisor *s)
{
    struct text names = { 0 };

    hosts_missing(&s->hosts, &names);
    if (names.size > 0)
        log_info("no answer from %s", names.data);
    text_free(&names);
}

/* How many ranks the hosts that answer take, with clean scratch folders on them.  What still runs
 * there is of an earlier start: stopped, or an mpirun that hangs. */
static int ask_hosts(struct supervisor *s)
{
    const char *name = strrchr(s->scratch, '/') + 1;
    char command[400];

    snprintf(command, sizeof command, "for p in $(pgrep -x 'mpirun|rankwise'); do "
             "grep -qszE '^OMPI_MCA_orte_tmpdir_base=/(dev/shm|tmp)/%s$' /proc/$p/environ && "
             "kill -9 $p; done; rm -rf /dev/shm/%s /tmp/%s; mkdir -m 700 %s", name, name, name,
             s->scratch);
    if (s->launcher.slurm) {
        launcher_end_steps(&s->launcher);
        hosts_ask_slurm(&s->hosts, s->losses.count == 0);
        launcher_scratch(&s->launcher, &s->hosts, true);
        return hosts_slots(&s->hosts, true);
    }
    if (hosts_ask(&s->here, command) == 0)
        return rl_error(RL_EIO, "cannot make %s", s->scratch);
    return s->hosts.n ? hosts_ask(&s->hosts, command) : (int)s->asked.ranks;
}

/* Hosts that do not answer have time to come back. */
static int gather_hosts(struct supervisor *s)
{
    double end = clock_now() + s->asked.wait_hosts;
    int slots;

    while ((slots = ask_hosts(s)) >= 0 && slots < s->asked.ranks && clock_now() < end && !asked)
        clock_sleep(1);
    if (slots < 0)
        return slots;
    say_missing(s);
    if (slots == 0)
        return rl_error(RL_ELOST, "no host answers; start again when some do, or wait longer with "
                        "--wait-hosts");
    s->ranks = slots < s->asked.ranks ? slots : (int)s->asked.ranks;
    return RL_OK;
}

/* What starts the ranks, and what they run; the words stay with us. */
static char **command_line(struct supervisor *s, struct text *here, char number[32])
{
    char **argv = calloc((size_t)s->n_assignments + LAUNCHER_WORDS + 6, sizeof *argv);
    int n = 0;

    if (!argv)
        return NULL;
    n = launcher_words(&s->launcher, &s->hosts, s->ranks, argv, here, number);
    argv[n++] = s->program;
    argv[n++] = "train";
    return config_words(s, argv, &n);
}

static int start(struct supervisor *s)
{
    struct text here = { 0 };
    char number[32], **argv = NULL;
    int rc = RL_OK;

    TRY(gather_hosts(s));
    if (s->losses.count > 0)
        look_for_edits(s);
    TRY(place(s));
    TRY(outcome_prepare(s->output));
    s->restart.start = (int64_t)(clock_of_day() * 1e6);
    TRY(restart_tell(&s->restart));
    argv = command_line(s, &here, number);
    rc = argv ? job_start(&s->job, argv, s->relay.out)
              : rl_error(RL_ENOFIT, "no memory for a command line");
done:
    free(argv);
    text_free(&here);
    return rc;
}

/* Until what was started has ended.  Returns why it was killed, or NULL. */
static const char *watch(struct supervisor *s)
{
    struct attempt a = { .job = &s->job, .hung = &s->hung, .hosts = &s->hosts,
                         .launcher = &s->launcher, .output = s->output, .scratch = s->scratch,
                         .deadline = s->config->deadline, .start = s->restart.start,
                         .asked = &asked };

    return attempt_watch(&a);
}

/* ---- what came of it */

static void say_how_it_ended(struct supervisor *s, const char *killed, char *reason)
{
    const char *name = launcher_name(&s->launcher);
    const struct job *j = &s->job;
    struct text roles = { 0 };

    if (asked > 1) {
        snprintf(reason, REASON_BYTES, "a second signal to stop ended the ranks at once");
    } else if (j->said[0]) {
        snprintf(reason, REASON_BYTES, "%s", j->said);
    } else if (j->what[0] && j->rank >= 0 && j->rank < s->placement.ranks) {
        placement_text(&s->placement, j->rank, &roles);
        snprintf(reason, REASON_BYTES, "rank %d (host %s, %s) %s", j->rank, j->host, roles.data,
                 j->what);
        hung_place(&s->hung, s->scratch, j->rank, reason, REASON_BYTES);
    } else if (j->what[0]) {
        snprintf(reason, REASON_BYTES, "host %s %s", j->host, j->what);
    } else if (killed) {
        snprintf(reason, REASON_BYTES, "the job %s in time", killed);
    } else if (WIFSIGNALED(j->status)) {
        snprintf(reason, REASON_BYTES, "%s was killed by signal %d", name, WTERMSIG(j->status));
    } else {
        snprintf(reason, REASON_BYTES, "%s ended with exit code %d and no rank said why", name,
                 WEXITSTATUS(j->status));
    }
    text_free(&roles);
}

/* The outcome that was left, or what was lost; a start that did a step has replaced what earlier
 * ones had reached. */
static void learn_outcome(struct supervisor *s, const char *killed, struct outcome *o)
{
    int64_t count, lost, step = folder_last_step(s->output, &count, &lost);

    if (step > 0 && count == s->restart.count) {
        s->restart.reached = step;
        s->restart.lost_steps = lost;
    }
    if (outcome_read(s->output, s->restart.start, o) && o->exit_code != 3)
        return;
    if (o->exit_code != 3 || !o->reason[0])
        say_how_it_ended(s, killed, o->reason);
    o->exit_code = 3;
    o->step = s->restart.reached;
    s->restart.since = clock_of_day();
}

static int64_t saved_step(const struct supervisor *s)
{
    char folder[4200];
    int64_t step = -1;

    if (path_join(folder, sizeof folder, s->output, "checkpoints") == RL_OK)
        step = checkpoint_newest(folder, NULL, 0);
    return step > 0 ? step : 0;
}

/* Lost: again?  RL_OK: yes, after a pause, or it was to stop anyway. */
static int decide(struct supervisor *s, enum next next, const struct outcome *o)
{
    double end = clock_now() + losses_pause(&s->losses, s->asked.backoff);
    long long step = o->step;

    if (asked && step > 0 && saved_step(s) == 0)
        return rl_error(RL_ELOST, "%s at step %lld while the run was to stop; there is no "
                        "checkpoint", o->reason, step);
    if (asked) {
        log_info("lost at step %lld while it was to stop: %s", step, o->reason);
        return RL_OK;
    }
    if (next == NEXT_SAME_TWICE)
        return rl_error(RL_ELOST, "%s, at step %lld for the second time: not started again; the "
                        "newest checkpoint is of step %lld", o->reason, step,
                        (long long)saved_step(s));
    if (next == NEXT_TOO_MANY)
        return rl_error(RL_ELOST, "%s at step %lld, after %" PRId64 " restarts, as many as "
                        "--restarts allows", o->reason, step, s->asked.restarts);
    s->restart.count++;
    log_info("restart %" PRId64 " at step %lld: %s", s->restart.count, step, o->reason);
    while (clock_now() < end && !asked)
        clock_sleep(end - clock_now() < LOOK_EVERY ? end - clock_now() : LOOK_EVERY);
    return RL_OK;
}

static int status_of(int exit_code)
{
    static const int codes[] = { RL_OK, RL_EINVAL, RL_ENOFIT, RL_ELOST, RL_ENAN, RL_ESTOP };

    return codes[exit_code];
}

static int run_to_the_end(struct supervisor *s)
{
    struct outcome o = { 0 };
    int rc = RL_OK;

    for (;;) {
        enum next next;
        const char *killed;
        if (asked) {
            log_info("stopped: the newest checkpoint is of step %lld", (long long)saved_step(s));
            return RL_ESTOP;
        }
        TRY(start(s));
        killed = watch(s);
        learn_outcome(s, killed, &o);
        job_free(&s->job);
        hung_free(&s->hung);
        next = losses_decide(&s->losses, &o, s->asked.restarts);
        if (next == NEXT_ENDED)
            return status_of(o.exit_code);
        TRY(decide(s, next, &o));
    }
done:
    return rc;
}

static void end(struct supervisor *s)
{
    char command[160];

    snprintf(command, sizeof command, "rm -rf %s", s->scratch);
    if (s->scratch[0] && s->launcher.slurm) {
        launcher_end_steps(&s->launcher);
        launcher_scratch(&s->launcher, &s->hosts, false);
    } else if (s->scratch[0]) {
        hosts_ask(&s->here, command);
        hosts_ask(&s->hosts, command);
    }
    relay_close(&s->relay);
    hosts_free(&s->here);
    hosts_free(&s->hosts);
    placement_free(&s->placement);
    config_close(s->config);
    text_free(&s->scaled);
    log_close();
    if (s->lock > 0)
        close(s->lock);
}

int supervision_check(const struct supervision *s)
{
    if (s->restarts < 0 || !(s->backoff >= 0) || !(s->wait_hosts >= 0))
        return rl_error(RL_EINVAL, "--restarts, --backoff and --wait-hosts are not below 0");
    return RL_OK;
}

int supervise(const struct supervision *asked_for, const char *config, char *const *assignments,
              int n)
{
    struct supervisor s = { .asked = *asked_for, .path = config, .assignments = assignments,
                            .n_assignments = n };
    int left, rc = RL_OK;

    TRY(begin(&s));
    rc = run_to_the_end(&s);
    timeline_rescue(s.output, LOCK_SECONDS, &left); /* of a last start that was killed */
done:
    end(&s);
    return rc;
}
