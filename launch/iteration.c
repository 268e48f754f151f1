/* The whole algorithm, for every placement.  A rank does the steps of the roles it holds and skips
 * the others; a link from a rank to itself is a pointer.
 *
 *   Actors hold version s of the weights when iteration s begins, and sample the batch of step
 *   s + max_lag.  Learners train on the batch of step s, sampled max_lag iterations ago, which
 *   makes version s + 1.
 *
 * So the batch of step s is sampled with version max(0, s - max_lag), exactly, and with max_lag = 1
 * generation and update overlap when they are on different ranks.  A learner that scores too, or
 * holds the reference, does so when it collects the batch: before that it would wait for the actors
 * with an update at hand.
 */
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "base/stop.h"
#include "base/trace.h"
#include "launch/run.h"

/* What the rank is at, for messages. */
static void at(struct run *r, const struct ring *ring, enum phase phase)
{
    comm_doing(r->world, ring == &r->train ? phase : PHASE_EVAL);
}

/* A link between roles of which one does not take part is NULL and carries nothing. */
static int send(struct link *link, const struct batch *b, unsigned columns, enum phase phase)
{
    return link ? link_send(link, b, columns, phase) : RL_OK;
}

/* What the rewards need to know first they have already. */
static int send_rollouts(struct ring *ring, const struct batch *b)
{
    int rc = RL_OK;

    if (!ring->bare)
        rc = send(ring->prompts_to_refmodel, b, COL_TOKENS, PHASE_ROLLOUT);
    return status_worse(rc, send(ring->rollouts, b, COL_TOKENS | COL_ACTOR_LOGP, PHASE_ROLLOUT));
}

/* Prompts -> completions, actor_logp. */
static int actor_part(struct run *r, struct ring *ring, struct batch *b)
{
    struct trace t = trace_begin("generate");
    double rows;
    int64_t made;
    int rc;

    at(r, ring, PHASE_ROLLOUT);
    b->status = ring_draw(ring, r->config, b->step, b);
    if (b->status == RL_OK)
        b->status = actor_fill(r->actor, b, ring->purpose, r->step);
    actor_stats(r->actor, &made, &rows);
    r->made += made;
    rc = send(ring->prompts_to_reward, b, COL_TOKENS, PHASE_ROLLOUT);
    r->spans[SPAN_GENERATE] += trace_end(t, TRACE_TOKENS, made);
    return rc;
}

/* Tokens -> reward, mix. */
static int reward_part(struct run *r, struct ring *ring, struct batch *b)
{
    int rc = link_recv(ring->prompts_to_reward, b, COL_TOKENS, PHASE_ROLLOUT);
    struct trace t = trace_begin("reward");

    at(r, ring, PHASE_REWARD);
    if (b->status == RL_OK && rc == RL_OK)
        b->status = reward_fill(r->reward, b, ring->size.prompts, ring->purpose);
    r->spans[SPAN_REWARD] += trace_end(t, TRACE_ROWS, b->N);
    return rc;
}

/* Tokens, an actor's or those of a file, -> ref_logp. */
static int refmodel_part(struct run *r, struct ring *ring, struct batch *b)
{
    struct trace t;
    int rc = RL_OK;

    if (ring->prompts_to_refmodel)
        rc = link_recv(ring->prompts_to_refmodel, b, COL_TOKENS, PHASE_ROLLOUT);
    else
        b->status = ring_draw(ring, r->config, b->step, b);
    t = trace_begin("ref_logp");
    at(r, ring, PHASE_REF_LOGP);
    if (b->status == RL_OK && rc == RL_OK)
        b->status = refmodel_fill(r->refmodel, b);
    rc = status_worse(rc, send(ring->references, b, COL_REF_LOGP, PHASE_REF_LOGP));
    r->spans[SPAN_REF_LOGP] += trace_end(t, TRACE_TOKENS, b->T);
    return rc;
}

/* One batch around the ring, up to the learners' door.  A failure travels with the batch, so that
 * every rank keeps its appointments and all stop together at the iteration's agreement. */
int ring_roll(struct run *r, struct ring *ring, int64_t step, enum purpose purpose)
{
    bool again = purpose == PURPOSE_SAMPLE && r->resample.rounds > 0;
    struct batch *b;
    int rc = ring_ready(ring);

    ring_begin(ring, step);
    ring->purpose = purpose;
    if ((b = ring_batch(ring, ROLE_ACTOR, step)))
        rc = status_worse(rc, actor_part(r, ring, b));
    if ((b = ring_batch_now(ring, ROLE_REWARD, step)))
        rc = status_worse(rc, reward_part(r, ring, b));
    if (again)
        rc = status_worse(rc, resample_rounds(r, ring, step));
    if ((b = ring_batch(ring, ROLE_ACTOR, step)))
        rc = status_worse(rc, send_rollouts(ring, b));
    if ((b = ring_batch_now(ring, ROLE_REWARD, step)))
        rc = status_worse(rc, send(ring->rewards, b, ring->size.scores, PHASE_REWARD));
    if ((b = ring_batch_now(ring, ROLE_REFMODEL, step)))
        rc = status_worse(rc, refmodel_part(r, ring, b));
    return rc;
}

