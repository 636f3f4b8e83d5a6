/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs on virtual machines. While a job holds one, its state shows the job's intent (starting, stopping); the agent's
 * answers end it. What the agent reports meanwhile of itself is kept and applied when the job lets go.
 */
#include "core/core_int.h"

static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }

void vm_job_state(struct job_ctx *x, enum api_vm_state state) {
    const struct api_vm *vm = vm_of(x);
    if (!vm)
        return;
    if (json_object_get(x->job->vars, "prior") == NULL)
        json_set_str(x->job->vars, "prior", api_vm_state_text(vm->state));
    core_set_vm_state(x->c, vm->id, state, "");
}

/* Where no answer said otherwise, it is again what it was before. */
void vm_ended(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    enum api_vm_state prior;
    if (str_empty(x->job->started)) /* aborted while it waited: what is reserved is the job's that has the lock */
        return;
    bool moving = vm && (vm->state == API_VM_STATE_STARTING || vm->state == API_VM_STATE_STOPPING ||
                         vm->state == API_VM_STATE_DELETING || vm->state == API_VM_STATE_MIGRATING);
    if (moving && !jobs_hold(x->c, vm->id) && api_vm_state_from_text(json_str(x->job->vars, "prior"), &prior) == 0)
        core_set_vm_state(x->c, vm->id, prior, x->job->error);
    vm_unreserve(x->c, x->job->object.id);
    vm = vm_of(x);
    /* It was lost, and a start by hand has failed: that is no word against its recovery. */
    if (vm && vm->state == API_VM_STATE_STOPPED && x->job->state != API_JOB_STATE_DONE &&
        str_eq(json_str(x->job->vars, "prior"), "crashed") && recover_waits(x->c, vm->id))
        core_set_vm_state(x->c, vm->id, API_VM_STATE_CRASHED, x->job->error);
    vm = vm_of(x);
    if (vm && vm_is_off(vm))
        maintenance_look(x->c, vm->server);
    core_apply_held_report(x->c, x->job->object.id);
}

int vm_take_report(struct job_ctx *x, const json_t *result, struct error *e) {
    struct api_guest_report g;
    int r = api_guest_report_parse(result, API_PEER, &g, e);
    if (r == 0 && !guest_state_valid(g.state)) {
        r = error_set(e, ERR_INTERNAL, "the server's agent says that the guest is %s, which it cannot be",
                      api_vm_state_text(g.state));
        api_guest_report_done(&g);
    }
    if (r < 0)
        return r;
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    _cleanup_free_ char *detail = xasprintf("%s -> %s", json_str(x->job->vars, "prior"), api_vm_state_text(g.state));
    vm->state = g.state;
    vm->restarts = g.restarts;
    g.guarded = core_held_guarded(x->c, vm->id, &g);
    vm->watched = failover_watches(x->c, vm->server, &g);
    vm->restarting = vm_will_restart(&g);
    str_set(&vm->state_reason, g.reason);
    if (!str_empty(g.started))
        str_set(&vm->started, g.started);
    if (!str_empty(g.hypervisor))
        str_set(&vm->hypervisor, g.hypervisor);
    job_changed(x, API_KIND_VM, vm->id, vm->name, "changed", detail);
    /* The held report of it is dropped, and with it what would have had it started elsewhere: failover_vm_free() does.
     */
    json_object_set_new(x->job->vars, "lost", json_boolean(g.lost && g.state == API_VM_STATE_CRASHED));
    core_put(x->c, API_KIND_VM, vm);
    core_drop_held_report(x->c, vm->id, g.sequence);
    api_guest_report_done(&g);
    return 0;
}

static int guest_call(struct job_ctx *x, enum api_agent_op op, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    bool somewhere = vm && !str_empty(vm->server);
    return somewhere ? job_call(x, vm->server, op, json_pack("{s:s}", "vm", vm->id), e) : STEP_DONE;
}

/* ---- what a start needs ---- */

