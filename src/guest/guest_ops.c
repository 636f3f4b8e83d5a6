/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ops, the results of calls, events and time do to a guest.
 *
 * However a guest ends, guest.kill is called last: it ends a process that was kept only to tell how it ended, and frees
 * what it held. Where an op waits for the end (guest.stop, guest.kill), the new state and the op's answer are one
 * commit, made when that call is done; where the guest ends by itself, its state is recorded first and told at once.
 */
#include "guest/internal.h"

#define ASK_AGAIN_MS   10000
#define CLEAN_AGAIN_MS 1000
#define RESET_TELL_MS  1000

static struct call *call_guest(struct host *h, struct guest *g, enum call_purpose purpose, int op, bool held) {
    struct call *c = host_call(h, purpose, op, host_guest_args(g), held);
    c->guest = g;
    g->n_calls++;
    return c;
}

void host_guest_call_op(struct host *h, struct guest *g, struct op *op) {
    op->call = host_call(h, CALL_OP, op->kind, json_incref(op->args), true);
    op->call->op = op;
    op->call->guest = g;
    g->n_calls++;
}

void host_guest_finish(struct host *h, struct guest *g, struct op *op) { op_finish(h, op, NULL, host_guest_report(g)); }

void host_guest_fail(struct host *h, struct op *op, enum error_code code, const char *message) {
    struct error e = {.code = code, .message = (char *)message};
    op_finish(h, op, &e, NULL);
}

/* An end that came while a call was under way which must end first; the worst is kept. */
static void keep_early(struct guest *g, enum guest_event event, const char *reason) {
    if (g->early >= GUEST_POWEROFF && event < GUEST_POWEROFF)
        return;
    g->early = event;
    str_set(&g->early_reason, reason);
}

/* Found ended after our start: a kill that cleans up may fail, and it does not end once more. */
static void keep_found_end(struct guest *g) {
    keep_early(g, g->end_state == API_VM_STATE_STOPPED ? GUEST_POWEROFF : GUEST_DIED, g->end_reason);
}

void host_guest_apply_early(struct host *h, struct guest *g) {
    if (g->early < 0)
        return;
    enum guest_event event = (enum guest_event)g->early;
    _cleanup_free_ char *reason = TAKE_PTR(g->early_reason);
    g->early = -1;
    host_guest_happens(h, g, event, str_or(reason, ""));
}

/* The calls that kept it back may have been dropped. */
void host_guest_apply_all_early(struct host *h) {
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value))
        host_guest_apply_early(h, value);
}

/* ---- guest.kill, which ends everything ---- */

static void kill_now(struct host *h, struct guest *g, enum api_vm_state end_state, const char *end_reason, bool held) {
    g->end_state = end_state;
    str_set(&g->end_reason, end_reason);
    if (g->killing)
        return;
    g->killing = true;
    call_guest(h, g, CALL_KILL, API_AGENT_OP_GUEST_KILL, held);
}

static void kill_failed(struct host *h, struct guest *g, const struct error *error) {
    bool waits = g->active && g->kill; /* a stop that a kill has passed */
    bool ended = g->r.state == API_VM_STATE_STOPPING && g->r.move == MOVE_NONE && !waits && g->early >= GUEST_POWEROFF;
    _cleanup_free_ char *reason = TAKE_PTR(g->end_reason);
    if (g->r.state == API_VM_STATE_STOPPING && g->r.move != MOVE_NONE) {
        host_guest_set_state(h, g, API_VM_STATE_MIGRATING, "it could not be killed");
    } else if (ended) {
        g->early = -1;
        host_guest_set_state(h, g, g->end_state, str_or(reason, ""));
    } else if (g->r.state == API_VM_STATE_STOPPING && !waits) {
        g->r.should_run = true;
        host_guest_set_state(h, g, API_VM_STATE_RUNNING, "it could not be killed");
    }
    if (g->kill)
        op_finish(h, g->kill, error, NULL);
    else if (g->active)
        op_finish(h, g->active, error, NULL);
    if (!g->active)
        g->stop_at = g->ask_at = NEVER; /* else the kill had passed a stop, which goes on waiting */
    host_guest_apply_early(h, g);
    if (ended)
        host_guest_clean(h, g);
}

