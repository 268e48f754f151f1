/* Messages from GPU to GPU: in order with what the GPUs compute before and after, for any number of
 * ranks. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/gpus.h"
#include "compute/compute.h"
#include "tests/mpi_check.h"
#include "tests/support.h"

#define N 40000                           /* floats: more than the stand-in's rings hold */

static struct compute *k;
static struct memory memory;              /* that a GPU reaches */
static float *x, *y, *z, *ones;           /* (8 N), the last (N) */

static void layout(void)
{
    x = memory_take(&memory, 8 * N * sizeof *x);
    y = memory_take(&memory, 8 * N * sizeof *y);
    z = memory_take(&memory, 8 * N * sizeof *z);
    ones = memory_take(&memory, N * sizeof *ones);
}

static int open_memory(void)
{
    int rc = RL_OK;

    memory_count(&memory);
    layout();
    TRY(memory_open(&memory));
    layout();
    for (size_t i = 0; i < N; i++)
        ones[i] = 1;
done:
    return rc;
}

static void fill(float *a, size_t n, float first)
{
    for (size_t i = 0; i < n; i++)
        a[i] = first + (float)(i % 1000);
}

static bool holds(const float *a, size_t n, float first)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != first + (float)(i % 1000))
            return false;
    return true;
}

/* Everybody's x + 1 goes to everybody, plus 1 there: nothing waits before the end. */
static void test_pairs(struct comm *world)
{
    int rank = comm_rank(world), ranks = comm_size(world);

    fill(x, N, (float)(1000 * rank));
    fill(y, (size_t)ranks * N, 0);
    k->add(k, x, ones, N);
    check_ok(gpus_begin(world));
    for (int r = 0; r < ranks; r++)
        if (r != rank) {
            check_ok(gpus_send(world, x, sizeof(float) * (size_t)(r + 1), r));
            check_ok(gpus_send(world, x, 0, r));
            check_ok(gpus_send(world, x, sizeof(float) * N, r));
        }
    for (int r = 0; r < ranks; r++)
        if (r != rank) {
            check_ok(gpus_recv(world, z, sizeof(float) * (size_t)(rank + 1), r));
            check_ok(gpus_recv(world, y + r * N, sizeof(float) * N, r));
        }
    check_ok(gpus_end(world, &world->requests, PHASE_REDUCE));
    for (int r = 0; r < ranks; r++)
        if (r != rank)
            k->add(k, y + r * N, ones, N);
    check_ok(gpus_wait(world, &world->requests, PHASE_REDUCE));
    for (int r = 0; r < ranks; r++)
        check(holds(y + r * N, N, r == rank ? 0 : (float)(1000 * r + 2)));
}

static void test_broadcast(struct comm *world)
{
    for (int root = 0; root < comm_size(world); root++) {
        fill(x, N, comm_rank(world) == root ? 7 : 0);
        check_ok(gpus_begin(world));
        check_ok(gpus_broadcast(world, x, sizeof(float) * N, root));
        check_ok(gpus_end(world, &world->requests, PHASE_REDUCE));
        check_ok(gpus_wait(world, &world->requests, PHASE_REDUCE));
        check(holds(x, N, 7));
    }
}

/* Rank r has r * 1000 floats: the first has none. */
static void test_allgather(struct comm *world)
{
    int rank = comm_rank(world), ranks = comm_size(world), at = 0, mine = 0;
    size_t counts[8];

    for (int r = 0; r < ranks; r++) {
        counts[r] = (size_t)r * 1000 * sizeof(float);
        mine += r < rank ? r * 1000 : 0;
    }
    memset(x, 0, 8 * N * sizeof *x);
    fill(x + mine, (size_t)rank * 1000, (float)rank);
    check_ok(gpus_begin(world));
    check_ok(gpus_allgather(world, x, counts));
    check_ok(gpus_end(world, &world->requests, PHASE_REDUCE));
    check_ok(gpus_wait(world, &world->requests, PHASE_REDUCE));
    for (int r = 0; r < ranks; at += 1000 * r++)
        check(holds(x + at, (size_t)r * 1000, (float)r));
}

/* Rank r holds r + 1 + element; whole numbers, so that any order has the same sum. */
static void test_sums(struct comm *world)
{
    int rank = comm_rank(world), ranks = comm_size(world);
    float first = (float)(ranks * (ranks + 1) / 2);
    bool fine = true;

    fill(x, (size_t)ranks * N, (float)(rank + 1));
    fill(y, N, (float)(rank + 1));
    check_ok(gpus_begin(world));
    check_ok(gpus_reduce_scatter(world, x, z, N));
    check_ok(gpus_allreduce(world, y, N));
    check_ok(gpus_end(world, &world->requests, PHASE_REDUCE));
    k->add(k, y, ones, N);
    check_ok(gpus_wait(world, &world->requests, PHASE_REDUCE));
    for (size_t i = 0; i < N; i++)
        fine = fine && z[i] == first + (float)ranks * (float)(i % 1000) && y[i] == z[i] + 1;
    check(fine);
}

/* Two groups by turns. */
static void test_two_groups(struct comm *world)
{
    struct comm *half;

    check_ok(comm_split(world, comm_rank(world) % 2, "half", &half));
    check_ok(comm_use_gpus(half, k));
    for (int i = 0; i < 3; i++) {
        test_sums(world);
        if (half->gpus)
            test_sums(half);
    }
    comm_leave_gpus(half);
    comm_free(half);
}

static void test_who_has_it(struct comm *world)
{
    bool own = atoi(getenv("EMULATED_GPUS")) >= comm_size(world);

    check((world->gpus != NULL) == (own && comm_size(world) > 1));
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    support_gpu();
    setenv("EMULATED_GPUS", "8", 0);
    if (compute_open(&k, "cuda", "fp32", 1) != RL_OK || open_memory() != RL_OK ||
        comm_use_gpus(world, k) != RL_OK)
        comm_abort(world, 1);
    fact(world, "several ranks with a GPU each use NCCL", test_who_has_it);
    if (world->gpus) {
        fact(world, "messages between pairs", test_pairs);
        fact(world, "a broadcast from each rank", test_broadcast);
        fact(world, "a gathering of different sizes", test_allgather);
        fact(world, "sums and sums of parts", test_sums);
        fact(world, "two groups by turns", test_two_groups);
    }
    comm_leave_gpus(world);
    memory_close(&memory);
    compute_close(k);
    return facts_end(world);
}