static json_t *guest_disk(struct core *c, const struct api_vm_disk *vd) {
    if (vd->cdrom) {
        const struct api_iso *iso = CORE_GET(c, iso, ISO, vd->iso);
        return json_pack("{s:b, s:s, s:s, s:s, s:b}", "cdrom", true, "iso", iso ? iso->id : "", "repository",
                         iso ? iso->repository : "", "bus", api_disk_bus_text(vd->bus), "read_only", true);
    }
    const struct api_disk *d = CORE_GET(c, disk, DISK, vd->disk);
    if (!d)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:b}", "disk", d->id, "repository", d->repository, "template",
                     d->template, "template_disk", (json_int_t)d->template_disk, "bus", api_disk_bus_text(vd->bus),
                     "read_only", vd->read_only);
}

json_t *vm_guest_start(struct core *c, const struct api_vm *vm) {
    json_t *disks = json_array();
    for (size_t i = 0; i < vm->n_disks; i++) {
        json_t *d = guest_disk(c, &vm->disks[i]);
        if (d)
            json_array_append_new(disks, d);
    }
    const struct api_template *t = vm->direct_boot ? CORE_GET(c, template, TEMPLATE, vm->template) : NULL;
    return json_pack("{s:o, s:s, s:o, s:s, s:s, s:b, s:s}", "vm", api_vm_print(vm, API_PRIVATE), "repository",
                     vm->repository, "disks", disks, "kernel_template", t ? t->id : "", "kernel_repository",
                     t ? t->repository : "", "has_initrd", t ? t->initrd : false, "hypervisor", vm->hypervisor);
}

int vm_check_server(struct core *c, const struct api_vm *vm, struct error *e) {
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    if (!s)
        return error_set_field(e, ERR_CONFLICT, "server", "its server is no longer in the inventory");
    if (s->has_hardware && s->hardware.memory && vm->memory > s->hardware.memory) {
        char want[SIZE_TEXT_MAX], has[SIZE_TEXT_MAX];
        return error_set_field(e, ERR_NO_CAPACITY, "memory", "%s are more than server \"%s\" has (%s)",
                               size_format(vm->memory, want), s->name, size_format(s->hardware.memory, has));
    }
    _cleanup_free_ char *problem = server_limits_problem(s, vm);
    if (problem)
        return error_set_field(e, ERR_NO_CAPACITY, "limits", "server \"%s\" does not serve: %s", s->name, problem);
    bool usable = s->n_hypervisors == 0; /* it has not connected yet */
    const char *why = "no hypervisor driver";
    for (size_t i = 0; i < s->n_hypervisors && !usable; i++) {
        usable = s->hypervisors[i].usable;
        why = str_or(s->hypervisors[i].reason, why);
    }
    if (!usable)
        return error_set_field(e, ERR_NO_CAPACITY, "server", "server \"%s\" cannot run virtual machines: %s", s->name,
                               why);
    return 0;
}

int vm_disks_ready(struct core *c, const struct api_vm *vm, struct error *e) {
    for (size_t i = 0; i < vm->n_disks; i++) {
        if (vm->disks[i].cdrom) {
            int result = core_check_iso(c, NULL, vm->disks[i].iso, NULL, e);
            if (result < 0)
                return result;
            continue;
        }
        const struct api_disk *d = CORE_GET(c, disk, DISK, vm->disks[i].disk);
        const struct api_repository *r = d ? CORE_GET(c, repository, REPOSITORY, d->repository) : NULL;
        if (!d || d->state != API_OBJECT_STATE_READY)
            return error_set(e, ERR_CONFLICT, "its virtual disk \"%s\" is not ready", d ? d->name : vm->disks[i].disk);
        if (!r || r->state == API_OBJECT_STATE_UNAVAILABLE)
            return error_set(e, ERR_UNAVAILABLE, "storage repository \"%s\" is not usable now", r ? r->name : "");
    }
    return 0;
}

