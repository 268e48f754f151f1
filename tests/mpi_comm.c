/* The verbs of comm/ on 1 to 4 ranks: what each rank gets, who speaks, who is named when late. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "comm/group.h"
#include "comm/link.h"
#include "tests/mpi_check.h"

static unsigned char pattern(int rank, size_t i)
{
    return (unsigned char)((size_t)rank * 101 + i * 7 + (i >> 8));
}

static void test_broadcast(struct comm *world)
{
    static unsigned char data[5003];

    for (int root = 0; root < comm_size(world); root++) {
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = comm_rank(world) == root ? pattern(root, i) : 0;
        check_ok(comm_broadcast(world, data, sizeof data, root, PHASE_START));
        for (size_t i = 0; i < sizeof data; i++)
            check(data[i] == pattern(root, i));
        check_ok(comm_broadcast(world, data, 0, root, PHASE_START));
    }
}

/* Rank r has r * 777 bytes: rank 0 has none. */
static void test_gathers(struct comm *world)
{
    static unsigned char all[8 * 8 * 777], mine[8 * 777];
    size_t counts[8], at = 0;
    int rank = comm_rank(world), size = comm_size(world);

    for (int r = 0; r < size; r++)
        counts[r] = (size_t)r * 777;
    for (size_t i = 0; i < counts[rank]; i++)
        mine[i] = pattern(rank, i);
    for (int root = -1; root < size; root++) {
        memset(all, 255, sizeof all);
        if (root < 0)
            check_ok(comm_allgather(world, mine, all, counts, PHASE_STATS));
        else
            check_ok(comm_gather(world, mine, rank == root ? all : NULL, counts, root,
                                 PHASE_STATS));
        at = 0;
        for (int r = 0; (root < 0 || rank == root) && r < size; r++)
            for (size_t i = 0; i < counts[r]; i++)
                check(all[at++] == pattern(r, i));
        check(all[at] == 255);
    }
}

/* The same to root only, behind what it has, and then nothing from anybody. */
static void test_gather_text(struct comm *world)
{
    unsigned char mine[4 * 777];
    int rank = comm_rank(world), size = comm_size(world);
    size_t bytes = (size_t)rank * 777, at = 2;

    for (size_t i = 0; i < bytes; i++)
        mine[i] = pattern(rank, i);
    for (int root = 0; root < size; root++) {
        struct text all = { 0 };
        text_adds(&all, "x:");
        check_ok(comm_gather_text(world, mine, bytes, rank == root ? &all : NULL, root,
                                  PHASE_STATS));
        check_ok(comm_gather_text(world, NULL, 0, &all, root, PHASE_STATS));
        check(all.size == 2 + (rank == root ? (size_t)size * (size_t)(size - 1) / 2 * 777 : 0));
        check(memcmp(all.data, "x:", 2) == 0 && all.data[all.size] == 0);
        at = 2;
        for (int r = 0; rank == root && r < size; r++)
            for (size_t i = 0; i < (size_t)r * 777; i++)
                check((unsigned char)all.data[at++] == pattern(r, i));
        text_free(&all);
    }
}

/* Every rank sends its number to the next one, in two parcels; the last rank also an empty one. */
static void test_exchange(struct comm *world)
{
    int rank = comm_rank(world), size = comm_size(world), to = (rank + 1) % size;
    int from = (rank + size - 1) % size;
    int32_t mine[2] = { rank, 1000 + rank }, theirs[2] = { -1, -1 };
    struct parcel out[] = { { to, &mine[0], 4 }, { to, &mine[1], 4 }, { to, NULL, 0 } };
    struct parcel in[] = { { from, &theirs[0], 4 }, { from, &theirs[1], 4 }, { from, NULL, 0 } };
    int n = size > 1 ? 3 : 0;

    check_ok(comm_exchange(world, out, n, in, n, PHASE_STATS));
    check(size == 1 || (theirs[0] == from && theirs[1] == 1000 + from));
    n = rank == 0 && size > 1;                              /* one pair only */
    check_ok(comm_exchange(world, out, n, in, rank == 1, PHASE_STATS));
}

static void test_gather_in_place(struct comm *world)
{
    int all[8] = { 0 };
    size_t counts[8];

    for (int r = 0; r < comm_size(world); r++)
        counts[r] = sizeof(int);
    all[comm_rank(world)] = 100 + comm_rank(world);
    check_ok(comm_allgather(world, &all[comm_rank(world)], all, counts, PHASE_STATS));
    for (int r = 0; r < comm_size(world); r++)
        check(all[r] == 100 + r);
}

