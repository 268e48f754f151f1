/* Every algorithm is a row of a table of docs/algorithms.md, whose keys are keys, and a
 * configuration in launch/configs. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/file.h"
#include "base/text.h"
#include "learner/internal.h"
#include "tests/support.h"

enum { NAME, LOSS, WHEN, KEYS, PAPER, CELLS };

static struct text algorithms_page, config_page;

static int read_pages(void **state)
{
    (void)state;
    return file_read("docs/algorithms.md", &algorithms_page) != RL_OK ||
           file_read("docs/config.md", &config_page) != RL_OK;
}

static int free_pages(void **state)
{
    (void)state;
    text_free(&algorithms_page);
    text_free(&config_page);
    return 0;
}

/* The cells of the row of `name`, of which there is one. */
static void row_of(const char *name, char cell[CELLS][512])
{
    char start[64];
    const char *at;

    snprintf(start, sizeof start, "\n| `%s` | ", name);
    at = strstr(algorithms_page.data, start);
    if (!at || strstr(at + 1, start))
        fail_msg("docs/algorithms.md: %s rows of '%s'", at ? "two" : "no", name);
    at += strlen("\n| ");
    for (int i = 0; i < CELLS; i++) {
        const char *end = strstr(at, " |"), *line = strchr(at, '\n');
        if (!end || end > line || end - at < 2 || end - at >= 512)
            fail_msg("docs/algorithms.md: '%s' lacks cell %d of name, loss, when, keys and paper",
                     name, i + 1);
        memcpy(cell[i], at, (size_t)(end - at));
        cell[i][end - at] = 0;
        at = end + strlen(" | ");
    }
    if (at[-1] != '\n')
        fail_msg("docs/algorithms.md: '%s' has more than %d cells", name, CELLS);
}

/* What stands between ` and ` in a cell is a key, or a group's with a star. */
static void check_keys(const char *name, char *cell)
{
    int keys = 0;

    for (char *at = cell, *end; (at = strchr(at, '`')); at = end + 1, keys++) {
        char row[80];
        end = strchr(++at, '`');
        assert_non_null(end);
        snprintf(row, sizeof row, end[-1] == '*' ? "\n| `%.*s" : "\n| `%.*s` |",
                 (int)(end - at) - (end[-1] == '*'), at);
        if (!strstr(config_page.data, row))
            fail_msg("docs/algorithms.md: '%s' has the key %.*s, which is none", name,
                     (int)(end - at), at);
    }
    if (keys == 0)
        fail_msg("docs/algorithms.md: '%s' names no key", name);
}

static void test_every_algorithm_has_its_row(void **state)
{
    char cell[CELLS][512];

    (void)state;
    for (const struct algorithm *a = algorithms; a->name; a++) {
        row_of(a->name, cell);
        check_keys(a->name, cell[KEYS]);
    }
}

static void test_every_algorithm_has_its_configuration(void **state)
{
    (void)state;
    for (const struct algorithm *a = algorithms; a->name; a++) {
        struct config *c;
        char path[128];

        snprintf(path, sizeof path, "launch/configs/%s.cfg", a->name);
        assert_ok(config_open(&c, path, NULL, 0));
        assert_string_equal(c->algorithm, a->name);
        assert_ok(algorithm_check(c));
        config_close(c);
    }
}

/* Of every configuration all is read, and config.cfg of its run can be run again. */
static void test_every_configuration_is_read_whole(void **state)
{
    struct dirent *entry;
    DIR *folder = opendir("launch/configs");

    (void)state;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char path[300];
        const char *again;
        struct text all = { 0 }, kept = { 0 };
        struct config *c;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "launch/configs/%s", entry->d_name);
        assert_ok(config_open(&c, path, NULL, 0));
        config_text(c, &all);
        assert_ok(algorithm_check(c));
        config_text(c, &kept);
        if (strcmp(all.data, kept.data) != 0)
            fail_msg("%s has keys that nothing reads", path);
        config_close(c);
        again = support_write(support_folder(), "config.cfg", kept.data);
        assert_ok(config_open(&c, again, NULL, 0));
        assert_ok(algorithm_check(c));
        text_clear(&all);
        config_text(c, &all);
        assert_string_equal(all.data, kept.data);
        config_close(c);
        text_free(&all);
        text_free(&kept);
    }
    closedir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_algorithm_has_its_row),
        cmocka_unit_test(test_every_algorithm_has_its_configuration),
        cmocka_unit_test(test_every_configuration_is_read_whole),
    };

    return cmocka_run_group_tests(tests, read_pages, free_pages);
}
