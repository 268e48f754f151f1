/* See watch.h. */
#include "comm/watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "comm/undertaker.h"

#define EVERY 0.1               /* seconds between two looks */
#define PAUSED 1.0              /* a longer gap: this process was stopped itself */
#define TAKEN_WITHIN 0.3        /* the main thread comes to a wait, */
#define ENDED_WITHIN 1.0        /* and from there to the end of the job, */
#define SAID_WITHIN 500000000   /* nanoseconds that saying it may take */
#define ENDED_BY_OTHERS 2.0     /* or from what another rank here has said */
#define WOKEN 1.0               /* seconds after a stop */
#define GOODBYE 0.2             /* what ends the job is under way */
#define SELF_FIRST 0.5          /* whoever asks may give up by himself */
#define MPI_FIRST 0.5           /* a wait has its own deadline, if MPI lets it look */
#define OTHERS_FIRST 0.7        /* hosts that see more than that somebody is missing speak first */
#define LINE_BYTES 1024

enum state { STATE_QUIET, STATE_POSTED, STATE_TAKEN };

struct watch {
    struct board *board;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop;                          /* under the mutex, as are the next six */
    double deadline;
    double begun;                       /* of the start; 0: it is over */
    double asked;                       /* since when somebody is asked, 0: nobody */
    double paused;                      /* seconds that this process was stopped itself, in all, */
    double wait, before;                /* and before the wait that began at `wait` */
    void (*told)(void *data, const char *line);
    void *data;
    double *stopped;                    /* (rows seen) since when, 0: it runs */
    int rows;
    atomic_int state;                   /* enum state */
    char line[LINE_BYTES];
};

/* ---- words; what is measured is not said: the same reason twice is to be the same line */

static void add(char *text, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t room, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, room - used, format, args);
    va_end(args);
}

static const char *phase_of(int32_t phase)
{
    return phase_name(phase >= 0 && phase < PHASES ? (enum phase)phase : PHASE_START);
}

void place_name(const struct place *p, const char *host, char *text, size_t room)
{
    add(text, room, "rank %d (host %s%s%.*s)", (int)p->rank, host, p->roles[0] ? ", " : "",
        BOARD_ROLES - 1, p->roles);
}

void place_say(const struct place *p, char *text, size_t room)
{
    add(text, room, "in \"%s\" of step %lld", phase_of(p->phase), (long long)p->step);
    if (p->doing == DOING_WAIT)
        add(text, room, " (waiting at \"%s\")", phase_of(p->at));
    if (p->doing == DOING_ASK)
        add(text, room, ", asking %.*s", BOARD_WHAT - 1, p->what);
}

/* The lowest rank here that waits, whoever is lost. */
static void add_waiting(const struct watch *w, const struct place *lost, char *text)
{
    const struct place *first = NULL;

    for (int i = 0; i < board_rows(w->board); i++) {
        const struct place *p = board_place(w->board, i);
        if (p != lost && p->doing == DOING_WAIT && (!first || p->rank < first->rank))
            first = p;
    }
    if (first)
        add(text, LINE_BYTES, "; rank %d waits at \"%s\"", (int)first->rank,
            phase_of(first->at));
}

/* ---- looks; each leaves a line in `text` or nothing */

static bool keep_rows(struct watch *w)
{
    int rows = board_rows(w->board);
    double *stopped;

    if (rows <= w->rows)
        return true;
    stopped = realloc(w->stopped, (size_t)rows * sizeof *stopped);
    if (!stopped)
        return false;
    memset(stopped + w->rows, 0, (size_t)(rows - w->rows) * sizeof *stopped);
    w->stopped = stopped;
    w->rows = rows;
    return true;
}

/* From the next row on, up to the first that runs. */
static void look_at_others(struct watch *w, double now, char *text)
{
    for (int i = 1; keep_rows(w) && i < w->rows; i++) {
        int row = (board_row(w->board) + i) % w->rows;
        const struct place *p = board_place(w->board, row);
        enum health health = p->doing == DOING_NOTHING ? HEALTH_UNKNOWN : board_health(p);
        if (health == HEALTH_ENDED && p->doing != DOING_END) {
            place_name(p, board_host(w->board), text, LINE_BYTES);
            add(text, LINE_BYTES, " died ");
            place_say(p, text, LINE_BYTES);
            add_waiting(w, p, text);
            return;
        }
        if (health != HEALTH_STOPPED) {
            w->stopped[row] = 0;
            if (health == HEALTH_RUNS || health == HEALTH_DISK)
                return;
            continue;
        }
        if (w->stopped[row] == 0)
            w->stopped[row] = now;
        if (now - w->stopped[row] > w->deadline) {
            place_name(p, board_host(w->board), text, LINE_BYTES);
            add(text, LINE_BYTES, " is stopped (SIGSTOP or a debugger) ");
            place_say(p, text, LINE_BYTES);
            add(text, LINE_BYTES, " for %g s", w->deadline);
            add_waiting(w, p, text);
            return;
        }
    }
}

