/* Labelling: scores -> pairs (spec: online DPO, labelling).
 *
 *   scores        0.3   1.7  -0.2   1.7   0.9
 *   best_worst          best worst
 *   all           every i < j, each 2 / (k (k - 1)): a group weighs 1, less what is dropped
 */
#include "learner/targets.h"

#include <math.h>
#include <string.h>

#include "base/status.h"

int pairing_parse(enum pairing *pairing, const char *name)
{
    static const char *const names[] = { "pair", "best_worst", "all" };

    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *pairing = (enum pairing)i;
            return RL_OK;
        }
    return rl_error(RL_EINVAL, "dpo.pairing: '%s' is not one of pair, best_worst, all", name);
}

int tie_policy_parse(enum tie_policy *policy, const char *name)
{
    static const char *const names[] = { "drop", "soft", "first" };

    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *policy = (enum tie_policy)i;
            return RL_OK;
        }
    return rl_error(RL_EINVAL, "dpo.tie_policy: '%s' is not one of drop, soft, first", name);
}

int label_pairs(enum pairing pairing, int k)
{
    return pairing == PAIRING_ALL ? k * (k - 1) / 2 : 1;
}

void label_adjust(double *scores, const bool *has_eos, int k, double penalty)
{
    for (int i = 0; i < k; i++)
        if (!has_eos[i])
            scores[i] -= penalty;
}

int label_best(const double *scores, int k)
{
    int best = 0;

    for (int i = 1; i < k; i++)
        if (scores[i] > scores[best] || (isnan(scores[best]) && !isnan(scores[i])))
            best = i;
    return best;
}

int label_worst(const double *scores, int k)
{
    int worst = 0;

    for (int i = 1; i < k; i++)
        if (scores[i] < scores[worst] || (isnan(scores[worst]) && !isnan(scores[i])))
            worst = i;
    return worst;
}

struct pair label_pair(const double *scores, int i, int j, enum tie_policy policy, double eps,
                       bool identical)
{
    struct pair p = { .winner = i, .loser = j, .weight = 1, .target = 1 };

    p.tie = fabs(scores[i] - scores[j]) <= eps;
    if (!p.tie && scores[j] > scores[i]) {
        p.winner = j;
        p.loser = i;
    }
    if (p.tie && policy == TIE_DROP)
        p.weight = 0;
    if (p.tie && policy == TIE_SOFT)
        p.target = 0.5;
    if (isnan(scores[i]) || isnan(scores[j]))
        p.weight = 0;
    if (identical)
        p.weight = 0;       /* its margin is 0 for ever: only the label would be noise */
    return p;
}

/* The two samples that best_worst compares, lower index first, as the policy `first` means. */
static void extremes(const double *scores, int k, int *i, int *j)
{
    int best = label_best(scores, k), worst = label_worst(scores, k);

    if (best == worst) {        /* all that have a score are equal */
        best = 0;
        worst = 1;
    }
    *i = best < worst ? best : worst;
    *j = best < worst ? worst : best;
}

int label_group(struct pair *pairs, const double *scores, int k, enum pairing pairing,
                enum tie_policy policy, double eps, bool (*same)(int i, int j, void *user),
                void *user)
{
    int n = 0, first = 0, second = 1;

    if (pairing != PAIRING_ALL) {
        if (pairing == PAIRING_BEST_WORST)
            extremes(scores, k, &first, &second);
        pairs[0] = label_pair(scores, first, second, policy, eps, same(first, second, user));
        return 1;
    }
    for (int i = 0; i < k; i++)
        for (int j = i + 1; j < k; j++) {
            pairs[n] = label_pair(scores, i, j, policy, eps, same(i, j, user));
            pairs[n++].weight *= 2.0 / ((double)k * (k - 1));
        }
    return n;
}
