/* A checkpoint.  With a first byte of 0 the rest is the file as it is: the seal keeps damage from
 * HDF5.  Else the bytes describe an HDF5 file that is whole, sealed, and none of ours: arrays of
 * any type, shape, layout and name, links, attributes that lie. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "checkpoints/internal.h"
#include "tests/fuzz/fuzz.h"

#define LIE 0x4243u             /* elements that a lying header makes 2^35 more */

struct bytes { const uint8_t *at, *end; };

static unsigned take(struct bytes *b, unsigned below)
{
    return b->at < b->end ? *b->at++ % below : 0;
}

static void attribute(hid_t object, const char *name, struct bytes *b, const char *word)
{
    hid_t types[] = { H5T_STD_I64LE, H5T_STD_I32BE, H5T_IEEE_F64LE, H5Tcopy(H5T_C_S1) };
    unsigned kind = take(b, 6), rank = take(b, 8) == 7;
    hsize_t two = 2;
    hid_t space = rank ? H5Screate_simple(1, &two, NULL) : H5Screate(H5S_SCALAR), a;
    int64_t value[16] = { take(b, 4) };

    H5Tset_size(types[3], kind == 5 ? H5T_VARIABLE : kind == 4 ? 9 : 8);
    if (kind >= 3)
        memcpy(value, word, strlen(word));
    a = kind == 2 ? -1 : H5Acreate2(object, name, types[kind < 3 ? kind : 3], space, H5P_DEFAULT,
                                    H5P_DEFAULT);
    if (a >= 0 && kind != 5)
        H5Awrite(a, types[kind < 3 ? kind : 3], value);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(types[3]);
}

#define TOO_LONG "a_name_of_more_than_any_array_has"
static const char *const names[] = {
    "weights/a", "weights/b", "texts/config", "texts/x", "checksums/weights/a", "a",
    "checksums/texts/config", "checksums/weights/b", "texts", "checksums/texts/x",
    TOO_LONG TOO_LONG TOO_LONG TOO_LONG,
};

static void dataset(hid_t file, hid_t folders, struct bytes *b)
{
    const hid_t types[] = { H5T_IEEE_F32LE, H5T_STD_U8LE, H5T_STD_U64LE, H5T_STD_U16LE,
                            H5T_IEEE_F64LE, H5T_STD_I32BE, H5T_C_S1, H5T_STD_I64LE };
    static const hsize_t sizes[] = { 0, 1, 2, 3, 7, LIE, HASH_CHUNK, HASH_CHUNK + 1 };
    const char *name = names[take(b, sizeof names / sizeof names[0])];
    hid_t type = types[take(b, 8)], plan = H5Pcreate(H5P_DATASET_CREATE), space, data;
    unsigned rank = take(b, 6), layout = take(b, 5);
    hsize_t shape[6], one[6] = { 1, 1, 1, 1, 1, 1 }, elements = 1;
    char *zero = NULL;

    for (unsigned d = 0; d < rank; d++)
        elements *= shape[d] = sizes[take(b, 8) % (d == 0 ? 8 : 4)];
    space = rank ? H5Screate_simple((int)rank, shape, NULL) : H5Screate(H5S_SCALAR);
    if (layout == 1)
        H5Pset_layout(plan, H5D_COMPACT);
    else if (layout == 2 && rank > 0)
        H5Pset_chunk(plan, (int)rank, one);
    else if (layout == 4)
        H5Pset_external(plan, "/dev/zero", 0, H5F_UNLIMITED);
    else if (layout != 3)
        H5Pset_alloc_time(plan, H5D_ALLOC_TIME_EARLY);
    data = elements > (layout == 2 ? 64 : 2 * HASH_CHUNK) ? -1
         : H5Dcreate2(file, name, type, space, folders, plan, H5P_DEFAULT);
    if (data >= 0 && take(b, 2) && (zero = calloc(elements + 1, 8)))
        H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zero);
    if (data >= 0) {
        attribute(data, CHECKPOINT_INDEX, b, "1");
        attribute(data, CHECKPOINT_DTYPE, b, take(b, 2) ? "BF16" : "F16");
    }
    free(zero);
    H5Dclose(data);
    H5Sclose(space);
    H5Pclose(plan);
}

static void build(const char *path, struct bytes *b)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t folders = H5Pcreate(H5P_LINK_CREATE);
    int64_t version = 1 + (take(b, 16) == 15);

    H5Pset_create_intermediate_group(folders, 1);
    if (take(b, 16) == 15) {
        attribute(file, CHECKPOINT_MARK, b, "1");
    } else {
        hid_t space = H5Screate(H5S_SCALAR);
        hid_t mark = H5Acreate2(file, CHECKPOINT_MARK, H5T_STD_I64LE, space, H5P_DEFAULT,
                                H5P_DEFAULT);
        H5Awrite(mark, H5T_STD_I64LE, &version);
        H5Aclose(mark);
        H5Sclose(space);
    }
    for (int i = 0; i < 12 && b->at < b->end; i++) {
        const char *name = names[take(b, 16) % (sizeof names / sizeof names[0])];
        switch (take(b, 8)) {
        case 0: H5Lcreate_soft("/weights/b", file, name, folders, H5P_DEFAULT); break;
        case 1: H5Lcreate_external("/dev/null", "/x", file, name, folders, H5P_DEFAULT); break;
        case 2: H5Lcreate_hard(file, "/", file, name, folders, H5P_DEFAULT); break;
        default: dataset(file, folders, b);
        }
    }
    H5Pclose(folders);
    H5Fclose(file);
}

/* Sizes of LIE elements become larger than any memory; then the seal. */
static void lie_and_seal(const char *path)
{
    uint64_t value, lie = LIE, big = lie | 1ull << 35;
    struct text file = { 0 };
    size_t bytes;
    FILE *out;

    fuzz_said(file_read(path, &file));
    for (size_t i = 0; i + 8 <= file.size; i += 2) {
        memcpy(&value, file.data + i, 8);
        if (value == lie)
            memcpy(file.data + i, &big, 8);
    }
    out = fopen(path, "wb");
    fuzz_holds(out && fwrite(file.data, 1, file.size, out) == file.size && !fclose(out), "no file");
    fuzz_said(seal_write(path, NULL, 0, &bytes));
    text_free(&file);
}

static void read_all(const char *path)
{
    struct checkpoint *c = NULL;
    struct text text = { 0 };
    int64_t value;

    fuzz_said(checkpoint_open(&c, path));
    for (int i = 0; c && i < checkpoint_count(c); i++) {
        const struct array *a = checkpoint_array(c, i);
        size_t some = a->size < 70000 ? a->size : 70000;
        char *out = malloc(some * dtype_size(a->dtype) + 1);
        fuzz_holds(out && checkpoint_find(c, a->name) >= 0, "an array that is not found");
        fuzz_said(checkpoint_read(c, i, 0, some, out));
        fuzz_said(checkpoint_read(c, i, some / 2, some - some / 2, out));
        free(out);
    }
    for (int i = 0; c && i < checkpoint_texts(c); i++)
        fuzz_said(checkpoint_text(c, checkpoint_text_name(c, i), &text));
    if (c)
        checkpoint_int(c, "step", &value);
    checkpoint_close(c);
    text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct bytes b = { data + 1, data + size };

    if (size == 0)
        return 0;
    if (data[0] == 0) {
        read_all(fuzz_file(data + 1, size - 1));
        return 0;
    }
    snprintf(path, sizeof path, "/dev/shm/rankwise-fuzz-%d.h5", (int)getpid());
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    build(path, &b);
    lie_and_seal(path);
    read_all(path);
    remove(path);
    return 0;
}
