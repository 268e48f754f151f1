/* mpirun -n RANKS rankwise bench comm: what ranks say to each other in a step, each beside the rate
 * at which all of them together copy memory.
 *
 *   tree sum   gradients, the same bits for any number of ranks; MPI_Allreduce beside it
 *   weights    from rank 0 to the others, as learners give them to actors
 *   link       a batch of --rows rows from the first half of the ranks to the second
 *   agree      a status
 *
 * With a GPU messages lie in its memory, where the work that made them left them; gradients and
 * weights go from GPU to GPU where each rank has one of its own and NCCL.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/bench.h"
#include "comm/link.h"
#include "comm/tree.h"
#include "launch/commands/bench.h"

#define AGREEMENTS 100                  /* in a repeat */

struct bench_comm {
    const struct bench_options *o;
    struct comm *world;
    int rank, ranks, leaves;
    size_t n;                           /* floats in the message of now */
    struct compute *k;
    struct memory messages;
    float *x, *y;
    struct tree *tree;
    struct feed *feed;
    struct link *link;
    struct memory memory;
    struct batch batch;
    int *rank_list;                     /* (ranks) 0, 1, 2, ... */
    int64_t version;
    double copy;                        /* GB/s of a rank while all copy */
};

/* ---- what is timed; all are collective */

static int copy(struct bench_comm *b)
{
    b->k->copy(b->k, b->y, b->x, b->n * sizeof *b->x);
    return compute_sync(b->k);
}

static int tree_sum(struct bench_comm *b)
{
    return comm_tree_sum(b->tree, b->y);
}

static int allreduce(struct bench_comm *b)
{
    return comm_bench_allreduce(b->world, b->y, b->n);
}

static int weights(struct bench_comm *b)
{
    b->version++;
    return b->rank == 0 ? weights_publish(b->feed, b->x, b->version)
                        : weights_receive(b->feed, b->y, b->version);
}

static int send_batch(struct bench_comm *b)
{
    const unsigned columns = COL_TOKENS | COL_ACTOR_LOGP;
    int rc = RL_OK;

    if (b->rank >= b->ranks / 2)
        return link_recv(b->link, &b->batch, columns, PHASE_ROLLOUT);
    TRY(link_send(b->link, &b->batch, columns, PHASE_ROLLOUT));
    rc = link_flush(b->link);
done:
    return rc;
}

static int agree(struct bench_comm *b)
{
    int rc = RL_OK;

    for (int i = 0; i < AGREEMENTS && rc == RL_OK; i++)
        rc = comm_agree(b->world, rc);
    return rc;
}

/* ---- what goes before each */

static int nothing(struct bench_comm *b)
{
    (void)b;
    return RL_OK;
}

/* As after an update. */
static int make_weights(struct bench_comm *b)
{
    b->k->copy(b->k, b->x, b->y, b->n * sizeof *b->x);
    return compute_sync(b->k);
}

static int push_leaves(struct bench_comm *b)
{
    for (int leaf = tree_first(b->tree); leaf < tree_end(b->tree); leaf++) {
        float *slot = tree_slot_raw(b->tree, leaf);
        if (!slot)
            return rl_error(RL_EBUG, "bench comm: no buffer for leaf %d", leaf);
        b->k->copy(b->k, slot, b->x, b->n * sizeof *slot);
        compute_wait(b->k);
        tree_push(b->tree, leaf);
    }
    return RL_OK;
}

static int fill_batch(struct bench_comm *b)
{
    int length = (int)(b->o->prompt + b->o->fresh), half = b->ranks / 2;
    bool sends = b->rank < half;
    struct batch *batch = &b->batch;

    batch_clear(batch);
    batch->P = (int)b->o->rows;
    batch->k = 1;
    share_of(batch->P, b->leaves, sends ? half : b->ranks - half, sends ? b->rank : b->rank - half,
             &batch->group, &batch->groups);
    if (!sends)
        return RL_OK;
    batch->N = batch->groups;
    for (int n = 0; n < batch->N; n++) {
        batch->start[n] = n * length;
        batch->prompt_len[n] = (int)b->o->prompt;
    }
    batch->T = batch->start[batch->N] = batch->N * length;
    batch->filled = COL_TOKENS | COL_ACTOR_LOGP;
    return RL_OK;
}

/* ---- repeats: the slowest rank counts */

static int repeat(struct bench_comm *b, int (*before)(struct bench_comm *),
                  int (*run)(struct bench_comm *), struct figures *seconds)
{
    int rc = RL_OK;

    for (int64_t i = -1; i < b->o->repeats; i++) {
        int64_t ns;
        double t;
        TRY(comm_agree(b->world, before(b)));
        TRY(comm_barrier(b->world, PHASE_START));
        t = clock_now();
        rc = run(b);
        ns = (int64_t)((clock_now() - t) * 1e9);
        TRY(comm_agree(b->world, rc));
        TRY(comm_max_int64(b->world, &ns, 1, PHASE_STATS));
        if (i >= 0)
            figures_add(seconds, (double)ns * 1e-9);
    }
done:
    return rc;
}

