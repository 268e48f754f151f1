/* Chat templates: each construct as Jinja has it. */
#include "tests/template_example.h"

/* ---- constructs; the texts are those of jinja2 as transformers sets it up */

static void test_text_stands_as_it_is_but_for_a_last_newline(void **state)
{
    static const struct example all[] = {
        { "", "" },
        { "a\n", "a" },
        { "a\n\n", "a\n" },
        { "\r\na\rb\r\n", "\na\nb" },
        { "{ { }} %}", "{ { }} %}" },
        { "é {日}", "é {日}" },
        { "}}", "}}" },
        { "{{ '{{' }}", "{{" },
    };

    (void)state;
    CHECK(all);
}

static void test_white_space_goes_as_tags_say(void **state)
{
    static const struct example all[] = {
        { "a\n  {% if true %}\n b\n  {% endif %}\nc", "a\n b\nc" },
        { "a {%- if true -%} b {%- endif -%} c", "abc" },
        { "a\n{{ 1 }}\n b", "a\n1\n b" },
        { "a\n  {{- 1 -}}\n b", "a1b" },
        { "  {%+ if true %}x{% endif %}", "  x" },
        { "x{% if true +%}\n y{% endif %}", "x\n y" },
        { "a\n  {# c #}\nb", "a\nb" },
        { "a {#- c -#} b", "ab" },
        { "x  {% if true %}y{% endif %}", "x  y" },
        { "\n\n{% if true %}\n\nx{% endif %}", "\n\n\nx" },
        { "a{% raw %}\n {{ b }} {% endraw %}\nc", "a\n {{ b }} c" },
        { "a {%- raw -%} {% x {%- endraw -%} c", "a{% xc" },
        { "{{ 1 }}\n{{ 2 }}\n", "1\n2" },
    };

    (void)state;
    CHECK(all);
}

static void test_literals_and_operators_are_pythons(void **state)
{
    static const struct example all[] = {
        { "{{ 7 // -2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 / 4 }} {{ 2 ** 10 }} {"
          "{ 4 / 2 }}",
          "-4 2 3.0 0.5 0.25 1024 2.0" },
        { "{{ 1e16 // 3 }} {{ 1e16 }} {{ 1.5e-7 }} {{ 0.1 + 0.2 }} {{ 1_000 }} {{ -0.0 }} {{ 12"
          "3456789012345680.0 }} {{ 1e100 }}",
          "3333333333333333.0 1e+16 1.5e-07 0.30000000000000004 1000 -0.0 1.2345678901234568e+1"
          "7 1e+100" },
        { "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 10 - 2 - 3 }} {{ 2 ** 3 ** 2 }} {{ true + 1"
          " }} {{ -3|abs }}",
          "3 9 5 64 2 3" },
        { "{{ 'a' 'b' }}{{ \"it's\" }}{{ '\\x41\\u00e9\\n\\q\\\\' }}{{ '\\101' }}",
          "abit'sAé\n\\q\\A" },
        { "{{ 'ab' * 2 }}{{ [1] * 2 }}{{ [1] + [2] }}{{ (1, 2) + (3,) }}",
          "abab[1, 1][1, 2](1, 2, 3)" },
        { "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 }}", "a1NoneTrue1.0" },
        { "{{ 1 < 2 <= 2 != 3 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ [1, [2]] == ["
          "1, [2.0]] }} {{ (1,) == [1] }}",
          "True True True False True False" },
        { "{{ 'a' < 'B' }} {{ [1, 2] < [1, 3] }} {{ 'é' > 'z' }}", "False True True" },
        { "{{ 'b' in 'abc' }} {{ 1 not in [2] }} {{ 'k' in {'k': 1} }} {{ 'x' in undefined }}",
          "True True True False" },
        { "{{ not 1 == 2 }} {{ 1 and 'x' }} {{ 0 or '' }} {{ none or 'n' }} {{ not not [] }}",
          "True x  n False" },
        { "{{ 'a' if true }}{{ 'b' if false }}{{ 1 if false else 2 if false else 3 }}", "a3" },
        { "{{ [none, true, 'it\\'s', \"\\\"\", 'é\\n\\u200b', 1.0, (1,), {'a': []}] }}",
          "[None, True, \"it's\", '\"', 'é\\n\\u200b', 1.0, (1,), {'a': []}]" },
        { "{{ {'a': 1, 2: 'b', 'a': 3} }}{{ {} }}{{ () }}", "{'a': 3, 2: 'b'}{}()" },
    };

    (void)state;
    CHECK(all);
}

