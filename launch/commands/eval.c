/* rankwise eval CONFIG: how good a model is on held-out prompts, pairs and text, how far from its
 * reference, and how often it beats another; alone or under mpirun. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/eval/eval.h"
#include "launch/options.h"

#define START_DEADLINE 60.0      /* seconds, of a start without a configuration */

static bool json;
static const char *model;

static const struct option_row options[] = {
    { "json", OPTION_FLAG, &json, NULL, "one JSON object instead of a table" },
    { "model", OPTION_TEXT, &model, "MODEL",
      "a folder, checkpoint or run (default: the run in `output`, else `model`)" },
    { 0 },
};

void help_eval(FILE *out)
{
    options_help(options, out);
    fputs("\nintervals are of 95 %: Wilson's for shares, bootstrap over prompts for means\n"
          "keys of CONFIG, also key=value and group.key=value on the command line: eval_prompts,\n"
          "eval_pairs, eval_text, rewards, eval, ...; see rankwise train --help\n", out);
}

static void add_path(struct text *line, const char *key, const struct seat *seat)
{
    if (!seat)
        return;
    text_addf(line, "%s\"%s\": ", line->size > 1 ? ", " : "", key);
    json_add_string(line, seat->source.path, strlen(seat->source.path));
}

static void add_number(struct text *line, const char *name, const char *more, double value)
{
    char key[256];

    snprintf(key, sizeof key, "%s%s", name, more);
    text_adds(line, ", ");
    json_add_string(line, key, strlen(key));
    text_adds(line, ": ");
    json_add_number(line, value);
}

/* {"model": .., "reference": .., "against": .., name: value, name/low: .., name/high: ..} */
static void print_json(const struct eval *e)
{
    struct text line = { 0 };

    text_adds(&line, "{");
    add_path(&line, "model", e->policy);
    add_path(&line, "reference", e->reference);
    add_path(&line, "against", e->other);
    add_path(&line, "judge", e->judge);
    for (int i = 0; i < e->n_figures; i++) {
        const struct figure *f = &e->figures[i];
        add_number(&line, f->name, "", f->value);
        if (f->sure) {
            add_number(&line, f->name, "/low", f->in.low);
            add_number(&line, f->name, "/high", f->in.high);
        }
    }
    text_adds(&line, "}\n");
    fwrite(line.data, 1, line.size, stdout);
    text_free(&line);
}

static void print_table(const struct eval *e)
{
    int width = 0;

    printf("model      %s\n", e->policy->source.path);
    if (e->reference)
        printf("reference  %s\n", e->reference->source.path);
    if (e->other)
        printf("against    %s\n", e->other->source.path);
    if (e->judge)
        printf("judge      %s\n", e->judge->source.path);
    for (int i = 0; i < e->n_figures; i++)
        width = (int)strlen(e->figures[i].name) > width ? (int)strlen(e->figures[i].name) : width;
    for (int i = 0; i < e->n_figures; i++) {
        const struct figure *f = &e->figures[i];
        printf("%-*s  %12.6g", width, f->name, f->value);
        if (f->sure)
            printf("   %.4g .. %.4g", f->in.low, f->in.high);
        puts("");
    }
}

static int evaluate_all(struct eval *e, const struct config *c, struct comm *world)
{
    int rc = RL_OK;

    comm_set_deadline(world, c->deadline);
    TRY(comm_agree(world, eval_open(e, c, world, model)));
    TRY(eval_prompts(e));
    TRY(eval_pairs(e));
    TRY(eval_text(e));
    if (e->n_figures == 0)
        TRY(comm_agree(world, rl_error(RL_EINVAL, "%s: nothing to evaluate on: give eval_prompts, "
                                       "eval_pairs or eval_text", c->path)));
    if (comm_rank(world) == 0 && json)
        print_json(e);
    if (comm_rank(world) == 0 && !json)
        print_table(e);
done:
    return rc;
}

int command_eval(int argc, char **argv)
{
    struct config *config = NULL;
    struct comm *world = NULL;
    struct eval e;
    int read, rc = RL_OK;

    memset(&e, 0, sizeof e);
    status_hold(comm_launched() >= 0);
    log_quiet(comm_launched() > 0);
    read = options_parse(options, &argc, argv);
    if (read == RL_OK && argc < 1)
        read = rl_error(RL_EINVAL, "eval needs a configuration file: rankwise eval CONFIG");
    if (read == RL_OK)
        read = config_open(&config, argv[0], argv + 1, argc - 1);
    TRY(comm_start_within(&world, config ? config->deadline : START_DEADLINE, &argc, &argv));
    log_quiet(comm_rank(world) != 0);
    TRY(comm_agree(world, read));
    rc = evaluate_all(&e, config, world);
done:
    if (rc == RL_ELOST && world) {
        status_print();
        comm_abort(world, status_exit_code(rc));
    }
    eval_close(&e);
    config_close(config);
    if (world)
        comm_stop(world);
    return rc;
}
