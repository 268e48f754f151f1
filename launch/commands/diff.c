/* rankwise diff A B: the first step, tensor and element at which two runs or checkpoints differ.
 * Status RL_OK when nothing does; else one line and exit code 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "launch/commands/commands.h"

/* ---- checkpoints */

/* Index of the first differing element of two equally shaped arrays, count when none. */
static size_t first_difference(const char *a, const char *b, size_t bytes, size_t count)
{
    size_t i = 0;

    while (i < count && memcmp(a + i * bytes, b + i * bytes, bytes) == 0)
        i++;
    return i;
}

static void print_element(const struct array *a, const void *data, size_t i, char *out, size_t room)
{
    if (a->dtype == DTYPE_F32)
        snprintf(out, room, "%.9g", (double)((const float *)data)[i]);
    else if (a->dtype == DTYPE_F64)
        snprintf(out, room, "%.17g", ((const double *)data)[i]);
    else if (a->dtype == DTYPE_I32)
        snprintf(out, room, "%d", ((const int *)data)[i]);
    else if (a->dtype == DTYPE_I64)
        snprintf(out, room, "%" PRId64, ((const int64_t *)data)[i]);
    else
        snprintf(out, room, "other bytes");
}

static int compare_data(const struct array *x, const void *dx, const struct array *y,
                        const void *dy)
{
    char left[64], right[64];
    size_t i;

    if (x->dtype != y->dtype || x->size != y->size)
        return rl_error(RL_EINVAL, "differ: %s has another type or size", x->name);
    i = first_difference(dx, dy, dtype_size(x->dtype), x->size);
    if (i == x->size)
        return RL_OK;
    print_element(x, dx, i, left, sizeof left);
    print_element(y, dy, i, right, sizeof right);
    return rl_error(RL_EINVAL, "differ: %s element %zu: %s and %s", x->name, i, left, right);
}

static int compare_array(struct checkpoint *a, struct checkpoint *b, int i)
{
    const struct array *x = checkpoint_array(a, i);
    int j = checkpoint_find(b, x->name), rc = RL_OK;
    void *dx = NULL, *dy = NULL;

    if (j < 0)
        return rl_error(RL_EINVAL, "differ: array %s is only in the first", x->name);
    dx = malloc(x->size * dtype_size(x->dtype) + 1);
    dy = malloc(checkpoint_array(b, j)->size * dtype_size(checkpoint_array(b, j)->dtype) + 1);
    if (!dx || !dy) {
        rc = rl_error(RL_ENOFIT, "no memory for array %s", x->name);
        goto done;
    }
    TRY(checkpoint_read(a, i, 0, x->size, dx));
    TRY(checkpoint_read(b, j, 0, checkpoint_array(b, j)->size, dy));
    rc = compare_data(x, dx, checkpoint_array(b, j), dy);
done:
    free(dx);
    free(dy);
    return rc;
}

/* Values that both hold by name; a state that differs only there differs. */
static int compare_values(struct checkpoint *a, struct checkpoint *b)
{
    static const char *const integers[] = { "step", "seed", "tokens", "groups", "rows_per_group" };

    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t x = 0, y = 0;
        if (checkpoint_int(a, integers[i], &x) != checkpoint_int(b, integers[i], &y) || x != y)
            return rl_error(RL_EINVAL, "differ: value %s: %" PRId64 " and %" PRId64, integers[i], x,
                            y);
    }
    return RL_OK;
}

static int compare_checkpoints(const char *path_a, const char *path_b)
{
    struct checkpoint *a = NULL, *b = NULL;
    int rc = RL_OK;

    TRY(checkpoint_open(&a, path_a));
    TRY(checkpoint_open(&b, path_b));
    for (int i = 0; i < checkpoint_count(a); i++)
        TRY(compare_array(a, b, i));
    for (int i = 0; i < checkpoint_count(b); i++)
        if (checkpoint_find(a, checkpoint_array(b, i)->name) < 0) {
            rc = rl_error(RL_EINVAL, "differ: array %s is only in the second",
                          checkpoint_array(b, i)->name);
            goto done;
        }
    rc = compare_values(a, b);
done:
    checkpoint_close(a);
    checkpoint_close(b);
    return rc;
}

/* ---- runs: weights and metrics by step, samples by line, then the newest common checkpoint */

static const char *hash_of(const struct json *row)
{
    return json_string(json_get(row, "train/weights_hash"), "");
}

