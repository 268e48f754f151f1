/* The reward "model": what a trained reward model says of a batch is that of each row alone, for
 * every verdict, head, user and context. */
#include <math.h>

#include "compute/math.h"
#include "data/batch.h"
#include "reward/reward.h"
#include "reward/scorer.h"
#include "tests/tiny_model.h"

#define GROUPS 3
#define K 3
#define ROWS (GROUPS * K)
#define ROW 30

static const struct verdict verdicts[] = {
    { .kind = VERDICT_SCORES, .temperature = 2 },
    { .kind = VERDICT_POINT, .dim = 3, .prototypes = 2, .users = 4, .factor = 1 },
    { .kind = VERDICT_POINT, .dim = 2, .prototypes = 2, .users = 4, .factor = 3, .cosine = true,
      .of_prompt = true },
    { .kind = VERDICT_GENERAL, .planes = 2, .tau = 0.5, .unit = true },
    { .kind = VERDICT_GENERAL, .planes = 2, .tau = 0.5, .scale = GPM_LEARNED },
    { .kind = VERDICT_GENERAL, .planes = 2, .tau = 0.5, .scale = GPM_PROMPT },
};
#define VERDICTS ((int)(sizeof verdicts / sizeof *verdicts))

struct scene {
    struct model_shape shape;
    struct tiny t;
    struct batch b;
    struct memory memory;
};

static void fill(struct scene *s, int R)
{
    struct batch *b = &s->b;

    memset(&s->memory, 0, sizeof s->memory);
    memory_count(&s->memory);
    batch_layout(b, &s->memory, ROWS, ROWS * ROW, R);
    assert_ok(memory_open(&s->memory));
    batch_layout(b, &s->memory, ROWS, ROWS * ROW, R);
    batch_clear(b);
    b->P = b->groups = GROUPS, b->k = K, b->group = 0, b->N = ROWS;
    b->filled = COL_TOKENS;
    for (int n = 0; n < ROWS; n++) {
        int prompt = 2 + n / K * 3, length = prompt + 1 + (n * 7) % 11;
        for (int i = 0; i < length; i++)
            b->tokens[b->T++] = (int)(tiny_word((uint32_t)(i < prompt ? n / K * 100 + i
                                                                      : 5000 + n * 100 + i)) % 70);
        b->start[n + 1] = b->T;
        b->prompt_len[n] = prompt;
        b->prompt[n] = n / K;
    }
}

/* s must stay where it is. */
static void open_scene(struct scene *s, int v, const char *compute, int R)
{
    s->shape = tiny_shapes[0];
    s->shape.lm = false;
    s->shape.verdict = verdicts[v];
    s->shape.scores = verdict_outputs(&verdicts[v], 3);
    s->t = tiny_open_shape(&s->shape, compute);
    fill(s, R);
}

static void close_scene(struct scene *s)
{
    memory_close(&s->memory);
    tiny_close(&s->t);
}

/* The outputs of row n alone. */
static void alone(struct scene *s, int n, float *last)
{
    int length = s->b.start[n + 1] - s->b.start[n], start[] = { 0, length }, S = s->shape.scores;
    float score[ROW * 16];
    struct model_outputs out = { .score = score };
    struct trainer *tr;

    assert_true(S <= 16);
    assert_ok(trainer_create(&tr, s->t.model, 1, length, false));
    assert_ok(model_run(tr, s->b.tokens + s->b.start[n], start, 1, 1, false, &out));
    memcpy(last, score + (length - 1) * S, (size_t)S * sizeof *last);
    trainer_destroy(tr);
}

static void test_a_score_is_that_of_the_row_alone(void **state)
{
    (void)state;
    for (int micro = 1; micro <= ROWS + 2; micro += 5) {
        struct scene s;
        struct scorer *scorer;

        open_scene(&s, 0, micro == 1 ? "ref" : "cpu", 1);
        assert_ok(scorer_create(&scorer, s.t.model, micro, ROW));
        assert_ok(scorer_run(scorer, &s.b, NULL));
        for (int n = 0; n < ROWS; n++) {
            float last[16];
            alone(&s, n, last);
            for (int h = 0; h < 3; h++)
                assert_true(scorer_reward(scorer, n, h) == last[h]);
        }
        scorer_destroy(scorer);
        close_scene(&s);
    }
}

