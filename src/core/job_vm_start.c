/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a virtual machine, here or elsewhere. Where is decided when the job's turn has come:
 *
 *     place    manager       the server is chosen, and what it takes counts there from now on
 *     leave    old server    forgets it, so that nothing starts it there again: only where it moves
 *     start    new server
 *
 * A server that does not answer cannot be asked to forget. Where its agent will not start the virtual machine by
 * itself, it may start elsewhere all the same; the old server is told to forget it when it is back (failover.c).
 */
#include "core/core_int.h"

static const struct api_vm *vm_of(const struct job_ctx *x) { return CORE_GET(x->c, vm, VM, x->job->object.id); }

/* A connection may look well for a while after the other end has gone. */
static bool answers(struct core *c, const char *server) {
    return core_agent_is_connected(c, server) && !core_agent(c, server)->mute;
}

static int check_state(struct core *c, const struct api_vm *vm, struct error *e) {
    if (!vm)
        return error_set(e, ERR_NOT_FOUND, "the virtual machine is gone");
    const struct api_server *s = CORE_GET(c, server, SERVER, vm->server);
    if (vm->state == API_VM_STATE_UNKNOWN && s && !answers(c, s->id))
        return error_set(e, ERR_UNAVAILABLE,
                         "server \"%s\", on which it may still run, %s: check that tarn-agent runs there and reaches "
                         "the manager. If that server is gone for good: switch it off first, then tarn server delete "
                         "%s --force",
                         s->name, core_agent_is_connected(c, s->id) ? "does not answer" : "is not connected", s->name);
    if (vm->state == API_VM_STATE_UNKNOWN)
        return core_need_agent(c, vm->server, e);
    if (vm->state == API_VM_STATE_RUNNING)
        return vm_wrong_state(vm, " already", e);
    if (vm->state == API_VM_STATE_SUSPENDED)
        return vm_wrong_state(vm, "; resume it instead", e);
    if (!vm_is_off(vm))
        return vm_wrong_state(vm, "", e);
    if (!s || !vm->restarting || answers(c, s->id))
        return 0;
    return error_set(e, ERR_UNAVAILABLE,
                     "server \"%s\", which is about to restart it, does not answer: check that tarn-agent runs there "
                     "and reaches the manager",
                     s->name);
}

static int choose(struct job_ctx *x, const struct api_vm *vm, struct error *e) {
    struct placement p;
    place(x->c, vm, NULL, &p);
    placement_keep(&p, p.best, x->job);
    int r = p.best ? 0 : placement_error(&p, vm, e);
    if (p.best)
        json_set_str(x->job->vars, "to", p.best->id);
    placement_done(&p);
    return r;
}

static int start_check(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    int r = check_state(x->c, vm, e);
    if (r == 0)
        r = vm_disks_ready(x->c, vm, e);
    if (r == 0)
        r = choose(x, vm, e);
    if (r < 0)
        return r;
    const char *to = json_str(x->job->vars, "to");
    job_add_step(x->job, &job_vm_start, "place", 0);
    if (!str_eq(vm->server, to) && answers(x->c, vm->server))
        job_add_step(x->job, &job_vm_start, "leave", 0);
    job_add_step(x->job, &job_vm_start, "start", 0);
    return 0;
}

static bool will_leave(const struct job_ctx *x) {
    for (size_t i = 0; i < x->job->n_steps; i++)
        if (str_eq(x->job->steps[i].name, "leave"))
            return true;
    return false;
}

static int start_place(struct job_ctx *x, struct error *e) {
    const char *to = json_str(x->job->vars, "to");
    bool restarting = vm_of(x)->restarting;
    json_object_set_new(x->job->vars, "may_run", json_boolean(!vm_is_off(vm_of(x)) || (restarting && !will_leave(x))));
    vm_job_state(x, API_VM_STATE_STARTING);
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    bool same = str_eq(vm->server, to);
    if (will_leave(x))
        str_set(&vm->target, to);
    else
        str_set(&vm->server, to);
    /* By its agent, until that has forgotten it; and should that be lost before it answers, as if nobody had asked. */
    vm->restarting = restarting && (same || will_leave(x));
    core_put(x->c, API_KIND_VM, vm);
    return STEP_DONE;
}

static int start_unplace(struct job_ctx *x, struct error *e) {
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    str_set(&vm->target, "");
    core_put(x->c, API_KIND_VM, vm);
    return STEP_DONE;
}

static int start_leave(struct job_ctx *x, struct error *e) {
    const struct api_vm *vm = vm_of(x);
    return job_call(x, vm->server, API_AGENT_OP_GUEST_FORGET, json_pack("{s:s, s:s}", "vm", vm->id, "repository", ""),
                    e);
}

static int start_left(struct job_ctx *x, const json_t *result, struct error *e) {
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(x));
    const struct api_server *from = CORE_GET(x->c, server, SERVER, vm->server),
                            *to = CORE_GET(x->c, server, SERVER, vm->target);
    _cleanup_free_ char *detail = xasprintf("server %s -> %s", from ? from->name : "?", to ? to->name : "?");
    job_changed(x, API_KIND_VM, vm->id, vm->name, "changed", detail);
    str_take(&vm->server, vm->target);
    vm->target = xstrdup("");
    vm->restarting = false;
    core_drop_held_report(x->c, vm->id, INT64_MAX); /* of the server that has forgotten it */
    core_put(x->c, API_KIND_VM, vm);
    return 0;
}

static const struct job_step_def start_steps[] = {
    {"place", 1, false, start_place, NULL, start_unplace, NULL, false},
    {"leave", 1, false, start_leave, start_left, NULL, NULL, false},
    {"start", 2, false, vm_step_start, vm_take_report, vm_step_kill, vm_take_report, false},
};
const struct job_kind job_vm_start = {.name = "vm.start",
                                      .steps = start_steps,
                                      .n_steps = ARRAY_LEN(start_steps),
                                      .check = start_check,
                                      .ended = vm_ended};

void vm_unreserve(struct core *c, const char *vm) {
    const struct api_vm *old = CORE_GET(c, vm, VM, vm);
    if (!old || !old->reserved)
        return;
    struct api_vm *v = CORE_COPY(vm, VM, old);
    v->reserved = false;
    core_put(c, API_KIND_VM, v);
}
