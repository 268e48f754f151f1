/* tokenizer.json, and behind a zero byte a text that passes through it, there and back. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts in = fuzz_parts(data, size);
    struct tokenizer *t = NULL;
    struct ids ids = { 0 };
    struct text text = { 0 };

    fuzz_said(tokenizer_parse(&t, in.first, in.n_first, "tokenizer.json"));
    if (t) {
        fuzz_said(tokenizer_encode(t, in.second, in.n_second, true, &ids));
        fuzz_said(tokenizer_encode(t, " Hello  w\xc3\xb6rld\n", 15, false, &ids));
        for (int i = 0; i < ids.count; i++)
            fuzz_holds(ids.data[i] >= 0 && ids.data[i] < tokenizer_size(t), "an id of no token");
        fuzz_said(tokenizer_decode(t, ids.data, ids.count, size & 1, &text));
    }
    tokenizer_close(t);
    ids_free(&ids);
    text_free(&text);
    fuzz_parts_free(&in);
    return 0;
}
