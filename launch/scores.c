/* Scores from outside, on record in scores.jsonl: written with every step before the weights change
 * and handed back to the ranks that score when the run goes on from an older checkpoint.  So no
 * response of a step on record is scored twice, and the step repeats its bits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "launch/run.h"
#include "reward/record.h"

/* The step's line from the shares of all learners; on the recorder. */
static int gather_line(struct run *r, const struct batch *b, struct text *line)
{
    struct text mine = { 0 }, all = { 0 };
    int rc = RL_OK;

    if (b->N > 0 && b->group > 0)
        text_adds(&mine, ",");
    record_rows(r->config, b, &mine);
    TRY(comm_gather_text(r->team, mine.data, mine.size, &all, 0, PHASE_STATS));
    if (comm_rank(r->team) == 0)
        record_line(r->config, b->step, "rows", all.data, all.size, line);
done:
    text_free(&mine);
    text_free(&all);
    return rc;
}

/* On the recorder.  A line that is on record is not written again. */
static int append_line(struct run *r, const struct text *line)
{
    if (r->scored.size > 0 && memmem(r->scored.data, r->scored.size, line->data, line->size))
        return RL_OK;
    if (fwrite(line->data, 1, line->size, r->folder.scores) != line->size ||
        fflush(r->folder.scores) != 0)
        return rl_error(RL_EIO, "cannot write %s/scores.jsonl: %s", r->folder.path,
                        strerror(errno));
    return RL_OK;
}

int scores_record(struct run *r, const struct batch *b)
{
    struct text line = { 0 };
    int rc = RL_OK;

    if (!run_rolls(r) || record_columns(r->config) == 0)
        return RL_OK;
    TRY(gather_line(r, b, &line));
    if (comm_rank(r->team) == 0)
        rc = append_line(r, &line);
done:
    text_free(&line);
    return comm_agree(r->team, rc);
}

int scores_replaced(struct run *r, const struct batch *b, int64_t step, int round)
{
    struct text mine = { 0 }, all = { 0 }, line = { 0 };
    int rc = RL_OK;

    if (record_columns(r->config) == 0)
        return RL_OK;
    for (int g = 0; b && b->status == RL_OK && g < b->groups; g++)
        if (r->resample.flags[b->group + g] > 0)
            record_replaced(r->config, b, g, round, &mine);
    TRY(comm_gather_text(r->world, mine.data, mine.size, &all, r->recorder, PHASE_REWARD));
    if (comm_rank(r->world) == r->recorder) {
        record_line(r->config, step, "replaced", all.data, all.size - 1, &line);
        rc = append_line(r, &line);
    }
done:
    text_free(&mine);
    text_free(&all);
    text_free(&line);
    return comm_agree(r->world, rc);
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
