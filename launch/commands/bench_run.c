/* rankwise bench train, bench step: steps of a whole run, as `rankwise train` does them, on one
 * rank or under mpirun.  train: next-token training, whose step is the learners' update alone
 * (forward, backward, the sum over leaves and ranks, clipping, AdamW); step: an iteration of
 * --algorithm.  Figures are the run's own, from its metrics.jsonl. */
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "base/stop.h"
#include "launch/commands/bench.h"
#include "launch/run.h"
#include "launch/view.h"

#define LARGE ((size_t)4 << 30)         /* bytes */

/* Of time/ in a step's line. */
enum part { GENERATE, REWARD, REF_LOGP, UPDATE, FORWARD, BACKWARD, REDUCE, OPTIMIZER, WEIGHT_SYNC,
            PARTS };
static const char *const parts[PARTS] = { "generate", "reward", "ref_logp", "update", "forward",
                                          "backward", "reduce", "optimizer", "weight_sync" };

struct bench_run {
    const struct bench_options *o;
    const char *work;
    bool train;
    struct comm *world;
    struct bench_files files;
    struct config *config;
    struct run run;
    struct peak peak;                   /* of all ranks together */
    struct peer *peer;
    double tokens, trained;             /* of the newest step: of its rows, in its update */
    double all_tokens, all_trained;     /* of the steps that count */
    double trained_before;              /* in the run up to the newest step */
    double began, ready, stepped;       /* when the command began; seconds to the first step, and
                                         * to its end */
    double loss;
    int64_t rss;                        /* KiB, most so far, before the ceilings were measured */
    struct figures seconds, step, part[PARTS], theirs;
};

/* ---- what a step took */

/* A row that ended early has fewer tokens than were asked for, and an update takes the rows that
 * the algorithm learns from, as often as it goes over them. */
static void count_tokens(struct bench_run *b, const struct json *line)
{
    double total = json_number(json_get(line, "train/tokens"), 0);
    double row = json_number(json_get(line, "len/prompt/mean"), 0) +
                 json_number(json_get(line, "len/response/mean"), 0);

    b->trained = total - b->trained_before;
    b->trained_before = total;
    b->tokens = b->train ? b->trained : round(row * (double)b->o->rows);
}

static int read_step(struct bench_run *b, bool counts)
{
    struct text text = { 0 };
    struct json *line = NULL;
    char path[4400], name[64];
    size_t begin;
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, b->config->output, "metrics.jsonl"));
    TRY(file_read(path, &text));
    for (begin = text.size > 1 ? text.size - 1 : 0; begin > 0 && text.data[begin - 1] != '\n';)
        begin--;
    line = json_parse(text.data + begin, text.size - begin, path);
    if (!line)
        TRY(RL_EBUG);
    b->loss = json_number(json_get(line, "loss"), NAN);
    count_tokens(b, line);
    for (int i = 0; i < PARTS && counts; i++) {
        snprintf(name, sizeof name, "time/%s", parts[i]);
        if (json_is_number(json_get(line, name)))
            figures_add(&b->part[i], json_number(json_get(line, name), 0));
    }
    if (counts) {
        figures_add(&b->step, json_number(json_get(line, "time/step"), 0));
        b->all_tokens += b->tokens;
        b->all_trained += b->trained;
    }
done:
    json_free(line);
    text_free(&text);
    return rc;
}

/* The peer trains all tokens, once.  Of ours a few pairs may have equal scores: they have no
 * gradient and are left out. */
static bool is_peers_work(const struct bench_run *b)
{
    return fabs(b->trained - b->tokens) <= 0.1 * b->tokens;
}

/* One step of ours, then one of the peer's; the first is not counted. */
static int repeat(struct bench_run *b, bool counts)
{
    bool root = comm_rank(b->world) == 0;
    struct peer_repeat theirs = { 0 };
    int rc = RL_OK;

    TRY(iteration(&b->run));
    if (root)
        rc = read_step(b, counts);
    if (b->stepped == 0)
        b->stepped = clock_now() - b->began;
    if (b->peer && rc == RL_OK && !is_peers_work(b))
        rc = rl_error(RL_EINVAL, "--against %s: of %g tokens ours trained %g, and the peer would "
                      "train all, once", b->o->against, b->tokens, b->trained);
    if (b->peer && rc == RL_OK)
        rc = status_worse(rc, peer_repeat(b->peer, b->tokens, &theirs));
    if (counts && b->peer)
        figures_add(&b->theirs, theirs.seconds);
    rc = comm_agree(b->world, rc);
done:
    return rc;
}