/* ---- checks ---- */

static int check_exists(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    if (str_empty(vm->server)) /* it has not been started yet, or was set free: it is on no server */
        return 0;
    if (vm->state == API_VM_STATE_UNKNOWN || !core_agent_is_connected(x->c, vm->server))
        return core_need_agent(x->c, vm->server, e);
    return 0;
}

bool state_is_off(enum api_vm_state state) {
    return state == API_VM_STATE_STOPPED || state == API_VM_STATE_CRASHED;
}

bool vm_is_off(const struct api_vm *vm) { return state_is_off(vm->state); }

bool vm_needs_server(const struct api_vm *vm, const char *server) {
    return str_eq(vm->target, server) || (str_eq(vm->server, server) && (!vm_is_off(vm) || vm->restarting));
}

int vm_wrong_state(const struct api_vm *vm, const char *hint, struct error *e) {
    return error_set(e, ERR_CONFLICT, "virtual machine \"%s\" is %s%s", vm->name, api_vm_state_text(vm->state), hint);
}

static int running_check(struct job_ctx *x, struct error *e) {
    int r = check_exists(x, e);
    if (r < 0)
        return r;
    const struct api_vm *vm = vm_of(x);
    if (vm->state == API_VM_STATE_SUSPENDED)
        return vm_wrong_state(vm, "; resume it first, or kill it", e);
    return vm->state == API_VM_STATE_RUNNING ? 0 : vm_wrong_state(vm, ", not running", e);
}

/* It was lost and waits to be restarted elsewhere: that it is to stop means that it is not. */
static bool is_lost(const struct job_ctx *x, const struct api_vm *vm) {
    return vm->state == API_VM_STATE_CRASHED && !vm->restarting && recover_waits(x->c, vm->id);
}

static int stop_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    return vm && is_lost(x, vm) ? 0 : running_check(x, e);
}

static int kill_check(struct job_ctx *x, struct error *e) {
    int r = check_exists(x, e);
    if (r < 0)
        return r;
    const struct api_vm *vm = vm_of(x);
    bool off = vm->state == API_VM_STATE_STOPPED && !vm->restarting; /* a restart is called off by a kill */
    if (off || vm->state == API_VM_STATE_CREATING || vm->state == API_VM_STATE_DELETING)
        return vm_wrong_state(vm, ", not running", e);
    return 0;
}

static int suspended_check(struct job_ctx *x, struct error *e) {
    int r = check_exists(x, e);
    return r < 0 ? r : vm_of(x)->state == API_VM_STATE_SUSPENDED ? 0 : vm_wrong_state(vm_of(x), ", not suspended", e);
}

/* ---- steps ---- */

void vm_begin_anew(struct core *c, const char *id, bool may_run) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    const struct api_pool *pool = CORE_GET(c, pool, POOL, vm->pool);
    if (str_eq(vm->cpu_model, pool ? pool->cpu_model : "") && (!vm->untold || may_run))
        return;
    struct api_vm *put = CORE_COPY(vm, VM, vm);
    str_set(&put->cpu_model, pool ? pool->cpu_model : "");
    put->untold &= may_run;
    core_put(c, API_KIND_VM, put);
}

int vm_step_start(struct job_ctx *x, struct error *e) {
    bool may_run = json_bool(x->job->vars, "may_run", false);
    vm_begin_anew(x->c, x->job->object.id, may_run);
    const struct api_vm *vm = vm_of(x);
    int r = job_call(x, vm->server, API_AGENT_OP_GUEST_START, vm_guest_start(x->c, vm), e);
    if (r >= 0) {
        vm_job_state(x, API_VM_STATE_STARTING);
        failover_vm_ordered(x->c, x->job->object.id, !may_run);
    }
    return r;
}
static int stop_lost(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    _cleanup_free_ char *why = xasprintf("stopped by %s while it waited to be restarted", x->job->actor);
    bool waited = recover_waits(x->c, vm->id);
    core_set_vm_state(x->c, vm->id, API_VM_STATE_STOPPED, waited ? why : "");
    job_changed(x, API_KIND_VM, vm->id, vm->name, "changed", "crashed -> stopped");
    recover_call_off(x->c, vm->id, why);
    return STEP_DONE;
}