static void kill_done(struct host *h, struct guest *g, const struct error *error) {
    g->killing = false;
    if (error) {
        kill_failed(h, g, error);
        return;
    }
    g->early = -1;
    g->stop_at = g->ask_at = NEVER;
    g->r.move = MOVE_NONE;
    _cleanup_free_ char *reason = TAKE_PTR(g->end_reason);
    if (g->r.kept && (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED))
        host_guest_ended(h, g, g->end_state, str_or(reason, "")); /* the op that ended it could not be kept */
    else if (g->r.kept && g->r.state != g->end_state && g->r.state != API_VM_STATE_STOPPED)
        host_guest_set_state(h, g, g->end_state, str_or(reason, ""));
    struct op *kill = g->kill;
    if (g->active)
        host_guest_finish(h, g, g->active);
    if (kill && g->kill == kill)
        host_guest_finish(h, g, kill);
}

void host_guest_clean(struct host *h, struct guest *g) {
    g->cleaning = true;
    g->clean_at = NEVER;
    call_guest(h, g, CALL_CLEAN, API_AGENT_OP_GUEST_KILL, true);
}

/* ---- ops ---- */

static const char being_moved[] = "the virtual machine is being moved to another server";

void host_guest_keep_start(struct guest *g, const json_t *args) {
    struct api_guest_start start;
    if (api_guest_start_parse(args, API_PEER, &start, NULL) < 0)
        abort(); /* it has been checked */
    g->r.kept = true;
    g->before = false;
    str_take(&g->r.start, json_text(args));
    str_set(&g->r.name, start.vm.name);
    g->r.guarded = start.guarded;
    g->r.incarnation = start.incarnation;
    g->r.lost = false;
    g->r.policy = start.vm.restart_policy;
    api_guest_start_done(&start);
}

static void run_start(struct host *h, struct guest *g, struct op *op) {
    if (g->r.state == API_VM_STATE_RUNNING) {
        host_guest_finish(h, g, op);
        return;
    }
    if (g->r.state == API_VM_STATE_SUSPENDED) {
        host_guest_fail(h, op, ERR_CONFLICT, "the virtual machine is suspended: resume it");
        return;
    }
    if (g->r.move != MOVE_NONE) {
        host_guest_fail(h, op, ERR_CONFLICT, being_moved);
        return;
    }
    if (g->r.state == API_VM_STATE_STOPPING) {
        host_guest_fail(h, op, ERR_CONFLICT, "the virtual machine is being stopped: start it when it has ended");
        return;
    }
    host_cluster_stamp_late(h, g, op, op->args);
    bool old = op->resumed && host_cluster_doubts(h, g);
    if (old || !host_cluster_allows(h, json_bool(op->args, "guarded", false), json_int(op->args, "incarnation", 0))) {
        const char *why =
            old ? "the agent ended while it started the virtual machine, and another server may have it by now"
                : "this server has lost its pool: highly available virtual machines start only where more than half "
                  "of the pool's servers see each other";
        bool begun = g->r.state == API_VM_STATE_STARTING; /* before our own start, and it does not run */
        if (begun) {
            g->r.should_run = false;
            host_guest_set_state(h, g, API_VM_STATE_STOPPED, why);
        }
        host_guest_fail(h, op, ERR_UNAVAILABLE, why);
        if (begun)
            host_guest_clean(h, g);
        return;
    }
    host_guest_keep_start(g, op->args);
    g->r.should_run = true;
    host_guest_restart_forget(g);
    if (g->r.state != API_VM_STATE_STARTING)
        host_guest_set_state(h, g, API_VM_STATE_STARTING, "");
    g->starting = true;
    host_guest_call_op(h, g, op);
}

static void start_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                       const json_t *result) {
    g->starting = false;
    if (!error) {
        g->before = false;
        str_set(&g->r.hypervisor, json_str(result, "hypervisor"));
        host_guest_set_state(h, g, API_VM_STATE_RUNNING, op ? "" : "restarted by its restart policy");
        if (op)
            host_guest_finish(h, g, op);
        host_guest_apply_early(h, g);
        return;
    }
    g->early = -1;
    const char *why = str_or(error->message, error_code_text(error->code));
    if (op) {
        g->r.should_run = false;
        host_guest_set_state(h, g, API_VM_STATE_STOPPED, why);
        op_finish(h, op, error, NULL);
    } else {
        host_guest_ended(h, g, API_VM_STATE_CRASHED, why);
    }
    host_guest_clean(h, g); /* what an earlier try has started may be there */
}

