/* See passes.h. */
#include "model/passes.h"

#include <stdint.h>

/* Where a pass from `first` on is full; its tokens are added to *tokens. */
static int fill(const struct passes *p, int first, int64_t *tokens)
{
    int64_t sum = p->tokens(p->of, first);
    int end = first + 1;

    for (int more; end < p->items && sum + (more = p->tokens(p->of, end)) <= p->room; end++)
        sum += more;
    *tokens += sum;
    return end;
}

/* Full passes that the items from `first` on take, and their tokens. */
static int count(const struct passes *p, int first, int64_t *tokens)
{
    int n = 0;

    for (*tokens = 0; first < p->items; n++)
        first = fill(p, first, tokens);
    return n;
}

int pass_end(const struct passes *p, int first, int last)
{
    int64_t rest, sum = p->tokens(p->of, first), unused = 0;
    int passes = count(p, first, &rest), full = fill(p, first, &unused), end = first + 1;

    for (int more; end < full; end++, sum += more) {
        more = p->tokens(p->of, end);
        if (passes * (2 * sum + more) > 2 * rest)       /* further from the share with it */
            break;
    }
    while (end < full && count(p, end, &unused) >= passes)
        end++;                                          /* the others have no room for the rest */
    return end < last ? end : last;
}
