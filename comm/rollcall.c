/* The roll call: who is late, when a wait has met its deadline?
 *
 *   caller:    "I gave up at "gradients" of step 17"  -->  every rank of the world
 *   a rank that waits, wherever:     answers at once with its own place
 *   a rank that computes, sleeps, is stopped or dead: is silent for 0.7 s, and that is its name
 *
 * One rank speaks: a caller that heard a lower rank call leaves the line to that one.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "comm/group.h"

#define NAMED 4              /* ranks in one line */
#define TEXT_BYTES 1024
#define FAREWELL 0.02        /* seconds, to let a few bytes go */

static struct note note_make(const struct comm *g, const struct requests *q, enum phase phase)
{
    struct note note = { .phase = (int32_t)phase, .waits_for = -1, .step = g->world->step,
                         .sequence = q->sequence };

    for (int i = 0; i < q->n; i++)
        if (q->request[i] != MPI_REQUEST_NULL)
            note.waits_for = q->peer[i];
    snprintf(note.name, sizeof note.name, "%s", q->name);
    return note;
}

/* A note that could not leave yet keeps its buffer, and the rank gets no second one. */
static void note_send(struct world *w, int to, const struct note *note)
{
    int gone = 1;

    if (w->sending[to] != MPI_REQUEST_NULL)
        MPI_Test(&w->sending[to], &gone, MPI_STATUS_IGNORE);
    if (!gone)
        return;
    w->sent[to] = *note;
    MPI_Isend(&w->sent[to], (int)sizeof *note, MPI_BYTE, to, TAG_NOTE, w->roll, &w->sending[to]);
}

/* The next note that has come, if any, and who wrote it. */
static bool note_next(struct world *w, struct note *note, int *from)
{
    MPI_Status status;
    int there = 0;

    if (MPI_Iprobe(MPI_ANY_SOURCE, TAG_NOTE, w->roll, &there, &status) != MPI_SUCCESS || !there)
        return false;
    *from = status.MPI_SOURCE;
    if (MPI_Recv(note, (int)sizeof *note, MPI_BYTE, *from, TAG_NOTE, w->roll,
                 MPI_STATUS_IGNORE) != MPI_SUCCESS)
        return false;
    note->name[NAME_BYTES - 1] = 0;
    w->farewell |= note->kind == NOTE_FAREWELL;
    w->refusal |= note->kind == NOTE_REFUSAL;
    if (note->kind == NOTE_CALL && *from < w->rank)
        w->lower_call = clock_now();
    return true;
}

void rollcall_answer(struct comm *g, const struct requests *q, enum phase phase)
{
    struct world *w = g->world;
    struct note theirs, mine;
    int from;

    while (w->mpi && note_next(w, &theirs, &from)) {
        if (theirs.kind != NOTE_CALL)
            continue;                     /* an answer to a call that is over */
        mine = note_make(g, q, phase);
        mine.call = theirs.call;
        note_send(w, from, &mine);
    }
}

/* Call every rank and listen; afterwards is_heard[] and heard[] say who waits where.  RL_ELOST: the
 * watch of this rank knows more. */
static int call_roll(struct world *w, struct note mine)
{
    double start = clock_now();
    int rc = RL_OK;
    struct note theirs;
    int from, missing = w->size - 1, call = ++w->calls;

    memset(w->is_heard, 0, (size_t)w->size * sizeof *w->is_heard);
    mine.kind = NOTE_CALL;
    mine.call = call;
    for (int r = 0; r < w->size; r++)
        if (r != w->rank)
            note_send(w, r, &mine);
    mine.kind = NOTE_ANSWER;
    while (missing > 0 && clock_now() - start < w->listen) {
        TRY(world_look(w));
        if (!note_next(w, &theirs, &from)) {
            clock_sleep(1e-3);
            continue;
        }
        if (w->farewell)
            return RL_ELOST;
        if (theirs.kind == NOTE_CALL) {
            mine.call = theirs.call;
            note_send(w, from, &mine);
        } else if (theirs.call != call) {
            continue;
        }
        missing -= !w->is_heard[from];
        w->is_heard[from] = true;
        w->heard[from] = theirs;
    }
done:
    return rc;
}

