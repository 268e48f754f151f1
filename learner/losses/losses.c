/* The table of pairwise losses and what they share.  A new loss is a file beside this one and a
 * row. */
#include "learner/losses/loss.h"

#include <stddef.h>
#include <string.h>

const struct loss losses[] = {
    { "sigmoid",     LOSS_REF,                   loss_sigmoid },
    { "ipo",         LOSS_REF | LOSS_MEAN,       loss_ipo },
    { "ipo_sum",     LOSS_REF,                   loss_ipo_sum },
    { "hinge",       LOSS_REF,                   loss_hinge },
    { "rdpo",        LOSS_REF,                   loss_rdpo },
    { "ln_dpo",      LOSS_REF | LOSS_MEAN,       loss_ln_dpo },
    { "simpo",       LOSS_MEAN,                  loss_simpo },
    { "cpo",         0,                          loss_cpo },
    { "orpo",        LOSS_MEAN,                  loss_orpo },
    { "slic",        0,                          loss_slic },
    { "mapo",        LOSS_MEAN,                  loss_mapo },
    { "nca",         LOSS_REF,                   loss_nca },
    { "sppo",        LOSS_REF,                   loss_sppo },
    { "apo_zero",    LOSS_REF,                   loss_apo_zero },
    { "spce_affine", LOSS_REF,                   loss_spce_affine },
    { "modpo",       LOSS_REF | LOSS_MARGIN,     loss_modpo },
    { "amopo",       LOSS_MEAN | LOSS_SIGNS,     loss_amopo },
    { "lcpo",        LOSS_REF | LOSS_CONFIDENCE, loss_lcpo },
    { NULL,          0,                          NULL },
};

const struct loss *loss_find(const char *name)
{
    for (const struct loss *l = losses; l->name; l++)
        if (strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

/* Probability that the first response is the better one. */
static double probability(const struct pair_input *in)
{
    double eps = in->set->label_smoothing;

    return in->target * (1 - eps) + (1 - in->target) * eps;
}

static void add(struct pair_output *sum, double p, const struct pair_output *one)
{
    sum->value += p * one->value;
    sum->dS_w += p * one->dS_w;
    sum->dS_l += p * one->dS_l;
}

void loss_eval(const struct loss *loss, const struct pair_input *in, struct pair_output *out)
{
    double p = probability(in), weight;
    struct pair_output one;

    *out = (struct pair_output){ 0 };
    if (!(p <= 0)) {                /* a NaN goes on */
        loss->eval(in, &one);
        add(out, p, &one);
    }
    if (p < 1) {
        loss_mirror(loss, in, &one);
        add(out, 1 - p, &one);
    }
    if (in->set->nll != 0 && in->n_w > 0) {
        /* A soft tie has no chosen response: its weight is 0 at target 0.5, whole at target 1. */
        weight = in->set->nll * (2 * in->target - 1) / (in->set->nll_sum ? 1 : in->n_w);
        out->value -= weight * in->S_w;
        out->dS_w -= weight;
    }
}

struct pair_input pair_mirror(const struct pair_input *in)
{
    struct pair_input out = *in;

    out.S_w = in->S_l;
    out.S_l = in->S_w;
    out.R_w = in->R_l;
    out.R_l = in->R_w;
    out.n_w = in->n_l;
    out.n_l = in->n_w;
    out.margin = -in->margin;
    return out;
}

static void exchange(struct pair_output *out)
{
    double dS_w = out->dS_l;

    out->dS_l = out->dS_w;
    out->dS_w = dS_w;
}

void loss_mirror(const struct loss *loss, const struct pair_input *in, struct pair_output *out)
{
    struct pair_input mirror = pair_mirror(in);

    loss->eval(&mirror, out);
    exchange(out);
}

void loss_signed(const struct loss *loss, const struct pair_input *in, double sign,
                 struct pair_output *out)
{
    struct pair_input pair = sign < 0 ? pair_mirror(in) : *in;

    if (sign == 0)
        pair.S_w = pair.S_l = pair.R_w = pair.R_l = pair.margin = 0;
    loss_eval(loss, &pair, out);
    if (sign == 0)
        out->dS_w = out->dS_l = 0;
    if (sign < 0)
        exchange(out);
}