static void test_indices_and_slices_count_characters(void **state)
{
    static const struct example all[] = {
        { "{{ 'héllo'[1] }}{{ 'héllo'[-1] }}{{ 'héllo'[1:3] }}"
          "{{ 'héllo'[::-1] }}{{ 'héllo'[::2"
          "] }}{{ 'héllo'[3:0:-1] }}{{ 'héllo'[9] }}{{ '🙂é'|length }}",
          "éoélolléhhlollé2" },
        { "{{ [1, 2, 3][-2:] }}{{ [1, 2, 3][::-1] }}{{ [1, 2, 3][5] }}{{ [1, 2, 3][:-1] }}{{ (1"
          ", 2)[1:] }}{{ range(9)[2:8:3]|list }}",
          "[2, 3][3, 2, 1][1, 2](2,)[2, 5]" },
        { "{{ messages[1:]|length }}{{ messages[::-1][0].role }}{{ messages[-1]['content'][0].t"
          "ext }}{{ messages.0.role }}{{ [1, 2, 3][true] }}",
          "2userauser2" },
    };

    (void)state;
    CHECK(all);
}

static void test_what_is_undefined_is_empty(void **state)
{
    static const struct example all[] = {
        { "[{{ x }}{{ messages[0].nothing }}{{ messages[99] }}{{ x|length }}{{ x|list }}{{ x|jo"
          "in }}{{ x ~ 'a' }}{{ not x }}]",
          "[0[]aTrue]" },
        { "{{ x is defined }}{{ x is undefined }}{{ x is none }}{{ x == y }}{{ x|default('d') }"
          "}{{ x is iterable }}{{ [x] }}{% for a in x %}b{% else %}e{% endfor %}",
          "FalseTrueFalseTruedTrue[Undefined]e" },
        { "{{ ''|default('d', true) }}{{ ''|default('d') }}{{ messages[1].content is defined }}"
          "{{ tools is none }}{{ documents is none }}{{ eos_token is defined }}{{ bos_token }}",
          "dFalseTrueTrueFalse<s>" },
    };

    (void)state;
    CHECK(all);
}

static void test_if_and_for_go_their_ways(void **state)
{
    static const struct example all[] = {
        { "{% if messages|length > 2 %}a{% elif true %}b{% else %}c{% endif %}{% if 0 %}a{% eli"
          "f 1 %}b{% endif %}{% if [] %}a{% else %}c{% endif %}",
          "abc" },
        { "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.r"
          "evindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
          "1032TrueFalse3 2121FalseFalse3 3210FalseTrue3 " },
        { "{% for m in [1, 2] %}{{ loop.previtem }}<{{ loop.nextitem }};{{ loop.previtem is def"
          "ined }} {% endfor %}",
          "<2;False 1<;True " },
        { "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{% endfor"
          " %}",
          "aTruebTrueaTrue" },
        { "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }} {% end"
          "for %}",
          "1/2 2/2 " },
        { "{% for k, v in messages[2].n.items() %}{{ k }}={{ v }},{% endfor %}{% for a, (b, c) "
          "in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
          "b=1,A=2,123" },
        { "{% for a in [1, 2, 3, 4] %}{% if a == 2 %}{% continue %}{% elif a == 4 %}{% break %}"
          "{% endif %}{{ a }}{% endfor %}",
          "13" },
        { "{% for c in 'hé' %}[{{ c }}]{% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}",
          "[h][é]a" },
        { "{% for a in [1, 2] %}{% for b in 'xy' %}{{ a }}{{ b }}{{ loop.index }}{% if b == 'x'"
          " %}{% continue %}{% endif %}{% endfor %}{{ loop.index }};{% endfor %}",
          "1x11y21;2x12y22;" },
        { "{% for a in [] %}{% else %}none{% endfor %}", "none" },
    };

    (void)state;
    CHECK(all);
}

