/* See read.h. */
#include "model/families/read.h"

#include <math.h>

#include "base/status.h"

int read_refuse(const char *path, const char *key, const char *what, const struct json *value)
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

int read_unsupported(const char *path, const char *key, const char *what,
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

int read_size(const struct json *config, const char *path, const char *key, int otherwise,
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
        rc = read_refuse(path, key, what.data, value);
        text_free(&what);
    }
    return rc;
}

int read_flag(const struct json *config, const char *path, const char *key, bool *out)
{
    const struct json *value = json_get(config, key);
    bool flag = json_bool(value, false);

    if (!json_is_null(value) && flag != json_bool(value, true))
        return read_refuse(path, key, "true or false", value);
    *out = flag;
    return RL_OK;
}

int read_number(const struct json *value, const char *path, const char *key, double otherwise,
                double *out)
{
    *out = json_number(value, otherwise);
    if ((!json_is_null(value) && !json_is_number(value)) || !(*out > 0) || !isfinite(*out))
        return read_refuse(path, key, "a positive number", value);
    return RL_OK;
}
