/* Questions with an answer of one token, and a judge at work on a batch. */
#include <math.h>

#include "model/ask.h"
#include "reward/verdicts.h"
#include "tests/tiny_batch.h"

#define QUESTIONS 5

/* Rows of different lengths, one of several pages. */
static int questions(int V, int *tokens, int start[QUESTIONS + 1])
{
    static const int length[QUESTIONS] = { 3, 70, 32, 1, 33 };

    start[0] = 0;
    for (int n = 0; n < QUESTIONS; n++) {
        start[n + 1] = start[n] + length[n];
        for (int i = start[n]; i < start[n + 1]; i++)
            tokens[i] = (int)(tiny_word((uint32_t)i) % (uint32_t)V);
    }
    return start[QUESTIONS];
}

static void ask(struct tiny *t, int rows, float out[QUESTIONS][2])
{
    int tokens[256], start[QUESTIONS + 1], ids[2] = { 8, 9 };
    struct asker *a;

    questions(t->shape->V, tokens, start);
    assert_ok(asker_create(&a, t->model, rows, 70));
    assert_ok(asker_run(a, tokens, start, QUESTIONS, ids, 2, &out[0][0]));
    assert_ok(asker_run(a, tokens, start, QUESTIONS, ids, 2, &out[0][0]));    /* pages came back */
    asker_destroy(a);
}

static void check_cut(struct tiny *t)
{
    float one[QUESTIONS][2], some[QUESTIONS][2], all[QUESTIONS][2];

    ask(t, 1, one);
    ask(t, 2, some);
    ask(t, QUESTIONS, all);
    assert_memory_equal(one, some, sizeof one);
    assert_memory_equal(one, all, sizeof one);
}

static void test_how_questions_are_cut_changes_no_bit(void **state)
{
    (void)state;
    tiny_each(check_cut);
}

/* l_A - l_B is the difference of the log-probabilities of both answers. */
static void check_logps(struct tiny *t)
{
    int tokens[300], start[QUESTIONS + 1];
    float out[QUESTIONS][2], logp[2][300];
    struct trainer *trainer;

    ask(t, 2, out);
    assert_ok(trainer_create_scoring(&trainer, t->model, 1, 71));
    for (int n = 0; n < QUESTIONS; n++) {
        int row[72], one[2] = { 0 }, length;
        questions(t->shape->V, tokens, start);
        length = start[n + 1] - start[n];
        memcpy(row, tokens + start[n], (size_t)length * sizeof *row);
        one[1] = length + 1;
        for (int which = 0; which < 2; which++) {
            row[length] = 8 + which;
            assert_ok(model_logprobs(trainer, row, one, 1, 1.0f, false, logp[which], NULL));
        }
        assert_true(fabs((double)(out[n][0] - out[n][1]) -
                         (double)(logp[0][length] - logp[1][length])) < 1e-4);
    }
    trainer_destroy(trainer);
}

static void test_differences_are_those_of_log_probabilities(void **state)
{
    (void)state;
    tiny_each(check_logps);
}

static void test_a_question_too_long_is_refused(void **state)
{
    struct tiny t = tiny_open(0, "cpu");
    int tokens[256], start[QUESTIONS + 1], ids[2] = { 8, 9 };
    float out[QUESTIONS][2];
    struct asker *a;

    (void)state;
    questions(t.shape->V, tokens, start);
    assert_ok(asker_create(&a, t.model, 2, 69));
    status_hold(true);
    assert_int_equal(asker_run(a, tokens, start, QUESTIONS, ids, 2, &out[0][0]), RL_EBUG);
    status_drop();
    status_hold(false);
    asker_destroy(a);
    tiny_close(&t);
}

/* ---- a batch */

