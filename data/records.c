/* Files of records; see records.h. */
#include "data/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"
#include "data/lines.h"
#include "data/records_internal.h"

/* ---- lines */

/* How far the lists had grown, to forget what a line that is left out added. */
struct grown { int ids, answers, signs; int64_t items; };

static struct grown grown(const struct records *r)
{
    return (struct grown){ r->ids.count, r->n_answers, r->n_signs, r->count };
}

static void forget(struct records *r, const struct grown *since)
{
    r->ids.count = since->ids;
    r->n_answers = since->answers;
    r->n_signs = since->signs;
    r->count = since->items;
}

/* JSON fails where the text ends: say that it was cut rather than where a brace was missed. */
static int parse(const struct lines *file, struct json **fields)
{
    char where[4352];
    size_t n = file->size;

    while (n > 1 && strchr(" \t\r", file->line[n - 1]))
        n--;
    if (!file->ended && file->line[n - 1] != '}')
        return rl_error(RL_EINVAL, "%s:%lld: the last line is cut (no closing brace, no line end); "
                        "copy the file again", file->path, (long long)file->number);
    snprintf(where, sizeof where, "%s:%lld", file->path, (long long)file->number);
    *fields = json_parse(file->line, file->size, where);
    return *fields ? RL_OK : RL_EINVAL;
}

static int add_line(struct reading *in, const struct lines *file)
{
    struct records *r = in->r;
    struct grown since = grown(r);
    struct json *fields = NULL;
    int64_t skipped = r->skipped;
    int rc = RL_OK;

    if (strspn(file->line, " \t\r") == file->size)
        return RL_OK;
    TRY(parse(file, &fields));
    in->line = file->number;
    in->fields = fields;
    rc = records_parse(in);
    if (rc == LEFT_OUT) {
        forget(r, &since);
        r->dropped += r->skipped == skipped;
        rc = RL_OK;
    }
done:
    json_free(fields);
    return rc;
}

static int add_file(struct reading *in, int f)
{
    struct lines file = { 0 };
    bool more = true;
    int rc = RL_OK;

    in->path = in->r->sets[f].path;
    in->file = f;
    TRY(lines_open(&file, in->path));
    while (more) {
        TRY(lines_next(&file, &more));
        if (more)
            TRY(add_line(in, &file));
    }
done:
    lines_close(&file);
    return rc;
}

/* ---- all of them together */

/* Either no pair has signs or each has those of all objectives; those that lack one are bad. */
static int check_signs(struct reading *in)
{
    struct records *r = in->r;
    uint64_t all = (1ull << r->n_signs) - 1;
    int64_t kept = 0;
    int rc;

    for (int64_t i = 0; i < r->count; i++) {
        const struct record *item = &r->items[i];
        int missing = 0;
        if (item->signed_by == all) {
            r->items[kept++] = *item;
            continue;
        }
        while (item->signed_by >> missing & 1)
            missing++;
        in->path = r->sets[item->file].path;
        in->line = item->line;
        rc = records_bad(in, "has no sign of the objective `%s`, which other pairs have",
                        r->signs[missing]);
        if (rc != LEFT_OUT)
            return rc;
        r->dropped++;
    }
    r->count = kept;
    return RL_OK;
}

/* Singles teach by contrast: one class alone has none. */
static int check_classes(const struct records *r)
{
    bool is_there[2] = { false, false }, two_lines = false;

    for (int64_t i = 0; i < r->count; i++) {
        is_there[r->answers[r->items[i].first].score > 0.5] = true;
        two_lines |= r->items[i].line != r->items[0].line || r->items[i].file != r->items[0].file;
    }
    if (!is_there[0] || !is_there[1])
        return rl_error(RL_EINVAL, "%s: every label is %s; answers of both classes are needed",
                        r->sets[0].path, is_there[1] ? "true" : "false");
    if (r->settings.view == VIEW_KTO && !two_lines)
        return rl_error(RL_EINVAL, "%s: a single record has no mismatched answer; give more",
                        r->sets[0].path);
    return RL_OK;
}

