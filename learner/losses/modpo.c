/* MODPO (Zhou et al. 2023): DPO on the preferences of one objective of weight w, less what the
 * margin rewards m of the other objectives already explain:
 *
 *     L = softplus(-(beta Delta - w_rest' (m_w - m_l)) / w) */
#include "learner/losses/loss.h"
#include "learner/losses/multi.h"

void loss_modpo(const struct pair_input *in, struct pair_output *out)
{
    const struct loss_settings *set = in->set;
    double delta = (in->S_w - in->R_w) - (in->S_l - in->R_l);
    double u = (set->beta * delta - in->margin) / set->w_main;
    double slope = -set->beta / set->w_main * sigmoid(-u);

    out->value = softplus(-u);
    out->dS_w = slope;
    out->dS_l = -slope;
}

double modpo_margin(const double *w_rest, const double *m_w, const double *m_l, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += w_rest[i] * (m_w[i] - m_l[i]);
    return sum;
}
