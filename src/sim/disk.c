/* SPDX-License-Identifier: Apache-2.0 */
/* A process's durable store: commits become durable some time after they are handed in, in order, several in one flush.
 */
#include "sim/sim.h"

#include <errno.h>
#include <stdio.h>

void disk_init(struct sim_disk *d) { list_init(&d->queue); }

static void commit_free(struct disk_commit *c) {
    list_remove(&c->link);
    batch_free(c->batch);
    free(c);
}

/* Calls that a job's record has named, for check_send(): the record may have moved on when the message leaves. */
static void note_call(struct sim_disk *d, const char *value) {
    const char *at = strstr(value, "\"message\":{\"id\":\"");
    char id[160];
    if (!at)
        return;
    at += strlen("\"message\":{\"id\":\"");
    snprintf(id, sizeof id, "%.*s", (int)strcspn(at, "\""), at);
    map_put(&d->calls, id, d);
}

static void apply(struct sim *s, int server, struct sim_disk *d, const struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_PUT && strncmp(b->ops[i].key, "job/", 4) == 0)
            note_call(d, b->ops[i].value);
        if (server >= 0)
            cover_record(s, server, b->ops[i].key, b->ops[i].kind == BATCH_PUT ? b->ops[i].value : NULL);
        if (b->ops[i].kind == BATCH_PUT)
            free(map_put(&d->live, b->ops[i].key, xstrndup(b->ops[i].value, b->ops[i].len)));
        else if (b->ops[i].kind == BATCH_DELETE)
            free(map_remove(&d->live, b->ops[i].key));
    }
}

static void stored(struct sim *s, int server, uint64_t seq, int result) {
    if (server < 0)
        manager_stored(s, seq, result);
    else
        server_stored(s, server, seq, result);
}

static struct process *process_of(struct sim *s, int server) { return server < 0 ? &s->m.p : &s->servers[server].p; }

static void report(struct sim *s, struct sim_event *e) {
    struct process *p = process_of(s, e->server);
    if (p->epoch != e->epoch || sim_deferred(s, p, e))
        return;
    stored(s, e->server, e->a, (int)(intptr_t)e->p);
}

static void later(struct sim *s, int server, struct process *p, uint64_t seq, int result, int64_t at) {
    struct sim_event *e = sim_at(s, at, report);
    sim_is_work(s, e);
    e->server = server;
    e->epoch = p->epoch;
    e->a = seq;
    e->p = (void *)(intptr_t)result;
}

/* Everything that is queued becomes durable at once, or fails. */
static void flush(struct sim *s, struct sim_event *e) {
    struct process *p = process_of(s, e->server);
    struct sim_disk *d = &p->disk;
    if (p->epoch != e->epoch)
        return;
    d->flushing = false;
    if (s->now < d->broken_until && s->faults_on)
        d->failed = true;
    bool silent = !d->failed && !list_empty(&d->queue) && sim_fault(s, FAULT_STORE_SILENT);
    int server = e->server;
    uint64_t epoch = e->epoch;
    struct disk_commit *c, *tmp;
    int64_t at = s->now;
    list_for_each_safe(c, tmp, &d->queue, link) {
        if (!d->failed)
            apply(s, server, d, c->batch);
        if (!silent)
            later(s, server, p, c->seq, d->failed ? d->error : 0, at);
        commit_free(c);
    }
    if (silent && p->epoch == epoch) {
        if (server < 0)
            manager_crash(s);
        else
            server_crash(s, server);
    }
}

void disk_commit(struct sim *s, int server, struct process *p, uint64_t seq, struct batch *b) {
    struct sim_disk *d = &p->disk;
    struct disk_commit *c = xcalloc(1, sizeof *c);
    c->seq = seq;
    c->batch = b;
    list_append(&d->queue, &c->link);
    if (sim_fault(s, FAULT_STORE_FAILS)) {
        d->broken_until = s->now + sim_between(s, 100, 20000) * US_PER_MS;
        d->error = sim_random(s, 2) ? -ENOSPC : -EIO;
    }
    if (d->flushing)
        return;
    d->flushing = true;
    int64_t latency = sim_between(s, 50, 3000);
    if (sim_fault(s, FAULT_STORE_SLOW))
        latency += sim_between(s, 10, 5000) * US_PER_MS;
    struct sim_event *e = sim_at(s, s->now + latency, flush);
    sim_is_work(s, e);
    e->server = server;
    e->epoch = p->epoch;
}

void disk_reset_error(struct sim_disk *d) { d->failed = false; }

void disk_crash(struct sim *s, int server, struct sim_disk *d) {
    size_t n = 0;
    struct disk_commit *c, *tmp;
    list_for_each(c, &d->queue, link) n++;
    size_t survive = d->failed ? 0 : sim_random(s, n + 1);
    list_for_each_safe(c, tmp, &d->queue, link) {
        if (survive) {
            survive--;
            apply(s, server, d, c->batch);
        }
        commit_free(c);
    }
    d->flushing = d->failed = false;
}

void disk_done(struct sim_disk *d) {
    struct disk_commit *c, *tmp;
    list_for_each_safe(c, tmp, &d->queue, link) commit_free(c);
    size_t pos = 0;
    void *v;
    while (map_next(&d->live, &pos, NULL, &v))
        free(v);
    map_done(&d->live);
    map_done(&d->calls);
}
