/* rankwise bench rollout: rows completed by an actor, prefill and decode. */
#include <string.h>

#include "actor/actor.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/stop.h"
#include "launch/commands/bench.h"

struct rollout {
    const struct bench_options *o;
    struct compute *compute;
    struct model *model;
    struct actor *actor;
    struct memory memory;
    struct batch batch;
    struct peak peak;
    struct peer *peer;
    struct figures seconds, theirs;
    double made;                        /* tokens in the repeats that count */
};

static void fill_prompts(struct batch *b, const struct bench_options *o, int V)
{
    batch_clear(b);
    b->P = b->groups = b->N = (int)o->rows;
    b->k = 1;
    b->group = 0;
    for (int n = 0; n < b->N; n++) {
        b->start[n] = n * (int)o->prompt;
        b->prompt_len[n] = (int)o->prompt;
        for (int t = 0; t < o->prompt; t++)
            b->tokens[b->start[n] + t] = bench_token(n * o->prompt + t, V);
    }
    b->T = b->start[b->N] = b->N * (int)o->prompt;
    b->filled = COL_TOKENS;
}

static int place(struct rollout *r)
{
    int rows = (int)r->o->rows, tokens = rows * (int)(r->o->prompt + r->o->fresh), rc = RL_OK;

    memory_count(&r->memory);
    batch_layout(&r->batch, &r->memory, rows, tokens, 0);
    TRY(memory_open_host(&r->memory));
    batch_layout(&r->batch, &r->memory, rows, tokens, 0);
done:
    return rc;
}

static int open_rollout(struct rollout *r)
{
    const struct bench_options *o = r->o;
    struct actor_settings settings = {
        .temperature = 1, .loss_temperature = 1, .top_p = 1, .max_new = (int)o->fresh, .seed = 1,
        .max_prompt = (int)o->prompt, .rows_at_once = (int)o->rows, .max_rows = (int)o->rows,
    };
    struct model_shape shape;
    int rc = RL_OK;

    TRY(bench_shape_of(&shape, o->model));
    TRY(bench_fits(&shape, "--prompt + --new", o->prompt + o->fresh));
    TRY(compute_open(&r->compute, o->device, o->dtype, (int)o->threads));
    r->compute->fast = o->fast;
    TRY(bench_has_room(r->compute, o->model, model_bytes(&shape, r->compute) +
                       actor_bytes(&shape, r->compute, &settings)));
    TRY(bench_model(&r->model, o->model, r->compute));
    TRY(peak_measure(&r->peak, r->compute));
    TRY(actor_create(&r->actor, r->model, &settings));
    TRY(place(r));
    rc = peer_start(&r->peer, o, "rollout", &shape, r->compute->device != NULL);
done:
    return rc;
}

/* The first is not counted. */
static int repeat(struct rollout *r, bool counts)
{
    struct peer_repeat theirs;
    double t, seconds, mean;
    int64_t made;
    int rc = RL_OK;

    fill_prompts(&r->batch, r->o, model_shape(r->model)->V);
    t = clock_now();
    TRY(actor_fill(r->actor, &r->batch, PURPOSE_SAMPLE, 0));
    compute_wait(r->compute);
    seconds = clock_now() - t;
    actor_stats(r->actor, &made, &mean);
    if (r->peer)
        TRY(peer_repeat(r->peer, (double)made, &theirs));
    if (counts) {
        figures_add(&r->seconds, seconds);
        r->made += (double)made;
    }
    if (counts && r->peer)
        figures_add(&r->theirs, theirs.seconds);
done:
    return rc;
}

static void print(const struct rollout *r)
{
    const struct bench_options *o = r->o;
    double seconds = figures_median(&r->seconds);
    double tokens = r->made / r->seconds.n, rate = tokens / seconds;
    double gflops = 2e-9 * rate * bench_weights_per_token(model_shape(r->model));
    struct text line = { 0 };

    text_adds(&line, "{\"bench\":\"rollout\"");
    word_line(&line, "model", o->model);
    word_line(&line, "device", r->compute->name);
    word_line(&line, "dtype", o->dtype);
    word_line(&line, "reduction", o->fast ? "fast" : "reproducible");
    number_line(&line, "rows", (double)o->rows);
    number_line(&line, "prompt", (double)o->prompt);
    number_line(&line, "new", (double)o->fresh);
    number_line(&line, "threads", (double)o->threads);
    number_line(&line, "repeats", r->seconds.n);
    figures_line(&line, "seconds", &r->seconds);
    number_line(&line, "tokens", tokens);
    number_line(&line, "tok_s", rate);
    number_line(&line, "gflops", gflops);
    peak_line(&line, &r->peak, r->compute);
    number_line(&line, "peak_fraction", gflops / r->peak.gflops);
    print_line(&line);
    if (r->peer)
        peer_print(r->peer, o, "rollout", &r->seconds, &r->theirs);
}

int bench_rollout(const struct bench_options *o)
{
    struct rollout r;
    int rc = RL_OK;

    memset(&r, 0, sizeof r);
    r.o = o;
    stop_watch();                       /* a peer does not stay */
    TRY(open_rollout(&r));
    for (int64_t i = -1; i < o->repeats; i++) {
        TRY(stop_asked() ? RL_ESTOP : RL_OK);
        TRY(repeat(&r, i >= 0));
    }
    print(&r);
done:
    peer_end(r.peer);
    actor_destroy(r.actor);
    memory_close(&r.memory);
    model_destroy(r.model);
    compute_close(r.compute);
    return rc;
}
