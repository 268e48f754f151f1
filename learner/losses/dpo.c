/* DPO (Rafailov et al. 2023, eq. 7), with x = beta * Delta and p the probability that the label is
 * right:
 *
 *     L = p softplus(-x) + (1 - p) softplus(x)        dL/dx = sigmoid(x) - p
 *
 * p = 1 is DPO, p = 1 - eps conservative DPO (label smoothing, of this loss only), and p = 0.5
 * pulls the margin of a tie to 0. */
#include "learner/losses/loss.h"

void loss_sigmoid(const struct pair_input *in, struct pair_output *out)
{
    double x = in->beta * ((in->S_w - in->R_w) - (in->S_l - in->R_l));
    double eps = in->label_smoothing;
    double p = in->target * (1 - eps) + (1 - in->target) * eps;
    /* sigmoid(x) - p without cancellation for p near 1 and large x */
    double slope = in->beta * ((1 - p) * sigmoid(x) - p * sigmoid(-x));

    out->value = p * softplus(-x) + (1 - p) * softplus(x);
    out->dS_w = slope;
    out->dS_l = -slope;
}
