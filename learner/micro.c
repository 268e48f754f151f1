/* Micro-batches: whole groups, those of their rows that are used, packed one behind the other. */
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"
#include "model/passes.h"

int row_response(const struct batch *b, int n, int *from)
{
    int first = b->prompt_len[n] > 1 ? b->prompt_len[n] : 1;

    *from = b->start[n] + first;
    return b->start[n + 1];
}

double row_sum(const float *x, int from, int end)
{
    double sum = 0;

    for (int t = from; t < end; t++)
        sum += (double)x[t];
    return sum;
}

void row_fill(float *x, int from, int end, double value)
{
    for (int t = from; t < end; t++)
        x[t] = (float)value;
}

int micro_check(const struct batch *b, int max_row_tokens)
{
    if (b->N != b->groups * b->k)
        return rl_error(RL_EBUG, "step %lld: %d rows in %d groups of %d", (long long)b->step, b->N,
                        b->groups, b->k);
    for (int n = 0; n < b->N; n++) {
        int length = b->start[n + 1] - b->start[n];
        if (length < 1 || length > max_row_tokens || b->prompt_len[n] < 0 ||
            b->prompt_len[n] > length)
            return rl_error(RL_EBUG, "step %lld: row %d has %d tokens, %d of them prompt; there is "
                            "room for %d", (long long)b->step, b->group * b->k + n, length,
                            b->prompt_len[n], max_row_tokens);
    }
    return RL_OK;
}

int gradients_count(struct learner *ln, const struct batch *b)
{
    ln->counted[0] = ln->counted[1] = 0;
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        if (ln->place[n] < 0)
            continue;
        ln->counted[0] += end > from ? end - from : 0;
        ln->counted[1] += end - b->start[n];
    }
    return comm_sum_int64(ln->team, ln->counted, 2, PHASE_COUNT);
}

void micro_layout(struct micro *micro, struct memory *memory, unsigned outputs, int scores)
{
    size_t tokens = (size_t)micro->max_tokens, rows = tokens;     /* of one token, at most */
    size_t entropies = outputs & OUT_ENTROPY ? tokens : 0;
    size_t values = outputs & OUT_SCORE ? tokens * (size_t)scores : 0;

    micro->row = memory_take(memory, rows * sizeof(int));
    micro->start = memory_take(memory, (rows + 1) * sizeof(int));
    micro->tokens = memory_take(memory, tokens * sizeof(int));
    micro->logp = memory_take(memory, tokens * sizeof(float));
    micro->dlogp = memory_take(memory, tokens * sizeof(float));
    micro->entropy = memory_take(memory, entropies * sizeof(float));
    micro->dentropy = memory_take(memory, entropies * sizeof(float));
    micro->score = memory_take(memory, values * sizeof(float));
    micro->dscore = memory_take(memory, values * sizeof(float));
    micro->S = memory_take(memory, rows * sizeof(double));
    micro->R = memory_take(memory, rows * sizeof(double));
    micro->slope = memory_take(memory, rows * sizeof(double));
}

static void clear(struct micro *micro)
{
    micro->N = micro->T = micro->groups = 0;
    micro->start[0] = 0;
}

static void add_row(struct micro *micro, const struct batch *b, int n)
{
    int length = b->start[n + 1] - b->start[n];

    memcpy(micro->tokens + micro->T, b->tokens + b->start[n], (size_t)length * sizeof(int));
    micro->T += length;
    micro->row[micro->N++] = n;
    micro->start[micro->N] = micro->T;
}

struct groups {
    const struct learner *ln;
    const struct batch *b;
    row_in *in;
};

static int tokens_of_group(const void *of, int group)
{
    const struct groups *g = of;
    const struct batch *b = g->b;
    int tokens = 0;

    for (int n = group * b->k; n < (group + 1) * b->k; n++)
        tokens += g->in(g->ln, b, n) ? b->start[n + 1] - b->start[n] : 0;
    return tokens;
}

int micro_pack_rows(struct learner *ln, const struct batch *b, row_in *in, int group, int last,
                    int end)
{
    struct micro *micro = &ln->micro;
    struct groups groups = { ln, b, in };
    struct passes passes = { end, micro->max_tokens, tokens_of_group, &groups };

    clear(micro);
    micro->group = group;
    last = pass_end(&passes, group, last);
    micro->groups = last - group;
    for (int n = group * b->k; n < last * b->k; n++)
        if (in(ln, b, n))
            add_row(micro, b, n);
    return last;
}

bool row_any(const struct learner *ln, const struct batch *b, int n)
{
    (void)ln, (void)b, (void)n;
    return true;
}

int micro_pack_each(struct learner *ln, const struct batch *b, int n)
{
    struct batch each = *b;

    each.k = 1;
    each.groups = b->N;
    return micro_pack_rows(ln, &each, row_any, n, b->N, b->N);
}

static bool row_marked(const struct learner *ln, const struct batch *b, int n)
{
    (void)b;
    return ln->place[n] >= 0;
}

int micro_pack(struct learner *ln, const struct batch *b, int group, int last, int end)
{
    const struct micro *micro = &ln->micro;

    last = micro_pack_rows(ln, b, row_marked, group, last, end);
    for (int i = 0; i < micro->N; i++)
        ln->place[micro->row[i]] = i;
    return last;
}
