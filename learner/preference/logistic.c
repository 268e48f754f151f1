/* Logistic regression by Newton's method, its systems solved by conjugate gradients:
 *
 *   minimise  sum_i softplus(-(2 y_i - 1) z_i) + |v|^2 / 2,     z_i = bias + v' (x_i - mean) / std
 *
 * All sums in order, own exp: the same bits everywhere.  w = v / std. */
#include <math.h>
#include <string.h>

#include "learner/losses/primitives.h"
#include "learner/preference/udm.h"

#define NEWTON_STEPS 25
#define CG_STEPS 60

struct fit {
    const float *x;
    const double *y;
    int rows, C;
    double *mean, *std, *v, *g, *d, *r;     /* (C) */
    double *z, *weight, *room;              /* (rows) logit, p (1 - p), any */
    double bias, g_bias, d_bias, r_bias;
};

static double feature(const struct fit *f, int i, int c)
{
    return ((double)f->x[(size_t)i * f->C + c] - f->mean[c]) / f->std[c];
}

static void standardise(struct fit *f)
{
    for (int c = 0; c < f->C; c++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < f->rows; i++)
            sum += (double)f->x[(size_t)i * f->C + c];
        f->mean[c] = sum / f->rows;
        for (int i = 0; i < f->rows; i++) {
            double off = (double)f->x[(size_t)i * f->C + c] - f->mean[c];
            squares += off * off;
        }
        f->std[c] = squares > 0 ? sqrt(squares / f->rows) : 1;
    }
}

/* Logits of (bias + t d_bias, v + t d) into out; returns the objective. */
static double objective(const struct fit *f, double t, double *out)
{
    double sum = 0;

    for (int c = 0; c < f->C; c++)
        sum += (f->v[c] + t * f->d[c]) * (f->v[c] + t * f->d[c]) / 2;
    for (int i = 0; i < f->rows; i++) {
        out[i] = f->bias + t * f->d_bias;
        for (int c = 0; c < f->C; c++)
            out[i] += (f->v[c] + t * f->d[c]) * feature(f, i, c);
        sum += softplus(f->y[i] > 0 ? -out[i] : out[i]);
    }
    return sum;
}

/* g = the objective's gradient at the logits; weight = p (1 - p). */
static void gradient(struct fit *f)
{
    f->g_bias = 0;
    memcpy(f->g, f->v, (size_t)f->C * sizeof *f->g);
    for (int i = 0; i < f->rows; i++) {
        double p = sigmoid(f->z[i]), off = p - (f->y[i] > 0);
        f->weight[i] = p * (1 - p);
        f->g_bias += off;
        for (int c = 0; c < f->C; c++)
            f->g[c] += off * feature(f, i, c);
    }
}

/* out = H a, H = X' diag(weight) X + 1 (bias: + nothing); returns the bias' element. */
static double hessian(const struct fit *f, const double *a, double a_bias, double *out)
{
    double out_bias = 0;

    memcpy(out, a, (size_t)f->C * sizeof *out);
    for (int i = 0; i < f->rows; i++) {
        double sum = a_bias;
        for (int c = 0; c < f->C; c++)
            sum += a[c] * feature(f, i, c);
        sum *= f->weight[i];
        out_bias += sum;
        for (int c = 0; c < f->C; c++)
            out[c] += sum * feature(f, i, c);
    }
    return out_bias;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* H d = -g by conjugate gradients; p: the direction of search, q: H p; both (C). */
static void newton_direction(struct fit *f, double *p, double *q)
{
    double p_bias = -f->g_bias, q_bias, before, now;

    f->d_bias = 0;
    f->r_bias = -f->g_bias;
    for (int c = 0; c < f->C; c++) {
        f->d[c] = 0;
        f->r[c] = p[c] = -f->g[c];
    }
    before = dot(f->r, f->r, f->C) + f->r_bias * f->r_bias;
    for (int step = 0; step < CG_STEPS && before > 1e-20; step++) {
        q_bias = hessian(f, p, p_bias, q);
        double along = before / (dot(p, q, f->C) + p_bias * q_bias);
        f->d_bias += along * p_bias;
        f->r_bias -= along * q_bias;
        for (int c = 0; c < f->C; c++) {
            f->d[c] += along * p[c];
            f->r[c] -= along * q[c];
        }
        now = dot(f->r, f->r, f->C) + f->r_bias * f->r_bias;
        p_bias = f->r_bias + now / before * p_bias;
        for (int c = 0; c < f->C; c++)
            p[c] = f->r[c] + now / before * p[c];
        before = now;
    }
}

/* One step, halved until the objective falls; false when it no longer does. */
static bool newton_step(struct fit *f, double *p, double *q, double *value)
{
    double t = 1, tried = 0;

    gradient(f);
    newton_direction(f, p, q);
    for (int i = 0; i < 30; i++, t /= 2) {
        tried = objective(f, t, f->room);
        if (tried < *value)
            break;
    }
    if (!(tried < *value))
        return false;
    f->bias += t * f->d_bias;
    for (int c = 0; c < f->C; c++)
        f->v[c] += t * f->d[c];
    memcpy(f->z, f->room, (size_t)f->rows * sizeof *f->z);
    *value = tried;
    return true;
}

double logistic_fit(double *w, const float *x, const double *y, int rows, int C, double *work)
{
    struct fit f = { .x = x, .y = y, .rows = rows, .C = C, .v = w };
    double *p, *q, value;

    f.mean = work;
    f.std = work + C;
    f.g = work + 2 * C;
    f.d = work + 3 * C;
    f.r = work + 4 * C;
    p = work + 5 * C;
    q = work + 6 * C;
    f.z = work + 7 * C;
    f.weight = f.z + rows;
    f.room = f.weight + rows;
    standardise(&f);
    memset(w, 0, (size_t)C * sizeof *w);
    memset(f.d, 0, (size_t)C * sizeof *f.d);
    value = objective(&f, 0, f.z);
    for (int i = 0; i < NEWTON_STEPS && newton_step(&f, p, q, &value); i++)
        continue;
    for (int c = 0; c < C; c++) {
        w[c] /= f.std[c];
        f.bias -= w[c] * f.mean[c];
    }
    return f.bias;
}
