/* The order of n items in an endless run of epochs: as they are, or by
 *
 *   sort of ((word 0, word 1 of Philox(seed, PURPOSE_SHUFFLE, epoch, item)), item)
 *
 * so that draw d is item order(d / n)[d % n] and depends on (seed, d, n) only.
 */
#ifndef DATA_SHUFFLE_H
#define DATA_SHUFFLE_H

#include <stdbool.h>
#include <stdint.h>

struct shuffled { uint64_t key; int64_t item; };

struct shuffle {
    int64_t n;
    struct {                     /* two, because the draws of one step may straddle epochs */
        bool made;
        uint64_t seed;
        int64_t epoch;
        struct shuffled *items;  /* (n) */
    } orders[2];
};

int shuffle_open(struct shuffle *s, int64_t n);          /* n > 0; everything is allocated here */
void shuffle_close(struct shuffle *s);                   /* fine on a zeroed struct */
/* By (key, item), in place; allocates nothing. */
void shuffle_sort(struct shuffled *items, int64_t n);
int64_t shuffle_draw(struct shuffle *s, bool shuffle, uint64_t seed, int64_t draw);

#endif
