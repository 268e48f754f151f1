/* process: any program that reads responses and writes scores, a line of JSON each (exchange.h).
 *
 *   responses --pipe--> /bin/sh -c command --pipe--> scores        its stderr is ours
 *
 * Both pipes are served by one loop that waits for whichever is ready, so neither side can block
 * the other however much is under way.  A program that ends is started again and gets the responses
 * without an answer once more; one on which it ends twice has no score.  `timeout` bounds the
 * whole; the run's deadline, where it is shorter, ends the run.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "data/utf8.h"
#include "reward/kinds/exchange.h"
#include "reward/kinds/kinds.h"

struct process {
    const struct config_reward *config;
    pid_t pid;                  /* 0: it does not run */
    int in, out;                /* its standard input and output */
    struct text send, got;      /* lines not yet written; bytes of lines not yet whole */
    size_t sent;
    struct exchange exchange;
    int suspect;                /* the first response without an answer when it last ended */
    char end[64];               /* how it ended */
    struct text odd;            /* the last line that was no reply */
};

/* ---- starting and ending */

static void close_pipes(struct process *p)
{
    if (p->in >= 0)
        close(p->in);
    if (p->out >= 0)
        close(p->out);
    p->in = p->out = -1;
}

/* The child has its two ends as 0 and 1, our stderr and nothing else of ours, such as the sockets
 * of MPI; its own process group, so that a signal for the run is not one for it; and no signal
 * blocked or ignored. */
