/* Generalised advantage estimation (Schulman et al. 2016), from the last token to the first:
 *
 *     delta_t = r_t + gamma V_next - V_t        V_t: the value *before* token t
 *     adv_t   = delta_t + gamma lambda adv_next
 *     ret_t   = adv_t + V_t
 *
 * V_next and adv_next are those of the next *masked* token: a hole (the output of a tool) is
 * skipped and neither resets nor advances the recursion.
 */
#ifndef LEARNER_POLICY_GAE_H
#define LEARNER_POLICY_GAE_H

#include <stdbool.h>

struct gae { double gamma, lambda, next_value, next_adv; };

/* One response of T tokens: adv (T) and ret (T), 0 where mask is false (NULL: every token counts).
 * value NULL: all 0, so that ret is the discounted return and, with lambda = 1, adv too.  The
 * start has next_adv = 0, and next_value = 0, or the value after the last token where a response
 * that was cut is bootstrapped. */
void gae_row(double *adv, double *ret, const double *reward, const double *value,
             const bool *mask, int T, struct gae start);

#endif
