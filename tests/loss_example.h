/* The settings and margins at which losses are tried. */
#ifndef TESTS_LOSS_EXAMPLE_H
#define TESTS_LOSS_EXAMPLE_H

#include "learner/losses/loss.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Margins small, large and beyond what exp can hold; labels sure, smoothed and tied.  None puts a
 * loss on a corner (hinge: beta Delta = 1; slic: S_w - S_l = 1; spce_affine: beta Delta = +-0.98;
 * orpo: S = -1e-6 n), where slopes from both sides differ. */
static const double margins[] = { -8000, -35.5, -3.1, -0.4, 0, 0.7, 2.6, 41, 9000 };

static const double alpha[3] = { 0.6, 0.3, 0.1 };
static const struct loss_settings plain = {
    .beta = 0.1, .epsilon = 0.1, .gamma = 1.375, .lambda = 0.1, .margin = 1, .zeta = 0.5,
    .kappa = 1, .affine_eps = 0.01, .w_main = 0.6, .K = 3, .alpha = alpha, .lambda_d = 1,
    .lambda_u = 1.33, .sft = 0.05, .eta = 0.5,
};

#endif
