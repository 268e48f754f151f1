/* What a checkpoint holds and how a run comes back from it.  Written by the learners, each its
 * pieces; read by each learner for itself: nothing depends on how many there were.
 *
 *   weights/<name>, adam_m/<name>, adam_v/<name>   arrays of the model's shapes; a critic's
 *   state/<name>                                   rows of doubles: powers of the betas, ...
 *   queue/<q>/<part>                               batches sampled but not yet trained
 *   texts                                          config, files/config.json, ...
 *   values                                         step, seed, tokens, ...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "launch/run.h"
#include "launch/state.h"

/* One more array of the content, and the piece of it that this rank holds. */
static void add(struct state *s, const struct array *array, size_t begin, size_t count,
                const void *data)
{
    int i = s->content.n_arrays++;

    s->arrays[i] = *array;
    s->pieces[i] = (struct checkpoint_piece){ i, begin, count, count > 0 ? data : NULL };
    s->content.n_pieces = s->content.n_arrays;
}

/* Chunks of an array, counted from its start, that begin before a place of the flat buffer. */
static size_t chunks_before(const struct array *a, size_t place)
{
    size_t chunks = (a->size + HASH_CHUNK - 1) / HASH_CHUNK;
    size_t n = place > a->offset ? (place - a->offset + HASH_CHUNK - 1) / HASH_CHUNK : 0;

    return n < chunks ? n : chunks;
}

/* An array of a flat buffer: each rank writes the chunks that begin in its share of the buffer. */
static void add_slice(struct state *s, const struct array *a, const char *folder,
                      const float *flat, size_t floats, struct comm *team)
{
    size_t n = (size_t)comm_size(team), rank = (size_t)comm_rank(team);
    size_t begin = chunks_before(a, floats * rank / n) * HASH_CHUNK;
    size_t end = chunks_before(a, rank + 1 < n ? floats * (rank + 1) / n : SIZE_MAX / 2) *
                 HASH_CHUNK;
    struct array named = *a;

    snprintf(named.name, sizeof named.name, "%s/%.*s", folder,
             (int)(ARRAY_NAME - strlen(folder) - 2), a->name);
    end = end < a->size ? end : a->size;
    if (begin < end)
        add(s, &named, begin, end - begin, flat + a->offset + begin);
    else
        add(s, &named, 0, 0, NULL);
}

/* A row of doubles, equal on every rank: the first learner writes it. */
static void add_row(struct state *s, const struct learner_value *v, struct comm *team)
{
    struct array row = { .dtype = DTYPE_F64, .dims = 1, .shape = { v->n }, .size = v->n };

    snprintf(row.name, sizeof row.name, "state/%s", v->name);
    add(s, &row, 0, comm_rank(team) == 0 ? v->n : 0, v->x);
}

/* ---- the queue: every rank's rows, gathered to the first learner */

/* The ranks' elements one behind the other; the first learner holds them all. */
static int add_gathered(struct state *s, struct comm *team, const char *name, const void *mine,
                        size_t elements, enum dtype dtype)
{
    struct array a = { .dtype = dtype, .dims = 1 };
    int64_t total = (int64_t)elements;
    struct text all = { 0 };
    int rc = RL_OK;

    TRY(comm_sum_int64(team, &total, 1, PHASE_CHECKPOINT));
    TRY(comm_gather_text(team, mine, elements * dtype_size(dtype), &all, 0, PHASE_CHECKPOINT));
    snprintf(a.name, sizeof a.name, "%s", name);
    a.shape[0] = a.size = (size_t)total;
    add(s, &a, 0, comm_rank(team) == 0 ? a.size : 0, all.data);
    s->owned[s->n_owned++] = all.data;
done:
    return rc;
}

static int add_lengths(struct state *s, struct comm *team, const char *name,
                       const struct batch *b)
{
    int rc, *length = malloc((size_t)(b->N + 1) * sizeof *length);

    rc = comm_agree(team,
                    length ? RL_OK : rl_error(RL_ENOFIT, "no memory for the checkpoint's queue"));
    for (int n = 0; rc == RL_OK && n < b->N; n++)
        length[n] = b->start[n + 1] - b->start[n];
    if (rc == RL_OK)
        rc = add_gathered(s, team, name, length, (size_t)b->N, DTYPE_I32);
    free(length);
    return rc;
}

