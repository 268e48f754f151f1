/* Scores on record, as a checkpoint holds them, and what is asked of them. */
#include "base/config.h"
#include "reward/record.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_reward rewards[] = { { .kind = "length", .name = "len" },
                                       { .kind = "process", .name = "mine", .command = "x" },
                                       { .kind = "process", .name = "b", .command = "x" } };
    struct config c = { .rewards = rewards, .n_rewards = 3 };
    struct record *record = NULL;
    double score;

    fuzz_said(record_read(&record, &c, (const char *)data, size));
    if (record)
        for (int64_t n = -1; n < 4; n++)
            record_find(record, (enum record_of)(n & 1), n, n, 0x9f86d081884c7d65, 1, &score);
    record_free(record);
    return 0;
}
