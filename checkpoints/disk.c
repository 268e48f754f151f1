/* A file driver for HDF5 whose writing never fails.  When a full disk makes H5Fclose fail, HDF5
 * 1.10 keeps the file half open and crashes when the program ends.  So HDF5 is told that all went
 * well, nothing more is written, it closes in peace, and we look at the errno that was kept. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints/internal.h"

struct disk {
    H5FD_t pub;                     /* HDF5's part, first */
    int fd;
    haddr_t eoa, eof;               /* end of what is allocated, of what is on the disk */
    int *error;                     /* errno of the first failure, the caller's */
};

/* What the access properties carry. */
struct settings { int *error; };

static void keep(struct disk *d)
{
    if (*d->error == 0)
        *d->error = errno;
}

static H5FD_t *disk_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    const struct settings *settings = H5Pget_driver_info(access);
    struct disk *d = calloc(1, sizeof *d);
    int how = O_RDWR | O_CLOEXEC;
    struct stat info;

    (void)most;
    if (!d || !settings) {
        free(d);
        return NULL;
    }
    how |= (flags & H5F_ACC_CREAT ? O_CREAT : 0) | (flags & H5F_ACC_TRUNC ? O_TRUNC : 0);
    d->error = settings->error;
    d->fd = open(name, how, 0666);
    if (d->fd < 0 || fstat(d->fd, &info) != 0) {
        keep(d);
        if (d->fd >= 0)
            close(d->fd);
        free(d);
        return NULL;
    }
    d->eof = (haddr_t)info.st_size;
    return &d->pub;
}

static herr_t disk_close(H5FD_t *file)
{
    struct disk *d = (struct disk *)file;

    if (close(d->fd) != 0)
        keep(d);
    free(d);
    return 0;
}

static herr_t disk_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t disk_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct disk *)file)->eoa;
}

static herr_t disk_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t at)
{
    (void)type;
    ((struct disk *)file)->eoa = at;
    return 0;
}

static haddr_t disk_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct disk *)file)->eof;
}

/* Behind the end of the file there are zeros. */
static herr_t disk_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size,
                        void *out)
{
    struct disk *d = (struct disk *)file;

    (void)type, (void)transfer;
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(d->fd, (char *)out + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            keep(d);
        if (got <= 0) {
            memset((char *)out + done, 0, size - done);
            return got < 0 ? -1 : 0;
        }
        done += (size_t)got;
    }
    return 0;
}

static herr_t disk_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size,
                         const void *data)
{
    struct disk *d = (struct disk *)file;

    (void)transfer, (void)type;
    for (size_t done = 0; done < size && *d->error == 0;) {
        ssize_t put = pwrite(d->fd, (const char *)data + done, size - done, (off_t)(at + done));
        if (put < 0 && errno != EINTR)
            keep(d);
        done += put > 0 ? (size_t)put : 0;
    }
    d->eof = at + size > d->eof ? at + size : d->eof;
    return 0;
}

/* HDF5 wants the file as long as what it allocated. */
static herr_t disk_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    struct disk *d = (struct disk *)file;

    (void)transfer, (void)closing;
    if (d->eoa != d->eof && *d->error == 0 && ftruncate(d->fd, (off_t)d->eoa) != 0)
        keep(d);
    d->eof = d->eoa;
    return 0;
}

static const H5FD_class_t disk_class = {
    .name = "rankwise_disk",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(struct settings),
    .open = disk_open,
    .close = disk_close,
    .query = disk_query,
    .get_eoa = disk_get_eoa,
    .set_eoa = disk_set_eoa,
    .get_eof = disk_get_eof,
    .read = disk_read,
    .write = disk_write,
    .truncate = disk_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* Registered once and kept: HDF5 still reads the class of a file while it closes it. */
static hid_t registered_driver(void)
{
    static hid_t driver = -1;

    if (driver < 0)
        driver = H5FDregister(&disk_class);
    return driver;
}

int disk_use(hid_t access, int *error)
{
    struct settings settings = { error };
    hid_t driver = registered_driver();

    *error = 0;
    return driver < 0 || H5Pset_driver(access, driver, &settings) < 0 ? -1 : 0;
}
