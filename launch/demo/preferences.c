/* Makes small files of preferences from samples, lines of `rankwise generate --json`, several of
 * each prompt one after the other:
 *
 *   preferences KIND < samples.jsonl > file.jsonl
 *
 *   pairs        the gladdest against the least glad sample; every eighth label is wrong, all of
 *                them by annotator 1
 *   held-out     the same without wrong labels
 *   lists        all samples with their scores
 *   singles      one sample: is it glad?
 *   joint        a glad story and one that is not, of two prompts (DOVE)
 *   variants     a story with its own prompt against that of another story; every second line is
 *                a pair (MAPL)
 *   objectives   a pair with two signs: gladder, and shorter
 *
 * A score is the number of different glad words, 4 at most.  Samples that did not end are left
 * out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define MOST 4096               /* samples */
#define ANSWERS 16              /* of a prompt */

struct sample { char *prompt, *text; int glad, words; };
struct group { const struct sample *at[ANSWERS]; int n; const struct sample *best, *worst; };

static struct sample samples[MOST];
static struct group groups[MOST];
static int n_samples, n_groups;

static int glad_words(const char *text)
{
    static const char *const glad[] = { "smiled", "laughed", "happy", "fun", "thanked", "hug",
                                        "proud", "loved", "friends", "kind", "glad" };
    int found = 0;

    for (size_t i = 0; i < sizeof glad / sizeof *glad; i++)
        found += strstr(text, glad[i]) != NULL;
    return found < 4 ? found : 4;
}

static int count_words(const char *text)
{
    int words = 1;

    for (; *text; text++)
        words += *text == ' ';
    return words;
}

/* One line; samples that were cut are skipped. */
static void take(const char *line, size_t bytes)
{
    struct json *fields = json_parse(line, bytes, "standard input");
    const char *text = json_string(json_get(fields, "text"), "");

    if (n_samples < MOST && strcmp(json_string(json_get(fields, "finish"), ""), "eos") == 0 &&
        text[0])
        samples[n_samples++] = (struct sample){
            .prompt = strdup(json_string(json_get(fields, "prompt"), "")), .text = strdup(text),
            .glad = glad_words(text), .words = count_words(text) };
    json_free(fields);
}

static bool has(const struct group *g, const char *text)
{
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->at[i]->text, text) == 0)
            return true;
    return false;
}

/* Runs of one prompt become groups of different samples. */
static void make_groups(void)
{
    for (int i = 0; i < n_samples; i++) {
        const struct sample *s = &samples[i];
        struct group *g;
        if (i == 0 || strcmp(s->prompt, samples[i - 1].prompt) != 0)
            n_groups++;
        g = &groups[n_groups - 1];
        if (g->n == ANSWERS || has(g, s->text))
            continue;
        g->at[g->n++] = s;
        if (!g->best || s->glad > g->best->glad)
            g->best = s;
        if (!g->worst || s->glad < g->worst->glad)
            g->worst = s;
    }
}

/* ---- lines */

static void add(struct text *t, const char *key, const char *value)
{
    text_addf(t, "%s\"%s\": ", t->size > 0 ? ", " : "", key);
    json_add_string(t, value, strlen(value));
}

static void put(struct text *t)
{
    printf("{%s}\n", t->data);
    text_clear(t);
}

static void add_pair(struct text *t, const struct sample *chosen, const struct sample *rejected)
{
    add(t, "prompt", chosen->prompt);
    add(t, "chosen", chosen->text);
    if (strcmp(chosen->prompt, rejected->prompt) != 0)
        add(t, "rejected_prompt", rejected->prompt);
    add(t, "rejected", rejected->text);
}

static void labelled(struct text *t, int most, int wrong_every)
{
    for (int i = 0, n = 0; i < n_groups && n < most; i++) {
        const struct group *g = &groups[i];
        bool wrong = n % wrong_every == wrong_every - 1;
        const struct sample *w = wrong ? g->worst : g->best, *l = wrong ? g->best : g->worst;
        if (g->best->glad == g->worst->glad)
            continue;
        add_pair(t, w, l);
        text_addf(t, ", \"score_chosen\": %d, \"score_rejected\": %d, \"annotator\": %d",
                  g->best->glad, g->worst->glad, n++ % 2);
        put(t);
    }
}

