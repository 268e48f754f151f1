/* Opens models for the roles: a Hugging Face folder, a checkpoint file or a run folder becomes
 * weights, tokenizer and the small files that `export` writes again.  Roles read no files.
 *
 *   struct source src;
 *   TRY(source_open(&src, "path/to/folder"));      config.json, tokenizer.json, ...
 *   TRY(source_model(&m, &src, compute));          and the weights
 *   source_close(&src);
 */
#ifndef LAUNCH_MODELS_H
#define LAUNCH_MODELS_H

#include "base/json.h"
#include "checkpoints/checkpoint.h"
#include "data/tokenizer.h"
#include "model/model.h"

#define SOURCE_FILES 8
#define SOURCE_EOS 8

/* "config.json" and "files/config.json", ...; empty text: absent */
struct source_file {
    const char *name, *stored_name;
    struct text text;
};

struct source {
    char path[4096];             /* as resolved: the folder, or the checkpoint file */
    bool is_checkpoint;
    struct model_shape shape;
    struct tokenizer *tokenizer; /* NULL: the folder has none */
    int bos;                     /* -1: none */
    int eos[SOURCE_EOS], n_eos;  /* of config.json and generation_config.json */
    struct source_file files[SOURCE_FILES];
};

int source_open(struct source *s, const char *path);
void source_close(struct source *s);                             /* fine on a zeroed struct */
/* The model with its weights; *m is NULL on error.  RL_EINVAL names the tensor that is missing or
 * of another shape than config.json says.  The caller destroys it. */
int source_model(struct model **m, const struct source *s, struct compute *compute);

/* Read "<folder>/<name>" of every array into flat + offset.  RL_EINVAL: missing or of another
 * shape; `path` is for messages. */
int checkpoint_load_arrays(struct checkpoint *c, const char *path, const char *folder,
                           const struct array *arrays, int n, float *flat);

#endif
