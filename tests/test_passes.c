/* Rows cut into passes: as many as full ones would be, none too large, about equally heavy. */
#include "model/passes.h"

#include "base/random.h"
#include "tests/support.h"

#define MOST 400

static int tokens_of(const void *of, int item)
{
    return ((const int *)of)[item];
}

/* The ends of all passes over n items; returns how many there are. */
static int cut(const int *tokens, int n, int room, int *end)
{
    struct passes p = { n, room, tokens_of, tokens };
    int count = 0;

    for (int first = 0; first < n; first = end[count++]) {
        end[count] = pass_end(&p, first, n);
        assert_in_range(end[count], first + 1, n);
    }
    return count;
}

static void expect_cut(const int *tokens, int n, int room, const int *ends, int count)
{
    int end[MOST];

    assert_int_equal(cut(tokens, n, room, end), count);
    for (int i = 0; i < count; i++)
        assert_int_equal(end[i], ends[i]);
}
#define EXPECT(tokens, room, ...)                                                                  \
    expect_cut(tokens, (int)(sizeof (tokens) / sizeof *(tokens)), room, (int[]){ __VA_ARGS__ },    \
               (int)(sizeof (int[]){ __VA_ARGS__ } / sizeof(int)))

static void test_what_fits_exactly_is_one_pass(void **state)
{
    static const int rows[] = { 3, 1, 4, 2 };

    (void)state;
    EXPECT(rows, 10, 4);
    EXPECT(rows, 1000, 4);
    EXPECT(rows, 9, 2, 4);
}

static void test_two_passes_share_what_is_too_much_for_one(void **state)
{
    static const int equal[] = { 5, 5, 5, 5, 5, 5, 5, 5, 5, 5 };

    (void)state;
    EXPECT(equal, 45, 5, 10);
    EXPECT(equal, 40, 5, 10);
    EXPECT(equal, 20, 3, 7, 10);
    EXPECT(equal, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
}

/* The first pass takes more than its share where the others have no room for the rest. */
static void test_no_pass_is_added(void **state)
{
    static const int tight[] = { 4, 1, 5, 1 };

    (void)state;
    EXPECT(tight, 5, 2, 3, 4);
    EXPECT(tight, 6, 2, 4);
}

static void test_long_row_among_short_ones(void **state)
{
    static const int rows[] = { 1, 1, 1, 12, 1, 1, 1, 1 }, first[] = { 12, 1, 1 };

    (void)state;
    EXPECT(rows, 12, 3, 4, 8);
    EXPECT(rows, 15, 4, 8);
    EXPECT(first, 12, 1, 3);
    EXPECT(first, 7, 1, 3);             /* longer than the room: by itself */
}

static void test_items_without_tokens_take_no_room(void **state)
{
    static const int some[] = { 0, 0, 6, 0, 5, 0, 0 }, none[] = { 0, 0, 0 };
    int end[MOST];

    (void)state;
    assert_int_equal(cut(none, 3, 4, end), 1);
    assert_int_equal(cut(some, 7, 11, end), 1);
    assert_int_equal(cut(some, 7, 6, end), 2);
    assert_int_equal(cut(some, 0, 6, end), 0);
}

static void test_pass_ends_where_it_is_told_to(void **state)
{
    static const int rows[] = { 2, 2, 2, 2, 2, 2 };
    struct passes p = { 6, 100, tokens_of, rows };

    (void)state;
    assert_int_equal(pass_end(&p, 0, 4), 4);
    assert_int_equal(pass_end(&p, 4, 5), 5);
    p.room = 6;
    assert_int_equal(pass_end(&p, 0, 4), 3);
}

static int filled_passes(const int *tokens, int n, int room)
{
    int passes = 0;

    for (int i = 0, sum; i < n; passes++)
        for (sum = 0; i < n && sum + tokens[i] <= room; i++)
            sum += tokens[i];
    return passes;
}

/* Ragged items of any kind: the fewest passes, all within the room; and with room to spare none is
 * further from the mean than the longest item. */
static void test_passes_are_the_fewest_and_about_equal(void **state)
{
    (void)state;
    for (uint32_t step = 0; step < 2000; step++) {
        struct counter c = { .seed = 5, .step = step };
        int tokens[MOST], end[MOST], n, room, longest = 0, total = 0, passes;
        uint32_t words[4];

        random_words(&c, words);
        n = 1 + (int)(words[0] % MOST);
        room = 100 + (int)(words[1] % 1000);
        for (int i = 0; i < n; i++) {
            c.position = (uint32_t)i + 1;
            random_words(&c, words);
            tokens[i] = words[1] % 10 == 0 ? 1 + (int)(words[0] % 100) : 1 + (int)(words[0] % 20);
            longest = tokens[i] > longest ? tokens[i] : longest;
            total += tokens[i];
        }
        passes = cut(tokens, n, room, end);
        assert_int_equal(passes, filled_passes(tokens, n, room));
        for (int p = 0, i = 0, sum; p < passes; p++) {
            for (sum = 0; i < end[p]; i++)
                sum += tokens[i];
            assert_true(sum <= room);
            if (total / passes + longest <= room)
                assert_in_range(sum + longest, total / passes, total / passes + 2 * longest);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits_exactly_is_one_pass),
        cmocka_unit_test(test_two_passes_share_what_is_too_much_for_one),
        cmocka_unit_test(test_no_pass_is_added),
        cmocka_unit_test(test_long_row_among_short_ones),
        cmocka_unit_test(test_items_without_tokens_take_no_room),
        cmocka_unit_test(test_pass_ends_where_it_is_told_to),
        cmocka_unit_test(test_passes_are_the_fewest_and_about_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
