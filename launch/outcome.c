/* The completion marker and the facts of a restart; see outcome.h. */
#include "launch/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"

#define MARKER "outcome.json"
#define RESERVED "outcome.json.room"
#define CLAIMED "outcome.json.claimed"
#define ROOM_BYTES (8 * REASON_BYTES)   /* a byte is written as at most six */
#define VARIABLE "RANKWISE_RESTART"

/* In place of the reserved bytes: a full disk takes it.  False: another rank has them, or none were
 * reserved. */
static bool write_reserved(const char *folder, const char *path, const struct text *text)
{
    char reserved[4200], claimed[4200];
    bool written = false;
    int fd;

    if (text->size > ROOM_BYTES ||
        path_join(reserved, sizeof reserved, folder, RESERVED) != RL_OK ||
        path_join(claimed, sizeof claimed, folder, CLAIMED) != RL_OK ||
        rename(reserved, claimed) != 0)
        return false;
    fd = open(claimed, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    written = write(fd, text->data, text->size) == (ssize_t)text->size &&
              ftruncate(fd, (off_t)text->size) == 0 && fsync(fd) == 0;
    close(fd);
    return written && rename(claimed, path) == 0 && folder_sync(path) == RL_OK;
}

int outcome_write(const char *folder, const struct outcome *o)
{
    struct text text = { 0 };
    struct restart told;
    char path[4200];
    int rc = RL_OK;

    restart_told(&told);
    TRY(path_join(path, sizeof path, folder, MARKER));
    text_addf(&text, "{\"exit_code\": %d, \"step\": %" PRId64 ", \"reason\": ", o->exit_code,
              o->step);
    json_add_string(&text, o->reason, strlen(o->reason));
    text_addf(&text, ", \"start\": %" PRId64 "}\n", told.start);
    if (!write_reserved(folder, path, &text))
        rc = file_write(path, text.data, text.size);
done:
    text_free(&text);
    return rc;
}

bool outcome_read(const char *folder, int64_t start, struct outcome *o)
{
    struct text text = { 0 };
    struct json *row = NULL;
    char path[4200];
    int64_t code;
    bool ours;

    if (path_join(path, sizeof path, folder, MARKER) == RL_OK && file_exists(path) &&
        file_read(path, &text) == RL_OK)
        row = json_try(text.data, text.size);
    code = json_int(json_get(row, "exit_code"), -1);
    ours = json_int(json_get(row, "start"), -1) == start && code >= 0 && code <= 5;
    o->exit_code = ours ? (int)code : -1;
    o->step = json_int(json_get(row, "step"), -1);
    snprintf(o->reason, sizeof o->reason, "%s", json_string(json_get(row, "reason"), ""));
    json_free(row);
    text_free(&text);
    return ours;
}

static int remove_file(const char *folder, const char *name)
{
    char path[4200];
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, folder, name));
    if (unlink(path) != 0 && errno != ENOENT)
        rc = rl_error(RL_EIO, "cannot remove %s: %s", path, strerror(errno));
done:
    return rc;
}

int outcome_prepare(const char *folder)
{
    char path[4200], spaces[ROOM_BYTES];
    int rc = RL_OK;

    TRY(remove_file(folder, MARKER));
    TRY(remove_file(folder, CLAIMED));
    TRY(path_join(path, sizeof path, folder, RESERVED));
    memset(spaces, ' ', sizeof spaces);
    if (!file_exists(path))             /* it comes by rename: whole */
        rc = file_write(path, spaces, sizeof spaces);
done:
    return rc;
}

int restart_tell(const struct restart *r)
{
    char text[160];

    snprintf(text, sizeof text, "%" PRId64 " %" PRId64 " %" PRId64 " %.3f %" PRId64, r->count,
             r->reached, r->lost_steps, r->since, r->start);
    if (setenv(VARIABLE, text, 1) != 0)
        return rl_error(RL_ENOFIT, "no memory for the environment");
    return RL_OK;
}

bool restart_told(struct restart *r)
{
    const char *text = getenv(VARIABLE);

    memset(r, 0, sizeof *r);
    return text && sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %lf %" SCNd64, &r->count,
                          &r->reached, &r->lost_steps, &r->since, &r->start) == 5;
}
