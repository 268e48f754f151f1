/* PRO (Song et al. 2023, 2306.17492): each response against all worse ones, best first, with a
 * temperature for each of them from the gap of the rewards.  A = S / n, T_k = max of (r_k - r_j):
 *
 *     L = sum over k of [ logsumexp(A_k T_k, A_j (r_k - r_j) for j > k) - A_k T_k ]
 *         + sft (n - 1)^2 (-S_best) */
#include "learner/losses/list.h"

/* The first sum, of responses sorted best first, and its slopes dA(k). */
static double ranking(const double *A, const double *r, int k, double *dA)
{
    double v[LIST_ROOM], all, T, value = 0;

    for (int i = 0; i < k; i++)
        dA[i] = 0;
    for (int i = 0; i < k - 1; i++) {
        T = r[i] - r[i + 1];
        for (int j = i + 1; j < k; j++) {
            T = r[i] - r[j] > T ? r[i] - r[j] : T;
            v[j] = A[j] * (r[i] - r[j]);
        }
        v[i] = A[i] * T;
        all = logsumexp(v + i, k - i);
        value += all - v[i];
        softmax(v + i, v + i, k - i);
        dA[i] += T * (v[i] - 1);
        for (int j = i + 1; j < k; j++)
            dA[j] += (r[i] - r[j]) * v[j];
    }
    return value;
}

/* order(k): best first, the first index first among equals. */
static void sort(int *order, const double *label, int k)
{
    for (int i = 0; i < k; i++) {
        int at = i;
        for (; at > 0 && label[order[at - 1]] < label[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

void list_pro(const struct list_input *in, double *value, double *dS)
{
    double A[LIST_ROOM] = { 0 }, r[LIST_ROOM] = { 0 }, dA[LIST_ROOM], weight;
    int order[LIST_ROOM], k = in->k;

    sort(order, in->label, k);
    for (int i = 0; i < k; i++) {
        A[i] = in->S[order[i]] / tokens_of(in->n[order[i]]);
        r[i] = in->label[order[i]];
    }
    *value = ranking(A, r, k, dA);
    for (int i = 0; i < k; i++)
        dS[order[i]] = dA[i] / tokens_of(in->n[order[i]]);
    weight = in->set->sft * (k - 1) * (k - 1);
    *value -= weight * in->S[order[0]];
    dS[order[0]] -= weight;
}
