/* comm/ on one rank: the world that never talks, shares, the tree's plan, a link to itself. */
#include "tests/support.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"
#include "comm/board.h"
#include "comm/comm.h"
#include "comm/link.h"
#include "comm/tree.h"

/* ---- a world of one */

static void test_alone_every_verb_is_local(void **state)
{
    struct comm *world = comm_alone();
    int64_t x[2] = { 3, -4 };
    size_t count = 5;
    char all[6] = "-----";
    struct text text = { 0 };
    double waited[PHASES];

    (void)state;
    assert_non_null(world);
    assert_int_equal(comm_rank(world), 0);
    assert_int_equal(comm_size(world), 1);
    assert_int_equal(comm_ranks_on_host(world), 1);
    assert_true(comm_host(world, 0)[0] != 0);
    assert_ok(comm_set_roles(world, "everything"));
    assert_ok(comm_barrier(world, PHASE_START));
    assert_ok(comm_broadcast(world, all, 5, 0, PHASE_START));
    assert_ok(comm_allgather(world, "abcde", all, &count, PHASE_STATS));
    assert_string_equal(all, "abcde");
    assert_ok(comm_gather(world, "vwxyz", all, &count, 0, PHASE_STATS));
    assert_string_equal(all, "vwxyz");
    assert_ok(comm_gather_text(world, "one", 3, &text, 0, PHASE_STATS));
    assert_ok(comm_gather_text(world, NULL, 0, &text, 0, PHASE_STATS));
    assert_ok(comm_gather_text(world, ", two", 5, &text, 0, PHASE_STATS));
    assert_string_equal(text.data, "one, two");
    assert_int_equal(text.size, 8);
    text_free(&text);
    assert_ok(comm_sum_int64(world, x, 2, PHASE_COUNT));
    assert_ok(comm_max_int64(world, x, 2, PHASE_COUNT));
    assert_true(x[0] == 3 && x[1] == -4);
    comm_waited(world, waited);
    comm_stop(world);
}

static void test_alone_agrees_with_itself(void **state)
{
    struct comm *world = comm_alone();

    (void)state;
    status_hold(true);
    assert_ok(comm_agree(world, RL_OK));
    assert_int_equal(comm_agree(world, RL_ESTOP), RL_ESTOP);
    assert_int_equal(comm_agree(world, RL_ELOST), RL_ELOST);
    rl_error(RL_ENAN, "the line of a batch that waits");
    assert_ok(comm_agree(world, RL_OK));
    rl_error(RL_ENAN, "a later batch");
    assert_int_equal(comm_agree(world, RL_ESTOP), RL_ESTOP);
    assert_string_equal(status_message(), "the line of a batch that waits");
    rl_error(RL_EIO, "another failure");
    assert_string_equal(status_message(), "another failure");
    rl_error(RL_EIO, "more of it");
    assert_string_equal(status_message(), "more of it");
    status_drop();
    status_hold(false);
    comm_stop(world);
}

static void test_alone_splits(void **state)
{
    struct comm *world = comm_alone(), *part;

    (void)state;
    assert_ok(comm_split(world, 3, "part", &part));
    assert_int_equal(comm_size(part), 1);
    assert_ok(comm_barrier(part, PHASE_START));
    comm_free(part);
    assert_ok(comm_split(world, -1, "part", &part));
    assert_null(part);
    comm_free(NULL);
    comm_stop(NULL);
    comm_free(world);                  /* ends a world too */
}

static void test_srun_without_pmix_is_refused(void **state)
{
    struct comm *world;

    (void)state;
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("PMIX_RANK");
    unsetenv("PMI_RANK");
    setenv("SLURM_NTASKS", "8", 1);
    setenv("SLURM_PROCID", "0", 1);    /* a batch script: one process, not a task of srun */
    assert_ok(comm_start(&world, NULL, NULL));
    comm_stop(world);
    setenv("SLURM_STEP_ID", "0", 1);
    status_hold(true);
    assert_int_equal(comm_start(&world, NULL, NULL), RL_EINVAL);
    assert_null(world);
    assert_non_null(strstr(status_message(), "--mpi=pmix"));
    status_drop();
    status_hold(false);
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_ok(comm_start(&world, NULL, NULL));
    assert_int_equal(comm_size(world), 1);
    comm_stop(world);
}

