/* What the tests of records share: a tokenizer that merges, records of a text, batches of them. */
#ifndef TESTS_LETTER_RECORDS_H
#define TESTS_LETTER_RECORDS_H

#include "tests/letters.h"

#include "base/memory.h"
#include "data/records.h"

/* bos 1, eos 7; "ab" is one token, and a judge can answer. */
static const char merging[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":1,\"a\":2,\"b\":3,\"c\":4,\"d\":5,\" \":6,"
    "\"<e>\":7,\"A\":8,\"B\":9,\"ab\":10,\"?\":11,\"t\":12,\"9\":13,\"6\":14},"
    "\"merges\":[\"a b\"]},\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":7,\"content\":\"<e>\",\"special\":true}],\"post_processor\":"
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
    "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[1]}}}}";

static struct tokenizer *words;
static const int eos[] = { 7 };

static inline int open_words(void **state)
{
    open_letters(state);
    return tokenizer_parse(&words, merging, strlen(merging), "merging");
}

static inline int close_words(void **state)
{
    tokenizer_close(words);
    return close_letters(state);
}

static inline struct records_settings settings(enum view view)
{
    return (struct records_settings){
        .view = view, .tokenizer = words, .vocabulary = 20, .max_tokens = 20, .eos = eos,
        .n_eos = 1, .append_eos = true, .join = "", .target = "t{score}",
    };
}

static inline struct records *open_text(const char *text, const struct records_settings *s)
{
    char *path = (char *)write_plain("r.jsonl", text);
    struct records *r;

    assert_ok(records_open(&r, &(struct strings) { &path, 1 }, s));
    return r;
}

/* ---- batches of records */

struct held { struct batch b; struct memory memory; };

static inline struct batch *next(struct held *h, struct records *r, bool shuffle, int64_t draw0,
                                 int P, int group, int groups)
{
    int k = records_rows(r), R = records_columns(r), rows = groups * k;

    memset(h, 0, sizeof *h);
    for (int turn = 0; turn < 2; turn++) {
        if (turn == 0)
            memory_count(&h->memory);
        else
            assert_ok(memory_open(&h->memory));
        batch_layout(&h->b, &h->memory, rows, rows * records_longest(r), R);
    }
    h->b.P = P, h->b.k = k, h->b.group = group, h->b.groups = groups;
    assert_ok(records_next(r, shuffle, 11, draw0, &h->b));
    assert_int_equal(h->b.N, rows);
    assert_int_equal(h->b.filled, COL_TOKENS | COL_REWARD | COL_LABEL);
    return &h->b;
}

static inline void assert_row(const struct batch *b, int n, const int *ids, int count,
                              int prompt_len, double reward, double weight)
{
    assert_int_equal(b->start[n + 1] - b->start[n], count);
    assert_list(b->tokens + b->start[n], ids, count);
    assert_int_equal(b->prompt_len[n], prompt_len);
    assert_true(b->reward[(size_t)n * b->R] == reward);
    assert_true(b->weight[n] == weight);
}
#define ROW(b, n, prompt_len, reward, weight, ...)                                              \
    assert_row(b, n, (const int[]) { __VA_ARGS__ },                                             \
               (int)(sizeof (const int[]) { __VA_ARGS__ } / sizeof(int)), prompt_len, reward,   \
               weight)

#endif
