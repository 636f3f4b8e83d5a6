/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live migration, one server's part of it (docs/migration.md has the whole).
 *
 *     source        none ──guest.send──▶ out ──(all is there)──▶ sent ──guest.release──▶ forgotten
 *                     ▲                   │ (failed, cancelled)     │
 *                     └───────────────────┴───────guest.unsend──────┘
 *     destination   none ──guest.receive──▶ in ──guest.activate──▶ none: it runs here
 *                                            └──guest.drop──▶ forgotten
 *
 * "out" is durable before anything is sent, "sent" before the manager is told so, "in" before a process is made, and
 * guest.activate before the guest may run. So whenever we start again, the record says whose the guest is: in "out" it
 * is ours and goes on, in "sent" and "in" (state migrating) it is nobody's here: it is not run, not restarted by its
 * policy and not started by anybody, until the manager says which side has it.
 *
 * What ends in "in" has never run (state crashed, and guest.activate is refused with conflict), unless guest.activate
 * had begun, which is durable as should_run: then it may have run, is ours, and has crashed here.
 */
#include "guest/internal.h"

static const char *const move_texts[MOVE_COUNT] = {"", "out", "sent", "in"};

const char *host_move_text(enum move m) { return move_texts[m]; }

int host_move_from_text(const char *text, enum move *ret) {
    for (size_t i = 0; i < MOVE_COUNT; i++) {
        if (str_eq(text, move_texts[i])) {
            *ret = (enum move)i;
            return 0;
        }
    }
    return -1;
}

static void set_move(struct host *h, struct guest *g, enum move move, const char *id) {
    g->r.move = move;
    g->settled = false;
    if (id)
        str_set(&g->r.move_id, id);
    host_dirty(h, "guest", g->vm);
}

static bool is_this(const struct guest *g, const struct op *op) {
    return str_eq(g->r.move_id, json_str(op->args, "move"));
}

/* The op's call, with what only we know. */
static void call_with(struct host *h, struct guest *g, struct op *op, bool running) {
    json_t *sent = op->args;
    op->args = json_copy(sent);
    json_object_set_new(op->args, "running", json_boolean(running));
    host_guest_call_op(h, g, op);
    json_decref(op->args);
    op->args = sent;
}

static void finish_with(struct host *h, struct op *op, const json_t *result) {
    op_finish(h, op, NULL, json_is_object(result) ? json_deep_copy(result) : NULL);
}

/* ---- the source ---- */

static void run_offer(struct host *h, struct guest *g, struct op *op) {
    if (g->r.move != MOVE_NONE || (g->r.state != API_VM_STATE_RUNNING && g->r.state != API_VM_STATE_SUSPENDED))
        host_guest_fail(h, op, ERR_CONFLICT, "the virtual machine does not run here now, so it cannot be moved");
    else
        host_guest_call_op(h, g, op);
}

static void run_send(struct host *h, struct guest *g, struct op *op) {
    bool again = g->r.move == MOVE_OUT && is_this(g, op);
    if ((g->r.move != MOVE_NONE && !again) ||
        (g->r.state != API_VM_STATE_RUNNING && g->r.state != API_VM_STATE_SUSPENDED)) {
        if (again)
            set_move(h, g, MOVE_NONE, NULL);
        host_guest_fail(h, op, ERR_CONFLICT, "the virtual machine does not run here any more, so it cannot be moved");
        return;
    }
    set_move(h, g, MOVE_OUT, json_str(op->args, "move"));
    call_with(h, g, op, g->r.state == API_VM_STATE_RUNNING);
}

static void send_done(struct host *h, struct guest *g, struct op *op, const struct error *error, const json_t *result) {
    bool alive = g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED;
    if (error || !alive || g->r.move != MOVE_OUT) {
        set_move(h, g, MOVE_NONE, NULL);
        if (error)
            op_finish(h, op, error, NULL);
        else
            host_guest_fail(h, op, ERR_GUEST, "the guest has ended while it was moved");
        return;
    }
    g->r.was_suspended = g->r.state == API_VM_STATE_SUSPENDED;
    set_move(h, g, MOVE_SENT, NULL);
    host_guest_set_state(h, g, API_VM_STATE_MIGRATING, str_or(json_str(result, "reason"), "it has been sent"));
    host_guest_finish(h, g, op);
}

void host_move_cancelled(struct host *h, struct guest *g, struct op *op) {
    struct error cancelled = {.code = ERR_CANCELLED, .message = (char *)"cancelled on request"};
    if (op->kind == API_AGENT_OP_GUEST_SEND)
        set_move(h, g, MOVE_NONE, NULL);
    op_finish(h, op, &cancelled, NULL);
}

