/* Every method that learns from records: it learns, cuts do not change a bit, it goes on from its
 * values, and what is no signal counts as dropped. */
#include <math.h>
#include <stdlib.h>

#include "learner/losses/single.h"
#include "learner/preference/udm.h"
#include "learner/internal.h"
#include "tests/tiny_records.h"

static struct comm *alone;

static void open_records(struct run *r, const struct tiny_records *t, struct config c)
{
    open_groups(r, c, "cpu", alone, TINY_P, t->k);
    label_records(r);
}

static void test_every_row_learns(void **state)
{
    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct run r;
        double first, last = 0;
        open_records(&r, t, record_settings(t));
        first = update(&r);
        for (int i = 0; i < 20; i++)
            last = update(&r);
        if (!(last < first - 0.02 * fabs(first)))
            fail_msg("%s: %g, after 20 updates %g", t->algorithm, first, last);
        assert_int_equal(r.learner->version, 21);
        assert_true(metrics_get(r.m, "data/dropped_frac", -1) == 0);
        assert_false(metrics_has(r.m, "mismatch/logp_abs_max"));
        close_run(&r);
    }
}

/* Weights of records whose sum no double holds: the step ends before the model changes. */
static void test_a_loss_that_is_not_finite_ends_every_row(void **state)
{
    (void)state;
    status_hold(true);
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct run r;
        float *before;
        open_records(&r, t, record_settings(t));
        before = malloc(r.tiny.size * sizeof *before);
        assert_non_null(before);
        memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
        for (int n = 0; n < r.b->N; n++)
            r.b->weight[n] *= 1e308 / 2;
        assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
        assert_true(strstr(status_message(), "step ") ||
                    strstr(status_message(), "gradient of "));
        assert_int_equal(r.learner->version, 0);
        assert_true(learner_whole(r.learner));
        assert_memory_equal(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
        status_drop();
        free(before);
        close_run(&r);
    }
    status_hold(false);
}

/* The same losses on rollouts; actor, learner and reference agree in the first update. */
static void test_every_row_learns_from_rollouts(void **state)
{
    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = rollout_settings(t);
        struct run r;
        double first, last = 0;
        if (!learns_online(t))
            continue;
        open_groups(&r, c, "cpu", alone, TINY_P, TINY_K);
        if (strcmp(t->algorithm, "spa") == 0)
            move_reference(r.b);
        first = update(&r);
        assert_true(metrics_get(r.m, "mismatch/logp_abs_max", 1) == 0);
        for (int i = 0; i < 20; i++)
            last = update(&r);
        if (!(last < first - 0.01 * fabs(first)))
            fail_msg("%s: %g, after 20 updates %g", t->algorithm, first, last);
        close_run(&r);
    }
}

/* What is about the prompts of records has nothing to learn from rollouts; spa cannot tell its
 * responses apart by a reference that is the policy. */
static void test_rollouts_that_cannot_work(void **state)
{
    struct tiny tiny = tiny_open(0, "ref");

    (void)state;
    status_hold(true);
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = rollout_settings(t);
        struct learner *ln;
        bool spa = strcmp(t->algorithm, "spa") == 0;
        c.model = c.refmodel = "tiny";
        if (learns_online(t) && !spa)
            continue;
        assert_int_equal(learner_create(&ln, &(struct learner_parts){
            .config = &c, .policy = tiny.model, .team = alone, .P = TINY_P, .k = TINY_K,
            .max_row_tokens = TINY_ROW }), RL_EINVAL);
        assert_non_null(strstr(status_message(), spa ? "refmodel: spa" : "source: "));
    }
    status_drop();
    status_hold(false);
    tiny_close(&tiny);
}

/* The table here and the table of the program name the same methods. */
static void test_no_row_is_missing(void **state)
{
    (void)state;
    for (const struct algorithm *a = algorithms; a->name; a++) {
        bool found = false;
        for (const struct tiny_records *t = tiny_records; t->algorithm; t++)
            found |= strcmp(t->algorithm, a->name) == 0;
        bool mine = a->method == &method_dpo || a->method == &method_lists ||
                    a->method == &method_singles;
        if (mine && a->source == SOURCE_PAIRS)
            assert_true(found);
    }
}

static void test_first_dpo_loss_is_log_2(void **state)
{
    static const char *const rows[] = { "dpo", "cdpo", "reward_augmented", "mapl", "spa", "lcpo" };

    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (strcmp(t->algorithm, rows[i]) == 0) {
                struct run r;
                open_records(&r, t, record_settings(t));
                assert_true(fabs(update(&r) - 0.69314718055994531) < 1e-12);
                assert_true(metrics_get(r.m, "dpo/rewards/accuracies", 1) == 0);
                close_run(&r);
            }
}

