/* Seconds on a clock that never jumps. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

double clock_now(void);
void clock_sleep(double seconds);      /* a signal may end it early: callers poll anyway */

#endif
