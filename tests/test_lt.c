/* Who multiplies in device = "cuda", bf16: cuBLASLt (tests/cuda/lt.c stands in for it) where a row
 * keeps its bits, our kernels otherwise; what is asked of the library, and in what order. */
#include <unistd.h>

#include "tests/backends.h"

enum { M = 200, N = 16, K = 24 };

static char calls[4096];             /* what the stand-in was asked, a line each */
static float *x, *w, *dy;
static void *xs;

static const char *beside_this_test(const char *name)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);

    path[n > 0 ? n : 0] = '\0';
    strcpy(strrchr(path, '/') + 1, name);
    return path;
}

static struct compute *gpu;

static int make_operands(void **state)
{
    (void)state;
    if (compute_open(&ref, "ref", "bf16", 1) != RL_OK)
        return -1;
    support_gpu();
    if (compute_open(&gpu, "cuda", "fp32", 1) != RL_OK)      /* memory is a GPU's from now on */
        return -1;
    x = noise(M * K, 1), w = noise(N * K, 1), dy = noise(M * N, 1);
    xs = stored(x, M * K);
    snprintf(calls, sizeof calls, "%s/calls", support_folder());
    setenv("EMULATED_LT_CALLS", calls, 1);
    return 0;
}

static int free_operands(void **state)
{
    (void)state;
    drop(x), drop(w), drop(dy), drop(xs);
    compute_close(gpu);
    compute_close(ref);
    return 0;
}

/* A GPU with a library of which that is wrong; NULL: without one. */
static struct compute *open_with(const char *wrong)
{
    struct compute *k;

    remove(calls);
    setenv("RANKWISE_CUBLASLT", wrong ? beside_this_test("emulated_lt.so") : "", 1);
    setenv("EMULATED_LT", wrong ? wrong : "", 1);
    assert_ok(compute_open(&k, "cuda", "bf16", 1));
    return k;
}

/* Lines of the calls that begin with that. */
static int count_calls(const char *begin)
{
    FILE *f = fopen(calls, "r");
    char line[256];
    int n = 0;

    while (f && fgets(line, sizeof line, f))
        n += strncmp(line, begin, strlen(begin)) == 0;
    if (f)
        fclose(f);
    return n;
}

/* Of rows [at, at + m); all by one GPU without a wait in between. */
struct results { float *y, *dx, *dw; };

static struct results run(struct compute *k, int at, int m)
{
    struct results r = { noise((size_t)(m * N), 1), room((size_t)(m * K) * sizeof(float)),
                         room((size_t)(N * K) * sizeof(float)) };

    k->matmul_forward(k, r.y, element(xs, (size_t)(at * K)), w, NULL, m, N, K);
    k->matmul_backward_input(k, r.dx, dy + at * N, w, NULL, m, N, K);
    k->matmul_backward_weight(k, r.dw, dy + at * N, element(xs, (size_t)(at * K)), NULL, m, N, K,
                              true);
    return r;
}

static void free_results(struct results r)
{
    drop(r.y), drop(r.dx), drop(r.dw);
}

/* The same for what it does alone; its status. */
static int run_only(struct compute *k, int at, int m)
{
    struct results r = run(k, at, m);
    int rc = compute_sync(k);

    free_results(r);
    return rc;
}

static bool is_equal(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* With every kind of library: y and dx of a row are those of the row alone, y and dw those of our
 * kernels. */
static void products_keep_their_bits(const char *wrong)
{
    struct compute *own = open_with(NULL), *k;
    struct results want = run(own, 0, M), all, some;

    assert_ok(compute_sync(own));
    k = open_with(wrong);
    all = run(k, 0, M);
    some = run(k, 77, 5);
    assert_ok(compute_sync(k));
    assert_true(is_equal(some.y, all.y + 77 * N, 5 * N));
    assert_true(is_equal(some.dx, all.dx + 77 * K, 5 * K));
    assert_true(is_equal(all.y, want.y, M * N) || strcmp(wrong, "other") == 0);
    assert_true(is_equal(all.dw, want.dw, N * K));
    print_message("%s: %s\n", wrong, k->about(k));
    free_results(all), free_results(some), free_results(want);
    compute_close(k);
    compute_close(own);
}

static void test_the_library_multiplies_where_rows_keep_their_bits(void **state)
{
    (void)state;
    products_keep_their_bits("");
    /* y, dx of M rows and dx of five, beside the checks: all rows, and the probes */
    assert_int_equal(count_calls("heuristic 4096\n"), 2);
    assert_int_equal(count_calls("matmul 4096\n"), 2);
    assert_int_equal(count_calls("matmul 1\n"), 2 * 4);
    assert_int_equal(count_calls("matmul 8\n"), 2 * 3);
    assert_int_equal(count_calls("matmul 64\n"), 2 * 4);
    assert_int_equal(count_calls("matmul 200\n"), 2);
    assert_int_equal(count_calls("matmul 5\n"), 1);
}

static void test_calls_come_in_order(void **state)
{
    struct compute *k = open_with("");
    char line[64], before[64] = "";
    FILE *f;
    int n = 0;

    (void)state;
    assert_ok(run_only(k, 0, M));
    compute_close(k);
    f = fopen(calls, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); strcpy(before, line), n++) {
        if (n == 0)
            assert_string_equal(line, "create 0\n");
        if (strncmp(before, "heuristic", 9) == 0)
            assert_string_equal(line, "matmul 4096\n");      /* the check before any result */
        if (strcmp(line, "matmul 200\n") == 0)
            assert_string_equal(before, "matmul 1000\n");    /* its last probe */
    }
    fclose(f);
    assert_string_equal(before, "destroy 0\n");              /* and no description is left */
}

