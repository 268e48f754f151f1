/* Repeats of a measurement, and lines of JSON that give the median with its spread.
 *
 *   struct figures seconds = { .n = 0 };
 *   figures_add(&seconds, 0.25);
 *   text_adds(&line, "{\"bench\":\"train\"");
 *   figures_line(&line, "seconds", &seconds);
 *   print_line(&line);
 */
#ifndef BASE_FIGURES_H
#define BASE_FIGURES_H

#include "base/text.h"

#define FIGURES 64
struct figures { double x[FIGURES]; int n; };

void figures_add(struct figures *f, double x);          /* of the first FIGURES */
double figures_median(const struct figures *f);         /* 0: there are none */
/* ,"NAME":median,"NAME_min":...,"NAME_max":... */
void figures_line(struct text *line, const char *name, const struct figures *f);
/* ,"NAME":x and ,"NAME":"word" */
void number_line(struct text *line, const char *name, double x);
void word_line(struct text *line, const char *name, const char *word);
/* "}", and the line is on stdout and empty. */
void print_line(struct text *line);

#endif
