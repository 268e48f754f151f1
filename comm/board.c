/* See board.h. */
#include "comm/board.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"

#define ROWS 1024                       /* ranks of a host; pages nobody writes to are no memory */

struct shared {
    atomic_int used;                    /* rows from 0 that may be in use */
    atomic_int speaker, exit_code, undertaker;
    struct place row[ROWS];
};

struct board {
    struct shared *shared;
    int mine;
    bool whole;
    bool emptied;                       /* the file's folder is a supervisor's, who empties it */
    char path[512];                     /* "": memory of my own */
    char host[64];
};

/* ---- what the system says of a process */

/* The state's letter and, in ticks since boot, the start of a process; 0: there is none; '?': this
 * cannot be seen. */
static char read_stat(int64_t pid, int64_t *born)
{
    char path[64], text[1024], *end, state = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : '?';
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    end = strrchr(text, ')');           /* a name may hold blanks and brackets */
    if (!end || sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                       "%*d %*d %*d %" SCNd64, &state, born) != 2)
        return 0;
    return state;
}

static int64_t space_of_ids(void)
{
    struct stat info;

    return stat("/proc/self/ns/pid", &info) == 0 ? (int64_t)info.st_ino : 0;
}

enum health board_health(const struct place *p)
{
    int64_t born = 0;
    char state;

    if (p->pid == 0 || p->space == 0 || p->space != space_of_ids())
        return HEALTH_UNKNOWN;
    state = read_stat(p->pid, &born);
    if (state == '?')
        return HEALTH_UNKNOWN;
    if (state == 0 || born != p->born || strchr("ZXx", state))
        return HEALTH_ENDED;
    if (strchr("Tt", state))
        return HEALTH_STOPPED;
    return state == 'D' ? HEALTH_DISK : HEALTH_RUNS;
}

/* ---- opening */

static int number(const char *first, const char *second, int otherwise)
{
    const char *text = getenv(first);

    if (!text)
        text = getenv(second);
    return text && *text ? atoi(text) : otherwise;
}

static bool is_supervisors(const char *folder)
{
    const char *slash = strrchr(folder, '/');

    return strncmp(slash ? slash : folder, "/rankwise-", 10) == 0;
}

/* Ranks of a host have one parent, mpirun, its daemon or Slurm's, that no other job has.  Hosts may
 * share the folder, and as containers the memory.  A supervisor's folder that is gone was taken
 * away behind the job: nobody would look at the file, nor remove it. */
static void name_file(struct board *b)
{
    const char *folder = getenv("OMPI_MCA_orte_tmpdir_base");
    int64_t born = 0;

    b->emptied = folder && is_supervisors(folder);
    if (b->emptied && access(folder, W_OK) != 0)
        return;
    if (!folder || access(folder, W_OK) != 0)
        folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    read_stat(getppid(), &born);
    if (snprintf(b->path, sizeof b->path, "%s/rankwise-%s-%" PRId64 "-%u-%d-%" PRId64 ".board",
                 folder, b->host, space_of_ids(), (unsigned)geteuid(), (int)getppid(), born) >=
        (int)sizeof b->path)
        b->path[0] = 0;
}

/* Pages that are there: a mapped file without them would end the program when it is touched.  Not
 * posix_fallocate, which writes where the file system cannot: others may have signed already. */
static bool make_room(int fd)
{
    int error;

    do
        error = fallocate(fd, 0, 0, sizeof(struct shared)) == 0 ? 0 : errno;
    while (error == EINTR);
    return error == 0 || (error == EOPNOTSUPP && ftruncate(fd, sizeof(struct shared)) == 0);
}

/* NULL: this is no file that can be shared. */
static struct shared *map_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    void *at = MAP_FAILED;
    struct stat info;

    if (fd < 0)
        return NULL;
    if ((!(flags & O_CREAT) || make_room(fd)) &&
        fstat(fd, &info) == 0 && (size_t)info.st_size == sizeof(struct shared))
        at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

