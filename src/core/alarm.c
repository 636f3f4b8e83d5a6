/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alarms: conditions that need somebody, from when they begin until they end. An event says that something happened; an
 * alarm, that something is so. There is at most one active alarm for an object and a code; raising it again changes
 * nothing but its words. It ends by itself when the condition does, and is then kept for a while.
 *
 * To raise one from anywhere in the core, inside a transaction:
 *
 *     core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_VM, vm->id, vm->name, "vm.no-room", "No server has room for
 * %s"…); core_alarm_clear(c, vm->id, "vm.no-room");
 *
 * both as often as is convenient. What can be told from an object alone is best looked at in alarms_observe(), which
 * sees every change of every object. The alarms of an object that is removed end with it.
 */
#include "core/core_int.h"

#include <stdio.h>

#define CLEARED_KEPT   1000
#define STUCK_ATTEMPTS 5 /* about half a minute */

static char *key_of(const char *object, const char *code) { return xasprintf("%s/%s", object, code); }

static struct object *active(const struct core *c, const char *object, const char *code) {
    if (!map_count(&c->alarms))
        return NULL;
    _cleanup_free_ char *key = key_of(object, code);
    return map_get(&c->alarms, key);
}

void alarms_index(struct core *c, struct object *o, bool add) {
    const struct api_alarm *a = o->v->data;
    if (!a->active)
        return;
    _cleanup_free_ char *key = key_of(a->object.id, a->code);
    if (add)
        map_put(&c->alarms, key, o);
    else if (map_get(&c->alarms, key) == o)
        map_remove(&c->alarms, key);
    c->counts.alarms[a->severity] += add ? 1 : (size_t)-1;
}

static struct api_alarm *alarm_new(struct core *c, enum api_severity severity, const char *kind, const char *id,
                                   const char *name, const char *code) {
    struct api_alarm *a = xcalloc(1, sizeof *a);
    char uuid[UUID_LEN + 1], now[TIME_TEXT_MAX];
    api_alarm_init(a);
    core_new_id(c, uuid);
    str_set(&a->id, uuid);
    str_set(&a->code, code);
    str_set(&a->raised, core_now(c, now));
    a->severity = severity;
    a->active = true;
    a->has_object = true;
    str_set(&a->object.kind, kind);
    str_set(&a->object.id, id);
    str_set(&a->object.name, str_or(name, ""));
    return a;
}

static void raise_text(struct core *c, enum api_severity severity, enum api_kind kind, const char *id, const char *name,
                       const char *code, const char *message) {
    const struct object *o = active(c, id, code);
    const struct api_alarm *old = o ? o->v->data : NULL;
    if (old && old->severity == severity && str_eq(old->message, message))
        return;
    struct api_alarm *a =
        old ? CORE_COPY(alarm, ALARM, old) : alarm_new(c, severity, api_kinds[kind].name, id, name, code);
    if (severity > a->severity) { /* worse than what somebody has seen */
        str_set(&a->acknowledged_by, "");
        str_set(&a->acknowledged, "");
    }
    a->severity = severity;
    str_set(&a->message, message);
    core_put(c, API_KIND_ALARM, a);
}

void core_alarm_raise(struct core *c, enum api_severity severity, enum api_kind kind, const char *id, const char *name,
                      const char *code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *message = xvasprintf(fmt, ap);
    va_end(ap);
    raise_text(c, severity, kind, id, name, code, message);
}

static void clear(struct core *c, const struct object *o) {
    char now[TIME_TEXT_MAX];
    struct api_alarm *a = CORE_COPY(alarm, ALARM, o->v->data);
    a->active = false;
    str_set(&a->cleared, core_now(c, now));
    core_put(c, API_KIND_ALARM, a);
}

void core_alarm_clear(struct core *c, const char *id, const char *code) {
    const struct object *o = active(c, id, code);
    if (o)
        clear(c, o);
}

void core_condition(struct core *c, enum api_severity severity, enum api_kind kind, const char *id, const char *code,
                    const char *message) {
    const struct object *o = c->read_only ? NULL : core_find(c, kind, id);
    if (!o)
        return;
    core_begin(c);
    if (message)
        raise_text(c, severity, kind, o->id, object_name(o), code, message);
    else
        core_alarm_clear(c, o->id, code);
    core_end(c);
}

