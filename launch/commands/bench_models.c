/* The models of `rankwise bench`: random Llamas for those that are not at hand, or a folder. */
#include <string.h>

#include "base/status.h"
#include "launch/commands/bench.h"
#include "launch/models.h"

#define LLAMA .family = "llama", .eps = 1e-5f, .theta = 10000, .tied = true, .lm = true

static const struct {
    const char *name;
    struct model_shape shape;
} shapes[] = {
    { "tiny", { LLAMA, .V = 512, .C = 32, .L = 2, .H = 2, .G = 2, .D = 16, .F = 64,
                .context = 256 } },
    { "15m", { LLAMA, .V = 32000, .C = 288, .L = 6, .H = 6, .G = 6, .D = 48, .F = 768,
               .context = 1024 } },
    { "124m", { LLAMA, .V = 50257, .C = 768, .L = 12, .H = 12, .G = 12, .D = 64, .F = 2048,
                .context = 1024 } },
    { "0.5b", { LLAMA, .V = 151936, .C = 896, .L = 24, .H = 14, .G = 2, .D = 64, .F = 4864,
                .context = 1024 } },
    { 0 },
};

const struct model_shape *bench_shape(const char *name)
{
    for (int i = 0; shapes[i].name; i++)
        if (strcmp(name, shapes[i].name) == 0)
            return &shapes[i].shape;
    return NULL;
}

void bench_shape_json(const struct model_shape *s, struct text *out)
{
    text_addf(out, "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
              "\"vocab_size\": %d, \"hidden_size\": %d, \"intermediate_size\": %d, "
              "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, "
              "\"num_key_value_heads\": %d, \"head_dim\": %d, \"max_position_embeddings\": %d, "
              "\"rms_norm_eps\": %g, \"rope_theta\": %.1f, \"hidden_act\": \"silu\", "
              "\"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}\n", s->V, s->C, s->F,
              s->L, s->H, s->G, s->D, s->context, (double)s->eps, s->theta);
}

static int load(struct model **m, const char *folder, struct compute *compute)
{
    struct source s;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    TRY(source_open(&s, folder));
    TRY(source_check_text(&s));
    TRY(source_model(m, &s, compute));
done:
    source_close(&s);
    return rc;
}

int bench_model(struct model **m, const char *name, struct compute *compute)
{
    const struct model_shape *shape = bench_shape(name);
    int rc = RL_OK;

    if (!shape)
        return load(m, name, compute);
    TRY(model_create(m, shape, compute));
    model_randomize(*m, 1, 0.02);
done:
    return rc;
}

int bench_fits(const struct bench_options *o, const struct model_shape *shape)
{
    return o->prompt + o->fresh <= shape->context ? RL_OK
           : rl_error(RL_EINVAL, "--prompt + --new: the model has %d positions", shape->context);
}

double bench_weights_per_token(const struct model_shape *s)
{
    double layer = (double)s->C * (s->H + 2 * s->G) * s->D + (double)s->H * s->D * s->C +
                   3.0 * s->C * s->F;

    return layer * s->L + (double)s->C * s->V;
}
