/* One line a step; see view.h. */
#include "launch/view.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

/* What the line shows, in order, when the step has it. */
static const struct { const char *metric, *label, *format; } shown[] = {
    { "loss", "loss", "%.4f" },
    { "reward/mean", "reward", "%.3f" },
    { "kl/ref", "kl", "%.2f" },
    { "dpo/rewards/accuracies", "acc", "%.2f" },
    { "len/response/mean", "len", "%.0f" },
    { "optim/grad_norm", "grad", "%.2f" },
    { "perf/tok_s", "tok/s", "%.0f" },
    { "time/step", "s", "%.2f" },
};

static void add_numbers(struct text *line, const struct metrics *m)
{
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (metrics_has(m, shown[i].metric)) {
            char number[32];
            snprintf(number, sizeof number, shown[i].format, metrics_get(m, shown[i].metric, 0));
            text_addf(line, "  %s %s", shown[i].label, number);
        }
}

static void add_bar(struct text *line, int64_t step, int64_t steps, double left)
{
    int filled = steps > 0 ? (int)(20 * step / steps) : 0;

    text_adds(line, "[");
    for (int i = 0; i < 20; i++)
        text_adds(line, i < filled ? "=" : " ");
    text_addf(line, "] %d:%02d left  ", (int)(left / 60), (int)fmod(left, 60));
}

/* Is a person looking?  mpirun gives its ranks a terminal of its own, so there its standard output
 * counts, not ours. */
static bool is_live(void)
{
    char link[64], target[256];
    ssize_t n;

    if (!isatty(STDOUT_FILENO))
        return false;
    if (!getenv("OMPI_COMM_WORLD_SIZE"))
        return true;
    snprintf(link, sizeof link, "/proc/%d/fd/1", (int)getppid());
    n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

/* Not through stdio: what a slow or closed pipe does not take now is dropped. */
static void show(const char *bytes, size_t n)
{
    if (log_can_write(STDOUT_FILENO) && write(STDOUT_FILENO, bytes, n) < 0)
        return;
}

static bool is_quiet;

void view_quiet(bool quiet)
{
    is_quiet = quiet;
}

void view_step(const struct metrics *m, int64_t step, int64_t steps, double seconds_left)
{
    bool live = is_live();
    struct text line = { 0 };

    if (is_quiet)
        return;
    if (live) {
        text_adds(&line, "\r\x1b[K");
        add_bar(&line, step, steps, seconds_left);
    }
    text_addf(&line, "step %lld/%lld", (long long)step, (long long)steps);
    add_numbers(&line, m);
    text_adds(&line, live ? "" : "\n");
    show(line.data, line.size);
    text_free(&line);
}

void view_end(void)
{
    if (is_live() && !is_quiet)
        show("\n", 1);
}