static void test_pieces(struct comm *world)
{
    world->world->piece = 100;
    test_broadcast(world);
    test_gathers(world);
    test_gather_text(world);
    world->world->piece = PIECE_BYTES;
}

static void test_integers(struct comm *world)
{
    int64_t n = comm_size(world), r = comm_rank(world);
    int64_t sum[2] = { r, (int64_t)1 << 40 }, max[2] = { r, -r };

    check_ok(comm_sum_int64(world, sum, 2, PHASE_COUNT));
    check(sum[0] == n * (n - 1) / 2 && sum[1] == n << 40);
    check_ok(comm_max_int64(world, max, 2, PHASE_COUNT));
    check(max[0] == n - 1 && max[1] == 0);
}

static void test_split(struct comm *world)
{
    int rank = comm_rank(world), size = comm_size(world);
    struct comm *part, *none;
    int64_t sum = rank;

    check_ok(comm_split(world, rank % 2, rank % 2 ? "odd" : "even", &part));
    check(comm_size(part) == (size + 1 - rank % 2) / 2);
    check(comm_rank(part) == rank / 2);
    for (int r = 0; r < comm_size(part); r++)
        check(part->ranks[r] == 2 * r + rank % 2);
    check(strcmp(comm_host(part, 0), comm_host(world, rank)) == 0);
    check_ok(comm_sum_int64(part, &sum, 1, PHASE_COUNT));
    for (int r = rank % 2; r < size; r += 2)
        sum -= r;
    check(sum == 0);
    comm_free(part);
    check_ok(comm_split(world, rank == 0 ? 5 : -1, "first", &none));
    check((none != NULL) == (rank == 0));
    comm_free(none);
    check(comm_ranks_on_host(world) == size);
}

/* How many bytes `comm_agree` writes to stderr here. */
static long agree_and_count(struct comm *world, int rc, int *agreed)
{
    FILE *file = tmpfile();
    int saved = dup(2);
    long size;

    fflush(stderr);
    dup2(fileno(file), 2);
    *agreed = comm_agree(world, rc);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    fclose(file);
    return size;
}

/* Every rank fails, the last two alike and worse; the lower one of these has only passed the code
 * on, so the last one's line is the one to print. */
static void test_agree(struct comm *world)
{
    int rank = comm_rank(world), size = comm_size(world), last = size - 1, agreed, rc;

    status_hold(true);
    check(agree_and_count(world, RL_OK, &agreed) == 0 && agreed == RL_OK);
    rc = rank >= size - 2 ? RL_ENOFIT : rl_error(RL_EINVAL, "rank %d: a milder error", rank);
    if (rank == last)
        rl_error(rc, "the line to print");
    check((agree_and_count(world, rc, &agreed) > 0) == (rank == last));
    check(agreed == RL_ENOFIT);
    check(status_message()[0] == 0);
    rc = rank == last ? RL_ESTOP : RL_OK;
    check(agree_and_count(world, rc, &agreed) == 0 && agreed == RL_ESTOP);
    for (int i = 0; i < 2; i++)
        rl_error(RL_EIO, "the same everywhere");
    check((agree_and_count(world, RL_EIO, &agreed) > 0) == (rank == 0));
    status_hold(size > 1);
}

/* The failure travels in a batch: the rank that has the line returns RL_OK, agrees on that once
 * more while the batch waits, and fails again; who gets the batch returns the code.  The learners
 * agree among themselves first. */
static void test_a_line_waits_for_its_code(struct comm *world)
{
    int rank = comm_rank(world), size = comm_size(world), last = size - 1, agreed, rc;
    struct comm *team;

    check_ok(comm_split(world, rank == last && size > 1 ? -1 : 0, "learners", &team));
    status_hold(true);
    if (rank == last)
        rl_error(RL_ENAN, "the first batch");
    check(agree_and_count(world, RL_OK, &agreed) == 0 && agreed == RL_OK);
    if (rank == last)
        rl_error(RL_ENAN, "the second batch");
    check(strcmp(status_message(), rank == last ? "the first batch" : "") == 0);
    rc = rank == last && size > 1 ? RL_OK : RL_ENAN;
    if (team && size > 1)
        check(agree_and_count(team, rc, &agreed) == 0 && agreed == RL_ENAN);
    check((agree_and_count(world, rc, &agreed) > 0) == (rank == last));
    check(agreed == RL_ENAN);
    check(status_message()[0] == 0);
    check_ok(comm_agree(world, RL_OK));
    status_hold(size > 1);
    comm_free(team);
}

