/* build/tests/golden: checks the program against files of worked numbers.  A file holds cases; a
 * case passes when all of its numbers do; each failing number is one line with both values.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "launch/models.h"

enum { GOLDEN_PASSED, GOLDEN_FAILED, GOLDEN_SKIPPED };

/* The model a file is about, and the case at hand. */
struct golden {
    struct source source;
    struct compute *compute;
    struct model *model;
    const char *folder;          /* of the model */
    int *counts;                 /* passed, failed, skipped */
    char name[160];              /* of the case */
    int wrong;                   /* numbers of it that failed */
};

void golden_begin(struct golden *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
double golden_looser(void);      /* $GOLDEN_LOOSER, 1 */
/* A number of the case: |got - want| <= tolerance * golden_looser(), and no NaN. */
void golden_near(struct golden *g, double got, double want, double tolerance, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
/* Something that either holds or does not. */
void golden_true(struct golden *g, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void golden_end(struct golden *g);

/* Appends an array of numbers as ids; false if it is none. */
bool golden_ids(const struct json *array, struct ids *out);

/* golden_logits.c, golden_nll.c, golden_train.c: one function a schema.  A code other than RL_OK
 * ends the file. */
int golden_logits(struct golden *g, const struct json *file);
int golden_nll(struct golden *g, const struct json *file);
int golden_train(struct golden *g, const struct json *file);

/* golden_losses.c: cases of the loss table; prints each failing id with both numbers. */
int golden_losses(const struct json *file, int counts[3]);

#endif
