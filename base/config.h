/* The configuration: libconfig files read through one table (config_rows in config_rows.c).  A row
 * of the table is a key: its type, place in struct config, default, range or choices, one line of
 * help, and whether it is part of the numerics (fixed for the life of a run).  Help text,
 * docs/config.md and config.cfg in the run folder all come from the rows.
 *
 * Strings that are not set, or set to "", are NULL.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

enum role { ROLE_ACTOR = 1, ROLE_LEARNER = 2, ROLE_REWARD = 4, ROLE_REFMODEL = 8, ROLE_ALL = 15 };
#define ROLES 4
const char *role_name(enum role role);              /* "actor", ... */

#define OBJECTIVES_MOST 32      /* rewards or signs of records that one run tells apart */

struct strings { char **items; int count; };        /* a list of strings, owned by the config */
struct reals { double *items; int count; };         /* a list of numbers, likewise */
struct ints { int *items; int count; };             /* a list of integers, likewise */

struct config_reward {          /* one group of `rewards` */
    char *kind;                 /* a row of reward_kinds[] */
    char *name;                 /* for metrics; default: the kind */
    double weight;              /* default 1 */
    struct strings words;       /* words: the list */
    int64_t cap;                /* words, regex: count at most this many; 0: no cap */
    char *pattern;              /* regex: POSIX extended */
    char *column;               /* judge: "strength" | "bias" */
    char *unit;                 /* length: "tokens" (default), "characters" or "words" */
    double target;              /* length: score is -|length - target|; below 0 (default): length */
    char *field;                /* math_answer, r3: of the prompt's line; default "answer" */
    char *count;                /* instruction: "share" (default) or "all" */
    double max_len;             /* r3: tokens of a long response to a constrained prompt */
    char *path, *settings;      /* plugin: the shared object, and what its open() gets */
    char *command;              /* process: for /bin/sh -c */
    struct strings servers;     /* http: URLs */
    char *model;                /* model: folder, checkpoint or run */
    int64_t head, user;         /* model: which output; whose reward, -1: the mean */
    bool calibrated;            /* model: divided by the fitted temperature */
    struct strings contexts;    /* model: texts before the prompt, */
    struct reals context_weights;       /* and what each counts; empty: the same */
    int64_t batch;              /* http: responses in a request */
    int64_t retries;            /* process: restarts in a step; http: repeats of a request */
    double timeout;             /* process: seconds for a step; http: for a request */
    double deadline;            /* the run's, for the scores of a step; 0: there is none */

    /* what learners make of the score: weight clip((score - mean) / std) */
    struct reals clip;          /* empty, or low and high */
    char *normalise;            /* "none" (default), "running", "fixed" */
    double mean, std;           /* fixed */
    char *on_failure;           /* "skip" (default): the response is left out; "error" */
    char *where;                /* "file:line" or "argument", for messages; NULL: nobody gave it */
};

struct config_ranks { int64_t count; unsigned roles; int line; };   /* one group of `ranks` */

struct config {
    /* what */
    char *algorithm;            /* a row of algorithms[] (learner/algorithms.c) */
    char *model;                /* a Hugging Face folder, a checkpoint file or a run folder */
    char *model_init;           /* "load" | "random": only config.json and tokenizer.json needed */
    char *refmodel;             /* default: model */
    char *source;               /* "prompts" | "pairs"; NULL: what the algorithm's row says */
    char *prompts, *eval_prompts;
    struct strings pairs, eval_pairs;   /* files of records (data/records.h) */
    struct strings text, eval_text;     /* lm: files of text */
    char *output;               /* the run folder */
    struct config_reward *rewards; int n_rewards;
    struct config_ranks *ranks; int n_ranks;            /* empty: every rank holds every role */

    /* how long, how much */
    int64_t seed, steps, prompts_per_step, samples_per_prompt, max_new;
    int64_t row_tokens;         /* lm: tokens in a packed row; 0: the model's context */
    int64_t rows_per_step;      /* lm: packed rows in a step */
    int64_t micro_rows;         /* of full length: the room of a pass, at least a prompt group */
    int64_t rollout_rows;       /* decoded at once by an actor, at most */
    int64_t max_lag;
    bool shuffle;               /* prompts or rows in a new order every epoch */
    char *long_prompts;         /* "error" | "skip" */
    char *system;               /* before conversations without one; NULL: none */
    char *chat_date;            /* what chat templates are told is today; NULL: nothing */

    /* records of pairs and eval_pairs */
    char *bad_records;          /* "error" | "drop" */
    char *mix;                  /* "all" | "in_turn" */
    char *join;                 /* between prompt and answer; NULL: nothing */
    bool append_eos;
    char *target_text;          /* before augmented prompts; {score} in it */

