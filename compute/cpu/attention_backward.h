/* The backward pass of attention in lanes; ref/attention.c is the definition.
 *
 *   p = exp(s - max) / sum     ds = p (dp - delta) scale     delta = do . o     dp_j = do . v_j
 *   dq += ds k (over keys)     dk += ds q, dv += p do (over queries, heads of a group in order)
 *
 * Blocks of keys ascend, and each meets all tiles of queries, which ascend: so does every chain.
 * Included after attention.h by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_ATTENTION_BACKWARD_H
#define COMPUTE_CPU_ATTENTION_BACKWARD_H

/* One (row, query head) of the backward pass; pointers are at the row's first token. */
struct backward {
    const float *q, *d_o, *stats;
    const void *o;                   /* stored */
    bool bf16;
    float *dq, *delta;               /* delta(length) */
    size_t q_row, stats_row;
    int length, D, window;           /* window: at most the length, which is none */
};

/* The block of keys that it meets, from key `first` of the row on: gathered, so that it stays in
 * the cache. */
struct key_block {
    float *keys, *values;            /* transposed, [D][KEY_BLOCK] */
    float *key, *dkey, *dvalue;      /* [KEY_BLOCK][D] */
    int first, n;
};

static float dot_heads(const float *a, bool bf16, const void *b, int D)
{
    struct lanes sum = lanes_set(0.0f);

    for (int c = 0; c < D; c += 16) {
        int n = D - c < 16 ? D - c : 16;
        struct lanes x = take(a, (size_t)c, n), y = take_stored(bf16, b, (size_t)c, n);

        sum = lanes_select(n, lanes_fma(x, y, sum), sum);
    }
    return lanes_fold(sum);
}

/* Scores s and dp of one query and a block become p and ds. */
INLINE void weights_backward(float *s, float *dp, const float *stats, float delta,
                             struct lanes scale, int halves)
{
    for (int h = 0; h < halves; h++) {
        struct lanes x = lanes_mul(lanes_load(s + 16 * h), scale);
        struct lanes p = lanes_exp(lanes_sub(x, lanes_set(stats[0])));
        struct lanes d = lanes_sub(lanes_load(dp + 16 * h), lanes_set(delta));

        p = lanes_div(p, lanes_set(stats[1]));
        lanes_store(s + 16 * h, p);
        lanes_store(dp + 16 * h, lanes_mul(lanes_mul(p, d), scale));
    }
}

/* A tile of n queries, of which query i is `lead + i` keys after the first key of a block. */
struct lead { int n, lead, window; };

/* out[j][c ..] += sum over queries i of p[i][j] * x[i][c ..], for some keys j of a block: all the
 * QUERIES of the tile see them (full), or those less than the window behind them. */
INLINE void spread(const bool full, const int part, float *out, size_t row, const float *p,
                   const float *x, size_t x_row, struct lead t, struct span keys)
{
    struct lanes query[QUERIES];

    UNROLL for (int i = 0; i < QUERIES; i++)
        query[i] = full || i < t.n ? take(x + (size_t)i * x_row, 0, part) : lanes_set(0.0f);
    out += (size_t)keys.from * row;
    for (int j = keys.from; j < keys.upto; j++, out += row) {
        struct lanes sum = take(out, 0, part);

        UNROLL for (int i = 0; i < QUERIES; i++)
            if (full ? true : i < t.n && (unsigned)(t.lead - j + i) < (unsigned)t.window)
                sum = lanes_fma(lanes_set(p[i * KEY_BLOCK + j]), query[i], sum);
        put(out, 0, sum, part);
    }
}

/* All D of it. */
INLINE void spread_wide(const bool full, float *out, size_t row, const float *p, const float *x,
                        size_t x_row, struct lead t, struct span keys, int D)
{
    int c = 0;

    for (; c + 16 <= D; c += 16)
        spread(full, 16, out + c, row, p, x + c, x_row, t, keys);
    if (c < D)
        spread(full, D - c, out + c, row, p, x + c, x_row, t, keys);
}

