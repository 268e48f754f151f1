/* Llama: RMSNorm, rotary half-split, grouped-query attention, SwiGLU, no biases; the
 * head is tied to the embedding or stands alone.  Mistral: the same, and a window of attention.
 * Read from config.json; what changes the arithmetic and is not supported (biases, other
 * activations) is refused by name.
 */
#include <math.h>
#include <string.h>

#include "model/families/read.h"

/* Largest sizes: products of any two, and of a layer's matrices with their count, fit in 64 bits,
 * and each fits in an int. */
#define MOST_VOCABULARY (1 << 24)
#define MOST_CHANNELS   (1 << 18)
#define MOST_LAYERS     (1 << 12)
#define MOST_CONTEXT    (1 << 22)

static int without(const struct json *config, const char *path, const char *key)
{
    bool flag = false;
    int rc = RL_OK;

    TRY(read_flag(config, path, key, &flag));
    if (flag)
        rc = read_unsupported(path, key, "false", json_get(config, key));
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
        return read_refuse(path, "rms_norm_eps", "a number from 1e-38 to 1",
                      json_get(config, "rms_norm_eps"));
    TRY(read_flag(config, path, "tie_word_embeddings", &s->tied));
    TRY(without(config, path, "attention_bias"));
    TRY(without(config, path, "mlp_bias"));
    if (!json_is_null(act) && strcmp(json_string(act, ""), "silu"))
        return read_unsupported(path, "hidden_act", "\"silu\"", act);
done:
    return rc;
}

/* A window that is not there is 4,096, as in Hugging Face's configuration; null is none. */
int mistral_read(struct model_shape *s, const struct json *config, const char *path)
{
    const struct json *window = json_get(config, "sliding_window");
    int rc = RL_OK;

    TRY(llama_read(s, config, path));
    if (!window || !json_is_null(window))
        TRY(read_size(config, path, "sliding_window", 4096, MOST_CONTEXT, &s->window));
done:
    return rc;
}
