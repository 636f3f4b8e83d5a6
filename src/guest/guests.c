/* SPDX-License-Identifier: Apache-2.0 */
/* Guests: their records, the table of their states, their queues and timers. */
#include "guest/internal.h"

#include <string.h>

/* ---- records ---- */

static void record_clear(struct record *r) {
    free(r->start);
    free(r->name);
    free(r->reason);
    free(r->hypervisor);
    free(r->started);
    free(r->move_id);
}

void host_record_free(struct record *r) {
    if (!r)
        return;
    record_clear(r);
    free(r);
}

struct record *host_record_copy(const struct record *r) {
    struct record *c = xmemdup(r, sizeof(*r));
    c->start = xstrdup(r->start);
    c->name = xstrdup(r->name);
    c->reason = xstrdup(r->reason);
    c->hypervisor = xstrdup(r->hypervisor);
    c->started = xstrdup(r->started);
    c->move_id = xstrdup(r->move_id);
    return c;
}

char *host_guest_record_text(const struct guest *g) {
    const struct record *r = &g->r;
    json_t *j = json_object(), *times = json_array();
    json_object_set_new(j, "should_run", json_boolean(r->should_run));
    json_object_set_new(j, "guarded", json_boolean(r->guarded));
    json_object_set_new(j, "lost", json_boolean(r->lost));
    json_set_int(j, "incarnation", r->incarnation);
    json_set_str(j, "state", api_vm_state_text(r->state));
    json_set_str(j, "policy", api_restart_policy_text(r->policy));
    json_set_str(j, "name", r->name);
    json_set_str(j, "reason", r->reason);
    json_set_str(j, "hypervisor", r->hypervisor);
    json_set_str(j, "started", r->started);
    json_set_int(j, "sequence", r->sequence);
    json_set_int(j, "restarts", r->restarts);
    for (size_t i = 0; i < r->n_restarted; i++)
        json_array_append_new(times, json_integer(r->restarted[i]));
    json_object_set_new(j, "restarted", times);
    if (!str_empty(r->move_id)) {
        json_set_str(j, "move", host_move_text(r->move));
        json_set_str(j, "move_id", r->move_id);
        json_object_set_new(j, "was_suspended", json_boolean(r->was_suspended));
    }
    char *text = json_text(j);
    json_decref(j);
    if (!r->start)
        return text;
    /* The longest part is kept as text, and need not be parsed to be stored again. */
    char *whole = xasprintf("{\"start\":%s,%s", r->start, text + 1);
    free(text);
    return whole;
}

int host_guest_load(struct host *h, const char *vm, const json_t *value, struct error *e) {
    struct record r = {.kept = true};
    json_t *start = json_object_get(value, "start"), *times = json_object_get(value, "restarted");
    const struct guest *known = map_get(&h->guests, vm); /* an op of it may have come first */
    if ((known && known->r.kept) || api_vm_state_from_text(json_str(value, "state"), &r.state) < 0 ||
        api_restart_policy_from_text(json_str(value, "policy"), &r.policy) < 0 ||
        host_move_from_text(json_str(value, "move"), &r.move) < 0 || (start && !json_is_object(start)))
        return error_set(e, ERR_VERSION, "the agent's record of guest %s is not understood by this version", vm);
    struct guest *g = host_guest_get(h, vm);
    record_clear(&g->r);
    g->r = r;
    g->r.start = start ? json_text(start) : NULL;
    g->r.should_run = json_bool(value, "should_run", false);
    g->r.guarded = json_bool(value, "guarded", false);
    g->r.lost = json_bool(value, "lost", false);
    g->r.incarnation = json_int(value, "incarnation", 0);
    g->r.name = xstrdup(json_str(value, "name"));
    g->r.reason = xstrdup(json_str(value, "reason"));
    g->r.hypervisor = xstrdup(json_str(value, "hypervisor"));
    g->r.started = xstrdup(json_str(value, "started"));
    g->r.move_id = xstrdup(json_str(value, "move_id"));
    g->r.was_suspended = json_bool(value, "was_suspended", false);
    g->r.sequence = json_int(value, "sequence", 0);
    g->r.restarts = json_int(value, "restarts", 0);
    for (size_t i = 0; i < json_array_size(times) && i < RESTART_LIMIT; i++)
        g->r.restarted[g->r.n_restarted++] = json_integer_value(json_array_get(times, i));
    return 0;
}

