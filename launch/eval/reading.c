/* See reading.h. */
#include "launch/eval/reading.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

int reading_begin(struct reading *r, const char *path, int64_t there, int row_tokens, int R)
{
    const struct config *c = r->e->config;
    int groups, micro, rc = RL_OK;

    there = c->eval_rows > 0 && c->eval_rows < there ? c->eval_rows : there;
    if (there > INT32_MAX)
        return rl_error(RL_EINVAL, "%s: too many rows; set eval_rows", path);
    r->P = (int)there;
    eval_share(r->e, r->P, &r->first, &r->count);
    eval_prefix(path, r->prefix, sizeof r->prefix);
    groups = r->count < EVAL_GROUPS ? r->count : EVAL_GROUPS;
    TRY(eval_batch(&r->batch, &r->memory, groups, r->k, row_tokens, R));
    r->rows = calloc((size_t)r->count * r->k * r->columns + 1, sizeof *r->rows);
    r->policy_logp = calloc((size_t)r->batch.max_tokens + 1, sizeof *r->policy_logp);
    if (!r->rows || !r->policy_logp)
        return rl_error(RL_ENOFIT, "no memory for %d rows of %s", r->count, path);
    if (!r->e->reference)
        return RL_OK;                   /* the policy has no words */
    micro = eval_micro_rows(r->e, r->count, r->k);
    TRY(refmodel_create(&r->policy, r->e->policy->model, micro, row_tokens, 1));
    if (r->records)
        TRY(refmodel_create(&r->reference, r->e->reference->model, micro, row_tokens, 1));
done:
    return rc;
}

void reading_end(struct reading *r)
{
    duels_destroy(r->duels);
    refmodel_destroy(r->policy);
    refmodel_destroy(r->reference);
    memory_close(&r->memory);
    free(r->policy_logp);
    free(r->rows);
    records_close(r->records);
    corpus_close(r->corpus);
}

double reading_sum(const float *logp, const struct batch *b, int n)
{
    double s = 0;

    for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
        s += (double)logp[t];
    return s;
}

int reading_block(struct reading *r, int at)
{
    struct batch *b = &r->batch;
    int rc = RL_OK;

    eval_block(r->e, b, r->P, r->k, at);
    TRY(r->records ? records_next(r->records, false, 0, 0, b)
                   : corpus_next(r->corpus, false, 0, 0, b));
    if (!r->policy)
        return RL_OK;
    TRY(refmodel_fill(r->policy, b));
    memcpy(r->policy_logp, b->ref_logp, (size_t)b->T * sizeof *r->policy_logp);
    if (r->reference)
        TRY(refmodel_fill(r->reference, b));
done:
    return rc;
}

int reading_pairs(struct reading *r, const struct strings *path)
{
    const struct config *c = r->e->config;
    const struct source *s = &r->e->policy->source;
    int rc = config_readable(c, "eval_pairs");

    return rc != RL_OK ? rc : records_open(&r->records, path, &(struct records_settings){
        .view = VIEW_PAIRS, .tokenizer = s->tokenizer, .vocabulary = s->shape.V,
        .max_tokens = r->e->context, .eos = s->eos, .n_eos = s->n_eos,
        .append_eos = c->append_eos, .join = c->join, .target = c->target_text,
        .skip_long = strcmp(c->long_prompts, "skip") == 0,
        .drop_bad = strcmp(c->bad_records, "drop") == 0,
    });
}
