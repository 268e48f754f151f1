/* The run folder: runs/<name>/ with config.cfg, metrics.jsonl, samples.jsonl, checkpoints/ and
 * log.txt.  Only the recorder (the first learner) writes here; see docs/formats.md. */
#ifndef LAUNCH_FOLDER_H
#define LAUNCH_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "launch/append.h"

struct folder {
    char path[4096], checkpoints[4200];
    struct append metrics, samples;
    struct append scores;        /* scores.jsonl; not open: no reward is from outside */
    bool waits;                 /* said at the last folder_tell */
    int lock;                   /* descriptor of .lock, 0: none */
};

/* One at a time holds the lock `name` of a folder, and it goes with the process; *fd: what to
 * close.  It is waited for up to `patience` seconds, with a line when that is longer than usual.
 * RL_EINVAL: another run has it. */
#define LOCK_SECONDS 5.0                /* a run that was killed may still be going */
#define LOCK_SECONDS_HOST 120.0         /* a file server keeps the lock of a host that is gone */
int folder_lock(const char *path, const char *name, double patience, int *fd);
/* RL_EINVAL: something in there has the name of a file of ours and is none (a pipe, a folder). */
int folder_check(const char *path);
/* Make the folder and its checkpoints/, and lock it.  RL_EIO, one line: it cannot be written. */
int folder_create(struct folder *f, const char *path, double patience);
/* Cut metrics.jsonl and samples.jsonl back to `step` updates done (0: a fresh run, both start
 * empty), write config.cfg, open the files for appending. */
int folder_begin(struct folder *f, const struct config *c, int64_t step);
/* Open scores.jsonl for appending, and put its lines of steps behind `step` into `later`; a line
 * that was torn is cut off.  fresh: it starts empty. */
int folder_scores(struct folder *f, int64_t step, bool fresh, struct text *later);
/* Once a step: says in one line that lines wait for a disk that does not take them, or do no
 * more. */
void folder_tell(struct folder *f);
/* At the end: RL_EIO when lines still wait. */
int folder_flush(struct folder *f);
void folder_close(struct folder *f);
/* train/step of the last whole line of a run folder's metrics.jsonl, 0: none; and its
 * fault/restarts and fault/lost_steps, 0 when they are not there. */
int64_t folder_last_step(const char *path, int64_t *restarts, int64_t *lost_steps);
/* checkpoints/step-%08d.h5 */
void folder_checkpoint(const struct folder *f, int64_t step, char *out, size_t room);

/* What names of files outside of the folder end in: each start of a run finds them again. */
uint64_t folder_hash(const char *path);

#endif
