/* Losses of single responses that are labelled desirable or not, without a partner.
 *
 *   struct single_input in = { .S = .., .R = .., .desirable = true, .weight = 1, .shift = z0,
 *                              .set = &set };
 *   single_find("kto")->eval(&in, &out);
 */
#ifndef LEARNER_LOSSES_SINGLE_H
#define LEARNER_LOSSES_SINGLE_H

#include "learner/losses/loss.h"

struct single_input {
    double S, R;                /* sums over response tokens */
    int n;
    bool desirable;
    double weight;              /* of the row; bco: 1, or udm_weight of an undesirable one */
    double shift;               /* kto: z0 in nats; bco: delta in units of beta h; constants */
    const struct loss_settings *set;
};
struct single_output { double value, dS; };

struct single_loss {
    const char *name;
    unsigned needs;             /* LOSS_REF */
    void (*eval)(const struct single_input *in, struct single_output *out);
};
extern const struct single_loss single_losses[];        /* ends with name NULL */
const struct single_loss *single_find(const char *name);        /* NULL: there is none */

/* KTO: max(0, sum / count) of h over mismatched pairs of prompt and response, over all ranks. */
double kto_z0(double sum, double count);

/* BCO: running means of beta h of undesirable [0] and desirable [1] responses, and delta from
 * them: one mean of all, or the mean of the two. */
struct bco_means { double mean[2], count[2]; };
void bco_add(struct bco_means *means, int desirable, double sum, double count);
double bco_delta(const struct bco_means *means, bool of_classes);

/* BCO's underlying-distribution matching: p / (1 - p), clipped, for an undesirable response whose
 * prompt looks like that of a desirable one with probability p. */
double udm_weight(double p, double low, double high);

/* The rows of single_losses[]. */
void single_kto(const struct single_input *in, struct single_output *out);
void single_bco(const struct single_input *in, struct single_output *out);

#endif