static unsigned queue_columns(const struct run *r)
{
    return COL_ROLLOUT | r->train.size.scores;
}

static int add_batch(struct run *r, struct state *s, int q)
{
    const struct batch *b = ring_batch(&r->train, ROLE_LEARNER, r->step + q);
    char name[ARRAY_NAME];
    int rc = RL_OK;

    rc = comm_agree(r->team, ring_collect(r, &r->train, r->step + q));
    if (rc == RL_ENAN && strcmp(r->config->on_nonfinite, "skip") == 0) {
        s->bad |= (int64_t)1 << q;
        return RL_OK;
    }
    TRY(rc);
    snprintf(name, sizeof name, "queue/%d/lengths", q);
    TRY(add_lengths(s, r->team, name, b));
    for (const struct batch_part *part = batch_parts; part->name; part++) {
        size_t elements;
        const void *mine = batch_part_at(b, part, 0, b->N, &elements);
        if (!(part->column & queue_columns(r)))
            continue;
        snprintf(name, sizeof name, "queue/%d/%s", q, part->name);
        TRY(add_gathered(s, r->team, name, mine, elements, part->dtype));
    }
done:
    return rc;
}

/* ---- the whole */

static void add_texts(const struct run *r, struct state *s)
{
    int n = 0;

    config_text(r->config, &s->config);
    s->texts[n++] = (struct checkpoint_text){ "config", s->config.data, s->config.size };
    for (int i = 0; i < SOURCE_FILES; i++) {
        const struct source_file *f = &r->inputs.policy.files[i];
        if (f->text.data)
            s->texts[n++] = (struct checkpoint_text){ f->stored_name, f->text.data, f->text.size };
    }
    s->content.n_texts = n;
}

static void add_values(struct run *r, struct state *s)
{
    struct checkpoint_value *v = s->values;
    int n = 0;

    v[n++] = (struct checkpoint_value){ .name = "step", .x = r->step };
    v[n++] = (struct checkpoint_value){ .name = "seed", .x = r->config->seed };
    v[n++] = (struct checkpoint_value){ .name = "tokens", .x = learner_tokens(r->learner) };
    v[n++] = (struct checkpoint_value){ .name = "groups", .x = r->train.P };
    v[n++] = (struct checkpoint_value){ .name = "rows_per_group", .x = r->train.k };
    v[n++] = (struct checkpoint_value){ .name = "queue_bad", .x = s->bad };
    s->content.n_values = n;
}

/* Batches sampled but not yet trained, after any step: the last step samples ahead too, so that a
 * finished run can be given more steps. */
static int64_t queued(const struct run *r)
{
    return run_lag(r);
}

/* The learner's flat buffers, and those of models that follow its policy. */
static int flats_of(struct run *r, struct learner_flat out[LEARNER_FLATS])
{
    struct follower *followers[] = { &r->judge_mean, &r->reference_copy };
    int n = learner_flats(r->learner, out);

    for (int i = 0; i < 2; i++)
        if (followers[i]->is_on)
            out[n++] = (struct learner_flat){ followers[i]->folder, followers[i]->model,
                                              model_weights(followers[i]->model) };
    return n;
}

static void add_learner(struct run *r, struct state *s)
{
    struct learner_flat flats[LEARNER_FLATS];
    struct learner_value values[LEARNER_VALUES];
    int n_flats = flats_of(r, flats), n_values = learner_values(r->learner, values);

    for (int f = 0; f < n_flats; f++) {
        int n;
        const struct array *arrays = model_arrays(flats[f].model, &n);
        for (int i = 0; i < n; i++)
            add_slice(s, &arrays[i], flats[f].folder, flats[f].data,
                      model_size(model_shape(flats[f].model)), r->team);
    }
    for (int v = 0; v < n_values; v++)
        add_row(s, &values[v], r->team);
}

/* Room for arrays: those of the learner, and per queued batch its lengths and parts. */
static int make_room(struct run *r, struct state *s)
{
    struct learner_flat flats[LEARNER_FLATS];
    size_t parts = 1, n = LEARNER_VALUES;

    for (int f = flats_of(r, flats) - 1; f >= 0; f--) {
        int arrays;
        model_arrays(flats[f].model, &arrays);
        n += (size_t)arrays;
    }
    for (const struct batch_part *part = batch_parts; part->name; part++)
        parts++;
    n += RING_DEPTH * parts;
    s->arrays = calloc(n, sizeof *s->arrays);
    s->pieces = calloc(n, sizeof *s->pieces);
    s->owned = calloc(RING_DEPTH * parts, sizeof *s->owned);
    if (!s->arrays || !s->pieces || !s->owned)
        return rl_error(RL_ENOFIT, "no memory for a checkpoint");
    s->content.arrays = s->arrays;
    s->content.pieces = s->pieces;
    s->content.texts = s->texts;
    s->content.values = s->values;
    return RL_OK;
}

