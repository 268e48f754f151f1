/* MaPO (Hong et al. 2024), a loss of images carried over to text: the mean negative log-likelihood
 * l = -S / n of a token stands for the error of denoising.
 *
 *     L = l_w + beta softplus(-kappa (phi(l_w) - phi(l_l)))
 *     phi(l) = u / (exp(u) - 1), u = zeta l:  1 at l = 0, falling to 0 */
#include "learner/losses/loss.h"

#include "compute/math.h"

static double phi(double u)
{
    return u == 0 ? 1 : u / expm1_own(u);
}

/* d phi / du.  Near 0 its Taylor series; elsewhere the exponential that cannot overflow. */
static double phi_slope(double u)
{
    static const double c[] = { 5.0 / 66 / 362880, -1.0 / 30 / 5040, 1.0 / 42 / 120, -1.0 / 30 / 6,
                                1.0 / 6 };      /* Bernoulli number k + 1 over k!, odd k */
    double z = u * u, sum = 0, e = rw_exp(-u), m = 1 - e;

    if (z < 0.0625) {
        for (int i = 0; i < 5; i++)
            sum = sum * z + c[i];
        return sum * u - 0.5;
    }
    if (u > 0)
        return e * (m - u) / (m * m);
    e = rw_exp(u);
    m = e - 1;
    return (m - u * e) / (m * m);
}

void loss_mapo(const struct pair_input *in, struct pair_output *out)
{
    const struct loss_settings *set = in->set;
    double n_w = tokens_of(in->n_w), n_l = tokens_of(in->n_l);
    double u_w = -set->zeta * in->S_w / n_w, u_l = -set->zeta * in->S_l / n_l;
    double x = set->kappa * (phi(u_w) - phi(u_l));
    double pull = set->beta * set->kappa * set->zeta * sigmoid(-x);

    out->value = -in->S_w / n_w + set->beta * softplus(-x);
    out->dS_w = (-1 + pull * phi_slope(u_w)) / n_w;
    out->dS_l = -pull * phi_slope(u_l) / n_l;
}