/* ---- the ceilings, with memory of their own: every rank at the same time */

/* Threads of this host over its cores: each had a core to itself when it did its best. */
static double crowd(const struct bench_run *b)
{
    double threads = (double)comm_ranks_on_host(b->world) * b->run.compute->threads;
    double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);

    return threads > cores && !b->run.compute->device ? threads / cores : 1;
}

static int measure_peak(struct bench_run *b)
{
    struct rusage usage;
    int64_t mega[2];
    int rc = RL_OK;

    getrusage(RUSAGE_SELF, &usage);
    b->rss = usage.ru_maxrss;
    TRY(comm_barrier(b->world, PHASE_START));
    TRY(comm_agree(b->world, peak_measure(&b->peak, b->run.compute)));
    mega[0] = (int64_t)(b->peak.gflops * 1e3 / crowd(b));
    mega[1] = (int64_t)(b->peak.gbytes * 1e3 / crowd(b));
    TRY(comm_sum_int64(b->world, mega, 2, PHASE_START));
    b->peak = (struct peak){ (double)mega[0] * 1e-3, (double)mega[1] * 1e-3 };
done:
    return rc;
}

/* Peak memory of the largest rank, and what `plan` says of it, in MiB. */
static int memory_line(struct bench_run *b, struct text *line)
{
    struct bytes plan;
    int64_t kib[2];
    int rc = RL_OK;

    TRY(rank_bytes(&b->run.inputs, b->config, &b->run.placement, b->run.compute,
                   comm_rank(b->world), &plan));
    kib[0] = b->rss;
    kib[1] = (int64_t)(plan.total >> 10);
    TRY(comm_max_int64(b->world, kib, 2, PHASE_STATS));
    number_line(line, "rss_mib", (double)kib[0] / 1024);
    number_line(line, "plan_mib", (double)kib[1] / 1024);
done:
    return rc;
}

/* ---- the line */

static void config_line(const struct bench_run *b, struct text *line)
{
    const struct config *c = b->config;

    text_addf(line, "{\"bench\":\"%s\"", b->work);
    word_line(line, "model", b->o->model);
    word_line(line, "algorithm", c->algorithm);
    word_line(line, "device", b->run.compute->name);
    word_line(line, "dtype", c->dtype);
    word_line(line, "reduction", c->reduction);
    number_line(line, "ranks", comm_size(b->world));
    number_line(line, "threads", b->run.compute->threads);
    number_line(line, "rows", (double)b->o->rows);
    number_line(line, "prompt", (double)b->o->prompt);
    number_line(line, "new", (double)b->o->fresh);
    number_line(line, "repeats", b->step.n);
    bench_words_line(line, b->o);
}

/* Forward passes' worth of operations in a step: three of a token that is trained, one of a token
 * that is generated, its prompt once for all its samples, or scored by the reference.  A critic's
 * are not counted, nor what is computed again. */
static double operations(const struct bench_run *b, double tokens, double trained)
{
    double shared = (double)(b->o->prompt * (b->o->rows - b->o->rows / b->o->samples));
    double passes = 3 * trained;

    if (b->part[GENERATE].n > 0)
        passes += tokens - shared;
    if (b->part[REF_LOGP].n > 0)
        passes += tokens;
    return bench_forward_operations(&b->run.inputs.policy.shape, passes,
                                    tokens / (double)b->o->rows);
}

/* Of weights, in a step, to each rank that samples and does not learn: none where all ranks hold
 * all roles, as actor and learner then have one copy. */
static double published_bytes(const struct bench_run *b)
{
    return b->run.feed ? (double)model_size(&b->run.inputs.policy.shape) * sizeof(float) : 0;
}

static int print(struct bench_run *b)
{
    const struct figures *seconds = b->train ? &b->part[UPDATE] : &b->step;
    double tokens = b->all_tokens / b->step.n, trained = b->all_trained / b->step.n;
    double gflops = operations(b, tokens, trained) * 1e-9 / figures_median(seconds);
    struct text line = { 0 };
    int rc = RL_OK;

    config_line(b, &line);
    figures_line(&line, "seconds", seconds);
    number_line(&line, "tokens", tokens);
    number_line(&line, "trained_tokens", trained);
    number_line(&line, "tok_s", tokens / figures_median(seconds));
    number_line(&line, "gflops", gflops);
    peak_line(&line, &b->peak, b->run.compute);
    number_line(&line, "peak_fraction", gflops / b->peak.gflops);
    if (b->train)
        number_line(&line, "whole_step", figures_median(&b->step));
    for (int i = 0; i < PARTS; i++)
        if (b->part[i].n > 0)
            number_line(&line, parts[i], figures_median(&b->part[i]));
    if (!b->train)
        number_line(&line, "published_bytes", published_bytes(b));
    number_line(&line, "loss", b->loss);
    number_line(&line, "ready", b->ready);
    number_line(&line, "first_step_done", b->stepped);
    TRY(memory_line(b, &line));
    if (comm_rank(b->world) == 0)
        print_line(&line);
    if (b->peer)
        peer_print(b->peer, b->o, b->work, seconds, &b->theirs);
done:
    text_free(&line);
    return rc;
}