int vm_step_kill(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!x->undo && vm && vm->state == API_VM_STATE_CRASHED && (str_empty(vm->server) || is_lost(x, vm)))
        return stop_lost(x);
    int r = guest_call(x, API_AGENT_OP_GUEST_KILL, e);
    if (r == STEP_WAIT && !x->undo)
        vm_job_state(x, API_VM_STATE_STOPPING);
    return r;
}
static int guest_stop(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (is_lost(x, vm))
        return stop_lost(x);
    int64_t timeout = json_int(x->job->args, "timeout", 60);
    int r = job_call(x, vm->server, API_AGENT_OP_GUEST_STOP,
                     json_pack("{s:s, s:I, s:b}", "vm", vm->id, "timeout", (json_int_t)timeout, "force",
                               json_bool(x->job->args, "force", false)),
                     e);
    if (r == STEP_WAIT)
        vm_job_state(x, API_VM_STATE_STOPPING);
    return r;
}
static int guest_suspend(struct job_ctx *x, struct error *e) { return guest_call(x, API_AGENT_OP_GUEST_SUSPEND, e); }
static int guest_resume(struct job_ctx *x, struct error *e) { return guest_call(x, API_AGENT_OP_GUEST_RESUME, e); }

static int guest_forget(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    const struct api_repository *r = vm ? CORE_GET(x->c, repository, REPOSITORY, vm->repository) : NULL;
    if (!vm || (!r && str_empty(vm->server)))
        return STEP_DONE;
    /* One that is on no server has its firmware variables in its repository all the same. */
    const char *server = str_empty(vm->server) ? repository_route(x->c, r, NULL) : vm->server;
    return job_call(x, server, API_AGENT_OP_GUEST_FORGET,
                    json_pack("{s:s, s:s}", "vm", vm->id, "repository", vm->repository), e);
}

/* Its server was lost, and it with it: that is what was wanted. One that nobody has killed may go on. */
static int ended_with_server(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (vm && !failover_vm_dies(x->c, vm))
        return error_set(e, ERR_UNAVAILABLE,
                         "its server was lost meanwhile, and the virtual machine may run there still");
    core_set_vm_state(x->c, x->job->object.id, API_VM_STATE_STOPPED, "its server was lost");
    return STEP_DONE;
}

static const struct job_step_def stop_steps[] = {
    {"stop", 1, false, guest_stop, vm_take_report, NULL, NULL, false, 0, ended_with_server}};
const struct job_kind job_vm_stop = {
    .name = "vm.stop", .steps = stop_steps, .n_steps = 1, .check = stop_check, .ended = vm_ended};

static const struct job_step_def kill_steps[] = {
    {"kill", 1, true, vm_step_kill, vm_take_report, NULL, NULL, false, 0, ended_with_server}};
const struct job_kind job_vm_kill = {
    .name = "vm.kill", .steps = kill_steps, .n_steps = 1, .check = kill_check, .ended = vm_ended};

static const struct job_step_def restart_steps[] = {
    {"stop", 1, false, guest_stop, vm_take_report, NULL, NULL, false},
    {"start", 1, false, vm_step_start, vm_take_report, vm_step_kill, vm_take_report, false},
};
const struct job_kind job_vm_restart = {
    .name = "vm.restart", .steps = restart_steps, .n_steps = 2, .check = running_check, .ended = vm_ended};

static const struct job_step_def suspend_steps[] = {
    {"suspend", 1, false, guest_suspend, vm_take_report, guest_resume, vm_take_report, true}};
const struct job_kind job_vm_suspend = {
    .name = "vm.suspend", .steps = suspend_steps, .n_steps = 1, .check = running_check, .ended = vm_ended};

