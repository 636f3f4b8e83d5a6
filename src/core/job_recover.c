/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.recover: a highly available virtual machine whose server is gone starts on another. The job waits, visibly, while
 * those that it is to come after are not up, and while there is no room; the more important ones are asked first. A
 * start that fails makes a new job, up to ha.max_tries of them; then the virtual machine stays crashed, with an alarm.
 */
#include "core/core_int.h"

#include <errno.h>

#define LOOK_MS      1000 /* while it waits */
#define TRY_AGAIN_MS 3000 /* after a start that failed, times the tries */

static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }

/* ---- the order ---- */

static bool being_recovered(const struct core *c, const char *vm) {
    const char *holder = locks_holder(c, vm);
    const struct api_job *j = holder ? CORE_GET(c, job, JOB, holder) : NULL;
    return j && str_eq(j->kind, "vm.recover") && j->state == API_JOB_STATE_RUNNING;
}

/* When the last of those that it comes after was up; -1 while one is still being started, with its name. */
static int64_t after_ms(const struct core *c, const struct api_vm *vm, const char **ret_name) {
    int64_t last = 0;
    for (size_t i = 0; i < vm->ha.n_after; i++) {
        const struct api_vm *other = CORE_GET(c, vm, VM, vm->ha.after[i]);
        int64_t at;
        if (!other || str_eq(other->id, vm->id))
            continue;
        if (being_recovered(c, other->id)) {
            *ret_name = other->name;
            return -1;
        }
        if (other->state == API_VM_STATE_RUNNING && time_parse(other->started, &at) == 0 && at > last)
            last = at;
    }
    return last;
}

/* One that matters more and waits for room too, and would have it now. */
static const struct api_vm *more_important(struct core *c, const struct api_vm *vm) {
    struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        const struct api_vm *other = j && str_eq(j->kind, "vm.recover") ? CORE_GET(c, vm, VM, j->object.id) : NULL;
        if (!other || j->state != API_JOB_STATE_RUNNING || !json_bool(j->vars, "room", false) ||
            !str_eq(other->pool, vm->pool) || other->ha.priority <= vm->ha.priority)
            continue;
        if (recover_place(c, other, NULL, NULL))
            return other;
    }
    return NULL;
}

/* ---- the step ---- */

static void wait_because(struct job_ctx *x, int64_t ms, bool room, const char *why) {
    const struct api_vm *vm = vm_of(x);
    if (!str_eq(x->job->message, why)) {
        core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, why);
        core_event(x->c, room ? API_SEVERITY_WARNING : API_SEVERITY_INFO, "tarn", "vm.recovery-waits", API_KIND_VM,
                   vm->id, vm->name, x->job->id, "Virtual machine %s is not restarted yet: %s", vm->name, why);
    }
    if (room && !json_bool(x->job->vars, "room", false))
        core_alarm_raise(x->c, API_SEVERITY_ERROR, API_KIND_VM, vm->id, vm->name, "vm.recovery-waits",
                         "Virtual machine %s waits to be restarted: %s", vm->name, why);
    json_object_set_new(x->job->vars, "room", json_boolean(room));
    str_set(&x->job->message, why);
    x->run->retry_at = x->c->mono_ms + ms;
}

static bool has_to_wait(struct job_ctx *x, const struct api_vm *vm) {
    struct core *c = x->c;
    const char *name = NULL;
    int64_t not_before = json_int(x->job->args, "not_before", 0);
    int64_t up = after_ms(c, vm, &name), at = up > 0 ? up + vm->ha.delay * 1000 : 0;
    if (not_before > c->wall_ms && not_before <= c->wall_ms + 3600000) {
        wait_because(x, not_before - c->wall_ms, false, "its start has failed; it is tried again");
        return true;
    }
    if (up < 0) {
        _cleanup_free_ char *why = xasprintf("it comes after %s", name);
        wait_because(x, LOOK_MS, false, why);
        return true;
    }
    if (at > c->wall_ms) {
        wait_because(x, at - c->wall_ms, false, "it waits its delay");
        return true;
    }
    const struct api_vm *other = more_important(c, vm);
    if (other) {
        _cleanup_free_ char *why = xasprintf("%s, which matters more, is started before it", other->name);
        wait_because(x, LOOK_MS, true, why);
        return true;
    }
    return false;
}

