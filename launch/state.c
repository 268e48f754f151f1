/* What a checkpoint holds and how a run comes back from it.  Written by the learners, each its
 * slices; read by each learner for itself: nothing depends on how many there were.
 *
 *   weights/<name>, adam_m/<name>, adam_v/<name>   arrays of the model's shapes
 *   queue/<q>/<part>                               batches sampled but not yet trained
 *   texts                                          config, files/config.json, ...
 *   values                                         step, tokens, adam powers, ...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "launch/run.h"
#include "launch/state.h"

#define FLATS 3
static const char *const flat_names[FLATS] = { "weights", "adam_m", "adam_v" };

static void flats_of(struct run *r, float *flats[FLATS])
{
    struct optimizer *o = learner_optimizer(r->learner);

    flats[0] = model_weights(r->policy);
    flats[1] = optimizer_m(o);
    flats[2] = optimizer_v(o);
}

/* The slice of an array this rank writes: whole chunks, ranks in order. */
static struct stored slice_of(const struct array *a, const char *folder, float *flat,
                              struct comm *team)
{
    struct stored s = { .array = *a };
    size_t chunks = (a->size + HASH_CHUNK - 1) / HASH_CHUNK, n = (size_t)comm_size(team);
    size_t rank = (size_t)comm_rank(team), end = (rank + 1) * chunks / n * HASH_CHUNK;

    snprintf(s.array.name, sizeof s.array.name, "%s/%.*s", folder,
             (int)(ARRAY_NAME - strlen(folder) - 2), a->name);
    s.begin = rank * chunks / n * HASH_CHUNK;
    s.count = (end < a->size ? end : a->size) - s.begin;
    s.data = flat + a->offset + s.begin;
    return s;
}

/* ---- the queue: every rank's rows, gathered to the first learner */

/* out: the ranks' elements one behind the other; the first learner holds them all (malloc). */
static int gather_array(struct comm *team, const void *mine, size_t elements, enum dtype dtype,
                        struct stored *out)
{
    int64_t total = (int64_t)elements;
    struct text all = { 0 };
    int rc = RL_OK;

    TRY(comm_sum_int64(team, &total, 1, PHASE_CHECKPOINT));
    TRY(comm_gather_text(team, mine, elements * dtype_size(dtype), &all, 0, PHASE_CHECKPOINT));
    out->array.dtype = dtype;
    out->array.dims = 1;
    out->array.shape[0] = out->array.size = (size_t)total;
    out->count = comm_rank(team) == 0 ? (size_t)total : 0;
    out->data = all.data;
done:
    return rc;
}

static int gather_lengths(struct comm *team, const struct batch *b, struct stored *out)
{
    int rc, *length = malloc((size_t)(b->N + 1) * sizeof *length);

    rc = comm_agree(team,
                    length ? RL_OK : rl_error(RL_ENOFIT, "no memory for the checkpoint's queue"));
    for (int n = 0; rc == RL_OK && n < b->N; n++)
        length[n] = b->start[n + 1] - b->start[n];
    if (rc == RL_OK)
        rc = gather_array(team, length, (size_t)b->N, DTYPE_I32, out);
    free(length);
    return rc;
}

static int gather_batch(struct run *r, int64_t step, int q, struct stored *out, int *n)
{
    const struct batch *b = ring_batch(&r->train, ROLE_LEARNER, step);
    int rc = RL_OK;

    TRY(comm_agree(r->team, ring_collect(r, &r->train, step)));
    snprintf(out[*n].array.name, ARRAY_NAME, "queue/%d/lengths", q);
    TRY(gather_lengths(r->team, b, &out[(*n)++]));
    for (const struct batch_part *part = batch_parts; part->name; part++, (*n)++) {
        size_t elements;
        const void *mine = batch_part_at(b, part, 0, b->N, &elements);
        snprintf(out[*n].array.name, ARRAY_NAME, "queue/%d/%s", q, part->name);
        TRY(gather_array(r->team, mine, elements, part->dtype, &out[*n]));
    }
done:
    return rc;
}