static const struct job_step_def resume_steps[] = {
    {"resume", 1, false, guest_resume, vm_take_report, guest_suspend, vm_take_report, true}};
const struct job_kind job_vm_resume = {
    .name = "vm.resume", .steps = resume_steps, .n_steps = 1, .check = suspended_check, .ended = vm_ended};

/* ---- what was changed while it runs ---- */

static void set_untold(struct core *c, const char *id, bool untold) {
    const struct api_vm *old = CORE_GET(c, vm, VM, id);
    if (!old || old->untold == untold)
        return;
    struct api_vm *vm = CORE_COPY(vm, VM, old);
    vm->untold = untold;
    core_put(c, API_KIND_VM, vm);
}

/* Its server has it, and runs it or will by itself. A start tells all. */
static bool is_servers(const struct api_vm *vm) {
    return !str_empty(vm->server) && vm->state != API_VM_STATE_CREATING && vm->state != API_VM_STATE_DELETING &&
           (!vm_is_off(vm) || vm->restarting);
}

/* By another job than that one, which ends. */
static bool is_being_told(const struct core *c, const char *id, const char *ends) {
    const struct job_run *run;
    list_for_each(run, &c->jobs, link) {
        const struct api_job *j = CORE_GET(c, job, JOB, run->id);
        if (j && str_eq(j->kind, job_vm_policy.name) && str_eq(j->object.id, id) && !str_eq(j->id, ends))
            return true;
    }
    return false;
}

static bool can_be_told(const struct core *c, const struct api_vm *vm) {
    return core_agent_ready(c, vm->server) && !server_is_gone(c, vm->server);
}

/* A job of its own. A server that cannot be told now is told when it is there again: nobody is to wait for that. */
void vm_tell(struct core *c, const char *id, const char *actor, bool policy, bool limits) {
    _cleanup_error_ struct error ignored = ERROR_INIT;
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    if (!vm || !is_servers(vm))
        return;
    bool all = vm->untold || is_being_told(c, id, ""); /* which may fail */
    set_untold(c, id, true);
    vm = CORE_GET(c, vm, VM, id);
    if (!can_be_told(c, vm))
        return;
    struct job_request q = {.kind = &job_vm_policy,
                            .actor = actor,
                            .object_kind = API_KIND_VM,
                            .object_id = vm->id,
                            .object_name = vm->name,
                            .title = xasprintf("Tell the server the changes of %s", vm->name)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_VM, vm->id, vm->name, false);
    if (policy || all)
        job_add_step(j, q.kind, "tell", 0);
    if (limits || all)
        job_add_step(j, q.kind, "limits", 0);
    job_submit(c, &q, j, &ignored);
}

static void tell_again(struct core *c, const char *id, const char *ends) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    if (vm && vm->untold && vm->state != API_VM_STATE_UNKNOWN && can_be_told(c, vm) && !is_being_told(c, id, ends) &&
        !core_agent(c, vm->server)->tell_at) /* it could not take it just now */
        vm_tell(c, id, "tarn", true, true);
}

void vm_tell_again(struct core *c, const char *id) { tell_again(c, id, ""); }

void vms_tell_again(struct core *c, const char *server) {
    size_t n;
    _cleanup_free_ struct object **vms = server_vms(c, server, &n);
    for (size_t i = 0; i < n; i++)
        vm_tell_again(c, vms[i]->id);
}

/* It is told what is so now; what is changed from here on it is told anew. A guest that is not to be watched
   any more is not from the moment at which that may be carried out, whether its answer ever comes or not. */