static void sign(struct board *b)
{
    struct place *p = board_mine(b);
    int used = atomic_load(&b->shared->used), ranks;

    p->rank = number("OMPI_COMM_WORLD_RANK", "PMIX_RANK", 0);
    p->pid = getpid();
    p->space = space_of_ids();
    read_stat(p->pid, &p->born);
    p->since = clock_now();
    p->doing = DOING_WORK;
    ranks = number("OMPI_COMM_WORLD_LOCAL_SIZE", "", b->mine + 1);
    b->whole = ranks == number("OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS", 1);
    if (ranks > ROWS)
        ranks = ROWS;
    while (used < ranks && !atomic_compare_exchange_weak(&b->shared->used, &used, ranks))
        ;
}

int board_open(struct board **out)
{
    struct board *b = calloc(1, sizeof *b);

    *out = NULL;
    if (!b)
        return rl_error(RL_ENOFIT, "no memory for the board of this host");
    if (gethostname(b->host, sizeof b->host - 1) != 0)
        strcpy(b->host, "unknown");
    b->mine = number("OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", -1);
    if (b->mine >= 0 && b->mine < ROWS) {
        name_file(b);
        b->shared = b->path[0] ? map_file(b->path, O_RDWR | O_CREAT) : NULL;
    }
    if (!b->shared) {
        b->path[0] = 0;
        b->mine = 0;
        b->shared = mmap(NULL, sizeof *b->shared, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b->shared == MAP_FAILED) {
            free(b);
            return rl_error(RL_ENOFIT, "no memory for the board of this host");
        }
    }
    sign(b);
    *out = b;
    return RL_OK;
}

struct board *board_look(const char *folder)
{
    struct board *b = calloc(1, sizeof *b);
    char pattern[512];
    glob_t found;

    if (!b)
        return NULL;
    snprintf(pattern, sizeof pattern, "%s/rankwise-*.board", folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        b->shared = map_file(found.gl_pathv[0], O_RDWR);
        globfree(&found);
    }
    if (!b->shared) {
        free(b);
        return NULL;
    }
    if (gethostname(b->host, sizeof b->host - 1) != 0)
        strcpy(b->host, "unknown");
    b->emptied = true;
    return b;
}

void board_unlink(struct board *b, bool end)
{
    char folder[sizeof b->path], *slash;

    if (!b->path[0] || (!end && b->emptied))
        return;
    unlink(b->path);
    snprintf(folder, sizeof folder, "%s", b->path);
    slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    if (is_supervisors(folder))
        rmdir(folder);                  /* a supervisor's, when the last one leaves it */
}

void board_close(struct board *b)
{
    if (!b)
        return;
    munmap(b->shared, sizeof *b->shared);
    free(b);
}

/* ---- reading and writing */

struct place *board_mine(struct board *b)
{
    return &b->shared->row[b->mine];
}

int board_row(const struct board *b)
{
    return b->mine;
}

int board_rows(const struct board *b)
{
    int used = atomic_load(&b->shared->used);

    return used < ROWS ? used : ROWS;
}

const struct place *board_place(const struct board *b, int row)
{
    return row >= 0 && row < board_rows(b) ? &b->shared->row[row] : NULL;
}

const struct place *board_find(const struct board *b, int rank)
{
    for (int i = 0; i < board_rows(b); i++)
        if (b->shared->row[i].doing != DOING_NOTHING && b->shared->row[i].rank == rank)
            return &b->shared->row[i];
    return NULL;
}

bool board_is_whole(const struct board *b)
{
    return b->whole;
}

const char *board_host(const struct board *b)
{
    return b->host;
}

void board_end(struct board *b, int exit_code)
{
    atomic_store(&b->shared->exit_code, exit_code);
}

int board_ends(const struct board *b)
{
    return atomic_load(&b->shared->exit_code);
}

bool board_speak(struct board *b)
{
    return atomic_exchange(&b->shared->speaker, 1) == 0;
}

bool board_bury(struct board *b)
{
    return atomic_exchange(&b->shared->undertaker, 1) == 0;
}

void board_forget(struct board *b)
{
    atomic_store(&b->shared->speaker, 0);
}
