/* Chat templates as a whole: mistakes with their lines, limits, what a render is told, and the
 * shared templates with what they are to write. */
#include "tests/template_example.h"

#include <stdlib.h>

#include "base/file.h"

/* ---- mistakes: each names its line and the construct */

static void test_what_cannot_be_read_names_line_and_construct(void **state)
{
    static const struct example all[] = {
        { "a\n{{ 1 +}}", "t.jinja:2: expected a value, not '}}'" },
        { "{{ 1 2 }}", "t.jinja:1: expected '}}', not a number" },
        { "\n\n{{ x", "t.jinja:3: a tag without its end, '}}'" },
        { "{% if x", "t.jinja:1: a tag without its end, '%}'" },
        { "\n{# x", "t.jinja:2: a comment without its end, '#}'" },
        { "{% raw %}x", "t.jinja:1: raw without its endraw" },
        { "{{ 'x }}", "t.jinja:1: a string without its end" },
        { "{{ '\\N{DASH}' }}", "t.jinja:1: the escape \\N is not supported" },
        { "{{ '\\ud800' }}", "t.jinja:1: an escape for a character that is none" },
        { "{{ '\\x4' }}", "t.jinja:1: an escape of 2 hexadecimal digits is cut short" },
        { "{{ 007 }}", "t.jinja:1: the number 007 is not supported" },
        { "{{ 99999999999999999999 }}",
          "t.jinja:1: the number 99999999999999999999 is not supported" },
        { "{{ (1] }}", "t.jinja:1: ']' closes nothing" },
        { "{{ a $ }}", "t.jinja:1: unexpected character '$'" },
        { "{{ é }}", "t.jinja:1: unexpected character 'é'" },
        { "\n{% if true %}\n{% for a in b %}\n{% endfor %}",
          "t.jinja:2: the template ends before endif" },
        { "{% endif %}", "t.jinja:1: the tag 'endif' is not supported" },
        { "{% for a in b %}\n{% endif %}", "t.jinja:2: the tag 'endif' is not supported" },
        { "{% include 'x' %}", "t.jinja:1: the tag 'include' is not supported" },
        { "{% do f() %}", "t.jinja:1: the tag 'do' is not supported" },
        { "{% block x %}{% endblock %}", "t.jinja:1: the tag 'block' is not supported" },
        { "{% 'x' %}", "t.jinja:1: expected a tag, not a string" },
        { "{% for a of b %}{% endfor %}", "t.jinja:1: expected 'in', not 'of'" },
        { "{% for a in b recursive %}{% endfor %}",
          "t.jinja:1: recursive loops are not supported" },
        { "{% break %}", "t.jinja:1: break outside of a loop" },
        { "{% for a in b %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}",
          "t.jinja:1: continue outside of a loop" },
        { "{% set 1 = 2 %}", "t.jinja:1: only names, or a namespace's, can be set" },
        { "{% set a.b.c = 2 %}", "t.jinja:1: expected '%}', not '.'" },
        { "{{ f(a=1, 2) }}", "t.jinja:1: an argument without a name behind one with a name" },
        { "{{ f(*a) }}", "t.jinja:1: an argument with * or ** before it is not supported" },
        { "{{ a is string is none }}", "t.jinja:1: one test with `is` behind another" },
        { "{{ a[] }}", "t.jinja:1: nothing between '[' and ']'" },
        { "{{ a. }}", "t.jinja:1: expected a name behind '.', not '}}'" },
        { "{% call 1 %}{% endcall %}", "t.jinja:1: call without a call of a macro" },
    };

    (void)state;
    CHECK(all);
}

