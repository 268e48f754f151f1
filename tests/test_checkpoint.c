/* Checkpoints on one rank: everything comes back, damage is named, a failed write changes
 * nothing. */
#include "tests/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "checkpoints/checkpoint.h"

/* ---- helpers */

static struct comm *alone;

static int begin(void **state)
{
    (void)state;
    status_hold(true);
    alone = comm_alone();
    return alone ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    comm_stop(alone);
    return 0;
}

struct place { char path[4096]; };
static struct place place(const char *folder, const char *name)
{
    struct place p;

    if (!*name)
        snprintf(p.path, sizeof p.path, "%s", folder);
    else if (path_join(p.path, sizeof p.path, folder, name) != RL_OK)
        fail_msg("path too long");
    return p;
}

static void assert_line(int rc, const char *words)
{
    const char *line = status_message();

    assert_int_not_equal(rc, RL_OK);
    if (!strstr(line, words) || strchr(line, '\n'))
        fail_msg("expected one line with '%s', got '%s'", words, line);
    status_drop();
}

static void write_raw(const char *path, const struct text *t)
{
    FILE *file;

    remove(path);
    file = fopen(path, "wb");
    if (!file || fwrite(t->data, 1, t->size, file) != t->size || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

/* Arrays of every type and number of dimensions; some of several chunks, some empty. */
static const struct { const char *name; enum dtype dtype; int dims; size_t shape[4]; } plan[] = {
    { "weights/model.embed_tokens.weight", DTYPE_F32, 2, { 300, 500 } },
    { "weights/model.layers.10.norm.weight", DTYPE_F32, 1, { 65536 } },
    { "weights/model.layers.9.norm.weight", DTYPE_F32, 1, { 7 } },
    { "adam/m", DTYPE_F64, 3, { 7, 11, 1021 } },
    { "queue/tokens", DTYPE_I32, 1, { 0 } },
    { "queue/start", DTYPE_I64, 4, { 2, 3, 5, 7 } },
    { "queue/empty", DTYPE_F32, 2, { 3, 0 } },
    { "state/random", DTYPE_U64, 0, { 0 } },
    { "state/flags", DTYPE_U8, 1, { 65537 } },
    { "half/a", DTYPE_BF16, 2, { 1, 65536 } },
    { "half/b", DTYPE_F16, 1, { 3 } },
};
#define PLAN ((int)(sizeof plan / sizeof plan[0]))

struct sample {
    struct array arrays[PLAN];
    struct checkpoint_piece pieces[PLAN];
    struct checkpoint_text texts[3];
    struct checkpoint_value values[2];
    struct checkpoint_content content;
};

static struct sample *sample_create(void)
{
    struct sample *s = calloc(1, sizeof *s);

    for (int i = 0; i < PLAN; i++) {
        struct array *a = &s->arrays[i];
        snprintf(a->name, sizeof a->name, "%s", plan[i].name);
        a->dtype = plan[i].dtype;
        a->dims = plan[i].dims;
        a->size = 1;
        for (int d = 0; d < a->dims; d++)
            a->size *= a->shape[d] = plan[i].shape[d];
        size_t bytes = a->size * dtype_size(a->dtype);
        unsigned char *data = malloc(bytes + 1);
        for (size_t k = 0; k < bytes; k++)
            data[k] = (unsigned char)(k * 7 + k / 251 + k / 65521 * 3 + (size_t)i);
        s->pieces[i] = (struct checkpoint_piece){ i, 0, a->size, data };
    }
    s->texts[0] = (struct checkpoint_text){ "config", "steps = 3;\n", 11 };
    s->texts[1] = (struct checkpoint_text){ "files/tokenizer.json", "{\"a\":\"\0\"}", 9 };
    s->texts[2] = (struct checkpoint_text){ "empty", "", 0 };
    s->values[0] = (struct checkpoint_value){ "step", 40 };
    s->values[1] = (struct checkpoint_value){ "seed", INT64_MIN };
    s->content = (struct checkpoint_content){ s->arrays, PLAN, s->pieces, PLAN, s->texts, 3,
                                               s->values, 2 };
    return s;
}

static void sample_free(struct sample *s)
{
    for (int i = 0; i < PLAN; i++)
        free((void *)(uintptr_t)s->pieces[i].data);
    free(s);
}

static void save_sample(const char *path)
{
    struct sample *s = sample_create();
    size_t bytes = 0;
    struct stat info;

    assert_ok(checkpoint_write(alone, path, &s->content, &bytes));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, bytes);
    sample_free(s);
}

/* Read everything; the first failure's code. */
static int read_all(const char *path)
{
    struct checkpoint *c;
    struct text text = { 0 };
    char *out = NULL;
    int rc = RL_OK;

    TRY(checkpoint_open(&c, path));
    for (int i = 0; i < checkpoint_count(c) && rc == RL_OK; i++) {
        const struct array *a = checkpoint_array(c, i);
        out = realloc(out, a->size * dtype_size(a->dtype) + 1);
        rc = checkpoint_read(c, i, 0, a->size, out);
    }
    for (int i = 0; i < checkpoint_texts(c) && rc == RL_OK; i++)
        rc = checkpoint_text(c, checkpoint_text_name(c, i), &text);
    checkpoint_close(c);
done:
    free(out);
    text_free(&text);
    return rc;
}

/* ---- what comes back */

static void test_everything_comes_back(void **state)
{
    struct place path = place(support_folder(), "step-00000040.h5");
    struct sample *s = sample_create();
    struct checkpoint *c;
    struct text text = { 0 };
    int64_t i64 = 0;

    (void)state;
    save_sample(path.path);
    assert_ok(checkpoint_open(&c, path.path));
    assert_int_equal(checkpoint_count(c), PLAN);
    for (int i = 0; i < PLAN; i++) {
        const struct array *a = checkpoint_array(c, i), *want = &s->arrays[i];
        size_t bytes = want->size * dtype_size(want->dtype);
        char *got = malloc(bytes + 1);
        assert_string_equal(a->name, want->name);               /* in the order of writing */
        assert_int_equal(checkpoint_find(c, want->name), i);
        assert_int_equal(a->dtype, want->dtype);
        assert_int_equal(a->dims, want->dims);
        assert_memory_equal(a->shape, want->shape, sizeof a->shape);
        assert_ok(checkpoint_read(c, i, 0, a->size, got));
        assert_memory_equal(got, s->pieces[i].data, bytes);
        free(got);
    }
    assert_int_equal(checkpoint_find(c, "weights"), -1);
    assert_int_equal(checkpoint_texts(c), 3);
    for (int i = 0; i < 3; i++) {
        assert_ok(checkpoint_text(c, s->texts[i].name, &text));
        assert_int_equal(text.size, s->texts[i].bytes);
        assert_memory_equal(text.data, s->texts[i].data, text.size);
    }
    assert_string_equal(checkpoint_text_name(c, 2), "files/tokenizer.json");
    assert_line(checkpoint_text(c, "none", &text), "holds no text 'none'");
    assert_true(checkpoint_int(c, "step", &i64) && i64 == 40);
    assert_true(checkpoint_int(c, "seed", &i64) && i64 == INT64_MIN);
    assert_false(checkpoint_int(c, "none", &i64));
    checkpoint_close(c);
    text_free(&text);
    sample_free(s);
}

static void test_any_range_can_be_read(void **state)
{
    struct place path = place(support_folder(), "a.h5");
    struct sample *s = sample_create();
    struct checkpoint *c;
    const size_t chunk = HASH_CHUNK;
    const size_t ends[] = { 0, 1, 499, 500, 501, 1021, 11231, 65535, chunk, chunk + 1, 70000,
                            78617, 131071, 2 * chunk, 2 * chunk + 1, 149999, 150000 };
    const int n = (int)(sizeof ends / sizeof ends[0]);
    char *got = malloc(150000 * 8);

    (void)state;
    save_sample(path.path);
    assert_ok(checkpoint_open(&c, path.path));
    for (int i = 0; i < PLAN; i++) {
        const struct array *a = checkpoint_array(c, i);
        size_t each = dtype_size(a->dtype);
        for (int b = 0; b < n; b++) {
            for (int e = b; e < n && ends[e] <= a->size; e++) {
                size_t count = ends[e] - ends[b];
                assert_ok(checkpoint_read(c, i, ends[b], count, got));
                assert_memory_equal(got, (char *)s->pieces[i].data + ends[b] * each, count * each);
            }
        }
        assert_line(checkpoint_read(c, i, a->size, 1, got), "has no elements");
        assert_line(checkpoint_read(c, i, 1, SIZE_MAX, got), "has no elements");
    }
    checkpoint_close(c);
    sample_free(s);
    free(got);
}

static void test_equal_content_gives_equal_bytes(void **state)
{
    struct place folder = place(support_folder(), "");
    struct place one = place(folder.path, "a.h5"), two = place(folder.path, "b.h5");
    struct text a = { 0 }, b = { 0 };

    (void)state;
    save_sample(one.path);
    save_sample(two.path);
    save_sample(two.path);                          /* over an older one */
    assert_ok(file_read(one.path, &a));
    assert_ok(file_read(two.path, &b));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_false(file_exists(place(folder.path, "a.h5.part").path));
    text_free(&a);
    text_free(&b);
}

/* ---- damage */

static void test_a_damaged_chunk_is_named(void **state)
{
    struct place folder = place(support_folder(), "");
    struct place path = place(folder.path, "a.h5");
    struct sample *s = sample_create();
    struct text file = { 0 };
    struct checkpoint *c;
    char *at, *got = malloc(150000 * 4);

    (void)state;
    save_sample(path.path);
    assert_ok(file_read(path.path, &file));
    at = memmem(file.data, file.size, s->pieces[0].data, 4096);
    assert_non_null(at);
    at[65536 * 4] ^= 1;                             /* the first byte of chunk 1 */
    write_raw(path.path, &file);
    assert_ok(checkpoint_open(&c, path.path));
    assert_ok(checkpoint_read(c, 0, 0, 65536, got));
    assert_int_equal(checkpoint_read(c, 0, 65537, 1, got), RL_EINVAL);
    assert_line(RL_EINVAL, "'weights/model.embed_tokens.weight', chunk 1");
    assert_int_equal(checkpoint_read(c, 0, 0, 150000, got), RL_EINVAL);
    assert_line(RL_EINVAL, "a.h5 is damaged");
    checkpoint_close(c);
    text_free(&file);
    sample_free(s);
    free(got);
}

/* Every byte is an element, part of a hashed structure, or the seal: no change goes unnoticed,
 * and none reaches HDF5. */
static void test_no_mutation_goes_unnoticed(void **state)
{
    struct place folder = place(support_folder(), "");
    struct place path = place(folder.path, "a.h5"), bad = place(folder.path, "b.h5");
    struct text file = { 0 };

    (void)state;
    save_sample(path.path);
    assert_ok(file_read(path.path, &file));
    for (uint32_t round = 0; round < 300; round++) {
        struct counter counter = { .seed = 5, .purpose = PURPOSE_TEST, .prompt = round };
        uint32_t words[4];
        size_t at, tail = 2000;
        random_words(&counter, words);
        at = words[0] % 3 == 0   ? words[1] % 4096                      /* where HDF5 begins */
             : words[0] % 3 == 1 ? file.size - 1 - words[1] % tail      /* the seal and before */
                                 : words[1] % file.size;
        char old = file.data[at];
        file.data[at] ^= (char)(1 + words[2] % 255);
        write_raw(bad.path, &file);
        file.data[at] = old;
        int rc = read_all(bad.path);
        if (rc == RL_OK)                    /* the gaps between arrays are hashed too */
            fail_msg("byte %zu of %zu was changed and nobody saw it", at, file.size);
        assert_line(rc, "b.h5");
    }
    text_free(&file);
}

static void test_every_truncation_is_seen(void **state)
{
    struct place folder = place(support_folder(), "");
    struct place path = place(folder.path, "a.h5");
    struct text file = { 0 };
    size_t full;

    (void)state;
    save_sample(path.path);
    assert_ok(file_read(path.path, &file));
    full = file.size;
    for (size_t n = 0; n < full; n += n < 64 || n + 64 > full ? 1 : full / 60) {
        file.size = n;
        write_raw(path.path, &file);
        assert_line(read_all(path.path), "a.h5");
    }
    file.size = full;
    text_add(&file, "x", 1);
    write_raw(path.path, &file);
    assert_line(read_all(path.path), "does not end as a checkpoint does");
    text_free(&file);
}

static void test_other_files_are_not_checkpoints(void **state)
{
    struct place folder = place(support_folder(), "");
    struct checkpoint *c = (void *)1;

    (void)state;
    support_write(folder.path, "text", "This is no checkpoint, but a text of some length.\n");
    assert_line(checkpoint_open(&c, place(folder.path, "text").path), "another kind of file");
    assert_null(c);
    assert_line(checkpoint_open(&c, place(folder.path, "none").path), "No such file");
    assert_line(checkpoint_open(&c, folder.path), "is not a file");
}

/* ---- writes that fail */

static void test_a_full_disk_leaves_the_old_checkpoint(void **state)
{
    struct place folder = place(support_folder(), "");
    struct place path = place(folder.path, "a.h5"), part = place(folder.path, "a.h5.part");
    struct sample *s = sample_create();
    struct rlimit old, low;
    struct text before = { 0 }, after = { 0 };
    size_t bytes;

    (void)state;
    save_sample(path.path);
    assert_ok(file_read(path.path, &before));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (rlim_t limit = 0; limit < before.size; limit += before.size / 10) {
        low = old;
        low.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &low);
        int rc = checkpoint_write(alone, path.path, &s->content, &bytes);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(rc, RL_EIO);
        status_drop();
        assert_false(file_exists(part.path));
    }
    assert_ok(file_read(path.path, &after));
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    assert_ok(read_all(path.path));
    text_free(&before);
    text_free(&after);
    sample_free(s);
}

