/* Pairwise losses: a loss maps the sums of log-probabilities of a pair to a value and its slopes,
 * and knows no model, rank or GPU.  With h = S - R and A = S / n of each response, most are a
 * function l(Delta) of Delta = h_w - h_l, of its length-normalised form, or of A_w - A_l.
 *
 *   loss_settings_fill(&set, config);
 *   struct pair_input in = { .S_w = .., .R_w = .., .n_w = .., .target = 1, .set = &set };
 *   loss_eval(loss_find("simpo"), &in, &out);
 *
 * A label that is right with probability p only (a soft tie; label smoothing) is a mixture of the
 * pair and its mirror, for every loss:
 *
 *   L = p l(w, l) + (1 - p) l(l, w) + (2 p - 1) nll (-S_w / n_w)
 *
 * A response without tokens has S = R = A = 0.  Lists are in list.h, labelled singles in single.h.
 */
#ifndef LEARNER_LOSSES_LOSS_H
#define LEARNER_LOSSES_LOSS_H

#include <stdbool.h>

#include "base/config.h"
#include "learner/losses/primitives.h"

struct loss;

/* What every pair, list or single of a run shares: the keys of the configuration in doubles. */
struct loss_settings {
    double beta;                /* tau for ipo */
    double label_smoothing;     /* probability that a label is wrong */
    double nll;                 /* weight of the negative log-likelihood of the chosen */
    bool nll_sum;               /* of its sum, not of its mean over tokens */
    double epsilon;             /* rdpo: probability that a label is wrong */
    double gamma;               /* simpo, amopo: margin that is aimed at */
    double lambda;              /* orpo: weight of the odds ratio */
    double margin;              /* slic: margin in nats */
    double zeta, kappa;         /* mapo */
    double affine_eps;          /* spce_affine: q is kept in [eps, 1 - eps] */
    double w_main;              /* modpo: weight of the objective that is trained on */
    const struct loss *base;    /* amopo, lcpo: the loss that they are made of */
    int K;                      /* amopo: objectives */
    const double *alpha;        /* (K) amopo: their weights */
    double lambda_d, lambda_u;  /* kto: weights of desirable and undesirable responses */
    double sft;                 /* pro: weight of the likelihood of the best response */
    double eta;                 /* gpo: step size */
};

/* All keys but w_main, base, K and alpha, which depend on the objectives: w_main 1, sigmoid, 0. */
void loss_settings_fill(struct loss_settings *set, const struct config *config);

/* One pair: sums over response tokens under policy (S) and reference (R; 0 for a loss that needs
 * none), token counts (eos included). */
struct pair_input {
    double S_w, S_l, R_w, R_l;
    int n_w, n_l;
    double target;              /* 1; 0.5 for a soft tie; or a probability given with the pair */
    double margin;              /* LOSS_MARGIN: w_rest' (m_w - m_l) of the other objectives */
    double confidence;          /* LOSS_CONFIDENCE: that the label is right, a constant */
    const double *sign;         /* LOSS_SIGNS: (K) +1, -1 or 0: which response each prefers */
    const struct loss_settings *set;
};
struct pair_output { double value, dS_w, dS_l; };

/* What a loss needs of a pair.  LOSS_MEAN: it sees A = S / n, so that dS is divided by n. */
enum loss_needs { LOSS_REF = 1, LOSS_MEAN = 2, LOSS_MARGIN = 4, LOSS_SIGNS = 8,
                  LOSS_CONFIDENCE = 16 };

struct loss {
    const char *name;
    unsigned needs;             /* enum loss_needs */
    /* Of a pair whose label is sure, without the nll of the settings. */
    void (*eval)(const struct pair_input *in, struct pair_output *out);
};
extern const struct loss losses[];      /* ends with name NULL */
const struct loss *loss_find(const char *name);     /* NULL: there is none */

/* Value and slopes of one pair: the mixture above. */
void loss_eval(const struct loss *loss, const struct pair_input *in, struct pair_output *out);

/* The loss of an objective that prefers the first response (sign +1), the second (-1) or neither
 * (0: the value of a margin of 0, ln 2 for sigmoid, and no slope).  (RACO, section 4.2.) */
void loss_signed(const struct loss *loss, const struct pair_input *in, double sign,
                 struct pair_output *out);

/* The same pair with its responses exchanged, and the slopes back in the first one's order. */
struct pair_input pair_mirror(const struct pair_input *in);
void loss_mirror(const struct loss *loss, const struct pair_input *in, struct pair_output *out);

/* n, or 1 for an empty response, whose sums are 0 whatever divides them. */
static inline double tokens_of(int n)
{
    return n > 0 ? n : 1;
}

/* The rows of losses[]: a file each, or a few that are one idea. */
void loss_sigmoid(const struct pair_input *in, struct pair_output *out);        /* dpo.c */
void loss_rdpo(const struct pair_input *in, struct pair_output *out);
void loss_ipo(const struct pair_input *in, struct pair_output *out);            /* ipo.c */
void loss_ipo_sum(const struct pair_input *in, struct pair_output *out);
void loss_hinge(const struct pair_input *in, struct pair_output *out);          /* hinge.c */
void loss_slic(const struct pair_input *in, struct pair_output *out);
void loss_ln_dpo(const struct pair_input *in, struct pair_output *out);         /* simpo.c */
void loss_simpo(const struct pair_input *in, struct pair_output *out);
void loss_cpo(const struct pair_input *in, struct pair_output *out);            /* cpo.c */
void loss_orpo(const struct pair_input *in, struct pair_output *out);           /* orpo.c */
void loss_mapo(const struct pair_input *in, struct pair_output *out);           /* mapo.c */
void loss_nca(const struct pair_input *in, struct pair_output *out);            /* nca.c */
void loss_sppo(const struct pair_input *in, struct pair_output *out);
void loss_apo_zero(const struct pair_input *in, struct pair_output *out);
void loss_spce_affine(const struct pair_input *in, struct pair_output *out);    /* spce.c */
void loss_modpo(const struct pair_input *in, struct pair_output *out);          /* modpo.c */
void loss_amopo(const struct pair_input *in, struct pair_output *out);          /* amopo.c */
void loss_lcpo(const struct pair_input *in, struct pair_output *out);           /* lcpo.c */

#endif
