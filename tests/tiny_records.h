/* Made-up records: the rows of a tiny batch, labelled as a file would label them. */
#ifndef TESTS_TINY_RECORDS_H
#define TESTS_TINY_RECORDS_H

#include "tests/tiny_learner.h"

/* An algorithm that learns from records, and what it finds in them. */
struct tiny_records { const char *algorithm; int k; };

static const struct tiny_records tiny_records[] = {
    { "dpo", 2 }, { "cdpo", 2 }, { "ipo", 2 }, { "rdpo", 2 }, { "ln_dpo", 2 }, { "simpo", 2 },
    { "cpo", 2 }, { "orpo", 2 }, { "slic", 2 }, { "mapo", 2 }, { "nca", 2 }, { "sppo", 2 },
    { "apo", 2 }, { "lcpo", 2 }, { "spa", 2 }, { "reward_augmented", 2 }, { "dove", 2 },
    { "mapl", 2 }, { "lipo", 4 }, { "pro", 4 }, { "listwise_soft", 4 }, { "gpo", 4 },
    { "kto", 2 }, { "bco", 1 }, { NULL, 0 },
};

static inline struct config record_settings(const struct tiny_records *t)
{
    struct config c = settings(t->algorithm);
    const struct algorithm *a = algorithm_find(t->algorithm);

    assert_non_null(a);
    c.n_rewards = 0;
    if (a->variant && strcmp(a->variant, "ipo ipo_sum") == 0)
        c.dpo.loss = "ipo";
    else if (a->variant)
        c.dpo.loss = (char *)a->variant;        /* lists and singles have their own */
    if (strcmp(t->algorithm, "cdpo") == 0)
        c.dpo.label_smoothing = 0.1;
    return c;
}

/* The rows of the run's batch become records: pairs, lists of 4 of which some are shorter, singles
 * with a mismatched twin (kto) or without (bco). */
static inline void label_records(struct run *r)
{
    struct batch *b = r->b;
    bool twins = strcmp(r->config.algorithm, "kto") == 0;

    for (int n = 0; n < b->N; n++) {
        int row = b->group * b->k + n, group = row / b->k, sample = row % b->k;
        bool filler = b->k == 4 ? group % 3 == 1 && sample == 3 : twins && sample == 1;
        b->weight[n] = filler ? 0 : 1 + group % 2;
        b->margin[n] = 0;
        b->annotator[n] = group % 3;
        b->objective[n] = -1;
        if (b->k == 2)
            b->reward[n] = twins ? sample == 0 && group % 2 : sample == 0;
        if (b->k == 1)
            b->reward[n] = group % 2;
    }
    for (int n = 0; strcmp(r->config.algorithm, "dove") == 0 && n < b->N; n++) {
        for (int t = b->start[n] + 1; t < b->start[n] + b->prompt_len[n]; t++)
            b->ref_logp[t] = -2;
        b->prompt_len[n] = 0;       /* the prompt is learned too */
    }
    b->filled = COL_TOKENS | COL_REWARD | COL_LABEL | COL_REF_LOGP;
}

#endif
