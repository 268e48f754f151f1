/* The files of a configuration and the sizes of its batches; see sizes.h. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "launch/resample.h"
#include "launch/sizes.h"

static bool given(const char *word)
{
    return word && *word;
}

static int longer(int a, int b)
{
    return a > b ? a : b;
}

/* ---- models' small files, prompts, records, text */

static int same_vocabulary(const struct inputs *in, const struct source *s, const char *what)
{
    if (s->shape.V == in->policy.shape.V)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: vocabulary of %d tokens, but the model's is %d: the %s must "
                    "share the tokenizer", s->path, s->shape.V, in->policy.shape.V, what);
}

/* A head for values: the policy's own, or of a model beside it that starts where it is told to. */
static int open_critic(struct inputs *in, const struct config *c)
{
    struct policy_wants wants = in->wants;
    int rc = RL_OK;

    if (wants.policy && in->policy.shape.scores != wants.shared)
        TRY(source_set_heads(&in->policy, &(struct heads){ .lm = true, .scores = wants.shared }));
    if (!wants.critic_from)
        return RL_OK;
    TRY(source_open_start(&in->critic, c, wants.critic_from));
    TRY(same_vocabulary(in, &in->critic, "critic"));
    TRY(source_set_heads(&in->critic, &(struct heads){ .scores = 1 }));
    in->has_critic = true;
done:
    return rc;
}

/* A head that reads the prompt; it starts at zero, or as the files' own when they have one. */
static int open_adapter(struct inputs *in, const struct config *c)
{
    int outputs = algorithm_adapter(in->algorithm, c);

    if (outputs == 0 || in->policy.shape.scores == outputs)
        return RL_OK;
    return source_set_heads(&in->policy, &(struct heads){ .lm = true, .scores = outputs });
}

/* Does the algorithm train a model that has scores in place of words? */
static bool scores_only(const struct inputs *in, const struct config *c)
{
    struct verdict verdict;
    int scores;

    return algorithm_scores(in->algorithm, c, 1, 1, &verdict, &scores);
}

/* What cannot be evaluated without a vocabulary. */
static int check_held_out(const struct inputs *in, const struct config *c)
{
    const char *key = given(c->eval_prompts) ? "eval_prompts" : "eval_text";

    if (c->eval_every == 0 || !scores_only(in, c) ||
        (!given(c->eval_prompts) && c->eval_text.count == 0))
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: %s: %s trains scores, not words; evaluate it on eval_pairs",
                    config_where(c, key), key, c->algorithm);
}

static int open_sources(struct inputs *in, const struct config *c)
{
    int rc = RL_OK;

    TRY(source_open_start(&in->policy, c, c->model));
    if (!scores_only(in, c))
        TRY(source_check_text(&in->policy));
    TRY(open_adapter(in, c));
    TRY(open_critic(in, c));
    if (!((in->roles | in->eval_roles) & ROLE_REFMODEL))
        return RL_OK;
    TRY(source_open_start(&in->reference, c, c->refmodel));
    TRY(source_check_text(&in->reference));
    TRY(same_vocabulary(in, &in->reference, "reference model"));
done:
    return rc;
}

/* ---- the judge */

/* The template that is used when none is named. */
static const char judge_text[] = "{prompt}\nA: {a}\nB: {b}\nThe better one is ";

int inputs_template(struct judge **judge, const struct config *c, const struct source *policy)
{
    struct tokenizer *tokenizer = policy->tokenizer;
    int V = policy->shape.V;

    if (c->osp.template)
        return judge_open(judge, c->osp.template, tokenizer, V);
    return judge_parse(judge, judge_text, strlen(judge_text),
                       "the built-in judge template (osp.template names another)", tokenizer, V);
}

static int open_judge(struct inputs *in, const struct config *c)
{
    in->judge_rewards = false;
    for (int i = 0; i < c->n_rewards; i++)
        in->judge_rewards |= strcmp(c->rewards[i].kind, "judge") == 0;
    if (!in->judge_rewards && !algorithm_judges(in->algorithm))
        return RL_OK;
    return inputs_template(&in->judge, c, &in->policy);
}

/* Which models follow the policy. */
static void set_followers(struct inputs *in, const struct config *c)
{
    in->judge_kind = c->osp.judge;
    in->follows_judge = (struct follower_rule){
        "judge", ROLE_REWARD, in->judge_rewards ? c->osp.judge : "none", 0, c->osp.decay };
    in->follows_reference = (struct follower_rule){
        "reference", ROLE_REFMODEL, in->roles & ROLE_REFMODEL ? c->ref.update : "none",
        c->ref.every, c->ref.decay };
}

bool inputs_judge_current(const struct inputs *in)
{
    return in->judge_rewards && strcmp(in->judge_kind, "current") == 0;
}

