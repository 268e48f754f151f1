/* The story of an update. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/internal.h"

/* Is the batch what this learner was made for?  Not collective. */
static int check(const struct learner *ln, const struct batch *b)
{
    unsigned needed = algorithm_columns(ln->algorithm, ln->config);
    int first, end;

    if (b->status != RL_OK)
        return b->status;           /* its line was written where it happened */
    if (b->P < 1 || b->P > ln->P || b->k != ln->k || b->groups < 0 || b->groups > b->P)
        return rl_error(RL_EBUG, "step %lld: a batch of %d groups of %d for a learner of %d of %d",
                        (long long)b->step, b->P, b->k, ln->P, ln->k);
    if (!ln->fast) {
        first = (int)((int64_t)tree_first(ln->policy.tree) * b->P / ln->leaves);
        end = (int)((int64_t)tree_end(ln->policy.tree) * b->P / ln->leaves);
        if (b->group != first || b->groups != end - first)
            return rl_error(RL_EBUG, "step %lld: groups %d .. %d came to the learner of %d .. %d",
                            (long long)b->step, b->group, b->group + b->groups, first, end);
    }
    if (b->groups > 0 && (b->filled & needed) != needed)
        return rl_error(RL_EBUG, "step %lld: %s needs columns %#x of the batch and got %#x",
                        (long long)b->step, ln->algorithm->name, needed, b->filled);
    return micro_check(b, ln->max_row_tokens);
}

/* A forward pass over the rows that the method wants to know more of, then what it makes of the
 * whole step. */
static int prepare(struct learner *ln, const struct batch *b)
{
    struct trace t = trace_begin("look");
    int rc = RL_OK;

    if (ln->method->look)
        TRY(comm_agree(ln->team, gradients_look(ln, b)));
    ln->seconds[SECONDS_LOOK] += trace_end(t, TRACE_NOTHING, 0);
    if (ln->method->prepare)
        TRY(ln->method->prepare(ln, b));
done:
    return rc;
}

static int reduce(const struct learner *ln, struct trainee *t)
{
    if (!t->model || ln->method->gradients)
        return RL_OK;               /* there is none, or its sum is there already */
    return comm_tree_sum(t->tree, t->grads);
}

