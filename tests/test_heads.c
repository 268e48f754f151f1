/* Other heads on the trunk of a source, in a folder and in a checkpoint. */
#include <stdio.h>

#include "base/file.h"
#include "checkpoints/safetensors.h"
#include "comm/comm.h"
#include "launch/models.h"
#include "tests/tiny_model.h"

/* A folder as Hugging Face writes it, of tiny shape `s`, with more lines in config.json. */
static const char *folder_of(int s, const char *more)
{
    const struct model_shape *shape = &tiny_shapes[s];
    const char *folder = support_folder();
    struct tiny t = tiny_open(s, "ref");
    char config[1024];
    int n;
    const struct array *arrays = model_arrays(t.model, &n);

    snprintf(config, sizeof config, "{\"model_type\": \"llama\", \"vocab_size\": %d, "
             "\"hidden_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, "
             "\"num_key_value_heads\": %d, \"head_dim\": %d, \"intermediate_size\": %d, "
             "\"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, "
             "\"tie_word_embeddings\": %s%s}", shape->V, shape->C, shape->L, shape->H, shape->G,
             shape->D, shape->F, shape->context, shape->tied ? "true" : "false", more);
    support_write(folder, "config.json", config);
    assert_ok(safetensors_save(folder, arrays, n, DTYPE_F32, 0));
    tiny_close(&t);
    return folder;
}

/* Arrays of the trunk and the heads that both models have are equal. */
static void same_trunk(struct model *a, struct model *b)
{
    int n, m;
    const struct array *x = model_arrays(a, &n), *y = model_arrays(b, &m);

    for (int i = 0; i < n && i < m && strcmp(x[i].name, y[i].name) == 0; i++)
        if (strcmp(x[i].name, SCORE_WEIGHT) != 0)
            assert_bits((const float *)x[i].data, (const float *)y[i].data, x[i].size);
}

static void write_folder(const char *folder, const struct source *s, struct model *m)
{
    int n;
    const struct array *arrays = model_arrays(m, &n);

    support_write(folder, "config.json", s->files[0].text.data);
    assert_ok(safetensors_save(folder, arrays, n, DTYPE_F32, 0));
}

static const float *scores_of(struct model *m)
{
    int n;
    const struct array *arrays = model_arrays(m, &n);

    assert_string_equal(arrays[n - 1].name, SCORE_WEIGHT);
    return arrays[n - 1].data;
}

/* A model of the same files with other heads; the source stays as it is. */
static struct model *with_heads(const struct source *s, const struct heads *heads,
                                struct compute *k)
{
    struct source other;
    struct model *m;

    assert_ok(source_open(&other, s->path));
    assert_ok(source_set_heads(&other, heads));
    assert_ok(source_model(&m, &other, k));
    source_close(&other);
    return m;
}

/* ---- folders */

static void test_a_value_head_starts_at_zero_on_the_same_trunk(void **state)
{
    (void)state;
    for (int s = 0; s < TINY_SHAPES; s++)
        for (int lm = 0; lm < 2; lm++) {
            struct heads value = { .lm = lm, .scores = 2 };
            struct compute *k;
            struct model *plain, *critic;
            struct source src;
            int n;

            assert_ok(compute_open(&k, "ref", "fp32", 1));
            assert_ok(source_open(&src, folder_of(s, "")));
            assert_ok(source_model(&plain, &src, k));
            critic = with_heads(&src, &value, k);
            same_trunk(plain, critic);
            for (int i = 0; i < 2 * src.shape.C; i++)
                assert_true(scores_of(critic)[i] == 0);
            model_arrays(critic, &n);
            assert_int_equal(n, 3 + 9 * src.shape.L + (lm && !src.shape.tied));
            model_destroy(plain);
            model_destroy(critic);
            source_close(&src);
            compute_close(k);
        }
}

static void test_a_reward_model_is_written_and_read_again(void **state)
{
    struct heads reward = { .scores = 3, .random = true, .seed = 5 }, other = { .scores = 1 };
    const char *folder = support_folder();
    struct model *m, *again, *critic;
    struct compute *k;
    struct source src;
    double squares = 0;

    (void)state;
    assert_ok(compute_open(&k, "ref", "fp32", 1));
    assert_ok(source_open(&src, folder_of(1, ", \"architectures\": [\"LlamaForCausalLM\"]")));
    assert_ok(source_set_heads(&src, &reward));
    assert_non_null(strstr(src.files[0].text.data, "\"LlamaForSequenceClassification\""));
    assert_non_null(strstr(src.files[0].text.data, "\"2\": \"LABEL_2\""));
    assert_ok(source_model(&m, &src, k));
    for (int i = 0; i < 3 * src.shape.C; i++)
        squares += (double)scores_of(m)[i] * scores_of(m)[i];
    assert_float_equal(squares / 3, 24 / 25.0, 0.4);        /* C of N(0, 1 / (C + 1)) */
    write_folder(folder, &src, m);
    source_close(&src);

    assert_ok(source_open(&src, folder));
    assert_true(!src.shape.lm && src.shape.scores == 3);
    assert_ok(source_model(&again, &src, k));
    assert_bits(model_weights(m), model_weights(again), model_size(&src.shape));
    status_hold(true);
    assert_int_equal(source_check_text(&src), RL_EINVAL);
    assert_int_equal(source_set_heads(&src, &(struct heads){ .lm = true }), RL_EINVAL);
    status_hold(false);
    critic = with_heads(&src, &reward, k);              /* as many: those of the files */
    assert_bits(scores_of(m), scores_of(critic), 3 * src.shape.C);
    model_destroy(critic);
    critic = with_heads(&src, &other, k);
    assert_true(scores_of(critic)[0] == 0);
    same_trunk(m, critic);
    model_destroy(critic);
    model_destroy(again);
    model_destroy(m);
    source_close(&src);
    compute_close(k);
}

