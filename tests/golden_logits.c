/* golden.json: logits, log-probabilities and greedy tokens of a model, and the ids of its texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tests/golden.h"

#define LOGIT 2e-4               /* tolerance of a logit and of one token's log-probability */
#define SUMMED 1e-3              /* of a row's summed log-probability */
#define CLOSE 1e-3               /* greedy may differ where two logits are closer than this */

/* ---- a row in a cache, one token after the other */

struct story {
    struct model *model;
    struct cache *cache;
    int length, room;            /* tokens so far, and at most */
    int *table;
    struct memory memory;
    float *logits;               /* (V) of the last token */
};

static void story_close(struct story *s)
{
    cache_destroy(s->cache);
    free(s->table);
    memory_close(&s->memory);
}

static int story_open(struct story *s, struct model *m, int room)
{
    int pages = (room + KEY_BLOCK - 1) / KEY_BLOCK, rc = RL_OK;

    *s = (struct story){ .model = m, .room = room };
    TRY(cache_create(&s->cache, m, pages, 1, room));
    s->table = calloc((size_t)pages, sizeof *s->table);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            TRY(memory_open(&s->memory));
        s->logits = memory_take(&s->memory, (size_t)model_shape(m)->V * sizeof *s->logits);
    }
    if (!s->table)
        return rl_error(RL_ENOFIT, "no memory for a row of %d tokens", room);
    for (int i = 0; i < pages; i++)
        s->table[i] = cache_page(s->cache);
done:
    return rc;
}

static int story_add(struct story *s, const int *tokens, int n)
{
    int start[] = { 0, n }, rc = RL_OK;
    struct extend rows = { .N = 1, .start = start, .position = &s->length, .table = s->table,
                           .table_stride = (s->room + KEY_BLOCK - 1) / KEY_BLOCK };

    TRY(model_extend(s->cache, tokens, &rows, s->logits));
    s->length += n;
done:
    return rc;
}

static int highest(const float *z, int V)
{
    int best = 0;

    for (int v = 1; v < V; v++)
        if (z[v] > z[best])
            best = v;
    return best;
}

/* ---- golden.json */

static void check_top(struct golden *g, const struct json *test, const float *z, int V)
{
    const struct json *top = json_get(test, "last_logits_top10");
    const struct json *total = json_get(test, "last_logits_sum");
    double least = INFINITY, sum = 0;
    size_t above = 0;

    for (size_t i = 0; i < json_size(top); i++) {
        int64_t id = json_int(json_at(json_at(top, i), 0), -1);
        double want = json_number(json_at(json_at(top, i), 1), NAN);

        least = fmin(least, want);
        golden_true(g, id >= 0 && id < V, "logit %zu is of id %lld, the vocabulary has %d", i,
                    (long long)id, V);
        if (id >= 0 && id < V)
            golden_near(g, z[id], want, LOGIT, "logit of id %lld", (long long)id);
    }
    for (int v = 0; v < V; v++) {
        sum += z[v];
        above += z[v] > least + LOGIT;
    }
    golden_true(g, above <= json_size(top), "%zu logits are above the golden top %zu", above,
                json_size(top));
    if (!json_is_null(total))
        golden_near(g, sum, json_number(total, NAN), LOGIT * V, "sum of the logits");
}

/* The prompt, one token at a time where the file has a number for every position. */
static int check_logits(struct golden *g, const struct json *test, struct story *s,
                        const int *tokens, int prompt)
{
    const struct json *sizes = json_get(test, "logits_rms_per_position");
    int V = model_shape(g->model)->V, rc = RL_OK;

    if (json_is_null(sizes))
        TRY(story_add(s, tokens, prompt));
    for (int i = s->length; i < prompt; i++) {
        double squares = 0;

        TRY(story_add(s, tokens + i, 1));
        for (int v = 0; v < V; v++)
            squares += (double)s->logits[v] * s->logits[v];
        golden_near(g, sqrt(squares / V), json_number(json_at(sizes, (size_t)i), NAN), LOGIT,
                    "size of the logits at %d", i);
    }
    check_top(g, test, s->logits, V);
done:
    return rc;
}

