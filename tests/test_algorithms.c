/* What an algorithm asks of its configuration: one line that names file, line and key. */
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/status.h"
#include "learner/internal.h"
#include "tests/support.h"

/* algorithm_check of a file of these lines; the message stays for the caller. */
static int check(const char *lines)
{
    struct config *c;
    struct text text = { 0 };
    int rc;

    text_addf(&text, "model = \"m\";\noutput = \"o\";\n%s\n", lines);
    assert_ok(config_open(&c, support_write(support_folder(), "run.cfg",
                                          text.data), NULL, 0));
    rc = algorithm_check(c);
    config_close(c);
    text_free(&text);
    return rc;
}

#define SFT "algorithm = \"sft\"; pairs = [\"p\"];\n"
#define PAIRS "pairs = [\"p\"]; algorithm = \""
#define DPO "algorithm = \"online_dpo\"; prompts = \"p\"; rewards = { kind = \"words\"; };\n"

#define POLICY(name) "algorithm = \"" name "\"; prompts = \"p\"; rewards = { kind = \"words\"; };\n"

#define ORCHESTRATED(name) \
    "orchestrator = { model = \"o\"; }; prompts = \"p\"; algorithm = \"" name "\";\n"
#define TWO "rewards = ({ kind = \"words\"; name = \"a\"; }, { kind = \"length\"; });"

