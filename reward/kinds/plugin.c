/* plugin: a shared object that scores; reward/plugin.h is its side.
 *
 * A foreign object may change the floating-point state of this thread (one linked with -ffast-math
 * does when it is loaded), and results would differ from then on.  So the state is put back after
 * everything that runs code of it.  One that calls exit() would end the run as if it were done:
 * that is an error with a line.
 */
#include "reward/plugin.h"

#include <dlfcn.h>
#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "reward/kinds/kinds.h"

struct plugin {
    void *object;
    const struct rankwise_plugin *calls;
    void *state;
    bool opened;
    char *path;
    struct rankwise_response *rows;     /* (room) */
    struct text fields;                 /* of all rows, each with a zero byte behind it */
    int room;
};

/* ---- code of others */

static const char *running;             /* path of the object whose code runs; NULL: none does */
static pid_t running_here;              /* it may have children */

static void on_exit_inside(void)
{
    if (!running || getpid() != running_here)
        return;
    log_error("%s: the plugin called exit(); it must return an error instead", running);
    _exit(status_exit_code(RL_EINVAL));
}

static void enter(const struct plugin *p, fenv_t *numbers)
{
    static bool watched;

    if (!watched)
        watched = atexit(on_exit_inside) == 0;
    fegetenv(numbers);
    running = p->path;
    running_here = getpid();
}

static void leave(const fenv_t *numbers)
{
    running = NULL;
    fesetenv(numbers);
}

/* ---- opening */

void plugin_close(void *state)
{
    struct plugin *p = state;
    fenv_t numbers;

    if (!p)
        return;
    enter(p, &numbers);
    if (p->opened && p->calls->close)
        p->calls->close(p->state);
    if (p->object)
        dlclose(p->object);
    leave(&numbers);
    text_free(&p->fields);
    free(p->rows);
    free(p->path);
    free(p);
}

/* Load the object and find its variable. */
static int load(struct plugin *p, const char *where)
{
    fenv_t numbers;

    enter(p, &numbers);
    p->object = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
    leave(&numbers);
    if (!p->object)
        return rl_error(RL_EINVAL, "%s: path: %s", where, dlerror());
    p->calls = dlsym(p->object, "rankwise_plugin");
    if (!p->calls)
        return rl_error(RL_EINVAL, "%s: path: %s has no variable rankwise_plugin; see "
                        "reward/plugin.h", where, p->path);
    if (p->calls->version != RANKWISE_PLUGIN_VERSION)
        return rl_error(RL_EINVAL, "%s: path: %s is made for version %d of reward/plugin.h, not "
                        "%d", where, p->path, p->calls->version, RANKWISE_PLUGIN_VERSION);
    if (!p->calls->open || !p->calls->score)
        return rl_error(RL_EINVAL, "%s: path: %s: rankwise_plugin has no %s", where, p->path,
                        p->calls->open ? "score" : "open");
    return RL_OK;
}

static int open_state(struct plugin *p, const char *settings, const char *where)
{
    const char *error = NULL;
    fenv_t numbers;
    int failed;

    enter(p, &numbers);
    failed = p->calls->open(&p->state, settings ? settings : "", &error);
    leave(&numbers);
    p->opened = !failed;
    return failed ? rl_error(RL_EINVAL, "%s: path: %s does not open: %s", where, p->path,
                             error ? error : "it does not say why") : RL_OK;
}

int plugin_open(void **state, const struct config_reward *c, const char *where)
{
    struct plugin *p = NULL;
    int rc = RL_OK;

    *state = NULL;
    if (!c->path)
        return rl_error(RL_EINVAL, "%s: path: missing; give the shared object", where);
    p = calloc(1, sizeof *p);
    if (!p)
        return rl_error(RL_ENOFIT, "%s: plugin: no memory", where);
    /* A name without a slash would be looked for in the system's folders. */
    p->path = malloc(strlen(c->path) + 3);
    if (!p->path)
        TRY(rl_error(RL_ENOFIT, "%s: plugin: no memory", where));
    strcpy(p->path, strchr(c->path, '/') ? "" : "./");
    strcat(p->path, c->path);
    TRY(load(p, where));
    TRY(open_state(p, c->settings, where));
    *state = p;
    p = NULL;
done:
    plugin_close(p);
    return rc;
}

/* ---- scoring */

static int take_rows(struct plugin *p, int n)
{
    if (n <= p->room)
        return RL_OK;
    free(p->rows);
    p->rows = malloc((size_t)n * sizeof *p->rows);
    p->room = p->rows ? n : 0;
    return p->rows ? RL_OK : rl_error(RL_ENOFIT, "plugin: no memory for %d responses", n);
}

/* Texts move while they grow, so the pointers are set when all are there. */
static void set_rows(struct plugin *p, const struct response *r, int n)
{
    size_t at = 0;

    text_clear(&p->fields);
    for (int i = 0; i < n; i++)
        if (r[i].fields) {
            json_add(&p->fields, r[i].fields);
            text_add(&p->fields, "", 1);
        }
    for (int i = 0; i < n; i++) {
        p->rows[i] = (struct rankwise_response){
            .text = r[i].text, .bytes = r[i].bytes, .ids = r[i].ids, .count = r[i].count,
            .finish = r[i].finish, .prompt = r[i].prompt,
            .fields = r[i].fields ? p->fields.data + at : NULL,
        };
        if (r[i].fields)
            at += strlen(p->rows[i].fields) + 1;
    }
}

int plugin_score(void *state, const struct response *r, int n, double *scores, struct text *trouble)
{
    struct plugin *p = state;
    const char *error = NULL;
    fenv_t numbers;
    int failed, rc = RL_OK;

    TRY(take_rows(p, n));
    set_rows(p, r, n);
    enter(p, &numbers);
    failed = p->calls->score(p->state, p->rows, n, scores, &error);
    leave(&numbers);
    if (failed)
        text_addf(trouble, "%s: %s", p->path, error ? error : "it does not say why");
    for (int i = 0; failed && i < n; i++)
        scores[i] = __builtin_nan("");
done:
    return rc;
}
