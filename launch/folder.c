/* The run folder; see folder.h. */
#include "launch/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"

int folder_check(const char *path)
{
    static const char *const names[] = {
        "config.cfg", "supervised.cfg", "metrics.jsonl", "samples.jsonl", "scores.jsonl",
        "log.txt", "outcome.json", "journal.id", "trace.json",
    };
    char file[4200];
    struct stat info;
    int rc = RL_OK;

    for (size_t i = 0; i < sizeof names / sizeof *names && rc == RL_OK; i++) {
        TRY(path_join(file, sizeof file, path, names[i]));
        if (stat(file, &info) == 0 && !S_ISREG(info.st_mode))
            rc = rl_error(RL_EINVAL, "output: %s is no plain file: move it away", file);
    }
done:
    return rc;
}

/* File systems without locks are taken at their word. */
int folder_lock(const char *path, const char *name, double patience, int *fd)
{
    double begun = clock_now();
    bool said = patience <= LOCK_SECONDS;
    char file[4200];
    int rc = RL_OK;

    TRY(path_join(file, sizeof file, path, name));
    *fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0)
        return rl_error(RL_EIO, "output: cannot write to %s: %s", path, strerror(errno));
    while (flock(*fd, LOCK_EX | LOCK_NB) != 0 && clock_now() < begun + patience) {
        if (errno != EWOULDBLOCK)
            return RL_OK;
        if (!said && clock_now() > begun + LOCK_SECONDS) {
            log_info("%s is still locked, maybe by a host that is gone: waiting up to %g s", path,
                     patience);
            said = true;
        }
        clock_sleep(0.1);
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        rc = rl_error(RL_EINVAL, "output: another run is writing to %s; let it end or stop it, or "
                      "choose another folder", path);
done:
    return rc;
}

int folder_create(struct folder *f, const char *path, double patience)
{
    int rc = RL_OK;

    memset(f, 0, sizeof *f);
    if (strlen(path) >= sizeof f->path - 64)
        return rl_error(RL_EINVAL, "output: path too long: %.60s...", path);
    strcpy(f->path, path);
    TRY(path_join(f->checkpoints, sizeof f->checkpoints, path, "checkpoints"));
    TRY(folder_make(f->checkpoints));
    if (access(path, W_OK) != 0 || access(f->checkpoints, W_OK) != 0)
        return rl_error(RL_EIO, "output: cannot write to %s: %s", path, strerror(errno));
    TRY(folder_check(path));
    rc = folder_lock(path, ".lock", patience, &f->lock);
done:
    return rc;
}

/* Bytes up to the last line whose `key` is at most `last`.  Damaged lines in between stay as they
 * are; that, and a record that ends too early, is said, not mended. */
static int keep_lines(const char *path, const char *key, int64_t last, size_t *bytes)
{
    int64_t newest = -1, damaged = 0, kept = 0;
    size_t read = 0;
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");

    *bytes = 0;
    if (!file)
        return rl_error(RL_EIO, "cannot read %s: %s", path, strerror(errno));
    for (ssize_t n; (n = getline(&line, &room, file)) > 0;) {
        struct json *row = line[n - 1] == '\n' ? json_try(line, (size_t)n) : NULL;
        int64_t step = json_int(json_get(row, key), -1);
        json_free(row);
        read += (size_t)n;
        if (step > last)
            break;
        damaged += step < 0;
        if (step < 0)
            continue;
        newest = step;
        kept = damaged;
        *bytes = read;
    }
    if (kept > 0)
        log_info("%s: %lld damaged lines stay as they are", path, (long long)kept);
    if (newest < last && strcmp(key, "train/step") == 0)
        log_info("%s ends before step %lld, the checkpoint is of step %lld: lines between are "
                 "lost", path, (long long)newest + 1, (long long)last);
    free(line);
    fclose(file);
    return RL_OK;
}

/* Cut `name` back to the lines up to `last` and open it for appending. */
static int begin_lines(const struct folder *f, const char *name, const char *key, int64_t last,
                       struct append *a)
{
    char path[4200];
    size_t bytes = 0;
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, f->path, name));
    if (file_exists(path)) {
        if (last >= 0)
            TRY(keep_lines(path, key, last, &bytes));
        TRY(file_cut(path, bytes));
    }
    rc = append_open(a, path);
