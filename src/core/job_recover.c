/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.recover: a highly available virtual machine whose server is gone starts on another. While those that it is to come
 * after are not up, and while there is no room, its job is queued, visibly, and stands aside: it is in no queue of its
 * virtual machine, so that whoever stops, starts, changes or deletes that does so at once, and the recovery ends when
 * it is not wanted any more.
 *
 * All that wait are looked at together, the most important first: when something has changed that they may have waited
 * for, when a delay is over, and every half minute. A look changes nothing but what has become different. One for which
 * there is a server begins, and holds its virtual machine from then on. Where many wait a look takes many ticks, a few
 * in each: the manager has others to answer. What becomes free meanwhile belongs to the most important that fits, so
 * the look then begins anew; but only a few times, that the last ones have their turn as well.
 *
 * A start that fails makes a new job, up to ha.max_tries of them; then the virtual machine stays crashed, with an
 * alarm.
 */
#include "core/core_int.h"

#include <errno.h>

#define LOOK_MS        30000 /* while nothing changes */
#define ENDING_LOOK_MS 1000
#define LOOK_GAP_MS    100 /* between two looks, and */
#define LOOK_EACH_MS   2   /* for each that waits, but */
#define LOOK_MAX_MS    2000
#define TRY_AGAIN_MS   3000 /* after a start that failed, times the tries */
#define HOUR_MS        3600000
#define LOOK_TICK      8 /* looked at in one tick */
#define ANEW_MAX       3

static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }

/* ---- those that are under way ---- */

/* The recovery of this virtual machine that has not ended; NULL. */
static const struct api_job *recovery_of(const struct core *c, const char *vm) {
    struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        if (j && str_eq(j->kind, "vm.recover") && str_eq(j->object.id, vm) && j->state < API_JOB_STATE_DONE)
            return j;
    }
    return NULL;
}

bool recover_waits(const struct core *c, const char *vm) {
    const struct api_job *j = c->n_aside ? recovery_of(c, vm) : NULL;
    return j && j->state == API_JOB_STATE_QUEUED;
}

/* ---- the order ---- */

#define ENDING (-2)

/* When the last of those that it comes after was up; -1 while one is still being started, ENDING while one is about to
   end where it is, with its name. */
static int64_t after_ms(struct core *c, const struct api_vm *vm, const char **ret_name) {
    int64_t last = 0;
    for (size_t i = 0; i < vm->ha.n_after; i++) {
        const struct api_vm *other = CORE_GET(c, vm, VM, vm->ha.after[i]);
        int64_t at;
        if (!other || str_eq(other->id, vm->id))
            continue;
        bool starts = recovery_of(c, other->id);
        if (starts || failover_vm_ending(c, other)) {
            *ret_name = other->name;
            return starts ? -1 : ENDING;
        }
        if (other->state == API_VM_STATE_RUNNING && time_parse(other->started, &at) == 0 && at > last)
            last = at < c->wall_ms ? at : c->wall_ms; /* its server's clock may be ahead: it is up now at the latest */
    }
    return last;
}

/* ---- a look ---- */

struct look {
    struct core *c;
    const struct api_job *job;
    const struct api_vm *vm;
    struct api_job *put; /* a copy, with what there is to say now */
    int64_t next;        /* mono_ms of the next look; INT64_MAX: when something changes */
};

static void wait_because(struct look *l, bool room, const char *why) {
    struct core *c = l->c;
    const struct api_vm *vm = l->vm;
    /* One alarm with the reason; that it has crashed as well (alarm.c) would say that somebody is to start it. */
    core_alarm_raise(c, room ? API_SEVERITY_ERROR : API_SEVERITY_WARNING, API_KIND_VM, vm->id, vm->name,
                     "vm.recovery-waits", "Virtual machine %s waits to be restarted: %s", vm->name, why);
    core_alarm_clear(c, vm->id, "vm.crashed");
    if (!str_eq(l->job->message, why)) {
        core_set_vm_state(c, vm->id, API_VM_STATE_CRASHED, why);
        core_event(c, room ? API_SEVERITY_WARNING : API_SEVERITY_INFO, "tarn", "vm.recovery-waits", API_KIND_VM, vm->id,
                   vm->name, l->job->id, "Virtual machine %s is not restarted yet: %s", vm->name, why);
    }
    str_set(&l->put->message, why);
}

/* Until that time; by a clock that has been set back meanwhile it would be never. */
static bool waits_until(struct look *l, int64_t wall_ms, int64_t at_most, const char *why) {
    int64_t left = wall_ms - l->c->wall_ms;
    if (left <= 0 || left > at_most)
        return false;
    l->next = l->c->mono_ms + left;
    wait_because(l, false, why);
    return true;
}

