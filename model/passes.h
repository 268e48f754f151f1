/* Items in order (rows, or rows that stay together) cut into passes that are about equally heavy.
 *
 *   tokens     9  4  3 | 6  2  2  5 | 8  5          room of a pass: 17
 *
 *   struct passes p = { .items = n, .room = room, .tokens = tokens_of_row, .of = batch };
 *   for (int first = 0, end; first < n; first = end) {
 *       end = pass_end(&p, first, n);
 *       ...
 *   }
 *
 * There are as many passes as there would be if each were filled before the next begins.
 */
#ifndef MODEL_PASSES_H
#define MODEL_PASSES_H

struct passes {
    int items, room;                            /* room: tokens of a pass, at most */
    int (*tokens)(const void *of, int item);    /* 0: the item is left out */
    const void *of;
};

/* Where the pass that begins with item `first` ends, behind `last` never: where its tokens are next
 * to an equal share of those that are left.  It has one item at least, whatever its size. */
int pass_end(const struct passes *p, int first, int last);

#endif
