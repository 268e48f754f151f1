/* The functions behind the rows of reward_kinds[]: one file a kind. */
#ifndef REWARD_KINDS_KINDS_H
#define REWARD_KINDS_KINDS_H

#include "base/status.h"
#include "reward/reward.h"

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

#endif
