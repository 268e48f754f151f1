/* What the outputs of a score head say of a response, and how two responses compare.
 *
 *   scores    each output is a score (Bradley-Terry)          margin r_i - r_j
 *   point     f = the outputs, a point; a user has an ideal   margin |f_j - a| - |f_i - a|
 *             point a = sum_k softmax(w)_k P_k of prototypes P (PAL, Chen et al. 2024, 2406.08469)
 *   general   v = the outputs, m planes                       margin s(i > j) / tau
 *             s(i > j) = sum_l c_l (v_i[2l] v_j[2l+1] - v_i[2l+1] v_j[2l])
 *             skew-symmetric, so that it can hold cycles (GPM, Zhang et al. 2024, 2410.02197)
 *
 * P(i beats j) = sigmoid(margin / temperature); the temperature is fitted on held-out pairs.  Some
 * verdicts read the head at the last token of the prompt too: prototypes of the prompt (PAL, model
 * B), or the scales c = softmax of m outputs.  Others have parameters of their own, arrays of the
 * flat buffer behind the score head:
 *
 *   pal.prototypes.weight (K, dim)    pal.users.weight (users, K)    gpm.scale.weight (m)
 */
#ifndef MODEL_VERDICT_H
#define MODEL_VERDICT_H

#include <stdbool.h>

#include "base/json.h"

enum verdict_kind { VERDICT_SCORES, VERDICT_POINT, VERDICT_GENERAL };
enum gpm_scale { GPM_FIXED, GPM_LEARNED, GPM_PROMPT };      /* c = 1; parameters; of the prompt */

#define VERDICT_MOST 4096           /* outputs; users: a million */
#define PAL_PROTOTYPES "pal.prototypes.weight"
#define PAL_USERS      "pal.users.weight"
#define GPM_SCALE      "gpm.scale.weight"
#define VERDICT_ARRAYS 3

struct verdict {
    enum verdict_kind kind;
    double temperature;         /* 0: not fitted, the same as 1 */
    /* point */
    int dim, prototypes, users;
    bool of_prompt;             /* model B */
    bool cosine;                /* margin of cosines times `factor` in place of distances */
    double factor;
    /* general */
    int planes;                 /* m */
    enum gpm_scale scale;
    bool unit;                  /* v is divided by its length */
    double tau;
};

/* Outputs of the head; `heads` of scores. */
int verdict_outputs(const struct verdict *v, int heads);
/* The same outputs and parameters, but for the number of users? */
bool verdict_same(const struct verdict *a, const struct verdict *b);
double verdict_temperature(const struct verdict *v);        /* above 0 */

/* config.json's key of it; absent: scores. */
#define VERDICT_KEY "rankwise_reward"
int verdict_read(struct verdict *v, const struct json *config, const char *path);
void verdict_write(const struct verdict *v, struct text *out);      /* the value of the key */

/* ---- PAL; in double, sums in the order of the index */
/* weights (K) = softmax(logits), a (dim) = sum_k weights[k] prototypes[k] (K, dim). */
void pal_ideal(double *a, double *weights, const double *logits, const double *prototypes, int K,
               int dim);
/* -|f - a|, or factor cos(f, a): the reward of f for the user, a margin being a difference. */
double pal_reward(const struct verdict *v, const double *f, const double *a);

/* ---- GPM */
double gpm_score(const double *c, const double *v_i, const double *v_j, int planes);
/* v (2 planes) from outputs; with `unit` divided by its length.  Returns the length, or 1. */
double gpm_vector(const struct verdict *v, double *out, const float *outputs);
/* c (planes) of a model whose scales are fixed or parameters (learned; else NULL), or of a prompt:
 * outputs at its last token. */
void gpm_scales(const struct verdict *v, double *c, const float *learned, const float *prompt);

#endif
