/* The block of an image:
 *
 *   | head | arrays | pieces | texts | values | data of pieces and texts, at multiples of 64 |
 */
#include "checkpoints/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"

#define ALIGNMENT ((size_t)64)
#define AT_ONCE ((size_t)64 << 10)                  /* bytes hashed, then copied */
#define IMAGE_MARK 0x31304547414d4957ull            /* "WIMAGE01" */

struct head { uint64_t mark, bytes; uint64_t n_arrays, n_pieces, n_texts, n_values; };
struct packed_piece { int64_t array; uint64_t begin, count, at; };     /* at: bytes of the block */
struct packed_text { char name[ARRAY_NAME]; uint64_t bytes, at; };
struct packed_value { char name[ARRAY_NAME]; int64_t x; };

/* Where the tables lie; the data begin at `data`. */
struct tables { size_t arrays, pieces, texts, values, data; };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct tables tables_of(const struct head *h)
{
    struct tables t;

    t.arrays = aligned(sizeof *h);
    t.pieces = aligned(t.arrays + h->n_arrays * sizeof(struct array));
    t.texts = aligned(t.pieces + h->n_pieces * sizeof(struct packed_piece));
    t.values = aligned(t.texts + h->n_texts * sizeof(struct packed_text));
    t.data = aligned(t.values + h->n_values * sizeof(struct packed_value));
    return t;
}

static struct head head_of(const struct checkpoint_content *c)
{
    return (struct head){ .mark = IMAGE_MARK, .n_arrays = (uint64_t)c->n_arrays,
                          .n_pieces = (uint64_t)c->n_pieces, .n_texts = (uint64_t)c->n_texts,
                          .n_values = (uint64_t)c->n_values };
}

static size_t piece_bytes(const struct checkpoint_content *c, int i)
{
    return c->pieces[i].count * dtype_size(c->arrays[c->pieces[i].array].dtype);
}

size_t image_bytes(const struct checkpoint_content *c)
{
    struct head head = head_of(c);
    size_t bytes = tables_of(&head).data;

    for (int i = 0; i < c->n_pieces; i++)
        bytes += aligned(piece_bytes(c, i));
    for (int i = 0; i < c->n_texts; i++)
        bytes += aligned(c->texts[i].bytes);
    return bytes;
}

/* ---- packing: tables, then data, hashed on the way while they are in the cache */

static void pack_tables(const struct checkpoint_content *c, const struct tables *t,
                        struct head *head, char *out)
{
    struct packed_piece *pieces = (void *)(out + t->pieces);
    struct packed_text *texts = (void *)(out + t->texts);
    struct packed_value *values = (void *)(out + t->values);
    size_t at = t->data;

    memset(out, 0, t->data);
    if (c->n_arrays > 0)
        memcpy(out + t->arrays, c->arrays, (size_t)c->n_arrays * sizeof *c->arrays);
    for (int i = 0; i < c->n_pieces; at += aligned(piece_bytes(c, i++))) {
        const struct checkpoint_piece *p = &c->pieces[i];
        pieces[i] = (struct packed_piece){ p->array, p->begin, p->count, at };
    }
    for (int i = 0; i < c->n_texts; at += aligned(c->texts[i++].bytes)) {
        texts[i] = (struct packed_text){ .bytes = c->texts[i].bytes, .at = at };
        strncpy(texts[i].name, c->texts[i].name, ARRAY_NAME - 1);
    }
    for (int i = 0; i < c->n_values; i++) {
        values[i] = (struct packed_value){ .x = c->values[i].x };
        strncpy(values[i].name, c->values[i].name, ARRAY_NAME - 1);
    }
    head->bytes = at;
    memcpy(out, head, sizeof *head);
}

/* What lies at `at` of the block; returns where the next begins. */
static char *put(char *at, const char *data, size_t bytes, struct hash64_state *h)
{
    size_t filled = aligned(bytes) - bytes;

    for (size_t some; bytes > 0; bytes -= some, data += some, at += some) {
        some = bytes < AT_ONCE ? bytes : AT_ONCE;
        if (h)
            hash64_add(h, data, some);
        memory_copy_past(at, data, some);
    }
    memset(at, 0, filled);
    if (h)
        hash64_add(h, at, filled);
    return at + filled;
}

void image_pack(const struct checkpoint_content *c, void *out, uint64_t *hash)
{
    struct head head = head_of(c);
    struct tables t = tables_of(&head);
    struct hash64_state room, *h = hash ? &room : NULL;
    char *at = (char *)out + t.data;

    pack_tables(c, &t, &head, out);
    if (h) {
        hash64_begin(h);
        hash64_add(h, out, t.data);
    }
    for (int i = 0; i < c->n_pieces; i++)
        at = put(at, c->pieces[i].data, piece_bytes(c, i), h);
    for (int i = 0; i < c->n_texts; i++)
        at = put(at, c->texts[i].data, c->texts[i].bytes, h);
    if (h)
        *hash = hash64_end(h);
}

