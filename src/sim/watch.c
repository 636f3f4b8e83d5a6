/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watcher of the event stream: it loads the inventory once per life of the manager, as a client does that has lost
 * its place, and from then on knows only what is published. What it sees of the jobs tells who holds which object.
 */
#include "core/core_int.h"
#include "sim/sim.h"

#include <stdio.h>

struct mirror {
    int64_t revision;
    char *text;
};
struct watch {
    struct map mirrors; /* struct mirror * by "KIND/ID" */
    struct map holders; /* job id (char *) by object id: exclusive */
    /* Jobs that began in the commit in which the holder ended, told before that: by object id. */
    struct map next;
    int64_t next_at;
};

static void mirror_free(struct mirror *m) {
    if (!m)
        return;
    free(m->text);
    free(m);
}

void watch_done(struct sim *s) {
    struct watch *w = s->watch;
    size_t pos = 0;
    void *value;
    if (!w)
        return;
    while (map_next(&w->mirrors, &pos, NULL, &value))
        mirror_free(value);
    pos = 0;
    while (map_next(&w->holders, &pos, NULL, &value))
        free(value);
    pos = 0;
    while (map_next(&w->next, &pos, NULL, &value))
        free(value);
    map_done(&w->mirrors);
    map_done(&w->holders);
    map_done(&w->next);
    free(w);
    s->watch = NULL;
}

static void mirror_put(struct watch *w, const char *key, int64_t revision, char *text /* taken */) {
    struct mirror *m = map_get(&w->mirrors, key);
    if (!m) {
        m = xcalloc(1, sizeof *m);
        map_put(&w->mirrors, key, m);
    }
    m->revision = revision;
    str_take(&m->text, text);
}

/* ---- locks ---- */

static void release(struct watch *w, const char *object, const char *job) {
    const char *holder = map_get(&w->holders, object);
    char *next;
    if (!str_eq(holder, job))
        return;
    free(map_remove(&w->holders, object));
    if ((next = map_remove(&w->next, object)))
        map_put(&w->holders, object, next);
}

/* One commit tells of several changes, in no order that matters; the next one must find them settled. */
static void none_is_left_waiting(struct sim *s) {
    struct watch *w = s->watch;
    size_t pos = 0;
    const char *object;
    void *value;
    if (s->now == w->next_at)
        return;
    while (map_next(&w->next, &pos, &object, &value))
        sim_broken(s, "two running jobs never hold one object", "%s: %s and %s", object,
                   (const char *)map_get(&w->holders, object), (const char *)value);
    w->next_at = s->now;
}

/* The ids in a list of a job's record. */
static size_t ids_in(const char *job, const char *list, char ids[][UUID_LEN + 1], size_t max) {
    static const char mark[] = "\"id\":\"";
    const char *at = strstr(job, list), *end = at ? strchr(at, ']') : NULL; /* nobody has one in his name */
    size_t n = 0;
    while (end && n < max && (at = strstr(at, mark)) && at < end) {
        at += strlen(mark);
        snprintf(ids[n++], UUID_LEN + 1, "%.*s", (int)strcspn(at, "\""), at);
    }
    return n;
}

static void two_running_jobs_never_hold_one_object(struct sim *s, const char *job, const char *id) {
    struct watch *w = s->watch;
    char state[20] = "", objects[32][UUID_LEN + 1];
    sim_text_after(job, "\"state\":\"", state, sizeof state);
    bool holds = str_eq(state, "running") || str_eq(state, "undoing");
    size_t n = ids_in(job, "\"locks\":[", objects, ARRAY_LEN(objects));
    for (size_t i = 0; i < n; i++) {
        const char *holder = map_get(&w->holders, objects[i]);
        if (!holds) {
            release(w, objects[i], id);
            continue;
        }
        if (holder && !str_eq(holder, id))
            free(map_put(&w->next, objects[i], xstrdup(id)));
        if (!holder)
            map_put(&w->holders, objects[i], xstrdup(id));
    }
    n = holds ? ids_in(job, "\"shared_locks\":[", objects, ARRAY_LEN(objects)) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *holder = map_get(&w->holders, objects[i]);
        if (holder && !str_eq(holder, id))
            sim_broken(s, "two running jobs never hold one object", "%s: %s, and %s shares it", objects[i], holder, id);
    }
}

/* Neither a revision nor a time tells which of two jobs ended first: one that cannot be taken back any more is told
   anew, and clocks jump. */
