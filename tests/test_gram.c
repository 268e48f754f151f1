/* Inner products of gradients: the same bits however they are cut, and near in a sketch. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "learner/combine/combine.h"
#include "tests/support.h"

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

enum { N = 3 * HASH_CHUNK + 1234, OBJECTIVES = 3 };

static float (*large_gradients(void))[N]
{
    static float g[OBJECTIVES][N];
    struct counter at = { .seed = 11, .purpose = PURPOSE_TEST, .prompt = 13 };
    uint32_t words[4];

    for (int i = 0; i < N; i++)
        for (int k = 0; k < OBJECTIVES; k++) {
            at.position++;
            random_words(&at, words);
            g[k][i] = (float)((double)words[0] * 0x1p-31 - 1) + (k == 0 ? 0 : g[0][i] / 2);
        }
    return g;
}

static void gram_in_pieces(struct compute *k, float g[][N], const size_t *cuts, double *H)
{
    double pieces[16 * 6];
    size_t n = 0;

    for (; *cuts < N; cuts++)
        for (size_t from = cuts[0], end; from < cuts[1]; from = end) {
            const float *at[OBJECTIVES];

            end = gram_piece_end(from, cuts[1]);
            for (int i = 0; i < OBJECTIVES; i++)
                at[i] = g[i] + from;
            k->gram(k, pieces + n++ * gram_terms(OBJECTIVES), at, OBJECTIVES, end - from);
        }
    gram_sum(pieces, n, OBJECTIVES, H);
}

static void test_gram_of_shards_has_the_same_bits(void **state)
{
    static const size_t whole[] = { 0, N };
    static const size_t shards[] = { 0, HASH_CHUNK, 3 * HASH_CHUNK, N };
    static const size_t uneven[] = { 0, 1000, HASH_CHUNK + 7, N };
    float (*g)[N] = large_gradients();
    double one[9], three[9], loose[9];
    struct compute *k;

    (void)state;
    assert_ok(compute_open(&k, "auto", "fp32", 1));
    gram_in_pieces(k, g, whole, one);
    gram_in_pieces(k, g, shards, three);
    gram_in_pieces(k, g, uneven, loose);
    compute_close(k);
    assert_memory_equal(one, three, sizeof one);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            double sum = 0;

            for (int n = 0; n < N; n++)
                sum += (double)g[i][n] * (double)g[j][n];
            assert_near(one[i * 3 + j], sum, 1e-9 * N);
            assert_near(loose[i * 3 + j], sum, 1e-9 * N);
        }
    assert_int_equal(gram_piece_end(5, 6), 6);
    assert_int_equal(gram_piece_end(HASH_CHUNK - 1, HASH_CHUNK + 1), HASH_CHUNK);
    assert_int_equal(gram_piece_end(HASH_CHUNK, 9 * HASH_CHUNK), 2 * HASH_CHUNK);
}

static void test_sketches_are_linear_and_keep_lengths(void **state)
{
    enum { M = 65536 };
    static double sketch[OBJECTIVES][M], sum[M];
    static float both[N];
    float (*g)[N] = large_gradients();
    double H[9], got[9];

    (void)state;
    memset(sketch, 0, sizeof sketch);
    memset(sum, 0, sizeof sum);
    for (int k = 0; k < OBJECTIVES; k++) {      /* in two parts: index is global */
        sketch_add(sketch[k], M, 42, 0, g[k], 7777);
        sketch_add(sketch[k], M, 42, 7777, g[k] + 7777, N - 7777);
    }
    for (int i = 0; i < N; i++)
        both[i] = g[0][i] + g[1][i];
    sketch_add(sum, M, 42, 0, both, N);
    for (int b = 0; b < M; b++)
        assert_near(sum[b], sketch[0][b] + sketch[1][b], 1e-5);
    sketch_gram(sketch[0], OBJECTIVES, M, got);
    for (int i = 0; i < 9; i++) {
        H[i] = 0;
        for (int n = 0; n < N; n++)
            H[i] += (double)g[i / 3][n] * (double)g[i % 3][n];
    }
    for (int i = 0; i < 9; i++)
        assert_true(fabs(got[i] - H[i]) < 0.02 * sqrt(H[i / 3 * 4] * H[i % 3 * 4]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gram_of_shards_has_the_same_bits),
        cmocka_unit_test(test_sketches_are_linear_and_keep_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
