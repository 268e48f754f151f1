/* The template of a judge. */
#include <stdlib.h>

#include "data/judge.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int some[] = { 1, 2, 3 };
    struct slice prompt = { some, 3 }, a = { some, 1 }, b = { some + 1, 2 };
    struct judge *j = NULL;

    fuzz_said(judge_open(&j, fuzz_file(data, size), fuzz_tokenizer(), 10));
    if (j) {
        int n = judge_length(j, prompt.n, a.n, b.n);
        int *ids = malloc((size_t)n * sizeof *ids);
        fuzz_holds(ids && judge_write(j, prompt, a, b, ids) == n, "a length that is none");
        free(ids);
    }
    judge_close(j);
    return 0;
}
