/* What was given, and what differs from what a key is by itself. */
#include <stdlib.h>
#include <string.h>

#include "base/config_reader.h"
#include "base/status.h"

static bool is_standard(const struct row *row, const void *base, const char *standard)
{
    const void *at = (const char *)base + row->offset;
    const char *word;

    switch (row->type) {
    case ROW_INT:
        return *(const int64_t *)at == strtoll(standard, NULL, 10);
    case ROW_REAL:
        return *(const double *)at == strtod(standard, NULL);
    case ROW_BOOL:
        return *(const bool *)at == (strcmp(standard, "true") == 0);
    case ROW_STRING:
        word = *(char *const *)at;
        return !word || strcmp(word, standard) == 0;
    case ROW_STRINGS:
        return ((const struct strings *)at)->count == 0;
    case ROW_REALS:
        return ((const struct reals *)at)->count == 0;
    case ROW_INTS:
        return ((const struct ints *)at)->count == 0;
    case ROW_REWARDS:
        return ((const struct config *)base)->n_rewards == 0;
    default:
        return true;            /* other groups have keys of their own */
    }
}

const char *config_given(const struct config *c, int *at)
{
    while (c->impl && config_rows[*at].help) {
        const struct row *row = &config_rows[(*at)++];

        if (row->key && *config_place(c, row) && !is_standard(row, c, config_standard(c, row)))
            return row->key;
    }
    return NULL;
}

const char *config_reward_given(const struct config_reward *reward, int *at)
{
    while (reward->where && config_reward_rows[*at].help) {
        const struct row *row = &config_reward_rows[(*at)++];

        if (!is_standard(row, reward, row->standard))
            return row->key;
    }
    return NULL;
}

int config_forget(struct config *c, const char *key)
{
    const struct row *row = config_row(config_rows, key);
    int rc = config_set_standard(row, c, config_standard(c, row));

    return rc == RL_OK ? config_set_word(config_place(c, row), "") : rc;
}

const char *config_word(const struct config *c, const char *key)
{
    const struct row *row = config_row(config_rows, key);
    const void *at = (const char *)c + row->offset;

    if (row->type == ROW_BOOL)
        return *(const bool *)at ? "true" : "false";
    return row->type == ROW_STRING && *(char *const *)at ? *(char *const *)at : "";
}
