/* regex: how many times a POSIX extended regular expression matches in the response, at most `cap`
 * (0: no cap).
 *
 * Matches are taken from the left, leftmost and longest, and do not overlap; after a match of no
 * characters the search goes on one byte later.  `^` and `$` are the ends of the whole response.
 */
#include "reward/kinds/kinds.h"

#include <regex.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST 100             /* groups inside each other: regcomp calls itself for each */
#define WRITTEN_OUT 1000.0      /* characters that repetitions may add, and four for each given */

struct regex {
    regex_t compiled;
    int64_t cap;
};

/* Behind a bracket expression that begins at s. */
static const char *skip_bracket(const char *s)
{
    s += s[1] == '^' ? 2 : 1;
    s += *s == ']';
    while (*s && *s != ']')
        s++;
    return s + (*s == ']');
}

/* How often regcomp writes out the atom before the repetition at s; 0: there is no repetition. */
static double repeats(const char *s)
{
    char *end;
    double n, m;

    if (*s == '*')
        return 1;
    if (*s == '+' || *s == '?')
        return 2;
    if (*s != '{' || !(isdigit((unsigned char)s[1]) || s[1] == ','))
        return 0;
    n = strtod(s + 1, &end);
    m = *end == ',' ? strtod(end + 1, &end) : n;
    return fmax(fmax(n, m), 1);
}

/* Characters of a pattern with its repetitions written out, which is what regcomp makes of it:
 * ((a{1,255}){1,100}){1,50} has 25 bytes and took 4.8 GB.  Infinity: groups too deep, or two
 * repetitions behind each other, whose meaning POSIX leaves open and whose cost doubles. */
static double written_out(const char *s)
{
    double sum[DEEPEST + 1] = { 0 }, atom = 0, times;
    bool repeated = false;
    int depth = 0;

    while (*s) {
        if ((times = repeats(s)) > 0) {
            if (repeated)
                return INFINITY;
            sum[depth] += atom * (times - 1);
            s += *s == '{' ? strcspn(s, "}") : 0;
            s += *s != 0;
        } else if (*s == '(') {
            if (depth == DEEPEST)
                return INFINITY;
            sum[++depth] = 1;
            s++;
        } else if (*s == ')' && depth > 0) {
            atom = sum[depth--];
            sum[depth] += atom;
            s++;
        } else {
            sum[depth] += atom = 1;
            s = *s == '[' ? skip_bracket(s) : s + 1 + (*s == '\\' && s[1]);
        }
        repeated = times > 0;
    }
    for (; depth > 0; depth--)
        sum[depth - 1] += sum[depth];
    return sum[0];
}

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
    if (written_out(c->pattern) > WRITTEN_OUT + 4 * (double)strlen(c->pattern))
        return rl_error(RL_EINVAL, "%s: pattern: \"%.200s\": too large with its repetitions "
                        "written out, groups too deep, or two repetitions behind each other",
                        where, c->pattern);
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
