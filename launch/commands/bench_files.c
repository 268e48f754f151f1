/* The files of a run with a model and nothing else at hand: config.json and a tokenizer for a
 * random model, prompts of ids, a text, and the configuration.  See bench.h. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "launch/commands/bench.h"
#include "launch/models.h"

#define FIRST_CHARACTER 0x10000         /* token i is this code point + i, in four bytes */

/* ---- content */

static void add_character(struct text *out, uint32_t c)
{
    const char bytes[4] = { (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)),
                            (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63)) };

    text_add(out, bytes, 4);
}

/* Every token is a character of its own; behind that of odd ids come up to 31 stars, which no text
 * becomes: responses of as many tokens then differ in length, and in their score. */
static void add_tokenizer(struct text *out, int V)
{
    text_adds(out, "{\"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": null, "
              "\"post_processor\": null, \"decoder\": {\"type\": \"Fuse\"}, "
              "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    for (int i = 0; i < V; i++) {
        text_adds(out, i ? ",\"" : "\"");
        add_character(out, FIRST_CHARACTER + (uint32_t)i);
        if (i % 2)
            text_addf(out, "%.*s", 1 + i / 2 % 31, "*******************************");
        text_addf(out, "\":%d", i);
    }
    text_adds(out, "}}}\n");
}

/* Tokens without an order that a cache could learn. */
int bench_token(int64_t at, int V)
{
    return (int)(((uint64_t)at * 0x9e3779b97f4a7c15ull >> 33) % (uint64_t)V);
}

static void add_prompts(struct text *out, const struct bench_options *o, int V)
{
    for (int64_t n = 0; n < o->rows; n++) {
        text_adds(out, "{\"prompt_ids\": [");
        for (int64_t t = 0; t < o->prompt; t++)
            text_addf(out, "%s%d", t ? ", " : "", bench_token(n * o->prompt + t, V));
        text_adds(out, "]}\n");
    }
}

/* Enough for a batch: characters of a random model's tokenizer, else words. */
static void add_text(struct text *out, const struct bench_options *o, int V)
{
    static const char *const words[] = { "once", "upon", "a", "time", "there", "was", "small",
                                         "house", "by", "the", "river", "and", "nobody", "knew" };
    int64_t tokens = o->rows * (o->prompt + o->fresh);

    for (int64_t t = 0; t < 2 * tokens; t++)
        if (V > 0)
            add_character(out, FIRST_CHARACTER + (uint32_t)(bench_token(t, V / 2) * 2));
        else
            text_addf(out, "%s ", words[bench_token(t, 14)]);
    text_adds(out, "\n");
}

/* A line `key = "WORDS";` of the configuration. */
static void add_string(struct text *out, const char *key, const char *begin, const char *end)
{
    const char *const parts[] = { begin, end };

    text_addf(out, "%s = \"", key);
    for (int i = 0; i < 2; i++)
        for (const char *c = parts[i]; *c; c++)
            text_addf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    text_adds(out, "\";\n");
}

/* GRPO as it was published looks at a reference, too; RACO has two objectives; OSP's judge is not
 * examined. */
static void add_step(struct text *out, const struct bench_options *o, const char *folder)
{
    add_string(out, "algorithm", o->algorithm, "");
    add_string(out, "prompts", folder, "/prompts.jsonl");
    text_adds(out, "rewards = ( { kind = \"length\"; unit = \"characters\"; name = \"length\"; }");
    if (strcmp(o->algorithm, "raco") == 0)
        text_adds(out, ",\n{ kind = \"length\"; unit = \"words\"; name = \"short\"; "
                  "weight = -1.0; } );\nraco = { weights = [0.5, 0.5]; };\n");
    else
        text_adds(out, " );\n");
    text_addf(out, "prompts_per_step = %lld;\nsamples_per_prompt = %lld;\nmax_new = %lld;\n"
              "temperature = 1.0;\n", (long long)(o->rows / o->samples),
              (long long)o->samples, (long long)o->fresh);
    if (strcmp(o->algorithm, "grpo") == 0)
        text_adds(out, "beta = 0.04;\nppo = { kl_in = \"loss\"; kl = \"k3\"; };\n");
    if (strcmp(o->algorithm, "osp") == 0)
        text_adds(out, "osp = { gate = false; };\n");
}

