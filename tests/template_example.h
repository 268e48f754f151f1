/* What the tests of chat templates share: a conversation, and what a template writes of it. */
#ifndef TESTS_TEMPLATE_EXAMPLE_H
#define TESTS_TEMPLATE_EXAMPLE_H

#include "tests/support.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "data/template.h"

static const char messages_text[] =
    "[{\"role\": \"user\", \"content\": \"Hé <b>\"}, {\"role\": \"assistant\", \"content\": null,"
    " \"calls\": [1, 2.0, -0.5, 1e20, true, null, \"x'y\"]},"
    " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"n\": {\"b\": 1,"
    " \"A\": 2}}]";

static struct text rendered;

/* The text of a template, or the message of its mistake. */
static inline const char *render(const char *source)
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

static inline void check_all(const struct example *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = render(all[i].source);
        if (strcmp(got, all[i].text) != 0)
            fail_msg("%s\n   writes '%s'\n  but is '%s'", all[i].source, got, all[i].text);
    }
}

#define CHECK(examples) check_all(examples, sizeof (examples) / sizeof *(examples))

#endif