static void spread_ragged(float *out, size_t row, const float *p, const float *x, size_t x_row,
                          struct lead t, struct span keys, int D)
{
    spread_wide(false, out, row, p, x, x_row, t, keys, D);
}

/* one, last: what the first and the last query see; all see what is in the middle. */
static void spread_all(float *out, size_t row, const float *p, const float *x, size_t x_row,
                       struct lead t, struct span one, struct span last, int D)
{
    struct span all = { last.from, one.upto };

    if (t.n < QUERIES || all.from >= all.upto)
        all = (struct span){ one.from, one.from };
    if (one.from < all.from)
        spread_ragged(out, row, p, x, x_row, t, (struct span){ one.from, all.from }, D);
    if (all.from < all.upto)
        spread_wide(true, out, row, p, x, x_row, t, all, D);
    if (all.upto < last.upto)
        spread_ragged(out, row, p, x, x_row, t, (struct span){ all.upto, last.upto }, D);
}

/* A tile of n queries from i0 on and a block of keys. */
static void tile_backward(const struct backward *b, int i0, int n, const struct key_block *block)
{
    float p[QUERIES * KEY_BLOCK] ALIGNED, ds[QUERIES * KEY_BLOCK] ALIGNED, one[QUERIES];
    struct lanes scale = lanes_set(1.0f / sqrtf((float)b->D));
    size_t query = (size_t)i0 * b->q_row, D = (size_t)b->D;
    int halves = i0 + n - block->first > 16 ? 2 : 1;
    struct span seen[QUERIES];
    struct lead t = { n, i0 - block->first, b->window };

    dots_of(n, halves, p, b->q + query, b->q_row, block->keys, b->D);
    dots_of(n, halves, ds, b->d_o + query, b->q_row, block->values, b->D);
    for (int i = 0; i < n; i++) {
        weights_backward(p + i * KEY_BLOCK, ds + i * KEY_BLOCK,
                         b->stats + (size_t)(i0 + i) * b->stats_row, b->delta[i0 + i], scale,
                         halves);
        seen[i] = seen_in(first_seen(b->window, i0 + i + 1), i0 + i + 1, block->first);
        one[i] = 1.0f;
    }
    weigh_all(n, b->dq + query, b->q_row, one, ds, (struct values){ block->key, b->D }, seen);
    spread_all(block->dkey, D, ds, b->q + query, b->q_row, t, seen[0], seen[n - 1], b->D);
    spread_all(block->dvalue, D, p, b->d_o + query, b->q_row, t, seen[0], seen[n - 1], b->D);
}

/* The queries that see a block of keys. */
static void head_backward(const struct backward *b, const struct key_block *block)
{
    int end = block->first + block->n - 1 + b->window;

    end = end < b->length ? end : b->length;
    for (int i = block->first / QUERIES * QUERIES; i < end; i += QUERIES)
        tile_backward(b, i, b->length - i < QUERIES ? b->length - i : QUERIES, block);
}

static void find_delta(const struct backward *b)
{
    enum compute_dtype dtype = b->bf16 ? COMPUTE_BF16 : COMPUTE_FP32;

    for (int i = 0; i < b->length; i++)
        b->delta[i] = dot_heads(b->d_o + (size_t)i * b->q_row, b->bf16,
                                stored_at(dtype, b->o, (size_t)i * b->q_row), b->D);
}

/* Query head h of row n. */
static struct backward backward_of(const struct attention *a, int n, int h, float *delta)
{
    size_t D = (size_t)a->D, head = (size_t)a->start[n] * (size_t)a->H + (size_t)h;
    int length = a->start[n + 1] - a->start[n];

    return (struct backward){
        .q = a->q + head * D, .d_o = a->d_o + head * D,
        .o = stored_at(a->k->dtype, a->known_o, head * D), .bf16 = a->k->dtype == COMPUTE_BF16,
        .stats = a->known_stats + 2 * head, .dq = a->dq + head * D, .delta = delta,
        .q_row = (size_t)a->H * D, .stats_row = 2 * (size_t)a->H,
        .length = length, .D = a->D,
        .window = a->window > 0 && a->window < length ? a->window : length,
    };
}

