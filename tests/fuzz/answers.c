/* Responses of a model, which may be anything, before the rewards that read their text; behind a
 * zero byte the line of the prompt, as JSON. */
#include <math.h>

#include "base/json.h"
#include "reward/kinds/kinds.h"
#include "tests/fuzz/fuzz.h"

static char *words[] = { "a", "\xc3\xa4", "the end" };
static const struct config_reward rewards[] = {
    { .kind = "words", .words = { words, 3 }, .cap = 2 },
    { .kind = "length", .unit = "words", .target = -1 },
    { .kind = "length", .unit = "characters", .target = 5 },
    { .kind = "regex", .pattern = "[a-c]+|[^ ]$" },
    { .kind = "math_answer" },
    { .kind = "instruction" },
    { .kind = "r3", .max_len = 100 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts in = fuzz_parts(data, size);
    struct json *fields = json_try(in.second, in.n_second);
    struct response r = { .text = in.first, .bytes = in.n_first, .count = (int)in.n_first,
                          .prompt = json_string(json_get(fields, "prompt"), NULL),
                          .fields = fields, .file = "prompts.jsonl", .line = 1 };

    for (size_t i = 0; i < sizeof rewards / sizeof rewards[0]; i++) {
        const struct reward_kind *kind = reward_kind_find(rewards[i].kind);
        double score = NAN;
        void *state;
        fuzz_holds(kind->open(&state, &rewards[i], "fuzz") == RL_OK, "a reward does not open");
        fuzz_said(kind->score(state, &r, &score));
        kind->close(state);
    }
    json_free(fields);
    fuzz_parts_free(&in);
    return 0;
}
