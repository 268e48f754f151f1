/* AMoPO (2506.07165): K objectives, each with a weight and a side, on one pair, without a
 * reference.
 *
 *     L = sum over k of alpha_k l(s_k)        l(+1) the base loss (simpo; orpo) of the pair,
 *                                             l(-1) of its mirror, l(0) a constant
 *
 * alpha is static, or follows how sure the policy is of each objective (amopo_weights). */
#include "learner/losses/loss.h"
#include "learner/losses/multi.h"

/* The base loss of an objective; without a side, its value for two equal responses of sum 0. */
static void objective(const struct pair_input *in, double sign, struct pair_output *out)
{
    struct pair_input none = { .target = 1, .set = in->set };

    if (sign > 0) {
        in->set->base->eval(in, out);
    } else if (sign < 0) {
        loss_mirror(in->set->base, in, out);
    } else {
        in->set->base->eval(&none, out);
        out->dS_w = out->dS_l = 0;
    }
}

void loss_amopo(const struct pair_input *in, struct pair_output *out)
{
    const struct loss_settings *set = in->set;
    struct pair_output one;

    *out = (struct pair_output){ 0 };
    for (int k = 0; k < set->K; k++) {
        objective(in, in->sign[k], &one);
        out->value += set->alpha[k] * one.value;
        out->dS_w += set->alpha[k] * one.dS_w;
        out->dS_l += set->alpha[k] * one.dS_l;
    }
}

void amopo_weights(double *alpha, const double *z_w, const double *z_l, int K)
{
    for (int k = 0; k < K; k++)
        alpha[k] = z_w[k] + z_l[k];
    softmax(alpha, alpha, K);
}
