/* See rps.h. */
#include "launch/rps.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/status.h"
#include "compute/math.h"

/* ---- directions */

static double length_of(const double *v, int K)
{
    return sqrt(rps_score(v, v, K));
}

/* To unit length; false: it has none. */
static bool scale(double *v, int K)
{
    double length = length_of(v, K);

    for (int i = 0; i < K; i++)
        v[i] /= length;
    return length > 0 && isfinite(length);
}

int rps_target(double *v, const char *numbers, const struct config *c)
{
    const char *at = numbers;
    char *end;

    if (c->n_rewards == 0)
        return config_missing(c, "rewards");
    if (c->n_rewards > RPS_MOST)
        return rl_error(RL_EINVAL, "%s: rewards: %d are too many to choose by, at most %d",
                        config_where(c, "rewards"), c->n_rewards, RPS_MOST);
    for (int i = 0; i < c->n_rewards; i++) {
        v[i] = c->rewards[i].weight;
        if (!numbers)
            continue;
        v[i] = strtod(at, &end);
        if (end == at || *end != (i + 1 < c->n_rewards ? ',' : '\0'))
            return rl_error(RL_EINVAL, "--target \"%s\": expected %d number%s, one for each reward "
                            "of %s, with commas between", numbers, c->n_rewards,
                            c->n_rewards > 1 ? "s" : "", c->path ? c->path : "the configuration");
        at = end + 1;
    }
    if (!scale(v, c->n_rewards))
        return rl_error(RL_EINVAL, "%s: no direction: %s all 0, or not finite",
                        numbers ? "--target" : config_where(c, "rewards"),
                        numbers ? "the numbers are" : "the weights of the rewards are");
    return RL_OK;
}

void rps_direction(double *u, const double *v, int K, double angle, struct counter counter)
{
    double side[RPS_MOST], along, share, sine, cosine;
    uint32_t words[4];

    counter.position = 0;
    random_words(&counter, words);
    share = (double)(words[0] >> 8) * 0x1p-24;
    for (int i = 0; i < K; i++) {
        counter.position = (uint32_t)i + 1;
        random_words(&counter, words);
        side[i] = random_normal(words[0], words[1]);
    }
    along = rps_score(side, v, K);
    for (int i = 0; i < K; i++)
        side[i] -= along * v[i];
    if (K == 1 || !scale(side, K))
        memset(side, 0, sizeof side);           /* one reward has no other direction */
    rw_sincos(share * angle, &sine, &cosine);
    for (int i = 0; i < K; i++)
        u[i] = cosine * v[i] + sine * side[i];
    scale(u, K);
}

/* The reward that "{name}..." begins with, -1: none. */
static int named(const char *text, const struct config *c)
{
    for (int i = 0; i < c->n_rewards; i++) {
        size_t n = strlen(c->rewards[i].name);
        if (strncmp(text + 1, c->rewards[i].name, n) == 0 && text[n + 1] == '}')
            return i;
    }
    return -1;
}

int rps_prefix(struct text *out, const char *text, const struct config *c, const double *u)
{
    int said = 0;

    for (; *text; text++) {
        int i = *text == '{' ? named(text, c) : -1;
        if (i >= 0) {
            text_addf(out, "%.2f", u[i]);
            text += strlen(c->rewards[i].name) + 1;
            said++;
        } else {
            text_add(out, text, 1);
        }
    }
    return said;
}

double rps_score(const double *v, const double *r, int K)
{
    double sum = 0;

    for (int i = 0; i < K; i++)
        sum += v[i] * r[i];
    return sum;
}

int rps_best(const double *scores, int n)
{
    int best = -1;

    for (int i = 0; i < n; i++)
        if (!isnan(scores[i]) && (best < 0 || scores[i] > scores[best]))
            best = i;
    return best;
}

/* ---- open */

int rps_open(struct rps *r, const struct rps_settings *set)
{
    const struct config *c;
    int rc = RL_OK;

    *r = (struct rps){ .set = *set };
    TRY(config_open(&r->config, set->path, set->keys, set->n_keys));
    c = r->config;
    TRY(rps_target(r->v, set->target, c));
    r->K = c->n_rewards;
    if (!set->prefix)
        r->set.angle = 0;               /* nobody hears of other directions */
    else if (rps_prefix(&r->text, set->prefix, c, r->v) == 0)
        TRY(rl_error(RL_EINVAL, "--prefix \"%s\": it says nothing of a direction: write {%s} where "
                     "the number of reward \"%s\" belongs", set->prefix, c->rewards[0].name,
                     c->rewards[0].name));
done:
    return rc;
}

