/* Do all ranks compute the same bits?  The processor's are the same everywhere; those of a GPU's
 * tensor cores follow from its model and from cuBLASLt, so ranks tell each other theirs. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "comm/group.h"
#include "compute/compute.h"
#include "compute/device.h"

struct claim { char bits[DEVICE_BITS]; };

/* The first rank that differs from rank 0; 0: none. */
static int find_other(const struct comm *world, const struct claim *claims)
{
    for (int r = 1; r < world->size; r++)
        if (strcmp(claims[r].bits, claims[0].bits) != 0)
            return r;
    return 0;
}

static const char *named(const struct claim *claim)
{
    return claim->bits[0] ? claim->bits : "the processor's bits";
}

int comm_compare_devices(struct comm *world, struct compute *k)
{
    struct claim *claims = calloc((size_t)world->size, sizeof *claims);
    int other, rc = RL_OK;

    TRY(comm_agree(world, claims ? RL_OK : rl_error(RL_ENOFIT, "no memory for %d ranks",
                                                    world->size)));
    device_bits(k, claims[world->rank].bits);
    for (int r = 0; r < world->size; r++)
        world->counts[r] = sizeof *claims;
    TRY(comm_allgather(world, &claims[world->rank], claims, world->counts, PHASE_START));
    other = find_other(world, claims);
    if (other > 0 && k->fast)
        log_info("warning: rank 0 (host %s) has %s, rank %d (host %s) %s: results depend on the "
                 "placement", comm_host(world, 0), named(&claims[0]), other,
                 comm_host(world, other), named(&claims[other]));
    else if (other > 0)
        rc = rl_error(RL_EINVAL, "rank 0 (host %s) has %s, rank %d (host %s) %s, whose bits "
                      "differ; take equal GPUs and libraries, device = \"cuda-chain\" (the "
                      "processor's bits) or reduction = \"fast\"", comm_host(world, 0),
                      named(&claims[0]), other, comm_host(world, other), named(&claims[other]));
    rc = comm_agree(world, rc);
done:
    free(claims);
    return rc;
}