static void test_set_stays_in_its_scope(void **state)
{
    static const struct example all[] = {
        { "{% set x = 1 %}{% for a in [1, 2] %}{% set x = x + a %}{{ x }}{% endfor %}{{ x }}",
          "231" },
        { "{% set ns = namespace(x=1) %}{% for a in [1, 2] %}{% set ns.x = ns.x + a %}{% endfor"
          " %}{{ ns.x }}{{ ns.y }}",
          "4" },
        { "{% if true %}{% set q = 1 %}{% endif %}{{ q }}", "1" },
        { "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}", "1x(1, 2)" },
        { "{% set x %}a{{ 1 }}b{% endset %}[{{ x }}{{ x|length }}]{% set y | upper %}é{% endset"
          " %}{{ y }}",
          "[a1b3]É" },
        { "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}[{{ a }}]", "12[]" },
        { "{% filter upper|replace('A', 'b') %}a{{ 'c' }}{% endfilter %}", "bC" },
        { "{% generation %}{{ 1 }}{% set z = 1 %}{% endgeneration %}[{{ z }}]", "1[]" },
        { "{% set messages = messages[1:] %}{{ messages|length }}", "2" },
    };

    (void)state;
    CHECK(all);
}

static void test_macros_are_called(void **state)
{
    static const struct example all[] = {
        { "{% macro f(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3)"
          " }}{{ f(b=4, a='x') }}{{ f() }}",
          "1-2-1;1-3-1;x-4-x;-2-;" },
        { "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) "
          "}}",
          "543210" },
        { "{% macro f() %}{{ varargs|join(',') }}{{ kwargs|dictsort }}{% endmacro %}{{ f(1, 2, "
          "a=3) }}{{ f() }}",
          "1,2[('a', 3)][]" },
        { "{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f('s') %}in {{ y }}{% endc"
          "all %}",
          "<in s>" },
        { "{% macro f() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ f() }}{% set x = 2 %}{{ f() }}",
          "12" },
        { "{% macro f() -%} a {%- endmacro %}[{{ f()|upper }}]{{ f() ~ f() }}", "[A]aa" },
        { "{% macro f() %}{% set x = 1 %}{% endmacro %}{{ f() }}[{{ x }}]", "[]" },
    };

    (void)state;
    CHECK(all);
}

