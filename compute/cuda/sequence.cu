/* Operations between compute_begin and compute_end (compute.h): they are put off, and compared with
 * sequences that were seen before.
 *
 *   begin ... put off ... put off ... end -> what was staged goes to the device, in one copy
 *                                         -> seen for the first time: launched one by one
 *                                         -> for the second:  a graph of it is made
 *                                         -> from then on:    the graph, one launch
 *
 * Two sequences are the same when the same kernels come with the same arguments; what the host
 * hands over is none of them: it lies in the sequence's own area, always at the same address.
 */
#include <algorithm>
#include <vector>

#include "compute/cuda/launch.h"
#include "compute/cuda/sizes.h"

#define GRAPHS 16u                   /* kept; the one used longest ago makes room */
#define SEEN 64u                     /* sequences remembered by their hash */

struct put_off { const char *what; cuda_step step; };

struct staged { size_t bytes, at; };

struct graph {
    std::string key;
    cudaGraphExec_t run;
    uint64_t used;                   /* when, in sequences */
};

struct cuda_sequence {
    bool open, fails;                /* fails: no graph could be made; none is tried again */
    std::vector<struct put_off> steps;
    std::string key;                 /* of all steps */
    std::vector<struct graph> graphs;
    std::vector<size_t> seen;
    uint64_t count;
    struct cuda_area area;
    std::vector<struct staged> staged;           /* in the area */
    size_t wanted;                   /* bytes that the largest sequence would have staged */
    cudaEvent_t copied;              /* the area's last copy */
};

static struct cuda_sequence *sequence_of(struct compute *k)
{
    return cuda_of(k)->sequence;
}

bool cuda_sequence_is_open(struct compute *k)
{
    return sequence_of(k)->open;
}

void cuda_put_off(struct compute *k, const char *what, const std::string &key, cuda_step step)
{
    sequence_of(k)->key += key;
    sequence_of(k)->steps.push_back({ what, std::move(step) });
}

extern "C" void cuda_enqueue(struct compute *k, const char *what,
                             cudaError_t (*call)(cudaStream_t stream, const void *with),
                             const void *with, size_t bytes)
{
    std::string kept((const char *)with, bytes), key = kept;

    if (k->error != 0)
        return;
    if (!sequence_of(k)->open) {
        cuda_check(k, call(cuda_of(k)->stream, with), what);
        return;
    }
    add_to_key(&key, call);
    cuda_put_off(k, what, key, [=](cudaStream_t stream) { return call(stream, kept.data()); });
}

/* Layers hand over the same positions and tables again and again.  Only their bytes count: a table
 * that is made anew may lie anywhere, and addresses would make a pass differ from the last one. */
static const struct staged *find_staged(const struct cuda_sequence *s, const void *from,
                                        size_t bytes)
{
    for (const struct staged &x : s->staged)
        if (x.bytes == bytes && memcmp(s->area.at + x.at, from, bytes) == 0)
            return &x;
    return NULL;
}

extern "C" const void *cuda_sequence_stage(struct compute *k, const void *from, size_t bytes)
{
    struct cuda_sequence *s = sequence_of(k);
    const struct staged *same = s->open ? find_staged(s, from, bytes) : NULL;
    size_t at = s->area.used, room = (bytes + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;

    if (same)
        return s->area.there + same->at;
    if (!s->open)
        return NULL;
    s->wanted = std::max(s->wanted, at + room);
    if (at + room > s->area.size) {
        cuda_sequence_flush(k);      /* the next one finds room for all */
        return NULL;
    }
    memcpy(s->area.at + at, from, bytes);
    s->area.used += room;
    s->staged.push_back({ bytes, at });
    return s->area.there + at;
}

/* ---- the end */

static void copy_area(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);
    cudaStream_t stream = cuda_of(k)->stream;

    if (s->area.used == 0 || k->error != 0)
        return;
    cuda_check(k, cudaMemcpyAsync(s->area.there, s->area.at, s->area.used, cudaMemcpyDefault,
                                  stream), "what the host hands over");
    cuda_check(k, cudaEventRecord(s->copied, stream), "what the host hands over");
}