static int measure(struct bench_comm *b, const char *name, size_t bytes,
                   int (*before)(struct bench_comm *), int (*run)(struct bench_comm *))
{
    struct figures seconds = { .n = 0 };
    struct text line = { 0 };
    double rate;
    int rc = RL_OK;

    TRY(repeat(b, before, run, &seconds));
    rate = (double)bytes * 1e-9 / figures_median(&seconds);
    if (run == copy)
        b->copy = rate;
    text_addf(&line, "{\"bench\":\"%s\"", name);
    word_line(&line, "device", b->k->name);
    number_line(&line, "ranks", b->ranks);
    if (bytes > 0) {
        text_addf(&line, ",\"bytes\":%zu", bytes);
        number_line(&line, "gbytes", rate);
        number_line(&line, "copy_gbytes", b->copy);
        number_line(&line, "copy_fraction", rate / b->copy);
    } else {
        number_line(&line, "calls", AGREEMENTS);
    }
    number_line(&line, "repeats", seconds.n);
    figures_line(&line, "seconds", &seconds);
    if (b->rank == 0)
        print_line(&line);
done:
    text_free(&line);
    return rc;
}

/* ---- the story */

static int place(struct bench_comm *b, size_t most)
{
    int rows = (int)b->o->rows, tokens = rows * (int)(b->o->prompt + b->o->fresh), rc = RL_OK;

    b->messages.lower = "--mb";
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            TRY(memory_open(&b->messages));
        b->x = memory_take(&b->messages, most * sizeof *b->x);
        b->y = memory_take(&b->messages, most * sizeof *b->y);
    }
    b->rank_list = calloc((size_t)b->ranks, sizeof *b->rank_list);
    if (!b->rank_list)
        return rl_error(RL_ENOFIT, "no memory for a list of %d ranks", b->ranks);
    for (int i = 0; i < b->ranks; i++)
        b->rank_list[i] = i;
    for (b->leaves = 8; b->leaves < b->ranks;)
        b->leaves *= 2;
    TRY(tree_create(&b->tree, b->world, most, b->leaves));
    memory_count(&b->memory);
    batch_layout(&b->batch, &b->memory, rows, tokens, 0);
    TRY(memory_open_host(&b->memory));
    batch_layout(&b->batch, &b->memory, rows, tokens, 0);
    memset(b->batch.tokens, 0, (size_t)tokens * sizeof *b->batch.tokens);
done:
    return rc;
}

static int measure_size(struct bench_comm *b, size_t n)
{
    size_t bytes = n * sizeof *b->x;
    int rc = RL_OK;

    b->n = n;
    tree_narrow(b->tree, n);
    TRY(measure(b, "copy", bytes, nothing, copy));
    TRY(measure(b, "tree sum", bytes, push_leaves, tree_sum));
    TRY(measure(b, "MPI_Allreduce", bytes, nothing, allreduce));
    TRY(feed_open(&b->feed, b->world, b->rank_list, 1, b->rank_list + 1, b->ranks - 1, n));
    TRY(measure(b, "weights", bytes, make_weights, weights));
done:
    feed_close(b->feed);
    b->feed = NULL;
    return rc;
}

static int measure_link(struct bench_comm *b)
{
    int half = b->ranks / 2, rc = RL_OK;
    size_t tokens = (size_t)(b->o->rows * (b->o->prompt + b->o->fresh));

    TRY(link_open(&b->link, b->world, "bench", b->rank_list, half, b->rank_list + half,
                  b->ranks - half, b->leaves, 1));
    rc = measure(b, "link", tokens * (sizeof(int) + sizeof(float)), fill_batch, send_batch);
done:
    link_close(b->link);
    return rc;
}

static int bench_ranks(struct bench_comm *b)
{
    size_t most = (size_t)(b->o->mb > 0 ? b->o->mb : 64) << 18;
    int rc = RL_OK;

    b->rank = comm_rank(b->world);
    b->ranks = comm_size(b->world);
    if (b->ranks < 2)
        return rl_error(RL_EINVAL, "bench comm needs two ranks or more: mpirun -n 2 rankwise "
                        "bench comm");
    TRY(comm_agree(b->world, compute_open(&b->k, b->o->device, "fp32", 1)));
    TRY(comm_use_gpus(b->world, b->k));
    TRY(comm_agree(b->world, place(b, most)));
    for (size_t n = 1 << 18; n < most; n *= 8)
        TRY(measure_size(b, n));
    TRY(measure_size(b, most));
    TRY(measure_link(b));
    rc = measure(b, "agree", 0, nothing, agree);
done:
    return rc;
}

int bench_comm(const struct bench_options *o)
{
    struct bench_comm b = { .o = o };
    int argc = 0, rc = RL_OK;
    char **argv = NULL;

    TRY(comm_start(&b.world, &argc, &argv));
    log_quiet(comm_rank(b.world) != 0);
    rc = bench_ranks(&b);
done:
    if (rc == RL_ELOST && b.world)
        comm_abort(b.world, status_exit_code(rc));
    comm_leave_gpus(b.world);
    tree_destroy(b.tree);
    memory_close(&b.memory);
    memory_close(&b.messages);
    free(b.rank_list);
    compute_close(b.k);
    if (b.world)
        comm_stop(b.world);
    return rc;
}