/* The sum over all ranks, then new weights. */
static int step(struct learner *ln, double *norm, double *lr)
{
    struct trace t = trace_begin("reduce");
    double critic_norm, critic_lr;
    int rc = RL_OK;

    TRY(reduce(ln, &ln->policy));
    TRY(reduce(ln, &ln->critic));
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
    t = trace_begin("optimizer");
    if (ln->critic.model)           /* before the policy's weights change */
        TRY(optimizer_norm(ln->critic.model, ln->critic.grads, &critic_norm));
    TRY(optimizer_step(ln->policy.optimizer, ln->policy.grads, ln->version, norm, lr));
    if (ln->critic.model)
        TRY(optimizer_step(ln->critic.optimizer, ln->critic.grads, ln->version, &critic_norm,
                           &critic_lr));
    ln->seconds[SECONDS_OPTIMIZER] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

static void forget_leaves(struct learner *ln)
{
    struct trainee *all[] = { &ln->policy, &ln->critic };

    for (int i = 0; i < 1 + (ln->critic.model != NULL); i++) {
        tree_clear(all[i]->tree);
        model_backward_forget(all[i]->trainer);
    }
}

/* Sums of what is reported as a mean over the passes. */
struct steps { double norm, lr; int done; };

/* Of what was reported so far: the same on every rank. */
static int check_loss(const struct batch *b, const struct metrics *m)
{
    double loss = metrics_get(m, "loss", 0);

    return isfinite(loss) ? RL_OK : rl_error(RL_ENAN, "step %lld: the loss is %g",
                                             (long long)b->step + 1, loss);
}

/* Before the weights change.  A gradient that is no number either names its tensor: it says more
 * than the loss.  Collective. */
static int check_pass(struct learner *ln, const struct batch *b, const struct metrics *m)
{
    double loss = metrics_get(m, "loss", 0), norm;
    int rc = RL_OK;

    if (isfinite(loss))
        return RL_OK;
    if (ln->total > 0) {
        TRY(reduce(ln, &ln->policy));
        TRY(optimizer_norm(ln->policy.model, ln->policy.grads, &norm));
    }
    rc = check_loss(b, m);
done:
    return rc;
}

/* A step along the gradient.  When there is none because numbers are bad, the line about it waits
 * until it can say whose they are. */
static int descend(struct learner *ln, const struct batch *b, const struct metrics *m,
                   struct steps *steps)
{
    bool held = status_hold(true);
    double norm;
    int rc = check_pass(ln, b, m);

    if (rc == RL_OK && ln->total > 0) {
        rc = step(ln, &norm, &steps->lr);
        steps->norm += rc == RL_OK ? norm : 0;
        steps->done += rc == RL_OK;
    } else if (rc == RL_OK) {
        forget_leaves(ln);          /* no row counts, on any rank: there is nothing to learn */
    }
    rc = health_culprit(ln, b, rc);
    status_hold(held);
    if (!held)
        status_print();
    return rc;
}

/* Gradients of the rows of this pass, and a step along them. */
static int pass(struct learner *ln, const struct batch *b, struct metrics *m, struct steps *steps)
{
    int rc = ln->method->select ? ln->method->select(ln, b) : RL_OK;

    TRY(comm_agree(ln->team, rc));
    TRY(ln->method->count(ln, b));
    TRY(ptx_count(ln));
    if (ln->method->gradients)
        TRY(ln->method->gradients(ln, b));
    else
        TRY(comm_agree(ln->team, gradients_add(ln, b)));
    TRY(ln->method->report(ln, b, m));
    TRY(descend(ln, b, m, steps));
    ln->tokens += ln->counted[1];
done:
    return rc;
}

static void report(struct learner *ln, struct metrics *m, const struct steps *steps)
{
    static const char *const names[SECONDS] = { "time/forward", "time/backward", "time/reduce",
                                                "time/optimizer", "time/value" };

    if (steps->done > 0) {
        metrics_set(m, "optim/lr", steps->lr);
        metrics_set(m, "optim/grad_norm", steps->norm / steps->done);
    }
    metrics_set(m, "optim/skipped", ln->passes - steps->done);
    for (int i = 0; i < SECONDS; i++)
        if (i != SECONDS_LOOK || ln->looked)
            metrics_set(m, names[i], ln->seconds[i]);
}

int learner_observe(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    TRY(stats_begin(&ln->stats, b, check(ln, b)));
    TRY(scores_begin(ln, b));
    if (ln->method->observe)
        TRY(ln->method->observe(ln, b));
done:
    return rc;
}

static int update(struct learner *ln, const struct batch *b, struct metrics *m,
                  struct steps *steps)
{
    int rc = RL_OK;

    memset(ln->seconds, 0, sizeof ln->seconds);
    ln->pass = 0;
    ln->looked = false;
    TRY(stats_begin(&ln->stats, b, check(ln, b)));
    TRY(scores_begin(ln, b));
    TRY(ptx_begin(ln));
    rows_begin(ln, b);
    TRY(comm_agree(ln->team, ln->method->targets(ln, b)));
    TRY(prepare(ln, b));
    for (; ln->pass < ln->passes; ln->pass++)
        TRY(pass(ln, b, m, steps));
    if (ln->method->finish)
        TRY(ln->method->finish(ln, b, m));
    TRY(ptx_report(ln, m, steps->done));
    TRY(check_loss(b, m));
    scores_end(ln);
done:
    return rc;
}

int learner_update(struct learner *ln, struct batch *b, struct metrics *m)
{
    struct steps steps = { 0 };
    int rc;

    health_keep(ln);
    rc = update(ln, b, m, &steps);
    report(ln, m, &steps);
    if (rc == RL_OK) {
        health_watch(ln, b, m);
    } else {
        forget_leaves(ln);          /* of an update that did not come to its end */
        health_restore(ln);
    }
    if (rc == RL_OK || (rc == RL_ENAN && health_skip(ln, b)))
        ln->version++;
    else
        ln->torn = ln->torn || steps.done > 0;
    health_report(ln, m);
    return rc;
}

/* ---- before the first update */

int64_t learner_preview(struct learner *ln)
{
    return ln->method->preview ? ln->method->preview(ln) : 0;
}

int learner_preview_add(struct learner *ln, const struct batch *b)
{
    return ln->method->preview_add(ln, b);
}

int learner_preview_end(struct learner *ln)
{
    return ln->method->preview_end(ln);
}
