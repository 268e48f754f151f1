/* Sequences of operations on an emulated GPU (compute_begin, compute_end): when a graph is made and
 * launched, and that results are those of the operations one by one. */
#include "compute/device.h"
#include "tests/backends.h"

#define EMULATED(name) (function *)(uintptr_t)device_symbol(#name)

#define ROWS 3
#define WIDE 40

struct buffers { float *x, *y, *z; };
static struct compute *gpu;

static struct buffers *open_buffers(void)
{
    static struct buffers b;

    b.x = noise(ROWS * WIDE, 1);
    b.y = room(ROWS * WIDE * sizeof *b.y);
    b.z = room(ROWS * WIDE * sizeof *b.z);
    return &b;
}

static void close_buffers(struct buffers *b)
{
    drop(b->x), drop(b->y), drop(b->z);
}

/* How often the runtime's `name` was called since the last time anyone asked. */
static int calls_of(const char *name)
{
    FILE *f = fopen(getenv("EMULATED_CALLS"), "r");
    char line[128];
    int n = 0;

    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        n += strcmp(line, name) == 0;
    }
    if (f)
        fclose(f);
    remove(getenv("EMULATED_CALLS"));
    return n;
}

/* y = rows `from` of x, z += y: what the host hands over is `from`. */
static void operations(struct compute *k, struct buffers *b, const int *from, size_t n)
{
    k->gather(k, b->y, b->x, from, ROWS, WIDE * sizeof(float));
    k->add(k, b->z, b->y, n);
}

/* The same on the processor. */
static void expect(struct compute *k, struct buffers *b, const int *from, float *z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        z[i] += b->x[(size_t)from[i / WIDE] * WIDE + i % WIDE];
    assert_memory_equal(z, b->z, ROWS * WIDE * sizeof *z);
    assert_ok(compute_sync(k));
}

static void test_the_third_time_is_a_graph_and_takes_new_indices(void **state)
{
    struct buffers *b = open_buffers();
    float *z = room(ROWS * WIDE * sizeof *z);
    int launched[5] = { 0 };

    (void)state;
    for (int time = 0; time < 5; time++) {
        const int from[ROWS] = { time % 3, (time + 1) % 3, 2 };

        calls_of("");
        compute_begin(gpu);
        operations(gpu, b, from, ROWS * WIDE);
        compute_end(gpu);
        launched[time] = calls_of("cudaGraphLaunch");
        assert_ok(compute_sync(gpu));
        expect(gpu, b, from, z, ROWS * WIDE);
    }
    for (int time = 0; time < 5; time++)
        assert_int_equal(launched[time], time > 0);
    drop(z);
    close_buffers(b);
}

/* Nothing runs before the end; another size is another sequence. */
static void test_other_arguments_are_another_graph(void **state)
{
    struct buffers *b = open_buffers();
    float *z = room(ROWS * WIDE * sizeof *z);
    const int from[ROWS] = { 2, 1, 0 };

    (void)state;
    for (int time = 0; time < 6; time++) {
        size_t n = (size_t)(time / 2 + 1) * WIDE;

        calls_of("");
        compute_begin(gpu);
        operations(gpu, b, from, n);
        assert_int_equal(calls_of("cudaLaunchKernel"), 0);
        compute_end(gpu);
        assert_int_equal(calls_of("cudaGraphInstantiate"), time % 2);
        assert_ok(compute_sync(gpu));
        expect(gpu, b, from, z, n);
    }
    drop(z);
    close_buffers(b);
}

/* A table that is made for each layer, wherever it then lies: the same graph. */
static void test_where_equal_tables_lie_does_not_matter(void **state)
{
    static const int once[ROWS] = { 2, 0, 1 }, again[ROWS] = { 2, 0, 1 };
    struct buffers *b = open_buffers();

    (void)state;
    calls_of("");
    for (int pass = 0; pass < 4; pass++) {
        compute_begin(gpu);
        operations(gpu, b, once, WIDE);
        operations(gpu, b, pass < 2 ? once : again, WIDE);
        compute_end(gpu);
    }
    assert_ok(compute_sync(gpu));
    assert_int_equal(calls_of("cudaGraphLaunch"), 3);
    close_buffers(b);
}

static void test_a_wait_inside_has_all_that_came_before(void **state)
{
    struct buffers *b = open_buffers();
    float *z = room(ROWS * WIDE * sizeof *z);
    const int from[ROWS] = { 1, 1, 0 };

    (void)state;
    for (int time = 0; time < 3; time++) {
        compute_begin(gpu);
        operations(gpu, b, from, ROWS * WIDE);
        compute_wait(gpu);
        expect(gpu, b, from, z, ROWS * WIDE);
        operations(gpu, b, from, ROWS * WIDE);
        compute_end(gpu);
        assert_ok(compute_sync(gpu));
        expect(gpu, b, from, z, ROWS * WIDE);
    }
    drop(z);
    close_buffers(b);
}

