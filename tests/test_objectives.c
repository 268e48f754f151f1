/* Several objectives in one loss, MODPO and AMoPO: it learns, one objective is the plain loss, and
 * weights by prompt are those of its pairs. */
#include <math.h>

#include "learner/internal.h"
#include "tests/tiny_records.h"

static struct comm *alone;

static const struct { const char *algorithm, *source, *loss, *alpha; int k; } objectives[] = {
    { "modpo", "prompts", "sigmoid", "static", 4 },  { "modpo", "pairs", "sigmoid", "static", 2 },
    { "amopo", "prompts", "simpo", "static", 4 },    { "amopo", "pairs", "simpo", "static", 2 },
    { "amopo", "prompts", "orpo", "adaptive", 4 },   { "amopo", "pairs", "simpo", "adaptive", 2 },
};

static void test_objectives_in_one_loss_learn(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++) {
        struct config c = objective_settings(objectives[i].algorithm, objectives[i].source);
        struct run r;
        double first, last = 0;
        c.dpo.loss = (char *)objectives[i].loss;
        c.amopo.alpha = (char *)objectives[i].alpha;
        open_groups(&r, c, "cpu", alone, TINY_P, objectives[i].k);
        label_objectives(&r);
        first = update(&r);
        for (int u = 0; u < 20; u++)
            last = update(&r);
        if (!(last < first))
            fail_msg("%s of %s: %g, after 20 updates %g", objectives[i].algorithm,
                     objectives[i].source, first, last);
        assert_true(metrics_has(r.m, i < 2 ? "modpo/margin" : "amopo/agreement"));
        close_run(&r);
    }
}

/* With all weight on one objective and no opinion of the other, modpo is DPO and amopo SimPO. */
static void test_one_objective_is_the_plain_loss(void **state)
{
    static double one[2] = { 1, 0 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct config c = objective_settings(i == 0 ? "modpo" : "amopo", "pairs"), plain = c;
        struct run a, b;
        c.raco.weights.items = one;
        plain.algorithm = i == 0 ? "dpo" : "simpo";
        open_groups(&a, c, "cpu", alone, TINY_P, 2);
        open_groups(&b, plain, "cpu", alone, TINY_P, 2);
        label_objectives(&a);
        label_objectives(&b);
        for (int n = 0; n < a.b->N; n++)            /* the first is chosen; a tie of the second */
            a.b->reward[2 * n] = b.b->reward[2 * n] = n % 2 == 0,
            a.b->reward[2 * n + 1] = b.b->reward[2 * n + 1] = 0;
        for (int u = 0; u < 3; u++)
            assert_true(update(&a) == update(&b));
        assert_same_weights(&a, &b, c.algorithm);
        close_run(&a);
        close_run(&b);
    }
}

/* An orchestrator that says the same of every prompt is raco.weights; another one is not. */
static void test_weights_by_prompt_are_those_of_its_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct config fixed = objective_settings(i % 2 ? "modpo" : "amopo", "prompts"), c = fixed;
        struct run a, b;
        c.raco.weights = (struct reals){ 0 };
        c.orchestrator.model = "orchestrator";
        open_groups(&a, fixed, "cpu", alone, TINY_P, 4);
        open_groups(&b, c, "cpu", alone, TINY_P, 4);
        label_objectives(&a);
        label_objectives(&b);
        for (int n = 0; n < b.b->N; n++) {
            bool other = i >= 2 && n / b.b->k == 2;
            b.b->mix[2 * n] = two_weights[other];
            b.b->mix[2 * n + 1] = two_weights[!other];
        }
        b.b->filled |= COL_MIX;
        for (int u = 0; u < 2; u++)
            assert_true((update(&a) == update(&b)) == (i < 2));
        if (i < 2)
            assert_same_weights(&a, &b, c.algorithm);
        close_run(&a);
        close_run(&b);
    }
}

static void test_pairs_without_a_side_are_dropped(void **state)
{
    struct run r;

    (void)state;
    open_groups(&r, objective_settings("amopo", "pairs"), "cpu", alone, TINY_P, 2);
    label_objectives(&r);
    for (int n = 0; n < r.b->N; n++) {              /* objectives that cancel are no tie */
        r.b->reward[2 * n] = n % 2 == 0;
        r.b->reward[2 * n + 1] = n % 2 == 1;
    }
    r.b->reward[0] = r.b->reward[1] = r.b->reward[2] = r.b->reward[3] = 1;
    update(&r);
    assert_true(fabs(metrics_get(r.m, "data/dropped_frac", 0) - 1.0 / 6) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "amopo/agreement", 0) - 0.4) < 1e-12);
    close_run(&r);
}

static void test_weights_that_cannot_work(void **state)
{
    static double wrong[3] = { 0.7, 0.7, 0 };
    struct tiny t = tiny_open(0, "ref");
    struct config c[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        c[i] = objective_settings(i == 4 ? "modpo" : "amopo", "prompts");
    c[0].raco.weights.count = 0;
    c[1].raco.weights = (struct reals){ two_weights, 1 };
    c[2].raco.weights = (struct reals){ wrong, 2 };
    c[3].dpo.loss = "ipo";
    c[4].modpo.objective = 2;
    status_hold(true);
    for (int i = 0; i < 5; i++) {
        static const char *const lines[] = { "missing key 'raco.weights'",
                                             "1 weights for 2 rewards", "must sum to 1",
                                             "dpo.loss: amopo minimises",
                                             "modpo.objective: there are 2" };
        struct learner *ln;
        assert_int_equal(learner_create(&ln, &(struct learner_parts){
            .config = &c[i], .policy = t.model, .team = alone, .P = TINY_P, .k = TINY_K,
            .max_row_tokens = TINY_ROW }), RL_EINVAL);
        if (!strstr(status_message(), lines[i]))
            fail_msg("'%s' is not in '%s'", lines[i], status_message());
    }
    status_drop();
    status_hold(false);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objectives_in_one_loss_learn),
        cmocka_unit_test(test_one_objective_is_the_plain_loss),
        cmocka_unit_test(test_weights_by_prompt_are_those_of_its_pairs),
        cmocka_unit_test(test_pairs_without_a_side_are_dropped),
        cmocka_unit_test(test_weights_that_cannot_work),
    };
    int failed;

    alone = comm_alone();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return failed;
}
