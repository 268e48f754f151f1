/* Everything one rank of a training run holds, made from the configuration: roles, models, the
 * rings between the roles.  run_open makes it, iteration.c moves it, state.c saves it.
 */
#ifndef LAUNCH_RUN_H
#define LAUNCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "actor/actor.h"
#include "base/config.h"
#include "base/metrics.h"
#include "base/workspace.h"
#include "comm/comm.h"
#include "comm/link.h"
#include "launch/folder.h"
#include "launch/follower.h"
#include "launch/journal/journal.h"
#include "launch/outcome.h"
#include "launch/placement.h"
#include "launch/resample.h"
#include "launch/ring.h"
#include "launch/save.h"
#include "launch/sizes.h"
#include "launch/timeline.h"
#include "learner/learner.h"
#include "refmodel/refmodel.h"
#include "reward/reward.h"

/* What the time of a step goes to; names are those of time/<name> in the metrics. */
enum span {
    SPAN_GENERATE,
    SPAN_REWARD,
    SPAN_REF_LOGP,
    SPAN_UPDATE,
    SPAN_WEIGHT_SYNC,
    SPAN_CHECKPOINT,
    SPAN_JOURNAL,
    SPAN_EVAL,
    SPANS
};

struct run {
    const struct config *config;
    const struct algorithm *algorithm;
    struct comm *world;
    struct comm *team;                  /* the learners; NULL on other ranks */
    struct placement placement;
    unsigned roles;
    int recorder; /* world rank of the first learner, who writes the run folder */
    struct folder folder;               /* open on the recorder only */
    struct text scored;                 /* recorder: scores on record of steps yet to be done */
    struct compute *compute;
    struct workspace passes;            /* of the roles here, which take turns */

    struct inputs inputs;               /* prompts, texts, models' small files; sizes */
    struct model *policy, *reference, *critic;
    struct model *judge_frozen;         /* refmodel's weights, when that role is on other ranks */
    struct follower judge_mean, reference_copy;     /* models that follow the policy */
    struct model **reward_models;       /* (n_rewards) */
    struct model *orchestrator;         /* of the reward role */
    struct actor *actor;
    struct reward *reward;
    int *missing_lines;                 /* (n_rewards) said so far; on the recorder */
    bool *shares_gpu;                   /* (ranks) those that have the GPU of this one */
    struct refmodel *refmodel;
    struct learner *learner;

    struct ring train, eval; /* eval.P is 0 when there is nothing to generate for evaluation */
    struct ring text;                   /* rows of text beside the train batch; P 0: none */
    struct ring *eval_pairs;            /* (inputs.n_eval_pairs) held-out records */
    struct ring *eval_rows;             /* (inputs.n_eval_text) rows of text, learners only */
    struct resample resample;           /* of the training ring */
    struct feed *feed;                  /* NULL: no rank needs weights from another */

    int64_t step;                       /* updates done */
    int64_t first_step;                 /* where this start of the run began */
    int64_t tokens_before;              /* trained on before this step */
    struct journal journal;             /* the state after every step */
    struct saver save;                  /* checkpoints: when, and what became of them */
    struct timeline timeline;           /* of this start, if it is wanted */
    double spans[SPANS];
    int64_t made;                       /* tokens generated in this step, on this rank */
    double started, step_started;
    bool supervised;                    /* a supervisor waits for the outcome */
    struct restart restart;             /* and what it told us */
    double recovered;                   /* seconds from a loss to training again, 0: said already */
    struct metrics *metrics; /* of the step under way; every learner sets the same values */
};

/* Collective over world.  The roles of this rank, models loaded, memory taken; no step is done. The
 * caller keeps world and config and closes the run first. */
int run_open(struct run *r, const struct config *config, struct comm *world);
void run_close(struct run *r);

static inline bool run_holds(const struct run *r, enum role role)
{
    return (r->roles & role) != 0;
}

/* Does a rank work with the weights of the policy? */
bool run_has_policy(const struct run *r, int rank);

/* Do the rows of a step come from actors? */
static inline bool run_rolls(const struct run *r)
{
    return r->inputs.source == SOURCE_PROMPTS;
}

/* Batches sampled ahead of the one that is trained on; rows of a file need no time to make. */
static inline int64_t run_lag(const struct run *r)
{
    return run_rolls(r) ? r->config->max_lag : 0;
}

/* ---- iteration.c: collective over world */
int run_begin(struct run *r); /* before the first step: weights to the actors, the queue filled,
                                 first evaluation */
int iteration(struct run *r);           /* one step; RL_ESTOP when asked to stop: state is saved */
int run_end(struct run *r, int rc);     /* after the last step: the last checkpoint */

/* ---- evaluate.c: collective over world; sets eval/... metrics */
int evaluate(struct run *r);
/* Of the policy as a judge: means over the files of eval_pairs. */
int evaluate_judge(struct run *r, double *right, double *bias);
bool evaluation_due(const struct run *r);

/* ---- state.c
 * Sets r->step from the newest checkpoint of the run folder (0: fresh) on every rank, and loads it.
 * Collective over world. */
int state_resume(struct run *r, bool fresh);

/* ---- draw.c: the weights of models that begin random, after state_resume: those that a checkpoint
 * brings are not drawn.  The ranks of a host draw a share each.  Collective over world. */
int draw_weights(struct run *r);

/* ---- record.c: the step's lines in metrics.jsonl and samples.jsonl, and on the terminal */
int record_step(struct run *r);
int record_samples(struct run *r, const struct batch *b);

/* ---- scores.c: scores from outside on record, in scores.jsonl
 * Those of a step about to be trained.  Collective over the learners. */
int scores_record(struct run *r, const struct batch *b);
/* Those of the b->step-th batch observed before the first step.  Collective over the learners. */
int scores_observed(struct run *r, const struct batch *b);
/* Those of the groups that r->resample flags, before round `round` + 1 replaces them; b: the
 * rewards' batch, NULL on other ranks.  Collective over world. */
int scores_replaced(struct run *r, const struct batch *b, int64_t step, int round);
/* After state_resume: hand back what is on record of steps yet to be done.  Collective over
 * world. */
int scores_resume(struct run *r, bool fresh);

/* ---- missing.c: which scores did not come, one line a reward
 * In batches of steps up to `step` and in those that no step trains on (-1).  rc is what all ranks
 * have agreed on: when it is that there was not one score, the line is the run's last.  Returns rc,
 * or worse.  Collective over world. */
int missing_tell(struct run *r, int64_t step, int rc);

/* Batch of `step` around the ring up to the learners (iteration.c; evaluate.c uses it too). */
int ring_roll(struct run *r, struct ring *ring, int64_t step, enum purpose purpose);
int ring_collect(struct run *r, struct ring *ring, int64_t step);

/* RL_ESTOP on all ranks of the group when one was asked to stop.  Collective. */
int run_stop(struct comm *group);

#endif
