/* What the families' readers of config.json share.  Every error is RL_EINVAL and one line that
 * names the file and the key. */
#ifndef MODEL_FAMILIES_READ_H
#define MODEL_FAMILIES_READ_H

#include "model/model_internal.h"

/* "<path>: <key> must be <what>, not <value>", or that it is missing */
int read_refuse(const char *path, const char *key, const char *what, const struct json *value);
/* "<path>: <key> <value> is not supported (supported: <what>)": a good file, for another program */
int read_unsupported(const char *path, const char *key, const char *what,
                     const struct json *value);

/* An integer from 1 to `most`; absent or null: `otherwise`, or an error if that is 0. */
int read_size(const struct json *config, const char *path, const char *key, int otherwise,
              int most, int *out);
/* Absent or null: *out stays. */
int read_flag(const struct json *config, const char *path, const char *key, bool *out);
/* A positive number, `otherwise` where there is none. */
int read_number(const struct json *value, const char *path, const char *key, double otherwise,
                double *out);

/* rotary.c: s->theta, s->scaling of s->context positions */
int read_rotary(struct model_shape *s, const struct json *config, const char *path);

#endif
