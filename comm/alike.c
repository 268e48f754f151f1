/* Ranks tell each other of their GPUs.  Do all compute the same bits?  The processor's are the same
 * everywhere; those of a GPU's tensor cores follow from its model and from cuBLASLt.  And whose is
 * a GPU's memory?
 *
 *   rank 0   opens it, looks what is free      |      whoever looks last has seen what all of them
 *   rank 1         opens it,   looks           v      take to have it open, and that is the least
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "comm/group.h"
#include "compute/compute.h"
#include "compute/device.h"

struct claim { struct device_self gpu; uint64_t room; };

/* The first rank that differs from rank 0; 0: none. */
static int find_other(const struct comm *world, const struct claim *claims)
{
    for (int r = 1; r < world->size; r++)
        if (strcmp(claims[r].gpu.bits, claims[0].gpu.bits) != 0)
            return r;
    return 0;
}

static const char *named(const struct claim *claim)
{
    return claim->gpu.bits[0] ? claim->gpu.bits : "the processor's bits";
}

static int compare_bits(const struct comm *world, const struct claim *claims, bool fast)
{
    int other = find_other(world, claims);

    if (other > 0 && fast)
        log_info("warning: rank 0 (host %s) has %s, rank %d (host %s) %s: results depend on the "
                 "placement", comm_host(world, 0), named(&claims[0]), other,
                 comm_host(world, other), named(&claims[other]));
    if (other == 0 || fast)
        return RL_OK;
    return rl_error(RL_EINVAL, "rank 0 (host %s) has %s, rank %d (host %s) %s, whose bits differ; "
                    "take equal GPUs and libraries, device = \"cuda-chain\" (the processor's bits) "
                    "or reduction = \"fast\"", comm_host(world, 0), named(&claims[0]), other,
                    comm_host(world, other), named(&claims[other]));
}

static void find_sharers(const struct comm *world, const struct claim *claims, struct compute *k,
                         bool *shares)
{
    const struct claim *mine = &claims[world->rank];

    for (int r = 0; r < world->size; r++) {
        shares[r] = k->device && memcmp(claims[r].gpu.uuid, mine->gpu.uuid,
                                        sizeof mine->gpu.uuid) == 0;
        if (shares[r] && claims[r].room < k->device_room)
            k->device_room = claims[r].room;
    }
}

int comm_compare_devices(struct comm *world, struct compute *k, bool *shares)
{
    struct claim *claims = calloc((size_t)world->size, sizeof *claims);
    int rc = RL_OK;

    TRY(comm_agree(world, claims ? RL_OK : rl_error(RL_ENOFIT, "no memory for %d ranks",
                                                    world->size)));
    device_tell(k, &claims[world->rank].gpu);
    claims[world->rank].room = k->device_room;
    for (int r = 0; r < world->size; r++)
        world->counts[r] = sizeof *claims;
    TRY(comm_allgather(world, &claims[world->rank], claims, world->counts, PHASE_START));
    find_sharers(world, claims, k, shares);
    rc = comm_agree(world, compare_bits(world, claims, k->fast));
done:
    free(claims);
    return rc;
}
