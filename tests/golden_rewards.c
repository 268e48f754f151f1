/* Worked numbers of rewards, and of weights that depend on the prompt (spec, sections 5.7 and
 * 5.8). */
#include "launch/rps.h"
#include "model/mixture.h"
#include "reward/kinds/r3.h"
#include "tests/golden_ops.h"

static void check_r3(struct one *c)
{
    const char *type = json_string(json_get(c->in, "qtype"), "");
    struct r3_input in = {
        .tokens = number(c, "n_tokens", NAN), .unique = number(c, "unique_trigrams", NAN),
        .total = number(c, "total_trigrams", NAN), .relevance = number(c, "relevance", NAN),
        .max_len = number(c, "max_len", NAN), .constrained = strcmp(type, "constrained") == 0,
    };

    golden_true(&c->g, in.constrained || strcmp(type, "open") == 0, "qtype %s", type);
    near(c, r3_reward(&in), json_get(c->want, "reward"), "reward");
}

/* Numbers of an array; returns how many, 0 when they are too many. */
static int numbers(struct one *c, const struct json *array, double x[MIXTURE_MOST])
{
    size_t n = json_size(array);

    golden_true(&c->g, n > 0 && n <= MIXTURE_MOST, "1 to %d numbers", MIXTURE_MOST);
    for (size_t i = 0; i < n && i < MIXTURE_MOST; i++)
        x[i] = item(array, i);
    return n <= MIXTURE_MOST ? (int)n : 0;
}

static void check_contexts(struct one *c)
{
    double p[MIXTURE_MOST], r1[MIXTURE_MOST], r2[MIXTURE_MOST], sum = 0;
    int n = numbers(c, json_get(c->in, "p_z"), p);

    golden_true(&c->g, numbers(c, json_get(c->in, "r1"), r1) == n &&
                       numbers(c, json_get(c->in, "r2"), r2) == n, "as many rewards as contexts");
    for (int z = 0; z < n; z++)
        sum += mixture_term(p[z], r1[z] - r2[z]);
    near(c, sum, json_get(c->want, "prob"), "prob");
}

static void check_orchestrator(struct one *c)
{
    double logits[MIXTURE_MOST], r[MIXTURE_MOST], mean[MIXTURE_MOST], std[MIXTURE_MOST];
    double target[MIXTURE_MOST], slopes[MIXTURE_MOST];
    int n = numbers(c, json_get(c->in, "adapter_logits"), logits);

    golden_true(&c->g, numbers(c, json_get(c->in, "rewards"), r) == n &&
                       numbers(c, json_get(c->in, "mean"), mean) == n &&
                       numbers(c, json_get(c->in, "std"), std) == n, "as many of each");
    for (int i = 0; i < n; i++)
        r[i] = (r[i] - mean[i]) / std[i];
    mixture_softmax(target, r, n, number(c, "temp", 1));
    for (int i = 0; i < n; i++)
        near(c, target[i], json_at(json_get(c->in, "target_const"), (size_t)i), "target");
    near(c, mixture_kl(target, logits, n, slopes), json_get(c->want, "loss"), "loss");
    for (int i = 0; i < n; i++)
        near(c, slopes[i], json_at(json_get(json_get(c->want, "grads"), "adapter_logits"),
                                   (size_t)i), "slope");
}

static void check_rps(struct one *c)
{
    const struct json *rows = json_get(c->in, "rewards");
    double v[MIXTURE_MOST], r[MIXTURE_MOST], scores[MIXTURE_MOST];
    int K = numbers(c, json_get(c->in, "v_target"), v), n = (int)json_size(rows);

    golden_true(&c->g, n > 0 && n <= MIXTURE_MOST, "1 to %d responses", MIXTURE_MOST);
    for (int i = 0; i < n && i < MIXTURE_MOST; i++) {
        golden_true(&c->g, numbers(c, json_at(rows, (size_t)i), r) == K, "%d rewards", K);
        scores[i] = rps_score(v, r, K);
        near(c, scores[i], json_at(json_get(c->want, "scores"), (size_t)i), "score");
    }
    near(c, rps_best(scores, n), json_get(c->want, "best"), "best");
}

const struct golden_op golden_rewards[] = {
    { "r3_reward", check_r3 },
    { "context_mixture", check_contexts },
    { "orchestrator_kl", check_orchestrator },
    { "rps_select", check_rps },
    { NULL, NULL },
};
