/* The algorithms: one row each.  A new one is the parts it lacks and a row here. */
#include <string.h>

#include "learner/internal.h"

#define ROLLOUTS (COL_TOKENS | COL_ACTOR_LOGP | COL_REF_LOGP | COL_REWARD)

const struct algorithm algorithms[] = {
    /* name         method       rows from       columns     variant */
    { "online_dpo", &method_dpo, SOURCE_PROMPTS, ROLLOUTS,   NULL },
    { "lm",         &method_lm,  SOURCE_TEXT,    COL_TOKENS, NULL },
    { NULL,         NULL,        SOURCE_PROMPTS, 0,          NULL },
};

const struct algorithm *algorithm_find(const char *name)
{
    for (const struct algorithm *a = algorithms; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

void algorithm_names(struct text *out)
{
    for (const struct algorithm *a = algorithms; a->name; a++)
        text_addf(out, "%s%s", a == algorithms ? "" : ", ", a->name);
}

enum rows_from algorithm_source(const struct algorithm *a, const struct config *c)
{
    (void)c;
    return a->source;
}

unsigned algorithm_columns(const struct algorithm *a, const struct config *c)
{
    return a->method->columns ? a->method->columns(c, a) : a->columns;
}

double algorithm_temperature(const struct algorithm *a, const struct config *c)
{
    return a->method->sampling_temperature ? c->temperature : 1;
}