int state_gather(struct run *r, struct state *s)
{
    int rc;

    memset(s, 0, sizeof *s);
    TRY(comm_agree(r->team, make_room(r, s)));
    add_learner(r, s);
    for (int q = 0; q < queued(r); q++)
        TRY(add_batch(r, s, q));
    add_texts(r, s);
    add_values(r, s);
done:
    return rc;
}

void state_release(struct state *s)
{
    for (int i = 0; i < s->n_owned; i++)
        free(s->owned[i]);
    free(s->owned);
    free(s->arrays);
    free(s->pieces);
    text_free(&s->config);
    memset(s, 0, sizeof *s);
}

/* ---- coming back */

static int read_queue(struct run *r, struct checkpoint *c, const char *path, int q)
{
    struct batch *b = ring_batch(&r->train, ROLE_LEARNER, r->step + q);
    int64_t bad = 0;
    int rc = RL_OK;

    ring_begin(&r->train, r->step + q);
    checkpoint_int(c, "queue_bad", &bad);
    if (bad >> q & 1)
        b->status = rl_error(RL_ENAN, "step %lld: the numbers of its batch went bad before %s",
                             (long long)(r->step + q) + 1, path);
    else
        TRY(queue_read(c, path, q, queue_columns(r), b));
    r->train.collected[(r->step + q) % r->train.depth] = r->step + q;
done:
    return rc;
}

/* *foreign: the file is sound, and of a run with other numbers. */
static int check_state(struct run *r, struct checkpoint *c, const char *path, bool *foreign)
{
    struct text config = { 0 };
    int64_t step;
    int rc = RL_OK;

    if (!checkpoint_int(c, "step", &step) || step != r->step) {
        *foreign = true;
        return rl_error(RL_EINVAL, "%s: its step is not that of its name", path);
    }
    TRY(checkpoint_text(c, "config", &config));
    rc = config_compatible(r->config, config.data, path);
    *foreign = rc != RL_OK;
done:
    text_free(&config);
    return rc;
}

static int load_value(struct checkpoint *c, const char *path, const struct learner_value *v)
{
    char name[ARRAY_NAME];
    int at;

    snprintf(name, sizeof name, "state/%s", v->name);
    at = checkpoint_find(c, name);
    if (at < 0 || checkpoint_array(c, at)->size != v->n ||
        checkpoint_array(c, at)->dtype != DTYPE_F64)
        return rl_error(RL_EINVAL, "%s: no array '%s' of %zu doubles: a checkpoint of another "
                        "training", path, name, v->n);
    return checkpoint_read(c, at, 0, v->n, v->x);
}

static int load_learner(struct run *r, struct checkpoint *c, const char *path)
{
    struct learner_flat flats[LEARNER_FLATS];
    struct learner_value values[LEARNER_VALUES];
    int n_flats = flats_of(r, flats), n_values = learner_values(r->learner, values);
    int rc = RL_OK;

    for (int f = 0; f < n_flats; f++) {
        int n;
        const struct array *arrays = model_arrays(flats[f].model, &n);
        TRY(checkpoint_load_arrays(c, path, flats[f].folder, arrays, n, NULL,
                                   flats[f].data));
    }
    for (int v = 0; v < n_values; v++)
        TRY(load_value(c, path, &values[v]));
    learner_restored(r->learner);
    if (r->judge_mean.is_on)
        model_changed(r->judge_mean.model);
    if (r->reference_copy.is_on)
        model_changed(r->reference_copy.model);
done:
    return rc;
}

