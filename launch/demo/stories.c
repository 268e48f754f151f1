/* Writes the demo's world: little stories from a small grammar, and openings of stories as prompts.
 *
 *   stories corpus N SEED       N stories, lines of <|endoftext|> between them
 *   stories prompts N SEED      N openings that no held-out prompt shares, as JSONL
 *   stories held-out N SEED     N openings that no training prompt shares
 *
 * A rule is a text with names in braces; a name picks one line of its list.  {hero}, {friend},
 * {toy} are picked once a story, so that a story speaks of the same ones throughout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"

struct list { const char *name; const char *lines[24]; };

static const struct list lists[] = {
    { "hero",
      { "Tom", "Lily", "Ben", "Mia", "Sam", "Anna", "Max", "Sue", "Tim", "Lucy", "Leo", "Rosa" } },
    { "friend", { "Jack", "Emma", "Paul", "Nora", "Bob", "Jane" } },
    { "toy", { "ball", "kite", "boat", "doll", "drum", "book", "hat", "bell", "train", "puzzle" } },
    { "color", { "red", "blue", "green", "yellow", "white", "black" } },
    { "size", { "big", "small", "little", "long", "tiny" } },
    { "place", { "park", "forest", "river", "hill", "garden", "market", "beach", "farm" } },
    { "weather", { "sunny", "rainy", "cold", "warm", "windy" } },
    { "thing", { "bird", "frog", "stone", "flower", "leaf", "cat", "dog", "fish", "key", "box" } },
    { "spot", { "tree", "bench", "bridge", "house", "bush", "table" } },
    { "opening",
      { "{hero} had a {color} {toy}. One {weather} day {hero} went to the {place}.",
        "One day {hero} went to the {place} with a {size} {toy}.",
        "{hero} lived near the {place}. It was a {weather} day and {hero} took the {toy}.",
        "It was a {weather} day. {hero} wanted to show the {color} {toy} to {friend}.",
        "{hero} and {friend} were at the {place}. They found a {size} {color} {toy}.",
        "Once there was a {size} {toy} in the {place}. {hero} saw it and ran to it." } },
    { "plain",
      { "{hero} saw a {color} {thing} under the {spot}.", "{hero} put the {toy} in a {size} box.",
        "{friend} asked {hero} for the {toy}.", "A {size} {thing} came out of the {spot}.",
        "{hero} walked to the {spot} and looked at the {thing}.",
        "{friend} said that the {toy} was too {size}.", "They sat down near the {spot}.",
        "The {thing} took the {toy} and ran to the {spot}.",
        "{hero} looked for the {toy} all day." } },
    { "sad",
      { "{hero} lost the {toy} and cried.", "It began to rain and {hero} was sad.",
        "{hero} fell near the {spot} and was hurt.", "{friend} was angry and went home.",
        "The {toy} broke and {hero} was sad." } },
    { "glad",
      { "{hero} smiled.", "{hero} and {friend} laughed.", "{hero} was happy.",
        "They had fun with the {toy}.", "{hero} thanked {friend}.", "{friend} gave {hero} a hug.",
        "{hero} was proud of the {toy}.", "{hero} loved the {thing}.", "They were good friends.",
        "{friend} was kind and {hero} was glad." } },
    { "ending",
      { "Then {hero} went home.", "It was time to go home.", "Then it was night.",
        "{hero} took the {toy} home.", "After that {hero} went to sleep." } },
};

/* ---- a stream of numbers for one story */

struct stream { struct counter counter; };

static unsigned draw(struct stream *s, unsigned n)
{
    uint32_t words[4];

    random_words(&s->counter, words);
    s->counter.position++;
    return (unsigned)(((uint64_t)words[0] * n) >> 32);
}

static const struct list *list_named(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strlen(lists[i].name) == n && strncmp(lists[i].name, name, n) == 0)
            return &lists[i];
    fprintf(stderr, "no list {%.*s}\n", (int)n, name);
    exit(1);
}

static const char *pick(struct stream *s, const char *name)
{
    const struct list *list = list_named(name, strlen(name));
    unsigned n = 0;

    while (n < 24 && list->lines[n])
        n++;
    return list->lines[draw(s, n)];
}

/* ---- a story */

struct story { struct stream stream; const char *hero, *friend, *toy; };

static void expand(struct story *st, const char *rule, struct text *out)
{
    for (const char *p = rule; *p; p++) {
        const char *end = *p == '{' ? strchr(p, '}') : NULL;
        char name[16];
        if (!end) {
            text_add(out, p, 1);
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(end - p - 1), p + 1);
        if (strcmp(name, "hero") == 0)
            text_adds(out, st->hero);
        else if (strcmp(name, "friend") == 0)
            text_adds(out, st->friend);
        else if (strcmp(name, "toy") == 0)
            text_adds(out, st->toy);
        else
            expand(st, pick(&st->stream, name), out);
        p = end;
    }
}

static void begin(struct story *st, uint64_t seed, uint32_t number, struct text *out)
{
    *st = (struct story){ .stream = { { .seed = seed, .purpose = PURPOSE_TEST, .step = number } } };
    st->hero = pick(&st->stream, "hero");
    st->friend = pick(&st->stream, "friend");
    st->toy = pick(&st->stream, "toy");
    expand(st, "{opening}", out);
}

/* One sentence in six is glad, one in six sad: the reward has somewhere to go. */
static void go_on(struct story *st, struct text *out)
{
    unsigned sentences = 2 + draw(&st->stream, 3);

    for (unsigned i = 0; i < sentences; i++) {
        unsigned kind = draw(&st->stream, 6);
        text_adds(out, " ");
        expand(st, kind == 0 ? "{glad}" : kind == 1 ? "{sad}" : "{plain}", out);
    }
    text_adds(out, " ");
    expand(st, "{ending}", out);
}

static void write_corpus(uint32_t n, uint64_t seed)
{
    struct text text = { 0 };
    struct story story;

    for (uint32_t i = 0; i < n; i++) {
        text_clear(&text);
        begin(&story, seed, i, &text);
        go_on(&story, &text);
        printf("%s\n<|endoftext|>\n", text.data);
    }
    text_free(&text);
}

/* Openings are split by their hash, so that training and held-out prompts never meet. */
static void write_prompts(uint32_t n, uint64_t seed, int held_out)
{
    struct text text = { 0 }, line = { 0 };
    struct story story;

    for (uint32_t i = 0, written = 0; written < n; i++) {
        text_clear(&text);
        begin(&story, seed, i, &text);
        if ((hash64(text.data, text.size) % 8 == 0) != held_out)
            continue;
        text_clear(&line);
        json_add_string(&line, text.data, text.size);
        printf("{\"prompt\":%s}\n", line.data);
        written++;
    }
    text_free(&text);
    text_free(&line);
}

int main(int argc, char **argv)
{
    uint32_t n = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    uint64_t seed = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

    if (n > 0 && strcmp(argv[1], "corpus") == 0)
        write_corpus(n, seed);
    else if (n > 0 && strcmp(argv[1], "prompts") == 0)
        write_prompts(n, seed, 0);
    else if (n > 0 && strcmp(argv[1], "held-out") == 0)
        write_prompts(n, seed, 1);
    else
        return fputs("usage: stories corpus|prompts|held-out N SEED\n", stderr), 1;
    return fflush(stdout) == 0 ? 0 : 1;
}
