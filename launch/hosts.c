/* Hosts, from words, files or Slurm; see hosts.h.
 *
 *   is a host there?   a connection to its port 22 is accepted or refused: its kernel answers
 *                      then its agent runs a command:                     we can start ranks on it
 */
#include "launch/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"

#define NETWORK_SECONDS 2.0
#define AGENT_SECONDS 5.0
#define KILL_SECONDS 1.0            /* a process that waits for a dead disk is not ended at all */

/* ---- which there are */

static bool is_name(const char *s)
{
    return s[0] && s[0] != '-' &&
           s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")] == 0;
}

static int add_host(struct hosts *h, const char *name, const char *slots)
{
    struct host *more = realloc(h->list, (size_t)(h->n + 1) * sizeof *more), *host;
    char *end = NULL;
    long count = slots ? strtol(slots, &end, 10) : 1;

    if (!more)
        return rl_error(RL_ENOFIT, "no memory for %d hosts", h->n + 1);
    h->list = more;
    host = &more[h->n];
    if (!is_name(name) || strlen(name) >= sizeof host->name)
        return rl_error(RL_EINVAL, "--hosts: '%.80s' is no name of a host", name);
    if (slots && (*end || end == slots || count < 1 || count > 1 << 20))
        return rl_error(RL_EINVAL, "--hosts: %s: '%.40s' is no number of ranks", name, slots);
    for (int i = 0; i < h->n; i++)
        if (strcmp(h->list[i].name, name) == 0)
            return rl_error(RL_EINVAL, "--hosts: %s is named twice; give it more ranks", name);
    memset(host, 0, sizeof *host);
    strcpy(host->name, name);
    host->slots = (int)count;
    host->answers = true;
    h->n++;
    return RL_OK;
}

/* "a", "a:2" or "a slots=2"; the word is cut up. */
static int add_word(struct hosts *h, char *word)
{
    char *rest, *name = strtok_r(word, " \t\r", &rest), *more = strtok_r(NULL, " \t\r", &rest);
    char *colon;

    if (!name)
        return RL_OK;
    colon = strchr(name, ':');
    if (colon)
        *colon = 0;
    if (more && (colon || strncmp(more, "slots=", 6) != 0))
        return rl_error(RL_EINVAL, "--hosts: '%.40s' behind %.80s: want slots=N", more, name);
    return add_host(h, name, colon ? colon + 1 : more ? more + 6 : NULL);
}

int hosts_parse(struct hosts *h, const char *words_or_file)
{
    struct text text = { 0 };
    bool is_file = file_exists(words_or_file);
    char *next = NULL;
    int rc = RL_OK;

    memset(h, 0, sizeof *h);
    if (is_file)
        TRY(file_read(words_or_file, &text));
    else
        text_adds(&text, words_or_file);
    for (char *line = text.data; line; line = next) {
        next = strpbrk(line, is_file ? "\n" : ",");
        if (next)
            *next++ = 0;
        line[strcspn(line, "#")] = 0;
        TRY(add_word(h, line));
    }
    if (h->n == 0)
        rc = rl_error(RL_EINVAL, "--hosts: no host in '%.200s'", words_or_file);
done:
    if (rc != RL_OK)
        hosts_free(h);
    text_free(&text);
    return rc;
}

int hosts_local(struct hosts *h)
{
    memset(h, 0, sizeof *h);
    return add_host(h, "localhost", NULL);
}

/* SLURM_TASKS_PER_NODE is "2(x3),1": the next node's number. */
static int next_tasks(const char **at, int *left, int *tasks)
{
    int used = 0;

    if (*left == 0) {
        *left = 1;
        if (sscanf(*at, "%d%n", tasks, &used) != 1)
            return *tasks;
        *at += used;
        if (sscanf(*at, "(x%d)%n", left, &used) == 1)
            *at += used;
        *at += **at == ',';
    }
    --*left;
    return *tasks;
}

/* "SlurmdPort              = 6818"; 0 for a range of ports or no answer. */
static int port_of_slurmd(void)
{
    FILE *settings = popen("timeout 10 scontrol show config 2>/dev/null", "r");
    char line[512], rest[2];
    int port = 0, found;

    while (settings && fgets(line, sizeof line, settings))
        if (sscanf(line, "SlurmdPort = %d %1s", &found, rest) == 1)
            port = found;
    if (settings)
        pclose(settings);
    return port;
}

