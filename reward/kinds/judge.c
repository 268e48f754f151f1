/* judge: what a judge says of a response against the baseline of its prompt (OSP, section 2.2), in
 * two columns of one questioning:
 *
 *   strength   lam, the mean of the two orders' logit differences
 *   bias       half their difference: how much slot A is favoured */
#include <stdlib.h>
#include <string.h>

#include "reward/kinds/kinds.h"
#include "reward/verdicts.h"

struct judge_kind { struct verdicts *verdicts; bool bias; };

int judge_kind_open(void **state, const struct config_reward *c, const char *where,
                    struct verdicts *verdicts)
{
    struct judge_kind *k;

    *state = NULL;
    if (!verdicts)
        return rl_error(RL_EINVAL, "%s: kind: a \"judge\" compares the responses of a prompt while "
                        "they are sampled: in train, eval, and generate --rps with osp.judge = "
                        "\"current\"", where);
    *state = k = malloc(sizeof *k);
    if (!k)
        return rl_error(RL_ENOFIT, "%s: no memory for a judge", where);
    *k = (struct judge_kind){ verdicts, strcmp(c->column, "bias") == 0 };
    return RL_OK;
}

void judge_kind_close(void *state)
{
    free(state);
}

/* It reads ids. */
bool judge_kind_needs_text(const struct config_reward *c)
{
    (void)c;
    return false;
}

int judge_kind_fill(void *state, const struct batch *b, double *scores)
{
    const struct judge_kind *k = state;
    int rc = RL_OK;

    TRY(verdicts_run(k->verdicts, b));
    for (int n = 0; n < b->N; n++) {
        struct said said = verdicts_of(k->verdicts, n);
        scores[n] = k->bias ? said.bias : said.lam;
    }
done:
    return rc;
}
