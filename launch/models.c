/* Opens a model from wherever it is kept; see models.h.
 *
 *   Hugging Face folder:  config.json, model*.safetensors, tokenizer.json
 *   checkpoint file:      texts "files/config.json", ...; arrays "weights/<name>"
 *   run folder:           its newest checkpoint
 */
#include "launch/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/safetensors.h"

/* By their name in a folder and in a checkpoint; the first three are read, all are kept for export.
 */
#define KEPT(name) { name, "files/" name, { 0 } }
static const struct source_file kept_files[SOURCE_FILES] = {
    KEPT("config.json"), KEPT("tokenizer.json"), KEPT("generation_config.json"),
    KEPT("tokenizer_config.json"), KEPT("special_tokens_map.json"), KEPT("chat_template.jinja"),
    KEPT("added_tokens.json"), KEPT("vocab.json"),
};

/* The folder or file that `path` means: a run folder stands for its newest checkpoint. */
static int resolve(struct source *s, const char *path)
{
    char folder[4096], config[4096];
    int rc = RL_OK;

    if (strlen(path) >= sizeof s->path)
        return rl_error(RL_EINVAL, "path too long: %.60s...", path);
    strcpy(s->path, path);
    if (!folder_exists(path)) {
        if (!file_exists(path))
            return rl_error(RL_EINVAL, "%s: no such model folder or checkpoint", path);
        s->is_checkpoint = true;
        return RL_OK;
    }
    TRY(path_join(config, sizeof config, path, "config.json"));
    TRY(path_join(folder, sizeof folder, path, "checkpoints"));
    if (!file_exists(config) && folder_exists(folder)) {
        s->is_checkpoint = true;
        if (checkpoint_newest(folder, s->path, sizeof s->path) < 0)
            return rl_error(RL_EINVAL, "%s: the run has no checkpoint yet", path);
    }
done:
    return rc;
}

static int read_folder(struct source *s)
{
    int rc = RL_OK;

    for (int i = 0; i < SOURCE_FILES; i++) {
        char path[4200];
        TRY(path_join(path, sizeof path, s->path, s->files[i].name));
        if (file_exists(path))
            TRY(file_read(path, &s->files[i].text));
    }
    if (!s->files[0].text.data)
        rc =
            rl_error(RL_EINVAL, "%s: no config.json there; a Hugging Face folder has one", s->path);
done:
    return rc;
}

/* A reward model's: fitted during training, so it is newer than config.json. */
static int read_temperature(struct source *s, struct checkpoint *c)
{
    int at = checkpoint_find(c, "state/rm_temperature");

    if (at < 0 || checkpoint_array(c, at)->size != 1 || checkpoint_array(c, at)->dtype != DTYPE_F64)
        return RL_OK;
    return checkpoint_read(c, at, 0, 1, &s->temperature);
}

static int read_checkpoint(struct source *s)
{
    struct checkpoint *c = NULL;
    int rc = RL_OK;

    TRY(checkpoint_open(&c, s->path));
    for (int i = 0; i < SOURCE_FILES; i++) {
        const char *name = s->files[i].stored_name;
        for (int t = 0; t < checkpoint_texts(c); t++)
            if (strcmp(checkpoint_text_name(c, t), name) == 0)
                TRY(checkpoint_text(c, name, &s->files[i].text));
    }
    if (!s->files[0].text.data)
        rc = rl_error(RL_EINVAL, "%s: the checkpoint holds no config.json", s->path);
    TRY(read_temperature(s, c));
done:
    checkpoint_close(c);
    return rc;
}

/* eos_token_id is a number or a list of numbers. */
static void add_eos(struct source *s, const struct json *config)
{
    const struct json *eos = json_get(config, "eos_token_id");
    size_t n = json_is_array(eos) ? json_size(eos) : 1;

    for (size_t i = 0; i < n; i++) {
        int64_t id = json_int(json_is_array(eos) ? json_at(eos, i) : eos, -1);
        bool known = id < 0 || id >= s->shape.V || s->n_eos == SOURCE_EOS;
        for (int e = 0; e < s->n_eos; e++)
            known |= s->eos[e] == id;
        if (!known)
            s->eos[s->n_eos++] = (int)id;
    }
}

