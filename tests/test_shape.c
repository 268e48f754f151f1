/* config.json in, shape out, or one line that names file and key; and the arrays of a shape. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "tests/tiny_model.h"

static const char *const small[][2] = {
    { "model_type", "\"llama\"" }, { "hidden_size", "48" }, { "num_hidden_layers", "3" },
    { "num_attention_heads", "4" }, { "intermediate_size", "96" }, { "vocab_size", "320" },
};
#define SMALL_KEYS (sizeof small / sizeof *small)

/* The small configuration, without one key, and with more text. */
static const char *config(const char *without, const char *more)
{
    static struct text out;

    text_clear(&out);
    text_adds(&out, "{\"transformers_version\": \"4.41.2\"");
    for (size_t i = 0; i < SMALL_KEYS; i++)
        if (strcmp(small[i][0], without) != 0)
            text_addf(&out, ", \"%s\": %s", small[i][0], small[i][1]);
    text_addf(&out, "%s}", more);
    return out.data;
}

#define CLASSIFIER ", \"architectures\": [\"LlamaForSequenceClassification\"]"

static int read(const char *text, struct model_shape *shape)
{
    struct json *json = json_parse(text, strlen(text), "config.json");
    int rc;

    assert_non_null(json);
    rc = model_shape_read(shape, json, "some/config.json");
    json_free(json);
    return rc;
}

static void test_what_is_absent_has_the_familys_defaults(void **state)
{
    struct model_shape s;

    (void)state;
    assert_ok(read(config("", ""), &s));
    assert_string_equal(s.family, "llama");
    assert_true(s.V == 320 && s.C == 48 && s.L == 3 && s.F == 96);
    assert_true(s.H == 4 && s.G == 4 && s.D == 12 && s.context == 2048);
    assert_true(s.eps == 1e-6f && s.theta == 10000 && !s.tied);
}

static void test_what_is_given_is_taken(void **state)
{
    struct model_shape s;

    (void)state;
    assert_ok(read(config("", ", \"num_key_value_heads\": 2, \"head_dim\": 20, "
                          "\"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-5, "
                          "\"rope_theta\": 5e5, \"rope_scaling\": null, "
                          "\"tie_word_embeddings\": true, \"attention_bias\": false, "
                          "\"mlp_bias\": null, \"hidden_act\": \"silu\""), &s));
    assert_true(s.G == 2 && s.D == 20 && s.context == 128 && s.tied);
    assert_true(s.eps == 1e-5f && s.theta == 5e5);
    assert_ok(read(config("", ", \"rope_theta\": 1, \"rope_parameters\": "
                          "{\"rope_type\": \"default\", \"rope_theta\": 1000000.0}"), &s));
    assert_true(s.theta == 1e6);
    assert_ok(read(config("", ", \"rope_scaling\": {\"type\": \"default\"}"), &s));
    assert_int_equal(s.scaling.kind, ROPE_PLAIN);
    assert_ok(read(config("", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 3}"),
                   &s));
    assert_true(s.scaling.kind == ROPE_LINEAR && s.scaling.factor == 3);
    assert_ok(read(config("", ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, "
                          "\"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                          "\"original_max_position_embeddings\": 64}"), &s));
    assert_true(s.scaling.kind == ROPE_LLAMA3 && s.scaling.factor == 8 && s.scaling.low == 1);
    assert_true(s.scaling.high == 4 && s.scaling.original == 64 && s.window == 0);
}

static void test_mistral_has_a_window(void **state)
{
    static const char *const more[] = { "", ", \"sliding_window\": 64",
                                        ", \"sliding_window\": null" };
    static const int windows[] = { 4096, 64, 0 };
    struct model_shape s;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char text[256];

        snprintf(text, sizeof text, ", \"model_type\": \"mistral\"%s", more[i]);
        assert_ok(read(config("model_type", text), &s));
        assert_string_equal(s.family, "mistral");
        assert_int_equal(s.window, windows[i]);
    }
    status_hold(true);
    assert_int_equal(read(config("model_type", ", \"model_type\": \"mistral\", "
                                 "\"sliding_window\": 0"), &s), RL_EINVAL);
    assert_has(status_message(), "sliding_window must be an integer from 1");
    status_drop();
    status_hold(false);
}

