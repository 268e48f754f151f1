/* A model's chat template: from which file, with which special tokens; conversations as prompts. */
#include "tests/letter_prompts.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/chat.h"

#define TEMPLATE                                                                                   \
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"                            \
    "{% if add_generation_prompt %}<e>{% endif %}"

/* The text of messages by the files of a folder (NULL: none), or what is said instead. */
static const char *render(const char *jinja, const char *config, const char *tokens,
                          const char *system, const char *messages, bool more)
{
    static const char *const names[] = { "chat_template.jinja", "tokenizer_config.json",
                                         "special_tokens_map.json" };
    static char out[600];
    const char *const texts[] = { jinja, config, tokens };
    struct json *m = json_parse(messages, strlen(messages), "messages");
    struct text text = { 0 };
    struct chat *chat;
    char folder[4000];
    int rc;

    snprintf(folder, sizeof folder, "%s/model", support_folder());
    mkdir(folder, 0777);
    for (int i = 0; i < 3; i++) {
        remove(support_path(folder, names[i]));
        if (texts[i])
            support_write(folder, names[i], texts[i]);
    }
    text_adds(&text, "");
    rc = chat_open(&chat, folder);
    if (rc == RL_OK) {
        chat_system(chat, system);
        rc = chat_render(chat, m, &(struct chat_how){ .add_generation_prompt = more }, &text);
    }
    if (rc != RL_OK) {
        text_adds(&text, status_message());
        status_drop();
    }
    snprintf(out, sizeof out, "%s", text.data);
    chat_close(chat);
    text_free(&text);
    json_free(m);
    return out;
}

static void test_the_template_is_found(void **state)
{
    const char *m = "[{\"role\":\"user\",\"content\":\"ab\"}]";

    (void)state;
    assert_string_equal(render("J{{ messages[0].content }}", "{\"chat_template\":\"C\"}", NULL,
                               NULL, m, false), "Jab");
    assert_string_equal(render(NULL, "{\"chat_template\":\"C\"}", NULL, NULL, m, false), "C");
    assert_string_equal(render(NULL, "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"R\"},"
                               "{\"name\":\"default\",\"template\":\"D\"}]}", NULL, NULL, m, false),
                        "D");
}

static void test_special_tokens_are_variables(void **state)
{
    const char *t = "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token is defined }}";
    const char *map = "{\"bos_token\":{\"content\":\"<m>\"}}";

    (void)state;
    assert_string_equal(render(t, NULL, NULL, NULL, "[]", false), "|||False");
    assert_string_equal(render(t, "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},"
                               "\"add_bos_token\":true,\"unk_token\":null,\"pad_token\":\"p\"}",
                               NULL, NULL, "[]", false), "<s>|</s>|p|False");
    assert_string_equal(render(t, "{\"bos_token\":\"<s>\"}", map, NULL, "[]", false),
                        "<m>|||False");
    assert_string_equal(render(t, "{\"bos_token\":\"<s>\",\"added_tokens_decoder\":{}}", map, NULL,
                               "[]", false), "<s>|||False");
}

static void test_a_system_message_is_put_before(void **state)
{
    const char *t = "{{ messages|map(attribute='content')|join('-') }}";

    (void)state;
    assert_string_equal(render(t, NULL, NULL, "\"é\"", "[{\"role\":\"user\",\"content\":\"a\"}]",
                               false), "\"é\"-a");
    assert_string_equal(render(t, NULL, NULL, "be", "[{\"role\":\"system\",\"content\":\"s\"}]",
                               false), "s");
    assert_string_equal(render(t, NULL, NULL, "be", "[]", false), "be");
    assert_string_equal(render(t, NULL, NULL, "", "[]", false), "");
}

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    assert_has(render(NULL, NULL, NULL, NULL, "[]", false), "/model: no chat template there");
    assert_has(render(NULL, "{}", NULL, NULL, "[]", false), "/model: no chat template there");
    assert_has(render(NULL, "{\"chat_template\":1}", NULL, NULL, "[]", false),
               "/model/tokenizer_config.json: chat_template is no string, nor");
    assert_has(render(NULL, "{\"chat_template\":\"\\n{{\"}", NULL, NULL, "[]", false),
               "/model/tokenizer_config.json: chat_template:2: a tag without its end");
    assert_has(render("\n{% do %}", NULL, NULL, NULL, "[]", false),
               "/model/chat_template.jinja:2: the tag 'do' is not supported");
    assert_has(render("x", "[]", NULL, NULL, "[]", false),
               "tokenizer_config.json is no JSON object");
    assert_has(render("x", "{", NULL, NULL, "[]", false), "tokenizer_config.json:1: bad JSON");
}