static const struct { const char *lines, *message; } mistakes[] = {
    { POLICY("ppo") "ppo = { advantage = \"gaee\"; };", "run.cfg:4: ppo.advantage: there is no" },
    { POLICY("ppo") "ppo = { ratio = \"response\"; };", "run.cfg:4: ppo.ratio: one ratio" },
    { POLICY("ppo") "ppo = { ptx_coef = 1.0; };", "run.cfg:4: ppo.ptx_coef: trains on text" },
    { POLICY("ppo") "ppo = { critic = \"shared\"; critic_lr = 0.1; };",
      "run.cfg:4: ppo.critic_lr" },
    { POLICY("ppo") "ppo = { minibatches = 65; };", "run.cfg:4: ppo.minibatches: 65 of 64" },
    { POLICY("grpo") "ppo = { lambda = 0.5; };", "run.cfg:4: ppo.lambda: algorithm \"grpo\" as "
      "it is set does not read it (only with ppo.advantage = gae); remove it" },
    { POLICY("dapo") "ppo = { kl_coef = 0.5; };", "run.cfg:4: ppo.kl_coef: algorithm \"dapo\" as "
      "it is set does not read it (only with ppo.kl_in = reward, loss); remove it" },
    { POLICY("rloo") "ppo = { whiten_rewards = true; };", "run.cfg:4: ppo.whiten_rewards" },
    { POLICY("rloo") "samples_per_prompt = 1;", "run.cfg:4: samples_per_prompt: advantage rloo" },
    { "algorithm = \"online_dbo\";", "run.cfg:3: algorithm: there is no 'online_dbo'; the nearest "
                                     "is 'online_dpo'" },
    { "algorithm = \"lm\";", "run.cfg: missing key 'text'" },
    { "algorithm = \"online_dpo\";", "run.cfg: missing key 'prompts'" },
    { "algorithm = \"online_dpo\"; prompts = \"p\";", "run.cfg: missing key 'rewards'" },
    { "algorithm = \"online_dpo\"; prompts = \"p\"; rewards = ();", "missing key 'rewards'" },
    { DPO "samples_per_prompt = 1;", "run.cfg:4: samples_per_prompt: online_dpo compares" },
    { DPO "dpo = { pairing = \"pair\"; };", "run.cfg:4: dpo.pairing: \"pair\" needs "
                                            "samples_per_prompt = 2, which is 4 (default)" },
    { DPO "source = \"pairs\";", "run.cfg: missing key 'pairs'" },
    { "algorithm = \"sft\";", "run.cfg: missing key 'pairs'" },
    { SFT "source = \"prompts\";", "run.cfg:4: source: sft cannot learn from prompts" },
    { "algorithm = \"lm\"; source = \"pairs\"; text = \"t\";", "source: lm cannot learn from "
      "pairs" },
    { DPO "temperature = 0;", "run.cfg:4: temperature: online_dpo samples" },
    { PAIRS "simpo\"; dpo = { loss = \"hinge\"; };", "run.cfg:3: dpo.loss: simpo minimises "
      "\"simpo\", not \"hinge\"; leave it out" },
    { PAIRS "mapl\"; source = \"prompts\"; prompts = \"p\"; rewards = { kind = \"words\"; };",
      "run.cfg:3: source: mapl is about the prompts of records" },
    { PAIRS "spa\"; source = \"prompts\"; prompts = \"p\";", "refmodel: spa labels its own" },
    { PAIRS "bco\"; bco = { udm = true; udm_min = 11; };", "bco.udm_min: 11 is more than" },
    { PAIRS "bco\"; bco = { udm = true; }; source = \"prompts\"; prompts = \"p\"; rewards = "
      "{ kind = \"words\"; };", "bco.udm: it compares the prompts of labelled records" },
    { PAIRS "amopo\";", "run.cfg: missing key 'raco.weights'" },
    { PAIRS "amopo\"; raco = { weights = [0.5, 0.6]; };", "raco.weights: they sum to 1.1" },
    { PAIRS "modpo\"; raco = { weights = [0.0, 1.0]; };", "raco.weights: that of modpo.obj" },
    { DPO "dpo = { loss = \"ipo\"; label_smoothing = 0.1; };",
      "run.cfg:4: dpo.label_smoothing: smooths dpo.loss = \"sigmoid\" only; it is \"ipo\"" },
    { "algorithm = \"grpo\"; prompts = \"p\"; rewards = { kind = \"judge\"; };",
      "run.cfg:3: rewards[0]: a judge is tested on held-out pairs before anything is "
      "learned from it: set eval_pairs, or osp.gate = false" },
    { "algorithm = \"online_dpo\"; prompts = \"p\"; rewards = { kind = \"judge\"; };\n"
      "dpo = { loss = \"simpo\"; }; osp = { judge = \"frozen\"; };",
      "run.cfg:4: osp.judge: a frozen judge is refmodel, and online_dpo as it is set has none" },
    { DPO "dpo = { epsilon = 0.3; };",
      "(only with dpo.loss = rdpo)" },
    { "algorithm = \"osp\"; prompts = \"p\";\nosp = { gate = false; }; "
      "dpo = { loss = \"ipo\"; };",
      "run.cfg:4: dpo.loss: algorithm \"osp\" as it is set does not read it" },
    { "algorithm = \"osp\"; prompts = \"p\";\nosp = { gate = false; };\n"
      "dpo = { missing_eos_penalty = 1; };",
      "run.cfg:5: dpo.missing_eos_penalty: algorithm \"osp\"" },
    { ORCHESTRATED("online_dpo") "rewards = { kind = \"words\"; };",
      "run.cfg:3: orchestrator.model: one reward needs no weights" },
    { ORCHESTRATED("online_dpo") TWO "source = \"pairs\"; pairs = [\"p\"];",
      "run.cfg:3: orchestrator.model: it weighs the rewards of sampled responses, and online_dpo" },
    { ORCHESTRATED("lm") "text = [\"t\"];", "orchestrator.model: it weighs the rewards" },
    { ORCHESTRATED("orchestrator") TWO,
      "run.cfg:3: orchestrator.model: orchestrator does not learn from a weighted sum" },
    { ORCHESTRATED("osp") TWO "osp = { gate = false; };",
      "run.cfg:3: orchestrator.model: osp does not learn from a weighted sum" },
    { ORCHESTRATED("raco") TWO "raco = { weights = [0.5, 0.5]; };",
      "run.cfg:4: raco.weights: orchestrator.model weighs the objectives" },
    { "algorithm = \"kto\"; pairs = \"p\";\ndpo = { missing_eos_penalty = 1; };",
      "run.cfg:4: dpo.missing_eos_penalty: algorithm \"kto\" as it is set does not" },
    { POLICY("grpo") "ppo = { gamma = 0.9; };", "run.cfg:4: ppo.gamma: algorithm \"grpo\" as it "
      "is set does not read it (only with ppo.advantage = gae, reinforce_pp)" },
    { POLICY("rloo") "ppo = { group_std = \"population\"; };", "(only with ppo.advantage = grpo)" },
    { POLICY("ppo") "raco = { c = 0.3; };", "(only with raco.combine = raco, cagrad)" },
    { POLICY("raco") "raco = { weights = [1.0]; combine = \"cagrad\"; clip = false; };",
      "run.cfg:4: raco.clip: algorithm \"raco\" as it is set" },
    { POLICY("pcgrad") "raco = { weights = [1.0]; rescale = \"linear\"; };", "raco.rescale: " },
    { POLICY("online_dpo") "osp = { average = \"probability\"; };", "(only with algorithm = osp)" },
    { POLICY("online_dpo") "ppo = { epochs = 3; };", "(only with algorithm = ppo, rloo, grpo, " },
    { POLICY("ppo") "pairs = \"p\";", "run.cfg:4: pairs: algorithm \"ppo\" as it is set does "
      "not read it (only with source = pairs)" },
    { POLICY("ppo") "text = \"t\";", "(only with algorithm = lm or ppo.ptx_coef above 0)" },
    { PAIRS "amopo\"; raco = { weights = [1.0]; c = 0.3; };", "run.cfg:3: raco.c: " },
    { PAIRS "dpo\"; samples_per_prompt = 8;", "(only with source = prompts)" },
    { PAIRS "dpo\"; dpo = { nll_of = \"sum\"; };", "(only with dpo.nll above 0)" },
    { PAIRS "pal\"; reward_model = { center = 0.1; };",
      "(only with algorithm = reward_model, more)" },
    { PAIRS "simpo\"; ref = { update = \"ema\"; };", "(only with an algorithm or dpo.loss that "
      "has a reference model)" },
    { POLICY("grpo") "osp = { decay = 0.5; };", "(only with a reward of kind \"judge\")" },
    { POLICY("ppo") "lr_min = 1e-9;", "(only with schedule = linear, cosine)" },
    { POLICY("ppo") "join = \" \";", "run.cfg:4: join: algorithm \"ppo\" as it is set does not "
      "read it (only with pairs or eval_pairs); remove it" },
    { POLICY("ppo") "append_eos = false;", "(only with pairs or eval_pairs)" },
    { POLICY("ppo") "bad_records = \"drop\";", "(only with pairs or eval_pairs)" },
    { POLICY("ppo") "mix = \"in_turn\"; eval_pairs = [\"e\"];", "(only with source = pairs)" },
    { POLICY("ppo") "row_tokens = 8;", "(only with algorithm = lm, ppo.ptx_coef above 0 or e" },
    { SFT "beta = 3;", "run.cfg:4: beta: algorithm \"sft\" as it is set does not read it" },
    { POLICY("ppo") "beta = 0.5; ppo = { kl_in = \"none\"; };", "run.cfg:4: beta: " },
    { POLICY("ppo") "beta = 0.5; ppo = { kl_coef = 0.2; };", "run.cfg:4: beta: " },
    { PAIRS "dpo\"; max_new = 3;", "(only with prompts or eval_prompts)" },
    { PAIRS "dpo\"; temperature = 0.5;", "(only with prompts or eval_prompts)" },
    { POLICY("online_dpo") "dpo = { loss = \"simpo\"; }; refmodel = \"r\";", "refmodel: algor" },
    { POLICY("grpo") "ppo = { tis = \"token\"; };", "(only with max_lag = 1)" },
};

