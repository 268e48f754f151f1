/* IPO (Azar et al. 2023, eq. 17): l(Delta) = (Delta - c)^2 with c = 1 / (2 tau), tau in place of
 * beta.
 *
 *     L = p (Delta - c)^2 + (1 - p) (Delta + c)^2     dL/dDelta = 2 (Delta - (2 p - 1) c)
 *
 * "ipo_sum" takes Delta of sums over a response; "ipo" of means over its tokens, so that its slope
 * for a token is divided by the length of the token's response. */
#include "learner/losses/loss.h"

static void squared(const struct pair_input *in, double n_w, double n_l, struct pair_output *out)
{
    double delta = (in->S_w - in->R_w) / n_w - (in->S_l - in->R_l) / n_l;
    double c = 1 / (2 * in->beta);
    double p = in->target;
    double slope = 2 * (delta - (2 * p - 1) * c);

    out->value = p * (delta - c) * (delta - c) + (1 - p) * (delta + c) * (delta + c);
    out->dS_w = slope / n_w;
    out->dS_l = -slope / n_l;
}

void loss_ipo(const struct pair_input *in, struct pair_output *out)
{
    /* a response without tokens has sums 0, and any divisor will do */
    squared(in, in->n_w > 0 ? in->n_w : 1, in->n_l > 0 ? in->n_l : 1, out);
}

void loss_ipo_sum(const struct pair_input *in, struct pair_output *out)
{
    squared(in, 1, 1, out);
}
