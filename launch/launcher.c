/* mpirun or srun; see launcher.h. */
#include "launch/launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"

#define END_SECONDS 1.0

bool launcher_is_srun(const struct launcher *l)
{
    return l->slurm && l->pmix;
}

const char *launcher_name(const struct launcher *l)
{
    return launcher_is_srun(l) ? "srun" : "mpirun";
}

/* ---- the environment */

static void set_default(const char *parameter, const char *value)
{
    char name[128];

    snprintf(name, sizeof name, "OMPI_MCA_%s", parameter);
    setenv(name, value, 0);
}

/* Ranks that wait give their core away; a rank that died ends the others at once, since a polite
 * stop goes by SIGUSR1; a host that fell silent is given up after three seconds. */
static void set_environment(void)
{
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    set_default("mpi_yield_when_idle", "1");
    set_default("hwloc_base_binding_policy", "none");
    set_default("rmaps_base_oversubscribe", "1");
    set_default("odls_base_sigkill_timeout", "0");
    set_default("oob_tcp_keepalive_time", "1");
    set_default("oob_tcp_keepalive_intvl", "1");
    set_default("oob_tcp_keepalive_probes", "2");
}

static void use_scratch(const struct launcher *l, bool use)
{
    static const char *const names[] = { "OMPI_MCA_orte_tmpdir_base",
                                         "OMPI_MCA_btl_vader_backing_directory" };

    for (int i = 0; i < 2; i++)
        if (use)
            setenv(names[i], l->scratch, 1);
        else
            unsetenv(names[i]);
}

/* The step of mpirun's daemons shares the nodes with what Slurm still counts as a step there; srun
 * no longer takes sbatch's --cpus-per-task over by itself. */
static void set_environment_of_slurm(const struct launcher *l)
{
    const char *cpus = getenv("SLURM_CPUS_PER_TASK");
    char words[160];

    snprintf(words, sizeof words, "--overlap --job-name=%s", l->step);
    set_default("plm_slurm_args", words);
    if (cpus)
        setenv("SRUN_CPUS_PER_TASK", cpus, 0);
}

int launcher_find(struct launcher *l, bool slurm, const char *scratch)
{
    const char *name = strrchr(scratch, '/');

    l->slurm = slurm;
    l->scratch = scratch;
    l->step = name ? name + 1 : scratch;
    l->pmix = slurm && system("timeout 20 srun --mpi=list 2>&1 | grep -q pmix") == 0;
    set_environment();
    use_scratch(l, true);
    if (slurm)
        set_environment_of_slurm(l);
    if (!launcher_is_srun(l) && system("command -v mpirun > /dev/null 2>&1") != 0)
        return rl_error(RL_EINVAL, "cannot find mpirun: install Open MPI, or put the folder of its "
                        "programs into PATH");
    return RL_OK;
}

/* ---- Slurm's steps */

bool launcher_kill_steps(const struct launcher *l)
{
    struct text line = { 0 };
    bool any;

    if (!l->slurm)
        return false;
    text_addf(&line, "ids=$(timeout 10 squeue -h -s -j $SLURM_JOB_ID -o '%%i %%j' 2>/dev/null | "
              "sed -n 's/ %s$//p') && [ \"$ids\" ] && "
              "timeout 1 scancel --quiet --signal=KILL $ids 2>/dev/null; [ \"$ids\" ]", l->step);
    any = line.data && system(line.data) == 0;
    text_free(&line);
    return any;
}

void launcher_end_steps(const struct launcher *l)
{
    double end = clock_now() + END_SECONDS;

    while (launcher_kill_steps(l) && clock_now() < end)
        clock_sleep(0.1);
}

void launcher_scratch(const struct launcher *l, const struct hosts *h, bool make)
{
    struct text line = { 0 }, here = { 0 };
    int n = hosts_answering(h);

    if (!l->slurm || n == 0)
        return;
    hosts_here(h, false, &here);
    text_addf(&line, "timeout -s KILL 10 srun --quiet --overlap --mpi=none --job-name=%s -N %d "
              "-n %d --ntasks-per-node=1 -w %s sh -c 'rm -rf %s", l->step, n, n, here.data,
              l->scratch);
    if (make)
        text_addf(&line, " && mkdir -m 700 %s", l->scratch);
    text_adds(&line, "' </dev/null >/dev/null 2>&1");
    use_scratch(l, line.data && system(line.data) == 0 && make);
    text_free(&line);
    text_free(&here);
}

/* ---- the words */

static int words_of_srun(const struct launcher *l, char **argv, const char *here,
                         const char *hosts)
{
    int n = 0;

    argv[n++] = "srun";
    argv[n++] = "--mpi=pmix";
    argv[n++] = "--kill-on-bad-exit=0";
    argv[n++] = "--overlap";
    argv[n++] = "--job-name";
    argv[n++] = (char *)l->step;
    argv[n++] = "-N";
    argv[n++] = (char *)hosts;
    argv[n++] = "-w";
    argv[n++] = (char *)here;
    return n;
}

static int words_of_mpirun(char **argv, const char *here)
{
    int n = 0;

    argv[n++] = "mpirun";
    argv[n++] = "-x";
    argv[n++] = "RANKWISE_RESTART";
    if (here) {
        argv[n++] = "--host";
        argv[n++] = (char *)here;
    }
    return n;
}

int launcher_words(const struct launcher *l, const struct hosts *h, int ranks, char **argv,
                   struct text *here, char number[32])
{
    bool srun = launcher_is_srun(l);
    int n;

    snprintf(number, 16, "%d", ranks);
    snprintf(number + 16, 16, "%d", hosts_answering(h));
    hosts_here(h, !srun, here);
    n = srun ? words_of_srun(l, argv, here->data, number + 16) : words_of_mpirun(argv, here->data);
    argv[n++] = "-n";
    argv[n++] = number;
    return n;
}
