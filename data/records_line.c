/* One line of a file of records: its fields become a pair, a list or a single, as the view wants
 * it; see records.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/records_internal.h"

int records_bad(struct reading *in, const char *format, ...)
{
    char what[512];
    va_list args;

    if (in->r->settings.drop_bad)
        return LEFT_OUT;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return rl_error(RL_EINVAL, "%s:%lld: the record %s", in->path, (long long)in->line, what);
}

/* ---- the numbers of a record */

/* `what` names it: `margin`, `scores`[2]. */
static int check_number(struct reading *in, const char *what, const struct json *v)
{
    if (!json_is_number(v))
        return records_bad(in, "has a %s that is not a number", what);
    if (!(fabs(json_number(v, NAN)) <= RECORD_LARGEST))
        return records_bad(in, "has a %s beyond %g", what, RECORD_LARGEST);
    return RL_OK;
}

/* The number under key, or what `out` holds; *given says which. */
static int number(struct reading *in, const char *key, bool *given, double *out)
{
    const struct json *v = json_get(in->fields, key);
    char what[32];
    int rc = RL_OK;

    *given = !json_is_null(v);
    if (!*given)
        return RL_OK;
    snprintf(what, sizeof what, "`%s`", key);
    TRY(check_number(in, what, v));
    *out = json_number(v, 0);
done:
    return rc;
}

static int common(struct reading *in, struct record *item)
{
    const struct json *who = json_get(in->fields, "annotator");
    int64_t annotator = json_is_null(who) ? 0 : json_int(who, -1);
    bool given;
    int rc = RL_OK;

    *item = (struct record){ .line = in->line, .file = in->file, .first = in->r->n_answers,
                             .weight = 1 };
    TRY(number(in, "weight", &given, &item->weight));
    TRY(number(in, "margin", &given, &item->margin));
    if (item->weight < 0)
        return records_bad(in, "has a `weight` below 0");
    if (annotator < 0 || annotator >= RECORD_ANNOTATORS)
        return records_bad(in, "has an `annotator` that is not a number from 0 to %d",
                          RECORD_ANNOTATORS - 1);
    item->annotator = (int)annotator;
done:
    return rc;
}

/* Index of an objective, added when it is new; -1: there are too many. */
static int objective(struct records *r, const char *name)
{
    int i = 0;

    while (i < r->n_signs && strcmp(r->signs[i], name) != 0)
        i++;
    if (i == RECORD_SIGNS || strlen(name) >= RECORD_NAME || !*name)
        return -1;
    if (i == r->n_signs)
        strcpy(r->signs[r->n_signs++], name);
    return i;
}

static int sign(struct reading *in, struct record *item, const char *name, const struct json *v)
{
    double x = json_number(v, NAN);
    int i;

    if (!(x == -1 || x == 0 || x == 1))
        return records_bad(in, "has a sign of `%s` that is not -1, 0 or 1", name);
    i = objective(in->r, name);
    if (i < 0)
        return records_bad(in, "has the objective `%s`: names have 1 to %d bytes, and there are at "
                          "most %d", name, RECORD_NAME - 1, RECORD_SIGNS);
    if (item->signed_by >> i & 1 && item->sign[i] != x)
        return records_bad(in, "has two signs of `%s`, %d and %g", name, item->sign[i], x);
    item->signed_by |= 1ull << i;
    item->sign[i] = (signed char)x;
    return RL_OK;
}

/* The members of "signs", and the fields raco_s_<name>. */
static int signs(struct reading *in, struct record *item)
{
    static const char prefix[] = "raco_s_";
    const struct json *group = json_get(in->fields, "signs"), *v;
    const char *key;
    void *it = NULL;
    int rc = RL_OK;

    if (!json_is_null(group) && !json_is_object(group))
        return records_bad(in, "has `signs` that are not an object of names and numbers");
    while (json_next(group, &it, &key, &v))
        TRY(sign(in, item, key, v));
    for (it = NULL; json_next(in->fields, &it, &key, &v);)
        if (strncmp(key, prefix, sizeof prefix - 1) == 0 && !json_is_null(v))
            TRY(sign(in, item, key + sizeof prefix - 1, v));
done:
    return rc;
}

