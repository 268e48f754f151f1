/* One pair under one of several objectives: the same loss, whichever response it prefers. */
#include "learner/combine/combine.h"

static struct pair_input swapped(const struct pair_input *in)
{
    struct pair_input out = *in;

    out.S_w = in->S_l;
    out.S_l = in->S_w;
    out.R_w = in->R_l;
    out.R_l = in->R_w;
    out.n_w = in->n_l;
    out.n_l = in->n_w;
    return out;
}

void loss_signed(const struct loss *loss, const struct pair_input *in, int sign,
                 struct pair_output *out)
{
    struct pair_input pair = sign < 0 ? swapped(in) : *in;
    double first;

    if (sign == 0) {
        pair.S_w = pair.S_l = pair.R_w = pair.R_l = pair.nll = 0;
        loss_eval(loss, &pair, out);
        out->dS_w = out->dS_l = 0;
        return;
    }
    loss_eval(loss, &pair, out);
    if (sign < 0) {
        first = out->dS_l;
        out->dS_l = out->dS_w;
        out->dS_w = first;
    }
}
