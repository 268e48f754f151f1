/* mpirun or srun as a child; see job.h. */
#include "launch/job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"

#define FRAME "--------------------------------------------------------------------------"
#define LONGEST_BLOCK 65536      /* bytes between two lines of dashes: more is none of mpirun's */
#define RANK_NAME "rankwise"
#define REST_SECONDS 5.0         /* a process that writes to a disk may take its time to die */

/* ---- who died? */

static void died(struct job *j, int rank, const char *host, const char *what)
{
    if (j->what[0])
        return;                         /* the first to die is the cause */
    j->rank = rank;
    snprintf(j->host, sizeof j->host, "%s", host);
    snprintf(j->what, sizeof j->what, "%s", what);
    j->sudden = !strstr(what, "Exited with exit code");
}

static bool rank_of_mpirun_died(struct job *j, const char *message)
{
    const char *at = strstr(message, "mpirun noticed that process rank");
    char host[256], what[160], text[200];
    int rank;

    if (!at || sscanf(at, "mpirun noticed that process rank %d with PID %*d on node %255s exited "
                      "on %159[^.\n]", &rank, host, what) != 3)
        return false;
    snprintf(text, sizeof text, "was killed by %s", what);
    died(j, rank, host, text);
    return true;
}

static bool host_was_lost(struct job *j, const char *message)
{
    const char *at = strstr(message, "ORTE has lost communication with a remote daemon");
    char host[256];

    at = at ? strstr(at, "Remote daemon:") : NULL;
    if (!at || sscanf(at, "Remote daemon: %*s on node %255s", host) != 1)
        return false;
    died(j, -1, host, "was lost");
    return true;
}

/* "srun: error: h3: task 2: Killed", "...: tasks 2-3: Killed", "srun: error: Node failure on h3" */
static bool task_of_srun_died(struct job *j, const char *message)
{
    char host[256], what[160], text[200];
    int rank;

    if (sscanf(message, "srun: error: Node failure on %255s", host) == 1) {
        died(j, -1, host, "was lost");
        return true;
    }
    if (sscanf(message, "srun: error: %255[^:]: task %d: %159[^\n]", host, &rank, what) != 3 &&
        sscanf(message, "srun: error: %255[^:]: tasks %d%*[-,0-9]: %159[^\n]", host, &rank,
               what) != 3)
        return false;
    snprintf(text, sizeof text, "ended: %s", what);
    died(j, rank, host, text);
    return true;
}

/* What mpirun and srun say of every job that ends with another code than 0 is no news. */
static bool is_no_news(const char *message)
{
    static const char *const known[] = {
        "Primary job  terminated normally, but", "MPI_ABORT was invoked on rank",
        "one or more processes exited with non-zero status",
        "MPI communication peer process has unexpectedly disconnected",
        "srun: Job step aborted: Waiting up to", "srun: Force Terminated StepId=",
        "_step_signal: Terminating StepId=", "_step_signal: Sending signal",
        "mpirun: Forwarding signal",
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(message, known[i]))
            return true;
    return false;
}

/* The first line of ours about a loss; it is passed on all the same. */
static void keep_said(struct job *j, const char *line)
{
    if (j->said[0] || (strncmp(line, "rankwise: rank ", 15) != 0 &&
                       strncmp(line, "rankwise: MPI did not start", 27) != 0))
        return;
    snprintf(j->said, sizeof j->said, "%.*s", (int)strcspn(line, "\n") - 10, line + 10);
}

void job_lost_host(struct job *j, const char *host)
{
    died(j, -1, host, "was lost");
}

bool job_understands(struct job *j, const char *message)
{
    return rank_of_mpirun_died(j, message) || host_was_lost(j, message) ||
           task_of_srun_died(j, message);
}

/* ---- its messages */

static void pass_on(const struct text *t)
{
    if (t->size > 0 && log_can_write(STDERR_FILENO)) {
        fwrite(t->data, 1, t->size, stderr);
        fflush(stderr);
    }
}

static void end_block(struct job *j)
{
    if (j->block.size > 0 && !job_understands(j, j->block.data) && !is_no_news(j->block.data))
        pass_on(&j->block);
    text_clear(&j->block);
    j->in_block = false;
}

static void take_line(struct job *j)
{
    bool is_frame = strcmp(j->line.data, FRAME "\n") == 0;
    bool is_ours = strncmp(j->line.data, "rankwise: ", 10) == 0;

    if (j->in_block && j->block.size > LONGEST_BLOCK)
        end_block(j);
    if (j->in_block && is_frame) {
        end_block(j);
    } else if (j->in_block && is_ours) {        /* a rank's, in between */
        keep_said(j, j->line.data);
        pass_on(&j->line);
    } else if (j->in_block || is_frame) {
        j->in_block = true;
        if (!is_frame)
            text_add(&j->block, j->line.data, j->line.size);
    } else if (!job_understands(j, j->line.data) && !is_no_news(j->line.data)) {
        keep_said(j, j->line.data);
        pass_on(&j->line);
    }
    text_clear(&j->line);
}