void rps_close(struct rps *r)
{
    rewards_close(&r->rewards);
    memory_close(&r->memory);
    config_close(r->config);
    ids_free(&r->ids);
    text_free(&r->text);
    free(r->u);
    free(r->scores);
    free(r->best);
    memset(r, 0, sizeof *r);
}

/* Direction number `sample` of prompt i. */
static void draw(const struct rps *r, int64_t i, int sample, double *u)
{
    rps_direction(u, r->v, r->K, r->set.angle, (struct counter){
        .seed = r->set.seed, .purpose = PURPOSE_DIRECTION, .prompt = (uint32_t)i,
        .sample = (uint32_t)sample });
}

/* r->ids become those of prompt i behind the text of a direction. */
static int say(struct rps *r, const struct prompts *prompts, int64_t i, const double *u)
{
    const struct json *prompt = json_get(prompts_fields(prompts, i), "prompt");

    text_clear(&r->text);
    r->ids.count = 0;
    rps_prefix(&r->text, r->set.prefix, r->config, u);
    text_add(&r->text, json_string(prompt, ""), json_string_size(prompt));
    return tokenizer_encode(r->tokenizer, r->text.data, r->text.size, true, &r->ids);
}

int rps_longest(struct rps *r, const struct prompts *prompts, const char *name,
                const struct source *source, int *longest)
{
    int64_t count = prompts_count(prompts);
    int most = source->shape.context - 1, rc = RL_OK;
    double u[RPS_MOST];

    r->name = name;
    r->tokenizer = source->tokenizer;
    *longest = r->longest = prompts_longest(prompts);
    if (count > INT_MAX / r->set.k)
        return rl_error(RL_EINVAL, "%s: too many prompts for %d directions", name, r->set.k);
    for (int64_t i = 0; i < count && r->set.prefix; i++) {
        long long line = (long long)prompts_line(prompts, i);
        const struct json *fields = prompts_fields(prompts, i);
        bool ids = !json_is_null(json_get(fields, "prompt_ids"));
        if (ids || json_is_null(json_get(fields, "prompt")))
            return rl_error(RL_EINVAL, "%s:%lld: the line has %s; --prefix goes before a text "
                            "(prompt)", name, line, ids ? "prompt_ids" : "messages");
        for (int sample = 0; sample < r->set.k; sample++) {
            draw(r, i, sample, u);
            TRY(say(r, prompts, i, u));
            if (r->ids.count > most)
                TRY(rl_error(RL_EINVAL, "%s:%lld: the prompt behind --prefix has %d tokens and at "
                             "most %d fit; shorten it", name, line, r->ids.count, most));
            *longest = r->ids.count > *longest ? r->ids.count : *longest;
        }
    }
done:
    return rc;
}

int rps_start(struct rps *r, const struct source *source, struct model *model, int groups,
              int longest, int max_new)
{
    struct model *judge = strcmp(r->config->osp.judge, "current") == 0 ? model : NULL;
    int rows = groups * r->set.k, tokens = rows * (longest + max_new), rc = RL_OK;

    TRY(rewards_open(&r->rewards, r->config, source, judge, model_compute(model),
                     r->longest + max_new));
    r->u = malloc((size_t)rows * (size_t)r->K * sizeof *r->u);
    r->scores = malloc((size_t)rows * sizeof *r->scores);
    r->best = malloc((size_t)groups * sizeof *r->best);
    if (!r->u || !r->scores || !r->best)
        return rl_error(RL_ENOFIT, "no memory for the directions of %d responses", rows);
    memory_count(&r->memory);
    batch_layout(&r->asked, &r->memory, rows, tokens, 0);
    TRY(memory_open_host(&r->memory));
    batch_layout(&r->asked, &r->memory, rows, tokens, 0);
done:
    return rc;
}

/* ---- a batch */

