/* rankwise COMMAND ...: finds the command, runs it, turns its status into the exit code. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "launch/commands/commands.h"

static void usage(FILE *out)
{
    fputs("rankwise: aligns language models on MPI clusters\n\n", out);
    for (const struct command *c = commands; c->name; c++)
        fprintf(out, "  rankwise %-9s %-44s %s\n", c->name, c->usage, c->summary);
    fputs("\n  rankwise COMMAND --help says more.  rankwise --version\n\n"
          "exit codes: 0 done, 1 bad input, 2 does not fit, 3 a rank was lost, 4 numbers went bad, "
          "5 asked to stop\n", out);
}

static void help(const struct command *c)
{
    printf("rankwise %s %s\n\n%s\n", c->name, c->usage, c->summary);
    if (c->help) {
        fputs("\n", stdout);
        c->help(stdout);
    }
}

static const struct command *find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static int run(int argc, char **argv)
{
    const struct command *c;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? RL_EINVAL : RL_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("rankwise " RANKWISE_VERSION);
        return RL_OK;
    }
    c = find(argv[1]);
    if (!c)
        return rl_error(RL_EINVAL, "no command '%s'; rankwise --help lists them", argv[1]);
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(c);
            return RL_OK;
        }
    return c->run(argc - 2, argv + 2);
}

/* Closed standard streams must not become the run's own files, and a file limit is an error of
 * write(), not an end. */
static void prepare(void)
{
    int fd;

    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
    signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv)
{
    int status;

    prepare();
    status = run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == RL_OK)     /* now, or before */
        status = rl_error(RL_EIO, "cannot write to standard output");
    status_print();
    return status_exit_code(status);
}
