/* Advantages: how much better a response, or a token of it, was than expected.
 *
 *   name                    of the G responses of a prompt, score r_i, length n_i    per
 *   gae                     gae.h, with a critic                                     token
 *   reinforce_pp            return-to-go of the shaped reward, whitened              token
 *   rloo                    r_i - mean of the others                                 response
 *   grpo                    (r_i - mean) / (std + eps), std over G - 1               response
 *   group_mean              r_i - mean                                               response
 *   opo                     r_i - sum n_j r_j / sum n_j                              response
 *   reinforce_pp_baseline   r_i - mean, whitened                                     response
 *
 * RLOO: Ahmadian et al. 2024.  GRPO: Shao et al. 2024; its mean alone is Dr. GRPO, Liu et al. 2025.
 * OPO: Hao et al. 2025.  REINFORCE++: Hu 2025.  Whitening goes over all ranks: whiten.h.
 */
#ifndef LEARNER_POLICY_ADVANTAGE_H
#define LEARNER_POLICY_ADVANTAGE_H

#include <stdbool.h>

struct advantage_group {
    const double *score;        /* (G); one that is not finite did not come */
    const int *length;          /* (G) masked tokens */
    int G;
    double eps;                 /* grpo: 1e-6 */
    int ddof;                   /* grpo: 1, or 0 for the population's std */
};

struct advantage {
    const char *name;
    /* adv (G), NULL where the estimate is per token.  A response without a score has advantage 0
     * and is not part of the group's statistics; a group of equal scores has advantages of exactly
     * 0, and so has a lone response under everything but grpo (mean 0, std 1). */
    void (*group)(const struct advantage_group *g, double *adv);
    bool critic;                /* needs values */
    bool whiten;                /* is whitened by definition */
};
extern const struct advantage advantages[];             /* ends with name NULL */
const struct advantage *advantage_find(const char *name);

#endif
