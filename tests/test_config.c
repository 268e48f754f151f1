/* The configuration: every key, defaults, files that are included, text that reads back. */
#include "tests/config_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"

/* ---- what is read ---- */

static void test_five_keys_are_enough(void **state)
{
    struct config *c = read_more("");

    (void)state;
    assert_non_null(c);
    assert_string_equal(c->refmodel, "m");
    assert_string_equal(c->dpo.pairing, "best_worst");
    assert_string_equal(c->dpo.loss, "sigmoid");
    assert_string_equal(c->rewards[0].name, "words");
    assert_string_equal(c->rewards[0].words.items[1], "kind");
    assert_int_equal(c->n_rewards, 1);
    assert_has(c->rewards[0].where, "/run.cfg:4");
    assert_true(c->rewards[0].weight == 1 && c->rewards[0].target == -1);
    assert_true(c->lr == 5e-7 && c->beta == 0.1 && c->temperature == 0.9 && c->top_p == 1);
    assert_true(c->adam.beta1 == 0.9 && c->adam.beta2 == 0.95 && c->adam.eps == 1e-8);
    assert_true(c->steps == 100 && c->prompts_per_step == 16 && c->samples_per_prompt == 4);
    assert_true(c->max_new == 64 && c->reduction_leaves == 8 && c->micro_rows == 16);
    assert_true(c->checkpoint_every == 20 && c->keep_last == 2);
    assert_true(c->log_samples == 8 && c->threads == 1 && c->deadline == 600);
    assert_true(c->shuffle && !c->recompute && c->n_ranks == 0 && !c->eval_prompts);
    assert_string_equal(config_where(c, "lr"), "default");
    assert_has(config_where(c, "prompts"), "/run.cfg:3");
    config_close(c);
    config_close(NULL);
}

static void test_every_kind_of_value_is_read(void **state)
{
    struct config *c = read_more(
        "steps = 0x10; seed = 9000000000; micro_rows = 0xF4240L; lr = 1;"
        " beta = .5; shuffle = False; stop_tokens = [7, 0x10]; stop = \"a\\n\";\n"
        "text = [\"a\"];  eval_text = \"b\"; # a comment at the end\n"
        "dpo = { loss = \"ipo\"; pairing : \"all\" }\n"
        "/* a\n comment */ eval_prompts = \"caf\\xC3\\xA9 \\\"q\\\" \\\\d\\d\" \"+\"; // x\n"
        "ranks = ( { count = 2; roles = [\"actor\"]; },\n { roles = (\"learner\", \"reward\",\n"
        "\"refmodel\"); } );");

    (void)state;
    assert_non_null(c);
    assert_true(c->steps == 16 && c->seed == 9000000000 && c->micro_rows == 1000000);
    assert_true(c->lr == 1 && c->beta == 0.5);
    assert_false(c->shuffle);
    assert_true(c->stop_tokens.count == 2 && c->stop_tokens.items[1] == 16);
    assert_string_equal(c->stop.items[0], "a\n");
    assert_string_equal(c->text.items[0], "a");
    assert_string_equal(c->eval_text.items[0], "b");
    assert_string_equal(c->dpo.loss, "ipo");
    assert_string_equal(c->dpo.pairing, "all");
    assert_string_equal(c->eval_prompts, "caf\xc3\xa9 \"q\" \\d\\d+");
    assert_int_equal(c->n_ranks, 2);
    assert_true(c->ranks[0].count == 2 && c->ranks[0].roles == ROLE_ACTOR);
    assert_true(c->ranks[1].count == 1 && c->ranks[1].roles == (ROLE_ALL & ~ROLE_ACTOR));
    assert_true(c->ranks[0].line == 11 && c->ranks[1].line == 12);
    assert_has(config_where(c, "dpo.loss"), ":8");
    config_close(c);
    c = read_more("seed = 0x1000000001;");
    assert_non_null(c);
    assert_true(c->seed == 0x1000000001);
    assert_string_equal(role_name(ROLE_REFMODEL), "refmodel");
    config_close(c);
}

