/* Evaluation on held-out data: rewards, KL and lengths of completions of eval_prompts, sampled and
 * greedy, ranking of eval_pairs, and perplexity of eval_text.  The same ring as training, with its
 * own batches and random numbers. */
#include <stdio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "compute/math.h"
#include "launch/run.h"

bool evaluation_due(const struct run *r)
{
    const struct config *c = r->config;

    return c->eval_every > 0 && (r->step % c->eval_every == 0 || r->step == c->steps);
}

/* "eval/stories.eval/", "eval/stories.eval/greedy/" */
static void prefix_of(const char *path, const char *more, char *out, size_t room)
{
    char stem[256];

    path_stem(path, stem, sizeof stem);
    snprintf(out, room, "eval/%s/%s", stem, more);
}

static int evaluate_prompts(struct run *r, const char *more)
{
    struct batch *b = ring_batch(&r->eval, ROLE_LEARNER, r->step);
    char prefix[512];
    int rc = ring_roll(r, &r->eval, r->step, PURPOSE_EVAL);

    if (run_holds(r, ROLE_LEARNER)) {
        rc = status_worse(rc, ring_collect(r, &r->eval, r->step));
        TRY(comm_agree(r->team, rc));
        prefix_of(r->config->eval_prompts, more, prefix, sizeof prefix);
        TRY(learner_measure(r->learner, b, r->metrics, prefix));
    }
done:
    return comm_agree(r->world, rc);
}

static int evaluate_pairs(struct run *r, int i)
{
    struct ring *ring = &r->eval_pairs[i];
    struct batch *b = ring_batch(ring, ROLE_LEARNER, 0);
    const char *const *names;
    char prefix[512];
    int rc = ring_roll(r, ring, 0, PURPOSE_EVAL);

    if (b) {
        rc = status_worse(rc, ring_collect(r, ring, 0));
        TRY(comm_agree(r->team, rc));
        records_objectives(ring->size.records, &names);
        prefix_of(r->config->eval_pairs.items[i], "", prefix, sizeof prefix);
        TRY(learner_measure_pairs(r->learner, b, r->metrics, prefix, names));
        TRY(learner_held_out(r->learner, b, i, r->metrics, prefix));
        TRY(learner_judge_pairs(r->learner, b, r->metrics, prefix));
    }
done:
    return comm_agree(r->world, rc);
}

/* What the ring brings of held-out pairs i, judged; the metrics are the caller's. */
static int judge_pairs(struct run *r, int i, const char *prefix)
{
    struct ring *ring = &r->eval_pairs[i];
    struct batch *b = ring_batch(ring, ROLE_LEARNER, 0);
    int rc = ring_roll(r, ring, 0, PURPOSE_EVAL);

    if (b) {
        rc = status_worse(rc, ring_collect(r, ring, 0));
        TRY(comm_agree(r->team, rc));
        TRY(learner_judge_pairs(r->learner, b, r->metrics, prefix));
    }
done:
    return comm_agree(r->world, rc);
}

int evaluate_judge(struct run *r, double *right, double *bias)
{
    int n = r->inputs.n_eval_pairs, rc = RL_OK;
    char prefix[512], name[600];

    *right = *bias = 0;
    for (int i = 0; i < n; i++) {
        TRY(run_stop(r->world));
        prefix_of(r->config->eval_pairs.items[i], "", prefix, sizeof prefix);
        TRY(judge_pairs(r, i, prefix));
        snprintf(name, sizeof name, "%sjudge_accuracy", prefix);
        *right += metrics_get(r->metrics, name, 0) / n;
        snprintf(name, sizeof name, "%sjudge_bias", prefix);
        *bias += metrics_get(r->metrics, name, 0) / n;
    }
    metrics_clear(r->metrics);
done:
    return rc;
}

static int evaluate_text(struct run *r, int t)
{
    struct ring *ring = &r->eval_rows[t];
    struct batch *b = ring_batch(ring, ROLE_LEARNER, 0);
    char prefix[512];
    double sum;
    int64_t count;
    int rc = RL_OK;

    if (b) {
        ring_begin(ring, 0);
        TRY(comm_agree(r->team, ring_draw(ring, r->config, 0, b)));
        TRY(learner_nll(r->learner, b, &sum, &count));
        prefix_of(r->config->eval_text.items[t], "", prefix, sizeof prefix);
        metrics_setf(r->metrics, rw_exp(sum / (double)count), "%sperplexity", prefix);
    }
done:
    return comm_agree(r->world, rc);
}

/* Without a reference: KL is a mean over samples, not the mode. */
static int evaluate_greedy(struct run *r)
{
    int rc;

    r->eval.bare = true;
    if (r->actor)
        actor_set_temperature(r->actor, 0);
    rc = evaluate_prompts(r, "greedy/");
    r->eval.bare = false;
    if (r->actor)
        actor_set_temperature(r->actor, (float)r->config->temperature);
    return rc;
}

int evaluate(struct run *r)
{
    int64_t made = r->made;
    int rc = RL_OK;

    if (r->eval.P > 0) {
        TRY(run_stop(r->world));
        TRY(evaluate_prompts(r, ""));
        TRY(run_stop(r->world));
        TRY(evaluate_greedy(r));
    }
    for (int i = 0; i < r->inputs.n_eval_pairs; i++) {
        TRY(run_stop(r->world));
        TRY(evaluate_pairs(r, i));
    }
    for (int t = 0; t < r->inputs.n_eval_text; t++) {
        TRY(run_stop(r->world));
        TRY(evaluate_text(r, t));
    }
done:
    r->made = made;                 /* tokens a second are those of training */
    return rc;
}
