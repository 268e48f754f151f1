/* What a policy-gradient run does: the preset of its algorithm (a row of presets[]), and over it
 * what the keys of `ppo` in the configuration say.
 *
 *   TRY(policy_rules(&rules, config, a->variant));
 */
#ifndef LEARNER_POLICY_RULES_H
#define LEARNER_POLICY_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "data/batch.h"
#include "learner/policy/advantage.h"
#include "learner/policy/kl.h"
#include "learner/policy/score.h"
#include "learner/policy/surrogate.h"

enum kl_in { KL_NOWHERE, KL_IN_REWARD, KL_IN_LOSS };
enum norm { NORM_NONE, NORM_RUNNING, NORM_REFERENCE };
enum tis { TIS_OFF, TIS_TOKEN, TIS_RESPONSE };

struct policy_rules {
    const struct advantage *advantage;
    double std_eps; int ddof;           /* grpo */
    enum aggregation agg;
    double length;                      /* of seq-mean-token-sum-norm */
    bool per_response;                  /* one ratio for the whole response */
    struct clipping clip;
    int epochs, minibatches;

    double gamma, lambda;
    bool bootstrap;                     /* responses cut at the limit */
    bool critic, shared;                /* there is one; it is a head of the policy */
    double value_clip, vf_coef;         /* INFINITY: no clipping */

    bool whiten, whiten_rewards, unbiased;
    enum kl_in kl_in;
    const struct kl_estimator *kl;
    double kl_coef;                     /* at first */
    bool kl_adapts;
    double kl_target, kl_horizon;
    double entropy_coef;

    enum norm norm;
    double reward_clip;                 /* INFINITY: none */
    struct eos_rule eos;
    double overlong, overlong_cache, max_new;
    bool overlong_filter;
    double ptx_coef;
    enum tis tis;
    double tis_max;
    int max_resample;                   /* 0: groups without a signal are trained on like others */
};

/* RL_EINVAL: one line that names file, line and key. */
int policy_rules(struct policy_rules *out, const struct config *c, const char *preset);

/* What a run of this configuration needs besides: all 0 where nothing, or where the algorithm is no
 * policy gradient. */
struct policy_wants {
    bool policy;                        /* it is one */
    bool critic, shared;                /* a critic; it is a head of the policy */
    const char *critic_from;            /* the model it starts from, when it is not shared */
    int rounds;                         /* of dynamic sampling, at most, after the first */
    int text_rows;                      /* in every step, beside the responses */
    int64_t reference_rows;             /* responses to observe before training */
};
struct policy_wants policy_wants(const struct config *c);
/* Do two scores of group g of the batch differ?  Else it is sampled again, or left out. */
bool policy_signal(const struct config *c, const struct batch *b, int g);

#endif