int hosts_of_slurm(struct hosts *h)
{
    const char *per_node = getenv("SLURM_TASKS_PER_NODE");
    FILE *names = popen("timeout 10 scontrol show hostnames", "r");
    char name[256], slots[16];
    int left = 0, tasks = 1, rc = RL_OK;

    memset(h, 0, sizeof *h);
    while (names && rc == RL_OK && fgets(name, sizeof name, names)) {
        name[strcspn(name, "\n")] = 0;
        if (per_node)
            snprintf(slots, sizeof slots, "%d", next_tasks(&per_node, &left, &tasks));
        rc = add_host(h, name, per_node ? slots : NULL);
    }
    if (names)
        pclose(names);
    h->slurmd = port_of_slurmd();
    if (rc == RL_OK && h->n == 0)
        rc = rl_error(RL_EINVAL, "scontrol show hostnames names no host of this Slurm job");
    if (rc != RL_OK)
        hosts_free(h);
    return rc;
}

void hosts_free(struct hosts *h)
{
    free(h->list);
    memset(h, 0, sizeof *h);
}

/* ---- which of them answer */

enum answer { ANSWER_NONE, ANSWER_REFUSED, ANSWER_ACCEPTED };

static bool is_this_machine(const char *name)
{
    char own[256] = "";

    gethostname(own, sizeof own - 1);
    return strcmp(name, own) == 0 || strcmp(name, "localhost") == 0;
}

/* A connection under way to a host, -1 if there is none to be had. */
static int knock(const char *name, int port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *a = NULL;
    char service[16];
    int fd = -1;

    snprintf(service, sizeof service, "%d", port ? port : 22);
    if (getaddrinfo(name, service, &hints, &a) != 0)
        return -1;
    fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS &&
        errno != ECONNREFUSED) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(a);
    return fd;
}

static enum answer answer_of(int fd)
{
    socklen_t size = sizeof(int);
    int error = ETIMEDOUT;

    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 ? ANSWER_ACCEPTED : error == ECONNREFUSED ? ANSWER_REFUSED : ANSWER_NONE;
}

/* knocks (n): who is at the door within the time? */
static void wait_for_answers(struct pollfd *knocks, enum answer *answers, int n)
{
    double end = clock_now() + NETWORK_SECONDS;
    int open = 0;

    for (int i = 0; i < n; i++)
        open += knocks[i].fd >= 0;
    while (open > 0 && clock_now() < end) {
        poll(knocks, (nfds_t)n, 50);
        for (int i = 0; i < n; i++) {
            if (knocks[i].fd < 0 || knocks[i].revents == 0)
                continue;
            answers[i] = answer_of(knocks[i].fd);
            close(knocks[i].fd);
            knocks[i].fd = -1;
            open--;
        }
    }
}

/* answers (n), to be freed; NULL: no memory.  This machine is there, whatever listens on it. */
static enum answer *ask_networks(const struct hosts *h)
{
    struct pollfd *knocks = calloc((size_t)h->n + 1, sizeof *knocks);
    enum answer *answers = calloc((size_t)h->n + 1, sizeof *answers);

    if (!knocks || !answers) {
        free(knocks);
        free(answers);
        return NULL;
    }
    for (int i = 0; i < h->n; i++) {
        bool here = is_this_machine(h->list[i].name);
        answers[i] = here ? ANSWER_ACCEPTED : ANSWER_NONE;
        knocks[i] = (struct pollfd){ .fd = here ? -1 : knock(h->list[i].name, h->slurmd),
                                     .events = POLLOUT };
    }
    wait_for_answers(knocks, answers, h->n);
    for (int i = 0; i < h->n; i++)
        if (knocks[i].fd >= 0)
            close(knocks[i].fd);
    free(knocks);
    return answers;
}

const char *hosts_silent(const struct hosts *h)
{
    enum answer *answers = ask_networks(h);
    const char *name = NULL;

    for (int i = h->n - 1; answers && i >= 0; i--)
        if (h->list[i].answers && !h->list[i].mute && answers[i] == ANSWER_NONE)
            name = h->list[i].name;
    free(answers);
    return name;
}

