/* AdamW (Loshchilov & Hutter 2019) with global-norm clipping and a learning-rate schedule, over
 * flat buffers.
 *
 *   TRY(optimizer_create(&o, config, model, config->lr));
 *   TRY(optimizer_step(o, grads, t, &grad_norm, &lr));      update t of the run, from 0
 *   optimizer_destroy(o);
 */
#ifndef LEARNER_OPTIMIZER_H
#define LEARNER_OPTIMIZER_H

#include "base/config.h"
#include "comm/comm.h"
#include "model/model.h"

struct optimizer;
/* lr: the peak of the schedule, config->lr or one of its own.  The caller keeps config and model
 * and destroys them after the optimizer. */
int optimizer_create(struct optimizer **o, const struct config *config, struct model *model,
                     double lr);
void optimizer_destroy(struct optimizer *o);    /* NULL is fine */
/* Only these weights are trained: the rest stays, and its gradient counts as 0. */
void optimizer_only(struct optimizer *o, size_t offset, size_t count);
size_t optimizer_bytes(const struct model_shape *shape);        /* what create takes, for plan */
float *optimizer_m(struct optimizer *o);        /* first moments, model_size floats */
float *optimizer_v(struct optimizer *o);        /* second moments */
/* (2) beta1^t and beta2^t by repeated multiplication: part of the state, may be written. */
double *optimizer_powers(struct optimizer *o);

/* Learning rate of update t (from 0) of `steps`: warm-up to lr, then the schedule. */
double optimizer_rate(const struct config *c, double lr, int64_t t);

/* The norm of a flat gradient: double partials of HASH_CHUNK elements added in chunk order.
 * RL_ENAN names the first array and element that is not finite. */
int optimizer_norm(const struct model *model, const float *grads, double *norm);

/* Norm of grads (RL_ENAN: nothing was changed), clip, AdamW, model_changed.  Not collective: grads
 * are equal on all ranks, and so is everything made from them. */
int optimizer_step(struct optimizer *o, float *grads, int64_t t, double *grad_norm, double *lr);

#endif