/* ---- saving */

static int add_texts(const struct run *r, struct text *config, struct checkpoint_text *texts)
{
    int n = 0;

    config_text(r->config, config);
    texts[n++] = (struct checkpoint_text){ "config", config->data, config->size };
    for (int i = 0; i < SOURCE_FILES; i++) {
        const struct source_file *f = &r->inputs.policy.files[i];
        if (f->text.data)
            texts[n++] = (struct checkpoint_text){ f->stored_name, f->text.data, f->text.size };
    }
    return n;
}

static int add_values(struct run *r, struct checkpoint_value *v)
{
    double b1, b2;
    int n = 0;

    optimizer_powers(learner_optimizer(r->learner), &b1, &b2);
    v[n++] = (struct checkpoint_value){ .name = "step", .i = r->step };
    v[n++] = (struct checkpoint_value){ .name = "seed", .i = r->config->seed };
    v[n++] = (struct checkpoint_value){ .name = "tokens", .i = learner_tokens(r->learner) };
    v[n++] = (struct checkpoint_value){ .name = "adam_beta1_power", .is_real = true, .x = b1 };
    v[n++] = (struct checkpoint_value){ .name = "adam_beta2_power", .is_real = true, .x = b2 };
    v[n++] = (struct checkpoint_value){ .name = "groups", .i = r->train.P };
    v[n++] = (struct checkpoint_value){ .name = "rows_per_group", .i = r->train.k };
    return n;
}

/* Batches sampled but not yet trained, after any step: the last step samples ahead too, so that a
 * finished run can be given more steps. */
static int64_t queued(const struct run *r)
{
    return r->algorithm->rollouts ? r->config->max_lag : 0;
}

static int write_state(struct run *r, const char *path, size_t *bytes)
{
    int n_arrays, parts = 1, n = 0, rc = RL_OK;     /* the queue's lengths, then its parts */
    const struct array *arrays = model_arrays(r->policy, &n_arrays);
    struct checkpoint_text texts[SOURCE_FILES + 1];
    struct checkpoint_value values[16];
    struct checkpoint_content content = { .texts = texts, .values = values };
    struct text config = { 0 };
    struct stored *stored;
    float *flats[FLATS];

    for (const struct batch_part *part = batch_parts; part->name; part++)
        parts++;
    stored = calloc((size_t)(FLATS * n_arrays + RING_DEPTH * parts), sizeof *stored);
    TRY(comm_agree(r->team, stored ? RL_OK : rl_error(RL_ENOFIT, "no memory for a checkpoint")));
    flats_of(r, flats);
    for (int f = 0; f < FLATS; f++)
        for (int i = 0; i < n_arrays; i++)
            stored[n++] = slice_of(&arrays[i], flat_names[f], flats[f], r->team);
    for (int q = 0; q < queued(r); q++)
        TRY(gather_batch(r, r->step + q, q, stored, &n));
    content.n_texts = add_texts(r, &config, texts);
    content.n_values = add_values(r, values);
    content.arrays = stored;
    content.n_arrays = n;
    TRY(checkpoint_write(r->team, path, &content, bytes));
done:
    for (int i = FLATS * n_arrays; stored && i < FLATS * n_arrays + RING_DEPTH * parts; i++)
        free((void *)stored[i].data);
    free(stored);
    text_free(&config);
    return rc;
}

int state_save(struct run *r)
{
    char path[4400];
    size_t bytes = 0;
    double t = clock_now();
    int rc = RL_OK;

    if (!run_holds(r, ROLE_LEARNER) || r->saved == r->step)
        return RL_OK;
    folder_checkpoint(&r->folder, r->step, path, sizeof path);
    TRY(write_state(r, path, &bytes));
    if (comm_rank(r->team) == 0)
        TRY(checkpoint_prune(r->folder.checkpoints, (int)r->config->keep_last));
    r->saved = r->step;
    r->spans[SPAN_CHECKPOINT] += clock_now() - t;
    r->checkpoint_bytes = bytes;
done:
    return rc;
}

