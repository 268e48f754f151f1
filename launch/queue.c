/* Reading a rank's share of a batch that waited in a checkpoint; see state.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "launch/state.h"

static int find_part(struct checkpoint *c, const char *path, int q, const char *part, int *at)
{
    char name[ARRAY_NAME];

    snprintf(name, sizeof name, "queue/%d/%s", q, part);
    *at = checkpoint_find(c, name);
    return *at >= 0 ? RL_OK : rl_error(RL_EINVAL, "%s: the queue has no '%s'", path, name);
}

/* Row lengths of the whole batch give this share's rows and the token at which it begins. */
static int read_lengths(struct checkpoint *c, const char *path, int q, struct batch *b,
                        size_t *first_token)
{
    size_t rows = (size_t)b->P * (size_t)b->k, first = (size_t)b->group * (size_t)b->k;
    int *length = malloc((rows ? rows : 1) * sizeof *length);
    int at, rc = RL_OK;

    if (!length)
        return rl_error(RL_ENOFIT, "no memory for the queue of %s", path);
    TRY(find_part(c, path, q, "lengths", &at));
    if (checkpoint_array(c, at)->size != rows) {
        rc = rl_error(RL_EINVAL, "%s: queue/%d has another number of rows", path, q);
        goto done;
    }
    TRY(checkpoint_read(c, at, 0, rows, length));
    b->N = b->groups * b->k;
    *first_token = 0;
    for (size_t i = 0; i < first; i++)
        *first_token += (size_t)length[i];
    b->start[0] = 0;
    for (int n = 0; n < b->N && rc == RL_OK; n++) {
        int l = length[first + (size_t)n];
        if (l < 1 || l > b->max_tokens - b->start[n])
            rc = rl_error(RL_EINVAL, "%s: queue/%d: row %d is too long", path, q, n);
        else
            b->start[n + 1] = b->start[n] + l;
    }
    b->T = rc == RL_OK ? b->start[b->N] : 0;
done:
    free(length);
    return rc;
}

int queue_read(struct checkpoint *c, const char *path, int q, unsigned columns, struct batch *b)
{
    size_t first_token = 0, elements;
    int at, rc = RL_OK;

    TRY(read_lengths(c, path, q, b, &first_token));
    for (const struct batch_part *part = batch_parts; part->name; part++) {
        void *to = batch_part_at(b, part, 0, b->N, &elements);
        size_t first = (size_t)b->group * (size_t)b->k;
        if (!(part->column & columns))
            continue;
        if (part->extent == PER_TOKEN)
            first = first_token;
        else if (part->extent == PER_REWARD)
            first *= (size_t)b->R;
        TRY(find_part(c, path, q, part->name, &at));
        if (first + elements > checkpoint_array(c, at)->size) {
            rc = rl_error(RL_EINVAL, "%s: queue/%d/%s is too short", path, q, part->name);
            goto done;
        }
        TRY(checkpoint_read(c, at, first, elements, to));
        b->filled |= part->column;
    }
done:
    return rc;
}
