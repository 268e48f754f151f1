/* The files of a configuration and the sizes of its batches; see sizes.h. */
#include "launch/sizes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "launch/resample.h"
#include "refmodel/refmodel.h"

static bool given(const char *word)
{
    return word && *word;
}

/* ---- models' small files, prompts, text */

static int same_vocabulary(const struct inputs *in, const struct source *s, const char *what)
{
    if (s->shape.V == in->policy.shape.V)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: vocabulary of %d tokens, but the model's is %d: the %s must "
                    "share the tokenizer", s->path, s->shape.V, in->policy.shape.V, what);
}

/* A head for values: the policy's own, or of a model beside it that starts where it is told to. */
static int open_critic(struct inputs *in)
{
    struct policy_wants wants = in->wants;
    int rc = RL_OK;

    if (wants.policy && in->policy.shape.scores != wants.shared)
        TRY(source_set_heads(&in->policy, &(struct heads){ .lm = true, .scores = wants.shared }));
    if (!wants.critic_from)
        return RL_OK;
    TRY(source_open(&in->critic, wants.critic_from));
    TRY(same_vocabulary(in, &in->critic, "critic"));
    TRY(source_set_heads(&in->critic, &(struct heads){ .scores = 1 }));
    in->has_critic = true;
done:
    return rc;
}

static int open_sources(struct inputs *in, const struct config *c)
{
    int rc = RL_OK;

    TRY(source_open(&in->policy, c->model));
    TRY(source_check_text(&in->policy));
    TRY(open_critic(in));
    if (!in->rollouts)
        return RL_OK;
    TRY(source_open(&in->reference, given(c->refmodel) ? c->refmodel : c->model));
    TRY(source_check_text(&in->reference));
    TRY(same_vocabulary(in, &in->reference, "reference model"));
done:
    return rc;
}

static int open_prompts(struct inputs *in, const struct config *c, const char *path,
                        struct prompts **p)
{
    const struct source *s = &in->policy;
    int rc = RL_OK;

    TRY(prompts_open(p, path, s->tokenizer, s->shape.V, s->shape.context - 1,  /* one new token */
                     strcmp(c->long_prompts, "skip") == 0));
    if (prompts_longest(*p) > in->longest_prompt)
        in->longest_prompt = prompts_longest(*p);
done:
    return rc;
}

static int open_corpus(struct inputs *in, const struct strings *paths, int row_tokens,
                       struct corpus **corpus)
{
    const struct source *s = &in->policy;

    return corpus_open(corpus, paths, s->tokenizer, s->shape.V, s->bos, s->n_eos ? s->eos[0] : -1,
                       row_tokens);
}

/* ---- the sizes of the batches */

/* Rows of a held-out file: all, or the first eval_rows. */
static int eval_size(const struct config *c, const char *path, int64_t there, int row_tokens,
                     struct ring_size *size)
{
    int64_t rows = c->eval_rows > 0 && c->eval_rows < there ? c->eval_rows : there;

    if (rows > INT32_MAX / row_tokens)
        return rl_error(RL_EINVAL, "%s: %lld rows of up to %d tokens are too many to evaluate; set "
                        "eval_rows to %d or less", path, (long long)rows, row_tokens,
                        INT32_MAX / row_tokens);
    *size = (struct ring_size){ .P = (int)rows, .k = 1, .depth = 1, .row_tokens = row_tokens };
    return RL_OK;
}

