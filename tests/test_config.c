/* The configuration: every key, every mistake in one line, text that reads back. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/config.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"

#ifdef SANITIZED
/* libconfig forgets a string when a syntax error follows it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}
#endif

#define FIVE_KEYS                                                                                  \
    "algorithm = \"online_dpo\";\nmodel = \"m\";\nprompts = \"p.jsonl\";\n"                        \
    "rewards = { kind = \"words\"; words = (\"happy\", \"kind\"); };\noutput = \"runs/x\";\n"

static char *none[1];

static int open_text(struct config **c, const char *text, char *const *arguments, int n)
{
    return config_open(c, support_write(support_folder(), "run.cfg", text), arguments, n);
}

/* The five keys, then `more`; NULL and a message on error. */
static struct config *read_more(const char *more)
{
    struct text text = {0};
    struct config *c;

    text_adds(&text, FIVE_KEYS);
    text_adds(&text, more);
    open_text(&c, text.data, none, 0);
    text_free(&text);
    return c;
}

static struct config *read_arguments(int n, char *const *arguments)
{
    struct config *c;

    open_text(&c, FIVE_KEYS, arguments, n);
    return c;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}

static void assert_one_line(const char *part)
{
    assert_has(status_message(), part);
    assert_null(strchr(status_message(), '\n'));
}

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
        " beta = .5; shuffle = False;\n"
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

/* ---- mistakes: text after the five keys (line 6 on), and what the line must say ---- */

static const struct { const char *text, *message; } mistakes[] = {
    { "\npromtps_per_step = 4;", "run.cfg:7: unknown key 'promtps_per_step'; "
                                 "did you mean 'prompts_per_step'?" },
    { "pairing = \"all\";", "run.cfg:6: unknown key 'pairing'; did you mean 'dpo.pairing'?" },
    { "dpo = {\n los = \"ipo\"; };", "run.cfg:7: unknown key 'dpo.los'; did you mean 'dpo.loss'?" },
    { "adam = { zzzzzzzzzz = 1; };", "the keys of adam are beta1 beta2 eps weight_decay eps_mode" },
    { "adma = { beta1 = 0.5; };", "unknown key 'adma'; did you mean 'adam'?" },
    { "dqo = { clip = 0.2; };", "unknown key 'dqo'; did you mean 'dpo'?" },
    { "schedule = \"\";", "schedule: '' is not one of" },
    { "qqqqqqqqqqqqq = 4;", "see rankwise train --help" },
    { "steps = \"ten\";", "run.cfg:6: steps: expected an integer, got \"ten\"" },
    { "steps = 10.0;", "steps: expected an integer, got a number with a fraction" },
    { "steps = true;", "steps: expected an integer, got true or false" },
    { "lr = \"1e-4\";", "lr: expected a number, got \"1e-4\"" },
    { "eval_prompts = 4;", "expected a string, got an integer (put it in \"quotes\")" },
    { "eval_prompts = [\"a\"];", "expected a string, got a list" },
    { "shuffle = 1;", "shuffle: expected true or false, got an integer" },
    { "dpo = \"ipo\";", "dpo: expected a group" },
    { "lr = { a = 1; };", "lr: expected a number, got a group" },
    { "text = [1, 2];", "text: expected a list of strings, got an integer" },
    { "text = (\"a\", 2.5);", "text: expected a list of strings" },
    { "raco = { weights = [0.5,\n\"a\"]; };", "run.cfg:7: raco.weights: expected a list of "
      "numbers, got \"a\"" },
    { "text = [\"a\");", "run.cfg:6: ')' closes '['" },
    { "seed = -1;", "seed: -1 is out of range (0 to 9007199254740991)" },
    { "max_lag = 2;", "max_lag: 2 is out of range (0 to 1)" },
    { "top_p = 0.0;", "top_p: 0 is out of range" },
    { "lr = 11;", "lr: 11 is out of range (0 to 10)" },
    { "lr = 1e999;", "run.cfg:6: the number 1e999 is too big" },
    { "lr = nan;", "run.cfg:6: syntax error" },
    { "lr = .;", "bad number '.'" },
    { "seed = 99999999999999999999;", "run.cfg:6: the number 99999999999999999999 is too big" },
    { "seed = -9000000000000000000;", "seed: -9000000000000000000 is out of range" },
    { "seed = 0x1fffffffffffffffffL;", "too big" },
    { "steps = 100max_new = 3;", "bad number '100max_new'" },
    { "schedule = \"sine\";", "schedule: 'sine' is not one of: constant, linear, cosine" },
    { "device = \"cpu-\";", "device: 'cpu-' is not one of" },
    { "steps = 1;\nsteps = 2;", "run.cfg:7: key given twice near 'steps = 2;'" },
    { "dpo = { nll = 1; };\ndpo = { nll = 2; };", "run.cfg:7: key given twice near 'dpo" },
    { "steps = ;", "run.cfg:6: syntax error near 'steps = ;'" },
    { "steps 3;", "run.cfg:6: syntax error" },
    { "dpo.loss = \"ipo\";", "run.cfg:6: 'dpo.' with a dot is for the command line" },
    { "\n/* no end", "run.cfg:7: the comment that begins here does not end" },
    { "\noutput2 = \"no end\n", "run.cfg:7: the string that begins here does not end" },
    { "eval_prompts = \"a\\x00b\";", "zero byte" },
    { "a = ((((((((((((((((((1))))))))))))))))));", "brackets inside each other" },
    { "reduction_leaves = 12;", "run.cfg:6: reduction_leaves: 12 is not a power of two" },
    { "reduction_leaves = 2048;", "reduction_leaves: 2048 is out of range (1 to 1024)" },
    { "temperature = -0.5;", "temperature: -0.5 is out of range" },
    { "lr_min = 0.5;", "run.cfg:6: lr_min: 0.5 is more than lr = 5e-07" },
    { "ranks = ( { count = 1; } );", "run.cfg:6: ranks: a group needs roles" },
    { "ranks = (\n{ roles = [\"actr\"]; } );", "run.cfg:7: roles: 'actr' is not one of: actor, " },
    { "ranks = ( { roles = []; } );", "roles: name at least one of" },
    { "ranks = ( { count = 0; roles = \"actor\"; } );", "count: 0 is out of range" },
    { "ranks = 4;", "ranks: expected a list of groups" },
};