static int check_greedy(struct golden *g, const struct json *test, struct story *s)
{
    struct ids want = {0};
    int V = model_shape(g->model)->V, rc = RL_OK;

    if (!json_is_null(json_get(test, "greedy_ids")))
        golden_true(g, golden_ids(json_get(test, "greedy_ids"), &want), "greedy_ids are no ids");
    for (int i = 0; i < want.count; i++) {
        int got = highest(s->logits, V), id = want.data[i];

        if (got != id) {
            double gap = id < V ? (double)s->logits[got] - s->logits[id] : INFINITY;

            golden_true(g, gap < CLOSE * golden_looser(),
                        "greedy token %d is %d, golden %d (logits %.4g apart)", i, got, id, gap);
            if (gap < CLOSE * golden_looser())
                printf("note %s: greedy stops at token %d, where two logits are %.2g apart\n",
                       g->name, i, gap);
            break;
        }
        if (i + 1 < want.count)
            TRY(story_add(s, &got, 1));
    }
done:
    ids_free(&want);
    return rc;
}

static int check_logprobs(struct golden *g, const struct json *test, const struct ids *all,
                          int prompt)
{
    const struct json *each = json_get(test, "continuation_logprobs");
    const struct json *of_prompt = json_get(test, "prompt_logprob");
    int start[] = { 0, all->count }, rc = RL_OK;
    float *logp = calloc((size_t)all->count + 1, sizeof *logp);
    struct trainer *t = NULL;
    double before = 0, after = 0;

    if (!logp)
        return rl_error(RL_ENOFIT, "no memory for %d log-probabilities", all->count);
    TRY(trainer_create_scoring(&t, g->model, 1, all->count));
    TRY(model_logprobs(t, all->data, start, 1, 1.0f, false, logp, NULL));
    for (int i = 1; i < prompt; i++)
        before += logp[i];
    for (int i = prompt; i < all->count; i++) {
        after += logp[i];
        golden_near(g, logp[i], json_number(json_at(each, (size_t)(i - prompt)), NAN), LOGIT,
                    "log-probability of continuation token %d", i - prompt);
    }
    if (!json_is_null(of_prompt))
        golden_near(g, before, json_number(of_prompt, NAN), SUMMED, "prompt_logprob");
    golden_near(g, after, json_number(json_get(test, "continuation_logprob"), NAN), SUMMED,
                "continuation_logprob");
done:
    trainer_destroy(t);
    free(logp);
    return rc;
}

/* Text to ids: of the prompt alone the ids are a prefix, as pieces may cross into what follows. */
static int check_text(struct golden *g, const struct json *test, const struct ids *all, int prompt)
{
    const struct json *first = json_get(test, "prompt"), *second = json_get(test, "continuation");
    struct text text = {0};
    struct ids ids = {0};
    int rc = RL_OK;

    if (!g->source.tokenizer || !json_is_string(first) || !json_is_string(second))
        return RL_OK;
    text_add(&text, json_string(first, ""), json_string_size(first));
    TRY(tokenizer_encode(g->source.tokenizer, text.data, text.size, true, &ids));
    golden_true(g, ids.count >= prompt &&
                memcmp(ids.data, all->data, (size_t)prompt * sizeof *ids.data) == 0,
                "the tokenizer's ids of the prompt do not begin with prompt_ids");
    ids.count = 0;
    text_add(&text, json_string(second, ""), json_string_size(second));
    TRY(tokenizer_encode(g->source.tokenizer, text.data, text.size, true, &ids));
    golden_true(g, ids.count == all->count &&
                memcmp(ids.data, all->data, (size_t)all->count * sizeof *ids.data) == 0,
                "the tokenizer's ids of prompt and continuation are not the golden ones");
done:
    text_free(&text);
    ids_free(&ids);
    return rc;
}

static int check_case(struct golden *g, const struct json *test)
{
    struct ids all = {0};
    struct story s = {0};
    int rc = RL_OK, prompt;

    golden_true(g, golden_ids(json_get(test, "prompt_ids"), &all) && all.count > 0,
                "there are no prompt_ids");
    prompt = all.count;
    golden_true(g, golden_ids(json_get(test, "continuation_ids"), &all),
                "there are no continuation_ids");
    if (g->wrong)
        goto done;
    TRY(story_open(&s, g->model, prompt + (int)json_size(json_get(test, "greedy_ids"))));
    TRY(check_text(g, test, &all, prompt));
    TRY(check_logits(g, test, &s, all.data, prompt));
    TRY(check_greedy(g, test, &s));
    TRY(check_logprobs(g, test, &all, prompt));
done:
    story_close(&s);
    ids_free(&all);
    return rc;
}

int golden_logits(struct golden *g, const struct json *file)
{
    const struct json *cases = json_get(file, "cases");

    for (size_t i = 0; i < json_size(cases); i++) {
        golden_begin(g, "case %zu", i);
        golden_true(g, check_case(g, json_at(cases, i)) == RL_OK, "the case could not be run");
        golden_end(g);
    }
    return RL_OK;
}
