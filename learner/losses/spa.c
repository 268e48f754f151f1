/* SPA (Selfie): the policy labels its own pairs, and distrusts the labels that it is least sure of.
 * They are targets of "sigmoid":
 *
 *     label      1 preferred with sigmoid(beta (h_1 - h_2)), h under the last iteration's policy
 *     target     1, or 1 - alpha where the margin is among the lowest seen lately
 *     detection  margins of (1 + lambda) h - lambda h_previous */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learner/losses/noise.h"

double spa_label(double margin, double threshold, double alpha)
{
    return margin > threshold ? 1 : 1 - alpha;
}

double spa_extrapolate(double h, double h_previous, double lambda)
{
    return (1 + lambda) * h - lambda * h_previous;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double spa_quantile(double *room, const double *margins, int n, double q)
{
    int at = (int)floor(q * (n - 1));

    memmove(room, margins, (size_t)n * sizeof *room);
    qsort(room, (size_t)n, sizeof *room, ascending);
    return room[at];
}
