/* IPO (Azar et al. 2023, eq. 17), with c = 1 / (2 tau), tau in place of beta:
 *
 *     L = (Delta - c)^2                                       dL/dDelta = 2 (Delta - c)
 *
 * "ipo_sum" takes Delta of sums over a response; "ipo" of means over its tokens, so that its slope
 * for a token is divided by the length of the token's response. */
#include "learner/losses/loss.h"

static void squared(const struct pair_input *in, double n_w, double n_l, struct pair_output *out)
{
    double delta = (in->S_w - in->R_w) / n_w - (in->S_l - in->R_l) / n_l;
    double off = delta - 1 / (2 * in->set->beta);

    out->value = off * off;
    out->dS_w = 2 * off / n_w;
    out->dS_l = -2 * off / n_l;
}

void loss_ipo(const struct pair_input *in, struct pair_output *out)
{
    squared(in, tokens_of(in->n_w), tokens_of(in->n_l), out);
}

void loss_ipo_sum(const struct pair_input *in, struct pair_output *out)
{
    squared(in, 1, 1, out);
}