    /* sampling */
    double temperature, top_p, min_p, repetition_penalty; int64_t top_k;
    struct ints stop_tokens;
    struct strings stop;

    /* learning */
    double beta, lr, lr_min;
    double warmup;              /* below 1: a fraction of steps; else a number of steps */
    double clip_norm;           /* 0: no clipping */
    char *schedule;             /* "constant" | "linear" | "cosine" */
    struct {
        char *loss;             /* a row of losses[] that needs nothing but the pair */
        char *pairing;          /* "pair" | "best_worst" | "all" */
        char *tie_policy;       /* "drop" | "soft" | "first" */
        char *nll_of;           /* "mean" | "sum" */
        double label_smoothing, tie_eps, missing_eos_penalty, nll;
        double epsilon, gamma, lambda, margin, zeta, kappa, affine_eps;     /* of some losses */
    } dpo;
    struct { char *labels; double lambda_d, lambda_u, threshold; } kto;
    struct { char *delta; bool udm; int64_t udm_rows; double udm_min, udm_max; } bco;
    struct { char *labels, *preference; double sft, eta, temperature; } list;
    struct { double eta, rate; int64_t annotators; } lcpo;
    struct { double alpha, quantile, after, lambda; int64_t window; } spa;
    struct { int64_t objective; } modpo;
    struct { char *alpha; } amopo;          /* "static" | "adaptive" */
    struct {
        char *judge;            /* "current" | "frozen" | "ema" */
        double decay;           /* of the ema */
        char *template;         /* a file; NULL: the built-in one */
        char *average;          /* "logit" | "probability" */
        double clamp;
        char *baseline;         /* a field of the prompt's line; NULL: the first response */
        char *pairs;            /* "all" | "adjacent" | "vs_baseline" | "best_worst" */
        char *strength;         /* "bt" | "affine" */
        char *weight;           /* "equal" | "strength" */
        char *link;             /* "sigmoid" | "affine" */
        double min_strength, length_penalty, length_ref;
        bool gate; double gate_accuracy, gate_bias;
    } osp;
    double judge_sft;           /* judge: weight of the chosen answers' likelihood */
    struct { char *update; int64_t every; double decay; } ref;  /* "none" | "every" | "ema" */
    struct {
        struct reals weights;   /* one an objective, of sum 1 */
        double c;               /* radius of the correction over |g0| */
        bool clip, guard, skip_empty, k1_is_dpo;
        char *combine;          /* a row of combines[]; NULL: of the algorithm */
        char *rescale;          /* "none" | "linear" | "square" */
        char *pcgrad;           /* "weighted" | "mean" | "sum" */
        char *mode;             /* "store" | "two_pass" | "sketch" */
        char *gram_scope;       /* "all" | "last" | "head" */
        char *solve;            /* "step" | "leaf" */
        int64_t refresh;        /* steps from one solve to the next */
        int64_t buckets;        /* of a sketch */
    } raco;
    struct {
        char *model;            /* whose weights by prompt are used; NULL: nobody's */
        double temperature;
    } orchestrator;
    /* What is not set (NULL, below 0, 0 for counts) is as the algorithm's row has it: see
     * learner/policy/rules.h. */
    struct {
        char *advantage, *agg, *ratio;
        double clip_low, clip_high, dual_clip;
        int64_t epochs, minibatches;
        double gamma, lambda; bool bootstrap_truncated;
        char *critic;           /* "own" | "shared" | a model to start from */
        double critic_lr, value_clip, vf_coef;
        char *whiten, *variance, *group_std;
        bool whiten_rewards;
        char *kl_in, *kl, *kl_control;
        double kl_coef, kl_target, kl_horizon;
        double entropy_coef;
        char *reward_norm; int64_t reward_rows;
        double reward_clip, missing_eos_penalty, missing_eos_score;
        double overlong; int64_t overlong_cache; char *overlong_filter;
        double ptx_coef;
        char *tis; double tis_max;
        int64_t max_resample;
    } ppo;
    struct {
        char *heads;            /* "one" | "objectives" */
        char *link;             /* "logistic" | "hinge" */
        char *margin;           /* "given" | "scores" | "none" */
        double margin_scale, center;
        char *train;            /* "all" | "head" */
    } reward_model;
    struct { double decay; char *normalise; } more;     /* "none" | "norm" | "loss" */
    struct {
        int64_t dim, prototypes;
        char *model;            /* "a" | "b" */
        char *distance;         /* "euclidean" | "cosine" */
        double factor;
        char *fit;              /* "all" | "users" */
    } pal;
    /* scale "fixed" | "learned" | "prompt" */
    struct { int64_t dim; double tau; char *scale; bool unit; } gpm;
    /* eps_mode "torch" | "tf" */
    struct { double beta1, beta2, eps, weight_decay; char *eps_mode; } adam;

