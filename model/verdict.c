/* Verdicts: forward only, and their lines in config.json; the learner has the slopes. */
#include "model/verdict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "compute/math.h"

static const char *const kinds[] = { "scores", "point", "general" };
static const char *const scales[] = { "fixed", "learned", "prompt" };

int verdict_outputs(const struct verdict *v, int heads)
{
    if (v->kind == VERDICT_POINT)
        return v->dim * (v->of_prompt ? 1 + v->prototypes : 1);
    if (v->kind == VERDICT_GENERAL)
        return v->planes * (v->scale == GPM_PROMPT ? 3 : 2);
    return heads;
}

bool verdict_same(const struct verdict *a, const struct verdict *b)
{
    return a->kind == b->kind && a->dim == b->dim && a->prototypes == b->prototypes &&
           a->of_prompt == b->of_prompt && a->planes == b->planes && a->scale == b->scale;
}

double verdict_temperature(const struct verdict *v)
{
    return v->temperature > 0 ? v->temperature : 1;
}

/* ---- config.json */

static int refuse(const char *path, const char *key, const char *what)
{
    return rl_error(RL_EINVAL, "%s: " VERDICT_KEY ".%s must be %s", path, key, what);
}

static int read_count(const struct json *group, const char *path, const char *key, int most,
                      int *out)
{
    double x = json_number(json_get(group, key), 0);
    char what[64];

    snprintf(what, sizeof what, "an integer from 1 to %d", most);
    if (!(x >= 1 && x <= most && x == floor(x)))
        return refuse(path, key, what);
    *out = (int)x;
    return RL_OK;
}

static int read_positive(const struct json *group, const char *path, const char *key, double *out)
{
    double x = json_number(json_get(group, key), *out);

    if (!(x > 0) || !isfinite(x))
        return refuse(path, key, "a positive number");
    *out = x;
    return RL_OK;
}

static int find(const char *word, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0)
            return i;
    return -1;
}

static int read_point(struct verdict *v, const struct json *group, const char *path)
{
    int rc = RL_OK;

    TRY(read_count(group, path, "dim", VERDICT_MOST, &v->dim));
    TRY(read_count(group, path, "prototypes", VERDICT_MOST, &v->prototypes));
    TRY(read_count(group, path, "users", 1000000, &v->users));
    v->of_prompt = json_bool(json_get(group, "of_prompt"), false);
    v->cosine = json_bool(json_get(group, "cosine"), false);
    v->factor = 1;
    TRY(read_positive(group, path, "factor", &v->factor));
done:
    return rc;
}

static int read_general(struct verdict *v, const struct json *group, const char *path)
{
    int scale = find(json_string(json_get(group, "scale"), ""), scales, 3), rc = RL_OK;

    TRY(read_count(group, path, "planes", VERDICT_MOST / 3, &v->planes));
    if (scale < 0)
        return refuse(path, "scale", "\"fixed\", \"learned\" or \"prompt\"");
    v->scale = (enum gpm_scale)scale;
    v->unit = json_bool(json_get(group, "unit"), false);
    v->tau = 1;
    TRY(read_positive(group, path, "tau", &v->tau));
done:
    return rc;
}

int verdict_read(struct verdict *v, const struct json *config, const char *path)
{
    const struct json *group = json_get(config, VERDICT_KEY);
    int kind = find(json_string(json_get(group, "kind"), ""), kinds, 3), rc = RL_OK;

    memset(v, 0, sizeof *v);
    if (json_is_null(group))
        return RL_OK;
    if (kind < 0)
        return refuse(path, "kind", "\"scores\", \"point\" or \"general\"");
    v->kind = (enum verdict_kind)kind;
    v->temperature = 1;
    TRY(read_positive(group, path, "temperature", &v->temperature));
    if (kind == VERDICT_POINT)
        TRY(read_point(v, group, path));
    if (kind == VERDICT_GENERAL)
        TRY(read_general(v, group, path));
    if (verdict_outputs(v, 1) > VERDICT_MOST)
        rc = rl_error(RL_EINVAL, "%s: " VERDICT_KEY ": %d outputs are more than %d", path,
                      verdict_outputs(v, 1), VERDICT_MOST);
done:
    return rc;
}

void verdict_write(const struct verdict *v, struct text *out)
{
    text_addf(out, "{\"kind\": \"%s\", \"temperature\": ", kinds[v->kind]);
    json_add_number(out, verdict_temperature(v));
    if (v->kind == VERDICT_POINT) {
        text_addf(out, ", \"dim\": %d, \"prototypes\": %d, \"users\": %d, \"of_prompt\": %s, "
                  "\"cosine\": %s, \"factor\": ", v->dim, v->prototypes, v->users,
                  v->of_prompt ? "true" : "false", v->cosine ? "true" : "false");
        json_add_number(out, v->factor);
    }
    if (v->kind == VERDICT_GENERAL) {
        text_addf(out, ", \"planes\": %d, \"scale\": \"%s\", \"unit\": %s, \"tau\": ", v->planes,
                  scales[v->scale], v->unit ? "true" : "false");
        json_add_number(out, v->tau);
    }
    text_adds(out, "}");
}

/* ---- arithmetic */

/* p may be v. */
static void softmax(double *p, const double *v, int n)
{
    double max = v[0], sum = 0;

    for (int i = 1; i < n; i++)
        max = v[i] > max ? v[i] : max;
    for (int i = 0; i < n; i++) {
        p[i] = rw_exp(v[i] - max);
        sum += p[i];
    }
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

void pal_ideal(double *a, double *weights, const double *logits, const double *prototypes, int K,
               int dim)
{
    softmax(weights, logits, K);
    for (int d = 0; d < dim; d++)
        a[d] = 0;
    for (int k = 0; k < K; k++)
        for (int d = 0; d < dim; d++)
            a[d] += weights[k] * prototypes[k * dim + d];
}

double pal_reward(const struct verdict *v, const double *f, const double *a)
{
    double gap = 0, ff = 0, aa = 0, fa = 0;

    for (int d = 0; d < v->dim; d++) {
        gap += (f[d] - a[d]) * (f[d] - a[d]);
        ff += f[d] * f[d];
        aa += a[d] * a[d];
        fa += f[d] * a[d];
    }
    if (!v->cosine)
        return -sqrt(gap);
    return ff > 0 && aa > 0 ? v->factor * fa / (sqrt(ff) * sqrt(aa)) : 0;
}

double gpm_score(const double *c, const double *v_i, const double *v_j, int planes)
{
    double s = 0;

    for (int l = 0; l < planes; l++)
        s += c[l] * (v_i[2 * l] * v_j[2 * l + 1] - v_i[2 * l + 1] * v_j[2 * l]);
    return s;
}

double gpm_vector(const struct verdict *v, double *out, const float *outputs)
{
    double squares = 0, length;

    for (int i = 0; i < 2 * v->planes; i++) {
        out[i] = outputs[i];
        squares += out[i] * out[i];
    }
    length = v->unit && squares > 0 ? sqrt(squares) : 1;
    for (int i = 0; i < 2 * v->planes; i++)
        out[i] /= length;
    return length;
}

void gpm_scales(const struct verdict *v, double *c, const float *learned, const float *prompt)
{
    for (int l = 0; l < v->planes; l++)
        c[l] = v->scale == GPM_LEARNED ? learned[l]
               : v->scale == GPM_PROMPT ? prompt[2 * v->planes + l] : 1;
    if (v->scale == GPM_PROMPT)
        softmax(c, c, v->planes);
}
