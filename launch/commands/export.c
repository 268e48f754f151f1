/* rankwise export RUN|CHECKPOINT --hf DIR: the Hugging Face layout, without MPI or GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"
#include "checkpoints/safetensors.h"
#include "launch/commands/commands.h"
#include "launch/models.h"
#include "launch/options.h"

static const char *hf, *dtype = "F32";
static int64_t shard_mb = 5000;

static const struct option_row options[] = {
    { "hf", OPTION_TEXT, &hf, "DIR",
      "folder to write: config.json, model.safetensors, tokenizer.json, ..." },
    { "dtype", OPTION_TEXT, &dtype, "TYPE", "F32 (default), BF16 or F16" },
    { "shard-mb", OPTION_INT, &shard_mb, "MB",
      "largest file; more is written as shards (default 5000)" },
    { 0 },
};

void help_export(FILE *out)
{
    options_help(options, out);
}

static int dtype_of(const char *name, enum dtype *type)
{
    static const enum dtype known[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16 };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(name, dtype_name(known[i])) == 0) {
            *type = known[i];
            return RL_OK;
        }
    return rl_error(RL_EINVAL, "--dtype: '%s' is not F32, BF16 or F16", name);
}

static int write_files(const struct source *s, const char *folder)
{
    char path[4200];
    int rc = RL_OK;

    for (int i = 0; i < SOURCE_FILES; i++)
        if (s->files[i].text.data) {
            TRY(path_join(path, sizeof path, folder, s->files[i].name));
            TRY(file_write(path, s->files[i].text.data, s->files[i].text.size));
        }
done:
    return rc;
}

static int export_model(const struct source *s, enum dtype type)
{
    struct compute *k = NULL;
    struct model *m = NULL;
    const struct array *arrays;
    int n, rc = RL_OK;

    TRY(compute_open(&k, "ref", "fp32", 1));
    TRY(source_model(&m, s, k));
    arrays = model_arrays(m, &n);
    TRY(folder_make(hf));
    TRY(safetensors_save(hf, arrays, n, type, (size_t)shard_mb << 20));
    TRY(write_files(s, hf));
    printf("%s: the model of %s, as %s\n", hf, s->path, dtype_name(type));
done:
    model_destroy(m);
    compute_close(k);
    return rc;
}

int command_export(int argc, char **argv)
{
    struct source s;
    enum dtype type = DTYPE_F32;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    TRY(options_parse(options, &argc, argv));
    if (argc != 1 || !hf)
        return rl_error(RL_EINVAL, "export needs a run or checkpoint and --hf DIR");
    TRY(dtype_of(dtype, &type));
    TRY(source_open(&s, argv[0]));
    if (s.shape.lm && s.shape.scores > 0)       /* a language model of theirs has no score head */
        TRY(source_set_heads(&s, &(struct heads){ .lm = true }));
    TRY(export_model(&s, type));
done:
    source_close(&s);
    return rc;
}
