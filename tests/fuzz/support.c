/* See fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Errors wait, so that a target can look at them, and nothing is printed. */
__attribute__((constructor)) static void hold(void)
{
    status_hold(true);
}

void fuzz_holds(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz: %s (%s)\n", what, status_message());
    abort();
}

void fuzz_said(int rc)
{
    fuzz_holds(rc != RL_EBUG, "a promise inside the program broke");
    fuzz_holds(rc == RL_OK || status_message()[0], "a refusal without a line");
    fuzz_holds(!strchr(status_message(), '\n'), "a message of two lines");
    status_drop();
}

const char *fuzz_file(const void *data, size_t size)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fuzz_holds(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size,
               "no file in memory");
    return path;
}

static char *copy(const void *data, size_t size)
{
    char *out = calloc(1, size + 1);

    fuzz_holds(out, "no memory");
    if (size > 0)
        memcpy(out, data, size);
    return out;
}

struct parts fuzz_parts(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size, m = zero ? size - n - 1 : 0;

    return (struct parts){ copy(data, n), copy(zero ? zero + 1 : data, m), n, m };
}

void fuzz_parts_free(struct parts *p)
{
    free(p->first);
    free(p->second);
}

static const char letters[] =
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"merges\":[\"a b\"],\"vocab\":{"
    "\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"A\":4,\"B\":5,\" \":6,\"1\":7,\"2\":8,\"</s>\":9}}}";

struct tokenizer *fuzz_tokenizer(void)
{
    static struct tokenizer *t;

    if (!t)
        fuzz_said(tokenizer_parse(&t, letters, sizeof letters - 1, "letters"));
    return t;
}