static bool has_to_wait(struct look *l) {
    const char *name = NULL;
    if (waits_until(l, json_int(l->job->args, "not_before", 0), HOUR_MS, "its start has failed; it is tried again"))
        return true;
    int64_t up = after_ms(l->c, l->vm, &name), delay = l->vm->ha.delay * 1000;
    if (up < 0) {
        _cleanup_free_ char *why = xasprintf("it comes after %s", name);
        wait_because(l, false, why);
        if (up == ENDING) /* or its server finds its pool again, which wakes nobody */
            l->next = l->c->mono_ms + ENDING_LOOK_MS;
        return true;
    }
    return up > 0 && waits_until(l, up + delay, delay, "it waits its delay");
}

/* Why it is not to be restarted any more; NULL: it is. */
static const char *not_wanted(const struct core *c, const struct api_job *j, const struct api_vm *vm) {
    if (!vm)
        return "it was deleted";
    if (vm->state == API_VM_STATE_STOPPED)
        return "it was stopped";
    if (vm->state != API_VM_STATE_CRASHED)
        return "it was started by hand";
    /* It has run since, somewhere, and that server's agent may be about to start it again. */
    const char *started = json_string_value(json_object_get(j->args, "started"));
    if (vm->restarting || (started && !str_eq(started, vm->started)))
        return "it has run meanwhile";
    if (!vm->has_ha || !vm->ha.enabled)
        return "it is not highly available any more";
    return pool_restarts(c, vm) ? NULL : "its pool does not restart virtual machines";
}

/* The server for it, or NULL. */
static const struct api_server *find_place(struct look *l) {
    struct placement p;
    _cleanup_error_ struct error e = ERROR_INIT;
    place(l->c, l->vm, &(struct place_options){.recovery = true}, &p);
    const struct api_server *best = p.best;
    placement_keep(&p, best, l->put);
    if (!best) {
        placement_error(&p, l->vm, &e);
        wait_because(l, true, str_or(e.message, "no server can take it"));
    }
    placement_done(&p);
    return best;
}

static bool same_job(const struct api_job *a, const struct api_job *b) {
    _cleanup_buf_ struct buf x = {0}, y = {0};
    api_job_write(a, API_PRIVATE, &x);
    api_job_write(b, API_PRIVATE, &y);
    return x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
}

/* The record is written when it tells something new, and not each time. */
static void note(struct look *l) {
    if (!same_job(l->job, l->put)) {
        core_put(l->c, API_KIND_JOB, l->put);
        return;
    }
    api_job_done(l->put);
    free(l->put);
}

static int64_t look(struct core *c, const char *id) {
    const struct api_job *j = CORE_GET(c, job, JOB, id);
    struct look l = {.c = c, .job = j, .vm = CORE_GET(c, vm, VM, j->object.id), .next = INT64_MAX};
    bool free = !l.vm || !jobs_hold(c, l.vm->id); /* one that waits for its own turn may wait for long */
    const char *off = free ? not_wanted(c, j, l.vm) : NULL;
    if (off) {
        job_call_off(c, id, off);
        return INT64_MAX;
    }
    l.put = CORE_COPY(job, JOB, j);
    if (!free)
        str_set(&l.put->message, "waits for another job on the virtual machine");
    const struct api_server *s = !free || has_to_wait(&l) ? NULL : find_place(&l);
    note(&l);
    if (s)
        job_admit(c, id, "to", s->id);
    return l.next;
}

/* ---- all that wait ---- */

struct waiting {
    char id[UUID_LEN + 1];
    int64_t priority;
};

static int by_importance(const void *a, const void *b) {
    const struct waiting *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? 1 : -1;
    return strcmp(x->id, y->id);
}

struct round {
    struct waiting *list; /* the most important first */
    size_t n, at;
    int64_t next; /* mono_ms of the next one */
    bool stale;   /* one that is more important may begin now */
    int anew;
};

static void round_list(struct core *c, struct round *r) {
    r->list = xreallocarray(r->list, c->n_aside + 1, sizeof *r->list);
    r->n = r->at = 0;
    r->stale = false;
    struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = run->aside ? CORE_GET(c, job, JOB, run->id) : NULL;
        const struct api_vm *vm = j ? CORE_GET(c, vm, VM, j->object.id) : NULL;
        if (!j)
            continue;
        memcpy(r->list[r->n].id, j->id, UUID_LEN);
        r->list[r->n].id[UUID_LEN] = 0;
        r->list[r->n++].priority = vm ? vm->ha.priority : 0;
    }
    qsort(r->list, r->n, sizeof *r->list, by_importance);
}

