/* Pairwise losses: a loss maps per-pair sums of log-probabilities to a value and its slopes, and knows no model,
 * rank or GPU.  Formulas and worked numbers: docs/algorithms (online DPO). */
#ifndef LEARNER_LOSSES_LOSS_H
#define LEARNER_LOSSES_LOSS_H

/* One pair: sums over response tokens under policy (S) and reference (R), token counts (eos included). */
struct pair_input {
    double S_w, S_l, R_w, R_l;
    int n_w, n_l;
    double beta, label_smoothing;       /* beta is tau for ipo */
    double target;                      /* 1; 0.5 for a soft tie (cross entropy of the sigmoid losses) */
};
struct pair_output { double value, dS_w, dS_l; };

struct loss {
    const char *name;                   /* "sigmoid", "ipo", "ipo_sum", "hinge" */
    void (*eval)(const struct pair_input *in, struct pair_output *out);
};
extern const struct loss losses[];      /* ends with name NULL */
const struct loss *loss_find(const char *name);

/* max(x,0) + log1p(exp(-|x|)) and 1/(1+exp(-x)), never overflowing, own exp and log. */
double softplus(double x);
double sigmoid(double x);

#endif