static void add_config(struct text *out, const struct bench_options *o, const char *folder,
                       const char *work, bool random)
{
    add_string(out, "model", random ? folder : o->model, random ? "/model" : "");
    if (random && strcmp(work, "start") != 0)
        text_adds(out, "model_init = \"random\";\n");
    add_string(out, "output", folder, "/run");
    add_string(out, "dtype", o->dtype, "");
    add_string(out, "device", o->device, "");
    text_addf(out, "steps = 1000000;\nlr = 1e-5;\neval_every = 0;\n"
              "checkpoint_every = 0;\nlog_samples = 0;\nthreads = %lld;\n", (long long)o->threads);
    if (strcmp(work, "train") != 0) {
        add_step(out, o, folder);
        return;
    }
    add_string(out, "text", folder, "/text.txt");
    text_addf(out, "algorithm = \"lm\";\nrows_per_step = %lld;\nrow_tokens = %lld;\n",
              (long long)o->rows, (long long)(o->prompt + o->fresh));
}

/* ---- files */

static int write_text(const char *folder, const char *name, struct text *text)
{
    char path[4400];
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, folder, name));
    TRY(file_write(path, text->data, text->size));
done:
    text_clear(text);
    return rc;
}

int bench_files_write(const struct bench_files *f, const struct bench_options *o, const char *work)
{
    const struct model_shape *shape = bench_shape(o->model);
    struct model_shape its;
    struct text text = { 0 };
    char model[4300];
    int rc = RL_OK;

    TRY(bench_shape_of(&its, o->model));
    TRY(bench_fits(&its, "--prompt + --new", o->prompt + o->fresh));
    TRY(path_join(model, sizeof model, f->folder, "model"));
    TRY(folder_make(model));
    if (shape) {
        bench_shape_json(shape, &text);
        TRY(write_text(model, "config.json", &text));
        add_tokenizer(&text, its.V);
        TRY(write_text(model, "tokenizer.json", &text));
    }
    add_prompts(&text, o, its.V);
    TRY(write_text(f->folder, "prompts.jsonl", &text));
    add_text(&text, o, shape ? its.V : 0);
    TRY(write_text(f->folder, "text.txt", &text));
    add_config(&text, o, f->folder, work, shape != NULL);
    TRY(write_text(f->folder, "bench.cfg", &text));
done:
    text_free(&text);
    return rc;
}

int bench_files_open(struct bench_files *f, const char *place)
{
    int rc = RL_OK;

    TRY(path_join(f->folder, sizeof f->folder, place, "rankwise-bench.XXXXXX"));
    if (!mkdtemp(f->folder))
        return rl_error(RL_EIO, "%s: cannot make a folder there; --folder names another", place);
    f->mine = true;
    rc = path_join(f->config, sizeof f->config, f->folder, "bench.cfg");
done:
    return rc;
}

int bench_folder(struct bench_files *f, struct comm *world, const char *place)
{
    int rc = RL_OK;

    TRY(comm_agree(world, comm_rank(world) == 0 ? bench_files_open(f, place) : RL_OK));
    TRY(comm_broadcast(world, f->folder, sizeof f->folder, 0, PHASE_START));
    TRY(path_join(f->config, sizeof f->config, f->folder, "bench.cfg"));
done:
    return rc;
}

int bench_files_make(struct bench_files *f, struct comm *world, const struct bench_options *o,
                     const char *work)
{
    int rc = RL_OK;

    TRY(bench_folder(f, world, o->folder));
    f->mine = comm_first_on_host(world);
    rc = comm_agree(world, f->mine ? bench_files_write(f, o, work) : RL_OK);
done:
    return rc;
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *ftw)
{
    (void)s;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void bench_files_remove(struct bench_files *f)
{
    if (f->mine)
        nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    f->mine = false;
}
