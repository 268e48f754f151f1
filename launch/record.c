/* The lines of a step: metrics.jsonl, samples.jsonl and the terminal.  Times are the slowest rank's
 * of the role; idle/<role> is the mean share of the step that ranks of the role waited. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "launch/run.h"
#include "launch/view.h"

static const char *const span_names[SPANS] = {
    "generate", "reward", "ref_logp", "update", "weight_sync", "checkpoint", "journal",
    "eval",
};

/* Slowest rank's spans and the largest memory, over all ranks. */
static int gather_spans(struct run *r, double spans[SPANS], double *rss_gb)
{
    int64_t us[SPANS + 1];
    struct rusage usage;
    int rc = RL_OK;

    getrusage(RUSAGE_SELF, &usage);
    for (int i = 0; i < SPANS; i++)
        us[i] = (int64_t)(r->spans[i] * 1e6);
    us[SPANS] = usage.ru_maxrss;
    TRY(comm_max_int64(r->world, us, SPANS + 1, PHASE_STATS));
    for (int i = 0; i < SPANS; i++)
        spans[i] = (double)us[i] * 1e-6;
    *rss_gb = (double)us[SPANS] / (1024.0 * 1024.0);
done:
    return rc;
}

/* Tokens made by all ranks, and seconds waited by the ranks of each role. */
static int gather_sums(struct run *r, int64_t *made, double waited[ROLES])
{
    double seconds[PHASES], mine = 0;
    int64_t sums[ROLES + 1];
    int rc = RL_OK;

    comm_waited(r->world, seconds);
    for (int i = 0; i < PHASES; i++)
        mine += seconds[i];
    sums[ROLES] = r->made;
    for (int i = 0; i < ROLES; i++)
        sums[i] = run_holds(r, 1 << i) ? (int64_t)(mine * 1e6) : 0;
    TRY(comm_sum_int64(r->world, sums, ROLES + 1, PHASE_STATS));
    *made = sums[ROLES];
    for (int i = 0; i < ROLES; i++) {
        int ranks = placement_of(&r->placement, 1 << i)->count;
        waited[i] = ranks ? (double)sums[i] * 1e-6 / ranks : -1;
    }
done:
    return rc;
}

static void set_times(struct run *r, const double spans[SPANS], const double waited[ROLES],
                      int64_t made, double rss_gb)
{
    struct metrics *m = r->metrics;
    double seconds = clock_now() - r->step_started;
    double tokens = (double)learner_tokens(r->learner) - (double)r->tokens_before;

    metrics_set(m, "time/step", seconds);
    for (int i = 0; i < SPANS; i++)
        if (spans[i] > 0)
            metrics_setf(m, spans[i], "time/%s", span_names[i]);
    if (r->save.written.bytes > 0) {
        double bytes = (double)r->save.written.bytes;
        metrics_set(m, "ckpt/bytes", bytes);
        metrics_set(m, "ckpt/gbps", bytes * 1e-9 / r->save.written.seconds);
    }
    if (made > 0 && spans[SPAN_GENERATE] > 0)
        metrics_set(m, "perf/gen_tok_s", (double)made / spans[SPAN_GENERATE]);
    if (tokens > 0 && spans[SPAN_UPDATE] > 0)
        metrics_set(m, "perf/train_tok_s", tokens / spans[SPAN_UPDATE]);
    if (tokens + (double)made > 0)
        metrics_set(m, "perf/tok_s", (tokens > (double)made ? tokens : (double)made) / seconds);
    for (int i = 0; i < ROLES; i++)
        if (waited[i] >= 0)
            metrics_setf(m, waited[i] / seconds, "idle/%s", role_name(1 << i));
    metrics_set(m, "mem/rss_gb", rss_gb);
}

/* Steps of this start that an earlier one had done are lost steps. */
static void set_faults(struct run *r)
{
    const struct restart *s = &r->restart;
    int64_t again = s->reached > r->first_step ? s->reached - r->first_step : 0;

    if (s->count == 0)
        return;
    metrics_set(r->metrics, "fault/restarts", (double)s->count);
    metrics_set(r->metrics, "fault/lost_steps", (double)(s->lost_steps + again));
    if (r->recovered > 0)
        metrics_set(r->metrics, "time/recover", r->recovered);
    r->recovered = 0;
}

/* Records that were no good, and of the others those that the step left out. */
static void set_dropped(struct metrics *m, double dropped, double kept)
{
    double of_step = metrics_get(m, "data/dropped_frac", 0);

    metrics_set(m, "data/dropped_frac", (dropped + of_step * kept) / (dropped + kept));
}

