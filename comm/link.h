/* Links carry columns of a batch from the ranks of one role to the ranks of another; the weights
 * feed carries weights the other way.
 *
 *   from 0 |g g g g|g g g g| 1         every receiver gets a header from every sender, and the rows
 *            |   \   |   |             of its own share from whoever holds them
 *     to 0 |g g g|g g g|g g| 2         (g: prompt groups in global order)
 *
 * Who holds which groups of a step is a function of (P, ranks of the role): share_of.  Receivers
 * place rows by global index.  A link from a rank to itself moves no bytes when both ends use the
 * same struct batch.  A failed batch (status) is passed on without its columns, so that nobody
 * waits for a rank that gave up.
 */
#ifndef COMM_LINK_H
#define COMM_LINK_H

#include "comm/comm.h"
#include "data/batch.h"

/* Groups [first, first + count) of P held by rank `index` of `ranks`: by leaves when ranks <=
 * leaves (so that learners hold whole leaves and colocated roles hold the same), else evenly.  Leaf
 * l is groups l*P/leaves .. (l+1)*P/leaves. */
void share_of(int P, int leaves, int ranks, int index, int *first, int *count);

struct link;

/* Collective over the world: every rank opens the same links in the same order.  from and to are
 * the world ranks of the two roles, ascending.  depth: batches that may be under way. */
int link_open(struct link **link, struct comm *world, const char *name, const int *from, int n_from,
              const int *to, int n_to, int leaves, int depth);
void link_close(struct link *link);

/* Not collective.  Called by every rank of `from`: starts sending; the batch must stay as it is
 * until the return of the `depth`th later send, or of link_ready just before that one.  On an error
 * of its own (a column is not filled) the receivers get the code as the batch's status. */
int link_send(struct link *link, const struct batch *b, unsigned columns, enum phase phase);
/* Called by every rank of `to`, with the same columns and in the same order as the sends.  b's
 * share (P, k, group, groups, step) is set; COL_TOKENS sets N, T, start; other columns need it set
 * before.  If this rank is also a sender and sent this same struct, its own part is in place.
 * A batch that failed at any sender, or before, gets b->status (the worst), none of these columns,
 * and RL_OK is returned; an error found here is returned and is in b->status too. */
int link_recv(struct link *link, struct batch *b, unsigned columns, enum phase phase);
/* Not collective.  Waits until the batch of `depth` sends ago has left: to be called before that
 * batch is written again, for every link that sent it.  Nothing to do on a rank that does not send,
 * or for NULL. */
int link_ready(struct link *link);

/* Not collective.  Waits until everything sent has left: before a batch is written again that was
 * sent fewer than `depth` sends ago. */
int link_flush(struct link *link);

/* ---- weights, learner -> actors (and any other rank that needs them) */
struct feed;
/* Collective over the world.  n floats.  Ranks in both lists share the model, receive nothing. */
int feed_open(struct feed **feed, struct comm *world, const int *from, int n_from, const int *to,
              int n_to, size_t n);
void feed_close(struct feed *feed);
/* By every rank of `from`; returns when the buffer may change, which is when the receivers have
 * come: both calls stand at the same place of the iteration. */
int weights_publish(struct feed *feed, const float *weights, int64_t version);
/* By every rank of `to`; RL_EBUG on another version. */
int weights_receive(struct feed *feed, float *weights, int64_t version);

#endif
