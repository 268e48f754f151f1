/* Records, JSONL: the first byte says how they are looked at.  What is opened fills a batch. */

#include "data/records.h"
#include "tests/fuzz/fuzz.h"

static const char template[] = "{prompt} A: {a} B: {b} ";

static void fill(struct records *r)
{
    int k = records_rows(r), columns = records_columns(r);
    struct memory m = { 0 };
    struct batch b = { 0 };

    memory_count(&m);
    batch_layout(&b, &m, 2 * k, 2 * k * records_longest(r), columns);
    fuzz_holds(memory_open(&m) == RL_OK, "no memory");
    batch_layout(&b, &m, 2 * k, 2 * k * records_longest(r), columns);
    b.P = b.groups = 2;
    b.k = k;
    for (int64_t draw = 0; draw < 4; draw += 2)
        fuzz_said(records_next(r, true, 1, draw, &b));
    memory_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int eos[] = { 9 };
    static struct judge *judge;
    uint8_t how = size > 0 ? data[0] : 0;
    char *path = (char *)fuzz_file(data + (size > 0), size - (size > 0));
    struct strings paths = { &path, 1 };
    struct records_settings settings = {
        .view = how % (VIEW_AUGMENTED + 1), .tokenizer = fuzz_tokenizer(), .vocabulary = 10,
        .max_tokens = 64, .eos = eos, .n_eos = 1, .append_eos = how & 16, .join = " ",
        .skip_long = how & 32, .drop_bad = how & 64, .in_turn = how & 128,
        .target = "{score} "
    };
    struct records *r = NULL;

    if (!judge)
        fuzz_said(judge_parse(&judge, template, sizeof template - 1, "judge", fuzz_tokenizer(),
                              10));
    settings.judge = judge;
    fuzz_said(records_open(&r, &paths, &settings));
    if (r)
        fill(r);
    records_close(r);
    return 0;
}