static void ask(struct host *h, struct guest *g, bool held) {
    g->ask_at = h->mono + ASK_AGAIN_MS;
    if (!g->asking)
        call_guest(h, g, CALL_ASK, HOST_CALL_GUEST_SHUTDOWN, held);
    g->asking = true;
}

static void set_stopped(struct host *h, struct guest *g) {
    g->r.should_run = false;
    g->restart_at = NEVER;
    if (g->r.state == API_VM_STATE_CRASHED)
        host_guest_set_state(h, g, API_VM_STATE_STOPPED, "");
    else if (g->r.kept)
        host_dirty(h, "guest", g->vm);
}

static void run_stop(struct host *h, struct guest *g, struct op *op) {
    bool force = json_bool(op->args, "force", false);
    if (g->r.move != MOVE_NONE) {
        host_guest_fail(h, op, ERR_CONFLICT, being_moved);
        return;
    }
    switch (g->r.state) {
    case API_VM_STATE_STOPPED:
    case API_VM_STATE_CRASHED:
        set_stopped(h, g);
        host_guest_finish(h, g, op);
        return;
    case API_VM_STATE_SUSPENDED:
        if (!force) {
            host_guest_fail(h, op, ERR_CONFLICT,
                            "the virtual machine is suspended and cannot shut down: resume or kill it");
            return;
        }
        g->r.should_run = false;
        host_guest_set_state(h, g, API_VM_STATE_STOPPING, "it is killed");
        kill_now(h, g, API_VM_STATE_STOPPED, "killed", true);
        return;
    case API_VM_STATE_STOPPING:
        if (g->end_reason) {
            keep_found_end(g);
            kill_now(h, g, g->end_state, g->end_reason, true);
            return;
        }
        break;
    default:
        g->r.should_run = false;
        host_guest_set_state(h, g, API_VM_STATE_STOPPING, "it was asked to shut down");
    }
    int64_t timeout = json_int(op->args, "timeout", 60);
    g->stop_at = h->mono + (timeout < 1 ? 1 : timeout > 86400 ? 86400 : timeout) * 1000;
    ask(h, g, true);
}

/* The guest is left running: the deadline has passed, or somebody has changed his mind. */
static void stop_give_up(struct host *h, struct guest *g, enum error_code code, const char *message,
                         const char *reason) {
    g->stop_at = g->ask_at = NEVER;
    g->r.should_run = true;
    host_guest_set_state(h, g, API_VM_STATE_RUNNING, reason);
    host_guest_fail(h, g->active, code, message);
}

void host_guest_stop_cancel(struct host *h, struct guest *g) {
    if (!g->killing && !g->kill && !g->resume && g->r.state == API_VM_STATE_STOPPING)
        stop_give_up(h, g, ERR_CANCELLED, "cancelled on request; the guest may still shut down", "");
}

static void stop_deadline(struct host *h, struct guest *g) {
    struct op *op = g->active;
    if (json_bool(op->args, "force", false)) {
        kill_now(h, g, API_VM_STATE_STOPPED, "killed: it had not shut down in time", false);
        return;
    }
    _cleanup_free_ char *message =
        xasprintf("the guest did not shut down within %lld s and is left running: does it react to the power button? "
                  "Stop it with force, or kill it",
                  (long long)json_int(op->args, "timeout", 60));
    stop_give_up(h, g, ERR_TIMEOUT, message, "it did not shut down in time");
}

static void run_kill(struct host *h, struct guest *g, struct op *op) {
    if (g->r.kept && g->r.state == API_VM_STATE_STOPPED) {
        set_stopped(h, g);
        host_guest_finish(h, g, op);
        return;
    }
    g->r.should_run = false;
    g->restart_at = NEVER;
    if (g->r.state == API_VM_STATE_STOPPING && g->end_reason && !g->killing)
        keep_found_end(g);
    if (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_STARTING ||
        g->r.state == API_VM_STATE_SUSPENDED || g->r.state == API_VM_STATE_MIGRATING)
        host_guest_set_state(h, g, API_VM_STATE_STOPPING, "it is killed");
    else if (g->r.kept)
        host_dirty(h, "guest", g->vm);
    kill_now(h, g, API_VM_STATE_STOPPED, g->r.kept && g->r.state == API_VM_STATE_STOPPING ? "killed" : "", true);
}

