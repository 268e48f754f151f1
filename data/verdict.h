/* What a judge says of two answers when it is asked in both orders (OSP, section 2.2; Zheng et al.
 * 2023 on position bias), from the logits of its answers "A" and "B".
 *
 *   d1 = l_A - l_B      the candidate is A          lam  = (d1 + d2) / 2
 *   d2 = l'_B - l'_A    the candidate is B          bias = (d1 - d2) / 2
 *
 * A slot that adds a constant to its answer's logit moves bias only.
 */
#ifndef DATA_VERDICT_H
#define DATA_VERDICT_H

struct said { double lam, bias; };      /* above 0: for the candidate; for slot A */

static inline struct said said_of(double first_A, double first_B, double swapped_A,
                                  double swapped_B)
{
    double d1 = first_A - first_B, d2 = swapped_B - swapped_A;

    return (struct said){ (d1 + d2) / 2, (d1 - d2) / 2 };
}

#endif
