/* LCPO, also RPO and RE-PO (2509.24159): labels of annotators that err, by expectation
 * maximisation over any pairwise loss l.  With D = l(mirror) - l(pair) (DPO: beta * Delta), the
 * policy takes the label for right with p = sigmoid(D):
 *
 *     E   c = p eta / (p eta + (1 - p)(1 - eta))      eta: how often the annotator is right
 *     M   L = c softplus(-D) + (1 - c) softplus(D)    c constant: dL/dD = sigmoid(D) - c
 *         eta <- (1 - a) eta + a * mean of c          over the annotator's pairs in the step */
#include "learner/losses/loss.h"
#include "learner/losses/noise.h"

/* D and its slopes. */
static double advantage(const struct loss *base, const struct pair_input *in,
                        struct pair_output *d)
{
    struct pair_output label, mirror;

    base->eval(in, &label);
    loss_mirror(base, in, &mirror);
    d->dS_w = mirror.dS_w - label.dS_w;
    d->dS_l = mirror.dS_l - label.dS_l;
    return d->value = mirror.value - label.value;
}

void loss_lcpo(const struct pair_input *in, struct pair_output *out)
{
    double c = in->confidence, slope, D = advantage(in->set->base, in, out);

    slope = (1 - c) * sigmoid(D) - c * sigmoid(-D);
    out->value = c * softplus(-D) + (1 - c) * softplus(D);
    out->dS_w *= slope;
    out->dS_l *= slope;
}

double lcpo_likelihood(const struct pair_input *in)
{
    struct pair_output d;

    return sigmoid(advantage(in->set->base, in, &d));
}

double lcpo_confidence(double p, double eta)
{
    double right = p * eta, wrong = (1 - p) * (1 - eta);

    return right + wrong > 0 ? right / (right + wrong) : eta;
}

double lcpo_eta(double eta, double a, double mean_confidence)
{
    return (1 - a) * eta + a * mean_confidence;
}