struct guest *host_guest_get(struct host *h, const char *vm) {
    struct guest *g = map_get(&h->guests, vm);
    if (g)
        return g;
    g = xcalloc(1, sizeof(*g));
    memcpy(g->vm, vm, UUID_LEN);
    list_init(&g->queue);
    g->r = (struct record){.state = API_VM_STATE_STOPPED,
                           .name = xstrdup(""),
                           .reason = xstrdup(""),
                           .hypervisor = xstrdup(""),
                           .started = xstrdup(""),
                           .move_id = xstrdup("")};
    g->early = -1;
    g->at = g->find_at = g->clean_at = g->restart_at = g->stop_at = g->ask_at = NEVER;
    g->reset_at = -NEVER;
    map_put(&h->guests, vm, g);
    return g;
}

void host_guest_free(struct guest *g) {
    list_remove(&g->touched);
    list_remove(&g->timed);
    record_clear(&g->r);
    free(g->early_reason);
    free(g->end_reason);
    free(g);
}

json_t *host_guest_args(const struct guest *g) {
    json_t *args = json_object();
    json_set_str(args, "vm", g->vm);
    return args;
}

/* ---- states ---- */

#define S(name) (1 << API_VM_STATE_##name)
/* From a state to those after it, as the table in host.h has them. */
static const unsigned edges[API_VM_STATE_COUNT] = {
    [API_VM_STATE_STOPPED] =
        S(STARTING) | S(MIGRATING) /* it comes */ | S(CRASHED) /* not restarted: the lease ended */,
    [API_VM_STATE_STARTING] = S(RUNNING) | S(STOPPED) | S(CRASHED) | S(STOPPING),
    [API_VM_STATE_RUNNING] = S(STOPPED) | S(CRASHED) | S(SUSPENDED) | S(STOPPING) | S(RUNNING) /* a reset */ |
                             S(MIGRATING) /* it has gone */,
    [API_VM_STATE_SUSPENDED] = S(STOPPED) | S(CRASHED) | S(RUNNING) | S(STOPPING) | S(MIGRATING),
    [API_VM_STATE_STOPPING] =
        S(STOPPED) | S(CRASHED) | S(RUNNING) /* not stopped in time, or cancelled */ | S(MIGRATING) /* not killed */,
    [API_VM_STATE_CRASHED] = S(STARTING) | S(STOPPED) | S(MIGRATING) | S(CRASHED) /* it is ours after all */,
    [API_VM_STATE_MIGRATING] = S(RUNNING) | S(SUSPENDED) | S(STOPPED) | S(CRASHED) | S(STOPPING),
};

void host_guest_set_state(struct host *h, struct guest *g, enum api_vm_state state, const char *reason) {
    if (!(edges[g->r.state] & (1U << state)))
        abort();
    g->r.state = state;
    str_set(&g->r.reason, reason);
    /* From the clock, so that it goes on growing when the record was forgotten meanwhile. */
    g->r.sequence = g->r.sequence < h->wall ? h->wall : g->r.sequence + 1;
    if (state == API_VM_STATE_RUNNING && str_empty(g->r.started)) {
        char buf[TIME_TEXT_MAX];
        str_set(&g->r.started, time_format(h->wall, buf));
    }
    if (state == API_VM_STATE_STARTING)
        str_set(&g->r.started, "");
    host_dirty(h, "guest", g->vm);
    host_report_guest(h, g);
    host_guest_touch(h, g);
}

/* Nothing is kept of it, and nothing told: a guest that this server does not know. */
void host_guest_forget(struct host *h, struct guest *g) {
    g->r.kept = false;
    g->r.state = API_VM_STATE_STOPPED;
    g->r.move = MOVE_NONE;
    str_set(&g->r.move_id, "");
    host_unsend_states(h, g);
    host_dirty(h, "guest", g->vm);
}

/* Those of them that nobody has seen. */
static void drop_calls(struct host *h, struct guest *g) {
    struct call *c, *next;
    list_for_each_safe(c, next, &h->calls, link) {
        enum call_purpose purpose = c->purpose;
        if (c->guest != g || (purpose != CALL_KILL && purpose != CALL_ASK) || !host_call_drop(h, c))
            continue;
        if (purpose == CALL_KILL) {
            g->killing = false;
            str_take(&g->end_reason, NULL);
        } else {
            g->asking = false;
        }
    }
}

