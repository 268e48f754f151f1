/* 16 floats from memory or into it, or the first few of them; and the same of what is stored, as
 * fp32 or bf16.  Included by the chapters. */
#ifndef COMPUTE_CPU_PART_H
#define COMPUTE_CPU_PART_H

INLINE struct lanes take(const float *p, size_t i, int part)
{
    return part == 16 ? lanes_load(p + i) : lanes_load_part(p + i, part);
}

INLINE void put(float *p, size_t i, struct lanes a, int part)
{
    if (part == 16)
        lanes_store(p + i, a);
    else
        lanes_store_part(p + i, a, part);
}

INLINE struct lanes take_bf16(const uint16_t *p, size_t i, int part)
{
    uint16_t few[16] = {0};

    if (part == 16)
        return lanes_widen(p + i);
    memcpy(few, p + i, (size_t)part * sizeof *few);
    return lanes_widen(few);
}

INLINE void put_bf16(uint16_t *p, size_t i, struct lanes a, int part)
{
    uint16_t few[16];

    lanes_narrow(part == 16 ? p + i : few, a);
    if (part < 16)
        memcpy(p + i, few, (size_t)part * sizeof *few);
}

INLINE struct lanes take_stored(const bool bf16, const void *p, size_t i, int part)
{
    return bf16 ? take_bf16(p, i, part) : take(p, i, part);
}

INLINE void put_stored(const bool bf16, void *p, size_t i, struct lanes a, int part)
{
    if (bf16)
        put_bf16(p, i, a, part);
    else
        put(p, i, a, part);
}

#endif
