/* Scores from outside on record; see record.h. */
#include "reward/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"
#include "reward/reward.h"

static bool is_outside(const struct config_reward *c)
{
    const struct reward_kind *kind = reward_kind_find(c->kind);

    return kind && kind->outside;
}

int record_columns(const struct config *c)
{
    int n = 0;

    for (int r = 0; r < c->n_rewards; r++)
        n += is_outside(&c->rewards[r]);
    return n;
}

uint64_t record_hash(const struct batch *b, int n)
{
    size_t length = (size_t)(b->start[n + 1] - b->start[n]);

    return hash64(b->tokens + b->start[n], length * sizeof *b->tokens);
}

/* ---- writing */

/* "9f86d081884c7d65",0.5 */
static void add_row(const struct config *c, const struct batch *b, int n, struct text *out)
{
    text_addf(out, "\"%016" PRIx64 "\"", record_hash(b, n));
    for (int r = 0; r < b->R; r++)
        if (is_outside(&c->rewards[r])) {
            text_adds(out, ",");
            json_add_number(out, b->reward[(size_t)n * b->R + r]);
        }
}

void record_group(const struct config *c, const struct batch *b, int g, enum record_of of,
                  int64_t n, struct text *out)
{
    int64_t first = (n * b->P + b->group) * b->k;

    for (int row = g * b->k; row < (g + 1) * b->k; row++) {
        text_adds(out, "[");
        if (of != RECORD_ROWS)
            text_addf(out, "%lld,", (long long)(first + row));
        add_row(c, b, row, out);
        text_adds(out, "],");
    }
}

/* ["judge","safety"] */
static void add_names(const struct config *c, struct text *out)
{
    const char *between = "[";

    for (int r = 0; r < c->n_rewards; r++)
        if (is_outside(&c->rewards[r])) {
            text_adds(out, between);
            json_add_string(out, c->rewards[r].name, strlen(c->rewards[r].name));
            between = ",";
        }
    text_adds(out, "]");
}

/* By enum record_of. */
static const char *const names_of[] = { "rows", "replaced", "observed", NULL };

void record_line(const struct config *c, int64_t step, enum record_of of, const struct text *rows,
                 struct text *out)
{
    text_addf(out, "{\"step\":%lld,\"rewards\":", (long long)step + 1);
    add_names(c, out);
    text_addf(out, ",\"%s\":[", names_of[of]);
    text_add(out, rows->data, rows->size ? rows->size - 1 : 0);     /* without the last "," */
    text_adds(out, "]}\n");
}

/* ---- reading */

struct step {                   /* a line */
    enum record_of of;
    int64_t step;               /* from 0 */
    int rows;
    int64_t *number;            /* (rows); of RECORD_ROWS NULL: 0, 1, ... */
    uint64_t *hash;             /* (rows) */
    double *score;              /* (rows, columns) */
};

struct record {
    const struct config *config;
    int columns, count, room;
    struct step *steps;
};

static void step_free(struct step *s)
{
    free(s->number);
    free(s->hash);
    free(s->score);
    memset(s, 0, sizeof *s);
}

void record_free(struct record *record)
{
    if (!record)
        return;
    for (int i = 0; i < record->count; i++)
        step_free(&record->steps[i]);
    free(record->steps);
    free(record);
}

static bool same_names(const struct record *record, const struct json *line)
{
    struct text names = {0}, theirs = {0};
    const struct json *list = json_get(line, "rewards");
    bool same;

    add_names(record->config, &names);
    text_adds(&theirs, "[");
    for (size_t i = 0; i < json_size(list); i++) {
        const char *name = json_string(json_at(list, i), "");
        text_adds(&theirs, i ? "," : "");
        json_add_string(&theirs, name, strlen(name));
    }
    text_adds(&theirs, "]");
    same = strcmp(names.data, theirs.data) == 0;
    text_free(&names);
    text_free(&theirs);
    return same;
}

/* Element i of a line's rows. */
static int read_row(struct step *s, const struct json *row, int i, int columns)
{
    size_t first = s->number ? 1 : 0;
    const char *digits = json_string(json_at(row, first), "");
    char *end;

    if (s->number)
        s->number[i] = json_int(json_at(row, 0), -1);
    s->hash[i] = strtoull(digits, &end, 16);
    if (strlen(digits) != 16 || *end || json_size(row) != first + 1 + (size_t)columns ||
        (s->number && s->number[i] < 0))
        return RL_EINVAL;
    for (int c = 0; c < columns; c++)
        s->score[i * columns + c] = json_number(json_at(row, first + 1 + (size_t)c), NAN);
    return RL_OK;
}