static void run_unsend(struct host *h, struct guest *g, struct op *op) {
    bool sent = g->r.move == MOVE_SENT && is_this(g, op);
    bool alive = g->r.state == API_VM_STATE_RUNNING || g->r.state == API_VM_STATE_SUSPENDED;
    if (sent && g->r.state == API_VM_STATE_MIGRATING) {
        call_with(h, g, op, !g->r.was_suspended);
    } else if (g->r.move == MOVE_NONE && alive) {
        call_with(h, g, op, g->r.state == API_VM_STATE_RUNNING); /* what the offer has made is to go */
    } else {
        if (sent) { /* it has ended meanwhile, and it was ours after all */
            set_move(h, g, MOVE_NONE, NULL);
            host_guest_ended(h, g, API_VM_STATE_CRASHED, g->r.reason);
        }
        host_guest_finish(h, g, op);
    }
}

static void unsend_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                        const json_t *result) {
    if (error) {
        op_finish(h, op, error, NULL);
        return;
    }
    bool gone = str_eq(json_str(result, "state"), api_vm_state_text(API_VM_STATE_UNKNOWN));
    if (g->r.move == MOVE_SENT && g->r.state == API_VM_STATE_MIGRATING && gone) {
        set_move(h, g, MOVE_NONE, NULL);
        const char *why = json_str(result, "reason");
        host_guest_ended(h, g, API_VM_STATE_CRASHED, *why ? why : "its process ended while it was being moved");
    } else if (g->r.move == MOVE_SENT && g->r.state == API_VM_STATE_MIGRATING) {
        set_move(h, g, MOVE_NONE, NULL);
        host_guest_set_state(h, g, g->r.was_suspended ? API_VM_STATE_SUSPENDED : API_VM_STATE_RUNNING, "");
    } else if (g->r.move == MOVE_SENT && g->r.state == API_VM_STATE_CRASHED) {
        set_move(h, g, MOVE_NONE, NULL);
        host_guest_ended(h, g, API_VM_STATE_CRASHED, g->r.reason);
    }
    host_guest_finish(h, g, op);
}

/* ---- the destination ---- */

static const char lost_its_pool[] =
    "this server has lost its pool: highly available virtual machines run only where more than half of the pool's "
    "servers see each other";

static void run_receive(struct host *h, struct guest *g, struct op *op) {
    json_t *start = json_object_get(op->args, "start");
    const json_t *vm = json_object_get(start, "vm");
    bool again = g->r.move == MOVE_IN && is_this(g, op) && g->r.state == API_VM_STATE_MIGRATING;
    if (!str_eq(json_str(vm, "id"), g->vm)) {
        host_guest_fail(h, op, ERR_INVALID, "the virtual machine's id is not that of the move");
        return;
    }
    if (!again && (g->r.move != MOVE_NONE || !guest_is_off(g))) {
        host_guest_fail(h, op, ERR_CONFLICT,
                        g->r.move == MOVE_IN ? "an earlier move has left something of the virtual machine on this "
                                               "server, which is removed now: try again"
                                             : "the virtual machine is on this server already");
        return;
    }
    host_cluster_stamp_late(h, g, op, start);
    if (!host_cluster_allows(h, json_bool(start, "guarded", false), json_int(start, "incarnation", 0))) {
        host_guest_fail(h, op, ERR_UNAVAILABLE, lost_its_pool);
        return;
    }
    host_guest_keep_start(g, start);
    host_guest_restart_forget(g);
    g->r.should_run = false;
    g->r.restarts = json_int(vm, "restarts", 0);
    str_set(&g->r.started, json_str(vm, "started"));
    set_move(h, g, MOVE_IN, json_str(op->args, "move"));
    if (!again)
        host_guest_set_state(h, g, API_VM_STATE_MIGRATING, "it is being moved here");
    g->starting = true;
    host_guest_call_op(h, g, op);
}

static void receive_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                         const json_t *result) {
    g->starting = false;
    if (!error) {
        finish_with(h, op, result);
        host_guest_apply_early(h, g);
        return;
    }
    g->early = -1;
    host_guest_set_state(h, g, API_VM_STATE_CRASHED, error->message); /* still "in": it has not run here */
    op_finish(h, op, error, NULL);
    host_guest_clean(h, g);
}