/* One more row of the batch that is asked: prompt tokens. */
static void add_row(struct batch *asked, const int *ids, int count, int64_t prompt)
{
    memcpy(asked->tokens + asked->T, ids, (size_t)count * sizeof *ids);
    asked->prompt_len[asked->N] = count;
    asked->prompt[asked->N] = prompt;
    asked->T += count;
    asked->start[++asked->N] = asked->T;
}

/* The prompts of b, each row behind the text of its direction.  Rows are groups of their own then:
 * group number and sample of the counter become prompt times k plus sample, and 0. */
static int ask(struct rps *r, const struct prompts *prompts, const struct batch *b)
{
    struct batch *asked = &r->asked;
    int rows = r->set.prefix ? b->k : 1, rc = RL_OK;

    batch_clear(asked);
    asked->step = b->step;
    asked->P = b->P * rows, asked->k = b->k / rows;
    asked->group = b->group * rows, asked->groups = b->groups * rows;
    for (int n = 0; n < b->N; n++) {
        double *u = r->u + (size_t)n * (size_t)r->K;
        draw(r, b->prompt[n], n % b->k, u);
        if (r->set.prefix) {
            TRY(say(r, prompts, b->prompt[n], u));
            add_row(asked, r->ids.data, r->ids.count, b->prompt[n]);
        } else {
            add_row(asked, b->tokens + b->start[n], b->prompt_len[n], b->prompt[n]);
        }
    }
    asked->filled = COL_TOKENS;
done:
    return rc;
}

/* The responses go behind the prompts as they are in b: from the last, since rows grow. */
static void take_answers(struct batch *b, const struct batch *asked)
{
    int end = b->T + asked->T;

    for (int n = 0; n < b->N; n++)
        end -= asked->prompt_len[n];
    b->T = end;
    for (int n = b->N; n-- > 0;) {
        int from = asked->start[n] + asked->prompt_len[n], p = b->prompt_len[n];
        int answer = asked->start[n + 1] - from, at = end - answer - p;
        memmove(b->tokens + at, b->tokens + b->start[n], (size_t)p * sizeof(int));
        memcpy(b->tokens + at + p, asked->tokens + from, (size_t)answer * sizeof(int));
        memset(b->actor_logp + at, 0, (size_t)p * sizeof(float));
        memcpy(b->actor_logp + at + p, asked->actor_logp + from, (size_t)answer * sizeof(float));
        b->finish[n] = asked->finish[n];
        b->start[n + 1] = end;
        end = at;
    }
    b->filled |= COL_TOKENS | COL_ACTOR_LOGP;
}

static int choose(struct rps *r, const struct prompts *prompts, const struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        r->scores[n] = rps_score(r->v, b->reward + (size_t)n * (size_t)r->K, r->K);
    for (int g = 0; g < b->groups; g++) {
        int best = rps_best(r->scores + g * b->k, b->k);
        if (best < 0)
            return rl_error(RL_ENAN, "%s:%lld: none of the %d responses has all its scores",
                            r->name, (long long)prompts_line(prompts, b->prompt[g * b->k]), b->k);
        r->best[g] = g * b->k + best;
    }
    return RL_OK;
}

int rps_fill(struct rps *r, struct actor *actor, const struct prompts *prompts, struct batch *b)
{
    int rc = RL_OK;

    TRY(ask(r, prompts, b));
    TRY(actor_fill(actor, &r->asked, PURPOSE_SAMPLE, 0));
    take_answers(b, &r->asked);
    TRY(reward_fill(r->rewards.reward, b, prompts, PURPOSE_EVAL));
    TRY(choose(r, prompts, b));
done:
    return rc;
}

/* ,"key":{name: number of each reward} */
static void add_numbers(const struct rps *r, const char *key, const double *x, struct text *line)
{
    text_addf(line, ",\"%s\":{", key);
    for (int i = 0; i < r->K; i++) {
        const char *name = r->config->rewards[i].name;
        text_adds(line, i ? "," : "");
        json_add_string(line, name, strlen(name));
        text_adds(line, ":");
        json_add_number(line, x[i]);
    }
    text_adds(line, "}");
}

void rps_add_json(const struct rps *r, const struct batch *b, int n, struct text *line)
{
    add_numbers(r, "rewards", b->reward + (size_t)n * (size_t)r->K, line);
    text_adds(line, ",\"score\":");
    json_add_number(line, r->scores[n]);
    add_numbers(r, "direction", r->u + (size_t)n * (size_t)r->K, line);
}
