/* CPO (Xu et al. 2024): DPO without a reference, L = softplus(-beta (S_w - S_l)).  What keeps it
 * near good text is the nll of the settings, weight 1 by default: token mean in the authors' code,
 * the sum in their paper (dpo.nll_of). */
#include "learner/losses/loss.h"

void loss_cpo(const struct pair_input *in, struct pair_output *out)
{
    double x = in->set->beta * (in->S_w - in->S_l);
    double slope = -in->set->beta * sigmoid(-x);

    out->value = softplus(-x);
    out->dS_w = slope;
    out->dS_l = -slope;
}
