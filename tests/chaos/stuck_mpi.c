/* Loaded before a program with LD_PRELOAD: once the file CHAOS_TOKEN is there, MPI_Testall does not
 * come back, as it does not when MPI turns round a broken connection. */
#include <dlfcn.h>
#include <mpi.h>
#include <stdlib.h>
#include <unistd.h>

int MPI_Testall(int n, MPI_Request requests[], int *done, MPI_Status statuses[])
{
    int (*real)(int, MPI_Request[], int *, MPI_Status[]);
    const char *token = getenv("CHAOS_TOKEN");

    while (token && access(token, F_OK) == 0)
        usleep(1000);
    *(void **)&real = dlsym(RTLD_NEXT, "MPI_Testall");
    return real(n, requests, done, statuses);
}
