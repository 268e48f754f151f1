/* base: random numbers, hashes, 16-bit floats. */
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/hash.h"
#include "base/random.h"

/* ---- random numbers ---- */

static void test_philox_gives_the_published_words(void **state)
{
    /* Known answers of the Random123 distribution: counter, key, words. */
    static const uint32_t known[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
          0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };

    (void)state;
    for (int i = 0; i < 3; i++) {
        const uint32_t *k = known[i];
        struct counter c = { .seed = (uint64_t)k[5] << 32 | k[4], .position = k[0], .prompt = k[1],
                             .step = k[2], .sample = k[3] & 0xffffff, .purpose = k[3] >> 24 };
        uint32_t out[4];
        random_words(&c, out);
        assert_memory_equal(out, k + 6, sizeof out);
    }
}

static void test_normal_is_box_muller_to_the_last_digits(void **state)
{
    struct counter c = { .seed = 3, .purpose = PURPOSE_TEST };
    double sum = 0, squares = 0;
    uint32_t w[4];

    (void)state;
    for (c.position = 0; c.position < 20000; c.position++) {
        random_words(&c, w);
        double x = random_normal(w[0], w[1]);
        double r = sqrt(-2 * log(((double)w[0] + 1) / 4294967296.0));
        double angle = 2 * M_PI * ((double)w[1] / 4294967296.0);
        if (fabs(x - r * cos(angle)) > 4e-15)
            fail_msg("normal(%u, %u) = %.17g, expected %.17g", w[0], w[1], x, r * cos(angle));
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.03);
    assert_true(isfinite(random_normal(0, 0)) && isfinite(random_normal(~0u, ~0u)));
}

static void test_normal_keeps_its_bits(void **state)
{
    /* Initial weights are part of the bit contract: these bits must never change. */
    static const struct { uint32_t a, b; uint64_t bits; } kept[] = {
        { 0, 0, 0x401aa4499161cd47 }, { 1, 0x20000000, 0x40128ab8187b8114 },
        { 0x12345678, 0x9abcdef0, 0xbffd25e6f370f08f }, { ~0u, ~0u, 0 },
        { 0x80000000, 0xc0000001, 0x3e1d976f41f12d00 },
    };

    (void)state;
    for (int i = 0; i < 5; i++) {
        double x = random_normal(kept[i].a, kept[i].b) + 0.0;       /* -0 becomes 0 */
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (bits != kept[i].bits)
            fail_msg("normal(%u, %u) = 0x%016llx", kept[i].a, kept[i].b, (unsigned long long)bits);
    }
}

/* Whatever block a number is in, and however many are drawn. */
static void test_normals_at_once_are_those_one_by_one(void **state)
{
    static const size_t lengths[] = { 0, 1, 2, 127, 128, 129, 1000, 20001 };
    static float out[20002];

    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct counter c = { .seed = 11, .purpose = PURPOSE_TEST, .step = 5, .prompt = 1,
                             .position = ~0u - 20000 };
        size_t n = lengths[l];
        out[n] = 7;
        random_normals(&c, 0.02, out, n);
        assert_true(out[n] == 7);
        for (size_t i = 0; i < n; i++) {
            struct counter at = c;
            uint32_t w[4];
            float one;
            at.position += (uint32_t)(i / 2);
            random_words(&at, w);
            one = (float)(0.02 * random_normal(w[i % 2 * 2], w[i % 2 * 2 + 1]));
            if (memcmp(&one, &out[i], sizeof one) != 0)
                fail_msg("number %zu of %zu is %a, by itself %a", i, n, out[i], one);
        }
    }
}

/* ---- hashes ---- */

static void test_hash_is_xxh3(void **state)
{
    (void)state;
    assert_true(hash64("", 0) == 0x2d06800538d394c2);       /* the published value of nothing */
    assert_true(hash64("abc", 3) == 0x78af5f94892f3950);
}