    /* numerics and machine */
    char *reduction;            /* "reproducible" | "fast" */
    int64_t reduction_leaves;   /* a power of two */
    bool recompute;             /* activation checkpointing */
    char *dtype;                /* "fp32" | "bf16" */
    char *device;               /* "auto" | "cpu" | "ref" (and the forced forms) */
    int64_t threads;            /* per rank; 0: cores of the host / ranks on it */
    double deadline;            /* seconds any wait may take before the late rank is named */
    char *on_nonfinite;         /* "stop" | "skip" */
    int64_t skip_limit;         /* updates in a row */
    double alarm_deviations;    /* standard deviations above the running mean; 0: no alarms */
    int64_t alarm_after;        /* steps */

    /* evaluation, records */
    struct {                    /* for `rankwise eval`, but for alpha */
        char *against;          /* "reference", "none" or a model */
        char *judge;            /* the file of a judge template; NULL: none */
        char *judge_model;      /* NULL: the reference model */
        int64_t samples;        /* responses to each held-out prompt */
        int64_t resamples;      /* of the bootstrap behind the intervals of means */
        double alpha;           /* probability that a label is right */
    } eval;
    int64_t eval_every;         /* steps; 0: never */
    int64_t eval_rows;          /* at most this many held-out prompts; 0: all */
    int64_t checkpoint_every;   /* steps; 0: only at the end and when asked to stop */
    bool checkpoint_background; /* from a copy in memory, while steps go on */
    int64_t keep_last;          /* newest checkpoints kept */
    int64_t keep_every;         /* and those of multiples of it; 0: none */
    int64_t keep_best;          /* and so many with the best `best`; 0: none */
    char *best, *best_is;       /* a name in metrics.jsonl; "max", "min" */
    char *journal;              /* "off", "memory" or "disk" */
    char *journal_path;         /* NULL: /dev/shm or /var/tmp */
    int64_t log_samples;        /* rows of every step written to samples.jsonl; 0: none */
    bool trace;                 /* a timeline of the ranks */
    int64_t trace_first, trace_last;        /* steps in it; last 0: to the end */

    char *path;                 /* the file it came from */
    void *impl;                 /* config.c's own: where each key was set */
};

/* Read `path`, then the n `key=value` strings over it (libconfig syntax; a bare word is a string;
 * `group.key=value`).  Every mistake is one line: file:line or argument, the key, the nearest known
 * key or the range.  Checks single keys and simple pairs of keys, not files, nor what an algorithm
 * needs (algorithm_check, learner/learner.h).  *c is NULL on error.
 * A line `@include "other.cfg"` stands for the lines of that file. */
int config_open(struct config **c, const char *path, char *const *assignments, int n);
void config_close(struct config *c);                /* NULL is fine */

/* The resolved configuration, every key, as a libconfig file that config_open reads back equal. */
int config_save(const struct config *c, const char *path);
void config_text(const struct config *c, struct text *out);

/* Where the key was given: "file:line", "argument" or "default", for messages. */
const char *config_where(const struct config *c, const char *key);

/* The keys that were given another value than they have by themselves, one after the other: *at is
 * 0 at first; NULL: no more.  The same of a group of rewards. */
const char *config_given(const struct config *c, int *at);
const char *config_reward_given(const struct config_reward *reward, int *at);
/* From here on as if the key had not been given. */
int config_forget(struct config *c, const char *key);
/* A string, "true" or "false"; "" for what is not set or no word. */
const char *config_word(const struct config *c, const char *key);

/* Has reward r something to say of k responses to a prompt?  A judge has not when the only response
 * is the baseline that it would compare with. */
bool config_reward_speaks(const struct config *c, int r, int k);

/* The file, or the files, that a key names: can they be read?  RL_EINVAL: one line that names where
 * the key was set, the key and the file. */
int config_readable(const struct config *c, const char *key);

/* RL_EINVAL: "file: missing key 'prompts': <its help>". */
int config_missing(const struct config *c, const char *key);

/* Compare with the resolved text of an earlier run.  RL_EINVAL, naming the key and both values, if
 * a key that is fixed for the life of a run differs; others are logged, one line each. */
int config_compatible(const struct config *now, const char *earlier_text,
                      const char *earlier_name);

/* The table as text: for --help (plain) and docs/config.md (markdown). */
void config_help(FILE *out);
void config_markdown(FILE *out);

#endif