static void round_begin(struct core *c) {
    c->round = xcalloc(1, sizeof *c->round);
    c->round->next = c->mono_ms + LOOK_MS;
    c->recover_at = 0;
    c->recovered_at = c->mono_ms;
    round_list(c, c->round);
}

static void round_end(struct core *c) {
    int64_t next = c->round->next;
    recover_done(c);
    if (c->n_aside && (!c->recover_at || next < c->recover_at))
        c->recover_at = next;
}

void recover_done(struct core *c) {
    if (c->round)
        free(c->round->list);
    free(c->round);
    c->round = NULL;
}

void recover_tick(struct core *c) {
    struct round *r = c->round;
    if (!r && (!c->recover_at || c->mono_ms < c->recover_at))
        return;
    if (!r) {
        round_begin(c);
        r = c->round;
    } else if (r->stale && r->anew < ANEW_MAX) {
        r->anew++;
        round_list(c, r);
    }
    for (int i = 0; i < LOOK_TICK && r->at < r->n; i++) {
        const char *id = r->list[r->at++].id;
        int64_t at = jobs_active(c, id) ? look(c, id) : INT64_MAX;
        r->next = at < r->next ? at : r->next;
    }
    r->stale = false; /* what it has changed itself */
    if (r->at == r->n)
        round_end(c);
}

void recover_soon(struct core *c) {
    int64_t gap = LOOK_GAP_MS + (int64_t)c->n_aside * LOOK_EACH_MS;
    int64_t at = c->recovered_at + (gap < LOOK_MAX_MS ? gap : LOOK_MAX_MS);
    if (at < c->mono_ms)
        at = c->mono_ms;
    if (c->n_aside && (!c->recover_at || at < c->recover_at))
        c->recover_at = at;
}

/* Whether one that had to wait may find room because of this change. */
static bool makes_room(const struct object *o, const struct version *old) {
    const struct api_vm *a = old ? old->data : NULL, *b = o->v ? o->v->data : NULL;
    if (o->kind != API_KIND_VM)
        return true;
    if (!a || !vm_counts(a))
        return false;
    return !b || !vm_counts(b) || !str_eq(a->server, b->server) || !str_eq(a->target, b->target) ||
           b->memory < a->memory || b->cpus < a->cpus;
}

void recover_observe(struct core *c, const struct object *o, const struct version *old) {
    static const bool counts[API_KIND_COUNT] = {[API_KIND_SERVER] = true,
                                                [API_KIND_POOL] = true,
                                                [API_KIND_VM] = true,
                                                [API_KIND_RULE] = true,
                                                [API_KIND_REPOSITORY] = true};
    if (!c->n_aside || !counts[o->kind])
        return;
    recover_soon(c);
    if (c->round && makes_room(o, old))
        c->round->stale = true;
}

void recover_call_off(struct core *c, const char *vm, const char *why) {
    if (!recover_waits(c, vm))
        return;
    _cleanup_free_ char *id = xstrdup(recovery_of(c, vm)->id);
    job_call_off(c, id, why);
}

/* ---- the step ---- */

static void set_server(struct job_ctx *x, const char *server) {
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    str_set(&vm->server, server);
    vm->state = *server ? API_VM_STATE_STARTING : API_VM_STATE_CRASHED;
    str_set(&vm->state_reason, "");
    core_put(x->c, API_KIND_VM, vm);
}

static int recover_start(struct job_ctx *x, struct error *e) {
    const char *to = json_str(x->job->vars, "to");
    core_alarm_clear(x->c, x->job->object.id, "vm.recovery-waits");
    core_drop_held_report(x->c, x->job->object.id, INT64_MAX); /* of the server that was lost */
    vm_begin_anew(x->c, x->job->object.id, false);
    set_server(x, to);
    failover_vm_ordered(x->c, x->job->object.id, true);
    return job_call(x, to, API_AGENT_OP_GUEST_START, vm_guest_start(x->c, vm_of(x)), e);
}

static int recover_started(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    json_set_str(x->job->vars, "prior", "crashed");
    int r = vm_take_report(x, result, e);
    if (r < 0)
        return r;
    vm = vm_of(x);
    const struct api_server *s = CORE_GET(x->c, server, SERVER, vm->server);
    core_event(x->c, API_SEVERITY_INFO, "tarn", "vm.recovered", API_KIND_VM, vm->id, vm->name, x->job->id,
               "Virtual machine %s was restarted on server %s", vm->name, s ? s->name : "");
    core_alarm_clear(x->c, vm->id, "vm.not-recovered");
    return 0;
}