static void run_pause(struct host *h, struct guest *g, struct op *op) {
    bool suspend = op->kind == API_AGENT_OP_GUEST_SUSPEND;
    enum api_vm_state to = suspend ? API_VM_STATE_SUSPENDED : API_VM_STATE_RUNNING;
    enum api_vm_state from = suspend ? API_VM_STATE_RUNNING : API_VM_STATE_SUSPENDED;
    if (g->r.state == to)
        host_guest_finish(h, g, op);
    else if (g->r.state == from)
        host_guest_call_op(h, g, op);
    else
        host_guest_fail(h, op, ERR_CONFLICT,
                        suspend ? "the virtual machine does not run" : "the virtual machine is not suspended");
}

static void pause_done(struct host *h, struct guest *g, struct op *op, const struct error *error) {
    bool suspend = op->kind == API_AGENT_OP_GUEST_SUSPEND;
    enum api_vm_state to = suspend ? API_VM_STATE_SUSPENDED : API_VM_STATE_RUNNING;
    enum api_vm_state from = suspend ? API_VM_STATE_RUNNING : API_VM_STATE_SUSPENDED;
    if (error) {
        op_finish(h, op, error, NULL);
    } else if (g->r.state != from && g->r.state != to) {
        host_guest_fail(h, op, ERR_GUEST, "the guest has ended meanwhile");
    } else {
        if (g->r.state == from)
            host_guest_set_state(h, g, to, "");
        host_guest_finish(h, g, op);
    }
}

static void run_forget(struct host *h, struct guest *g, struct op *op) {
    if (!guest_is_off(g)) {
        host_guest_fail(h, op, ERR_CONFLICT, "the virtual machine runs: stop or kill it first");
        return;
    }
    g->r.should_run = false;
    g->restart_at = NEVER;
    if (g->r.kept)
        host_dirty(h, "guest", g->vm);
    host_guest_call_op(h, g, op);
}

static void forget_done(struct host *h, struct guest *g, struct op *op, const struct error *error) {
    if (!error) {
        g->r.kept = false;
        host_dirty(h, "guest", g->vm);
    }
    op_finish(h, op, error, NULL);
}

/* Whether tarn-deadman has to be told that it is to watch the guest from now on, or no longer. Also where it should
   know: our record is from before it was told. */
static bool policy_guards(struct host *h, struct guest *g, struct op *op) {
    const json_t *ha = json_object_get(op->args, "ha");
    bool guarded = json_is_true(ha) && host_cluster_guards(h);
    if (!json_is_boolean(ha))
        return false;
    op->was_guarded = g->r.guarded;
    if (guarded != g->r.guarded)
        g->r.incarnation = h->cluster.incarnation;
    g->r.guarded = guarded;
    return host_cluster_guards(h) && !guest_is_off(g);
}

/* tarn-deadman would kill it at once. With the next lease the manager says it again. */
static bool would_be_killed(const struct host *h, const struct guest *g, const struct op *op) {
    return json_bool(op->args, "ha", false) && !g->r.guarded && !guest_is_off(g) && host_cluster_guards(h) &&
           !host_cluster_allows(h, true, h->cluster.incarnation);
}

static void run_policy(struct host *h, struct guest *g, struct op *op) {
    const char *policy = json_str(op->args, "restart_policy"), *name = json_str(op->args, "name");
    if (would_be_killed(h, g, op)) {
        host_guest_fail(h, op, ERR_UNAVAILABLE,
                        "the server has lost its pool: the virtual machine goes on, and is watched over from when the "
                        "server has found its pool again");
        return;
    }
    if (g->r.kept && g->r.start) {
        json_t *start = json_loads(g->r.start, 0, NULL), *vm = json_object_get(start, "vm");
        if (*policy) {
            api_restart_policy_from_text(policy, &g->r.policy);
            json_set_str(vm, "restart_policy", policy);
        }
        if (json_is_boolean(json_object_get(op->args, "ha")))
            json_object_set_new(vm, "ha", json_pack("{s:O}", "enabled", json_object_get(op->args, "ha")));
        if (*name) {
            str_set(&g->r.name, name);
            json_set_str(vm, "name", name);
        }
        str_take(&g->r.start, json_text(start));
        json_decref(start);
        bool waits = g->restart_at != NEVER;
        if (waits && (g->r.policy == API_RESTART_POLICY_NEVER ||
                      (g->r.policy == API_RESTART_POLICY_ON_FAILURE && g->r.state == API_VM_STATE_STOPPED))) {
            g->restart_at = NEVER;
            g->r.should_run = false;
        }
        host_dirty(h, "guest", g->vm);
        if (policy_guards(h, g, op)) {
            host_guest_call_op(h, g, op);
            return;
        }
        host_report_guest(h, g);
    }
    op_finish(h, op, NULL, NULL);
}

