/* rankwise submit CONFIG -N NODES [key=value ...]: `rankwise run` as a Slurm job. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/file.h"
#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/placement.h"
#include "launch/supervisor.h"
#include "learner/learner.h"

static int64_t nodes, tasks = 1, before_limit = 120;
static const char *time_limit, *partition, *account, *job_name = "rankwise", *job_output, *extra;
static bool no_kill, dry_run;
static struct supervision asked = { RESTART_DEFAULTS };

static const struct option_row options[] = {
    { "N", OPTION_INT, &nodes, "NODES", "nodes of the job" },
    { "tasks", OPTION_INT, &tasks, "RANKS", "ranks a node (default 1)" },
    { "time", OPTION_TEXT, &time_limit, "D-HH:MM:SS", "time limit (default: the partition's)" },
    { "before-limit", OPTION_INT, &before_limit, "SECONDS",
      "save and requeue this long before the time limit (default 120)" },
    { "partition", OPTION_TEXT, &partition, "NAME", "partition" },
    { "account", OPTION_TEXT, &account, "NAME", "account" },
    { "name", OPTION_TEXT, &job_name, "NAME", "name of the job (default rankwise)" },
    { "output", OPTION_TEXT, &job_output, "FILE", "default: slurm-%j.txt in the run folder" },
    { "no-kill", OPTION_FLAG, &no_kill, NULL, "keep the job when a node of it is lost" },
    RESTART_OPTIONS(asked),
    { "sbatch", OPTION_TEXT, &extra, "OPTIONS", "more options of sbatch, as one word" },
    { "dry-run", OPTION_FLAG, &dry_run, NULL, "print the file, write and submit nothing" },
    { 0 },
};

void help_submit(FILE *out)
{
    options_help(options, out);
    fputs("\nWrites submit.sbatch into the run folder and gives it to sbatch.\n", out);
}

/* A value of an #SBATCH line is one word. */
static int check_word(const char *option, const char *value)
{
    if (value && (!*value || strpbrk(value, " \t\r\n'\"\\#")))
        return rl_error(RL_EINVAL, "--%s: '%s' must be one word without quotes, \\ and #", option,
                        value);
    return RL_OK;
}

/* Where the job's messages go: as asked, or into the run folder, written for sbatch, which replaces
 * %j and makes % of %%. */
static int name_output(struct text *t, const char *folder)
{
    const char *quote = strpbrk(folder, " \t'#") ? "\"" : "";

    text_adds(t, job_output ? job_output : quote);
    if (job_output)
        return check_word("output", job_output);
    if (strpbrk(folder, "\"\\\r\n"))
        return rl_error(RL_EINVAL, "output: sbatch takes no \" or \\ in a file name: %s; name "
                        "another with --output", folder);
    for (const char *c = folder; *c; c++)
        text_add(t, *c == '%' ? "%%" : c, *c == '%' ? 2 : 1);
    text_addf(t, "/slurm-%%j.txt%s", quote);
    return RL_OK;
}

/* Seconds of Slurm's "30", "30:00", "8:00:00", "1-0", "1-0:30" and "1-0:30:00"; 0: no
 * limit; -1: another word, of which sbatch knows more than we. */
static int64_t seconds_of(const char *time)
{
    const char *dash = strchr(time, '-'), *rest = dash ? dash + 1 : time;
    int64_t days = 0, a = 0, b = 0, c = 0;
    int used = 0, n;

    if (dash && (sscanf(time, "%" SCNd64 "%n", &days, &used) != 1 || time + used != dash))
        return -1;
    n = sscanf(rest, "%" SCNd64 "%n:%" SCNd64 "%n:%" SCNd64 "%n", &a, &used, &b, &used, &c, &used);
    if (n < 1 || rest[used])
        return -1;
    if (dash)
        return ((days * 24 + a) * 60 + b) * 60 + c;
    return n == 1 ? a * 60 : n == 2 ? a * 60 + b : (a * 60 + b) * 60 + c;
}

static int check_options(void)
{
    int rc = RL_OK;

    if (nodes < 1 || nodes > 1 << 20)
        return rl_error(RL_EINVAL, "submit needs a number of nodes: -N NODES");
    if (tasks < 1 || tasks > (1 << 20) / nodes)
        return rl_error(RL_EINVAL, "--tasks: want a number of ranks a node");
    if (before_limit < 1 || before_limit > 65535)
        return rl_error(RL_EINVAL, "--before-limit: want 1 to 65535 seconds");
    TRY(check_word("time", time_limit));
    if (time_limit && seconds_of(time_limit) > 0 && seconds_of(time_limit) <= before_limit)
        return rl_error(RL_EINVAL, "--time %s is no longer than --before-limit, %" PRId64 " s: "
                        "the run would be saved and requeued without a step", time_limit,
                        before_limit);
    TRY(check_word("partition", partition));
    TRY(check_word("account", account));
    TRY(check_word("name", job_name));
    TRY(supervision_check(&asked));
    if (extra && strpbrk(extra, "\r\n"))
        rc = rl_error(RL_EINVAL, "--sbatch: want options on one line");
done:
    return rc;
}

