/* What losses are made of: functions that never overflow, with the own exp and log of
 * compute/math.h, since slopes reach the weights.  A NaN comes out where a NaN went in. */
#ifndef LEARNER_LOSSES_PRIMITIVES_H
#define LEARNER_LOSSES_PRIMITIVES_H

double softplus(double x);          /* log(1 + exp(x)) = max(x,0) + log1p(exp(-|x|)) */
double sigmoid(double x);           /* 1 / (1 + exp(-x)) */
double log1mexp(double a);          /* log(1 - exp(a)), a < 0 */
double expm1_own(double x);         /* exp(x) - 1, a few ulp also near 0 */
double logit(double p);             /* log(p / (1 - p)), p clamped to [1e-6, 1 - 1e-6] first */
double clamp(double x, double low, double high);

/* log of the sum of exp(v[0 .. n)), n >= 1, and the softmax of v into p (p may be v).  Terms are
 * added in the order of the index. */
double logsumexp(const double *v, int n);
void softmax(double *p, const double *v, int n);

#endif
