/* Coming back from the journal; see journal.h.
 *
 *   recorder       reads the number of the run, and the step of its newest checkpoint
 *   one rank of    looks at the records in its host's folder, verifies their hashes, and tells the
 *   each host      recorder which are whole
 *   recorder       picks the newest step beyond the checkpoint with a record of every learner
 *   the ranks      that hold these records write them out as the checkpoint of that step, together
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "checkpoints/image.h"
#include "launch/journal/journal.h"
#include "launch/run.h"

#define NAME "journal.id"               /* in the run folder: the number of the run */

/* A record that is whole, and the world rank that can read it. */
struct record { int64_t step; int32_t rank, ranks, holder, unused; };

struct recovery {
    struct run *run;
    int64_t newest;                     /* step of the newest checkpoint, */
    int64_t steps;                      /* and of the last line of metrics.jsonl */
    struct slot *slots;                 /* of this host, mapped */
    struct record *records;             /* what is in them; (n) */
    int n;
    int64_t foreign;                    /* what was chosen is of other settings */
    struct text all;                    /* recorder: the records of all hosts */
    int64_t chosen[2];                  /* step, 0: none; learners it was written by */
    int32_t *holders;                   /* (chosen[1]) */
};

/* ---- names */

static bool name_folder(char *folder, size_t room, const char *base, uint64_t id)
{
    return snprintf(folder, room, "%s/rankwise-journal-%u-%016" PRIx64, base, (unsigned)geteuid(),
                    id) < (int)room - 64;
}

/* The number in the run folder; a new one when there is none, or when the run starts afresh. */
static int read_number(const struct run *r, bool fresh, uint64_t *number)
{
    char path[4200], text[32];
    struct text old = { 0 };
    int rc = RL_OK;

    *number = 0;
    TRY(path_join(path, sizeof path, r->folder.path, NAME));
    if (!fresh && file_exists(path)) {
        TRY(file_read(path, &old));
        if (old.size > 0)
            *number = strtoull(old.data, NULL, 16);
        if (*number == 0)
            log_info("%s is damaged: what the journal has is not used", path);
    }
    if (*number == 0) {
        if (getrandom(number, sizeof *number, 0) != sizeof *number || *number == 0)
            *number = 1;
        snprintf(text, sizeof text, "%016" PRIx64 "\n", *number);
        rc = file_write(path, text, strlen(text));
    }
done:
    text_free(&old);
    return rc;
}

/* Recorder: records that an earlier start left are of another run from now on.  *had: there may be
 * some. */
static int forget_number(const struct run *r, int64_t *had)
{
    char path[4200];
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, r->folder.path, NAME));
    *had = unlink(path) == 0;
    if (*had)
        log_info("journal: off now; what it had is not used again");
    else if (errno != ENOENT)
        rc = rl_error(RL_EIO, "cannot remove %s: %s", path, strerror(errno));
done:
    return rc;
}

/* Without a journal the run goes its way alone: what an earlier start left on the hosts is removed,
 * else a later start would go back to it. */
static int forget(struct run *r)
{
    static const char *const bases[] = { "/dev/shm", "/var/tmp" };
    int64_t ids[2] = { 0, (int64_t)folder_hash(r->folder.path) };
    char folder[4200];
    int rc = RL_OK;

    if (comm_rank(r->world) == r->recorder)
        rc = forget_number(r, &ids[0]);
    TRY(comm_agree(r->world, rc));
    TRY(comm_broadcast(r->world, ids, sizeof ids, r->recorder, PHASE_START));
    for (int i = 0; i < 3 && ids[0] && comm_first_on_host(r->world); i++) {
        const char *base = i < 2 ? bases[i] : r->config->journal_path;
        if (base && name_folder(folder, sizeof folder, base, (uint64_t)ids[1]))
            slots_remove(folder);
    }
done:
    return rc;
}

/* The number of the run, and its folder on every host.  Collective. */
static int name_journal(struct run *r, bool fresh)
{
    const struct config *c = r->config;
    struct journal *j = &r->journal;
    uint64_t ids[2] = { 0, 0 };         /* of the run, of its folder */
    const char *base;
    int rc = RL_OK;

    j->to_disk = strcmp(c->journal, "disk") == 0;
    base = c->journal_path ? c->journal_path : j->to_disk ? "/var/tmp" : "/dev/shm";
    if (comm_rank(r->world) == r->recorder) {
        rc = read_number(r, fresh, &ids[0]);
        ids[1] = folder_hash(r->folder.path);
    }
    TRY(comm_agree(r->world, rc));
    TRY(comm_broadcast(r->world, ids, sizeof ids, r->recorder, PHASE_START));
    j->run = ids[0];
    if (!name_folder(j->folder, sizeof j->folder, base, ids[1]))
        rc = rl_error(RL_EINVAL, "journal_path: too long: %.60s...", base);
    rc = comm_agree(r->world, rc);
done:
    return rc;
}

/* ---- what is there */

