/* Loaded before a program with LD_PRELOAD: once the file CHAOS_TOKEN is there, MPI_Testall does not
 * come back, as it does not when MPI turns round a broken connection; with CHAOS_DISK in the
 * environment fsync does not either, as it does not when a file server is gone. */
#include <dlfcn.h>
#include <mpi.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_token(void)
{
    const char *token = getenv("CHAOS_TOKEN");

    while (token && access(token, F_OK) == 0)
        usleep(1000);
}

int fsync(int fd)
{
    int (*real)(int);

    if (getenv("CHAOS_DISK"))
        wait_for_token();
    *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int MPI_Testall(int n, MPI_Request requests[], int *done, MPI_Status statuses[])
{
    int (*real)(int, MPI_Request[], int *, MPI_Status[]);

    wait_for_token();
    *(void **)&real = dlsym(RTLD_NEXT, "MPI_Testall");
    return real(n, requests, done, statuses);
}
