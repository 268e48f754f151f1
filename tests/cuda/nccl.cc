/* See nccl.h.
 *
 *   rank 0 -> 1   | head, tail, 64 KiB |       a ring for each ordered pair of ranks, in memory
 *   rank 0 -> 2   | ...                |       that all of them map; the unique id is its name
 *
 * A group of calls is one job of the stream, asked again until all its messages have moved: those
 * of one ring in order, those of different rings side by side.  Sums are made of messages; ranks
 * are added from the last to the first, which is not the order of comm/tree.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda/nccl.h"

#define RANKS 16
#define ROOM (64u << 10)

struct ring { std::atomic<uint64_t> head, tail; char data[ROOM]; };
struct board { std::atomic<int> came, left, process[RANKS]; struct ring ring[RANKS][RANKS]; };

struct message {
    struct ring *ring;
    char *data;
    uint64_t bytes, at;
    bool out, headed;
};

/* Of one ncclGroupStart .. ncclGroupEnd. */
struct work {
    std::vector<struct message> messages;
    std::vector<std::function<void()>> after;
};

enum state { JOINING, READY, CALLED, LOOKED_AT, LEAVING };

struct ncclComm {
    std::string name;
    struct board *board;
    int ranks, rank;
    enum state state;
    std::shared_ptr<bool> aborted;
    std::shared_ptr<struct work> called;         /* of the group that is open or not yet placed */
};

static int my_rank(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");

    return rank ? atoi(rank) : 0;
}

/* ---- what is called, and what goes wrong */

static void record(const std::string &line)
{
    static const char *const path = getenv("EMULATED_NCCL_LOG");
    static FILE *file = path ? fopen((path + ("." + std::to_string(my_rank()))).c_str(), "a") : NULL;
    static std::string last;

    if (!file || line == last)
        return;
    last = line;
    fprintf(file, "%s\n", line.c_str());
    fflush(file);
}

/* The N-th call of that name is the one of EMULATED_NCCL_FAULT. */
static ncclResult_t meet_fault(const char *call)
{
    static const char *const text = getenv("EMULATED_NCCL_FAULT");
    static char what[16], name[48];
    static int rank = -1, n, met;

    if (!text)
        return ncclSuccess;
    if (rank < 0 && sscanf(text, "%15s %d %47s %d", what, &rank, name, &n) != 4)
        abort();
    if (rank != my_rank() || strcmp(call, name) != 0 || ++met != n)
        return ncclSuccess;
    if (strcmp(what, "kill") == 0)
        raise(SIGKILL);
    while (strcmp(what, "hang") == 0)
        pause();
    return strcmp(what, "lose") == 0 ? ncclInProgress : ncclSystemError;
}

static ncclResult_t enter(const char *call, ncclComm_t comm, const std::string &more)
{
    record(std::string(call) + (comm ? " " + comm->name : "") + more);
    return meet_fault(call);
}

/* ---- messages */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Moves up to `bytes` through the ring, wrapped at its end; returns how many. */
static uint64_t pass(struct ring *r, char *data, uint64_t bytes, bool out)
{
    uint64_t head = r->head, tail = r->tail, at = out ? head : tail;
    uint64_t n = smaller(bytes, out ? ROOM - (head - tail) : head - tail);

    for (uint64_t i = 0, m; i < n; i += m) {
        char *place = r->data + (at + i) % ROOM;

        m = smaller(n - i, ROOM - (at + i) % ROOM);
        memcpy(out ? place : data + i, out ? data + i : place, m);
    }
    (out ? r->head : r->tail) += n;
    return n;
}

/* The size goes first, in one piece. */
static bool pass_size(struct message *m)
{
    uint64_t used = m->ring->head - m->ring->tail, bytes = m->bytes;

    if (m->out ? ROOM - used < sizeof bytes : used < sizeof bytes)
        return false;
    pass(m->ring, (char *)&bytes, sizeof bytes, m->out);
    if (bytes != m->bytes) {
        fprintf(stderr, "emulated NCCL: rank %d expects %llu bytes of one who sends %llu\n",
                my_rank(), (unsigned long long)m->bytes, (unsigned long long)bytes);
        abort();
    }
    return m->headed = true;
}

static bool advance(struct message *m)
{
    if (!m->headed && !pass_size(m))
        return false;
    m->at += pass(m->ring, m->data + m->at, m->bytes - m->at, m->out);
    return m->at == m->bytes;
}