static int read_config(struct source *s)
{
    const struct text *main = &s->files[0].text, *generation = &s->files[2].text;
    struct json *config = NULL, *more = NULL;
    char where[4200];
    int rc = RL_OK;

    snprintf(where, sizeof where, "%s%sconfig.json", s->path, s->is_checkpoint ? ":" : "/");
    config = json_parse(main->data, main->size, where);
    if (!config)
        return RL_EINVAL;
    TRY(model_shape_read(&s->shape, config, where));
    if (!s->shape.lm && s->temperature > 0)
        s->shape.verdict.temperature = s->temperature;
    s->stored = (struct heads){ .lm = s->shape.lm, .scores = s->shape.scores,
                                .verdict = s->shape.verdict };
    s->bos = (int)json_int(json_get(config, "bos_token_id"), -1);
    if (s->bos >= s->shape.V)
        s->bos = -1;
    add_eos(s, config);
    if (generation->data) {
        snprintf(where, sizeof where, "%s%sgeneration_config.json", s->path,
                 s->is_checkpoint ? ":" : "/");
        more = json_parse(generation->data, generation->size, where);
        rc = more ? RL_OK : RL_EINVAL;
        add_eos(s, more);
    }
done:
    json_free(config);
    json_free(more);
    return rc;
}

static int read_tokenizer(struct source *s)
{
    const struct text *text = &s->files[1].text;
    char where[4200];
    int rc = RL_OK;

    if (!text->data)
        return RL_OK;
    snprintf(where, sizeof where, "%s%stokenizer.json", s->path, s->is_checkpoint ? ":" : "/");
    TRY(tokenizer_parse(&s->tokenizer, text->data, text->size, where));
    if (tokenizer_size(s->tokenizer) > s->shape.V)
        rc = rl_error(RL_EINVAL,
                      "%s: the tokenizer has ids up to %d but vocab_size in config.json is %d",
                      where, tokenizer_size(s->tokenizer) - 1, s->shape.V);
done:
    return rc;
}

int source_open(struct source *s, const char *path)
{
    int rc = RL_OK;

    memset(s, 0, sizeof *s);
    for (int i = 0; i < SOURCE_FILES; i++)
        s->files[i] = kept_files[i];
    TRY(resolve(s, path));
    TRY(s->is_checkpoint ? read_checkpoint(s) : read_folder(s));
    TRY(read_config(s));
    if (!s->shape.lm && s->temperature > 0)
        TRY(source_set_heads(s, &s->stored));           /* config.json says so too */
    TRY(read_tokenizer(s));
done:
    if (rc != RL_OK)
        source_close(s);
    return rc;
}

int source_open_start(struct source *s, const struct config *c, const char *path)
{
    int rc = source_open(s, path);

    s->random = strcmp(c->model_init, "random") == 0 && strcmp(path, c->model) == 0;
    s->seed = (uint64_t)c->seed;
    return rc;
}

void source_close(struct source *s)
{
    tokenizer_close(s->tokenizer);
    s->tokenizer = NULL;
    for (int i = 0; i < SOURCE_FILES; i++)
        text_free(&s->files[i].text);
}

static bool same_shape(const struct array *a, const struct array *b)
{
    bool same = a->dims == b->dims && a->dtype == b->dtype;

    for (int d = 0; same && d < a->dims; d++)
        same = a->shape[d] == b->shape[d];
    return same;
}

