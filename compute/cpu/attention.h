/* Causal attention in lanes; ref/attention.c is the definition.
 *
 * Up to BAND queries with the same keys walk the key blocks together, each with a maximum of its
 * own; QUERIES of them share a tile of sums.  Lanes lie over keys for scores (keys of a block are
 * transposed, [D][KEY_BLOCK], as pages hold them) and over d for what is summed over keys.
 * Included by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_ATTENTION_H
#define COMPUTE_CPU_ATTENTION_H

#define BAND 16                      /* a lane for each query's maximum */

/* Keys and values of one head: block b is page table[b], or b itself without a table.  As compute.h
 * has a page; pairs: of bf16, two positions in a word. */
struct key_blocks {
    const float *keys, *values;
    const int *table;
    size_t size;                     /* floats from one block to the next, of keys and of values */
    int D;
    bool pairs;
};

/* At most BAND queries that walk together; query i sees keys first_seen .. `visible + i * more`. */
struct band {
    const float *q;
    void *o;                         /* stored, from element `at` on */
    size_t at;
    bool bf16;
    float *stats;                    /* may be NULL */
    float *sums;                     /* room for [BAND][D] */
    size_t q_row, stats_row;         /* from one query to the next; o is like q */
    int n, visible, more, window;
};

/* Keys from .. upto of a block. */
struct span { int from, upto; };

INLINE int within_block(int n)
{
    return n < 0 ? 0 : n > KEY_BLOCK ? KEY_BLOCK : n;
}

/* What of keys from .. upto lies in the block that begins at key `first`. */
INLINE struct span seen_in(int from, int upto, int first)
{
    return (struct span){ within_block(from - first), within_block(upto - first) };
}

/* 16 keys of step d: half h of a block.  In a word are those of both halves. */
INLINE struct lanes keys_at(const bool pairs, const float *keys, int d, int h)
{
    if (!pairs)
        return lanes_load(keys + d * KEY_BLOCK + 16 * h);
    struct lanes both = lanes_load(keys + d * 16);
    return h ? lanes_odd(both) : lanes_even(both);
}

/* s[n][KEY_BLOCK] = q . k: the chain over d for half blocks first .. first + halves of keys */
INLINE void dots(const bool pairs, const int n, const int first, const int halves, float *s,
                 const float *q, size_t q_row, const float *keys, int D)
{
    struct lanes sum[QUERIES][2];

    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int h = 0; h < halves; h++)
            sum[i][h] = lanes_set(0.0f);
    for (int d = 0; d < D; d++) {
        struct lanes key[2];

        UNROLL for (int h = 0; h < halves; h++)
            key[h] = keys_at(pairs, keys, d, first + h);
        UNROLL for (int i = 0; i < n; i++) {
            struct lanes x = lanes_set(q[(size_t)i * q_row + (size_t)d]);

            UNROLL for (int h = 0; h < halves; h++)
                sum[i][h] = lanes_fma(x, key[h], sum[i][h]);
        }
    }
    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int h = 0; h < halves; h++)
            lanes_store(s + i * KEY_BLOCK + 16 * (first + h), sum[i][h]);
}

/* The same for any number of queries: tile by tile, and what is left one by one. */
INLINE void dots_each(const bool pairs, int n, int halves, float *s, const float *q, size_t q_row,
                      const float *keys, int D)
{
    int i = 0;

    for (; i + QUERIES <= n; i += QUERIES, s += QUERIES * KEY_BLOCK, q += QUERIES * q_row) {
        if (TILE_V == 2 && halves == 2) {
            dots(pairs, QUERIES, 0, 2, s, q, q_row, keys, D);
            continue;
        }
        dots(pairs, QUERIES, 0, 1, s, q, q_row, keys, D);
        if (halves == 2)
            dots(pairs, QUERIES, 1, 1, s, q, q_row, keys, D);
    }
    for (; i < n; i++, s += KEY_BLOCK, q += q_row)
        dots(pairs, 1, 0, 2, s, q, q_row, keys, D);
}

static void dots_of(int n, int halves, float *s, const float *q, size_t q_row, const float *keys,
                    int D)
{
    dots_each(false, n, halves, s, q, q_row, keys, D);
}