/* ---- what objects tell by themselves ---- */

/* What has been said of it is more than that it has crashed. */
static bool crash_is_told(const struct core *c, const struct api_vm *vm) {
    return active(c, vm->id, "vm.recovery-waits") || active(c, vm->id, "vm.not-recovered");
}

static void observe_vm(struct core *c, const struct api_vm *vm) {
    if (vm->state == API_VM_STATE_CRASHED && !crash_is_told(c, vm))
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_VM, vm->id, vm->name, "vm.crashed",
                         "Virtual machine %s crashed%s%s", vm->name, str_empty(vm->state_reason) ? "" : ": ",
                         vm->state_reason);
    else if (vm->state != API_VM_STATE_UNKNOWN)
        core_alarm_clear(c, vm->id, "vm.crashed");
    if (vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_STOPPED || vm->state == API_VM_STATE_STARTING)
        core_alarm_clear(c, vm->id, "vm.not-recovered");
}

/* In percent; what has been raised ends a little later than it began, so that it does not flicker. */
static const struct {
    int raise, clear;
    enum api_severity severity;
} space_limits[] = {{3, 4, API_SEVERITY_ERROR}, {10, 11, API_SEVERITY_WARNING}};

static void observe_space(struct core *c, const struct api_repository *r) {
    const struct object *o = active(c, r->id, "repository.space");
    enum api_severity now = o ? ((const struct api_alarm *)o->v->data)->severity : API_SEVERITY_INFO;
    double percent = r->capacity > 0 ? (double)r->free * 100 / (double)r->capacity : 100;
    char free[SIZE_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(space_limits); i++) {
        bool held = now >= space_limits[i].severity;
        if (percent >= (held ? space_limits[i].clear : space_limits[i].raise))
            continue;
        /* The figure is that of the moment when it began: an alarm is not written anew with each block. */
        if (now != space_limits[i].severity)
            core_alarm_raise(c, space_limits[i].severity, API_KIND_REPOSITORY, r->id, r->name, "repository.space",
                             "Storage repository %s has little space left: %s, %.1f %%", r->name,
                             size_format(r->free, free), percent);
        return;
    }
    core_alarm_clear(c, r->id, "repository.space");
}

static void observe_repository(struct core *c, const struct api_repository *r) {
    if (r->state == API_OBJECT_STATE_UNAVAILABLE) {
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_REPOSITORY, r->id, r->name, "repository.unavailable",
                         "Storage repository %s is not usable", r->name);
    } else {
        core_alarm_clear(c, r->id, "repository.unavailable");
        observe_space(c, r);
    }
}

/* Steps that must succeed are tried until they do. */
static void observe_job(struct core *c, const struct api_job *j) {
    bool under_way = j->state == API_JOB_STATE_RUNNING || j->state == API_JOB_STATE_UNDOING;
    const struct api_job_step *step =
        under_way && j->current >= 0 && j->current < (int64_t)j->n_steps ? &j->steps[j->current] : NULL;
    if (step && step->attempts >= STUCK_ATTEMPTS)
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_JOB, j->id, j->title, "job.stuck",
                         "%s cannot be %s, and is tried again until it can: %s", j->title,
                         j->state == API_JOB_STATE_UNDOING ? "undone" : "finished", step->error);
    else if (!under_way)
        core_alarm_clear(c, j->id, "job.stuck");
}

void alarms_observe(struct core *c, const struct object *o) {
    switch (o->kind) {
    case API_KIND_VM:
        observe_vm(c, o->v->data);
        break;
    case API_KIND_REPOSITORY:
        observe_repository(c, o->v->data);
        break;
    case API_KIND_JOB:
        observe_job(c, o->v->data);
        break;
    default:
        break;
    }
}

void alarms_forget(struct core *c, const char *id) {
    size_t pos = 0, len = strlen(id);
    const char *key;
    void *value;
    const struct object **gone = NULL;
    size_t n = 0;
    while (map_next(&c->alarms, &pos, &key, &value)) {
        if (strncmp(key, id, len) != 0 || key[len] != '/')
            continue;
        gone = xreallocarray(gone, n + 1, sizeof *gone);
        gone[n++] = value;
    }
    for (size_t i = 0; i < n; i++)
        clear(c, gone[i]);
    free(gone);
}

