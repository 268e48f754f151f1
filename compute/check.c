/* See check.h. */
#include "compute/check.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "compute/bf16.h"

#define SIDE 64                      /* a product tries SIDE x SIDE cases */
#define SEED 126

enum kind { ORDINARY, PATTERN, BESIDE, SPECIAL, KINDS };     /* KINDS: any of them */

/* A stream of random words. */
struct words { struct counter at; uint32_t word[4]; int left; };

static uint32_t next(struct words *w)
{
    if (w->left == 0) {
        random_words(&w->at, w->word);
        w->at.position++;
        w->left = 4;
    }
    return w->word[--w->left];
}

/* A number of that kind. */
static float draw(struct words *w, enum kind kind)
{
    static const uint32_t special[] = {
        0, 1, 0x7fffff, 0x800000, 0x10000, 0x3f800000, 0x7f7fffff, 0x7f800000, 0x7fc00000,
    };
    uint32_t u = next(w);

    switch (kind == KINDS ? (enum kind)(next(w) % KINDS) : kind) {
    case ORDINARY: return (float)(int32_t)u * 0x1p-31f;
    case BESIDE:                     /* of one below 2^-62, or of one that is much smaller */
        return f32_of_bits((u & 0x807fffffu) | (62 + next(w) % 4 - next(w) % 2 * 12) << 23);
    case SPECIAL:
        return f32_of_bits(special[u % (sizeof special / sizeof *special)] | (u & 0x80000000u));
    default: return f32_of_bits(u);
    }
}

/* dx(SIDE,SIDE) += dy(SIDE,2) w(2,SIDE) */
struct scene { float dy[SIDE][2], w[2][SIDE], dx[SIDE][SIDE]; };

/* A sum that meets x y: of that kind, or within some last places of 2^-126 or of what cancels. */
static float draw_sum(struct words *w, enum kind kind, float x, float y)
{
    uint32_t u = next(w), places = (u >> 4) % 5 - 2;

    switch (u % 3) {
    case 0: return f32_of_bits((0x00800000u + places) | (u & 0x80000000u));
    case 1: return f32_of_bits(bits_of_f32(-bf16_round(x) * bf16_round(y)) + places);
    default: return draw(w, kind);
    }
}

static void make_scene(struct scene *s, struct words *w, enum kind kind)
{
    for (int i = 0; i < SIDE; i++)
        for (int n = 0; n < 2; n++) {
            s->dy[i][n] = draw(w, kind);
            s->w[n][i] = draw(w, kind);
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            s->dx[i][j] = draw_sum(w, kind, s->dy[i][j % 2], s->w[j % 2][j]);
}

static void compare(struct pairs_check *c, const struct scene *s, float (*got)[SIDE],
                    float (*want)[SIDE])
{
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            float g = got[i][j], r = want[i][j];

            c->cases++;
            if (bits_of_f32(g) == bits_of_f32(r) || (isnan(g) && isnan(r)))
                continue;
            if (c->wrong++ == 0)
                c->first = (struct pair_case){ { s->dy[i][0], s->dy[i][1] },
                                               { s->w[0][j], s->w[1][j] }, s->dx[i][j], g, r };
        }
}

/* Where k reaches it, as ref does. */
static void layout(struct memory *m, struct scene **s, float (**got)[SIDE])
{
    *s = memory_take(m, sizeof **s);
    *got = memory_take(m, sizeof (*s)->dx);
}

int compute_check_pairs(struct compute *k, int64_t cases, struct pairs_check *c)
{
    struct words words = { .at = { .seed = SEED, .purpose = PURPOSE_TEST } };
    float (*got)[SIDE], want[SIDE][SIDE];
    struct compute *ref = NULL;
    struct memory memory;
    struct scene *s;
    int rc = RL_OK;

    memset(c, 0, sizeof *c);
    memory_count(&memory);
    layout(&memory, &s, &got);
    TRY(memory_open(&memory));
    layout(&memory, &s, &got);
    TRY(compute_open(&ref, "ref", "bf16", 1));
    for (int scene = 0; c->cases < cases; scene++) {
        make_scene(s, &words, (enum kind)(scene % (KINDS + 1)));
        memcpy(got, s->dx, sizeof s->dx);
        memcpy(want, s->dx, sizeof s->dx);
        k->matmul_backward_input(k, &got[0][0], &s->dy[0][0], &s->w[0][0], NULL, SIDE, 2, SIDE);
        ref->matmul_backward_input(ref, &want[0][0], &s->dy[0][0], &s->w[0][0], NULL, SIDE, 2,
                                   SIDE);
        TRY(compute_sync(k));
        compare(c, s, got, want);
    }
done:
    compute_close(ref);
    memory_close(&memory);
    return rc;
}