/* The file's word counts more than the method's. */
static void test_methods_have_defaults_of_their_own(void **state)
{
    static const struct { const char *more, *loss; double beta, nll, smoothing, gamma; } rows[] = {
        { "", "sigmoid", 0.1, 0, 0, 1.375 },
        { "algorithm = \"simpo\";", "simpo", 2.5, 0, 0, 1.375 },
        { "algorithm = \"simpo\"; beta = 0.3;", "simpo", 0.3, 0, 0, 1.375 },
        { "dpo = { loss = \"ln_dpo\"; };", "ln_dpo", 5, 0, 0, 1.375 },
        { "algorithm = \"cpo\";", "cpo", 0.1, 1, 0, 1.375 },
        { "algorithm = \"slic\"; dpo = { nll = 0.0; };", "slic", 0.1, 0, 0, 1.375 },
        { "algorithm = \"apo\";", "apo_zero", 0.1, 0, 0, 1.375 },
        { "algorithm = \"cdpo\";", "sigmoid", 0.1, 0, 0.1, 1.375 },
        { "algorithm = \"amopo\";", "simpo", 0.8, 0, 0, 0 },
        { "algorithm = \"amopo\"; dpo = { loss = \"orpo\"; };", "orpo", 0.8, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config *c;
        struct text text = { 0 };
        if (!strstr(rows[i].more, "algorithm"))
            text_adds(&text, "algorithm = \"dpo\";");
        text_addf(&text, "model = \"m\"; output = \"o\"; %s", rows[i].more);
        assert_ok(open_text(&c, text.data, none, 0));
        assert_string_equal(c->dpo.loss, rows[i].loss);
        assert_true(c->beta == rows[i].beta && c->dpo.nll == rows[i].nll);
        assert_true(c->dpo.label_smoothing == rows[i].smoothing && c->dpo.gamma == rows[i].gamma);
        config_close(c);
        text_free(&text);
    }
}

static void test_pairing_of_two_samples_is_pair(void **state)
{
    struct config *c = read_more("samples_per_prompt = 2;");

    (void)state;
    assert_non_null(c);
    assert_string_equal(c->dpo.pairing, "pair");
    config_close(c);
}

static void test_lm_needs_only_text(void **state)
{
    struct config *c;

    (void)state;
    assert_ok(open_text(&c, "algorithm = \"lm\"; model = \"m\"; output = \"o\"; text = \"a.txt\";",
                        none, 0));
    assert_int_equal(c->text.count, 1);
    config_close(c);
}

static void test_arguments_win_over_the_file(void **state)
{
    char *arguments[] = {
        "steps=7", "lr=1e-4", "dpo.loss=hinge", "shuffle=false", "prompts=../shared/a-b.jsonl.gz",
        "text=[\"a\",\"b\"]", "ranks=({count=2;roles=[\"actor\"];},{roles=\"learner\";})",
        "rewards=({kind=\"length\";},{kind=\"regex\";pattern=\"a+\";weight=-2;})", "model=a b",
        "output=\"runs/y\"", "adam={eps_mode=\"tf\"; beta1=0.8;}", "lr=2e-4", "eval_prompts=./x",
    };
    struct config *c = read_arguments(sizeof arguments / sizeof arguments[0], arguments);

    (void)state;
    assert_non_null(c);
    assert_true(c->steps == 7 && c->lr == 2e-4 && !c->shuffle && c->adam.beta1 == 0.8);
    assert_string_equal(c->dpo.loss, "hinge");
    assert_string_equal(c->prompts, "../shared/a-b.jsonl.gz");
    assert_string_equal(c->eval_prompts, "./x");
    assert_string_equal(c->model, "a b");
    assert_string_equal(c->output, "runs/y");
    assert_string_equal(c->adam.eps_mode, "tf");
    assert_true(c->text.count == 2 && c->n_ranks == 2 && c->n_rewards == 2);
    assert_true(c->rewards[1].weight == -2);
    assert_string_equal(c->rewards[0].where, "argument");
    assert_string_equal(c->rewards[1].pattern, "a+");
    assert_string_equal(config_where(c, "steps"), "argument");
    config_close(c);
}

static void test_include_keeps_file_and_line(void **state)
{
    const char *folder = support_folder();
    const char *base = support_write(folder, "base.cfg", "# base\n\nsteps = 5;\nlr = 1e-3;");
    struct text text = {0};
    struct config *c;

    (void)state;
    text_addf(&text, FIVE_KEYS "  @include \"%s\"\nmax_new = 3;\n", base);
    assert_ok(config_open(&c, support_write(folder, "run.cfg", text.data), none, 0));
    assert_true(c->steps == 5 && c->max_new == 3);
    assert_has(config_where(c, "lr"), "/base.cfg:4");
    assert_has(config_where(c, "max_new"), "/run.cfg:7");
    config_close(c);
    text_addf(&text, "stesp = 1;");
    assert_int_equal(config_open(&c, support_write(folder, "run.cfg", text.data), none, 0),
                     RL_EINVAL);
    assert_one_line("/run.cfg:8: unknown key 'stesp'; did you mean 'steps'?");
    support_write(folder, "base.cfg", "\nsteps = 0;");
    assert_int_equal(config_open(&c, support_path(folder, "run.cfg"), none, 0), RL_EINVAL);
    assert_one_line("/base.cfg:2: steps: 0 is out of range (1 to 2147483647)");
    text_free(&text);
}

static void test_bad_includes_name_the_line(void **state)
{
    const char *folder = support_folder(), *run = support_path(folder, "run.cfg");
    struct text text = {0};
    struct config *c;

    (void)state;
    text_addf(&text, "\n@include \"%s\"\n", run);                /* itself */
    support_write(folder, "run.cfg", text.data);
    assert_int_equal(config_open(&c, run, none, 0), RL_EINVAL);
    assert_one_line("run.cfg:2: @include");
    assert_one_line("does a file include itself?");
    text_clear(&text);
    text_addf(&text, "@include \"%s\"\n", folder);
    support_write(folder, "run.cfg", text.data);
    assert_int_equal(config_open(&c, run, none, 0), RL_EINVAL);
    assert_one_line("it is a folder");
    support_write(folder, "run.cfg", "@include \"/no/such.cfg\"\n");
    assert_int_equal(config_open(&c, run, none, 0), RL_EINVAL);
    assert_one_line("run.cfg:1: @include \"/no/such.cfg\": No such file or directory");
    support_write(folder, "run.cfg", "@include base.cfg\n");
    assert_int_equal(config_open(&c, run, none, 0), RL_EINVAL);
    assert_one_line("expected @include \"file\"");
    text_free(&text);
}

static void test_files_that_are_none_are_named(void **state)
{
    const char *folder = support_folder();
    struct config *c;

    (void)state;
    assert_int_equal(config_open(&c, "/no/such.cfg", none, 0), RL_EINVAL);
    assert_one_line("cannot read /no/such.cfg: No such file");
    assert_null(c);
    assert_int_equal(config_open(&c, folder, none, 0), RL_EINVAL);
    assert_one_line("Is a directory");
    assert_int_equal(config_open(&c, support_write(folder, "e", ""), none, 0), RL_EINVAL);
    assert_one_line("missing key 'algorithm'");
}

/* ---- text ---- */

static char clipped[] = "rewards=({kind=\"words\";words=\"happy\";},{kind=\"regex\";pattern=\"a\";"
                        "clip=(-1,2.5); servers=[\"http://a\",\"http://b\"];})";

static void test_text_of_the_text_is_equal(void **state)
{
    const char *path = support_path(support_folder(), "config.cfg");
    struct config *c = read_arguments(1, (char *[]){ clipped }), *again;
    struct text first = {0}, second = {0};

    assert_non_null(c);
    assert_true(c->rewards[0].clip.count == 0 && c->rewards[1].servers.count == 2);
    assert_true(c->rewards[1].clip.items[0] == -1 && c->rewards[1].clip.items[1] == 2.5);
    config_text(c, &first);
    assert_ok(config_save(c, path));
    config_close(c);
    assert_ok(config_open(&again, path, none, 0));
    config_text(again, &second);
    assert_string_equal(first.data, second.data);
    config_close(again);
    text_clear(&first);
    text_clear(&second);
    c = read_more(everything);

    (void)state;
    assert_non_null(c);
    config_text(c, &first);
    assert_ok(config_save(c, path));
    assert_ok(config_open(&again, path, none, 0));
    assert_string_equal(again->eval_prompts, c->eval_prompts);
    assert_true(again->lr_min == 3.3e-5 && again->ranks[0].count == 3 && again->n_ranks == 2);
    assert_string_equal(again->rewards[0].words.items[0], "happy");
    assert_true(again->stop_tokens.count == 2 && again->stop_tokens.items[0] == 2);
    assert_string_equal(again->stop.items[0], "\n\n");
    assert_string_equal(again->stop.items[1], "\"");
    config_text(again, &second);
    assert_string_equal(first.data, second.data);
    assert_ok(config_compatible(again, first.data, "runs/x/config.cfg"));
    config_close(c);
    config_close(again);
    text_free(&first);
    text_free(&second);
}

static void test_a_run_keeps_what_is_part_of_the_numbers(void **state)
{
#define EARLIER "but the run in runs/x/config.cfg has "
    static const struct { char *argument; const char *message; } changes[] = {
        { "steps=200", NULL }, { "threads=2", NULL }, { "output=elsewhere", NULL },
        { "ranks=({roles=\"actor\";})", NULL }, { "micro_rows=4", NULL },
        { "rewards={kind=\"words\";words=[\"happy\",\"kind\"];timeout=5;}", NULL },
        { "lr=1e-5", "argument: lr is 1e-05, " EARLIER "5e-07; it is fixed" },
        { "seed=2", "seed is 2, " EARLIER "1" },
        { "dpo.loss=ipo", "dpo.loss is \"ipo\", " EARLIER "\"sigmoid\"" },
        { "reduction_leaves=4", "reduction_leaves is 4" },
        { "rewards={kind=\"words\";words=\"happy\";}",
          "argument: rewards[0].words is [\"happy\"], " EARLIER "[\"happy\", \"kind\"]; it is" },
        { "rewards=({kind=\"words\";words=[\"happy\",\"kind\"];},{kind=\"length\";})",
          "argument: the number of groups of rewards is 2, " EARLIER "1; it is fixed" },
    };
    struct config *c = read_more("");
    struct text earlier = {0};

    (void)state;
    assert_non_null(c);
    config_text(c, &earlier);
    config_close(c);
    log_quiet(true);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        c = read_arguments(1, (char *[]){ changes[i].argument });
        assert_non_null(c);
        assert_int_equal(config_compatible(c, earlier.data, "runs/x/config.cfg"),
                         changes[i].message ? RL_EINVAL : RL_OK);
        if (changes[i].message)
            assert_one_line(changes[i].message);
        config_close(c);
    }
    c = read_more("");
    assert_int_equal(config_compatible(c, "nonsense", "runs/x/config.cfg"), RL_EINVAL);
    assert_one_line("runs/x/config.cfg");
    log_quiet(false);
    config_close(c);
    text_free(&earlier);
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    print(out);
    fclose(out);
    return text;
}

