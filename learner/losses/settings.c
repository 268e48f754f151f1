/* From the keys of the configuration to what the losses read. */
#include <string.h>

#include "learner/losses/loss.h"

void loss_settings_fill(struct loss_settings *set, const struct config *c)
{
    *set = (struct loss_settings){
        .beta = c->beta, .label_smoothing = c->dpo.label_smoothing, .nll = c->dpo.nll,
        .nll_sum = c->dpo.nll_of && strcmp(c->dpo.nll_of, "sum") == 0, .epsilon = c->dpo.epsilon,
        .gamma = c->dpo.gamma, .lambda = c->dpo.lambda, .margin = c->dpo.margin,
        .zeta = c->dpo.zeta, .kappa = c->dpo.kappa, .affine_eps = c->dpo.affine_eps,
        .w_main = 1, .base = loss_find("sigmoid"), .lambda_d = c->kto.lambda_d,
        .lambda_u = c->kto.lambda_u, .sft = c->list.sft, .eta = c->list.eta,
    };
}
