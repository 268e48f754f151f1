/* The critic's loss, clipped as PPO clips the policy (spec 3.5), per token:
 *
 *     Vc = clip(V, V_old - c, V_old + c)        L = 0.5 max((V - ret)^2, (Vc - ret)^2)
 *
 * The slope is V - ret where the first is the larger or both are equal; else Vc - ret strictly
 * inside of the window, and 0 outside.
 */
#ifndef LEARNER_POLICY_VALUE_H
#define LEARNER_POLICY_VALUE_H

#include <stdbool.h>

struct value_loss { double value, slope; bool clipped; };

/* clip: INFINITY for none. */
struct value_loss value_token(double v, double old, double ret, double clip);

#endif
