/* See gpus.h.  comm/nccl.c knows no ranks and no MPI; here are both:
 *
 *   every rank says: my GPU, my NCCL   -->  the same list everywhere, so the same decision
 *   rank 0 makes an id, MPI spreads it -->  all begin, and look until all have come
 */
#include "comm/gpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/nccl.h"
#include "compute/compute.h"
#include "compute/device.h"

#define WHY_BYTES 256
#define REFUSED RL_EINVAL                 /* another rank cannot start: no code of the library */

struct gpus {
    const struct nccl_door *nccl;
    struct nccl_group *group;
    struct comm *g;                       /* that it belongs to */
    struct gpus *next;                    /* of this process */
    int start;                            /* how it ended here: a code */
};

/* What a rank says of itself. */
struct claim {
    int32_t has_gpu;
    char host[HOST_BYTES];                /* NCCL_HOSTID, if it is set: NCCL goes by that, too */
    char gpu[GPU_NAME_BYTES];
    char why[WHY_BYTES];                  /* there is no NCCL, "": there is */
};

/* ---- while it lives */

void gpus_abort(struct world *w)
{
    w->lost = true;
    for (struct gpus *p = w->gpus; p; p = p->next) {
        world_blocks(w, "ncclCommAbort");
        p->nccl->abort(p->group);
        world_blocks(w, NULL);
    }
}

/* What NCCL says of a loss is told by one rank of a host, and only if nobody saw who was lost. */
static int say(const struct comm *g, int rc)
{
    struct world *w = g->world;
    char line[1024];

    snprintf(line, sizeof line, "%s", status_message());
    status_drop();
    if (rc == RL_ELOST) {
        clock_sleep(w->listen);
        TRY(world_look(w));
        if (w->watch && !board_speak(watch_board(w->watch)))
            return RL_ELOST;
    }
    return rl_error(rc, "rank %d (host %s), %s: %s", w->rank, w->host[w->rank], g->name, line);
done:
    return rc;
}

static int check(struct comm *g, int rc)
{
    if (rc >= 0)
        return rc;
    rc = say(g, rc);
    gpus_abort(g->world);
    return rc;
}

static int placed(void *of)
{
    struct gpus *p = of;

    return check(p->g, p->nccl->placed(p->group));
}

/* The start is over here, whatever came of it. */
static int started(void *of)
{
    struct gpus *p = of;

    p->start = p->nccl->placed(p->group);
    if (p->start > 0 && p->g->world->refusal)
        p->start = REFUSED;
    return p->start > 0 ? p->start : RL_OK;
}

static int done(void *of)
{
    struct gpus *p = of;

    return check(p->g, p->nccl->done(p->group));
}

static int wait_until(struct comm *g, int (*also)(void *of), struct requests *q, enum phase phase)
{
    int rc;

    q->also = also;
    q->of = g->gpus;
    rc = comm_wait(g, q, phase);
    q->also = NULL;
    return rc;
}

/* A call of the library's table, unless a rank is lost. */
#define CALL(g, verb, ...)                                                                       \
    ((g)->world->lost ? RL_ELOST : check(g, (g)->gpus->nccl->verb((g)->gpus->group, __VA_ARGS__)))

int gpus_begin(struct comm *g)
{
    return g->world->lost ? RL_ELOST : check(g, g->gpus->nccl->begin(g->gpus->group));
}

int gpus_end(struct comm *g, struct requests *q, enum phase phase)
{
    int rc = g->world->lost ? RL_ELOST : check(g, g->gpus->nccl->end(g->gpus->group));

    return rc != RL_OK ? rc : wait_until(g, placed, q, phase);
}

int gpus_wait(struct comm *g, struct requests *q, enum phase phase)
{
    return wait_until(g, done, q, phase);
}

int gpus_send(struct comm *g, const void *data, size_t bytes, int to)
{
    return bytes > 0 ? CALL(g, send, data, bytes, to) : RL_OK;
}

int gpus_recv(struct comm *g, void *data, size_t bytes, int from)
{
    return bytes > 0 ? CALL(g, receive, data, bytes, from) : RL_OK;
}

int gpus_broadcast(struct comm *g, void *data, size_t bytes, int root)
{
    return bytes > 0 ? CALL(g, broadcast, data, data, bytes, root) : RL_OK;
}

int gpus_allgather(struct comm *g, void *all, const size_t *counts)
{
    char *at = all;
    int rc = RL_OK;

    for (int r = 0; r < g->size; at += counts[r++])
        TRY(gpus_broadcast(g, at, counts[r], r));
done:
    return rc;
}

int gpus_allreduce(struct comm *g, float *x, size_t n)
{
    return n > 0 ? CALL(g, all_reduce, x, n) : RL_OK;
}

int gpus_reduce_scatter(struct comm *g, const float *x, float *mine, size_t n)
{
    return n > 0 ? CALL(g, reduce_scatter, x, mine, n) : RL_OK;
}

/* ---- making */

static struct claim claim_make(const struct comm *g, struct compute *k,
                               const struct nccl_door *nccl)
{
    const char *host = getenv("NCCL_HOSTID"), *why = "librankwise_cuda.so was built without NCCL";
    struct claim claim = { .has_gpu = k->device != NULL };

    snprintf(claim.host, sizeof claim.host, "%s", host ? host : comm_host(g, g->rank));
    if (!claim.has_gpu)
        return claim;
    if (!nccl || !nccl->load(&why))
        snprintf(claim.why, sizeof claim.why, "%s", why);
    else
        nccl->gpu_name(claim.gpu);
    return claim;
}

static int share_claims(struct comm *g, struct claim *claims)
{
    for (int r = 0; r < g->size; r++)
        g->counts[r] = sizeof *claims;
    return comm_allgather(g, &claims[g->rank], claims, g->counts, PHASE_START);
}