static void test_each_mistake_is_one_line(void **state)
{
    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        if (check(mistakes[i].lines) != RL_EINVAL)
            fail_msg("\"%s\" is accepted", mistakes[i].lines);
        if (!strstr(status_message(), mistakes[i].message))
            fail_msg("\"%s\" does not say \"%s\"", status_message(), mistakes[i].message);
        status_drop();
    }
    status_hold(false);
}

static void test_what_is_needed_is_enough(void **state)
{
    (void)state;
    assert_ok(check(DPO));
    assert_ok(check(POLICY("ppo") "samples_per_prompt = 1;"));
    assert_ok(check(POLICY("reinforce_pp") "samples_per_prompt = 1;"));
    assert_ok(check(SFT));
    assert_ok(check("algorithm = \"online_dpo\"; source = \"pairs\"; pairs = [\"p\"];"));
    assert_ok(check("algorithm = \"lm\"; text = \"a.txt\";"));
    assert_ok(check(PAIRS "ipo\"; dpo = { loss = \"ipo_sum\"; };"));
    assert_ok(check(PAIRS "lcpo\"; dpo = { loss = \"simpo\"; };"));
    assert_ok(check("algorithm = \"spa\"; source = \"prompts\"; prompts = \"p\";\n"
                    "refmodel = \"r\";"));
    assert_ok(check(POLICY("ppo") "lr_min = 1e-9; schedule = \"cosine\"; refmodel = \"r\";"));
    assert_ok(check(POLICY("ppo") "eval_pairs = [\"e\"]; join = \" \"; append_eos = false;\n"
                    "bad_records = \"drop\"; eval_text = [\"t\"]; row_tokens = 8;"));
    assert_ok(check(SFT "eval_pairs = [\"e\"]; beta = 3; refmodel = \"r\"; mix = \"in_turn\";"));
    assert_ok(check(POLICY("ppo") "ppo = { ptx_coef = 1; }; text = [\"t\"]; row_tokens = 8;"));
    assert_ok(check(PAIRS "dpo\"; eval_prompts = \"e\"; max_new = 3; top_k = 9; top_p = 0.5;"));
    assert_ok(check(POLICY("dr_grpo") "refmodel = \"r\";"));        /* of kl/ref */
    assert_ok(check(POLICY("online_dpo") "dpo = { loss = \"simpo\"; }; refmodel = \"r\"; "
                    "eval_prompts = \"e\";"));
    assert_ok(check(POLICY("dr_grpo") "beta = 0.2; ppo = { kl_in = \"loss\"; };"));
    assert_ok(check(POLICY("grpo") "max_lag = 1; ppo = { tis = \"token\"; tis_max = 3; };"));
}

