/* safetensors files: named arrays, read with every bound checked, written atomically.
 * Not collective.
 *
 *   safetensors_load("folder", arrays, n, tied, NULL);      every array by name and shape, as fp32
 *   safetensors_save("out", arrays, n, DTYPE_BF16, 5u << 30); shards of at most 5 GiB
 */
#ifndef CHECKPOINTS_SAFETENSORS_H
#define CHECKPOINTS_SAFETENSORS_H

#include <stdbool.h>

#include "base/array.h"

struct safetensors;

/* A folder with model.safetensors or model.safetensors.index.json and its shards, or one
 * .safetensors file.  RL_EINVAL names file, tensor and what is wrong: lengths past the end, data
 * offsets that overlap, leave holes or run backwards, a huge header, a dtype that is not supported,
 * a shard that is missing or lacks a tensor the index promises. */
int safetensors_open(struct safetensors **s, const char *path);
void safetensors_close(struct safetensors *s);
int safetensors_count(const struct safetensors *s);
/* dtype as stored; data is NULL */
const struct array *safetensors_array(const struct safetensors *s, int i);
/* Index of a tensor, -1 if absent.  An alias in __metadata__ (tied weights stored once) is
 * followed. */
int safetensors_find(const struct safetensors *s, const char *name);
/* Convert tensor i to fp32 into out (size floats).  RL_EINVAL if it holds integers. */
int safetensors_read(struct safetensors *s, int i, float *out);

/* Read every array (fp32 views with data set) by name and shape.  RL_EINVAL names the tensor that
 * is missing, of another shape, or in the file and not in the list (rotary tables are fine, and in
 * a tied model a lm_head.weight equal to the embedding; a tied embedding stored only as
 * lm_head.weight is found).  Tensors named in `skip` (ends with NULL; or NULL: none) stay there. */
int safetensors_load(const char *path, const struct array *arrays, int n, bool tied,
                     const char *const *skip);
/* Write one file, dtype F32, BF16 or F16, tensors in the given order, metadata {"format": "pt"};
 * atomic.  The folder is made if need be.  Shards of at most shard_bytes with an index when the
 * whole is larger (0: never). */
int safetensors_save(const char *folder, const struct array *arrays, int n, enum dtype dtype,
                     size_t shard_bytes);

#endif
