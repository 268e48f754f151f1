/* Records become rows of a batch; see records.h. */
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "data/records_internal.h"

/* The group at hand. */
struct group {
    struct records *r;
    struct batch *b;
    const struct record *item;
    int64_t i, draw;            /* the record, and the draw that chose it */
    bool shuffle;
    uint64_t seed;
};

/* The record of a draw. */
static int64_t draw_record(struct records *r, bool shuffle, uint64_t seed, int64_t draw)
{
    struct data_set *set;

    if (!r->settings.in_turn)
        return shuffle_draw(&r->order, shuffle, seed, draw);
    set = &r->sets[draw % r->n_sets];
    return set->first + shuffle_draw(&set->order, shuffle, seed, draw / r->n_sets);
}

static int no_room(const struct batch *b)
{
    return rl_error(RL_EBUG, "the batch has room for %d rows and %d tokens, too little for the "
                    "records of step %lld", b->max_rows, b->max_tokens, (long long)b->step);
}

/* Did the answer end by itself? */
static enum finish finish_of(const struct records *r, int last)
{
    for (int i = 0; i < r->settings.n_eos; i++)
        if (r->eos[i] == last)
            return FINISH_EOS;
    return FINISH_LENGTH;
}

/* What is the same for all rows of a record, of the row whose tokens begin at b->T; the prompt ends
 * at `prompt` and the row at `end`. */
static void close_row(const struct group *g, int prompt, int end, double weight)
{
    const struct records *r = g->r;
    struct batch *b = g->b;
    int n = b->N++;

    b->prompt_len[n] = prompt;
    b->finish[n] = finish_of(r, b->tokens[b->T + end - 1]);
    b->prompt[n] = g->i;
    b->version[n] = 0;
    b->weight[n] = weight;
    b->margin[n] = g->item->margin;
    b->annotator[n] = g->item->annotator;
    b->objective[n] = r->n_signs == 0 && r->n_sets > 1 ? g->item->file : -1;
    b->T += end;
    b->start[n + 1] = b->T;
}

static void put(struct batch *b, int at, struct slice ids)
{
    memcpy(b->tokens + b->T + at, ids.data, (size_t)ids.n * sizeof(int));
}

static struct slice slice_of(const struct records *r, struct span span)
{
    return (struct slice){ r->ids.data + span.at, span.n };
}

/* One row: prompt and answer, cut at what the model can read. */
static int add_row(const struct group *g, struct slice prompt, struct slice answer, double weight)
{
    struct batch *b = g->b;
    int most = g->r->settings.max_tokens - prompt.n;

    answer.n = answer.n < most ? answer.n : most;
    if (b->N == b->max_rows || prompt.n + answer.n > b->max_tokens - b->T)
        return no_room(b);
    put(b, 0, prompt);
    put(b, prompt.n, answer);
    close_row(g, prompt.n, prompt.n + answer.n, weight);
    return RL_OK;
}

/* Row `answer` of the record, its score in every reward column. */
static int add_answer(const struct group *g, int answer, double weight)
{
    const struct answer *one = &g->r->answers[g->item->first + answer];
    struct batch *b = g->b;
    int rc = RL_OK;

    TRY(add_row(g, slice_of(g->r, one->prompt), slice_of(g->r, one->ids), weight));
    for (int c = 0; c < b->R; c++)
        b->reward[(size_t)(b->N - 1) * b->R + c] = one->score;
done:
    return rc;
}

/* Column i of the pair that begins with row n: 1 and 0, so that the difference is the sign of
 * objective i. */
static void set_signs(const struct group *g, int n)
{
    struct batch *b = g->b;
    double *chosen = b->reward + (size_t)n * b->R, *rejected = chosen + b->R;

    for (int c = 0; c < g->r->n_signs; c++) {
        chosen[c] = g->item->sign[c] > 0;
        rejected[c] = g->item->sign[c] < 0;
    }
}

static int add_pair(const struct group *g)
{
    int rc = RL_OK;

    TRY(add_answer(g, 0, g->item->weight));
    TRY(add_answer(g, 1, g->item->weight));
    set_signs(g, g->b->N - 2);
done:
    return rc;
}

/* Everything is response. */
static int add_joint(const struct group *g)
{
    int rc = add_pair(g);

    if (rc == RL_OK)
        g->b->prompt_len[g->b->N - 2] = g->b->prompt_len[g->b->N - 1] = 0;
    return rc;
}

