/* What the files of model/ share; nobody else includes it.
 *
 *   model.c    weights: one flat buffer, its views, their packed copies
 *   forward.c  one pass over packed rows, layer by layer          backward.c  the same, mirrored
 *   head.c     hidden states -> log-probabilities and scores, and back
 *   trainer.c  plans the activations and runs forward, head, backward
 *   blocks.c   the backward pass cut open, with a factor for each row
 *   verdict.c  what scores say
 *   cache.c    pages of keys and values, and the pass that extends rows
 */
#ifndef MODEL_MODEL_INTERNAL_H
#define MODEL_MODEL_INTERNAL_H

#include "base/status.h"
#include "base/workspace.h"
#include "model/model.h"

struct matrix {                  /* w(out, in) */
    size_t offset;               /* in the flat buffer, of weights and of gradients alike */
    int out, in;
    float *packed;               /* NULL where the backend needs none */
};

struct layer {
    size_t norm1, norm2;         /* offsets of the two norms' weights (C) */
    struct matrix q, k, v, o, gate, up, down;
};

struct model {
    struct model_shape shape;
    struct compute *compute;
    struct memory memory;
    float *weights;              /* model_size floats */
    float *rotary;               /* (context, D/2, {cos, sin}) */
    struct array *arrays;
    int n_arrays;
    struct layer *layers;        /* (L) */
    size_t norm;                 /* the last norm */
    struct matrix embed, head;   /* tied: head is embed's place in the flat buffer */
    struct matrix score;         /* (scores, C) */
    uint64_t version;            /* counts model_changed */
};

/* What a layer computes on its way, all of T tokens.  A trainer keeps one for every layer, or one
 * in all when layers are run again. */
struct activations {
    void *norm1;                 /* (T,C) stored */
    float *rstd1;                /* (T) */
    float *q;                    /* (T,H,D) after rotary */
    void *key, *value;           /* (T,G,D) stored, the key after rotary */
    float *room;                 /* (T,G,D) either before it is stored; NULL: they are floats */
    void *att;                   /* (T,H,D) stored */
    float *stats;                /* (T,H,2) */
    float *mid;                  /* (T,C) between the two halves */
    void *norm2;                 /* (T,C) stored */
    float *rstd2;                /* (T) */
    float *gate, *up;            /* (T,F) */
    void *act;                   /* (T,F) stored */
};

/* The tokens one forward pass runs over, and where their keys are. */
struct pass {
    struct model *model;
    int N, T;
    const int *tokens, *start, *position;    /* (T), (N+1) from 0, (T) */
    const int *slot;                         /* (T) backward: see matmul_backward_weight */
    const struct extend *rows;               /* NULL: the rows' keys are all in this pass */
    const struct pages *pages;               /* (L), with rows */
    const struct leaf_rows *leaves;          /* (n_leaves) backward: where sums over tokens go */
    int n_leaves;
};

/* model.c */
static inline float *model_at(const struct model *m, size_t offset)
{
    return m->weights + offset;
}
static inline const float *matrix_weights(const struct model *m, const struct matrix *w)
{
    return m->weights + w->offset;
}
/* y(T,out) = x(T,in) w^T, x stored */
void matrix_forward(const struct model *m, const struct matrix *w, float *y, const void *x, int T);
/* keep: every array has bytes of its own until the backward pass; else the two halves share.
 * `room` is for room_layout: it serves all layers, and nothing between layer_inside's calls. */
void activations_layout(struct activations *a, struct memory *memory, const struct model_shape *s,
                        enum compute_dtype dtype, int T, bool keep);
float *room_layout(struct memory *memory, const struct model_shape *s, enum compute_dtype dtype,
                   int T);

/* Check tokens and rows before anything is touched; `position` (N) is NULL for rows from 0. */
int rows_check(const struct model *m, const int *tokens, const int *start, const int *position,
               int N, int max_rows, int max_tokens);

static inline struct attention_shape attention_of(const struct model_shape *s)
{
    return (struct attention_shape){ .H = s->H, .G = s->G, .D = s->D, .window = s->window };
}

/* forward.c */
void embed_forward(const struct pass *p, float *x);
void layer_inside(const struct pass *p, int l, struct activations *a, const float *x);
void layer_close(const struct pass *p, int l, const struct activations *a, float *y);

