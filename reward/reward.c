/* The reward role: decode each response once, ask every kind, one column each.
 *
 *   row n:  prompt ids | response ids  --decode-->  text  --kind r-->  reward[n * R + r]
 */
#include "reward/reward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

struct source {                  /* one group of `rewards` */
    const struct reward_kind *kind;
    const char *name;            /* the config's */
    void *state;
};

struct reward {
    struct tokenizer *tokenizer;
    struct source *sources;
    int count;
    bool needs_text;
    struct text text;            /* of one response; its room is kept */
};

/* ---- opening */

/* The row of the table, or one line that offers the nearest. */
static int kind_find(const struct reward_kind **found, const char *name, const char *where)
{
    const struct reward_kind *nearest = reward_kinds;

    for (const struct reward_kind *kind = reward_kinds; kind->name; kind++) {
        if (strcmp(kind->name, name) == 0) {
            *found = kind;
            return RL_OK;
        }
        if (text_edits(name, kind->name) < text_edits(name, nearest->name))
            nearest = kind;
    }
    return rl_error(RL_EINVAL, "%s: kind: there is no reward \"%s\"; the nearest is \"%s\"", where,
                    name, nearest->name);
}

static int source_add(struct reward *reward, const struct config_reward *c, const char *where)
{
    struct source *s = &reward->sources[reward->count];
    int rc = RL_OK;

    if (!c->kind || !c->kind[0])
        return rl_error(RL_EINVAL, "%s: kind: missing", where);
    TRY(kind_find(&s->kind, c->kind, where));
    s->name = c->name ? c->name : c->kind;
    for (int i = 0; i < reward->count; i++)
        if (strcmp(reward->sources[i].name, s->name) == 0)
            return rl_error(RL_EINVAL, "%s: name: two rewards are named \"%s\"; name one of them "
                            "differently", where, s->name);
    TRY(s->kind->open(&s->state, c, where));
    reward->count++;                        /* from here on reward_destroy closes it */
    if (!s->kind->needs_text || s->kind->needs_text(c)) {
        reward->needs_text = true;
        if (!reward->tokenizer)
            TRY(rl_error(RL_EINVAL, "%s: kind: \"%s\" reads text, and the model has no "
                         "tokenizer.json", where, c->kind));
    }
done:
    return rc;
}

/* "file:line: rewards[i]", or without the file where there is none. */
static void place_of(char *where, size_t room, const struct config *config, int i)
{
    const char *file = config->path ? config->path : "configuration";

    if (config->rewards[i].line > 0)
        snprintf(where, room, "%s:%d: rewards[%d]", file, config->rewards[i].line, i);
    else
        snprintf(where, room, "%s: rewards[%d]", file, i);
}

int reward_create(struct reward **out, const struct config *config, struct tokenizer *tokenizer)
{
    struct reward *reward = calloc(1, sizeof *reward);
    char where[4200];
    int rc = RL_OK;

    *out = NULL;
    if (!reward)
        return rl_error(RL_ENOFIT, "no memory for the rewards");
    reward->tokenizer = tokenizer;
    reward->sources = calloc((size_t)config->n_rewards + 1, sizeof *reward->sources);
    if (!reward->sources)
        TRY(rl_error(RL_ENOFIT, "no memory for %d rewards", config->n_rewards));
    for (int i = 0; i < config->n_rewards; i++) {
        place_of(where, sizeof where, config, i);
        TRY(source_add(reward, &config->rewards[i], where));
    }
    *out = reward;
    reward = NULL;
done:
    reward_destroy(reward);
    return rc;
}

void reward_destroy(struct reward *reward)
{
    if (!reward)
        return;
    for (int i = 0; i < reward->count; i++)
        reward->sources[i].kind->close(reward->sources[i].state);
    text_free(&reward->text);
    free(reward->sources);
    free(reward);
}

/* ---- scoring */

/* What the kinds see of row n.  The text is good until the next row. */
static int response_of(struct reward *reward, const struct batch *b, const struct prompts *prompts,
                       int n, struct response *r)
{
    int begin = b->start[n] + b->prompt_len[n], rc = RL_OK;

    *r = (struct response){
        .text = "",
        .ids = b->tokens + begin,
        .count = b->start[n + 1] - begin,
        .finish = b->finish[n],
    };
    if (reward->needs_text) {
        text_clear(&reward->text);
        TRY(tokenizer_decode(reward->tokenizer, r->ids, r->count, true, &reward->text));
        if (reward->text.size > 0)
            r->text = reward->text.data;
        r->bytes = reward->text.size;
    }
    if (prompts && b->prompt[n] >= 0 && b->prompt[n] < prompts_count(prompts)) {
        r->prompt = prompts_text(prompts, b->prompt[n]);
        r->fields = prompts_fields(prompts, b->prompt[n]);
    }
done:
    return rc;
}

static int score_row(struct reward *reward, struct batch *b, const struct prompts *prompts, int n)
{
    struct response r;
    int rc = RL_OK;

    TRY(response_of(reward, b, prompts, n, &r));
    for (int i = 0; i < reward->count; i++) {
        struct source *s = &reward->sources[i];
        double *score = &b->reward[(size_t)n * (size_t)b->R + (size_t)i];
        TRY(s->kind->score(s->state, &r, score));
        if (!isfinite(*score))
            TRY(rl_error(RL_ENAN, "reward \"%s\": the score of step %lld, row %d is not a finite "
                         "number", s->name, (long long)b->step + 1, b->group * b->k + n));
    }
done:
    return rc;
}

int reward_fill(struct reward *reward, struct batch *b, const struct prompts *prompts)
{
    int rc = RL_OK;

    if (b->status != RL_OK)
        return RL_OK;
    if (b->R != reward->count)
        TRY(rl_error(RL_EBUG, "reward: %d columns for %d rewards", b->R, reward->count));
    for (int n = 0; n < b->N; n++)
        TRY(score_row(reward, b, prompts, n));
    b->filled |= COL_REWARD;
done:
    if (rc != RL_OK)
        b->status = rc;
    return rc;
}
