/* The reduction tree gives the bits of a serial tree, for every team of 1 to all ranks, with
 * buffers shorter than a chunk and longer than a message. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/hash.h"
#include "comm/tree_plan.h"
#include "tests/mpi_check.h"
#include "tests/support.h"

static struct compute *gpu;              /* NULL: sums of the processor */

/* Leaves without rows: one alone, then others: the first, a pair, the second of a pair. */
static bool is_empty(int round, int leaf)
{
    return round == 0 ? leaf == 2 : leaf == 0 || leaf == 4 || leaf == 5 || leaf == 7;
}

/* Element i of a leaf: magnitudes from 2^-15 to 2^15, so that every rounding shows; some -0. */
static float element(int round, int leaf, size_t i)
{
    uint32_t u = (uint32_t)i * 2654435761u ^ (uint32_t)(leaf + 64 * round + 1) * 2246822519u;

    if (is_empty(round, leaf))
        return 0.0f;
    if (i % 97 == 0)
        return -0.0f;
    u ^= u >> 15;
    u *= 739982445u;
    u ^= u >> 12;
    return (float)((int32_t)u >> 8) * (float)(1 << (u & 15)) / (float)(1 << ((u >> 4) & 15));
}

static float serial(int round, int level, int index, size_t i)
{
    if (level == 0)
        return element(round, index, i);
    return serial(round, level - 1, 2 * index, i) + serial(round, level - 1, 2 * index + 1, i);
}

static int log2_of(int leaves)
{
    int level = 0;

    while (1 << level < leaves)
        level++;
    return level;
}

static void push_leaves(struct tree *tree, int round, size_t n)
{
    for (int leaf = tree_first(tree); leaf < tree_end(tree); leaf++) {
        bool raw = leaf % 2 == 1, empty = is_empty(round, leaf);
        float *slot = empty ? NULL : raw ? tree_slot_raw(tree, leaf) : tree_slot(tree, leaf);
        check(empty || slot != NULL);
        for (size_t i = 0; slot && i < n; i++) {
            check(raw || slot[i] == 0);
            slot[i] = element(round, leaf, i);
        }
        check(empty || tree_slot(tree, leaf) == slot);
        tree_push(tree, leaf);
    }
}

/* n floats that a GPU reaches when one is open. */
static float *open_floats(struct memory *m, size_t n)
{
    memory_count(m);
    memory_take(m, n * sizeof(float));
    check_ok(memory_open(m));
    return memory_take(m, n * sizeof(float));
}

/* piece: floats in a message, 0 for what the tree chose. */
static void check_sum(struct comm *team, size_t n, int leaves, size_t piece)
{
    struct memory memory;
    float *grads = open_floats(&memory, n);
    size_t wrong = 0;
    struct tree *tree;

    check_ok(tree_create(&tree, team, n, leaves));
    if (piece > 0 && piece < tree->piece)
        tree->piece = piece;
    for (int round = 0; grads && round < 2; round++) {
        push_leaves(tree, round, n);
        check_ok(comm_tree_sum(tree, grads));
        for (size_t i = 0; i < n; i++) {
            float expected = serial(round, log2_of(leaves), 0, i);
            wrong += memcmp(&grads[i], &expected, sizeof expected) != 0;
        }
    }
    check(wrong == 0);
    tree_destroy(tree);
    memory_close(&memory);
}

/* Every team of the first 1 .. all ranks, every power of two from there. */
static void each_team(struct comm *world, size_t n, int most_leaves)
{
    for (int size = 1; size <= comm_size(world); size++) {
        struct comm *team;
        struct tree *tree;
        check_ok(comm_split(world, comm_rank(world) < size ? 0 : -1, "team", &team));
        if (team && gpu) {
            check_ok(comm_use_gpus(team, gpu));
            check((team->gpus != NULL) == (size > 1));
        }
        for (int leaves = 1; team && leaves <= most_leaves; leaves *= 2) {
            if (leaves >= size)
                check_sum(team, n, leaves, 0);
            else
                check(tree_create(&tree, team, n, leaves) == RL_EINVAL && tree == NULL);
        }
        status_drop();
        comm_leave_gpus(team);
        comm_free(team);
    }
}

static void test_short(struct comm *world)
{
    each_team(world, 1, 16);
    each_team(world, 1001, 16);
}

static void test_chunks(struct comm *world)
{
    each_team(world, 3 * HASH_CHUNK + 12345, 8);
}

/* Several rounds of a slice, in messages that are cut again. */
static void test_pieces(struct comm *world)
{
    world->world->piece = 10000;
    check_sum(world, 2 * HASH_CHUNK + 1, 8, 12345);
    world->world->piece = PIECE_BYTES;
}

/* One tree for parts of any size: what a tree of that size gives. */
static void test_narrow(struct comm *world)
{
    static const size_t parts[] = { 3 * HASH_CHUNK + 5, 7, HASH_CHUNK + 1, 3 * HASH_CHUNK + 5 };
    static float grads[3 * HASH_CHUNK + 5];
    size_t wrong = 0;
    struct tree *tree;

    check_ok(tree_create(&tree, world, parts[0], 8));
    for (int p = 0; p < 4; p++) {
        tree_narrow(tree, parts[p]);
        push_leaves(tree, p, parts[p]);
        check_ok(comm_tree_sum(tree, grads));
        for (size_t i = 0; i < parts[p]; i++) {
            float expected = serial(p, 3, 0, i);
            wrong += memcmp(&grads[i], &expected, sizeof expected) != 0;
        }
    }
    check(wrong == 0);
    tree_destroy(tree);
}

/* Sums by NCCL: of leaves that are pushed as a learner in a hurry pushes them, one for all. */
static void check_any_order(struct comm *team, size_t n)
{
    struct memory memory;
    float *grads = open_floats(&memory, n), whole = 0;
    size_t wrong = 0;
    struct tree *tree;

    check_ok(tree_create(&tree, team, n, 8));
    tree_any_order(tree);
    for (int leaf = tree_first(tree); leaf < tree_end(tree); leaf++) {
        float *slot = leaf == tree_first(tree) ? tree_slot(tree, leaf) : NULL;
        for (size_t i = 0; slot && i < n; i++)
            slot[i] = (float)(comm_rank(team) + 1) + (float)i;
        tree_push(tree, leaf);
    }
    check_ok(comm_tree_sum(tree, grads));
    for (int r = 0; r < comm_size(team); r++)
        whole += (float)(r + 1);
    for (size_t i = 0; i < n; i++)
        wrong += grads[i] != whole + (float)comm_size(team) * (float)i;
    check(wrong == 0);
    tree_destroy(tree);
    memory_close(&memory);
}

/* The same bits where every rank has a GPU of its own. */
static void test_gpus(struct comm *world)
{
    support_gpu();
    setenv("EMULATED_GPUS", "8", 1);
    check_ok(compute_open(&gpu, "cuda", "fp32", 1));
    each_team(world, 1, 16);
    each_team(world, 1001, 16);
    each_team(world, HASH_CHUNK + 123, 8);
    check_ok(comm_use_gpus(world, gpu));
    check_sum(world, 2 * HASH_CHUNK + 1, 8, 12345);
    check_any_order(world, 1001);
    comm_leave_gpus(world);
    compute_close(gpu);
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    fact(world, "buffers shorter than a chunk", test_short);
    fact(world, "buffers of several chunks", test_chunks);
    fact(world, "slices of several messages", test_pieces);
    fact(world, "parts of any size", test_narrow);
    fact(world, "sums of GPUs, over NCCL", test_gpus);
    return facts_end(world);
}