static int check_any(const struct records *r)
{
    const char *more = r->n_sets > 1 ? " and the other files" : "";

    if (r->count > 0)
        return RL_OK;
    if (r->skipped + r->dropped > 0)
        return rl_error(RL_EINVAL, "%s%s: every record was left out: %lld longer than %d tokens, "
                        "%lld for other reasons", r->sets[0].path, more, (long long)r->skipped,
                        r->settings.max_tokens, (long long)r->dropped);
    return rl_error(RL_EINVAL, "%s%s: no records in this file", r->sets[0].path, more);
}

static void longer(struct records *r, int n)
{
    r->longest = n > r->longest ? n : r->longest;
}

static void measure_judged(struct records *r, const struct answer *two)
{
    struct slice prompt = { r->ids.data + two->prompt.at, two->prompt.n };

    prompt = judge_strip(r->settings.judge, prompt);
    longer(r, judge_length(r->settings.judge, prompt.n, two[0].ids.n, two[1].ids.n) + 1);
}

/* k, and the longest row; a mismatched twin is cut where the model's positions end. */
static void measure(struct records *r)
{
    static const int rows[] = { [VIEW_PAIRS] = 2, [VIEW_LISTS] = 1, [VIEW_RANKED] = 1,
                                [VIEW_SINGLES] = 1, [VIEW_KTO] = 2, [VIEW_SFT] = 1,
                                [VIEW_JUDGE] = 2, [VIEW_JOINT] = 2, [VIEW_AUGMENTED] = 2 };
    bool lists = r->settings.view == VIEW_LISTS || r->settings.view == VIEW_RANKED;
    int prompt = 0, answer = 0;

    r->k = rows[r->settings.view];
    for (int64_t i = 0; i < r->count; i++) {
        const struct record *item = &r->items[i];
        if (lists && item->answers > r->k)
            r->k = item->answers;
        if (item->annotator >= r->annotators)
            r->annotators = item->annotator + 1;
        for (int a = item->first; a < item->first + item->answers; a++) {
            const struct answer *one = &r->answers[a];
            longer(r, one->prompt.n + one->ids.n);
            prompt = one->prompt.n > prompt ? one->prompt.n : prompt;
            answer = one->ids.n > answer ? one->ids.n : answer;
        }
        if (r->settings.view == VIEW_JUDGE)
            measure_judged(r, &r->answers[item->first]);
    }
    if (r->settings.view == VIEW_KTO)
        longer(r, prompt + answer < r->settings.max_tokens ? prompt + answer
                                                           : r->settings.max_tokens);
}

/* The records of a file follow each other. */
static int order(struct records *r)
{
    int rc = RL_OK;

    for (int64_t i = r->count; i-- > 0;) {
        struct data_set *set = &r->sets[r->items[i].file];
        set->first = i;
        set->count++;
    }
    TRY(shuffle_open(&r->order, r->count));
    for (int f = 0; f < r->n_sets && r->settings.in_turn; f++) {
        if (r->sets[f].count == 0)
            return rl_error(RL_EINVAL, "%s: no records in this file", r->sets[f].path);
        TRY(shuffle_open(&r->sets[f].order, r->sets[f].count));
    }
done:
    return rc;
}

static int name_objectives(struct records *r)
{
    r->n_names = r->n_signs > 0 ? r->n_signs : r->n_sets;
    r->names = calloc((size_t)r->n_names, sizeof *r->names);
    if (!r->names)
        return rl_error(RL_ENOFIT, "no memory for the names of %d objectives", r->n_names);
    for (int i = 0; i < r->n_names; i++)
        r->names[i] = r->n_signs > 0 ? r->signs[i] : r->sets[i].name;
    return RL_OK;
}

