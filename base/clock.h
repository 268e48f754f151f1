/* Seconds: on a clock that never jumps, and of the day, to compare between processes and hosts. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

double clock_now(void);
double clock_of_day(void);             /* since 1970 */
void clock_sleep(double seconds);      /* a signal may end it early: callers poll anyway */

#endif