static int can_tell(struct job_ctx *x, struct error *e) {
    const struct api_vm *old = vm_of(x);
    if (!old || str_empty(old->server))
        return 0;
    const struct api_server *s = CORE_GET(x->c, server, SERVER, old->server);
    if (!can_be_told(x->c, old))
        return error_set(e, ERR_UNAVAILABLE, "server \"%s\" is not connected: it is told when it is there again",
                         s ? s->name : "");
    struct api_vm *vm = CORE_COPY(vm, VM, old);
    vm->untold &= x->job->current > 0; /* what came after the first of its steps may be about what that has told */
    vm->watched &= vm->has_ha && vm->ha.enabled;
    core_put(x->c, API_KIND_VM, vm);
    return 1;
}

static int guest_policy(struct job_ctx *x, struct error *e) {
    int r = can_tell(x, e);
    if (r <= 0)
        return r < 0 ? r : STEP_DONE;
    const struct api_vm *vm = vm_of(x);
    return job_call(x, vm->server, API_AGENT_OP_GUEST_POLICY,
                    json_pack("{s:s, s:s, s:s, s:b}", "vm", vm->id, "name", vm->name, "restart_policy",
                              api_restart_policy_text(vm->restart_policy), "ha", vm->has_ha && vm->ha.enabled),
                    e);
}
static int guest_limits(struct job_ctx *x, struct error *e) {
    int r = can_tell(x, e);
    if (r <= 0)
        return r < 0 ? r : STEP_DONE;
    const struct api_vm *vm = vm_of(x);
    struct api_guest_limits told = {.vm = vm->id, .has_limits = true, .limits = vm->limits};
    if (!vm->has_limits)
        api_vm_limits_init(&told.limits);
    json_t *args = api_guest_limits_print(&told, API_PUBLIC);
    if (!vm->has_limits)
        api_vm_limits_done(&told.limits);
    return job_call(x, vm->server, API_AGENT_OP_GUEST_LIMITS, args, e);
}

static const struct job_step_def policy_steps[] = {{"tell", 1, false, guest_policy, NULL, NULL, NULL, false},
                                                   {"limits", 1, false, guest_limits, NULL, NULL, NULL, false}};
/* It may not have been done: that is tried again after a while, or with its server's next report. */
static void policy_ended(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    if (vm && x->job->state != API_JOB_STATE_DONE && is_servers(vm)) {
        set_untold(x->c, vm->id, true);
        agent_tell_later(x->c, vm->server);
    } else if (vm && !str_empty(vm->server)) {
        core_agent(x->c, vm->server)->tell_wait = 0;
    }
    vm_ended(x);
}

const struct job_kind job_vm_policy = {
    .name = "vm.policy", .steps = policy_steps, .n_steps = ARRAY_LEN(policy_steps), .ended = policy_ended};

void vms_let_go(struct job_ctx *x) {
    for (size_t i = 0; i < x->job->n_locks; i++) {
        const struct api_object_ref *lock = &x->job->locks[i];
        if (!str_eq(lock->kind, "vm"))
            continue;
        failover_vm_free(x, lock->id);
        agent_vm_free(x->c, lock->id);
        failover_vm_skipped(x, lock->id);
        if (x->job->state == API_JOB_STATE_DONE || !str_eq(x->job->kind, job_vm_policy.name))
            tell_again(x->c, lock->id, x->job->id);
    }
}

/* ---- create ---- */

static int create_disk(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    const struct api_disk *d = CORE_GET(x->c, disk, DISK, vm->disks[x->param].disk);
    json_t *args =
        json_pack("{s:s, s:s, s:I}", "repository", d->repository, "disk", d->id, "size", (json_int_t)d->size);
    const json_t *clone = json_object_get(json_object_get(x->job->args, "clones"), d->id);
    if (clone) {
        json_set_str(args, "template", vm->template);
        json_set_int(args, "template_disk", json_int(clone, "index", 0));
        json_set_str(args, "clone", json_str(clone, "mode"));
    }
    job_image_args(args, json_object_get(json_object_get(x->job->args, "images"), d->id));
    const struct api_repository *r = CORE_GET(x->c, repository, REPOSITORY, d->repository);
    return job_call(x, repository_route(x->c, r, vm->server), API_AGENT_OP_DISK_CREATE, args, e);
}