static void test_margins_turn_round(void **state)
{
    (void)state;
    for (int v = 0; v < VERDICTS; v++) {
        struct scene s;
        struct scorer *scorer;
        double mean = 0;

        open_scene(&s, v, "cpu", 1);
        assert_ok(scorer_create(&scorer, s.t.model, 4, ROW));
        assert_ok(scorer_run(scorer, &s.b, NULL));
        for (int g = 0; g < GROUPS; g++) {
            assert_true(scorer_margin(scorer, g * K, g * K + 1, 1) ==
                        -scorer_margin(scorer, g * K + 1, g * K, 1));
            assert_true(scorer_margin(scorer, g * K, g * K + 2, 1) != 0);
        }
        for (int user = 0; user < 4 && verdicts[v].kind == VERDICT_POINT; user++)
            mean += scorer_reward(scorer, 2, user) / 4;
        if (verdicts[v].kind == VERDICT_POINT)
            assert_float_equal(scorer_reward(scorer, 2, -1), mean, 1e-9);
        scorer_destroy(scorer);
        close_scene(&s);
    }
}

/* ---- the kind */

static struct config_reward column(const char *name, int head)
{
    return (struct config_reward){ .kind = "model", .name = (char *)name, .weight = 1,
                                   .head = head, .user = -1, .on_failure = "error" };
}

static struct reward *open_rewards(struct scene *s, struct config *c, struct config_reward *rows,
                                   int n, struct tokenizer *tokenizer)
{
    struct model *models[4] = { s->t.model, s->t.model, s->t.model, s->t.model };
    struct reward *reward;

    *c = (struct config){ .rewards = rows, .n_rewards = n, .micro_rows = 2 };
    assert_ok(reward_create(&reward, &(struct reward_parts){
        .config = c, .tokenizer = tokenizer, .models = models, .row_tokens = ROW }));
    return reward;
}

