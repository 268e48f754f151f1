/* See emulated.h. */
#include "tests/emulated.h"

#include "compute/cpu/avx512.c"

bool emulated_can_run(void);
bool emulated_can_run(void)
{
#if defined(EMULATED)
    return cpu_can_avx2();
#else
    return false;
#endif
}