/* A policy with a value head says so in a key of its own, and goes back to what it was. */
static void test_both_heads_are_described_by_our_own_key(void **state)
{
    struct heads both = { .lm = true, .scores = 1 };
    struct source src, again;
    const char *folder = support_folder();
    struct compute *k;
    struct model *m, *plain;

    (void)state;
    assert_ok(compute_open(&k, "ref", "fp32", 1));
    assert_ok(source_open(&src, folder_of(0, "")));
    assert_ok(source_set_heads(&src, &both));
    assert_non_null(strstr(src.files[0].text.data, "\"" MODEL_SCORES_KEY "\": 1"));
    assert_ok(source_model(&m, &src, k));
    write_folder(folder, &src, m);
    assert_ok(source_open(&again, folder));
    assert_true(again.shape.lm && again.shape.scores == 1);
    assert_ok(source_set_heads(&again, &(struct heads){ .lm = true }));
    assert_null(strstr(again.files[0].text.data, MODEL_SCORES_KEY));
    assert_ok(source_model(&plain, &again, k));
    same_trunk(m, plain);
    model_destroy(plain);
    model_destroy(m);
    source_close(&again);
    source_close(&src);
    compute_close(k);
}

/* ---- checkpoints */

static void write_checkpoint(const char *path, const struct source *s, struct model *m)
{
    struct checkpoint_text text = { "files/config.json", s->files[0].text.data,
                                    s->files[0].text.size };
    struct comm *world = comm_alone();
    size_t bytes;
    int n;
    const struct array *arrays = model_arrays(m, &n);
    static const double temperature = 1.5;
    struct array *stored = calloc((size_t)n + 1, sizeof *stored);
    struct checkpoint_piece *pieces = calloc((size_t)n + 1, sizeof *pieces);
    struct checkpoint_content content = { .texts = &text, .n_texts = 1, .arrays = stored,
                                          .n_arrays = n + 1, .pieces = pieces,
                                          .n_pieces = n + 1 };

    for (int i = 0; i < n; i++) {
        stored[i] = arrays[i];
        pieces[i] = (struct checkpoint_piece){ i, 0, arrays[i].size, arrays[i].data };
        snprintf(stored[i].name, sizeof stored[i].name, "weights/%.100s", arrays[i].name);
    }
    stored[n] = (struct array){ .name = "state/rm_temperature", .dtype = DTYPE_F64, .dims = 1,
                                .shape = { 1 }, .size = 1 };
    pieces[n] = (struct checkpoint_piece){ n, 0, 1, &temperature };
    assert_ok(checkpoint_write(world, path, &content, &bytes));
    comm_stop(world);
    free(stored);
    free(pieces);
}

static void test_a_checkpoint_gives_its_trunk_to_a_critic(void **state)
{
    struct heads value = { .scores = 1 }, reward = { .scores = 2, .random = true, .seed = 3 };
    const char *path = support_path(support_folder(), "step-00000001.h5");
    struct source folder, file;
    struct compute *k;
    struct model *m, *again, *critic;

    (void)state;
    assert_ok(compute_open(&k, "ref", "fp32", 1));
    assert_ok(source_open(&folder, folder_of(1, "")));
    assert_ok(source_set_heads(&folder, &reward));
    assert_ok(source_model(&m, &folder, k));
    write_checkpoint(path, &folder, m);
    assert_ok(source_open(&file, path));
    assert_true(!file.shape.lm && file.shape.scores == 2);
    assert_true(verdict_temperature(&file.shape.verdict) == 1.5);
    assert_non_null(strstr(file.files[0].text.data, "\"temperature\": 1.5"));
    assert_ok(source_model(&again, &file, k));
    assert_bits(model_weights(m), model_weights(again), model_size(&folder.shape));
    critic = with_heads(&file, &value, k);
    same_trunk(m, critic);
    assert_true(scores_of(critic)[0] == 0);
    model_destroy(critic);
    model_destroy(again);
    model_destroy(m);
    source_close(&file);
    source_close(&folder);
    compute_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_head_starts_at_zero_on_the_same_trunk),
        cmocka_unit_test(test_a_reward_model_is_written_and_read_again),
        cmocka_unit_test(test_both_heads_are_described_by_our_own_key),
        cmocka_unit_test(test_a_checkpoint_gives_its_trunk_to_a_critic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