/* What a learner has left for now. */
static int late_parts(struct run *r, struct ring *ring, int64_t step)
{
    struct batch *b;
    int rc = RL_OK;

    if ((b = ring_batch_late(ring, ROLE_REWARD, step))) {
        rc = reward_part(r, ring, b);
        rc = status_worse(rc, send(ring->rewards, b, ring->size.scores, PHASE_REWARD));
    }
    if ((b = ring_batch_late(ring, ROLE_REFMODEL, step)))
        rc = status_worse(rc, refmodel_part(r, ring, b));
    return rc;
}

/* Learners: every column of the batch of `step` is made, or waited for. */
int ring_collect(struct run *r, struct ring *ring, int64_t step)
{
    struct batch *b = ring_batch(ring, ROLE_LEARNER, step);
    int rc = RL_OK;

    if (!b)
        return RL_OK;
    if (ring->collected[step % ring->depth] == step)
        return b->status;
    TRY(late_parts(r, ring, step));
    if (ring->rollouts)
        TRY(link_recv(ring->rollouts, b, COL_TOKENS | COL_ACTOR_LOGP, PHASE_ROLLOUT));
    else if (b != ring_batch(ring, ROLE_REFMODEL, step))    /* else it was drawn there */
        b->status = ring_draw(ring, r->config, step, b);
    if (ring->rewards)
        TRY(link_recv(ring->rewards, b, ring->size.scores, PHASE_REWARD));
    if (ring->references && !ring->bare)
        TRY(link_recv(ring->references, b, COL_REF_LOGP, PHASE_REF_LOGP));
    ring->collected[step % ring->depth] = step;
    rc = b->status;
done:
    return rc;
}

/* Rows of text beside the batch: the same step's, wherever it resumes. */
static int collect_text(struct run *r)
{
    struct batch *b = r->text.P > 0 ? ring_batch(&r->text, ROLE_LEARNER, r->step) : NULL;

    if (!b)
        return RL_OK;
    ring_begin(&r->text, r->step);
    learner_set_text(r->learner, b);
    return ring_draw(&r->text, r->config, r->step, b);
}

/* Is a step whose numbers went bad (on any rank) one that is left out?  Collective. */
static int skip_or_stop(struct run *r, int rc)
{
    if (rc != RL_ENAN || strcmp(r->config->on_nonfinite, "skip") != 0)
        return rc;
    return comm_agree(r->world, r->learner && !learner_skips(r->learner) ? RL_ENAN : RL_OK);
}

static int learn(struct run *r)
{
    struct batch *b = ring_batch(&r->train, ROLE_LEARNER, r->step);
    struct trace t;
    int rc = ring_collect(r, &r->train, r->step);

    rc = comm_agree(r->team, status_worse(rc, collect_text(r)));
    if (rc != RL_ENAN) {            /* else the learner says what becomes of the step */
        TRY(rc);
        TRY(scores_record(r, b));
    }
    t = trace_begin("update");
    comm_doing(r->world, PHASE_UPDATE);
    TRY(learner_update(r->learner, b, r->metrics));
    compute_wait(r->compute);           /* packed weights are part of it */
    r->spans[SPAN_UPDATE] += trace_end(t, TRACE_TOKENS, b->T);
    t = trace_begin("measure");
    if (r->inputs.source != SOURCE_TEXT)
        TRY(learner_measure(r->learner, b, r->metrics, ""));
    TRY(record_samples(r, b));
    trace_end(t, TRACE_ROWS, b->N);
done:
    return rc;
}

/* Learners -> ranks of other roles that work with the policy. */
static int exchange_policy(struct run *r)
{
    int rc = RL_OK;

    if (!r->feed)
        return RL_OK;
    if (run_holds(r, ROLE_LEARNER))
        return weights_publish(r->feed, model_weights(r->policy), r->step);
    if (!run_has_policy(r, comm_rank(r->world)))
        return RL_OK;
    TRY(weights_receive(r->feed, model_weights(r->policy), r->step));
    model_changed(r->policy);
done:
    return rc;
}

/* Version r->step of the weights, and of the models that follow them, goes to the ranks that still
 * need it: nobody samples rows of a file, but the reference reads them. */
