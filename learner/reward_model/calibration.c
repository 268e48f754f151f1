#include "learner/reward_model/calibration.h"

#include <math.h>

#include "learner/losses/primitives.h"

double calibration_accuracy(const double *gaps, int n)
{
    int right = 0;

    for (int i = 0; i < n; i++)
        right += gaps[i] > 0;
    return n > 0 ? (double)right / n : 0;
}

double calibration_ece(const double *gaps, int n, int bins, double temperature)
{
    double confidence[100] = { 0 }, right[100] = { 0 }, ece = 0;
    int count[100] = { 0 };

    for (int i = 0; i < n; i++) {
        double c = sigmoid(fabs(gaps[i] / temperature));
        int b = (int)(bins * c);

        b = b < bins ? b : bins - 1;
        confidence[b] += c;
        right[b] += gaps[i] > 0;
        count[b]++;
    }
    for (int b = 0; b < bins; b++)
        if (count[b] > 0)
            ece += (double)count[b] / n * fabs(confidence[b] / count[b] - right[b] / count[b]);
    return ece;
}

/* d/da of the sum of t softplus(-a gap) + (1 - t) softplus(a gap), t the target: it rises with a,
 * because the sum is convex in a. */
static double slope(const double *gaps, int n, double a)
{
    double sum = 0, target = (n + 1.0) / (n + 2.0);

    for (int i = 0; i < n; i++)
        sum += gaps[i] * (sigmoid(a * gaps[i]) - target);
    return sum;
}

/* Bisection for slope(a) = 0, a = 1 / tau, on a geometric scale: the same steps for any input. */
double calibration_temperature(const double *gaps, int n)
{
    double low = 1 / CALIBRATION_MOST, high = CALIBRATION_MOST;

    if (n == 0)
        return 1;
    for (int step = 0; step < 100; step++) {
        double middle = sqrt(low * high);

        if (slope(gaps, n, middle) < 0)
            low = middle;
        else
            high = middle;
    }
    return 1 / sqrt(low * high);
}
