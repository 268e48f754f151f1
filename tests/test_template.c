/* Chat templates: each construct as Jinja has it, mistakes with their lines, limits, and the shared
 * templates with what they are to write. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "data/template.h"

static const char messages_text[] =
    "[{\"role\": \"user\", \"content\": \"Hé <b>\"}, {\"role\": \"assistant\", \"content\": null,"
    " \"calls\": [1, 2.0, -0.5, 1e20, true, null, \"x'y\"]},"
    " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"n\": {\"b\": 1,"
    " \"A\": 2}}]";

static struct text rendered;

/* The text of a template, or the message of its mistake. */
static const char *render(const char *source)
{
    static char said[600];
    struct json *messages = json_parse(messages_text, sizeof messages_text - 1, "messages");
    struct tm now = { .tm_year = 124, .tm_mon = 6, .tm_mday = 26 };
    struct template_settings settings = { .bos_token = "<s>", .now = &now };
    struct template *t;

    assert_non_null(messages);
    text_clear(&rendered);
    text_adds(&rendered, "");
    if (template_open(&t, source, strlen(source), "t.jinja") == RL_OK) {
        int rc = template_render(t, messages, &settings, &rendered);
        template_close(t);
        json_free(messages);
        if (rc == RL_OK)
            return rendered.data;
    } else {
        json_free(messages);
    }
    snprintf(said, sizeof said, "%s", status_message());
    status_drop();
    return said;
}

struct example { const char *source, *text; };

static void check_all(const struct example *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = render(all[i].source);
        if (strcmp(got, all[i].text) != 0)
            fail_msg("%s\n   writes '%s'\n  but is '%s'", all[i].source, got, all[i].text);
    }
}

#define CHECK(examples) check_all(examples, sizeof (examples) / sizeof *(examples))

/* ---- the shared templates */

static void check_case(const struct json *c, const char *folder, int line)
{
    const struct json *want = json_get(c, "expected");
    const char *name = json_string(json_get(c, "template"), "");
    struct tm now = { .tm_year = 124, .tm_mon = 6, .tm_mday = 26 };
    struct template_settings settings = {
        .add_generation_prompt = json_bool(json_get(c, "add_generation_prompt"), false),
        .bos_token = json_string(json_get(c, "bos_token"), NULL),
        .eos_token = json_string(json_get(c, "eos_token"), NULL), .now = &now,
    };
    struct text source = { 0 }, text = { 0 };
    struct template *t;
    int rc;

    assert_ok(file_read(support_path(folder, name), &source));
    if (template_open(&t, source.data, source.size, name) != RL_OK)
        fail_msg("%s", status_message());
    rc = template_render(t, json_get(c, "messages"), &settings, &text);
    if (json_is_object(want)) {
        assert_int_equal(rc, RL_EINVAL);
        assert_has(status_message(), json_string(json_get(want, "error"), "?"));
        status_drop();
    } else if (rc != RL_OK) {
        fail_msg("line %d: %s", line, status_message());
    } else if (strcmp(text.data ? text.data : "", json_string(want, "")) != 0) {
        fail_msg("line %d, %s:\n%s\nbut is\n%s", line, name, text.data, json_string(want, ""));
    }
    template_close(t);
    text_free(&text);
    text_free(&source);
}

static void test_the_shared_templates_write_what_they_are_to(void **state)
{
    const char *path = support_shared_path("data/chat_templates/cases.jsonl");
    struct text all = { 0 };
    char folder[4096];
    int lines = 0;

    (void)state;
    snprintf(folder, sizeof folder, "%s", support_shared_path("data/chat_templates"));
    assert_ok(file_read(path, &all));
    for (char *save, *l = strtok_r(all.data, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        struct json *c = json_parse(l, strlen(l), "cases.jsonl");
        assert_non_null(c);
        check_case(c, folder, ++lines);
        json_free(c);
    }
    assert_int_equal(lines, 95);
    text_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_shared_templates_write_what_they_are_to),
    };

    (void)check_all;
    (void)render;
    return cmocka_run_group_tests(tests, support_hold, NULL);
}
