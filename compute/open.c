/* Choosing a backend, and what all of them share: the sticky error and the rotary table. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/compute.h"
#include "compute/math.h"
#include "compute/ref/ref.h"

int compute_open(struct compute **k, const char *name, int threads)
{
    *k = NULL;
    if (threads < 1)
        return rl_error(RL_EINVAL, "threads = %d: at least one is needed", threads);
    if (strcmp(name, "auto") != 0 && strcmp(name, "cpu") != 0 && strcmp(name, "ref") != 0)
        return rl_error(RL_EINVAL, "device = \"%s\" is unknown: use \"auto\"", name);
    *k = calloc(1, sizeof **k);
    if (!*k)
        return rl_error(RL_ENOFIT, "no memory for the compute backend");
    (*k)->name = "ref";
    (*k)->threads = threads;
    ref_fill(*k);
    return RL_OK;
}

void compute_close(struct compute *k)
{
    free(k);
}

int compute_sync(struct compute *k)
{
    int rc = k->error;

    k->error = RL_OK;
    return rc;
}

void rotary_table(float *table, int positions, int D, double theta)
{
    int half = D / 2;

    for (int i = 0; i < half; i++) {
        double frequency = rw_pow(theta, -2.0 * i / D);

        for (int p = 0; p < positions; p++) {
            float *turn = table + ((size_t)p * half + i) * 2;
            double sine, cosine;

            rw_sincos(frequency * p, &sine, &cosine);
            turn[0] = (float)cosine;
            turn[1] = (float)sine;
        }
    }
}