static void test_what_cannot_be_rendered_names_line_and_construct(void **state)
{
    static const struct example all[] = {
        { "\n{{ 'a'|\nnothing }}", "t.jinja:3: the filter 'nothing' is not supported" },
        { "{{ 1 is nothing }}",
          "t.jinja:1: the test 'nothing' is not supported" },
        { "{{ 1 is odd(2) }}", "t.jinja:1: the test 'odd' with 1 arguments is not supported" },
        { "{{ 'a'.center(3) }}", "t.jinja:1: the method center of a string is not supported" },
        { "{{ messages.append(1) }}", "t.jinja:1: the method append of a list is not supported" },
        { "{{ 'a'.__class__ }}", "t.jinja:1: the attribute '__class__' is not supported" },
        { "{{ '%s' % 1 }}", "t.jinja:1: a string before % (formatting) is not supported" },
        { "{{ cycler(1) }}", "t.jinja:1: the function cycler is not supported" },
        { "{{ x.y }}", "t.jinja:1: 'x' is undefined, and so has no 'y'" },
        { "{{ messages[0].a.b }}", "t.jinja:1: 'a' is undefined, and so has no 'b'" },
        { "{{ x() }}", "t.jinja:1: 'x' is undefined, and cannot be called" },
        { "{{ 'a' + x }}", "t.jinja:1: 'x' is undefined, and stands beside +" },
        { "{{ 'a' + 1 }}", "t.jinja:1: + between a string and a int" },
        { "{{ x < 1 }}", "t.jinja:1: 'x' is undefined, and stands beside a comparison" },
        { "{{ 'a' < 1 }}", "t.jinja:1: no order between a string and a int" },
        { "{{ 1 in 5 }}", "t.jinja:1: a int has no elements to go through" },
        { "{{ 1 in 'a' }}", "t.jinja:1: `in` a string asks for a string, not a int" },
        { "{{ 5 // 0 }}", "t.jinja:1: division by zero" },
        { "{{ 9223372036854775807 + 1 }}",
          "t.jinja:1: the number 9223372036854775807 is not supported" },
        { "{{ 999999999999999999 * 99 }}",
          "t.jinja:1: an integer beyond 64 bits is not supported" },
        { "{{ 1[2:] }}", "t.jinja:1: a slice of a int" },
        { "{{ 'a'[::0] }}", "t.jinja:1: a slice with steps of zero" },
        { "{{ {[1]: 2} }}", "t.jinja:1: a list cannot be the key of a dict" },
        { "{{ x|tojson }}", "t.jinja:1: tojson: undefined is no JSON" },
        { "{{ [1]|map('string') }}", "t.jinja:1: writing a generator as text is not supported" },
        { "{{ [1]|map('string')|length }}", "t.jinja:1: a generator has no length" },
        { "{{ 'a'|replace('b') }}",
          "t.jinja:1: the filter replace: the argument 'new' is missing" },
        { "{{ 'a'|trim(1, 2) }}", "t.jinja:1: the filter trim takes at most 1 arguments, not 2" },
        { "{{ 'a'|trim(z=1) }}",
          "t.jinja:1: the filter trim: the argument 'z' is not supported" },
        { "{{ 'a'|e|trim }}", "t.jinja:1: trim of an escaped string is not supported" },
        { "{{ strftime_later() }}", "t.jinja:1: 'strftime_later' is undefined, and cannot be "
          "called" },
        { "{% macro f(a) %}{% endmacro %}\n{{ f(1, 2) }}",
          "t.jinja:2: f takes at most 1 arguments, not 2" },
        { "{% macro f(a) %}{% endmacro %}\n{{ f(b=2) }}",
          "t.jinja:2: f: there is no parameter 'b'" },
        { "{% set a, b = 1 %}", "t.jinja:1: a int has no elements to go through" },
        { "{% set a, b = [1, 2, 3] %}", "t.jinja:1: 2 names for 3 values" },
        { "{% set x = 1 %}{% set x.y = 1 %}",
          "t.jinja:1: 'x' is no namespace: only a namespace's attributes can be set" },
        { "{% set n = namespace() %}{% set n._x = 1 %}",
          "t.jinja:1: a namespace's names cannot begin with '_'" },
        { "a\n{{ raise_exception('no ' ~ 1) }}",
          "t.jinja:2: the template refuses the messages: no 1" },
    };

    (void)state;
    CHECK(all);
}

/* ---- limits */

static char *repeated(const char *before, const char *part, int n, const char *behind)
{
    struct text t = { 0 };

    text_adds(&t, before);
    for (int i = 0; i < n; i++)
        text_adds(&t, part);
    text_adds(&t, behind);
    return t.data;
}

static void check_limit(char *source, const char *says)
{
    assert_has(render(source), says);
    free(source);
}

static void test_a_template_cannot_nest_without_end(void **state)
{
    (void)state;
    check_limit(repeated("{{ ", "(", 1000000, "}}"), "brackets nested more than 100 deep");
    check_limit(repeated("{{ ", "-", 1000, "1 }}"), "nested more than 100 deep");
    check_limit(repeated("{{ ", "not ", 1000, "1 }}"), "nested more than 100 deep");
    check_limit(repeated("{{ ", "1 if 1 else ", 1000, "1 }}"), "nested more than 100 deep");
    check_limit(repeated("", "{% if 1 %}", 1000, ""), "nested more than 100 deep");
    check_limit(repeated("{{ 1 ", "+ 1", 5000, " }}"), "nests, more than 1000 deep");
    check_limit(repeated("{{ messages", "[0]", 5000, " }}"), "nests, more than 1000 deep");
    assert_string_equal(render("{% macro f(n) %}{{ f(n) }}{% endmacro %}\n\n{{ f(1) }}"),
                        "t.jinja:1: the template calls itself, or nests, more than 1000 deep");
    assert_has(render("{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}"
                      "{% endfor %}{{ n.x }}"), "nests, more than 1000 deep");
    check_limit(repeated("{{ 1 ", "~ 1", 5000, "}}"), "11111");         /* one long sum of texts */
    check_limit(repeated("{% if 0 %}", "{% elif 0 %}", 5000, "{% else %}e{% endif %}"), "e");
    check_limit(repeated("", "{{ 1 }}", 5000, ""), "11111");
}

