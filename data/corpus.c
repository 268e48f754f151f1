/* Text for language-model training: documents become one stream of tokens, cut into equal rows.
 * See prompts.h. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/lines.h"
#include "data/prompts.h"
#include "data/shuffle.h"

#define SEPARATOR "<|endoftext|>"

struct corpus {
    struct ids ids;              /* the stream; row r is ids[r * row_tokens] ... */
    int row_tokens;
    int64_t rows;
    struct shuffle order;
};

struct stream {                  /* what a document becomes tokens with */
    struct tokenizer *tokenizer;
    int vocabulary, bos, eos;
    struct text document;
    int64_t line;                /* its first, for messages */
};

/* Append [bos] ids [eos] of the document that was gathered, and begin the next. */
static int document_end(struct corpus *c, struct stream *s, const char *path)
{
    int rc = RL_OK, first = c->ids.count;

    if (s->document.size == 0)
        return RL_OK;
    if (s->bos >= 0)
        ids_add(&c->ids, s->bos);
    TRY(tokenizer_encode(s->tokenizer, s->document.data, s->document.size, false, &c->ids));
    if (s->eos >= 0)
        ids_add(&c->ids, s->eos);
    for (int i = first; i < c->ids.count; i++)
        if (c->ids.data[i] >= s->vocabulary)
            TRY(rl_error(RL_EINVAL, "%s:%lld: the text has id %d and the model's vocabulary ends "
                         "at %d: tokenizer and model do not belong together", path,
                         (long long)s->line, c->ids.data[i], s->vocabulary - 1));
    text_clear(&s->document);
done:
    return rc;
}

/* A line of text joins the document; the line break between two lines is part of it, the one before
 * a separator or the end of the file is not. */
static int file_add(struct corpus *c, struct stream *s, const char *path)
{
    struct lines in = {0};
    bool more = true, empty = true;
    int rc = RL_OK;

    TRY(lines_open(&in, path));
    for (;;) {
        TRY(lines_next(&in, &more));
        if (!more)
            break;
        if (in.size == strlen(SEPARATOR) && memcmp(in.line, SEPARATOR, in.size) == 0) {
            TRY(document_end(c, s, path));
            empty = true;
            continue;
        }
        if (empty)
            s->line = in.number;
        else
            text_add(&s->document, "\n", 1);
        if (in.size > 0)
            text_add(&s->document, in.line, in.size);
        empty = empty && in.size == 0;   /* empty lines before the first character are dropped */
    }
    TRY(document_end(c, s, path));
done:
    lines_close(&in);
    return rc;
}

int corpus_open(struct corpus **out, const struct strings *paths, struct tokenizer *tokenizer,
                int vocabulary, int bos, int eos, int row_tokens)
{
    struct stream s = { .tokenizer = tokenizer, .vocabulary = vocabulary, .bos = bos, .eos = eos };
    struct corpus *c = calloc(1, sizeof *c);
    int rc = RL_OK;

    *out = NULL;
    if (!c)
        return rl_error(RL_ENOFIT, "no memory for text");
    c->row_tokens = row_tokens;
    if (!tokenizer)
        TRY(rl_error(RL_EINVAL, "text needs a tokenizer.json beside the model, which has none"));
    if (row_tokens < 2)
        TRY(rl_error(RL_EINVAL, "row_tokens = %d: a row needs at least 2 tokens", row_tokens));
    if (paths->count == 0)
        TRY(rl_error(RL_EINVAL, "no files of text were given"));
    for (int i = 0; i < paths->count; i++)
        TRY(file_add(c, &s, paths->items[i]));
    c->rows = c->ids.count / row_tokens;
    if (c->rows == 0)
        TRY(rl_error(RL_EINVAL, "%s%s: %d tokens of text, less than one row of row_tokens = %d",
                     paths->items[0], paths->count > 1 ? " and the other files" : "",
                     c->ids.count, row_tokens));
    TRY(shuffle_open(&c->order, c->rows));
    *out = c;
done:
    text_free(&s.document);
    if (rc != RL_OK)
        corpus_close(c);
    return rc;
}

void corpus_close(struct corpus *c)
{
    if (!c)
        return;
    ids_free(&c->ids);
    shuffle_close(&c->order);
    free(c);
}

int64_t corpus_rows(const struct corpus *c)
{
    return c->rows;
}

int corpus_next(struct corpus *c, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b)
{
    batch_clear(b);
    for (int g = b->group; g < b->group + b->groups; g++) {
        int64_t row = shuffle_draw(&c->order, shuffle, seed, draw0 + g);
        if (b->N == b->max_rows || c->row_tokens > b->max_tokens - b->T)
            return rl_error(RL_EBUG, "the batch has room for %d rows and %d tokens, too little for "
                            "rows of %d", b->max_rows, b->max_tokens, c->row_tokens);
        memcpy(b->tokens + b->T, c->ids.data + (size_t)row * (size_t)c->row_tokens,
               (size_t)c->row_tokens * sizeof(int));
        b->prompt_len[b->N] = 1;
        b->finish[b->N] = FINISH_LENGTH;
        b->prompt[b->N] = row;
        b->version[b->N] = 0;
        b->T += c->row_tokens;
        b->start[++b->N] = b->T;
    }
    b->filled = COL_TOKENS;
    return RL_OK;
}
