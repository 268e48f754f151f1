/* See support.h. */
#include "tests/support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char made[4000];        /* leaves room for a folder's number */

static char *slot(void)
{
    static char slots[8][4096];
    static int next;

    return slots[next++ % 8];
}

const char *support_shared(void)
{
    const char *given = getenv("RANKWISE_SHARED");
    const char *path = given ? given : "../shared";
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? path : NULL;
}

const char *support_shared_path(const char *name)
{
    const char *shared = support_shared();

    if (!shared && getenv("CI"))
        fail_msg("%s: the shared data must be present under CI", name);
    if (!shared)
        skip();
    return support_path(shared, name);
}

static int forget(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    if (made[0])
        nftw(made, forget, 16, FTW_DEPTH | FTW_PHYS);
}

const char *support_folder(void)
{
    static int count;
    char *path = slot();

    if (!made[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(made, sizeof made, "%s/rankwise-test.XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(made)) {
            perror(made);
            exit(1);
        }
        atexit(remove_folder);
    }
    snprintf(path, 4096, "%s/%d", made, count++);
    if (mkdir(path, 0777) != 0)
        fail_msg("cannot make %s", path);
    return path;
}

const char *support_path(const char *folder, const char *name)
{
    char *path = slot();

    snprintf(path, 4096, "%s/%s", folder, name);
    return path;
}

const char *support_write(const char *folder, const char *name, const char *text)
{
    const char *path = support_path(folder, name);
    FILE *file = fopen(path, "w");

    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        fail_msg("cannot write %s", path);
    return path;
}

int support_hold(void **state)
{
    (void)state;
    status_hold(true);
    return 0;
}

bool support_gpu_is_real(void)
{
    const char *said = getenv("RANKWISE_TEST_GPU");

    return said && strcmp(said, "real") == 0;
}

bool support_gpu_only(void)
{
    return getenv("RANKWISE_TEST_GPU") != NULL;
}

/* Beside the test, or a folder above. */
void support_gpu(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);

    path[n > 0 ? n : 0] = '\0';
    strcpy(strrchr(path, '/') + 1,
           support_gpu_is_real() ? "../librankwise_cuda.so" : "librankwise_cuda.so");
    setenv("RANKWISE_CUDA", path, 1);
    strcpy(strrchr(path, '/') + 1, "librankwise_nccl.so");
    setenv("RANKWISE_NCCL", path, 0);
}
