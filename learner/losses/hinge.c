/* Hinges: no slope once the margin is reached, and at the corner.
 *
 *     hinge  L = max(0, 1 - beta Delta)           on log-ratios, the scale of DPO
 *     slic   L = max(0, d - S_w + S_l)            SLiC-HF (Zhao et al. 2023): without a reference,
 *                                                 d nats apart; its regulariser is the nll of the
 *                                                 settings, on the chosen response */
#include "learner/losses/loss.h"

/* max(0, gap) falling by `slope` per nat of margin; a NaN stays one. */
static void hinge(double gap, double slope, struct pair_output *out)
{
    out->value = gap <= 0 ? 0 : gap;
    out->dS_w = gap <= 0 ? 0 : -slope;
    out->dS_l = gap <= 0 ? 0 : slope;
}

void loss_hinge(const struct pair_input *in, struct pair_output *out)
{
    double x = in->set->beta * ((in->S_w - in->R_w) - (in->S_l - in->R_l));

    hinge(1 - x, in->set->beta, out);
}

void loss_slic(const struct pair_input *in, struct pair_output *out)
{
    hinge(in->set->margin - in->S_w + in->S_l, 1, out);
}