static void an_end_is_noted(struct sim *s, const char *job, const char *id) {
    if (sim_job_has_ended(job) && !map_get(&s->ends, id))
        map_put(&s->ends, id, (void *)(uintptr_t)(map_count(&s->ends) + 1));
}

/* ---- the stream ---- */

static void revisions_never_go_back(struct sim *s, const char *key, int64_t revision) {
    const struct mirror *m = map_get(&s->watch->mirrors, key);
    if (m && revision < m->revision)
        sim_broken(s, "the revisions of an object never go back", "%s: %lld after %lld", key, (long long)revision,
                   (long long)m->revision);
}

void watch_publish(struct sim *s, const struct core_effect *e, const char *object) {
    struct watch *w = s->watch;
    char key[128];
    if (!w)
        return;
    none_is_left_waiting(s);
    snprintf(key, sizeof key, "%s/%s", e->object_kind, e->object_id);
    revisions_never_go_back(s, key, e->revision);
    if (!object) {
        mirror_free(map_remove(&w->mirrors, key));
        return;
    }
    mirror_put(w, key, e->revision, xstrndup(object, strlen(object) - 1));
    if (str_eq(e->object_kind, "vm"))
        pool_promises_no_more_than_it_has(s);
    if (str_eq(e->object_kind, "job")) {
        two_running_jobs_never_hold_one_object(s, object, e->object_id);
        an_end_is_noted(s, object, e->object_id);
    }
}

/* Before what its start has changed, and has not stored yet: that is told when it is durable, and perhaps never. */
static const struct version *durable_version(const struct core *c, const struct object *o, int64_t *ret_revision) {
    const struct txn *t;
    list_for_each(t, &c->pending, link) {
        for (size_t i = 0; i < t->n_undo; i++) {
            if (t->undo[i].o != o)
                continue;
            *ret_revision = t->undo[i].old_revision;
            return t->undo[i].old;
        }
    }
    *ret_revision = o->revision;
    return o->v;
}

static char *version_text(enum api_kind kind, const struct version *v) {
    struct buf text = {0};
    version_write(kind, v, &text);
    return buf_take(&text);
}

static void load_one(struct sim *s, const struct object *o) {
    char key[128];
    int64_t revision;
    const struct version *v = durable_version(s->m.c, o, &revision);
    if (!v)
        return;
    snprintf(key, sizeof key, "%s/%s", api_kinds[o->kind].name, o->id);
    char *text = version_text(o->kind, v);
    if (o->kind == API_KIND_JOB) {
        two_running_jobs_never_hold_one_object(s, text, o->id);
        an_end_is_noted(s, text, o->id);
    }
    mirror_put(s->watch, key, revision, text);
}

/* Loads what there is, as a client does first. */
void watch_load(struct sim *s) {
    watch_done(s);
    s->watch = xcalloc(1, sizeof *s->watch);
    const struct core *c = s->m.c;
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        for (size_t i = 0; i < c->tables[kind].n; i++)
            load_one(s, c->tables[kind].sorted[i]);
    const struct txn *t;
    list_for_each(t, &c->pending, link) for (size_t i = 0; i < t->n_undo; i++) if (!t->undo[i].o->v)
        load_one(s, t->undo[i].o); /* what it has removed */
}

void a_watcher_has_seen_every_change(struct sim *s) {
    const struct core *c = s->m.c;
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        const struct table *t = &c->tables[kind];
        size_t known = 0;
        for (size_t i = 0; i < t->n; i++) {
            char key[128];
            snprintf(key, sizeof key, "%s/%s", api_kinds[kind].name, t->sorted[i]->id);
            const struct mirror *m = map_get(&s->watch->mirrors, key);
            known += m != NULL;
            _cleanup_free_ char *text = version_text((enum api_kind)kind, t->sorted[i]->v);
            if (!m || !str_eq(m->text, text))
                sim_broken(s, "a watcher has seen every change", "%s", key);
        }
        size_t pos = 0, n = 0, len = strlen(api_kinds[kind].name);
        const char *key;
        while (map_next(&s->watch->mirrors, &pos, &key, NULL))
            n += strncmp(key, api_kinds[kind].name, len) == 0 && key[len] == '/';
        bool history = kind == API_KIND_JOB || kind == API_KIND_EVENT; /* trimmed from memory, not deleted */
        if (n != known && !history)
            sim_broken(s, "a watcher has seen every change", "it has %zu objects of the kind %s, there are %zu", n,
                       api_kinds[kind].name, known);
    }
}
