/* Sampling: probabilities become integer masses, rows are drawn one after the other. */
#include "compute/cpu/cpu.h"
#include "compute/ref/ref.h"
#include "compute/sample.h"

/* A probability that is no number weighs nothing. */
static void masses(struct sampler *s)
{
    s->total = 0;
    for (int v = 0; v < s->V; v++) {
        uint64_t *sum = &s->sums[v / SAMPLE_BLOCK];

        s->mass[v] = s->p[v] > 0.0f ? (uint64_t)(int64_t)(s->p[v] * MASS_ONE) : 0;
        *sum = v % SAMPLE_BLOCK == 0 ? s->mass[v] : *sum + s->mass[v];
        s->total += s->mass[v];
    }
}

static void sample(struct compute *k, int *token, const float *z, bool same,
                   const struct sampling *set, const uint32_t *word, int R, int V)
{
    struct sampler s;

    if (!cpu_scratch(k, sampler_size(V)))
        return;
    sampler_place(&s, cpu_scratch_of(k, 0), V);
    for (int r = 0; r < R; r++, z += same ? 0 : V) {
        if (set->temperature == 0.0f) {
            token[r] = sample_greedy(z, V);
            continue;
        }
        k->softmax(k, s.p, z, set->temperature, V);
        masses(&s);
        if (sampling_filters(set))
            sampler_filter(&s, z, set);
        token[r] = sampler_draw(&s, z, word[r]);
    }
}

void ref_fill_sample(struct compute *k)
{
    k->sample = sample;
}