static void add_option(struct text *t, const char *name, const char *value)
{
    if (value)
        text_addf(t, " --%s=%s", name, value);
}

/* The word, quoted for the shell. */
static void add_word(struct text *t, const char *word)
{
    text_adds(t, "'");
    for (; *word; word++)
        if (*word == '\'')
            text_adds(t, "'\\''");
        else
            text_add(t, word, 1);
    text_adds(t, "'");
}

/* The signal comes to the shell, which passes it on; the run saves and ends with exit code 5. */
static void write_script(struct text *t, const char *output, const char *program, int argc,
                         char **argv)
{
    static const struct supervision as_run = { RESTART_DEFAULTS };

    text_adds(t, "#!/bin/bash\n#SBATCH --open-mode=append");
    add_option(t, "job-name", job_name);
    add_option(t, "output", output);
    text_addf(t, "\n#SBATCH --nodes=%" PRId64 " --ntasks-per-node=%" PRId64, nodes, tasks);
    add_option(t, "time", time_limit);
    add_option(t, "partition", partition);
    add_option(t, "account", account);
    text_addf(t, "\n#SBATCH --requeue --signal=B:USR1@%" PRId64 "%s\n", before_limit,
              no_kill ? " --no-kill" : "");
    if (extra)
        text_addf(t, "#SBATCH %s\n", extra);
    text_adds(t, "trap 'limit=1; kill -USR1 $run 2>/dev/null' USR1\n"
                 "trap 'kill -TERM $run 2>/dev/null' TERM\n");
    add_word(t, program);
    text_adds(t, " run");
    if (asked.restarts != as_run.restarts)
        text_addf(t, " --restarts %" PRId64, asked.restarts);
    if (asked.backoff != as_run.backoff)
        text_addf(t, " --backoff %g", asked.backoff);
    if (asked.wait_hosts != as_run.wait_hosts)
        text_addf(t, " --wait-hosts %g", asked.wait_hosts);
    text_adds(t, argv[0][0] == '-' ? " --" : "");
    for (int i = 0; i < argc; i++) {
        text_adds(t, " ");
        add_word(t, argv[i]);
    }
    text_adds(t, " & run=$!\n"
                 "while kill -0 $run 2>/dev/null; do wait $run; done\n"
                 "wait $run; code=$?\n"
                 "[ \"$limit\" ] && [ $code = 5 ] && scontrol requeue $SLURM_JOB_ID\n"
                 "exit $code\n");
}

static int give_to_sbatch(const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execlp("sbatch", "sbatch", path, (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return rl_error(RL_EIO, "cannot start sbatch");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return rl_error(RL_EINVAL, "no sbatch on this machine: submit %s where Slurm is", path);
    if (status != 0)
        return rl_error(RL_EINVAL, "sbatch did not take %s", path);
    return RL_OK;
}

int command_submit(int argc, char **argv)
{
    char program[PATH_MAX] = "", path[4200];
    struct config *c = NULL;
    struct text script = { 0 }, log = { 0 };
    struct placement placement = { 0 };
    int rc = RL_OK;

    TRY(options_parse(options, &argc, argv));
    if (argc < 1)
        return rl_error(RL_EINVAL, "submit needs a configuration file: rankwise submit CONFIG "
                        "-N NODES");
    TRY(check_options());
    for (int i = 0; i < argc; i++)
        if (strpbrk(argv[i], "\r\n"))
            return rl_error(RL_EINVAL, "'%.40s...': want words of one line", argv[i]);
    TRY(config_open(&c, argv[0], argv + 1, argc - 1));
    TRY(algorithm_check(c));
    TRY(placement_make(&placement, c, (int)(nodes * tasks)));
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        rc = rl_error(RL_EIO, "cannot find this program in /proc");
    TRY(rc);
    TRY(path_join(path, sizeof path, c->output, "submit.sbatch"));
    TRY(name_output(&log, c->output));
    write_script(&script, log.data, program, argc, argv);
    if (dry_run) {
        fputs(script.data, stdout);
    } else {
        TRY(folder_make(c->output));
        TRY(file_write(path, script.data, script.size));
        TRY(give_to_sbatch(path));
    }
done:
    text_free(&script);
    text_free(&log);
    placement_free(&placement);
    config_close(c);
    return rc;
}
