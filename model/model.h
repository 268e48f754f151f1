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
#include "model/verdict.h"

struct model_shape {
    char family[32];            /* row of families[] */
    int V, C, L;                /* vocabulary, channels, layers */
    int H, G, D;                /* query heads, key/value heads, head size */
    int F;                      /* feed-forward */
    int context;                /* positions */
    float eps;
    double theta;               /* rotary base */
    struct rope_scaling scaling;
    int window;                 /* keys that a query sees, itself among them; 0: all */
    bool tied;                  /* the vocabulary head is the embedding */
    bool lm;                    /* there is a vocabulary head */
    int scores;                 /* outputs of a linear head on the last norm; 0: none */
    struct verdict verdict;     /* what they say, of a model without a vocabulary head */
};

/* A score head's array, (scores, C), no bias: Hugging Face's name of it.  A model with both heads
 * says so in config.json by a key of our own. */
#define SCORE_WEIGHT     "score.weight"
#define MODEL_SCORES_KEY "rankwise_scores"
#define MODEL_SCORES     4096           /* most outputs */

/* A family is a row of families[] (shape.c): its name in config.json and how to read that file. */
struct family {
    const char *model_type;                 /* "llama" */
    const char *class_name;                 /* "Llama", of "LlamaForCausalLM" */
    /* Fill shape, but for its heads, from config.json.  RL_EINVAL names the file and the key that
     * is missing, of the wrong type or not supported. */
    int (*read)(struct model_shape *shape, const struct json *config, const char *path);
};
const struct family *family_find(const char *model_type);   /* NULL: none of that name */

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
 * tied model, or one without a vocabulary head, has no "lm_head.weight".  "score.weight" is
 * behind all of them, so that a score head moves nothing else, and then come the parameters of its
 * verdict. */
const struct array *model_arrays(const struct model *m, int *count);
const struct array *model_array(const struct model *m, const char *name);   /* NULL: none */
/* Is it one of "score.weight" and the parameters of verdicts? */
bool model_is_score(const char *name);

/* Initial weights: normal(0, std) by counter for matrices, ones for norms. */
void model_randomize(struct model *m, uint64_t seed, double std);
/* Those of them in the floats from `begin` to `end` of the flat buffer; begin is a multiple of 64.
 * Does not repack. */
void model_randomize_part(struct model *m, uint64_t seed, double std, size_t begin, size_t end);

/* The score head alone: normal(0, std) by counter; std 0: zeros.  Of a verdict's parameters,
 * prototypes are normal(0, 1), users know none better than another, and scales are 1. */
void model_randomize_scores(struct model *m, uint64_t seed, double std);

/* To be called after the flat buffer changed: repacks.  */
void model_changed(struct model *m);

/* Behind a forward pass that gave no numbers, for its message: the weight that is none, with tensor
 * (and layer) and element, or that all of them are.  Looks at every weight. */
struct model_why { char text[ARRAY_NAME + 64]; };
struct model_why model_why(const struct model *m);

/* ---- training: forward with activations, backward */
struct trainer;                                         /* defined in trainer.c */

/* Room for passes of at most max_rows rows and max_tokens tokens.  recompute: keep only the layers'
 * inputs and run each layer again in the backward pass; the same bits, less memory.  The caller
 * keeps the model and destroys it after the trainer. */
int trainer_create(struct trainer **t, struct model *m, int max_rows, int max_tokens,
                   bool recompute);
size_t trainer_bytes(const struct model_shape *shape, struct compute *k, int max_rows,
                     int max_tokens, bool recompute);
/* The same for forward passes only, in the least memory. */
int trainer_create_scoring(struct trainer **t, struct model *m, int max_rows, int max_tokens);
size_t trainer_bytes_scoring(const struct model_shape *shape, struct compute *k, int max_rows,
                             int max_tokens);
void trainer_destroy(struct trainer *t);                /* NULL is fine */

/* The outputs of a pass, or gradients of them, one record a token; NULL: not wanted, or zero. */
struct model_outputs {
    float *logp, *entropy;      /* (T) of a model with a vocabulary head; entropy not alone */
    float *score;               /* (T, scores) */
};

/* One forward pass.  Row n is tokens start[n] .. start[n+1]; start[0] may be above 0 (a view of a
 * larger batch), and outputs and gradients are then indexed as tokens is.
 *
 * logp[t] = log p(tokens[t] | the row's tokens before it) at `temperature`, entropy[t] that of the
 * same distribution; both 0 at each row's first token.  No (tokens x vocabulary) array is kept;
 * without logp the vocabulary head is not run.  score[t] is that of the hidden state that has read
 * tokens up to and including t: a reward model's verdict on a row is the score of its last token,
 * the value before token t is score[t-1].
 *
 * keep: keep what model_run_backward needs.  RL_EINVAL: a row longer than the context, or a token
 * id outside the vocabulary. */
int model_run(struct trainer *t, const int *tokens, const int *start, int N, float temperature,
              bool keep, const struct model_outputs *out);