static void take(struct job *j, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        text_add(&j->line, bytes + i, 1);
        if (bytes[i] == '\n')
            take_line(j);
    }
}

/* What is there to read now.  False: nothing more will come. */
static bool read_messages(struct job *j)
{
    char bytes[4096];
    ssize_t n;

    while ((n = read(j->messages, bytes, sizeof bytes)) > 0)
        take(j, bytes, (size_t)n);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- what is left of it */

/* Processes whose parent has ended are ours (we are their subreaper), stopped ones, too. */
static void kill_children(void)
{
    char path[64];
    FILE *file;
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "re");
    while (file && fscanf(file, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    if (file)
        fclose(file);
}

/* Is this process a rank, dead or alive?  *alive: it is no zombie. */
static bool is_rank(int pid, bool *alive)
{
    char path[64], text[512] = "", *name, *end;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;                   /* it has ended since */
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    name = strchr(text, '(');
    end = strrchr(text, ')');
    *alive = end && end[1] && end[2] != 'Z';
    return name && end && (size_t)(end - name - 1) == strlen(RANK_NAME) &&
           strncmp(name + 1, RANK_NAME, strlen(RANK_NAME)) == 0;
}

/* Ranks among the children of one thread of mpirun; true if one is alive. */
static bool thread_has_ranks(struct job *j, const char *thread)
{
    bool any = false, alive = false;
    char path[300];
    FILE *file;
    int pid;

    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)j->pid, thread);
    file = fopen(path, "re");
    while (file && fscanf(file, "%d", &pid) == 1)
        if (is_rank(pid, &alive)) {
            j->had_ranks = true;
            any |= alive;
        }
    if (file)
        fclose(file);
    return any;
}

bool job_is_hollow(struct job *j)
{
    struct dirent *entry;
    bool any = false;
    char path[64];
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)j->pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            any |= thread_has_ranks(j, entry->d_name);
    if (dir)
        closedir(dir);
    return dir && j->had_ranks && !any;
}

static void end_the_rest(void)
{
    double until = clock_now() + REST_SECONDS;

    while (waitpid(-1, NULL, WNOHANG) >= 0 && clock_now() < until) {
        kill_children();
        clock_sleep(2e-3);
    }
}

/* ---- the child */

static void become(char *const *argv, int output, int messages, pid_t parent)
{
    setpgid(0, 0);                      /* a Ctrl-C is for us, who pass it on */
    prctl(PR_SET_PDEATHSIG, SIGTERM);   /* mpirun then ends its ranks, and srun its step */
    if (getppid() != parent)
        _exit(127);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);    /* a terminal would stop a reader */
    dup2(output, STDOUT_FILENO);
    dup2(messages, STDERR_FILENO);
    execvp(argv[0], argv);
    fprintf(stderr, "rankwise: cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int job_start(struct job *j, char *const *argv, int output)
{
    pid_t self = getpid();
    int ends[2];

    memset(j, 0, sizeof *j);
    j->rank = -1;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rl_error(RL_EIO, "cannot start %s: %s", argv[0], strerror(errno));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    j->messages = ends[0];
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fflush(NULL);
    j->pid = fork();
    if (j->pid == 0)
        become(argv, output, ends[1], self);
    close(ends[1]);
    if (j->pid < 0) {
        close(ends[0]);
        return rl_error(RL_EIO, "cannot start %s: %s", argv[0], strerror(errno));
    }
    setpgid(j->pid, j->pid);
    return RL_OK;
}

bool job_watch(struct job *j, double seconds)
{
    struct pollfd p = { .fd = j->messages, .events = POLLIN };
    bool more = true, ended;

    if (poll(&p, 1, (int)(seconds * 1e3)) > 0)
        more = read_messages(j);
    ended = waitpid(j->pid, &j->status, WNOHANG) == j->pid;
    if (!more && !ended)
        clock_sleep(0.01);              /* it closed its messages and is about to end */
    if (!ended)
        return false;
    read_messages(j);
    if (j->line.size > 0) {
        text_adds(&j->line, "\n");
        take_line(j);
    }
    end_block(j);
    end_the_rest();
    return true;
}

void job_signal(const struct job *j, int number)
{
    kill(j->pid, number);
}

void job_free(struct job *j)
{
    if (j->messages > 0)
        close(j->messages);
    text_free(&j->line);
    text_free(&j->block);
    memset(j, 0, sizeof *j);
}