/* Ranks of this host that never came. */
static int add_absent(const struct watch *w, char *text)
{
    int n = 0;

    for (int i = 0; i < board_rows(w->board); i++) {
        if (board_place(w->board, i)->doing != DOING_NOTHING)
            continue;
        add(text, LINE_BYTES, "%srank %d%s", n++ ? ", " : "", i,
            board_is_whole(w->board) ? "" : " of those here");
    }
    return n;
}

static void look_at_start(struct watch *w, double now, char *text)
{
    int rank = board_mine(w->board)->rank;
    double since = now - w->begun;

    if (w->begun == 0 || since <= w->deadline)
        return;
    if (add_absent(w, text) > 0)
        add(text, LINE_BYTES, " (host %s) did not start within %g s; rank %d waits at \"start\"",
            board_host(w->board), w->deadline, rank);
    else if (since > w->deadline + OTHERS_FIRST)
        add(text, LINE_BYTES, "MPI did not start within %g s: rank %d (host %s) waits at \"start\" "
            "and the ranks of this host are there; look at the other hosts and the network",
            w->deadline, rank, board_host(w->board));
}

static void look_at_myself(struct watch *w, double now, char *text)
{
    const struct place *p = board_mine(w->board);

    if (w->asked == 0 || now - w->asked <= w->deadline + SELF_FIRST)
        return;
    add(text, LINE_BYTES, "%.*s has not answered within %g s (deadline): ", BOARD_WHAT - 1,
        p->what, w->deadline);
    place_name(p, board_host(w->board), text, LINE_BYTES);
    add(text, LINE_BYTES, " waits for it in \"%s\" of step %lld", phase_of(p->phase),
        (long long)p->step);
}

/* A wait that is long past its deadline is inside of MPI, which can turn round a broken connection
 * for ever. */
static void look_at_my_wait(struct watch *w, double now, char *text)
{
    const struct place *p = board_mine(w->board);

    if (p->doing != DOING_WAIT)
        return;
    if (w->wait != p->waits)
        w->before = w->paused;
    w->wait = p->waits;
    if (now - w->wait - (w->paused - w->before) <= w->deadline + MPI_FIRST)
        return;
    add(text, LINE_BYTES, "MPI has not come back within %g s (deadline): ", w->deadline);
    place_name(p, board_host(w->board), text, LINE_BYTES);
    add(text, LINE_BYTES, " waits in it at \"%s\" of step %lld; look at the other hosts and the "
        "network", phase_of(p->at), (long long)p->step);
}

/* What was seen, under the mutex. */
static bool look(struct watch *w, double now)
{
    w->line[0] = 0;
    look_at_others(w, now, w->line);
    if (!w->line[0])
        look_at_start(w, now, w->line);
    if (!w->line[0])
        look_at_myself(w, now, w->line);
    if (!w->line[0])
        look_at_my_wait(w, now, w->line);
    return w->line[0] != 0;
}

/* This process was stopped itself: what it missed is nobody's fault. */
static void forgive(struct watch *w, double gap)
{
    for (int i = 0; i < w->rows; i++)
        w->stopped[i] = 0;
    w->paused += gap;
    if (w->begun > 0)
        w->begun += gap;
    if (w->asked > 0)
        w->asked += gap;
}

/* ---- the thread */

/* False: it is to stop. */
static bool pause_for(struct watch *w, double seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!w->stop && pthread_cond_timedwait(&w->changed, &w->mutex, &until) == 0)
        ;
    return !w->stop;
}

static void *say(void *data)
{
    const struct watch *w = data;

    log_error("%s", w->line);
    fflush(stderr);
    return NULL;
}

static void *tell(void *data)
{
    const struct watch *w = data;

    if (w->told)
        w->told(w->data, w->line);
    return NULL;
}

/* In threads: one takes stderr, which may be full, the other files, whose disk may hang. */
static void say_in_time(struct watch *w)
{
    void *(*const all[])(void *) = { say, tell };
    struct timespec until;
    pthread_t thread[2];
    bool started[2];

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SAID_WITHIN;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    for (int i = 0; i < 2; i++)
        started[i] = pthread_create(&thread[i], NULL, all[i], w) == 0;
    for (int i = 0; i < 2; i++)
        if (started[i])
            pthread_timedjoin_np(thread[i], NULL, &until);
        else
            all[i](w);
}

