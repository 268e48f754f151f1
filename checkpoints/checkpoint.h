/* Checkpoints: one HDF5 file per step, written in parallel, independent of the number of ranks,
 * every array with a checksum.  It knows named arrays, not models.  docs/formats.md has the layout.
 *
 *   step-00000040.h5
 *     attributes      step, seed, ...
 *     weights/...     arrays by path ("weights/model.norm.weight")
 *     texts/...       texts ("config", "files/tokenizer.json")
 *     checksums/...   per array and text: one hash64 per HASH_CHUNK elements
 */
#ifndef CHECKPOINTS_CHECKPOINT_H
#define CHECKPOINTS_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "base/text.h"
#include "comm/comm.h"

/* Elements [begin, begin + count) of arrays[array], held by this rank.  Pieces begin and end at
 * multiples of HASH_CHUNK elements or at the array's end; those of all ranks cover every array
 * once.  A rank may hold any number of them. */
struct checkpoint_piece {
    int array;
    size_t begin, count;
    const void *data;               /* count elements, NULL if count is 0 */
};

/* The same on every rank, all of these. */
struct checkpoint_text { const char *name; const char *data; size_t bytes; };
struct checkpoint_value { const char *name; int64_t x; };

struct checkpoint_content {
    const struct array *arrays; int n_arrays;       /* name (with folders), dtype, shape, size */
    const struct checkpoint_piece *pieces; int n_pieces;    /* this rank's */
    const struct checkpoint_text *texts; int n_texts;
    const struct checkpoint_value *values; int n_values;
};

/* Collective over team.  Writes path.part, fsyncs, renames, fsyncs the folder; on failure path is
 * as it was and every rank gets the same error (full disk, read-only folder: one line).  *bytes:
 * size of the file.  All ranks must see the folder. */
int checkpoint_write(struct comm *team, const char *path, const struct checkpoint_content *content,
                     size_t *bytes);

/* The same behind the ranks' work, by a thread of each: begin, poll until done, end.  The arrays,
 * pieces and texts must stay as they are until the end.  past: past the page cache where the file
 * system can, which leaves the processor to that work; one rank alone writes faster through it, and
 * the next start reads it there.  All three are collective. */
struct checkpoint_writer;
int checkpoint_begin(struct checkpoint_writer **w, struct comm *team, const char *path,
                     const struct checkpoint_content *content, bool past);
/* *done: every rank's pieces are on the disk, or failed: checkpoint_end will not wait. */
int checkpoint_poll(struct checkpoint_writer *w, bool *done);
/* Size of the file; seconds from the first byte to the last fsync, of the slowest rank. */
struct checkpoint_written { size_t bytes; double seconds; };
/* Waits, makes the file visible under its name, frees w.  A disk that takes nothing for as long as
 * the deadline of the group: RL_ELOST. */
int checkpoint_end(struct checkpoint_writer *w, struct checkpoint_written *written);

/* Reading: any rank by itself, no MPI needed.  Not collective. */
struct checkpoint;
/* RL_EINVAL: not a checkpoint, or damaged outside its arrays. */
int checkpoint_open(struct checkpoint **c, const char *path);
void checkpoint_close(struct checkpoint *c);
int checkpoint_count(const struct checkpoint *c);
/* In the order they were written. */
const struct array *checkpoint_array(const struct checkpoint *c, int i);
int checkpoint_find(const struct checkpoint *c, const char *name);  /* -1 if absent */
/* Elements [begin, begin+count) of array i, checksums of every chunk touched verified (RL_EINVAL
 * names file, array and chunk). */
int checkpoint_read(struct checkpoint *c, int i, size_t begin, size_t count, void *out);
bool checkpoint_int(const struct checkpoint *c, const char *name, int64_t *value);
/* RL_EINVAL if absent */
int checkpoint_text(struct checkpoint *c, const char *name, struct text *out);
int checkpoint_texts(const struct checkpoint *c);
const char *checkpoint_text_name(const struct checkpoint *c, int i);

/* Newest complete checkpoint step-%08d.h5 in a folder: its step, -1 if none (or no such folder);
 * path may be NULL.  Below -1 (RL_EIO) when the folder cannot be read or path does not fit. */
int64_t checkpoint_newest(const char *folder, char *path, size_t room);
/* The same of those before `step`. */
int64_t checkpoint_before(const char *folder, int64_t step, char *path, size_t room);
/* Rename a damaged checkpoint to path.damaged: it is kept, and no longer a checkpoint. */
int checkpoint_set_aside(const char *path);
/* What pruning leaves: the `newest` newest (at least one), multiples of `every` (0: none), and the
 * steps named (n_steps, the caller's). */
struct checkpoint_keep { int newest; int64_t every; const int64_t *steps; int n_steps; };
/* Delete all others, and stale .part files. */
int checkpoint_prune(const char *folder, const struct checkpoint_keep *keep);

#endif