static int load_state(struct run *r, bool *foreign)
{
    struct checkpoint *c = NULL;
    char path[4400];
    int64_t tokens = 0;
    int rc = RL_OK;

    folder_checkpoint(&r->folder, r->step, path, sizeof path);
    TRY(checkpoint_open(&c, path));
    TRY(check_state(r, c, path, foreign));
    TRY(load_learner(r, c, path));
    for (int q = 0; q < queued(r); q++)
        TRY(read_queue(r, c, path, q));
    if (!checkpoint_int(c, "tokens", &tokens)) {
        rc = rl_error(RL_EINVAL, "%s: the count of tokens is missing", path);
        goto done;
    }
    learner_set_tokens(r->learner, tokens);
    learner_set_version(r->learner, r->step);
    r->tokens_before = tokens;
done:
    checkpoint_close(c);
    return rc;
}

static int find_newest(struct run *r, bool fresh)
{
    int64_t step = checkpoint_newest(r->folder.checkpoints, NULL, 0);

    if (step < -1)
        return (int)step;
    r->step = step < 0 ? 0 : step;
    if (fresh && step >= 0)
        return rl_error(RL_EINVAL,
                        "%s: holds a checkpoint of step %lld; --fresh does not resume: choose "
                        "another output or remove it",
                        r->folder.path, (long long)step);
    return RL_OK;
}

/* The recorder: the checkpoint of r->step is set aside for the one before it, whose step becomes
 * *step; 0: there is none, and nothing is done. */
static int fall_back(struct run *r, int64_t *step)
{
    int64_t before = checkpoint_before(r->folder.checkpoints, r->step, NULL, 0);
    char path[4400];
    int rc = RL_OK;

    *step = before > 0 ? before : 0;
    if (*step == 0)
        return before < -1 ? (int)before : RL_OK;
    folder_checkpoint(&r->folder, r->step, path, sizeof path);
    TRY(checkpoint_set_aside(path));
    log_info("%s is damaged and is now called .damaged; the checkpoint of step %lld is taken",
             path, (long long)*step);
done:
    return rc;
}

/* The newest checkpoint that can be read: what a crash or a disk has damaged is left for the one
 * before it.  Collective. */
static int load_newest(struct run *r)
{
    int rc = RL_OK;

    while (r->step > 0) {
        int64_t found[2] = { 0, 0 };            /* is it foreign; the step of the one before */
        bool foreign = false;
        int failed;

        failed = run_holds(r, ROLE_LEARNER) ? load_state(r, &foreign) : RL_OK;
        failed = comm_agree(r->world, failed);
        if (failed != RL_EINVAL)
            return failed;
        found[0] = foreign;
        TRY(comm_max_int64(r->world, &found[0], 1, PHASE_START));
        if (found[0] == 0 && comm_rank(r->world) == r->recorder)
            rc = fall_back(r, &found[1]);
        TRY(comm_agree(r->world, rc));
        TRY(comm_broadcast(r->world, &found[1], sizeof found[1], r->recorder, PHASE_START));
        if (found[1] == 0)
            return failed;
        r->step = found[1];
    }
done:
    return rc;
}

/* Steps without a checkpoint are done again, and their lines are written again: not unsaid. */
static void say_again(const struct run *r, bool fresh)
{
    int64_t count, lost, last = folder_last_step(r->folder.path, &count, &lost);

    if (r->step == 0 && last > 0 && !fresh)
        log_info("%s holds no checkpoint: the %lld steps it has lines of are done again",
                 r->folder.checkpoints, (long long)last);
}

int state_resume(struct run *r, bool fresh)
{
    int rc = RL_OK;

    TRY(journal_recover(r, fresh));
    if (comm_rank(r->world) == r->recorder)
        rc = find_newest(r, fresh);
    TRY(comm_agree(r->world, rc));
    TRY(comm_broadcast(r->world, &r->step, sizeof r->step, r->recorder, PHASE_START));
    TRY(load_newest(r));
    r->save.saved = r->step > 0 ? r->step : -1;
    r->first_step = r->step;
    if (comm_rank(r->world) == r->recorder) {
        say_again(r, fresh);
        rc = folder_begin(&r->folder, r->config, r->step);
        if (rc == RL_OK && r->step > r->config->steps)
            log_info("%s has %lld steps already and steps is %lld: nothing is left to do",
                     r->folder.path, (long long)r->step, (long long)r->config->steps);
        else if (rc == RL_OK && r->step > 0)
            log_info("resumed at step %lld of %lld", (long long)r->step,
                     (long long)r->config->steps);
    }
    TRY(comm_agree(r->world, rc));
    rc = journal_open(r);
done:
    return rc;
}