/* ---- open, close */

static int copy_settings(struct records *r, const struct strings *paths,
                         const struct records_settings *s)
{
    r->settings = *s;
    r->n_sets = paths->count;
    r->sets = calloc((size_t)paths->count + 1, sizeof *r->sets);
    r->eos = malloc(((size_t)s->n_eos + 1) * sizeof *r->eos);
    r->join = strdup(s->join ? s->join : "");
    r->target = strdup(s->target ? s->target : "");
    if (!r->sets || !r->eos || !r->join || !r->target)
        return rl_error(RL_ENOFIT, "no memory for records");
    if (s->n_eos > 0)
        memcpy(r->eos, s->eos, (size_t)s->n_eos * sizeof *r->eos);
    r->settings.eos = r->eos;
    r->settings.join = r->join;
    r->settings.target = r->target;
    for (int f = 0; f < paths->count; f++) {
        r->sets[f].path = strdup(paths->items[f]);
        if (!r->sets[f].path)
            return rl_error(RL_ENOFIT, "no memory for records");
        path_stem(paths->items[f], r->sets[f].name, sizeof r->sets[f].name);
    }
    return RL_OK;
}

static int check_settings(const struct records *r)
{
    if (r->n_sets == 0)
        return rl_error(RL_EINVAL, "no files of records were given");
    if (r->settings.view == VIEW_JUDGE && !r->settings.judge)
        return rl_error(RL_EBUG, "records for a judge need its template");
    if (r->settings.view == VIEW_AUGMENTED && !strstr(r->target, "{score}"))
        return rl_error(RL_EINVAL, "the text before augmented prompts has no {score} in it: '%s'",
                        r->target);
    return RL_OK;
}

int records_open(struct records **out, const struct strings *paths,
                 const struct records_settings *settings)
{
    struct records *r = calloc(1, sizeof *r);
    struct reading in = { .r = r };
    int rc = RL_OK;

    *out = NULL;
    if (!r)
        return rl_error(RL_ENOFIT, "no memory for records");
    TRY(copy_settings(r, paths, settings));
    TRY(check_settings(r));
    for (int f = 0; f < r->n_sets; f++)
        TRY(add_file(&in, f));
    TRY(check_signs(&in));
    TRY(check_any(r));
    if (settings->view == VIEW_SINGLES || settings->view == VIEW_KTO)
        TRY(check_classes(r));
    measure(r);
    TRY(order(r));
    TRY(name_objectives(r));
    r->settings.tokenizer = NULL;           /* no text is read from here on */
    *out = r;
done:
    ids_free(&in.scratch);
    if (rc != RL_OK)
        records_close(r);
    return rc;
}

void records_close(struct records *r)
{
    if (!r)
        return;
    for (int f = 0; r->sets && f < r->n_sets; f++) {
        free(r->sets[f].path);
        shuffle_close(&r->sets[f].order);
    }
    free(r->sets);
    free(r->eos);
    free(r->join);
    free(r->target);
    free(r->items);
    free(r->answers);
    free(r->names);
    ids_free(&r->ids);
    shuffle_close(&r->order);
    free(r);
}

/* ---- what is known of them */

int64_t records_count(const struct records *r)
{
    return r->count;
}

int records_rows(const struct records *r)
{
    return r->k;
}

int records_columns(const struct records *r)
{
    return r->n_signs > 0 ? r->n_signs : 1;
}

bool records_signed(const struct records *r)
{
    return r->n_signs > 0;
}

int records_longest(const struct records *r)
{
    return r->longest;
}

int64_t records_skipped(const struct records *r)
{
    return r->skipped;
}

int64_t records_dropped(const struct records *r)
{
    return r->dropped;
}

int records_annotators(const struct records *r)
{
    return r->annotators;
}

int records_objectives(const struct records *r, const char *const **names)
{
    *names = r->names;
    return r->n_names;
}
