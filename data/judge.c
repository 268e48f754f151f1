/* Judge prompts; see judge.h. */
#include "data/judge.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"

enum { PROMPT, A, B, NAMES };
static const char *const names[NAMES] = { "{prompt}", "{a}", "{b}" };

struct judge {
    struct ids text;            /* of all pieces, one after the other */
    struct ids front;           /* what the tokenizer puts before a text */
    int pieces;                 /* piece i ends at end[i]; between i and i + 1 stands name[i] */
    int end[NAMES + 1], name[NAMES];
    int answer[2];
};

struct parse {
    const char *path;
    struct tokenizer *tokenizer;
    int vocabulary;
    bool seen[NAMES];
};

/* The name that begins at `at`, or -1. */
static int name_at(const char *at, const char *end)
{
    for (int i = 0; i < NAMES; i++)
        if ((size_t)(end - at) >= strlen(names[i]) && memcmp(at, names[i], strlen(names[i])) == 0)
            return i;
    return -1;
}

static int piece_add(struct judge *j, const struct parse *p, const char *text, size_t bytes)
{
    int rc = RL_OK;

    TRY(tokenizer_encode(p->tokenizer, text, bytes, false, &j->text));
    j->end[j->pieces++] = j->text.count;
done:
    return rc;
}

static int name_add(struct judge *j, struct parse *p, int name)
{
    if (p->seen[name])
        return rl_error(RL_EINVAL, "%s: %s is there twice; a judge template has it once", p->path,
                        names[name]);
    p->seen[name] = true;
    j->name[j->pieces - 1] = name;
    return RL_OK;
}

/* The last piece with an answer behind it. */
static int encode_tail(const struct parse *p, const char *tail, size_t bytes, const char *answer,
                       struct ids *ids)
{
    struct text with = { 0 };
    int rc = RL_OK;

    text_add(&with, tail, bytes);
    text_adds(&with, answer);
    TRY(tokenizer_encode(p->tokenizer, with.data, with.size, false, ids));
done:
    text_free(&with);
    return rc;
}

/* The last piece and the answers' tokens behind it.  Both answers must share all tokens but the
 * last, whether a tokenizer puts a space into that last one or before it; what they share is the
 * piece. */
static int add_tail(struct judge *j, const struct parse *p, const char *tail, size_t bytes)
{
    struct ids a = { 0 }, b = { 0 };
    int own, rc = RL_OK;

    TRY(encode_tail(p, tail, bytes, "A", &a));
    TRY(encode_tail(p, tail, bytes, "B", &b));
    own = a.count - 1;
    if (own < 0 || b.count != a.count || a.data[own] == b.data[own] ||
        memcmp(a.data, b.data, (size_t)own * sizeof(int)) != 0)
        TRY(rl_error(RL_EINVAL, "%s: the answer \"%c\" is not one token behind the last character "
                     "of the template; end it %s a space", p->path, b.count > a.count ? 'B' : 'A',
                     bytes > 0 && tail[bytes - 1] == ' ' ? "without" : "with"));
    for (int i = 0; i < own; i++)
        ids_add(&j->text, a.data[i]);
    j->end[j->pieces++] = j->text.count;
    j->answer[0] = a.data[own];
    j->answer[1] = b.data[own];
done:
    ids_free(&a);
    ids_free(&b);
    return rc;
}

/* {c}: a name in braces that is none of ours.  Other braces are text. */
static int check_unknown(const struct parse *p, const char *at, const char *end)
{
    const char *close = at + 1;

    while (close < end && (isalnum((unsigned char)*close) || *close == '_'))
        close++;
    if (close == at + 1 || close == end || *close != '}')
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: %.*s is not one of {prompt}, {a} and {b}", p->path,
                    (int)(close + 1 - at), at);
}