static int add_list(const struct group *g)
{
    int rc = RL_OK;

    for (int a = 0; a < g->r->k; a++)
        TRY(add_answer(g, a < g->item->answers ? a : 0, a < g->item->answers ? g->item->weight
                                                                             : 0));
    set_signs(g, g->b->N - g->r->k);            /* only pairs have signs */
done:
    return rc;
}

static bool same_line(const struct record *a, const struct record *b)
{
    return a->line == b->line && a->file == b->file;
}

/* The answer of the next draw of another line: there is one (records_open), and an epoch draws
 * every record, so it is at most two epochs away. */
static int add_twin(const struct group *g)
{
    struct records *r = g->r;
    const struct answer *own = &r->answers[g->item->first];
    int64_t draw = g->draw, i;
    int rc = RL_OK;

    do
        i = draw_record(r, g->shuffle, g->seed, ++draw);
    while (same_line(&r->items[i], g->item));
    TRY(add_row(g, slice_of(r, own->prompt), slice_of(r, r->answers[r->items[i].first].ids), 0));
    for (int c = 0; c < g->b->R; c++)
        g->b->reward[(size_t)(g->b->N - 1) * g->b->R + c] = 0;
done:
    return rc;
}

static int add_kto(const struct group *g)
{
    int rc = RL_OK;

    TRY(add_answer(g, 0, g->item->weight));
    TRY(add_twin(g));
done:
    return rc;
}

/* The answer as a judge reads it: without the token that ended it. */
static struct slice said(const struct records *r, const struct answer *one)
{
    struct slice ids = slice_of(r, one->ids);

    if (ids.n > 0 && finish_of(r, ids.data[ids.n - 1]) == FINISH_EOS)
        ids.n--;
    return ids;
}

/* A or B, by a coin of the draw. */
static int chosen_is(const struct group *g)
{
    struct counter c = { .seed = g->seed, .purpose = PURPOSE_JUDGE,
                         .step = (uint32_t)((uint64_t)g->draw >> 32), .prompt = (uint32_t)g->draw };
    uint32_t words[4];

    random_words(&c, words);
    return (int)(words[0] & 1);
}

static int add_judged(const struct group *g)
{
    const struct records *r = g->r;
    const struct judge *judge = r->settings.judge;
    const struct answer *two = &r->answers[g->item->first];
    struct slice prompt = judge_strip(judge, slice_of(r, two->prompt)), part[2];
    struct batch *b = g->b;
    int chosen = chosen_is(g), n;

    part[chosen] = said(r, &two[0]);
    part[!chosen] = said(r, &two[1]);
    n = judge_length(judge, prompt.n, part[0].n, part[1].n);
    if (b->N == b->max_rows || n + 1 > b->max_tokens - b->T)
        return no_room(b);
    judge_write(judge, prompt, part[0], part[1], b->tokens + b->T);
    b->tokens[b->T + n] = judge_answer(judge, chosen);
    for (int c = 0; c < b->R; c++)
        b->reward[(size_t)b->N * b->R + c] = 1;
    close_row(g, n, n + 1, g->item->weight);
    return add_answer(g, 0, g->item->weight);
}

static int add_first(const struct group *g)
{
    return add_answer(g, 0, g->item->weight);
}

static int (*const add_group[])(const struct group *g) = {
    [VIEW_PAIRS] = add_pair, [VIEW_LISTS] = add_list, [VIEW_RANKED] = add_list,
    [VIEW_SINGLES] = add_first, [VIEW_KTO] = add_kto, [VIEW_SFT] = add_first,
    [VIEW_JUDGE] = add_judged, [VIEW_JOINT] = add_joint, [VIEW_AUGMENTED] = add_pair,
};

int records_next(struct records *r, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b)
{
    struct group g = { .r = r, .b = b, .shuffle = shuffle, .seed = seed };
    int rc = RL_OK;

    batch_clear(b);
    if (b->k != r->k || b->R != records_columns(r))
        return rl_error(RL_EBUG, "a batch of %d rows and %d rewards a group for records of %d and "
                        "%d", b->k, b->R, r->k, records_columns(r));
    for (int n = b->group; n < b->group + b->groups; n++) {
        g.draw = draw0 + n;
        g.i = draw_record(r, shuffle, seed, g.draw);
        g.item = &r->items[g.i];
        TRY(add_group[r->settings.view](&g));
    }
    b->filled = COL_TOKENS | COL_REWARD | COL_LABEL;
done:
    return rc;
}