/* The main thread did not come, or not to the end. */
static void end_it_here(struct watch *w)
{
    if (atomic_load(&w->state) != STATE_TAKEN)
        say_in_time(w);
    undertaker_leave(w->board);
    board_end(w->board, status_exit_code(RL_ELOST));
    _exit(status_exit_code(RL_ELOST));
}

/* Another rank here has said it.  False: this one is to stop. */
static bool follow_others(struct watch *w)
{
    double until = clock_now() + ENDED_BY_OTHERS;

    while (clock_now() < until && !board_ends(w->board))
        if (!pause_for(w, EVERY))
            return false;
    if (board_ends(w->board) && pause_for(w, GOODBYE))
        _exit(board_ends(w->board));
    return !w->stop;
}

static void post(struct watch *w)
{
    bool more = true;

    if (!board_speak(w->board)) {
        more = follow_others(w);
    } else if (w->begun == 0) {
        atomic_store(&w->state, STATE_POSTED);
        more = pause_for(w, TAKEN_WITHIN);
        if (more && atomic_load(&w->state) == STATE_TAKEN)
            more = pause_for(w, ENDED_WITHIN);
    }
    if (more)
        end_it_here(w);
}

/* This rank was stopped for so long that the others have given it up, and what woke it is the end
 * of the job, a SIGTERM behind the SIGCONT: it does not wait for the SIGKILL. */
static void leave_if_given_up(double woken, double now)
{
    if (woken > 0 && now - woken < WOKEN && stop_asked())
        _exit(status_exit_code(RL_ELOST));
}

static void *watch_all(void *data)
{
    struct watch *w = data;
    double last = clock_now(), woken = 0, now;

    pthread_mutex_lock(&w->mutex);
    while (pause_for(w, EVERY)) {
        now = clock_now();
        trace_seen();
        if (board_ends(w->board) && pause_for(w, GOODBYE))
            _exit(board_ends(w->board));
        if (now - last > w->deadline)
            woken = now;
        leave_if_given_up(woken, now);
        if (now - last > PAUSED)
            forgive(w, now - last);
        else if (look(w, now)) {
            post(w);
            break;
        }
        last = now;
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* ---- for the main thread */

int watch_open(struct watch **out, double deadline)
{
    struct watch *w = calloc(1, sizeof *w);
    pthread_condattr_t clock;
    sigset_t all, before;
    int error, rc = RL_OK;

    *out = NULL;
    if (!w)
        return rl_error(RL_ENOFIT, "no memory for a watch");
    w->deadline = deadline;
    w->begun = clock_now();
    TRY(board_open(&w->board));
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &clock);
    pthread_condattr_destroy(&clock);
    sigfillset(&all);                   /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, NULL, watch_all, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        TRY(rl_error(RL_ENOFIT, "cannot start a thread: %s", strerror(error)));
    *out = w;
    w = NULL;
done:
    if (w) {
        board_close(w->board);
        free(w);
    }
    return rc;
}

void watch_close(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    board_unlink(w->board, true);
    board_close(w->board);
    free(w->stopped);
    free(w);
}

void watch_started(struct watch *w)
{
    pthread_mutex_lock(&w->mutex);
    w->begun = 0;
    pthread_mutex_unlock(&w->mutex);
    board_unlink(w->board, false);
}

void watch_deadline(struct watch *w, double deadline)
{
    pthread_mutex_lock(&w->mutex);
    w->deadline = deadline;
    pthread_mutex_unlock(&w->mutex);
}

void watch_on_loss(struct watch *w, void (*told)(void *data, const char *line), void *data)
{
    pthread_mutex_lock(&w->mutex);
    w->told = told;
    w->data = data;
    pthread_mutex_unlock(&w->mutex);
}

struct board *watch_board(struct watch *w)
{
    return w->board;
}

const char *watch_take(struct watch *w)
{
    int posted = STATE_POSTED;

    return atomic_compare_exchange_strong(&w->state, &posted, STATE_TAKEN) ? w->line : NULL;
}

void watch_ask(struct watch *w, const char *what)
{
    struct place *p = board_mine(w->board);

    pthread_mutex_lock(&w->mutex);
    if (what)
        snprintf(p->what, sizeof p->what, "%s", what);
    p->doing = what ? DOING_ASK : DOING_WORK;
    w->asked = what ? clock_now() : 0;
    pthread_mutex_unlock(&w->mutex);
}
