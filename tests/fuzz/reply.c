/* What a process or a server answers when it is asked for scores: the first byte says how many
 * responses wait and whether all must be answered at once; every line is a reply. */
#include <math.h>
#include <string.h>

#include "reward/kinds/exchange.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct response responses[8];
    int how = size > 0 ? data[0] : 0, n = 1 + how % 8, taken = 0;
    struct parts in = fuzz_parts(data + (size > 0), size - (size > 0));
    struct exchange e = { .first = how & 64 ? 1000 : 0 };
    double scores[8];

    fuzz_said(exchange_begin(&e, responses, n, scores));
    for (char *line = in.first, *next; line; line = next) {
        next = strchr(line, '\n');
        size_t bytes = next ? (size_t)(next++ - line) : strlen(line);
        taken += exchange_reply(&e, line, bytes, 0, n, how & 128);
        fuzz_holds(e.left == exchange_open(&e, 0, n) && e.left >= 0, "answers miscounted");
    }
    for (int i = 0; i < n; i++)
        fuzz_holds(e.answered[i] || isnan(scores[i]), "a score without an answer");
    fuzz_holds(taken <= n, "more answers than responses");
    exchange_free(&e);
    fuzz_parts_free(&in);
    return 0;
}