bool inputs_judge_frozen(const struct inputs *in)
{
    return in->judge_rewards && strcmp(in->judge_kind, "frozen") == 0;
}

/* key: "prompts" or "eval_prompts", which names `path`. */
static int open_prompts(struct inputs *in, const struct config *c, const char *key,
                        const char *path, struct prompts **p)
{
    const struct source *s = &in->policy;
    struct chat *chat = NULL;
    int rc = RL_OK;

    TRY(config_readable(c, key));
    TRY(source_chat(&chat, s, c));
    TRY(prompts_open(p, path, s->tokenizer, chat, s->shape.V,
                     s->shape.context - 1,       /* one new token */
                     strcmp(c->long_prompts, "skip") == 0));
    in->longest_prompt = longer(in->longest_prompt, prompts_longest(*p));
done:
    chat_close(chat);
    return rc;
}

static int open_records(const struct inputs *in, const struct config *c,
                        const struct strings *paths, enum view view, struct records **records)
{
    const struct source *s = &in->policy;

    return records_open(records, paths, &(struct records_settings){
        .view = view, .tokenizer = s->tokenizer, .vocabulary = s->shape.V,
        .max_tokens = s->shape.context, .eos = s->eos, .n_eos = s->n_eos,
        .append_eos = c->append_eos, .judge = in->judge, .join = c->join, .target = c->target_text,
        .skip_long = strcmp(c->long_prompts, "skip") == 0,
        .drop_bad = strcmp(c->bad_records, "drop") == 0,
        .in_turn = strcmp(c->mix, "in_turn") == 0,
    });
}

static int open_corpus(struct inputs *in, const struct strings *paths, int row_tokens,
                       struct corpus **corpus)
{
    const struct source *s = &in->policy;

    return corpus_open(corpus, paths, s->tokenizer, s->shape.V, s->bos, s->n_eos ? s->eos[0] : -1,
                       row_tokens);
}

/* ---- the sizes of the batches */

/* A held-out file: all of it, or the first eval_rows groups. */
static int eval_size(const struct config *c, const char *path, int64_t there,
                     struct ring_size *size)
{
    int64_t groups = c->eval_rows > 0 && c->eval_rows < there ? c->eval_rows : there;
    int most = INT32_MAX / size->row_tokens / size->k;

    if (groups > most)
        return rl_error(RL_EINVAL, "%s: %lld groups of %d rows of up to %d tokens are too many to "
                        "evaluate; set eval_rows to %d or less", path, (long long)groups, size->k,
                        size->row_tokens, most);
    size->P = (int)groups;
    size->depth = 1;
    size->held_out = true;
    return RL_OK;
}

/* Tokens of a prompt and its completion. */
static int completed(const struct inputs *in, const struct config *c)
{
    int context = in->policy.shape.context;

    return c->max_new < context - in->longest_prompt ? in->longest_prompt + (int)c->max_new
                                                     : context;
}

/* Does a judge prompt fit that shows the longest prompt and two answers of max_new tokens?  (An
 * answer of osp.baseline is met later.) */
static int check_judge_room(const struct inputs *in, const struct config *c)
{
    const struct source *s = &in->policy;
    int answer = completed(in, c) - in->longest_prompt, length;

    if (!in->judge_rewards || c->samples_per_prompt < 2)
        return RL_OK;
    length = judge_length(in->judge, in->longest_prompt - (s->bos >= 0), answer, answer);
    if (length <= s->shape.context)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: max_new: a judge prompt of two answers of %d tokens may have "
                    "%d, and the model has %d positions; lower max_new, shorten osp.template or "
                    "leave long prompts out", config_where(c, "max_new"), answer, length,
                    s->shape.context);
}

/* Prompts, and batches of rollouts: to train on, to evaluate, or both. */
static int open_rollouts(struct inputs *in, const struct config *c)
{
    bool evaluated = in->eval_roles != 0, trained = in->source == SOURCE_PROMPTS;
    int rc = RL_OK;

    if (trained || evaluated)
        TRY(source_stop(&in->stop, &in->policy, c));
    if (trained)
        TRY(open_prompts(in, c, "prompts", c->prompts, &in->prompts));
    if (evaluated)
        TRY(open_prompts(in, c, "eval_prompts", c->eval_prompts, &in->eval_prompts));
    if (trained)
        in->train = (struct ring_size){
            .P = (int)c->prompts_per_step, .k = (int)c->samples_per_prompt,
            .depth = (int)c->max_lag + 1, .row_tokens = completed(in, c), .R = c->n_rewards,
            .roles = in->roles, .prompts = in->prompts,
            .scores = COL_REWARD | (c->orchestrator.model ? COL_MIX : 0),
        };
    if (evaluated) {
        in->eval = (struct ring_size){ .k = 1, .row_tokens = completed(in, c), .R = c->n_rewards,
                                       .roles = in->eval_roles, .prompts = in->eval_prompts,
                                       .scores = COL_REWARD };
        TRY(eval_size(c, c->eval_prompts, prompts_count(in->eval_prompts), &in->eval));
    }
    if (trained)
        TRY(check_judge_room(in, c));
done:
    return rc;
}

