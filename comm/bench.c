/* See bench.h. */
#include "comm/bench.h"

#include "base/status.h"
#include "comm/group.h"

int comm_bench_allreduce(struct comm *g, float *x, size_t n)
{
    const size_t piece = PIECE_BYTES / sizeof *x;
    int rc = RL_OK;

    for (size_t i = 0; i < n && g->size > 1; i += piece) {
        int count = (int)(n - i < piece ? n - i : piece);
        TRY(mpi_status(MPI_Allreduce(MPI_IN_PLACE, x + i, count, MPI_FLOAT, MPI_SUM, g->mpi)));
    }
done:
    return rc;
}
