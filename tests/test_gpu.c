/* What a GPU's memory is for: kernels are held to what a device reaches, and the emulated runtime
 * (tests/cuda/cuda_runtime.h) sees it when they are given other memory. */
#include <stdlib.h>

#include "base/memory.h"
#include "compute/compute.h"
#include "tests/support.h"

#define N 64
#define HEAD 16

static struct compute *gpu;
static struct memory reached, ordinary;
static float *x, *y, *plain;

static int open_gpu(void **state)
{
    if (support_gpu_is_real())
        return 0;                    /* a device that faults is of no use to the next test */
    support_hold(state);
    support_gpu();
    if (compute_open(&gpu, "cuda", "fp32", 1) != RL_OK)
        return -1;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            memory_count(&reached), memory_count(&ordinary);
        else if (memory_open(&reached) != RL_OK || memory_open_host(&ordinary) != RL_OK)
            return -1;
        x = memory_take(&reached, N * sizeof *x);
        y = memory_take(&reached, N * sizeof *y);
        plain = memory_take(&ordinary, N * sizeof *plain);
    }
    return 0;
}

static int close_gpu(void **state)
{
    (void)state;
    compute_close(gpu);
    memory_close(&reached);
    memory_close(&ordinary);
    return 0;
}

static void refuses(const char *kernel)
{
    assert_int_equal(compute_sync(gpu), RL_EBUG);
    assert_has(status_message(), kernel);
    assert_has(status_message(), "memory that no device reaches");
    status_drop();
}

static void test_results_come_when_they_are_waited_for(void **state)
{
    (void)state;
    if (!gpu)
        skip();
    x[0] = 1, y[0] = 2;
    gpu->add(gpu, y, x, N);
    assert_true(y[0] == 2);
    assert_ok(compute_sync(gpu));
    assert_true(y[0] == 3);
}

static void test_ordinary_memory_is_refused(void **state)
{
    float stack[N] = {0}, *heap;

    (void)state;
    if (!gpu)
        skip();
    heap = calloc(N, sizeof *heap);
    gpu->add(gpu, y, plain, N);
    refuses("add");
    gpu->add(gpu, stack, x, N);
    refuses("add");
    gpu->add(gpu, y, heap, N);
    refuses("add");
    gpu->copy(gpu, y, plain, sizeof *y);
    refuses("copy");
    gpu->zero(gpu, plain, sizeof *plain);
    refuses("zero");
    free(heap);
}

static void test_ordinary_memory_in_a_struct_is_refused(void **state)
{
    const struct attention_shape one = { 1, 1, HEAD, 0 };
    const int start[] = { 0, 1 };

    (void)state;
    if (!gpu)
        skip();
    gpu->attention_forward(gpu, y, y + HEAD, x, x, x, start, 1, one);
    assert_ok(compute_sync(gpu));
    gpu->attention_forward(gpu, y, y + HEAD, x, plain, x, start, 1, one);
    refuses("attention_forward");
}

static void test_closed_memory_is_refused(void **state)
{
    struct memory gone;
    float *was;

    (void)state;
    if (!gpu)
        skip();
    memory_count(&gone);
    memory_take(&gone, N * sizeof *was);
    assert_ok(memory_open(&gone));
    was = memory_take(&gone, N * sizeof *was);
    memory_close(&gone);
    gpu->add(gpu, y, was, N);
    refuses("add");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_come_when_they_are_waited_for),
        cmocka_unit_test(test_ordinary_memory_is_refused),
        cmocka_unit_test(test_ordinary_memory_in_a_struct_is_refused),
        cmocka_unit_test(test_closed_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
