/* Which checkpoints stay; see keep.h. */
#include "launch/keep.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"

/* The best so far, best first; of equal ones the newer is better. */
struct best { int64_t *steps; double *values; int n, room; bool smaller; };

static bool is_better(const struct best *b, int i, int64_t step, double value)
{
    if (value != b->values[i])
        return b->smaller ? value < b->values[i] : value > b->values[i];
    return step > b->steps[i];
}

static void consider(struct best *b, int64_t step, double value)
{
    int i = b->n;

    if (i < b->room)
        b->n++;
    else if (!is_better(b, --i, step, value))
        return;
    for (; i > 0 && is_better(b, i - 1, step, value); i--) {
        b->steps[i] = b->steps[i - 1];
        b->values[i] = b->values[i - 1];
    }
    b->steps[i] = step;
    b->values[i] = value;
}

/* train/step of a line, without parsing all of it; -1: none. */
static int64_t step_of(const char *line, size_t n)
{
    static const char key[] = "\"train/step\": ";
    const char *at = memmem(line, n, key, sizeof key - 1);

    return at ? strtoll(at + sizeof key - 1, NULL, 10) : -1;
}

static void consider_line(const struct folder *f, const struct config *c, const char *line,
                          size_t n, struct best *b)
{
    int64_t step = step_of(line, n);
    char path[4400];
    struct json *row;
    double value;

    if (step < 1)
        return;
    folder_checkpoint(f, step, path, sizeof path);
    if (!file_exists(path))
        return;
    row = json_try(line, n);
    value = json_number(json_get(row, c->best), NAN);
    if (isfinite(value))
        consider(b, step, value);
    json_free(row);
}

/* Lines on the disk, then those that wait for room on it. */
static int find_best(const struct folder *f, const struct config *c, struct best *b)
{
    const struct text *waiting = &f->metrics.waiting;
    const char *at = waiting->data, *end = at ? at + waiting->size : at, *next;
    FILE *file = fopen(f->metrics.path, "re");
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return rl_error(RL_EIO, "cannot read %s: %s", f->metrics.path, strerror(errno));
    for (ssize_t n; (n = getline(&line, &room, file)) > 0;)
        consider_line(f, c, line, (size_t)n, b);
    for (; at < end && (next = memchr(at, '\n', (size_t)(end - at))); at = next + 1)
        consider_line(f, c, at, (size_t)(next - at), b);
    free(line);
    fclose(file);
    if (b->n == 0)
        log_info("keep_best: no step with a checkpoint has \"%s\" in %s", c->best,
                 f->metrics.path);
    return RL_OK;
}

int keep_prune(const struct folder *f, const struct config *c)
{
    int room = (int)c->keep_best;
    struct best best = { .room = room, .smaller = strcmp(c->best_is, "min") == 0 };
    struct checkpoint_keep keep = { .newest = (int)c->keep_last, .every = c->keep_every };
    int rc = RL_OK;

    if (room > 0) {
        best.steps = malloc((size_t)room * sizeof *best.steps);
        best.values = malloc((size_t)room * sizeof *best.values);
        if (!best.steps || !best.values)
            TRY(rl_error(RL_ENOFIT, "no memory to keep the best checkpoints"));
        TRY(find_best(f, c, &best));
    }
    keep.steps = best.steps;
    keep.n_steps = best.n;
    rc = checkpoint_prune(f->checkpoints, &keep);
done:
    free(best.steps);
    free(best.values);
    return rc;
}
