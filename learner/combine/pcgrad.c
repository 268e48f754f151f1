/* PCGrad (Yu et al. 2020, algorithm 1): each gradient loses, one after another in random order,
 * what it has against the others.  A gradient is kept as its coefficients, so that the Gram matrix
 * is all it needs. */
#include "learner/combine/internal.h"

#include <string.h>

#include "base/random.h"

/* v = g_i without what opposes the others, as coefficients. */
static void project(const double *H, int K, int i, const int *others, double *v)
{
    memset(v, 0, (size_t)K * sizeof *v);
    v[i] = 1;
    for (int n = 0; n < K - 1; n++) {
        int j = others[n];
        double along = inner(v, H + (size_t)j * (size_t)K, K);

        if (along < 0 && H[j * K + j] > 0)
            v[j] -= along / H[j * K + j];
    }
}

void pcgrad_in_order(const double *H, const double *w, int K, const int *order,
                     enum pcgrad_sum sum, double *a)
{
    double v[COMBINE_MAX];

    memset(a, 0, (size_t)K * sizeof *a);
    for (int i = 0; i < K; i++) {
        project(H, K, i, order + (size_t)i * (size_t)(K - 1), v);
        for (int j = 0; j < K; j++)
            a[j] += sum == PCGRAD_WEIGHTED ? w[i] * v[j] : v[j];
    }
    for (int j = 0; j < K && sum == PCGRAD_MEAN; j++)
        a[j] /= K;
}

/* The other objectives in the order of (a random word, index). */
static void draw_order(int K, int i, const struct combine_settings *set, int *others)
{
    uint32_t key[COMBINE_MAX];
    int n = 0;

    for (int j = 0; j < K; j++) {
        struct counter at = { .seed = set->seed, .purpose = PURPOSE_COMBINE, .step = set->step,
                              .prompt = (uint32_t)i, .sample = (uint32_t)j };
        uint32_t words[4];
        int place;

        if (j == i)
            continue;
        random_words(&at, words);
        for (place = n++; place > 0 && key[place - 1] > words[0]; place--) {
            key[place] = key[place - 1];
            others[place] = others[place - 1];
        }
        key[place] = words[0];
        others[place] = j;
    }
}

void rule_pcgrad(const double *H, const double *w, int K, const struct combine_settings *set,
                 double *a, struct combine_report *r)
{
    int order[COMBINE_MAX * COMBINE_MAX];

    for (int i = 0; i < K; i++)
        draw_order(K, i, set, order + (size_t)i * (size_t)(K - 1));
    pcgrad_in_order(H, w, K, order, set->pcgrad, a);
    memcpy(r->p, a, (size_t)K * sizeof *a);
    memcpy(r->mix, a, (size_t)K * sizeof *a);
}
