/* DPO (Rafailov et al. 2023, eq. 7), with x = beta * Delta:
 *
 *     L = softplus(-x)                                        dL/dx = -sigmoid(-x)
 *
 * A target p < 1 makes it conservative DPO (p = 1 - eps, the note's eq. 3) or the soft-preference
 * cross-entropy of OSP, SPA and LCPO; p = 0.5 pulls the margin of a tie to 0.
 *
 * Robust DPO (Chowdhury et al. 2024) removes the bias of labels that are wrong with probability
 * eps; it can be negative:
 *
 *     L = ((1 - eps) softplus(-x) - eps softplus(x)) / (1 - 2 eps) */
#include "learner/losses/loss.h"

static double margin(const struct pair_input *in)
{
    return in->set->beta * ((in->S_w - in->R_w) - (in->S_l - in->R_l));
}

void loss_sigmoid(const struct pair_input *in, struct pair_output *out)
{
    double x = margin(in), slope = -in->set->beta * sigmoid(-x);

    out->value = softplus(-x);
    out->dS_w = slope;
    out->dS_l = -slope;
}

void loss_rdpo(const struct pair_input *in, struct pair_output *out)
{
    double x = margin(in), eps = in->set->epsilon, scale = 1 / (1 - 2 * eps);
    double slope = -in->set->beta * scale * ((1 - eps) * sigmoid(-x) + eps * sigmoid(x));

    out->value = scale * ((1 - eps) * softplus(-x) - eps * softplus(x));
    out->dS_w = slope;
    out->dS_l = -slope;
}
