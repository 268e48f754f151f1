/* See scores.h.  What goes on from step to step is changed in scores_end only, so that a step that
 * fails and is done again after a resume counts once. */
#include "learner/scores.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

void scores_layout(struct scores *s, struct memory *memory, int R)
{
    size_t n = (size_t)(R > 0 ? R : 1);

    s->R = R;
    s->kept = memory_take(memory, n * sizeof *s->kept);
    s->now = memory_take(memory, n * sizeof *s->now);
    s->mean = memory_take(memory, n * sizeof *s->mean);
    s->std = memory_take(memory, n * sizeof *s->std);
    s->mix = memory_take(memory, n * sizeof *s->mix);
}

/* ---- scores of a row */

/* y of one score: (x - mean) / std within clip.  NaN stays NaN. */
static double shape(const struct config_reward *c, double x, double mean, double std)
{
    double y = (x - mean) / std;

    if (c->clip.count == 2 && y < c->clip.items[0])
        y = c->clip.items[0];
    if (c->clip.count == 2 && y > c->clip.items[1])
        y = c->clip.items[1];
    return y;
}

double row_mix(const struct batch *b, int n, int r, double otherwise)
{
    return b->filled & COL_MIX ? b->mix[(size_t)n * (size_t)b->R + (size_t)r] : otherwise;
}

double score_given(const struct config *c, const struct batch *b, int n)
{
    double score = 0;

    for (int r = 0; r < b->R; r++)
        score += row_mix(b, n, r, 1) * c->rewards[r].weight * b->reward[(size_t)n * b->R + r];
    return isfinite(score) ? score : NAN;
}

double row_reward(const struct learner *ln, const struct batch *b, int n, int r)
{
    const struct scores *s = &ln->rewards;
    double x = b->reward[(size_t)n * b->R + r];

    return isfinite(x) ? shape(&ln->config->rewards[r], x, s->mean[r], s->std[r]) : NAN;
}

double row_score(const struct learner *ln, const struct batch *b, int n)
{
    double score = 0;

    for (int r = 0; r < b->R && b->filled & COL_LABEL; r++)
        score += b->reward[(size_t)n * b->R + r];
    if (b->filled & COL_LABEL)
        return score;
    for (int r = 0; r < b->R; r++)
        score += row_mix(b, n, r, 1) * ln->config->rewards[r].weight * row_reward(ln, b, n, r);
    return score;
}

/* ---- the whole step */

/* Mean and spread that source r is measured by in this step. */
static void set_scale(struct learner *ln, const struct batch *b, int r)
{
    const struct config_reward *c = &ln->config->rewards[r];
    const char *way = c->normalise ? c->normalise : "none";
    struct scores *s = &ln->rewards;

    s->mean[r] = 0;
    s->std[r] = 1;
    s->now[r] = s->kept[r];
    if (strcmp(way, "fixed") == 0) {
        s->mean[r] = c->mean;
        s->std[r] = c->std;
    }
    if (strcmp(way, "running") == 0 || (s->standard && strcmp(way, "none") == 0)) {
        for (int n = 0; n < b->P * b->k; n++)
            running_add(&s->now[r], ln->stats.all[(size_t)n * s->R + r]);
        s->mean[r] = s->now[r].mean;
        s->std[r] = running_std(&s->now[r]);
    }
}

/* Is there a response with all its scores?  If not, the source that failed most is kept. */
static int check_scores(struct learner *ln, const struct batch *b)
{
    struct unscored *u = &ln->rewards.unscored;
    int rows = b->P * b->k, R = ln->rewards.R, whole = 0;

    *u = (struct unscored){ .rows = rows };
    for (int n = 0; n < rows; n++) {
        bool failed = false;
        for (int r = 0; r < R; r++)
            failed |= !isfinite(ln->stats.all[(size_t)n * R + r]);
        whole += !failed;
    }
    if (whole > 0)
        return RL_OK;
    for (int r = 0; r < R; r++) {
        int missing = 0;
        for (int n = 0; n < rows; n++)
            missing += !isfinite(ln->stats.all[(size_t)n * R + r]);
        if (missing > u->missing) {
            u->missing = missing;
            u->reward = r;
        }
    }
    return RL_ENAN;                     /* who scored says why (learner_unscored) */
}

bool learner_unscored(const struct learner *ln, struct unscored *u)
{
    *u = ln->rewards.unscored;
    return u->missing > 0;
}

/* The mean over the prompts of all ranks, in order. */
static int mean_mix(struct learner *ln, const struct batch *b)
{
    struct scores *s = &ln->rewards;
    int rc = RL_OK;

    if (!(ln->stats.columns & COL_MIX))
        return RL_OK;
    TRY(stats_gather(&ln->stats, b->mix, (size_t)b->k * s->R));
    for (int r = 0; r < s->R; r++)
        s->mix[r] = stats_moments(ln->stats.all, b->P, b->k * s->R, r).mean;
done:
    return rc;
}

int scores_begin(struct learner *ln, const struct batch *b)
{
    struct scores *s = &ln->rewards;
    int rc = RL_OK;

    if (algorithm_source(ln->algorithm, ln->config) != SOURCE_PROMPTS)
        return RL_OK;                   /* labels of records are as they are */
    if (s->R == 0 || !(algorithm_columns(ln->algorithm, ln->config) & COL_REWARD))
        return RL_OK;
    if (b->groups > 0 && b->R != s->R)
        rc = rl_error(RL_EBUG, "%d reward columns for %d rewards", b->R, s->R);
    TRY(comm_agree(ln->team, rc));
    TRY(stats_gather(&ln->stats, b->reward, (size_t)b->k * s->R));
    for (int r = 0; r < s->R; r++)
        set_scale(ln, b, r);
    TRY(check_scores(ln, b));
    rc = mean_mix(ln, b);
done:
    return rc;
}

void scores_end(struct learner *ln)
{
    for (int r = 0; r < ln->rewards.R; r++)
        ln->rewards.kept[r] = ln->rewards.now[r];
}
