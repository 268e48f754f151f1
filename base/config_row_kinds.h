/* How rows of the configuration's tables are written.  AT, where a field lies, is each page's own.
 * For base/config*.c only. */
#ifndef BASE_CONFIG_ROW_KINDS_H
#define BASE_CONFIG_ROW_KINDS_H

#define INT(key, at, standard, min, max, flags, help) \
    { key, ROW_INT, AT(at), standard, min, max, NULL, flags, help, NULL }
#define REAL(key, at, standard, min, max, flags, help) \
    { key, ROW_REAL, AT(at), standard, min, max, NULL, flags, help, NULL }
#define WORD(key, at, standard, choices, flags, help) \
    { key, ROW_STRING, AT(at), standard, 0, 0, choices, flags, help, NULL }
#define BOOL(key, at, standard, flags, help) \
    { key, ROW_BOOL, AT(at), standard, 0, 0, NULL, flags, help, NULL }
#define LIST(key, type, at, flags, help, shown) \
    { key, type, AT(at), "", 0, 0, NULL, flags, help, shown }
/* A setting of policy gradients: not set, it is as the algorithm's row has it. */
#define ROW_SAYS "the algorithm's"
#define OWN_REAL(key, at, max, help) \
    { key, ROW_REAL, AT(at), "-1", -1, max, NULL, ROW_FIXED, help, ROW_SAYS }
#define OWN_INT(key, at, standard, max, help) \
    { key, ROW_INT, AT(at), #standard, standard, max, NULL, ROW_FIXED, help, ROW_SAYS }
#define OWN_WORD(key, at, choices, help) \
    { key, ROW_STRING, AT(at), "", 0, 0, choices, ROW_FIXED, help, ROW_SAYS }
#define HEADING(help) \
    { NULL, ROW_INT, 0, "", 0, 0, NULL, 0, help, NULL }

#define MANY 1000000
#define STEPS 2147483647           /* the step is a 32-bit part of a random number's counter */
#define IDS 2147483647             /* of tokens; a model's vocabulary is smaller */
#define SEEDS 9007199254740991.0   /* 2^53 - 1: any JSON reader keeps it */

#endif
