#include "launch/journal/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"

#define SLOT_HEAD ((size_t)4096)
static const char mark[8] = { 'R', 'W', 'J', 'O', 'U', 'R', 'N', '1' };

char *slot_image(const struct slot *s)
{
    return s->file + SLOT_HEAD;
}

/* Room that is reserved: a mapped file without it would end the program when it is touched. */
static int reserve(int fd, const char *path, size_t bytes)
{
    int error;

    do
        error = posix_fallocate(fd, 0, (off_t)bytes);
    while (error == EINTR);
    if (error != 0)
        return rl_error(RL_EIO, "journal: no room for %.1f MiB in %s: %s; choose another "
                        "journal_path", (double)bytes / 1048576.0, path, strerror(error));
    return RL_OK;
}

int slot_create(struct slot *s, const char *folder, int rank, int parity, size_t room)
{
    size_t bytes = SLOT_HEAD + room;
    int fd, rc = RL_OK;

    memset(s, 0, sizeof *s);
    if (snprintf(s->path, sizeof s->path, "%s/%d.%d", folder, rank, parity) >=
        (int)sizeof s->path)
        return rl_error(RL_EINVAL, "path too long: %s", folder);
    fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return rl_error(RL_EIO, "journal: cannot create %s: %s", s->path, strerror(errno));
    TRY(reserve(fd, s->path, bytes));
    s->file = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    s->room = room;
    if (s->file == MAP_FAILED) {
        s->file = NULL;
        rc = rl_error(RL_ENOFIT, "journal: cannot map %s: %s", s->path, strerror(errno));
    }
done:
    close(fd);
    if (rc != RL_OK)
        unlink(s->path);
    return rc;
}

void slot_close(struct slot *s)
{
    if (s->file)
        munmap(s->file, SLOT_HEAD + s->room);
    memset(s, 0, sizeof *s);
}

static int flush(const struct slot *s, size_t bytes, bool to_disk)
{
    if (to_disk && msync(s->file, bytes, MS_SYNC) != 0)
        return rl_error(RL_EIO, "journal: cannot write %s: %s", s->path, strerror(errno));
    return RL_OK;
}

int slot_begin(struct slot *s, bool to_disk)
{
    memset(s->file, 0, SLOT_HEAD);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return flush(s, SLOT_HEAD, to_disk);
}

int slot_commit(struct slot *s, const struct slot_head *head, bool to_disk)
{
    struct slot_head valid = *head;
    int rc = RL_OK;

    memcpy(valid.mark, mark, sizeof mark);
    TRY(flush(s, SLOT_HEAD + head->bytes, to_disk));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    memcpy(s->file, &valid, sizeof valid);
    rc = flush(s, SLOT_HEAD, to_disk);
done:
    return rc;
}

/* ---- what an earlier start left */

static bool is_valid(const struct slot *s, uint64_t run, struct slot_head *head)
{
    memcpy(head, s->file, sizeof *head);
    return memcmp(head->mark, mark, sizeof mark) == 0 && head->run == run && head->step > 0 &&
           head->ranks > 0 && head->rank >= 0 && head->rank < head->ranks &&
           head->bytes <= s->room && hash64(slot_image(s), head->bytes) == head->hash;
}

/* Not valid, nor under way when its rank was killed, nor of another run. */
static bool is_damaged(const struct slot_head *head, uint64_t run)
{
    static const char under_way[sizeof head->mark];

    return memcmp(head->mark, under_way, sizeof under_way) != 0 &&
           (head->run == run || memcmp(head->mark, mark, sizeof mark) != 0);
}

bool slot_find(struct slot *s, const char *path, uint64_t run, struct slot_head *head)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;

    memset(s, 0, sizeof *s);
    if (fd < 0)
        return false;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
        (size_t)info.st_size >= SLOT_HEAD) {
        s->room = (size_t)info.st_size - SLOT_HEAD;
        s->file = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (s->file == MAP_FAILED)
            s->file = NULL;
    }
    close(fd);
    snprintf(s->path, sizeof s->path, "%s", path);
    if (s->file && is_valid(s, run, head))
        return true;
    if (s->file && is_damaged(head, run))
        log_info("journal: %s is damaged: not used", path);
    slot_close(s);
    return false;
}

void slots_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        size_t digits = strspn(entry->d_name, "0123456789");
        if (digits > 0 && (strcmp(entry->d_name + digits, ".0") == 0 ||
                           strcmp(entry->d_name + digits, ".1") == 0))
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}