/* Its next start is to have them too. */
static void run_limits(struct host *h, struct guest *g, struct op *op) {
    const json_t *limits = json_object_get(op->args, "limits");
    if (g->r.kept && g->r.start && limits) {
        json_t *start = json_loads(g->r.start, 0, NULL);
        json_object_set_new(json_object_get(start, "vm"), "limits", json_deep_copy(limits));
        str_take(&g->r.start, json_text(start));
        json_decref(start);
        host_dirty(h, "guest", g->vm);
    }
    if (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED)
        host_guest_call_op(h, g, op);
    else
        op_finish(h, op, NULL, NULL);
}

static void policy_done(struct host *h, struct guest *g, struct op *op, const struct error *error) {
    if (error && g->r.guarded && !op->was_guarded) { /* one that was before still is, by the next tarn-deadman */
        g->r.guarded = false;
        host_dirty(h, "guest", g->vm);
    } else if (g->r.guarded && !g->r.incarnation) { /* the lease was not known yet when this began */
        g->r.incarnation = h->cluster.incarnation;
        host_dirty(h, "guest", g->vm);
    }
    host_report_guest(h, g);
    op_finish(h, op, error, NULL);
}

/* What the next start is to find in the drive. */
static void keep_cdrom(struct host *h, struct guest *g, const json_t *args) {
    if (!g->r.kept || !g->r.start)
        return;
    json_t *start = json_loads(g->r.start, 0, NULL);
    size_t index = (size_t)json_int(args, "index", 0);
    json_t *disk = json_array_get(json_object_get(start, "disks"), index);
    json_t *shown = json_array_get(json_object_get(json_object_get(start, "vm"), "disks"), index);
    if (disk && json_bool(disk, "cdrom", false)) {
        json_set_str(disk, "iso", json_str(args, "iso"));
        json_set_str(disk, "repository", json_str(args, "repository"));
        json_set_str(shown, "iso", json_str(args, "iso"));
        str_take(&g->r.start, json_text(start));
        host_dirty(h, "guest", g->vm);
    }
    json_decref(start);
}

static void run_cdrom(struct host *h, struct guest *g, struct op *op) {
    if (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED) {
        host_guest_call_op(h, g, op);
        return;
    }
    keep_cdrom(h, g, op->args);
    host_guest_finish(h, g, op);
}

/* A guest that has ended meanwhile has no drive any more: then it is the next start that counts. */
static void cdrom_done(struct host *h, struct guest *g, struct op *op, const struct error *error) {
    if (error && (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED) && g->early < 0) {
        op_finish(h, op, error, NULL);
        return;
    }
    keep_cdrom(h, g, op->args);
    host_guest_finish(h, g, op);
}

void host_guest_run(struct host *h, struct guest *g, struct op *op) {
    switch (op->kind) {
    case API_AGENT_OP_GUEST_START:
        run_start(h, g, op);
        return;
    case API_AGENT_OP_GUEST_STOP:
        run_stop(h, g, op);
        return;
    case API_AGENT_OP_GUEST_KILL:
        run_kill(h, g, op);
        return;
    case API_AGENT_OP_GUEST_SUSPEND:
    case API_AGENT_OP_GUEST_RESUME:
        run_pause(h, g, op);
        return;
    case API_AGENT_OP_GUEST_FORGET:
        run_forget(h, g, op);
        return;
    case API_AGENT_OP_GUEST_CDROM:
        run_cdrom(h, g, op);
        return;
    case API_AGENT_OP_GUEST_LIMITS:
        run_limits(h, g, op);
        return;
    case API_AGENT_OP_GUEST_POLICY:
        run_policy(h, g, op);
        return;
    default:
        host_move_run(h, g, op);
    }
}

