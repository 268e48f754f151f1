/* Logistic losses of means over tokens: long and short responses weigh the same.
 *
 *     ln_dpo  L = softplus(-beta (h_w / n_w - h_l / n_l))     LN-DPO (Tulu 3; 2407.15229)
 *     simpo   L = softplus(-(beta (A_w - A_l) - gamma))       SimPO (Meng et al. 2024), without a
 *                                                             reference, a margin gamma apart */
#include "learner/losses/loss.h"

static void logistic(const struct pair_input *in, double u, struct pair_output *out)
{
    double slope = -in->set->beta * sigmoid(-u);

    out->value = softplus(-u);
    out->dS_w = slope / tokens_of(in->n_w);
    out->dS_l = -slope / tokens_of(in->n_l);
}

void loss_ln_dpo(const struct pair_input *in, struct pair_output *out)
{
    double h_w = (in->S_w - in->R_w) / tokens_of(in->n_w);
    double h_l = (in->S_l - in->R_l) / tokens_of(in->n_l);

    logistic(in, in->set->beta * (h_w - h_l), out);
}

void loss_simpo(const struct pair_input *in, struct pair_output *out)
{
    double A_w = in->S_w / tokens_of(in->n_w), A_l = in->S_l / tokens_of(in->n_l);

    logistic(in, in->set->beta * (A_w - A_l) - in->set->gamma, out);
}
