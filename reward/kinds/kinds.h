/* The functions behind the rows of reward_kinds[]: one file a kind. */
#ifndef REWARD_KINDS_KINDS_H
#define REWARD_KINDS_KINDS_H

#include "base/status.h"
#include "reward/reward.h"

/* RL_EINVAL: one line, "FILE:LINE: the prompt ...", of what a response's prompt has wrong. */
int bad_prompt(const struct response *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The row of the table, or RL_EINVAL and one line that offers the nearest. */
int kind_find(const struct reward_kind **found, const char *name, const char *where);

/* One response at a time. */
int words_open(void **state, const struct config_reward *c, const char *where);
int words_score(void *state, const struct response *r, double *score);
void words_close(void *state);

int length_open(void **state, const struct config_reward *c, const char *where);
int length_score(void *state, const struct response *r, double *score);
void length_close(void *state);
bool length_needs_text(const struct config_reward *c);

int regex_open(void **state, const struct config_reward *c, const char *where);
int regex_score(void *state, const struct response *r, double *score);
void regex_close(void *state);

int math_answer_open(void **state, const struct config_reward *c, const char *where);
int math_answer_score(void *state, const struct response *r, double *score);
void math_answer_close(void *state);

int instruction_open(void **state, const struct config_reward *c, const char *where);
int instruction_score(void *state, const struct response *r, double *score);
void instruction_close(void *state);

int r3_open(void **state, const struct config_reward *c, const char *where);
int r3_score(void *state, const struct response *r, double *score);
void r3_close(void *state);

/* A batch at once. */
int plugin_open(void **state, const struct config_reward *c, const char *where);
int plugin_score(void *state, const struct response *r, int n, double *scores,
                 struct text *trouble);
void plugin_close(void *state);

int process_open(void **state, const struct config_reward *c, const char *where);
int process_score(void *state, const struct response *r, int n, double *scores,
                  struct text *trouble);
void process_close(void *state);

int http_open(void **state, const struct config_reward *c, const char *where);
int http_score(void *state, const struct response *r, int n, double *scores, struct text *trouble);
void http_close(void *state);

/* Whole rows. */
int model_kind_open(void **state, const struct config_reward *c, const char *where,
                    const struct reward_model_parts *parts);
int model_kind_fill(void *state, const struct batch *b, double *scores);
void model_kind_close(void *state);
bool model_kind_needs_text(const struct config_reward *c);

/* model.c's like: whole rows under a model that judges. */
struct verdicts;
int judge_kind_open(void **state, const struct config_reward *c, const char *where,
                    struct verdicts *verdicts);
int judge_kind_fill(void *state, const struct batch *b, double *scores);
void judge_kind_close(void *state);
bool judge_kind_needs_text(const struct config_reward *c);

#endif
