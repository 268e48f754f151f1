/* Slots of the journal: a record is found as it was committed; one that was begun, cut, damaged or
 * is another run's is none. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "base/hash.h"
#include "launch/journal/slot.h"
#include "tests/support.h"

#define ROOM ((size_t)100000)
#define RUN 0x1234u

static const char *fill(struct slot *s, const char *folder, int64_t step)
{
    struct slot_head head = { .run = RUN, .step = step, .rank = 1, .ranks = 3, .bytes = 70001 };

    assert_ok(slot_create(s, folder, 1, 0, ROOM));
    assert_ok(slot_begin(s, true));
    memset(slot_image(s), (int)step, ROOM);
    head.hash = hash64(slot_image(s), head.bytes);
    assert_ok(slot_commit(s, &head, true));
    return support_path(folder, "1.0");
}

static bool found(const char *path, uint64_t run)
{
    struct slot_head head;
    struct slot s;
    bool there = slot_find(&s, path, run, &head);

    slot_close(&s);
    return there;
}

static void test_a_record_is_found(void **state)
{
    struct slot s, again;
    struct slot_head head;
    const char *path = fill(&s, support_folder(), 7);

    (void)state;
    assert_true(slot_find(&again, path, RUN, &head));
    assert_true(head.step == 7 && head.rank == 1 && head.ranks == 3 && head.bytes == 70001);
    assert_memory_equal(slot_image(&again), slot_image(&s), head.bytes);
    slot_close(&again);
    assert_false(found(path, RUN + 1));                         /* another run's */
    assert_int_equal(slot_create(&again, path, 1, 0, ROOM), RL_EIO);    /* no folder */
    assert_ok(slot_begin(&s, false));                           /* the next one begins */
    assert_false(found(path, RUN));
    slot_close(&s);
}

static void test_damage_is_found(void **state)
{
    struct slot s;
    const char *folder = support_folder(), *path = fill(&s, folder, 7);

    (void)state;
    slot_image(&s)[70000] ^= 1;
    assert_false(found(path, RUN));
    slot_image(&s)[70000] ^= 1;
    assert_true(found(path, RUN));
    slot_image(&s)[70001] ^= 1;                                 /* behind the image */
    assert_true(found(path, RUN));
    slot_close(&s);
    assert_int_equal(truncate(path, 4096 + 70000), 0);
    assert_false(found(path, RUN));
    assert_int_equal(truncate(path, 100), 0);
    assert_false(found(path, RUN));
    assert_false(found(folder, RUN));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_false(found(path, RUN));
    assert_int_equal(unlink(path), 0);
}

static void test_no_room_is_one_line(void **state)
{
    const char *folder = support_folder();
    struct rlimit old, low;
    struct slot s;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    low = old;
    low.rlim_cur = 50000;
    setrlimit(RLIMIT_FSIZE, &low);
    assert_int_equal(slot_create(&s, folder, 0, 1, ROOM), RL_EIO);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_has(status_message(), "journal: no room for 0.1 MiB");
    assert_int_not_equal(access(support_path(folder, "0.1"), F_OK), 0);
}

static void test_only_slots_are_removed(void **state)
{
    const char *folder = support_folder();
    struct slot s;

    (void)state;
    fill(&s, folder, 3);
    slot_close(&s);
    support_write(folder, "1.2", "");
    slots_remove(folder);
    assert_int_not_equal(access(support_path(folder, "1.0"), F_OK), 0);
    assert_int_equal(access(support_path(folder, "1.2"), F_OK), 0);
    assert_int_equal(unlink(support_path(folder, "1.2")), 0);
    slots_remove(folder);
    assert_int_not_equal(access(folder, F_OK), 0);
    slots_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_is_found),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_no_room_is_one_line),
        cmocka_unit_test(test_only_slots_are_removed),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
