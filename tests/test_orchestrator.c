/* The orchestrator: its adapter learns weights by prompt and touches nothing else; how weights of a
 * prompt enter a score. */
#include <math.h>
#include <string.h>

#include "learner/internal.h"
#include "model/mixture.h"
#include "tests/support.h"
#include "tests/tiny_learner.h"

static struct config_reward two[2] = { { .kind = "length", .name = "long", .weight = 1 },
                                       { .kind = "regex", .name = "dull", .weight = -1 } };

static void open_two(struct run *r)
{
    struct config c = settings("orchestrator");

    c.rewards = two;
    c.n_rewards = 2;
    c.lr = 3e-2;
    open_run(r, c, "ref", comm_alone(), TINY_P);
}

static void close_two(struct run *r)
{
    comm_stop(r->team);
    close_run(r);
}

/* Even prompts have one long response, odd ones one that is not dull: those are preferred. */
static void score_rows(struct batch *b)
{
    for (int n = 0; n < b->N; n++) {
        bool best = n % b->k == 1, even = n / b->k % 2 == 0;
        b->reward[2 * n] = best && even ? 8 : 0;
        b->reward[2 * n + 1] = best && !even ? -8 : 0;
    }
}

static void test_softmax_and_its_divergence(void **state)
{
    double w[3], slopes[3], logits[3] = { 700, 699, -800 }, t[3] = { 0.25, 0.75, 0 }, kl;

    (void)state;
    mixture_softmax(w, logits, 3, 1);
    assert_true(fabs(w[0] + w[1] + w[2] - 1) < 1e-15 && w[2] == 0);
    assert_true(fabs(w[0] / w[1] - exp(1)) < 1e-12);
    kl = mixture_kl(t, logits, 3, slopes);
    assert_true(fabs(kl - (0.25 * log(0.25 / w[0]) + 0.75 * log(0.75 / w[1]))) < 1e-12);
    for (int i = 0; i < 3; i++) {
        double h = 1e-6, up, down, unused[3];
        logits[i] += h;
        up = mixture_kl(t, logits, 3, unused);
        logits[i] -= 2 * h;
        down = mixture_kl(t, logits, 3, unused);
        logits[i] += h;
        assert_true(fabs((up - down) / (2 * h) - slopes[i]) < 1e-6);
    }
    assert_true(mixture_kl(w, logits, 3, slopes) < 1e-12);
    assert_true(mixture_term(0.5, -800) == 0 && mixture_term(0.5, 800) == 0.5);
}

static void test_the_adapter_learns_the_weights_of_each_prompt(void **state)
{
    const struct array *head;
    struct run r;
    float *before;
    double first, last = 0;

    (void)state;
    open_two(&r);
    score_rows(r.b);
    model_randomize_scores(r.tiny.model, 0, 0);
    model_changed(r.tiny.model);
    head = model_array(r.tiny.model, SCORE_WEIGHT);
    before = malloc(r.tiny.size * sizeof *before);
    memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    first = update(&r);
    for (int i = 0; i < 150; i++)
        last = update(&r);
    assert_true(first > 0.1 && last < 0.1 * first);
    assert_memory_equal(before, model_weights(r.tiny.model), head->offset * sizeof *before);
    assert_true(memcmp(before + head->offset, model_weights(r.tiny.model) + head->offset,
                       head->size * sizeof *before) != 0);
    assert_true(fabs(metrics_get(r.m, "orchestrator/weight/long", -1) +
                     metrics_get(r.m, "orchestrator/weight/dull", -1) - 1) < 1e-12);
    free(before);
    close_two(&r);
}

static void test_prompts_without_a_whole_response_do_not_count(void **state)
{
    struct run r;

    (void)state;
    open_two(&r);
    score_rows(r.b);
    for (int s = 0; s < TINY_K; s++)
        r.b->reward[2 * (TINY_K + s) + s % 2] = NAN;
    update(&r);
    assert_true(metrics_get(r.m, "data/dropped_frac", -1) == 1 - 5.0 / TINY_P);
    assert_true(isfinite(metrics_get(r.m, "loss", NAN)));
    close_two(&r);
}

static void test_one_reward_needs_no_weights(void **state)
{
    struct config c = settings("orchestrator");

    (void)state;
    c.prompts = "prompts.jsonl";
    status_hold(true);
    assert_int_equal(method_orchestrator.check(&c, algorithm_find("orchestrator")), RL_EINVAL);
    assert_non_null(strstr(status_message(), "rewards: orchestrator weighs 2 to 64 rewards"));
    status_drop();
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax_and_its_divergence),
        cmocka_unit_test(test_the_adapter_learns_the_weights_of_each_prompt),
        cmocka_unit_test(test_prompts_without_a_whole_response_do_not_count),
        cmocka_unit_test(test_one_reward_needs_no_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