static void test_a_template_ends(void **state)
{
    static const struct example all[] = {
        { "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
          "t.jinja:1: the template takes more than 256 MiB" },
        { "{{ range(1000000) }}", "t.jinja:1: range of more than 100000 numbers" },
        { "{{ 'ab' * 99999999 }}",
          "t.jinja:1: the template makes a text or list of more than 16 MiB" },
        { "{{ [1] * 9999999999 }}",
          "t.jinja:1: the template makes a text or list of more than 16 MiB" },
        { "{% for a in range(40000) %}\n{{ 'x' * 1000 }}{% endfor %}",
          "t.jinja:2: the template makes a text or list of more than 16 MiB" },
        { "{{ 'a'|indent(99999999) }}",
          "t.jinja:1: the template makes a text or list of more than 16 MiB" },
        { "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
          "{% endfor %}", "t.jinja:1: the template makes a text or list of more than 16 MiB" },
        { "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}"
          "{% endfor %}{{ n.x == [n.x[0], n.x[1]] }}",
          "t.jinja:1: the template does not end within 10000000 steps" },
        { "{% set n = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
          "{% endfor %}{{ n.x }}",
          "t.jinja:1: the template makes a text or list of more than 16 MiB" },
        { "{% set n = namespace(x='') %}{% for i in range(9999) %}{% set n.x = n.x + 'x' * 9999 %}"
          "{% endfor %}", "t.jinja:1: the template takes more than 256 MiB" },
    };

    (void)state;
    CHECK(all);
    check_limit(repeated("{% for a in range(99999) %}{% if ", "0 or ", 200, "0 %}{% endif %}"
                         "{% endfor %}"), "t.jinja:1: the template does not end within 10000000");
    check_limit(repeated("{% set s = 'x' * 9999999 %}{% for a in range(99999) %}{{ s",
                         ".count('y') ~ s", 1, ".find('y') }}{% endfor %}"),
                "t.jinja:1: the template does not end within 10000000");
    check_limit(repeated("{{ 1", "~1", 300000, "}}"), "11111111");     /* time is linear */
    check_limit(repeated("", "x", TEMPLATE_SOURCE + 1, ""), "a chat template of 1048577 bytes");
}

/* ---- what a render is told */

static const char *render_with(const char *messages, const struct template_settings *settings,
                               const char *source)
{
    struct json *m = json_parse(messages, strlen(messages), "messages");
    struct template *t;

    text_clear(&rendered);
    assert_ok(template_open(&t, source, strlen(source), "t.jinja"));
    text_adds(&rendered, "");
    if (template_render(t, m, settings, &rendered) != RL_OK) {
        text_adds(&rendered, status_message());
        status_drop();
    }
    template_close(t);
    json_free(m);
    return rendered.data;
}

static void test_settings_are_variables(void **state)
{
    struct json *tools = json_parse("[{\"a\": 1}]", 10, "tools");
    struct json *variables = json_parse("{\"enable\": false, \"messages\": 1}", 32, "variables");
    struct template_settings s = { .add_generation_prompt = true, .eos_token = "</s>",
                                   .tools = tools, .variables = variables };

    (void)state;
    assert_string_equal(
        render_with("[]", &s, "{{ tools }}{{ eos_token }}[{{ bos_token }}]{{ messages }}"
                              "{{ enable }}{{ add_generation_prompt }}"),
        "[{'a': 1}]</s>[][]FalseTrue");
    json_free(tools);
    json_free(variables);
}

static void test_without_a_date_nothing_tells_one(void **state)
{
    struct tm day = { .tm_year = 124, .tm_mon = 6, .tm_mday = 26 };
    struct template_settings none = { 0 }, some = { .now = &day };

    (void)state;
    assert_string_equal(render_with("[]", &none, "{{ strftime_now is defined }}"), "False");
    assert_string_equal(render_with("[]", &some, "{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
    assert_has(render_with("[]", &none, "{{ strftime_now('%d') }}"), "asks for the date: give one");
}

static void test_messages_are_cleaned_as_the_library_does(void **state)
{
    struct template_settings s = { 0 };

    (void)state;
    assert_string_equal(
        render_with("[{\"a\": null, \"reasoning\": \"r\"}, {\"thinking\": \"t\", \"b\": 1}]", &s,
                    "{{ messages }}"),
        "[{'thinking': 'r', 'reasoning': 'r', 'reasoning_content': 'r'}, "
        "{'thinking': 't', 'b': 1, 'reasoning_content': 't'}]");
    assert_string_equal(render_with("[{}, 1]", &s, ""), "t.jinja:1: message 2 is no object");
    assert_string_equal(render_with("{}", &s, ""), "t.jinja: the messages are no list");
}

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
        cmocka_unit_test(test_what_cannot_be_read_names_line_and_construct),
        cmocka_unit_test(test_what_cannot_be_rendered_names_line_and_construct),
        cmocka_unit_test(test_a_template_cannot_nest_without_end),
        cmocka_unit_test(test_a_template_ends),
        cmocka_unit_test(test_settings_are_variables),
        cmocka_unit_test(test_without_a_date_nothing_tells_one),
        cmocka_unit_test(test_messages_are_cleaned_as_the_library_does),
        cmocka_unit_test(test_the_shared_templates_write_what_they_are_to),
    };
    int failed = cmocka_run_group_tests(tests, support_hold, NULL);

    text_free(&rendered);
    return failed;
}
