/* Scores that did not come: what the ranks that score have noted becomes one line a reward, however
 * many ranks there are, and the last line of a run that ends of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "launch/run.h"

#define MOST_LINES 10           /* about a reward */

/* Of one reward, over all ranks. */
struct missing {
    int scores, rows;
    const char *why; int bytes;         /* of the lowest rank: its rows are the first */
};

static struct missing add_notes(const struct text *notes, int reward)
{
    struct missing all = { 0 };
    int of, scores, rows, at;

    for (const char *p = notes->data, *end; p && *p; p = end + 1) {
        end = strchr(p, '\n');
        if (sscanf(p, "%*d %d %d %d %n", &of, &scores, &rows, &at) != 3 || of != reward)
            continue;
        if (all.rows == 0) {
            all.why = p + at;
            all.bytes = (int)(end - all.why);
        }
        all.scores += scores;
        all.rows += rows;
    }
    return all;
}

/* The run ends: the reward that failed most, and why. */
static void say_end(const struct run *r, const struct text *notes, const struct unscored *u)
{
    struct missing m = add_notes(notes, u->reward);

    log_error("step %lld: no response has all its scores; reward \"%s\" gave none or no finite "
              "number for %d of %d%s%.*s", (long long)r->step + 1,
              r->config->rewards[u->reward].name, u->missing, u->rows, m.rows ? ": " : "", m.bytes,
              m.rows ? m.why : "");
}

static void say_each(struct run *r, const struct text *notes, int64_t step)
{
    char when[40] = "";

    if (step >= 0)
        snprintf(when, sizeof when, "step %lld: ", (long long)step + 1);
    for (int i = 0; i < r->config->n_rewards; i++) {
        struct missing m = add_notes(notes, i);
        if (m.rows == 0 || r->missing_lines[i] == MOST_LINES)
            continue;
        r->missing_lines[i]++;
        log_error("reward \"%s\": %s%d of %d responses have no score and are left out: %.*s%s",
                  r->config->rewards[i].name, when, m.scores, m.rows, m.bytes, m.why,
                  r->missing_lines[i] == MOST_LINES ? " (not said again)" : "");
    }
}

int missing_tell(struct run *r, int64_t step, int rc)
{
    struct text mine = { 0 }, all = { 0 };
    struct unscored u;
    int64_t noted;
    int told = RL_OK;

    if (!run_rolls(r) || r->config->n_rewards == 0 || rc == RL_ELOST)
        return rc;
    if (r->reward)
        reward_missing(r->reward, step, &mine);
    noted = (int64_t)mine.size;
    told = comm_max_int64(r->world, &noted, 1, PHASE_REWARD);
    if (told == RL_OK && noted > 0)
        told = comm_gather_text(r->world, mine.data, mine.size, &all, r->recorder, PHASE_REWARD);
    if (told == RL_OK && comm_rank(r->world) == r->recorder) {
        if (rc == RL_ENAN && learner_unscored(r->learner, &u))
            say_end(r, &all, &u);
        else if (rc == RL_OK)
            say_each(r, &all, step);
    }
    text_free(&mine);
    text_free(&all);
    return status_worse(rc, told);
}