/* Gradient of sum(d * outputs) for the rows of the last model_run(keep), added to grads (model_size
 * floats).  Positions whose gradient is zero cost nothing in the heads.  Sums over tokens continue
 * the chain that is in grads, so micro-batches cut at row ends give the bits of one batch.  May be
 * called again for the same rows, into another grads; of a tied model only after
 * model_backward_finish. */
int model_run_backward(struct trainer *t, const struct model_outputs *d, float *grads);

/* The rows of one leaf in a pass: those up to `end`, behind the leaf before. */
struct leaf_rows {
    int end;
    float *grads;               /* (model_size) of the leaf; NULL: its rows have no gradient */
    bool fresh;                 /* grads may hold anything and is written, not added to */
};
#define LEAF_ROWS_MOST 16

/* The same with the rows of each leaf to its own grads, in one pass over activations.  All leaves
 * but the last are at their end; model_backward_finish is for the last. */
int model_backward_leaves(struct trainer *t, const struct model_outputs *d,
                          const struct leaf_rows *leaves, int n);

/* The same for log-probabilities only; entropy and dentropy may be NULL. */
int model_logprobs(struct trainer *t, const int *tokens, const int *start, int N, float temperature,
                   bool keep, float *logp, float *entropy);
int model_backward(struct trainer *t, const float *dlogp, const float *dentropy, float *grads);
/* Element i of the hidden states (T, C) behind the last norm of the last pass, as the heads read
 * them: token 0 is its first.  Good until the next pass. */
float model_hidden(const struct trainer *t, size_t i);
/* End of a leaf: folds what is summed apart (the embedding of a tied model) into grads. */
int model_backward_finish(struct trainer *t, float *grads);
/* A leaf that will not come to its end: forgets what is summed apart. */
void model_backward_forget(struct trainer *t);

/* ---- a backward pass cut open: block by block, with a factor for each row
 *
 *   TRY(trainer_create_blocks(&t, m, max_rows, max_tokens, recompute));
 *   TRY(model_run(t, tokens, start, N, 1.0f, true, &out));
 *   TRY(model_backward_begin(t, &d));
 *   for (int b = 0; b < model_blocks(shape); b++) {
 *       for (int p = 0; p < model_parts(shape, b); p++)
 *           ... model_backward_part(t, b, p, first, end, scale, grads), as often as needed ...
 *       TRY(model_backward_next(t));
 *   }
 *
 * The pass is linear in d and rows do not meet, so the gradient of sum over rows of scale[n] times
 * the row's share of sum(d * outputs) needs the pass over activations only once, for any number of
 * objectives (RACO, spec/algorithms.md 4.5): objective i of a pairwise loss has d = 1 on the
 * response's tokens and scale = d loss_i / d S of the row.  A block is a run of the flat buffer:
 *
 *   block 0   the last norm, with the score head and the vocabulary head that is not tied
 *   1 .. L    layers L-1 .. 0
 *   L + 1     the embedding, with the vocabulary head that is tied to it
 *
 * Embedding and head come in parts of some ids of the vocabulary, no larger than a layer or
 * VOCAB_BLOCK ids: gradients of one part at a time are what is held for each objective.
 */
int model_blocks(const struct model_shape *shape);                  /* L + 2 */
int model_parts(const struct model_shape *shape, int block);        /* in ascending order */
void model_part_range(const struct model_shape *shape, int block, int part, size_t *offset,
                      size_t *count);
/* Is it a part of ids [*first, *end)? */
bool model_part_ids(const struct model_shape *shape, int block, int part, int *first, int *end);

/* A trainer that can do so, and all that others can; it holds a layer's gradients of activations
 * apart, and copies of d. */
int trainer_create_blocks(struct trainer **t, struct model *m, int max_rows, int max_tokens,
                          bool recompute);
size_t trainer_bytes_blocks(const struct model_shape *shape, struct compute *k, int max_rows,
                            int max_tokens, bool recompute);

/* After model_run(keep): d, indexed as outputs are, is copied.  Block 0 is at hand. */
int model_backward_begin(struct trainer *t, const struct model_outputs *d);
/* Add to grads (the part's count floats) the gradient of the rows [first_row, end_row) of the last
 * model_run, row n times scale[n] (N; NULL: 1).  Rows of scale 0 add nothing, and cost nothing in
 * the products.  Sums over tokens continue the chains that are in grads; only the head of a tied
 * model is summed apart and added at the end of the call.  So scale 1, one call for the rows of a
 * leaf, gives the bits of model_run_backward and model_backward_finish. */
int model_backward_part(struct trainer *t, int block, int part, int first_row, int end_row,
                        const float *scale, float *grads);
/* On to the next block: moves the gradient of activations one block down. */
int model_backward_next(struct trainer *t);

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

/* Extend rows: token t of row n goes to position rows->position[n] + t - rows->start[n]; its pages
 * must be in the table.  Every row gets at least one token.  Fills logits (N,V) of each row's last
 * token (NULL: not wanted).  Bits equal model_logprobs' for any cut into calls. */
int model_extend(struct cache *c, const int *tokens, const struct extend *rows, float *logits);
/* The same with logits (wanted,V) of the first rows only. */
int model_extend_some(struct cache *c, const int *tokens, const struct extend *rows, int wanted,
                      float *logits);

#endif
