/* A named, shaped array: what models expose and files hold. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>

#define ARRAY_NAME 128
#define ARRAY_DIMS 4

enum dtype {
    DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_F64, DTYPE_I32, DTYPE_I64, DTYPE_U64, DTYPE_U8
};

size_t dtype_size(enum dtype type);
const char *dtype_name(enum dtype type);     /* "F32", "BF16", ... as safetensors spells them */

struct array {
    char name[ARRAY_NAME];
    enum dtype dtype;
    int dims;
    size_t shape[ARRAY_DIMS];
    size_t offset;               /* elements from the start of the flat buffer it is a view of */
    size_t size;                 /* elements: the product of shape */
    void *data;                  /* first element, or NULL in a plan */
};

/* fp32 from and to the 16-bit types of files: exact, or to nearest even; denormals are kept, NaN
 * stays NaN (quiet). */
float f32_from_bf16(unsigned short x);
float f32_from_f16(unsigned short x);
unsigned short bf16_from_f32(float x);
unsigned short f16_from_f32(float x);

#endif