/* What an op on a guest that runs on has changed of it; what it was is freed with what it was to be. */
static void settings_back(struct record *now, struct record *before) {
    char *start = now->start, *name = now->name;
    now->start = before->start;
    now->name = before->name;
    before->start = start;
    before->name = name;
    now->policy = before->policy;
    now->guarded = before->guarded;
    now->incarnation = before->incarnation;
}

/* Nothing has happened to it since the op has begun, but ops that are rolled back by now. */
static bool is_as_it_was(const struct guest *g, const struct op *op) {
    return g->r.sequence == op->sequence || (g->r.sequence == g->back_from && op->sequence == g->back_to);
}

/* The op's beginning could not be recorded. What happened to the guest since stays; the rest is as before. */
void host_guest_roll_back(struct host *h, struct guest *g, struct op *op) {
    struct record *before = TAKE_PTR(op->before);
    if (is_as_it_was(g, op)) {
        g->back_from = g->r.sequence;
        g->back_to = before->sequence;
        before->sequence = g->r.sequence; /* it goes on growing */
        struct record now = g->r;
        g->r = *before;
        *before = now;
    } else {
        g->r.should_run = before->should_run;
        if (op->kind == API_AGENT_OP_GUEST_POLICY || op->kind == API_AGENT_OP_GUEST_LIMITS ||
            op->kind == API_AGENT_OP_GUEST_CDROM)
            settings_back(&g->r, before);
    }
    host_record_free(before);
    host_dirty(h, "guest", g->vm);
    host_unsend_states(h, g);
    if (g->r.kept)
        host_report_guest(h, g);
    drop_calls(h, g);
    if (op->kind == API_AGENT_OP_GUEST_START || op->kind == API_AGENT_OP_GUEST_RECEIVE ||
        op->kind == API_AGENT_OP_GUEST_ACTIVATE || op->kind == API_AGENT_OP_GUEST_RELEASE ||
        op->kind == API_AGENT_OP_GUEST_DROP)
        g->starting = false;
    if (op->kind == API_AGENT_OP_GUEST_STOP)
        g->stop_at = g->ask_at = NEVER;
    g->restart_at = NEVER;
    if (g->r.should_run && guest_is_off(g))
        host_guest_restart_later(h, g);
    host_guest_touch(h, g);
}

/* ---- queue and timers ---- */

void host_guest_touch(struct host *h, struct guest *g) {
    if (!list_linked(&g->touched))
        list_append(&h->touched, &g->touched);
}

void host_guest_touch_all(struct host *h) {
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value))
        host_guest_touch(h, value);
}

static bool is_free(const struct host *h, const struct guest *g) {
    return h->started && h->opening == 0 && !g->active && !g->kill && !g->finding && !g->starting && !g->cleaning;
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* While we were away, and if the manager has removed this server, it may have been started elsewhere. */
static int64_t restart_time(struct host *h, const struct guest *g) {
    if (g->restart_at == NEVER || h->disowned || (g->before && h->report_wanted))
        return NEVER;
    if (g->r.start && !host_repository_usable_to(h, g->r.start)) /* it would use up its tries */
        return NEVER;
    return g->before && g->restart_at < h->alone_until ? h->alone_until : g->restart_at;
}

static void set_timer(struct host *h, struct guest *g) {
    g->at = earlier(g->find_at, g->clean_at);
    if (!g->killing)
        g->at = earlier(g->at, earlier(g->stop_at, g->ask_at));
    if (is_free(h, g))
        g->at = earlier(g->at, restart_time(h, g));
    if (g->at == NEVER)
        list_remove(&g->timed);
    else if (!list_linked(&g->timed))
        list_append(&h->timed, &g->timed);
}

bool host_guest_restart_is_due(struct host *h, const struct guest *g) {
    return is_free(h, g) && h->mono >= restart_time(h, g);
}

void host_guest_settle(struct host *h, struct guest *g) {
    if (g->resume && h->started && h->opening == 0 && !g->finding && !g->cleaning) {
        g->resume = false;
        struct op *kill = g->kill;
        if (g->active)
            op_begin(h, g->active);
        if (kill && g->kill == kill)
            op_begin(h, kill);
    }
    struct op *op;
    while (is_free(h, g) && (op = list_first(&g->queue, struct op, link))) {
        list_remove(&op->link);
        g->active = op;
        op_begin(h, op);
    }
    set_timer(h, g);
    if (!g->r.kept && !g->active && !g->kill && !g->n_calls && list_empty(&g->queue)) {
        map_remove(&h->guests, g->vm);
        host_guest_free(g);
    }
}
