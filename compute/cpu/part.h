/* 16 floats from memory or into it, or the first few of them.  Included by the chapters. */
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

#endif
