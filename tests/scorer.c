/* See scorer.h. */
#include "tests/scorer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "tests/support.h"

static int bytes_of(const struct json *request)
{
    return (int)json_string_size(json_get(request, "completion"));
}

/* ---- the program */

static void answer(const struct json *request)
{
    printf("{\"id\": %lld, \"score\": %d}\n", (long long)json_int(json_get(request, "id"), -1),
           bytes_of(request));
    fflush(stdout);
}

static void noise(void)
{
    for (int i = 0; i < 2000; i++)
        printf("a line of no meaning whatever, to fill the pipe, number %d\n", i);
}

/* A line that came; false: enough. */
static int meet(const char *mode, const struct json *request, int n)
{
    const char *text = json_string(json_get(request, "completion"), "");
    static int sum[100000];

    if (strcmp(mode, "die") == 0 && n == 2)
        exit(3);
    if (strcmp(mode, "poison") == 0 && strstr(text, "poison"))
        abort();
    if (strcmp(mode, "sleep") == 0 && n == 1)
        sleep(30);
    if (strcmp(mode, "garbage") == 0)
        printf("hello\n{\"id\": \n{\"id\": 999999, \"score\": 1}\n{\"id\": null}\n\n");
    if (strcmp(mode, "noise") == 0)
        noise();
    if (strcmp(mode, "nan") == 0) {
        static const char *const none[] = { "NaN", "-Infinity", "1e999", "-1.5E+400" };
        printf("{\"id\": %lld, \"score\": %s}\n", (long long)json_int(json_get(request, "id"), -1),
               none[n % 4]);
        return fflush(stdout) == 0;
    }
    if (strcmp(mode, "endless") == 0)
        for (int i = 0; i < 1 << 30; i++)
            putchar('x');
    if (strcmp(mode, "huge") == 0) {
        printf("{\"id\": %lld, \"score\": %s}\n", (long long)json_int(json_get(request, "id"), -1),
               n % 2 ? "-1e30" : "1e308");
        return fflush(stdout) == 0;
    }
    if (strcmp(mode, "big") == 0)       /* more than an integer of 64 bits holds */
        return printf("{\"id\": 0, \"score\": 10000000000000000000}\n") < 0;
    if (strcmp(mode, "once") == 0) {            /* all at once, when the last has come */
        sum[n] = bytes_of(request);
        if (json_int(json_get(request, "left"), -1) > 0)
            return 1;
        for (int i = 0; i <= n; i++)
            printf("%s%d", i ? ", " : "{\"scores\": [", sum[i]);
        printf("]}");                           /* without a line's end: the program's end does */
        return 0;
    }
    answer(request);
    return strcmp(mode, "two") != 0 || n < 1;
}

int scorer_main(const char *mode)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    int n = 0, go = 1;

    while (go && (bytes = getline(&line, &room, stdin)) > 0) {
        struct json *request = json_parse(line, (size_t)bytes, "request");
        go = meet(mode, request, n++);
        json_free(request);
    }
    free(line);
    return 0;
}

const char *scorer_self(void)
{
    static char self[4000];

    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    return self;
}

struct config_reward scorer_process(const char *mode)
{
    static char command[4100];

    snprintf(command, sizeof command, "exec '%s' scorer %s", scorer_self(), mode);
    return (struct config_reward){ .kind = "process", .name = "p", .command = command,
                                   .timeout = 20, .retries = 3, .weight = 1 };
}

/* ---- the server */

static int read_request(int fd, struct text *in, size_t *body)
{
    char bytes[65536], *end, *length;

    for (text_clear(in);;) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0)
            return -1;
        text_add(in, bytes, (size_t)n);
        end = strstr(in->data, "\r\n\r\n");
        length = strcasestr(in->data, "content-length:");
        if (!end || !length)
            continue;
        *body = (size_t)(end + 4 - in->data);
        if (in->size >= *body + (size_t)atoi(length + 15))
            return 0;
    }
}

static void respond(struct scorer *s, int fd, const char *text, size_t size, char how)
{
    struct json *root = json_parse(text, size, "request");
    const struct json *list = json_get(root, "responses");
    size_t n = json_size(list);
    struct text body = {0}, out = {0};

    if ((int)n > s->counts->most)
        s->counts->most = (int)n;
    text_adds(&body, how == 'g' ? "<html>" : "{\"scores\": [");
    for (size_t i = 0; i + (how == 's') < n + (how == 'm'); i++) {
        text_adds(&body, i ? ", " : "");
        if (how == 'n')
            text_adds(&body, "null");
        else
            text_addf(&body, "%d", bytes_of(json_at(list, i)));
    }
    text_adds(&body, "]}");
    text_addf(&out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
              how == '5' ? "500 No" : "200 OK", body.size, body.data);
    if (write(fd, out.data, out.size) < 0)
        _exit(1);
    json_free(root);
    text_free(&body);
    text_free(&out);
}

static void serve(struct scorer *s, int listener, const char *plan)
{
    struct text in = {0};

    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL), n;
        size_t body;
        char how;
        if (fd < 0)
            _exit(1);
        if (read_request(fd, &in, &body) == 0) {
            n = s->counts->requests++;
            how = plan[n < (int)strlen(plan) ? n : (int)strlen(plan) - 1];
            if (how == 'w')
                sleep(2);
            if (how != 'h')
                respond(s, fd, in.data + body, in.size - body, how);
        }
        close(fd);
    }
}

void scorer_start(struct scorer *s, const char *plan)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/score", ntohs(address.sin_port));
    s->counts = mmap(NULL, sizeof *s->counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                     -1, 0);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        serve(s, listener, plan);
    close(listener);
}

void scorer_stop(struct scorer *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    munmap(s->counts, sizeof *s->counts);
}
