/* What the losses of several objectives on one pair need besides losses[]. */
#ifndef LEARNER_LOSSES_MULTI_H
#define LEARNER_LOSSES_MULTI_H

/* w_rest' (m_w - m_l) of n margin rewards (MODPO; pair_input.margin). */
double modpo_margin(const double *w_rest, const double *m_w, const double *m_l, int n);

/* alpha(K) = softmax of z_w + z_l: one draw each from N(mean, std) of the log-probabilities of the
 * tokens of the objective's response (AMoPO, adaptive). */
void amopo_weights(double *alpha, const double *z_w, const double *z_l, int K);

#endif