static void test_heads_are_those_that_the_architecture_names(void **state)
{
    struct model_shape s;

    (void)state;
    assert_ok(read(config("", ""), &s));
    assert_true(s.lm && s.scores == 0);
    assert_ok(read(config("", ", \"architectures\": [\"LlamaForCausalLM\"], \"num_labels\": 7"),
                   &s));
    assert_true(s.lm && s.scores == 0);
    assert_ok(read(config("", ", \"" MODEL_SCORES_KEY "\": 1"), &s));
    assert_true(s.lm && s.scores == 1);
    assert_ok(read(config("", CLASSIFIER), &s));
    assert_true(!s.lm && s.scores == 2);
    assert_ok(read(config("", CLASSIFIER ", \"num_labels\": 1"), &s));
    assert_true(!s.lm && s.scores == 1);
    assert_ok(read(config("", CLASSIFIER ", \"id2label\": {\"0\": \"a\", \"1\": \"b\", "
                          "\"2\": \"c\"}"), &s));
    assert_true(!s.lm && s.scores == 3);
}

/* A key with a bad value, and what the line must say besides the file's name. */
static const struct { const char *key, *value, *says; } mistakes[] = {
    { "vocab_size", "0", "vocab_size must be an integer from 1 to" },
    { "vocab_size", "16777217", "vocab_size must be" },
    { "vocab_size", "320.5", "vocab_size must be" },
    { "vocab_size", "\"320\"", "not \"320\"" },
    { "vocab_size", "null", "not null" },
    { "hidden_size", "-48", "hidden_size must be" },
    { "hidden_size", "1e300", "hidden_size must be" },
    { "hidden_size", "49", "does not divide hidden_size 49" },
    { "num_hidden_layers", "100000", "num_hidden_layers must be" },
    { "intermediate_size", "[96]", "intermediate_size must be" },
    { "max_position_embeddings", "0", "max_position_embeddings must be" },
    { "num_key_value_heads", "3", "num_key_value_heads 3 does not divide" },
    { "num_key_value_heads", "8", "num_key_value_heads 8 does not divide" },
    { "head_dim", "7", "head_dim must be even" },
    { "head_dim", "262144", "num_attention_heads 4 times head_dim 262144" },
    { "rms_norm_eps", "0", "rms_norm_eps must be" },
    { "rms_norm_eps", "\"small\"", "rms_norm_eps must be" },
    { "rms_norm_eps", "1e-60", "rms_norm_eps must be" },
    { "rope_theta", "-1", "rope_theta must be" },
    { "rope_theta", "true", "rope_theta must be" },
    { "rope_scaling", "{\"rope_type\": \"llama3\"}", "rope_scaling.factor is missing" },
    { "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 0}",
      "rope_scaling.factor must be a positive number, not 0" },
    { "rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
      "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
      "rope_scaling.high_freq_factor must be more than low_freq_factor, not 4" },
    { "rope_parameters", "{\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
      "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 1e12}",
      "original_max_position_embeddings must be a number of positions" },
    { "rope_scaling", "{\"factor\": 2}", "rope_scaling.rope_type is missing" },
    { "rope_scaling", "\"linear\"", "rope_scaling must be null or an object" },
    { "rope_parameters", "{\"rope_type\": \"yarn\"}",
      "rope_parameters.rope_type \"yarn\" is not supported" },
    { "partial_rotary_factor", "0.5", "partial_rotary_factor 0.5 is not supported" },
    { "rope_parameters", "{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}",
      "factor 0.5 is not supported" },
    { "attention_bias", "true", "attention_bias true is not supported (supported: false)" },
    { "mlp_bias", "true", "mlp_bias true is not supported" },
    { "mlp_bias", "1", "mlp_bias must be true or false" },
    { "tie_word_embeddings", "\"yes\"", "tie_word_embeddings must be" },
    { MODEL_SCORES_KEY, "0.5", MODEL_SCORES_KEY " must be an integer from 1 to" },
    { "architectures", "[\"LlamaForSequenceClassification\"], \"num_labels\": 0",
      "num_labels must be" },
    { "hidden_act", "\"gelu\"", "hidden_act \"gelu\" is not supported (supported: \"silu\")" },
};

static void refused(const char *text, const char *says)
{
    struct model_shape s;

    assert_int_equal(read(text, &s), RL_EINVAL);
    if (!strstr(status_message(), says) || strncmp(status_message(), "some/config.json: ", 18))
        fail_msg("%s\n  says '%s'\n  and not '%s'", text, status_message(), says);
}