/* ---- what is kept */

static int answer_add(struct records *r, const struct answer *answer)
{
    if (r->n_answers == r->answers_room) {
        int room = r->answers_room > 0 ? 2 * r->answers_room : 128;
        struct answer *answers = r->answers_room <= 1 << 29
                               ? realloc(r->answers, (size_t)room * sizeof *answers) : NULL;
        if (!answers)
            return rl_error(RL_ENOFIT, "no memory for %d answers", room);
        r->answers = answers;
        r->answers_room = room;
    }
    r->answers[r->n_answers++] = *answer;
    return RL_OK;
}

static int record_add(struct records *r, const struct record *item)
{
    if (r->count == r->room) {
        int64_t room = r->room > 0 ? 2 * r->room : 64;
        struct record *items = realloc(r->items, (size_t)room * sizeof *items);
        if (!items)
            return rl_error(RL_ENOFIT, "no memory for %lld records", (long long)room);
        r->items = items;
        r->room = room;
    }
    r->items[r->count++] = *item;
    return RL_OK;
}

/* A record of the answers that were added since item->first. */
static int keep(struct records *r, struct record item)
{
    item.answers = r->n_answers - item.first;
    return record_add(r, &item);
}

/* A row of n tokens: does it fit? */
static int check_length(struct reading *in, int n)
{
    struct records *r = in->r;

    if (n <= r->settings.max_tokens)
        return RL_OK;
    if (r->settings.skip_long) {
        r->skipped++;
        return LEFT_OUT;
    }
    return rl_error(RL_EINVAL, "%s:%lld: the record has a row of %d tokens and at most %d fit; "
                    "shorten it or set long_prompts = \"skip\"", in->path, (long long)in->line, n,
                    r->settings.max_tokens);
}

static int add_row(struct reading *in, const char *key, int i, struct asked asked,
                   struct span prompt, double score)
{
    struct answer answer = { .prompt = prompt, .score = score };
    int rc = RL_OK;

    TRY(records_answer(in, key, i, asked, &answer));
    TRY(check_length(in, prompt.n + answer.ids.n));
    TRY(answer_add(in->r, &answer));
done:
    return rc;
}

/* ---- pairs */

struct scores { bool given; double chosen, rejected; };

static int pair_scores(struct reading *in, struct scores *s)
{
    bool both;
    int rc = RL_OK;

    *s = (struct scores){ .chosen = 1, .rejected = 0 };
    TRY(number(in, "score_chosen", &s->given, &s->chosen));
    TRY(number(in, "score_rejected", &both, &s->rejected));
    if (s->given != both)
        return records_bad(in, "has one of `score_chosen` and `score_rejected`, not both");
    if (s->chosen < s->rejected)
        return records_bad(in, "has a `score_rejected` above its `score_chosen`");
done:
    return rc;
}

static bool same(const struct records *r, struct span a, struct span b)
{
    return a.n == b.n && memcmp(r->ids.data + a.at, r->ids.data + b.at,
                                (size_t)a.n * sizeof(int)) == 0;
}

/* The answers of a pair, chosen first; before: a text before both prompts. */
static int add_pair(struct reading *in, const char *before, const struct scores *s)
{
    struct asked chosen = { "prompt", before }, rejected = chosen;
    struct span prompt, other;
    const struct answer *two;
    int rc = RL_OK;

    TRY(records_prompt(in, chosen.key, before, &prompt));
    other = prompt;
    if (records_has(in->fields, "rejected_prompt")) {
        rejected.key = "rejected_prompt";
        TRY(records_prompt(in, rejected.key, before, &other));
    }
    TRY(add_row(in, "chosen", -1, chosen, prompt, s->chosen));
    TRY(add_row(in, "rejected", -1, rejected, other, s->rejected));
    two = in->r->answers + in->r->n_answers - 2;
    if (same(in->r, two[0].ids, two[1].ids) && same(in->r, prompt, other))
        rc = records_bad(in, "has the same answer as `chosen` and `rejected`");
done:
    return rc;
}