/* Prompts, and batches of rollouts. */
static int open_rollouts(struct inputs *in, const struct config *c)
{
    int context = in->policy.shape.context, rc = RL_OK;
    bool evaluated = c->eval_every > 0 && given(c->eval_prompts);
    int row;

    TRY(open_prompts(in, c, c->prompts, &in->prompts));
    if (evaluated)
        TRY(open_prompts(in, c, c->eval_prompts, &in->eval_prompts));
    row = c->max_new < context - in->longest_prompt ? in->longest_prompt + (int)c->max_new
                                                    : context;
    in->row_tokens = row;
    in->train = (struct ring_size){
        .P = (int)c->prompts_per_step, .k = (int)c->samples_per_prompt,
        .depth = (int)c->max_lag + 1, .row_tokens = row, .R = c->n_rewards, .links = true,
    };
    if (evaluated) {
        TRY(eval_size(c, c->eval_prompts, prompts_count(in->eval_prompts), row, &in->eval));
        in->eval.R = c->n_rewards;
        in->eval.links = true;
    }
done:
    return rc;
}

/* Text to train on or to evaluate, and batches of its rows. */
static int open_text(struct inputs *in, const struct config *c)
{
    int context = in->policy.shape.context, n = c->eval_every > 0 ? c->eval_text.count : 0;
    int row = c->row_tokens > 0 ? (int)c->row_tokens : context;
    int rc = RL_OK;

    if (c->row_tokens > context)
        return rl_error(RL_EINVAL, "%s: row_tokens = %lld, but the model has %d positions",
                        config_where(c, "row_tokens"), (long long)c->row_tokens, context);
    if (!in->rollouts || in->wants.text_rows > 0) {
        struct ring_size rows = { .P = (int)c->rows_per_step, .k = 1, .depth = 1,
                                  .row_tokens = row };
        TRY(open_corpus(in, &c->text, row, &in->corpus));
        if (in->rollouts)
            in->text = rows;
        else
            in->train = rows;
    }
    in->eval_corpus = calloc((size_t)n + 1, sizeof *in->eval_corpus);
    in->eval_rows = calloc((size_t)n + 1, sizeof *in->eval_rows);
    if (!in->eval_corpus || !in->eval_rows)
        return rl_error(RL_ENOFIT, "no memory for %d evaluation texts", n);
    in->n_eval_text = n;
    for (int i = 0; i < n; i++) {
        struct strings one = { &c->eval_text.items[i], 1 };
        TRY(open_corpus(in, &one, row, &in->eval_corpus[i]));
        TRY(eval_size(c, c->eval_text.items[i], corpus_rows(in->eval_corpus[i]), row,
                      &in->eval_rows[i]));
    }
    if ((n || in->corpus) && row > in->row_tokens)
        in->row_tokens = row;
done:
    return rc;
}

/* ---- the whole */

int inputs_open(struct inputs *in, const struct config *c)
{
    int rc = RL_OK;

    memset(in, 0, sizeof *in);
    in->algorithm = algorithm_find(c->algorithm);
    in->rollouts = algorithm_source(in->algorithm, c) == SOURCE_PROMPTS;
    in->wants = policy_wants(c);
    TRY(open_sources(in, c));
    if (in->rollouts)
        TRY(open_rollouts(in, c));
    TRY(open_text(in, c));
    TRY(ring_check(in->train.P, in->train.k, in->train.row_tokens));
    TRY(reward_sources_open(&in->rewards, c, &in->policy, in->train.row_tokens));
done:
    return rc;
}

void inputs_close(struct inputs *in)
{
    for (int i = 0; i < in->n_eval_text; i++)
        corpus_close(in->eval_corpus[i]);
    free(in->eval_corpus);
    free(in->eval_rows);
    corpus_close(in->corpus);
    prompts_close(in->eval_prompts);
    prompts_close(in->prompts);
    reward_sources_close(&in->rewards);
    source_close(&in->critic);
    source_close(&in->reference);
    source_close(&in->policy);
    memset(in, 0, sizeof *in);
}

static void tell_skipped(const struct prompts *p, const char *path, int longest)
{
    long long n = p ? prompts_skipped(p) : 0;

    if (n > 0)
        log_info("%lld prompt%s of %s longer than %d tokens %s left out", n, n > 1 ? "s" : "", path,
                 longest, n > 1 ? "are" : "is");
}