/* The second product of a shape is one call. */
static void test_a_choice_is_made_once(void **state)
{
    struct compute *k = open_with("");

    (void)state;
    assert_ok(run_only(k, 0, M));
    remove(calls);
    assert_ok(run_only(k, 0, M - 1));
    assert_int_equal(count_calls(""), 2);
    assert_int_equal(count_calls("matmul 199\n"), 2);
    compute_close(k);
}

static void test_bits_that_depend_on_rows_are_refused(void **state)
{
    (void)state;
    products_keep_their_bits("rows");
    assert_int_equal(count_calls("matmul 200\n"), 0);
}

/* Few rows would go by our kernels, so y does for any number; dx may have the library's bits. */
static void test_bits_that_are_not_ours_are_for_dx_alone(void **state)
{
    (void)state;
    products_keep_their_bits("other");
    assert_int_equal(count_calls("matmul 200\n"), 1);
}

static void test_cut_chains_are_refused(void **state)
{
    (void)state;
    products_keep_their_bits("split");
    assert_int_equal(count_calls("matmul"), 0);
}

static void test_a_library_that_fails_is_left(void **state)
{
    (void)state;
    products_keep_their_bits("broken");
    assert_int_equal(count_calls("matmul 200\n"), 0);
    products_keep_their_bits("dead");
    assert_int_equal(count_calls("heuristic"), 0);
}

/* One that fails after it was chosen: an error, since another kernel has other bits. */
static void test_a_late_failure_is_an_error(void **state)
{
    struct compute *k = open_with("");

    (void)state;
    assert_ok(run_only(k, 0, M));
    setenv("EMULATED_LT", "broken", 1);
    assert_int_equal(run_only(k, 0, M), RL_EBUG);
    compute_close(k);
}

/* The first pass makes the choices, the third is a graph: nobody asks the library any more. */
static void test_passes_that_come_again_are_graphs(void **state)
{
    static const int asked[] = { 2 * 17 + 2, 2, 2, 0, 0 };
    struct compute *k = open_with("");
    float *y = noise(M * N, 1), *dx = room(M * K * sizeof *dx), *first = NULL;

    (void)state;
    for (int pass = 0; pass < 5; pass++) {
        remove(calls);
        compute_begin(k);
        k->matmul_forward(k, y, xs, w, NULL, M, N, K);
        k->zero(k, dx, M * K * sizeof *dx);
        k->matmul_backward_input(k, dx, dy, w, NULL, M, N, K);
        compute_end(k);
        assert_ok(compute_sync(k));
        assert_int_equal(count_calls("matmul"), asked[pass]);
        first = first ? first : copy_of(dx, M * K);
        assert_true(is_equal(dx, first, M * K));
        memset(dx, 1, M * K * sizeof *dx);
    }
    drop(y), drop(dx), drop(first);
    compute_close(k);
}

static void test_fast_takes_what_is_fastest(void **state)
{
    struct compute *own = open_with(NULL), *k;
    struct results want = run(own, 0, M), got;

    (void)state;
    assert_ok(compute_sync(own));
    k = open_with("");
    k->fast = true;
    got = run(k, 0, M);
    assert_ok(compute_sync(k));
    assert_non_null(strstr(k->about(k), "tokens < 256"));
    assert_null(strstr(k->about(k), "ours"));        /* emulated kernels are no match */
    for (int i = 0; i < N * K; i++)
        assert_true(fabsf(got.dw[i] - want.dw[i]) < 1e-4f);
    remove(calls);
    assert_ok(run_only(k, 0, M));
    assert_int_equal(count_calls("matmul"), 3);      /* dw, too */
    free_results(got);
    compute_close(k);

    k = open_with("slow");
    k->fast = true;
    got = run(k, 0, M);
    assert_ok(compute_sync(k));
    assert_null(strstr(k->about(k), "algorithm"));
    assert_true(is_equal(got.y, want.y, M * N) && is_equal(got.dw, want.dw, N * K));
    free_results(got), free_results(want);
    compute_close(k);
    compute_close(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_library_multiplies_where_rows_keep_their_bits),
        cmocka_unit_test(test_calls_come_in_order),
        cmocka_unit_test(test_a_choice_is_made_once),
        cmocka_unit_test(test_bits_that_depend_on_rows_are_refused),
        cmocka_unit_test(test_bits_that_are_not_ours_are_for_dx_alone),
        cmocka_unit_test(test_cut_chains_are_refused),
        cmocka_unit_test(test_a_library_that_fails_is_left),
        cmocka_unit_test(test_a_late_failure_is_an_error),
        cmocka_unit_test(test_passes_that_come_again_are_graphs),
        cmocka_unit_test(test_fast_takes_what_is_fastest),
    };

    return cmocka_run_group_tests(tests, make_operands, free_operands);
}
