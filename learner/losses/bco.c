/* BCO (Jung et al. 2024, 2404.04656): a classifier of desirable and undesirable responses whose
 * logit is beta h - delta.
 *
 *     desirable    L = w softplus(-(beta h - delta))
 *     undesirable  L = w softplus(beta h - delta) */
#include "learner/losses/single.h"

void single_bco(const struct single_input *in, struct single_output *out)
{
    double beta = in->set->beta, x = beta * (in->S - in->R) - in->shift;

    out->value = in->weight * softplus(in->desirable ? -x : x);
    out->dS = in->weight * beta * (in->desirable ? -sigmoid(-x) : sigmoid(x));
}

void bco_add(struct bco_means *means, int desirable, double sum, double count)
{
    if (count > 0) {
        means->count[desirable] += count;
        means->mean[desirable] += (sum - count * means->mean[desirable]) /
                                  means->count[desirable];
    }
}

double bco_delta(const struct bco_means *means, bool of_classes)
{
    double weight[2] = { means->count[0], means->count[1] };

    if (of_classes)             /* a class that was never seen has no say */
        weight[0] = weight[0] > 0, weight[1] = weight[1] > 0;
    if (!(weight[0] + weight[1] > 0))
        return 0;
    return (weight[0] * means->mean[0] + weight[1] * means->mean[1]) / (weight[0] + weight[1]);
}

double udm_weight(double p, double low, double high)
{
    return clamp(p / (1 - p), low, high);
}
