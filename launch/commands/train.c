/* rankwise train CONFIG [key=value ...] [--fresh] */
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/stop.h"
#include "base/trace.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/outcome.h"
#include "launch/run.h"
#include "launch/view.h"

#define START_DEADLINE 60.0      /* seconds, of a start without a configuration */

static bool fresh, algorithms_only;

static const struct option_row options[] = {
    { "fresh", OPTION_FLAG, &fresh, NULL,
      "refuse to resume: an error if the run folder has a checkpoint" },
    { "algorithms", OPTION_FLAG, &algorithms_only, NULL, "print the names of the algorithms" },
    { 0 },
};

void help_train(FILE *out)
{
    options_help(options, out);
    fputs("\nkeys of CONFIG, also key=value and group.key=value on the command line:\n\n", out);
    config_help(out);
}

/* A supervisor hears of a loss that ends this process where it stands. */
static void tell_loss(void *data, const char *line)
{
    const struct run *r = data;
    struct outcome o = { .exit_code = status_exit_code(RL_ELOST), .step = r->step };

    snprintf(o.reason, sizeof o.reason, "%s", line);
    if (r->supervised)
        outcome_write(r->config->output, &o);
}

static int train(struct run *r, const struct config *config, struct comm *world)
{
    struct trace t;
    int rc = RL_OK;

    stop_folder(config->output);
    TRY(run_open(r, config, world));
    comm_on_loss(world, tell_loss, r);
    stop_cuts_waits(run_lag(r) == 0);   /* a batch that waits in the queue must be whole */
    log_quiet(comm_rank(world) != r->recorder);
    t = trace_begin("resume");
    TRY(state_resume(r, fresh));
    TRY(scores_resume(r, fresh));
    trace_end(t, TRACE_NOTHING, 0);
    rc = run_begin(r);
    if (r->restart.since > 0)
        r->recovered = clock_of_day() - r->restart.since;
    while (rc == RL_OK && r->step < config->steps)
        rc = iteration(r);
    rc = run_end(r, rc);
    if (comm_rank(world) == r->recorder) {
        view_end();
        if (rc == RL_ESTOP && r->step == 0)
            log_info("stopped before the first step: %s", config->output);
        else if (rc == RL_OK || rc == RL_ESTOP)
            log_info("%s after step %lld: %s", rc == RL_OK ? "done" : "stopped, state saved",
                     (long long)r->step, config->output);
    }
done:
    return timeline_close(r, rc);
}

static void print_algorithms(void)
{
    struct text names = { 0 };

    algorithm_names(&names, "\n");
    puts(names.data);
    text_free(&names);
}

/* A supervisor hears how it ended: from the recorder, or, when a rank was lost, from the one that
 * knows which.  What cannot be written counts as lost. */
static void tell_outcome(const struct run *r, struct comm *world, int rc)
{
    struct outcome o = { .exit_code = status_exit_code(rc), .step = r->step };
    bool speaks = rc == RL_ELOST ? status_message()[0] != 0 : comm_rank(world) == r->recorder;

    if (!r->supervised || !speaks)
        return;
    snprintf(o.reason, sizeof o.reason, "%s", status_message());
    if (rc == RL_ELOST)
        status_print();
    outcome_write(r->config->output, &o);
}

static int read_command(int *argc, char **argv, struct config **config)
{
    int rc = options_parse(options, argc, argv);

    if (rc != RL_OK || algorithms_only)
        return rc;
    if (*argc < 1)
        return rl_error(RL_EINVAL, "train needs a configuration file: rankwise train CONFIG");
    TRY(config_open(config, argv[0], argv + 1, *argc - 1));
    rc = algorithm_check(*config);
done:
    return rc;
}

/* What every rank must agree on is agreed inside; a rank that was left alone ends the job.  The
 * configuration is read first: its deadline holds for the start of MPI, too. */
int command_train(int argc, char **argv)
{
    struct run run;
    struct config *config = NULL;
    struct comm *world = NULL;
    int read, rc = RL_OK;

    memset(&run, 0, sizeof run);
    status_hold(comm_launched() >= 0);
    log_quiet(comm_launched() > 0);
    stop_watch();
    read = read_command(&argc, argv, &config);
    TRY(comm_start_within(&world, config ? config->deadline : START_DEADLINE, &argc, &argv));
    log_quiet(comm_rank(world) != 0);
    if (read == RL_OK && algorithms_only) {
        print_algorithms();
        goto done;
    }
    run.config = config;                /* whoever could read it can say that others could not */
    run.supervised = restart_told(&run.restart);
    TRY(comm_agree(world, read));
    rc = train(&run, config, world);
done:
    if (world && run.config)
        tell_outcome(&run, world, rc);
    if (rc == RL_ELOST && world) {
        status_print();
        comm_abort(world, status_exit_code(rc));
    }
    run_close(&run);
    config_close(config);
    if (world)
        comm_stop(world);
    return rc;
}
