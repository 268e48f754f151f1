/* regex: how many times a POSIX extended regular expression matches in the response, at most `cap`
 * (0: no cap).
 *
 * Matches are taken from the left, leftmost and longest, and do not overlap; after a match of no
 * characters the search goes on one byte later.  `^` and `$` are the ends of the whole response.
 */
#include "reward/kinds/kinds.h"

#include <regex.h>
#include <stdlib.h>

struct regex {
    regex_t compiled;
    int64_t cap;
};

int regex_open(void **state, const struct config_reward *c, const char *where)
{
    struct regex *x;
    char reason[256];
    int error;

    *state = NULL;
    if (!c->pattern || !c->pattern[0])
        return rl_error(RL_EINVAL, "%s: pattern: missing; give a POSIX extended regular expression",
                        where);
    if (c->cap < 0)
        return rl_error(RL_EINVAL, "%s: cap: must be 0 (no cap) or more", where);
    x = malloc(sizeof *x);
    if (!x)
        return rl_error(RL_ENOFIT, "%s: regex: no memory", where);
    error = regcomp(&x->compiled, c->pattern, REG_EXTENDED);
    if (error) {
        regerror(error, &x->compiled, reason, sizeof reason);
        free(x);
        return rl_error(RL_EINVAL, "%s: pattern: \"%s\": %s", where, c->pattern, reason);
    }
    x->cap = c->cap;
    *state = x;
    return RL_OK;
}

int regex_score(void *state, const struct response *r, double *score)
{
    const struct regex *x = state;
    int64_t found = 0;
    size_t from = 0;

    while (from <= r->bytes && (x->cap == 0 || found < x->cap)) {
        /* REG_STARTEND: the part [so, eo) of the text, which may hold zero bytes */
        regmatch_t match = {.rm_so = (regoff_t)from, .rm_eo = (regoff_t)r->bytes};
        int error = regexec(&x->compiled, r->text, 1, &match,
                            REG_STARTEND | (from > 0 ? REG_NOTBOL : 0));
        if (error == REG_NOMATCH)
            break;
        if (error)
            return rl_error(RL_ENOFIT, "regex: no memory to match %zu bytes", r->bytes);
        found++;
        from = (size_t)match.rm_eo + (match.rm_eo == match.rm_so);
    }
    *score = (double)found;
    return RL_OK;
}

void regex_close(void *state)
{
    struct regex *x = state;

    if (!x)
        return;
    regfree(&x->compiled);
    free(x);
}