static struct ring_size record_size(const struct inputs *in, struct records *records)
{
    return (struct ring_size){
        .k = records_rows(records), .depth = 1, .row_tokens = records_longest(records),
        .R = records_columns(records), .roles = ROLE_LEARNER | (in->roles & ROLE_REFMODEL),
        .records = records,
    };
}

/* Records to train on, and held-out pairs. */
static int open_pairs(struct inputs *in, const struct config *c)
{
    bool gate = in->judge_rewards && c->osp.gate;
    int n = c->eval_every > 0 || gate ? c->eval_pairs.count : 0, rc = RL_OK;

    if (n > 0)
        TRY(config_readable(c, "eval_pairs"));
    if (in->source == SOURCE_PAIRS) {
        TRY(config_readable(c, "pairs"));
        TRY(open_records(in, c, &c->pairs, algorithm_view(in->algorithm, c),
                         &in->records));
        in->train = record_size(in, in->records);
        in->train.P = (int)c->prompts_per_step;
    }
    in->eval_records = calloc((size_t)n + 1, sizeof *in->eval_records);
    in->eval_pairs = calloc((size_t)n + 1, sizeof *in->eval_pairs);
    if (!in->eval_records || !in->eval_pairs)
        return rl_error(RL_ENOFIT, "no memory for %d files of held-out pairs", n);
    in->n_eval_pairs = n;
    for (int i = 0; i < n; i++) {
        struct strings one = { &c->eval_pairs.items[i], 1 };
        TRY(open_records(in, c, &one, algorithm_held_out_view(in->algorithm, c),
                         &in->eval_records[i]));
        in->eval_pairs[i] = record_size(in, in->eval_records[i]);
        TRY(eval_size(c, one.items[0], records_count(in->eval_records[i]), &in->eval_pairs[i]));
    }
done:
    return rc;
}

/* Users that a reward model must know: of all records, and those it knows already. */
static int count_users(const struct inputs *in)
{
    int users = in->policy.stored.verdict.users;

    if (in->records)
        users = longer(users, records_annotators(in->records));
    for (int i = 0; i < in->n_eval_pairs; i++)
        users = longer(users, records_annotators(in->eval_records[i]));
    return users;
}

/* A head of scores in place of the vocabulary's, for what the records tell apart. */
static int set_scores(struct inputs *in, const struct config *c)
{
    struct source *s = &in->policy;
    struct heads heads = { .random = true, .seed = (uint64_t)c->seed };
    bool trained;
    int rc = RL_OK;

    if (!scores_only(in, c))
        return RL_OK;
    algorithm_scores(in->algorithm, c, inputs_objectives(in), count_users(in), &heads.verdict,
                     &heads.scores);
    trained = verdict_same(&heads.verdict, &s->stored.verdict) &&
              heads.scores == s->stored.scores;
    if (strcmp(c->algorithm, "pal") == 0 && strcmp(c->pal.fit, "users") == 0 && !trained)
        return rl_error(RL_EINVAL, "%s: pal.fit: \"users\" needs a model that pal has trained, "
                        "with the same pal.dim, pal.prototypes and pal.model; %s is none",
                        config_where(c, "pal.fit"), s->path);
    TRY(source_set_heads(s, &heads));
done:
    return rc;
}

static struct ring_size text_size(struct corpus *corpus, int row_tokens)
{
    return (struct ring_size){ .k = 1, .depth = 1, .row_tokens = row_tokens,
                               .roles = ROLE_LEARNER, .corpus = corpus };
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
    if (in->source == SOURCE_TEXT || in->wants.text_rows > 0) {
        struct ring_size *size = in->source == SOURCE_TEXT ? &in->train : &in->text;
        TRY(config_readable(c, "text"));
        TRY(open_corpus(in, &c->text, row, &in->corpus));
        *size = text_size(in->corpus, row);
        size->P = (int)c->rows_per_step;
    }
    if (n > 0)
        TRY(config_readable(c, "eval_text"));
    in->eval_corpus = calloc((size_t)n + 1, sizeof *in->eval_corpus);
    in->eval_rows = calloc((size_t)n + 1, sizeof *in->eval_rows);
    if (!in->eval_corpus || !in->eval_rows)
        return rl_error(RL_ENOFIT, "no memory for %d evaluation texts", n);
    in->n_eval_text = n;
    for (int i = 0; i < n; i++) {
        struct strings one = { &c->eval_text.items[i], 1 };
        TRY(open_corpus(in, &one, row, &in->eval_corpus[i]));
        in->eval_rows[i] = text_size(in->eval_corpus[i], row);
        TRY(eval_size(c, one.items[0], corpus_rows(in->eval_corpus[i]), &in->eval_rows[i]));
    }
done:
    return rc;
}

