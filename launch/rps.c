/* See rps.h. */
#include "launch/rps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/math.h"

static double length_of(const double *v, int K)
{
    return sqrt(rps_score(v, v, K));
}

/* To unit length; false: it has none. */
static bool scale(double *v, int K)
{
    double length = length_of(v, K);

    for (int i = 0; i < K; i++)
        v[i] /= length;
    return length > 0 && isfinite(length);
}

int rps_target(double *v, const char *numbers, const struct config *c)
{
    const char *at = numbers;
    char *end;

    if (c->n_rewards < 1 || c->n_rewards > RPS_MOST)
        return rl_error(RL_EINVAL, "%s: rewards: rps chooses by 1 to %d rewards, not %d",
                        config_where(c, "rewards"), RPS_MOST, c->n_rewards);
    for (int i = 0; i < c->n_rewards; i++) {
        v[i] = c->rewards[i].weight;
        if (!numbers)
            continue;
        v[i] = strtod(at, &end);
        if (end == at || *end != (i + 1 < c->n_rewards ? ',' : '\0'))
            return rl_error(RL_EINVAL, "--target \"%s\": expected %d numbers with commas between "
                            "them, one for each reward", numbers, c->n_rewards);
        at = end + 1;
    }
    if (!scale(v, c->n_rewards))
        return rl_error(RL_EINVAL, "%s: the direction is nowhere: all of its numbers are 0",
                        numbers ? "--target" : config_where(c, "rewards"));
    return RL_OK;
}

void rps_direction(double *u, const double *v, int K, double angle, struct counter counter)
{
    double side[RPS_MOST], along, share, sine, cosine;
    uint32_t words[4];

    counter.position = 0;
    random_words(&counter, words);
    share = (double)(words[0] >> 8) * 0x1p-24;
    for (int i = 0; i < K; i++) {
        counter.position = (uint32_t)i + 1;
        random_words(&counter, words);
        side[i] = random_normal(words[0], words[1]);
    }
    along = rps_score(side, v, K);
    for (int i = 0; i < K; i++)
        side[i] -= along * v[i];
    if (K == 1 || !scale(side, K))
        memset(side, 0, sizeof side);           /* one reward has no other direction */
    rw_sincos(share * angle, &sine, &cosine);
    for (int i = 0; i < K; i++)
        u[i] = cosine * v[i] + sine * side[i];
    scale(u, K);
}

/* The reward that "{name}..." begins with, -1: none. */
static int named(const char *text, const struct config *c)
{
    for (int i = 0; i < c->n_rewards; i++) {
        size_t n = strlen(c->rewards[i].name);
        if (strncmp(text + 1, c->rewards[i].name, n) == 0 && text[n + 1] == '}')
            return i;
    }
    return -1;
}

void rps_prefix(struct text *out, const char *text, const struct config *c, const double *u)
{
    for (; *text; text++) {
        int i = *text == '{' ? named(text, c) : -1;
        if (i >= 0) {
            text_addf(out, "%.2f", u[i]);
            text += strlen(c->rewards[i].name) + 1;
        } else {
            text_add(out, text, 1);
        }
    }
}

double rps_score(const double *v, const double *r, int K)
{
    double sum = 0;

    for (int i = 0; i < K; i++)
        sum += v[i] * r[i];
    return sum;
}

int rps_best(const double *scores, int n)
{
    int best = -1;

    for (int i = 0; i < n; i++)
        if (!isnan(scores[i]) && (best < 0 || scores[i] > scores[best]))
            best = i;
    return best;
}