/* Its process has, before the guest was said to run here. */
static void it_ended(struct host *h, struct guest *g, const char *reason) {
    if (g->r.should_run) { /* it may have run */
        set_move(h, g, MOVE_NONE, NULL);
        host_guest_ended(h, g, API_VM_STATE_CRASHED, reason);
    } else {
        host_guest_set_state(h, g, API_VM_STATE_CRASHED, reason);
    }
    host_guest_clean(h, g);
}

static void run_activate(struct host *h, struct guest *g, struct op *op) {
    if (g->r.move == MOVE_NONE && g->r.kept && is_this(g, op)) { /* it had begun before our start, and was done */
        host_guest_finish(h, g, op);
    } else if (g->r.move == MOVE_IN && is_this(g, op) && g->r.state == API_VM_STATE_MIGRATING && !g->r.should_run &&
               !host_cluster_allows(h, g->r.guarded, json_int(op->args, "incarnation", 0))) {
        host_guest_fail(h, op, ERR_CONFLICT, lost_its_pool);
    } else if (g->r.move == MOVE_IN && is_this(g, op) && g->r.state == API_VM_STATE_MIGRATING) {
        g->r.should_run = true;
        host_dirty(h, "guest", g->vm);
        g->starting = true;
        host_guest_call_op(h, g, op);
    } else {
        host_guest_fail(h, op, ERR_CONFLICT,
                        "the guest has ended here before it could take over; it has never run here");
    }
}

static void activate_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                          const json_t *result) {
    g->starting = false;
    if (!error) {
        enum api_vm_state state =
            json_bool(op->args, "suspended", false) ? API_VM_STATE_SUSPENDED : API_VM_STATE_RUNNING;
        str_set(&g->r.hypervisor, json_str(result, "hypervisor"));
        set_move(h, g, MOVE_NONE, NULL);
        host_guest_set_state(h, g, state, "");
        host_guest_finish(h, g, op);
        host_guest_apply_early(h, g);
        return;
    }
    bool died = g->early >= (int)GUEST_POWEROFF;
    g->early = -1;
    if (error->code == ERR_GUEST) { /* it may have run */
        set_move(h, g, MOVE_NONE, NULL);
        host_guest_ended(h, g, API_VM_STATE_CRASHED, str_or(error->message, "it ended when it took over"));
        host_guest_finish(h, g, op);
        host_guest_clean(h, g);
        return;
    }
    if (error->code == ERR_CONFLICT) {
        g->r.should_run = false;
        host_dirty(h, "guest", g->vm);
    }
    op_finish(h, op, error, NULL);
    if (died)
        it_ended(h, g, error->message);
}

/* ---- leaving: guest.release at the source, guest.drop at the destination ---- */

/* What waits here has never run, and a move that is taken back is the last there is of it: whichever has brought it. */
static bool may_leave(const struct guest *g, const struct op *op) {
    bool ours = op->kind == API_AGENT_OP_GUEST_DROP ? g->r.move == MOVE_IN : g->r.move == MOVE_SENT && is_this(g, op);
    bool ended = g->r.move == MOVE_NONE && guest_is_off(g);
    return ours || ended;
}

static void run_leave(struct host *h, struct guest *g, struct op *op) {
    if (g->r.kept && may_leave(g, op)) {
        g->r.should_run = false;
        g->restart_at = NEVER;
        host_dirty(h, "guest", g->vm);
        g->starting = true; /* that it ends is no news */
        host_guest_call_op(h, g, op);
    } else { /* it was never here, or it is here for another reason: not this move's to end */
        op_finish(h, op, NULL, NULL);
    }
}

static void leave_done(struct host *h, struct guest *g, struct op *op, const struct error *error) {
    g->starting = false;
    g->early = -1;
    if (!error)
        host_guest_forget(h, g);
    op_finish(h, op, error, NULL);
}

/* ---- ops and their calls ---- */

void host_move_run(struct host *h, struct guest *g, struct op *op) {
    switch (op->kind) {
    case API_AGENT_OP_GUEST_OFFER:
        run_offer(h, g, op);
        return;
    case API_AGENT_OP_GUEST_SEND:
        run_send(h, g, op);
        return;
    case API_AGENT_OP_GUEST_UNSEND:
        run_unsend(h, g, op);
        return;
    case API_AGENT_OP_GUEST_RECEIVE:
        run_receive(h, g, op);
        return;
    case API_AGENT_OP_GUEST_ACTIVATE:
        run_activate(h, g, op);
        return;
    case API_AGENT_OP_GUEST_RELEASE:
    case API_AGENT_OP_GUEST_DROP:
        run_leave(h, g, op);
        return;
    default:
        host_guest_fail(h, op, ERR_INTERNAL, "the agent has no such op");
    }
}

