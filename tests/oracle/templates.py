#!/usr/bin/env python3
"""Compares `rankwise tokenize --messages` with jinja2 as the transformers library sets it up.

  tests/oracle/templates.py BUILD/rankwise [FOLDER OF *.jinja] [conversations per template]

Random conversations through every template of the folder, then through small templates, a construct
each.  A text is to be the same; where the library raises, ours is to refuse; where ours says that a
construct is not supported it counts as such, and the templates of the folder may have none.  Prints
the first differences and closes with `N passed, N failed`; exits 1 if any failed, 77 without the
libraries.
"""
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

try:
    import jinja2  # noqa: F401
    from transformers.utils.chat_template_utils import render_jinja_template
except ImportError:
    print("skipped: the Python library `transformers` or `jinja2` is not installed")
    sys.exit(77)

WORDS = ["Hello", "wörld", "日本語", "🙂", "<b>&amp;</b>", "don't", "\"quoted\"", "İstanbul",
         "straße", "ὈΔΥΣΣΕΎΣ", "ﬁn", "\\n", "{{ x }}", "{% if %}", "<think>",
         "</think>",
         "<tool_response>", "</tool_response>", "[INST]", "<<SYS>>", "3.14", "a b", "e\u0301",
         "\xa0", "x\x00y", "\u200b", "ǆ", "1_000"]
SPACES = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "", "\u3000", "\u2028", "\x1f"]


def text(rng):
    kind = rng.random()
    if kind < 0.08:
        return ""
    if kind < 0.14:
        # of blocks that no later Unicode adds to: what is printable depends on the version
        return "".join(chr(rng.choice([rng.randrange(1, 128), rng.randrange(128, 0x530),
                                       rng.randrange(0xe000, 0x10000),
                                       rng.randrange(0x10400, 0x10450),
                                       rng.randrange(0x1f300, 0x1f600)]))
                       for _ in range(rng.randrange(0, 9)))
    parts = [rng.choice(SPACES)]
    for _ in range(rng.randrange(1, 6)):
        parts += [rng.choice(WORDS), rng.choice(SPACES)]
    return "".join(parts)


def content(rng):
    kind = rng.random()
    if kind < 0.78:
        return text(rng)
    if kind < 0.82:
        return None
    return [{"type": "image"} if rng.random() < 0.2 else {"type": "text", "text": text(rng)}
            for _ in range(rng.randrange(0, 3))]


def value(rng, depth=0):
    kind = rng.randrange(0, 8 if depth < 2 else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([0, -1, 7, 10 ** 12, rng.randrange(-99, 99)])
    if kind == 2:
        return rng.choice([0.0, -0.5, 1e-7, 1e16, 1e22, 0.1, 3.14, -2.0, 123456.789, rng.random()])
    if kind < 6:
        return text(rng)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(0, 3))]
    return {rng.choice(["a", "B", "c d", "é", "name"]) + str(i): value(rng, depth + 1)
            for i in range(rng.randrange(0, 3))}


def message(rng, role):
    made = {"role": role, "content": content(rng)}
    if role == "assistant" and rng.random() < 0.25:
        made["tool_calls"] = [{"type": "function", "id": "call12345", "function": {
            "name": text(rng), "arguments": rng.choice(["{}", {"x": value(rng)}, {}])}}
            for _ in range(rng.randrange(1, 3))]
    if role == "assistant" and rng.random() < 0.2:
        made[rng.choice(["reasoning_content", "thinking", "reasoning"])] = text(rng)
    if rng.random() < 0.1:
        made[rng.choice(["name", "metadata", "items", "extra"])] = value(rng)
    if rng.random() < 0.05:
        del made["content"]
    return made


