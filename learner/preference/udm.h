/* Underlying-distribution matching of BCO (2404.04656, section 4): undesirable responses to prompts
 * like those of desirable ones weigh more.
 *
 *   prompt      e = mean over its tokens of the policy's embedding, before the first update
 *   classifier  P(desirable | e) = sigmoid(w'e + bias), ridge 1 on standardised features, fitted
 *               once, before the first update, by Newton's method on all records (udm_rows at most)
 *   weight      udm_weight(P, bco.udm_min, bco.udm_max) of an undesirable row
 *
 * w'e is a mean over tokens of a number for each token of the vocabulary; those V numbers are what
 * is kept (and goes into checkpoints), since embeddings move with training. */
#ifndef LEARNER_PREFERENCE_UDM_H
#define LEARNER_PREFERENCE_UDM_H

#include "learner/internal.h"

struct udm {
    bool wanted;
    int room, C, V;             /* records at most */
    int rows;                   /* seen */
    float *x;                   /* (room, C) features */
    double *y;                  /* (room) 1 desirable, 0 not */
    double *w;                  /* (C) */
    double *work;               /* (7 C + 3 room) of the fit */
    double *token;              /* (V) w'e of the token alone */
    double kept[2];             /* bias; 1 once fitted */
};

void udm_setup(struct learner *ln, struct udm *u);
void udm_layout(struct udm *u, struct memory *memory);
int udm_values(struct udm *u, struct learner_value *out);

/* The records of b, the whole batch over all ranks in global order; desirable(n): the label of row
 * n.  Collective. */
int udm_add(struct learner *ln, struct udm *u, const struct batch *b,
            bool (*desirable)(const struct batch *b, int n));
/* Equal on every rank.  RL_EINVAL: labels of one class only. */
int udm_fit(struct learner *ln, struct udm *u);

/* The weight of an undesirable row, once fitted. */
double udm_of(const struct udm *u, const struct config *c, const struct batch *b, int n);

/* w(C) and the bias, returned, of ridge-regularised logistic regression of y(rows) on x(rows, C);
 * work: 7 C + 3 rows doubles. */
double logistic_fit(double *w, const float *x, const double *y, int rows, int C, double *work);

#endif