/* ---- the story */

/* The error again without the file, which is gone when it is read, and its line. */
static int without_file(const struct bench_run *b, int rc)
{
    const char *line = status_message();
    size_t file = strlen(b->files.config);

    if (strncmp(line, b->files.config, file) != 0)
        return rc;
    return rl_error(rc, "bench %s:%s", b->work, line + file + strspn(line + file, ":0123456789"));
}

static int open_config(struct bench_run *b)
{
    bool held = status_hold(true);
    int rc = RL_OK;

    TRY(config_open(&b->config, b->files.config, b->o->words, b->o->n_words));
    rc = algorithm_check(b->config);
done:
    if (rc != RL_OK)
        rc = without_file(b, rc);
    status_hold(held);
    if (!held)
        status_print();
    return rc;
}

static int open_run(struct bench_run *b)
{
    int rc = RL_OK;

    TRY(bench_files_make(&b->files, b->world, b->o, b->work));
    TRY(comm_agree(b->world, open_config(b)));
    view_quiet(true);
    TRY(run_open(&b->run, b->config, b->world));
    log_quiet(true);
    TRY(state_resume(&b->run, true));
    TRY(run_begin(&b->run));
    b->ready = clock_now() - b->began;
done:
    return rc;
}

/* A checkpoint that a thread writes is done before its files and its memory go. */
static int end_run(struct bench_run *b, int rc)
{
    if (!b->run.world || rc == RL_ELOST)
        return rc;
    return status_worse(rc, comm_agree(b->world, save_finish(&b->run)));
}

/* A large model that cannot fit is met before memory is taken: its weights, a gradient and two
 * moments are the least that an update needs. */
static int check_room(const struct bench_options *o)
{
    const struct model_shape *shape = bench_shape(o->model);
    size_t least = shape ? 4 * model_size(shape) * sizeof(float) : 0;
    struct compute *k = NULL;
    int rc = RL_OK;

    if (least < LARGE)
        return RL_OK;
    TRY(compute_open(&k, o->device, o->dtype, 1));
    rc = bench_has_room(k, o->model, least);
done:
    compute_close(k);
    return rc;
}

static int bench_run(struct bench_run *b)
{
    const struct bench_options *o = b->o;
    int rc = RL_OK;

    if (o->against && comm_size(b->world) > 1)
        return comm_agree(b->world, rl_error(RL_EINVAL, "--against takes one rank: the others "
                                             "would wait with full cores"));
    TRY(comm_agree(b->world, comm_rank(b->world) == 0 ? check_room(o) : RL_OK));
    TRY(open_run(b));
    TRY(repeat(b, false));
    TRY(measure_peak(b));
    TRY(peer_start(&b->peer, o, b->work, &b->run.inputs.policy.shape,
                   b->run.compute->device != NULL));
    for (int64_t i = 0; i < o->repeats; i++)
        TRY(repeat(b, true));
    rc = print(b);
done:
    return rc;
}

static int bench_work(const struct bench_options *o, const char *work)
{
    struct bench_run b;
    int argc = 0, rc = RL_OK;
    char **argv = NULL;

    memset(&b, 0, sizeof b);
    b.o = o;
    b.work = work;
    b.train = strcmp(work, "train") == 0;
    b.began = clock_now();
    stop_watch();                       /* the files do not stay */
    TRY(comm_start(&b.world, &argc, &argv));
    rc = bench_run(&b);
done:
    rc = end_run(&b, rc);
    peer_end(b.peer);
    run_close(&b.run);
    config_close(b.config);
    bench_files_remove(&b.files);
    if (rc == RL_ELOST && b.world)
        comm_abort(b.world, status_exit_code(rc));
    if (b.world)
        comm_stop(b.world);
    return rc;
}

int bench_train(const struct bench_options *o)
{
    return bench_work(o, "train");
}

int bench_step(const struct bench_options *o)
{
    return bench_work(o, "step");
}
