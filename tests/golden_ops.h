/* The case at hand and what checks of worked numbers share.  A chapter of the spec is a file with a
 * table of ops; golden_losses.c walks the tables. */
#ifndef TESTS_GOLDEN_OPS_H
#define TESTS_GOLDEN_OPS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tests/golden.h"

struct one {                    /* the case at hand */
    struct golden g;
    const struct json *in, *want;
    double tol;
};

static inline double number(const struct one *c, const char *key, double otherwise)
{
    return json_number(json_get(c->in, key), otherwise);
}

static inline double item(const struct json *array, size_t i)
{
    return json_number(json_at(array, i), NAN);
}

static inline void near(struct one *c, double got, const struct json *want, const char *what)
{
    golden_near(&c->g, got, json_number(want, NAN), c->tol, "%s", what);
}

static inline void near_f32(struct one *c, double got, const struct json *want, const char *what)
{
    double x = json_number(want, NAN);

    golden_near(&c->g, got, x, fmax(c->tol, 2e-6 * (1 + fabs(x))), "%s", what);
}

struct golden_op { const char *op; void (*check)(struct one *c); };

struct loss_settings;
struct pair_input;

/* The pair of a case: its inputs in `in`, what it sets of `set`, which is zeroed first.
 * Its loss and slopes are those of the row `loss` of losses[]. */
void golden_pair_of(const struct one *c, struct loss_settings *set, struct pair_input *in);
void golden_check_pair(struct one *c, const char *loss, const struct pair_input *in);

/* One table a chapter, ends with op NULL. */
extern const struct golden_op golden_pairs[];           /* losses of pairs, labels, logits */
extern const struct golden_op golden_policy[];          /* PPO and its relatives */
extern const struct golden_op golden_raco[];            /* gradients of objectives combined */
extern const struct golden_op golden_rewards[];         /* rewards that are arithmetic */
extern const struct golden_op golden_preferences[];     /* the other preference methods */
extern const struct golden_op golden_osp[];             /* self-preferring */
extern const struct golden_op golden_rewardmodel[];     /* reward models */

#endif
