/* See rewards.h. */
#include "launch/rewards.h"

#include <string.h>

#include "base/status.h"
#include "launch/sizes.h"

/* Does the configuration have a reward that asks the judge of OSP? */
static bool judges(const struct config *c)
{
    for (int i = 0; i < c->n_rewards; i++)
        if (strcmp(c->rewards[i].kind, "judge") == 0)
            return true;
    return false;
}

int rewards_open(struct rewards *r, const struct config *config, const struct source *policy,
                 struct model *judge, struct compute *compute, int row_tokens)
{
    int rc = RL_OK;

    *r = (struct rewards){ .config = config };
    if (judge && judges(config))
        TRY(inputs_template(&r->template, config, policy));
    TRY(reward_sources_open(&r->sources, config, policy, row_tokens));
    TRY(reward_models_open(&r->models, &r->sources, config, compute));
    TRY(reward_create(&r->reward, &(struct reward_parts){
        .config = config, .tokenizer = policy->tokenizer, .models = r->models,
        .row_tokens = row_tokens, .judge_model = judge, .judge = r->template }));
done:
    return rc;
}

void rewards_close(struct rewards *r)
{
    reward_destroy(r->reward);
    reward_models_close(r->models, r->config);
    reward_sources_close(&r->sources);
    judge_close(r->template);
    memset(r, 0, sizeof *r);
}
