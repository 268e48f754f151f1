/* ORPO (Hong et al. 2024): the likelihood of the chosen response and the ratio of the odds of both,
 * in one stage, without a reference.  With A = S / n and the log-odds o = A - log(1 - exp(A)):
 *
 *     L = -A_w + lambda softplus(-(o_w - o_l))                do/dA = 1 / (1 - exp(A))
 *
 * The odds of a certain response have no end: their A is held at -1e-6, with no slope there. */
#include "learner/losses/loss.h"

#define CERTAIN (-1e-6)

static double log_odds(double A, double *slope)
{
    double a = A > CERTAIN ? CERTAIN : A;

    *slope = A > CERTAIN ? 0 : -1 / expm1_own(a);
    return a - log1mexp(a);
}

void loss_orpo(const struct pair_input *in, struct pair_output *out)
{
    double n_w = tokens_of(in->n_w), n_l = tokens_of(in->n_l);
    double A_w = in->S_w / n_w, A_l = in->S_l / n_l, do_w, do_l;
    double u = log_odds(A_w, &do_w) - log_odds(A_l, &do_l);
    double pull = in->set->lambda * sigmoid(-u);

    out->value = -A_w + in->set->lambda * softplus(-u);
    out->dS_w = (-1 - pull * do_w) / n_w;
    out->dS_l = pull * do_l / n_l;
}
