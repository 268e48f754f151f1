/* Ranking accuracy (spec: diagnostics). */
#include "learner/losses/ranking.h"

#include "learner/losses/loss.h"

bool ranks_right(double S_w, double S_l)
{
    return S_w >= S_l;
}

bool ranks_right_by_token(double S_w, double S_l, int n_w, int n_l)
{
    return S_w / tokens_of(n_w) >= S_l / tokens_of(n_l);
}

double ideal_log_ratio(double R_w, double R_l, double alpha, double beta)
{
    return (R_w - R_l) + logit(alpha) / beta;
}