static void test_help_names_every_key_within_a_line(void **state)
{
    char *help = printed(config_help);
    struct config *c = read_more("");
    struct text text = {0};

    (void)state;
    assert_has(help, "  prompts_per_step         prompts sampled a step, or records read\n");
    assert_has(help, "[constant, linear, cosine] default: constant");
    config_text(c, &text);
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
        if (strlen(line) > 120)
            fail_msg("too long for a terminal: %s", line);
    config_close(c);
    text_free(&text);
    free(help);
}

/* docs/config.md is made from the table: REGENERATE=1 writes it, otherwise it must be equal. */
static void test_docs_are_those_of_the_table(void **state)
{
    char *made = printed(config_markdown);
    struct text kept = {0};

    (void)state;
    if (getenv("REGENERATE"))
        assert_ok(file_write("docs/config.md", made, strlen(made)));
    assert_ok(file_read("docs/config.md", &kept));
    if (strcmp(made, kept.data) != 0)
        fail_msg("docs/config.md is old: REGENERATE=1 build/tests/test_config");
    free(made);
    text_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_keys_are_enough),
        cmocka_unit_test(test_every_kind_of_value_is_read),
        cmocka_unit_test(test_methods_have_defaults_of_their_own),
        cmocka_unit_test(test_pairing_of_two_samples_is_pair),
        cmocka_unit_test(test_lm_needs_only_text),
        cmocka_unit_test(test_arguments_win_over_the_file),
        cmocka_unit_test(test_include_keeps_file_and_line),
        cmocka_unit_test(test_bad_includes_name_the_line),
        cmocka_unit_test(test_files_that_are_none_are_named),
        cmocka_unit_test(test_text_of_the_text_is_equal),
        cmocka_unit_test(test_a_run_keeps_what_is_part_of_the_numbers),
        cmocka_unit_test(test_help_names_every_key_within_a_line),
        cmocka_unit_test(test_docs_are_those_of_the_table),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