def conversation(rng):
    roles = ["system"] if rng.random() < 0.5 else []
    if rng.random() < 0.7:
        roles += ["user", "assistant"] * rng.randrange(0, 4)
        if rng.random() < 0.7:
            roles.append("user")
    else:
        roles += [rng.choice(["system", "user", "assistant", "tool", "ipython", "Übung"])
                  for _ in range(rng.randrange(0, 5))]
    line = {"messages": [message(rng, role) for role in roles],
            "add_generation_prompt": rng.random() < 0.5, "variables": {}}
    if rng.random() < 0.25:
        line["tools"] = [{"type": "function", "function": {
            "name": text(rng), "description": text(rng), "parameters": value(rng)}}
            for _ in range(rng.randrange(0, 3))]
    for name, tokens in (("bos_token", ["<s>", ""]), ("eos_token", ["</s>", "é"])):
        if rng.random() < 0.8:
            line["variables"][name] = rng.choice(tokens)
    if rng.random() < 0.2:
        line["variables"]["enable_thinking"] = rng.random() < 0.5
    return line


# A construct each; v is a random value, s a random text, m the messages.
EXPRESSIONS = """
v | s | v is defined | v is none | v is string | v is mapping | v is iterable | v is sequence
v is number | v is integer | v is float | v is boolean | v is true | v is false | v == s
v != v | v|tojson | v|tojson(indent=2) | v|tojson(indent=0) | v|tojson(ensure_ascii=true)
v|tojson(separators=(',', ':')) | v|tojson(sort_keys=true) | [v, s, (v, s), (s,)]
{'k': v, s: 1} | s|trim | s|upper | s|lower | s|title | s|capitalize | s|length | s|list
s|first | s|last | s|reverse | s|replace('e', 'ë') | s|replace('', '-') | s|replace('o', '', 1)
s|indent | s|indent(2, true) | s|indent('> ', true, true) | s|indent(width=1, blank=true) | s|e
s|int | s|float | s|string | s|safe | s|trim('H<') | s|join('|') | s|sort|join | s|unique|join
s|default('x', true) | s.strip() | s.lstrip() | s.rstrip() | s.strip('\\n ') | s.split()
s.split('o') | s.split(' ', 1) | s.split(None, 1) | s.rsplit('o', 1) | s.splitlines()
s.splitlines(true) | s.upper() | s.lower() | s.title() | s.capitalize() | s.startswith('H')
s.endswith(('o', '\\n')) | s.find('l') | s.rfind('l') | s.find('l', 3) | s.count('l')
s.replace('l', 'LL', 1) | s.isupper() | s.islower() | s.isspace() | s.removeprefix('Hello')
s.removesuffix('\\n') | ', '.join(s) | s[0] | s[-1] | s[1:] | s[:-1] | s[::-1] | s[::2] | s[-3:]
s[5:1:-1] | s[1:4:2] | s[99:] | s[99] | s * 2 | s + s | s ~ v ~ 1 | s in s | 'l' in s | s < 'M'
s >= s | s is upper | s is lower | s in [s] | s not in [] | v in [v] | s['length'] | s.nothing
v|string | v|default(3) | v|length | v|first | v|last | v|list | v|join(',') | v|int | v|float
v|abs | v|sort | v|reverse|list | v|items|list | v|dictsort | v.items()|list | v.keys()|list
v.values()|list | v.get('a0') | v.get('zz', 1) | v['a0'] | v.a0 | v.a0.b | v[0] | v[-1] | v[1:]
v is divisibleby 2 | v is odd | v + 1 | v - 1 | v * 2 | v / 3 | v // 3 | v % 3 | v ** 2 | -v
+v | v < 3 | 1 < v <= 9 | 7 // -2 | -7 // 2 | -7 % 3 | 7 % -3 | 7.5 // 2 | -7.5 % 2 | 2 ** 10
1 / 4 | 1e3 | 1_000 | 10 / 2 | 0.1 + 0.2 | 1e16 | 1.5e-7 | 123456789012345680.0 | 5 // 0
1.0 % 0 | 3.0|round | 2.5|round | 2.675|round(2) | 2.1|round(0, 'ceil') | 42|round | -3|abs
true + 1 | not v | not not v | v and s | v or s | s if v | s if v else 'no'
(s if v) is defined | 1 if v else 2 if s else 3 | undefined_name | undefined_name.x
undefined_name is defined | undefined_name|default('d') | undefined_name == undefined_name
undefined_name ~ 'x' | undefined_name + 'x' | undefined_name|length | 'a' in undefined_name
undefined_name|list | undefined_name|join | undefined_name|tojson | undefined_name()
undefined_name[0] | undefined_name|trim | undefined_name|upper | undefined_name < 1
undefined_name is iterable | undefined_name is sequence | not undefined_name | [undefined_name]
none ~ true | none.x | none[0] | none + 1 | none|length | none|upper | [1, 2] + [3] | [1] * 3
(1, 2) + (3,) | [1, 2] == (1, 2) | [[1]] == [[1.0]] | [1, 2, 3][1:] | [1, 2, 3][::-1]
[3, 1, 2]|sort | [3, 1, 2]|sort(reverse=true) | ['b', 'A', 'c']|sort
['b', 'A', 'c']|sort(case_sensitive=true) | ['b', 'A', 'a']|unique|list | [1, 'a']|sort
[1, 2]|sum | [1.5, 2]|sum(start=1) | [1, 3, 2]|max | [1, 3, 2]|min | ['b', 'A']|min | []|max
[]|first | []|last | [1, 2, 3, 4, 5]|batch(2)|list | [1, 2, 3]|batch(2, 0)|list | range(3)|list
range(1, 4)|list | range(5, 0, -2)|list | range(3)[1] | range(3)|length | range(0)|list
range(3) == range(3) | m|length | m|map(attribute='role')|join(',')
m|selectattr('role', 'equalto', 'user')|list|length | m|selectattr('content')|list|length
m|rejectattr('role', 'in', ['user'])|map(attribute='role')|list
m|map(attribute='nothing', default='d')|list
m|map(attribute='content')|select('string')|list|length | m|groupby('role')
[1, 2, 3]|map('string')|join | [s]|map('upper')|list | [s]|map('replace', 'e', 'E')|list
[1, 2, 3]|select('odd')|list | [1, 2, 3]|reject('gt', 1)|list | [1, 0, 2]|select|list
[1]|select | [1, 2]|map('string') | ([1, 2]|map('string'))|length | ([1, 2]|map('string'))[0]
{'b': 1, 'a': 2}|dictsort | {'b': 1, 'A': 2}|dictsort(true)
{'b': 1, 'a': 2}|dictsort(by='value') | {'b': 1}|items|list | {'a': 1}.items()
{'a': 1}.update({}) | [1].append(2) | {'a': 1}|list | 'a' in {'a': 1} | {1: 2}[1] | {true: 1}[1]
{} == {} | {'a': 1, 'a': 2} | dict(a=1, b=s) | dict({'a': 1}, b=2) | namespace(a=1).a
namespace(a=1).b | [1, 2].index(2) | [1, 1].count(1) | 'a' 'b' | 'it\\'s'
"\\u00e9\\x41\\101\\q" | 'x'.__class__ | ''.join([1]) | 'abc'.center(9) | '%s' % s
'{}'.format(s) | s|format | s|wordcount | s|nothing | s is nothing | cycler(1) | 1 is sameas 1
none is sameas none | 1 == 1.0 | 1 == true | '1' == 1 | 'a' < 1 | [1] < [2] | 1 in 5 | 1 in '1'
3 is even | 5 is in [5] | 'x' is eq 'x' | 3 is not divisibleby 2 | 3 is ge 3
s is string and v is defined | [s, v]|tojson | 'a,b'.split(',')[-1] | 'a'.split('')
('a', 'b')[1] | (1) | () | [] | {} | [1,] | (1,) | {'a': [1, {'b': none}]} | s|e ~ '<'
'<'|e + '<' | s|upper|lower|trim|length | -1|abs | 2 + 3 * 4 - 1 | (2 + 3) * 4 | 10 - 2 - 3
2 ** 3 ** 2 | 'ab' * 2 ~ 'c' | 1 ~ 2 * 3 | not 1 == 2 | 1 == 1 == 1 | 3 > 2 > 1 | 'a' if false
true | True | none | None | 1.0 | -0.0 | s|int(7) | '0x1f'|int(base=16) | ' 12 '|int | '1.9'|int
'x'|int(default=none) | '1e3'|float | 'nan'|float | 9|float | v|e | {'x': s}|string
[none, true, 1.0, 'é', '\\'', '"', '\\n', '\\u200b', '\\x7f'] | s|last|upper | m[0] | m[-1].role
m[0]['role'] | m[0].get('role') | m[0].items | m|first == m[0] | m[1:]|length
m[::-1]|map(attribute='role')|list | loop | loop.index | self | varargs | caller()
range(1000000) | [1, 2, 3][true] | 'abc'[none] | {'a': 1}[[1]] | v|tojson|length | tools is none
tools|length | add_generation_prompt | bos_token ~ eos_token | documents
""".replace("\n", " | ").split(" | ")