/* ---- what is there after our start ---- */

void host_guest_find(struct host *h, struct guest *g) {
    g->finding = true;
    g->find_at = NEVER;
    call_guest(h, g, CALL_FIND, HOST_CALL_GUEST_FIND, false);
}

static void found_alive(struct host *h, struct guest *g, enum api_vm_state found, const char *reason) {
    g->before = false;
    bool start = g->active && g->active->kind == API_AGENT_OP_GUEST_START;
    switch (g->r.state) {
    case API_VM_STATE_STOPPED:
    case API_VM_STATE_CRASHED: /* our record is older than what runs: it is taken as it is */
        g->restart_at = NEVER;
        g->r.should_run = true;
        host_guest_set_state(h, g, API_VM_STATE_STARTING, "found running");
        break;
    case API_VM_STATE_STARTING:
        if (start)
            return; /* it is called again and finds it running */
        break;
    case API_VM_STATE_STOPPING:
        if (g->active || g->kill)
            return;
        g->r.should_run = true;
        break;
    default:
        break;
    }
    if (g->r.state == API_VM_STATE_STARTING || g->r.state == API_VM_STATE_STOPPING ||
        (g->r.state == API_VM_STATE_SUSPENDED && found == API_VM_STATE_RUNNING))
        host_guest_set_state(h, g, API_VM_STATE_RUNNING, "");
    if (g->r.state == API_VM_STATE_RUNNING && found == API_VM_STATE_SUSPENDED)
        host_guest_set_state(h, g, API_VM_STATE_SUSPENDED, reason);
}

static void found_ended(struct host *h, struct guest *g, enum api_vm_state found, const char *reason) {
    bool gone = found != API_VM_STATE_STOPPED && found != API_VM_STATE_CRASHED;
    enum api_vm_state end = gone ? API_VM_STATE_CRASHED : found;
    const char *why = str_or(reason, gone ? "its process is gone: it ended while tarn-agent did not run"
                                     : found == API_VM_STATE_STOPPED ? "the guest powered itself off"
                                                                     : "the guest panicked");
    bool start = g->active && g->active->kind == API_AGENT_OP_GUEST_START;
    switch (g->r.state) {
    case API_VM_STATE_STOPPED:
    case API_VM_STATE_CRASHED:
        if (g->r.should_run)
            host_guest_restart_later(h, g);
        break;
    case API_VM_STATE_STOPPING:
        if (g->active || g->kill) { /* somebody wanted it to end, and may have killed it */
            g->end_state = gone ? API_VM_STATE_STOPPED : found;
            str_set(&g->end_reason, why);
            return;
        }
        host_guest_set_state(h, g, end, why);
        break;
    case API_VM_STATE_STARTING:
        if (start)
            break; /* it is called again */
        host_guest_ended(h, g, API_VM_STATE_CRASHED, "tarn-agent ended while it restarted the guest");
        break;
    default:
        host_guest_ended(h, g, end, why);
    }
    if (!gone)
        host_guest_clean(h, g);
}

static void find_done(struct host *h, struct guest *g, const struct error *error, const json_t *result) {
    if (g->first_find && h->finding)
        h->finding--;
    g->first_find = false;
    if (error) {
        g->find_at = h->mono + (1000LL << (g->find_tries < 5 ? g->find_tries : 5));
        g->find_tries++;
        return;
    }
    g->finding = false;
    enum api_vm_state found = API_VM_STATE_UNKNOWN;
    api_vm_state_from_text(json_str(result, "state"), &found);
    const char *reason = json_str(result, "reason");
    bool alive = found == API_VM_STATE_RUNNING || found == API_VM_STATE_SUSPENDED || found == API_VM_STATE_STARTING;
    if (host_move_found(h, g, alive, str_or(reason, "its process is gone")))
        ;
    else if (alive)
        found_alive(h, g, found, reason);
    else
        found_ended(h, g, found, reason);
    host_guest_apply_early(h, g);
}

/* ---- calls, events, time ---- */