void alarms_server_offline(struct core *c, const struct api_server *s) {
    core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "server.offline",
                     "Server %s is offline: %s", s->name, s->state_reason);
}

/* What is said at first stays, but for whether it answers the manager. */
void alarms_server_gone(struct core *c, const struct api_server *s, bool answers, const char *why) {
    const struct object *o = active(c, s->id, "server.gone");
    if (o && (strstr(((const struct api_alarm *)o->v->data)->message, ". It answers the manager, ") != NULL) == answers)
        return;
    if (answers)
        core_alarm_raise(
            c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "server.gone",
            "Server %s is given up: the others of its pool do not see it over the heartbeat network. It answers the "
            "manager, and what is not highly available runs on there; its highly available virtual "
            "machines are started elsewhere as far as its pool does that. Look at its heartbeat network, "
            "and at what it says itself: tarn server show %s",
            s->name, s->name);
    else
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_SERVER, s->id, s->name, "server.gone",
                         "Server %s is given up: %s. Its highly available virtual machines are started elsewhere as "
                         "far as its pool does that; the others are unknown until it is back. Bring it back, or if it "
                         "is gone for good, switch it off first, then: tarn server delete %s --force",
                         s->name, why, s->name);
}

/* What was so before this version looked, or while another manager ran. */
void alarms_start(struct core *c) {
    static const enum api_kind kinds[] = {API_KIND_VM, API_KIND_REPOSITORY, API_KIND_JOB};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        const struct table *t = &c->tables[kinds[k]];
        for (size_t i = 0; i < t->n; i++)
            alarms_observe(c, t->sorted[i]);
    }
    core_alarm_clear(c, "manager", "manager.read-only");
}

/* The oldest that have ended go. */
void alarms_sweep(struct core *c) {
    const struct table *t = &c->tables[API_KIND_ALARM];
    size_t cleared = t->n - map_count(&c->alarms);
    for (size_t i = 0; i < t->n && cleared > CLEARED_KEPT;) {
        const struct api_alarm *a = t->sorted[i]->v->data;
        if (a->active) {
            i++;
            continue;
        }
        core_remove(c, API_KIND_ALARM, a->id); /* which moves the next one here */
        cleared--;
    }
}

/* ---- the store ---- */

/* The one alarm that cannot be stored: it is in memory only, and becomes durable when it has ended. */
void alarms_read_only(struct core *c, const char *message) {
    if (active(c, "manager", "manager.read-only"))
        return;
    struct api_alarm *a = alarm_new(c, API_SEVERITY_ERROR, "manager", "manager", "manager", "manager.read-only");
    str_set(&a->message, message);
    core_show(c, API_KIND_ALARM, a);
}

void alarms_writable(struct core *c) { core_alarm_clear(c, "manager", "manager.read-only"); }

/* ---- operations ---- */

int op_alarm_list(struct core *c, const struct core_request *r, struct error *e) {
    return core_list(c, r, API_KIND_ALARM, NULL, NULL, e);
}

int op_alarm_show(struct core *c, const struct core_request *r, struct error *e) {
    const struct object *o = core_param(c, r, 0, API_KIND_ALARM, e);
    if (!o)
        return -1;
    core_reply_object(c, r->id, 200, o, r->query.fields);
    return 0;
}

int op_alarm_acknowledge(struct core *c, const struct core_request *r, struct error *e) {
    char now[TIME_TEXT_MAX];
    struct object *o = core_param(c, r, 0, API_KIND_ALARM, e);
    if (!o)
        return -1;
    const struct api_alarm *old = o->v->data;
    if (str_empty(old->acknowledged_by)) {
        struct api_alarm *a = CORE_COPY(alarm, ALARM, old);
        str_set(&a->acknowledged_by, r->actor);
        str_set(&a->acknowledged, core_now(c, now));
        core_event(c, API_SEVERITY_INFO, r->actor, "alarm.acknowledged", API_KIND_ALARM, a->id, a->object.name, NULL,
                   "%s acknowledged the alarm: %s", r->actor, a->message);
        core_put(c, API_KIND_ALARM, a);
    }
    core_reply_object(c, r->id, 200, o, NULL);
    return 0;
}
