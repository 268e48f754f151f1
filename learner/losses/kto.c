/* KTO (Ethayarajh et al. 2024, 2402.01306): the value of a response as people feel gains and
 * losses, against a reference point z0 (an estimate of the KL to the reference model):
 *
 *     desirable    L = lambda_d (1 - v),  v = sigmoid(beta (h - z0))
 *     undesirable  L = lambda_u (1 - sigmoid(beta (z0 - h))) */
#include "learner/losses/single.h"

void single_kto(const struct single_input *in, struct single_output *out)
{
    const struct loss_settings *set = in->set;
    double x = set->beta * (in->S - in->R - in->shift);
    double lambda = in->weight * (in->desirable ? set->lambda_d : set->lambda_u);
    double slope = lambda * set->beta * sigmoid(x) * sigmoid(-x);

    out->value = lambda * sigmoid(in->desirable ? -x : x);
    out->dS = in->desirable ? -slope : slope;
}

double kto_z0(double sum, double count)
{
    double mean = count > 0 ? sum / count : 0;

    return mean < 0 ? 0 : mean;
}