/* ---- back */

static int not_whole(void)
{
    return rl_error(RL_EINVAL, "the copy of the state in memory is not whole");
}

/* Counts that a block of that size could hold. */
static bool good_head(const struct head *h, size_t bytes)
{
    return h->mark == IMAGE_MARK && h->bytes <= bytes && h->n_arrays < bytes &&
           h->n_pieces < bytes && h->n_texts < bytes && h->n_values < bytes &&
           bytes < SIZE_MAX / 1024 && tables_of(h).data <= h->bytes;
}

static bool fits(const struct head *h, uint64_t at, uint64_t count, size_t each)
{
    uint64_t bytes;

    return at % ALIGNMENT == 0 && at <= h->bytes && !__builtin_mul_overflow(count, each, &bytes) &&
           bytes <= h->bytes - at;
}

/* A name that ends, a type that there is, and a size that is the product of the shape. */
static bool good_array(const struct array *a)
{
    size_t size = 1;

    if (!memchr(a->name, 0, ARRAY_NAME) || (unsigned)a->dtype > DTYPE_U8 || a->dims < 0 ||
        a->dims > ARRAY_DIMS)
        return false;
    for (int d = 0; d < a->dims; d++)
        if (__builtin_mul_overflow(size, a->shape[d], &size))
            return false;
    return size == a->size;
}

static int check_arrays(const struct image *i)
{
    for (int k = 0; k < i->content.n_arrays; k++)
        if (!good_array(&i->content.arrays[k]))
            return not_whole();
    return RL_OK;
}

static int view_pieces(struct image *i, const struct head *h, const char *block)
{
    const struct packed_piece *packed = (const void *)(block + tables_of(h).pieces);

    for (uint64_t k = 0; k < h->n_pieces; k++) {
        const struct packed_piece *p = &packed[k];
        if (p->array < 0 || (uint64_t)p->array >= h->n_arrays ||
            p->begin > i->content.arrays[p->array].size ||
            p->count > i->content.arrays[p->array].size - p->begin ||
            !fits(h, p->at, p->count, dtype_size(i->content.arrays[p->array].dtype)))
            return not_whole();
        i->pieces[k] = (struct checkpoint_piece){ (int)p->array, p->begin, p->count,
                                                  p->count ? block + p->at : NULL };
    }
    return RL_OK;
}

static int view_names(struct image *i, const struct head *h, const char *block)
{
    const struct packed_text *texts = (const void *)(block + tables_of(h).texts);
    const struct packed_value *values = (const void *)(block + tables_of(h).values);

    for (uint64_t k = 0; k < h->n_texts; k++) {
        if (!memchr(texts[k].name, 0, ARRAY_NAME) || !fits(h, texts[k].at, texts[k].bytes, 1))
            return not_whole();
        i->texts[k] = (struct checkpoint_text){ texts[k].name, block + texts[k].at,
                                                texts[k].bytes };
    }
    for (uint64_t k = 0; k < h->n_values; k++) {
        if (!memchr(values[k].name, 0, ARRAY_NAME))
            return not_whole();
        i->values[k] = (struct checkpoint_value){ values[k].name, values[k].x };
    }
    return RL_OK;
}

int image_open(struct image *i, const void *block, size_t bytes)
{
    const struct head *h = block;
    int rc = RL_OK;

    memset(i, 0, sizeof *i);
    if (bytes < sizeof *h || !good_head(h, bytes))
        return not_whole();
    i->pieces = calloc(h->n_pieces + 1, sizeof *i->pieces);
    i->texts = calloc(h->n_texts + 1, sizeof *i->texts);
    i->values = calloc(h->n_values + 1, sizeof *i->values);
    if (!i->pieces || !i->texts || !i->values)
        return rl_error(RL_ENOFIT, "no memory for a copy of the state");
    i->content = (struct checkpoint_content){
        .arrays = (const void *)((const char *)block + tables_of(h).arrays),
        .n_arrays = (int)h->n_arrays,
        .pieces = i->pieces, .n_pieces = (int)h->n_pieces,
        .texts = i->texts, .n_texts = (int)h->n_texts,
        .values = i->values, .n_values = (int)h->n_values,
    };
    TRY(check_arrays(i));
    TRY(view_pieces(i, h, block));
    TRY(view_names(i, h, block));
done:
    return rc;
}

void image_close(struct image *i)
{
    free(i->pieces);
    free(i->texts);
    free(i->values);
    memset(i, 0, sizeof *i);
}
