/* rankwise doctor [DIR]: what is fine on these hosts, and what to change. */
#include <inttypes.h>
#include <string.h>

#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/doctor/doctor.h"

static void (*const checks[])(struct exam *e) = {
    doctor_mpi, doctor_hdf5, doctor_disk, doctor_memory, doctor_processor, doctor_bf16,
    doctor_gpus,
};

void help_doctor(FILE *out)
{
    fputs("DIR: the run folder (default: this one); 32 MiB are written there and removed.\n"
          "Alone it looks at this host; under mpirun at every host of the job: a line that not\n"
          "all hosts share ends with their names.  Lines begin with ok or CHANGE.\n\n"
          "exit codes: 0 all fine, 1 something must change\n", out);
}

/* Whether an earlier rank looks at this host already; several: hosts differ. */
static bool is_first_here(struct comm *world, bool *several)
{
    const char *here = comm_host(world, comm_rank(world));
    bool first = true;

    *several = false;
    for (int r = 0; r < comm_size(world); r++) {
        bool mine = strcmp(comm_host(world, r), here) == 0;
        *several |= !mine;
        first &= !mine || r >= comm_rank(world);
    }
    return first;
}

int command_doctor(int argc, char **argv)
{
    struct exam e = { 0 };
    struct comm *world = NULL;
    int64_t changes = 0;
    bool first;
    int rc = RL_OK;

    if (argc > 1 || (argc == 1 && argv[0][0] == '-'))
        return rl_error(RL_EINVAL, "doctor needs one folder, or none");
    e.dir = argc ? argv[0] : ".";
    TRY(comm_start(&world, &argc, &argv));
    e.world = world;
    first = is_first_here(world, &e.several_hosts);
    TRY(doctor_clock(&e));
    if (first)
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
            checks[i](&e);
    else
        memset(&e.found, 0, sizeof e.found);    /* doctor_clock's: rank by rank is too much */
    TRY(doctor_report(&e, &changes));
    if (changes)
        rc = rl_error(RL_EINVAL, "doctor: %" PRId64 " line%s to change", changes,
                      changes == 1 ? "" : "s");
    rc = comm_agree(world, rc);
done:
    if (rc == RL_ELOST && world)
        comm_abort(world, status_exit_code(rc));
    comm_stop(world);
    return rc;
}
