/* Status codes: every function that can fail returns RL_OK or one of the negative codes below.
 *
 *   int f(void)
 *   {
 *       int rc = RL_OK;
 *       TRY(step_one());
 *       if (bad)
 *           return rl_error(RL_EINVAL, "%s:%d: no such key '%s'", file, line, key);
 *   done:
 *       ... free ...
 *       return rc;
 *   }
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>

enum status {
    RL_OK = 0,
    RL_EINVAL = -1,   /* bad input: file, key, tensor          exit code 1 */
    RL_EIO = -2,      /* the system refused: disk, permission  exit code 1 */
    RL_ENOFIT = -3,   /* does not fit into memory              exit code 2 */
    RL_ELOST = -4,    /* a rank or node was lost or is late    exit code 3 */
    RL_ENAN = -5,     /* numbers went bad                      exit code 4 */
    RL_ESTOP = -6,    /* asked to stop, state saved            exit code 5 */
    RL_EBUG = -7,     /* a promise inside the program broke    exit code 1 */
};

/* The only macro that changes control flow: on failure keep the code and go to `done`. */
#define TRY(call)                                                                                 \
    do {                                                                                          \
        rc = (call);                                                                              \
        if (rc != RL_OK)                                                                          \
            goto done;                                                                            \
    } while (0)

/* Record one line that names the culprit and says what to do; returns code.  Control characters
 * become spaces or '?'.  Alone, the line goes to stderr at once.  In a group (status_hold) it waits
 * until the group agrees whose line is printed. */
int rl_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* In a group of ranks: keep the newest rl_error line instead of printing it.  Returns what was. */
bool status_hold(bool hold);

/* The line kept now, if any, told of a failure that the group has yet to meet: later errors of the
 * same code are its consequences and do not replace it until it is printed or dropped. */
void status_keep(void);

/* The line kept by the last rl_error, "" if none or already printed; status_print prints and clears
 * it. */
const char *status_message(void);
void status_print(void);
void status_drop(void);               /* forgets it: another rank's line was printed */

/* The worse of two codes by severity: OK < ESTOP < EINVAL < EIO < ENOFIT < ENAN < EBUG < ELOST. */
int status_worse(int a, int b);

/* The process exit code of a status (0 to 5, see above). */
int status_exit_code(int status);

#endif