static void set_progress(struct run *r)
{
    struct metrics *m = r->metrics;
    int64_t drawn = r->step * r->train.P;
    const struct records *records = r->inputs.records;

    metrics_set(m, "train/step", (double)r->step);
    metrics_set(m, "train/episode", (double)(drawn * r->train.k));
    metrics_set(m, "train/epoch", (double)(r->step * r->train.size.stride) /
                                  (double)inputs_epoch(&r->inputs));
    if (records && records_dropped(records) > 0)
        set_dropped(m, (double)records_dropped(records), (double)records_count(records));
    metrics_set(m, "train/tokens", (double)learner_tokens(r->learner));
    metrics_set_hash(m, "train/weights_hash", hash_floats(model_weights(r->policy),
                                                          model_size(model_shape(r->policy))));
}

static int write_line(struct run *r)
{
    int64_t left = r->config->steps - r->step, done = r->step - r->first_step;
    struct text line = { 0 };
    int rc = RL_OK;
    double pace = done > 0 ? (clock_now() - r->started) / (double)done : 0;

    if (r->step == r->first_step)
        metrics_set(r->metrics, "time/startup", clock_now() - r->started);
    if (done == 1 && r->compute->about)
        log_info("products: %s", r->compute->about(r->compute));
    view_step(r->metrics, r->step, r->config->steps, pace * (double)left);
    TRY(metrics_line(r->metrics, &line));
    TRY(append_lines(&r->folder.metrics, line.data, line.size));
    folder_tell(&r->folder);
done:
    text_free(&line);
    return rc;
}

int record_step(struct run *r)
{
    double spans[SPANS], waited[ROLES], rss_gb = 0;
    int64_t made = 0;
    int rc = RL_OK;

    TRY(gather_spans(r, spans, &rss_gb));
    TRY(gather_sums(r, &made, waited));
    if (comm_rank(r->world) == r->recorder) {
        set_progress(r);
        set_times(r, spans, waited, made, rss_gb);
        set_faults(r);
        rc = write_line(r);
    }
    if (r->learner)
        r->tokens_before = learner_tokens(r->learner);
    metrics_clear(r->metrics);
    memset(r->spans, 0, sizeof r->spans);
    r->made = 0;
    r->save.written.bytes = 0;
done:
    return comm_agree(r->world, rc);
}

/* ---- samples.jsonl: nothing in it depends on ranks, hosts or time */

static int add_text(struct text *out, struct tokenizer *t, const int *ids, int n)
{
    struct text text = { 0 };
    int rc = RL_OK;

    if (t)
        TRY(tokenizer_decode(t, ids, n, true, &text));
    json_add_string(out, text.data ? text.data : "", text.size);
done:
    text_free(&text);
    return rc;
}

static int add_sample(struct run *r, const struct batch *b, int n, struct text *out)
{
    const int *ids = b->tokens + b->start[n];
    int prompt = b->prompt_len[n], length = b->start[n + 1] - b->start[n],
        row = b->group * b->k + n;
    static const char *const finish[] = { "", "eos", "stop", "length" };
    int rc = RL_OK;

    text_addf(out,
              "{\"step\":%lld,\"row\":%d,\"prompt_line\":%lld,\"prompt\":", (long long)r->step + 1,
              row, (long long)prompts_line(r->inputs.prompts, b->prompt[n]));
    TRY(add_text(out, r->inputs.policy.tokenizer, ids, prompt));
    text_adds(out, ",\"completion\":");
    TRY(add_text(out, r->inputs.policy.tokenizer, ids + prompt, length - prompt));
    text_addf(out, ",\"finish\":\"%s\",\"tokens\":%d,\"version\":%lld,\"rewards\":{",
              finish[b->finish[n]], length - prompt, (long long)b->version[n]);
    for (int i = 0; i < b->R; i++) {
        text_adds(out, i ? "," : "");
        json_add_string(out, r->config->rewards[i].name, strlen(r->config->rewards[i].name));
        text_adds(out, ":");
        json_add_number(out, b->reward[n * b->R + i]);
    }
    text_adds(out, "}}\n");
done:
    return rc;
}

int record_samples(struct run *r, const struct batch *b)
{
    struct text mine = { 0 }, all = { 0 };
    int rc = RL_OK;

    if (!run_rolls(r) || r->config->log_samples == 0)
        return RL_OK;
    for (int n = 0; n < b->N && rc == RL_OK && b->group * b->k + n < r->config->log_samples; n++)
        rc = add_sample(r, b, n, &mine);
    TRY(comm_agree(r->team, rc));
    TRY(comm_gather_text(r->team, mine.data, mine.size, &all, 0, PHASE_STATS));
    if (comm_rank(r->team) == 0 && all.size > 0)
        rc = append_lines(&r->folder.samples, all.data, all.size);
done:
    text_free(&mine);
    text_free(&all);
    return rc;
}
