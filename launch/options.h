/* Options of a command, by a table: parsing and --help come from the rows.
 *
 *   struct option_row rows[] = {
 *       { "max-new", OPTION_INT,  &max_new, "N",    "tokens to make (default 64)" },
 *       { "json",    OPTION_FLAG, &json,    NULL,   "one JSON line a sample" },
 *       { NULL },
 *   };
 *   TRY(options_parse(rows, &argc, argv));        what is left in argv are the other words
 */
#ifndef LAUNCH_OPTIONS_H
#define LAUNCH_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

enum option_kind { OPTION_FLAG, OPTION_INT, OPTION_REAL, OPTION_TEXT, OPTION_INTS, OPTION_TEXTS };

/* Of an option that may be given again, as OPTION_INTS and OPTION_TEXTS may, in order. */
#define OPTION_TIMES 64
struct option_ints { int64_t items[OPTION_TIMES]; int count; };
struct option_texts { char *items[OPTION_TIMES]; int count; };

struct option_row {
    const char *name;           /* without the dashes; one letter: also -x */
    enum option_kind kind;
    void *place;                /* bool, int64_t, double, const char * or one of the above */
    const char *value;          /* what --help calls the value, NULL for a flag */
    const char *help;
};

/* Take the options out of argv.  RL_EINVAL: unknown option, missing or bad value (one line). */
int options_parse(const struct option_row *rows, int *argc, char **argv);
void options_help(const struct option_row *rows, FILE *out);

#endif
