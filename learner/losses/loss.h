/* Pairwise losses: a loss maps the sums of log-probabilities of a pair to a value and its slopes,
 * and knows no model, rank or GPU.  With h = S - R of each response and Delta = h_w - h_l, a loss
 * is a function l(Delta).  A label that is right with probability p only (a soft tie; with
 * sigmoid, label smoothing too) gives
 *
 *     L = p l(Delta) + (1 - p) l(-Delta) + nll * (-S_w / n_w)
 *
 * Only exp and log of compute/math.h are used, since slopes reach the weights.
 */
#ifndef LEARNER_LOSSES_LOSS_H
#define LEARNER_LOSSES_LOSS_H

/* One pair: sums over response tokens under policy (S) and reference (R), token counts (eos
 * included). */
struct pair_input {
    double S_w, S_l, R_w, R_l;
    int n_w, n_l;
    double beta, label_smoothing;       /* beta is tau for ipo; sigmoid alone smooths */
    double target;                      /* 1; 0.5 for a soft tie */
    double nll;                 /* weight of the mean negative log-likelihood of the chosen */
};
struct pair_output { double value, dS_w, dS_l; };

struct loss {
    const char *name;                   /* "sigmoid", "ipo", "ipo_sum", "hinge" */
    void (*eval)(const struct pair_input *in, struct pair_output *out);     /* without the nll */
};
extern const struct loss losses[];      /* ends with name NULL */
const struct loss *loss_find(const char *name);

/* Value and slopes of one pair, nll included. */
void loss_eval(const struct loss *loss, const struct pair_input *in, struct pair_output *out);

/* The rows of losses[], one file each. */
void loss_sigmoid(const struct pair_input *in, struct pair_output *out);
void loss_ipo(const struct pair_input *in, struct pair_output *out);
void loss_ipo_sum(const struct pair_input *in, struct pair_output *out);
void loss_hinge(const struct pair_input *in, struct pair_output *out);

/* max(x,0) + log1p(exp(-|x|)) and 1/(1+exp(-x)), never overflowing, own exp and log. */
double softplus(double x);
double sigmoid(double x);

#endif
