/* Losses that hold each response to a value of its own, not only their difference, so that the
 * chosen one cannot fall with the rejected.  With a = beta h_w, b = beta h_l:
 *
 *     nca       L = softplus(-a) + softplus(a) / 2 + softplus(b) / 2         (Chen et al. 2024)
 *     sppo      L = (h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2          (Wu et al. 2024, hard)
 *     apo_zero  L = sigmoid(-a) + sigmoid(b)                         (D'Oosterlinck et al. 2024) */
#include "learner/losses/loss.h"

void loss_nca(const struct pair_input *in, struct pair_output *out)
{
    double beta = in->set->beta;
    double a = beta * (in->S_w - in->R_w), b = beta * (in->S_l - in->R_l);

    out->value = softplus(-a) + 0.5 * softplus(a) + 0.5 * softplus(b);
    out->dS_w = beta * (0.5 * sigmoid(a) - sigmoid(-a));
    out->dS_l = 0.5 * beta * sigmoid(b);
}

void loss_sppo(const struct pair_input *in, struct pair_output *out)
{
    double half = 1 / (2 * in->set->beta);
    double off_w = in->S_w - in->R_w - half, off_l = in->S_l - in->R_l + half;

    out->value = off_w * off_w + off_l * off_l;
    out->dS_w = 2 * off_w;
    out->dS_l = 2 * off_l;
}

void loss_apo_zero(const struct pair_input *in, struct pair_output *out)
{
    double beta = in->set->beta;
    double a = beta * (in->S_w - in->R_w), b = beta * (in->S_l - in->R_l);

    out->value = sigmoid(-a) + sigmoid(b);
    out->dS_w = -beta * sigmoid(a) * sigmoid(-a);
    out->dS_l = beta * sigmoid(b) * sigmoid(-b);
}
