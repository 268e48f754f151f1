/* golden_nll.json: mean loss of a model over pieces of real text, cut as the note in it says: the
 * first characters of the sample, encoded without special tokens, in pieces, each after one bos.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "data/lines.h"
#include "tests/golden.h"

#define CHARACTERS 40000
#define PIECE 127
#define ROWS 8                   /* pieces in one pass */

static int read_sample(const char *folder, struct text *out)
{
    char path[4200];
    struct lines in;
    size_t at = 0;
    bool more;
    int rc = RL_OK;

    snprintf(path, sizeof path, "%s/../../prompts/tinystories-sample.txt.gz", folder);
    rc = lines_open(&in, path);
    if (rc != RL_OK)
        return rc;
    while ((rc = lines_next(&in, &more)) == RL_OK && more && out->size < 4 * CHARACTERS) {
        text_add(out, in.line, in.size);
        text_adds(out, "\n");
    }
    lines_close(&in);
    for (int characters = 0; at < out->size; at++)      /* cut at the end of the last character */
        if ((out->data[at] & 0xC0) != 0x80 && ++characters > CHARACTERS)
            break;
    out->size = at;
    return rc;
}

/* Mean loss of n pieces from `first`, each a row of bos and PIECE ids. */
static int pieces_loss(struct golden *g, struct trainer *t, const struct ids *ids, int first, int n,
                       double *loss)
{
    int tokens[ROWS * (PIECE + 1)] = {0}, start[ROWS + 1] = {0}, rc = RL_OK;
    float logp[ROWS * (PIECE + 1)];

    for (int i = 0; i < n; i++) {
        int *row = tokens + start[i];

        row[0] = g->source.bos;
        memcpy(row + 1, ids->data + (first + i) * PIECE, PIECE * sizeof *row);
        start[i + 1] = start[i] + PIECE + 1;
    }
    TRY(model_logprobs(t, tokens, start, n, 1.0f, false, logp, NULL));
    for (int i = 0; i < n; i++) {
        loss[i] = 0;
        for (int p = start[i] + 1; p < start[i + 1]; p++)
            loss[i] -= logp[p] / PIECE;
    }
done:
    return rc;
}

static int check_pieces(struct golden *g, const struct json *file, const struct ids *ids)
{
    const struct json *want = json_get(file, "piece_nll");
    int n = (int)json_size(want), rc = RL_OK;
    struct trainer *t = NULL;
    double loss[ROWS], sum = 0;

    if (n < 1 || ids->count / PIECE < n)
        return rl_error(RL_EINVAL, "%d pieces of %d ids: the text has %d ids", n, PIECE,
                        ids->count);
    TRY(trainer_create_scoring(&t, g->model, ROWS, ROWS * (PIECE + 1)));
    for (int first = 0; first < n; first += ROWS) {
        int rows = n - first < ROWS ? n - first : ROWS;

        TRY(pieces_loss(g, t, ids, first, rows, loss));
        for (int i = 0; i < rows; i++) {
            golden_begin(g, "piece %d", first + i);
            golden_near(g, loss[i], json_number(json_at(want, (size_t)(first + i)), NAN), 1e-4,
                        "mean loss");
            golden_end(g);
            sum += loss[i];
        }
    }
    golden_begin(g, "all pieces");
    golden_near(g, sum / n, json_number(json_get(file, "mean_nll"), NAN), 1e-4, "mean_nll");
    golden_end(g);
done:
    trainer_destroy(t);
    return rc;
}

int golden_nll(struct golden *g, const struct json *file)
{
    const struct json *first = json_get(file, "first_ids");
    struct text text = {0};
    struct ids ids = {0};
    int rc = RL_OK;

    if (!g->source.tokenizer || g->source.bos < 0)
        return rl_error(RL_EINVAL, "%s: needs tokenizer.json and bos_token_id", g->folder);
    TRY(read_sample(g->folder, &text));
    TRY(tokenizer_encode(g->source.tokenizer, text.data, text.size, false, &ids));
    golden_begin(g, "tokens");
    golden_near(g, ids.count, json_number(json_get(file, "n_ids"), NAN), 0, "n_ids");
    for (size_t i = 0; i < json_size(first) && i < (size_t)ids.count; i++)
        golden_near(g, ids.data[i], json_number(json_at(first, i), NAN), 0, "id %zu", i);
    golden_end(g);
    TRY(check_pieces(g, file, &ids));
done:
    text_free(&text);
    ids_free(&ids);
    return rc;
}
