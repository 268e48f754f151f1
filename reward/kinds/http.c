/* http: servers that score batches of responses.
 *
 *   POST server    {"responses":[{"id":0,...},...]}     ->     {"scores":[0.5,null,...]}
 *
 * exchange.h says what a response and a reply are.  The responses of a step are cut into requests
 * of at most `batch`; each server works on one at a time, whichever is free takes the next.  A
 * request that fails goes to another server (or the same, if it is the only one), at most `retries`
 * times more; a server that failed is left alone for a while that doubles with each failure.
 * Connections are made to the configured servers only: no proxy, no redirection.
 */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stop.h"
#include "data/utf8.h"
#include "reward/kinds/exchange.h"
#include "reward/kinds/kinds.h"

#define PAUSE_FIRST 0.1                 /* seconds; then 0.2, 0.4, ... */
#define PAUSE_LONGEST 5.0

struct request { int from, to, tries, last; bool busy, done; };     /* last: the server asked */

struct server {
    const char *url;
    CURL *easy;
    struct request *request;            /* NULL: it is free */
    struct text body, reply;
    char error[CURL_ERROR_SIZE];
    int failures;                       /* in a row */
    double not_before;
};

struct http {
    const struct config_reward *config;
    CURLM *multi;
    struct curl_slist *headers;
    struct server *servers;
    int n_servers, turn;                /* turn: the server that is asked next if it is free */
    struct request *requests;           /* (room) */
    int n_requests, room;
    struct exchange exchange;
};

/* ---- opening */

static size_t receive(char *data, size_t size, size_t n, void *user)
{
    struct server *s = user;

    if (s->reply.size + size * n > REPLY_LONGEST)
        return 0;                       /* ends the transfer */
    text_add(&s->reply, data, size * n);
    return size * n;
}

static int open_server(struct http *h, struct server *s, const char *url)
{
    long ms = (long)(h->config->timeout * 1e3) + 1;

    s->url = url;
    s->easy = curl_easy_init();
    if (!s->easy)
        return rl_error(RL_ENOFIT, "http: no memory");
    curl_easy_setopt(s->easy, CURLOPT_URL, url);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->error);
    curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    return RL_OK;
}

static int open_servers(struct http *h, const struct strings *urls)
{
    int rc = RL_OK;

    h->multi = curl_multi_init();
    h->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (h->headers)
        curl_slist_append(h->headers, "Expect:");       /* no question before a large body */
    h->servers = calloc((size_t)urls->count, sizeof *h->servers);
    if (!h->multi || !h->headers || !h->servers)
        return rl_error(RL_ENOFIT, "http: no memory");
    for (int i = 0; i < urls->count; i++, h->n_servers++)
        TRY(open_server(h, &h->servers[i], urls->items[i]));
done:
    return rc;
}

/* Is it a URL of this kind, with a host, and a port that is one? */
static int check_url(const char *url, const char *where)
{
    CURLU *parts;
    CURLUcode code;

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return rl_error(RL_EINVAL, "%s: servers: \"%s\" begins with neither http:// nor https://",
                        where, url);
    parts = curl_url();
    code = parts ? curl_url_set(parts, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
    curl_url_cleanup(parts);
    if (code != CURLUE_OK)
        return rl_error(code == CURLUE_OUT_OF_MEMORY ? RL_ENOFIT : RL_EINVAL,
                        "%s: servers: \"%s\": %s", where, url, curl_url_strerror(code));
    return RL_OK;
}

int http_open(void **state, const struct config_reward *c, const char *where)
{
    struct http *h = NULL;
    int rc = RL_OK;

    *state = NULL;
    if (c->servers.count == 0)
        return rl_error(RL_EINVAL, "%s: servers: missing; give one or more URLs", where);
    for (int i = 0; i < c->servers.count; i++)
        TRY(check_url(c->servers.items[i], where));
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return rl_error(RL_EIO, "%s: libcurl does not start", where);
    h = calloc(1, sizeof *h);
    if (!h) {
        curl_global_cleanup();
        return rl_error(RL_ENOFIT, "%s: http: no memory", where);
    }
    h->config = c;
    TRY(open_servers(h, &c->servers));
    *state = h;
    h = NULL;
done:
    http_close(h);
    return rc;
}

/* The requests under way go to nobody. */
static void give_up(struct http *h)
{
    for (int i = 0; i < h->n_servers; i++) {
        if (h->servers[i].request)
            curl_multi_remove_handle(h->multi, h->servers[i].easy);
        h->servers[i].request = NULL;
    }
}

void http_close(void *state)
{
    struct http *h = state;

    if (!h)
        return;
    give_up(h);
    for (int i = 0; i < h->n_servers; i++) {
        struct server *s = &h->servers[i];
        curl_easy_cleanup(s->easy);
        text_free(&s->body);
        text_free(&s->reply);
    }
    if (h->multi)
        curl_multi_cleanup(h->multi);
    curl_slist_free_all(h->headers);
    curl_global_cleanup();
    exchange_free(&h->exchange);
    free(h->servers);
    free(h->requests);
    free(h);
}

/* ---- requests */

static int cut(struct http *h, int n)
{
    int batch = (int)h->config->batch, count = (n + batch - 1) / batch;

    if (count > h->room) {
        free(h->requests);
        h->requests = malloc((size_t)count * sizeof *h->requests);
        h->room = h->requests ? count : 0;
        if (!h->requests)
            return rl_error(RL_ENOFIT, "http: no memory for %d requests", count);
    }
    h->n_requests = count;
    for (int i = 0; i < count; i++)
        h->requests[i] = (struct request){
            .from = i * batch, .to = (i + 1) * batch < n ? (i + 1) * batch : n, .last = -1 };
    return RL_OK;
}

static void send_request(struct http *h, int server, struct request *q)
{
    struct server *s = &h->servers[server];
    const struct exchange *e = &h->exchange;
    int left = exchange_open(e, q->from, q->to);

    text_clear(&s->body);
    text_clear(&s->reply);
    text_adds(&s->body, "{\"responses\":[");
    for (int i = exchange_next(e, q->from); i < q->to; i = exchange_next(e, i + 1)) {
        exchange_ask(e, i, --left, &s->body);
        text_adds(&s->body, left ? "," : "");
    }
    text_adds(&s->body, "]}");
    s->error[0] = 0;
    s->request = q;
    q->busy = true;
    q->last = server;
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->body.data);
    curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.size);
    curl_multi_add_handle(h->multi, s->easy);
}