void inputs_tell(const struct inputs *in, const struct config *c)
{
    tell_skipped(in->prompts, c->prompts, in->policy.shape.context - 1);
    tell_skipped(in->eval_prompts, c->eval_prompts, in->policy.shape.context - 1);
}

/* ---- what a rank takes of it */

int rank_rows(const struct ring_size *size, const struct config *c, const struct placement *p,
              enum role role, int rank)
{
    int first = 0, count = 0, index = placement_index(p, role, rank);

    if (index >= 0)
        share_of(size->P, (int)c->reduction_leaves, placement_of(p, role)->count, index, &first,
                 &count);
    return count * size->k;
}

struct actor_settings rank_actor(const struct inputs *in, const struct config *c,
                                 const struct placement *p, int rank)
{
    int rows = rank_rows(&in->train, c, p, ROLE_ACTOR, rank);
    int eval = rank_rows(&in->eval, c, p, ROLE_ACTOR, rank);

    rows = eval > rows ? eval : rows;
    rows = rows > 0 ? rows : 1;         /* an actor without work still stands ready */
    return (struct actor_settings){
        .temperature = (float)c->temperature,
        .loss_temperature = (float)algorithm_temperature(in->algorithm, c),
        .top_k = (int)c->top_k, .top_p = (float)c->top_p, .min_p = (float)c->min_p,
        .max_new = (int)c->max_new, .eos = in->policy.eos, .n_eos = in->policy.n_eos,
        .seed = (uint64_t)c->seed, .max_prompt = in->longest_prompt,
        .rows_at_once = rows < ACTOR_ROWS ? rows : ACTOR_ROWS, .max_rows = rows,
    };
}

int rank_bytes(const struct inputs *in, const struct config *c, const struct placement *p,
               struct compute *compute, int rank, struct bytes *b)
{
    const struct model_shape *policy = &in->policy.shape, *reference = &in->reference.shape;
    int leaves = (int)c->reduction_leaves, learner = placement_index(p, ROLE_LEARNER, rank);
    unsigned roles = p->roles[rank];

    memset(b, 0, sizeof *b);
    if (roles & (ROLE_ACTOR | ROLE_LEARNER))
        b->weights = model_bytes(policy, compute);
    if (roles & ROLE_REFMODEL) {
        b->reference = model_bytes(reference, compute);
        b->refmodel = refmodel_bytes(reference, compute, (int)c->micro_rows, in->train.row_tokens);
    }
    if (roles & ROLE_REWARD)
        b->reward = reward_sources_bytes(&in->rewards, c, compute);
    if (roles & ROLE_ACTOR) {
        struct actor_settings s = rank_actor(in, c, p, rank);
        b->actor = actor_bytes(policy, compute, &s);
    }
    if (learner >= 0) {
        struct learner_size size = {
            .config = c, .policy = policy, .compute = compute,
            .critic = in->has_critic ? &in->critic.shape : NULL,
            .ranks = placement_of(p, ROLE_LEARNER)->count, .rank = learner,
            .P = in->train.P, .k = in->train.k, .max_row_tokens = in->row_tokens,
            .text_rows = in->text.P,
        };
        int64_t bytes = learner_bytes(&size);
        b->critic = in->has_critic ? model_bytes(&in->critic.shape, compute) : 0;
        if (bytes < 0)
            return (int)bytes;
        b->learner = (size_t)bytes;
    }
    b->batches = ring_bytes(p, rank, leaves, &in->train) +
                 resample_bytes(in->wants.rounds, &in->train, p, rank, leaves);
    if (in->text.P > 0)
        b->batches += ring_bytes(p, rank, leaves, &in->text);
    if (in->eval.P > 0)
        b->batches += ring_bytes(p, rank, leaves, &in->eval);
    for (int i = 0; i < in->n_eval_text; i++)
        b->batches += ring_bytes(p, rank, leaves, &in->eval_rows[i]);
    b->total = b->weights + b->reference + b->critic + b->actor + b->reward + b->refmodel +
               b->learner + b->batches;
    return RL_OK;
}