static void test_filters_of_strings_and_numbers(void **state)
{
    static const struct example all[] = {
        { "{{ 'straße ﬁn Σας ΣΑΣ ǆ'|upper }}|{{ 'ΣΑΣ İ'|lower }}"
          "|{{ 'ǆ don\\'t stop-it'|title }"
          "}|{{ 'HÉLLO wORLD'|capitalize }}",
          "STRASSE FIN ΣΑΣ ΣΑΣ Ǆ|σας i̇|Ǆ Don't Stop-It|Héllo world" },
        { "{{ ' \\u3000a b\\n'|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 'aXa'|replace('a', 'é') }}|{{"
          " 'aaa'|replace('a', 'b', 2) }}|{{ 'ab'|replace('', '-') }}",
          "a b|a|éXé|bba|-a-b-" },
        { "{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\n\\nb'|indent(2, true, true) }}|{{ 'a\\nb'|indent"
          "('> ') }}",
          "a\n    b\n\n    c|  a\n  \n  b|a\n> b" },
        { "{{ '<b>'|safe + '<' ~ '<' }}{{ ('<'|e)[0:3] + '>' }}{{ '&' + '&'|safe }}",
          "<b>&lt;&lt;&lt&gt;&amp;&" },
        { "{{ '<a href=\"x\">&\\'</a>'|e }}{{ '<b>'|safe }}{{ '<'|escape|escape }}",
          "&lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt;/a&gt;<b>&lt;" },
        { "{{ '12'|int }} {{ ' 1.9 '|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '0x1f'|int(base=1"
          "6) }} {{ '-1_0'|int }} {{ 3.9|int }} {{ true|int }}",
          "12 1 0 7 31 -10 3 1" },
        { "{{ '1e3'|float }} {{ 'x'|float }} {{ 'nan'|float }} {{ 2|float }} {{ '-inf'|float }}"
          " {{ ' .5'|float }}",
          "1000.0 0.0 nan 2.0 -inf 0.5" },
        { "{{ 2.5|round }} {{ 2.675|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ 2.99|round(1, 'fl"
          "oor') }} {{ 42|round }} {{ -2.5|abs }}",
          "2.0 2.67 3.0 2.9 42 2.5" },
        { "{{ 1.0|string ~ 'x' }}{{ none|string }}{{ [1]|string|length }}", "1.0xNone3" },
    };

    (void)state;
    CHECK(all);
}

static void test_filters_of_lists_and_dicts(void **state)
{
    static const struct example all[] = {
        { "{{ [3, 1, 2]|sort }}{{ ['b', 'A', 'c']|sort }}{{ ['b', 'A']|sort(case_sensitive=true"
          ") }}{{ [1, 2]|sort(reverse=true) }}{{ messages|sort(attribute='role')|map(attribute="
          "'role')|list }}",
          "[1, 2, 3]['A', 'b', 'c']['A', 'b'][2, 1]['assistant', 'user', 'user']" },
        { "{{ [1, 2, 3]|first }}{{ [1, 2, 3]|last }}{{ 'é'|first }}{{ []|first }}{{ 'abc'|rever"
          "se }}{{ [1, 2]|reverse|list }}{{ {'a': 1}|list }}{{ 'hé'|list }}",
          "13écba[2, 1]['a']['h', 'é']" },
        { "{{ [1, 2]|join(', ') }}{{ [1, none, 'x']|join }}{{ messages|join('|', attribute='rol"
          "e') }}{{ 'abc'|join('-') }}",
          "1, 21Nonexuser|assistant|usera-b-c" },
        { "{{ ['b', 'A', 'a', 'B']|unique|list }}{{ [1, 2.5]|sum }}{{ messages[:1]|sum(attribut"
          "e='x', start=3) if false }}{{ [1, 3, 2]|max }}{{ ['b', 'A']|min }}",
          "['b', 'A']3.53A" },
        { "{{ {'b': 1, 'A': 2}|dictsort }}{{ {'b': 1, 'A': 2}|dictsort(true) }}{{ {'b': 1, 'A':"
          " 2}|dictsort(by='value', reverse=true) }}{{ {'b': 1}|items|list }}",
          "[('A', 2), ('b', 1)][('A', 2), ('b', 1)][('A', 2), ('b', 1)][('b', 1)]" },
        { "{{ [1, 2, 3, 4, 5]|batch(2)|list }}{{ [1, 2, 3]|batch(2, 0)|list }}",
          "[[1, 2], [3, 4], [5]][[1, 2], [3, 0]]" },
        { "{{ messages|map(attribute='role')|list }}{{ ['a']|map('upper')|list }}{{ ['ab']|map("
          "'replace', 'a', 'x')|list }}{{ messages|map(attribute='z', default='-')|list }}",
          "['user', 'assistant', 'user']['A']['xb']['-', '-', '-']" },
        { "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ messages|selectat"
          "tr('content')|list|length }}{{ messages|rejectattr('role', 'in', ['user'])|map(attri"
          "bute='role')|list }}{{ messages|selectattr('content', 'defined')|list|length }}",
          "22['assistant']2" },
        { "{{ [1, 2, 3]|select('odd')|list }}{{ [1, 2, 3]|reject('gt', 1)|list }}{{ [0, 1, '']|"
          "select|list }}",
          "[1, 3][1][1]" },
        { "{% set x = [1, 2]|map('string') %}{{ x|list }}{{ x|list }}", "['1', '2'][]" },
    };

    (void)state;
    CHECK(all);
}

