/* What outputs of a score head say of a prompt: how much each of several objectives weighs there
 * (Preference Orchestrator, arXiv 2511.10656).  In double, own exp and log.
 *
 *   t = softmax(z / temperature)       z: rewards of the preferred response, normalised
 *   w = softmax(logits)                of an adapter on the prompt
 *   L = KL(t || w)                     dL/dlogits = w - t
 */
#ifndef MODEL_MIXTURE_H
#define MODEL_MIXTURE_H

#define MIXTURE_MOST 64                 /* objectives */

/* w (n) = softmax(x / temperature); may be in place. */
void mixture_softmax(double *w, const double *x, int n, double temperature);
/* KL(t || w) for n objectives; slopes (n) are written. */
double mixture_kl(const double *t, const double *logits, int n, double *slopes);

/* One term of the probability that a response beats another when the context z is not known
 * (2407.14916), sum_z p(z) sigmoid(margin under z): p sigmoid(margin). */
double mixture_term(double p, double margin);

#endif
