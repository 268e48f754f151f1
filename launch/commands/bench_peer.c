/* The program that --against names, started once and asked for a repeat at a time, so that both are
 * warm and take turns on the same machine.
 *
 *   we    -->  its arguments: work=train V=32000 C=288 ... rows=8 prompt=32 new=224 threads=2
 *   it    -->  {"peer": "torch 2.4, bf16 weights, compiled"}     or {"error": "..."}; on a GPU with
 *              what it reached there: "peak_gflops", "copy_gbytes"
 *   we    -->  an empty line
 *   it    -->  {"seconds": 0.84, "tokens": 2048}                 or {"error": "..."}
 *              ...                                       our end of the pipe closes: it ends
 *
 * Each answer has --peer-seconds and PEER_BYTES, a stop ends the wait for it, and what is left of
 * the peer's process group when we end is ended, too.
 */
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "base/stop.h"
#include "launch/commands/bench.h"

#define PYTHON "RANKWISE_PYTHON"
#define PEER_BYTES (1 << 20)            /* until an answer: libraries are noisy */
#define GRACE 1.0                       /* seconds to end by itself */

struct peer {
    const char *name;
    char version[160];
    double gflops, gbytes;              /* its ceilings of the same GPU; NAN: it gave none */
    pid_t pid;                          /* and its process group; 0: none */
    int to, from;
    int64_t seconds;                    /* for an answer */
    struct text heard;                  /* from the peer, lines that were read taken out */
};

static const struct { const char *name, *script, *of_gpu; } peers[] = {
    { "torch", "bench_torch.py", "bench_torch_cuda.py" }, { "llama.cpp", "bench_llama.py", NULL },
    { 0 },
};

/* ---- what the scripts can do */

static int check_work(const struct bench_options *o, const char *work, const struct model_shape *s,
                      bool gpu)
{
    bool llama = strcmp(s->family, "llama") == 0 && (s->tied || gpu) && s->theta == 10000;
    bool pairs = strcmp(o->algorithm, "online_dpo") == 0 && o->samples == 2;

    if (!llama)
        return rl_error(RL_EINVAL, "--against %s: the peer's model is a Llama with one embedding "
                        "for both ends and rope_theta 10000; %s is not", o->against, o->model);
    if (strcmp(work, "kernels") == 0 && !gpu)
        return rl_error(RL_EINVAL, "--against %s: bench kernels has a peer on a GPU only",
                        o->against);
    if (strcmp(work, "step") == 0 && !pairs && strcmp(o->algorithm, "grpo") != 0)
        return rl_error(RL_EINVAL, "--against %s: the peer does steps of online_dpo with --samples "
                        "2 and of grpo, not of %s with %lld", o->against, o->algorithm,
                        (long long)o->samples);
    return RL_OK;
}

/* ---- where the script is */

/* Beside the program: of a build in the sources, of an installation. */
static int script_path(char *out, size_t room, const char *script)
{
    static const char *const places[] = { "/../tests/oracle/", "/../share/rankwise/" };
    char program[2048];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    char *slash;

    program[n > 0 ? n : 0] = 0;
    if ((slash = strrchr(program, '/')))
        *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(out, room, "%s%s%s", program, places[i], script);
        if (file_exists(out))
            return RL_OK;
    }
    return rl_error(RL_EINVAL, "--against: no %s in tests/oracle beside %s, nor in "
                    "share/rankwise where it is installed", script, program);
}

/* ---- the process */

#define WORDS 32
struct words { char text[WORDS][96]; char *list[WORDS + 4]; int n; };

static void add_word(struct words *w, const char *name, long long value)
{
    snprintf(w->text[w->n], sizeof w->text[0], "%s=%lld", name, value);
    w->list[w->n] = w->text[w->n];
    w->n++;
}

/* OpenMP with as many threads as we have, and malloc that keeps what is freed: what people tune. */
static void environment_words(struct words *w, const struct bench_options *o)
{
    static char env[] = "env";

    w->list[w->n++] = env;
    add_word(w, "OMP_NUM_THREADS", o->threads);
    add_word(w, "MKL_NUM_THREADS", o->threads);
    add_word(w, "MALLOC_TRIM_THRESHOLD_", 1ll << 40);
    add_word(w, "MALLOC_MMAP_THRESHOLD_", 1ll << 40);
    add_word(w, "MALLOC_TOP_PAD_", 1ll << 28);
}

