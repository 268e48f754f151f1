/* The hosts of a supervised run: which there are, and which of them answer. */
#ifndef LAUNCH_HOSTS_H
#define LAUNCH_HOSTS_H

#include <stdbool.h>

#include "base/text.h"

struct host {
    char name[256];
    int slots;                  /* ranks that it takes */
    bool answers;
    bool mute;                  /* is there, but its firewall swallows what we ask */
};

struct hosts {
    struct host *list;
    int n;                      /* 0: this machine, any number of ranks */
    int slurmd;                 /* port of Slurm's daemon on each; 0: not of Slurm, or unknown */
};

/* "a:2,b" (slots: 1 by default), or a file of such words, a line each, where "a slots=2" is
 * understood, too, and # begins a comment.  RL_EINVAL names what is wrong. */
int hosts_parse(struct hosts *h, const char *words_or_file);
/* This machine. */
int hosts_local(struct hosts *h);
/* Those of the Slurm allocation around us. */
int hosts_of_slurm(struct hosts *h);
void hosts_free(struct hosts *h);

/* Ask every host at once: does its network answer within two seconds, and does it run `command`
 * through the agent that mpirun uses (OMPI_MCA_plm_rsh_agent, ssh by default; command NULL: not
 * asked)?  Sets `answers`; returns the slots of those that do. */
int hosts_ask(struct hosts *h, const char *command);
/* The same of a Slurm allocation: is the host still in it, and does slurmd take connections?  The
 * first time Slurm is believed: hosts that do not answer are mute. */
int hosts_ask_slurm(struct hosts *h, bool first);
/* The first host that answered before and whose network does not now, NULL: none.  Takes up to two
 * seconds if there is one. */
const char *hosts_silent(const struct hosts *h);
int hosts_answering(const struct hosts *h);
/* Of those that answer, or of all. */
int hosts_slots(const struct hosts *h, bool that_answer);
/* "a:2,b:1" of those that answer (with_slots false: "a,b"); "c, d" of those that do not. */
void hosts_here(const struct hosts *h, bool with_slots, struct text *out);
void hosts_missing(const struct hosts *h, struct text *out);

#endif