/* A place for one more step, the last. */
static struct step *step_add(struct record *record)
{
    if (record->count == record->room) {
        int room = record->room ? 2 * record->room : 16;
        struct step *steps = realloc(record->steps, (size_t)room * sizeof *steps);
        if (!steps)
            return NULL;
        record->steps = steps;
        record->room = room;
    }
    memset(&record->steps[record->count], 0, sizeof *record->steps);
    return &record->steps[record->count++];
}

/* Has a row all its scores? */
static bool any_whole(const struct step *s, int columns)
{
    for (int i = 0; i < s->rows; i++) {
        int came = 0;
        for (int c = 0; c < columns; c++)
            came += !isnan(s->score[i * columns + c]);
        if (came == columns)
            return true;
    }
    return false;
}

static int read_line(struct record *record, const struct json *line)
{
    const struct json *rows = NULL;
    struct step *s;
    size_t n;
    int of = -1, rc = RL_OK;

    while (!rows && names_of[++of])
        rows = json_get(line, names_of[of]);
    n = json_size(rows);
    if (json_int(json_get(line, "step"), 0) < 1 || !json_is_array(rows))
        return RL_EINVAL;
    if (!same_names(record, line))
        return RL_OK;
    s = step_add(record);
    if (!s)
        return RL_ENOFIT;
    s->of = of;
    s->step = json_int(json_get(line, "step"), 0) - 1;
    s->rows = (int)n;
    s->hash = malloc((n + 1) * sizeof *s->hash);
    s->score = malloc((n * (size_t)record->columns + 1) * sizeof *s->score);
    s->number = of != RECORD_ROWS ? malloc((n + 1) * sizeof *s->number) : NULL;
    if (!s->hash || !s->score || (of != RECORD_ROWS && !s->number))
        return RL_ENOFIT;
    for (size_t i = 0; i < n; i++)
        TRY(read_row(s, json_at(rows, i), (int)i, record->columns));
    if (of != RECORD_REPLACED && !any_whole(s, record->columns))
        step_free(&record->steps[--record->count]);     /* the run ended of it */
done:
    return rc;
}

int record_read(struct record **out, const struct config *c, const char *lines, size_t bytes)
{
    struct record *record = calloc(1, sizeof *record);
    const char *end = lines + bytes, *next;
    int number = 1, rc = RL_OK;

    *out = NULL;
    if (!record)
        return rl_error(RL_ENOFIT, "no memory for scores on record");
    record->config = c;
    record->columns = record_columns(c);
    for (; lines < end && rc == RL_OK; lines = next + 1, number++) {
        struct json *line;
        next = memchr(lines, '\n', (size_t)(end - lines));
        next = next ? next : end;
        line = json_parse(lines, (size_t)(next - lines), "scores.jsonl");
        rc = line ? read_line(record, line) : RL_EINVAL;
        json_free(line);
    }
    if (rc == RL_ENOFIT)
        rl_error(rc, "no memory for scores on record");
    else if (rc != RL_OK)
        rl_error(rc, "scores.jsonl: line %d of those to be replayed is no record of scores",
                 number - 1);
    if (rc == RL_OK)
        *out = record;
    else
        record_free(record);
    return rc;
}

/* Where a line has the row of this number, below 0: nowhere.  A step's rows are those of the last
 * round, whichever that was for each. */
static int find_row(const struct step *s, int64_t number)
{
    for (int i = 0; s->number && i < s->rows; i++)
        if (s->number[i] == number)
            return i;
    return s->number || s->rows == 0 ? -1 : (int)(number % s->rows);
}

/* The newest line of the step that has the row; of two with a step's rows the later counts. */
static const struct step *find_line(const struct record *record, enum record_of of, int64_t step,
                                    int64_t number, uint64_t hash, int *row)
{
    for (int k = record->count; k-- > 0;) {
        const struct step *s = &record->steps[k];
        if (s->step != step || s->of != of)
            continue;
        *row = find_row(s, number);
        if (*row >= 0 && s->hash[*row] == hash)
            return s;
        if (of == RECORD_ROWS)
            break;
    }
    return NULL;
}

bool record_find(const struct record *record, enum record_of of, int64_t step, int64_t number,
                 uint64_t hash, int i, double *score)
{
    const struct step *s;
    int column = 0, row;

    for (int r = 0; r < i; r++)
        column += is_outside(&record->config->rewards[r]);
    if (of == RECORD_OBSERVED)
        s = find_line(record, of, step, number, hash, &row);
    else if (!(s = find_line(record, RECORD_REPLACED, step, number, hash, &row)))
        s = find_line(record, RECORD_ROWS, step, number, hash, &row);
    if (s)
        *score = s->score[(size_t)row * (size_t)record->columns + (size_t)column];
    return s != NULL;
}