static void test_each_mistake_is_one_line_with_file_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct config *c = read_more(mistakes[i].text);
        if (c)
            fail_msg("accepted: %s", mistakes[i].text);
        assert_one_line(mistakes[i].message);
    }
}

static void test_reward_mistakes_are_named(void **state)
{
    static const struct { const char *reward, *message; } bad[] = {
        { "{ words = \"a\"; }", "run.cfg:5: rewards: a reward needs a kind" },
        { "{ kind = \"words\"; wieght = 2; }", "run.cfg:5: unknown key 'rewards.wieght'; did you "
                                               "mean 'weight'?" },
        { "({ kind = \"words\"; },\n{ kind = \"words\"; })", "run.cfg:6: rewards: two are named" },
        { "{ kind = \"length\"; unit = \"bytes\"; }", "unit: 'bytes' is not one of: tokens" },
        { "{ kind = \"length\"; name = \"a/b\"; }", "the name 'a/b' is not of" },
        { "(\"words\")", "rewards: expected a list of groups" },
        { "{ kind = \"words\"; cap = -1; }", "cap: -1 is out of range" },
        { "{ kind = \"words\"; clip = 5; }", "clip: expected two numbers, [low, high]" },
        { "{ kind = \"words\"; clip = [2, 1]; }", "clip: expected two numbers, [low, high]" },
        { "{ kind = \"words\"; clip = (0, \"x\"); }", "clip: expected a list of numbers" },
        { "{ kind = \"words\"; clip = [-1e31, 0.0]; }", "clip: -1e+31 is out of range" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct text text = {0};
        struct config *c;
        text_addf(&text, "algorithm = \"online_dpo\";\nmodel = \"m\";\nprompts = \"p\";\n"
                         "output = \"o\";\nrewards = %s;\n", bad[i].reward);
        assert_int_equal(open_text(&c, text.data, none, 0), RL_EINVAL);
        assert_one_line(bad[i].message);
        text_free(&text);
    }
}

static void test_missing_keys_are_named(void **state)
{
    static const char *lines[] = { "algorithm = \"online_dpo\";", "model = \"m\";",
                                   "output = \"o\";", "prompts = \"p\";",
                                   "rewards = { kind = \"words\"; };" };
    static const char *keys[] = { "algorithm", "model", "output" };

    (void)state;
    for (int without = 0; without < 3; without++) {
        struct text text = {0}, message = {0};
        struct config *c;
        for (int i = 0; i < 5; i++)
            text_adds(&text, i == without ? "\n" : lines[i]);
        text_addf(&message, "run.cfg: missing key '%s': ", keys[without]);
        assert_int_equal(open_text(&c, text.data, none, 0), RL_EINVAL);
        assert_one_line(message.data);
        text_free(&text);
        text_free(&message);
    }
}

static void test_argument_mistakes_name_the_argument(void **state)
{
    static const struct { char *argument; const char *message; } bad[] = {
        { "steps", "argument 'steps': expected key=value" },
        { "=3", "argument '=3': expected key=value" },
        { "stepps=3", "argument 'stepps=3': unknown key 'stepps'; did you mean 'steps'?" },
        { "steps=many", "argument 'steps=many': steps: expected an integer, got \"many\"" },
        { "steps=0", "argument 'steps=0': steps: 0 is out of range" },
        { "lr=nan", "argument 'lr=nan': lr: expected a number" },
        { "dpo.los=ipo", "did you mean 'dpo.loss'?" },
        { "rewards.weight=2", "a list is given whole" },
        { "text=[\"a\"", "argument 'text=[\"a\"': text: syntax error" },
        { "raco.weights=[0.5,\"a\"]", "raco.weights: expected a list of numbers, got \"a\"" },
        { "output=\"x\" \"; y", "syntax error" },
        { "model=", "missing key 'model'" },
        { "steps=1; lr=2", "steps: expected an integer" },
        { "output=7", "output: expected a string, got an integer (put it in \"quotes\")" },
        { "steps=99999999999999999999", "steps: expected an integer" },
        { "shuffle=maybe", "shuffle: expected true or false" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config *c = read_arguments(1, (char *[]){ bad[i].argument });
        if (c)
            fail_msg("accepted: %s", bad[i].argument);
        assert_one_line(bad[i].message);
    }
}

static void test_zero_bytes_in_a_file_are_refused(void **state)
{
    const char *path = support_path(support_folder(), "run.cfg");
    struct config *c;

    (void)state;
    assert_ok(file_write(path, "steps\n=\0 1;", 11));
    assert_int_equal(config_open(&c, path, none, 0), RL_EINVAL);
    assert_one_line("run.cfg:2: a zero byte");
}

/* ---- text ---- */

static const char everything[] =
    "steps = 20; seed = 9007199254740991; lr = 1e-3; lr_min = 3.3e-5; shuffle = false;\n"
    "eval_prompts = \"tab\\t quote\\\" back\\\\ line\\n bell\\x07 \xc3\xa9\";"
    " text = [\"a\", \"b c\"];\n"
    "dpo = { loss = \"hinge\"; nll = 0.1; }; adam = { eps_mode = \"tf\"; };\n"
    "ranks = ( { count = 3; roles = [\"actor\", \"learner\"]; }, { roles = [\"reward\"]; } );\n";

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
        { "rewards={kind=\"words\";words=\"happy\";}", "rewards is ({ kind" },
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

/* ---- hostile input ---- */

static void mutate(struct text *t, uint32_t round)
{
    static const char tokens[] = "{}[]()\",;:=#/*\\.@-+0x9L eE\n\x80\xffinclude";
    struct counter c = { .purpose = PURPOSE_TEST, .step = round };

    for (c.position = 0; c.position < 1 + round % 5; c.position++) {
        uint32_t w[4];
        size_t at;
        random_words(&c, w);
        at = w[0] % t->size;
        if (w[1] % 8 == 0)
            t->data[t->size = at ? at : 1] = 0;
        else
            t->data[at] = w[1] % 8 < 6 ? tokens[w[2] % (sizeof tokens - 1)] : (char)w[3];
    }
}

static void test_mutated_files_and_arguments_are_read_or_refused(void **state)
{
    const char *path = support_path(support_folder(), "fuzz.cfg");
    int good = 0;

    (void)state;
    for (uint32_t round = 0; round < 2000; round++) {
        struct text text = {0}, value = {0};
        struct config *c;
        int rc;
        text_adds(&text, FIVE_KEYS);
        text_adds(&text, everything);
        text_adds(&value, round & 1 ? "rewards=({kind=\"words\";words=[\"a\"];},{kind=\"x\";})"
                                    : "dpo={loss=\"ipo\";nll=0.25;}");
        mutate(&text, round);
        mutate(&value, round + 100000);
        remove(path);       /* writing over a file makes some file systems wait for the disk */
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(text.data, 1, text.size, file);
        fclose(file);
        rc = config_open(&c, path, &value.data, (int)(round / 2 % 2));
        if (rc != RL_OK && rc != RL_EINVAL)
            fail_msg("round %u: %d: %s", round, rc, status_message());
        if (rc == RL_EINVAL)
            assert_one_line(":");
        good += rc == RL_OK;
        config_close(c);
        text_free(&text);
        text_free(&value);
    }
    assert_true(good > 20 && good < 1900);      /* both sides were reached */
}

static int hold(void **state)
{
    (void)state;
    status_hold(true);
    return 0;
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
        cmocka_unit_test(test_each_mistake_is_one_line_with_file_and_line),
        cmocka_unit_test(test_reward_mistakes_are_named),
        cmocka_unit_test(test_missing_keys_are_named),
        cmocka_unit_test(test_argument_mistakes_name_the_argument),
        cmocka_unit_test(test_zero_bytes_in_a_file_are_refused),
        cmocka_unit_test(test_text_of_the_text_is_equal),
        cmocka_unit_test(test_a_run_keeps_what_is_part_of_the_numbers),
        cmocka_unit_test(test_help_names_every_key_within_a_line),
        cmocka_unit_test(test_docs_are_those_of_the_table),
        cmocka_unit_test(test_mutated_files_and_arguments_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, hold, NULL);
}
