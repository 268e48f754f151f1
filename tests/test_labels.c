/* Samples of a prompt and their scores become records. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "launch/labels.h"
#include "tests/support.h"

static const double scores[] = { 3, 0, 1, 0, 2, NAN, 3 };

/* Seven samples; the last is the first again. */
static void fill(struct labels *l)
{
    l->count = 0;
    l->prompt.count = 0;
    ids_add(&l->prompt, 5);
    for (int i = 0; i < 7; i++) {
        struct sample *s = labels_add(l);
        assert_non_null(s);
        for (int k = 0; k < 3; k++)
            ids_add(&s->ids, k * 10 + (i == 6 ? 0 : i));
        s->score = scores[i];
        for (int r = 0; r < l->R; r++)
            l->scores[i * l->R + r] = r ? -scores[i] : scores[i];
    }
}

/* The lines that are written, and their number. */
static int64_t lines_of(struct labels *l, struct text *out)
{
    char *data = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&data, &size);

    text_clear(out);
    fill(l);
    labels_write(l, file);
    fclose(file);
    text_add(out, data, size);
    free(data);
    return l->written;
}

static void test_pairs_are_best_and_worst_matched_or_all(void **state)
{
    static const int64_t want[] = { 1, 3, 13 };         /* of 3 3 2 1 0 0 */
    static const char first[] = "{\"prompt\":\"\",\"prompt_ids\":[5],\"chosen_ids\":[0,10,20],"
                                "\"rejected_ids\":";
    struct text out = { 0 };

    (void)state;
    for (int way = 0; way < 3; way++) {
        struct labels l = { .R = 1, .pairing = (enum labels_pairing)way, .most = -1 };

        assert_int_equal(lines_of(&l, &out), want[way]);
        assert_true(strncmp(out.data, first, sizeof first - 1) == 0);
        labels_free(&l);
    }
    text_free(&out);
}

static void test_gaps_and_most_bound_the_pairs(void **state)
{
    struct labels l = { .R = 1, .pairing = LABELS_ALL, .most = -1, .gap = 1 };
    struct labels few = { .R = 1, .pairing = LABELS_ALL, .most = 2 };
    struct text out = { 0 };

    (void)state;
    assert_int_equal(lines_of(&l, &out), 8);            /* 2 or 3 apart */
    assert_float_equal(l.gaps, 2 * (2 + 3 + 3) + 2 + 2, 1e-12);
    assert_int_equal(lines_of(&few, &out), 2);
    assert_true(labels_full(&few));
    labels_free(&l);
    labels_free(&few);
    text_free(&out);
}

static void test_signs_are_those_of_each_reward(void **state)
{
    static const char *const names[] = { "good", "short" };
    struct labels l = { .R = 2, .most = 1, .signs = true, .names = names };
    struct text out = { 0 };
    struct json *json;

    (void)state;
    lines_of(&l, &out);
    json = json_parse(out.data, out.size, "out");
    assert_non_null(json);
    assert_int_equal(json_int(json_get(json_get(json, "signs"), "good"), 9), 1);
    assert_int_equal(json_int(json_get(json_get(json, "signs"), "short"), 9), -1);
    assert_true(json_number(json_get(json, "score_chosen"), 0) == 3);
    json_free(json);
    labels_free(&l);
    text_free(&out);
}

static void test_lists_and_singles_leave_out_what_has_no_score(void **state)
{
    struct labels list = { .kind = LABELS_LISTS, .R = 1, .most = -1 };
    struct labels singles = { .kind = LABELS_SINGLES, .R = 1, .most = -1, .above = 0.5 };
    struct text out = { 0 };
    struct json *json;
    int good = 0;

    (void)state;
    assert_int_equal(lines_of(&list, &out), 1);
    json = json_parse(out.data, out.size, "out");
    assert_non_null(json);
    assert_int_equal(json_size(json_get(json, "responses_ids")), 6);
    assert_true(json_number(json_at(json_get(json, "scores"), 5), 9) == 0);
    json_free(json);
    assert_int_equal(lines_of(&singles, &out), 6);
    for (const char *at = out.data; (at = strstr(at, "\"label\":true")); at++)
        good++;
    assert_int_equal(good, 4);
    labels_free(&list);
    labels_free(&singles);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_are_best_and_worst_matched_or_all),
        cmocka_unit_test(test_gaps_and_most_bound_the_pairs),
        cmocka_unit_test(test_signs_are_those_of_each_reward),
        cmocka_unit_test(test_lists_and_singles_leave_out_what_has_no_score),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
