/* The hosts of a supervised run: which there are, and which of them answer. */
#ifndef LAUNCH_HOSTS_H
#define LAUNCH_HOSTS_H

#include <stdbool.h>

#include "base/text.h"

struct host {
    char name[256];
    int slots;                  /* ranks that it takes */
    bool answers;
};

struct hosts {
    struct host *list;
    int n;                      /* 0: this machine, any number of ranks */
};

/* "a:2,b" (slots: 1 by default), or a file of such words, a line each, where "a slots=2" is
 * understood, too, and # begins a comment.  RL_EINVAL names what is wrong. */
int hosts_parse(struct hosts *h, const char *words_or_file);
/* Those of the Slurm allocation around us. */
int hosts_of_slurm(struct hosts *h);
void hosts_free(struct hosts *h);

/* Ask every host at once: does its network answer within two seconds, and does it run `command`
 * through the agent that mpirun uses (OMPI_MCA_plm_rsh_agent, ssh by default; command NULL: not
 * asked)?  Sets `answers`; returns the slots of those that do. */
int hosts_ask(struct hosts *h, const char *command);
/* Of those that answer, or of all. */
int hosts_slots(const struct hosts *h, bool that_answer);
/* "a:2,b:1" of those that answer (with_slots false: "a,b"); "c, d" of those that do not. */
void hosts_here(const struct hosts *h, bool with_slots, struct text *out);
void hosts_missing(const struct hosts *h, struct text *out);

#endif
