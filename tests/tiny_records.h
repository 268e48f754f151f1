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

/* Does the algorithm learn from rollouts too? */
static inline bool learns_online(const struct tiny_records *t)
{
    return strcmp(t->algorithm, "dove") != 0 && strcmp(t->algorithm, "mapl") != 0 &&
           strcmp(t->algorithm, "reward_augmented") != 0;
}

/* Four responses to each prompt, scored; spa scores its own, against another reference. */
static inline struct config rollout_settings(const struct tiny_records *t)
{
    struct config c = record_settings(t);

    c.source = "prompts";
    c.rewards = &one_reward;
    c.n_rewards = 1;
    c.refmodel = "another";
    return c;
}

/* A reference that is not the policy: without it spa has no preferences. */
static inline void move_reference(struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
            b->ref_logp[t] -= 0.3f * (float)(b->tokens[t] % 5);
}

/* Two objectives on the same pairs, of rollouts or records. */
static struct config_reward two_rewards[2] = { { .kind = "length", .name = "a", .weight = 1 },
                                               { .kind = "words", .name = "b", .weight = 2 } };
static double two_weights[2] = { 0.7, 0.3 };

static inline struct config objective_settings(const char *algorithm, const char *source)
{
    struct config c = settings(algorithm);
    bool modpo = strcmp(algorithm, "modpo") == 0;

    c.source = (char *)source;
    c.rewards = two_rewards;
    c.n_rewards = 2;
    c.raco.weights = (struct reals){ two_weights, 2 };
    c.dpo.loss = modpo ? "sigmoid" : "simpo";
    c.amopo.alpha = "static";
    return c;
}

/* Scores that often disagree; of records signs: 1 and 0. */
static inline void label_objectives(struct run *r)
{
    struct batch *b = r->b;
    bool records = r->config.source && strcmp(r->config.source, "pairs") == 0;

    for (int i = 0; i < b->N * 2; i++) {
        uint32_t at = (uint32_t)(b->group * b->k * 2 + i);
        b->reward[i] = (double)(tiny_word(at + 300) % (records ? 2 : 9));
    }
    for (int n = 0; n < b->N; n++) {
        b->weight[n] = 1;
        b->objective[n] = -1;
        b->annotator[n] = 0;
        b->margin[n] = 0;
    }
    if (records)
        b->filled = COL_TOKENS | COL_REWARD | COL_LABEL | COL_REF_LOGP;
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
