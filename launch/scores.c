/* Scores from outside, on record in scores.jsonl: written with every step before the weights
 * change, and with every batch observed before the first; handed back to the ranks that score when
 * the run goes on from an older checkpoint.  So no response on record is scored twice, and what is
 * done again repeats its bits. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "launch/run.h"
#include "reward/record.h"

/* On the recorder.  A line that is on record is not written again. */
static int append_line(struct run *r, const struct text *line)
{
    if (r->scored.size > 0 && memmem(r->scored.data, r->scored.size, line->data, line->size))
        return RL_OK;
    return append_lines(&r->folder.scores, line->data, line->size);
}

/* The shares of all ranks of `group` become a line; the recorder is its rank `root`. */
static int add_line(struct run *r, struct comm *group, int root, const struct text *mine,
                    int64_t step, enum record_of of)
{
    enum phase phase = of == RECORD_REPLACED ? PHASE_REWARD : PHASE_STATS;
    struct text all = { 0 }, line = { 0 };
    int rc = RL_OK;

    TRY(comm_gather_text(group, mine->data, mine->size, &all, root, phase));
    if (comm_rank(group) == root) {
        record_line(r->config, step, of, &all, &line);
        rc = append_line(r, &line);
    }
done:
    text_free(&all);
    text_free(&line);
    return comm_agree(group, rc);
}

/* A whole batch; by the learners. */
static int add_batch(struct run *r, const struct batch *b, int64_t step, enum record_of of)
{
    struct text mine = { 0 };
    int rc;

    if (!run_rolls(r) || record_columns(r->config) == 0)
        return RL_OK;
    for (int g = 0; g < b->groups; g++)
        record_group(r->config, b, g, of, b->step, &mine);
    rc = add_line(r, r->team, 0, &mine, step, of);
    text_free(&mine);
    return rc;
}

int scores_record(struct run *r, const struct batch *b)
{
    return add_batch(r, b, b->step, RECORD_ROWS);
}

int scores_observed(struct run *r, const struct batch *b)
{
    return add_batch(r, b, 0, RECORD_OBSERVED);
}

int scores_replaced(struct run *r, const struct batch *b, int64_t step, int round)
{
    struct text mine = { 0 };
    int rc;

    if (record_columns(r->config) == 0)
        return RL_OK;
    for (int g = 0; b && b->status == RL_OK && g < b->groups; g++)
        if (r->resample.flags[b->group + g] > 0)
            record_group(r->config, b, g, RECORD_REPLACED, round, &mine);
    rc = add_line(r, r->world, r->recorder, &mine, step, RECORD_REPLACED);
    text_free(&mine);
    return rc;
}

/* The recorder's lines to every rank. */
static int tell_lines(struct run *r, struct text *lines)
{
    int64_t bytes = (int64_t)lines->size;
    int rc = RL_OK;

    TRY(comm_broadcast(r->world, &bytes, sizeof bytes, r->recorder, PHASE_START));
    if (bytes == 0)
        return RL_OK;
    if (comm_rank(r->world) != r->recorder) {
        rc = text_reserve(lines, (size_t)bytes + 1);
        lines->size = rc == RL_OK ? (size_t)bytes : 0;
    }
    TRY(comm_agree(r->world, rc));
    TRY(comm_broadcast(r->world, lines->data, lines->size, r->recorder, PHASE_START));
done:
    return rc;
}

int scores_resume(struct run *r, bool fresh)
{
    struct text lines = { 0 };
    int rc = RL_OK;

    if (!run_rolls(r) || record_columns(r->config) == 0)
        return RL_OK;
    if (comm_rank(r->world) == r->recorder)
        rc = folder_scores(&r->folder, r->step, fresh, &lines);
    TRY(comm_agree(r->world, rc));
    TRY(tell_lines(r, &lines));
    if (r->reward && lines.size > 0)
        rc = reward_replay(r->reward, lines.data, lines.size);
    TRY(comm_agree(r->world, rc));
    if (comm_rank(r->world) == r->recorder) {
        r->scored = lines;              /* run_close frees it */
        memset(&lines, 0, sizeof lines);
    }
done:
    text_free(&lines);
    return rc;
}
