/* rankwise run -n RANKS CONFIG [key=value ...]: training that is started again after a loss. */
#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/supervisor.h"

static struct supervision asked = { RESTART_DEFAULTS };

static const struct option_row options[] = {
    { "n", OPTION_INT, &asked.ranks, "RANKS", "ranks (default: as many as the hosts take)" },
    { "hosts", OPTION_TEXT, &asked.hosts, "A:2,B:2",
      "hosts and their ranks, or a file of them; default: this machine, or the Slurm job's" },
    RESTART_OPTIONS(asked),
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
    TRY(supervision_check(&asked));
    rc = supervise(&asked, argv[0], argv + 1, argc - 1);
done:
    return rc;
}