static void dots_of_pairs(int n, int halves, float *s, const float *q, size_t q_row,
                          const float *keys, int D)
{
    dots_each(true, n, halves, s, q, q_row, keys, D);
}

/* Values [KEY_BLOCK][D] of a block from column c on; pairs: [KEY_BLOCK / 2][D] words. */
struct values { const float *at; int D; };

INLINE struct lanes value_at(const bool pairs, struct values v, int j, const bool odd, int w,
                             int part)
{
    if (!pairs)
        return take(v.at + (size_t)j * (size_t)v.D, (size_t)w * 16, part);
    struct lanes both = take(v.at + (size_t)(j / 2) * (size_t)v.D, (size_t)w * 16, part);
    return odd ? lanes_odd(both) : lanes_even(both);
}

/* sum[w] goes on over keys from .. upto of one query. */
INLINE void weigh_alone(const bool pairs, const int wide, struct lanes sum[2], const float *p,
                        struct values v, int from, int upto, int part)
{
    for (int j = from; j < upto; j++)
        UNROLL for (int w = 0; w < wide; w++)
            sum[w] = lanes_fma(lanes_set(p[j]),
                               value_at(pairs, v, j, j % 2, w, w + 1 < wide ? 16 : part), sum[w]);
}

/* out[i][c ..] = out[i][c ..] * a[i] + sum over keys of p[i][j] * v[j][c ..] for n queries and
 * `wide` registers, the last of them `part` lanes.  Queries from the first to the last see later
 * and later keys (seen), those in the middle together; a key is never touched for a query that does
 * not see it. */
INLINE void weigh(const bool pairs, const int n, const int wide, float *out, size_t row,
                  const float *a, const float *p, struct values v, const struct span *seen,
                  int part)
{
    struct lanes sum[QUERIES][2];
    int together = pairs ? 2 : 1, j = (seen[n - 1].from + together - 1) / together * together;

    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int w = 0; w < wide; w++)
            sum[i][w] = lanes_mul(take(out + (size_t)i * row, (size_t)w * 16,
                                       w + 1 < wide ? 16 : part), lanes_set(a[i]));
    if (j > 0)
        UNROLL for (int i = 0; i < n; i++)
            weigh_alone(pairs, wide, sum[i], p + i * KEY_BLOCK, v, seen[i].from,
                        j < seen[i].upto ? j : seen[i].upto, part);
    for (; j + together <= seen[0].upto; j += together)
        UNROLL for (int odd = 0; odd < together; odd++)
            UNROLL for (int w = 0; w < wide; w++) {
                struct lanes value = value_at(pairs, v, j, odd, w, w + 1 < wide ? 16 : part);

                UNROLL for (int i = 0; i < n; i++)
                    sum[i][w] = lanes_fma(lanes_set(p[i * KEY_BLOCK + j + odd]), value, sum[i][w]);
            }
    UNROLL for (int i = 0; i < n; i++)
        weigh_alone(pairs, wide, sum[i], p + i * KEY_BLOCK, v, j, seen[i].upto, part);
    UNROLL for (int i = 0; i < n; i++)
        UNROLL for (int w = 0; w < wide; w++)
            put(out + (size_t)i * row, (size_t)w * 16, sum[i][w], w + 1 < wide ? 16 : part);
}

/* All D of it: `wide` registers at a time, then what is left. */
INLINE void weigh_tile(const bool pairs, const int n, const int wide, float *out, size_t row,
                       const float *a, const float *p, struct values v, const struct span *seen)
{
    int c = 0, D = v.D;

    for (; c + 16 * wide <= D; c += 16 * wide, v.at += 16 * wide)
        weigh(pairs, n, wide, out + c, row, a, p, v, seen, 16);
    for (; c + 16 <= D; c += 16, v.at += 16)
        weigh(pairs, n, 1, out + c, row, a, p, v, seen, 16);
    if (c < D)
        weigh(pairs, n, 1, out + c, row, a, p, v, seen, D - c);
}

INLINE void weigh_each(const bool pairs, int n, float *out, size_t row, const float *a,
                       const float *p, struct values v, const struct span *seen)
{
    int i = 0;

    for (; i + QUERIES <= n; i += QUERIES)
        weigh_tile(pairs, QUERIES, TILE_V, out + (size_t)i * row, row, a + i, p + i * KEY_BLOCK, v,
                   seen + i);
    for (; i < n; i++)
        weigh_tile(pairs, 1, 2, out + (size_t)i * row, row, a + i, p + i * KEY_BLOCK, v,
                   seen + i);
}

