/* The table of listwise losses, and the two that need no ranking.
 *
 *   listwise_soft   L = -sum q_i log softmax(beta h)_i          lambda-DPO; q a target distribution
 *   gpo             L = mean of (h_i - eta label_i)^2           GPM's policy step (2410.02197); h
 *                                                               is against the current iterate */
#include "learner/losses/list.h"

#include <stddef.h>
#include <string.h>

const struct list_loss list_losses[] = {
    { "lipo",          LOSS_REF,  list_lipo },
    { "pro",           LOSS_MEAN, list_pro },
    { "listwise_soft", LOSS_REF,  list_soft },
    { "gpo",           LOSS_REF,  list_gpo },
    { NULL,            0,         NULL },
};

const struct list_loss *list_find(const char *name)
{
    for (const struct list_loss *l = list_losses; l->name; l++)
        if (strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

void list_soft(const struct list_input *in, double *value, double *dS)
{
    double beta = in->set->beta, mass = 0, all;

    for (int i = 0; i < in->k; i++)
        dS[i] = beta * (in->S[i] - in->R[i]);
    all = logsumexp(dS, in->k);
    *value = 0;
    for (int i = 0; i < in->k; i++) {
        *value -= in->label[i] * (dS[i] - all);
        mass += in->label[i];
    }
    softmax(dS, dS, in->k);
    for (int i = 0; i < in->k; i++)
        dS[i] = beta * (mass * dS[i] - in->label[i]);
}

void list_gpo(const struct list_input *in, double *value, double *dS)
{
    *value = 0;
    for (int i = 0; i < in->k; i++) {
        double off = in->S[i] - in->R[i] - in->set->eta * in->label[i];
        *value += off * off / in->k;
        dS[i] = 2 * off / in->k;
    }
}

void gpo_scores(double *label, const double *score, int k)
{
    for (int i = 0; i < k; i++) {
        label[i] = 0;
        for (int j = 0; j < k; j++)
            label[i] += j == i ? 0 : score[i * k + j];
        label[i] /= k > 1 ? k - 1 : 1;
    }
}