static int note(struct recovery *v, const struct slot *slot, const struct slot_head *head)
{
    size_t n = (size_t)v->n + 1;
    struct slot *slots = realloc(v->slots, n * sizeof *slots);
    struct record *records;

    v->slots = slots ? slots : v->slots;
    records = slots ? realloc(v->records, n * sizeof *records) : NULL;
    if (!records)
        return rl_error(RL_ENOFIT, "no memory to read the journal");
    v->records = records;
    v->slots[v->n] = *slot;
    v->records[v->n++] = (struct record){ head->step, head->rank, head->ranks,
                                          comm_rank(v->run->world), 0 };
    return RL_OK;
}

/* Records beyond the newest checkpoint on this host. */
static int look(struct recovery *v)
{
    const struct journal *j = &v->run->journal;
    DIR *dir = comm_first_on_host(v->run->world) ? opendir(j->folder) : NULL;
    struct dirent *entry;
    int rc = RL_OK;

    while (dir && (entry = readdir(dir)) != NULL && rc == RL_OK) {
        struct slot_head head;
        struct slot slot;
        char path[4300];
        if (path_join(path, sizeof path, j->folder, entry->d_name) != RL_OK ||
            entry->d_name[0] == '.' || !slot_find(&slot, path, j->run, &head))
            continue;
        if (head.step > v->newest)
            rc = note(v, &slot, &head);
        else
            slot_close(&slot);
    }
    if (dir)
        closedir(dir);
    return rc;
}

/* ---- which of it is taken */

/* Newest steps first; those of one step and as many learners together, learner by learner. */
static int by_step(const void *left, const void *right)
{
    const struct record *a = left, *b = right;

    if (a->step != b->step)
        return a->step < b->step ? 1 : -1;
    if (a->ranks != b->ranks)
        return a->ranks < b->ranks ? -1 : 1;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->holder - b->holder;
}

/* Recorder: of the newest step with every learner's record, the first of each; NULL: none. */
static const struct record *choose(struct recovery *v)
{
    struct record *all = (void *)v->all.data;
    size_t n = v->all.size / sizeof *all, first = 0;
    int32_t next = 0;                   /* learner */

    if (n > 0)
        qsort(all, n, sizeof *all, by_step);
    for (size_t i = 0; i < n; i++) {
        if (all[i].step != all[first].step || all[i].ranks != all[first].ranks) {
            first = i;
            next = 0;
        }
        next += all[i].rank == next;
        if (next == all[i].ranks) {
            v->chosen[0] = all[i].step;
            v->chosen[1] = all[i].ranks;
            return &all[first];
        }
    }
    return NULL;
}

static void take_holders(struct recovery *v, const struct record *first)
{
    for (int32_t next = 0; first && next < v->chosen[1]; first++)
        if (first->rank == next)
            v->holders[next++] = first->holder;
}

/* Collective: everybody knows whose records are taken. */
static int agree_on_records(struct recovery *v)
{
    struct run *r = v->run;
    bool decides = comm_rank(r->world) == r->recorder;
    const struct record *first = NULL;
    int rc;

    TRY(comm_gather_text(r->world, (const char *)v->records, (size_t)v->n * sizeof *v->records,
                         decides ? &v->all : NULL, r->recorder, PHASE_START));
    if (decides)
        first = choose(v);
    TRY(comm_broadcast(r->world, v->chosen, sizeof v->chosen, r->recorder, PHASE_START));
    v->holders = calloc((size_t)v->chosen[1] + 1, sizeof *v->holders);
    rc = v->holders ? RL_OK : rl_error(RL_ENOFIT, "no memory to read the journal");
    TRY(comm_agree(r->world, rc));
    take_holders(v, first);
    rc = comm_broadcast(r->world, v->holders, (size_t)v->chosen[1] * sizeof *v->holders,
                        r->recorder, PHASE_START);
done:
    return rc;
}

/* ---- writing it out */

/* The images of the records that this rank is to bring, and their pieces as one content. */
struct brought { struct image *images; struct checkpoint_piece *pieces; int n; };

/* A record that is there twice is brought once. */
static bool brings(const struct recovery *v, int i)
{
    const struct record *x = &v->records[i];

    for (int j = 0; j < i; j++)
        if (v->records[j].step == x->step && v->records[j].ranks == x->ranks &&
            v->records[j].rank == x->rank)
            return false;
    return x->step == v->chosen[0] && x->ranks == v->chosen[1] &&
           v->holders[x->rank] == x->holder;
}

static int bring(const struct recovery *v, struct brought *b, struct checkpoint_content *content)
{
    size_t n = 0;
    int rc = RL_OK;

    b->images = calloc((size_t)v->n + 1, sizeof *b->images);
    if (!b->images)
        return rl_error(RL_ENOFIT, "no memory to read the journal");
    for (int i = 0; i < v->n; i++) {
        if (!brings(v, i))
            continue;
        TRY(image_open(&b->images[b->n++], slot_image(&v->slots[i]), v->slots[i].room));
        n += (size_t)b->images[b->n - 1].content.n_pieces;
    }
    b->pieces = calloc(n + 1, sizeof *b->pieces);
    if (!b->pieces)
        return rl_error(RL_ENOFIT, "no memory to read the journal");
    *content = b->images[0].content;
    content->pieces = b->pieces;
    content->n_pieces = 0;
    for (int i = 0; i < b->n; i++) {
        const struct checkpoint_content *c = &b->images[i].content;
        memcpy(b->pieces + content->n_pieces, c->pieces,
               (size_t)c->n_pieces * sizeof *c->pieces);
        content->n_pieces += c->n_pieces;
    }
done:
    return rc;
}

