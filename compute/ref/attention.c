/* Causal attention with an online softmax over blocks of KEY_BLOCK keys, cut from key 0 of the row:
 *
 *   keys   |0 ....... 31|32 ....... 63|64 .. i|      for query i: m, l (16 lanes) and o are
 *          m,l,o ------> m',l',o' ----> ...          rescaled by exp(m - m') at each block
 *
 * A window begins within one of these blocks; those before it are left out.
 *
 * Masked keys are never touched, so what lies in the rest of a page cannot matter.
 */
#include <math.h>

#include "compute/math.h"
#include "compute/ref/ref.h"

/* An element of a page: a float, or half of a word. */
static float in_page(const struct key_walk *walk, const void *pages, int j, size_t at, bool odd)
{
    float x = ((const float *)pages)[(size_t)walk->table[j / KEY_BLOCK] * walk->page_size + at];

    if (walk->dtype == COMPUTE_FP32)
        return x;
    return odd ? bf16_odd(bits_of_f32(x)) : bf16_even(bits_of_f32(x));
}

/* Element d of key j */
static float key_at(const struct key_walk *walk, int j, int d)
{
    int slot = j % KEY_BLOCK, lanes = walk->dtype == COMPUTE_BF16 ? KEY_BLOCK / 2 : KEY_BLOCK;

    if (walk->row)
        return ref_stored(walk->keys, walk->dtype, (size_t)j * walk->row + (size_t)d);
    return in_page(walk, walk->keys, j, (size_t)(d * lanes + slot % lanes), slot >= lanes);
}

static float value_at(const struct key_walk *walk, int j, int d)
{
    int slot = j % KEY_BLOCK, shared = walk->dtype == COMPUTE_BF16 ? 2 : 1;

    if (walk->row)
        return ref_stored(walk->values, walk->dtype, (size_t)j * walk->row + (size_t)d);
    return in_page(walk, walk->values, j, (size_t)(slot / shared * walk->D + d), slot % 2 != 0);
}

/* s(n) for keys first .. first + n; returns their maximum or `max`, whichever is larger.  Adding +0
 * turns a maximum of -0 into +0, which then cannot depend on who came first. */
static float scores(float *s, const float *q, const struct key_walk *walk, int first, int n,
                    float max)
{
    float scale = 1.0f / sqrtf((float)walk->D);

    for (int j = 0; j < n; j++) {
        float sum = 0.0f;

        for (int d = 0; d < walk->D; d++)
            sum = fmaf(q[d], key_at(walk, first + j, d), sum);
        s[j] = sum * scale;
        max = s[j] > max ? s[j] : max;
    }
    return max + 0.0f;
}

void ref_attend(void *out, size_t at, float *stats, const float *q, const struct key_walk *walk,
                int from, int upto)
{
    int D = walk->D;
    float s[KEY_BLOCK], l[16] = {0}, m = -INFINITY, o[D];

    for (int d = 0; d < D; d++)
        o[d] = 0.0f;
    for (int end, first = from; first < upto; first = end) {
        end = first / KEY_BLOCK * KEY_BLOCK + KEY_BLOCK;
        int n = (end < upto ? end : upto) - first;
        float next = scores(s, q, walk, first, n, m), a = rw_expf(m - next);

        m = next;
        for (int i = 0; i < 16; i++)
            l[i] *= a;
        for (int d = 0; d < D; d++)
            o[d] *= a;
        for (int j = 0; j < n; j++) {
            float p = rw_expf(s[j] - m);

            l[(first + j) % 16] += p;
            for (int d = 0; d < D; d++)
                o[d] = fmaf(p, value_at(walk, first + j, d), o[d]);
        }
    }
    float sum = fold16(l);

    for (int d = 0; d < D; d++)
        ref_store(out, walk->dtype, at + (size_t)d, o[d] / sum);
    if (stats) {
        stats[0] = m;
        stats[1] = sum;
    }
}

