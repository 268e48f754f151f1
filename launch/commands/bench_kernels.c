/* rankwise bench kernels: operations by themselves, in numbers that suit a processor or, with
 * --model, in those of the model and of a row of --length tokens. */
#include "base/status.h"
#include "base/stop.h"
#include "compute/bench.h"
#include "launch/commands/bench.h"

#define HEAD_TOKENS 1024                /* whose logits are there at once, at most */

static void add_product(struct bench_shapes *s, int N, int K)
{
    for (int i = 0; i < s->n_products; i++)
        if (s->products[i].N == N && s->products[i].K == K)
            return;
    s->products[s->n_products].N = N;
    s->products[s->n_products].K = K;
    s->n_products++;
}

/* Of a layer q (and o, where it is no square), k and v, gate and up, down; then the head. */
static struct bench_shapes shapes_of(const struct model_shape *m, int length)
{
    struct bench_shapes s = {
        .training = { length }, .n_training = 1, .decoding = { 1, 8, 64, 256 }, .n_decoding = 4,
        .attention = { length }, .n_attention = 1, .H = m->H, .G = m->G, .D = m->D,
        .head_rows = length < HEAD_TOKENS ? length : HEAD_TOKENS, .V = m->V, .C = m->C,
    };

    add_product(&s, m->H * m->D, m->C);
    add_product(&s, m->C, m->H * m->D);
    add_product(&s, m->G * m->D, m->C);
    add_product(&s, m->F, m->C);
    add_product(&s, m->C, m->F);
    return s;
}

/* The same operations of the peer, when ours have given back their memory. */
static int bench_peer(const struct bench_options *o, const struct model_shape *model, bool gpu)
{
    struct bench_options theirs = *o;
    struct peer *peer = NULL;
    int rc = RL_OK;

    theirs.rows = theirs.prompt = 1;
    theirs.fresh = o->length - 1;
    TRY(peer_start(&peer, &theirs, "kernels", model, gpu));
    rc = peer_lines(peer);
done:
    peer_end(peer);
    return rc;
}

int bench_kernels(const struct bench_options *o)
{
    struct bench_shapes shapes = bench_small;
    struct compute *compute = NULL;
    struct model_shape model;
    int rc = RL_OK;

    if (o->against && !o->model)
        return rl_error(RL_EINVAL, "--against: bench kernels needs a --model for it");
    stop_watch();                           /* a peer does not stay */
    if (o->model) {
        TRY(bench_shape_of(&model, o->model));
        shapes = shapes_of(&model, (int)o->length);
    }
    TRY(compute_open(&compute, o->device, o->dtype, (int)o->threads));
    compute->fast = o->fast;
    TRY(compute_bench(compute, &shapes));
    if (o->against)
        rc = bench_peer(o, &model, compute->device != NULL);
done:
    compute_close(compute);
    return rc;
}