static const char *image_upload(const struct job_ctx *x) {
    const json_t *images = json_object_get(x->job->args, "images");
    return json_str(json_object_get(images, vm_of(x)->disks[x->param].disk), "upload");
}
static int create_tidy(struct job_ctx *x, struct error *e) { return job_upload_delete_call(x, image_upload(x), e); }
static int create_tidied(struct job_ctx *x, struct error *e) {
    core_remove(x->c, API_KIND_UPLOAD, image_upload(x));
    return STEP_DONE;
}

static int created_disk(struct job_ctx *x, const json_t *result, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    struct api_disk *d = CORE_COPY(disk, DISK, CORE_GET(x->c, disk, DISK, vm->disks[x->param].disk));
    d->state = API_OBJECT_STATE_READY;
    d->size = json_int(result, "size", d->size);
    d->allocated = json_int(result, "allocated", 0);
    job_changed(x, API_KIND_DISK, d->id, d->name, "created", NULL);
    core_put(x->c, API_KIND_DISK, d);
    return 0;
}

static int delete_disk(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    const struct api_disk *d =
        vm && (size_t)x->param < vm->n_disks ? CORE_GET(x->c, disk, DISK, vm->disks[x->param].disk) : NULL;
    const struct api_repository *r = d ? CORE_GET(x->c, repository, REPOSITORY, d->repository) : NULL;
    if (!r)
        return STEP_DONE;
    return job_call(x, repository_route(x->c, r, vm->server), API_AGENT_OP_DISK_DELETE,
                    json_pack("{s:s, s:s}", "repository", r->id, "disk", d->id), e);
}

static int create_finish(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    job_changed(x, API_KIND_VM, vm->id, vm->name, "created", NULL);
    core_set_vm_state(x->c, vm->id, API_VM_STATE_STOPPED, "");
    return STEP_DONE;
}
static int create_unfinish(struct job_ctx *x, struct error *e) {
    core_set_vm_state(x->c, x->job->object.id, API_VM_STATE_CREATING, "");
    return STEP_DONE;
}
static int nothing(struct job_ctx *x, struct error *e) { return STEP_DONE; }

static int create_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    const struct api_template *t = CORE_GET(x->c, template, TEMPLATE, vm->template);
    if (!str_empty(vm->template) && (!t || t->state != API_OBJECT_STATE_READY))
        return error_set_field(e, ERR_CONFLICT, "template", "the template is not ready");
    const char *disk;
    json_t *image;
    json_object_foreach(json_object_get(x->job->args, "images"), disk, image) {
        int r = job_check_image(x->c, image, e);
        if (r < 0)
            return r;
    }
    const struct api_repository *rep = CORE_GET(x->c, repository, REPOSITORY, vm->repository);
    return rep ? core_need_repository(x->c, rep, e) : 0;
}

/* Its disks are made: where it was to run may not be able to take it any more. */
static int create_place(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    struct placement p;
    place(x->c, vm, &(struct place_options){.only = json_str(x->job->args, "server"), .fresh = true}, &p);
    const struct api_server *to = placement_keeps(&p, vm->server);
    placement_keep(&p, to, x->job);
    int r = to ? 0 : placement_error(&p, vm, e);
    if (to && !str_eq(to->id, vm->server)) {
        struct api_vm *put = CORE_COPY(vm, VM, vm);
        str_set(&put->server, to->id);
        core_put(x->c, API_KIND_VM, put);
    }
    placement_done(&p);
    return r;
}

static void create_ended(struct job_ctx *x) {
    const struct api_vm *vm = vm_of(x);
    if (x->job->state == API_JOB_STATE_DONE || !vm) {
        vm_ended(x);
        return;
    }
    const json_t *made = json_object_get(x->job->args, "made");
    const char *disk;
    json_t *v;
    json_object_foreach((json_t *)made, disk, v) core_remove(x->c, API_KIND_DISK, disk);
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(x->c, disk, DISK, vm->disks[i].disk);
        if (!d)
            continue;
        struct api_disk *put = CORE_COPY(disk, DISK, d); /* one that was there before is free again */
        str_set(&put->vm, "");
        core_put(x->c, API_KIND_DISK, put);
    }
    vm_remove(x->c, vm->id);
}

