/* JSON: what was read is written and read again, and is the same. */
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *first = json_parse((const char *)data, size, "fuzz"), *second;
    struct text written = { 0 }, again = { 0 };

    fuzz_said(first ? RL_OK : RL_EINVAL);
    json_free(json_try((const char *)data, size));
    if (!first)
        return 0;
    json_add(&written, first);
    second = json_parse(written.data, written.size, "again");
    fuzz_holds(second != NULL, "what was written is refused");
    json_add(&again, second);
    fuzz_holds(again.size == written.size && !memcmp(again.data, written.data, again.size),
               "what was read is not what was written");
    json_free(first);
    json_free(second);
    text_free(&written);
    text_free(&again);
    return 0;
}