static void test_micro_batches_do_not_change_a_bit(void **state)
{
    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = record_settings(t);
        struct run one, other;
        c.micro_rows = 1;
        open_records(&one, t, c);
        c.micro_rows = 100;
        open_records(&other, t, c);
        for (int i = 0; i < 3; i++)
            assert_true(update(&one) == update(&other));
        assert_same_weights(&one, &other, t->algorithm);
        close_run(&one);
        close_run(&other);
    }
}

/* All that a checkpoint holds, from one learner to another. */
static void hand_over(struct run *from, struct run *to)
{
    struct learner_flat flats[2][LEARNER_FLATS];
    struct learner_value values[2][LEARNER_VALUES];
    int n = learner_flats(from->learner, flats[0]);

    assert_int_equal(learner_flats(to->learner, flats[1]), n);
    for (int i = 0; i < n; i++)
        memcpy(flats[1][i].data, flats[0][i].data, from->tiny.size * sizeof(float));
    n = learner_values(from->learner, values[0]);
    assert_int_equal(learner_values(to->learner, values[1]), n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(values[0][i].n, values[1][i].n);
        memcpy(values[1][i].x, values[0][i].x, values[0][i].n * sizeof(double));
    }
    learner_set_version(to->learner, from->learner->version);
    learner_restored(to->learner);
}

static void test_every_row_goes_on_from_its_values(void **state)
{
    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = record_settings(t);
        struct run through, half, rest;
        c.steps = 4;                /* spa doubts from the first step on that has margins */
        open_records(&through, t, c);
        open_records(&half, t, c);
        open_records(&rest, t, c);
        for (int i = 0; i < 4; i++)
            update(&through);
        update(&half);
        update(&half);
        hand_over(&half, &rest);
        update(&rest);
        update(&rest);
        assert_same_weights(&through, &rest, t->algorithm);
        close_run(&through);
        close_run(&half);
        close_run(&rest);
    }
}

static const struct tiny_records *find(const char *name)
{
    const struct tiny_records *t = tiny_records;

    while (strcmp(t->algorithm, name) != 0)
        t++;
    return t;
}

/* Without a reference column a loss that needs none is the same to the bit; one that does fails. */
static void test_the_reference_is_not_read_without_need(void **state)
{
    (void)state;
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = record_settings(t);
        struct run r;
        unsigned columns = algorithm_columns(algorithm_find(t->algorithm), &c);
        open_records(&r, t, c);
        r.b->filled &= ~(unsigned)COL_REF_LOGP;
        status_hold(true);
        assert_int_equal(learner_update(r.learner, r.b, r.m),
                         columns & COL_REF_LOGP ? RL_EBUG : RL_OK);
        status_drop();
        status_hold(false);
        close_run(&r);
    }
    for (int i = 0; i < 5; i++) {
        static const char *const free[] = { "simpo", "cpo", "orpo", "slic", "pro" };
        struct config c = record_settings(find(free[i]));
        assert_false(algorithm_columns(algorithm_find(free[i]), &c) & COL_REF_LOGP);
    }
}

/* ---- what is no signal */

/* Two rows of a group become the same tokens. */
static void make_equal(struct batch *b)
{
    for (int n = 2; n < b->N; n += 2) {
        int both = b->start[n + 2] - b->start[n];
        if (both % 2)
            continue;
        b->start[n + 1] = b->start[n] + both / 2;
        memcpy(b->tokens + b->start[n + 1], b->tokens + b->start[n],
               (size_t)(both / 2) * sizeof(int));
        return;
    }
    fail_msg("no group of an even number of tokens");
}

static void test_equal_scores_and_answers_are_dropped(void **state)
{
    struct run r;

    (void)state;
    open_records(&r, find("dpo"), record_settings(find("dpo")));
    r.b->reward[0] = r.b->reward[1] = 3;                /* scores that say nothing */
    make_equal(r.b);
    update(&r);
    assert_true(fabs(metrics_get(r.m, "data/dropped_frac", 0) - 2.0 / 6) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "dpo/tie_frac", 0) - 1.0 / 6) < 1e-12);
    close_run(&r);
    open_records(&r, find("lipo"), record_settings(find("lipo")));
    for (int i = 0; i < 4; i++)
        r.b->reward[i] = 2;
    for (int i = 9; i < 12; i++)
        r.b->weight[i] = 0;                             /* one row is no list */
    update(&r);
    assert_true(fabs(metrics_get(r.m, "data/dropped_frac", 0) - 2.0 / 6) < 1e-12);
    close_run(&r);
}

/* Labels that are given are not made again: of scores in [0, 1] from 0 to 1 lipo's are the scores,
 * and gpo's are when they are the means of a skew table. */
