/* Attention over the paged cache.  A page holds KEY_BLOCK positions of all key/value heads,
 *
 *   keys   [G][D][KEY_BLOCK]     positions are the lanes of a score
 *   values [G][KEY_BLOCK][D]     a value is contiguous
 *
 * so that block b of a row is page table[b] and decoding repeats what attention_forward does.
 */
#include "compute/ref/ref.h"

static void pages_store(struct compute *k, struct pages pages, const float *key,
                        const float *value, const struct extend *rows, int G, int D)
{
    size_t page_size = (size_t)G * D * KEY_BLOCK;

    (void)k;
    for (int n = 0; n < rows->N; n++) {
        const int *table = rows->table + (size_t)n * rows->table_stride;

        for (int t = rows->start[n]; t < rows->start[n + 1]; t++) {
            int position = rows->position[n] + t - rows->start[n], slot = position % KEY_BLOCK;
            size_t page = (size_t)table[position / KEY_BLOCK] * page_size;

            for (int g = 0; g < G; g++) {
                const float *from_key = key + ((size_t)t * G + g) * D;
                const float *from_value = value + ((size_t)t * G + g) * D;
                float *to_key = pages.keys + page + (size_t)g * D * KEY_BLOCK + slot;
                float *to_value = pages.values + page + ((size_t)g * KEY_BLOCK + slot) * D;

                for (int d = 0; d < D; d++) {
                    to_key[(size_t)d * KEY_BLOCK] = from_key[d];
                    to_value[d] = from_value[d];
                }
            }
        }
    }
}

static void pages_attend(struct compute *k, float *o, const float *q, struct pages pages,
                         const struct extend *rows, int H, int G, int D)
{
    size_t head_size = (size_t)D * KEY_BLOCK;

    (void)k;
    for (int n = 0; n < rows->N; n++) {
        for (int t = rows->start[n]; t < rows->start[n + 1]; t++) {
            for (int h = 0; h < H; h++) {
                size_t at = ((size_t)t * H + h) * D, head = (size_t)(h / (H / G)) * head_size;
                struct key_walk walk = { .keys = pages.keys + head,
                                         .values = pages.values + head,
                                         .table = rows->table + (size_t)n * rows->table_stride,
                                         .page_size = (size_t)G * head_size, .D = D };

                ref_attend(o + at, NULL, q + at, &walk,
                           rows->position[n] + t - rows->start[n] + 1);
            }
        }
    }
}

void ref_fill_pages(struct compute *k)
{
    k->pages_store = pages_store;
    k->pages_attend = pages_attend;
}