/* Every method that says which losses it may have gets one of them without being told. */
static void test_a_method_has_its_loss(void **state)
{
    (void)state;
    for (const struct algorithm *a = algorithms; a->name; a++) {
        struct text lines = { 0 };
        if (a->source == SOURCE_PAIRS) {
            bool several = strcmp(a->name, "modpo") == 0 || strcmp(a->name, "amopo") == 0;
            text_addf(&lines, PAIRS "%s\"; %s", a->name,
                      several ? "raco = { weights = [1.0]; };" : "");
            assert_ok(check(lines.data));
        }
        text_free(&lines);
    }
}

/* config.cfg of a run holds every key, those of other algorithms too, as they are by themselves. */
static void test_every_key_as_it_is_by_itself_is_fine(void **state)
{
    (void)state;
    for (const struct algorithm *a = algorithms; a->name; a++) {
        struct text lines = { 0 }, all = { 0 };
        struct config *c, *again;
        const char *rows = a->source == SOURCE_PROMPTS ? "prompts = \"p\";"
                           : a->source == SOURCE_PAIRS ? "pairs = \"p\";" : "text = \"t\";";
        char *arguments[] = { "rewards=({kind=\"words\";},{kind=\"length\";})",
                              "raco.weights=[0.5,0.5]" };
        bool weighs = a->method == &method_raco || a->method == &method_objectives;

        text_addf(&lines, "algorithm = \"%s\"; model = \"m\"; output = \"o\"; %s %s", a->name, rows,
                  strcmp(a->name, "osp") == 0 ? "osp = { gate = false; };" : "");
        assert_ok(config_open(&c, support_write(support_folder(), "run.cfg", lines.data), arguments,
                              strcmp(a->name, "osp") == 0 ? 0 : weighs ? 2 : 1));
        assert_ok(algorithm_check(c));
        config_text(c, &all);
        assert_ok(config_open(&again, support_write(support_folder(), "config.cfg", all.data), NULL,
                              0));
        assert_ok(algorithm_check(again));
        config_close(again);
        config_close(c);
        text_free(&all);
        text_free(&lines);
    }
}

