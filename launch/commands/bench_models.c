/* The models of `rankwise bench`: random Llamas for those that are not at hand, or a folder. */
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "launch/commands/bench.h"
#include "launch/models.h"

#define DRAWN ((size_t)1 << 24)         /* floats, at most */

#define UNTIED .family = "llama", .eps = 1e-5f, .theta = 10000, .lm = true
#define LLAMA UNTIED, .tied = true

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
    /* Qwen3 0.6B and 1.7B without their norms of queries and keys, which no family here has */
    { "0.6b", { LLAMA, .V = 151936, .C = 1024, .L = 28, .H = 16, .G = 8, .D = 128, .F = 3072,
                .context = 8192 } },
    { "1.7b", { LLAMA, .V = 151936, .C = 2048, .L = 28, .H = 16, .G = 8, .D = 128, .F = 6144,
                .context = 8192 } },
    /* Llama 3.1 8B */
    { "8b", { UNTIED, .V = 128256, .C = 4096, .L = 32, .H = 32, .G = 8, .D = 128, .F = 14336,
              .context = 8192 } },
    { 0 },
};

const struct model_shape *bench_shape(const char *name)
{
    for (int i = 0; shapes[i].name; i++)
        if (strcmp(name, shapes[i].name) == 0)
            return &shapes[i].shape;
    return NULL;
}

int bench_shape_of(struct model_shape *shape, const char *name)
{
    const struct model_shape *known = bench_shape(name);
    struct source s;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    if (!known)
        TRY(source_open(&s, name));
    *shape = known ? *known : s.shape;
done:
    source_close(&s);
    return rc;
}

void bench_shape_json(const struct model_shape *s, struct text *out)
{
    text_addf(out, "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
              "\"vocab_size\": %d, \"hidden_size\": %d, \"intermediate_size\": %d, "
              "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, "
              "\"num_key_value_heads\": %d, \"head_dim\": %d, \"max_position_embeddings\": %d, "
              "\"rms_norm_eps\": %g, \"rope_theta\": %.1f, \"hidden_act\": \"silu\", "
              "\"tie_word_embeddings\": %s, \"torch_dtype\": \"float32\"}\n", s->V, s->C, s->F,
              s->L, s->H, s->G, s->D, s->context, (double)s->eps, s->theta,
              s->tied ? "true" : "false");
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

/* Numbers of a normal distribution, in turns: for a large model drawing all of them takes longer
 * than what is timed. */
static void randomize(struct model *m, const struct model_shape *shape, struct compute *k)
{
    float *w = model_weights(m), *drawn = w + model_array(m, "model.embed_tokens.weight")->offset;
    const struct array *arrays;
    int n;

    if (model_size(shape) <= DRAWN) {
        model_randomize(m, 1, 0.02);
        return;
    }
    model_randomize_part(m, 1, 0.02, 0, DRAWN);
    arrays = model_arrays(m, &n);
    for (int a = 0; a < n; a++)
        for (size_t i = 0; i < arrays[a].size; i += DRAWN) {
            size_t rest = arrays[a].size - i < DRAWN ? arrays[a].size - i : DRAWN;
            float *to = w + arrays[a].offset + i;

            if (arrays[a].dims == 1)
                model_randomize_part(m, 1, 0.02, arrays[a].offset + i, arrays[a].offset + i + rest);
            else if (to != drawn)
                k->copy(k, to, drawn, rest * sizeof *to);
        }
    compute_wait(k);
    model_changed(m);
}

int bench_model(struct model **m, const char *name, struct compute *compute)
{
    const struct model_shape *shape = bench_shape(name);
    int rc = RL_OK;

    if (!shape)
        return load(m, name, compute);
    TRY(model_create(m, shape, compute));
    randomize(*m, shape, compute);
done:
    return rc;
}

int bench_fits(const struct model_shape *shape, const char *options, int64_t tokens)
{
    return tokens <= shape->context ? RL_OK
           : rl_error(RL_EINVAL, "%s: the model has %d positions", options, shape->context);
}

int bench_has_room(const struct compute *k, const char *model, size_t bytes)
{
    size_t host = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    size_t there = k->device ? k->device_room : host;

    return bytes <= there ? RL_OK
           : rl_error(RL_ENOFIT, "--model %s: this needs at least %.1f GiB, and %s %.1f; fewer "
                      "--rows or a smaller model need less", model, (double)bytes / (1 << 30),
                      k->device ? "the GPU has" : "this machine has", (double)there / (1 << 30));
}

double bench_weights_per_token(const struct model_shape *s)
{
    double layer = (double)s->C * (s->H + 2 * s->G) * s->D + (double)s->H * s->D * s->C +
                   3.0 * s->C * s->F;

    return layer * s->L + (double)s->C * s->V;
}

double bench_forward_operations(const struct model_shape *s, double tokens, double length)
{
    double attention = 4 * 0.5 * (length + 1) * s->H * s->D * s->L;

    return tokens * (2 * bench_weights_per_token(s) + attention);
}
