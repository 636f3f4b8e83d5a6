/* SPDX-License-Identifier: Apache-2.0 */
/* The log of events: everything that changed something, with who did it. Kept in the store; the newest in memory too.
 */
#include "core/core_int.h"

void core_event(struct core *c, enum api_severity severity, const char *actor, const char *code, enum api_kind kind,
                const char *id, const char *name, const char *job, const char *fmt, ...) {
    struct api_event *e = xcalloc(1, sizeof *e);
    char uuid[UUID_LEN + 1], now[TIME_TEXT_MAX];
    api_event_init(e);
    core_new_id(c, uuid);
    str_set(&e->id, uuid);
    str_set(&e->time, core_now(c, now));
    e->severity = severity;
    str_set(&e->actor, actor);
    str_set(&e->kind, code);
    if (id) {
        e->has_object = true;
        str_set(&e->object.kind, api_kinds[kind].name);
        str_set(&e->object.id, id);
        str_set(&e->object.name, str_or(name, ""));
    }
    str_set(&e->job, str_or(job, ""));
    str_set(&e->address, c->client);
    va_list ap;
    va_start(ap, fmt);
    str_take(&e->message, xvasprintf(fmt, ap));
    va_end(ap);
    core_put(c, API_KIND_EVENT, e);
}

void core_note(struct core *c, enum api_severity severity, const char *actor, const char *code, const char *message) {
    if (c->read_only)
        return;
    core_begin(c);
    core_event(c, severity, actor, code, API_KIND_EVENT, NULL, NULL, NULL, "%s", message);
    core_end(c);
}

void core_note_object(struct core *c, enum api_severity severity, const char *actor, const char *code,
                      enum api_kind kind, const char *id, const char *message) {
    const struct object *o = c->read_only ? NULL : core_find(c, kind, id);
    if (!o)
        return;
    core_begin(c);
    core_event(c, severity, actor, code, kind, o->id, object_name(o), NULL, "%s", message);
    core_end(c);
}

static bool job_ended(const struct object *o) {
    const struct api_job *j = o->v->data;
    return j->state >= API_JOB_STATE_DONE;
}

static void trim(struct core *c, enum api_kind kind, bool (*may)(const struct object *o)) {
    struct table *t = &c->tables[kind];
    if (t->n <= c->config.history + c->config.history / 4)
        return;
    table_sort(t, kind);
    size_t excess = t->n - c->config.history;
    struct object **old = xcalloc(excess, sizeof(struct object *));
    size_t n = 0;
    /* Up to the first that must stay: what is in memory has no gap, so that lists can go on in the store below it. */
    while (n < excess && t->sorted[n]->dirty <= c->durable && (!may || may(t->sorted[n]))) {
        old[n] = t->sorted[n];
        n++;
    }
    while (n-- > 0)
        object_forget(c, old[n]);
    free(old);
}

void core_trim_history(struct core *c) {
    trim(c, API_KIND_EVENT, NULL);
    trim(c, API_KIND_JOB, job_ended);
}

void core_forget(struct core *c, const char *const *keys, size_t n) {
    if (core_read_only(c))
        return;
    core_begin(c);
    for (size_t i = 0; i < n; i++) {
        const char *id = strchr(keys[i], '/');
        _cleanup_free_ char *name = id ? xstrndup(keys[i], (size_t)(id - keys[i])) : xstrdup("");
        int kind = api_kind_from_text(name);
        const struct object *o = kind >= 0 ? core_find(c, (enum api_kind)kind, id + 1) : NULL;
        if (kind != API_KIND_EVENT && kind != API_KIND_JOB)
            continue;
        if (!o)
            core_remove_stored(c, keys[i]);
        else if (kind == API_KIND_EVENT || job_ended(o))
            core_remove(c, (enum api_kind)kind, o->id);
    }
    core_end(c);
}
