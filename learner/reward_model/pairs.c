/* Records become pairs: all k (k - 1) / 2 of a record's rows, in one group, so that a prompt with
 * many answers counts no more than one with two (Ouyang et al. 2022). */
#include <math.h>
#include <string.h>

#include "learner/reward_model/method.h"

/* Columns of rewards, each with a head of its own; 1 where there is one head, or one a data set. */
static int columns_of(const struct learner *ln, const struct batch *b)
{
    bool by_column = ln->shape.verdict.kind == VERDICT_SCORES && ln->scores > 1 && b->R > 1;

    return by_column ? (b->R < ln->scores ? b->R : ln->scores) : 1;
}

int rm_room(const struct learner *ln, int k)
{
    int heads = ln->shape.verdict.kind == VERDICT_SCORES ? ln->scores : 1;

    return k * (k - 1) / 2 * heads;
}

bool rm_heads_of_sets(const struct learner *ln, const struct batch *b)
{
    return ln->shape.verdict.kind == VERDICT_SCORES && ln->scores > 1 && b->R == 1;
}

static bool equal_rows(const struct batch *b, int i, int j)
{
    int n = b->start[i + 1] - b->start[i];

    return n == b->start[j + 1] - b->start[j] && b->prompt_len[i] == b->prompt_len[j] &&
           memcmp(b->tokens + b->start[i], b->tokens + b->start[j],
                  (size_t)n * sizeof *b->tokens) == 0;
}

/* Rows i and j of the batch as a pair by column r; false: they are none. */
static bool pair_of(const struct learner *ln, const struct batch *b, int i, int j, int r,
                    struct rm_pair *pair)
{
    const struct reward_model *rm = ln->state;
    double gap = b->reward[(size_t)i * b->R + r] - b->reward[(size_t)j * b->R + r];

    if (!(b->weight[i] > 0 && b->weight[j] > 0 && isfinite(gap)) || gap == 0 || equal_rows(b, i, j))
        return false;
    pair->w = gap > 0 ? i : j;
    pair->l = gap > 0 ? j : i;
    pair->margin = rm->margin == MARGIN_GIVEN    ? b->margin[pair->w]
                   : rm->margin == MARGIN_SCORES ? ln->config->reward_model.margin_scale * fabs(gap)
                                                 : 0;
    return true;
}

/* The head of a pair by column r: of a data set when records say which. */
static int head_of(const struct learner *ln, const struct batch *b, int first, int r)
{
    if (!rm_heads_of_sets(ln, b))
        return r;
    return b->objective[first] >= 0 && b->objective[first] < ln->scores ? b->objective[first] : 0;
}

int rm_pairs(const struct learner *ln, const struct batch *b, int g, struct rm_pair *out)
{
    int first = g * b->k, n = 0, columns = columns_of(ln, b);

    for (int r = 0; r < columns; r++) {
        int from = n;

        for (int i = first; i < first + b->k; i++)
            for (int j = i + 1; j < first + b->k; j++)
                if (pair_of(ln, b, i, j, r, &out[n])) {
                    out[n].w -= first;
                    out[n].l -= first;
                    out[n++].head = head_of(ln, b, first, r);
                }
        for (int p = from; p < n; p++)
            out[p].weight = b->weight[first] / (n - from);
    }
    return n;
}
