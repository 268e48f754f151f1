/* Attention over the paged cache.  A page holds KEY_BLOCK positions of all key/value heads,
 *
 *   keys   [G][D][KEY_BLOCK]     positions are the lanes of a score
 *   values [G][KEY_BLOCK][D]     a value is contiguous
 *
 * (of bf16, two positions in a word: compute.h), so that block b of a row is page table[b] and
 * decoding repeats what attention_forward does.
 */
#include "compute/ref/ref.h"

static void put_half(float *word, bool odd, float x)
{
    uint32_t bits = bits_of_f32(*word), half = bf16_of_f32(x);

    *word = f32_of_bits(odd ? (bits & 0xffffu) | half << 16 : (bits & 0xffff0000u) | half);
}

/* Key and value (D) of a head, from element `at` of the stored arrays, to a slot of its page. */
static void store_head(struct pages page, int slot, enum compute_dtype dtype, const void *key,
                       const void *value, size_t at, int D)
{
    int half = KEY_BLOCK / 2;

    for (int d = 0; d < D; d++) {
        float k = ref_stored(key, dtype, at + (size_t)d);
        float v = ref_stored(value, dtype, at + (size_t)d);

        if (dtype == COMPUTE_BF16) {
            put_half(page.keys + d * half + slot % half, slot >= half, k);
            put_half(page.values + slot / 2 * D + d, slot % 2 != 0, v);
        } else {
            page.keys[d * KEY_BLOCK + slot] = k;
            page.values[slot * D + d] = v;
        }
    }
}

static void pages_store(struct compute *k, struct pages pages, const void *key,
                        const void *value, const struct extend *rows, int G, int D)
{
    size_t page_size = page_floats(k->dtype, G, D), head = page_floats(k->dtype, 1, D);

    for (int n = 0; n < rows->N; n++) {
        const int *table = rows->table + (size_t)n * rows->table_stride;

        for (int t = rows->start[n]; t < rows->start[n + 1]; t++) {
            int position = rows->position[n] + t - rows->start[n];
            size_t page = (size_t)table[position / KEY_BLOCK] * page_size;

            for (int g = 0; g < G; g++, page += head)
                store_head((struct pages){ pages.keys + page, pages.values + page },
                           position % KEY_BLOCK, k->dtype, key, value,
                           ((size_t)t * G + g) * D, D);
        }
    }
}

static void pages_attend(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape shape)
{
    int H = shape.H, G = shape.G, D = shape.D;
    size_t head_size = page_floats(k->dtype, 1, D);

    for (int n = 0; n < rows->N; n++) {
        for (int t = rows->start[n]; t < rows->start[n + 1]; t++) {
            for (int h = 0; h < H; h++) {
                size_t at = ((size_t)t * H + h) * D, head = (size_t)(h / (H / G)) * head_size;
                struct key_walk walk = { .dtype = k->dtype, .keys = pages.keys + head,
                                         .values = pages.values + head,
                                         .table = rows->table + (size_t)n * rows->table_stride,
                                         .page_size = (size_t)G * head_size, .D = D };
                int upto = rows->position[n] + t - rows->start[n] + 1;

                ref_attend(o, at, NULL, q + at, &walk, first_seen(shape.window, upto), upto);
            }
        }
    }
}

void ref_fill_pages(struct compute *k)
{
    k->pages_store = pages_store;
    k->pages_attend = pages_attend;
}