STATEMENTS = [
    "{% for x in m %}"
    "{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex0 }};"
    "{% else %}"
    "none{% endfor %}",
    "{% for x in m %}{{ loop.previtem.role }}<{{ x.role }}>{{ loop.nextitem.role }}{% endfor %}",
    "{% for x in m %}"
    "{{ loop.previtem is defined }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x.role) }}{% endfor %}"
    "",
    "{% for x in m if x.role == 'user' %}{{ loop.index0 }}{{ x.content }}{% endfor %}",
    "{% for k, w in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ w }},{% endfor %}",
    "{% for k, w in [1, 2] %}{% endfor %}",
    "{% for k in 5 %}{% endfor %}",
    "{% for k in none %}{% endfor %}",
    "{% for c in s %}[{{ c }}]{% endfor %}",
    "{% for c in undefined_name %}x{% else %}y{% endfor %}",
    "{% for a in [1, 2, 3] %}{% if a == 2 %}{% continue %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in [1, 2, 3] %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}"
    "{{ a }}{{ b }}{{ loop.index }}{% if b == 3 %}{% break %}{% endif %}{% endfor %}"
    "{{ loop.index }}{% endfor %}",
    "{% set x = 1 %}{% for a in [1, 2] %}{% set x = x + a %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1, y=s) %}{% for a in [1, 2] %}{% set ns.x = ns.x + a %}"
    "{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}",
    "{% set a, b = 1, s %}{{ a }}{{ b }}",
    "{% set a, b = s %}{{ a }}",
    "{% set x = (1, 2) %}{{ x }}{% set y = 1, 2 %}{{ y }}",
    "{% if v %}yes{% elif s %}s{% else %}no{% endif %}",
    "{% if true %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% set x %}a{{ s }}b{% endset %}[{{ x }}]{{ x|length }}",
    "{% set x | upper | trim %} a{{ s }} {% endset %}[{{ x }}]",
    "{% set s.x = 1 %}",
    "{% set ns = 1 %}{% set ns.x = 1 %}",
    "{% filter upper %}a{{ s }}{% endfilter %}",
    "{% filter replace('a', s) %}banana{% endfilter %}",
    "{% with a = 1, b = s %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% macro f(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}"
    "{{ f(1) }}{{ f(1, 3) }}{{ f(b=4, a=s) }}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{{ varargs|join(',') }}{{ kwargs|dictsort }}{% endmacro %}"
    "{{ f(1, 2, a=3) }}{{ f() }}",
    "{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f(s) %}in {{ y }}{% endcall %}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = s %}{{ f() }}",
    "{% macro f() %}{% set x = 1 %}{% endmacro %}{{ f() }}{{ x }}",
    "{% macro f() -%} a {%- endmacro %}[{{ f()|upper }}]{{ f() ~ f() }}",
    "{{ f }}",
    "{% generation %}{{ s }}{% set x = 1 %}{% endgeneration %}{{ x }}",
    "{% raw %}{{ s }}{% if %}{% endraw %}x",
    "a\n  {% raw %} {{ x }} {% endraw %}\nb",
    "a {%- raw -%} b {%- endraw -%} c",
    "a {# comment #} b\n{# x #}\nc {#- y -#} d",
    "a\n  {% if true %}\n b\n  {% endif %}\nc\n",
    "a\n  {{ s }}\n  b\n\n",
    "  {%+ if true %}x{%+ endif %}\n y",
    "a  {%- if true -%}  b  {%- endif +%}\n c",
    "x {{- s -}} y",
    "x{% if true +%}\n y{% endif %}",
    "\n\n{% if true %}\n\n x{% endif %}\n",
    "{{ s }}\n",
    "{{ s }}\n\n",
    "\r\na\rb\r\n",
    "{{ '\\n' }}{{ 'a\\tb' }}{{ \"\\\\\" }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': 1}.a }}",
    "{{ [1, [2, [3]]][1][1][0] }}",
    "{{ (s, v)|length }}",
    "{{ raise_exception('stop ' ~ s) }}",
    "{{ strftime_now('%d %b %Y') }}",
    "{{ strftime_now('%Y-%m-%d') }}",
    "{% do x %}",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% if %}{% endif %}",
    "{% if true %}",
    "{% endif %}",
    "{{ }}",
    "{{ s",
    "{% for %}",
    "{{ 'a }}",
    "{{ (1 }}",
    "{{ 1 2 }}",
    "{# x",
    "{% raw %}x",
    "{{ a b }}",
    "{{ |upper }}",
    "{% set %}",
    "{% set 1 = 2 %}",
    "{% break %}",
    "{% macro %}{% endmacro %}",
    "{{ f(a=1, 2) }}",
    "{{ s is }}",
    "{{ s. }}",
    "{% if s = 1 %}{% endif %}",
    "{{ $ }}",
    "{{ x.y.z }}",
    "{{ messages[0].content.x.y }}",
    "{{ messages[99] }}",
    "{{ messages[99].role }}",
    "{{ 'a' if s is string else 'b' }}",
    "{% set x = messages | selectattr('role', 'equalto', 'user') %}"
    "{{ x|list|length }}{{ x|list|length }}",
    "{%- for a in m -%}{%- if loop.last -%}{{ a.role }}{%- endif -%}{%- endfor -%}",
    "{% if not (v is none) and v is not string %}a{% endif %}",
    "{% for a in [] %}{% else %}{% set z = 1 %}{{ z }}{% endfor %}{{ z }}",
    "{% for loop2 in range(3) %}{{ loop.index }}{% endfor %}",
    "{% set f = s.strip %}{{ f() }}",
    "{{ m[0].role.upper() }}",
    "{{ (m|first).role }}",
    "{{ m|first.role }}",
    "{{ m | length - 1 }}",
    "{{ -1 | abs }}",
    "{{ 1 + 2 | string }}",
    "{{ s.split(' ')[0].strip() }}",
    "{{ s|trim ~ s|trim }}",
    "{{ not s is string }}",
    "{% for i in range(3) %}{{ 'x' * i }}{{ '' if loop.last else ',' }}{% endfor %}",
    "{{ 'a' ~ 'b' if true else 'c' }}",
    "{{ {'a': 1}|tojson(indent='\\t') }}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% set x = s %}{% set x = x ~ x %}{{ x }}",
    "{{ '<'|safe + s + '<' }}", "{{ ('<'|safe)[0] + s }}", "{{ s|e + s }}", "{{ s + s|e ~ s }}",
    "{{ loop }}",
    "{% for a in [1] %}{{ loop }}{% endfor %}",
    "{% for x in x %}{% endfor %}",
    "{{ [1, 2, 3] | map('float') | list }}",
    "{{ v|tojson }}{{ v|tojson|tojson }}",
]


