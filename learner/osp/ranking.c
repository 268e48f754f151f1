/* See ranking.h. */
#include "learner/osp/ranking.h"

#include <math.h>

#include "compute/math.h"
#include "learner/losses/primitives.h"

double osp_strength(const struct osp_settings *set, double lam, double bias)
{
    if (set->probability)
        lam = logit((sigmoid(lam + bias) + sigmoid(lam - bias)) / 2);
    return fmin(fmax(lam, -set->most), set->most);
}

/* What pairs compare: lam or, of the affine strength, u; less a penalty of the length, in logits.
 * In probabilities that is a quarter, the slope of sigmoid at 0, and p halves u. */
static double value_of(const struct osp_settings *set, const double *lam, const int *n, int i)
{
    double longer = set->length_penalty > 0 ? set->length_penalty * n[i] / set->n_ref : 0;

    return set->affine ? sigmoid(lam[i]) - longer / 2 : lam[i] - longer;
}

/* Best first; equal ones by index: insertion, k is small. */
static void sort(const struct osp_settings *set, const double *lam, const int *n, int k,
                 int *order)
{
    for (int i = 0; i < k; i++) {
        double value = value_of(set, lam, n, i);
        int at = i;
        for (; at > 0 && value_of(set, lam, n, order[at - 1]) < value; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

static int place_of(const int *order, int k, int i)
{
    int at = 0;

    while (at < k && order[at] != i)
        at++;
    return at;
}

static bool wanted(const struct osp_settings *set, const int *order, int k, int i, int j,
                   int baseline)
{
    switch (set->pairs) {
    case OSP_ADJACENT:
        return place_of(order, k, j) == place_of(order, k, i) + 1;
    case OSP_VS_BASELINE:
        return i == baseline || j == baseline;
    case OSP_BEST_WORST:
        return order[0] == i && order[k - 1] == j;
    case OSP_ALL:
        break;
    }
    return true;
}

/* The strength of a pair whose values differ by this much. */
static double strength(const struct osp_settings *set, double more)
{
    return set->affine ? fmin((1 + more) / 2, 1) : sigmoid(more);
}

int osp_rank(struct pair *pair, const struct osp_settings *set, const double *lam, const int *n,
             int k, int baseline, int *order)
{
    int kept = 0, room = k * (k - 1) / 2;
    double sum = 0;

    sort(set, lam, n, k, order);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            double more = value_of(set, lam, n, i) - value_of(set, lam, n, j);
            double p = strength(set, more);
            if (!(more > 0) || !wanted(set, order, k, i, j, baseline) ||
                p < 0.5 + set->min_strength)
                continue;
            pair[kept++] = (struct pair){ .winner = i, .loser = j, .target = p,
                                          .weight = set->graded ? fmax(2 * p - 1, 0) : 1 };
        }
    for (int i = 0; i < kept; i++)
        sum += pair[i].weight;
    for (int i = 0; i < room; i++) {
        if (i >= kept)
            pair[i] = (struct pair){ .winner = 0, .loser = 1, .target = 0.5, .tie = kept == 0 };
        else if (sum > 0)
            pair[i].weight /= sum;
    }
    return kept;
}
