/* The hinge on log-ratios (after SLiC, Zhao et al. 2023), with x = beta * Delta:
 *
 *     L = p max(0, 1 - x) + (1 - p) max(0, 1 + x)     slope 0 at the corner */
#include "learner/losses/loss.h"

void loss_hinge(const struct pair_input *in, struct pair_output *out)
{
    double x = in->beta * ((in->S_w - in->R_w) - (in->S_l - in->R_l));
    double p = in->target;
    double right = 1 - x > 0 ? 1 - x : 0, wrong = 1 + x > 0 ? 1 + x : 0;
    double slope = 0;

    if (x < 1)
        slope -= p * in->beta;
    if (x > -1)
        slope += (1 - p) * in->beta;
    out->value = p * right + (1 - p) * wrong;
    out->dS_w = slope;
    out->dS_l = -slope;
}
