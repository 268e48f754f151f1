/* See shuffle.h. */
#include "data/shuffle.h"

#include <stdlib.h>

#include "base/random.h"
#include "base/status.h"

int shuffle_open(struct shuffle *s, int64_t n)
{
    *s = (struct shuffle) { .n = n };
    for (int i = 0; i < 2; i++) {
        s->orders[i].items = calloc((size_t)n, sizeof *s->orders[i].items);
        if (!s->orders[i].items) {
            shuffle_close(s);
            return rl_error(RL_ENOFIT, "no memory for the order of %lld items", (long long)n);
        }
    }
    return RL_OK;
}

void shuffle_close(struct shuffle *s)
{
    free(s->orders[0].items);
    free(s->orders[1].items);
    *s = (struct shuffle) {0};
}

static bool comes_before(const struct shuffled *a, const struct shuffled *b)
{
    return a->key != b->key ? a->key < b->key : a->item < b->item;
}

/* Heap sort: unlike the library's sort it never allocates. */
static void sift(struct shuffled *x, int64_t at, int64_t n)
{
    struct shuffled moved = x[at];

    for (int64_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && comes_before(&x[child], &x[child + 1]))
            child++;
        if (!comes_before(&moved, &x[child]))
            break;
        x[at] = x[child];
        at = child;
    }
    x[at] = moved;
}

void shuffle_sort(struct shuffled *x, int64_t n)
{
    for (int64_t at = n / 2 - 1; at >= 0; at--)
        sift(x, at, n);
    for (int64_t last = n - 1; last > 0; last--) {
        struct shuffled largest = x[0];
        x[0] = x[last];
        x[last] = largest;
        sift(x, 0, last);
    }
}

static void order_make(struct shuffled *items, int64_t n, uint64_t seed, int64_t epoch)
{
    for (int64_t i = 0; i < n; i++) {
        struct counter c = { .seed = seed, .purpose = PURPOSE_SHUFFLE, .step = (uint32_t)epoch,
                             .prompt = (uint32_t)i, .sample = (uint32_t)((uint64_t)i >> 32) };
        uint32_t words[4];
        random_words(&c, words);
        items[i].key = (uint64_t)words[0] << 32 | words[1];
        items[i].item = i;
    }
    shuffle_sort(items, n);
}

int64_t shuffle_draw(struct shuffle *s, bool shuffle, uint64_t seed, int64_t draw)
{
    int64_t epoch = draw / s->n, at = draw % s->n;
    int slot = epoch & 1;

    if (!shuffle)
        return at;
    if (!s->orders[slot].made || s->orders[slot].seed != seed || s->orders[slot].epoch != epoch) {
        order_make(s->orders[slot].items, s->n, seed, epoch);
        s->orders[slot].made = true;
        s->orders[slot].seed = seed;
        s->orders[slot].epoch = epoch;
    }
    return s->orders[slot].items[at].item;
}