static void launch_steps(struct compute *k)
{
    for (struct put_off &p : sequence_of(k)->steps)
        if (k->error == 0)
            cuda_check(k, p.step(cuda_of(k)->stream), p.what);
}

/* A graph of the steps, which are not run by this; NULL: one of them cannot be captured, or there
 * is no memory. */
static cudaGraphExec_t capture_steps(struct compute *k)
{
    cudaStream_t stream = cuda_of(k)->stream;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t run = NULL;
    cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), ended;

    if (error != cudaSuccess)
        return NULL;
    for (struct put_off &p : sequence_of(k)->steps)
        error = error == cudaSuccess ? p.step(stream) : error;
    ended = cudaStreamEndCapture(stream, &graph);
    if (error == cudaSuccess && ended == cudaSuccess &&
        cudaGraphInstantiate(&run, graph, 0) != cudaSuccess)
        run = NULL;
    if (graph)
        cudaGraphDestroy(graph);
    if (!run)
        cudaGetLastError();          /* it is nobody else's */
    return run;
}

static void drop_oldest(struct cuda_sequence *s)
{
    auto oldest = std::min_element(s->graphs.begin(), s->graphs.end(),
                                   [](const struct graph &a, const struct graph &b) {
                                       return a.used < b.used;
                                   });

    cudaGraphExecDestroy(oldest->run);
    s->graphs.erase(oldest);
}

/* Without one it goes on as before, step by step. */
static struct graph *make_graph(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);
    cudaGraphExec_t run = capture_steps(k);

    s->fails = !run;
    if (!run)
        return NULL;
    if (s->graphs.size() == GRAPHS)
        drop_oldest(s);
    s->graphs.push_back({ s->key, run, 0 });
    return &s->graphs.back();
}

/* The graph of what was put off; NULL the first time that it is seen. */
static struct graph *find_graph(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);
    size_t hash = std::hash<std::string>()(s->key);

    for (struct graph &g : s->graphs)
        if (g.key == s->key)
            return &g;
    if (s->fails)
        return NULL;
    if (std::find(s->seen.begin(), s->seen.end(), hash) != s->seen.end())
        return make_graph(k);
    if (s->seen.size() == SEEN)
        s->seen.erase(s->seen.begin());
    s->seen.push_back(hash);
    return NULL;
}

static void clear(struct cuda_sequence *s)
{
    s->open = false;
    s->steps.clear();
    s->staged.clear();
    s->key.clear();
}

extern "C" void cuda_sequence_flush(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);

    if (!s->open)
        return;
    copy_area(k);
    launch_steps(k);
    clear(s);
}

static void end(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);
    struct graph *graph = s->open && k->error == 0 ? find_graph(k) : NULL;

    if (!graph) {
        cuda_sequence_flush(k);
        return;
    }
    graph->used = ++s->count;
    copy_area(k);
    cuda_check(k, cudaGraphLaunch(graph->run, cuda_of(k)->stream), "a graph");
    clear(s);
}

/* The area may be written once its last copy was made. */
static void begin(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);

    cuda_sequence_flush(k);
    cuda_check(k, cudaEventSynchronize(s->copied), "what the host handed over");
    if (s->wanted > s->area.size)
        cuda_drain(k);               /* kernels may yet read the old one */
    cuda_area_grow(k, &s->area, s->wanted > s->area.size ? 2 * s->wanted : CUDA_AREA);
    s->open = true;
}

/* ---- its life */

extern "C" void cuda_sequence_open(struct compute *k)
{
    struct cuda_sequence *s = cuda_of(k)->sequence = new struct cuda_sequence();

    cuda_check(k, cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming), "an event");
    k->begin = begin;
    k->end = end;
}

extern "C" void cuda_sequence_close(struct compute *k)
{
    struct cuda_sequence *s = sequence_of(k);

    if (!s)
        return;
    for (struct graph &g : s->graphs)
        cudaGraphExecDestroy(g.run);
    cuda_area_free(&s->area);
    if (s->copied)
        cudaEventDestroy(s->copied);
    delete s;
    cuda_of(k)->sequence = NULL;
}
