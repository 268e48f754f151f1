/* Opens models for the roles: a Hugging Face folder, a checkpoint file or a run folder becomes
 * weights, tokenizer and the small files that `export` writes again.  Roles read no files.
 *
 *   struct source src;
 *   TRY(source_open(&src, "path/to/folder"));      config.json, tokenizer.json, ...
 *   TRY(source_model(&m, &src, compute));          and the weights
 *   source_close(&src);
 *
 * The same trunk may get other heads: a critic's, a reward model's (heads.c).
 */
#ifndef LAUNCH_MODELS_H
#define LAUNCH_MODELS_H

#include "base/config.h"
#include "base/json.h"
#include "checkpoints/checkpoint.h"
#include "data/chat.h"
#include "data/stop_strings.h"
#include "data/tokenizer.h"
#include "model/model.h"

#define SOURCE_FILES 8
#define SOURCE_EOS 8

/* "config.json" and "files/config.json", ...; empty text: absent */
struct source_file {
    const char *name, *stored_name;
    struct text text;
};

/* The heads of a model made from a source.  A score head is the files' own where they hold one that
 * says the same (PAL: new users follow the files'); else it starts at zero (a value head), or
 * random: N(0, 1/sqrt(C+1)) by counter of the seed (a reward head). */
struct heads {
    bool lm;                     /* keep the vocabulary head */
    int scores;                  /* outputs of a score head; 0: none */
    struct verdict verdict;      /* of a model without a vocabulary head; its temperature is the
                                  * files' where the head is */
    bool random;
    uint64_t seed;
};

struct source {
    char path[4096];             /* as resolved: the folder, or the checkpoint file */
    bool is_checkpoint;
    struct model_shape shape;    /* of source_model */
    struct heads heads;          /* and how its score head starts */
    struct heads stored;         /* what the files hold */
    bool random;                 /* source_draw makes weights up, by counter of */
    uint64_t seed;               /* this; the files need none */
    double temperature;          /* of a checkpoint of a reward model's training; 0: none */
    struct tokenizer *tokenizer; /* NULL: the folder has none */
    int bos;                     /* -1: none */
    int eos[SOURCE_EOS], n_eos;  /* of config.json and generation_config.json */
    struct source_file files[SOURCE_FILES];
};

int source_open(struct source *s, const char *path);
/* As it is before the first step of a run of c: what is `model` begins as the policy does, with
 * weights of its own making if model_init says so. */
int source_open_start(struct source *s, const struct config *c, const char *path);
void source_close(struct source *s);                             /* fine on a zeroed struct */
/* The model with its weights, zeros of a random one; *m is NULL on error.  RL_EINVAL names the
 * tensor that is missing or of another shape than config.json says.  The caller destroys it. */
int source_model(struct model **m, const struct source *s, struct compute *compute);
/* The weights of a random source: all of them; or the floats from `begin`, a multiple of 64, to
 * `end`, and, when all are there, what else a model needs to be used. */
void source_draw(const struct source *s, struct model *m);
void source_draw_part(const struct source *s, struct model *m, size_t begin, size_t end);
void source_drawn(const struct source *s, struct model *m);
/* Would source_draw make up the same weights for both? */
bool source_draws_alike(const struct source *a, const struct source *b);
/* From here on the source is a model with these heads: its shape, what source_model makes and its
 * config.json, so that checkpoints and exports say what they hold.  RL_EINVAL: a vocabulary head
 * that the files do not have. */
int source_set_heads(struct source *s, const struct heads *heads);
/* RL_EINVAL unless the model has a vocabulary head: only such a model writes text. */
int source_check_text(const struct source *s);
/* The chat template of the source's files with the defaults of a configuration (NULL: none), not
 * read yet (data/chat.h).  RL_EINVAL names the key.  The caller closes it. */
int source_chat(struct chat **chat, const struct source *s, const struct config *c);
/* The stop strings of a configuration for responses of this model, NULL without, and a check of its
 * stop tokens.  RL_EINVAL names the key.  The caller closes them before the source. */
int source_stop(struct stop_strings **stop, const struct source *s, const struct config *c);

/* Read "<folder>/<name>" of every array into flat + offset.  RL_EINVAL: missing or of another
 * shape, or more there than these and those named in `skip` (ends with NULL; or NULL: none);
 * `path` is for messages. */
int checkpoint_load_arrays(struct checkpoint *c, const char *path, const char *folder,
                           const struct array *arrays, int n, const char *const *skip,
                           float *flat);

#endif
