/* Held-out text: perplexity of its rows. */
#include <stdlib.h>

#include "base/status.h"
#include "compute/math.h"
#include "launch/eval/reading.h"

static int open_text(struct reading *r, const struct strings *path)
{
    const struct config *c = r->e->config;
    const struct source *s = &r->e->policy->source;
    int row = c->row_tokens > 0 ? (int)c->row_tokens : s->shape.context, rc = RL_OK;

    if (row > s->shape.context)
        return rl_error(RL_EINVAL, "%s: row_tokens = %d, but the model has %d positions",
                        config_where(c, "row_tokens"), row, s->shape.context);
    TRY(config_readable(c, "eval_text"));
    TRY(corpus_open(&r->corpus, path, s->tokenizer, s->shape.V, s->bos,
                    s->n_eos ? s->eos[0] : -1, row));
    r->k = 1;
    r->columns = 2;
    TRY(reading_begin(r, path->items[0], corpus_rows(r->corpus), row, 0));
done:
    return rc;
}

static int text_all(struct reading *r)
{
    const struct batch *b = &r->batch;
    int rc = RL_OK;

    for (int at = 0; at < r->count; at += EVAL_GROUPS) {
        TRY(reading_block(r, at));
        for (int n = 0; n < b->N; n++) {
            double *row = r->rows + (size_t)(at + n) * r->columns;
            row[0] = -reading_sum(r->policy_logp, b, n);
            row[1] = b->start[n + 1] - b->start[n] - b->prompt_len[n];
        }
    }
done:
    return rc;
}

int eval_text(struct eval *e)
{
    int rc = RL_OK;

    for (int f = 0; f < e->config->eval_text.count && e->reference && rc == RL_OK; f++) {
        struct reading r = { .e = e };
        double *all = NULL, nll = 0, tokens = 0;
        rc = open_text(&r, &(struct strings){ &e->config->eval_text.items[f], 1 });
        rc = comm_agree(e->world, rc);
        if (rc == RL_OK)
            rc = comm_agree(e->world, text_all(&r));
        if (rc == RL_OK)
            rc = eval_gather(e, r.P, (size_t)r.columns, r.rows, &all);
        for (int n = 0; rc == RL_OK && n < r.P; n++) {
            nll += all[2 * n];
            tokens += all[2 * n + 1];
        }
        if (rc == RL_OK)
            rc = figure_add(e, rw_exp(nll / tokens), "%sperplexity", r.prefix);
        free(all);
        reading_end(&r);
    }
    return rc;
}