static void pairs(struct text *t, int most)
{
    labelled(t, most, 8);
}

static void held_out(struct text *t, int most)
{
    labelled(t, most, most + 1);
}

static void lists(struct text *t, int most)
{
    for (int i = 0, n = 0; i < n_groups && n < most; i++) {
        const struct group *g = &groups[i];
        if (g->best->glad == g->worst->glad)
            continue;
        add(t, "prompt", g->best->prompt);
        for (int k = 0; k < g->n; k++) {
            text_adds(t, k == 0 ? ", \"responses\": [" : ", ");
            json_add_string(t, g->at[k]->text, strlen(g->at[k]->text));
        }
        for (int k = 0; k < g->n; k++)
            text_addf(t, "%s%d", k == 0 ? "], \"scores\": [" : ", ", g->at[k]->glad);
        text_adds(t, "]");
        put(t);
        n++;
    }
}

static void singles(struct text *t, int most)
{
    for (int i = 0; i < n_groups && i < most; i++) {
        const struct sample *s = i % 2 ? groups[i].best : groups[i].worst;
        add(t, "prompt", s->prompt);
        add(t, "completion", s->text);
        text_addf(t, ", \"label\": %s", s->glad > 0 ? "true" : "false");
        put(t);
    }
}

static void joint(struct text *t, int most)
{
    for (int i = 0, n = 0; i + 1 < n_groups && n < most; i += 2) {
        if (groups[i].best->glad <= groups[i + 1].worst->glad)
            continue;
        add_pair(t, groups[i].best, groups[i + 1].worst);
        put(t);
        n++;
    }
}

static void variants(struct text *t, int most)
{
    for (int i = 0, n = 0; i + 1 < n_groups && n < most; i++) {
        struct sample other = *groups[i].best;
        other.prompt = groups[i + 1].best->prompt;
        if (n % 2 && groups[i].best->glad == groups[i].worst->glad)
            continue;
        add_pair(t, groups[i].best, n % 2 ? groups[i].worst : &other);
        put(t);
        n++;
    }
}

static int sign(int a, int b)
{
    return (a > b) - (a < b);
}

static void objectives(struct text *t, int most)
{
    for (int i = 0; i < n_groups && i < most; i++) {
        const struct group *g = &groups[i];
        const struct sample *w = g->best, *l = g->at[0] == w && g->n > 1 ? g->at[1] : g->at[0];
        if (w == l)
            continue;
        add_pair(t, w, l);
        text_addf(t, ", \"signs\": {\"glad\": %d, \"short\": %d}", sign(w->glad, l->glad),
                  sign(l->words, w->words));
        put(t);
    }
}

static const struct { const char *kind; void (*write)(struct text *, int); int most; } kinds[] = {
    { "pairs", pairs, 120 },   { "held-out", held_out, 48 }, { "lists", lists, 60 },
    { "singles", singles, 160 }, { "joint", joint, 48 },     { "variants", variants, 64 },
    { "objectives", objectives, 96 },                        { NULL, NULL, 0 },
};

int main(int argc, char **argv)
{
    struct text line = { 0 };
    char *buffer = NULL;
    size_t room = 0;
    ssize_t bytes;
    int i = 0;

    while (kinds[i].kind && (argc != 2 || strcmp(kinds[i].kind, argv[1]) != 0))
        i++;
    if (!kinds[i].kind) {
        fprintf(stderr, "usage: preferences pairs|held-out|lists|singles|joint|variants|"
                        "objectives\n");
        return 1;
    }
    while ((bytes = getline(&buffer, &room, stdin)) > 0)
        take(buffer, (size_t)bytes);
    make_groups();
    kinds[i].write(&line, kinds[i].most);
    free(buffer);
    text_free(&line);
    return 0;
}