/* Keys and values of head g from token `first` on. */
static struct key_walk walk_row(struct compute *k, const void *key, const void *value, int first,
                                int g, int G, int D)
{
    size_t at = ((size_t)first * (size_t)G + (size_t)g) * (size_t)D * stored_bytes(k->dtype);

    return (struct key_walk){ .dtype = k->dtype, .keys = (const char *)key + at,
                              .values = (const char *)value + at, .row = (size_t)G * (size_t)D,
                              .D = D };
}

static void attention_forward(struct compute *k, void *o, float *stats, const float *q,
                              const void *key, const void *value, const int *start, int N,
                              struct attention_shape shape)
{
    int H = shape.H, G = shape.G, D = shape.D;

    for (int n = 0; n < N; n++) {
        for (int t = start[n]; t < start[n + 1]; t++) {
            for (int h = 0; h < H; h++) {
                size_t at = (size_t)t * H + h;
                struct key_walk walk = walk_row(k, key, value, start[n], h / (H / G), G, D);
                int upto = t - start[n] + 1;

                ref_attend(o, at * D, stats + 2 * at, q + at * D, &walk,
                           first_seen(shape.window, upto), upto);
            }
        }
    }
}

static float delta_of(const float *d_o, const void *o, size_t at, enum compute_dtype dtype, int D)
{
    float lane[16] = {0};

    for (int d = 0; d < D; d++)
        lane[d % 16] = fmaf(d_o[d], ref_stored(o, dtype, at + (size_t)d), lane[d % 16]);
    return fold16(lane);
}

/* One query of one head, which sees keys from .. upto of its row.  p = exp(s - max) / sum,
 * ds = p (dp - delta) scale, with dp_j = do . v_j and delta = do . o */
static void backward_query(float *dq, float *dkey, float *dvalue, const float *d_o,
                           const float *q, float delta, const float *stats,
                           const struct key_walk *walk, int from, int upto)
{
    float scale = 1.0f / sqrtf((float)walk->D);
    int D = walk->D;

    for (int j = from; j < upto; j++) {
        size_t at = (size_t)j * walk->row;
        float s = 0.0f, dp = 0.0f;

        for (int d = 0; d < D; d++)
            s = fmaf(q[d], key_at(walk, j, d), s);
        for (int d = 0; d < D; d++)
            dp = fmaf(d_o[d], value_at(walk, j, d), dp);
        float p = rw_expf(s * scale - stats[0]) / stats[1];
        float ds = p * (dp - delta) * scale;

        for (int d = 0; d < D; d++) {
            dq[d] = fmaf(ds, key_at(walk, j, d), dq[d]);
            dkey[at + d] = fmaf(ds, q[d], dkey[at + d]);
            dvalue[at + d] = fmaf(p, d_o[d], dvalue[at + d]);
        }
    }
}

static void attention_backward(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const void *key,
                               const void *value, const void *o, const float *stats,
                               const int *start, int N, struct attention_shape shape)
{
    int H = shape.H, G = shape.G, D = shape.D;

    for (int n = 0; n < N; n++) {
        for (int h = 0; h < H; h++) {            /* heads outside: one chain after the other */
            size_t first = ((size_t)start[n] * G + (size_t)(h / (H / G))) * D;
            struct key_walk walk = walk_row(k, key, value, start[n], h / (H / G), G, D);

            for (int t = start[n]; t < start[n + 1]; t++) {
                size_t at = (size_t)t * H + h, qd = at * D;
                int upto = t - start[n] + 1;

                backward_query(dq + qd, dkey + first, dvalue + first, d_o + qd, q + qd,
                               delta_of(d_o + qd, o, qd, k->dtype, D), stats + 2 * at, &walk,
                               first_seen(shape.window, upto), upto);
            }
        }
    }
}

void ref_fill_attention(struct compute *k)
{
    k->attention_forward = attention_forward;
    k->attention_backward = attention_backward;
}
