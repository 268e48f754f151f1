/* Sampling in threads: rows are divided, or, when all draw from one row, its masses are made once.
 * ref/sample.c is the definition.  Included by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_SAMPLE_H
#define COMPUTE_CPU_SAMPLE_H

#include "compute/cpu/part.h"
#include "compute/sample.h"

struct draws {
    struct compute *k;
    int *token;
    const float *z;
    bool same;
    const struct sampling *set;
    const uint32_t *word;
    int R, V;
};

/* 16 floats of [0, 2^41) to integers, the fraction cut off; a NaN is 0. */
INLINE void masses_at(uint64_t *mass, struct lanes p)
{
    lanes_store_u64(mass, lanes_max(lanes_mul(p, lanes_set(MASS_ONE)), lanes_set(0.0f)));
}

static uint64_t block_masses(struct sampler *s, int first, int end)
{
    uint64_t sum = 0, rest[16];
    int v = first;

    for (; v + 16 <= end; v += 16)
        masses_at(s->mass + v, lanes_load(s->p + v));
    if (v < end) {
        masses_at(rest, lanes_load_part(s->p + v, end - v));
        memcpy(s->mass + v, rest, (size_t)(end - v) * sizeof *rest);
    }
    for (v = first; v < end; v++)
        sum += s->mass[v];
    return sum;
}

static void row_masses(struct compute *k, struct sampler *s, const float *z,
                       const struct sampling *set)
{
    k->softmax(k, s->p, z, set->temperature, s->V);
    s->total = 0;
    for (int first = 0, b = 0; first < s->V; first += SAMPLE_BLOCK, b++) {
        s->sums[b] = block_masses(s, first, first + SAMPLE_BLOCK < s->V ? first + SAMPLE_BLOCK
                                                                        : s->V);
        s->total += s->sums[b];
    }
    if (sampling_filters(set))
        sampler_filter(s, z, set);
}

static void sample_part(void *job, int begin, int end, int thread)
{
    const struct draws *d = job;
    struct sampler s;

    sampler_place(&s, cpu_scratch_of(d->k, thread), d->V);
    for (int r = begin; r < end; r++) {
        const float *z = d->z + (d->same ? 0 : (size_t)r * (size_t)d->V);

        if (d->set->temperature == 0.0f) {
            d->token[r] = sample_greedy(z, d->V);
            continue;
        }
        if (!d->same || r == begin)
            row_masses(d->k, &s, z, d->set);
        d->token[r] = sampler_draw(&s, z, d->word[r]);
    }
}

static void sample(struct compute *k, int *token, const float *z, bool same,
                   const struct sampling *set, const uint32_t *word, int R, int V)
{
    struct draws d = { k, token, z, same, set, word, R, V };

    if (R <= 0 || !cpu_scratch(k, sampler_size(V)))
        return;
    if (same)
        sample_part(&d, 0, R, 0);
    else
        cpu_split(k, 40.0 * R * V, R, 1, &d, sample_part);
}

static void fill_sample(struct compute *k)
{
    k->sample = sample;
}

#endif
