/* By the rows: the defaults of a struct, and the end of all that it owns. */
#include <stdlib.h>
#include <string.h>

#include "base/config_reader.h"
#include "base/status.h"

int config_set_standard(const struct row *row, void *base, const char *standard)
{
    void *at = (char *)base + row->offset;

    switch (row->type) {
    case ROW_INT:
        *(int64_t *)at = strtoll(standard, NULL, 10);
        return RL_OK;
    case ROW_REAL:
        *(double *)at = strtod(standard, NULL);
        return RL_OK;
    case ROW_BOOL:
        *(bool *)at = strcmp(standard, "true") == 0;
        return RL_OK;
    case ROW_STRING:
        return config_set_word(at, standard);
    case ROW_STRINGS:
        config_free_strings(at);
        return RL_OK;
    case ROW_REALS:
        free(((struct reals *)at)->items);
        *(struct reals *)at = (struct reals){ 0 };
        return RL_OK;
    case ROW_INTS:
        free(((struct ints *)at)->items);
        *(struct ints *)at = (struct ints){ 0 };
        return RL_OK;
    case ROW_REWARDS:
        config_free_rewards(((struct config *)base)->rewards, ((struct config *)base)->n_rewards);
        ((struct config *)base)->rewards = NULL;
        ((struct config *)base)->n_rewards = 0;
        return RL_OK;
    default:
        return RL_OK;           /* ranks: there are none yet */
    }
}

int config_set_defaults(const struct row *rows, void *base)
{
    int rc = RL_OK;

    for (; rows->help; rows++)
        if (rows->key)
            TRY(config_set_standard(rows, base, rows->standard));
done:
    return rc;
}

void config_free_strings(struct strings *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

void config_free_rows(const struct row *rows, void *base)
{
    for (; rows->help; rows++) {
        void *at = (char *)base + rows->offset;
        if (rows->key && rows->type == ROW_STRING)
            free(*(char **)at);
        if (rows->key && rows->type == ROW_STRINGS)
            config_free_strings(at);
        if (rows->key && rows->type == ROW_REALS)
            free(((struct reals *)at)->items);
        if (rows->key && rows->type == ROW_INTS)
            free(((struct ints *)at)->items);
    }
}

void config_free_rewards(struct config_reward *rewards, int n)
{
    for (int i = 0; i < n; i++) {
        config_free_rows(config_reward_rows, &rewards[i]);
        free(rewards[i].where);
    }
    free(rewards);
}
