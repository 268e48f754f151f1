/* What a program prints that is asked for scores, through its pipe. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "reward/kinds/kinds.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct response responses[3] = { { .text = "a" }, { .text = "b" },
                                                  { .text = "c" } };
    char command[128];
    struct config_reward c = { .command = command, .timeout = 5 };
    double scores[3] = { 0 };
    struct text trouble = { 0 };
    void *state = NULL;

    snprintf(command, sizeof command, "cat /proc/%d/fd/%s", (int)getpid(),
             fuzz_file(data, size) + sizeof "/proc/self/fd/" - 1);
    fuzz_said(process_open(&state, &c, "fuzz"));
    if (state) {
        fuzz_said(process_score(state, responses, 3, scores, &trouble));
        for (int i = 0; i < 3; i++)
            fuzz_holds(isnan(scores[i]) || isfinite(scores[i]), "an infinite score");
    }
    process_close(state);
    text_free(&trouble);
    return 0;
}