/* Of a run with other settings, whose folder was emptied?  Where a checkpoint or a line of a step
 * is left, resuming says which setting differs, and nothing is lost. */
static bool is_foreign(const struct recovery *v, const struct checkpoint_content *content)
{
    struct text config = { 0 };
    bool held = status_hold(true), foreign;

    for (int i = 0; i < content->n_texts && v->newest == 0 && v->steps == 0; i++)
        if (strcmp(content->texts[i].name, "config") == 0)
            text_add(&config, content->texts[i].data, content->texts[i].bytes);
    log_quiet(true);
    foreign = config.size > 0 &&
              config_compatible(v->run->config, config.data, "the journal") != RL_OK;
    log_quiet(comm_rank(v->run->world) != v->run->recorder);
    if (foreign)
        status_drop();                  /* it is no mistake: the run begins anew */
    status_hold(held);
    text_free(&config);
    return foreign;
}

/* By the ranks that bring records; the others pass team NULL and return at once. */
static int write_out(struct recovery *v, struct comm *team)
{
    struct checkpoint_content content = { 0 };
    struct brought b = { 0 };
    char path[4400];
    size_t bytes;
    int rc = RL_OK;

    if (!team)
        return RL_OK;
    folder_checkpoint(&v->run->folder, v->chosen[0], path, sizeof path);
    TRY(comm_agree(team, bring(v, &b, &content)));
    v->foreign = is_foreign(v, &content);
    TRY(comm_max_int64(team, &v->foreign, 1, PHASE_START));
    if (!v->foreign)
        rc = checkpoint_write(team, path, &content, &bytes);
done:
    for (int i = 0; i < b.n; i++)
        image_close(&b.images[i]);
    free(b.images);
    free(b.pieces);
    return rc;
}

static int recover(struct recovery *v)
{
    struct run *r = v->run;
    struct comm *team = NULL;
    bool mine = false;
    int rc;

    TRY(comm_agree(r->world, look(v)));
    TRY(agree_on_records(v));
    if (v->chosen[0] == 0)
        goto done;
    for (int i = 0; i < v->n; i++)
        mine = mine || brings(v, i);
    TRY(comm_split(r->world, mine ? 0 : -1, "journal", &team));
    rc = comm_agree(r->world, write_out(v, team));
    if (rc == RL_OK)
        rc = comm_max_int64(r->world, &v->foreign, 1, PHASE_START);
    if (rc == RL_OK && v->foreign)
        log_info("the journal has step %lld of a run with other settings: not used",
                 (long long)v->chosen[0]);
    else if (rc == RL_OK)
        log_info("the journal has step %lld, %lld after the newest checkpoint",
                 (long long)v->chosen[0], (long long)(v->chosen[0] - v->newest));
    else if (rc == RL_EINVAL)
        log_info("what the journal has of step %lld could not be read", (long long)v->chosen[0]);
    else if (rc == RL_EIO)
        log_info("the journal keeps step %lld, which is not lost: make room and start again",
                 (long long)v->chosen[0]);
    rc = rc == RL_EINVAL ? RL_OK : rc;
    comm_free(team);
done:
    return rc;
}

/* Recorder: what the run folder has. */
static int find_newest(struct recovery *v)
{
    struct run *r = v->run;
    int64_t count, lost, newest;

    if (comm_rank(r->world) != r->recorder)
        return RL_OK;
    newest = checkpoint_newest(r->folder.checkpoints, NULL, 0);
    if (newest < -1)
        return (int)newest;
    v->newest = newest > 0 ? newest : 0;
    v->steps = folder_last_step(r->folder.path, &count, &lost);
    return RL_OK;
}

int journal_recover(struct run *r, bool fresh)
{
    struct recovery v = { .run = r };
    int rc = RL_OK;

    if (strcmp(r->config->journal, "off") == 0)
        return forget(r);
    TRY(name_journal(r, fresh));
    if (fresh)
        return RL_OK;
    TRY(comm_agree(r->world, find_newest(&v)));
    TRY(comm_broadcast(r->world, &v.newest, sizeof v.newest, r->recorder, PHASE_START));
    TRY(comm_broadcast(r->world, &v.steps, sizeof v.steps, r->recorder, PHASE_START));
    rc = recover(&v);
done:
    for (int i = 0; i < v.n; i++)
        slot_close(&v.slots[i]);
    free(v.slots);
    free(v.records);
    free(v.holders);
    text_free(&v.all);
    return rc;
}