/* "target score = 9": the text of the settings with the score in it. */
static void target_text(const struct records *r, double score, struct text *out)
{
    const char *text = r->target, *hole = strstr(text, "{score}");

    text_add(out, text, (size_t)(hole - text));
    json_add_number(out, score);
    text_adds(out, hole + strlen("{score}"));
}

/* Behind the chosen's score the chosen wins, behind the rejected's the rejected. */
static int augmented(struct reading *in, struct record item, const struct scores *s)
{
    struct text before = { 0 };
    int rc = RL_OK;

    if (!s->given)
        return records_bad(in, "has no `score_chosen` and `score_rejected`, which set its targets");
    for (int turn = 0; turn < 2; turn++) {
        struct answer *two, chosen;
        text_clear(&before);
        target_text(in->r, turn ? s->rejected : s->chosen, &before);
        item.first = in->r->n_answers;
        TRY(add_pair(in, before.data, &(struct scores){ true, 1, 0 }));
        two = in->r->answers + item.first;
        if (turn) {
            chosen = two[0];
            two[0] = two[1];
            two[1] = chosen;
            two[0].score = 1;
            two[1].score = 0;
        }
        TRY(keep(in->r, item));
    }
done:
    text_free(&before);
    return rc;
}

/* A pair's answers as two singles: the chosen desirable, the rejected not. */
static int two_singles(struct reading *in, struct record item)
{
    int rc = RL_OK;

    item.answers = 1;
    TRY(add_pair(in, "", &(struct scores){ false, 1, 0 }));
    TRY(record_add(in->r, &item));
    item.first++;
    TRY(record_add(in->r, &item));
done:
    return rc;
}

static int judged(struct reading *in, struct record item)
{
    const struct judge *judge = in->r->settings.judge;
    const struct answer *two;
    struct slice prompt;
    int rc = RL_OK;

    TRY(add_pair(in, "", &(struct scores){ false, 1, 0 }));
    two = in->r->answers + item.first;
    prompt = judge_strip(judge, (struct slice){ in->r->ids.data + two->prompt.at, two->prompt.n });
    TRY(check_length(in, judge_length(judge, prompt.n, two[0].ids.n, two[1].ids.n) + 1));
    TRY(keep(in->r, item));
done:
    return rc;
}

static int pair(struct reading *in)
{
    enum view view = in->r->settings.view;
    struct record item;
    struct scores scores;
    int rc = RL_OK;

    TRY(common(in, &item));
    if (view == VIEW_SINGLES || view == VIEW_KTO)
        return two_singles(in, item);
    if (view == VIEW_JUDGE)
        return judged(in, item);
    if (view == VIEW_SFT) {
        struct span prompt;
        TRY(records_prompt(in, "prompt", "", &prompt));
        TRY(add_row(in, "chosen", -1, (struct asked){ "prompt", "" }, prompt, 1));
        return keep(in->r, item);
    }
    TRY(pair_scores(in, &scores));
    if (view == VIEW_AUGMENTED)
        return augmented(in, item, &scores);
    if (view == VIEW_PAIRS || view == VIEW_JOINT || view == VIEW_RANKED)
        TRY(signs(in, &item));
    TRY(add_pair(in, "", &scores));
    rc = keep(in->r, item);
done:
    return rc;
}

/* ---- lists */

