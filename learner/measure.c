/* Means over rows that need no gradient: scores, distance to the reference, entropy, lengths.
 * One record of doubles a row, gathered and added in global order. */
#include <limits.h>
#include <math.h>

#include "base/status.h"
#include "learner/internal.h"

enum { SCORE, REWARDS };        /* then the reward columns, then these: */
enum { LEN_PROMPT, LEN, CLIPPED, ENDED, STOPPED, KL, ENTROPY, COUNT };
_Static_assert(REWARDS + COUNT == MEASURE_TERMS, "the learner plans room for the table of a step");

static void measure_row(const struct learner *ln, const struct batch *b, unsigned columns, int n,
                        double *out)
{
    double *rest = out + REWARDS + b->R;
    int from, end = row_response(b, n, &from);

    out[SCORE] = columns & COL_REWARD ? score_given(ln->config, b, n) : 0;
    for (int r = 0; r < b->R; r++)
        out[REWARDS + r] = columns & COL_REWARD ? b->reward[(size_t)n * b->R + r] : 0;
    rest[LEN_PROMPT] = b->prompt_len[n];
    rest[LEN] = end - b->start[n] - b->prompt_len[n];
    rest[CLIPPED] = b->finish[n] == FINISH_LENGTH;
    rest[ENDED] = row_ended(b, n);
    rest[STOPPED] = b->finish[n] == FINISH_STOP;
    rest[KL] = rest[ENTROPY] = 0;
    if (columns & COL_ACTOR_LOGP)
        rest[ENTROPY] = -row_sum(b->actor_logp, from, end);
    if (columns & COL_ACTOR_LOGP && columns & COL_REF_LOGP)
        for (int t = from; t < end; t++)
            rest[KL] += (double)b->actor_logp[t] - (double)b->ref_logp[t];
}

/* Share of the groups whose responses all have the same score (those that have one). */
static double no_signal(const double *all, int groups, int k, int columns)
{
    int same = 0;

    for (int g = 0; g < groups; g++) {
        struct moments score = stats_finite(all + (size_t)g * k * columns, k, columns, SCORE);
        same += score.min == score.max;
    }
    return (double)same / groups;
}

static bool any_speaks(const struct config *c, const struct batch *b)
{
    for (int r = 0; r < b->R; r++)
        if (config_reward_speaks(c, r, b->k))
            return true;
    return false;
}

/* The mean of each reward, where there are several. */
static void set_objectives(const struct learner *ln, const struct batch *b, struct metrics *m,
                           const char *prefix, const double *all, int rows, int columns)
{
    for (int r = 0; r < b->R && b->R > 1; r++) {
        struct moments one = stats_finite(all, rows, columns, REWARDS + r);

        if (one.count > 0 && config_reward_speaks(ln->config, r, b->k))
            metrics_setf(m, one.mean, "%sreward/%s", prefix, ln->config->rewards[r].name);
    }
}

/* An evaluation has few numbers, and the share of responses without a score if there are any; a
 * training step has all of them. */
static void set_evaluation(struct metrics *m, const char *prefix, unsigned columns,
                           struct moments score, double kl, double length, int rows)
{
    if (columns & COL_REWARD && score.count > 0)
        metrics_setf(m, score.mean, "%sscore", prefix);
    if (columns & COL_REWARD && score.count < rows)
        metrics_setf(m, 1 - (double)score.count / rows, "%sfailed_frac", prefix);
    if (columns & COL_ACTOR_LOGP && columns & COL_REF_LOGP)
        metrics_setf(m, kl, "%skl", prefix);
    metrics_setf(m, length, "%slen", prefix);
}

static void set_rewards(const struct learner *ln, const struct batch *b, struct metrics *m,
                        const double *all, int rows, int columns)
{
    struct moments score = stats_finite(all, rows, columns, SCORE);
    double correlation;

    if (score.count > 0) {
        metrics_set(m, "reward/mean", score.mean);
        metrics_set(m, "reward/std", score.std);
        metrics_set(m, "reward/min", score.min);
        metrics_set(m, "reward/max", score.max);
    }
    for (int r = 0; r < b->R; r++) {
        struct moments one = stats_finite(all, rows, columns, REWARDS + r);
        if (one.count == 0)
            continue;
        metrics_setf(m, one.mean, "reward/%s/mean", ln->config->rewards[r].name);
        metrics_setf(m, one.std, "reward/%s/std", ln->config->rewards[r].name);
    }
    if (stats_correlation(all, rows, columns, SCORE, REWARDS + b->R + LEN, &correlation))
        metrics_set(m, "reward/len_corr", correlation);
    metrics_set(m, "reward/failed_frac", 1 - (double)score.count / rows);
    if (b->k > 1)
        metrics_set(m, "rollout/zero_std_frac", no_signal(all, b->P, b->k, columns));
}