static const char merging[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":1,\"a\":2,\"b\":3,\" \":6,\"<e>\":7,\"A\":8,"
    "\"B\":9,\"?\":11},\"merges\":[]},\"added_tokens\":[{\"id\":1,\"content\":\"<s>\","
    "\"special\":true}],\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
    "[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":"
    "{\"<s>\":{\"ids\":[1]}}}}";

struct bench {
    struct tiny tiny;
    struct tokenizer *tokenizer;
    struct judge *judge;
    struct tiny_batch batch;
    struct batch *b;
};

static void bench_open(struct bench *s, const char *template)
{
    s->tiny = tiny_open(0, "cpu");
    assert_ok(tokenizer_parse(&s->tokenizer, merging, strlen(merging), "merging"));
    assert_ok(judge_parse(&s->judge, template, strlen(template), "judge.txt", s->tokenizer, 70));
    s->b = tiny_batch_open(&s->batch, s->tiny.model, 2, 3, 1, 0, 2);
}

static void bench_close(struct bench *s)
{
    tiny_batch_close(&s->batch);
    judge_close(s->judge);
    tokenizer_close(s->tokenizer);
    tiny_close(&s->tiny);
}

static void judge_batch(struct bench *s, int rows, struct said *said)
{
    struct verdicts *v;

    assert_ok(verdicts_create(&v, &(struct verdicts_parts){
        .model = s->tiny.model, .judge = s->judge, .tokenizer = s->tokenizer, .rows = rows,
        .row_tokens = TINY_ROW }));
    verdicts_begin(v, NULL);
    assert_ok(verdicts_run(v, s->b));
    for (int n = 0; n < s->b->N; n++)
        said[n] = verdicts_of(v, n);
    verdicts_destroy(v);
}

static void test_the_baseline_is_not_judged_and_the_others_are(void **state)
{
    struct said said[6], again[6];
    struct bench s;

    (void)state;
    bench_open(&s, "{prompt}A{a}B{b}? ");
    judge_batch(&s, 1, said);
    judge_batch(&s, 16, again);
    assert_memory_equal(said, again, sizeof said);
    for (int n = 0; n < 6; n++)
        assert_true(n % 3 ? said[n].lam != 0 : said[n].lam == 0 && said[n].bias == 0);
    bench_close(&s);
}

/* Row 1 says what the baseline says, whether it ends by itself or not. */
static void test_equal_answers_are_equally_good(void **state)
{
    struct said said[6];
    struct bench s;

    (void)state;
    bench_open(&s, "{prompt}A{a}B{b}? ");
    for (int n = 0; n < 2; n++) {
        s.b->start[n + 1] = s.b->start[n] + s.b->prompt_len[0] + 3;
        for (int i = 0; i < 3; i++)
            s.b->tokens[s.b->start[n] + s.b->prompt_len[0] + i] = 20 + i;
        memcpy(s.b->tokens + s.b->start[n], s.b->tokens, (size_t)s.b->prompt_len[0] * sizeof(int));
        s.b->finish[n] = FINISH_LENGTH;
    }
    s.b->N = 3, s.b->groups = 1;
    judge_batch(&s, 4, said);
    assert_true(said[1].lam == 0 && said[1].bias != 0);
    bench_close(&s);
}

static void test_a_missing_baseline_is_an_error(void **state)
{
    struct verdicts *v;
    struct bench s;

    (void)state;
    bench_open(&s, "{prompt}A{a}B{b}? ");
    assert_ok(verdicts_create(&v, &(struct verdicts_parts){
        .model = s.tiny.model, .judge = s.judge, .tokenizer = s.tokenizer, .field = "answer",
        .rows = 4, .row_tokens = TINY_ROW }));
    verdicts_begin(v, NULL);
    status_hold(true);
    assert_int_equal(verdicts_run(v, s.b), RL_EINVAL);
    assert_non_null(strstr(status_message(), "osp.baseline"));
    status_drop();
    status_hold(false);
    verdicts_destroy(v);
    bench_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_how_questions_are_cut_changes_no_bit),
        cmocka_unit_test(test_differences_are_those_of_log_probabilities),
        cmocka_unit_test(test_a_question_too_long_is_refused),
        cmocka_unit_test(test_the_baseline_is_not_judged_and_the_others_are),
        cmocka_unit_test(test_equal_answers_are_equally_good),
        cmocka_unit_test(test_a_missing_baseline_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