/* The next request that this server may take, or NULL. */
static struct request *next_request(struct http *h, int server)
{
    for (int i = 0; i < h->n_requests; i++) {
        struct request *q = &h->requests[i];
        if (!q->busy && !q->done && (q->last != server || h->n_servers == 1))
            return q;
    }
    return NULL;
}

/* Give every free server a request. */
static void hand_out(struct http *h)
{
    double now = clock_now();
    int first = h->turn;

    for (int i = 0; i < h->n_servers; i++) {
        int server = (first + i) % h->n_servers;
        struct server *s = &h->servers[server];
        struct request *q = s->request || s->not_before > now ? NULL : next_request(h, server);
        if (!q)
            continue;
        send_request(h, server, q);
        h->turn = (server + 1) % h->n_servers;
    }
}

/* Why the request that a server had has failed; false: it has not. */
static bool failed(struct http *h, struct server *s, CURLcode code, struct text *why)
{
    const struct request *q = s->request;
    struct exchange *e = &h->exchange;
    long status = 0;

    text_clear(why);
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        text_addf(why, "%s: %s", s->url, s->error[0] ? s->error : curl_easy_strerror(code));
        return true;
    }
    if (status == 200 && exchange_reply(e, s->reply.data ? s->reply.data : "", s->reply.size,
                                        q->from, q->to, true))
        return false;
    if (status == 200)
        text_addf(why, "%s gave %d scores for %d responses", s->url, e->given,
                  exchange_open(e, q->from, q->to));
    else
        text_addf(why, "%s answers with status %ld", s->url, status);
    if (s->reply.size > 0)
        text_addf(why, ": %s", utf8_show(s->reply.data, s->reply.size).text);
    return true;
}

static void finish_request(struct http *h, struct server *s, CURLcode code, struct text *trouble)
{
    struct request *q = s->request;
    double pause = PAUSE_FIRST;
    struct text why = { 0 };

    if (!failed(h, s, code, &why)) {
        s->failures = 0;
        q->done = true;
    } else {
        for (int i = 0; i < s->failures && pause < PAUSE_LONGEST; i++)
            pause *= 2;
        s->failures++;
        s->not_before = clock_now() + (pause < PAUSE_LONGEST ? pause : PAUSE_LONGEST);
        q->done = ++q->tries > h->config->retries;
        if (q->done) {
            text_clear(trouble);
            text_addf(trouble, "%s (asked %d times)", why.data, q->tries);
        }
    }
    curl_multi_remove_handle(h->multi, s->easy);
    q->busy = false;
    s->request = NULL;
    text_free(&why);
}

static bool all_done(const struct http *h)
{
    for (int i = 0; i < h->n_requests; i++)
        if (!h->requests[i].done)
            return false;
    return true;
}

int http_score(void *state, const struct response *r, int n, double *scores, struct text *trouble)
{
    struct http *h = state;
    double deadline = h->config->deadline, until = clock_now() + deadline;
    int rc = RL_OK;

    TRY(exchange_begin(&h->exchange, r, n, scores));
    TRY(cut(h, n));
    while (!all_done(h)) {
        struct server *s;
        CURLMsg *message;
        int running, waiting;
        if (stop_cut()) {
            give_up(h);
            TRY(RL_ESTOP);
        }
        if (deadline > 0 && clock_now() > until) {
            give_up(h);
            text_clear(trouble);
            text_addf(trouble, "%d of %d responses have no answer", h->exchange.left, n);
            TRY(RL_ELOST);
        }
        hand_out(h);
        if (curl_multi_perform(h->multi, &running) != CURLM_OK ||
            curl_multi_poll(h->multi, NULL, 0, 20, NULL) != CURLM_OK)
            TRY(rl_error(RL_EIO, "http: libcurl cannot wait for its transfers"));
        while ((message = curl_multi_info_read(h->multi, &waiting))) {
            CURL *easy = message->easy_handle;
            CURLcode code = message->data.result;
            if (message->msg != CURLMSG_DONE)
                continue;
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&s);
            finish_request(h, s, code, trouble);
        }
    }
done:
    return rc;
}
