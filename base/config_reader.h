/* Reading one setting after the other into struct config.  For base/config*.c only. */
#ifndef BASE_CONFIG_READER_H
#define BASE_CONFIG_READER_H

#include "base/config_rows.h"
#include "base/config_source.h"

#define WHERE_ROOM 4200

struct config_setting_t;        /* libconfig's */

/* What struct config keeps to itself: where each row's key was set, NULL if it was not. */
struct places { char *where[CONFIG_ROWS]; };

/* What is being read: a file through its source, or one argument. */
struct reader {
    struct config *c;
    const struct source *source;
    const char *argument;       /* "key=value", or NULL in a file */
    char where[WHERE_ROOM];     /* of the setting last asked for */
};

/* A setting at the top: a key, or a group of keys. */
int config_set_named(struct reader *r, const char *name, const struct config_setting_t *s);

/* What a key is by itself, as text: its row's default, or what other keys make of it. */
const char *config_standard(const struct config *c, const struct row *row);
int config_set_standard(const struct row *row, void *base, const char *standard);

/* By the rows: defaults into a zeroed struct, and all that it owns freed. */
int config_set_defaults(const struct row *rows, void *base);
void config_free_rows(const struct row *rows, void *base);
void config_free_rewards(struct config_reward *rewards, int n);
void config_free_strings(struct strings *list);

int config_set_word(char **out, const char *s);     /* a copy of s in place of *out; "" is NULL */
char **config_place(const struct config *c, const struct row *row);    /* where its key was set */
int config_no_memory(void);

/* Defaults that depend on other keys (config_methods.c), for keys that were not given. */
int config_method_defaults(struct config *c);

#endif