/* The longest rows that learners and reference models meet, and the most. */
static void measure_ring(struct inputs *in, const struct ring_size *size)
{
    int64_t rows = (int64_t)size->P * size->k;

    in->most_rows = rows > in->most_rows ? rows : in->most_rows;
    in->row_tokens = longer(in->row_tokens, size->row_tokens);
    if (size->roles & ROLE_REFMODEL)
        in->reference_tokens = longer(in->reference_tokens, size->row_tokens);
}

/* ---- the whole */

int inputs_open(struct inputs *in, const struct config *c)
{
    int rc = RL_OK;

    memset(in, 0, sizeof *in);
    in->algorithm = algorithm_find(c->algorithm);
    in->source = algorithm_source(in->algorithm, c);
    in->wants = policy_wants(c);
    in->roles = roles_to_train(c);
    in->eval_roles = roles_to_evaluate(c);
    TRY(check_held_out(in, c));
    TRY(open_sources(in, c));
    TRY(open_judge(in, c));
    set_followers(in, c);
    TRY(open_rollouts(in, c));
    TRY(open_pairs(in, c));
    TRY(set_scores(in, c));
    TRY(open_text(in, c));
    TRY(ring_check(in->train.P, in->train.k, in->train.row_tokens));
    in->train.stride = resample_stride(in->wants.rounds, in->train.P);
    if (in->wants.rounds > 0 || inputs_judge_current(in))
        in->train.at_once = ROLE_REWARD;
    in->text.stride = in->text.P;
    measure_ring(in, &in->train);
    measure_ring(in, &in->text);
    measure_ring(in, &in->eval);
    for (int i = 0; i < in->n_eval_pairs; i++)
        measure_ring(in, &in->eval_pairs[i]);
    for (int i = 0; i < in->n_eval_text; i++)
        measure_ring(in, &in->eval_rows[i]);
    in->micro_rows = (int)(c->micro_rows < in->most_rows ? c->micro_rows : in->most_rows);
    if ((in->roles | in->eval_roles) & ROLE_REWARD)
        TRY(reward_sources_open(&in->rewards, c, &in->policy, completed(in, c)));
    if (c->orchestrator.model)
        TRY(orchestrator_open(&in->orchestrator, c, &in->policy, in->longest_prompt));
done:
    return rc;
}

void inputs_close(struct inputs *in)
{
    for (int i = 0; i < in->n_eval_pairs; i++)
        records_close(in->eval_records[i]);
    for (int i = 0; i < in->n_eval_text; i++)
        corpus_close(in->eval_corpus[i]);
    free(in->eval_records);
    free(in->eval_pairs);
    free(in->eval_corpus);
    free(in->eval_rows);
    records_close(in->records);
    corpus_close(in->corpus);
    prompts_close(in->eval_prompts);
    prompts_close(in->prompts);
    stop_strings_close(in->stop);
    judge_close(in->judge);
    reward_sources_close(&in->rewards);
    source_close(&in->orchestrator);
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

static void tell_left_out(const struct records *r, const struct strings *paths, int longest)
{
    long long skipped = r ? records_skipped(r) : 0, dropped = r ? records_dropped(r) : 0;

    if (skipped + dropped > 0)
        log_info("%lld records of %s%s are left out: %lld longer than %d tokens, %lld no good",
                 skipped + dropped, paths->items[0], paths->count > 1 ? " and the other files" : "",
                 skipped, longest, dropped);
}

void inputs_tell(const struct inputs *in, const struct config *c)
{
    int context = in->policy.shape.context;

    tell_skipped(in->prompts, c->prompts, context - 1);
    tell_skipped(in->eval_prompts, c->eval_prompts, context - 1);
    tell_left_out(in->records, &c->pairs, context);
    for (int i = 0; i < in->n_eval_pairs; i++)
        tell_left_out(in->eval_records[i], &(struct strings){ &c->eval_pairs.items[i], 1 },
                      context);
}

int64_t inputs_epoch(const struct inputs *in)
{
    return in->prompts ? prompts_count(in->prompts)
         : in->records ? records_count(in->records) : corpus_rows(in->corpus);
}

int inputs_objectives(const struct inputs *in)
{
    const char *const *names;

    return in->records ? records_objectives(in->records, &names) : 0;
}
