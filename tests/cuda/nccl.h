/* NCCL without a GPU: what comm/nccl.c uses of it, with NCCL's own names and values, for the
 * emulated runtime (cuda_runtime.h).  nccl.cc moves the bytes, between the processes of a machine.
 *
 * - A communicator is non-blocking, as ours are: what is called is put into the stream at the
 *   second look at its state (ncclCommGetAsyncError), and a call before that is refused.
 * - Sizes that differ between the two ends of a message end the process; NCCL would hang.
 * - EMULATED_NCCL_LOG=FILE: every call, a line in FILE.<rank>; equal lines in a row are one.
 *   EMULATED_NCCL_FAULT="fail|hang|kill RANK CALL N": what the N-th CALL of that rank does.
 *   The rank is mpirun's. */
#ifndef TESTS_CUDA_NCCL_H
#define TESTS_CUDA_NCCL_H

#include "tests/cuda/cuda_runtime.h"

#define NCCL_LIBRARY "librankwise_nccl.so"       /* which RANKWISE_NCCL names; never the real one */
#define NCCL_UNIQUE_ID_BYTES 128

#define ncclComm_t struct ncclComm *
struct ncclComm;
struct emulated_id { char internal[NCCL_UNIQUE_ID_BYTES]; };
#define ncclUniqueId struct emulated_id
struct emulated_config { int blocking; };
#define ncclConfig_t struct emulated_config
#define NCCL_CONFIG_INITIALIZER { 1 }

#define ncclResult_t int
enum {
    ncclSuccess, ncclUnhandledCudaError, ncclSystemError, ncclInternalError, ncclInvalidArgument,
    ncclInvalidUsage, ncclRemoteError, ncclInProgress,
};
#define ncclDataType_t int
enum { ncclUint8 = 1, ncclFloat = 7 };
#define ncclRedOp_t int
enum { ncclSum = 0 };

#ifdef __cplusplus
extern "C" {
#endif

ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclSend(const void *data, size_t n, ncclDataType_t type, int to, ncclComm_t comm,
                      cudaStream_t stream);
ncclResult_t ncclRecv(void *data, size_t n, ncclDataType_t type, int from, ncclComm_t comm,
                      cudaStream_t stream);
ncclResult_t ncclBroadcast(const void *from, void *to, size_t n, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void *from, void *to, size_t n, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
