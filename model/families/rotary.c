/* Rotary positions in config.json: rope_theta, and how longer rows are scaled.
 *
 *   "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8, ...}
 *   "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}          newer files
 */
#include <string.h>

#include "model/families/read.h"

#define MOST_POSITIONS (1 << 22)     /* that a model was first trained on */

/* Rotating a part of each head is another table. */
static int whole_heads(const struct json *group, const char *path)
{
    const struct json *part = json_get(group, "partial_rotary_factor");

    if (json_is_null(part) || json_number(part, 0) == 1)
        return RL_OK;
    return read_unsupported(path, "partial_rotary_factor", "1", part);
}

/* "rope_scaling.factor" */
static const char *member(struct text *t, const char *group, const char *key)
{
    text_clear(t);
    text_addf(t, "%s.%s", group, key);
    return t->data;
}

static int read_member(const struct json *group, const char *path, const char *name,
                       const char *key, double *out)
{
    struct text full = {0};
    const struct json *value = json_get(group, key);
    const char *whole = member(&full, name, key);
    int rc = json_is_null(value) ? read_refuse(path, whole, "a positive number", value)
                                 : read_number(value, path, whole, 0, out);

    text_free(&full);
    return rc;
}

static int read_llama3(struct rope_scaling *s, const struct json *group, const char *path,
                       const char *name)
{
    struct text full = {0};
    double original;
    int rc = RL_OK;

    TRY(read_member(group, path, name, "low_freq_factor", &s->low));
    TRY(read_member(group, path, name, "high_freq_factor", &s->high));
    TRY(read_member(group, path, name, "original_max_position_embeddings", &original));
    if (s->high <= s->low)
        TRY(read_refuse(path, member(&full, name, "high_freq_factor"),
                        "more than low_freq_factor", json_get(group, "high_freq_factor")));
    if (original < 1 || original > MOST_POSITIONS)
        TRY(read_refuse(path, member(&full, name, "original_max_position_embeddings"),
                        "a number of positions",
                        json_get(group, "original_max_position_embeddings")));
    s->original = (int)original;
done:
    text_free(&full);
    return rc;
}

static int read_scaling(struct rope_scaling *s, const struct json *group, const char *path,
                        const char *name)
{
    const struct json *type = json_get(group, "rope_type");
    struct text full = {0};
    const char *kind;
    int rc = RL_OK;

    if (json_is_null(type))
        type = json_get(group, "type");                 /* its older name */
    kind = json_string(type, "");
    if (!json_is_string(type))
        TRY(read_refuse(path, member(&full, name, "rope_type"), "\"default\"", type));
    if (strcmp(kind, "default") == 0)
        goto done;
    if (strcmp(kind, "linear") != 0 && strcmp(kind, "llama3") != 0)
        TRY(read_unsupported(path, member(&full, name, "rope_type"),
                             "\"default\", \"linear\", \"llama3\"", type));
    s->kind = strcmp(kind, "linear") == 0 ? ROPE_LINEAR : ROPE_LLAMA3;
    TRY(read_member(group, path, name, "factor", &s->factor));
    if (s->kind == ROPE_LLAMA3)
        TRY(read_llama3(s, group, path, name));
done:
    text_free(&full);
    return rc;
}

int read_rotary(struct model_shape *s, const struct json *config, const char *path)
{
    static const char *const names[] = { "rope_scaling", "rope_parameters" };
    const struct json *theta = json_get(config, "rope_theta");
    int rc = RL_OK;

    TRY(whole_heads(config, path));
    for (int i = 0; i < 2; i++) {
        const struct json *group = json_get(config, names[i]);

        if (json_is_null(group))
            continue;
        if (!json_is_object(group))
            return read_refuse(path, names[i], "null or an object", group);
        TRY(read_scaling(&s->scaling, group, path, names[i]));
        TRY(whole_heads(group, path));
        if (!json_is_null(json_get(group, "rope_theta")))
            theta = json_get(group, "rope_theta");
    }
    TRY(read_number(theta, path, "rope_theta", 10000, &s->theta));
done:
    return rc;
}