def constructs():
    head = "{%- set v = messages[0].v %}{% set s = messages[0].s %}{% set m = messages -%}\n"
    for e in EXPRESSIONS:
        if e.strip():
            yield e, head + "{{ " + e.strip() + " }}"
    for s in STATEMENTS:
        yield s, head + s


def expected(source, line):
    messages = [{k: v for k, v in m.items() if v is not None} for m in line["messages"]]
    try:
        texts, _ = render_jinja_template(
            [messages], tools=line.get("tools"), chat_template=source,
            add_generation_prompt=line["add_generation_prompt"], **line["variables"])
        return {"text": texts[0]}
    except RecursionError:
        return {"error": "recursion"}
    except Exception as e:          # whatever a template may raise
        return {"error": "%s: %s" % (type(e).__name__, e)}


def ask(program, folder, source, lines, date):
    path = os.path.join(folder, "chat_template.jinja")
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write(source)
    with open(os.path.join(folder, "lines.jsonl"), "w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([program, "tokenize", folder, "--date", date, "--messages",
                           os.path.join(folder, "lines.jsonl")], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    if not answers:                # the template itself is refused
        answers = [{"error": done.stderr.decode().strip()}] * len(lines)
    if done.returncode not in (0, 1) or len(answers) != len(lines):
        print("%s\n  exit code %d, %d answers to %d lines: %s" % (
            source[:200], done.returncode, len(answers), len(lines), done.stderr.decode()))
        sys.exit(1)
    return answers