/* There, sh reads the command: the login shell may be another kind. */
static pid_t start_agent(const char *name, const char *command)
{
    const char *agent = getenv("OMPI_MCA_plm_rsh_agent");
    struct text line = { 0 };
    int null;
    pid_t pid;

    if (is_this_machine(name))
        text_addf(&line, "%s", command);
    else
        text_addf(&line, "exec %s %s sh <<'END_OF_COMMAND'\n%s\nEND_OF_COMMAND\n",
                  agent ? agent : "ssh -o BatchMode=yes", name, command);
    pid = fork();
    if (pid == 0) {
        null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl("/bin/sh", "sh", "-c", line.data, (char *)NULL);
        _exit(127);
    }
    text_free(&line);
    return pid;
}

/* Whose agent has ended well answers.  Returns how many are still under way. */
static int collect(struct hosts *h, pid_t *agents)
{
    int left = 0;

    for (int i = 0; i < h->n; i++) {
        int status = -1;
        if (agents[i] <= 0)
            continue;
        if (waitpid(agents[i], &status, WNOHANG) == 0) {
            left++;
            continue;
        }
        h->list[i].answers = status == 0;
        agents[i] = 0;
    }
    return left;
}

static void ask_agents(struct hosts *h, pid_t *agents, const char *command)
{
    double end = clock_now() + AGENT_SECONDS;

    for (int i = 0; i < h->n; i++)
        if (h->list[i].answers) {
            agents[i] = start_agent(h->list[i].name, command);
            h->list[i].answers = false;
        }
    while (collect(h, agents) > 0 && clock_now() < end)
        clock_sleep(0.01);
    for (int i = 0; i < h->n; i++)
        if (agents[i] > 0)
            kill(agents[i], SIGKILL);
    end = clock_now() + KILL_SECONDS;
    while (collect(h, agents) > 0 && clock_now() < end)
        clock_sleep(0.01);
}

int hosts_ask(struct hosts *h, const char *command)
{
    pid_t *agents = calloc((size_t)h->n + 1, sizeof *agents);
    enum answer *answers = ask_networks(h);

    for (int i = 0; answers && i < h->n; i++)
        h->list[i].answers = answers[i] != ANSWER_NONE;
    if (agents && command)
        ask_agents(h, agents, command);
    free(answers);
    free(agents);
    return hosts_slots(h, true);
}

/* Answers stay as they are where Slurm says nothing. */
static void ask_allocation(struct hosts *h)
{
    FILE *names = popen("list=$(timeout 10 squeue -h -j $SLURM_JOB_ID -o %N 2>/dev/null) && "
                        "[ \"$list\" ] && timeout 10 scontrol show hostnames $list", "r");
    char name[256];
    bool *ours = calloc((size_t)h->n + 1, sizeof *ours), any = false;

    while (names && ours && fgets(name, sizeof name, names)) {
        name[strcspn(name, "\n")] = 0;
        for (int i = 0; i < h->n; i++)
            if (strcmp(h->list[i].name, name) == 0)
                ours[i] = any = true;
    }
    if (names)
        pclose(names);
    for (int i = 0; any && i < h->n; i++)
        h->list[i].answers &= ours[i];
    free(ours);
}

int hosts_ask_slurm(struct hosts *h, bool first)
{
    enum answer least = h->slurmd ? ANSWER_ACCEPTED : ANSWER_REFUSED;
    enum answer *answers = ask_networks(h);

    for (int i = 0; answers && i < h->n; i++) {
        struct host *host = &h->list[i];
        if (first)
            host->mute = answers[i] == ANSWER_NONE;
        host->answers = first || host->mute || answers[i] >= least;
    }
    ask_allocation(h);
    free(answers);
    return hosts_slots(h, true);
}

int hosts_answering(const struct hosts *h)
{
    int n = 0;

    for (int i = 0; i < h->n; i++)
        n += h->list[i].answers;
    return n;
}

int hosts_slots(const struct hosts *h, bool that_answer)
{
    int slots = 0;

    for (int i = 0; i < h->n; i++)
        if (h->list[i].answers || !that_answer)
            slots += h->list[i].slots;
    return slots;
}

void hosts_here(const struct hosts *h, bool with_slots, struct text *out)
{
    for (int i = 0; i < h->n; i++) {
        const struct host *host = &h->list[i];
        if (!host->answers)
            continue;
        text_addf(out, "%s%s", out->size ? "," : "", host->name);
        if (with_slots)
            text_addf(out, ":%d", host->slots);
    }
}

void hosts_missing(const struct hosts *h, struct text *out)
{
    for (int i = 0; i < h->n; i++)
        if (!h->list[i].answers)
            text_addf(out, "%s%s", out->size ? ", " : "", h->list[i].name);
}
