/* The table of losses of single responses. */
#include "learner/losses/single.h"

#include <stddef.h>
#include <string.h>

const struct single_loss single_losses[] = {
    { "kto", LOSS_REF, single_kto },
    { "bco", LOSS_REF, single_bco },
    { NULL,  0,        NULL },
};

const struct single_loss *single_find(const char *name)
{
    for (const struct single_loss *l = single_losses; l->name; l++)
        if (strcmp(l->name, name) == 0)
            return l;
    return NULL;
}