static int spawn(struct process *p, int in, int out)
{
    char *const arguments[] = { "sh", "-c", p->config->command, NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    int error;
    extern char **environ;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_addclosefrom_np(&files, 3);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                          POSIX_SPAWN_SETSIGDEF);
    error = posix_spawn(&p->pid, "/bin/sh", &files, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (error)
        p->pid = 0;
    return error;
}

/* 0, or why not (errno). */
static int start(struct process *p)
{
    int to[2] = { -1, -1 }, from[2] = { -1, -1 }, error = 0;

    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        error = errno;
    else
        error = spawn(p, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    p->in = to[1];
    p->out = from[0];
    p->sent = 0;
    text_clear(&p->send);
    text_clear(&p->got);
    if (error) {
        snprintf(p->end, sizeof p->end, "cannot start: %s", strerror(error));
        close_pipes(p);
        return error;
    }
    fcntl(p->in, F_SETFL, O_NONBLOCK);
    fcntl(p->out, F_SETFL, O_NONBLOCK);
    return 0;
}

/* Has it ended within `seconds`?  Its end is noted. */
static bool reap(struct process *p, double seconds)
{
    double until = clock_now() + seconds;
    int status = 0;
    pid_t pid;

    while ((pid = waitpid(p->pid, &status, WNOHANG)) == 0 && clock_now() < until)
        clock_sleep(0.005);
    if (pid == 0)
        return false;
    if (WIFSIGNALED(status))
        snprintf(p->end, sizeof p->end, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(p->end, sizeof p->end, "ended with exit status %d", WEXITSTATUS(status));
    p->pid = 0;
    return true;
}

/* Its input is closed; whoever does not end by that within `grace` seconds is ended. */
static void stop(struct process *p, double grace)
{
    pid_t group = p->pid;

    close_pipes(p);
    if (p->pid == 0)
        return;
    if (!reap(p, grace)) {
        kill(-group, SIGTERM);
        if (!reap(p, grace)) {
            kill(-group, SIGKILL);
            reap(p, 10);
        }
    }
    kill(-group, SIGKILL);                  /* what it left behind */
}

/* A command that is not there ends at once: better said now than after the first batch. */
static int check_start(struct process *p, const char *where)
{
    struct pollfd out = { .fd = p->out, .events = POLLIN };

    if (poll(&out, 1, 100) == 1 && out.revents & POLLHUP && !(out.revents & POLLIN) &&
        reap(p, 1))
        return rl_error(RL_EINVAL, "%s: command: \"%s\" %s before it was asked anything", where,
                        p->config->command, p->end);
    return RL_OK;
}

int process_open(void **state, const struct config_reward *c, const char *where)
{
    struct process *p = NULL;
    int rc = RL_OK;

    *state = NULL;
    if (!c->command)
        return rl_error(RL_EINVAL, "%s: command: missing; give a command for /bin/sh", where);
    p = calloc(1, sizeof *p);
    if (!p)
        return rl_error(RL_ENOFIT, "%s: process: no memory", where);
    p->config = c;
    p->in = p->out = -1;
    if (start(p) != 0)
        TRY(rl_error(RL_EIO, "%s: command: \"%s\" %s", where, c->command, p->end));
    TRY(check_start(p, where));
    *state = p;
    p = NULL;
done:
    process_close(p);
    return rc;
}

void process_close(void *state)
{
    struct process *p = state;

    if (!p)
        return;
    stop(p, 1);
    exchange_free(&p->exchange);
    text_free(&p->send);
    text_free(&p->got);
    text_free(&p->odd);
    free(p);
}

/* ---- lines */

/* All responses without an answer, as lines to be written. */
static void prepare(struct process *p)
{
    struct exchange *e = &p->exchange;
    int left = e->left;

    text_clear(&p->send);
    p->sent = 0;
    for (int i = exchange_next(e, 0); i < e->n; i = exchange_next(e, i + 1)) {
        exchange_ask(e, i, --left, &p->send);
        text_adds(&p->send, "\n");
    }
}

/* A pipe whose reader is gone raises SIGPIPE, which ends a process that does not ignore it. */
static ssize_t write_quietly(int fd, const void *data, size_t bytes)
{
    struct timespec now = { 0, 0 };
    sigset_t broken, before, pending;
    ssize_t n;
    int error;

    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    n = write(fd, data, bytes);
    error = errno;
    if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&broken, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

/* false: the program is gone. */
static bool write_some(struct process *p)
{
    ssize_t n = write_quietly(p->in, p->send.data + p->sent, p->send.size - p->sent);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    p->sent += (size_t)n;
    return true;
}

/* All whole lines; the bytes before `seen` were looked at already and hold no line's end. */
static void take_lines(struct process *p, size_t seen)
{
    char *line = p->got.data, *end = line + p->got.size, *next = line + seen;

    while ((next = memchr(next, '\n', (size_t)(end - next)))) {
        if (next > line &&
            !exchange_reply(&p->exchange, line, (size_t)(next - line), 0, p->exchange.n,
                            false)) {
            text_clear(&p->odd);
            text_add(&p->odd, line, (size_t)(next - line));
        }
        line = ++next;
    }
    p->got.size = (size_t)(end - line);
    memmove(p->got.data, line, p->got.size + 1);
}

static bool read_some(struct process *p)
{
    char bytes[16384];
    ssize_t n = read(p->out, bytes, sizeof bytes);
    size_t seen = p->got.size;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n > 0)
        text_add(&p->got, bytes, (size_t)n);
    else
        text_adds(&p->got, "\n");           /* the end ends the last line too */
    take_lines(p, seen);
    if (p->got.size > REPLY_LONGEST) {
        text_clear(&p->odd);
        text_addf(&p->odd, "one of more than %u MiB", REPLY_LONGEST >> 20);
        text_free(&p->got);
        return false;                       /* as if it had ended: it is started again */
    }
    return n > 0;
}

/* Wait until there is something to write or read, and do it.  false: the program is gone. */
static bool serve(struct process *p, double seconds)
{
    bool writing = p->sent < p->send.size, gone = false;
    struct pollfd ends[2] = { { .fd = p->out, .events = POLLIN },
                              { .fd = writing ? p->in : -1, .events = POLLOUT } };

    if (poll(ends, 2, seconds < 1 ? (int)(seconds * 1e3) + 1 : 1000) <= 0)
        return true;
    if (ends[0].revents)
        gone = !read_some(p);
    if (ends[1].revents && !gone)
        gone = !write_some(p) && !read_some(p);         /* it may have answered and gone */
    return !gone;
}

/* ---- a batch */

static void add_odd(const struct process *p, struct text *trouble)
{
    if (p->odd.size > 0)
        text_addf(trouble, "; its last line that is no reply: %s",
                  utf8_show(p->odd.data, p->odd.size).text);
}

/* It has ended with responses left: whose fault was it, and may it be started again? */
static bool restart(struct process *p, int *ends, struct text *trouble)
{
    struct exchange *e = &p->exchange;
    int first = exchange_next(e, 0);

    close_pipes(p);
    if (p->pid != 0)
        stop(p, 0.2);
    ++*ends;
    text_clear(trouble);
    text_addf(trouble, "\"%s\" %s", p->config->command, p->end);
    add_odd(p, trouble);
    if (first < e->n && first == p->suspect)
        exchange_answer(e, first, NAN);
    p->suspect = first;
    if (e->left == 0 || *ends > p->config->retries || start(p) != 0)
        return false;
    prepare(p);
    return true;
}

int process_score(void *state, const struct response *r, int n, double *scores,
                  struct text *trouble)
{
    struct process *p = state;
    struct exchange *e = &p->exchange;
    double deadline = p->config->deadline, timeout = p->config->timeout;
    bool bound = deadline > 0 && deadline <= timeout;
    double patience = bound ? deadline : timeout;
    double until = clock_now() + patience;
    int ends = 0, rc = RL_OK;
    bool going;

    TRY(exchange_begin(e, r, n, scores));
    p->suspect = -1;
    text_clear(&p->odd);
    going = p->pid != 0 || start(p) == 0;
    if (going)
        prepare(p);
    else
        text_addf(trouble, "\"%s\" %s", p->config->command, p->end);
    while (going && e->left > 0) {
        double seconds = until - clock_now();
        if (stop_cut()) {
            stop(p, 0.2);
            TRY(RL_ESTOP);
        }
        if (seconds <= 0) {
            text_clear(trouble);
            text_addf(trouble, "\"%s\" gave %d of %d scores in %g seconds", p->config->command,
                      n - e->left, n, patience);
            add_odd(p, trouble);
            stop(p, 0.2);
            TRY(bound ? RL_ELOST : RL_OK);
            going = false;
        } else if (!serve(p, seconds)) {
            going = restart(p, &ends, trouble);
        }
    }
done:
    return rc;
}
