/* The rings of a start, from its beginning to its end; see timeline.h. */
#include "launch/timeline.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "launch/run.h"

static int ring_path(const struct run *r, char *path, size_t room)
{
    char name[64];

    snprintf(name, sizeof name, "trace/rank-%05d.ring", comm_rank(r->world));
    return path_join(path, room, r->config->output, name);
}

/* What an earlier start left is joined before its rings are made anew. */
static int make_folder(const struct run *r)
{
    char folder[4200];
    int ranks, rc = RL_OK;

    if (comm_rank(r->world) != r->recorder)
        return RL_OK;
    if (timeline_join(r->config->output, &ranks) != RL_OK)
        status_print();
    TRY(path_join(folder, sizeof folder, r->config->output, "trace"));
    rc = folder_make(folder);
done:
    return rc;
}

static int open_ring(const struct run *r, double offset, double error)
{
    int rank = comm_rank(r->world), rc = RL_OK;
    struct text roles = { 0 };
    char path[4200];

    TRY(ring_path(r, path, sizeof path));
    TRY(trace_open(path, TRACE_EVENTS));
    placement_text(&r->placement, rank, &roles);
    trace_tell(rank, comm_host(r->world, rank), roles.data, offset, error);
done:
    text_free(&roles);
    return rc;
}

int timeline_open(struct run *r)
{
    double offset, error;
    char path[4200];
    int rc;

    if (!r->config->trace)
        return RL_OK;
    rc = comm_agree(r->world, make_folder(r));
    if (rc == RL_OK) {
        TRY(comm_clock_offset(r->world, &offset, &error));
        rc = comm_agree(r->world, open_ring(r, offset, error));
        r->timeline.on = rc == RL_OK;
    }
    timeline_step(r, 0);
    if (rc == RL_OK || rc == RL_ELOST)
        return rc;
    trace_close();
    if (ring_path(r, path, sizeof path) == RL_OK)
        unlink(path);
    log_info("going on without a timeline");
    rc = RL_OK;
done:
    return rc;
}

void timeline_step(const struct run *r, int64_t step)
{
    const struct config *c = r->config;

    trace_step(step, step >= c->trace_first && (c->trace_last == 0 || step <= c->trace_last));
}

int timeline_rescue(const char *folder)
{
    char rings[4200];
    int fd = -1, ranks, rc = RL_OK;

    TRY(path_join(rings, sizeof rings, folder, "trace"));
    if (!folder_exists(rings))
        return RL_OK;
    TRY(folder_lock(folder, ".lock", LOCK_SECONDS, &fd));
    rc = timeline_join(folder, &ranks);
done:
    if (fd >= 0)
        close(fd);
    return rc;
}

int timeline_close(struct run *r, int rc)
{
    int ranks, closed;

    if (!r->timeline.on || rc == RL_ELOST)
        return rc;                      /* the ring stays as it is */
    trace_close();
    r->timeline.on = false;
    closed = comm_barrier(r->world, PHASE_END);
    if (closed != RL_OK)
        return status_worse(rc, closed);
    if (comm_rank(r->world) == r->recorder && timeline_join(r->config->output, &ranks) != RL_OK)
        status_print();
    return rc;
}