static const struct job_step_def create_steps[] = {
    {"create disk", 5, false, create_disk, created_disk, delete_disk, NULL, false, ANYWHERE_UNDO},
    {"finish", 1, false, create_finish, NULL, create_unfinish, NULL, false},
    {"place", 1, false, create_place, NULL, NULL, NULL, false},
    {"prepare start", 1, false, nothing, NULL, guest_forget, NULL, false},
    {"start", 2, false, vm_step_start, vm_take_report, vm_step_kill, vm_take_report, false},
    {"tidy", 1, true, create_tidy, NULL, NULL, NULL, false},
    {"forget upload", 1, true, create_tidied, NULL, NULL, NULL, false},
};
const struct job_kind job_vm_create = {.name = "vm.create",
                                       .steps = create_steps,
                                       .n_steps = ARRAY_LEN(create_steps),
                                       .check = create_check,
                                       .ended = create_ended};

/* ---- delete ---- */

static int delete_check(struct job_ctx *x, struct error *e) {
    int r = check_exists(x, e);
    if (r < 0)
        return r;
    const struct api_vm *vm = vm_of(x);
    /* Whoever takes back its creation does not want it to run. */
    bool runs = vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED;
    if (runs && !str_empty(x->job->undoes))
        return core_need_agent(x->c, vm->server, e);
    if (!vm_is_off(vm))
        return vm_wrong_state(vm, "; stop it first", e);
    return 0;
}
static int delete_mark(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (vm_counts(vm) && !vm->reserved) { /* until its guest has ended, its room is taken */
        struct api_vm *put = CORE_COPY(vm, VM, vm);
        put->reserved = true;
        core_put(x->c, API_KIND_VM, put);
    }
    vm_job_state(x, API_VM_STATE_DELETING);
    recover_call_off(x->c, x->job->object.id, "it is deleted");
    return STEP_DONE;
}
/* Its restart policy may be about to start it again, or have done so before the deletion reached its server. */
static int delete_stop(struct job_ctx *x, struct error *e) { return guest_call(x, API_AGENT_OP_GUEST_KILL, e); }

static int delete_finish(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    if (!vm)
        return STEP_DONE;
    for (size_t i = 0; i < vm->n_disks; i++) {
        const struct api_disk *d = CORE_GET(x->c, disk, DISK, vm->disks[i].disk);
        if (!d)
            continue;
        if (d->made_with_vm) {
            core_remove(x->c, API_KIND_DISK, d->id);
            continue;
        }
        struct api_disk *put = CORE_COPY(disk, DISK, d);
        str_set(&put->vm, "");
        core_put(x->c, API_KIND_DISK, put);
    }
    job_changed(x, API_KIND_VM, vm->id, vm->name, "deleted", NULL);
    vm_remove(x->c, vm->id);
    return STEP_DONE;
}

static const struct job_step_def delete_steps[] = {
    {"mark", 1, true, delete_mark, NULL, NULL, NULL, false},
    {"stop guest", 1, true, delete_stop, NULL, NULL, NULL, false},
    {"forget guest", 1, true, guest_forget, NULL, NULL, NULL, false},
    {"delete disk", 1, true, delete_disk, NULL, NULL, NULL, false, ANYWHERE_DO},
    {"remove", 1, true, delete_finish, NULL, NULL, NULL, false},
};
const struct job_kind job_vm_delete = {.name = "vm.delete",
                                       .steps = delete_steps,
                                       .n_steps = ARRAY_LEN(delete_steps),
                                       .check = delete_check,
                                       .ended = vm_ended};
