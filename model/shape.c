/* The table of families, and the one question that decides: which model_type is this? */
#include <stdio.h>
#include <string.h>

#include "model/model_internal.h"

const struct family families[] = {
    { "llama", llama_read },
    { NULL, NULL },
};

int model_shape_read(struct model_shape *shape, const struct json *config, const char *path)
{
    const char *type = json_string(json_get(config, "model_type"), NULL);
    struct text known = {0};
    int rc;

    if (!json_is_object(config))
        return rl_error(RL_EINVAL, "%s: must hold one JSON object that describes a model", path);
    for (const struct family *f = families; type && f->model_type; f++)
        if (!strcmp(type, f->model_type)) {
            memset(shape, 0, sizeof *shape);
            snprintf(shape->family, sizeof shape->family, "%s", f->model_type);
            return f->read(shape, config, path);
        }
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