static int check_list(struct reading *in, int *n)
{
    const struct json *ids = json_get(in->fields, "responses_ids");
    const struct json *list = json_is_null(ids) ? json_get(in->fields, "responses") : ids;
    const struct json *scores = json_get(in->fields, "scores");
    char what[32];
    int rc = RL_OK;

    if (!json_is_array(list))
        return records_bad(in, "has `responses` that are not a list");
    if (!json_is_array(scores) || json_size(scores) != json_size(list))
        return records_bad(in, "has %zu `responses` and not as many `scores`", json_size(list));
    if (json_size(list) < 1 || json_size(list) > 1024)
        return records_bad(in, "has %zu `responses`; a list has 1 to 1024", json_size(list));
    for (size_t i = 0; i < json_size(scores); i++) {
        snprintf(what, sizeof what, "`scores`[%zu]", i);
        TRY(check_number(in, what, json_at(scores, i)));
    }
    *n = (int)json_size(list);
done:
    return rc;
}

static int best_of(const struct json *scores, int n)
{
    int best = 0;

    for (int i = 1; i < n; i++)
        if (json_number(json_at(scores, (size_t)i), 0) >
            json_number(json_at(scores, (size_t)best), 0))
            best = i;
    return best;
}

static int list(struct reading *in)
{
    const struct json *scores = json_get(in->fields, "scores");
    enum view view = in->r->settings.view;
    struct record item;
    struct span prompt;
    int n = 0, first = 0, rc = RL_OK;

    if (view != VIEW_LISTS && view != VIEW_RANKED && view != VIEW_SFT)
        return records_bad(in, "is a list of answers, and this algorithm learns from %s",
                          view == VIEW_SINGLES || view == VIEW_KTO ? "labelled singles or pairs"
                                                                   : "pairs");
    TRY(common(in, &item));
    TRY(check_list(in, &n));
    TRY(records_prompt(in, "prompt", "", &prompt));
    if (view == VIEW_SFT) {
        first = best_of(scores, n);
        n = first + 1;
    }
    for (int i = first; i < n; i++)
        TRY(add_row(in, "responses", i, (struct asked){ "prompt", "" }, prompt,
                    json_number(json_at(scores, (size_t)i), 0)));
    rc = keep(in->r, item);
done:
    return rc;
}

/* ---- singles */

/* 1, 0, or -1 when it is no label. */
static int label_of(const struct json *v)
{
    int64_t n = json_int(v, -1);

    if (json_is_number(v))
        return n == 0 || n == 1 ? (int)n : -1;
    return json_bool(v, false) == json_bool(v, true) ? json_bool(v, false) : -1;
}

static int single(struct reading *in)
{
    const struct json *v = json_get(in->fields, "label");
    enum view view = in->r->settings.view;
    bool any = view == VIEW_SFT && json_is_null(v);
    int label = any ? 1 : label_of(v), rc = RL_OK;
    struct record item;
    struct span prompt;

    if (view != VIEW_SINGLES && view != VIEW_KTO && view != VIEW_SFT)
        return records_bad(in, "is a single answer, and this algorithm learns from %s",
                          view == VIEW_LISTS || view == VIEW_RANKED ? "lists or pairs" : "pairs");
    if (label < 0)
        return records_bad(in, "%s", json_is_null(v) ? "has no `label`"
                                                    : "has a `label` that is not true, false, 1 or "
                                                      "0");
    TRY(common(in, &item));
    TRY(records_prompt(in, "prompt", "", &prompt));
    TRY(add_row(in, "completion", -1, (struct asked){ "prompt", "" }, prompt, label));
    if (view == VIEW_SFT && label == 0)
        return LEFT_OUT;            /* nobody should learn to say it */
    rc = keep(in->r, item);
done:
    return rc;
}

int records_parse(struct reading *in)
{
    if (!json_is_object(in->fields))
        return records_bad(in, "is not a JSON object");
    if (records_has(in->fields, "chosen") || records_has(in->fields, "rejected"))
        return pair(in);
    if (records_has(in->fields, "responses"))
        return list(in);
    if (records_has(in->fields, "completion"))
        return single(in);
    return records_bad(in, "has no answers: neither `chosen` and `rejected`, nor `responses`, nor "
                      "`completion`");
}