/* A file is for its algorithm; where an argument has chosen another, its keys may wait. */
static void test_keys_for_another_algorithm_are_left_out(void **state)
{
    const char *file = support_write(support_folder(), "run.cfg", "model = \"m\"; output = \"o\";\n"
                                     POLICY("raco") "raco = { weights = [1.0]; c = 0.3; };\n");
    char *arguments[] = { "algorithm=mgda", "raco.rescale=linear" };
    struct config *c;

    (void)state;
    assert_ok(config_open(&c, file, arguments, 1));
    assert_ok(algorithm_check(c));
    assert_true(c->raco.c == 0.4 && strcmp(config_where(c, "raco.c"), "default") == 0);
    config_close(c);
    assert_ok(config_open(&c, file, arguments, 2));
    status_hold(true);
    assert_int_equal(algorithm_check(c), RL_EINVAL);
    assert_non_null(strstr(status_message(), "argument: raco.rescale: algorithm \"mgda\""));
    status_drop();
    status_hold(false);
    config_close(c);
}

/* What only samples need has no place in training on text, and is left out with its prompts. */
static void test_what_is_about_samples_is_left_out(void **state)
{
    const char *file = support_write(support_folder(), "run.cfg", "model = \"m\"; output = \"o\";\n"
                                     POLICY("ppo") "max_new = 9; temperature = 0.5;\n"
                                     "refmodel = \"r\"; samples_per_prompt = 8; beta = 0.3;\n"
                                     "max_lag = 1; ppo = { tis = \"token\"; };\n");
    char *text[] = { "algorithm=lm", "text=a.txt", "eval_prompts=e" };
    char *other[] = { "ppo.kl_in=none", "max_lag=0" };
    struct config *c;

    (void)state;
    assert_ok(config_open(&c, file, text, 2));
    assert_ok(algorithm_check(c));
    assert_true(!c->prompts && c->n_rewards == 0 && c->max_new == 64 && c->temperature == 0.9);
    assert_true(c->samples_per_prompt == 4 && c->beta == 0.1 && strcmp(c->refmodel, "m") == 0);
    config_close(c);
    assert_ok(config_open(&c, file, text, 3));
    assert_ok(algorithm_check(c));
    assert_true(!c->prompts && c->n_rewards == 1 && c->max_new == 9 && c->temperature == 0.5);
    assert_true(c->samples_per_prompt == 4 && strcmp(c->refmodel, "r") == 0);
    config_close(c);
    assert_ok(config_open(&c, file, other, 2));
    assert_ok(algorithm_check(c));
    assert_true(c->beta == 0.1 && strcmp(c->ppo.tis, "off") == 0 && c->max_new == 9);
    config_close(c);
}

/* An included file that names no algorithm is for all that include it. */
static void test_an_included_file_may_have_keys_for_all(void **state)
{
    const char *folder = support_folder(), *base;
    struct text lines = { 0 };
    struct config *c;

    (void)state;
    base = support_write(folder, "base.cfg", "raco = { c = 0.3; };\nppo = { epochs = 4; };\n");
    text_addf(&lines, "@include \"%s\"\nmodel = \"m\"; output = \"o\";\n" POLICY("grpo"), base);
    assert_ok(config_open(&c, support_write(folder, "run.cfg", lines.data), NULL, 0));
    assert_ok(algorithm_check(c));
    assert_true(c->ppo.epochs == 4 && c->raco.c == 0.4);
    config_close(c);
    text_free(&lines);
}

static void test_names_are_all_there_once(void **state)
{
    struct text names = { 0 };

    (void)state;
    algorithm_names(&names, ", ");
    for (const struct algorithm *a = algorithms; a->name; a++) {
        assert_ptr_equal(algorithm_find(a->name), a);
        assert_non_null(strstr(names.data, a->name));
    }
    assert_null(algorithm_find("online"));
    text_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_mistake_is_one_line),
        cmocka_unit_test(test_what_is_needed_is_enough),
        cmocka_unit_test(test_a_method_has_its_loss),
        cmocka_unit_test(test_every_key_as_it_is_by_itself_is_fine),
        cmocka_unit_test(test_keys_for_another_algorithm_are_left_out),
        cmocka_unit_test(test_what_is_about_samples_is_left_out),
        cmocka_unit_test(test_an_included_file_may_have_keys_for_all),
        cmocka_unit_test(test_names_are_all_there_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