static void work_words(struct words *w, const struct bench_options *o, const char *work,
                       const struct model_shape *s)
{
    const struct { const char *name; long long value; } numbers[] = {
        { "V", s->V }, { "C", s->C }, { "L", s->L }, { "H", s->H }, { "G", s->G }, { "D", s->D },
        { "F", s->F }, { "tied", s->tied }, { "rows", o->rows }, { "prompt", o->prompt },
        { "new", o->fresh }, { "threads", o->threads }, { "repeats", o->repeats },
    };

    snprintf(w->text[w->n], sizeof w->text[0], "work=%s", work);
    w->list[w->n] = w->text[w->n], w->n++;
    snprintf(w->text[w->n], sizeof w->text[0], "dtype=%.80s", o->dtype);
    w->list[w->n] = w->text[w->n], w->n++;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        add_word(w, numbers[i].name, numbers[i].value);
}

/* In a process group of its own.  It ends with us however we end; what it started itself, only when
 * we end it. */
static void become(char *const *words, int in, int out, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    dup2(in, 0);
    dup2(out, 1);
    closefrom(3);                           /* the sockets of MPI */
    signal(SIGPIPE, SIG_DFL);
    execvp(words[0], words);
    _exit(127);
}

static int start(struct peer *p, char *const *words)
{
    int to[2] = { -1, -1 }, from[2] = { -1, -1 };
    pid_t self = getpid(), pid = -1;

    if (pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        become(words, to[0], from[1], self);
    close(to[0]);
    close(from[1]);
    p->to = to[1];
    p->from = from[0];
    if (pid < 0)
        return rl_error(RL_EIO, "--against: cannot start a process");
    setpgid(pid, pid);
    p->pid = pid;
    signal(SIGPIPE, SIG_IGN);               /* one that has ended is met when it does not answer */
    return RL_OK;
}

/* More of what the peer says. */
static int listen_to(struct peer *p, double until)
{
    struct pollfd from = { .fd = p->from, .events = POLLIN };
    char bytes[4096];
    ssize_t n;

    while (poll(&from, 1, 100) <= 0) {
        if (stop_asked())
            return RL_ESTOP;
        if (clock_now() >= until)
            return rl_error(RL_EINVAL, "--against %s: no answer in %lld seconds (--peer-seconds)",
                            p->name, (long long)p->seconds);
    }
    n = read(p->from, bytes, sizeof bytes);
    if (n <= 0) {
        const char *python = getenv(PYTHON);
        return rl_error(RL_EINVAL, "--against %s: it ended without an answer; its interpreter is "
                        "%s (%s names another)", p->name, python && *python ? python : "python3",
                        PYTHON);
    }
    text_add(&p->heard, bytes, (size_t)n);
    return RL_OK;
}

/* The next whole line that is JSON, NULL: none yet.  Those of libraries in between are passed
 * over. */
static struct json *take_answer(struct peer *p)
{
    struct json *answer = NULL;
    size_t begin = 0;
    char *end;

    while (!answer && p->heard.size > begin &&
           (end = memchr(p->heard.data + begin, '\n', p->heard.size - begin))) {
        size_t n = (size_t)(end - p->heard.data) - begin;
        if (p->heard.data[begin] == '{')
            answer = json_try(p->heard.data + begin, n);
        begin += n + 1;
    }
    if (begin > 0) {
        p->heard.size -= begin;
        memmove(p->heard.data, p->heard.data + begin, p->heard.size);
    }
    return answer;
}

/* *answer is NULL on error. */
static int hear(struct peer *p, struct json **answer)
{
    double until = clock_now() + (double)p->seconds;
    size_t passed = 0;
    int rc = RL_OK;

    while (!(*answer = take_answer(p))) {
        size_t before = p->heard.size;
        TRY(listen_to(p, until));
        passed += p->heard.size - before;
        if (passed > PEER_BYTES)
            TRY(rl_error(RL_EINVAL, "--against %s: it said %d bytes and no answer among them",
                         p->name, PEER_BYTES));
    }
    if (json_is_string(json_get(*answer, "error"))) {
        rc = rl_error(RL_EINVAL, "--against %s: %s", p->name,
                      json_string(json_get(*answer, "error"), ""));
        json_free(*answer);
        *answer = NULL;
    }
done:
    return rc;
}

int peer_find(const char *name, bool gpu, const char **script)
{
    for (int i = 0; peers[i].name; i++)
        if (strcmp(peers[i].name, name) == 0) {
            *script = gpu ? peers[i].of_gpu : peers[i].script;
            return *script ? RL_OK
                   : rl_error(RL_EINVAL, "--against %s: it is measured on a processor only", name);
        }
    return rl_error(RL_EINVAL, "--against takes torch or llama.cpp, not '%s'", name);
}

int peer_start(struct peer **p, const struct bench_options *o, const char *work,
               const struct model_shape *shape, bool gpu)
{
    const char *python = getenv(PYTHON), *script;
    static char python3[] = "python3";
    struct words w = { .n = 0 };
    struct json *answer = NULL;
    char path[4200];
    int rc = RL_OK;

    *p = NULL;
    if (!o->against)
        return RL_OK;
    TRY(peer_find(o->against, gpu, &script));
    TRY(check_work(o, work, shape, gpu));
    TRY(script_path(path, sizeof path, script));
    environment_words(&w, o);
    w.list[w.n++] = python && *python ? (char *)python : python3;
    w.list[w.n++] = path;
    work_words(&w, o, work, shape);
    if (!(*p = calloc(1, sizeof **p)))
        return rl_error(RL_ENOFIT, "no memory for a peer");
    (*p)->name = o->against;
    (*p)->seconds = o->peer_seconds;
    (*p)->to = (*p)->from = -1;
    TRY(start(*p, w.list));
    TRY(hear(*p, &answer));
    snprintf((*p)->version, sizeof (*p)->version, "%s",
             json_string(json_get(answer, "peer"), o->against));
    (*p)->gflops = json_number(json_get(answer, "peak_gflops"), NAN);
    (*p)->gbytes = json_number(json_get(answer, "copy_gbytes"), NAN);
done:
    json_free(answer);
    if (rc != RL_OK) {
        peer_end(*p);
        *p = NULL;
    }
    return rc;
}

int peer_repeat(struct peer *p, double tokens, struct peer_repeat *r)
{
    struct json *answer = NULL;
    int rc = RL_OK;

    (void)!write(p->to, "\n", 1);           /* one that has ended does not answer */
    TRY(hear(p, &answer));
    r->seconds = json_number(json_get(answer, "seconds"), NAN);
    r->tokens = json_number(json_get(answer, "tokens"), NAN);
    if (!(r->seconds > 0) || r->tokens != tokens)
        rc = rl_error(RL_EINVAL, "--against %s: %g tokens in %g seconds is no answer to our %g "
                      "tokens", p->name, r->tokens, r->seconds, tokens);
done:
    json_free(answer);
    return rc;
}

/* ,"peer_peak_gflops":...,"peer_copy_gbytes":... */
static void ceilings_line(const struct peer *p, struct text *line)
{
    if (!isnan(p->gflops))
        number_line(line, "peer_peak_gflops", p->gflops);
    if (!isnan(p->gbytes))
        number_line(line, "peer_copy_gbytes", p->gbytes);
}

int peer_lines(struct peer *p)
{
    struct json *answer = NULL;
    struct text line = { 0 };
    bool done = false;
    int rc = RL_OK;

    text_addf(&line, "{\"bench\":\"%s\"", p->name);
    word_line(&line, "peer", p->version);
    ceilings_line(p, &line);
    print_line(&line);
    while (!done) {
        TRY(hear(p, &answer));
        done = json_bool(json_get(answer, "done"), false);
        json_add(&line, answer);
        json_free(answer);
        answer = NULL;
        if (!done)
            printf("%s\n", line.data);
        text_clear(&line);
    }
    fflush(stdout);
done:
    text_free(&line);
    return rc;
}

void peer_print(const struct peer *p, const struct bench_options *o, const char *work,
                const struct figures *ours, const struct figures *theirs)
{
    struct figures ratios = { .n = 0 };
    struct text line = { 0 };

    for (int i = 0; i < ours->n && i < theirs->n; i++)
        figures_add(&ratios, theirs->x[i] / ours->x[i]);
    text_addf(&line, "{\"bench\":\"%s against %s\"", work, p->name);
    word_line(&line, "peer", p->version);
    word_line(&line, "model", o->model);
    word_line(&line, "dtype", o->dtype);
    number_line(&line, "rows", (double)o->rows);
    number_line(&line, "prompt", (double)o->prompt);
    number_line(&line, "new", (double)o->fresh);
    number_line(&line, "threads", (double)o->threads);
    bench_words_line(&line, o);
    ceilings_line(p, &line);
    number_line(&line, "pairs", ratios.n);
    figures_line(&line, "seconds", ours);
    figures_line(&line, "peer_seconds", theirs);
    figures_line(&line, "speed_ratio", &ratios);
    print_line(&line);
}

static bool ended(struct peer *p, double seconds)
{
    double until = clock_now() + seconds;
    pid_t pid;

    while ((pid = waitpid(p->pid, NULL, WNOHANG)) == 0 && clock_now() < until)
        clock_sleep(0.005);
    return pid != 0;
}

void peer_end(struct peer *p)
{
    if (!p)
        return;
    if (p->to >= 0)
        close(p->to);
    if (p->from >= 0)
        close(p->from);
    if (p->pid > 0) {
        bool done = ended(p, GRACE);
        if (!done) {
            kill(-p->pid, SIGTERM);
            done = ended(p, GRACE);
        }
        kill(-p->pid, SIGKILL);             /* what it left behind, too */
        if (!done)
            ended(p, 10 * GRACE);
    }
    text_free(&p->heard);
    free(p);
}
