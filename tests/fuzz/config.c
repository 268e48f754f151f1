/* A libconfig file, and what is saved of it read again.  The part behind a zero byte is an
 * argument over it (key=value). */
#include <stdio.h>
#include <unistd.h>

#include "base/config.h"
#include "tests/fuzz/fuzz.h"

static void save_and_read(const struct config *c)
{
    struct config *again;
    char path[64];

    snprintf(path, sizeof path, "/dev/shm/rankwise-fuzz-%d.cfg", (int)getpid());
    fuzz_said(config_save(c, path));
    fuzz_holds(config_open(&again, path, NULL, 0) == RL_OK, "a saved configuration is refused");
    config_close(again);
    remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts in = fuzz_parts(data, size);
    char *argument = in.second;
    struct config *c = NULL;

    fuzz_said(config_open(&c, fuzz_file(in.first, in.n_first), &argument, in.n_second > 0));
    if (c)
        save_and_read(c);
    config_close(c);
    fuzz_parts_free(&in);
    return 0;
}
