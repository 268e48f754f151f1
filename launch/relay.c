/* See relay.h. */
#include "launch/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

#define REST_SECONDS 1

/* False: there is no reader any more.  A disk that takes nothing costs this piece. */
static bool write_all(const char *bytes, ssize_t n)
{
    struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };

    for (ssize_t done = 0, some; done < n; done += some > 0 ? some : 0) {
        some = write(STDOUT_FILENO, bytes + done, (size_t)(n - done));
        if (some < 0 && errno == EAGAIN)
            poll(&room, 1, -1);
        else if (some < 0 && errno != EINTR)
            return errno != EPIPE;
    }
    return true;
}

static void *pass_on(void *data)
{
    int in = ((const struct relay *)data)->in;      /* which may go before this thread does */
    bool reader = true;
    char bytes[4096];
    ssize_t n;

    while ((n = read(in, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR))
        reader = reader && write_all(bytes, n);
    return NULL;
}

int relay_open(struct relay *r)
{
    int ends[2], error;

    memset(r, 0, sizeof *r);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rl_error(RL_EIO, "cannot make a pipe for the ranks' output: %s", strerror(errno));
    r->in = ends[0];
    r->out = ends[1];
    error = pthread_create(&r->thread, NULL, pass_on, r);
    r->runs = error == 0;
    if (error) {
        relay_close(r);
        return rl_error(RL_EIO, "cannot start a thread: %s", strerror(error));
    }
    return RL_OK;
}

void relay_close(struct relay *r)
{
    struct timespec until;

    if (r->out > 0)
        close(r->out);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += REST_SECONDS;
    if (r->runs && pthread_timedjoin_np(r->thread, NULL, &until) != 0)
        return;                         /* it still reads: it goes with the process */
    if (r->in > 0)
        close(r->in);
    memset(r, 0, sizeof *r);
}