static void test_a_wrong_folder_is_one_line(void **state)
{
    struct place folder = place(support_folder(), "");
    struct sample *s = sample_create();
    size_t bytes;

    (void)state;
    support_write(folder.path, "file", "");
    struct place file = place(folder.path, "file/a.h5"), none = place(folder.path, "none/a.h5");
    assert_int_equal(checkpoint_write(alone, file.path, &s->content, &bytes), RL_EIO);
    assert_int_equal(checkpoint_write(alone, none.path, &s->content, &bytes), RL_EIO);
    assert_false(folder_exists(place(folder.path, "none").path));
    sample_free(s);
}

static void test_promises_of_callers_are_checked(void **state)
{
    struct place path = place(support_folder(), "a.h5");
    static const char *const names[] = { "", "/a", "a/", "a//b", ".", "a/..", "texts/a",
                                         "checksums/a" };
    struct sample *s = sample_create();
    size_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(s->arrays[2].name, ARRAY_NAME, "%s", names[i]);
        assert_int_equal(checkpoint_write(alone, path.path, &s->content, &bytes), RL_EBUG);
    }
    snprintf(s->arrays[2].name, ARRAY_NAME, "a");
    s->pieces[0].count = 65536;                                     /* the rest is nobody's */
    assert_int_equal(checkpoint_write(alone, path.path, &s->content, &bytes), RL_EBUG);
    s->pieces[0].count = 150001;
    assert_int_equal(checkpoint_write(alone, path.path, &s->content, &bytes), RL_EBUG);
    s->pieces[0].count = 150000;
    s->values[0].name = "rankwise_checkpoint";
    assert_int_equal(checkpoint_write(alone, path.path, &s->content, &bytes), RL_EBUG);
    s->values[0].name = s->values[1].name;                          /* twice */
    assert_int_not_equal(checkpoint_write(alone, path.path, &s->content, &bytes), RL_OK);
    status_drop();
    assert_false(file_exists(path.path));
    sample_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_comes_back),
        cmocka_unit_test(test_any_range_can_be_read),
        cmocka_unit_test(test_equal_content_gives_equal_bytes),
        cmocka_unit_test(test_a_damaged_chunk_is_named),
        cmocka_unit_test(test_no_mutation_goes_unnoticed),
        cmocka_unit_test(test_every_truncation_is_seen),
        cmocka_unit_test(test_other_files_are_not_checkpoints),
        cmocka_unit_test(test_a_full_disk_leaves_the_old_checkpoint),
        cmocka_unit_test(test_a_wrong_folder_is_one_line),
        cmocka_unit_test(test_promises_of_callers_are_checked),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