/* ---- coming back */

static int read_queue(struct run *r, struct checkpoint *c, const char *path, int q)
{
    struct batch *b = ring_batch(&r->train, ROLE_LEARNER, r->step + q);
    int rc = RL_OK;

    ring_begin(&r->train, r->step + q);
    TRY(queue_read(c, path, q, b));
    r->train.collected[(r->step + q) % r->train.depth] = r->step + q;
done:
    return rc;
}

static int check_state(struct run *r, struct checkpoint *c, const char *path)
{
    struct text config = { 0 };
    int64_t step;
    int rc = RL_OK;

    if (!checkpoint_int(c, "step", &step) || step != r->step)
        return rl_error(RL_EINVAL, "%s: its step is not that of its name", path);
    TRY(checkpoint_text(c, "config", &config));
    TRY(config_compatible(r->config, config.data, path));
done:
    text_free(&config);
    return rc;
}

static int load_state(struct run *r, const char *path)
{
    struct checkpoint *c = NULL;
    int n, rc = RL_OK;
    const struct array *arrays = model_arrays(r->policy, &n);
    float *flats[FLATS];
    int64_t tokens = 0;
    double b1 = 1, b2 = 1;

    TRY(checkpoint_open(&c, path));
    TRY(check_state(r, c, path));
    flats_of(r, flats);
    for (int f = 0; f < FLATS; f++)
        TRY(checkpoint_load_arrays(c, path, flat_names[f], arrays, n, flats[f]));
    for (int q = 0; q < queued(r); q++)
        TRY(read_queue(r, c, path, q));
    if (!checkpoint_int(c, "tokens", &tokens) || !checkpoint_real(c, "adam_beta1_power", &b1) ||
        !checkpoint_real(c, "adam_beta2_power", &b2)) {
        rc = rl_error(RL_EINVAL, "%s: the optimizer's state is missing", path);
        goto done;
    }
    optimizer_set_powers(learner_optimizer(r->learner), b1, b2);
    learner_set_tokens(r->learner, tokens);
    learner_set_version(r->learner, r->step);
    r->tokens_before = tokens;
    model_changed(r->policy);
done:
    checkpoint_close(c);
    return rc;
}

static int find_newest(struct run *r, bool fresh)
{
    int64_t step = checkpoint_newest(r->folder.checkpoints, NULL, 0);

    r->step = step < 0 ? 0 : step;
    if (fresh && step >= 0)
        return rl_error(RL_EINVAL,
                        "%s: holds a checkpoint of step %lld; --fresh does not resume: choose "
                        "another output or remove it",
                        r->folder.path, (long long)step);
    return RL_OK;
}

int state_resume(struct run *r, bool fresh)
{
    char path[4400];
    int rc = RL_OK;

    if (comm_rank(r->world) == r->recorder)
        rc = find_newest(r, fresh);
    TRY(comm_agree(r->world, rc));
    TRY(comm_broadcast(r->world, &r->step, sizeof r->step, r->recorder, PHASE_START));
    r->saved = r->step > 0 ? r->step : -1;
    r->first_step = r->step;
    if (r->step > 0 && run_holds(r, ROLE_LEARNER)) {
        folder_checkpoint(&r->folder, r->step, path, sizeof path);
        rc = load_state(r, path);
    }
    TRY(comm_agree(r->world, rc));
    if (comm_rank(r->world) == r->recorder) {
        rc = folder_begin(&r->folder, r->config, r->step);
        if (rc == RL_OK && r->step > 0)
            log_info("resumed at step %lld of %lld", (long long)r->step,
                     (long long)r->config->steps);
    }
    TRY(comm_agree(r->world, rc));
done:
    return rc;
}
