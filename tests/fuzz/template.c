/* A chat template, and behind a zero byte messages as JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/template.h"
#include "tests/fuzz/fuzz.h"

static const char usual[] =
    "[{\"role\":\"system\",\"content\":\"é\"},{\"role\":\"user\",\"content\":\"a b\\n\"},"
    "{\"role\":\"assistant\",\"content\":[{\"text\":\"x\"},1,-2.5,null]}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts p = fuzz_parts(data, size);
    struct tm now = { .tm_year = 124, .tm_mday = 1 };
    struct template_settings settings = { .add_generation_prompt = true, .bos_token = "<s>",
                                          .now = &now };
    struct json *given = json_try(p.second, p.n_second);
    struct json *messages = given ? given : json_try(usual, sizeof usual - 1);
    struct text out = { 0 };
    struct template *t = NULL;
    int rc;

    fuzz_said(template_open(&t, p.first, p.n_first, "template"));
    if (t) {
        rc = template_render(t, messages, &settings, &out);
        fuzz_said(rc);
        fuzz_holds(rc == RL_OK || out.size == 0, "a text in spite of a refusal");
        fuzz_holds(out.size <= TEMPLATE_BYTES, "a text beyond the limit");
    }
    template_close(t);
    text_free(&out);
    json_free(messages);
    fuzz_parts_free(&p);
    return 0;
}