static void test_phases_have_names(void **state)
{
    (void)state;
    for (int a = 0; a < PHASES; a++) {
        assert_non_null(phase_name((enum phase)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(phase_name((enum phase)a), phase_name((enum phase)b));
    }
}

/* ---- shares */

static void test_shares_cover_every_group_once(void **state)
{
    (void)state;
    for (int P = 0; P <= 40; P++)
        for (int leaves = 1; leaves <= 16; leaves *= 2)
            for (int ranks = 1; ranks <= 20; ranks++) {
                int next = 0, first, count;
                for (int i = 0; i < ranks; i++, next += count) {
                    share_of(P, leaves, ranks, i, &first, &count);
                    assert_int_equal(first, next);
                    assert_true(count >= 0);
                }
                assert_int_equal(next, P);
            }
}

/* What a rank holds is what its leaves hold, so learners and colocated roles agree. */
static void test_shares_are_whole_leaves(void **state)
{
    (void)state;
    for (int P = 1; P <= 40; P++)
        for (int leaves = 1; leaves <= 16; leaves *= 2)
            for (int ranks = 1; ranks <= leaves; ranks++)
                for (int i = 0; i < ranks; i++) {
                    int begin, end, first, count;
                    leaf_share(leaves, ranks, i, &begin, &end);
                    assert_true(end > begin);
                    share_of(P, leaves, ranks, i, &first, &count);
                    assert_int_equal(first, begin * P / leaves);
                    assert_int_equal(first + count, end * P / leaves);
                }
}

static void test_shares_of_a_large_step_do_not_overflow(void **state)
{
    int first, count;

    (void)state;
    share_of(INT32_MAX, 1024, 1000, 999, &first, &count);
    assert_true(first > 0 && count > 0 && first + count == INT32_MAX);
    share_of(INT32_MAX, 8, 1000, 999, &first, &count);
    assert_true(first > 0 && count > 0 && first + count == INT32_MAX);
}

/* ---- the tree's plan */

static void test_tree_keeps_few_buffers(void **state)
{
    const size_t n = (size_t)1 << 30, staging = (size_t)33 << 20;

    (void)state;
    for (int leaves = 1, levels = 0; leaves <= 256; leaves *= 2, levels++) {
        size_t buffers = (size_t)(leaves <= 64 ? 1 + levels : 2 * levels);
        for (int ranks = 1; ranks <= leaves; ranks += leaves <= 64 ? 1 : 17)
            for (int r = 0; r < ranks; r++)
                assert_true(tree_bytes(n, leaves, ranks, r) <=
                            buffers * n * sizeof(float) + staging);
    }
    assert_int_equal(tree_bytes(n, 8, 1, 0) / (n * sizeof(float)), 4);
    assert_int_equal(tree_bytes(n, 8, 4, 0) / (n * sizeof(float)), 2);
}

static void test_tree_wants_its_leaves_in_order(void **state)
{
    struct comm *world = comm_alone();
    struct tree *tree;
    float sum = 7;

    (void)state;
    status_hold(true);
    assert_int_equal(tree_create(&tree, world, 10, 3), RL_EINVAL);
    assert_int_equal(tree_create(&tree, world, 10, 0), RL_EINVAL);
    assert_int_equal(tree_create(&tree, world, SIZE_MAX / 4, 8), RL_ENOFIT);
    assert_ok(tree_create(&tree, world, 1, 4));
    assert_int_equal(tree_first(tree), 0);
    assert_int_equal(tree_end(tree), 4);
    assert_int_equal(tree_ahead(tree), 3);                      /* 1 + log2(4) buffers */
    for (int leaf = 2; leaf >= 0; leaf--)
        assert_non_null(tree_slot_raw(tree, leaf));
    assert_int_equal(tree_ahead(tree), 3);
    assert_null(tree_slot_raw(tree, 3));                        /* none is left */
    assert_int_equal(comm_tree_sum(tree, &sum), RL_EBUG);       /* and begins anew */
    tree_push(tree, 0);
    assert_int_equal(comm_tree_sum(tree, &sum), RL_EBUG);       /* three are missing */
    tree_slot(tree, 0)[0] = 5;
    tree_push(tree, 0);
    tree_clear(tree);
    for (int leaf = 0; leaf < 4; leaf++) {
        assert_true(tree_slot(tree, leaf)[0] == 0);
        tree_slot(tree, leaf)[0] += 1 << leaf;
        tree_push(tree, leaf);
    }
    assert_int_equal(tree_ahead(tree), 0);
    assert_null(tree_slot(tree, 4));
    assert_int_equal(comm_tree_sum(tree, &sum), RL_EBUG);
    for (int leaf = 0; leaf < 4; leaf++)
        if (leaf != 2) {
            tree_slot(tree, leaf)[0] = (float)(1 << leaf);
            tree_push(tree, leaf);
        } else {
            tree_push(tree, leaf);                              /* zeros */
        }
    assert_ok(comm_tree_sum(tree, &sum));
    assert_true(sum == 11);
    tree_destroy(tree);
    tree_destroy(NULL);
    status_drop();
    status_hold(false);
    comm_stop(world);
}

static void test_tree_of_nothing(void **state)
{
    struct comm *world = comm_alone();
    struct tree *tree;

    (void)state;
    assert_ok(tree_create(&tree, world, 0, 2));
    tree_push(tree, 0);
    tree_push(tree, 1);
    assert_ok(comm_tree_sum(tree, NULL));
    tree_destroy(tree);
    comm_stop(world);
}

/* ---- a link from a rank to itself */

struct rig {
    struct comm *world;
    struct memory memory;
    struct batch a, b;
    struct link *link;
};

static void rig_layout(struct rig *rig)
{
    batch_layout(&rig->a, &rig->memory, 4, 40, 1);
    batch_layout(&rig->b, &rig->memory, 4, 40, 1);
}

static void batch_share(struct batch *b, int64_t step)
{
    batch_clear(b);
    b->step = step;
    b->P = 2, b->k = 2;
    b->group = 0, b->groups = 2;
}

static void rig_open(struct rig *rig)
{
    int self = 0;

    memset(rig, 0, sizeof *rig);
    rig->world = comm_alone();
    memory_count(&rig->memory);
    rig_layout(rig);
    assert_ok(memory_open(&rig->memory));
    rig_layout(rig);
    assert_ok(link_open(&rig->link, rig->world, "self", &self, 1, &self, 1, 8, 1));
    batch_share(&rig->a, 3);
    batch_share(&rig->b, 3);
    rig->a.N = 4;
    for (int n = 0; n < 4; n++)
        rig->a.start[n + 1] = rig->a.start[n] + n + 1;
    rig->a.T = rig->a.start[4];
    for (int t = 0; t < rig->a.T; t++)
        rig->a.tokens[t] = 100 + t;
    rig->a.filled = COL_TOKENS;
}

static void rig_close(struct rig *rig)
{
    link_close(rig->link);
    link_close(NULL);
    memory_close(&rig->memory);
    comm_stop(rig->world);
}

static void test_link_to_self(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    assert_ok(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    assert_ok(link_recv(rig.link, &rig.b, COL_TOKENS, PHASE_ROLLOUT));
    assert_int_equal(rig.b.T, 10);
    assert_memory_equal(rig.b.start, rig.a.start, 5 * sizeof(int));
    assert_memory_equal(rig.b.tokens, rig.a.tokens, 10 * sizeof(int));
    assert_ok(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    assert_ok(link_recv(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    assert_int_equal(rig.a.T, 10);
    assert_int_equal(rig.a.tokens[9], 109);
    assert_ok(link_ready(rig.link));
    assert_ok(link_ready(NULL));
    rig_close(&rig);
}

static void test_link_passes_a_failure_on(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    rig.a.status = RL_ENAN;
    assert_ok(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    assert_ok(link_recv(rig.link, &rig.b, COL_TOKENS, PHASE_ROLLOUT));
    assert_int_equal(rig.b.status, RL_ENAN);
    assert_int_equal(rig.b.filled, 0);
    rig_close(&rig);
}

/* Ready means that the batch may change: whoever asks for it now comes too late. */
static void test_link_ready_lets_the_batch_go(void **state)
{
    struct rig rig;

    (void)state;
    status_hold(true);
    rig_open(&rig);
    assert_ok(link_ready(rig.link));
    assert_ok(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    assert_ok(link_ready(rig.link));
    assert_int_equal(link_recv(rig.link, &rig.b, COL_TOKENS, PHASE_ROLLOUT), RL_EBUG);
    status_drop();
    status_hold(false);
    rig_close(&rig);
}

static void test_link_finds_what_does_not_fit_together(void **state)
{
    struct rig rig;

    (void)state;
    status_hold(true);
    rig_open(&rig);
    assert_int_equal(link_recv(rig.link, &rig.b, COL_TOKENS, PHASE_ROLLOUT), RL_EBUG);
    assert_non_null(strstr(status_message(), "before it was sent"));
    rig.b.status = RL_OK;
    assert_ok(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT));
    rig.b.step = 4;
    assert_int_equal(link_recv(rig.link, &rig.b, COL_TOKENS, PHASE_ROLLOUT), RL_EBUG);
    assert_int_equal(rig.b.status, RL_EBUG);
    rig.a.groups = 1;
    assert_int_equal(link_send(rig.link, &rig.a, COL_TOKENS, PHASE_ROLLOUT), RL_EBUG);
    status_drop();
    status_hold(false);
    rig_close(&rig);
}

/* Files of boards that children of our parent have left in memory. */
static int boards_left(void)
{
    char pattern[64];
    glob_t found;
    int n;

    snprintf(pattern, sizeof pattern, "/dev/shm/rankwise-*-%d-*.board", (int)getppid());
    n = glob(pattern, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    globfree(&found);
    return n;
}

static void test_a_board_is_left_nowhere(void **state)
{
    char folder[4096];
    struct board *board, *seen;
    int before = boards_left();

    (void)state;
    snprintf(folder, sizeof folder, "%s/rankwise-1", support_folder());
    setenv("OMPI_COMM_WORLD_LOCAL_RANK", "0", 1);
    setenv("OMPI_MCA_orte_tmpdir_base", folder, 1);                     /* taken away */
    assert_ok(board_open(&board));
    assert_int_equal(boards_left(), before);
    board_unlink(board, false);
    board_close(board);
    assert_int_equal(mkdir(folder, 0700), 0);
    setenv("OMPI_MCA_orte_tmpdir_base", folder, 1);
    assert_ok(board_open(&board));
    assert_int_equal(boards_left(), before);
    board_unlink(board, false);                                         /* for the supervisor */
    seen = board_look(folder);
    assert_non_null(seen);
    board_close(seen);
    board_unlink(board, true);
    board_close(board);
    assert_int_not_equal(access(folder, F_OK), 0);

    setenv("OMPI_MCA_orte_tmpdir_base", support_folder(), 1);           /* nobody's */
    assert_ok(board_open(&board));
    board_unlink(board, false);
    board_close(board);
    assert_null(board_look(getenv("OMPI_MCA_orte_tmpdir_base")));
    unsetenv("OMPI_MCA_orte_tmpdir_base");
    unsetenv("OMPI_COMM_WORLD_LOCAL_RANK");
}

static void test_feed_to_self_moves_nothing(void **state)
{
    struct comm *world = comm_alone();
    struct feed *feed;
    float w[3] = { 1, 2, 3 };
    int self = 0;

    (void)state;
    assert_ok(feed_open(&feed, world, &self, 1, &self, 1, 3));
    assert_ok(weights_publish(feed, w, 1));
    assert_ok(weights_receive(feed, w, 1));
    assert_true(w[0] == 1 && w[2] == 3);
    feed_close(feed);
    feed_close(NULL);
    comm_stop(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone_every_verb_is_local),
        cmocka_unit_test(test_alone_agrees_with_itself),
        cmocka_unit_test(test_alone_splits),
        cmocka_unit_test(test_srun_without_pmix_is_refused),
        cmocka_unit_test(test_phases_have_names),
        cmocka_unit_test(test_shares_cover_every_group_once),
        cmocka_unit_test(test_shares_are_whole_leaves),
        cmocka_unit_test(test_shares_of_a_large_step_do_not_overflow),
        cmocka_unit_test(test_tree_keeps_few_buffers),
        cmocka_unit_test(test_tree_wants_its_leaves_in_order),
        cmocka_unit_test(test_tree_of_nothing),
        cmocka_unit_test(test_link_to_self),
        cmocka_unit_test(test_link_passes_a_failure_on),
        cmocka_unit_test(test_link_ready_lets_the_batch_go),
        cmocka_unit_test(test_link_finds_what_does_not_fit_together),
        cmocka_unit_test(test_a_board_is_left_nowhere),
        cmocka_unit_test(test_feed_to_self_moves_nothing),
    };

    return cmocka_run_group_tests_name("comm", tests, NULL, NULL);
}
