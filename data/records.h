/* Records: what people or programs said of answers.  JSONL, plain or gzip; a file is a data set.
 *
 *   pair     {"prompt", "chosen", "rejected"}      optional: "score_chosen", "score_rejected",
 *            "rejected_prompt" (the rejected answer's own), "margin", "signs": {name: -1|0|1} or
 *            "raco_s_<name>" (1: chosen is better by this objective)
 *   list     {"prompt", "responses": [..], "scores": [..]}
 *   single   {"prompt", "completion", "label": true|false|1|0}
 *
 * Every text has a form of token ids, which wins: prompt_ids, chosen_ids, ..., responses_ids.  All
 * may have "weight" (default 1) and "annotator" (a number from 0).  docs/formats.md says more.
 *
 *   TRY(records_open(&r, &config->pairs, &settings));
 *   TRY(records_next(r, true, seed, step * P, batch));
 *   records_close(r);
 */
#ifndef DATA_RECORDS_H
#define DATA_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "data/batch.h"
#include "data/judge.h"
#include "data/tokenizer.h"

/* How a record becomes the rows of a group.  A row's reward is its score or, without scores, 1 for
 * the chosen or desirable and 0 for the other; with signs column i has 1 and 0 so that the
 * difference is the sign of objective i. */
enum view {
    VIEW_PAIRS,                 /* k 2: chosen, rejected */
    VIEW_LISTS,                 /* k: the longest list.  Shorter ones end in copies of their first
                                 * row with weight 0.  A pair is a list of two, without signs */
    VIEW_RANKED,                /* the same with signs, of pairs that have them */
    VIEW_SINGLES,               /* k 1.  A pair is two singles, the chosen and the rejected */
    VIEW_KTO,                   /* k 2: a single, and its prompt with the answer of the next draw of
                                 * another line, weight 0 */
    VIEW_SFT,                   /* k 1: the completion, the chosen or the best of the list.  Singles
                                 * with label false are left out */
    VIEW_JUDGE,                 /* k 2: a pair as a judge prompt, its answers in drawn order, the
                                 * answer token as response; and the chosen answer */
    VIEW_JOINT,                 /* k 2: a pair whose prompts are learned too: prompt_len 0 (DOVE) */
    VIEW_AUGMENTED,             /* k 2: reward-augmented pairs (2410.08067): behind "target score
                                 * r_w" chosen beats rejected, behind "target score r_l" rejected
                                 * beats chosen.  Two groups a pair */
};

struct records_settings {
    enum view view;
    struct tokenizer *tokenizer;        /* NULL: every text must have ids */
    int vocabulary, max_tokens;         /* of a row */
    const int *eos;                     /* (n_eos) eos[0] ends every answer that came as text */
    int n_eos;
    bool append_eos;
    const char *join;                   /* between prompt and answer, when both are text */
    bool skip_long;                     /* a row too long: left out and counted, else RL_EINVAL */
    bool drop_bad;                      /* the same for a record that is no good: an empty answer,
                                         * equal answers, a missing field, a label that is none */
    bool in_turn;                       /* of several files: one record of each in turn */
    const struct judge *judge;          /* VIEW_JUDGE */
    const char *target;                 /* VIEW_AUGMENTED: text before the prompt; {score} in it */
};

struct records;

/* Reads and tokenizes the files.  RL_EINVAL, one line with file and line number; also when nothing
 * is left, when a view of singles finds labels of one class only, or when signs are missing in
 * some pairs and there in others.  The settings may go after the call, but for the judge. */
int records_open(struct records **r, const struct strings *paths,
                 const struct records_settings *settings);
void records_close(struct records *r);                  /* NULL is fine */

int64_t records_count(const struct records *r);         /* groups: what an epoch draws */
int records_rows(const struct records *r);              /* k: rows of a group */
int records_columns(const struct records *r);           /* R: reward columns, at least 1 */
int records_longest(const struct records *r);           /* tokens in the longest row */
int64_t records_skipped(const struct records *r);       /* left out: a row too long, */
int64_t records_dropped(const struct records *r);       /* no good (drop_bad), or not of the view */
int records_annotators(const struct records *r);        /* the largest number + 1 */

/* The objectives by name: of the signs (reward columns), else of several files (their stems; then
 * `objective` of a row is an index into these).  Returns how many; 1 when there is nothing to tell
 * apart. */
int records_objectives(const struct records *r, const char *const **names);
bool records_signed(const struct records *r);           /* are objectives told apart by signs? */

/* Fill the batch's share (P, k, group, groups, step are set, R is records_columns): tokens, rewards
 * and labels.  Group g of the step is draw draw0 + g, in file order or shuffled anew every epoch by
 * (seed, epoch); a row is a function of the draw (and of seed) only.  Allocates nothing.
 * RL_EBUG: no room. */
int records_next(struct records *r, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b);

#endif
