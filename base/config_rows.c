/* The keys of the configuration: one row each, and what the table alone can answer: which key was
 * meant. */
#include "base/config_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_row_kinds.h"

#define AT(field) offsetof(struct config, field)

const struct row config_rows[] = {
    HEADING("What to train on what"),
    WORD("algorithm", algorithm, "", NULL, ROW_FIXED,
         "how to train: a name of docs/algorithms.md (rankwise train --algorithms)"),
    WORD("model", model, "", NULL, ROW_FIXED,
         "the model to train: a Hugging Face folder, a checkpoint or a run folder"),
    WORD("model_init", model_init, "load", "load random", ROW_FIXED,
         "load its weights, or random ones (.json files are enough), also as refmodel, critic"),
    { "refmodel", ROW_STRING, AT(refmodel), "", 0, 0, NULL, ROW_FIXED,
      "the frozen reference model", "model" },
    { "source", ROW_STRING, AT(source), "", 0, 0, "prompts pairs", ROW_FIXED,
      "where responses come from: sampled for prompts, or records of pairs", "the algorithm's" },
    WORD("prompts", prompts, "", NULL, ROW_FIXED, "JSONL of prompts to sample from, plain or gzip"),
    WORD("eval_prompts", eval_prompts, "", NULL, 0,
         "JSONL of held-out prompts, sampled and scored; any algorithm"),
    LIST("pairs", ROW_STRINGS, pairs, ROW_FIXED,
         "files of pairs, lists or labelled singles (docs/formats.md); each is a data set", NULL),
    LIST("eval_pairs", ROW_STRINGS, eval_pairs, 0,
         "held-out files of pairs, for ranking accuracy; any algorithm", NULL),
    LIST("text", ROW_STRINGS, text, ROW_FIXED, "lm: files of text to train on", NULL),
    LIST("eval_text", ROW_STRINGS, eval_text, 0,
         "held-out files of text, for their perplexity; any algorithm", NULL),
    WORD("output", output, "", NULL, 0, "the run folder; made if it is not there"),
    LIST("rewards", ROW_REWARDS, rewards, ROW_FIXED,
         "what scores a response: a list of groups, see below", NULL),
    LIST("ranks", ROW_RANKS, ranks, 0, "which ranks hold which roles: a list of groups, see below",
         "every rank, every role"),

    HEADING("How long, how much"),
    INT("seed", seed, "1", 0, SEEDS, ROW_FIXED, "of every random number"),
    INT("steps", steps, "100", 1, STEPS, 0, "updates of the weights"),
    INT("prompts_per_step", prompts_per_step, "16", 1, MANY, ROW_FIXED,
        "prompts sampled a step, or records read"),
    INT("samples_per_prompt", samples_per_prompt, "4", 1, 1024, ROW_FIXED,
        "responses to each prompt; what compares them needs 2 or more"),
    INT("max_new", max_new, "64", 1, MANY, ROW_FIXED, "tokens in a response, at most"),
    INT("row_tokens", row_tokens, "0", 0, MANY, ROW_FIXED,
        "tokens in a packed row of text or eval_text; 0: the model's context"),
    INT("rows_per_step", rows_per_step, "16", 1, MANY, ROW_FIXED, "lm: packed rows in a step"),
    INT("micro_rows", micro_rows, "16", 1, MANY, 0,
        "rows in one forward and backward pass, at least one prompt's; changes memory, not bits"),
    INT("max_lag", max_lag, "0", 0, 1, ROW_FIXED,
        "steps between the weights that sample and those that train; 1 overlaps the two"),
    BOOL("shuffle", shuffle, "true", ROW_FIXED, "prompts or rows in a new order every epoch"),
    WORD("long_prompts", long_prompts, "error", "error skip", ROW_FIXED,
         "a prompt or record too long for the model ends the run, or is skipped and counted"),

    HEADING("Records of pairs"),
    WORD("bad_records", bad_records, "error", "error drop", ROW_FIXED,
         "empty or equal answers, a missing field or label: the run ends, or they are dropped"),
    WORD("mix", mix, "all", "all in_turn", ROW_FIXED,
         "of several files: all records in one order, or one of each file in turn"),
    { "join", ROW_STRING, AT(join), "", 0, 0, NULL, ROW_FIXED,
      "between prompt and answer, when both are text", "nothing" },
    BOOL("append_eos", append_eos, "true", ROW_FIXED,
         "answers that are text end in the model's end of text"),
    WORD("target_text", target_text, "Target score: {score}. ", NULL, ROW_FIXED,
         "reward_augmented: the text before a prompt"),

    HEADING("Sampling"),
    REAL("temperature", temperature, "0.9", 0, 100, ROW_FIXED,
         "divides the logits; training needs more than 0"),
    INT("top_k", top_k, "0", 0, MANY, ROW_FIXED, "sample from the k likeliest tokens; 0: from all"),
    REAL("top_p", top_p, "1", 1e-6, 1, ROW_FIXED,
         "sample from the likeliest tokens that hold this share of the probability"),
    REAL("min_p", min_p, "0", 0, 1, ROW_FIXED,
         "sample from tokens at least this share as likely as the likeliest"),
    REAL("repetition_penalty", repetition_penalty, "1", 1e-3, 1000, ROW_FIXED,
         "divides logits above 0, multiplies those below, of tokens that a row has; 1: off"),
    { "stop_tokens", ROW_INTS, AT(stop_tokens), "", 0, IDS, NULL, ROW_FIXED,
      "ids that end a response, as the model's end of text does", NULL },
    LIST("stop", ROW_STRINGS, stop, ROW_FIXED,
         "strings that end a response, with the token in which one is complete", NULL),

    HEADING("Learning"),
    { "beta", ROW_REAL, AT(beta), "0.1", 1e-6, 1000, NULL, ROW_FIXED,
      "strength of the pull to the reference model; scale of the margin in losses without one",
      "0.1; simpo 2.5, ln_dpo 5, amopo 0.8" },
    REAL("lr", lr, "5e-7", 0, 10, ROW_FIXED, "learning rate"),
    REAL("lr_min", lr_min, "0", 0, 10, ROW_FIXED, "where the linear and cosine schedules end"),
    WORD("schedule", schedule, "constant", "constant linear cosine", ROW_FIXED,
         "of the learning rate after the warm-up"),
    REAL("warmup", warmup, "0", 0, STEPS, ROW_FIXED,
         "linear warm-up: below 1 a fraction of steps, else a number of steps"),
    REAL("clip_norm", clip_norm, "1", 0, 1e9, ROW_FIXED,
         "largest global norm of the gradient; 0: no clipping"),
    { "dpo.loss", ROW_STRING, AT(dpo.loss), "sigmoid", 0, 0,
      "sigmoid ipo ipo_sum hinge rdpo ln_dpo simpo cpo orpo slic mapo nca sppo apo_zero "
      "spce_affine",
      ROW_FIXED, "pairwise loss; ipo is the mean over tokens, ipo_sum the sum",
      "sigmoid; the algorithm's own" },
    { "dpo.pairing", ROW_STRING, AT(dpo.pairing), "", 0, 0, "pair best_worst all", ROW_FIXED,
      "which responses become pairs", "best_worst; pair for 2 samples" },
    WORD("dpo.tie_policy", dpo.tie_policy, "drop", "drop soft first", ROW_FIXED,
         "equal scores: no pair, target 0.5, or the first wins"),
    REAL("dpo.tie_eps", dpo.tie_eps, "1e-6", 0, 1e9, ROW_FIXED,
         "scores this close are equal"),
    { "dpo.label_smoothing", ROW_REAL, AT(dpo.label_smoothing), "0", 0, 0.5, NULL, ROW_FIXED,
      "probability that a label is wrong; sigmoid only", "0; cdpo 0.1" },
    REAL("dpo.missing_eos_penalty", dpo.missing_eos_penalty, "0", 0, 1e9, ROW_FIXED,
         "taken from the score of a response cut at the limit"),
    { "dpo.nll", ROW_REAL, AT(dpo.nll), "0", 0, 1000, NULL, ROW_FIXED,
      "weight of the chosen response's negative log-probability", "0; cpo 1, slic 0.5" },
    WORD("dpo.nll_of", dpo.nll_of, "mean", "mean sum", ROW_FIXED,
         "the mean over the chosen response's tokens, or their sum"),
    REAL("dpo.epsilon", dpo.epsilon, "0.1", 0, 0.49, ROW_FIXED,
         "rdpo: probability that a label is wrong"),
    { "dpo.gamma", ROW_REAL, AT(dpo.gamma), "1.375", 0, 1000, NULL, ROW_FIXED,
      "simpo: margin to reach, in units of beta times the mean log-probability", "1.375; amopo 0" },
    REAL("dpo.lambda", dpo.lambda, "0.1", 0, 1000, ROW_FIXED, "orpo: weight of the odds ratio"),
    REAL("dpo.margin", dpo.margin, "1", 0, 1e6, ROW_FIXED, "slic: margin to reach, in nats"),
    REAL("dpo.zeta", dpo.zeta, "0.5", 1e-6, 1000, ROW_FIXED,
         "mapo: how fast the amplifying weight falls with the loss of a token"),
    REAL("dpo.kappa", dpo.kappa, "1", 0, 1e6, ROW_FIXED, "mapo: scale of the margin"),
    REAL("dpo.affine_eps", dpo.affine_eps, "0.01", 1e-6, 0.49, ROW_FIXED,
         "spce_affine: the policy's preference is kept this far from 0 and 1"),
    REAL("kto.lambda_d", kto.lambda_d, "1", 0, 1000, ROW_FIXED,
         "kto: weight of desirable responses"),
    REAL("kto.lambda_u", kto.lambda_u, "1", 0, 1000, ROW_FIXED,
         "kto: weight of undesirable responses; lambda_d n_d / (lambda_u n_u) of 1 to 4/3 is good"),
    WORD("kto.labels", kto.labels, "group_mean", "group_mean threshold", ROW_FIXED,
         "kto, bco on rollouts: desirable is a score above the prompt's mean, or at kto.threshold"),
    REAL("kto.threshold", kto.threshold, "0", -1e9, 1e9, ROW_FIXED,
         "the lowest score of a desirable rollout"),
    WORD("bco.delta", bco.delta, "running", "running classes", ROW_FIXED,
         "bco: the shift is one running mean, or the mean of those of the two classes"),
    BOOL("bco.udm", bco.udm, "false", ROW_FIXED,
         "bco: undesirable responses to prompts like those of desirable ones weigh more"),
    INT("bco.udm_rows", bco.udm_rows, "2048", 2, MANY, ROW_FIXED,
        "bco.udm: records that its classifier of prompts is fitted to, at most"),
    REAL("bco.udm_min", bco.udm_min, "0.5", 0, 1e6, ROW_FIXED, "bco.udm: the smallest weight"),
    REAL("bco.udm_max", bco.udm_max, "10", 0, 1e6, ROW_FIXED, "bco.udm: the largest weight"),
    REAL("list.temperature", list.temperature, "1", 1e-6, 1e9, ROW_FIXED,
         "listwise_soft: the target is the softmax of score / this"),
    WORD("list.preference", list.preference, "score", "score probability given", ROW_FIXED,
         "gpo: s_i - s_j, sigmoid(s_i - s_j) - 1/2, or s_i is a mean preference already (gpm)"),
    WORD("list.labels", list.labels, "scaled", "scaled given", ROW_FIXED,
         "lipo: scores are scaled to [0, 1] in each list, or are labels as they are"),
    REAL("list.sft", list.sft, "0.05", 0, 1000, ROW_FIXED,
         "pro: weight of the best response's likelihood"),
    REAL("list.eta", list.eta, "1", 1e-6, 1e6, ROW_FIXED,
         "gpo: log-ratio to the last policy for a preference score of 1"),
    REAL("lcpo.eta", lcpo.eta, "0.9", 0.5, 1, ROW_FIXED,
         "lcpo: how often an annotator is right, at first"),
    REAL("lcpo.rate", lcpo.rate, "0.1", 0, 1, ROW_FIXED,
         "lcpo: how fast it follows the confidence of a step"),
    INT("lcpo.annotators", lcpo.annotators, "16", 1, MANY, ROW_FIXED,
        "lcpo: annotators, at most; they are numbered from 0"),
    REAL("spa.alpha", spa.alpha, "0.1", 0, 0.5, ROW_FIXED,
         "spa: probability that an uncertain label is wrong"),
    REAL("spa.quantile", spa.quantile, "0.1", 0, 1, ROW_FIXED,
         "spa: share of the recent margins, the lowest, that are uncertain"),
    REAL("spa.after", spa.after, "0.2", 0, 1, ROW_FIXED,
         "spa: share of the steps before labels are doubted"),
    REAL("spa.lambda", spa.lambda, "0.5", 0, 100, ROW_FIXED,
         "spa: how far margins are extrapolated beyond the policy that sampled"),
    INT("spa.window", spa.window, "1024", 1, MANY, ROW_FIXED,
        "spa: margins that count as recent"),
    WORD("osp.judge", osp.judge, "current", "current frozen ema", ROW_FIXED,
         "who judges: the policy as it is, refmodel, or a mean of the policy over steps"),
    REAL("osp.decay", osp.decay, "0.99", 0, 0.999999, ROW_FIXED, "of that mean, a step"),
    WORD("osp.template", osp.template, "", NULL, ROW_FIXED,
         "judge, osp: a file with the judge prompt: {prompt}, {a}, {b}; default: a built-in one"),
    WORD("osp.average", osp.average, "logit", "logit probability", ROW_FIXED,
         "of both orders: the logits cancel a constant favour for a slot, probabilities do not"),
    REAL("osp.clamp", osp.clamp, "6", 0.01, 100, ROW_FIXED, "a verdict is at most this, in nats"),
    WORD("osp.baseline", osp.baseline, "", NULL, ROW_FIXED,
         "field of the prompt's line with the answer to compare with; else the first response"),
    WORD("osp.pairs", osp.pairs, "all", "all adjacent vs_baseline best_worst", ROW_FIXED,
         "which ranked responses become pairs"),
    WORD("osp.strength", osp.strength, "bt", "bt affine", ROW_FIXED,
         "target of a pair: sigmoid(lam_i - lam_j), or (1 + u_i - u_j) / 2"),
    REAL("osp.min_strength", osp.min_strength, "0", 0, 0.5, ROW_FIXED,
         "pairs whose target is below 0.5 + this are dropped"),
    WORD("osp.weight", osp.weight, "equal", "equal strength", ROW_FIXED,
         "a prompt's pairs weigh the same, or 2 p - 1 each"),
    WORD("osp.link", osp.link, "sigmoid", "sigmoid affine", ROW_FIXED,
         "the policy's preference: sigmoid(x) or (1 + x) / 2"),
    REAL("osp.length_penalty", osp.length_penalty, "0", 0, 1000, ROW_FIXED,
         "times the difference of lengths over osp.length_ref is taken from lam_i - lam_j"),
    REAL("osp.length_ref", osp.length_ref, "100", 1, MANY, ROW_FIXED, "in tokens"),
    BOOL("osp.gate", osp.gate, "true", ROW_FIXED,
         "test the judge on eval_pairs before the first step, and end the run if it fails"),
    REAL("osp.gate_accuracy", osp.gate_accuracy, "0.6", 0, 1, ROW_FIXED,
         "the least share of eval_pairs that it must judge right"),
    REAL("osp.gate_bias", osp.gate_bias, "0.5", 0, 100, ROW_FIXED,
         "the most that it may favour a slot on average, in nats"),
    REAL("judge_sft", judge_sft, "1", 0, 1000, ROW_FIXED,
         "judge: weight of the likelihood of chosen answers beside that of verdicts"),
    WORD("ref.update", ref.update, "none", "none every ema", ROW_FIXED,
         "the reference model follows the policy: never, a copy every ref.every steps, or a mean"),
    INT("ref.every", ref.every, "100", 1, STEPS, ROW_FIXED, "steps between copies"),
    REAL("ref.decay", ref.decay, "0.99", 0, 0.999999, ROW_FIXED, "of the mean, a step"),
    { "raco.weights", ROW_REALS, AT(raco.weights), "", 0, 1, NULL, ROW_FIXED,
      "raco and its like: the weight of each reward's objective; they sum to 1", NULL },
    REAL("raco.c", raco.c, "0.4", 0, 0.999, ROW_FIXED,
         "radius of the correction over the length of the weighted gradient; 0: none"),
    BOOL("raco.clip", raco.clip, "true", ROW_FIXED,
         "raco: an objective weighs no more in the correction than in raco.weights"),
    BOOL("raco.guard", raco.guard, "false", ROW_FIXED,
         "no clipping where it turns the correction away from the weighted gradient"),
    WORD("raco.rescale", raco.rescale, "none", "none linear square", ROW_FIXED,
         "divide the corrected gradient by 1 + c or 1 + c^2"),
    BOOL("raco.skip_empty", raco.skip_empty, "true", ROW_FIXED,
         "objectives without a gradient do not take part in the minimum"),
    BOOL("raco.k1_is_dpo", raco.k1_is_dpo, "true", ROW_FIXED,
         "one objective: no correction, rather than a gradient 1 + c times as long"),
    WORD("raco.combine", raco.combine, "", "raco cagrad mgda pcgrad weighted_sum", ROW_FIXED,
         "algorithm \"raco\": another rule that makes one gradient of all"),
    WORD("raco.pcgrad", raco.pcgrad, "weighted", "weighted mean sum", ROW_FIXED,
         "pcgrad: how the projected gradients are added"),
    WORD("raco.mode", raco.mode, "store", "store two_pass sketch", ROW_FIXED,
         "all gradients at once, block by block, or as random projections of them"),
    WORD("raco.gram_scope", raco.gram_scope, "all", "all last head", ROW_FIXED,
         "weights whose gradients are compared: all, the last layer, the vocabulary head"),
    WORD("raco.solve", raco.solve, "step", "step leaf", ROW_FIXED,
         "one solve for the whole batch, or one for each of its reduction_leaves pieces"),
    INT("raco.refresh", raco.refresh, "1", 1, STEPS, ROW_FIXED,
        "steps from one solve to the next; its coefficients serve in between"),
    INT("raco.buckets", raco.buckets, "65536", 16, 1073741824, ROW_FIXED,
        "sketch: length of a projection"),
    INT("modpo.objective", modpo.objective, "0", 0, MANY, ROW_FIXED,
        "modpo: the objective, from 0, whose signs label the pairs; the others are margins"),
    WORD("amopo.alpha", amopo.alpha, "static", "static adaptive", ROW_FIXED,
         "amopo: objectives weigh as in raco.weights, or by how sure the policy is of a pair"),
    WORD("reward_model.heads", reward_model.heads, "one", "one objectives", ROW_FIXED,
         "one score, or one for each objective (signs of the pairs, else files of pairs)"),
    WORD("reward_model.link", reward_model.link, "logistic", "logistic hinge", ROW_FIXED,
         "loss of a margin; hinge: flat from 1 on"),
    WORD("reward_model.margin", reward_model.margin, "given", "given scores none", ROW_FIXED,
         "margin that is asked for: the records', or the gap of their scores times margin_scale"),
    REAL("reward_model.margin_scale", reward_model.margin_scale, "1", 0, 1e9, ROW_FIXED,
         "factor of the gap of scores"),
    REAL("reward_model.center", reward_model.center, "0.01", 0, 1000, ROW_FIXED,
         "weight of (r_w + r_l)^2, which keeps scores around 0"),
    WORD("reward_model.train", reward_model.train, "all", "all head", ROW_FIXED,
         "all weights, or only the score head and what belongs to it"),
    REAL("more.decay", more.decay, "0.9", 0, 0.999999, ROW_FIXED,
         "more: of the running mean of each data set's gradient"),
    WORD("more.normalise", more.normalise, "none", "none norm loss", ROW_FIXED,
         "more: gradients divided by their norm, or by the data set's loss"),
    INT("pal.dim", pal.dim, "16", 1, 4096, ROW_FIXED, "pal: dimensions of points"),
    INT("pal.prototypes", pal.prototypes, "4", 1, 4096, ROW_FIXED,
        "pal: points whose mixtures are the users' ideals"),
    WORD("pal.model", pal.model, "a", "a b", ROW_FIXED,
         "pal: prototypes that are parameters (a) or depend on the prompt (b)"),
    WORD("pal.distance", pal.distance, "euclidean", "euclidean cosine", ROW_FIXED,
         "pal: margin of distances, or of cosines times pal.factor"),
    REAL("pal.factor", pal.factor, "10", 1e-6, 1e6, ROW_FIXED, "pal: factor of cosines"),
    WORD("pal.fit", pal.fit, "all", "all users", ROW_FIXED,
         "pal: users: all but the users' weights stays as it is in the model, a trained one"),
    INT("gpm.dim", gpm.dim, "6", 2, 2730, ROW_FIXED, "gpm: dimensions, an even number"),
    REAL("gpm.tau", gpm.tau, "0.1", 1e-6, 1e6, ROW_FIXED, "gpm: divides the preference score"),
    WORD("gpm.scale", gpm.scale, "fixed", "fixed learned prompt", ROW_FIXED,
         "gpm: weights of the planes: 1, parameters, or of the prompt"),
    BOOL("gpm.unit", gpm.unit, "true", ROW_FIXED, "gpm: vectors are divided by their length"),
    WORD("orchestrator.model", orchestrator.model, "", NULL, ROW_FIXED,
         "a run or checkpoint of orchestrator, whose weights of the rewards by prompt are used"),
    REAL("orchestrator.temperature", orchestrator.temperature, "1", 1e-3, 1e3, ROW_FIXED,
         "orchestrator: divides the normalised rewards whose softmax is the target"),
    REAL("adam.beta1", adam.beta1, "0.9", 0, 0.999999, ROW_FIXED, "decay of the first moment"),
    REAL("adam.beta2", adam.beta2, "0.95", 0, 0.999999, ROW_FIXED, "decay of the second moment"),
    REAL("adam.eps", adam.eps, "1e-8", 1e-16, 1, ROW_FIXED, "added to the root"),
    REAL("adam.weight_decay", adam.weight_decay, "0", 0, 1, ROW_FIXED, "decoupled, times lr"),
    WORD("adam.eps_mode", adam.eps_mode, "torch", "torch tf", ROW_FIXED,
         "eps beside the bias-corrected root, or beside the plain one"),

    HEADING("Policy gradients: ppo and its relatives"),
    OWN_WORD("ppo.advantage", ppo.advantage, NULL,
             "gae, reinforce_pp, rloo, grpo, group_mean, opo or reinforce_pp_baseline"),
    OWN_WORD("ppo.agg", ppo.agg, NULL,
             "token-mean, seq-mean-token-mean, seq-mean-token-sum or seq-mean-token-sum-norm"),
    OWN_WORD("ppo.ratio", ppo.ratio, "token response",
             "one ratio of new to old probability for each token, or for the whole response"),
    OWN_REAL("ppo.clip_low", ppo.clip_low, 1e9,
             "the ratio is clipped at 1 minus this; 0: no clipping on that side"),
    OWN_REAL("ppo.clip_high", ppo.clip_high, 1e9,
             "the ratio is clipped at 1 plus this; 0: no clipping on that side"),
    OWN_REAL("ppo.dual_clip", ppo.dual_clip, 1e9,
             "bound of the loss of bad tokens, in advantages, above 1; 0: none"),
    OWN_INT("ppo.epochs", ppo.epochs, 0, 1000, "passes over the rollouts of a step"),
    OWN_INT("ppo.minibatches", ppo.minibatches, 0, 100000,
            "updates of the weights in a pass, each on rows drawn at random"),
    REAL("ppo.gamma", ppo.gamma, "1", 0, 1, ROW_FIXED, "discount of later token rewards"),
    REAL("ppo.lambda", ppo.lambda, "0.95", 0, 1, ROW_FIXED,
         "gae: 1 trusts returns, 0 trusts the critic"),
    BOOL("ppo.bootstrap_truncated", ppo.bootstrap_truncated, "false", ROW_FIXED,
         "gae: a response cut at the limit goes on with the critic's value, not with 0"),
    WORD("ppo.critic", ppo.critic, "own", NULL, ROW_FIXED,
         "own: a copy of the policy; shared: a head on the policy; or a model to start from"),
    { "ppo.critic_lr", ROW_REAL, AT(ppo.critic_lr), "-1", -1, 10, NULL, ROW_FIXED,
      "learning rate of a critic of its own", "lr" },
    REAL("ppo.value_clip", ppo.value_clip, "0.2", 0, 1e9, ROW_FIXED,
         "values move by at most this from those of the rollout; 0: no clipping"),
    REAL("ppo.vf_coef", ppo.vf_coef, "0.1", 0, 1e9, ROW_FIXED, "weight of the critic's loss"),
    OWN_WORD("ppo.whiten", ppo.whiten, "yes no",
             "advantages to mean 0, variance 1 over all response tokens of the step"),
    BOOL("ppo.whiten_rewards", ppo.whiten_rewards, "false", ROW_FIXED,
         "token rewards to variance 1, their mean kept"),
    WORD("ppo.variance", ppo.variance, "population", "population unbiased", ROW_FIXED,
         "of whitening: divided by n, or by n - 1"),
    WORD("ppo.group_std", ppo.group_std, "unbiased", "unbiased population", ROW_FIXED,
         "grpo: of a prompt's scores, divided by n - 1, or by n"),
    OWN_WORD("ppo.kl_in", ppo.kl_in, "none reward loss",
             "where the pull to the reference model acts"),
    OWN_WORD("ppo.kl", ppo.kl, "k1 k2 k3 k3plus", "how it is estimated from a token"),
    { "ppo.kl_coef", ROW_REAL, AT(ppo.kl_coef), "-1", -1, 1000, NULL, ROW_FIXED,
      "its strength, at the start when it adapts", "beta" },
    WORD("ppo.kl_control", ppo.kl_control, "fixed", "fixed adaptive", ROW_FIXED,
         "adaptive: the strength follows the KL"),
    REAL("ppo.kl_target", ppo.kl_target, "6", 1e-6, 1e6, ROW_FIXED,
         "adaptive: nats a response that it aims at"),
    REAL("ppo.kl_horizon", ppo.kl_horizon, "10000", 1, 1e12, ROW_FIXED,
         "adaptive: responses until it has moved by the relative error"),
    REAL("ppo.entropy_coef", ppo.entropy_coef, "0", 0, 1000, ROW_FIXED,
         "weight of the entropy of the next token, a bonus"),
    WORD("ppo.reward_norm", ppo.reward_norm, "none", "none running reference", ROW_FIXED,
         "the score to mean 0, variance 1: over all steps so far, or of responses before training"),
    INT("ppo.reward_rows", ppo.reward_rows, "256", 2, MANY, ROW_FIXED,
        "reference: responses that are measured, at least"),
    REAL("ppo.reward_clip", ppo.reward_clip, "0", 0, 1e9, ROW_FIXED,
         "bound of the score, both signs, after reward_norm; 0: none"),
    REAL("ppo.missing_eos_penalty", ppo.missing_eos_penalty, "0", 0, 1e9, ROW_FIXED,
         "taken from the score of a response cut at the limit"),
    { "ppo.missing_eos_score", ROW_REAL, AT(ppo.missing_eos_score), "-1e30", -1e30, 1e30, NULL,
      ROW_FIXED, "the score of a response cut at the limit", "what it is given" },
    OWN_REAL("ppo.overlong", ppo.overlong, 1e9,
             "taken from the score of a response of max_new tokens, less of shorter ones; 0: off"),
    { "ppo.overlong_cache", ROW_INT, AT(ppo.overlong_cache), "0", 0, MANY, NULL, ROW_FIXED,
      "overlong: tokens before max_new where it begins", "max_new / 5" },
    OWN_WORD("ppo.overlong_filter", ppo.overlong_filter, "yes no",
             "leave responses cut at the limit out of the loss"),
    REAL("ppo.ptx_coef", ppo.ptx_coef, "0", 0, 1e9, ROW_FIXED,
         "weight of next-token training on rows_per_step rows of text in every step (PPO-ptx)"),
    WORD("ppo.tis", ppo.tis, "off", "off token response", ROW_FIXED,
         "max_lag: weigh by new to sampling probability; response: leave out what is too far off"),
    REAL("ppo.tis_max", ppo.tis_max, "2", 1, 1e9, ROW_FIXED, "tis: the weight is at most this"),
    { "ppo.max_resample", ROW_INT, AT(ppo.max_resample), "-1", -1, 100, NULL, ROW_FIXED,
      "rounds in which prompts whose responses all score the same are replaced; 0: never",
      ROW_SAYS },

    HEADING("Numerics and machine"),
    WORD("reduction", reduction, "reproducible", "reproducible fast", ROW_FIXED,
         "order of gradient sums: the same for any number of ranks, or whatever is quick"),
    INT("reduction_leaves", reduction_leaves, "8", 1, 1024, ROW_FIXED,
        "pieces of the batch in that order, a power of two; learners may not be more"),
    BOOL("recompute", recompute, "false", 0, "keep fewer activations and compute them again"),
    WORD("dtype", dtype, "fp32", "fp32 bf16", ROW_FIXED,
         "of the operands of matrix products; weights, moments and sums are fp32 in both"),
    WORD("device", device, "auto",
         "auto cpu ref cpu-plain cpu-avx2 cpu-avx512 cpu-avx512-bf16", 0,
         "what computes; auto: the fastest kernels this machine has"),
    INT("threads", threads, "1", 0, 1024, 0, "of a rank; 0: cores of the host / ranks on it"),
    REAL("deadline", deadline, "600", 1, 1e7, 0,
         "seconds any wait may take before the run ends; who is late is named"),
    WORD("on_nonfinite", on_nonfinite, "stop", "stop skip", 0,
         "NaN or infinity: save the last good state and end with code 4; or leave the update out"),
    INT("skip_limit", skip_limit, "10", 1, STEPS, 0,
        "on_nonfinite = skip: this many updates in a row, then the run ends after all"),
    REAL("alarm_deviations", alarm_deviations, "6", 0, 1e9, 0,
         "a loss or gradient norm so many standard deviations above its running mean is said; 0: "
         "none"),
    INT("alarm_after", alarm_after, "20", 1, STEPS, 0,
        "steps until the running means are known well enough for alarms"),

    HEADING("Evaluation and records"),
    INT("eval_every", eval_every, "0", 0, STEPS, 0,
        "steps between evaluations; 0: never, and held-out files are not opened"),
    INT("eval_rows", eval_rows, "0", 0, STEPS, 0,
        "held-out prompts, pairs and rows of eval_text used, at most; 0: all"),
    REAL("eval.alpha", eval.alpha, "0.9", 0, 1, 0,
         "probability that a label of eval_pairs is right, for the ideal ranking accuracy"),
    WORD("eval.against", eval.against, "reference", NULL, 0,
         "rankwise eval: compare with \"reference\", a model, or \"none\""),
    WORD("eval.judge", eval.judge, "", NULL, 0,
         "rankwise eval: a judge template (docs/formats.md), to compare answers by a judge"),
    { "eval.judge_model", ROW_STRING, AT(eval.judge_model), "", 0, 0, NULL, 0,
      "rankwise eval: the model that reads it", "refmodel" },
    INT("eval.samples", eval.samples, "1", 1, 1024, 0,
        "rankwise eval: responses to each held-out prompt"),
    INT("eval.resamples", eval.resamples, "1000", 100, 100000, 0,
        "rankwise eval: bootstrap samples behind the intervals of means"),
    INT("checkpoint_every", checkpoint_every, "20", 0, STEPS, 0,
        "steps between checkpoints; 0: only at the end and when asked to stop"),
    BOOL("checkpoint_background", checkpoint_background, "true", 0,
         "written behind the next steps from a copy in memory; false: the step waits"),
    INT("keep_last", keep_last, "2", 1, STEPS, 0, "newest checkpoints kept"),
    INT("keep_every", keep_every, "0", 0, STEPS, 0,
        "checkpoints of steps that are multiples of it are kept, too; 0: none"),
    INT("keep_best", keep_best, "0", 0, 1000, 0,
        "so many checkpoints whose step has the best value of `best` are kept, too"),
    WORD("best", best, "reward/mean", NULL, 0,
         "a name in metrics.jsonl, such as eval/stories.eval/score, for keep_best"),
    WORD("best_is", best_is, "max", "max min", 0, "is the largest value of `best` the best?"),
    WORD("journal", journal, "off", "off memory disk", 0,
         "the state after every step, on each host: a restart loses at most one"),
    WORD("journal_path", journal_path, "", NULL, 0,
         "folder of each host for it; \"\": /dev/shm (memory), /var/tmp (disk)"),
    INT("log_samples", log_samples, "8", 0, STEPS, 0,
        "rows of every step written to samples.jsonl; 0: none"),
    { 0 },
};
_Static_assert(sizeof config_rows / sizeof config_rows[0] <= CONFIG_ROWS, "raise CONFIG_ROWS");

