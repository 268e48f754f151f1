/* Scores from outside: those that do not come, and those that are on record. */
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "reward/record.h"
#include "reward/reward.h"
#include "tests/letters.h"
#include "tests/scorer.h"

static void batch_make(struct batch *b, struct memory *m, int R)
{
    memset(b, 0, sizeof *b);
    memory_count(m);
    batch_layout(b, m, 4, 100, R);
    assert_ok(memory_open(m));
    batch_layout(b, m, 4, 100, R);
    b->step = 11, b->P = 4, b->k = 2, b->group = 2, b->groups = 2, b->N = 4;
    for (int n = 0; n < 4; n++) {
        for (int i = 0; i < 3 + n; i++)
            b->tokens[b->T++] = 2 + (n + i) % 4;
        b->prompt_len[n] = 1;
        b->finish[n] = FINISH_EOS;
        b->start[n + 1] = b->T;
    }
    b->filled = COL_TOKENS;
}

struct setting {
    struct config_reward rewards[2];
    struct config config;
    struct tokenizer *tokenizer;
    struct reward *reward;
    struct memory memory;
    struct batch b;
};

/* A reward of ours and one from outside. */
static void setting_open(struct setting *s, const char *mode)
{
    s->rewards[0] = (struct config_reward){ .kind = "length", .name = "len", .target = -1 };
    s->rewards[1] = scorer_process(mode);
    s->config = (struct config){ .rewards = s->rewards, .n_rewards = 2 };
    assert_ok(tokenizer_parse(&s->tokenizer, letters, strlen(letters), "letters"));
    batch_make(&s->b, &s->memory, 2);
    assert_ok(reward_create(&s->reward, &(struct reward_parts){
        .config = &s->config, .tokenizer = s->tokenizer }));
}

static void setting_close(struct setting *s)
{
    reward_destroy(s->reward);
    tokenizer_close(s->tokenizer);
    memory_close(&s->memory);
}

static void test_missing_scores_are_skipped_or_an_error(void **state)
{
    struct setting s;

    (void)state;
    setting_open(&s, "nan");
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < 4; n++)
        assert_true(s.b.reward[2 * n] == 2 + n && isnan(s.b.reward[2 * n + 1]));
    s.rewards[1].on_failure = "error";
    status_hold(true);
    assert_int_equal(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE), RL_ENAN);
    assert_int_equal(s.b.status, RL_ENAN);
    if (!strstr(status_message(), "reward \"p\": step 12, row 4 has no score"))
        fail_msg("%s", status_message());
    status_drop();
    status_hold(false);
    setting_close(&s);
}

static void test_notes_wait_for_their_step(void **state)
{
    struct text notes = {0};
    struct setting s;

    (void)state;
    setting_open(&s, "nan");
    reward_destroy(s.reward);
    assert_ok(reward_create(&s.reward, &(struct reward_parts){
        .config = &s.config, .tokenizer = s.tokenizer, .notes = true }));
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_EVAL));
    reward_missing(s.reward, 10, &notes);
    assert_string_equal(notes.data, "-1 1 4 4 null or not a finite number\n");
    text_clear(&notes);
    reward_missing(s.reward, 11, &notes);
    assert_string_equal(notes.data, "11 1 4 4 null or not a finite number\n");
    text_clear(&notes);
    reward_missing(s.reward, 11, &notes);
    assert_int_equal(notes.size, 0);
    text_free(&notes);
    setting_close(&s);
}

static void test_a_score_that_no_square_holds_is_missing(void **state)
{
    struct setting s;

    (void)state;
    setting_open(&s, "huge");
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < 4; n++)
        assert_true(n % 2 ? s.b.reward[2 * n + 1] == -1e30 : isnan(s.b.reward[2 * n + 1]));
    s.rewards[1].on_failure = "error";
    status_hold(true);
    assert_int_equal(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE), RL_ENAN);
    if (!strstr(status_message(), "reward \"p\": step 12, row 4 has no score: beyond +-1e30"))
        fail_msg("%s", status_message());
    status_drop();
    status_hold(false);
    setting_close(&s);
}

/* The record of a step, as a run writes it: rows 0 to 3 of another rank, then those of b. */
static void record_of(struct setting *s, struct text *line)
{
    struct text rows = {0};

    for (int n = 0; n < 4; n++)
        text_addf(&rows, "[\"%016x\",%d],", n, -n);
    for (int g = 0; g < s->b.groups; g++)
        record_group(&s->config, &s->b, g, RECORD_ROWS, 0, &rows);
    record_line(&s->config, s->b.step, RECORD_ROWS, &rows, line);
    text_free(&rows);
}

static void test_scores_on_record_are_not_asked_again(void **state)
{
    struct text line = {0};
    struct setting s;

    (void)state;
    setting_open(&s, "plain");
    assert_int_equal(record_columns(&s.config), 1);
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    assert_true(s.b.reward[1] == 3 && s.b.reward[7] == 9);      /* "a b" */
    s.b.reward[1] = 0.1;                        /* what another day would have said */
    s.b.reward[3] = NAN;
    record_of(&s, &line);
    assert_ok(reward_replay(s.reward, line.data, line.size));
    memset(s.b.reward, 0, 8 * sizeof *s.b.reward);
    s.b.tokens[s.b.start[3]]++;                 /* another response: it is asked */
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    assert_true(s.b.reward[1] == 0.1 && isnan(s.b.reward[3]));
    assert_true(s.b.reward[5] == 7 && s.b.reward[7] == 9 && s.b.reward[0] == 2);
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_EVAL));
    assert_true(s.b.reward[1] == 3);            /* no evaluation is on record */
    s.b.step = 12;
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    assert_true(s.b.reward[1] == 3);
    setting_close(&s);
    text_free(&line);
}