static void weigh_all(int n, float *out, size_t row, const float *a, const float *p,
                      struct values v, const struct span *seen)
{
    weigh_each(false, n, out, row, a, p, v, seen);
}

static void weigh_all_pairs(int n, float *out, size_t row, const float *a, const float *p,
                            struct values v, const struct span *seen)
{
    weigh_each(true, n, out, row, a, p, v, seen);
}

/* x where half h of a block is seen, else y. */
INLINE struct lanes select_seen(struct span seen, int h, struct lanes x, struct lanes y)
{
    int from = seen.from - 16 * h, upto = seen.upto - 16 * h;

    x = lanes_select(upto < 0 ? 0 : upto > 16 ? 16 : upto, x, y);
    return from > 0 ? lanes_select(from > 16 ? 16 : from, y, x) : x;
}

/* Scores of one query become weights: p = exp(s - max), added to l. */
INLINE struct lanes weights(float *p, struct lanes max, struct lanes l, struct span seen,
                            int halves)
{
    struct lanes hidden = lanes_set(-INFINITY);

    for (int h = 0; h < halves; h++) {
        struct lanes s = select_seen(seen, h, lanes_load(p + 16 * h), hidden);
        struct lanes e = lanes_exp(lanes_sub(s, max));       /* masked: exactly +0 */

        lanes_store(p + 16 * h, e);
        l = lanes_add(l, e);
    }
    return l;
}

/* Scale the scores and return their maximum, or `max`. */
INLINE float scale_scores(float *s, struct lanes scale, float max, struct span seen, int halves)
{
    struct lanes largest = lanes_set(max);

    for (int h = 0; h < halves; h++) {
        struct lanes x = lanes_mul(lanes_load(s + 16 * h), scale);

        lanes_store(s + 16 * h, x);
        largest = select_seen(seen, h, lanes_max(x, largest), largest);
    }
    return lanes_largest(largest) + 0.0f;
}

/* A band of queries over all its keys, from the first one's on.  Until the block with its own first
 * key a query's maximum is 0, beside which masked keys add nothing. */
static void attend(const struct band *t, const struct key_blocks *keys)
{
    float p[BAND * KEY_BLOCK] ALIGNED, m[BAND] ALIGNED, next[BAND] ALIGNED = {0};
    float a[BAND] ALIGNED;
    struct lanes l[BAND], scale = lanes_set(1.0f / sqrtf((float)keys->D));
    int D = keys->D, last = t->visible + (t->n - 1) * t->more, from[BAND];
    struct span seen[BAND];

    memset(m, 0, sizeof m);
    for (int i = 0; i < t->n; i++) {
        from[i] = first_seen(t->window, t->visible + i * t->more);
        l[i] = lanes_set(0.0f);
    }
    memset(t->sums, 0, (size_t)(t->n * D) * sizeof *t->sums);
    for (int first = from[0] / KEY_BLOCK * KEY_BLOCK; first < last; first += KEY_BLOCK) {
        size_t b = (size_t)(first / KEY_BLOCK), at = keys->table ? (size_t)keys->table[b] : b;
        int halves = last - first > 16 ? 2 : 1;
        struct values values = { keys->values + at * keys->size, D };

        (keys->pairs ? dots_of_pairs : dots_of)(t->n, halves, p, t->q, t->q_row,
                                                keys->keys + at * keys->size, D);
        for (int i = 0; i < t->n; i++) {
            seen[i] = seen_in(from[i], t->visible + i * t->more, first);
            if (from[i] >= first && from[i] < first + KEY_BLOCK)
                m[i] = -INFINITY;
            next[i] = scale_scores(p + i * KEY_BLOCK, scale, m[i], seen[i], halves);
        }
        lanes_store(a, lanes_exp(lanes_sub(lanes_load(m), lanes_load(next))));
        for (int i = 0; i < t->n; i++) {
            m[i] = next[i];
            l[i] = weights(p + i * KEY_BLOCK, lanes_set(m[i]), lanes_mul(l[i], lanes_set(a[i])),
                           seen[i], halves);
        }
        (keys->pairs ? weigh_all_pairs : weigh_all)(t->n, t->sums, (size_t)D, a, p, values, seen);
    }
    for (int i = 0; i < t->n; i++) {
        float sum = lanes_fold(l[i]);

        for (int c = 0; c < D; c += 16) {
            int n = D - c < 16 ? D - c : 16;
            struct lanes o = take(t->sums, (size_t)(i * D + c), n);

            put_stored(t->bf16, t->o, t->at + (size_t)i * t->q_row + (size_t)c,
                       lanes_div(o, lanes_set(sum)), n);
        }
        if (t->stats) {
            t->stats[(size_t)i * t->stats_row] = m[i];
            t->stats[(size_t)i * t->stats_row + 1] = sum;
        }
    }
}