static int exchange_weights(struct run *r)
{
    bool trained = r->step < r->config->steps, evaluated = evaluation_due(r);
    struct trace t;
    int rank = comm_rank(r->world), rc = RL_OK;

    if (!trained && !evaluated)
        return RL_OK;
    t = trace_begin("weight_sync");
    comm_doing(r->world, PHASE_WEIGHTS);
    if (run_rolls(r) || evaluated)
        TRY(exchange_policy(r));
    TRY(follower_exchange(&r->judge_mean, &r->placement, rank, r->step));
    TRY(follower_exchange(&r->reference_copy, &r->placement, rank, r->step));
    r->spans[SPAN_WEIGHT_SYNC] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

int run_stop(struct comm *group)
{
    return comm_agree(group, stop_asked() ? RL_ESTOP : RL_OK);
}

static int evaluate_if_due(struct run *r)
{
    struct trace t;
    int rc = RL_OK;

    if (!evaluation_due(r))
        return RL_OK;
    t = trace_begin("eval");
    comm_doing(r->world, PHASE_EVAL);
    rc = missing_tell(r, -1, evaluate(r));
    r->spans[SPAN_EVAL] += trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

/* The clock of a step starts, the first is 1; what was waited for before belongs to no step. */
static struct trace begin_step(struct run *r, int64_t step)
{
    double seconds[PHASES];
    struct trace t;

    comm_waited(r->world, seconds);
    comm_set_step(r->world, step);
    timeline_step(r, step);
    t = trace_begin(step > r->first_step ? "step" : "begin");
    r->step_started = t.begin;
    return t;
}

/* The q-th batch of responses that no step trains on: the learners look at its scores. */
static int look(struct run *r, int64_t q)
{
    struct batch *b = ring_batch(&r->train, ROLE_LEARNER, q);
    int rc = RL_OK;

    TRY(comm_agree(r->team, ring_collect(r, &r->train, q)));
    TRY(scores_observed(r, b));
    TRY(learner_observe(r->learner, b));
done:
    return rc;
}

/* Responses of the weights at the start. */
static int observe(struct run *r)
{
    int64_t rows = (int64_t)r->train.P * r->train.k, wanted = r->inputs.wants.reference_rows;
    int rc = RL_OK;

    for (int64_t q = 0; q * rows < wanted; q++) {
        TRY(run_stop(r->world));
        rc = ring_roll(r, &r->train, q, PURPOSE_REFERENCE);
        if (run_holds(r, ROLE_LEARNER))
            rc = status_worse(rc, look(r, q));
        TRY(missing_tell(r, -1, comm_agree(r->world, rc)));
    }
done:
    return rc;
}

/* Groups first .. first + P of the records in file order; those behind the last record weigh 0. */
static void preview_batch(struct run *r, struct batch *b, int64_t first)
{
    ring_begin(&r->train, 0);
    b->status = records_next(r->inputs.records, false, (uint64_t)r->config->seed, first, b);
    for (int n = 0; n < b->N; n++)
        if (first + b->group + n / b->k >= records_count(r->inputs.records))
            b->weight[n] = 0;
}

/* The records that the method wants to look at before it trains on them. */
static int preview(struct run *r)
{
    struct batch *b = ring_batch(&r->train, ROLE_LEARNER, 0);
    int64_t wanted, count;
    int rc = RL_OK;

    if (!run_holds(r, ROLE_LEARNER) || !r->inputs.records)
        return RL_OK;
    wanted = learner_preview(r->learner);
    count = records_count(r->inputs.records);
    for (int64_t first = 0; first < wanted && first < count; first += r->train.P) {
        TRY(run_stop(r->team));
        preview_batch(r, b, first);
        TRY(learner_preview_add(r->learner, b));
    }
    if (wanted > 0)
        TRY(learner_preview_end(r->learner));
done:
    return rc;
}

/* OSP learns from a judge only when that has shown on held-out pairs that it can judge. */
static int judge_gate(struct run *r)
{
    const struct config *c = r->config;
    double right, bias;
    int rc = RL_OK;

    if (!r->inputs.judge_rewards || !c->osp.gate)
        return RL_OK;
    TRY(evaluate_judge(r, &right, &bias));
    if (run_holds(r, ROLE_LEARNER) &&
        !(right >= c->osp.gate_accuracy && fabs(bias) <= c->osp.gate_bias))
        rc = rl_error(RL_EINVAL, "%s: the judge is right on %.3f of eval_pairs and favours a slot "
                      "by %.3f nats; osp.gate wants at least %g and at most %g: teach it with "
                      "algorithm = \"judge\" first, or set osp.gate = false", c->model, right,
                      bias, c->osp.gate_accuracy, c->osp.gate_bias);
done:
    return comm_agree(r->world, rc);
}

int run_begin(struct run *r)
{
    int64_t ahead = run_lag(r);
    struct trace t = begin_step(r, r->step);
    int rc = RL_OK;

    TRY(draw_weights(r));
    TRY(comm_agree(r->world, exchange_weights(r)));
    if (r->step > 0)
        goto done;                      /* the queue came with the checkpoint */
    TRY(observe(r));
    TRY(judge_gate(r));
    TRY(comm_agree(r->world, preview(r)));
    rc = evaluate_if_due(r);
    TRY(comm_agree(r->world, rc));
    if (evaluation_due(r))
        rc = record_step(r);
    for (int64_t q = 0; q < ahead; q++)
        rc = status_worse(rc, ring_roll(r, &r->train, q, PURPOSE_SAMPLE));
    TRY(comm_agree(r->world, rc));
done:
    trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

/* Evaluation and the lines of the step.  One that a stop cuts short leaves what it has. */
static int close_step(struct run *r)
{
    int evaluated = comm_agree(r->world, evaluate_if_due(r)), rc = RL_OK;
    struct trace t;

    if (evaluated != RL_ESTOP)
        TRY(evaluated);
    comm_doing(r->world, PHASE_STATS);
    t = trace_begin("record");
    TRY(record_step(r));
    trace_end(t, TRACE_NOTHING, 0);
    rc = evaluated;
done:
    return rc;
}

/* The learners made version r->step.  The batches that wait meet the followers as these were before
 * it, and are saved with all their columns; what fails here is told when it is trained. */
static void follow(struct run *r)
{
    bool now = follower_moves(&r->judge_mean, r->step) ||
               follower_moves(&r->reference_copy, r->step) || save_is_due(r);

    for (int64_t q = 0; now && q < run_lag(r); q++)
        (void)ring_collect(r, &r->train, r->step + q);
    follower_update(&r->judge_mean, r->policy, r->step);
    follower_update(&r->reference_copy, r->policy, r->step);
}

int iteration(struct run *r)
{
    struct trace t = begin_step(r, r->step + 1);
    int rc = RL_OK;

    rc = ring_roll(r, &r->train, r->step + run_lag(r), PURPOSE_SAMPLE);
    if (run_holds(r, ROLE_LEARNER))
        rc = status_worse(rc, learn(r));
    TRY(skip_or_stop(r, missing_tell(r, r->step, comm_agree(r->world, rc))));
    r->step++;
    if (run_holds(r, ROLE_LEARNER))
        follow(r);
    TRY(comm_agree(r->world, exchange_weights(r)));
    TRY(close_step(r));
    if (r->step < r->config->steps)
        TRY(run_stop(r->world));
    comm_doing(r->world, PHASE_CHECKPOINT);
    TRY(comm_agree(r->world, journal_step(r)));
    TRY(comm_agree(r->world, save_step(r)));
done:
    trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

/* Are the weights and the batches that wait in the queue whole?  Else they cannot be saved.
 * Collective. */
static bool state_is_sound(struct run *r)
{
    int64_t ahead = run_lag(r);
    int rc = !r->learner || learner_whole(r->learner) ? RL_OK : RL_ENAN;

    for (int64_t q = 0; q < ahead; q++)
        rc = status_worse(rc, ring_collect(r, &r->train, r->step + q));
    return comm_agree(r->world, rc) == RL_OK;
}

/* Save what there is unless a rank was lost; before the first step there is nothing.  Numbers gone
 * bad leave the weights of the last good step, or, when they already spoiled a batch that waits,
 * the last checkpoint. */
int run_end(struct run *r, int rc)
{
    bool save = rc == RL_OK || ((rc == RL_ESTOP || rc == RL_ENAN) && r->step > 0);
    int saved;

    if (rc == RL_ELOST)
        return rc;
    comm_doing(r->world, PHASE_CHECKPOINT);
    saved = comm_agree(r->world, save_finish(r));
    if (saved == RL_OK && save && (rc != RL_ENAN || state_is_sound(r))) {
        saved = comm_agree(r->world, save_now(r));
        if (saved == RL_OK)             /* older checkpoints made room */
            saved = comm_agree(r->world, folder_flush(&r->folder));
        journal_close(&r->journal, saved == RL_OK);
    }
    if (saved == RL_OK && comm_rank(r->world) == r->recorder && (rc == RL_OK || rc == RL_ESTOP))
        stop_answered();                /* not before: who is started again is still to stop */
    return saved == RL_OK ? rc : saved;
}
