/* The outlet of a checkpoint's arrays: any bytes at any place, pages past the cache or not. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoints/internal.h"
#include "tests/support.h"

#define BYTES ((size_t)9 << 20)

static char *noise(void)
{
    char *x = malloc(BYTES);

    for (size_t i = 0; i < BYTES; i++)
        x[i] = (char)((uint32_t)i * 2654435761u >> 24);
    return x;
}

static void assert_file(const char *path, const char *want, size_t n)
{
    struct text is = {0};

    assert_ok(file_read(path, &is));
    assert_int_equal(is.size, n);
    assert_memory_equal(is.data, want, n);
    text_free(&is);
}

static const char *new_file(const char *name)
{
    const char *path = support_path(support_folder(), name);

    assert_ok(file_write(path, "", 0));
    return path;
}

/* Pieces that begin and end anywhere: in a page, at one, across the block of 4 MiB. */
static void write_cut(const char *path, bool past)
{
    static const size_t cuts[] = { 0, 1, 4095, 4096, 4097, 8192, 20000, 5000000, 8 << 20, BYTES };
    char *x = noise();
    struct outlet o;

    assert_int_equal(outlet_open(&o, path, past), 0);
    assert_true(past || o.past < 0);
    for (size_t i = sizeof cuts / sizeof *cuts - 1; i > 0; i--)
        assert_int_equal(outlet_write(&o, x + cuts[i - 1], cuts[i] - cuts[i - 1], cuts[i - 1]), 0);
    assert_int_equal(outlet_sync(&o), 0);
    assert_int_equal(outlet_close(&o), 0);
    assert_int_equal(outlet_close(&o), 0);
    assert_file(path, x, BYTES);
    free(x);
}

static void test_pieces_make_the_file(void **state)
{
    (void)state;
    write_cut(new_file("past"), true);
    write_cut(new_file("through"), false);
}

/* A file system may take O_DIRECT at open and not at a write. */
static void test_what_cannot_go_past_goes_through(void **state)
{
    char *x = noise();
    const char *path = new_file("mixed");
    struct outlet o;
    int ends[2];

    (void)state;
    assert_int_equal(outlet_open(&o, path, true), 0);
    if (o.past < 0)
        o.block = aligned_alloc(4096, (size_t)4 << 20);
    else
        close(o.past);
    o.past = open("/proc/self/clear_refs", O_WRONLY);          /* EINVAL for what is no number */
    assert_true(o.past >= 0);
    assert_int_equal(outlet_write(&o, x, 100000, 0), 0);
    assert_int_equal(o.past, -1);
    assert_int_equal(outlet_close(&o), 0);
    assert_file(path, x, 100000);

    assert_int_equal(outlet_open(&o, path, true), 0);
    assert_int_equal(pipe(ends), 0);
    close(o.fd);
    o.fd = ends[0];                                             /* not for writing */
    assert_int_equal(outlet_write(&o, x, 10, 0), ESPIPE);
    assert_int_equal(outlet_close(&o), 0);
    close(ends[1]);
    assert_int_equal(outlet_open(&o, "/nowhere/at/all", true), ENOENT);
    assert_int_equal(outlet_close(&o), 0);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_make_the_file),
        cmocka_unit_test(test_what_cannot_go_past_goes_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