static void test_tojson_writes_as_python(void **state)
{
    static const struct example all[] = {
        { "{{ messages[1].calls|tojson }}", "[1, 2.0, -0.5, 1e+20, true, null, \"x'y\"]" },
        { "{{ messages[2]|tojson }}",
          "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"n\": {"
          "\"b\": 1, \"A\": 2}}" },
        { "{{ messages[2].n|tojson(indent=2) }}|{{ []|tojson(indent=2) }}|{{ [{}]|tojson(indent"
          "=1) }}",
          "{\n  \"b\": 1,\n  \"A\": 2\n}|[]|[\n {}\n]" },
        { "{{ messages[2].n|tojson(sort_keys=true, separators=(',', ':')) }}",
          "{\"A\":2,\"b\":1}" },
        { "{{ 'é🙂\\n\\x01\"\\\\</b>'|tojson }}{{ 'é🙂\\x7f'|tojson(ensure_ascii=true) }}",
          "\"é🙂\\n\\u0001\\\"\\\\</b>\"\"\\u00e9\\ud83d\\ude42\\u007f\"" },
        { "{{ {1: none, true: 1.5, none: (1, 2)}|tojson }}{{ 'nan'|float|tojson }}{{ [1]|tojson"
          "(indent='\\t') }}",
          "{\"1\": 1.5, \"null\": [1, 2]}NaN[\n\t1\n]" },
    };

    (void)state;
    CHECK(all);
}

static void test_methods_of_strings_and_dicts(void **state)
{
    static const struct example all[] = {
        { "{{ ' a '.strip() }}|{{ 'xax'.strip('x') }}|{{ 'xax'.lstrip('x') }}|{{ 'xax'.rstrip('"
          "x') }}|{{ 'a</think>\\nb'.split('</think>')[-1].lstrip('\\n') }}",
          "a|a|ax|xa|b" },
        { "{{ 'a b  c '.split() }}{{ 'a b c'.split(None, 1) }}{{ 'a,b,,c'.split(',') }}{{ 'a,b,"
          "c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ ''.split() }}{{ ''.split(',') }}",
          "['a', 'b', 'c']['a', 'b c']['a', 'b', '', 'c']['a', 'b,c']['a,b', 'c'][]['']" },
        { "{{ 'a\\nb\\r\\nc\\u2028d'.splitlines() }}{{ 'a\\n\\n'.splitlines(true) }}",
          "['a', 'b', 'c', 'd']['a\\n', '\\n']" },
        { "{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.startswith('') }"
          "}{{ 'a'.startswith('abc') }}",
          "TrueTrueTrueFalse" },
        { "{{ 'ß'.upper() }}{{ 'AÉ'.lower() }}{{ 'they\\'re bill\\'s ǆ'.title() }}{{ 'éA b'.cap"
          "italize() }}",
          "SSaéThey'Re Bill'S ǅÉa b" },
        { "{{ 'héllo'.find('l') }}{{ 'héllo'.rfind('l') }}{{ 'héllo'.find('x') }}{{ 'héllo'.fin"
          "d('l', 3) }}{{ 'héllo'.count('l') }}{{ 'aa'.replace('a', 'b', 1) }}{{ '-'.join(['a',"
          " 'b']) }}",
          "23-132baa-b" },
        { "{{ 'ab'.removeprefix('a') }}{{ 'ab'.removesuffix('b') }}{{ 'A1'.isupper() }}{{ 'a1'."
          "islower() }}{{ ' \\n'.isspace() }}{{ '12'.isdigit() }}",
          "baTrueTrueTrueTrue" },
        { "{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b') }}{{ {'a': 1}.get('b', 2) }}{{ {'a': 1}."
          "items()|list }}{{ {'a': 1}.keys()|list }}{{ {'a': 1}.values()|list }}",
          "1None2[('a', 1)]['a'][1]" },
        { "{{ {'items': 1}['items'] }}{{ {'a': {'b': 1}}.a.b }}{{ [1, 2, 1].count(1) }}{{ [1, 2"
          "].index(2) }}{{ dict(a=1, b=2) }}{{ dict({'a': 1}, a=2) }}",
          "1121{'a': 1, 'b': 2}{'a': 2}" },
        { "{% set f = ' x '.strip %}{{ f() }}", "x" },
    };

    (void)state;
    CHECK(all);
}

