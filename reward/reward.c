/* The reward role: decode each response once, ask every kind, one column each.
 *
 *   row n:  prompt ids | response ids  --decode-->  text  --kind r-->  reward[n * R + r]
 *
 * A kind that answers a batch at once gets all of its responses that have no score on record.
 */
#include "reward/reward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "comm/comm.h"
#include "reward/kinds/kinds.h"
#include "reward/mix.h"
#include "reward/record.h"
#include "reward/scorer.h"
#include "reward/verdicts.h"

#define COMPLAINTS 10           /* lines about missing scores of a source, at most */

struct source {                  /* one group of `rewards` */
    const struct reward_kind *kind;
    const struct config_reward *config;
    void *state;
    struct model *model;         /* NULL: it needs none */
    struct scorer *scorer;       /* of the model; the first source that names it destroys it */
    bool owns_scorer;
    int complaints;
};

struct reward {
    const struct config *config;
    struct tokenizer *tokenizer;
    struct source *sources;
    int count;
    bool needs_text;
    struct record *record;       /* NULL: nothing to replay */
    struct verdicts *verdicts;   /* NULL: no kind judges */
    struct mix *mix;             /* NULL: no orchestrator */
    bool takes_notes;
    struct comm *world;          /* NULL: nobody's */
    struct text notes;           /* of missing scores, a line each */

    /* of the batch at hand; their room is kept */
    struct text text, trouble;
    struct response *rows, *asked;      /* (room) all rows; those that a kind is asked for */
    int *row_of;                 /* (room) of an asked one */
    double *scores;              /* (room) of the asked ones */
    int room;
};

/* ---- opening */

static const char *name_of(const struct config_reward *c)
{
    return c->name ? c->name : c->kind;
}

static int rows_at_once(const struct reward_parts *parts)
{
    int rows = (int)parts->config->micro_rows;

    return parts->most_rows > 0 && parts->most_rows < rows ? parts->most_rows : rows;
}

/* One scorer a model: an earlier source's, or a new one with room for rows as they are and behind
 * the longest context. */
static int scorer_find(struct reward *reward, struct source *s, const struct reward_parts *parts)
{
    int context = model_shape(s->model)->context, room = parts->row_tokens, rc = RL_OK;

    for (int i = 0; i < reward->count && !s->scorer; i++)
        if (reward->sources[i].model == s->model)
            s->scorer = reward->sources[i].scorer;
    if (s->scorer)
        return RL_OK;
    for (int i = 0; i < parts->config->n_rewards; i++)
        if (parts->models[i] == s->model && parts->config->rewards[i].contexts.count > 0)
            room = context;
    TRY(scorer_create(&s->scorer, s->model, rows_at_once(parts), room < context ? room : context));
    s->owns_scorer = true;
done:
    return rc;
}

static int source_open(struct reward *reward, struct source *s, const struct reward_parts *parts,
                       const char *where)
{
    struct reward_model_parts model = { .tokenizer = parts->tokenizer,
                                        .row_tokens = parts->row_tokens };
    int rc = RL_OK;

    if (s->kind->open_judge)
        return s->kind->open_judge(&s->state, s->config, where, reward->verdicts);
    if (!s->kind->open_model)
        return s->kind->open(&s->state, s->config, where);
    s->model = parts->models ? parts->models[reward->count] : NULL;
    if (!s->model)
        return rl_error(RL_EBUG, "%s: no model was opened for it", where);
    TRY(scorer_find(reward, s, parts));
    model.scorer = s->scorer;
    TRY(s->kind->open_model(&s->state, s->config, where, &model));
done:
    if (rc != RL_OK && s->owns_scorer)
        scorer_destroy(s->scorer);
    return rc;
}

