/* Inside of records: what its pages share.
 *
 *   records.c         files -> records; what is known of them
 *   records_line.c    a line: fields -> a record
 *   records_ids.c     text or ids -> slices of one long list of ids
 *   records_next.c    records -> rows of a batch, by view
 */
#ifndef DATA_RECORDS_INTERNAL_H
#define DATA_RECORDS_INTERNAL_H

#include "base/json.h"
#include "data/records.h"
#include "data/shuffle.h"

#define RECORD_SIGNS OBJECTIVES_MOST
#define RECORD_NAME 64          /* bytes of the name of an objective */
#define RECORD_ANNOTATORS 64
#define RECORD_LARGEST 1e30     /* numbers; sums of them must be numbers, too */

struct span { int at, n; };     /* n ids of records.ids */

struct answer {
    struct span prompt, ids;
    double score;               /* of a single: 1 desirable, 0 not */
};

struct record {
    int64_t line;
    int file;
    int first, answers;         /* in records.answers; a pair: chosen, rejected; a single: 1 */
    double weight, margin;
    int annotator;
    uint64_t signed_by;         /* bit i: objective i has a sign */
    signed char sign[RECORD_SIGNS];
};

struct data_set {
    char *path;
    char name[RECORD_NAME];     /* its stem */
    int64_t first, count;       /* records */
    struct shuffle order;       /* in_turn */
};

struct records {
    struct records_settings settings;
    int *eos;                   /* copies of the settings' */
    char *join, *target;
    struct data_set *sets;
    int n_sets;
    struct record *items;
    int64_t count, room;
    struct answer *answers;
    int n_answers, answers_room;
    struct ids ids;
    struct shuffle order;
    char signs[RECORD_SIGNS][RECORD_NAME];
    int n_signs;
    const char **names;         /* of the objectives */
    int n_names;
    int k, longest, annotators;
    int64_t skipped, dropped;
};

/* A record that is left out: counted, not an error.  Above RL_OK, unlike errors. */
enum { LEFT_OUT = 1 };

/* The line at hand. */
struct reading {
    struct records *r;
    const char *path;
    int64_t line;
    int file;
    const struct json *fields;
    struct ids scratch;
};

/* "path:line: the record ...": RL_EINVAL, or LEFT_OUT with drop_bad. */
int records_bad(struct reading *in, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- records_ids.c */
/* A text that is given as `key` or as ids `key`_ids; array: as element i of a list under this key.
 * Fields of the line that neither has are not given. */
bool records_has(const struct json *fields, const char *key);
/* The prompt under `key`, behind `before` ("": nothing), tokenized with what the tokenizer puts
 * around a text. */
int records_prompt(struct reading *in, const char *key, const char *before, struct span *out);
/* The answer under `key` (element i of it unless i < 0) to the prompt of *out (given under
 * prompt_key, behind `before`), with its eos; fills out->ids. */
struct asked { const char *key, *before; };
int records_answer(struct reading *in, const char *key, int i, struct asked prompt,
                  struct answer *out);

/* ---- records_line.c: appends the records of the line, or none */
int records_parse(struct reading *in);

#endif