static void test_tests_ask_what_a_value_is(void **state)
{
    static const struct example all[] = {
        { "{% for v in [none, true, 1, 1.5, 'a', [1], (1,), {}, range(1)] %}{{ 1 if v is none }"
          "}{{ 2 if v is boolean }}{{ 3 if v is integer }}{{ 4 if v is float }}{{ 5 if v is num"
          "ber }}{{ 6 if v is string }}{{ 7 if v is mapping }}{{ 8 if v is iterable }}{{ 9 if v"
          " is sequence }} {% endfor %}",
          "1 25 35 45 689 89 89 789 89 " },
        { "{{ 3 is odd }}{{ 3 is even }}{{ 6 is divisibleby 3 }}{{ 6 is divisibleby(4) }}{{ 1 i"
          "s eq 1 }}{{ 1 is equalto(2) }}{{ 1 is ne 2 }}{{ 2 is gt 1 }}{{ 1 is le 1 }}{{ 1 is i"
          "n [1] }}",
          "TrueFalseTrueFalseTrueFalseTrueTrueTrueTrue" },
        { "{{ true is true }}{{ 1 is true }}{{ false is false }}{{ none is sameas none }}{{ 'ab"
          "' is lower }}{{ 'AB' is upper }}{{ 'a'|e is escaped }}{{ x is not defined and 'a' is"
          " string }}{{ raise_exception is callable }}{{ {}.items() is sequence }}",
          "TrueFalseTrueTrueTrueTrueTrueTrueTrueFalse" },
    };

    (void)state;
    CHECK(all);
}

static void test_functions_are_there(void **state)
{
    static const struct example all[] = {
        { "{{ range(3)|list }}{{ range(1, 4)|list }}{{ range(5, 0, -2)|list }}{{ range(0)|list "
          "}}{{ range(3)[1] }}{{ range(3)|length }}",
          "[0, 1, 2][1, 2, 3][5, 3, 1][]13" },
        { "{{ namespace(a=1).a }}{{ namespace({'a': 2}).a }}", "12" },
    };

    (void)state;
    CHECK(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_stands_as_it_is_but_for_a_last_newline),
        cmocka_unit_test(test_white_space_goes_as_tags_say),
        cmocka_unit_test(test_literals_and_operators_are_pythons),
        cmocka_unit_test(test_indices_and_slices_count_characters),
        cmocka_unit_test(test_what_is_undefined_is_empty),
        cmocka_unit_test(test_if_and_for_go_their_ways),
        cmocka_unit_test(test_set_stays_in_its_scope),
        cmocka_unit_test(test_macros_are_called),
        cmocka_unit_test(test_filters_of_strings_and_numbers),
        cmocka_unit_test(test_filters_of_lists_and_dicts),
        cmocka_unit_test(test_tojson_writes_as_python),
        cmocka_unit_test(test_methods_of_strings_and_dicts),
        cmocka_unit_test(test_tests_ask_what_a_value_is),
        cmocka_unit_test(test_functions_are_there),
    };
    int failed = cmocka_run_group_tests(tests, support_hold, NULL);

    text_free(&rendered);
    return failed;
}
