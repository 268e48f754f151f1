/* The numbers of a step, by the names of the metrics table, one JSON object a step.
 *
 *   metrics_set(m, "loss", 0.69);  metrics_setf(m, x, "reward/%s/mean", name);
 *   metrics_line(m, &text)         -- one line, in the order of first setting, then clears
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct metrics;

int metrics_create(struct metrics **m);
void metrics_destroy(struct metrics *m);
void metrics_set(struct metrics *m, const char *name, double value);
void metrics_setf(struct metrics *m, double value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Written as a string of 16 hexadecimal digits. */
void metrics_set_hash(struct metrics *m, const char *name, uint64_t value);
double metrics_get(const struct metrics *m, const char *name, double otherwise);
bool metrics_has(const struct metrics *m, const char *name);
/* Adds the line to `out` and clears.  What went wrong while setting comes out here. */
int metrics_line(struct metrics *m, struct text *out);
void metrics_clear(struct metrics *m);

#endif
