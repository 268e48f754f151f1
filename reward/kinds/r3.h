/* R3, the regularised relevance reward (arXiv 2402.03469), as arithmetic. */
#ifndef REWARD_KINDS_R3_H
#define REWARD_KINDS_R3_H

#include <stdbool.h>

struct r3_input {
    double tokens;                      /* in the response */
    double unique, total;               /* trigrams: different ones, all */
    double relevance;
    bool constrained;                   /* the prompt has a reference answer */
    double max_len;                     /* tokens; constrained only */
};

/* open:         tokens / 100 x relevance x unique / total
 * constrained:  relevance x (max_len / 100) / 3.5 x unique / total
 * without trigrams the ratio is 1. */
double r3_reward(const struct r3_input *in);

#endif
