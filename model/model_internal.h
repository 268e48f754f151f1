/* What the files of model/ share; nobody else includes it.
 *
 *   model.c    weights: one flat buffer, its views, their packed copies
 *   forward.c  one pass over packed rows, layer by layer          backward.c  the same, mirrored
 *   head.c     hidden states -> log-probabilities and scores, and back
 *   trainer.c  plans the activations and runs forward, head, backward
 *   cache.c    pages of keys and values, and the pass that extends rows
 */
#ifndef MODEL_MODEL_INTERNAL_H
#define MODEL_MODEL_INTERNAL_H

#include "base/status.h"
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
    float *norm1, *rstd1;        /* (T,C), (T) */
    float *q, *key, *value;      /* (T,H,D), (T,G,D), (T,G,D), after rotary */
    float *att, *stats;          /* (T,H,D), (T,H,2) */
    float *mid;                  /* (T,C) between the two halves */
    float *norm2, *rstd2;        /* (T,C), (T) */
    float *gate, *up, *act;      /* (T,F) */
};

/* The tokens one forward pass runs over, and where their keys are. */
struct pass {
    struct model *model;
    int N, T;
    const int *tokens, *start, *position;    /* (T), (N+1) from 0, (T) */
    const struct extend *rows;               /* NULL: the rows' keys are all in this pass */
    const struct pages *pages;               /* (L), with rows */
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
/* y(T,out) = x(T,in) w^T */
void matrix_forward(const struct model *m, const struct matrix *w, float *y, const float *x, int T);
/* dx += dy w, and the weight's gradient += dy^T x */
void matrix_backward(const struct model *m, const struct matrix *w, float *dx, float *grads,
                     const float *dy, const float *x, int T);
/* keep: every array has bytes of its own until the backward pass; else the two halves share. */
void activations_layout(struct activations *a, struct memory *memory, const struct model_shape *s,
                        int T, bool keep);

/* Check tokens and rows before anything is touched; `position` (N) is NULL for rows from 0. */
int rows_check(const struct model *m, const int *tokens, const int *start, const int *position,
               int N, int max_rows, int max_tokens);

/* forward.c */
void embed_forward(const struct pass *p, float *x);
void layer_inside(const struct pass *p, int l, struct activations *a, const float *x);
void layer_close(const struct pass *p, int l, const struct activations *a, float *y);

/* backward.c */
struct gradients {               /* scratch of one layer's backward pass */
    float *act, *gate, *up;      /* (T,F) */
    float *norm;                 /* (T,C) */
    float *att, *q, *key, *value;
};
void gradients_layout(struct gradients *d, struct memory *memory, const struct model_shape *s,
                      int T);
/* dx: the gradient of the layer's output becomes that of its input x. */
void layer_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                    const float *x, float *dx, float *grads);
void embed_backward(const struct pass *p, const float *dx, float *grads);

/* head.c */
#define HEAD_ROWS 256                    /* positions and ids whose logits exist at one time */
#define HEAD_VOCAB (4 * VOCAB_BLOCK)

struct head {
    /* kept from forward to backward */
    float *hidden, *rstd;        /* (T,C), (T): after the last norm */
    int P;                       /* positions with a target: every token but its row's last;
                                  * 0 when log-probabilities were not wanted */
    float temperature;
    int *from, *targets;         /* (P) the position and the token after it */
    struct lse *state;           /* (P) */
    float *target_logit;         /* (P) */
    float *grads;                /* (V,C) of a tied head, until the end of the leaf */
    /* scratch */
    float *rows;                 /* (HEAD_ROWS, C) hidden states, gathered */
    float *logits;               /* (HEAD_ROWS, HEAD_VOCAB) */
    float *logp, *entropy;       /* (HEAD_ROWS) */
    /* scratch of the backward pass: positions that have a gradient, gathered */
    float *dhidden;              /* (T,C) */
    float *drows;                /* (HEAD_ROWS, C) */
    int *pick, *pick_targets;    /* (HEAD_ROWS), and so the rest */
    struct lse *pick_state, *no_state;
    float *dlogp, *dentropy;
    float *dscore;               /* (HEAD_ROWS, scores) */
};
/* backward: with what the backward pass needs.  The scratch may share bytes with anything that
 * does not live during one of the functions below, nor, of a backward pass, between them. */
void head_layout(struct head *h, struct memory *memory, const struct model_shape *s, int T,
                 bool backward);
void head_layout_scratch(struct head *h, struct memory *memory, const struct model_shape *s,
                         int T, bool backward);
/* x(T,C), the last layer's output -> hidden; then what is wanted of it: logp, entropy (T, entropy
 * may be NULL), score (T, scores). */
void head_norm_forward(struct head *h, const struct pass *p, const float *x);
void head_forward(struct head *h, const struct pass *p, float temperature, float *logp,
                  float *entropy);
void score_forward(const struct head *h, const struct pass *p, float *score);
/* dhidden = 0; what came of the hidden states is added; dx(T,C) += the gradient of x. */
void head_clear(struct head *h, const struct pass *p);
void head_backward(struct head *h, const struct pass *p, const float *dlogp,
                   const float *dentropy, float *grads);
void score_backward(struct head *h, const struct pass *p, const float *dscore, float *grads);
void head_norm_backward(struct head *h, const struct pass *p, const float *x, float *dx,
                        float *grads);
/* Logits (n,V) of the chosen positions of x; last and hidden are (n,C), rstd (n). */
void head_logits(const struct model *m, float *logits, const float *x, const int *chosen, int n,
                 float *last, float *hidden, float *rstd);

/* families/ */
int llama_read(struct model_shape *shape, const struct json *config, const char *path);

#endif