void host_guest_call_done(struct host *h, struct call *c, const struct error *error, const json_t *result) {
    struct guest *g = c->guest;
    struct op *op = c->op;
    enum call_purpose purpose = c->purpose;
    host_call_free(h, c);
    switch (purpose) {
    case CALL_FIND:
        find_done(h, g, error, result);
        return;
    case CALL_RESTART:
        start_done(h, g, NULL, error, result);
        return;
    case CALL_ASK:
        g->asking = false;
        return;
    case CALL_KILL:
        kill_done(h, g, error);
        return;
    case CALL_CLEAN:
        g->cleaning = error != NULL;
        if (error)
            g->clean_at = h->mono + CLEAN_AGAIN_MS;
        return;
    default:
        break;
    }
    if (!op)
        return;
    if (op->kind == API_AGENT_OP_GUEST_START)
        start_done(h, g, op, error, result);
    else if (op->kind == API_AGENT_OP_GUEST_FORGET)
        forget_done(h, g, op, error);
    else if (op->kind == API_AGENT_OP_GUEST_CDROM)
        cdrom_done(h, g, op, error);
    else if (op->kind == API_AGENT_OP_GUEST_SUSPEND || op->kind == API_AGENT_OP_GUEST_RESUME)
        pause_done(h, g, op, error);
    else if (op->kind == API_AGENT_OP_GUEST_LIMITS)
        op_finish(h, op, error, NULL);
    else if (op->kind == API_AGENT_OP_GUEST_POLICY)
        policy_done(h, g, op, error);
    else
        host_move_call_done(h, g, op, error, result);
}

static void ended_while_stopping(struct host *h, struct guest *g, enum guest_event event, const char *reason) {
    keep_early(g, event, reason); /* the kill may fail, and it does not end once more */
    if (event == GUEST_POWEROFF)
        kill_now(h, g, API_VM_STATE_STOPPED, reason, false);
    else
        kill_now(h, g, API_VM_STATE_CRASHED, reason, false);
}

static void guest_end_event(struct host *h, struct guest *g, enum guest_event event, const char *reason) {
    if (g->r.state == API_VM_STATE_STOPPING) {
        ended_while_stopping(h, g, event, reason);
    } else if (g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED) {
        host_guest_ended(h, g, event == GUEST_POWEROFF ? API_VM_STATE_STOPPED : API_VM_STATE_CRASHED, reason);
        host_guest_clean(h, g);
    }
}

static const char *const event_reasons[] = {
    [GUEST_RUNNING] = "",
    [GUEST_PAUSED] = "it was paused from outside",
    [GUEST_RESET] = "the guest restarted itself",
    [GUEST_POWEROFF] = "the guest powered itself off",
    [GUEST_PANICKED] = "the guest panicked",
    [GUEST_DIED] = "its process ended unexpectedly",
};

void host_guest_happens(struct host *h, struct guest *g, enum guest_event event, const char *reason) {
    host_guest_touch(h, g);
    if (g->starting || g->killing || g->finding) {
        keep_early(g, event, reason);
        return;
    }
    reason = str_or(reason, event_reasons[event]);
    if (host_move_happens(h, g, event, reason))
        return;
    switch (event) {
    case GUEST_RUNNING:
        if (g->r.state == API_VM_STATE_SUSPENDED)
            host_guest_set_state(h, g, API_VM_STATE_RUNNING, "");
        return;
    case GUEST_PAUSED: {
        bool ours = g->active && g->active->kind == API_AGENT_OP_GUEST_SUSPEND;
        if (g->r.state == API_VM_STATE_RUNNING)
            host_guest_set_state(h, g, API_VM_STATE_SUSPENDED, ours ? "" : reason);
        return;
    }
    case GUEST_RESET:
        if (g->r.state == API_VM_STATE_RUNNING && h->mono - RESET_TELL_MS >= g->reset_at) {
            g->reset_at = h->mono;
            host_guest_set_state(h, g, API_VM_STATE_RUNNING, reason);
        }
        return;
    default:
        guest_end_event(h, g, event, reason);
    }
}

void host_guest_tick(struct host *h, struct guest *g) {
    host_guest_touch(h, g);
    if (h->mono >= g->find_at)
        host_guest_find(h, g);
    if (h->mono >= g->clean_at)
        host_guest_clean(h, g);
    if (h->mono >= g->stop_at && g->active && !g->killing)
        stop_deadline(h, g);
    else if (h->mono >= g->ask_at && g->active && !g->killing)
        ask(h, g, false);
    if (host_guest_restart_is_due(h, g))
        host_guest_restart(h, g);
}