/* Whom the unfinished requests depend on.  False: all have finished by now. */
static bool find_suspects(struct comm *g, struct requests *q)
{
    struct world *w = g->world;
    bool any = false;

    memset(w->suspect, 0, (size_t)w->size * sizeof *w->suspect);
    for (int i = 0; i < q->n; i++) {
        int done = 1;
        if (q->request[i] != MPI_REQUEST_NULL)
            MPI_Test(&q->request[i], &done, MPI_STATUS_IGNORE);
        if (done)
            continue;
        any = true;
        if (q->peer[i] >= 0)
            w->suspect[q->peer[i]] = true;
        for (int r = 0; q->peer[i] < 0 && r < g->size; r++)
            w->suspect[g->ranks[r]] = true;
    }
    if (q->also && q->also(q->of) != RL_OK) {
        any = true;
        for (int r = 0; r < (q->with ? q->n_with : g->size); r++)
            w->suspect[q->with ? q->with[r] : g->ranks[r]] = true;
    }
    w->suspect[w->rank] = false;
    return any;
}

static bool is_here(const struct note *a, const struct note *b)
{
    return a->phase == b->phase && a->step == b->step && a->sequence == b->sequence &&
           strcmp(a->name, b->name) == 0;
}

static void say(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, TEXT_BYTES - used, format, args);
    va_end(args);
}

static void say_rank(char *text, const struct world *w, int rank)
{
    const char *roles = w->roles[rank];

    say(text, "rank %d (host %s%s%s)", rank, w->host[rank], roles[0] ? ", " : "", roles);
}

static void say_place(char *text, const struct note *note)
{
    int phase = note->phase >= 0 && note->phase < PHASES ? note->phase : PHASE_START;

    say(text, "\"%s\" of step %lld", phase_name((enum phase)phase), (long long)note->step);
}

/* Suspects, those whom they wait for, and so on. */
static void find_behind(struct world *w)
{
    bool more = true;

    memcpy(w->behind, w->suspect, (size_t)w->size * sizeof *w->behind);
    while (more) {
        more = false;
        for (int r = 0; r < w->size; r++) {
            int of = w->heard[r].waits_for;
            if (!w->behind[r] || !w->is_heard[r])
                continue;
            for (int s = 0; s < w->size; s++) {
                bool new = !w->behind[s] && s != w->rank && (of == s || of < 0);
                w->behind[s] |= new;
                more |= new;
            }
        }
    }
}

/* The ranks of a list that were not heard: "rank 2 (host h3, learner), rank 5 (...) and 7 more". */
static int say_silent(char *text, const struct world *w, const bool *list)
{
    int n = 0;

    for (int r = 0; r < w->size; r++) {
        if (r == w->rank || w->is_heard[r] || !list[r])
            continue;
        if (n < NAMED) {
            say(text, "%s", n ? ", " : "");
            say_rank(text, w, r);
        }
        n++;
    }
    if (n > NAMED)
        say(text, " and %d more", n - NAMED);
    return n;
}

/* What the board of this host knows of them. */
static void say_doing(char *text, const struct world *w, const bool *list)
{
    int n = 0;

    for (int r = 0; w->watch && n < NAMED && r < w->size; r++) {
        const struct place *p = board_find(watch_board(w->watch), r);
        enum health health = p ? board_health(p) : HEALTH_UNKNOWN;
        if (r == w->rank || w->is_heard[r] || !list[r] || !p)
            continue;
        say(text, "; rank %d ", r);
        say(text, "%s", health == HEALTH_STOPPED ? "is stopped " :
                        health == HEALTH_DISK ? "waits for a disk or file system " :
                        health == HEALTH_ENDED ? "died " : "is ");
        place_say(p, text, TEXT_BYTES);
        n++;
    }
}