static void test_hash_of_floats_is_the_hash_of_the_chunk_hashes(void **state)
{
    size_t n = 2 * HASH_CHUNK + 17;
    float *x = calloc(n, sizeof *x);
    uint64_t list[3];

    (void)state;
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)i * 0.25f;
    for (size_t i = 0; i < 3; i++)
        list[i] = hash64(x + i * HASH_CHUNK, (i < 2 ? HASH_CHUNK : 17) * sizeof *x);
    assert_true(hash_floats(x, n) == hash64(list, sizeof list));
    assert_true(hash_floats(x, 0) == hash64("", 0));
    x[n - 1] = -x[n - 1];
    assert_true(hash_floats(x, n) != hash64(list, sizeof list));
    free(x);
}

/* ---- 16-bit floats ---- */

/* Every finite value comes back, what lies between two goes to the nearer, the middle to the even
 * one.  Since both directions are monotone, this is every case.  top: the bits of infinity, which
 * stands where `next` would be. */
static void check_16_bit(float (*widen)(unsigned short), unsigned short (*narrow)(float),
                         unsigned short top, double next)
{
    for (unsigned i = 0; i < top; i++) {
        unsigned short even = (unsigned short)(i + (i & 1));
        float a = widen((unsigned short)i);
        double b = i + 1u < top ? (double)widen((unsigned short)(i + 1)) : next;
        float middle = (float)((a + b) / 2);
        assert_int_equal(narrow(a), i);
        assert_int_equal(narrow(-a), i | 0x8000);
        assert_int_equal(narrow(middle), even);
        assert_int_equal(narrow(nextafterf(middle, 0)), i);
        assert_int_equal(narrow(-nextafterf(middle, INFINITY)), (i + 1) | 0x8000);
    }
    assert_int_equal(narrow(INFINITY), top);
    assert_int_equal(narrow(-INFINITY), top | 0x8000);
    assert_int_equal(narrow(FLT_MAX), top);
    assert_true(isinf(widen(top)) && widen((unsigned short)(top | 0x8000)) < 0);
    for (unsigned i = top + 1u; i < 0x8000; i++) {
        unsigned short back = narrow(widen((unsigned short)i));
        assert_true(isnan(widen((unsigned short)i)));
        assert_true((back & top) == top && (back & 0x7fff) > top);
    }
    assert_true(isnan(widen(narrow(NAN))) && isnan(widen(narrow(-NAN))));
}

static void test_f16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_16_bit(f32_from_f16, f16_from_f32, 0x7c00, 65536);
    assert_true(f32_from_f16(0x3c00) == 1.0f && f32_from_f16(1) == 0x1p-24f);
    assert_true(f32_from_f16(0x7bff) == 65504.0f && f32_from_f16(0x03ff) == 1023 * 0x1p-24f);
    assert_int_equal(f16_from_f32(0x1p-25f), 0);                    /* the middle below the least */
    assert_int_equal(f16_from_f32(0x1.8p-25f), 1);
    assert_int_equal(f16_from_f32(FLT_TRUE_MIN), 0);
}

static void test_bf16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_16_bit(f32_from_bf16, bf16_from_f32, 0x7f80, 0x1p128);
    assert_true(f32_from_bf16(1) > 0);                  /* denormals are kept */
}

static void test_types_have_sizes_and_names(void **state)
{
    (void)state;
    assert_int_equal(dtype_size(DTYPE_BF16), 2);
    assert_int_equal(dtype_size(DTYPE_U64), 8);
    assert_int_equal(dtype_size((enum dtype)99), 0);
    assert_string_equal(dtype_name(DTYPE_F32), "F32");
    assert_string_equal(dtype_name((enum dtype)-1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_gives_the_published_words),
        cmocka_unit_test(test_normal_is_box_muller_to_the_last_digits),
        cmocka_unit_test(test_normal_keeps_its_bits),
        cmocka_unit_test(test_normals_at_once_are_those_one_by_one),
        cmocka_unit_test(test_hash_is_xxh3),
        cmocka_unit_test(test_hash_of_floats_is_the_hash_of_the_chunk_hashes),
        cmocka_unit_test(test_f16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(test_bf16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(test_types_have_sizes_and_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