static bool run(struct work *w)
{
    std::vector<struct ring *> waits;
    bool all = true;

    for (struct message &m : w->messages) {
        bool behind = false;

        for (struct ring *r : waits)
            behind |= r == m.ring;
        if (behind || (m.headed && m.at == m.bytes))
            continue;
        if (!advance(&m)) {
            waits.push_back(m.ring);
            all = false;
        }
    }
    if (!all)
        return false;
    for (auto &f : w->after)
        f();
    return true;
}

static void add_message(ncclComm_t c, int peer, const void *data, size_t bytes, bool out)
{
    struct ring *ring = out ? &c->board->ring[c->rank][peer] : &c->board->ring[peer][c->rank];

    c->called->messages.push_back({ ring, (char *)data, bytes, 0, out, false });
}

/* ---- groups of calls */

static int depth;
static std::vector<ncclComm_t> open_groups;

static ncclResult_t place(void)
{
    for (ncclComm_t c : open_groups)
        c->state = CALLED;
    open_groups.clear();
    return ncclInProgress;
}

/* A call of comm: refused unless it is ready; *fine: go on. */
static ncclResult_t begin(const char *call, ncclComm_t c, const std::string &more, bool *fine)
{
    ncclResult_t met = enter(call, c, more);

    *fine = met == ncclSuccess && c->state == READY;
    if (*fine && !c->called) {
        c->called = std::make_shared<struct work>();
        open_groups.push_back(c);
    }
    return *fine ? ncclInProgress : met != ncclSuccess ? met : ncclInvalidUsage;
}

static ncclResult_t end(ncclResult_t result)
{
    return depth == 0 && result == ncclInProgress ? place() : result;
}

ncclResult_t ncclGroupStart(void)
{
    ncclResult_t met = enter("ncclGroupStart", NULL, "");

    depth++;
    return met;
}

ncclResult_t ncclGroupEnd(void)
{
    ncclResult_t met = enter("ncclGroupEnd", NULL, "");

    return --depth > 0 || met != ncclSuccess ? met : place();
}

/* ---- communicators */

ncclResult_t ncclGetVersion(int *version)
{
    *version = 22809;
    return enter("ncclGetVersion", NULL, "");
}

static struct board *map_board(const char *name, int flags)
{
    int fd = shm_open(name, O_RDWR | flags, 0600);
    void *p = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof(struct board)) == 0)
        p = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : (struct board *)p;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int made;
    ncclResult_t met = enter("ncclGetUniqueId", NULL, "");
    struct board *board;

    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/rankwise-nccl-%d-%d", (int)getpid(), made++);
    board = map_board(id->internal, O_CREAT);
    if (!board)
        return ncclSystemError;
    munmap(board, sizeof *board);
    return met;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    struct board *board = map_board(id.internal, 0);
    ncclComm_t c = new ncclComm{ id.internal, board, ranks, rank, JOINING,
                                        std::make_shared<bool>(false), NULL };
    if (board)
        board->process[rank] = getpid();
    ncclResult_t met = enter("ncclCommInitRankConfig", c, " blocking=" +
                             std::to_string(config->blocking) + " ranks=" + std::to_string(ranks));

    *comm = c;
    if (!board || ranks > RANKS || config->blocking)
        return ncclInvalidArgument;
    if (met == ncclSuccess)
        board->came++;
    return met == ncclSuccess ? ncclInProgress : met;
}

/* A connection that a dead process had is closed. */
static bool has_lost_one(ncclComm_t c)
{
    for (int r = 0; r < c->ranks; r++)
        if (c->board->process[r] && kill(c->board->process[r], 0) != 0)
            return true;
    return false;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state)
{
    ncclResult_t met;

    if (c->state == JOINING && c->board->came == c->ranks) {
        c->state = READY;
        shm_unlink(c->name.c_str());
    }
    if (c->state == JOINING && has_lost_one(c))
        return ncclRemoteError;
    if (c->state == LEAVING && c->board->left == c->ranks)
        c->state = READY;
    if (c->state == LOOKED_AT) {
        std::shared_ptr<struct work> work = c->called;
        std::shared_ptr<bool> aborted = c->aborted;

        emulated_keep_try([=] { return *aborted || run(work.get()); });
        c->called = NULL;
        c->state = READY;
    }
    if (c->state == CALLED)
        c->state = LOOKED_AT;
    *state = c->state == READY ? ncclSuccess : ncclInProgress;
    met = enter("ncclCommGetAsyncError", c, *state == ncclSuccess ? " ready" : " in progress");
    return met;
}

ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    ncclResult_t met = enter("ncclCommFinalize", c, "");

    c->state = LEAVING;
    c->board->left++;
    return met == ncclSuccess ? ncclInProgress : met;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    ncclResult_t met = enter("ncclCommDestroy", c, "");

    munmap(c->board, sizeof *c->board);
    delete c;
    return met;
}