/* What an orchestrator made of the prompts of the step (scores.c). */
static void set_mix(const struct learner *ln, struct metrics *m)
{
    for (int r = 0; r < ln->rewards.R; r++)
        metrics_setf(m, ln->rewards.mix[r], "orchestrator/weight/%s", ln->config->rewards[r].name);
}

static void set_lengths(const struct learner *ln, struct metrics *m, const double *all, int rows,
                        int columns, int rest)
{
    struct moments length = stats_moments(all, rows, columns, rest + LEN);

    metrics_set(m, "len/prompt/mean", stats_moments(all, rows, columns, rest + LEN_PROMPT).mean);
    metrics_set(m, "len/response/mean", length.mean);
    metrics_set(m, "len/response/min", length.min);
    metrics_set(m, "len/response/max", length.max);
    metrics_set(m, "len/clip_ratio", stats_moments(all, rows, columns, rest + CLIPPED).mean);
    metrics_set(m, "rollout/eos_ratio", stats_moments(all, rows, columns, rest + ENDED).mean);
    if (ln->config->stop.count > 0)
        metrics_set(m, "rollout/stop_ratio",
                    stats_moments(all, rows, columns, rest + STOPPED).mean);
}

/* Lengths of the rows of records that count. */
static int measure_records(struct learner *ln, const struct batch *b, struct metrics *m, int rc)
{
    enum { PROMPT, RESPONSE, RECORD };
    struct moments prompt, response;
    int rows = b->P * b->k;

    TRY(stats_begin(&ln->stats, b, rc));
    TRY(stats_room(&ln->stats, (size_t)b->k * RECORD));
    for (int n = 0; n < b->N; n++) {
        double *row = ln->stats.mine + (size_t)n * RECORD;
        bool counts = b->weight[n] > 0;
        row[PROMPT] = counts ? b->prompt_len[n] : NAN;
        row[RESPONSE] = counts ? b->start[n + 1] - b->start[n] - b->prompt_len[n] : NAN;
    }
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k * RECORD));
    prompt = stats_finite(ln->stats.all, rows, RECORD, PROMPT);
    response = stats_finite(ln->stats.all, rows, RECORD, RESPONSE);
    if (prompt.count == 0)
        return RL_OK;
    metrics_set(m, "len/prompt/mean", prompt.mean);
    metrics_set(m, "len/response/mean", response.mean);
    metrics_set(m, "len/response/min", response.min);
    metrics_set(m, "len/response/max", response.max);
done:
    return rc;
}

int learner_measure(struct learner *ln, const struct batch *b, struct metrics *m,
                    const char *prefix)
{
    int rest = REWARDS + b->R, columns = rest + COUNT, rows = b->P * b->k;
    const double *all;
    double kl;
    unsigned have;
    int rc = b->status == RL_OK ? micro_check(b, INT_MAX) : b->status;

    if (b->filled & COL_LABEL)
        return measure_records(ln, b, m, rc);
    if (rc == RL_OK && (b->R != ln->config->n_rewards && b->filled & COL_REWARD))
        rc = rl_error(RL_EBUG, "%d reward columns for %d rewards", b->R, ln->config->n_rewards);
    TRY(stats_begin(&ln->stats, b, rc));
    TRY(stats_room(&ln->stats, (size_t)b->k * columns));
    have = ln->stats.columns;
    for (int n = 0; n < b->N; n++)
        measure_row(ln, b, have, n, ln->stats.mine + (size_t)n * columns);
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k * columns));

    all = ln->stats.all;
    kl = stats_moments(all, rows, columns, rest + KL).mean;
    if (prefix[0]) {
        unsigned known = any_speaks(ln->config, b) ? have : have & ~(unsigned)COL_REWARD;
        set_evaluation(m, prefix, known, stats_finite(all, rows, columns, SCORE), kl,
                       stats_moments(all, rows, columns, rest + LEN).mean, rows);
        if (have & COL_REWARD)
            set_objectives(ln, b, m, prefix, all, rows, columns);
        return RL_OK;
    }
    if (have & COL_REWARD && b->R > 0)
        set_rewards(ln, b, m, all, rows, columns);
    if (have & COL_MIX)
        set_mix(ln, m);
    if (have & COL_ACTOR_LOGP && have & COL_REF_LOGP) {
        metrics_set(m, "kl/ref", kl);
        if (have & COL_REWARD && b->R > 0)
            metrics_set(m, "reward/rlhf", stats_finite(all, rows, columns, SCORE).mean -
                        ln->kl_coef * kl);
    }
    if (have & COL_ACTOR_LOGP)
        metrics_set(m, "policy/entropy", stats_moments(all, rows, columns, rest + ENTROPY).mean);
    set_lengths(ln, m, all, rows, columns, rest);
done:
    return rc;
}
