/* Parts of `rankwise bench` in files of their own.
 *
 *   bench.c            options, which bench
 *   bench_models.c     random models by name, and models from folders
 *   bench_files.c      the files of a run with such a model
 *   bench_peer.c       the program that --against names, in turns with ours
 *   bench_kernels.c    bench_rollout.c    bench_decode.c    bench_run.c (train, step)
 *   bench_start.c   bench_comm.c    bench_checkpoint.c
 */
#ifndef LAUNCH_COMMANDS_BENCH_H
#define LAUNCH_COMMANDS_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/figures.h"
#include "comm/comm.h"
#include "compute/compute.h"
#include "compute/peak.h"
#include "model/model.h"

struct bench_options {
    const char *model, *device, *dtype, *folder, *against, *algorithm;
    int64_t rows, prompt, fresh, repeats, threads, samples, mb;     /* fresh: new tokens */
    int64_t length, context;            /* tokens of a row: kernels; decode, when it begins */
    int64_t peer_seconds;               /* for an answer of a peer */
    bool fast;                          /* products in the fastest way */
    char *const *words;                 /* key=value, for the configuration of a run */
    int n_words;
};

/* Each prints lines of JSON to stdout, from rank 0. */
int bench_kernels(const struct bench_options *o);
int bench_rollout(const struct bench_options *o);
int bench_decode(const struct bench_options *o);
/* One rank or more, under mpirun.  Collective: every rank is given the same options. */
int bench_train(const struct bench_options *o);
int bench_step(const struct bench_options *o);
int bench_start(const struct bench_options *o);
int bench_comm(const struct bench_options *o);
int bench_checkpoint(const struct bench_options *o);

/* ---- models: "15m", "124m", "0.5b", "0.6b", "1.7b", "8b" and, for tests, "tiny" */
/* NULL: none of that name, so it is a folder. */
const struct model_shape *bench_shape(const char *name);
/* Of a name, or of the model in a folder. */
int bench_shape_of(struct model_shape *shape, const char *name);
/* config.json of a shape, without an end of text, so that every row has all its tokens. */
void bench_shape_json(const struct model_shape *shape, struct text *out);
int bench_model(struct model **m, const char *name, struct compute *compute);
/* Parameters that a token is multiplied with: all but the norms and an untied embedding. */
double bench_weights_per_token(const struct model_shape *shape);
/* Operations of a forward pass over so many tokens in rows of `length`: two a weight, and those of
 * causal attention.  A backward pass has twice as many. */
double bench_forward_operations(const struct model_shape *shape, double tokens, double length);

/* RL_EINVAL: a row of so many tokens, which the options say, is longer than the context. */
int bench_fits(const struct model_shape *shape, const char *options, int64_t tokens);
/* RL_ENOFIT: the GPU, or else the machine, has less memory; one line says how much is needed. */
int bench_has_room(const struct compute *k, const char *model, size_t bytes);

/* The token at a place of all prompts, below V: as good as random. */
int bench_token(int64_t at, int V);

/* ,"words":"reduction=fast ..." when there are any */
void bench_words_line(struct text *line, const struct bench_options *o);

/* ---- the files of a run: made in a new folder of `place`, on the first rank of every host */
struct bench_files { char folder[4200], config[4300]; bool mine; };
/* Collective.  work: "train" or "step". */
int bench_files_make(struct bench_files *f, struct comm *world, const struct bench_options *o,
                     const char *work);
void bench_files_remove(struct bench_files *f);
/* By one process: the folder; the files in it (work: or "start", whose model has a file). */
int bench_files_open(struct bench_files *f, const char *place);
int bench_files_write(const struct bench_files *f, const struct bench_options *o, const char *work);
/* Collective.  That folder alone, made by rank 0 and known to all; removed by whom f->mine says. */
int bench_folder(struct bench_files *f, struct comm *world, const char *place);

/* ---- the peer: a script that says what it is, then answers each line with one repeat */
struct peer;
struct peer_repeat { double seconds, tokens; };
/* RL_EINVAL: no peer of that name, or not there. */
int peer_find(const char *name, bool gpu, const char **script);
/* *p is NULL when o->against is; RL_EINVAL: one line says what is missing, or that the peer is
 * late; RL_ESTOP: a stop was asked meanwhile (stop_watch).  work: "rollout", "train", "step" or, on
 * a GPU, "kernels". */
int peer_start(struct peer **p, const struct bench_options *o, const char *work,
               const struct model_shape *shape, bool gpu);
/* Of "kernels": what it measured, a line each as it gives them. */
int peer_lines(struct peer *p);
/* One repeat of the peer; tokens: what ours counted, RL_EINVAL when the peer counts others. */
int peer_repeat(struct peer *p, double tokens, struct peer_repeat *r);
/* {"bench":"WORK against NAME",...}: ours over theirs of each pair. */
void peer_print(const struct peer *p, const struct bench_options *o, const char *work,
                const struct figures *ours, const struct figures *theirs);
void peer_end(struct peer *p);                          /* NULL is fine */

#endif
