/* rankwise bench start: `rankwise train` started as anybody would, from nothing to the first token
 * of its first step.  The model is read from a file: one of --model, or that of a random model,
 * written before.  When what happened is in the timeline of the run.
 *
 *   |- exec -- libraries, MPI, GPU -- model -- plan, memory -|- prefill, draw -| ...
 *   0                                                      ready          first token
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "base/stop.h"
#include "checkpoints/safetensors.h"
#include "launch/commands/bench.h"

#define MORE_WORDS 64
#define PREFIX "rankwise: "
#define PROMPT 128              /* tokens of a prompt that ends in the first pass */

extern char **environ;

struct start {
    const struct bench_options *o;
    struct bench_files files;
    char program[2100], run[4300], said[4300];
    struct figures ready, first_token, whole;
};

/* ---- the model's file, which the page cache then holds */

static int write_model(const struct start *s)
{
    const struct array *arrays;
    struct compute *k = NULL;
    struct model *m = NULL;
    char folder[4300];
    int n, rc = RL_OK;

    if (!bench_shape(s->o->model))
        return RL_OK;
    TRY(path_join(folder, sizeof folder, s->files.folder, "model"));
    TRY(compute_open(&k, "ref", "fp32", 1));
    TRY(bench_has_room(k, s->o->model, model_bytes(bench_shape(s->o->model), k)));
    TRY(bench_model(&m, s->o->model, k));
    arrays = model_arrays(m, &n);
    rc = safetensors_save(folder, arrays, n, DTYPE_BF16, 0);
done:
    model_destroy(m);
    compute_close(k);
    return rc;
}

static int make_files(struct start *s)
{
    ssize_t n = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
    int rc = RL_OK;

    if (n < 0)
        return rl_error(RL_EIO, "cannot find this program in /proc");
    s->program[n] = 0;
    TRY(bench_files_open(&s->files, s->o->folder));
    TRY(bench_files_write(&s->files, s->o, "start"));
    TRY(path_join(s->run, sizeof s->run, s->files.folder, "run"));
    TRY(path_join(s->said, sizeof s->said, s->files.folder, "said"));
    rc = write_model(s);
done:
    return rc;
}

/* ---- one start */

/* What it said last becomes our line. */
static int failure(const struct start *s, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    struct text said = { 0 };
    const char *last = "nothing was said";

    if (file_read(s->said, &said) == RL_OK && said.size > 0) {
        said.data[--said.size] = 0;
        last = strrchr(said.data, '\n') ? strrchr(said.data, '\n') + 1 : said.data;
        last += strncmp(last, PREFIX, sizeof PREFIX - 1) == 0 ? sizeof PREFIX - 1 : 0;
    }
    code = rl_error(RL_EINVAL, "bench start: `train` ended with %d: %s", code, last);
    text_free(&said);
    return code;
}

static int await(const struct start *s, pid_t pid)
{
    int status = 0;
    pid_t done;

    while ((done = waitpid(pid, &status, WNOHANG)) == 0) {
        if (stop_asked())
            kill(pid, SIGTERM);
        clock_sleep(0.01);
    }
    if (stop_asked())
        return RL_ESTOP;
    return done == pid && status == 0 ? RL_OK : failure(s, status);
}

/* Seconds of the day when it began. */
static int train(const struct start *s, double *began)
{
    static char command[] = "train", trace[] = "trace=true", steps[] = "steps=1";
    char *argv[MORE_WORDS + 6] = { (char *)s->program, command, (char *)s->files.config, trace,
                                   steps };
    posix_spawn_file_actions_t actions;
    int failed;
    pid_t pid;

    if (s->o->n_words > MORE_WORDS)
        return rl_error(RL_EINVAL, "bench start takes %d key=value at most", MORE_WORDS);
    for (int i = 0; i < s->o->n_words; i++)
        argv[5 + i] = s->o->words[i];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, s->said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    *began = clock_of_day();
    failed = posix_spawn(&pid, s->program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return rl_error(RL_EIO, "cannot start %s", s->program);
    return await(s, pid);
}

/* The end of the first pass whose tokens were drawn, and the first begin of all, in seconds of the
 * day. */
static int read_times(const struct json *timeline, double *ready, double *first)
{
    const struct json *events = json_get(timeline, "traceEvents");
    double began = json_number(json_get(json_get(timeline, "otherData"), "began"), 0);
    double generate = -1, token = -1;

    for (size_t i = 0; i < json_size(events); i++) {
        const struct json *e = json_at(events, i);
        const char *name = json_string(json_get(e, "name"), "");
        double ts = json_number(json_get(e, "ts"), 0);
        double end = ts + json_number(json_get(e, "dur"), 0);

        if (strcmp(name, "generate") == 0 && (generate < 0 || ts < generate))
            generate = ts;
        if (strcmp(name, "prefill") == 0 && (token < 0 || end < token))
            token = end;
    }
    if (generate < 0 || token < 0)
        return rl_error(RL_EBUG, "bench start: no generation in the timeline");
    *ready = began + 1e-6 * generate;
    *first = began + 1e-6 * token;
    return RL_OK;
}

static int repeat(struct start *s, int64_t i)
{
    char path[4400], past[4400];
    double began = 0, ready = 0, first = 0, end;
    struct json *timeline = NULL;
    struct text text = { 0 };
    int rc = RL_OK;

    TRY(train(s, &began));
    end = clock_of_day();
    TRY(path_join(path, sizeof path, s->run, "trace.json"));
    TRY(file_read(path, &text));
    timeline = json_parse(text.data, text.size, path);
    if (!timeline)
        TRY(RL_EBUG);
    TRY(read_times(timeline, &ready, &first));
    if (i >= 0) {
        figures_add(&s->ready, ready - began);
        figures_add(&s->first_token, first - began);
        figures_add(&s->whole, end - began);
    }
    snprintf(past, sizeof past, "%s-%lld", s->run, (long long)i);
    if (rename(s->run, past) != 0)
        rc = rl_error(RL_EIO, "cannot rename %s", s->run);
done:
    json_free(timeline);
    text_free(&text);
    return rc;
}

static void print(const struct start *s)
{
    const struct bench_options *o = s->o;
    struct text line = { 0 };

    text_adds(&line, "{\"bench\":\"start\"");
    word_line(&line, "model", o->model);
    word_line(&line, "device", o->device);
    word_line(&line, "dtype", o->dtype);
    number_line(&line, "rows", (double)o->rows);
    number_line(&line, "prompt", (double)o->prompt);
    bench_words_line(&line, o);
    number_line(&line, "repeats", s->first_token.n);
    figures_line(&line, "first_token", &s->first_token);
    figures_line(&line, "ready", &s->ready);
    figures_line(&line, "whole_run", &s->whole);
    print_line(&line);
}

int bench_start(const struct bench_options *o)
{
    struct start s = { .o = o };
    int rc = RL_OK;

    if (getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK"))
        return rl_error(RL_EINVAL, "bench start starts a run itself: without mpirun");
    if (o->prompt > PROMPT)
        return rl_error(RL_EINVAL, "bench start: --prompt %lld: at most %d, which the first pass "
                        "reads", (long long)o->prompt, PROMPT);
    stop_watch();
    TRY(make_files(&s));
    for (int64_t i = -1; i < o->repeats; i++)           /* the first is not counted */
        TRY(repeat(&s, i));
    print(&s);
done:
    bench_files_remove(&s.files);
    return rc;
}