static void test_given_labels_are_taken(void **state)
{
    static const struct { const char *algorithm; double score[4]; } rows[] = {
        { "lipo", { 0.25, 1, 0, 0.5 } }, { "gpo", { -0.75, 0.75, -0.75, 0.75 } },
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct config c = record_settings(find(rows[i].algorithm)), given = c;
        struct run a, b;
        given.list.labels = given.list.preference = "given";
        open_records(&a, find(rows[i].algorithm), c);
        open_records(&b, find(rows[i].algorithm), given);
        for (int n = 0; n < a.b->N; n++) {
            a.b->weight[n] = b.b->weight[n] = 1;
            a.b->reward[n] = b.b->reward[n] = rows[i].score[n % 4] * (i == 0 ? 1 : 0.75);
            if (i == 1)                     /* k / (k - 1) times the score, when the mean is 0 */
                b.b->reward[n] *= 4.0 / 3;
        }
        assert_true(fabs(update(&a) - update(&b)) < 1e-12);
        close_run(&a);
        close_run(&b);
    }
}

/* Labels of one class in a step are no error; in a step without labels nothing is learned. */
static void test_singles_of_one_class(void **state)
{
    struct run r;

    (void)state;
    open_records(&r, find("kto"), record_settings(find("kto")));
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = 0;
    update(&r);
    assert_true(metrics_get(r.m, "kto/chosen_frac", 1) == 0);
    assert_false(metrics_has(r.m, "kto/rewards/margins"));
    for (int n = 0; n < r.b->N; n++)
        r.b->weight[n] = 0;
    assert_ok(learner_update(r.learner, r.b, r.m));
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    close_run(&r);
}

/* z0 comes of the mismatched rows alone, and they get no gradient. */
static void test_kto_looks_at_the_twins(void **state)
{
    struct run r;
    double sum = 0;

    (void)state;
    open_records(&r, find("kto"), record_settings(find("kto")));
    for (int n = 0; n < r.b->N; n++)                    /* h of a row: what the reference lacks */
        for (int t = r.b->start[n] + r.b->prompt_len[n]; t < r.b->start[n + 1]; t++) {
            float off = n % 2 ? 0.25f * (float)(n % 5) : 3;
            r.b->ref_logp[t] -= off;
            sum += n % 2 ? (double)off : 0;
        }
    update(&r);
    if (fabs(metrics_get(r.m, "kto/z0", -1) - sum / TINY_P) > 1e-4)
        fail_msg("z0 %g, the mean of the twins is %g", metrics_get(r.m, "kto/z0", -1),
                 sum / TINY_P);
    assert_int_equal(learner_tokens(r.learner), 0 + r.b->start[1] - r.b->start[0] +
                     r.b->start[3] - r.b->start[2] + r.b->start[5] - r.b->start[4] +
                     r.b->start[7] - r.b->start[6] + r.b->start[9] - r.b->start[8] +
                     r.b->start[11] - r.b->start[10]);
    close_run(&r);
}

static void test_bco_means_are_kept(void **state)
{
    struct learner_value values[LEARNER_VALUES];
    struct run r;
    int n;

    (void)state;
    open_records(&r, find("bco"), record_settings(find("bco")));
    update(&r);
    assert_true(metrics_get(r.m, "bco/delta", 1) == 0);         /* policy and reference are one */
    update(&r);
    n = learner_values(r.learner, values);
    assert_string_equal(values[n - 1].name, "bco_counts");
    assert_true(values[n - 1].x[0] == TINY_P && values[n - 1].x[1] == TINY_P);
    close_run(&r);
}

/* ---- labels that are doubted */

static void test_lcpo_learns_who_is_right(void **state)
{
    struct learner_value values[LEARNER_VALUES];
    struct run r;
    int n;

    (void)state;
    open_records(&r, find("lcpo"), record_settings(find("lcpo")));
    for (int i = 0; i < 30; i++)
        update(&r);
    n = learner_values(r.learner, values);
    assert_string_equal(values[n - 1].name, "lcpo_eta");
    for (int a = 0; a < 3; a++)
        assert_true(values[n - 1].x[a] > 0.9);          /* the policy came to agree with them */
    assert_true(values[n - 1].x[3] == 0.9);             /* never seen */
    status_hold(true);
    r.b->annotator[2] = 4;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EINVAL);
    status_drop();
    status_hold(false);
    close_run(&r);
}

static void test_spa_doubts_the_lowest_margins(void **state)
{
    struct config c = record_settings(find("spa"));
    struct run r;

    (void)state;
    c.steps = 10;
    c.spa.after = 0.2;
    c.spa.quantile = 0.5;
    open_records(&r, find("spa"), c);
    for (int i = 0; i < 2; i++) {
        update(&r);
        assert_false(metrics_has(r.m, "spa/threshold"));
        assert_true(metrics_get(r.m, "spa/smoothed_frac", 1) == 0);
    }
    for (int i = 0; i < 3; i++)
        update(&r);
    assert_true(metrics_has(r.m, "spa/threshold"));
    assert_true(metrics_has(r.m, "spce/kl") == (metrics_get(r.m, "spa/smoothed_frac", 0) > 0));
    close_run(&r);
}

