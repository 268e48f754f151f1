/* See labels.h. */
#include "launch/labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/status.h"

static bool grow(struct labels *l)
{
    int room = l->room ? 2 * l->room : 64;
    struct sample *samples = realloc(l->samples, (size_t)room * sizeof *samples);
    double *scores = realloc(l->scores, (size_t)room * (size_t)(l->R + 1) * sizeof *scores);
    int *order = realloc(l->order, (size_t)room * sizeof *order);

    l->samples = samples ? samples : l->samples;
    l->scores = scores ? scores : l->scores;
    l->order = order ? order : l->order;
    if (!samples || !scores || !order)
        return false;
    memset(samples + l->room, 0, (size_t)(room - l->room) * sizeof *samples);
    l->room = room;
    return true;
}

struct sample *labels_add(struct labels *l)
{
    struct sample *s;

    if (l->count == l->room && !grow(l)) {
        rl_error(RL_ENOFIT, "no memory for %d samples of a prompt", l->count + 1);
        return NULL;
    }
    s = &l->samples[l->count++];
    s->ids.count = 0;
    s->finish = 0;
    s->score = 0;
    return s;
}

void labels_free(struct labels *l)
{
    for (int i = 0; i < l->room; i++)
        ids_free(&l->samples[i].ids);
    free(l->samples);
    free(l->scores);
    free(l->order);
    ids_free(&l->prompt);
    text_free(&l->text);
    text_free(&l->line);
}

bool labels_full(const struct labels *l)
{
    return l->most >= 0 && l->written >= l->most;
}

/* ---- a record */

static void add_ids(struct text *out, const struct ids *ids)
{
    text_adds(out, "[");
    for (int i = 0; i < ids->count; i++)
        text_addf(out, "%s%d", i ? "," : "", ids->data[i]);
    text_adds(out, "]");
}

static void begin(struct labels *l)
{
    text_clear(&l->line);
    text_adds(&l->line, "{\"prompt\":");
    json_add_string(&l->line, l->text.data ? l->text.data : "", l->text.size);
    text_adds(&l->line, ",\"prompt_ids\":");
    add_ids(&l->line, &l->prompt);
}

static void add_answer(struct labels *l, const char *key, int n)
{
    text_addf(&l->line, ",\"%s_ids\":", key);
    add_ids(&l->line, &l->samples[n].ids);
}

static void add_number(struct labels *l, const char *key, double x)
{
    text_addf(&l->line, ",\"%s\":", key);
    json_add_number(&l->line, x);
}

static void end(struct labels *l, FILE *out)
{
    text_adds(&l->line, "}\n");
    fwrite(l->line.data, 1, l->line.size, out);
    l->written++;
}

/* ---- pairs */

static void add_signs(struct labels *l, int w, int x)
{
    text_adds(&l->line, ",\"signs\":{");
    for (int r = 0; r < l->R; r++) {
        double d = l->scores[(size_t)w * l->R + r] - l->scores[(size_t)x * l->R + r];
        text_adds(&l->line, r ? "," : "");
        json_add_string(&l->line, l->names[r], strlen(l->names[r]));
        text_addf(&l->line, ":%d", d > 0 ? 1 : d < 0 ? -1 : 0);
    }
    text_adds(&l->line, "}");
}

static bool same_answer(const struct ids *a, const struct ids *b)
{
    return a->count == b->count &&
           memcmp(a->data, b->data, (size_t)a->count * sizeof *a->data) == 0;
}

/* w beats x, by enough and with another answer. */
static void write_pair(struct labels *l, FILE *out, int w, int x)
{
    const struct sample *a = &l->samples[w], *b = &l->samples[x];

    if (!(a->score - b->score > l->gap) || !a->ids.count || !b->ids.count ||
        same_answer(&a->ids, &b->ids) || labels_full(l))
        return;
    begin(l);
    add_answer(l, "chosen", w);
    add_answer(l, "rejected", x);
    add_number(l, "score_chosen", a->score);
    add_number(l, "score_rejected", b->score);
    if (l->signs)
        add_signs(l, w, x);
    end(l, out);
    l->gaps += a->score - b->score;
}

static void write_pairs(struct labels *l, FILE *out, int n)
{
    int pairs = l->pairing == LABELS_MATCHED ? n / 2 : n > 1;

    if (l->pairing != LABELS_ALL)
        for (int i = 0; i < pairs; i++)
            write_pair(l, out, l->order[i], l->order[n - 1 - i]);
    else
        for (int i = 0; i < n; i++)
            for (int j = i + 1; j < n; j++)
                write_pair(l, out, l->order[i], l->order[j]);
}

/* ---- lists, singles */

static void write_list(struct labels *l, FILE *out, int n)
{
    if (n < 2 || labels_full(l))
        return;
    begin(l);
    text_adds(&l->line, ",\"responses_ids\":[");
    for (int i = 0; i < n; i++) {
        text_adds(&l->line, i ? "," : "");
        add_ids(&l->line, &l->samples[l->order[i]].ids);
    }
    text_adds(&l->line, "],\"scores\":[");
    for (int i = 0; i < n; i++) {
        text_adds(&l->line, i ? "," : "");
        json_add_number(&l->line, l->samples[l->order[i]].score);
    }
    text_adds(&l->line, "]");
    end(l, out);
}

static void write_singles(struct labels *l, FILE *out, int n)
{
    for (int i = 0; i < n && !labels_full(l); i++) {
        if (!l->samples[l->order[i]].ids.count)
            continue;
        begin(l);
        add_answer(l, "completion", l->order[i]);
        text_addf(&l->line, ",\"label\":%s",
                  l->samples[l->order[i]].score > l->above ? "true" : "false");
        end(l, out);
    }
}

/* Samples that have a score, best first, equal ones in their order; returns how many. */
static int sort(struct labels *l)
{
    int n = 0;

    for (int i = 0; i < l->count; i++) {
        int at = n;
        if (isnan(l->samples[i].score))
            continue;
        for (; at > 0 && l->samples[l->order[at - 1]].score < l->samples[i].score; at--)
            l->order[at] = l->order[at - 1];
        l->order[at] = i;
        n++;
    }
    return n;
}

void labels_write(struct labels *l, FILE *out)
{
    int n = sort(l);

    if (l->kind == LABELS_PAIRS)
        write_pairs(l, out, n);
    else if (l->kind == LABELS_LISTS)
        write_list(l, out, n);
    else
        write_singles(l, out, n);
    l->count = 0;
}