/* Text up to the next name, the name, and so on; the rest is the last piece. */
static int read_pieces(struct judge *j, struct parse *p, const char *text, size_t bytes)
{
    const char *end = text + bytes, *from = text;
    size_t shown = 0;               /* bytes of the names */
    int rc = RL_OK;

    for (const char *at = text; at < end; at++) {
        int name = *at == '{' ? name_at(at, end) : -1;
        if (name < 0 && *at == '{')
            TRY(check_unknown(p, at, end));
        if (name < 0)
            continue;
        TRY(piece_add(j, p, from, (size_t)(at - from)));
        TRY(name_add(j, p, name));
        shown += strlen(names[name]);
        from = at + strlen(names[name]);
        at = from - 1;
    }
    for (int i = A; i <= B; i++)
        if (!p->seen[i])
            TRY(rl_error(RL_EINVAL, "%s: no %s: a judge template shows {prompt} and the answers "
                         "{a} and {b}", p->path, names[i]));
    if (shown == bytes)
        TRY(rl_error(RL_EINVAL, "%s: names and no text: nothing asks which answer is better",
                     p->path));
    TRY(add_tail(j, p, from, (size_t)(end - from)));
done:
    return rc;
}

static int check_vocabulary(const struct judge *j, const struct parse *p)
{
    int highest = j->answer[0] > j->answer[1] ? j->answer[0] : j->answer[1];

    for (int i = 0; i < j->text.count; i++)
        highest = j->text.data[i] > highest ? j->text.data[i] : highest;
    if (j->answer[0] == j->answer[1])
        return rl_error(RL_EINVAL, "%s: the tokenizer has one token for the answers \"A\" and "
                        "\"B\"", p->path);
    if (highest >= p->vocabulary)
        return rl_error(RL_EINVAL, "%s: the tokenizer gives id %d and the model's vocabulary ends "
                        "at %d: they do not belong together", p->path, highest, p->vocabulary - 1);
    return RL_OK;
}

int judge_parse(struct judge **out, const char *text, size_t bytes, const char *path,
                struct tokenizer *tokenizer, int vocabulary)
{
    struct parse p = { .path = path, .tokenizer = tokenizer, .vocabulary = vocabulary };
    struct judge *j = calloc(1, sizeof *j);
    int rc = RL_OK;

    *out = NULL;
    if (!j)
        return rl_error(RL_ENOFIT, "no memory for a judge template");
    if (!tokenizer)
        TRY(rl_error(RL_EINVAL, "%s: a judge template needs a tokenizer.json beside the model, "
                     "which has none", path));
    TRY(tokenizer_encode(tokenizer, "", 0, true, &j->front));
    TRY(read_pieces(j, &p, text, bytes));
    TRY(check_vocabulary(j, &p));
    *out = j;
done:
    if (rc != RL_OK)
        judge_close(j);
    return rc;
}

/* A line end behind the last line is the editor's, not the template's. */
int judge_open(struct judge **j, const char *path, struct tokenizer *tokenizer, int vocabulary)
{
    struct text text = { 0 };
    int rc = RL_OK;

    *j = NULL;
    TRY(file_read(path, &text));
    if (text.size > 0 && text.data[text.size - 1] == '\n')
        text.data[--text.size] = 0;
    rc = judge_parse(j, text.size > 0 ? text.data : "", text.size, path, tokenizer, vocabulary);
done:
    text_free(&text);
    return rc;
}

void judge_close(struct judge *j)
{
    if (!j)
        return;
    ids_free(&j->text);
    ids_free(&j->front);
    free(j);
}

int judge_answer(const struct judge *j, int which)
{
    return j->answer[which];
}

int judge_length(const struct judge *j, int prompt, int a, int b)
{
    const int n[NAMES] = { prompt, a, b };
    int length = j->front.count + j->text.count;

    for (int i = 0; i < j->pieces - 1; i++)
        length += n[j->name[i]];
    return length;
}

static int *append(int *to, const int *ids, int n)
{
    if (n > 0)
        memcpy(to, ids, (size_t)n * sizeof *to);
    return to + n;
}

int judge_write(const struct judge *j, struct slice prompt, struct slice a, struct slice b,
                int *out)
{
    const struct slice part[NAMES] = { prompt, a, b };
    int *to = append(out, j->front.data, j->front.count), from = 0;

    for (int i = 0; i < j->pieces; i++) {
        to = append(to, j->text.data ? j->text.data + from : NULL, j->end[i] - from);
        from = j->end[i];
        if (i < j->pieces - 1)
            to = append(to, part[j->name[i]].data, part[j->name[i]].n);
    }
    return (int)(to - out);
}

struct slice judge_strip(const struct judge *j, struct slice prompt)
{
    int n = j->front.count;

    if (n > 0 && prompt.n >= n && memcmp(prompt.data, j->front.data, (size_t)n * sizeof(int)) == 0)
        return (struct slice){ prompt.data + n, prompt.n - n };
    return prompt;
}