/* backward.c */
struct gradients {               /* scratch of one layer's backward pass */
    float *act, *gate, *up;      /* (T,F) */
    float *norm2, *norm1;        /* (T,C) of the norms' outputs */
    float *att, *q, *key, *value;
    float *out, *mid;            /* (T,C) of the layer's output and its middle, kept: apart only */
};
/* A weight's gradient is dy^T x: (T, out) and (T, in), the latter stored. */
struct product { const struct matrix *w; const float *dy; const void *x; };
#define MLP_PRODUCTS 3
#define ATTENTION_PRODUCTS 4

/* apart: both halves of a layer stay until the next layer (blocks.c); else they share bytes. */
void gradients_layout(struct gradients *d, struct memory *memory, const struct model_shape *s,
                      int T, bool apart);
/* y = mid + down(silu(gate) * up), gate and up of norm2(mid): from dx, the gradient of y, to
 * d->norm2; and the products of the weights' gradients. */
void mlp_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                  const float *dx);
void mlp_products(const struct pass *p, int l, const struct activations *a,
                  const struct gradients *d, const float *dx, struct product out[MLP_PRODUCTS]);
/* mid = x + o(attention(rotary(q, k), v)), q, k and v of norm1(x): from dx, the gradient of mid, to
 * d->norm1. */
void attention_backward(const struct pass *p, int l, const struct activations *a,
                        struct gradients *d, const float *dx);
void attention_products(const struct pass *p, int l, const struct activations *a,
                        const struct gradients *d, const float *dx,
                        struct product out[ATTENTION_PRODUCTS]);
/* dx: the gradient of the layer's output becomes that of its input x. */
void layer_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                    const float *x, float *dx);
/* dx += the gradient of a norm's input x, from dy of its output; the weight's to the leaves. */
void norm_backward(const struct pass *p, size_t norm, float *dx, const float *dy, const float *x,
                   const float *rstd);
/* Tokens [*a, *b) of leaf i of the pass; false: it wants no gradients. */
bool leaf_tokens(const struct pass *p, int i, int *a, int *b);

/* head.c */
struct head {
    int tile_rows, tile_ids;     /* positions and ids whose logits exist at one time */
    /* kept from forward to backward */
    void *hidden;                /* (T,C) stored: after the last norm */
    float *rstd;                 /* (T) */
    int P;                       /* positions with a target: every token but its row's last;
                                  * 0 when log-probabilities were not wanted */
    float temperature;
    int *from, *targets;         /* (P) the position and the token after it */
    struct lse *state;           /* (P) */
    float *target_logit;         /* (P) */
    float *kept;                 /* (P,V) the tiles of logits one after another, over temperature;
                                  * NULL: the backward pass makes them again */
    bool keeps;                  /* the last forward pass kept them */
    /* scratch */
    void *rows;                  /* (tile_rows, C) stored: hidden states, gathered */
    float *logits;               /* (tile_rows, tile_ids) */
    float *logp, *entropy;       /* (tile_rows) */
    /* scratch of the backward pass: positions that have a gradient, gathered */
    float *dhidden;              /* (T,C) */
    float *drows;                /* (tile_rows, C) */
    struct lse *pick_state, *no_state;       /* (tile_rows) */
    float *dscore;               /* (tile_rows, scores) */
    /* and of these the processor's lists */
    int *pick, *pick_at;         /* (tile_rows) positions, and their places in `from` */
    int *pick_slot, *pick_targets;           /* (tile_rows), and so the rest */
    float *dlogp, *dentropy;
};
void head_cut(struct head *h, const struct compute *k);         /* first */
/* A pass of so many tokens is counted in k->load, if that is wanted. */
void head_count(const struct compute *k, const struct model_shape *s, int tokens, bool backward);
/* logits: keep them from forward to backward; backward: with what the backward pass needs; lists:
 * what the processor makes.  The scratch may share bytes with anything that does not live during
 * one of the functions below, nor, of a backward pass, between them. */
void head_layout(struct head *h, struct memory *memory, const struct model_shape *s,
                 enum compute_dtype dtype, int T, bool logits);
void head_layout_lists(struct head *h, struct memory *memory, const struct model_shape *s, int T,
                       bool backward);
