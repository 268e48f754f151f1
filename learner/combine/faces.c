/* The exact minimum over the simplex: on each of its 2^K - 1 faces the stationary point is known in
 * closed form, and the smallest value wins.
 *
 * On a face T with u1 = H_TT^-1 1, ub = H_TT^-1 b_T, A = 1'u1, B = 1'ub, C = b'ub, the conditions
 * b + s Hp / |G_p| = nu 1, 1'p = 1 give nu = (B + sqrt(B^2 - A (C - s^2))) / A and
 * p_T = (nu u1 - ub) / (A nu - B); the other root has the wrong sign of |G_p|. */
#include "learner/combine/internal.h"

#include <math.h>
#include <string.h>

struct face { int n; double L[COMBINE_MAX * COMBINE_MAX]; };

/* H_TT + ridge = L L'; false when a pivot falls below 1e-13 of the largest diagonal entry. */
static bool factor(struct face *f, const double *H, int K, const int *index, int n, double ridge)
{
    double largest = 0;

    f->n = n;
    for (int i = 0; i < n; i++)
        largest = fmax(largest, H[index[i] * K + index[i]]);
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double x = H[index[i] * K + index[j]] + (i == j ? ridge * largest : 0);

            x -= inner(f->L + i * n, f->L + j * n, j);
            if (i == j && !(x > 1e-13 * fmax(largest, 1e-300)))
                return false;
            f->L[i * n + j] = i == j ? sqrt(x) : x / f->L[j * n + j];
        }
    return true;
}

/* x = (L L')^-1 b */
static void solve(const struct face *f, const double *b, double *x)
{
    int n = f->n;

    for (int i = 0; i < n; i++)
        x[i] = (b[i] - inner(f->L + i * n, x, i)) / f->L[i * n + i];
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            x[i] -= f->L[k * n + i] * x[k];
        x[i] /= f->L[i * n + i];
    }
}

/* The shortest vector of the face's plane.  A singular face may hold the zero vector: a small ridge
 * finds it. */
static bool shortest(const struct dual *d, const int *index, int n, double *q)
{
    struct face f;
    double ones[COMBINE_MAX] = { 0 }, sum = 0;

    for (int i = 0; i < n; i++)
        ones[i] = 1;
    if (!factor(&f, d->H, d->K, index, n, 0) && !factor(&f, d->H, d->K, index, n, 1e-10))
        return false;
    solve(&f, ones, q);
    for (int i = 0; i < n; i++)
        sum += q[i];
    for (int i = 0; i < n; i++)
        q[i] /= sum;
    return true;
}

static bool stationary(const struct dual *d, const int *index, int n, double *q)
{
    struct face f;
    double b[COMBINE_MAX], ones[COMBINE_MAX] = { 0 }, u1[COMBINE_MAX], ub[COMBINE_MAX];
    double A, B, C, root, nu;

    if (d->s == 0 || !factor(&f, d->H, d->K, index, n, 0))
        return false;                   /* a linear function is least at a corner */
    for (int i = 0; i < n; i++) {
        b[i] = d->b[index[i]];
        ones[i] = 1;
    }
    solve(&f, ones, u1);
    solve(&f, b, ub);
    A = inner(ones, u1, n);
    B = inner(ones, ub, n);
    C = inner(b, ub, n);
    root = B * B - A * (C - d->s * d->s);
    if (!(root >= 0))
        return false;
    nu = (B + sqrt(root)) / A;
    if (!(A * nu > B))
        return false;
    for (int i = 0; i < n; i++)
        q[i] = (nu * u1[i] - ub[i]) / (A * nu - B);
    return true;
}

bool dual_face(const struct dual *d, const int *index, int n, double *q)
{
    if (n == 1) {
        q[0] = 1;
        return true;
    }
    return d->norm ? shortest(d, index, n, q) : stationary(d, index, n, q);
}

bool dual_spread(const struct dual *d, const int *index, int n, const double *q, double *p)
{
    double sum = 0;

    memset(p, 0, (size_t)d->K * sizeof *p);
    for (int i = 0; i < n; i++) {
        if (!(q[i] >= -1e-12))
            return false;
        p[index[i]] = fmax(q[i], 0);
        sum += p[index[i]];
    }
    for (int i = 0; i < n; i++)
        p[index[i]] /= sum;
    return true;
}

/* ---- all faces, small ones first, each size in lexicographic order */

/* The face after index (*n), a list that ascends; *n = 0: the first.  False after the last. */
static bool next_face(int K, int *index, int *n)
{
    int i = *n - 1;

    while (i >= 0 && index[i] == K - *n + i)    /* those at the end of their range */
        i--;
    if (i >= 0) {
        index[i]++;
    } else {
        if (++*n > K)
            return false;
        index[i = 0] = 0;
    }
    for (i++; i < *n; i++)
        index[i] = index[i - 1] + 1;
    return true;
}

static double distance(const struct dual *d, const double *p)
{
    double sum = 0;

    for (int i = 0; i < d->K; i++)
        sum += (p[i] - d->w[i]) * (p[i] - d->w[i]);
    return sum;
}

/* mgda: the first of the shortest. */
static bool shortest_of_all(const struct dual *d, struct point *best)
{
    struct dual norm = *d;
    struct point at = { 0 };
    double q[COMBINE_MAX];
    int size = 0, index[COMBINE_MAX];
    bool found = false;

    norm.norm = true;
    while (next_face(d->K, index, &size)) {
        if (!dual_face(&norm, index, size, q) || !dual_spread(d, index, size, q, at.p))
            continue;
        dual_evaluate(&norm, &at);
        if (!found || at.value < best->value - 1e-15)
            *best = at;
        found = true;
    }
    return found;
}

/* Is x a tie with the smallest, or smaller?  A value may cancel to nothing, so the difference is
 * held against the terms it is made of. */
static bool as_small(const struct point *x, const struct point *smallest)
{
    return x->value <= smallest->value + 1e-12 * fmax(x->size, smallest->size);
}

void dual_faces(const struct dual *d, struct point *best)
{
    struct point found[1 << FACES_MAX];
    double q[COMBINE_MAX];
    int size = 0, index[COMBINE_MAX], n = 0, least = 0;

    if (d->norm) {
        shortest_of_all(d, best);
        return;
    }
    while (next_face(d->K, index, &size)) {
        memset(&found[n], 0, sizeof found[n]);
        if (dual_face(d, index, size, q) && dual_spread(d, index, size, q, found[n].p))
            dual_evaluate(d, &found[n++]);
    }
    if (shortest_of_all(d, &found[n]) && found[n].value <= 1e-9)
        dual_evaluate(d, &found[n++]);          /* the zero vector, which no face above can see */
    for (int i = 1; i < n; i++)
        if (found[i].value < found[least].value)
            least = i;
    *best = found[least];
    for (int i = 0; i < n; i++)
        if (as_small(&found[i], &found[least]) && distance(d, found[i].p) < distance(d, best->p))
            *best = found[i];
}
