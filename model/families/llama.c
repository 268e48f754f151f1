/* Llama: RMSNorm, rotary half-split, grouped-query attention, SwiGLU, no biases; the head is
 * tied to the embedding or stands alone.  Read from config.json; what changes the arithmetic and
 * is not supported (biases, scaled rotary tables, other activations) is refused by name.
 */
#include <math.h>
#include <string.h>

#include "model/model_internal.h"

/* Largest sizes: products of any two, and of a layer's matrices with their count, fit in 64 bits,
 * and each fits in an int. */
#define MOST_VOCABULARY (1 << 24)
#define MOST_CHANNELS   (1 << 18)
#define MOST_LAYERS     (1 << 12)
#define MOST_CONTEXT    (1 << 22)

/* "<path>: <key> must be <what>, not <value>" */
static int refuse(const char *path, const char *key, const char *what, const struct json *value)
{
    struct text shown = {0};
    int rc;

    if (!value) {
        rc = rl_error(RL_EINVAL, "%s: %s is missing; it must be %s", path, key, what);
    } else {
        json_add(&shown, value);
        rc = rl_error(RL_EINVAL, "%s: %s must be %s, not %.80s", path, key, what, shown.data);
    }
    text_free(&shown);
    return rc;
}

/* "<path>: <key> <value> is not supported (supported: <what>)": a good file, for another program */
static int unsupported(const char *path, const char *key, const char *what,
                       const struct json *value)
{
    struct text shown = {0};
    int rc;

    json_add(&shown, value);
    rc = rl_error(RL_EINVAL, "%s: %s %.80s is not supported (supported: %s)", path, key, shown.data,
                  what);
    text_free(&shown);
    return rc;
}

/* An integer from 1 to `most`; absent or null: `otherwise`, or an error if that is 0. */
static int read_size(const struct json *config, const char *path, const char *key, int otherwise,
                     int most, int *out)
{
    const struct json *value = json_get(config, key);
    double number = json_number(value, 0);
    struct text what = {0};
    int rc = RL_OK;

    if (json_is_null(value) && otherwise) {
        *out = otherwise;
    } else if (json_is_number(value) && number >= 1 && number <= most && number == floor(number)) {
        *out = (int)number;
    } else {
        text_addf(&what, "an integer from 1 to %d", most);
        rc = refuse(path, key, what.data, value);
        text_free(&what);
    }
    return rc;
}

static int read_flag(const struct json *config, const char *path, const char *key, bool *out)
{
    const struct json *value = json_get(config, key);
    bool flag = json_bool(value, false);

    if (!json_is_null(value) && flag != json_bool(value, true))
        return refuse(path, key, "true or false", value);
    *out = flag;
    return RL_OK;
}

/* A positive number, `otherwise` where there is none. */
static int read_number(const struct json *value, const char *path, const char *key,
                       double otherwise, double *out)
{
    *out = json_number(value, otherwise);
    if ((!json_is_null(value) && !json_is_number(value)) || !(*out > 0) || !isfinite(*out))
        return refuse(path, key, "a positive number", value);
    return RL_OK;
}

static int without(const struct json *config, const char *path, const char *key)
{
    bool flag = false;
    int rc = RL_OK;

    TRY(read_flag(config, path, key, &flag));
    if (flag)
        rc = unsupported(path, key, "false", json_get(config, key));
done:
    return rc;
}

/* Rotating a part of each head is another table. */
static int whole_heads(const struct json *group, const char *path)
{
    const struct json *part = json_get(group, "partial_rotary_factor");

    if (json_is_null(part) || json_number(part, 0) == 1)
        return RL_OK;
    return unsupported(path, "partial_rotary_factor", "1", part);
}

/* rope_theta beside the sizes, or in rope_parameters as newer files have it; nothing but the
 * plain table is supported. */
