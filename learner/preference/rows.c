/* See rows.h. */
#include "learner/preference/rows.h"

void rows_sum(struct learner *ln, const struct batch *b)
{
    struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];      /* from the batch to the packed rows */
        micro->S[i] = row_sum(micro->logp, from + shift, end + shift);
        micro->R[i] = b->filled & COL_REF_LOGP ? row_sum(b->ref_logp, from, end) : 0;
        micro->slope[i] = 0;
    }
}

void rows_sum_compared(struct learner *ln, const struct batch *b)
{
    rows_sum(ln, b);
    for (int i = 0; i < ln->micro.N; i++)
        rows_compare(ln, b, i);
}

void rows_spread(struct learner *ln, const struct batch *b)
{
    struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        row_fill(micro->dlogp, from + shift, end + shift, micro->slope[i]);
    }
}

double row_label(const struct learner *ln, const struct batch *b, int n)
{
    double sum = 0;

    if (!(b->filled & COL_LABEL))
        return row_score(ln, b, n);
    for (int r = 0; r < b->R; r++)
        sum += b->reward[(size_t)n * b->R + r];
    return sum;
}

double row_weight(const struct batch *b, int n)
{
    return b->filled & COL_LABEL ? b->weight[n] : 1;
}