/* Rows that were replaced are found by the number of their round, and then those that came in their
 * place, of whichever round they are. */
static void test_rounds_are_on_record(void **state)
{
    struct setting s;
    struct text rows = {0}, line = {0};

    (void)state;
    setting_open(&s, "plain");
    s.b.P = 2;                                  /* groups 0 and 1: group 1 is held here */
    s.b.k = 4, s.b.group = s.b.groups = 1;
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < 4; n++)
        s.b.reward[2 * n + 1] = 0.25 * n;
    record_group(&s.config, &s.b, 0, RECORD_REPLACED, 1, &rows);    /* of round 1: rows 12 .. 15 */
    assert_non_null(strstr(rows.data, "[12,\""));
    record_line(&s.config, s.b.step, RECORD_REPLACED, &rows, &line);
    for (int n = 0; n < 4; n++)
        s.b.reward[2 * n + 1] = 0.5 * n;
    record_of(&s, &line);
    assert_ok(reward_replay(s.reward, line.data, line.size));
    for (int round = 0; round < 3; round++) {
        s.b.group = 1 + round * s.b.P;
        assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
        for (int n = 0; n < 4; n++)
            assert_true(s.b.reward[2 * n + 1] == (round == 1 ? 0.25 : 0.5) * n);
    }
    setting_close(&s);
    text_free(&rows);
    text_free(&line);
}

/* The third batch before the first step: its scores are neither those of step 0 nor of step 2. */
static void test_observed_rows_are_on_record(void **state)
{
    struct setting s;
    struct text rows = {0}, lines = {0};

    (void)state;
    setting_open(&s, "plain");
    s.b.step = 2;
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_REFERENCE));
    for (int n = 0; n < 4; n++)
        s.b.reward[2 * n + 1] = 0.25 * n;
    for (int g = 0; g < 2; g++)
        record_group(&s.config, &s.b, g, RECORD_OBSERVED, s.b.step, &rows);
    assert_non_null(strstr(rows.data, "[20,\""));       /* (2 x 4 + 2) x 2 */
    record_line(&s.config, 0, RECORD_OBSERVED, &rows, &lines);
    for (int n = 0; n < 4; n++)
        s.b.reward[2 * n + 1] = 0.5 * n;
    record_of(&s, &lines);
    assert_ok(reward_replay(s.reward, lines.data, lines.size));
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_REFERENCE));
    for (int n = 0; n < 4; n++)
        assert_true(s.b.reward[2 * n + 1] == 0.25 * n);
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < 4; n++)
        assert_true(s.b.reward[2 * n + 1] == 0.5 * n);
    s.b.step = 0;                               /* the same responses: they are asked */
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_SAMPLE));
    assert_true(s.b.reward[1] == 3);
    assert_ok(reward_fill(s.reward, &s.b, NULL, PURPOSE_REFERENCE));
    assert_true(s.b.reward[1] == 3);
    setting_close(&s);
    text_free(&rows);
    text_free(&lines);
}

static void test_records_are_read_or_refused(void **state)
{
    struct setting s;
    struct record *record;
    struct text lines = {0};
    double score;

    (void)state;
    setting_open(&s, "plain");
    text_adds(&lines, "{\"step\":1,\"rewards\":[\"other\"],\"rows\":[[\"0000000000000001\",1]]}\n"
                      "{\"step\":2,\"rewards\":[\"p\"],\"rows\":[[\"0000000000000001\",1]]}\n"
                      "{\"step\":2,\"rewards\":[\"p\"],\"rows\":[[\"00000000000000aF\",0.25]]}\n");
    assert_ok(record_read(&record, &s.config, lines.data, lines.size));
    assert_false(record_find(record, RECORD_ROWS, 0, 0, 1, 1, &score));
    assert_false(record_find(record, RECORD_ROWS, 1, 0, 1, 1, &score));
    assert_false(record_find(record, RECORD_ROWS, 0, 1, 0xaf, 1, &score));
    assert_true(record_find(record, RECORD_ROWS, 1, 0, 0xaf, 1, &score) && score == 0.25);
    record_free(record);
    text_adds(&lines, "{\"step\":2,\"rewards\":[\"p\"],\"rows\":[[\"00000000000000af\",null]]}\n");
    assert_ok(record_read(&record, &s.config, lines.data, lines.size));
    assert_true(record_find(record, RECORD_ROWS, 1, 0, 0xaf, 1, &score) && score == 0.25);
    record_free(record);
    text_adds(&lines, "{\"step\":3,\"rewards\":[\"p\"],\"rows\":[[\"xyz\",1]]}\n");
    status_hold(true);
    assert_int_equal(record_read(&record, &s.config, lines.data, lines.size), RL_EINVAL);
    assert_null(record);
    assert_non_null(strstr(status_message(), "line 5"));
    status_drop();
    status_hold(false);
    setting_close(&s);
    text_free(&lines);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_scores_are_skipped_or_an_error),
        cmocka_unit_test(test_notes_wait_for_their_step),
        cmocka_unit_test(test_a_score_that_no_square_holds_is_missing),
        cmocka_unit_test(test_scores_on_record_are_not_asked_again),
        cmocka_unit_test(test_rounds_are_on_record),
        cmocka_unit_test(test_observed_rows_are_on_record),
        cmocka_unit_test(test_records_are_read_or_refused),
    };

    if (argc == 3 && strcmp(argv[1], "scorer") == 0)
        return scorer_main(argv[2]);
    log_quiet(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