/* A part of the ranks has agreed and printed: a line somewhere else is not a second one. */
static void test_a_part_speaks_for_all(struct comm *world)
{
    int rank = comm_rank(world), size = comm_size(world), last = size - 1, agreed;
    bool learner = rank != last || size == 1;
    struct comm *team;

    check_ok(comm_split(world, learner ? 0 : -1, "learners", &team));
    status_hold(true);
    rl_error(RL_ENAN, "seen by rank %d", rank);
    if (learner)
        check((agree_and_count(team, RL_ENAN, &agreed) > 0) == (rank == 0));
    check(agree_and_count(world, learner ? RL_ENAN : RL_OK, &agreed) == 0 && agreed == RL_ENAN);
    check(status_message()[0] == 0);
    check(agree_and_count(world, RL_OK, &agreed) == 0 && agreed == RL_OK);
    rl_error(RL_ENAN, "the next failure");
    check((agree_and_count(world, RL_ENAN, &agreed) > 0) == (rank == 0));
    check_ok(comm_agree(world, RL_OK));
    status_hold(size > 1);
    comm_free(team);
}

static void test_waiting_is_counted(struct comm *world)
{
    double seconds[PHASES];
    bool late = comm_rank(world) == comm_size(world) - 1;

    check_ok(comm_barrier(world, PHASE_START));
    comm_waited(world, seconds);
    if (late)
        clock_sleep(0.06);
    check_ok(comm_barrier(world, PHASE_REWARD));
    comm_waited(world, seconds);
    check(late || seconds[PHASE_REWARD] > 0.03);
    check(seconds[PHASE_WEIGHTS] == 0);
    comm_waited(world, seconds);
    check(seconds[PHASE_REWARD] == 0);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void spin(double seconds)
{
    double end = clock_now() + seconds;

    while (clock_now() < end)
        ;
}

/* Whoever waits sleeps and leaves its core to others: beside a second of spinning, on a machine
 * just as busy, a second's wait takes little. */
static void test_waiting_costs_no_core(struct comm *world)
{
    bool late = comm_rank(world) == comm_size(world) - 1;
    double spun, waited;

    check_ok(comm_barrier(world, PHASE_START));
    spun = cpu_seconds();
    if (late)
        clock_sleep(1);
    else
        spin(1);
    spun = cpu_seconds() - spun;
    check_ok(comm_barrier(world, PHASE_START));
    waited = cpu_seconds();
    if (late)
        clock_sleep(1);
    check_ok(comm_barrier(world, PHASE_END));
    waited = cpu_seconds() - waited;
    check(late || waited < 0.5 * spun);
}

/* ---- late ranks: patience is short, and the late one comes in the end, so that all can go on */

static void hurry(struct comm *world, double deadline)
{
    comm_set_deadline(world, deadline);
    world->world->listen = 0.2;
    world->world->lost = false;         /* these losses come back */
    comm_set_step(world, 17);
}

/* All have met again and nobody has spoken. */
static void make_peace(struct comm *world)
{
    hurry(world, 10);
    check_ok(comm_barrier(world, PHASE_END));
    if (world->world->watch)
        board_forget(watch_board(world->world->watch));
    check_ok(comm_barrier(world, PHASE_END));
}

static void check_blame(struct comm *world, const char *phase)
{
    int last = comm_size(world) - 1;
    char expected[256];

    snprintf(expected, sizeof expected,
             "rank %d (host %s, sleeper) did not come to \"%s\" of step 17 within 0.3 s; rank 0 "
             "waited", last, comm_host(world, last), phase);
    if (comm_rank(world) == 0)
        check(strncmp(status_message(), expected, strlen(expected)) == 0);
    else
        check(status_message()[0] == 0);         /* one rank speaks */
    status_drop();
}

/* In a collective of MPI, and in one of ours, where each message has a sender. */
static void test_late_rank_is_named(struct comm *world)
{
    static int all[8];
    size_t counts[8];
    bool late = comm_rank(world) == comm_size(world) - 1;

    if (comm_size(world) == 1)
        return;
    for (int r = 0; r < comm_size(world); r++)
        counts[r] = sizeof(int);
    check_ok(comm_set_roles(world, late ? "sleeper" : "waiter"));
    for (int i = 0; i < 2; i++) {
        hurry(world, late ? 10 : 0.3);
        if (late)
            clock_sleep(0.75);
        int rc = i == 0 ? comm_barrier(world, PHASE_REDUCE)
                        : comm_allgather(world, &all[comm_rank(world)], all, counts, PHASE_STATS);
        check(rc == (late ? RL_OK : RL_ELOST));
        if (!late)
            check_blame(world, i == 0 ? "gradients" : "statistics");
        make_peace(world);
    }
}

/* The last rank waits too, but in another place. */
static void test_rank_elsewhere_is_named(struct comm *world)
{
    bool late = comm_rank(world) == comm_size(world) - 1;
    struct comm *here, *there;

    if (comm_size(world) == 1)
        return;
    check_ok(comm_split(world, 0, "here", &here));
    check_ok(comm_split(world, 0, "there", &there));
    hurry(world, 0.3);
    comm_set_step(world, late ? 16 : 17);
    check(comm_barrier(late ? there : here, late ? PHASE_WEIGHTS : PHASE_REDUCE) == RL_ELOST);
    if (comm_rank(world) == 0) {
        const char *places = "waits at \"weights\" of step 16 (there, call 1) while rank 0 waited "
                             "0.3 s for it at \"gradients\" of step 17 (here, call 1)";
        check(strstr(status_message(), places) != NULL);
    }
    status_drop();
    hurry(world, 10);
    check_ok(comm_barrier(late ? here : there, PHASE_END));
    make_peace(world);
    comm_free(here);
    comm_free(there);
}

/* Rank 0 waits for rank 1, which waits for the last, which sleeps: that one is named. */
static void test_silent_rank_behind_another_is_named(struct comm *world)
{
    int rank = comm_rank(world), last = comm_size(world) - 1, zero = 0, one = 1;
    struct feed *near, *far;
    float weights[10] = { 0 };
    char expected[256];

    if (comm_size(world) < 3)
        return;
    check_ok(feed_open(&far, world, &last, 1, &one, 1, 10));
    check_ok(feed_open(&near, world, &one, 1, &zero, 1, 10));
    hurry(world, rank == 0 ? 0.3 : 10);
    check_ok(comm_barrier(world, PHASE_START));
    if (rank == last) {
        clock_sleep(0.75);
        check_ok(weights_publish(far, weights, 1));
    }
    if (rank == 1) {
        check_ok(weights_receive(far, weights, 1));
        check_ok(weights_publish(near, weights, 1));
    }
    if (rank == 0) {
        check(weights_receive(near, weights, 1) == RL_ELOST);
        snprintf(expected, sizeof expected, "rank %d (host %s, sleeper)", last,
                 comm_host(world, last));
        check(strncmp(status_message(), "rank ", 5) == 0);
        check(strstr(status_message(), expected) != NULL);
        check(strstr(status_message(), "did not answer; rank 1 (") != NULL);
        status_drop();
    }
    make_peace(world);
    feed_close(near);
    feed_close(far);
}

/* Of a launcher that says how many ranks are here, and where nobody has chosen. */
static void test_no_networks_on_one_host(struct comm *world)
{
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE"), *pml = getenv("OMPI_MCA_pml");
    bool open = !getenv("OMPI_MCA_mtl") && !getenv("OMPI_MCA_btl");

    if (here && atoi(here) == comm_size(world) && open)
        check(pml && *pml);
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    fact(world, "ranks of one host ask no drivers of networks", test_no_networks_on_one_host);
    fact(world, "every rank gets the root's bytes", test_broadcast);
    fact(world, "every rank's bytes arrive in rank order", test_gathers);
    fact(world, "bytes of any number arrive in rank order behind root's", test_gather_text);
    fact(world, "what one rank sends another gets", test_exchange);
    fact(world, "a rank's part may lie in its place already", test_gather_in_place);
    fact(world, "pieces make the same messages", test_pieces);
    fact(world, "sums and maxima of integers", test_integers);
    fact(world, "parts of the world know their ranks", test_split);
    fact(world, "the worst status is agreed on and one line printed", test_agree);
    fact(world, "a line waits for the rank that gets its code", test_a_line_waits_for_its_code);
    fact(world, "a part that has spoken speaks for all", test_a_part_speaks_for_all);
    fact(world, "waiting is counted by phase", test_waiting_is_counted);
    fact(world, "waiting costs no core", test_waiting_costs_no_core);
    fact(world, "a late rank is named, by one rank", test_late_rank_is_named);
    fact(world, "a rank that waits elsewhere is named with it", test_rank_elsewhere_is_named);
    fact(world, "a silent rank behind another is named", test_silent_rank_behind_another_is_named);
    return facts_end(world);
}