const struct row *config_row(const struct row *rows, const char *key)
{
    for (; rows->help; rows++)
        if (rows->key && strcmp(rows->key, key) == 0)
            return rows;
    return NULL;
}

bool config_row_may_be_unset(const struct row *row)
{
    return row->min == -1 && row->shown;
}

bool config_row_allows(const struct row *row, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = row->choices; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
        if (n > 0 && strncmp(p, word, n) == 0 && (p[n] == ' ' || p[n] == 0))
            return true;
    return row->choices == NULL;
}

/* ---- which key was meant ---- */

/* "loss" of "dpo.loss". */
static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');

    return dot ? dot + 1 : key;
}

/* The nearest of the names (`n` bytes of `name`) seen so far. */
struct nearest { const char *name; int n, edits; };

static void consider(struct nearest *best, const char *word, const char *part, const char *name,
                     size_t n)
{
    char other[TEXT_EDITS + 1];
    int d;

    snprintf(other, sizeof other, "%.*s", (int)(name + n - part), part);
    d = text_edits(word, other);
    if (d < best->edits)
        *best = (struct nearest){ name, (int)n, d };
}

void config_row_hint(const struct row *rows, const char *group, const char *key, struct text *out)
{
    const char *word = last_part(key);
    struct nearest best = { NULL, 0, ((int)strlen(word) + 1) / 3 + 1 };  /* fewer edits than that */

    /* Mistyped, or right but in another group: the last parts say.  Groups can be meant too. */
    for (const struct row *row = rows; row->help; row++) {
        if (!row->key)
            continue;
        consider(&best, word, last_part(row->key), row->key, strlen(row->key));
        if (last_part(row->key) != row->key)
            consider(&best, word, row->key, row->key, strcspn(row->key, "."));
    }
    if (best.name)
        text_addf(out, "did you mean '%.*s'?", best.n, best.name);
    else if (group[0])
        text_addf(out, "the keys of %s are", group);
    else
        text_adds(out, "see rankwise train --help");
    if (best.name || !group[0])
        return;
    for (const struct row *row = rows; row->help; row++)
        if (row->key && (rows != config_rows || strncmp(row->key, group, strlen(group)) == 0))
            text_addf(out, " %s", last_part(row->key));
}
