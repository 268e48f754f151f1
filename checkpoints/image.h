/* What a rank brings to a checkpoint, copied into one block of memory: the snapshot that is written
 * behind the next steps, or a record of the journal.  Of this program on this machine: no file
 * format.
 *
 *   size_t bytes = image_bytes(&content);
 *   image_pack(&content, block);                   ... the content may change now ...
 *   TRY(image_open(&image, block, bytes));
 *   TRY(checkpoint_begin(&writer, team, path, &image.content, true));
 */
#ifndef CHECKPOINTS_IMAGE_H
#define CHECKPOINTS_IMAGE_H

#include "checkpoints/checkpoint.h"

/* Names of values are shorter than ARRAY_NAME. */
size_t image_bytes(const struct checkpoint_content *c);
/* out: image_bytes(c) bytes, aligned to 64; hash: hash64 of them, NULL: not wanted. */
void image_pack(const struct checkpoint_content *c, void *out, uint64_t *hash);

/* Views into a block, which must stay while they are used. */
struct image {
    struct checkpoint_content content;
    struct checkpoint_piece *pieces;
    struct checkpoint_text *texts;
    struct checkpoint_value *values;
};

/* RL_EINVAL: the block is none of image_pack, or cut short.  image_close also after a failure. */
int image_open(struct image *i, const void *block, size_t bytes);
void image_close(struct image *i);

#endif