class Count:
    passed = failed = unsupported = shown = 0


def compare(name, line, got, want, may_be_unsupported, count):
    if "error" in got and "error" in want:
        count.passed += "chat_template.jinja:" in got["error"]
        same = "chat_template.jinja:" in got["error"]
    elif "error" in got and "not supported" in got["error"] and may_be_unsupported:
        count.unsupported += 1
        if os.environ.get("VERBOSE"):
            print("%s\n  %s\n  want %r" % (name, got["error"], want))
        return
    else:
        same = got.get("text") == want.get("text") and "error" not in got
        count.passed += same
    if same:
        return
    count.failed += 1
    count.shown += 1
    if count.shown <= 40:
        print("%s\n  of   %s\n  want %r\n  got  %r" % (
            name, json.dumps(line, ensure_ascii=False)[:600], want, got.get("text", got)))


def main():
    program, folder, n = sys.argv[1], None, 40
    for word in sys.argv[2:]:
        if word.isdigit():
            n = int(word)
        else:
            folder = word
    rng, count = random.Random(20240726), Count()
    date = datetime.datetime.now().strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory() as work:
        shutil.copy("launch/demo/model/tokenizer.json", work)
        for name in sorted(os.listdir(folder)) if folder else []:
            if not name.endswith(".jinja"):
                continue
            with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
                source = file.read()
            lines = [conversation(rng) for _ in range(n)]
            for line, got in zip(lines, ask(program, work, source, lines, date)):
                compare(name, line, got, expected(source, line), False, count)
        for name, source in constructs():
            lines = [conversation(rng) for _ in range(max(1, n // 8))]
            for line in lines:
                line["messages"].insert(0, {"role": "user", "content": text(rng), "s": text(rng),
                                            "v": value(rng)})
            for line, got in zip(lines, ask(program, work, source, lines, date)):
                compare(name, line, got, expected(source, line), True, count)
    print("%d not supported by ours" % count.unsupported)
    print("%d passed, %d failed" % (count.passed, count.failed))
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
