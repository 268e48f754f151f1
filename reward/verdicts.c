/* See verdicts.h. */
#include "reward/verdicts.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/ask.h"

struct verdicts {
    struct verdicts_parts parts;
    struct asker *asker;
    const struct prompts *prompts;
    bool done;                  /* the batch has been judged */
    struct ids baseline;        /* of the prompt at hand, when it is a text */
    struct ids tokens;          /* two questions */
    struct said *said;          /* (room) of the rows */
    int room;
};

int verdicts_create(struct verdicts **out, const struct verdicts_parts *parts)
{
    int context = model_shape(parts->model)->context, rc = RL_OK;
    struct verdicts *v = calloc(1, sizeof *v);

    *out = NULL;
    if (!v)
        return rl_error(RL_ENOFIT, "no memory for a judge");
    v->parts = *parts;
    TRY(asker_create(&v->asker, parts->model, 2 * (parts->rows > 1 ? parts->rows / 2 : 1),
                     context));
    *out = v;
    v = NULL;
done:
    verdicts_destroy(v);
    return rc;
}

void verdicts_destroy(struct verdicts *v)
{
    if (!v)
        return;
    asker_destroy(v->asker);
    ids_free(&v->baseline);
    ids_free(&v->tokens);
    free(v->said);
    free(v);
}

size_t verdicts_bytes(const struct model_shape *shape, struct compute *k, int rows)
{
    return sizeof(struct verdicts) +
           asker_bytes(shape, k, 2 * (rows > 1 ? rows / 2 : 1), shape->context);
}

void verdicts_begin(struct verdicts *v, const struct prompts *prompts)
{
    v->prompts = prompts;
    v->done = false;
}

static int take_room(struct verdicts *v, int N)
{
    if (N <= v->room && v->said)
        return RL_OK;
    free(v->said);
    v->said = malloc(((size_t)N + 1) * sizeof *v->said);
    v->room = v->said ? N : 0;
    return v->said ? RL_OK : rl_error(RL_ENOFIT, "no memory for the verdicts on %d rows", N);
}

/* What row n says, without the token that ended it. */
static struct slice said_by(const struct batch *b, int n)
{
    int from = b->start[n] + b->prompt_len[n], end = b->start[n + 1];

    return (struct slice){ b->tokens + from, end - from - (b->finish[n] == FINISH_EOS) };
}

/* The baseline that a prompt's line brings. */
static int read_baseline(struct verdicts *v, const struct batch *b, int first)
{
    int64_t i = b->prompt[first];
    const struct json *fields, *text;
    int rc = RL_OK;

    if (!v->prompts)
        return rl_error(RL_EINVAL, "osp.baseline: there are no prompts whose lines could hold '%s'",
                        v->parts.field);
    fields = prompts_fields(v->prompts, i);
    text = json_get(fields, v->parts.field);
    if (!json_is_string(text))
        return rl_error(RL_EINVAL, "%s:%lld: the prompt has no text in \"%s\", which osp.baseline "
                        "compares with", prompts_path(v->prompts),
                        (long long)prompts_line(v->prompts, i), v->parts.field);
    v->baseline.count = 0;
    TRY(tokenizer_encode(v->parts.tokenizer, json_string(text, ""), json_string_size(text), false,
                         &v->baseline));
done:
    return rc;
}

/* One question behind those in v->tokens. */
static int add_question(struct verdicts *v, struct slice prompt, struct slice a, struct slice c,
                        int *start)
{
    int context = model_shape(v->parts.model)->context;
    int length = judge_length(v->parts.judge, prompt.n, a.n, c.n);

    if (length > context)
        return rl_error(RL_EINVAL, "a judge prompt has %d tokens, the judge has %d positions; "
                        "shorten osp.template or lower max_new", length, context);
    for (int i = 0; i < length; i++)
        ids_add(&v->tokens, 0);
    judge_write(v->parts.judge, prompt, a, c, v->tokens.data + start[0]);
    start[1] = start[0] + length;
    return RL_OK;
}

/* Row n against the baseline, in both orders. */
static int compare(struct verdicts *v, const struct batch *b, int n, struct slice baseline)
{
    const int ids[2] = { judge_answer(v->parts.judge, 0), judge_answer(v->parts.judge, 1) };
    struct slice prompt = judge_strip(v->parts.judge, (struct slice){ b->tokens + b->start[n],
                                                                      b->prompt_len[n] });
    int start[3] = { 0 }, rc = RL_OK;
    float z[4];

    v->tokens.count = 0;
    TRY(add_question(v, prompt, said_by(b, n), baseline, start));
    TRY(add_question(v, prompt, baseline, said_by(b, n), start + 1));
    TRY(asker_run(v->asker, v->tokens.data, start, 2, ids, 2, z));
    v->said[n] = said_of((double)z[0], (double)z[1], (double)z[2], (double)z[3]);
done:
    return rc;
}

static int judge_group(struct verdicts *v, const struct batch *b, int first)
{
    struct slice baseline;
    int rc = RL_OK;

    if (v->parts.field) {
        TRY(read_baseline(v, b, first));
        baseline = (struct slice){ v->baseline.data, v->baseline.count };
    } else {
        baseline = said_by(b, first);
        v->said[first] = (struct said){ 0, 0 };
    }
    for (int n = first + !v->parts.field; n < first + b->k; n++)
        TRY(compare(v, b, n, baseline));
done:
    return rc;
}

int verdicts_run(struct verdicts *v, const struct batch *b)
{
    int rc = RL_OK;

    if (v->done)
        return RL_OK;
    TRY(take_room(v, b->N));
    for (int first = 0; first < b->N; first += b->k)
        TRY(judge_group(v, b, first));
    v->done = true;
done:
    return rc;
}

struct said verdicts_of(const struct verdicts *v, int n)
{
    return v->said[n];
}
