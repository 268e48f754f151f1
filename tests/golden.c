/* golden FILE [MODEL]: does the program compute the numbers in FILE?
 *
 *   schema by its keys            checked by          needs a model
 *   cases with prompt_ids         golden_logits       yes
 *   mean_nll                      golden_nll          yes
 *   ce or dpo                     golden_train        yes
 *   cases with op                 golden_losses       no
 *
 * MODEL is the folder of FILE unless given; $GOLDEN_DEVICE chooses the backend, $GOLDEN_DTYPE fp32
 * or bf16, and $GOLDEN_LOOSER, for bf16, is a factor on every tolerance.  The last line is
 * "N passed, N failed" and, where a family or operation is not supported, ", N skipped".
 */
#include "tests/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

double golden_looser(void)
{
    const char *said = getenv("GOLDEN_LOOSER");

    return said ? atof(said) : 1;
}

void golden_begin(struct golden *g, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(g->name, sizeof g->name, format, args);
    va_end(args);
    g->wrong = 0;
}

void golden_near(struct golden *g, double got, double want, double tolerance, const char *format,
                 ...)
{
    char what[128];
    va_list args;

    tolerance *= golden_looser();
    if (fabs(got - want) <= tolerance)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    printf("FAIL %s: %s is %.9g, golden %.9g (tolerance %.3g)\n", g->name, what, got, want,
           tolerance);
    g->wrong++;
}

void golden_true(struct golden *g, bool holds, const char *format, ...)
{
    char what[256];
    va_list args;

    if (holds)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    printf("FAIL %s: %s\n", g->name, what);
    g->wrong++;
}

void golden_end(struct golden *g)
{
    g->counts[g->wrong ? GOLDEN_FAILED : GOLDEN_PASSED]++;
}

bool golden_ids(const struct json *array, struct ids *out)
{
    for (size_t i = 0; i < json_size(array); i++) {
        int64_t id = json_int(json_at(array, i), -1);

        if (id < 0 || id > INT32_MAX)
            return false;
        ids_add(out, (int)id);
    }
    return json_is_array(array);
}

/* ---- schemas */

struct schema {
    int (*check)(struct golden *g, const struct json *file);
    const struct json *cases;    /* counted as skipped where the model is not supported */
};

static struct schema recognise(const struct json *file)
{
    const struct json *cases = json_get(file, "cases"), *first = json_at(cases, 0);

    if (json_is_array(json_get(first, "prompt_ids")))
        return (struct schema){ golden_logits, cases };
    if (json_is_number(json_get(file, "mean_nll")))
        return (struct schema){ golden_nll, json_get(file, "piece_nll") };
    if (json_is_object(json_get(file, "ce")) || json_is_object(json_get(file, "dpo")))
        return (struct schema){ golden_train, file };
    return (struct schema){ NULL, cases };
}

/* A family that is not supported yet is no failure; its line says what is missing. */
static int open_or_skip(struct golden *g, const struct schema *schema, bool *skipped)
{
    int rc;

    status_hold(true);
    rc = source_open(&g->source, g->folder);
    *skipped = rc != RL_OK && strstr(status_message(), "is not supported") != NULL;
    if (*skipped) {
        printf("SKIP %s\n", status_message());
        g->counts[GOLDEN_SKIPPED] += (int)json_size(schema->cases);
        status_drop();
    }
    status_print();
    status_hold(false);
    return rc;
}

static int with_model(struct golden *g, const struct schema *schema, const struct json *file)
{
    const char *device = getenv("GOLDEN_DEVICE"), *dtype = getenv("GOLDEN_DTYPE");
    bool skipped;
    int rc = open_or_skip(g, schema, &skipped);

    if (rc != RL_OK)
        return skipped ? RL_OK : rc;
    TRY(compute_open(&g->compute, device ? device : "auto", dtype ? dtype : "fp32", 1));
    TRY(source_model(&g->model, &g->source, g->compute));
    TRY(schema->check(g, file));
done:
    model_destroy(g->model);
    compute_close(g->compute);
    source_close(&g->source);
    return rc;
}

static int check_file(const char *path, const char *model, int counts[3])
{
    struct golden g = { .counts = counts };
    struct schema schema;
    struct json *file = json_read(path);
    char folder[4096];
    char *slash;
    int rc;

    if (!file)
        return RL_EINVAL;
    snprintf(folder, sizeof folder, "%s", model ? model : path);
    slash = strrchr(folder, '/');
    if (!model)
        strcpy(slash ? slash : folder, slash ? "" : ".");
    g.folder = folder;
    schema = recognise(file);
    if (schema.check)
        rc = with_model(&g, &schema, file);
    else if (json_is_string(json_get(json_at(schema.cases, 0), "op")))
        rc = golden_losses(file, counts);
    else
        rc = rl_error(RL_EINVAL, "%s: none of the known schemas: expected cases with prompt_ids or "
                      "op, mean_nll, ce or dpo", path);
    json_free(file);
    return rc;
}

int main(int argc, char **argv)
{
    int counts[3] = {0}, rc;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s FILE [MODEL]\n", argv[0]);
        return 1;
    }
    rc = check_file(argv[1], argc == 3 ? argv[2] : NULL, counts);
    printf("%d passed, %d failed", counts[GOLDEN_PASSED], counts[GOLDEN_FAILED]);
    if (counts[GOLDEN_SKIPPED])
        printf(", %d skipped", counts[GOLDEN_SKIPPED]);
    printf("\n");
    if (counts[GOLDEN_PASSED] + counts[GOLDEN_FAILED] == 0)
        printf("FAIL %s: nothing was compared\n", argv[1]);
    return rc != RL_OK || counts[GOLDEN_FAILED] || !counts[GOLDEN_PASSED] ? 1 : 0;
}
