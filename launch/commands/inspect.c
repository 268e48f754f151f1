/* rankwise inspect CHECKPOINT: values, texts, arrays; every checksum is verified. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "launch/commands/commands.h"

static void print_values(const struct checkpoint *c)
{
    static const char *const names[] = { "step", "seed", "tokens", "groups", "rows_per_group" };
    int64_t x;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (checkpoint_int(c, names[i], &x))
            printf("%-16s %" PRId64 "\n", names[i], x);
}

/* Read the whole array, which verifies its checksums, and print one line. */
static int print_array(struct checkpoint *c, int i)
{
    const struct array *a = checkpoint_array(c, i);
    size_t bytes = a->size * dtype_size(a->dtype);
    void *data = malloc(bytes ? bytes : 1);
    int rc;

    if (!data)
        return rl_error(RL_ENOFIT, "no memory for array %s (%zu bytes)", a->name, bytes);
    rc = checkpoint_read(c, i, 0, a->size, data);
    if (rc == RL_OK) {
        printf("%-60s %-4s (", a->name, dtype_name(a->dtype));
        for (int d = 0; d < a->dims; d++)
            printf("%s%zu", d ? ", " : "", a->shape[d]);
        printf(")  %016" PRIx64 "\n", hash64(data, bytes));
    }
    free(data);
    return rc;
}

int command_inspect(int argc, char **argv)
{
    struct checkpoint *c = NULL;
    char path[4200];
    int rc = RL_OK;

    if (argc != 1 || argv[0][0] == '-')
        return rl_error(RL_EINVAL, "inspect needs one checkpoint or run folder");
    if (folder_exists(argv[0])) {
        char folder[4200];
        TRY(path_join(folder, sizeof folder, argv[0], "checkpoints"));
        if (checkpoint_newest(folder, path, sizeof path) < 0)
            return rl_error(RL_EINVAL, "%s: no checkpoint in %s", argv[0], folder);
    } else {
        snprintf(path, sizeof path, "%s", argv[0]);
    }
    TRY(checkpoint_open(&c, path));
    printf("%s\n", path);
    print_values(c);
    for (int i = 0; i < checkpoint_texts(c); i++)
        printf("text             %s\n", checkpoint_text_name(c, i));
    for (int i = 0; i < checkpoint_count(c); i++)
        TRY(print_array(c, i));
    printf("%d arrays, every checksum holds\n", checkpoint_count(c));
done:
    checkpoint_close(c);
    return rc;
}