/* Five arrays of a block, then delta. */
static struct key_block block_in(float *room, int D)
{
    size_t size = (size_t)D * KEY_BLOCK;

    return (struct key_block){ .keys = room, .values = room + size, .key = room + 2 * size,
                               .dkey = room + 3 * size, .dvalue = room + 4 * size };
}

/* The block from key `first` on of the keys that begin `at` elements on. */
static void block_load(struct key_block *b, const struct attention *a, size_t at, size_t row)
{
    bool bf16 = a->k->dtype == COMPUTE_BF16;

    transpose_keys(b->keys, bf16, a->key, at, row, b->n, a->D);
    transpose_keys(b->values, bf16, a->value, at, row, b->n, a->D);
    gather(b->key, bf16, a->key, at, row, b->n, a->D);
    gather(b->dkey, false, a->dkey, at, row, b->n, a->D);
    gather(b->dvalue, false, a->dvalue, at, row, b->n, a->D);
}

static void block_store(const struct key_block *b, const struct attention *a, size_t at, size_t row)
{
    size_t D = (size_t)a->D;

    for (int j = 0; j < b->n; j++) {
        memcpy(a->dkey + at + (size_t)j * row, b->dkey + (size_t)j * D, D * sizeof *b->dkey);
        memcpy(a->dvalue + at + (size_t)j * row, b->dvalue + (size_t)j * D, D * sizeof *b->dvalue);
    }
}

/* Items are (row, key/value head): its query heads come in order. */
static void attention_backward_part(void *job, int begin, int end, int thread)
{
    const struct attention *a = job;
    int group = a->H / a->G;
    size_t row = (size_t)a->G * (size_t)a->D;
    struct key_block block = block_in(cpu_scratch_of(a->k, thread), a->D);
    float *delta = block.dvalue + (size_t)a->D * KEY_BLOCK;

    for (int item = begin; item < end; item++) {
        int n = item / a->G, g = item % a->G, length = a->start[n + 1] - a->start[n];

        for (int h = 0; h < group; h++) {
            struct backward b = backward_of(a, n, g * group + h, delta + (size_t)h * length);
            find_delta(&b);
        }
        for (block.first = 0; block.first < length; block.first += KEY_BLOCK) {
            size_t at = (size_t)(a->start[n] + block.first) * row + (size_t)g * (size_t)a->D;

            block.n = length - block.first < KEY_BLOCK ? length - block.first : KEY_BLOCK;
            block_load(&block, a, at, row);
            for (int h = 0; h < group; h++) {
                struct backward b = backward_of(a, n, g * group + h, delta + (size_t)h * length);
                head_backward(&b, &block);
            }
            block_store(&block, a, at, row);
        }
    }
}

/* Floats of a thread. */
static size_t backward_room(const int *start, int N, int group, int D)
{
    return 5 * (size_t)D * KEY_BLOCK + transposed_size(start, N, 1) * (size_t)group;
}

static void attention_backward(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const void *key,
                               const void *value, const void *o, const float *stats,
                               const int *start, int N, struct attention_shape shape)
{
    struct attention a = { .q = q, .key = key, .value = value, .start = start, .N = N,
                           .H = shape.H, .G = shape.G, .D = shape.D, .window = shape.window,
                           .k = k, .dq = dq, .dkey = dkey, .dvalue = dvalue, .d_o = d_o,
                           .known_o = o, .known_stats = stats };

    if (cpu_scratch(k, backward_room(start, N, a.H / a.G, a.D)))
        cpu_split(k, 7 * triangle_work(start, N, shape), N * a.G, 1, &a, attention_backward_part);
}

static void fill_attention(struct compute *k)
{
    k->attention_forward = attention_forward;
    k->attention_backward = attention_backward;
    k->pages_attend = pages_attend;
}

#endif
