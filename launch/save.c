/* When the state is saved; see save.h. */
#include "launch/save.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "launch/keep.h"
#include "launch/run.h"
#include "launch/state.h"

/* ---- memory for the copy */

/* Memory of its own, there before the first step. */
static void *take(size_t bytes)
{
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    return block == MAP_FAILED ? NULL : block;
}

int save_open(struct run *r)
{
    struct saver *s = &r->save;
    int64_t without = 0;
    int rc = RL_OK;

    if (!run_holds(r, ROLE_LEARNER) || !copy_wanted(r->config))
        return RL_OK;
    s->room = copy_bytes(&r->inputs, r->config, comm_size(r->team), comm_rank(r->team));
    s->copy = take(s->room);
    without = s->copy == NULL;
    TRY(comm_max_int64(r->team, &without, 1, PHASE_START));
    s->behind = without == 0;
    if (!s->behind)
        log_info("no memory for a copy of the state (%.1f MiB): steps wait for checkpoints",
                 (double)s->room / 1048576.0);
done:
    return rc;
}

void save_close(struct saver *s)
{
    image_close(&s->image);
    if (s->copy)
        munmap(s->copy, s->room);
    memset(s, 0, sizeof *s);
}

/* ---- a disk that does not take it */

/* What only the disk is to blame for is said, and tried again after the next step. */
static int forgive(struct run *r, int rc, int64_t step)
{
    struct saver *s = &r->save;

    if (rc != RL_EIO)
        return rc;
    s->missing = true;
    if (s->saved > 0)
        log_info("the checkpoint of step %lld could not be written: training goes on, the newest "
                 "is of step %lld", (long long)step, (long long)s->saved);
    else
        log_info("the checkpoint of step %lld could not be written: training goes on, there is "
                 "none yet", (long long)step);
    return RL_OK;
}

/* It is there: older ones may go. */
static int arrived(struct run *r, int64_t step)
{
    struct saver *s = &r->save;
    int rc = RL_OK;

    if (s->missing)
        log_info("the checkpoint of step %lld is written", (long long)step);
    s->saved = step;
    s->missing = false;
    if (comm_rank(r->team) == 0)
        rc = keep_prune(&r->folder, r->config);
    return rc == RL_EIO ? RL_OK : rc;   /* one that cannot be deleted is said, and no more */
}

/* ---- behind the steps */

/* The writer under way comes to its end. */
static int settle(struct run *r)
{
    struct saver *s = &r->save;
    struct checkpoint_written written = { 0 };
    int rc = checkpoint_end(s->writer, &written);

    if (rc == RL_ELOST)
        return rc;                      /* its thread still works on it */
    s->writer = NULL;
    image_close(&s->image);
    if (rc == RL_OK) {
        s->written = written;
        rc = comm_agree(r->team, arrived(r, s->writing));
    }
    return forgive(r, rc, s->writing);
}

static int settle_if_done(struct run *r)
{
    bool done = false;
    int rc = RL_OK;

    if (!r->save.writer)
        return RL_OK;
    TRY(checkpoint_poll(r->save.writer, &done));
    if (done)
        rc = settle(r);
done:
    return rc;
}

/* A copy of the state as it is, and its writer. */
static int begin(struct run *r, const char *path)
{
    struct saver *s = &r->save;
    struct state state;
    struct trace t;
    int rc = RL_OK;

    TRY(state_gather(r, &state));
    if (image_bytes(&state.content) > s->room)
        rc = rl_error(RL_EBUG, "the state takes %zu bytes, %zu were planned",
                      image_bytes(&state.content), s->room);
    TRY(comm_agree(r->team, rc));
    t = trace_begin("snapshot");
    image_pack(&state.content, s->copy, NULL);
    trace_end(t, TRACE_BYTES, (int64_t)image_bytes(&state.content));
    TRY(comm_agree(r->team, image_open(&s->image, s->copy, s->room)));
    rc = checkpoint_begin(&s->writer, r->team, path, &s->image.content, true);
done:
    state_release(&state);
    if (!s->writer)
        image_close(&s->image);
    return rc;
}

/* ---- at once */

static int write_now(struct run *r, const char *path)
{
    struct checkpoint_writer *w;
    struct state state;
    int rc = RL_OK;

    TRY(state_gather(r, &state));
    TRY(checkpoint_begin(&w, r->team, path, &state.content, false));
    TRY(checkpoint_end(w, &r->save.written));
    rc = comm_agree(r->team, arrived(r, r->step));
done:
    state_release(&state);
    return rc;
}

/* ---- the story */

/* Where the state of this step goes; somebody may have removed the folder. */
static void find_place(const struct run *r, char path[4400])
{
    if (comm_rank(r->team) == 0 && mkdir(r->folder.checkpoints, 0777) == 0)
        log_info("%s was gone and is made again", r->folder.checkpoints);
    folder_checkpoint(&r->folder, r->step, path, 4400);
}

bool save_is_due(const struct run *r)
{
    int64_t every = r->config->checkpoint_every;

    return r->journal.on || r->step >= r->config->steps || (every > 0 && r->step % every == 0);
}

int save_step(struct run *r)
{
    const struct config *c = r->config;
    struct saver *s = &r->save;
    char path[4400];
    struct trace t;
    int rc = RL_OK;

    if (!run_holds(r, ROLE_LEARNER))
        return RL_OK;
    t = trace_begin("checkpoint");
    TRY(settle_if_done(r));
    if (r->step >= c->steps || c->checkpoint_every == 0 ||
        (r->step % c->checkpoint_every != 0 && !s->missing))
        goto done;
    if (s->writer)                      /* the disk is slower than checkpoint_every */
        TRY(settle(r));
    find_place(r, path);
    s->writing = r->step;
    rc = forgive(r, s->behind ? begin(r, path) : write_now(r, path), r->step);
done:
    r->spans[SPAN_CHECKPOINT] += trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

int save_finish(struct run *r)
{
    struct trace t = trace_begin("checkpoint");
    int rc = RL_OK;

    if (r->save.writer)
        rc = settle(r);
    r->spans[SPAN_CHECKPOINT] += trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

int save_now(struct run *r)
{
    char path[4400];
    struct trace t;
    int rc;

    if (!run_holds(r, ROLE_LEARNER) || r->save.saved == r->step)
        return RL_OK;
    t = trace_begin("checkpoint");
    find_place(r, path);
    rc = write_now(r, path);
    r->spans[SPAN_CHECKPOINT] += trace_end(t, TRACE_NOTHING, 0);
    return rc;
}
