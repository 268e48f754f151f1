/* Prompts: JSONL, plain or gzip; and the same bytes as text for language-model training. */
#include "data/prompts.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *path = (char *)fuzz_file(data, size);
    struct strings paths = { &path, 1 };
    struct prompts *p = NULL;
    struct corpus *c = NULL;

    fuzz_said(prompts_open(&p, path, fuzz_tokenizer(), NULL, 10, 64, size & 1));
    for (int64_t i = 0; p && i < prompts_count(p); i++)
        fuzz_holds(prompts_line(p, prompts_draw(p, true, 1, i)) > 0, "a prompt of no line");
    prompts_close(p);
    fuzz_said(corpus_open(&c, &paths, fuzz_tokenizer(), 10, 0, 9, 4));
    corpus_close(c);
    return 0;
}
