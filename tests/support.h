/* What tests share: cmocka, a temporary folder, and the project's shared data when it is there. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

/* The folder shared/ ($RANKWISE_SHARED or ../shared), or NULL when absent.  Tests that need it call
 * skip() (never under CI=true: there it fails). */
const char *support_shared(void);
/* shared/<name>, skipping the test when absent; a static buffer, good until the 8th later call. */
const char *support_shared_path(const char *name);
/* A fresh folder below $TMPDIR or /tmp, removed at exit. */
const char *support_folder(void);
/* folder/name in a static buffer, good until the 8th later call. */
const char *support_path(const char *folder, const char *name);
/* Write text to folder/name and return the path. */
const char *support_write(const char *folder, const char *name, const char *text);

/* device = "cuda" is from now on the emulated one (tests/cuda/cuda_runtime.h), or, where
 * RANKWISE_TEST_GPU is "real", that of the library that runs use.  Set at all, tests of all
 * backends are to try the GPU only (tests/check_cuda.sh). */
void support_gpu(void);
bool support_gpu_is_real(void);
bool support_gpu_only(void);

/* For a group's setup: messages of mistakes are held, not printed. */
int support_hold(void **state);

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' is not in '%s'", (part), (text));                                       \
    } while (0)

#define assert_ok(call) assert_int_equal((call), RL_OK)

#endif
