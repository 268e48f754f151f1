/* Tiny random models and rows for tests of the transformer; include it in one test program. */
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "model/model.h"
#include "tests/support.h"

/* Heads that share keys, sizes that are no multiple of a lane, one tile of logits and several, an
 * MLP that is narrow beside attention, a window within a page and a scaled rotary table. */
static const struct model_shape tiny_shapes[] = {
    { .family = "llama", .V = 70, .C = 16, .L = 2, .H = 4, .G = 2, .D = 6, .F = 20, .context = 96,
      .eps = 1e-5f, .theta = 10000, .tied = true, .lm = true },
    { .family = "llama", .V = 1100, .C = 24, .L = 1, .H = 2, .G = 1, .D = 8, .F = 36,
      .context = 400, .eps = 1e-6f, .theta = 500, .tied = false, .lm = true },
    { .family = "llama", .V = 2100, .C = 12, .L = 1, .H = 1, .G = 1, .D = 10, .F = 16,
      .context = 96, .eps = 1e-6f, .theta = 10000, .tied = true, .lm = true },
    { .family = "llama", .V = 50, .C = 8, .L = 2, .H = 4, .G = 2, .D = 16, .F = 3, .context = 96,
      .eps = 1e-5f, .theta = 10000, .tied = true, .lm = true },
    { .family = "mistral", .V = 90, .C = 20, .L = 2, .H = 4, .G = 1, .D = 8, .F = 24,
      .context = 96, .eps = 1e-5f, .theta = 500, .scaling = { ROPE_LLAMA3, 8, 1, 4, 24 },
      .window = 20, .tied = false, .lm = true },
};
#define TINY_SHAPES ((int)(sizeof tiny_shapes / sizeof *tiny_shapes))

static const char *const tiny_computes[] = { "ref", "cpu" };
static const char *const tiny_dtypes[] = { "fp32", "bf16" };

struct tiny {
    struct compute *compute;
    struct model *model;
    const struct model_shape *shape;
    size_t size;                 /* floats in the flat buffer */
};

static inline struct tiny tiny_open_dtype(const struct model_shape *shape, const char *compute,
                                          const char *dtype)
{
    struct tiny t = { .shape = shape, .size = model_size(shape) };

    assert_ok(compute_open(&t.compute, compute, dtype, 1));
    assert_ok(model_create(&t.model, t.shape, t.compute));
    model_randomize(t.model, 7, 0.4);
    return t;
}

static inline struct tiny tiny_open_shape(const struct model_shape *shape, const char *compute)
{
    return tiny_open_dtype(shape, compute, "fp32");
}

static inline struct tiny tiny_open(int shape, const char *compute)
{
    return tiny_open_shape(&tiny_shapes[shape], compute);
}

static inline void tiny_close(struct tiny *t)
{
    model_destroy(t->model);
    compute_close(t->compute);
}

/* Runs the test for every shape, every backend and every dtype. */
static inline void tiny_each(void (*test)(struct tiny *t))
{
    for (int s = 0; s < TINY_SHAPES; s++)
        for (int c = 0; c < 4; c++) {
            struct tiny t = tiny_open_dtype(&tiny_shapes[s], tiny_computes[c / 2],
                                            tiny_dtypes[c % 2]);

            test(&t);
            tiny_close(&t);
        }
}

static inline uint32_t tiny_word(uint32_t i)
{
    struct counter c = { .seed = 11, .purpose = PURPOSE_TEST, .position = i };
    uint32_t words[4];

    random_words(&c, words);
    return words[0];
}

static inline float tiny_normal(uint32_t i)
{
    struct counter c = { .seed = 12, .purpose = PURPOSE_TEST, .position = i };
    uint32_t words[4];

    random_words(&c, words);
    return (float)random_normal(words[0], words[1]);
}

/* Rows of the given lengths (ends with 0) and what a loss might say about their tokens: nothing on
 * the first half of a row, as on a prompt. */
#define TINY_TOKENS 512
#define TINY_ROWS 16

struct rows {
    int N, T, start[TINY_ROWS + 1], tokens[TINY_TOKENS];
    float dlogp[TINY_TOKENS], dentropy[TINY_TOKENS];
};

static inline struct rows tiny_rows(const struct model_shape *s, const int *lengths)
{
    struct rows r = {0};

    for (; lengths[r.N]; r.N++) {
        for (int i = 0; i < lengths[r.N]; i++, r.T++) {
            r.tokens[r.T] = (int)(tiny_word((uint32_t)r.T) % (uint32_t)s->V);
            if (i > lengths[r.N] / 2) {
                r.dlogp[r.T] = tiny_normal((uint32_t)r.T);
                r.dentropy[r.T] = 0.3f * tiny_normal((uint32_t)r.T + 1000);
            }
        }
        r.start[r.N + 1] = r.T;
    }
    return r;
}

#define assert_bits(a, b, n)                                                                      \
    do {                                                                                          \
        for (size_t i_ = 0; i_ < (size_t)(n); i_++)                                               \
            if (memcmp(&(a)[i_], &(b)[i_], sizeof *(a)))                                          \
                fail_msg("%s differs from %s at %zu: %.9g, %.9g", #a, #b, i_, (double)(a)[i_],    \
                         (double)(b)[i_]);                                                        \
    } while (0)

#endif
