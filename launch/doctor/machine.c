/* What computes on a host: the processor (GPUs: gpus.c). */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "compute/check.h"
#include "compute/compute.h"
#include "launch/doctor/doctor.h"

#define CASES 1000000                   /* of products of bf16; they take less than 0.1 s */

void doctor_processor(struct exam *e)
{
    struct compute *k = NULL;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (compute_open(&k, "auto", "fp32", 1) != RL_OK) {
        doctor_says(e, true, "cpu", "no backend opens: %.200s", status_message());
        return;
    }
#if defined(__x86_64__)
    doctor_says(e, false, "cpu", "%ld cores, backend %s (avx2 %s, fma %s, avx512f %s)", cores,
                k->name, __builtin_cpu_supports("avx2") ? "yes" : "no",
                __builtin_cpu_supports("fma") ? "yes" : "no",
                __builtin_cpu_supports("avx512f") ? "yes" : "no");
#else
    doctor_says(e, false, "cpu", "%ld cores, backend %s", cores, k->name);
#endif
    compute_close(k);
}

/* The bits of bf16: of the instruction for pairs, or of what stands for it. */
void doctor_bf16(struct exam *e)
{
    struct compute *k = NULL;
    struct pairs_check c;
    const char *what;

    if (compute_open(&k, "auto", "bf16", 1) != RL_OK ||
        compute_check_pairs(k, CASES, &c) != RL_OK) {
        doctor_says(e, true, "bf16", "its products cannot be tried: %.200s", status_message());
        compute_close(k);
        return;
    }
    what = strcmp(k->name, "cpu-avx512-bf16") == 0 ? "the instruction vdpbf16ps" : k->name;
    if (c.wrong)
        doctor_says(e, true, "bf16", "%s differs from the definition in %" PRId64 " of %" PRId64
                    " products (%a %a by %a %a on %a: %a, not %a): set device = \"cpu-plain\" for "
                    "dtype = \"bf16\", and report it", what, c.wrong, c.cases,
                    (double)c.first.x[0], (double)c.first.x[1], (double)c.first.y[0],
                    (double)c.first.y[1], (double)c.first.sum, (double)c.first.got,
                    (double)c.first.want);
    else
        doctor_says(e, false, "bf16", "%s has the definition's bits in %" PRId64 " products", what,
                    c.cases);
    compute_close(k);
}
