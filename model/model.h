/* The transformer: named views into one flat buffer of weights, a forward and a backward pass over
 * packed ragged rows, and a paged cache for generation.  fp32.
 *
 *   struct model *m;
 *   TRY(model_create(&m, &shape, compute));        flat buffers planned and zeroed
 *   ... fill m's arrays (launch/models.c reads files) ...
 *   model_changed(m);                              repacks for the products
 *   TRY(trainer_create(&t, m, max_rows, max_tokens, recompute));
 *   model_logprobs(t, tokens, start, N, 1.0f, logp, entropy);     forward, keeps activations
 *   model_backward(t, dlogp, NULL, grads);                        adds into grads
 *   model_backward_finish(t, grads);                              at the end of a leaf
 *
 * A model is weights only and is shared by the roles of a rank; what a pass needs lives in a
 * trainer (activations) or a cache (keys and values).  Not collective.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "base/json.h"
#include "base/memory.h"
#include "compute/compute.h"

struct model_shape {
    char family[32];            /* row of families[] */
    int V, C, L;                /* vocabulary, channels, layers */
    int H, G, D;                /* query heads, key/value heads, head size */
    int F;                      /* feed-forward */
    int context;                /* positions */
    float eps;
    double theta;               /* rotary base */
    bool tied;                  /* the head is the embedding */
};

/* A family is a row: its name in config.json and how to read that file.  families[] ends with
 * NULL. */
struct family {
    const char *model_type;                 /* "llama" */
    /* Fill shape from config.json.  RL_EINVAL names the file and the key that is missing, of the
     * wrong type or not supported. */
    int (*read)(struct model_shape *shape, const struct json *config, const char *path);
};
extern const struct family families[];

/* Read a parsed config.json; `path` is for messages. */
int model_shape_read(struct model_shape *shape, const struct json *config, const char *path);
size_t model_size(const struct model_shape *shape);     /* floats in the flat buffer, with gaps */

struct model;                                           /* defined in model_internal.h */

int model_create(struct model **m, const struct model_shape *shape, struct compute *compute);
void model_destroy(struct model *m);
/* For `plan`: weights, rotary table and packed copies. */
size_t model_bytes(const struct model_shape *shape, struct compute *compute);
const struct model_shape *model_shape(const struct model *m);
/* The flat buffer: model_size floats, each array aligned to 64 elements, gaps zero. */
float *model_weights(struct model *m);
struct compute *model_compute(const struct model *m);

/* The arrays in file order, Hugging Face names and (out, in) shapes; views into model_weights.  A
 * tied model has "model.embed_tokens.weight" only. */
const struct array *model_arrays(const struct model *m, int *count);

/* Initial weights: normal(0, std) by counter for matrices, ones for norms. */
void model_randomize(struct model *m, uint64_t seed, double std);

/* To be called after the flat buffer changed: repacks.  */
void model_changed(struct model *m);

/* ---- training: forward with activations, backward */
struct trainer;                                         /* defined in trainer.c */

/* Room for passes of at most max_rows rows and max_tokens tokens.  recompute: keep only the layers'
 * inputs and run each layer again in the backward pass; the same bits, less memory.  The caller
 * keeps the model and destroys it after the trainer. */
int trainer_create(struct trainer **t, struct model *m, int max_rows, int max_tokens,
                   bool recompute);
size_t trainer_bytes(const struct model_shape *shape, struct compute *k, int max_rows,
                     int max_tokens, bool recompute);
/* The same for log-probabilities only (no backward pass), in the least memory. */
int trainer_create_scoring(struct trainer **t, struct model *m, int max_rows, int max_tokens);
size_t trainer_bytes_scoring(const struct model_shape *shape, int max_rows, int max_tokens);
void trainer_destroy(struct trainer *t);                /* NULL is fine */

/* Row n is tokens start[n] .. start[n+1]; start[0] may be above 0 (a view of a larger batch), and
 * logp, entropy, dlogp and dentropy are then indexed as tokens is.
 *
 * logp[t] = log p(tokens[t] | the row's tokens before it) at `temperature`, entropy[t] that of the
 * same distribution; both 0 at each row's first token.  No (tokens x vocabulary) array is kept.
 * entropy may be NULL.  keep: keep what model_backward needs.  RL_EINVAL: a row longer than the
 * context, or a token id outside the vocabulary. */
int model_logprobs(struct trainer *t, const int *tokens, const int *start, int N, float temperature,
                   bool keep, float *logp, float *entropy);
/* The outputs of a pass, or the gradients of them; NULL: not wanted. */
struct model_outputs {
    float *logp, *entropy;      /* (T) */
    float *score;               /* (T, scores) */
};
/* model_logprobs for any outputs. */
int model_run(struct trainer *t, const int *tokens, const int *start, int N, float temperature,
              bool keep, const struct model_outputs *out);
/* model_backward for any outputs. */
int model_run_backward(struct trainer *t, const struct model_outputs *d, float *grads);

/* Gradient of sum(dlogp * logp + dentropy * entropy) for the rows of the last model_logprobs(keep),
 * added to grads (model_size floats); dentropy may be NULL.  Sums over tokens continue the chain
 * that is in grads, so micro-batches cut at row ends give the bits of one batch.  May be called
 * again for the same rows, into another grads; of a tied model only after model_backward_finish. */
int model_backward(struct trainer *t, const float *dlogp, const float *dentropy, float *grads);
/* End of a leaf: folds what is summed apart (the head of a tied model) into grads. */
int model_backward_finish(struct trainer *t, float *grads);

/* ---- generation: a paged cache of keys and values */
struct cache;
/* pages of KEY_BLOCK positions; a call of model_extend takes max_rows rows, max_tokens tokens. */
int cache_create(struct cache **c, struct model *m, int pages, int max_rows, int max_tokens);
size_t cache_bytes(const struct model_shape *shape, struct compute *k, int pages, int max_rows,
                   int max_tokens);
void cache_destroy(struct cache *c);                    /* NULL is fine */
int cache_page(struct cache *c);                    /* a free page held by one row, -1 if none */
void cache_share(struct cache *c, int page);        /* one more row holds it */
void cache_release(struct cache *c, int page);      /* free when the last row lets go */
void cache_copy(struct cache *c, int to, int from); /* contents of a page, all layers */
int cache_free_pages(const struct cache *c);

/* Extend rows: token t of row n goes to position rows->position[n] + t - rows->start[n]; its pages
 * must be in the table.  Every row gets at least one token.  Fills logits (N,V) of each row's last
 * token (NULL: not wanted).  Bits equal model_logprobs' for any cut into calls. */
int model_extend(struct cache *c, const int *tokens, const struct extend *rows, float *logits);

#endif