static void set_server(struct job_ctx *x, const char *server) {
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    str_set(&vm->server, server);
    vm->state = *server ? API_VM_STATE_STARTING : API_VM_STATE_CRASHED;
    str_set(&vm->state_reason, "");
    core_put(x->c, API_KIND_VM, vm);
}

static int recover_start(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    _cleanup_free_ char *why = NULL;
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    if (!json_bool(x->job->vars, "begun", false)) { /* the others that were lost with it are to be known first */
        json_object_set_new(x->job->vars, "begun", json_true());
        x->run->retry_at = x->c->mono_ms;
        return STEP_LATER;
    }
    if (has_to_wait(x, vm))
        return STEP_LATER;
    const struct api_server *s = recover_place(x->c, vm, x->job, &why);
    if (!s) {
        wait_because(x, LOOK_MS, true, str_or(why, "no server can take it"));
        return STEP_LATER;
    }
    core_alarm_clear(x->c, vm->id, "vm.recovery-waits");
    json_object_del(x->job->vars, "room");
    str_set(&x->job->message, "");
    set_server(x, s->id);
    vm = vm_of(x);
    return job_call(x, s->id, API_AGENT_OP_GUEST_START, vm_guest_start(x->c, vm), e);
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

static int recover_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!vm || vm->state != API_VM_STATE_CRASHED)
        return error_set(e, ERR_CONFLICT, "the virtual machine is not crashed any more");
    return 0;
}

static void recover_ended(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    struct api_job *j = x->job;
    if (!vm)
        return;
    core_alarm_clear(x->c, vm->id, "vm.recovery-waits");
    /* While it waited somebody else has started, stopped or moved it: there is nothing to recover. */
    bool not_needed = vm->state != API_VM_STATE_CRASHED && (!j->n_steps || str_empty(j->steps[0].started));
    if (j->state == API_JOB_STATE_DONE || vm->state == API_VM_STATE_RUNNING || not_needed) {
        core_apply_held_report(x->c, vm->id);
        return;
    }
    int64_t tries = json_int(j->args, "tries", 0) + 1;
    bool again = j->state == API_JOB_STATE_FAILED && tries < vm->ha.max_tries && vm->ha.enabled;
    if (again)
        set_server(x, ""); /* else it stays with the one that could not start it, which can be tried by hand */
    core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, str_or(j->error, "its restart was aborted"));
    if (again) {
        job_put_end(x);
        recover_submit(x->c, j->object.id, tries);
        return;
    }
    vm = vm_of(x);
    core_alarm_raise(x->c, API_SEVERITY_ERROR, API_KIND_VM, vm->id, vm->name, "vm.not-recovered",
                     "Virtual machine %s was not restarted after its server was lost: %s", vm->name,
                     str_or(j->error, "its restart was aborted"));
}

static const struct job_step_def recover_steps[] = {
    {"start", 1, false, recover_start, recover_started, recover_kill, NULL, true}};
const struct job_kind job_vm_recover = {
    .name = "vm.recover", .steps = recover_steps, .n_steps = 1, .check = recover_check, .ended = recover_ended};

void recover_submit(struct core *c, const char *id, int64_t tries) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    _cleanup_error_ struct error e = ERROR_INIT;
    int64_t not_before = tries ? c->wall_ms + TRY_AGAIN_MS * tries : 0;
    struct job_request q = {
        .kind = &job_vm_recover,
        .actor = "tarn",
        .object_kind = API_KIND_VM,
        .object_id = vm->id,
        .object_name = vm->name,
        .title = xasprintf("Restart virtual machine %s on another server", vm->name),
        .args = json_pack("{s:I, s:I}", "tries", (json_int_t)tries, "not_before", (json_int_t)not_before)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    job_add_step(j, q.kind, "start", 0);
    if (job_submit(c, &q, j, &e) < 0)
        core_set_vm_state(c, id, API_VM_STATE_CRASHED, e.message);
}

/* ---- where ---- */

const struct api_server *recover_place(struct core *c, const struct api_vm *vm, struct api_job *job, char **ret_why) {
    struct placement p;
    _cleanup_error_ struct error e = ERROR_INIT;
    place(c, vm, &(struct place_options){.recovery = true}, &p);
    const struct api_server *best = p.best;
    if (job)
        placement_keep(&p, best, job);
    if (!best && ret_why) {
        placement_error(&p, vm, &e);
        *ret_why = TAKE_PTR(e.message);
    }
    placement_done(&p);
    return best;
}
