/* The table of advantages; those of a group are here, in closed form. */
#include "learner/policy/advantage.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

struct summary { int n; double sum, mean, min, max; };

static struct summary summarise(const struct advantage_group *g)
{
    struct summary s = { .min = HUGE_VAL, .max = -HUGE_VAL };

    for (int i = 0; i < g->G; i++) {
        if (!isfinite(g->score[i]))
            continue;
        s.n++;
        s.sum += g->score[i];
        s.min = fmin(s.min, g->score[i]);
        s.max = fmax(s.max, g->score[i]);
    }
    s.mean = s.n > 0 ? s.sum / s.n : 0;
    return s;
}

/* factor (r_i - base); exactly 0 where all scores are equal, though their mean was rounded. */
static void centred(const struct advantage_group *g, const struct summary *s, double base,
                    double factor, double *adv)
{
    for (int i = 0; i < g->G; i++)
        adv[i] = isfinite(g->score[i]) && s->min < s->max ? factor * (g->score[i] - base) : 0;
}

static void rloo(const struct advantage_group *g, double *adv)
{
    struct summary s = summarise(g);

    centred(g, &s, s.mean, s.n > 1 ? (double)s.n / (s.n - 1) : 0, adv);
}

static void group_mean(const struct advantage_group *g, double *adv)
{
    struct summary s = summarise(g);

    centred(g, &s, s.mean, 1, adv);
}

static void grpo(const struct advantage_group *g, double *adv)
{
    struct summary s = summarise(g);
    double squares = 0;

    for (int i = 0; i < g->G; i++)
        if (isfinite(g->score[i]))
            squares += (g->score[i] - s.mean) * (g->score[i] - s.mean);
    if (s.n == 1)
        for (int i = 0; i < g->G; i++)
            adv[i] = isfinite(g->score[i]) ? g->score[i] / (1 + g->eps) : 0;
    else
        centred(g, &s, s.mean, 1 / (sqrt(squares / fmax(s.n - g->ddof, 1)) + g->eps), adv);
}

/* The baseline of least variance when the squared norm of a response's gradient grows with its
 * length. */
static void opo(const struct advantage_group *g, double *adv)
{
    struct summary s = summarise(g);
    double weighted = 0, lengths = 0;

    for (int i = 0; i < g->G; i++)
        if (isfinite(g->score[i])) {
            weighted += g->length[i] * g->score[i];
            lengths += g->length[i];
        }
    centred(g, &s, lengths > 0 ? weighted / lengths : s.mean, 1, adv);
}

const struct advantage advantages[] = {
    /* name                     group       critic  whiten */
    { "gae",                    NULL,       true,   false },
    { "reinforce_pp",           NULL,       false,  true },
    { "rloo",                   rloo,       false,  false },
    { "grpo",                   grpo,       false,  false },
    { "group_mean",             group_mean, false,  false },
    { "opo",                    opo,        false,  false },
    { "reinforce_pp_baseline",  group_mean, false,  true },
    { NULL,                     NULL,       false,  false },
};

const struct advantage *advantage_find(const char *name)
{
    for (const struct advantage *a = advantages; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}
