/* An orchestrator at work: the weights of a row are those of its prompt alone, whatever its
 * response and the other rows are, and training batches get them from the reward role. */
#include <math.h>

#include "data/batch.h"
#include "model/mixture.h"
#include "reward/mix.h"
#include "reward/reward.h"
#include "tests/tiny_model.h"

#define GROUPS 5
#define K 3
#define ROWS (GROUPS * K)
#define ROW 24
#define PROMPT 14
#define R 3

struct scene {
    struct model_shape shape;
    struct tiny t;
    struct batch b;
    struct memory memory;
};

/* Prompts of 2, 5, ... tokens, and responses that differ. */
static void fill(struct batch *b)
{
    b->P = b->groups = GROUPS, b->k = K, b->group = 0, b->N = ROWS;
    b->filled = COL_TOKENS;
    for (int n = 0; n < ROWS; n++) {
        int prompt = 2 + n / K * 3, length = prompt + 1 + (n * 7) % 9;
        for (int i = 0; i < length; i++)
            b->tokens[b->T++] = (int)(tiny_word((uint32_t)(i < prompt ? n / K * 100 + i
                                                                      : 5000 + n * 100 + i)) % 70);
        b->start[n + 1] = b->T;
        b->prompt_len[n] = prompt;
        b->prompt[n] = n / K;
    }
}

/* s must stay where it is. */
static void open_scene(struct scene *s, const char *compute)
{
    s->shape = tiny_shapes[0];
    s->shape.scores = R;
    s->t = tiny_open_shape(&s->shape, compute);
    memset(&s->memory, 0, sizeof s->memory);
    memory_count(&s->memory);
    batch_layout(&s->b, &s->memory, ROWS, ROWS * ROW, R);
    assert_ok(memory_open(&s->memory));
    batch_layout(&s->b, &s->memory, ROWS, ROWS * ROW, R);
    batch_clear(&s->b);
    fill(&s->b);
}

static void close_scene(struct scene *s)
{
    memory_close(&s->memory);
    tiny_close(&s->t);
}

/* As the learner of an orchestrator sees row n: prompt and response in one pass. */
static void as_trained(struct scene *s, int n, double *w)
{
    int length = s->b.start[n + 1] - s->b.start[n], start[] = { 0, length };
    int at = s->b.prompt_len[n] - 1;
    float score[ROW * R];
    struct model_outputs out = { .score = score };
    struct trainer *tr;

    assert_ok(trainer_create(&tr, s->t.model, 1, length, false));
    assert_ok(model_run(tr, s->b.tokens + s->b.start[n], start, 1, 1, false, &out));
    for (int r = 0; r < R; r++)
        w[r] = score[at * R + r];
    mixture_softmax(w, w, R, 1);
    trainer_destroy(tr);
}

static void test_weights_are_those_of_the_prompt_alone(void **state)
{
    (void)state;
    for (int micro = 1; micro <= GROUPS + 2; micro += 3) {
        struct scene s;
        struct mix *mix;
        bool differ = false;

        open_scene(&s, micro == 1 ? "ref" : "cpu");
        assert_ok(mix_create(&mix, s.t.model, micro, PROMPT));
        assert_ok(mix_fill(mix, &s.b));
        assert_true(s.b.filled == (COL_TOKENS | COL_MIX));
        for (int n = 0; n < ROWS; n++) {
            double w[R];
            as_trained(&s, n, w);
            assert_memory_equal(s.b.mix + n * R, w, sizeof w);
            differ |= fabs(w[0] - s.b.mix[0]) > 1e-3;
        }
        assert_true(differ);
        mix_destroy(mix);
        close_scene(&s);
    }
}

static void test_what_cannot_be_weighed_is_said(void **state)
{
    struct scene s;
    struct mix *mix;
    const struct array *head;

    (void)state;
    open_scene(&s, "ref");
    head = model_array(s.t.model, SCORE_WEIGHT);
    status_hold(true);
    assert_ok(mix_create(&mix, s.t.model, 2, PROMPT - 1));
    assert_int_equal(mix_fill(mix, &s.b), RL_EBUG);     /* the last prompt has PROMPT tokens */
    assert_non_null(strstr(status_message(), "a prompt of 14 tokens"));
    status_drop();
    mix_destroy(mix);
    assert_ok(mix_create(&mix, s.t.model, 2, PROMPT));
    model_weights(s.t.model)[head->offset] = NAN;
    model_changed(s.t.model);
    assert_int_equal(mix_fill(mix, &s.b), RL_ENAN);
    assert_non_null(strstr(status_message(), "orchestrator.model gives prompt 1 no finite"));
    status_drop();
    status_hold(false);
    mix_destroy(mix);
    close_scene(&s);
}

static void test_rewards_bring_the_weights_but_not_to_evaluations(void **state)
{
    static struct config_reward three[R] = {
        { .kind = "length", .name = "a", .unit = "tokens", .target = -1 },
        { .kind = "length", .name = "b", .unit = "tokens", .target = -1 },
        { .kind = "length", .name = "c", .unit = "tokens", .target = 5 } };
    struct config c = { .rewards = three, .n_rewards = R, .micro_rows = 4 };
    struct reward *reward;
    struct scene s;
    double w[R];

    (void)state;
    open_scene(&s, "cpu");
    assert_ok(reward_create(&reward, &(struct reward_parts){
        .config = &c, .row_tokens = ROW, .orchestrator = s.t.model, .max_prompt = PROMPT }));
    assert_ok(reward_fill(reward, &s.b, NULL, PURPOSE_EVAL));
    assert_true(s.b.filled == (COL_TOKENS | COL_REWARD));
    for (int purpose = 0; purpose < 2; purpose++) {
        s.b.filled = COL_TOKENS;
        assert_ok(reward_fill(reward, &s.b, NULL, purpose ? PURPOSE_SAMPLE : PURPOSE_REFERENCE));
        assert_true(s.b.filled == (COL_TOKENS | COL_REWARD | COL_MIX));
    }
    as_trained(&s, ROWS - 1, w);
    assert_memory_equal(s.b.mix + (ROWS - 1) * R, w, sizeof w);
    reward_destroy(reward);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_are_those_of_the_prompt_alone),
        cmocka_unit_test(test_what_cannot_be_weighed_is_said),
        cmocka_unit_test(test_rewards_bring_the_weights_but_not_to_evaluations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
