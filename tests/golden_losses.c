/* Worked numbers of losses, labels and solvers: the cases of a file through tables of ops, one
 * a chapter (golden_ops.h).  A case of another op is skipped with its name. */
#include "tests/golden_ops.h"

static const struct golden_op *const chapters[] = {
    golden_pairs,
    golden_policy,
    golden_raco,
    golden_preferences,
    golden_osp,
    golden_rewardmodel,
    golden_rewards,
    NULL,
};

static const struct golden_op *find(const char *op)
{
    for (const struct golden_op *const *chapter = chapters; *chapter; chapter++)
        for (const struct golden_op *o = *chapter; o->op; o++)
            if (strcmp(o->op, op) == 0)
                return o;
    return NULL;
}

int golden_losses(const struct json *file, int counts[3])
{
    const struct json *cases = json_get(file, "cases");

    for (size_t i = 0; i < json_size(cases); i++) {
        const struct json *v = json_at(cases, i);
        const char *id = json_string(json_get(v, "id"), "?");
        const char *op = json_string(json_get(v, "op"), "?");
        const struct golden_op *found = find(op);
        struct one c = { .g = { .counts = counts }, .in = json_get(v, "inputs"),
                         .want = json_get(v, "expected"),
                         .tol = json_number(json_get(v, "tol"), 1e-9) };

        if (!found) {
            printf("SKIP %s: op %s\n", id, op);
            counts[GOLDEN_SKIPPED]++;
            continue;
        }
        golden_begin(&c.g, "%s", id);
        found->check(&c);
        golden_end(&c.g);
    }
    return RL_OK;
}
