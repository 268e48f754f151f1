/* The table of families, and the questions that decide: which model_type is this, and which heads
 * are on it?
 *
 *   architectures ["LlamaForCausalLM"], or none       vocabulary head
 *   architectures ["LlamaForSequenceClassification"]  score head of num_labels outputs, no other
 *   "rankwise_scores": n                              a score head beside the vocabulary head
 *   "rankwise_reward": {"kind": ..}                   what the scores say (verdict.h)
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/model_internal.h"

static const struct family families[] = {
    { "llama", "Llama", llama_read },
    { "mistral", "Mistral", mistral_read },
    { NULL, NULL, NULL },
};

const struct family *family_find(const char *model_type)
{
    for (const struct family *f = families; f->model_type; f++)
        if (strcmp(model_type, f->model_type) == 0)
            return f;
    return NULL;
}

static int refuse(const char *path, const char *key, const struct json *value)
{
    struct text shown = {0};
    int rc;

    json_add(&shown, value);
    rc = rl_error(RL_EINVAL, "%s: %s must be an integer from 1 to %d, not %.80s", path, key,
                  MODEL_SCORES, shown.data);
    text_free(&shown);
    return rc;
}

/* As Hugging Face counts labels: those named, or the number, or two. */
static int read_labels(struct model_shape *s, const struct json *config, const char *path)
{
    const struct json *names = json_get(config, "id2label");
    const struct json *number = json_get(config, "num_labels");
    double n = json_is_null(number) ? 2 : json_number(number, 0);

    if (json_is_object(names) && json_size(names) > 0)
        n = (double)json_size(names);
    if (!(n >= 1 && n <= MODEL_SCORES && n == floor(n)))
        return json_is_null(number) ? rl_error(RL_EINVAL, "%s: id2label names %g labels; at most "
                                               "%d are supported", path, n, MODEL_SCORES)
                                    : refuse(path, "num_labels", number);
    s->scores = (int)n;
    return RL_OK;
}

/* The labels, and what they say together. */
static int read_verdict(struct model_shape *s, const struct json *config, const char *path)
{
    int rc = RL_OK;

    TRY(read_labels(s, config, path));
    TRY(verdict_read(&s->verdict, config, path));
    if (verdict_outputs(&s->verdict, s->scores) != s->scores)
        rc = rl_error(RL_EINVAL, "%s: " VERDICT_KEY " is of %d outputs, but there are %d labels",
                      path, verdict_outputs(&s->verdict, s->scores), s->scores);
done:
    return rc;
}

static int read_heads(struct model_shape *s, const struct json *config, const char *path)
{
    static const char end[] = "ForSequenceClassification";
    const struct json *own = json_get(config, MODEL_SCORES_KEY);
    const char *name = json_string(json_at(json_get(config, "architectures"), 0), "");
    size_t n = strlen(name), m = sizeof end - 1;
    double scores = json_number(own, 0);

    s->lm = n < m || strcmp(name + n - m, end) != 0;
    if (!s->lm)
        return read_verdict(s, config, path);
    if (!json_is_null(own) && !(scores >= 1 && scores <= MODEL_SCORES && scores == floor(scores)))
        return refuse(path, MODEL_SCORES_KEY, own);
    s->scores = (int)scores;
    return RL_OK;
}

static int unknown_family(const char *path, const char *type)
{
    struct text known = {0};
    int rc;

    for (const struct family *f = families; f->model_type; f++)
        text_addf(&known, "%s%s", f == families ? "" : ", ", f->model_type);
    if (!type)
        rc = rl_error(RL_EINVAL, "%s: model_type is missing or no string (supported: %s)", path,
                      known.data);
    else
        rc = rl_error(RL_EINVAL, "%s: model_type \"%.64s\" is not supported (supported: %s)", path,
                      type, known.data);
    text_free(&known);
    return rc;
}

int model_shape_read(struct model_shape *shape, const struct json *config, const char *path)
{
    const char *type = json_string(json_get(config, "model_type"), NULL);
    const struct family *f = type ? family_find(type) : NULL;
    int rc = RL_OK;

    if (!json_is_object(config))
        return rl_error(RL_EINVAL, "%s: must hold one JSON object that describes a model", path);
    if (!f)
        return unknown_family(path, type);
    memset(shape, 0, sizeof *shape);
    snprintf(shape->family, sizeof shape->family, "%s", f->model_type);
    TRY(f->read(shape, config, path));
    TRY(read_heads(shape, config, path));
done:
    return rc;
}
