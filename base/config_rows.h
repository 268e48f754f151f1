/* The table behind the configuration.  For base/config*.c only; others include base/config.h. */
#ifndef BASE_CONFIG_ROWS_H
#define BASE_CONFIG_ROWS_H

#include <stddef.h>

#include "base/config.h"

enum row_type {
    ROW_INT, ROW_REAL, ROW_BOOL, ROW_STRING, ROW_STRINGS, ROW_REALS, ROW_INTS,
    ROW_ROLES,                  /* an unsigned, the sum of enum role */
    ROW_REWARDS, ROW_RANKS,     /* lists of groups, with tables of their own */
};

enum { ROW_FIXED = 1 };         /* part of the numerics: the same for the life of a run */

/* A row with a NULL key is a heading (its help); a row without help ends the table. */
struct row {
    const char *key;            /* "lr", "dpo.loss" */
    enum row_type type;
    size_t offset;
    const char *standard;       /* the default, as text; "": not set */
    double min, max;            /* numbers, also those of a list */
    const char *choices;        /* strings: the words allowed, one space between; NULL: any */
    unsigned flags;
    const char *help;
    const char *shown;          /* the default in words, when it depends on other keys; or NULL */
};

#define CONFIG_ROWS 256         /* room for what is kept per row */

extern const struct row config_rows[], config_reward_rows[], config_ranks_rows[];

/* The row of a key, or NULL. */
const struct row *config_row(const struct row *rows, const char *key);

/* "did you mean 'x'?", or where to look when nothing is near.  group: where an unknown key stood
 * ("" at the top). */
void config_row_hint(const struct row *rows, const char *group, const char *key, struct text *out);

/* A number that is -1 when it is not set, then what depends on other keys; else 0 or more. */
bool config_row_may_be_unset(const struct row *row);
bool config_row_allows(const struct row *row, const char *word);        /* is it one of choices? */

/* One value as libconfig text, on one line.  base: the struct the row's offset counts from. */
void config_row_value(const struct row *row, const void *base, struct text *out);

/* config_compatible, once the earlier text is read. */
int config_compare(const struct config *now, const struct config *earlier,
                   const char *earlier_name);

#endif
