/* Other heads on a source's trunk: the shape, and config.json in the words of Hugging Face, so that
 * a reward model that is written opens with AutoModelForSequenceClassification. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "launch/models.h"

/* "Llama" of "LlamaForCausalLM", else of the family. */
static void class_name(const struct source *s, const struct json *config, char *out, size_t room)
{
    const char *name = json_string(json_at(json_get(config, "architectures"), 0), NULL);
    const char *end = name ? strstr(name, "For") : NULL;

    if (end && end > name)
        snprintf(out, room, "%.*s", (int)(end - name), name);
    else
        snprintf(out, room, "%s", family_find(s->shape.family)->class_name);
}

/* The keys that say which heads there are. */
static bool about_heads(const char *key)
{
    static const char *const keys[] = { "architectures", "num_labels", "id2label", "label2id",
                                        "problem_type", MODEL_SCORES_KEY, VERDICT_KEY };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static void add_labels(struct text *t, int n)
{
    text_adds(t, ",\n  \"id2label\": {");
    for (int i = 0; i < n; i++)
        text_addf(t, "%s\"%d\": \"LABEL_%d\"", i ? ", " : "", i, i);
    text_adds(t, "},\n  \"label2id\": {");
    for (int i = 0; i < n; i++)
        text_addf(t, "%s\"LABEL_%d\": %d", i ? ", " : "", i, i);
    text_adds(t, "}");
}

static void add_verdict(struct text *t, const struct verdict *v)
{
    text_addf(t, ",\n  \"%s\": ", VERDICT_KEY);
    verdict_write(v, t);
}

/* config.json again, with other heads. */
static void write_config(const struct source *s, const struct json *config, struct text *t)
{
    const struct json *value;
    const char *key;
    char name[128];
    void *it = NULL;

    class_name(s, config, name, sizeof name);
    text_addf(t, "{\n  \"architectures\": [\"%s%s\"]", name,
              s->shape.lm ? "ForCausalLM" : "ForSequenceClassification");
    while (json_next(config, &it, &key, &value)) {
        if (about_heads(key))
            continue;
        text_adds(t, ",\n  ");
        json_add_string(t, key, strlen(key));
        text_adds(t, ": ");
        json_add(t, value);
    }
    if (!s->shape.lm) {
        add_labels(t, s->shape.scores);
        add_verdict(t, &s->shape.verdict);
    } else if (s->shape.scores > 0) {
        text_addf(t, ",\n  \"%s\": %d", MODEL_SCORES_KEY, s->shape.scores);
    }
    text_adds(t, "\n}\n");
}

static int set_shape(struct source *s, const struct heads *heads)
{
    if (heads->lm && !s->stored.lm)
        return rl_error(RL_EINVAL, "%s: a model of scores has no vocabulary head; give a language "
                        "model", s->path);
    if (!heads->lm && verdict_outputs(&heads->verdict, heads->scores) != heads->scores)
        return rl_error(RL_EBUG, "a verdict of %d outputs on %d scores",
                        verdict_outputs(&heads->verdict, heads->scores), heads->scores);
    if (heads->scores < 0 || heads->scores > MODEL_SCORES || (!heads->lm && heads->scores == 0))
        return rl_error(RL_EBUG, "a model with %d scores%s", heads->scores,
                        heads->lm ? "" : " and no vocabulary head");
    s->heads = *heads;
    s->shape.lm = heads->lm;
    s->shape.scores = heads->scores;
    s->shape.verdict = heads->verdict;
    if (heads->scores == s->stored.scores && verdict_same(&heads->verdict, &s->stored.verdict))
        s->shape.verdict.temperature = s->stored.verdict.temperature;
    return RL_OK;
}

int source_set_heads(struct source *s, const struct heads *heads)
{
    struct text *file = &s->files[0].text, changed = { 0 };
    struct json *config = NULL;
    int rc = RL_OK;

    TRY(set_shape(s, heads));
    config = json_parse(file->data, file->size, s->path);
    if (!config)
        return RL_EINVAL;
    write_config(s, config, &changed);
    text_free(file);
    *file = changed;
done:
    json_free(config);
    return rc;
}

int source_check_text(const struct source *s)
{
    if (s->shape.lm)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: a model of scores (%s%s) writes no text; give a language model",
                    s->path, family_find(s->shape.family)->class_name,
                    "ForSequenceClassification");
}