/* The first rank we wait for that waits elsewhere or for another, -1 if all are here. */
static int find_elsewhere(const struct world *w, const struct note *mine)
{
    for (int r = 0; r < w->size; r++) {
        const struct note *theirs = &w->heard[r];
        if (w->suspect[r] && w->is_heard[r] &&
            (!is_here(theirs, mine) || (theirs->waits_for >= 0 && theirs->waits_for != w->rank)))
            return r;
    }
    return -1;
}

/* Every rank we wait for has answered: it waits in turn, for a silent rank or in a wrong place. */
static void say_chain(char *text, struct world *w, const struct note *mine)
{
    int elsewhere = find_elsewhere(w, mine);
    char silent[TEXT_BYTES] = "";

    if (elsewhere < 0) {
        say_place(text, mine);
        say(text, " (%s, call %lld) did not finish within %g s although every rank is there; "
            "rank %d waited: check the network", mine->name, (long long)mine->sequence, w->deadline,
            w->rank);
        return;
    }
    find_behind(w);
    if (say_silent(silent, w, w->behind) > 0)
        say(text, "%s did not answer; ", silent);
    say_rank(text, w, elsewhere);
    say(text, " waits at ");
    say_place(text, &w->heard[elsewhere]);
    say(text, " (%s, call %lld) while rank %d waited %g s for it at ", w->heard[elsewhere].name,
        (long long)w->heard[elsewhere].sequence, w->rank, w->deadline);
    say_place(text, mine);
    say(text, " (%s, call %lld)", mine->name, (long long)mine->sequence);
    say_doing(text, w, w->behind);
}

/* A lower rank has called, so the line is its own: it ends the job.  Returns when it did not. */
static void leave_it_to_lower(struct world *w)
{
    double end = w->lower_call + 2 * w->listen;
    struct note theirs;
    int from;

    while (clock_now() < end && !w->farewell)
        if (!note_next(w, &theirs, &from))
            clock_sleep(1e-3);
}

/* The others need not look for whoever is lost, and leave at once as well. */
void rollcall_farewell(struct world *w)
{
    struct note mine = { .kind = NOTE_FAREWELL };
    double end = clock_now() + FAREWELL;
    int gone = 0;

    for (int r = 0; r < w->size; r++)
        if (r != w->rank)
            note_send(w, r, &mine);
    while (!gone && clock_now() < end)
        MPI_Testall(w->size, w->sending, &gone, MPI_STATUSES_IGNORE);
}

void rollcall_refusal(struct comm *g)
{
    struct note mine = { .kind = NOTE_REFUSAL };

    for (int r = 0; r < g->size; r++)
        if (r != g->rank)
            note_send(g->world, g->ranks[r], &mine);
}

int rollcall_blame(struct comm *g, struct requests *q, enum phase phase)
{
    struct world *w = g->world;
    struct note mine = note_make(g, q, phase);
    char text[TEXT_BYTES] = "";

    if (!find_suspects(g, q))
        return RL_OK;
    if (call_roll(w, mine) != RL_OK)
        return RL_ELOST;
    if (clock_now() - w->lower_call < 2 * w->listen)
        leave_it_to_lower(w);
    if (w->farewell)
        return RL_ELOST;
    if (w->watch && !board_speak(watch_board(w->watch))) {
        clock_sleep(w->listen);
        return RL_ELOST;
    }
    if (say_silent(text, w, w->suspect) > 0) {
        say(text, " did not come to ");
        say_place(text, &mine);
        say(text, " within %g s; rank %d waited", w->deadline, w->rank);
        say_doing(text, w, w->suspect);
    } else {
        say_chain(text, w, &mine);
    }
    return rl_error(RL_ELOST, "%s", text);
}
