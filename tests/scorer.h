/* What answers the tests of rewards from outside: a program on pipes (scorer_main) and a server on
 * 127.0.0.1.  A score is the number of bytes of the completion. */
#ifndef TESTS_SCORER_H
#define TESTS_SCORER_H

#include "base/config.h"

/* The program, which is the test itself, started as "TEST scorer MODE"; the mode says how it
 * behaves. */
int scorer_main(const char *mode);
/* The path of the test, and a reward that asks the program; good until the next call. */
const char *scorer_self(void);
struct config_reward scorer_process(const char *mode);

/* The server, in a process of its own. */
struct scorer {
    char url[64];
    int pid;
    struct counts { volatile int requests, most; } *counts;   /* most: responses in a request */
};
/* What the n-th request (from 0) meets, by the letters of `plan`, the last for all that follow:
 * o ok, 5 status 500, g no JSON, s one score too few, m one too
 * many, n null for every score, w waits 2 seconds, h hangs up. */
void scorer_start(struct scorer *s, const char *plan);
void scorer_stop(struct scorer *s);

#endif