/* Is the key one of the words? */
static bool is_among(const char *key, const char *words)
{
    size_t n = strlen(key);

    for (const char *p = words; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (strncmp(p, key, n) == 0 && (p[n] == ' ' || p[n] == 0))
            return true;
    return false;
}

/* A key of another kind would change nothing. */
static int check_keys(const struct reward_kind *kind, const struct config_reward *c,
                      const char *where)
{
    static const char all[] = "kind name weight clip normalise on_failure";
    const char *key;
    int at = 0;

    while ((key = config_reward_given(c, &at))) {
        if (is_among(key, all) || is_among(key, kind->keys))
            continue;
        if (strcmp(key, "mean") != 0 && strcmp(key, "std") != 0)
            return rl_error(RL_EINVAL, "%s: %s: kind \"%s\" does not read it; remove it", where,
                            key, kind->name);
        if (!c->normalise || strcmp(c->normalise, "fixed") != 0)
            return rl_error(RL_EINVAL, "%s: %s: it is not read (only with normalise = \"fixed\"); "
                            "remove it", where, key);
    }
    return RL_OK;
}

static int source_add(struct reward *reward, const struct config_reward *c,
                      const struct reward_parts *parts, const char *where)
{
    struct source *s = &reward->sources[reward->count];
    int rc = RL_OK;

    if (!c->kind || !c->kind[0])
        return rl_error(RL_EINVAL, "%s: kind: missing", where);
    TRY(kind_find(&s->kind, c->kind, where));
    s->config = c;
    TRY(check_keys(s->kind, c, where));
    for (int i = 0; i < reward->count; i++)
        if (strcmp(name_of(reward->sources[i].config), name_of(c)) == 0)
            return rl_error(RL_EINVAL, "%s: name: two rewards are named \"%s\"; name one of them "
                            "differently", where, name_of(c));
    TRY(source_open(reward, s, parts, where));
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

/* "file:line: rewards[i]" */
static void place_of(char *where, size_t room, const struct config *config, int i)
{
    const char *given = config->rewards[i].where;

    snprintf(where, room, "%s: rewards[%d]", given ? given : "default", i);
}

int reward_create(struct reward **out, const struct reward_parts *parts)
{
    const struct config *config = parts->config;
    struct reward *reward = calloc(1, sizeof *reward);
    char where[4200];
    int rc = RL_OK;

    *out = NULL;
    if (!reward)
        return rl_error(RL_ENOFIT, "no memory for the rewards");
    reward->config = config;
    reward->tokenizer = parts->tokenizer;
    reward->takes_notes = parts->notes;
    reward->world = parts->world;
    reward->sources = calloc((size_t)config->n_rewards + 1, sizeof *reward->sources);
    if (!reward->sources)
        TRY(rl_error(RL_ENOFIT, "no memory for %d rewards", config->n_rewards));
    if (parts->judge)
        TRY(verdicts_create(&reward->verdicts, &(struct verdicts_parts){
                .model = parts->judge_model, .judge = parts->judge, .tokenizer = parts->tokenizer,
                .field = config->osp.baseline, .rows = rows_at_once(parts),
                .row_tokens = parts->row_tokens }));
    if (parts->orchestrator)
        TRY(mix_create(&reward->mix, parts->orchestrator, rows_at_once(parts), parts->max_prompt));
    for (int i = 0; i < config->n_rewards; i++) {
        place_of(where, sizeof where, config, i);
        TRY(source_add(reward, &config->rewards[i], parts, where));
    }
    *out = reward;
    reward = NULL;
done:
    reward_destroy(reward);
    return rc;
}

static void free_rooms(struct reward *reward)
{
    free(reward->rows);
    free(reward->asked);
    free(reward->row_of);
    free(reward->scores);
    reward->rows = reward->asked = NULL;
    reward->row_of = NULL;
    reward->scores = NULL;
    reward->room = 0;
}

void reward_destroy(struct reward *reward)
{
    if (!reward)
        return;
    for (int i = 0; i < reward->count; i++)
        reward->sources[i].kind->close(reward->sources[i].state);
    for (int i = 0; i < reward->count; i++)
        if (reward->sources[i].owns_scorer)
            scorer_destroy(reward->sources[i].scorer);
    verdicts_destroy(reward->verdicts);
    mix_destroy(reward->mix);
    free_rooms(reward);
    text_free(&reward->text);
    text_free(&reward->trouble);
    text_free(&reward->notes);
    record_free(reward->record);
    free(reward->sources);
    free(reward);
}

int reward_replay(struct reward *reward, const char *lines, size_t bytes)
{
    record_free(reward->record);
    return record_read(&reward->record, reward->config, lines, bytes);
}

/* ---- what the kinds see */

static int take_rooms(struct reward *reward, int N)
{
    size_t n = (size_t)N + 1;

    if (N <= reward->room && reward->rows)
        return RL_OK;
    free_rooms(reward);
    reward->rows = malloc(n * sizeof *reward->rows);
    reward->asked = malloc(n * sizeof *reward->asked);
    reward->row_of = malloc(n * sizeof *reward->row_of);
    reward->scores = malloc(n * sizeof *reward->scores);
    if (!reward->rows || !reward->asked || !reward->row_of || !reward->scores)
        return rl_error(RL_ENOFIT, "no memory for the rewards of %d rows", N);
    reward->room = N;
    return RL_OK;
}

/* Decode all rows.  Texts lie one behind the other, each with a zero byte behind it; where they are
 * is known only when the last has come. */
static int decode_rows(struct reward *reward, const struct batch *b)
{
    struct response *rows = reward->rows;
    size_t at = 0;
    int rc = RL_OK;

    text_clear(&reward->text);
    for (int n = 0; n < b->N; n++) {
        size_t before = reward->text.size;
        TRY(tokenizer_decode(reward->tokenizer, rows[n].ids, rows[n].count, true, &reward->text));
        rows[n].bytes = reward->text.size - before;
        text_add(&reward->text, "", 1);
    }
    for (int n = 0; n < b->N; at += rows[n++].bytes + 1)
        rows[n].text = reward->text.data + at;
done:
    return rc;
}

static int see_rows(struct reward *reward, const struct batch *b, const struct prompts *prompts)
{
    int rc = RL_OK;

    TRY(take_rooms(reward, b->N));
    for (int n = 0; n < b->N; n++) {
        int begin = b->start[n] + b->prompt_len[n];
        struct response *r = &reward->rows[n];
        *r = (struct response){ .text = "", .ids = b->tokens + begin,
                                .count = b->start[n + 1] - begin, .finish = b->finish[n] };
        if (prompts && b->prompt[n] >= 0 && b->prompt[n] < prompts_count(prompts)) {
            r->prompt = prompts_text(prompts, b->prompt[n]);
            r->fields = prompts_fields(prompts, b->prompt[n]);
            r->file = prompts_path(prompts);
            r->line = prompts_line(prompts, b->prompt[n]);
        }
    }
    if (reward->needs_text)
        TRY(decode_rows(reward, b));
done:
    return rc;
}

/* ---- scoring */

static double *score_at(const struct batch *b, int n, int i)
{
    return &b->reward[(size_t)n * (size_t)b->R + (size_t)i];
}

/* The score on record of row n.  Batches of responses before the first step are numbered by
 * b->step. */
static bool on_record(const struct reward *reward, const struct batch *b, int n, int i,
                      enum purpose purpose)
{
    bool observed = purpose == PURPOSE_REFERENCE;
    int64_t number = ((observed ? b->step * b->P : 0) + b->group) * b->k + n;

    return reward->record && purpose != PURPOSE_EVAL && reward->sources[i].kind->outside &&
           record_find(reward->record, observed ? RECORD_OBSERVED : RECORD_ROWS,
                       observed ? 0 : b->step, number, record_hash(b, n), i, score_at(b, n, i));
}

/* Scores on record go into the column; the other rows are to be asked.  Returns how many. */
static int replay(struct reward *reward, struct batch *b, int i, enum purpose purpose)
{
    int asked = 0;

    for (int n = 0; n < b->N; n++) {
        if (on_record(reward, b, n, i, purpose))
            continue;
        reward->asked[asked] = reward->rows[n];
        reward->row_of[asked++] = n;
    }
    return asked;
}

static int ask(struct reward *reward, struct source *s, int asked)
{
    int rc = RL_OK;

    for (int a = 0; a < asked; a++)
        reward->scores[a] = NAN;
    if (s->kind->score_many)
        return asked ? s->kind->score_many(s->state, reward->asked, asked, reward->scores,
                                           &reward->trouble) : RL_OK;
    for (int a = 0; a < asked; a++)
        TRY(s->kind->score(s->state, &reward->asked[a], &reward->scores[a]));
done:
    return rc;
}

/* One line of it. */
static void note(struct reward *reward, int64_t step, int i, int missing, int rows,
                 const char *why)
{
    size_t begin = reward->notes.size;

    text_addf(&reward->notes, "%lld %d %d %d %s", (long long)step, i, missing, rows, why);
    for (char *p = reward->notes.data + begin; *p; p++)
        if (*p == '\n')
            *p = ' ';
    text_adds(&reward->notes, "\n");
}

/* Does the score come as JSON, which may say null? */
static bool is_reply(const struct config_reward *c)
{
    return c->kind && (strcmp(c->kind, "process") == 0 || strcmp(c->kind, "http") == 0);
}

/* Scores that are missing, not finite or too large: noted or said, and an error if the
 * configuration wants that. */
static int check(struct reward *reward, struct source *s, const struct batch *b, int i,
                 enum purpose purpose)
{
    const char *odd = is_reply(s->config) ? "null or not a finite number" : "not a finite number";
    const char *why = odd;
    const char *name = name_of(s->config);
    bool fatal = s->config->on_failure && strcmp(s->config->on_failure, "error") == 0;
    int missing = 0, first = 0;

    for (int n = b->N; n-- > 0;) {
        double *x = score_at(b, n, i);
        if (fabs(*x) <= REWARD_LARGEST)             /* not NaN */
            continue;
        why = isfinite(*x) ? "beyond +-1e30" : odd;
        *x = NAN;
        missing++;
        first = n;
    }
    if (missing == 0)
        return RL_OK;
    if (reward->trouble.size > 0)
        why = reward->trouble.data;
    if (fatal)
        return rl_error(RL_ENAN, "reward \"%s\": step %lld, row %d has no score: %s", name,
                        (long long)b->step + 1, b->group * b->k + first, why);
    if (reward->takes_notes)
        note(reward, purpose == PURPOSE_SAMPLE ? b->step : -1, i, missing, b->N, why);
    else if (s->complaints++ < COMPLAINTS)
        log_error("reward \"%s\": step %lld: %d of %d responses have no score and are left out: "
                  "%s%s", name, (long long)b->step + 1, missing, b->N, why,
                  s->complaints == COMPLAINTS ? " (not said again)" : "");
    return RL_OK;
}

/* Somebody outside is asked: as long as that takes, it is he who is waited for.  Questions to
 * programs and servers end by themselves; a plug-in cannot be interrupted, the watch ends it. */
static int ask_outside(struct reward *reward, struct source *s, int asked)
{
    char whom[160];
    int rc;

    snprintf(whom, sizeof whom, "reward \"%.60s\" (%s)", name_of(s->config), s->config->kind);
    comm_asks(reward->world, whom);
    rc = ask(reward, s, asked);
    comm_asks(reward->world, NULL);
    return rc != RL_ELOST ? rc :
           comm_lost(reward->world, "%s has not answered within %g s (deadline): %s", whom,
                     s->config->deadline, reward->trouble.data);
}

static int fill_column(struct reward *reward, struct batch *b, int i, enum purpose purpose)
{
    struct source *s = &reward->sources[i];
    struct trace t = trace_begin(name_of(s->config));
    int asked = replay(reward, b, i, purpose), rc = RL_OK;

    text_clear(&reward->trouble);
    if (s->kind->fill)
        TRY(s->kind->fill(s->state, b, reward->scores));
    else
        TRY(s->kind->outside ? ask_outside(reward, s, asked) : ask(reward, s, asked));
    for (int a = 0; a < asked; a++)
        *score_at(b, reward->row_of[a], i) = reward->scores[a];
    rc = check(reward, s, b, i, purpose);
done:
    trace_end(t, TRACE_ROWS, s->kind->fill ? b->N : asked);
    return rc;
}

int reward_fill(struct reward *reward, struct batch *b, const struct prompts *prompts,
                enum purpose purpose)
{
    int rc = RL_OK;

    if (b->status != RL_OK)
        return RL_OK;
    if (b->R != reward->count)
        TRY(rl_error(RL_EBUG, "reward: %d columns for %d rewards", b->R, reward->count));
    TRY(see_rows(reward, b, prompts));
    for (int i = 0; i < reward->count; i++)
        if (reward->sources[i].owns_scorer)
            scorer_begin(reward->sources[i].scorer);
    if (reward->verdicts)
        verdicts_begin(reward->verdicts, prompts);
    for (int i = 0; i < reward->count; i++)
        TRY(fill_column(reward, b, i, purpose));
    if (reward->mix && purpose != PURPOSE_EVAL)
        TRY(mix_fill(reward->mix, b));
    b->filled |= COL_REWARD;
done:
    if (rc != RL_OK)
        b->status = rc;
    return rc;
}

void reward_missing(struct reward *reward, int64_t step, struct text *out)
{
    struct text later = { 0 };

    for (const char *p = reward->notes.data, *end; p && *p; p = end) {
        end = strchr(p, '\n') + 1;
        text_add(strtoll(p, NULL, 10) <= step ? out : &later, p, (size_t)(end - p));
    }
    text_free(&reward->notes);
    reward->notes = later;
}