static void test_columns_are_heads_and_temperature_divides(void **state)
{
    struct config_reward rows[3] = { column("a", 0), column("b", 2), column("c", 2) };
    struct config c;
    struct scene s;
    struct reward *reward;

    (void)state;
    rows[2].calibrated = true;
    open_scene(&s, 0, "cpu", 3);
    reward = open_rewards(&s, &c, rows, 3, NULL);
    assert_ok(reward_fill(reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < ROWS; n++) {
        float last[16];
        alone(&s, n, last);
        assert_true(s.b.reward[n * 3] == last[0]);
        assert_true(s.b.reward[n * 3 + 1] == last[2]);
        assert_true(s.b.reward[n * 3 + 2] == (double)last[2] / 2);
    }
    for (int n = 0; n < ROWS; n++)                      /* another batch in the same place */
        s.b.tokens[s.b.start[n + 1] - 1] = 3;
    assert_ok(reward_fill(reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int n = 0; n < ROWS; n++) {
        float last[16];
        alone(&s, n, last);
        assert_true(s.b.reward[n * 3] == last[0]);
    }
    reward_destroy(reward);
    close_scene(&s);
}

static void test_general_preferences_of_a_prompt_add_to_nothing(void **state)
{
    (void)state;
    for (int v = 3; v < VERDICTS; v++) {
        struct config_reward row = column("gpm", 0);
        struct config c;
        struct scene s;
        struct reward *reward;

        open_scene(&s, v, "cpu", 1);
        reward = open_rewards(&s, &c, &row, 1, NULL);
        assert_ok(reward_fill(reward, &s.b, NULL, PURPOSE_SAMPLE));
        for (int g = 0; g < GROUPS; g++) {
            double sum = 0, size = 0;
            for (int n = g * K; n < (g + 1) * K; n++) {
                sum += s.b.reward[n];
                size += fabs(s.b.reward[n]);
            }
            assert_true(size > 1e-3);
            assert_float_equal(sum, 0, 1e-9);
        }
        reward_destroy(reward);
        close_scene(&s);
    }
}

static struct tokenizer *letters(void)
{
    static const char text[] =
        "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, "
        "\"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": null, "
        "\"model\": {\"type\": \"BPE\", \"unk_token\": null, \"vocab\": {\"a\": 1, \"b\": 2, "
        "\"c\": 3}, \"merges\": []}}";
    struct tokenizer *t;

    assert_ok(tokenizer_parse(&t, text, sizeof text - 1, "letters"));
    return t;
}

static double sigmoid(double x)
{
    return 1 / (1 + rw_exp(-x));
}

/* P(i beats j) = sum_z p(z) sigmoid(r(z, i) - r(z, j)), each context being part of the prompt. */
static void test_contexts_are_part_of_the_prompt_and_mix(void **state)
{
    char *texts[] = { "ab", "c" };
    double weights[] = { 3, 1 };
    struct config_reward row = column("mixed", 1);
    struct tokenizer *tokenizer = letters();
    struct config c;
    struct scene s;
    struct reward *reward;
    double r[2][ROWS];

    (void)state;
    row.contexts = (struct strings){ texts, 2 };
    row.context_weights = (struct reals){ weights, 2 };
    open_scene(&s, 0, "cpu", 1);
    reward = open_rewards(&s, &c, &row, 1, tokenizer);
    assert_ok(reward_fill(reward, &s.b, NULL, PURPOSE_SAMPLE));
    for (int z = 0; z < 2; z++)
        for (int n = 0; n < ROWS; n++) {
            static const int ids[2][2] = { { 1, 2 }, { 3 } };
            int more = 2 - z, length = s.b.start[n + 1] - s.b.start[n] + more, tokens[ROW + 2];
            int start[] = { 0, length };
            float score[(ROW + 2) * 3];
            struct model_outputs out = { .score = score };
            struct trainer *tr;

            memcpy(tokens, ids[z], (size_t)more * sizeof *tokens);
            memcpy(tokens + more, s.b.tokens + s.b.start[n],
                   (size_t)(length - more) * sizeof *tokens);
            assert_ok(trainer_create(&tr, s.t.model, 1, length, false));
            assert_ok(model_run(tr, tokens, start, 1, 1, false, &out));
            r[z][n] = score[(length - 1) * 3 + 1];
            trainer_destroy(tr);
        }
    for (int n = 0; n < ROWS; n++) {
        double want = 0;
        for (int j = n - n % K; j < n - n % K + K; j++)
            if (j != n)
                want += 0.75 * sigmoid(r[0][n] - r[0][j]) + 0.25 * sigmoid(r[1][n] - r[1][j]);
        assert_float_equal(s.b.reward[n], want / (K - 1), 1e-12);
    }
    reward_destroy(reward);
    close_scene(&s);
    tokenizer_close(tokenizer);
}

static void test_bad_keys_are_refused(void **state)
{
    static char *one[] = { "a" };
    static double two[] = { 1, 1 }, zero[] = { 0 }, below[] = { -1 };
    struct config_reward bad[6];
    static const char *const says[] = { "head: 3, but the model has scores 0 to 2",
                                        "contexts: the model has no tokenizer",
                                        "2 weights for 1 contexts", "all of them are 0", "below 0",
                                        "user: 4, but the model knows users 0 to 3" };
    struct tokenizer *tokenizer = letters();

    (void)state;
    status_hold(true);
    for (int i = 0; i < 6; i++) {
        struct config c = { .rewards = &bad[i], .n_rewards = 1, .micro_rows = 2 };
        struct model *models[1];
        struct scene s;
        struct reward *reward;

        bad[i] = column("a", i == 0 ? 3 : 0);
        bad[i].user = i == 5 ? 4 : -1;
        if (i > 0 && i < 5)
            bad[i].contexts = (struct strings){ one, 1 };
        bad[i].context_weights = i == 2   ? (struct reals){ two, 2 }
                                 : i == 3 ? (struct reals){ zero, 1 }
                                 : i == 4 ? (struct reals){ below, 1 }
                                          : (struct reals){ NULL, 0 };
        open_scene(&s, i == 5 ? 1 : 0, "ref", 1);
        models[0] = s.t.model;
        assert_int_equal(reward_create(&reward, &(struct reward_parts){
            .config = &c, .tokenizer = i == 1 ? NULL : tokenizer, .models = models,
            .row_tokens = ROW }), RL_EINVAL);
        if (!strstr(status_message(), says[i]))
            fail_msg("'%s' does not say '%s'", status_message(), says[i]);
        close_scene(&s);
    }
    status_hold(false);
    tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_score_is_that_of_the_row_alone),
        cmocka_unit_test(test_margins_turn_round),
        cmocka_unit_test(test_columns_are_heads_and_temperature_divides),
        cmocka_unit_test(test_general_preferences_of_a_prompt_add_to_nothing),
        cmocka_unit_test(test_contexts_are_part_of_the_prompt_and_mix),
        cmocka_unit_test(test_bad_keys_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
