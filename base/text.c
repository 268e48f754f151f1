/* A growing string. */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

int text_reserve(struct text *t, size_t room)
{
    size_t want = t->room;
    char *data;

    if (room <= t->room)
        return RL_OK;
    want = want > SIZE_MAX / 2 || want * 2 < room ? room : want * 2;
    if (want < 64)
        want = 64;
    data = realloc(t->data, want);
    if (!data)
        return rl_error(RL_ENOFIT, "cannot allocate %zu bytes for a text", want);
    t->data = data;
    t->room = want;
    return RL_OK;
}

/* Text is small beside the planned memory.  A process that cannot get even this cannot go on. */
static void need(struct text *t, size_t n)
{
    int rc = n < SIZE_MAX - t->size ? text_reserve(t, t->size + n + 1)
                                    : rl_error(RL_ENOFIT, "a text of more than %zu bytes", n);

    if (rc != RL_OK) {
        status_print();
        exit(status_exit_code(rc));
    }
}

void text_add(struct text *t, const char *bytes, size_t n)
{
    need(t, n);
    if (n)
        memcpy(t->data + t->size, bytes, n);
    t->size += n;
    t->data[t->size] = 0;
}

void text_adds(struct text *t, const char *string)
{
    text_add(t, string, strlen(string));
}

void text_addf(struct text *t, const char *format, ...)
{
    va_list args, again;
    int n;

    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        need(t, (size_t)n);
        vsnprintf(t->data + t->size, (size_t)n + 1, format, again);
        t->size += (size_t)n;
    }
    va_end(again);
}

void text_clear(struct text *t)
{
    t->size = 0;
    if (t->data)
        t->data[0] = 0;
}

void text_free(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

int text_edits(const char *a, const char *b)
{
    int d[3][TEXT_EDITS + 1];
    int m = (int)strnlen(a, TEXT_EDITS + 1), n = (int)strnlen(b, TEXT_EDITS + 1);

    if (m > TEXT_EDITS || n > TEXT_EDITS)
        return 2 * TEXT_EDITS;
    for (int j = 0; j <= n; j++)
        d[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *row = d[i % 3], *above = d[(i + 2) % 3], *twice = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = twice[j - 2] + 1 < best ? twice[j - 2] + 1 : best;
            row[j] = best;
        }
    }
    return d[m % 3][n];
}