/* The first earlier rank on the same GPU, -1. */
static int find_twin(const struct claim *claims, int rank)
{
    for (int r = 0; r < rank; r++)
        if (strcmp(claims[r].gpu, claims[rank].gpu) == 0 &&
            strcmp(claims[r].host, claims[rank].host) == 0)
            return r;
    return -1;
}

/* Why these ranks cannot use NCCL, "": they can.  The same on every rank. */
static void find_reason(const struct comm *g, const struct claim *claims, char *why, size_t room)
{
    why[0] = 0;
    for (int r = 0; r < g->size && !why[0]; r++) {
        int twin = find_twin(claims, r);
        if (!claims[r].has_gpu)
            snprintf(why, room, "rank %d has no GPU", g->ranks[r]);
        else if (claims[r].why[0])
            snprintf(why, room, "rank %d: %s", g->ranks[r], claims[r].why);
        else if (twin >= 0)
            snprintf(why, room, "ranks %d and %d share GPU %s of %s; with NCCL_HOSTID different on "
                     "each rank it would", g->ranks[twin], g->ranks[r], claims[r].gpu,
                     claims[r].host);
    }
}

static void forget(struct world *w, const struct gpus *p)
{
    struct gpus **at = &w->gpus;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
}

static void leave(struct comm *g)
{
    struct gpus *p = g->gpus;

    forget(g->world, p);
    p->nccl->close(p->group);
    free(p);
    g->gpus = NULL;
}

/* NCCL does not start here: a mistake in how it is set up, unless a rank is lost or the GPU broke.
 * It sees a lost one before the watch does. */
static int say_start(struct comm *g, int rc)
{
    struct world *w = g->world;
    char line[1024];

    if (rc == RL_OK || rc == RL_ENOFIT || rc == REFUSED || g->gpu->error != RL_OK)
        return rc;
    snprintf(line, sizeof line, "%s", status_message());
    status_drop();
    clock_sleep(w->listen);
    TRY(world_look(w));
    return rl_error(RL_EINVAL, "rank %d (host %s), %s: %s; NCCL_DEBUG=WARN says more, "
                    "NCCL_SOCKET_IFNAME names the network to take, RANKWISE_NCCL=none does "
                    "without NCCL", w->rank, w->host[w->rank], g->name, line);
done:
    return rc;
}

/* Every rank has come, or all give up: NCCL says at once on one that it does not start, and lets
 * others wait. */
static int start_group(struct comm *g, struct compute *k, const char id[NCCL_ID_BYTES])
{
    struct gpus *p = g->gpus;
    int rc = RL_OK;

    p->start = p->nccl->create(&p->group, k, id, g->size, g->rank);
    g->requests.sequence = ++g->sequence;
    if (p->start == RL_OK)
        TRY(wait_until(g, started, &g->requests, PHASE_START));
    rc = say_start(g, p->start);
    if (rc != RL_OK && rc != RL_ELOST)
        rollcall_refusal(g);
    rc = comm_agree(g, rc);
    g->world->refusal = false;           /* of this group; now all have heard it */
done:
    if (rc == RL_ELOST) {
        gpus_abort(g->world);
    } else if (rc != RL_OK) {
        world_blocks(g->world, "ncclCommAbort");
        p->nccl->abort(p->group);
        world_blocks(g->world, NULL);
        leave(g);
    }
    return rc;
}

static int make_group(struct comm *g, struct compute *k, const struct nccl_door *nccl)
{
    char id[NCCL_ID_BYTES] = "";
    struct gpus *p = calloc(1, sizeof *p);
    int rc = RL_OK;

    if (!p)
        rc = rl_error(RL_ENOFIT, "no memory for a group of GPUs");
    else if (g->rank == 0)
        rc = say_start(g, nccl->make_id(k, id));
    TRY(comm_agree(g, rc));
    TRY(comm_broadcast(g, id, sizeof id, 0, PHASE_START));
    *p = (struct gpus){ .nccl = nccl, .g = g, .next = g->world->gpus };
    g->world->gpus = g->gpus = p;
    return start_group(g, k, id);
done:
    free(p);
    return rc;
}

int comm_use_gpus(struct comm *g, struct compute *k)
{
    const struct nccl_door *nccl = k->device ? device_symbol("rankwise_nccl") : NULL;
    struct claim *claims = calloc((size_t)g->size, sizeof *claims);
    char why[2 * WHY_BYTES];
    bool any = false;
    int rc = RL_OK;

    g->gpu = k->device ? k : NULL;
    if (g->size == 1)
        goto done;
    TRY(comm_agree(g, claims ? RL_OK : rl_error(RL_ENOFIT, "cannot allocate a group of %d ranks",
                                                g->size)));
    claims[g->rank] = claim_make(g, k, nccl);
    TRY(share_claims(g, claims));
    for (int r = 0; r < g->size; r++)
        any |= claims[r].has_gpu;
    if (!any)
        goto done;
    find_reason(g, claims, why, sizeof why);
    if (!why[0])
        TRY(make_group(g, k, nccl));
    log_info("%s: %d GPUs %s%s%s", g->name, g->size, why[0] ? "without NCCL (" : "over NCCL", why,
             why[0] ? ")" : "");
done:
    free(claims);
    return rc;
}

void comm_leave_gpus(struct comm *g)
{
    struct gpus *p = g ? g->gpus : NULL;

    if (g)
        g->gpu = NULL;
    if (!p)
        return;
    g->requests.n = 0;
    g->requests.sequence = ++g->sequence;
    if (g->world->lost || check(g, p->nccl->finish(p->group)) != RL_OK ||
        wait_until(g, placed, &g->requests, PHASE_END) != RL_OK)
        gpus_abort(g->world);
    leave(g);
}
