/* A regular expression of the configuration, and behind a zero byte the text it is looked for in.
 * The library's time to match may grow fast with the pattern: both are kept short. */
#include <math.h>

#include "reward/kinds/kinds.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts in = fuzz_parts(data, size < 60 ? size : 60);
    struct config_reward c = { .kind = "regex", .pattern = in.first };
    struct response r = { .text = in.second, .bytes = in.n_second };
    double score = NAN;
    void *state = NULL;

    fuzz_said(regex_open(&state, &c, "fuzz"));
    if (state) {
        fuzz_said(regex_score(state, &r, &score));
        fuzz_holds(score >= 0 && score <= (double)in.n_second + 1, "a count that is none");
    }
    regex_close(state);
    fuzz_parts_free(&in);
    return 0;
}
