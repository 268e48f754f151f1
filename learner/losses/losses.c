/* The table of pairwise losses and what they share.  A new loss is a file
 * beside this one and a row. */
#include "learner/losses/loss.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "compute/math.h"

const struct loss losses[] = {
    { "sigmoid", loss_sigmoid },
    { "ipo", loss_ipo },
    { "ipo_sum", loss_ipo_sum },
    { "hinge", loss_hinge },
    { NULL, NULL },
};

const struct loss *loss_find(const char *name)
{
    for (const struct loss *l = losses; l->name; l++)
        if (strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

void loss_eval(const struct loss *loss, const struct pair_input *in, struct pair_output *out)
{
    loss->eval(in, out);
    if (in->nll != 0 && in->n_w > 0) {
        /* A soft tie has no chosen response: its weight is 0 at target 0.5, whole at target 1. */
        double weight = in->nll * (2 * in->target - 1) / in->n_w;
        out->value -= weight * in->S_w;
        out->dS_w -= weight;
    }
}

double softplus(double x)
{
    return fmax(x, 0) + rw_log1p(rw_exp(-fabs(x)));
}

double sigmoid(double x)
{
    double e = rw_exp(-fabs(x));         /* in (0, 1]: never overflows */

    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
