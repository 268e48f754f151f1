/* Advantages and returns of one response.  See gae.h. */
#include "learner/policy/gae.h"

#include <stddef.h>

/* One token, walking backwards; returns its advantage. */
static double step(struct gae *g, double reward, double value)
{
    double delta = reward + g->gamma * g->next_value - value;

    g->next_adv = delta + g->gamma * g->lambda * g->next_adv;
    g->next_value = value;
    return g->next_adv;
}

void gae_row(double *adv, double *ret, const double *reward, const double *value,
             const bool *mask, int T, struct gae start)
{
    struct gae g = start;

    for (int t = T - 1; t >= 0; t--) {
        adv[t] = ret[t] = 0;
        if (mask && !mask[t])
            continue;
        adv[t] = step(&g, reward[t], value ? value[t] : 0);
        ret[t] = adv[t] + g.next_value;
    }
}
