/* Sampling: every backend gives the token of the definition in compute/compute.h. */
#include "base/random.h"
#include "tests/backends.h"

#define V_MOST 1500

static uint32_t word_of(uint32_t i)
{
    struct counter c = {.seed = 7, .purpose = PURPOSE_TEST, .position = i};
    uint32_t words[4];

    random_words(&c, words);
    return words[0];
}

/* Logits about 2 wide; `steps` > 0 makes many of them equal. */
static void logits(float *z, int V, uint32_t salt, float steps)
{
    for (int v = 0; v < V; v++) {
        struct counter c = {.seed = 1, .purpose = PURPOSE_TEST, .step = salt};
        uint32_t words[4];
        c.position = (uint32_t)v;
        random_words(&c, words);
        z[v] = (float)random_normal(words[0], words[1]) * 2;
        if (steps > 0)
            z[v] = rintf(z[v] * steps) / steps;
    }
}

/* By ref, and by all others alike, from logits that they reach. */
static int draw(const float *z, int V, float temperature, int top_k, float top_p, float min_p,
                uint32_t word)
{
    const struct sampling set = { temperature, top_k, top_p, min_p };
    float *reached = copy_of(z, (size_t)V);
    int token, *other = room(sizeof *other);

    ref->sample(ref, &token, z, false, &set, &word, 1, V);
    EACH_BACKEND(k) {
        k->sample(k, other, reached, false, &set, &word, 1, V);
        compute_wait(k);
        if (*other != token)
            fail_msg("%s draws %d, ref %d", k->name, *other, token);
    }
    drop(reached), drop(other);
    return token;
}

/* Rows together, and many draws from one row, are rows alone. */
static void test_rows_are_drawn_alike_in_any_company(void **state)
{
    enum { R = 37, V = 1100 };
    float *z = noise(R * V, 1);
    const struct sampling sets[] = { { 1, 0, 1, 0 }, { 0.8f, 40, 0.9f, 0.01f }, { 0, 0, 1, 0 } };
    uint32_t word[R];
    int alone[R], *together = room(sizeof alone), *from_one = room(sizeof alone);

    (void)state;
    for (int r = 0; r < R; r++) {
        logits(z + r * V, V, (uint32_t)r, 0);
        word[r] = word_of((uint32_t)r + 100);
    }
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        EACH_BACKEND(k) {
            for (int r = 0; r < R; r++)
                ref->sample(ref, &alone[r], z + r * V, false, &sets[i], &word[r], 1, V);
            k->sample(k, together, z, false, &sets[i], word, R, V);
            compute_wait(k);
            assert_memory_equal(together, alone, sizeof alone);
            for (int r = 0; r < R; r++)
                ref->sample(ref, &alone[r], z, false, &sets[i], &word[r], 1, V);
            k->sample(k, from_one, z, true, &sets[i], word, R, V);
            compute_wait(k);
            assert_memory_equal(from_one, alone, sizeof alone);
            ref->sample(ref, from_one, z, true, &sets[i], word, R, V);
            assert_memory_equal(from_one, alone, sizeof alone);
        }
    drop(z), drop(together), drop(from_one);
}

/* ---- the definition, by a full sort */

struct token { float z; int id; uint64_t mass; };

static int by_order(const void *x, const void *y)
{
    const struct token *a = x, *b = y;

    if (a->z != b->z)
        return a->z > b->z ? -1 : 1;
    return a->id - b->id;
}

/* Clears the mass of every token that the filters drop; mass (V) by id. */
static void define(const float *z, int V, float temperature, int top_k, float top_p, float min_p,
                   uint64_t *mass)
{
    static struct token tokens[V_MOST];
    static float p[V_MOST];
    uint64_t total = 0, sum = 0, least = 0;
    int kept = top_k > 0 && top_k < V ? top_k : V, prefix = 0;

    ref->softmax(ref, p, z, temperature, V);
    for (int v = 0; v < V; v++)
        tokens[v] = (struct token){z[v], v, (uint64_t)floor((double)p[v] * 0x1p40)};
    qsort(tokens, (size_t)V, sizeof *tokens, by_order);
    for (int i = 0; i < kept; i++)
        total += tokens[i].mass;
    if (top_p < 1) {
        uint64_t enough = (uint64_t)floor((double)top_p * (double)total);
        do
            sum += tokens[prefix++].mass;
        while (sum < enough);
        kept = prefix;
    }
    for (int i = 0; i < kept; i++)
        if (floor((double)min_p * (double)tokens[i].mass) > (double)least)
            least = (uint64_t)floor((double)min_p * (double)tokens[i].mass);
    memset(mass, 0, (size_t)V * sizeof *mass);
    for (int i = 0; i < kept; i++)
        if (tokens[i].mass >= least)
            mass[tokens[i].id] = tokens[i].mass;
}

static int defined_draw(const uint64_t *mass, int V, uint32_t word)
{
    unsigned __int128 total = 0, sum = 0;

    for (int v = 0; v < V; v++)
        total += mass[v];
    for (int v = 0; v < V; v++) {
        sum += mass[v];
        if (sum > (total * word) >> 32)
            return v;
    }
    fail_msg("no token");
    return -1;
}