void host_move_call_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                         const json_t *result) {
    switch (op->kind) {
    case API_AGENT_OP_GUEST_SEND:
        send_done(h, g, op, error, result);
        return;
    case API_AGENT_OP_GUEST_UNSEND:
        unsend_done(h, g, op, error, result);
        return;
    case API_AGENT_OP_GUEST_RECEIVE:
        receive_done(h, g, op, error, result);
        return;
    case API_AGENT_OP_GUEST_ACTIVATE:
        activate_done(h, g, op, error, result);
        return;
    case API_AGENT_OP_GUEST_RELEASE:
    case API_AGENT_OP_GUEST_DROP:
        leave_done(h, g, op, error);
        return;
    default: /* offer */
        op_finish(h, op, error, json_is_object(result) ? json_deep_copy(result) : NULL);
    }
}

static bool is_forgotten(const struct record *r, const char *job) {
    return r->move == MOVE_SENT && r->state == API_VM_STATE_CRASHED && str_eq(r->move_id, job);
}

static void settle(struct host *h, struct guest *g) {
    set_move(h, g, MOVE_NONE, NULL);
    g->r.should_run = false;
    g->restart_at = NEVER;
    host_report_guest(h, g);
}

static void sent_has_ended(struct host *h, struct guest *g, const char *reason) {
    host_guest_set_state(h, g, API_VM_STATE_CRASHED, reason);
    if (g->settled)
        settle(h, g);
}

/*
 * What was sent and has ended here: guest.unsend or guest.release was to say whose it is, but the manager had given
 * this server up, as its power was off, and settled the move without it. So it may run elsewhere now: our policy does
 * not restart it. If it is ours, whoever wants it starts it.
 */
void host_move_forgotten(struct host *h, struct guest *g, const char *job) {
    if (g->r.move == MOVE_SENT && g->r.state == API_VM_STATE_MIGRATING && str_eq(g->r.move_id, job))
        g->settled = true; /* it may have ended, and is looked for still */
    if (!is_forgotten(&g->r, job))
        return;
    settle(h, g);
    struct op *op;
    list_for_each(op, &h->fresh, fresh) { /* what it goes back to if it is refused yet */
        if (op->before && str_eq(op->subject, g->vm) && is_forgotten(op->before, job)) {
            op->before->move = MOVE_NONE;
            op->before->should_run = false;
        }
    }
}

/* ---- what happens meanwhile, and what was found ---- */

bool host_move_happens(struct host *h, struct guest *g, enum guest_event event, const char *reason) {
    bool ends = event >= GUEST_POWEROFF;
    if (g->r.move == MOVE_OUT) {
        if (ends)
            set_move(h, g, MOVE_NONE, NULL);                    /* its end is as any other's */
        return event == GUEST_RUNNING || event == GUEST_PAUSED; /* the driver's own doing */
    }
    if (g->r.move == MOVE_NONE || g->r.state == API_VM_STATE_STOPPING)
        return false;
    if (ends && g->r.state == API_VM_STATE_MIGRATING && g->r.move == MOVE_IN) {
        it_ended(h, g, reason);
    } else if (ends && g->r.state == API_VM_STATE_MIGRATING) {
        sent_has_ended(h, g, reason);
        host_guest_clean(h, g);
    }
    return true;
}

static bool found_in(struct host *h, struct guest *g, bool alive, const char *reason) {
    bool again = g->active && g->active->kind == API_AGENT_OP_GUEST_RECEIVE;
    if (alive && g->r.state != API_VM_STATE_MIGRATING)
        host_guest_clean(h, g);
    else if (!alive && g->r.state == API_VM_STATE_MIGRATING && !again)
        it_ended(h, g, reason);
    return true;
}

bool host_move_found(struct host *h, struct guest *g, bool alive, const char *reason) {
    if (g->r.move == MOVE_NONE || g->r.state == API_VM_STATE_STOPPING)
        return false;
    if (alive)
        g->before = false;
    if (g->r.move == MOVE_IN)
        return found_in(h, g, alive, reason);
    if (g->r.move == MOVE_OUT) {
        bool again = alive && g->active && g->active->kind == API_AGENT_OP_GUEST_SEND;
        if (!again)
            set_move(h, g, MOVE_NONE, NULL);
        return again; /* paused or not: the op goes on with it */
    }
    if (!alive && g->r.state == API_VM_STATE_MIGRATING)
        sent_has_ended(h, g, reason);
    return true;
}
