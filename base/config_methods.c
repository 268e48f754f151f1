/* Defaults that depend on the method: what its authors use, where one number does not fit all. */
#include <string.h>

#include "base/config_reader.h"

/* method: an algorithm or a dpo.loss. */
static const struct { const char *method, *key; double standard; } defaults[] = {
    { "simpo", "beta", 2.5 },
    { "ln_dpo", "beta", 5 },
    { "cpo", "dpo.nll", 1 },
    { "slic", "dpo.nll", 0.5 },
};

void config_method_defaults(struct config *c)
{
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        const struct row *row = config_row(config_rows, defaults[i].key);
        const char *method = defaults[i].method;
        if (*config_place(c, row) == NULL &&
            (strcmp(method, c->algorithm) == 0 || strcmp(method, c->dpo.loss) == 0))
            *(double *)((char *)c + row->offset) = defaults[i].standard;
    }
}