/* ---- packed rows */

struct attention {
    void *o;
    float *stats;
    const float *q;
    const void *key, *value;         /* stored */
    const int *start;
    int N, H, G, D, window;
    struct compute *k;
    /* backward */
    float *dq, *dkey, *dvalue;
    const float *d_o, *known_stats;
    const void *known_o;
};

/* x(length) from element `at` on with stride `row` -> blocks of [D][KEY_BLOCK], zeros behind the
 * end */
static void transpose_keys(float *to, bool bf16, const void *x, size_t at, size_t row, int length,
                           int D)
{
    struct operand keys = { .row_stride = row, .step_stride = 1, .steps = D, .bf16 = bf16 };

    keys.data = bf16 ? (const void *)((const uint16_t *)x + at) : (const float *)x + at;
    for (int first = 0; first < length; first += KEY_BLOCK, to += (size_t)D * KEY_BLOCK)
        for (int h = 0; h < KEY_BLOCK; h += 16) {
            int left = length - first - h, n = left < 0 ? 0 : left < 16 ? left : 16;

            turn(16, to + h, KEY_BLOCK, &keys, first + h, n, 0, D);
        }
}

/* The same -> to(length, D): a stride of a power of two is poison to a cache */
static void gather(float *to, bool bf16, const void *x, size_t at, size_t row, int length, int D)
{
    for (int j = 0; j < length; j++, at += row, to += D)
        if (bf16)
            for (int c = 0; c < D; c += 16) {
                int part = D - c < 16 ? D - c : 16;

                put(to, (size_t)c, take_bf16(x, at + (size_t)c, part), part);
            }
        else
            memcpy(to, (const float *)x + at, (size_t)D * sizeof *to);
}