static void test_what_is_not_supported_is_refused_by_name(void **state)
{
    char says[64], more[256];

    (void)state;
    status_hold(true);
    refused("[]", "one JSON object");
    refused("{}", "model_type is missing");
    refused("{\"model_type\": 3}",
            "model_type is missing or no string (supported: llama, mistral)");
    refused("{\"model_type\": \"qwen2\"}",
            "\"qwen2\" is not supported (supported: llama, mistral)");
    for (size_t i = 1; i < SMALL_KEYS; i++) {
        snprintf(says, sizeof says, "%s is missing", small[i][0]);
        refused(config(small[i][0], ""), says);
    }
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        snprintf(more, sizeof more, ", \"%s\": %s", mistakes[i].key, mistakes[i].value);
        refused(config(mistakes[i].key, more), mistakes[i].says);
    }
    status_hold(false);
}

static void test_arrays_have_the_names_and_shapes_of_the_file(void **state)
{
    static const struct { int at; const char *name; size_t out, in; } some[] = {
        { 0, "model.embed_tokens.weight", 1100, 24 },
        { 1, "model.layers.0.input_layernorm.weight", 24, 0 },
        { 2, "model.layers.0.self_attn.q_proj.weight", 16, 24 },
        { 3, "model.layers.0.self_attn.k_proj.weight", 8, 24 },
        { 4, "model.layers.0.self_attn.v_proj.weight", 8, 24 },
        { 5, "model.layers.0.self_attn.o_proj.weight", 24, 16 },
        { 6, "model.layers.0.post_attention_layernorm.weight", 24, 0 },
        { 7, "model.layers.0.mlp.gate_proj.weight", 36, 24 },
        { 8, "model.layers.0.mlp.up_proj.weight", 36, 24 },
        { 9, "model.layers.0.mlp.down_proj.weight", 24, 36 },
        { 10, "model.norm.weight", 24, 0 },
        { 11, "lm_head.weight", 1100, 24 },
    };
    struct tiny t = tiny_open(1, "ref");
    const struct array *arrays;
    int n;

    (void)state;
    arrays = model_arrays(t.model, &n);
    assert_int_equal(n, 12);
    for (int i = 0; i < n; i++) {
        const struct array *a = &arrays[i];

        assert_string_equal(a->name, some[i].name);
        assert_int_equal(a->dims, some[i].in ? 2 : 1);
        assert_int_equal(a->shape[0], some[i].out);
        assert_int_equal(a->size, some[i].out * (some[i].in ? some[i].in : 1));
        assert_int_equal(a->offset % 64, 0);
        assert_ptr_equal(a->data, model_weights(t.model) + a->offset);
    }
    tiny_close(&t);
    t = tiny_open(0, "ref");                    /* tied: no head of its own */
    arrays = model_arrays(t.model, &n);
    assert_int_equal(n, 2 + 9 * t.shape->L);
    assert_string_equal(arrays[n - 1].name, "model.norm.weight");
    tiny_close(&t);
}

static void test_random_weights_follow_from_the_seed(void **state)
{
    struct tiny a = tiny_open(0, "ref"), b = tiny_open(0, "ref");
    const float *w = model_weights(a.model), *norm;
    double sum = 0, squares = 0;
    size_t inside = 0;
    int n;

    (void)state;
    assert_bits(w, model_weights(b.model), a.size);
    for (const struct array *x = model_arrays(a.model, &n), *end = x + n; x < end; x++) {
        for (size_t i = inside; i < x->offset; i++)
            assert_true(w[i] == 0);                         /* the gap before it */
        inside = x->offset + x->size;
    }
    norm = model_arrays(a.model, &n)[1].data;
    assert_true(norm[0] == 1 && norm[15] == 1);
    for (size_t i = 0; i < 70 * 16; i++) {
        sum += w[i];
        squares += (double)w[i] * w[i];
    }
    assert_float_equal(sum / 1120, 0, 0.05);                /* std 0.4 over 1120 of them */
    assert_float_equal(squares / 1120, 0.16, 0.02);
    model_randomize(b.model, 8, 0.4);
    assert_true(memcmp(w, model_weights(b.model), a.size * sizeof *w) != 0);
    tiny_close(&a);
    tiny_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_absent_has_the_familys_defaults),
        cmocka_unit_test(test_what_is_given_is_taken),
        cmocka_unit_test(test_mistral_has_a_window),
        cmocka_unit_test(test_heads_are_those_that_the_architecture_names),
        cmocka_unit_test(test_what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(test_arrays_have_the_names_and_shapes_of_the_file),
        cmocka_unit_test(test_random_weights_follow_from_the_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
