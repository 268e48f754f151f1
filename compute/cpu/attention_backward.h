/* The backward pass of attention in lanes; ref/attention.c is the definition.
 *
 *   p = exp(s - max) / sum     ds = p (dp - delta) scale     delta = do . o     dp_j = do . v_j
 *   dq += ds k (over keys)     dk += ds q, dv += p do (over queries, heads of a group in order)
 *
 * A tile of queries meets a block of keys; tiles and blocks ascend, so every chain does.
 * Included after attention.h by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_ATTENTION_BACKWARD_H
#define COMPUTE_CPU_ATTENTION_BACKWARD_H

/* One (row, query head) of the backward pass; pointers are at the row's first token. */
struct backward {
    const float *q, *d_o, *o, *stats, *key, *value;
    const float *keys, *values;      /* transposed, [D][KEY_BLOCK] a block */
    float *dq, *dkey, *dvalue;
    size_t q_row, row, stats_row;
    int length, D;
};

static float dot_heads(const float *a, const float *b, int D)
{
    struct lanes sum = lanes_set(0.0f);

    for (int c = 0; c < D; c += 16) {
        int n = D - c < 16 ? D - c : 16;
        struct lanes x = take(a, (size_t)c, n), y = take(b, (size_t)c, n);

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

/* out[j][c ..] += sum over queries i of p[i][j] * x[i][c ..], for the keys of a block that the
 * tile's queries see: key j is seen from query j - lead on. */
INLINE void spread(const bool full, const int part, float *out, size_t row, const float *p,
                   const float *x, size_t x_row, int n, int keys, int lead)
{
    struct lanes query[QUERIES];

    UNROLL for (int i = 0; i < QUERIES; i++)
        query[i] = full || i < n ? take(x + (size_t)i * x_row, 0, part) : lanes_set(0.0f);
    for (int j = 0; j < keys; j++, out += row) {
        struct lanes sum = take(out, 0, part);

        UNROLL for (int i = 0; i < QUERIES; i++)
            if (full ? true : i < n && j - lead <= i)
                sum = lanes_fma(lanes_set(p[i * KEY_BLOCK + j]), query[i], sum);
        put(out, 0, sum, part);
    }
}

static void spread_all(float *out, size_t row, const float *p, const float *x, size_t x_row, int n,
                       int keys, int lead, int D)
{
    int seen = n < QUERIES || lead < 0 ? 0 : lead + 1 < keys ? lead + 1 : keys;   /* by all */

    for (int c = 0; c < D; c += 16) {
        int part = D - c < 16 ? D - c : 16;
        float *to = out + c;

        if (seen > 0 && part == 16)
            spread(true, 16, to, row, p, x + c, x_row, n, seen, lead);
        else if (seen > 0)
            spread(true, part, to, row, p, x + c, x_row, n, seen, lead);
        if (seen < keys)
            spread(false, part, to + (size_t)seen * row, row, p + seen, x + c, x_row, n,
                   keys - seen, lead - seen);
    }
}

/* A tile of n queries from i0 on and the block of keys from `first` on. */
static void tile_backward(const struct backward *b, int i0, int n, int first, const float *delta)
{
    float p[QUERIES * KEY_BLOCK] ALIGNED, ds[QUERIES * KEY_BLOCK] ALIGNED, one[QUERIES];
    struct lanes scale = lanes_set(1.0f / sqrtf((float)b->D));
    size_t turned = (size_t)first * (size_t)b->D, query = (size_t)i0 * b->q_row;
    size_t key = (size_t)first * b->row;
    int counts[QUERIES], last = i0 + n - first, keys = last < KEY_BLOCK ? last : KEY_BLOCK;
    int halves = keys > 16 ? 2 : 1;

    dots_of(n, halves, p, b->q + query, b->q_row, b->keys + turned, b->D);
    dots_of(n, halves, ds, b->d_o + query, b->q_row, b->values + turned, b->D);
    for (int i = 0; i < n; i++) {
        int seen = i0 + i + 1 - first;

        weights_backward(p + i * KEY_BLOCK, ds + i * KEY_BLOCK,
                         b->stats + (size_t)(i0 + i) * b->stats_row, delta[i], scale, halves);
        counts[i] = seen < 0 ? 0 : seen < KEY_BLOCK ? seen : KEY_BLOCK;
        one[i] = 1.0f;
    }
    weigh_all(n, b->dq + query, b->q_row, one, ds, b->key + key, b->row, counts, b->D);
    spread_all(b->dkey + key, b->row, ds, b->q + query, b->q_row, n, keys, i0 - first, b->D);
    spread_all(b->dvalue + key, b->row, p, b->d_o + query, b->q_row, n, keys, i0 - first, b->D);
}

static void head_backward(const struct backward *b)
{
    for (int i = 0; i < b->length; i += QUERIES) {
        int n = b->length - i < QUERIES ? b->length - i : QUERIES;
        float delta[QUERIES];

        for (int j = 0; j < n; j++)
            delta[j] = dot_heads(b->d_o + (size_t)(i + j) * b->q_row,
                                 b->o + (size_t)(i + j) * b->q_row, b->D);
        for (int first = 0; first < i + n; first += KEY_BLOCK)
            tile_backward(b, i, n, first, delta);
    }
}

/* Items are (row, key/value head): its query heads come in order. */
static void attention_backward_part(void *job, int begin, int end, int thread)
{
    const struct attention *a = job;
    int group = a->H / a->G;
    size_t D = (size_t)a->D, row = (size_t)a->G * D;

    for (int item = begin; item < end; item++) {
        int n = item / a->G, g = item % a->G, length = a->start[n + 1] - a->start[n];
        size_t at = (size_t)a->start[n] * row + (size_t)g * D;
        float *keys = cpu_scratch_of(a->k, thread);
        float *values = keys + transposed_size(a->start + n, 1, a->D);

        transpose_keys(keys, a->key + at, row, length, a->D);
        transpose_keys(values, a->value + at, row, length, a->D);
        for (int h = g * group; h < (g + 1) * group; h++) {
            size_t head = (size_t)a->start[n] * (size_t)a->H + (size_t)h;
            struct backward b = {
                .q = a->q + head * D, .d_o = a->d_o + head * D, .o = a->known_o + head * D,
                .stats = a->known_stats + 2 * head, .key = a->key + at, .value = a->value + at,
                .keys = keys, .values = values, .dq = a->dq + head * D, .dkey = a->dkey + at,
                .dvalue = a->dvalue + at, .q_row = (size_t)a->H * D, .row = row,
                .stats_row = 2 * (size_t)a->H, .length = length, .D = a->D,
            };

            head_backward(&b);
        }
    }
}

static void attention_backward(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const float *key,
                               const float *value, const float *o, const float *stats,
                               const int *start, int N, int H, int G, int D)
{
    struct attention a = { .q = q, .key = key, .value = value, .start = start, .N = N, .H = H,
                           .G = G, .D = D, .k = k, .dq = dq, .dkey = dkey, .dvalue = dvalue,
                           .d_o = d_o, .known_o = o, .known_stats = stats };

    if (cpu_scratch(k, 2 * transposed_size(start, N, D)))
        cpu_split(k, 7 * triangle_work(start, N, H, D), N * G, 1, &a, attention_backward_part);
}

static void fill_attention(struct compute *k)
{
    k->attention_forward = attention_forward;
    k->attention_backward = attention_backward;
    k->pages_attend = pages_attend;
}

#endif
