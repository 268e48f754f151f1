/* Opening safetensors: one file, or a folder with model.safetensors or an index and its shards.
 *
 *   model.safetensors.index.json:
 *   {"weight_map": {"model.norm.weight": "model-00002-of-00003.safetensors", ...}}
 */
#include "checkpoints/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "checkpoints/safetensors_internal.h"

#define PATH_ROOM 4096

/* Open one file and append its tensors. */
static int add_shard(struct safetensors *s, const char *path)
{
    struct shard *bigger = realloc(s->shards, (size_t)(s->n_shards + 1) * sizeof *bigger);
    struct shard *shard;
    struct stat info;

    if (!bigger)
        return rl_error(RL_ENOFIT, "no memory for the shards of %s", path);
    s->shards = bigger;
    shard = &s->shards[s->n_shards++];
    *shard = (struct shard){ .path = strdup(path), .fd = -1 };
    if (!shard->path)
        return rl_error(RL_ENOFIT, "no memory for the shards of %s", path);
    shard->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  /* a pipe must not make us wait */
    if (shard->fd < 0)
        return rl_error(RL_EINVAL, "cannot open %s: %s", path, strerror(errno));
    if (fstat(shard->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return rl_error(RL_EINVAL, "%s is not a file", path);
    shard->bytes = (uint64_t)info.st_size;
    return safetensors_header(s);
}

/* ---- the index of a sharded model */

/* The shard of that file name, opened when first met; its number in *out. */
static int shard_named(struct safetensors *s, const char *folder, const char *index,
                       const char *name, int *out)
{
    size_t prefix = strlen(folder) + 1;
    char path[PATH_ROOM];
    int rc = RL_OK;

    if (!name_good(name, 256) || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return rl_error(RL_EINVAL, "%s: '%s' is not the plain name of a shard", index,
                        plain_name(name).text);
    for (*out = 0; *out < s->n_shards; ++*out)
        if (strcmp(s->shards[*out].path + prefix, name) == 0)
            return RL_OK;
    TRY(path_join(path, sizeof path, folder, name));
    TRY(add_shard(s, path));
done:
    return rc;
}

static int compare_names(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;

    return strcmp(x->array.name, y->array.name);
}

/* Fill by_name; two tensors of one name are an error. */
static int sort_names(struct safetensors *s)
{
    size_t n = (size_t)s->n;
    const struct tensor **order = malloc((n + 1) * sizeof *order);
    int rc = RL_OK;

    s->by_name = malloc((n + 1) * sizeof *s->by_name);
    if (!order || !s->by_name) {
        rc = rl_error(RL_ENOFIT, "no memory for the names of %d tensors", s->n);
        goto done;
    }
    for (size_t i = 0; i < n; i++)
        order[i] = &s->tensors[i];
    qsort(order, n, sizeof *order, compare_names);
    for (size_t i = 0; i < n; i++) {
        s->by_name[i] = (int)(order[i] - s->tensors);
        if (i > 0 && compare_names(&order[i - 1], &order[i]) == 0) {
            rc = rl_error(RL_EINVAL, "%s: tensor '%s' is stored twice",
                          s->shards[order[i]->shard].path, order[i]->array.name);
            goto done;
        }
    }
done:
    free(order);
    return rc;
}

/* Each name of the weight map must be in the shard it names. */
static int check_promises(const struct safetensors *s, const char *folder, const char *index,
                          const struct json *map)
{
    const struct json *shard;
    const char *name;
    void *it = NULL;

    while (json_next(map, &it, &name, &shard)) {
        const char *file = json_string(shard, "");
        int i = safetensors_find(s, name);
        if (i < 0 || strcmp(s->shards[s->tensors[i].shard].path + strlen(folder) + 1, file) != 0)
            return rl_error(RL_EINVAL, "%s promises tensor '%s' in %s, which does not hold it",
                            index, plain_name(name).text, plain_name(file).text);
    }
    return RL_OK;
}

static int open_sharded(struct safetensors *s, const char *folder, const char *index)
{
    struct json *root = json_read(index);
    const struct json *map = json_get(root, "weight_map"), *file;
    const char *name;
    void *it = NULL;
    int rc = RL_OK, shard;

    if (!root)
        return RL_EINVAL;
    if (json_size(map) == 0 || !json_is_object(map)) {
        rc = rl_error(RL_EINVAL, "%s: no weight_map that names shards", index);
        goto done;
    }
    while (json_next(map, &it, &name, &file)) {
        if (!json_is_string(file)) {
            rc = rl_error(RL_EINVAL, "%s: the shard of '%s' is not a name", index,
                          plain_name(name).text);
            goto done;
        }
        TRY(shard_named(s, folder, index, json_string(file, ""), &shard));
    }
    TRY(sort_names(s));
    TRY(check_promises(s, folder, index, map));
done:
    json_free(root);
    return rc;
}

/* ---- what callers see */

int safetensors_open(struct safetensors **out, const char *path)
{
    struct safetensors *s = calloc(1, sizeof *s);
    char single[PATH_ROOM], index[PATH_ROOM];
    int rc = RL_OK;

    *out = NULL;
    if (!s)
        return rl_error(RL_ENOFIT, "no memory to open %s", path);
    if (!folder_exists(path)) {
        TRY(add_shard(s, path));
        TRY(sort_names(s));
        goto done;
    }
    TRY(path_join(single, sizeof single, path, "model.safetensors"));
    TRY(path_join(index, sizeof index, path, "model.safetensors.index.json"));
    if (file_exists(single)) {
        TRY(add_shard(s, single));
        TRY(sort_names(s));
    } else if (file_exists(index)) {
        TRY(open_sharded(s, path, index));
    } else {
        rc = rl_error(RL_EINVAL, "%s holds neither model.safetensors nor "
                      "model.safetensors.index.json", path);
    }
done:
    if (rc == RL_OK)
        *out = s;
    else
        safetensors_close(s);
    return rc;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_shards; i++) {
        if (s->shards[i].fd >= 0)
            close(s->shards[i].fd);
        free(s->shards[i].path);
    }
    for (int i = 0; i < s->n_aliases; i++) {
        free(s->aliases[i].name);
        free(s->aliases[i].target);
    }
    free(s->shards);
    free(s->tensors);
    free(s->by_name);
    free(s->aliases);
    free(s);
}

int safetensors_count(const struct safetensors *s)
{
    return s->n;
}

const struct array *safetensors_array(const struct safetensors *s, int i)
{
    return &s->tensors[i].array;
}

static int find_stored(const struct safetensors *s, const char *name)
{
    int low = 0, high = s->n;

    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(name, s->tensors[s->by_name[middle]].array.name);
        if (order == 0)
            return s->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

int safetensors_find(const struct safetensors *s, const char *name)
{
    int i = find_stored(s, name);

    for (int a = 0; i < 0 && a < s->n_aliases; a++)
        if (strcmp(s->aliases[a].name, name) == 0)
            i = find_stored(s, s->aliases[a].target);
    return i;
}
