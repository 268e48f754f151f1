/* Inside the tokenizer.  Each page fills its part of the struct from the file and works with it:
 *
 *   text --added.c--> pieces --normalize.c--> normalized --added.c--> pieces
 *        --Metaspace in normalize.c--> words --bpe.c--> ids
 *   ids  --decode.c--> tokens --rule--> tokens --rule--> ... text
 */
#ifndef DATA_TOKENIZER_INTERNAL_H
#define DATA_TOKENIZER_INTERNAL_H

#include <stdint.h>

#include "base/json.h"
#include "data/tokenizer.h"
#include "data/unicode.h"

#define ID_LIMIT (1 << 22)           /* ids below this: no vocabulary comes near */
#define IDS_SPARSE (1 << 16)         /* ids may be this far apart, and 16 for each token */
#define TEXT_LIMIT ((size_t)1 << 30) /* bytes of text at once, before and after normalizing */

/* Bytes that a text of n bytes may become by the rules of a file: they can double it each. */
static inline size_t text_grown(size_t n)
{
    return n < TEXT_LIMIT / 64 - 16 ? 64 * (n + 16) : TEXT_LIMIT;
}

struct token {
    size_t at;                       /* its bytes in tokenizer.names */
    int bytes;                       /* -1: no token has this id */
    bool special;
};

/* One step of a normalizer or of a decoder; Sequence is flattened while reading. */
enum rule_kind {
    RULE_PREPEND, RULE_REPLACE, RULE_FORM, RULE_LOWERCASE,
    RULE_BYTE_FALLBACK, RULE_FUSE, RULE_STRIP, RULE_METASPACE
};
struct rule {
    enum rule_kind kind;
    struct text pattern, content;    /* Replace: what by what; Prepend, Strip, Metaspace: content */
    int64_t start, stop;             /* Strip: at most this many at either end */
    enum form form;
    bool keep_first;                 /* Metaspace decoder: the first token keeps its spaces */
};
struct rules { struct rule *items; int count; };

enum scheme { SCHEME_NEVER, SCHEME_FIRST, SCHEME_ALWAYS };
struct metaspace {                   /* the pre-tokenizer */
    bool on, split;
    enum scheme scheme;
    struct text replacement;         /* one character */
};

/* An added token, found in the text as it is or in the normalized text. */
struct added {
    int id;
    bool special, normalized, lstrip, rstrip, single_word;
};
struct trie_node { int child, next, added; unsigned char byte; };    /* 0: none; added -1: none */
struct trie { struct trie_node *nodes; int count, room; };

struct merge_slot { uint64_t pair; int rank; };          /* rank -1: free */
struct symbol { int id, prev, next; };                   /* id -1: merged into another */

struct tokenizer {
    const char *where;               /* for messages; only while reading the file */

    struct token *tokens;            /* (size) by id */
    int size;
    struct text names;
    int *slots;                      /* (slot_mask + 1) id by hash of the name, -1: free */
    uint32_t slot_mask;

    int unk;                         /* -1: none */
    bool fuse_unk, byte_fallback, ignore_merges;
    int byte_ids[256];               /* of <0x00> ..., -1: absent */
    struct merge_slot *merges;       /* (merge_mask + 1) rank by pair of ids */
    uint32_t merge_mask;
    int *merged;                     /* by rank: the id that the pair becomes */
    uint64_t *joints;                /* (joint_mask + 1): see bpe.c */
    uint32_t joint_mask;
    bool always_joins;

    struct rules normalizer, decoder;
    struct metaspace metaspace;
    struct added *added;
    int n_added;
    struct trie raw, normalized;
    struct ids before, after;        /* the post-processor's ids around the text's */

    struct text whole, swap, spaced; /* scratch, kept between calls */
    struct symbol *symbols;
    uint64_t *heap;
    size_t n_symbols, symbol_room;
};

/* tokenizer.c: reading fields.  A missing field or null gives `otherwise`; a wrong type is
 * RL_EINVAL naming path.key. */
int field_bool(const struct tokenizer *t, const struct json *object, const char *path,
               const char *key, bool otherwise, bool *out);
int field_text(const struct tokenizer *t, const struct json *object, const char *path,
               const char *key, struct text *out);       /* must be there */
int field_integer(const struct tokenizer *t, const struct json *object, const char *path,
                  const char *key, int64_t least, int64_t most, int64_t *out);
int unsupported(const struct tokenizer *t, const char *what, const struct json *type,
                const char *supported);
void *room_for(size_t count, size_t size);               /* zeroed; NULL after rl_error */

/* vocabulary.c: names and merges */
int vocabulary_read(struct tokenizer *t, const struct json *vocab, const struct json *added);
int vocabulary_id(const struct tokenizer *t, const char *name, size_t bytes);
const char *vocabulary_name(const struct tokenizer *t, int id, size_t *bytes);

/* bpe.c */
int bpe_read(struct tokenizer *t, const struct json *model);
int bpe_encode(struct tokenizer *t, const char *word, size_t bytes, struct ids *out);
void bpe_free(struct tokenizer *t);

/* normalize.c */
int rules_read(struct tokenizer *t, const struct json *v, const char *path, const char *list,
               struct rules *rules,
               int (*read)(const struct tokenizer *t, const struct json *v, const char *path,
                           struct rule *rule));
void rules_free(struct rules *rules);
int rule_read_replace(const struct tokenizer *t, const struct json *v, const char *path,
                      struct rule *rule);
/* RL_EINVAL: out would have more than `most` bytes. */
int replace_all(const struct rule *rule, const char *s, size_t n, size_t most, struct text *out);
int normalizer_read(struct tokenizer *t, const struct json *v);
int normalize(struct tokenizer *t, const char *s, size_t n, struct text *out);   /* out replaced */
int metaspace_read(struct tokenizer *t, const struct json *v);
int scheme_read(const struct tokenizer *t, const struct json *v, const char *path,
                enum scheme *scheme);
/* The words of a piece as ids; at_start: the piece begins where the text begins. */
int words_encode(struct tokenizer *t, const char *s, size_t n, bool at_start, struct ids *out);

/* added.c */
int added_read(struct tokenizer *t, const struct json *list);
void added_free(struct tokenizer *t);
struct piece { size_t start, end; int id; };             /* id -1: text between added tokens */
struct pieces {                                          /* a walk over them */
    const struct tokenizer *t;
    const struct trie *trie;
    const char *text;
    size_t bytes, searched, given, blank_end;
    struct piece held;
    bool holds;
};
bool pieces_next(struct pieces *walk, struct piece *p);  /* false behind the last */

/* decode.c */
int decoder_read(struct tokenizer *t, const struct json *v);

#endif