/* More than the area holds goes its own way, and fits the next time. */
static void test_what_is_too_much_to_stage_fits_the_next_time(void **state)
{
    size_t n = (size_t)1 << 19;
    float *x = noise(1, 1), *y = room(n * sizeof *y);
    int *from = room(n * sizeof *from);

    (void)state;
    for (int time = 0; time < 4; time++) {
        memset(y, 0, n * sizeof *y);
        calls_of("");
        compute_begin(gpu);
        gpu->gather(gpu, y, x, from, (int)n, sizeof *y);
        compute_end(gpu);
        assert_int_equal(calls_of("cudaGraphLaunch"), time >= 2);
        assert_ok(compute_sync(gpu));
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(&y[i], x, sizeof *x);
    }
    drop(x), drop(y), drop(from);
}

/* Many more sequences than graphs are kept. */
static void test_the_oldest_graph_makes_room(void **state)
{
    struct buffers *b = open_buffers();
    float *z = room(ROWS * WIDE * sizeof *z);
    const int from[ROWS] = { 2, 0, 1 };

    (void)state;
    for (int time = 0; time < 120; time++) {
        size_t n = (size_t)(time / 2 % 30 + 1);

        compute_begin(gpu);
        operations(gpu, b, from, n);
        compute_end(gpu);
        assert_ok(compute_sync(gpu));
        expect(gpu, b, from, z, n);
    }
    drop(z);
    close_buffers(b);
}

/* The stand-in keeps the manual's rule, and so every graph made on it did. */
static void test_memory_is_not_taken_while_a_graph_is_made(void **state)
{
    typedef int function(void *, void *);
    function *begin = EMULATED(cudaStreamBeginCapture), *end = EMULATED(cudaStreamEndCapture);
    function *take = EMULATED(cudaMalloc), *give = EMULATED(cudaFree);
    function *wait = EMULATED(cudaDeviceSynchronize), *whole = EMULATED(cudaMemGetInfo);
    function *const refused[] = { take, give, wait };
    void *graph, *memory;
    size_t room;

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(NULL, NULL);
        assert_int_equal(whole(&memory, &room), 0);
        assert_int_equal(refused[i](i == 0 ? &memory : NULL, (void *)8), 900);
        assert_int_equal(end(NULL, &graph), 901);
        assert_null(graph);
    }
    assert_int_equal(take(&memory, (void *)8), 0);
    assert_int_equal(give(memory, NULL), 0);
}

static void test_without_graphs_it_goes_step_by_step(void **state)
{
    struct buffers *b = open_buffers();
    float *z = calloc(ROWS * WIDE, sizeof *z);
    const int from[ROWS] = { 0, 2, 1 };
    struct compute *k;

    (void)state;
    setenv("EMULATED_NO_CAPTURE", "1", 1);
    assert_ok(compute_open(&k, "cuda", "fp32", 1));
    for (int time = 0; time < 4; time++) {
        calls_of("");
        compute_begin(k);
        operations(k, b, from, ROWS * WIDE);
        compute_end(k);
        assert_int_equal(calls_of(time == 1 ? "cudaStreamEndCapture" : "cudaGraphLaunch"),
                         time == 1);
        assert_ok(compute_sync(k));
        expect(k, b, from, z, ROWS * WIDE);
    }
    unsetenv("EMULATED_NO_CAPTURE");
    compute_close(k);
    free(z);
    close_buffers(b);
}

static int open_gpu(void **state)
{
    (void)state;
    support_gpu();
    return setenv("EMULATED_CALLS", support_path(support_folder(), "calls"), 1) == 0
           ? compute_open(&gpu, "cuda", "fp32", 1) : -1;
}

static int close_gpu(void **state)
{
    int rc = compute_sync(gpu);

    (void)state;
    compute_close(gpu);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_third_time_is_a_graph_and_takes_new_indices),
        cmocka_unit_test(test_other_arguments_are_another_graph),
        cmocka_unit_test(test_where_equal_tables_lie_does_not_matter),
        cmocka_unit_test(test_a_wait_inside_has_all_that_came_before),
        cmocka_unit_test(test_what_is_too_much_to_stage_fits_the_next_time),
        cmocka_unit_test(test_the_oldest_graph_makes_room),
        cmocka_unit_test(test_memory_is_not_taken_while_a_graph_is_made),
        cmocka_unit_test(test_without_graphs_it_goes_step_by_step),
    };

    return cmocka_run_group_tests(tests, open_gpu, close_gpu);
}