static void test_every_filter_gives_the_token_of_the_definition(void **state)
{
    static const struct { float temperature; int top_k; float top_p, min_p; } settings[] = {
        { 1.0f, 0, 1.0f, 0 },       { 0.7f, 0, 1.0f, 0 },       { 1.0f, 1, 1.0f, 0 },
        { 1.0f, 5, 1.0f, 0 },       { 1.0f, 100000, 1.0f, 0 },  { 1.0f, 0, 0.9f, 0 },
        { 1.3f, 0, 0.999f, 0 },     { 1.0f, 0, 1e-9f, 0 },      { 1.0f, 0, 1.0f, 0.1f },
        { 0.8f, 0, 1.0f, 1.0f },    { 0.9f, 40, 0.95f, 0 },     { 2.0f, 40, 0.5f, 0.05f },
        { 1.0f, 0, 0.8f, 0.02f },   { 5.0f, 300, 0.97f, 0.3f }, { 0.05f, 7, 0.9f, 0.5f },
    };
    static const int sizes[] = {1, 2, 17, 512, V_MOST};
    static float z[V_MOST];
    static uint64_t mass[V_MOST];

    (void)state;
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (int ties = 0; ties < 2; ties++)
            for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
                int V = sizes[n];
                logits(z, V, (uint32_t)(n * 100 + i), ties ? 2 : 0);
                define(z, V, settings[i].temperature, settings[i].top_k, settings[i].top_p,
                       settings[i].min_p, mass);
                for (uint32_t j = 0; j < 12; j++) {
                    uint32_t word = j == 0 ? 0 : j == 1 ? UINT32_MAX : word_of(j);
                    int token = draw(z, V, settings[i].temperature, settings[i].top_k,
                                     settings[i].top_p, settings[i].min_p, word);
                    assert_int_equal(token, defined_draw(mass, V, word));
                    assert_true(mass[token] > 0);
                }
            }
}

static void test_greedy_is_the_highest_logit_and_the_lowest_id(void **state)
{
    float z[] = {-1, 3, 2, 3, 3, -INFINITY};

    (void)state;
    assert_int_equal(draw(z, 6, 0, 0, 1, 0, UINT32_MAX), 1);
    assert_int_equal(draw(z, 6, 1, 1, 1, 0, UINT32_MAX), 1);
    assert_int_equal(draw(z, 6, 1, 0, 1e-6f, 0, UINT32_MAX), 1);
    z[1] = 2.5f;
    assert_int_equal(draw(z, 6, 0, 0, 1, 0, 0), 3);
}

static void test_a_token_comes_as_often_as_its_probability(void **state)
{
    enum { V = 6, DRAWS = 40000 };
    float z[V] = {0, 1, -1, 2, 0.5f, -3}, p[V];
    int count[V] = {0};

    (void)state;
    ref->softmax(ref, p, z, 0.9f, V);
    for (uint32_t i = 0; i < DRAWS; i++)
        count[draw(z, V, 0.9f, 0, 1, 0, word_of(i))]++;
    for (int v = 0; v < V; v++) {
        double deviation = sqrt(DRAWS * (double)p[v] * (1 - (double)p[v]));
        if (fabs(count[v] - DRAWS * (double)p[v]) > 4 * deviation)
            fail_msg("token %d: %d of %d draws, probability %g", v, count[v], DRAWS, (double)p[v]);
    }
}

static void test_a_word_and_the_next_change_the_token_where_the_masses_end(void **state)
{
    float z[2] = {0, 0};         /* halves: ids change exactly at the middle word */

    (void)state;
    assert_int_equal(draw(z, 2, 1, 0, 1, 0, 0x7fffffff), 0);
    assert_int_equal(draw(z, 2, 1, 0, 1, 0, 0x80000000), 1);
}

static void test_logits_that_leave_no_mass_fall_back_to_greedy(void **state)
{
    float tiny[] = {1, 2, 1.5f}, bad[] = {NAN, 1, NAN, 5}, none[] = {-INFINITY, -INFINITY};
    float open[] = {-INFINITY, 0.5f, -INFINITY};

    (void)state;
    assert_int_equal(draw(tiny, 3, 1e-42f, 0, 1, 0, 5), 1);      /* 2 / T is beyond the floats */
    assert_in_range(draw(bad, 4, 1, 2, 0.9f, 0.1f, 5), 0, 3);
    assert_in_range(draw(none, 2, 1, 0, 0.5f, 0.1f, 5), 0, 1);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(draw(open, 3, 1, 2, 0.9f, 0, word_of(i)), 1);
}

static void test_a_prefix_that_reaches_top_p_exactly_is_enough(void **state)
{
    float z[4] = {0, 0, 0, 0};   /* quarters: ids 0 and 1 are half of the mass */

    (void)state;
    assert_int_equal(draw(z, 4, 1, 0, 0.5f, 0, UINT32_MAX), 1);
    assert_int_equal(draw(z, 4, 1, 0, 0.5001f, 0, UINT32_MAX), 2);
    assert_int_equal(draw(z, 4, 1, 2, 0.5f, 0, UINT32_MAX), 0);     /* half of what top_k kept */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_rows_are_drawn_alike_in_any_company),
        cmocka_unit_test(test_every_filter_gives_the_token_of_the_definition),
        cmocka_unit_test(test_greedy_is_the_highest_logit_and_the_lowest_id),
        cmocka_unit_test(test_a_token_comes_as_often_as_its_probability),
        cmocka_unit_test(test_a_word_and_the_next_change_the_token_where_the_masses_end),
        cmocka_unit_test(test_a_prefix_that_reaches_top_p_exactly_is_enough),
        cmocka_unit_test(test_logits_that_leave_no_mass_fall_back_to_greedy),
    };

    return cmocka_run_group_tests_name("fp32", tests, open_fp32, backends_close) ||
           cmocka_run_group_tests_name("bf16", tests, open_bf16, backends_close);
}