static int recover_kill(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!vm || str_empty(vm->server))
        return STEP_DONE;
    return job_call(x, vm->server, API_AGENT_OP_GUEST_KILL, json_pack("{s:s}", "vm", vm->id), e);
}

/* What its agent had said before is over. */
static int recover_killed(struct job_ctx *x, const json_t *result, struct error *e) {
    return vm_of(x) ? vm_take_report(x, result, e) : 0;
}

/* ---- the end ---- */

/* Somebody has decided otherwise while it waited. */
static void called_off(struct job_ctx *x, const char *why) {
    const struct api_vm *vm = vm_of(x);
    core_event(x->c, API_SEVERITY_INFO, "tarn", "vm.recovery-off", API_KIND_VM, x->job->object.id, x->job->object.name,
               x->job->id, "Virtual machine %s is not restarted: %s", x->job->object.name, why);
    if (!vm || vm->state != API_VM_STATE_CRASHED)
        return;
    _cleanup_free_ char *reason = xasprintf("its server was lost; it is not restarted: %s", why);
    core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, reason);
}

static void not_recovered(struct job_ctx *x, const char *why) {
    const struct api_vm *vm = vm_of(x);
    core_alarm_raise(
        x->c, API_SEVERITY_ERROR, API_KIND_VM, vm->id, vm->name, "vm.not-recovered",
        "Virtual machine %s was not restarted after its server was lost: %s; start it with: tarn vm start %s", vm->name,
        why, vm->name);
    core_alarm_clear(x->c, vm->id, "vm.crashed");
    core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, why);
}

static void recover_ended(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    struct api_job *j = x->job;
    const char *off = json_str(j->vars, "off");
    core_alarm_clear(x->c, j->object.id, "vm.recovery-waits");
    if (*off) {
        called_off(x, off);
        return;
    }
    /* One that was aborted while it waited: somebody may be at work on the virtual machine. */
    bool waited = !j->n_steps || str_empty(j->steps[0].started);
    if (!vm || (waited && vm->state != API_VM_STATE_CRASHED))
        return;
    if (j->state == API_JOB_STATE_DONE || vm->state == API_VM_STATE_RUNNING) {
        core_apply_held_report(x->c, vm->id);
        return;
    }
    /* That the server was lost to which it was given says nothing of the guest. */
    bool lost = !CORE_GET(x->c, server, SERVER, vm->server) || server_is_gone(x->c, vm->server);
    int64_t tries = json_int(j->args, "tries", 0) + !lost;
    if (j->state == API_JOB_STATE_FAILED && tries < vm->ha.max_tries && vm->ha.enabled) {
        set_server(x, "");
        core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, j->error);
        job_put_end(x);
        recover_submit(x->c, j->object.id, tries);
        return;
    }
    /* It stays with the server that could not start it, which can be tried by hand. */
    not_recovered(x, str_or(j->error, "its restart was aborted"));
}

static const struct job_step_def recover_steps[] = {
    {"start", 1, false, recover_start, recover_started, recover_kill, recover_killed, true}};
const struct job_kind job_vm_recover = {
    .name = "vm.recover", .steps = recover_steps, .n_steps = 1, .ended = recover_ended, .aside = true};

void recover_submit(struct core *c, const char *id, int64_t tries) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    _cleanup_error_ struct error e = ERROR_INIT;
    int64_t not_before = tries ? c->wall_ms + TRY_AGAIN_MS * tries : 0;
    _cleanup_free_ char *reason = xstrdup(vm->state_reason);
    recover_call_off(c, id, "it was lost once more, which is another recovery");
    core_set_vm_state(c, id, API_VM_STATE_CRASHED, reason);
    vm = CORE_GET(c, vm, VM, id);
    struct job_request q = {.kind = &job_vm_recover,
                            .actor = "tarn",
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("Restart virtual machine %s after the loss of its server", vm->name),
                            .args = json_pack("{s:I, s:I, s:s}", "tries", (json_int_t)tries, "not_before",
                                              (json_int_t)not_before, "started", vm->started)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    job_add_step(j, q.kind, "start", 0);
    if (job_submit(c, &q, j, &e) < 0)
        core_set_vm_state(c, id, API_VM_STATE_CRASHED, e.message);
    c->recover_at = c->mono_ms;
    if (c->round)
        c->round->stale = true;
}
