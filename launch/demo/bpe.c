/* Learns a small byte-pair vocabulary from text on standard input and prints it as tokenizer.json,
 * in the layout of sentencepiece-style Llama tokenizers: byte fallback, Prepend and Replace of
 * U+2581.
 *
 *   bpe SIZE < corpus.txt > tokenizer.json
 *
 * Words are kept apart (a merge never crosses a space); lines of <|endoftext|> are left out.  The
 * most frequent pair is merged first, the earlier one among equals, until SIZE tokens exist.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define SPACE "\xe2\x96\x81"
#define MAX_WORDS 4096
#define MAX_PIECES 32
#define MAX_TOKENS 4096

struct word { int piece[MAX_PIECES]; int n; long count; char text[64]; };

static struct word words[MAX_WORDS];
static int n_words;
static char tokens[MAX_TOKENS][64];     /* by id */
static int n_tokens;
static int merges[MAX_TOKENS][2];
static int n_merges;

static int token_id(const char *text)
{
    for (int i = 0; i < n_tokens; i++)
        if (strcmp(tokens[i], text) == 0)
            return i;
    return -1;
}

static int add_token(const char *text)
{
    if (n_tokens == MAX_TOKENS || strlen(text) >= sizeof tokens[0]) {
        fprintf(stderr, "too many tokens, or one too long: %s\n", text);
        exit(1);
    }
    strcpy(tokens[n_tokens], text);
    return n_tokens++;
}

static void add_word(const char *text)
{
    int i = 0;

    while (i < n_words && strcmp(words[i].text, text) != 0)
        i++;
    if (i == MAX_WORDS || strlen(text) >= sizeof words[0].text) {
        fprintf(stderr, "too many words, or one too long: %s\n", text);
        exit(1);
    }
    if (i == n_words)
        strcpy(words[n_words++].text, text);
    words[i].count++;
}

static void read_words(void)
{
    char line[4096], *save;

    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "<|endoftext|>", 13) == 0)
            continue;
        for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
            add_word(w);
    }
}

static void begin_tokens(void)
{
    char name[8];

    add_token("<unk>");
    add_token("<s>");
    add_token("</s>");
    for (int b = 0; b < 256; b++) {
        snprintf(name, sizeof name, "<0x%02X>", b);
        add_token(name);
    }
    add_token(SPACE);
    for (int c = 33; c < 127; c++) {            /* printable ASCII by itself, in every corpus */
        name[0] = (char)c, name[1] = '\0';
        add_token(name);
    }
}

static void split_words(void)
{
    for (int i = 0; i < n_words; i++) {
        struct word *w = &words[i];
        w->piece[w->n++] = token_id(SPACE);
        for (const char *p = w->text; *p && w->n < MAX_PIECES; p++) {
            char letter[2] = { *p, '\0' };
            w->piece[w->n++] = token_id(letter);
        }
    }
}

/* The most frequent pair of neighbours; 0 when no pair is left. */
static long best_pair(int *a, int *b)
{
    static long count[MAX_TOKENS][MAX_TOKENS];
    long best = 0;

    memset(count, 0, sizeof count);
    for (int i = 0; i < n_words; i++)
        for (int j = 0; j + 1 < words[i].n; j++)
            count[words[i].piece[j]][words[i].piece[j + 1]] += words[i].count;
    for (int x = 0; x < n_tokens; x++)
        for (int y = 0; y < n_tokens; y++)
            if (count[x][y] > best) {
                best = count[x][y];
                *a = x, *b = y;
            }
    return best;
}

static void merge(int a, int b)
{
    char joined[128];
    int id;

    snprintf(joined, sizeof joined, "%s%s", tokens[a], tokens[b]);
    id = token_id(joined) >= 0 ? token_id(joined) : add_token(joined);
    merges[n_merges][0] = a, merges[n_merges][1] = b;
    n_merges++;
    for (int i = 0; i < n_words; i++) {
        struct word *w = &words[i];
        int kept = 0;
        for (int j = 0; j < w->n; j++) {
            bool here = j + 1 < w->n && w->piece[j] == a && w->piece[j + 1] == b;
            w->piece[kept++] = here ? id : w->piece[j];
            j += here;
        }
        w->n = kept;
    }
}

static void add_quoted(struct text *t, const char *s)
{
    json_add_string(t, s, strlen(s));
}

static void print_special(struct text *t)
{
    for (int i = 0; i < 3; i++) {
        text_addf(t, "%s{\"id\":%d,\"content\":", i ? "," : "", i);
        add_quoted(t, tokens[i]);
        text_adds(t,
                  ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                  "\"special\":true}");
    }
}

static void print_tokenizer(void)
{
    struct text t = { 0 };

    text_adds(&t, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    print_special(&t);
    text_adds(
        &t,
        "],\n\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
        "\"prepend\":\"" SPACE "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"" SPACE "\"}]},\n\"pre_tokenizer\":null,\n\"post_processor\":{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\","
        "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":"
        "\"<s>\",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":"
        "{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}},\n\"decoder\":{\"type\":"
        "\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SPACE "\"},"
        "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
        "\"content\":\" "
        "\",\"start\":1,\"stop\":0}]},\n\"model\":{\"type\":\"BPE\",\"dropout\":null,"
        "\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
        "\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false,\n\"vocab\":{");
    for (int i = 0; i < n_tokens; i++) {
        text_adds(&t, i ? "," : "");
        add_quoted(&t, tokens[i]);
        text_addf(&t, ":%d", i);
    }
    text_adds(&t, "},\n\"merges\":[");
    for (int i = 0; i < n_merges; i++) {
        char pair[160];
        snprintf(pair, sizeof pair, "%s %s", tokens[merges[i][0]], tokens[merges[i][1]]);
        text_adds(&t, i ? "," : "");
        add_quoted(&t, pair);
    }
    text_adds(&t, "]}}\n");
    fwrite(t.data, 1, t.size, stdout);
    text_free(&t);
}

int main(int argc, char **argv)
{
    int size = argc == 2 ? atoi(argv[1]) : 0, a, b;

    if (size < 512 || size > MAX_TOKENS)
        return fprintf(stderr, "usage: bpe SIZE < text (512 to %d tokens)\n", MAX_TOKENS), 1;
    read_words();
    begin_tokens();
    split_words();
    while (n_tokens < size && best_pair(&a, &b) > 0)
        merge(a, b);
    if (n_tokens < size)
        return fprintf(stderr, "the text has only %d tokens\n", n_tokens), 1;
    print_tokenizer();
    return fflush(stdout) == 0 ? 0 : 1;
}