void head_layout_scratch(struct head *h, struct memory *memory, const struct model_shape *s,
                         enum compute_dtype dtype, int T, bool backward);
/* x(T,C), the last layer's output -> hidden; then what is wanted of it: logp, entropy (T, entropy
 * may be NULL), score (T, scores). */
void head_norm_forward(struct head *h, const struct pass *p, const float *x);
void head_forward(struct head *h, const struct pass *p, float temperature, bool keep, float *logp,
                  float *entropy);
void score_forward(const struct head *h, const struct pass *p, float *score);
/* dhidden = 0; the gradients of outputs are added to it, unless dhidden is false, and to the head's
 * weight in the grads of the leaves, of these ids only, from `offset` on;
 * dx(T,C) += the gradient of x. */
struct ids_part { int first, end; };
void head_clear(struct head *h, const struct pass *p);
void head_backward(struct head *h, const struct pass *p, struct ids_part ids, const float *dlogp,
                   const float *dentropy, bool dhidden, size_t offset);
void score_backward(struct head *h, const struct pass *p, const float *dscore, bool dhidden,
                    size_t offset);
/* Logits (n,V) of the chosen positions of x; last and hidden (stored) are (n,C), rstd (n). */
void head_logits(const struct model *m, float *logits, const float *x, const int *chosen, int n,
                 float *last, void *hidden, float *rstd);

/* trainer.c */
enum keep { KEEP_NOTHING, KEEP_INPUTS, KEEP_ALL };

struct trainer {
    struct model *model;         /* NULL in trainer_bytes */
    struct model_shape shape;
    enum compute_dtype dtype;
    enum keep mode;
    bool apart;                  /* the backward pass can be cut into blocks */
    bool logits;                 /* are kept for the backward pass */
    int max_rows, max_tokens;

    struct memory lists;         /* the processor's: */
    int *tokens, *start, *position;      /* copies: (T), (N+1) from 0, (T) */
    int *slot;                           /* (T) as if every row began at a multiple of SLOT_STEP */
    bool *touched;                       /* (V) ids for which `embedded` is not 0 */

    struct memory zeros;         /* but during a leaf: */
    float *embedded;             /* (V,C) the embedding's gradient, where the head is tied to it */

    struct workspace_part room;  /* from a forward pass to the end of its backward pass: */
    float *x;                    /* (L+1,T,C) layer inputs, or (2,T,C) */
    struct activations *inside;  /* (L) or one */
    struct head head;
    struct gradients d;
    float *dx;                   /* (T,C) */

    struct pass pass;            /* of the last forward */
    int first;                   /* its start[0]: where its rows lie in the caller's arrays */
    bool kept;                   /* a backward pass may follow */
    bool kept_logp;              /* and take gradients of log-probabilities */
    const float *gathers;        /* the grads that `embedded` is to be added to; NULL: none */
    uint64_t version;            /* of the weights then */

    /* blocks.c, apart only */
    int block;                   /* whose gradients may be asked for; -1: none */
    struct model_outputs given;  /* what came in: logp, entropy (T), score (T, scores); or NULL */
    struct model_outputs copies; /* room for it, */
    struct model_outputs scaled; /* and for it times the rows' factors */
    float *times;                /* (T, widest) a product's dy times the rows' factors */
    float *nowhere;              /* (T,C) and (C): gradients that are not wanted */
};
/* Input of layer l; x_at(t, L) is the last layer's output. */
float *x_at(const struct trainer *t, int l);
struct activations *inside_at(const struct trainer *t, int l);      /* made again if not kept */
int backward_check(const struct trainer *t, const struct model_outputs *d);
/* A tied embedding: rows [first_row, end_row) of the pass have read their tokens; grads (of these
 * ids) += what embedded has gathered, which is zeros again. */
void embedded_touch(struct trainer *t, int first_row, int end_row);
void embedded_fold(struct trainer *t, struct ids_part ids, float *grads);

/* blocks.c */
void blocks_layout(struct trainer *t, struct memory *memory);

/* families/ */
int llama_read(struct model_shape *shape, const struct json *config, const char *path);
int mistral_read(struct model_shape *shape, const struct json *config, const char *path);

#endif