/* The rings stay: a job may be in the middle of one. */
ncclResult_t ncclCommAbort(ncclComm_t c)
{
    ncclResult_t met = enter("ncclCommAbort", c, "");

    if (depth > 0) {
        fprintf(stderr, "emulated NCCL: ncclCommAbort before ncclGroupEnd\n");
        abort();
    }
    *c->aborted = true;
    shm_unlink(c->name.c_str());
    return met;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSystemError ? "unhandled system error" : "an emulated error";
}

const char *ncclGetLastError(ncclComm_t)
{
    return "planted by the test";
}

/* ---- the verbs */

static size_t bytes_of(size_t n, ncclDataType_t type)
{
    return type == ncclFloat ? n * sizeof(float) : n;
}

static std::string say(size_t n, ncclDataType_t type, int peer)
{
    std::string line = " " + std::to_string(bytes_of(n, type));

    return peer < 0 ? line : line + " " + std::to_string(peer);
}

ncclResult_t ncclSend(const void *data, size_t n, ncclDataType_t type, int to, ncclComm_t c,
                      cudaStream_t)
{
    bool fine;
    ncclResult_t result = begin("ncclSend", c, say(n, type, to), &fine);

    if (fine)
        add_message(c, to, data, bytes_of(n, type), true);
    return end(result);
}

ncclResult_t ncclRecv(void *data, size_t n, ncclDataType_t type, int from, ncclComm_t c,
                      cudaStream_t)
{
    bool fine;
    ncclResult_t result = begin("ncclRecv", c, say(n, type, from), &fine);

    if (fine)
        add_message(c, from, data, bytes_of(n, type), false);
    return end(result);
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t n, ncclDataType_t type, int root,
                           ncclComm_t c, cudaStream_t)
{
    size_t bytes = bytes_of(n, type);
    bool fine;
    ncclResult_t result = begin("ncclBroadcast", c, say(n, type, root), &fine);

    for (int r = 0; fine && c->rank == root && r < c->ranks; r++)
        if (r != root)
            add_message(c, r, from, bytes, true);
    if (fine && c->rank != root)
        add_message(c, root, to, bytes, false);
    else if (fine && from != to)
        c->called->after.push_back([=] { memmove(to, from, bytes); });
    return end(result);
}

/* to = the sum of part `at` of everybody's: each sends rank r the part that is r's. */
static void add_sum(ncclComm_t c, const float *from, float *to, size_t n, size_t stride)
{
    auto theirs = std::make_shared<std::vector<float>>(n * (size_t)c->ranks);
    int ranks = c->ranks;

    for (int r = 0; r < ranks; r++) {
        if (r == c->rank)
            continue;
        add_message(c, r, from + (size_t)r * stride, n * sizeof(float), true);
        add_message(c, r, theirs->data() + (size_t)r * n, n * sizeof(float), false);
    }
    const float *mine = from + (size_t)c->rank * stride;
    int me = c->rank;

    c->called->after.push_back([=] {
        memcpy(theirs->data() + (size_t)me * n, mine, n * sizeof(float));
        for (size_t i = 0; i < n; i++) {
            float sum = (*theirs)[(size_t)(ranks - 1) * n + i];

            for (int r = ranks - 2; r >= 0; r--)
                sum += (*theirs)[(size_t)r * n + i];
            to[i] = sum;
        }
    });
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t,
                           ncclComm_t c, cudaStream_t)
{
    bool fine;
    ncclResult_t result = begin("ncclAllReduce", c, say(n, type, -1), &fine);

    if (fine)
        add_sum(c, (const float *)from, (float *)to, n, 0);
    return end(result);
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t n, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t c, cudaStream_t)
{
    bool fine;
    ncclResult_t result = begin("ncclReduceScatter", c, say(n, type, -1), &fine);

    if (fine)
        add_sum(c, (const float *)from, (float *)to, n, n);
    return end(result);
}