static int read_rotary(struct model_shape *s, const struct json *config, const char *path)
{
    static const char *const keys[][2] = {
        { "rope_scaling", "rope_scaling.rope_type" },
        { "rope_parameters", "rope_parameters.rope_type" },
    };
    const struct json *theta = json_get(config, "rope_theta");
    int rc = RL_OK;

    TRY(whole_heads(config, path));
    for (int i = 0; i < 2; i++) {
        const struct json *group = json_get(config, keys[i][0]);
        const struct json *type = json_get(group, "rope_type");

        if (json_is_null(group))
            continue;
        if (!json_is_object(group))
            return refuse(path, keys[i][0], "null or an object", group);
        if (json_is_null(type))
            type = json_get(group, "type");             /* its older name */
        if (!json_is_string(type))
            return refuse(path, keys[i][1], "\"default\"", type);
        if (strcmp(json_string(type, ""), "default") != 0)
            return unsupported(path, keys[i][1], "\"default\"", type);
        TRY(whole_heads(group, path));
        if (!json_is_null(json_get(group, "rope_theta")))
            theta = json_get(group, "rope_theta");
    }
    TRY(read_number(theta, path, "rope_theta", 10000, &s->theta));
done:
    return rc;
}

static int read_heads(struct model_shape *s, const struct json *config, const char *path)
{
    int rc = RL_OK;

    TRY(read_size(config, path, "num_attention_heads", 0, MOST_CHANNELS, &s->H));
    TRY(read_size(config, path, "num_key_value_heads", s->H, MOST_CHANNELS, &s->G));
    if (json_is_null(json_get(config, "head_dim")) && s->C % s->H)
        return rl_error(RL_EINVAL, "%s: num_attention_heads %d does not divide hidden_size %d, and "
                        "there is no head_dim", path, s->H, s->C);
    TRY(read_size(config, path, "head_dim", s->C / s->H, MOST_CHANNELS, &s->D));
    if (s->D % 2)
        return rl_error(RL_EINVAL, "%s: head_dim must be even for rotary positions, not %d", path,
                        s->D);
    if (s->H % s->G)
        return rl_error(RL_EINVAL, "%s: num_key_value_heads %d does not divide "
                        "num_attention_heads %d", path, s->G, s->H);
    if ((long)s->H * s->D > MOST_CHANNELS)
        return rl_error(RL_EINVAL, "%s: num_attention_heads %d times head_dim %d is more than %d",
                        path, s->H, s->D, MOST_CHANNELS);
done:
    return rc;
}

int llama_read(struct model_shape *s, const struct json *config, const char *path)
{
    const struct json *act = json_get(config, "hidden_act");
    double eps;
    int rc = RL_OK;

    TRY(read_size(config, path, "vocab_size", 0, MOST_VOCABULARY, &s->V));
    TRY(read_size(config, path, "hidden_size", 0, MOST_CHANNELS, &s->C));
    TRY(read_size(config, path, "num_hidden_layers", 0, MOST_LAYERS, &s->L));
    TRY(read_size(config, path, "intermediate_size", 0, MOST_CHANNELS * 4, &s->F));
    TRY(read_size(config, path, "max_position_embeddings", 2048, MOST_CONTEXT, &s->context));
    TRY(read_heads(s, config, path));
    TRY(read_rotary(s, config, path));
    TRY(read_number(json_get(config, "rms_norm_eps"), path, "rms_norm_eps", 1e-6, &eps));
    s->eps = (float)eps;
    if (!(s->eps > 0) || s->eps > 1)
        return refuse(path, "rms_norm_eps", "a number from 1e-38 to 1",
                      json_get(config, "rms_norm_eps"));
    TRY(read_flag(config, path, "tie_word_embeddings", &s->tied));
    TRY(without(config, path, "attention_bias"));
    TRY(without(config, path, "mlp_bias"));
    if (!json_is_null(act) && strcmp(json_string(act, ""), "silu"))
        return unsupported(path, "hidden_act", "\"silu\"", act);
done:
    return rc;
}
