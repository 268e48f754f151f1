/* The configuration: every mistake is one line with file and line, whatever is in the file. */
#include "tests/config_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/random.h"

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
    { "stop_tokens = [2, 2.5];", "run.cfg:6: stop_tokens: expected a list of integers, got a "
      "number with a fraction" },
    { "stop_tokens = (2,\n\"</s>\");", "run.cfg:7: stop_tokens: expected a list of integers, got "
      "\"</s>\"" },
    { "stop_tokens = [-1];", "stop_tokens: -1 is out of range (0 to 2147483647)" },
    { "stop = 5;", "stop: expected a list of strings, got an integer" },
    { "text = [\"a\");", "run.cfg:6: ')' closes '['" },
    { "seed = -1;", "seed: -1 is out of range (0 to 9007199254740991)" },
    { "max_lag = 2;", "max_lag: 2 is out of range (0 to 1)" },
    { "top_p = 0.0;", "top_p: 0 is out of range" },
    { "ppo = { clip_low = -0.5; };", "ppo.clip_low: -0.5 is out of range (0 to 1000000000; -1: the "
      "algorithm's)" },
    { "ppo = { kl_coef = -0.5; };", "ppo.kl_coef: -0.5 is out of range (0 to 1000; -1: beta)" },
    { "ppo = { critic_lr = -1e-4; };", "ppo.critic_lr: -0.0001 is out of range (0 to 10; -1: lr)" },
    { "ppo = { overlong = -2.0; };", "ppo.overlong: -2 is out of range" },
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
    { "trace = true; trace_first = 5; trace_last = 2;",
      "run.cfg:6: trace_first: 5 is after trace_last = 2" },
    { "trace = true; steps = 6; trace_first = 7;",
      "run.cfg:6: trace_first: 7 is after the last step: steps = 6" },
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
        { "foo.bar=1", "unknown key 'foo.bar'; see rankwise train --help" },
        { "steps.x=1", "unknown key 'steps.x'; see rankwise train --help" },
        { "rl=1", "did you mean 'lr'?" },
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_mistake_is_one_line_with_file_and_line),
        cmocka_unit_test(test_reward_mistakes_are_named),
        cmocka_unit_test(test_missing_keys_are_named),
        cmocka_unit_test(test_argument_mistakes_name_the_argument),
        cmocka_unit_test(test_zero_bytes_in_a_file_are_refused),
        cmocka_unit_test(test_mutated_files_and_arguments_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