/* ---- underlying-distribution matching */

static void test_logistic_fit_is_at_its_minimum(void **state)
{
    enum { ROWS = 60, C = 5 };
    float x[ROWS * C];
    double y[ROWS], w[C], work[7 * C + 3 * ROWS], bias, g_bias = 0;
    double mean[C] = { 0 }, std[C] = { 0 }, g[C];

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        y[i] = i % 3 == 0;
        for (int c = 0; c < C; c++)
            x[i * C + c] = (float)(tiny_word((uint32_t)(i * C + c)) % 1000) / 500 +
                           (c == 1 ? (float)y[i] : 0) + 7;
    }
    bias = logistic_fit(w, x, y, ROWS, C, work);
    for (int i = 0; i < ROWS * C; i++)
        mean[i % C] += (double)x[i] / ROWS;
    for (int i = 0; i < ROWS * C; i++)
        std[i % C] += ((double)x[i] - mean[i % C]) * ((double)x[i] - mean[i % C]) / ROWS;
    for (int c = 0; c < C; c++)
        g[c] = w[c] * sqrt(std[c]);                     /* of the ridge, on standardised features */
    for (int i = 0; i < ROWS; i++) {
        double z = bias;
        for (int c = 0; c < C; c++)
            z += w[c] * (double)x[i * C + c];
        g_bias += sigmoid(z) - y[i];
        for (int c = 0; c < C; c++)
            g[c] += (sigmoid(z) - y[i]) * ((double)x[i * C + c] - mean[c]) / sqrt(std[c]);
    }
    assert_true(fabs(g_bias) < 1e-6 && w[1] > 0);
    for (int c = 0; c < C; c++)
        assert_true(fabs(g[c]) < 1e-6);
}

/* Prompts say nothing of the label here: the weights stay near the odds of the classes.  A run that
 * goes on does not look again. */
static void test_udm_is_fitted_once(void **state)
{
    struct config c = record_settings(find("bco"));
    struct learner_value values[LEARNER_VALUES];
    struct run r, plain;
    int n;

    (void)state;
    open_records(&plain, find("bco"), c);
    assert_int_equal(learner_preview(plain.learner), 0);
    c.bco.udm = true;
    open_records(&r, find("bco"), c);
    assert_int_equal(learner_preview(r.learner), 40);
    for (int i = 0; i < 4; i++)
        assert_ok(learner_preview_add(r.learner, r.b));
    assert_ok(learner_preview_end(r.learner));
    assert_int_equal(learner_preview(r.learner), 0);
    n = learner_values(r.learner, values);
    assert_string_equal(values[n - 1].name, "udm_fitted");
    assert_true(values[n - 1].x[1] == 1);
    update(&plain);
    update(&r);
    assert_true(memcmp(model_weights(plain.tiny.model), model_weights(r.tiny.model),
                       r.tiny.size * sizeof(float)) != 0);
    close_run(&r);
    open_records(&r, find("bco"), c);
    for (int i = 0; i < r.b->N; i++)
        r.b->reward[i] = 1;
    assert_ok(learner_preview_add(r.learner, r.b));
    status_hold(true);
    assert_int_equal(learner_preview_end(r.learner), RL_EINVAL);
    assert_non_null(strstr(status_message(), "bco.udm"));
    status_drop();
    status_hold(false);
    close_run(&r);
    close_run(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_learns),
        cmocka_unit_test(test_a_loss_that_is_not_finite_ends_every_row),
        cmocka_unit_test(test_every_row_learns_from_rollouts),
        cmocka_unit_test(test_rollouts_that_cannot_work),
        cmocka_unit_test(test_no_row_is_missing),
        cmocka_unit_test(test_first_dpo_loss_is_log_2),
        cmocka_unit_test(test_micro_batches_do_not_change_a_bit),
        cmocka_unit_test(test_every_row_goes_on_from_its_values),
        cmocka_unit_test(test_the_reference_is_not_read_without_need),
        cmocka_unit_test(test_equal_scores_and_answers_are_dropped),
        cmocka_unit_test(test_given_labels_are_taken),
        cmocka_unit_test(test_singles_of_one_class),
        cmocka_unit_test(test_kto_looks_at_the_twins),
        cmocka_unit_test(test_bco_means_are_kept),
        cmocka_unit_test(test_lcpo_learns_who_is_right),
        cmocka_unit_test(test_spa_doubts_the_lowest_margins),
        cmocka_unit_test(test_logistic_fit_is_at_its_minimum),
        cmocka_unit_test(test_udm_is_fitted_once),
    };
    int failed;

    alone = comm_alone();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return failed;
}
