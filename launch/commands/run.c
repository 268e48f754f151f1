/* rankwise run -n RANKS CONFIG [key=value ...]: training that is started again after a loss. */
#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/supervisor.h"

static struct supervision asked = { .restarts = 100, .backoff = 1 };

static const struct option_row options[] = {
    { "n", OPTION_INT, &asked.ranks, "RANKS", "ranks (default: as many as the hosts take)" },
    { "hosts", OPTION_TEXT, &asked.hosts, "A:2,B:2",
      "hosts and their ranks, or a file of them; default: this machine, or the Slurm job's" },
    { "restarts", OPTION_INT, &asked.restarts, "MAX", "at most this many restarts (default 100)" },
    { "backoff", OPTION_REAL, &asked.backoff, "SECONDS",
      "pause after a start without a new step, doubled each time (default 1, at most 60)" },
    { "wait-hosts", OPTION_REAL, &asked.wait_hosts, "SECONDS",
      "time for hosts to come back before the run goes on without them (default 0)" },
    { 0 },
};

void help_run(FILE *out)
{
    options_help(options, out);
    fputs("\nStarts mpirun, or srun in a Slurm job.  After a loss the run goes on from the newest\n"
          "checkpoint, on the ranks that are left, with the same bits.  Exit codes as of train;\n"
          "3: given up.  docs/operations.md says what survives what.\n", out);
}

int command_run(int argc, char **argv)
{
    int rc = RL_OK;

    TRY(options_parse(options, &argc, argv));
    if (argc < 1)
        return rl_error(RL_EINVAL, "run needs a configuration file: rankwise run -n RANKS CONFIG");
    if (asked.ranks < 0 || asked.ranks > 1 << 20)
        return rl_error(RL_EINVAL, "-n: want a number of ranks");
    if (asked.restarts < 0 || !(asked.backoff >= 0) || !(asked.wait_hosts >= 0))
        return rl_error(RL_EINVAL, "--restarts, --backoff and --wait-hosts are not below 0");
    rc = supervise(&asked, argv[0], argv + 1, argc - 1);
done:
    return rc;
}
