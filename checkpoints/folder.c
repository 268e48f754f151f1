/* The checkpoints of a run, by their names: step-%08d.h5, and step-%08d.h5.part while one is being
 * written.  A name without .part is complete: it came by rename. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"

#define PATH_ROOM 4096

/* The step in the name of a checkpoint, -1 if it is another file. */
static int64_t step_of(const char *name, const char *ending)
{
    const char *digits = name + 5;
    size_t n;

    if (strncmp(name, "step-", 5) != 0)
        return -1;
    n = strspn(digits, "0123456789");
    if (n < 8 || n > 18 || (n > 8 && digits[0] == '0') || strcmp(digits + n, ending) != 0)
        return -1;
    return strtoll(digits, NULL, 10);
}

/* Call visit(folder/name, step) for every file with that ending. */
static int walk(const char *folder, const char *ending,
                int (*visit)(const char *path, int64_t step, void *data), void *data)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[PATH_ROOM];
    int rc = RL_OK;

    if (!dir && errno == ENOENT)
        return RL_OK;                           /* nothing was written yet */
    if (!dir)
        return rl_error(RL_EIO, "cannot read folder %s: %s", folder, strerror(errno));
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        int64_t step = step_of(entry->d_name, ending);
        if (step < 0)
            continue;
        TRY(path_join(path, sizeof path, folder, entry->d_name));
        TRY(visit(path, step, data));
    }
    if (errno != 0)
        rc = rl_error(RL_EIO, "cannot read folder %s: %s", folder, strerror(errno));
done:
    closedir(dir);
    return rc;
}

/* The newest of those below `end`. */
struct newest { int64_t step, end; char path[PATH_ROOM]; };

static int keep_newest(const char *path, int64_t step, void *data)
{
    struct newest *newest = data;

    if (step > newest->step && step < newest->end && file_exists(path)) {
        newest->step = step;
        snprintf(newest->path, sizeof newest->path, "%s", path);
    }
    return RL_OK;
}

int64_t checkpoint_before(const char *folder, int64_t step, char *path, size_t room)
{
    struct newest newest = { .step = -1, .end = step };

    if (walk(folder, ".h5", keep_newest, &newest) != RL_OK)
        return RL_EIO;
    if (path && newest.step >= 0 &&
        snprintf(path, room, "%s", newest.path) >= (int)room)
        return rl_error(RL_EIO, "path too long: %s", newest.path);
    return newest.step;
}

int64_t checkpoint_newest(const char *folder, char *path, size_t room)
{
    return checkpoint_before(folder, INT64_MAX, path, room);
}

int checkpoint_set_aside(const char *path)
{
    char aside[PATH_ROOM];

    if (snprintf(aside, sizeof aside, "%s.damaged", path) >= (int)sizeof aside)
        return rl_error(RL_EIO, "path too long: %s", path);
    if (rename(path, aside) != 0)
        return rl_error(RL_EIO, "cannot rename %s: %s", path, strerror(errno));
    return RL_OK;
}

/* The `keep` largest steps, largest first. */
struct kept { int64_t *steps; int keep; const struct checkpoint_keep *besides; };

static int note_step(const char *path, int64_t step, void *data)
{
    struct kept *kept = data;

    (void)path;
    for (int i = 0; i < kept->keep; i++) {
        if (step > kept->steps[i]) {
            int64_t smaller = kept->steps[i];
            kept->steps[i] = step;
            step = smaller;
        }
    }
    return RL_OK;
}

static int remove_file(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return rl_error(RL_EIO, "cannot delete the old checkpoint %s: %s", path, strerror(errno));
    return RL_OK;
}

static bool stays(const struct kept *kept, int64_t step)
{
    const struct checkpoint_keep *k = kept->besides;

    if (step >= kept->steps[kept->keep - 1] || (k->every > 0 && step % k->every == 0))
        return true;
    for (int i = 0; i < k->n_steps; i++)
        if (k->steps[i] == step)
            return true;
    return false;
}

static int remove_older(const char *path, int64_t step, void *data)
{
    return stays(data, step) ? RL_OK : remove_file(path);
}

static int remove_part(const char *path, int64_t step, void *data)
{
    (void)step, (void)data;
    return remove_file(path);
}

static int count_file(const char *path, int64_t step, void *data)
{
    (void)path, (void)step;
    ++*(int *)data;
    return RL_OK;
}

int checkpoint_prune(const char *folder, const struct checkpoint_keep *keep)
{
    struct kept kept = { .besides = keep };
    int there = 0, newest = keep->newest, rc = RL_OK;

    TRY(walk(folder, ".h5", count_file, &there));
    kept.keep = newest < 1 || there < 1 ? 1 : newest < there ? newest : there;
    kept.steps = malloc((size_t)kept.keep * sizeof *kept.steps);
    if (!kept.steps)
        return rl_error(RL_ENOFIT, "no memory to keep %d checkpoints", newest);
    for (int i = 0; i < kept.keep; i++)
        kept.steps[i] = -1;
    TRY(walk(folder, ".h5", note_step, &kept));
    TRY(walk(folder, ".h5", remove_older, &kept));
    TRY(walk(folder, ".h5.part", remove_part, NULL));
done:
    free(kept.steps);
    return rc;
}
