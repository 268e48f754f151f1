/* LiPO-lambda (Liu et al. 2024, 2402.01878): every pair of a list, weighed by how much an exchange
 * of the two would cost.  With s = beta h, labels psi and ranks tau of s:
 *
 *     L = sum over psi_i > psi_j of D_ij softplus(-(s_i - s_j))
 *     D_ij = |2^psi_i - 2^psi_j| |1 / log(1 + tau_i) - 1 / log(1 + tau_j)|        a constant */
#include "learner/losses/list.h"

#include <math.h>

#include "compute/math.h"

void lipo_ranks(int *rank, const double *s, int k)
{
    for (int i = 0; i < k; i++) {
        rank[i] = 1;
        for (int j = 0; j < k; j++)
            rank[i] += s[j] > s[i] || (s[j] == s[i] && j < i);
    }
}

double lipo_weight(double label_i, double label_j, int rank_i, int rank_j)
{
    double gain = rw_pow(2, label_i) - rw_pow(2, label_j);
    double place = 1 / rw_log(1 + rank_i) - 1 / rw_log(1 + rank_j);

    return fabs(gain) * fabs(place);
}

void list_lipo(const struct list_input *in, double *value, double *dS)
{
    double s[LIST_ROOM], beta = in->set->beta;
    int rank[LIST_ROOM];

    for (int i = 0; i < in->k; i++) {
        s[i] = beta * (in->S[i] - in->R[i]);
        dS[i] = 0;
    }
    lipo_ranks(rank, s, in->k);
    *value = 0;
    for (int i = 0; i < in->k; i++)
        for (int j = 0; j < in->k; j++) {
            if (!(in->label[i] > in->label[j]))
                continue;
            double D = lipo_weight(in->label[i], in->label[j], rank[i], rank[j]);
            double slope = beta * D * sigmoid(-(s[i] - s[j]));
            *value += D * softplus(-(s[i] - s[j]));
            dS[i] -= slope;
            dS[j] += slope;
        }
}
