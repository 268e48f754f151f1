/* What a configuration names, opened, and the sizes that follow from it.  A run makes its batches
 * and models from these and `plan` counts them: both see the same numbers.
 *
 *   struct inputs in;
 *   TRY(inputs_open(&in, config));
 *   TRY(rank_bytes(&in, config, &placement, compute, rank, &bytes));
 *   inputs_close(&in);
 *
 *   model, refmodel -> sources       prompts, eval_prompts -> longest prompt \
 *   text, eval_text -> corpora       max_new, row_tokens, model's context     -> rows, batches
 *   pairs, eval_pairs -> records     -> longest record                       /
 *
 * inputs.c opens, sizes.c says what a rank takes of it.
 */
#ifndef LAUNCH_SIZES_H
#define LAUNCH_SIZES_H

#include "actor/actor.h"
#include "base/config.h"
#include "data/prompts.h"
#include "launch/models.h"
#include "launch/follower.h"
#include "launch/placement.h"
#include "launch/reward_models.h"
#include "launch/ring.h"
#include "learner/learner.h"
#include "learner/policy/rules.h"

struct inputs {
    const struct algorithm *algorithm;
    enum rows_from source;              /* of the rows of training */
    unsigned roles, eval_roles;         /* of training, and of the evaluation of eval_prompts */
    struct policy_wants wants;          /* of a policy gradient */
    struct source policy, reference;    /* reference: only when a role needs it */
    bool has_critic;
    struct source critic;               /* of its own: a trunk with one score a token */
    struct judge *judge;                /* the template; NULL: nobody judges */
    bool judge_rewards;                 /* a reward judges, */
    const char *judge_kind;             /* and this is osp.judge */
    struct follower_rule follows_judge, follows_reference;
    struct reward_sources rewards;      /* reward models that rewards name */
    struct source orchestrator;         /* when orchestrator.model names one */
    struct prompts *prompts, *eval_prompts;
    struct stop_strings *stop;          /* of what is generated; NULL: none */
    struct records *records;            /* pairs: records to train on */
    struct corpus *corpus;              /* lm, ppo.ptx_coef: rows to train on */
    int n_eval_pairs;                   /* 0 without evaluations */
    struct records **eval_records;      /* (n_eval_pairs) */
    int n_eval_text;                    /* 0 without evaluations */
    struct corpus **eval_corpus;        /* (n_eval_text) */

    int longest_prompt;                 /* in tokens; 0 when nothing is generated */
    int row_tokens;                     /* the longest row a learner meets, */
    int reference_tokens;               /* and the reference model */
    int64_t most_rows;                  /* of the largest batch */
    int micro_rows;                     /* rows in one pass: the key, or all that there are */
    struct ring_size text;              /* beside the train batch; P 0: none */
    struct ring_size train, eval;       /* eval.P 0: nothing to generate for evaluation */
    struct ring_size *eval_pairs;       /* (n_eval_pairs) */
    struct ring_size *eval_rows;        /* (n_eval_text) rows of text, learners only */
};

/* Reads the files, not the weights.  Held-out files are left alone when eval_every is 0.  One line
 * names the file or key that is wrong, or the batch that is too large.  The caller keeps config and
 * closes, also after an error.  Not collective. */
int inputs_open(struct inputs *in, const struct config *c);
void inputs_close(struct inputs *in);                       /* fine on a zeroed struct */
/* Says (log_info) how many prompts and records were left out; nothing when none. */
void inputs_tell(const struct inputs *in, const struct config *c);
/* The template of OSP's judge: osp.template, or the one that is built in. */
int inputs_template(struct judge **judge, const struct config *c, const struct source *policy);
int64_t inputs_epoch(const struct inputs *in);              /* groups drawn in one */
int inputs_objectives(const struct inputs *in);             /* that records tell apart; 0: none */

/* A reward judges, by the policy as it is; by the reference's weights that never change. */
bool inputs_judge_current(const struct inputs *in);
bool inputs_judge_frozen(const struct inputs *in);

/* Rows of a batch that a rank holds in a role. */
int rank_rows(const struct ring_size *size, const struct config *c, const struct placement *p,
              enum role role, int rank);
/* What actor_create gets on a rank that holds the role. */
struct actor_settings rank_actor(const struct inputs *in, const struct config *c,
                                 const struct placement *p, int rank);

/* Are checkpoints written while steps go on, from a copy? */
static inline bool copy_wanted(const struct config *c)
{
    return c->checkpoint_background && c->checkpoint_every > 0 && c->checkpoint_every < c->steps;
}
/* A copy of the pieces of the state that one of `learners` holds (launch/state.c), at most. */
size_t copy_bytes(const struct inputs *in, const struct config *c, int learners, int learner);

/* The memory a rank of the run takes, by what takes it. */
struct bytes {
    size_t weights, reference, critic, actor, reward, refmodel, learner, copies, journal, batches,
           kernels, total;
    size_t passes;              /* that its roles take in turn: base/workspace.h */
    struct compute_load load;   /* the largest calls that they make */
};

/* Of a rank's bytes those that are in its GPU's memory when it has one. */
static inline size_t bytes_on_gpu(const struct bytes *b)
{
    return b->total - b->batches - b->copies - b->journal;
}

/* What a rank takes of a GPU beside that, an assumption until a card has been looked at: the
 * driver's context with our kernels, which is there once the GPU is open; and what cuBLASLt and
 * NCCL take when they begin to work. */
#define GPU_CONTEXT ((size_t)512 << 20)
#define GPU_LIBRARIES ((size_t)512 << 20)

/* The negative code of learner_create when the learner cannot be made, with its line. */
int rank_bytes(const struct inputs *in, const struct config *c, const struct placement *p,
               struct compute *compute, int rank, struct bytes *b);

#endif
