/* See figures.h. */
#include "base/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

void figures_add(struct figures *f, double x)
{
    if (f->n < FIGURES)
        f->x[f->n++] = x;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct figures sorted(const struct figures *f)
{
    struct figures s = *f;

    qsort(s.x, (size_t)s.n, sizeof *s.x, by_size);
    return s;
}

static double middle(const struct figures *s)
{
    return s->n == 0 ? 0 : (s->x[(s->n - 1) / 2] + s->x[s->n / 2]) / 2;
}

double figures_median(const struct figures *f)
{
    struct figures s = sorted(f);

    return middle(&s);
}

void number_line(struct text *line, const char *name, double x)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%.5g", x);
    text_addf(line, ",\"%s\":", name);
    json_add_number(line, strtod(digits, NULL));
}

void word_line(struct text *line, const char *name, const char *word)
{
    text_addf(line, ",\"%s\":", name);
    json_add_string(line, word, strlen(word));
}

void figures_line(struct text *line, const char *name, const struct figures *f)
{
    struct figures s = sorted(f);
    char end[64];

    if (s.n == 0)
        return;
    number_line(line, name, middle(&s));
    snprintf(end, sizeof end, "%s_min", name);
    number_line(line, end, s.x[0]);
    snprintf(end, sizeof end, "%s_max", name);
    number_line(line, end, s.x[s.n - 1]);
}

void print_line(struct text *line)
{
    text_adds(line, "}");
    puts(line->data);
    fflush(stdout);
    text_free(line);
}
