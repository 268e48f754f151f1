/* A file in memory or on a disk of this host that holds one record of a learner: the image of its
 * pieces after a step, and a hash.  A record is begun, filled and made valid; who dies in between
 * leaves one that is not valid.
 */
#ifndef LAUNCH_JOURNAL_SLOT_H
#define LAUNCH_JOURNAL_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOT_NAME 32

/* In front of the image, in SLOT_HEAD bytes of the file. */
struct slot_head {
    char mark[8];                   /* by slot_commit */
    uint64_t run;                   /* which run it is of */
    int64_t step;
    int32_t rank, ranks;            /* of the learners */
    uint64_t bytes, hash;           /* of the image */
};

struct slot {
    char path[4300];
    char *file;                     /* mapped: the head, then room for the image; NULL: none */
    size_t room;                    /* bytes for the image */
};

/* The file folder/RANK.PARITY with its room, all of it there; RL_EIO when it is not. */
int slot_create(struct slot *s, const char *folder, int rank, int parity, size_t room);
void slot_close(struct slot *s);
char *slot_image(const struct slot *s);                 /* aligned to a page */
/* From here on the record is not valid, until slot_commit says what it holds.  to_disk: they
 * return when the disk has it. */
int slot_begin(struct slot *s, bool to_disk);
int slot_commit(struct slot *s, const struct slot_head *head, bool to_disk);

/* Map a file that an earlier start left; false: none, or not a valid record of `run`.  Says so when
 * it is a damaged one. */
bool slot_find(struct slot *s, const char *path, uint64_t run, struct slot_head *head);

/* Delete the slots in the folder, and the folder if nothing else is in it.  What is not there is no
 * error, nor what cannot be deleted. */
void slots_remove(const char *folder);

#endif
