/* What process and http say and hear: responses as JSON, scores back.
 *
 *   {"id":7,"left":2,"prompt":"...","completion":"...","finish":"eos","tokens":12,"fields":{...}}
 *   {"id":7,"score":0.5}       or       {"scores":[0.5,null,...]}
 *
 * id: a number that no other response of the run has.  left: responses of this batch that follow,
 * so that a program can wait for the last and score them together.  fields: the prompt's line.
 * A list of scores answers the next responses that have no answer, in order.  null, NaN, the
 * infinities and numbers that no double holds (1e999) say that there is no score.
 */
#ifndef REWARD_KINDS_EXCHANGE_H
#define REWARD_KINDS_EXCHANGE_H

#include "reward/reward.h"

#define REPLY_LONGEST (64u << 20)       /* bytes of a line or of a body */

/* The responses of a batch and which of them have an answer. */
struct exchange {
    const struct response *responses;
    double *scores;
    bool *answered;             /* (n), room kept */
    int n, room, left;          /* left: without an answer */
    int64_t first;              /* id of response 0 */
    int given;                  /* scores in the last reply */
};

/* Begin with n responses; their ids follow those of the batch before.  RL_ENOFIT. */
int exchange_begin(struct exchange *e, const struct response *responses, int n, double *scores);
void exchange_free(struct exchange *e);                 /* not the struct itself */
/* The i-th response as one line of JSON, without the line's end. */
void exchange_ask(const struct exchange *e, int i, int left, struct text *out);
/* The first response at or behind i without an answer; n if there is none. */
int exchange_next(const struct exchange *e, int i);
void exchange_answer(struct exchange *e, int i, double score);
/* A reply.  from, to: the responses it may be about; whole: it is about all of those that have no
 * answer.  It is taken as a whole, or false: it is no reply to them, and nothing is taken. */
bool exchange_reply(struct exchange *e, const char *reply, size_t bytes, int from, int to,
                    bool whole);
/* Responses in from .. to - 1 without an answer. */
int exchange_open(const struct exchange *e, int from, int to);

#endif
