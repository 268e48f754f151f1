/* The rings of a start, from its beginning to its end; see timeline.h. */
#include "launch/timeline.h"

#include <stdio.h>
#include <string.h>
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
    const char *output = r->config->output;
    char folder[4200];
    int left, rc = RL_OK;

    if (comm_rank(r->world) != r->recorder)
        return RL_OK;
    if (timeline_join(output, &left) != RL_OK)
        status_print();
    if (left > 0)
        TRY(timeline_make_way(output, "trace", ""));
    TRY(path_join(folder, sizeof folder, output, "trace"));
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

/* The ring of this start, and the folder with whoever comes last. */
static void remove_ring(const struct run *r)
{
    char path[4200];

    trace_close();
    if (ring_path(r, path, sizeof path) != RL_OK)
        return;
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
}

int timeline_open(struct run *r)
{
    double offset, error;
    int opened, rc;

    if (!r->config->trace)
        return RL_OK;
    rc = comm_agree(r->world, make_folder(r));
    if (rc == RL_OK) {
        TRY(comm_clock_offset(r->world, &offset, &error));
        opened = open_ring(r, offset, error);
        rc = comm_agree(r->world, opened);
        r->timeline.on = rc == RL_OK;
        if (rc != RL_OK && rc != RL_ELOST)
            remove_ring(r);
    }
    timeline_step(r, 0);
    if (rc == RL_OK || rc == RL_ELOST)
        return rc;
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

int timeline_rescue(const char *folder, double patience, int *left)
{
    char rings[4200];
    int fd = -1, rc = RL_OK;

    *left = 0;
    TRY(path_join(rings, sizeof rings, folder, "trace"));
    if (!folder_exists(rings))
        return RL_OK;
    TRY(folder_lock(folder, ".lock", patience, &fd));
    rc = timeline_join(folder, left);
done:
    if (fd >= 0)
        close(fd);
    return rc;
}

int timeline_close(struct run *r, int rc)
{
    int left, closed;

    if (!r->timeline.on || rc == RL_ELOST)
        return rc;                      /* the ring stays as it is */
    trace_close();
    r->timeline.on = false;
    closed = comm_barrier(r->world, PHASE_END);
    if (closed != RL_OK)
        return status_worse(rc, closed);
    if (comm_rank(r->world) == r->recorder && timeline_join(r->config->output, &left) != RL_OK)
        status_print();
    return rc;
}