static void test_a_day_is_told_to_those_who_ask(void **state)
{
    struct text jinja = { 0 }, out = { 0 };
    struct chat *chat;

    (void)state;
    text_adds(&jinja, "{{ strftime_now('%A %d %b %Y') if strftime_now is defined else 'none' }};");
    assert_ok(chat_of_files(&chat, "model", &jinja, NULL, NULL));
    assert_int_equal(chat_day(chat, "2026-11-31x", "chat_date"), RL_EINVAL);
    assert_string_equal(status_message(),
                        "chat_date: '2026-11-31x' is no day; one is written 2026-11-28");
    status_drop();
    for (int i = 0; i < 3; i++) {
        struct json *none = json_parse("[]", 2, "messages");
        assert_ok(chat_day(chat, i == 0 ? NULL : i == 1 ? "2026-11-28" : "", "chat_date"));
        assert_ok(chat_render(chat, none, &(struct chat_how){ 0 }, &out));
        json_free(none);
    }
    assert_string_equal(out.data, "none;Saturday 28 Nov 2026;none;");
    chat_close(chat);
    text_free(&jinja);
    text_free(&out);
}

/* ---- conversations as prompts */

static struct chat *letters_chat(const char *template, const char *system)
{
    struct text jinja = { 0 }, config = { 0 };
    struct chat *chat;

    text_adds(&jinja, template);
    text_adds(&config, "{\"bos_token\":\"<s>\"}");
    assert_ok(chat_of_files(&chat, "model", &jinja, &config, NULL));
    chat_system(chat, system);
    text_free(&jinja);
    text_free(&config);
    return chat;
}

static void test_conversations_are_prompts(void **state)
{
    const char *path = write_plain("chat.jsonl",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}],\"right\":\"c\"}\n"
        "{\"prompt\":\"ab\",\"messages\":[{\"role\":\"user\",\"content\":\"cc\"}]}\n"
        "{\"prompt_ids\":[3],\"messages\":7}\n");
    struct chat *chat = letters_chat(TEMPLATE, "d");
    struct prompts *p;

    (void)state;
    assert_ok(prompts_open(&p, path, t, chat, 91, 9, false));
    chat_close(chat);                            /* it is not needed any more */
    assert_ids(p, 0, (int[]) { 1, 5, 2, 3, 7 }, 5);         /* one bos, <e> as a token */
    assert_ids(p, 1, (int[]) { 1, 2, 3 }, 3);
    assert_ids(p, 2, (int[]) { 3 }, 1);
    assert_string_equal(prompts_text(p, 0), "<s>dab<e>");
    assert_string_equal(prompts_text(p, 1), "ab");
    assert_string_equal(json_string(json_get(prompts_fields(p, 0), "right"), ""), "c");
    prompts_close(p);
}

static void check_refused(const char *template, const char *says)
{
    const char *path = write_plain("chat.jsonl", "\n{\"messages\":[{\"content\":\"ab\"}]}\n");
    struct chat *chat = letters_chat(template, NULL);
    struct prompts *p;

    assert_int_equal(prompts_open(&p, path, t, chat, 91, 3, false), RL_EINVAL);
    assert_has(status_message(), says);
    assert_null(strchr(status_message(), '\n'));
    status_drop();
    chat_close(chat);
}

static void test_refused_conversations_name_both_lines(void **state)
{
    (void)state;
    check_refused("\n{{ raise_exception('no') }}",
                  "chat.jsonl:2: model/chat_template.jinja:2: the template refuses");
    check_refused("\n{% do %}", "chat.jsonl:2: model/chat_template.jinja:2: the tag 'do'");
    check_refused("", "chat.jsonl:2: model: no chat template there");
    check_refused(" ", "chat.jsonl:2: the tokenizer knows no part of the prompt");
    check_refused("abcd", "chat.jsonl:2: the prompt has 4 tokens and at most 3 fit");
}

static void test_a_template_that_nobody_asks_for_may_be_wrong(void **state)
{
    struct chat *chat = letters_chat("{% do %}", NULL);
    struct prompts *p;

    (void)state;
    assert_ok(prompts_open(&p, write_plain("p.jsonl", "{\"prompt\":\"a\"}\n"), t, chat, 91, 9,
                           false));
    prompts_close(p);
    chat_close(chat);
}

static int setup(void **state)
{
    support_hold(state);
    return open_letters(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_template_is_found),
        cmocka_unit_test(test_special_tokens_are_variables),
        cmocka_unit_test(test_a_system_message_is_put_before),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_a_day_is_told_to_those_who_ask),
        cmocka_unit_test(test_conversations_are_prompts),
        cmocka_unit_test(test_refused_conversations_name_both_lines),
        cmocka_unit_test(test_a_template_that_nobody_asks_for_may_be_wrong),
    };

    return cmocka_run_group_tests(tests, setup, close_letters);
}
