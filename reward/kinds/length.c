/* length: how long the response is, or how near to a target.
 *
 *   score = length                 without a target (target < 0)
 *   score = -|length - target|     with one
 *
 * unit "tokens": ids of the response, the end-of-text id included when the model made it;
 * "characters": code points of its text; "words": runs of anything but spaces, tabs and line ends.
 */
#include "reward/kinds/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct length {
    double (*measure)(const struct response *r);
    double target;
};

static double tokens(const struct response *r)
{
    return r->count;
}

/* Every byte that does not continue a code point begins one. */
static double characters(const struct response *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->bytes; i++)
        count += ((unsigned char)r->text[i] & 0xc0) != 0x80;
    return (double)count;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static double words(const struct response *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->bytes; i++)
        count += !is_space(r->text[i]) && (i == 0 || is_space(r->text[i - 1]));
    return (double)count;
}

static const struct {
    const char *unit;
    double (*measure)(const struct response *r);
} units[] = {
    { "tokens",     tokens     },
    { "characters", characters },
    { "words",      words      },
    { NULL,         NULL       },
};

static const char *unit_of(const struct config_reward *c)
{
    return c->unit ? c->unit : "tokens";
}

bool length_needs_text(const struct config_reward *c)
{
    return strcmp(unit_of(c), "tokens") != 0;
}

int length_open(void **state, const struct config_reward *c, const char *where)
{
    struct length *l;
    int i = 0;

    *state = NULL;
    while (units[i].unit && strcmp(units[i].unit, unit_of(c)) != 0)
        i++;
    if (!units[i].unit)
        return rl_error(RL_EINVAL, "%s: unit: \"%s\" is none of tokens, characters, words", where,
                        unit_of(c));
    if (!isfinite(c->target))
        return rl_error(RL_EINVAL, "%s: target: must be a finite number", where);
    l = malloc(sizeof *l);
    if (!l)
        return rl_error(RL_ENOFIT, "%s: length: no memory", where);
    l->measure = units[i].measure;
    l->target = c->target;
    *state = l;
    return RL_OK;
}

int length_score(void *state, const struct response *r, double *score)
{
    const struct length *l = state;
    double length = l->measure(r);

    *score = l->target < 0 ? length : -fabs(length - l->target);
    return RL_OK;
}

void length_close(void *state)
{
    free(state);
}
