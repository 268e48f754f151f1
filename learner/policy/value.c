/* The clipped squared error of a value.  See value.h. */
#include "learner/policy/value.h"

#include <math.h>

struct value_loss value_token(double v, double old, double ret, double clip)
{
    double bounded = fmin(fmax(v, old - clip), old + clip);
    double free = (v - ret) * (v - ret), held = (bounded - ret) * (bounded - ret);
    struct value_loss out = { .clipped = held > free };

    if (!out.clipped) {
        out.value = 0.5 * free;
        out.slope = v - ret;
    } else {
        out.value = 0.5 * held;
        out.slope = v > old - clip && v < old + clip ? bounded - ret : 0;
    }
    return out;
}