static size_t transposed_size(const int *start, int N, int D)
{
    int longest = 0;

    for (int n = 0; n < N; n++)
        longest = start[n + 1] - start[n] > longest ? start[n + 1] - start[n] : longest;
    return ((size_t)longest + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK * (size_t)D;
}

/* Multiply-adds of one product over the lower triangles, or what windows leave of them. */
static double triangle_work(const int *start, int N, struct attention_shape shape)
{
    double pairs = 0;

    for (int n = 0; n < N; n++) {
        double length = start[n + 1] - start[n], before = first_seen(shape.window, (int)length);

        pairs += 0.5 * (length * length - before * before);
    }
    return pairs * shape.H * shape.D;
}

/* Items are (row, key/value head): all query heads that share keys. */
static void attention_forward_part(void *job, int begin, int end, int thread)
{
    const struct attention *a = job;
    int group = a->H / a->G;

    for (int item = begin; item < end; item++) {
        int first = a->start[item / a->G], length = a->start[item / a->G + 1] - first;
        size_t row = (size_t)a->G * (size_t)a->D, q_row = (size_t)a->H * (size_t)a->D;
        size_t at = (size_t)first * row + (size_t)(item % a->G) * (size_t)a->D;
        float *turned = cpu_scratch_of(a->k, thread);
        float *values = turned + transposed_size(a->start + item / a->G, 1, a->D);
        float *sums = values + transposed_size(a->start + item / a->G, 1, a->D);
        struct key_blocks keys = { .keys = turned, .values = values,
                                   .size = (size_t)a->D * KEY_BLOCK, .D = a->D };
        bool bf16 = a->k->dtype == COMPUTE_BF16;

        transpose_keys(turned, bf16, a->key, at, row, length, a->D);
        gather(values, bf16, a->value, at, row, length, a->D);
        for (int h = item % a->G * group; h < (item % a->G + 1) * group; h++) {
            for (int i = 0; i < length; i += BAND) {
                size_t head = (size_t)(first + i) * (size_t)a->H + (size_t)h;
                struct band band = {
                    .q = a->q + head * (size_t)a->D, .o = a->o, .at = head * (size_t)a->D,
                    .bf16 = bf16, .sums = sums, .stats = a->stats + 2 * head, .q_row = q_row,
                    .stats_row = 2 * (size_t)a->H,
                    .n = length - i < BAND ? length - i : BAND, .visible = i + 1, .more = 1,
                    .window = a->window,
                };

                attend(&band, &keys);
            }
        }
    }
}

static void attention_forward(struct compute *k, void *o, float *stats, const float *q,
                              const void *key, const void *value, const int *start, int N,
                              struct attention_shape shape)
{
    struct attention a = { .o = o, .stats = stats, .q = q, .key = key, .value = value,
                           .start = start, .N = N, .H = shape.H, .G = shape.G, .D = shape.D,
                           .window = shape.window, .k = k };

    if (cpu_scratch(k, 2 * transposed_size(start, N, a.D) + BAND * (size_t)a.D))
        cpu_split(k, 3 * triangle_work(start, N, shape), N * a.G, 1, &a, attention_forward_part);
}

/* ---- pages: tokens of a row that share a head's keys walk together */

struct paged {
    void *o;
    const float *q;
    struct pages pages;
    const struct extend *rows;
    int H, G, D, window;
    struct compute *k;
};

/* Tokens first .. first + n of a row for one query head, or (n = 1) `heads` heads of one token. */
static void attend_pages(const struct paged *a, int row, int first, int n, int head, int heads,
                         float *sums)
{
    const struct extend *rows = a->rows;
    size_t D = (size_t)a->D, block = page_floats(a->k->dtype, 1, a->D);
    size_t in_page = (size_t)(head / (a->H / a->G)) * block;
    size_t at = ((size_t)first * (size_t)a->H + (size_t)head) * D;
    struct key_blocks keys = { .keys = a->pages.keys + in_page, .values = a->pages.values + in_page,
                               .table = rows->table + (size_t)row * (size_t)rows->table_stride,
                               .size = (size_t)a->G * block, .D = a->D,
                               .pairs = a->k->dtype == COMPUTE_BF16 };
    struct band band = { .q = a->q + at, .o = a->o, .at = at, .bf16 = keys.pairs, .sums = sums,
                         .q_row = heads > 1 ? D : (size_t)a->H * D,
                         .n = heads > 1 ? heads : n, .more = heads > 1 ? 0 : 1,
                         .window = a->window,
                         .visible = rows->position[row] + first - rows->start[row] + 1 };

    attend(&band, &keys);
}

/* Items are (row, key/value head). */
static void pages_attend_part(void *job, int begin, int end, int thread)
{
    const struct paged *a = job;
    int group = a->H / a->G;
    float *sums = cpu_scratch_of(a->k, thread);

    for (int item = begin; item < end; item++) {
        int row = item / a->G, head = item % a->G * group;
        int first = a->rows->start[row], last = a->rows->start[row + 1];

        if (last - first == 1) {
            for (int h = 0; h < group; h += BAND)
                attend_pages(a, row, first, 1, head + h, group - h < BAND ? group - h : BAND,
                             sums);
            continue;
        }
        for (int h = head; h < head + group; h++)
            for (int t = first; t < last; t += BAND)
                attend_pages(a, row, t, last - t < BAND ? last - t : BAND, h, 1, sums);
    }
}

static void pages_attend(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape shape)
{
    struct paged a = { o, q, pages, rows, shape.H, shape.G, shape.D, shape.window, k };
    double work = 0;

    for (int n = 0; n < rows->N; n++) {
        int more = rows->start[n + 1] - rows->start[n], upto = rows->position[n] + more;

        work += (double)more * (upto - first_seen(shape.window, upto));
    }
    if (cpu_scratch(k, BAND * (size_t)a.D))
        cpu_split(k, 3 * work * a.H * a.D, rows->N * a.G, 1, &a, pages_attend_part);
}

#endif
