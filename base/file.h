/* Files: whole reads, atomic writes, folders. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

bool file_exists(const char *path);
bool file_is_plain(const char *path);     /* what can be read without waiting for a writer */
bool folder_exists(const char *path);
/* The whole file as it is, in place of what `out` held; gzip is the caller's.  RL_EINVAL: it is no
 * plain file (a pipe, a device) and goes on for more than 16 MiB. */
int file_read(const char *path, struct text *out);
/* path.part, fsync, rename, fsync of the folder: readers meet the old file or the new one. */
int file_write(const char *path, const void *data, size_t bytes);
int file_sync(const char *path);
int folder_sync(const char *path_of_a_file_in_it);
int folder_make(const char *path);         /* with parents; fine if it is there */
/* Cut the file to its first `bytes` bytes; RL_EINVAL if it has fewer. */
int file_cut(const char *path, size_t bytes);
/* dir + "/" + name into out; RL_EINVAL if it does not fit. */
int path_join(char *out, size_t room, const char *dir, const char *name);
/* The name of a file without folder, last ending and .gz: "stories.eval" of
 * a/stories.eval.jsonl.gz; what does not fit is cut. */
void path_stem(const char *path, char *out, size_t room);

#endif