done:
    return rc;
}

int folder_begin(struct folder *f, const struct config *c, int64_t step)
{
    char path[4200];
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, f->path, "config.cfg"));
    TRY(config_save(c, path));
    TRY(begin_lines(f, "metrics.jsonl", "train/step", step ? step : -1, &f->metrics));
    TRY(begin_lines(f, "samples.jsonl", "step", step ? step : -1, &f->samples));
    TRY(path_join(path, sizeof path, f->path, "log.txt"));
    TRY(log_open(path));
done:
    return rc;
}

/* The lines of steps behind `step`; *bytes: of all whole lines. */
static void later_lines(const char *path, const struct text *all, int64_t step, struct text *later,
                        size_t *bytes)
{
    const char *line = all->data, *end = line + all->size, *next;

    for (; line < end && (next = memchr(line, '\n', (size_t)(end - line))); line = next + 1) {
        struct json *row = json_try(line, (size_t)(next - line));
        int64_t of = json_int(json_get(row, "step"), -1);
        json_free(row);
        if (of < 1)
            break;
        if (of > step)
            text_add(later, line, (size_t)(next + 1 - line));
    }
    *bytes = (size_t)(line - all->data);
    if (line < end)
        log_info("%s: %zu damaged bytes at its end are left out", path, (size_t)(end - line));
}

int folder_scores(struct folder *f, int64_t step, bool fresh, struct text *later)
{
    char path[4200];
    struct text all = {0};
    size_t bytes = 0;
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, f->path, "scores.jsonl"));
    if (file_exists(path)) {
        TRY(file_read(path, &all));
        if (!fresh && all.size > 0)
            later_lines(path, &all, step, later, &bytes);
        TRY(file_cut(path, bytes));
    }
    rc = append_open(&f->scores, path);
done:
    text_free(&all);
    return rc;
}

void folder_tell(struct folder *f)
{
    const struct append *all[] = { &f->metrics, &f->samples, &f->scores }, *first = NULL;
    size_t bytes = 0;

    for (int i = 0; i < 3; i++) {
        first = !first && append_waits(all[i]) ? all[i] : first;
        bytes += all[i]->waiting.size;
    }
    if (first)
        log_info("%s cannot be written: %s: training goes on, %zu bytes of lines wait for room",
                 first->path, strerror(first->error), bytes);
    else if (f->waits)
        log_info("%s: the lines that waited for room are written", f->path);
    f->waits = first != NULL;
}

int folder_flush(struct folder *f)
{
    int rc = RL_OK;

    TRY(append_flush(&f->metrics));
    TRY(append_flush(&f->samples));
    TRY(append_flush(&f->scores));
done:
    return rc;
}

void folder_close(struct folder *f)
{
    append_close(&f->scores);
    append_close(&f->metrics);
    append_close(&f->samples);
    if (f->lock > 0)
        close(f->lock);
    f->lock = 0;
    log_close();
}

int64_t folder_last_step(const char *path, int64_t *restarts, int64_t *lost_steps)
{
    char name[4200], *line = NULL;
    size_t room = 0;
    struct json *last = NULL;
    FILE *file = NULL;
    int64_t step;

    if (path_join(name, sizeof name, path, "metrics.jsonl") == RL_OK)
        file = fopen(name, "re");
    for (ssize_t n; file && (n = getline(&line, &room, file)) > 0;) {
        struct json *row = line[n - 1] == '\n' ? json_try(line, (size_t)n) : NULL;
        if (!row)
            continue;                   /* damaged, or torn */
        json_free(last);
        last = row;
    }
    step = json_int(json_get(last, "train/step"), 0);
    *restarts = json_int(json_get(last, "fault/restarts"), 0);
    *lost_steps = json_int(json_get(last, "fault/lost_steps"), 0);
    json_free(last);
    free(line);
    if (file)
        fclose(file);
    return step;
}

uint64_t folder_hash(const char *path)
{
    char whole[PATH_MAX];

    if (!realpath(path, whole))
        snprintf(whole, sizeof whole, "%s", path);
    return hash64(whole, strlen(whole));
}

void folder_checkpoint(const struct folder *f, int64_t step, char *out, size_t room)
{
    snprintf(out, room, "%s/step-%08lld.h5", f->checkpoints, (long long)step);
}
