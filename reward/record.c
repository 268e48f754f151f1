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

void record_rows(const struct config *c, const struct batch *b, struct text *out)
{
    for (int n = 0; n < b->N; n++) {
        text_addf(out, "%s[\"%016" PRIx64 "\"", n ? "," : "", record_hash(b, n));
        for (int r = 0; r < b->R; r++)
            if (is_outside(&c->rewards[r])) {
                text_adds(out, ",");
                json_add_number(out, b->reward[(size_t)n * b->R + r]);
            }
        text_adds(out, "]");
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

void record_line(const struct config *c, int64_t step, const char *rows, size_t bytes,
                 struct text *out)
{
    text_addf(out, "{\"step\":%lld,\"rewards\":", (long long)step + 1);
    add_names(c, out);
    text_adds(out, ",\"rows\":[");
    text_add(out, rows, bytes);
    text_adds(out, "]}\n");
}

/* ---- reading */

struct step {
    int64_t step;               /* from 0 */
    int rows;
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

static int read_row(const struct json *row, int columns, uint64_t *hash, double *score)
{
    const char *digits = json_string(json_at(row, 0), "");
    char *end;

    *hash = strtoull(digits, &end, 16);
    if (strlen(digits) != 16 || *end || json_size(row) != (size_t)columns + 1)
        return RL_EINVAL;
    for (int i = 0; i < columns; i++)
        score[i] = json_number(json_at(row, (size_t)i + 1), NAN);
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

static int read_line(struct record *record, const struct json *line)
{
    const struct json *rows = json_get(line, "rows");
    size_t n = json_size(rows);
    struct step *s;
    int rc = RL_OK;

    if (json_int(json_get(line, "step"), 0) < 1 || !json_is_array(rows))
        return RL_EINVAL;
    if (!same_names(record, line))
        return RL_OK;
    s = step_add(record);
    if (!s)
        return RL_ENOFIT;
    s->step = json_int(json_get(line, "step"), 0) - 1;
    s->rows = (int)n;
    s->hash = malloc((n + 1) * sizeof *s->hash);
    s->score = malloc((n * (size_t)record->columns + 1) * sizeof *s->score);
    if (!s->hash || !s->score)
        return RL_ENOFIT;
    for (size_t i = 0; i < n; i++)
        TRY(read_row(json_at(rows, i), record->columns, &s->hash[i],
                     s->score + i * (size_t)record->columns));
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

bool record_find(const struct record *record, int64_t step, int row, uint64_t hash, int i,
                 double *score)
{
    int column = 0;

    for (int r = 0; r < i; r++)
        column += is_outside(&record->config->rewards[r]);
    for (int k = record->count; k-- > 0;) {
        const struct step *s = &record->steps[k];
        if (s->step != step)
            continue;
        if (row >= s->rows || s->hash[row] != hash)
            return false;
        *score = s->score[(size_t)row * (size_t)record->columns + (size_t)column];
        return true;
    }
    return false;
}
