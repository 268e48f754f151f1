/* Status codes and the one line that explains the last of them.
 *
 *   rl_error(...) --> kept line --+-- alone:      printed at once
 *                                 +-- in a group: printed by status_print, on the rank agreed upon
 *
 * The newest line wins, but for one case: status_keep holds on to the cause of what comes later.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define LINE_ROOM 8192    /* two paths of 4096 bytes, nearly */

/* The last line is the state of the process, like errno. */
static char kept[LINE_ROOM];
static int kept_code;
static bool holding, keeping;

/* A message is one line, whatever bytes a hostile file put into it. */
static void keep_one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = *s == '\n' || *s == '\t' ? ' ' : '?';
}

int rl_error(int code, const char *format, ...)
{
    char line[LINE_ROOM];           /* the arguments may point into `kept` */
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size < 0)
        snprintf(line, sizeof line, "%s", format);
    else if (size >= (int)sizeof line)
        strcpy(line + sizeof line - 4, "...");
    keep_one_line(line);
    if (keeping && code == kept_code)
        return code;
    status_drop();
    strcpy(kept, line);
    kept_code = code;
    if (!holding)
        status_print();
    return code;
}

bool status_hold(bool hold)
{
    bool before = holding;

    holding = hold;
    return before;
}

void status_keep(void)
{
    keeping = holding && kept[0];
}

const char *status_message(void)
{
    return kept;
}

void status_print(void)
{
    if (kept[0])
        log_error("%s", kept);
    status_drop();
}

void status_drop(void)
{
    kept[0] = 0;
    keeping = false;
}

static int severity(int code)
{
    static const int by_severity[] = {
        RL_OK, RL_ESTOP, RL_EINVAL, RL_EIO, RL_ENOFIT, RL_ENAN, RL_EBUG, RL_ELOST,
    };
    int n = sizeof by_severity / sizeof by_severity[0];

    for (int i = 0; i < n; i++)
        if (by_severity[i] == code)
            return i;
    return severity(RL_EBUG);       /* a code nobody knows is a bug */
}

int status_worse(int a, int b)
{
    return severity(b) > severity(a) ? b : a;
}

int status_exit_code(int status)
{
    switch (status) {
    case RL_OK:
        return 0;
    case RL_ENOFIT:
        return 2;
    case RL_ELOST:
        return 3;
    case RL_ENAN:
        return 4;
    case RL_ESTOP:
        return 5;
    default:
        return 1;
    }
}