/* Numbers that tell of the machine and not of the training. */
static bool is_of_machine(const char *name)
{
    static const char *const prefixes[] = { "time/", "perf/", "idle/", "mem/", "ckpt/", "fault/" };

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static int compare_numbers(const struct json *a, const struct json *b, int64_t step)
{
    const struct json *x, *y;
    const char *name;
    void *at = NULL;

    while (json_next(a, &at, &name, &x)) {
        y = json_get(b, name);
        if (is_of_machine(name) || (!json_is_number(x) && !json_is_number(y)))
            continue;
        if (json_number(x, 0) != json_number(y, 0) || json_is_number(x) != json_is_number(y))
            return rl_error(RL_EINVAL, "differ: step %" PRId64 ": %s is %.17g and %.17g", step,
                            name, json_number(x, 0), json_number(y, 0));
    }
    return RL_OK;
}

static int compare_steps(const struct json *a, const struct json *b, int line)
{
    int64_t x = json_int(json_get(a, "train/step"), -1),
            y = json_int(json_get(b, "train/step"), -1);
    int rc = RL_OK;

    if (x != y)
        return rl_error(RL_EINVAL,
                        "differ: line %d of metrics.jsonl is step %" PRId64 " and step %" PRId64,
                        line, x, y);
    if (strcmp(hash_of(a), hash_of(b)) != 0)
        return rl_error(RL_EINVAL, "differ: step %" PRId64 ": weights hash %s and %s", x,
                        hash_of(a), hash_of(b));
    TRY(compare_numbers(a, b, x));
    TRY(compare_numbers(b, a, x));
done:
    return rc;
}

static int compare_samples(const char *a, const char *b, int line)
{
    struct json *row = json_parse(a, strlen(a), "samples.jsonl");
    int64_t step = json_int(json_get(row, "step"), -1);

    json_free(row);
    if (strcmp(a, b) == 0)
        return RL_OK;
    return rl_error(RL_EINVAL, "differ: step %" PRId64 ": samples.jsonl line %d", step, line);
}

static int compare_metrics(const char *a, const char *b, int line)
{
    struct json *x = json_parse(a, strlen(a), "metrics.jsonl"),
                *y = json_parse(b, strlen(b), "metrics.jsonl");
    int rc = x && y ? compare_steps(x, y, line) : RL_EINVAL;

    json_free(x);
    json_free(y);
    return rc;
}

static int compare_lines(const char *run_a, const char *run_b, const char *name,
                         int (*compare)(const char *, const char *, int))
{
    char path_a[4200], path_b[4200], *a = NULL, *b = NULL;
    size_t room_a = 0, room_b = 0;
    FILE *file_a = NULL, *file_b = NULL;
    int rc = RL_OK, line = 0;

    TRY(path_join(path_a, sizeof path_a, run_a, name));
    TRY(path_join(path_b, sizeof path_b, run_b, name));
    file_a = fopen(path_a, "r");
    file_b = fopen(path_b, "r");
    if (!file_a || !file_b) {
        rc = rl_error(RL_EINVAL, "cannot read %s", file_a ? path_b : path_a);
        goto done;
    }
    for (;;) {
        ssize_t n = getline(&a, &room_a, file_a), m = getline(&b, &room_b, file_b);
        if (n < 0 && m < 0)
            break;
        line++;
        if (n < 0 || m < 0) {
            rc = rl_error(RL_EINVAL, "differ: %s of %s ends before line %d", name,
                          n < 0 ? run_a : run_b, line);
            goto done;
        }
        TRY(compare(a, b, line));
    }
done:
    if (file_a)
        fclose(file_a);
    if (file_b)
        fclose(file_b);
    free(a);
    free(b);
    return rc;
}

static int compare_runs(const char *run_a, const char *run_b)
{
    char folder_a[4200], folder_b[4200], path_a[4200], path_b[4200];
    int64_t step_a, step_b;
    int rc = RL_OK;

    TRY(path_join(folder_a, sizeof folder_a, run_a, "checkpoints"));
    TRY(path_join(folder_b, sizeof folder_b, run_b, "checkpoints"));
    step_a = checkpoint_newest(folder_a, path_a, sizeof path_a);
    step_b = checkpoint_newest(folder_b, path_b, sizeof path_b);
    rc = compare_lines(run_a, run_b, "metrics.jsonl", compare_metrics);
    if (rc != RL_OK && step_a >= 0 && step_a == step_b) {
        struct text first = { 0 };
        text_adds(&first, status_message());
        if (compare_checkpoints(path_a, path_b) == RL_OK)
            rl_error(RL_EINVAL, "%s; the checkpoints of step %" PRId64 " are equal", first.data,
                     step_a);
        else
            rl_error(RL_EINVAL, "%s; checkpoint of step %" PRId64 " %s", first.data, step_a,
                     status_message());
        text_free(&first);
        goto done;
    }
    TRY(rc);
    TRY(compare_lines(run_a, run_b, "samples.jsonl", compare_samples));
    if (step_a >= 0 && step_a == step_b)
        TRY(compare_checkpoints(path_a, path_b));
    printf("equal: weights and metrics of every step, samples%s\n",
           step_a >= 0 && step_a == step_b ? ", checkpoint" : "");
done:
    return rc;
}

int command_diff(int argc, char **argv)
{
    int rc;

    if (argc != 2)
        return rl_error(RL_EINVAL, "diff needs two runs or two checkpoints");
    for (int i = 0; i < 2; i++)
        if (!file_exists(argv[i]) && !folder_exists(argv[i]))
            return rl_error(RL_EINVAL, "%s: no such run or checkpoint", argv[i]);
    if (folder_exists(argv[0]) != folder_exists(argv[1]))
        return rl_error(RL_EINVAL,
                        "diff compares two runs or two checkpoints, not one with the other");
    status_hold(true);                  /* the line may grow before it is printed */
    if (folder_exists(argv[0]))
        return compare_runs(argv[0], argv[1]);
    rc = compare_checkpoints(argv[0], argv[1]);
    if (rc == RL_OK)
        puts("equal: every element of every array");
    return rc;
}
