/* Which rank holds which roles: a function of the configuration and the number of ranks. */
#ifndef LAUNCH_PLACEMENT_H
#define LAUNCH_PLACEMENT_H

#include "base/config.h"
#include "base/text.h"

struct placement {
    int ranks;
    unsigned *roles;                    /* (ranks) bits of enum role; 0: idle */
    struct ranklist {
        int *rank;
        int count;
    } of[ROLES]; /* world ranks that hold role 1 << i, ascending */
};

/* Roles that take part in the steps of training, and in the evaluation of eval_prompts (0: there
 * is none).  Evaluation does without the reference model, and then without KL, when no rank holds
 * it. */
unsigned roles_to_train(const struct config *c);
unsigned roles_to_evaluate(const struct config *c);

/* RL_EINVAL, naming the key: a role that the algorithm needs and no rank holds, more ranks asked
 * for than there are, more learners than reduction_leaves. */
int placement_make(struct placement *p, const struct config *c, int ranks);
void placement_free(struct placement *p);
/* For fewer ranks than the groups of c->ranks ask for: "ranks=(...)", the same groups in proportion
 * (largest remainders), one rank each at least.  Fewer ranks than groups: the smallest groups
 * become one, with the roles of all, down to one rank that holds every role.  Nothing is appended
 * when the groups fit, or when there are none. */
void placement_scale(const struct config *c, int ranks, struct text *out);
const struct ranklist *placement_of(const struct placement *p, enum role role);
/* Index of a world rank in the list of a role, -1 if it does not hold it. */
int placement_index(const struct placement *p, enum role role, int rank);
/* "actor+learner", "idle". */
void placement_text(const struct placement *p, int rank, struct text *out);

#endif