/* Arrays in the folder, without those to be skipped. */
static int count_arrays(struct checkpoint *c, const char *folder, const char *const *skip)
{
    size_t prefix = strlen(folder);
    int there = 0;

    for (int i = 0; i < checkpoint_count(c); i++) {
        const char *name = checkpoint_array(c, i)->name;
        bool counts = strncmp(name, folder, prefix) == 0 && name[prefix] == '/';
        for (const char *const *s = skip; s && *s && counts; s++)
            counts = strcmp(name + prefix + 1, *s) != 0;
        there += counts;
    }
    return there;
}

int checkpoint_load_arrays(struct checkpoint *c, const char *path, const char *folder,
                           const struct array *arrays, int n, const char *const *skip, float *flat)
{
    int rc = RL_OK, there = count_arrays(c, folder, skip);

    if (there != n)
        return rl_error(RL_EINVAL, "%s: %d arrays in '%s' where the model has %d: a checkpoint of "
                        "another model", path, there, folder, n);
    for (int i = 0; i < n; i++) {
        char name[ARRAY_NAME + 16];
        snprintf(name, sizeof name, "%s/%s", folder, arrays[i].name);
        int at = checkpoint_find(c, name);
        if (at < 0)
            return rl_error(RL_EINVAL, "%s: no array '%s': a checkpoint of another model", path,
                            name);
        if (!same_shape(checkpoint_array(c, at), &arrays[i]))
            return rl_error(RL_EINVAL,
                            "%s: array '%s' has another shape: a checkpoint of another model", path,
                            name);
        TRY(checkpoint_read(c, at, 0, arrays[i].size, flat + arrays[i].offset));
    }
done:
    return rc;
}

/* Does the model have the score head that the files hold? */
static bool same_scores(const struct source *s)
{
    return s->shape.scores == s->stored.scores &&
           verdict_same(&s->shape.verdict, &s->stored.verdict);
}

/* The arrays to be read, into list (n): of a score head that the files do not have none.  New users
 * follow those of the files, who are read into the first rows. */
static int list_arrays(const struct source *s, const struct model *m, struct array *list)
{
    int n, kept = 0;
    const struct array *arrays = model_arrays(m, &n);

    for (int i = 0; i < n; i++) {
        if (model_is_score(arrays[i].name) && !same_scores(s))
            continue;
        list[kept] = arrays[i];
        if (strcmp(arrays[i].name, PAL_USERS) == 0 &&
            s->stored.verdict.users < s->shape.verdict.users) {
            list[kept].shape[0] = (size_t)s->stored.verdict.users;
            list[kept].size = list[kept].shape[0] * list[kept].shape[1];
        }
        kept++;
    }
    return kept;
}

/* Tensors of the files that the model has no use for. */
static void list_skipped(const struct source *s, const char *skip[6])
{
    int n = 0;

    if (s->stored.lm && !s->shape.lm)
        skip[n++] = "lm_head.weight";
    if (!same_scores(s)) {
        skip[n++] = SCORE_WEIGHT;
        skip[n++] = PAL_PROTOTYPES;
        skip[n++] = PAL_USERS;
        skip[n++] = GPM_SCALE;
    }
    skip[n] = NULL;
}

static void start_scores(const struct source *s, struct model *m)
{
    model_randomize_scores(m, s->heads.seed, s->heads.random ? 1 / sqrt(s->shape.C + 1.0) : 0);
}

/* The trunk and the heads that the files hold as the model has them; a new score head starts. */
static int load(const struct source *s, struct model *m)
{
    const char *skip[6];
    struct checkpoint *c = NULL;
    struct array *list;
    int n, rc = RL_OK;

    model_arrays(m, &n);
    list = calloc((size_t)n, sizeof *list);
    if (!list)
        return rl_error(RL_ENOFIT, "no memory for the list of %d arrays", n);
    n = list_arrays(s, m, list);
    list_skipped(s, skip);
    start_scores(s, m);
    if (s->is_checkpoint) {
        TRY(checkpoint_open(&c, s->path));
        TRY(checkpoint_load_arrays(c, s->path, "weights", list, n, skip, model_weights(m)));
    } else {
        TRY(safetensors_load(s->path, list, n, s->shape.tied, skip));
    }
    model_changed(m);
done:
    checkpoint_close(c);
    free(list);
    return rc;
}

