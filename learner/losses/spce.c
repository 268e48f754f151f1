/* The affine link of OSP's soft-preference cross-entropy: with x = beta * Delta and the policy's
 * preference q = (1 + x) / 2, kept in [eps, 1 - eps],
 *
 *     L = -log q                          dL/dx = -1 / (2 q), 0 where q is at an end
 *
 * and a target p gives -p log q - (1 - p) log(1 - q).  The logistic link is "sigmoid". */
#include "learner/losses/loss.h"

#include "compute/math.h"

void loss_spce_affine(const struct pair_input *in, struct pair_output *out)
{
    double x = in->set->beta * ((in->S_w - in->R_w) - (in->S_l - in->R_l));
    double eps = in->set->affine_eps, free = (1 + x) / 2, q = clamp(free, eps, 1 - eps);
    double slope = free > eps && free < 1 - eps ? -in->set->beta / (2 * q) : 0;

    out->value = -rw_log(q);
    out->dS_w = slope;
    out->dS_l = -slope;
}