void source_draw(const struct source *s, struct model *m)
{
    source_draw_part(s, m, 0, model_size(&s->shape));
    source_drawn(s, m);
}

void source_draw_part(const struct source *s, struct model *m, size_t begin, size_t end)
{
    model_randomize_part(m, s->seed, 0.02, begin, end);
}

void source_drawn(const struct source *s, struct model *m)
{
    start_scores(s, m);                 /* and repacks */
}

/* Elements of all arrays in the files. */
static int count_elements(const struct source *s, size_t *elements)
{
    struct safetensors *files = NULL;
    struct checkpoint *c = NULL;
    int rc = RL_OK;

    *elements = 0;
    if (s->is_checkpoint) {
        TRY(checkpoint_open(&c, s->path));
        for (int i = 0; i < checkpoint_count(c); i++)
            *elements += checkpoint_array(c, i)->size;
    } else {
        TRY(safetensors_open(&files, s->path));
        for (int i = 0; i < safetensors_count(files); i++)
            *elements += safetensors_array(files, i)->size;
    }
done:
    checkpoint_close(c);
    safetensors_close(files);
    return rc;
}

/* Before any memory is taken; names of tensors come later. */
static int check_size(const struct source *s)
{
    size_t there, asked = model_size(&s->shape);
    int rc = RL_OK;

    TRY(count_elements(s, &there));
    if (asked / 2 > there)
        rc = rl_error(RL_EINVAL, "%s: config.json describes %zu weights, but the files hold %zu",
                      s->path, asked, there);
done:
    return rc;
}

int source_model(struct model **m, const struct source *s, struct compute *compute)
{
    int rc = RL_OK;

    *m = NULL;
    if (!s->random)
        TRY(check_size(s));
    TRY(model_create(m, &s->shape, compute));
    if (!s->random)
        TRY(load(s, *m));
done:
    if (rc != RL_OK) {
        model_destroy(*m);
        *m = NULL;
    }
    return rc;
}

bool source_draws_alike(const struct source *a, const struct source *b)
{
    const struct model_shape *x = &a->shape, *y = &b->shape;

    return a->random && b->random && a->seed == b->seed && strcmp(a->path, b->path) == 0 &&
           x->lm && y->lm && x->scores == 0 && y->scores == 0;
}

/* A file's text by its name. */
static const struct text *file_of(const struct source *s, const char *name)
{
    for (int i = 0; i < SOURCE_FILES; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i].text;
    return NULL;
}

int source_chat(struct chat **chat, const struct source *s, const struct config *c)
{
    int rc = RL_OK;

    TRY(chat_of_files(chat, s->path, file_of(s, "chat_template.jinja"),
                      file_of(s, "tokenizer_config.json"), file_of(s, "special_tokens_map.json")));
    if (!c)
        return RL_OK;
    chat_system(*chat, c->system);
    rc = chat_day(*chat, c->chat_date, "chat_date");
done:
    return rc;
}

int source_stop(struct stop_strings **stop, const struct source *s, const struct config *c)
{
    char what[4200];

    *stop = NULL;
    for (int i = 0; i < c->stop_tokens.count; i++)
        if (c->stop_tokens.items[i] >= s->shape.V)
            return rl_error(RL_EINVAL, "%s: stop_tokens: there is no id %d; the model's are 0 to "
                            "%d", config_where(c, "stop_tokens"), c->stop_tokens.items[i],
                            s->shape.V - 1);
    snprintf(what, sizeof what, "%s: stop", config_where(c, "stop"));
    return stop_strings_open(stop, s->tokenizer, c->stop.items, c->stop.count, what);
}
