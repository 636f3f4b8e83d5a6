/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What really is on a server. A call changes the world at one moment and is told at a later one; the agent may crash
 * between them, the call may fail before or half-way, hang, or be late. Guests go on when the agent dies, and power
 * off, die or reset by themselves.
 */
#include "sim/sim.h"

#include <stdio.h>

struct refusal {
    const char *why;
    enum error_code code;
};

struct call {
    uint64_t id;
    int op;
    json_t *args;
    bool fails, half;
    uint64_t life; /* of the guest's process that it was meant for */
};

static void call_free(struct call *c) {
    json_decref(c->args);
    free(c);
}
static void drop_call(struct sim_event *e) { call_free(e->p); }

struct sim_guest *driver_guest(struct sim_server *v, const char *vm) {
    struct sim_guest *g;
    list_for_each(g, &v->guests, link) if (strcmp(g->vm, vm) == 0) return g;
    return NULL;
}

static void guest_free(struct sim_guest *g) {
    list_remove(&g->link);
    free(g);
}

/* ---- what each call does; NULL: it refuses, with the reason in *why ---- */

static const char *vm_of(const json_t *args) {
    const json_t *vm = json_object_get(args, "vm");
    return json_is_object(vm) ? json_str(vm, "id") : json_str(args, "vm");
}

static json_t *report(const char *vm, const char *state, const char *reason) {
    return json_pack("{s:s, s:s, s:s, s:s}", "vm", vm, "state", state, "reason", reason, "hypervisor", "sim");
}

/* ---- what is in a guest's memory: a guest that goes on from an older state has run twice ---- */

static uint64_t *newest(struct sim *s, const char *vm) {
    uint64_t *n = map_get(&s->versions, vm);
    if (!n) {
        n = xcalloc(1, sizeof *n);
        map_put(&s->versions, vm, n);
    }
    return n;
}

static void guest_boots(struct sim *s, struct sim_guest *g) { g->version = ++*newest(s, g->vm); }

static void guest_runs(struct sim *s, struct sim_guest *g) {
    uint64_t *n = newest(s, g->vm);
    if (g->version != *n)
        sim_broken(s, "a guest goes on from where it was", "%s runs at %llu, it was at %llu", g->vm,
                   (unsigned long long)g->version, (unsigned long long)*n);
    g->version = ++*n;
}

bool driver_has(const struct sim_guest *g) { return !g->over && !g->incoming && !g->sent; }

/*
 * Does anyone want it there? By what is durable: the manager may be away. A driver may hang until the guest is deleted,
 * or until its migration to this server is given up and the server has left the pool.
 */
static bool is_wanted(struct sim *s, const struct sim_server *v, const char *vm) {
    char key[8 + UUID_LEN];
    snprintf(key, sizeof key, "vm/%.36s", vm);
    const char *record = map_get(&s->m.p.disk.live, key);
    return record && !strstr(record, "\"state\":\"deleting\"") && strstr(record, v->id);
}

static struct sim_guest *make_guest(struct sim *s, struct sim_server *v, const json_t *args, const char **why) {
    const char *vm = vm_of(args);
    size_t i;
    json_t *d;
    _cleanup_free_ struct sim_guest *g = xcalloc(1, sizeof *g);
    list_init(&g->link);
    snprintf(g->vm, sizeof g->vm, "%s", vm);
    g->memory = json_int(json_object_get(args, "vm"), "memory", 0);
    g->cpus = (int)json_int(json_object_get(args, "vm"), "cpus", 1);
    json_array_foreach(json_object_get(args, "disks"), i, d) {
        const char *in = json_str(d, "repository");
        if (json_bool(d, "cdrom", false)) {
            /* A restart by policy may come after the drive was emptied and the image deleted. */
            if (!*json_str(d, "iso") || sim_file_find(s, in, "iso", json_str(d, "iso")))
                continue;
            *why = "the ISO image is not there";
            return NULL;
        }
        struct sim_file *f = sim_file_find(s, in, "disk", json_str(d, "disk"));
        const char *base = json_str(d, "template");
        struct sim_file *t = *base ? sim_file_find(s, in, "template", base) : NULL;
        if (!f || !f->whole || (*base && (!t || !t->sealed)) || !map_get(&v->opened, in)) {
            if (is_wanted(s, v, vm))
                sim_broken(s, "a guest that is started has its disks", "%s: disk %s", vm, json_str(d, "disk"));
            *why = "a disk is not there";
            return NULL;
        }
        if (g->n_disks < ARRAY_LEN(g->disks)) {
            snprintf(g->in[g->n_disks], UUID_LEN + 1, "%s", in);
            snprintf(g->disks[g->n_disks++], UUID_LEN + 1, "%s", json_str(d, "disk"));
        }
    }
    g->life = ++s->lives;
    list_append(&v->guests, &g->link);
    return TAKE_PTR(g);
}

/* No guarded guest comes to life but under its lease; false: it does not. */
static bool watched(struct sim *s, struct sim_server *v, const struct sim_guest *g, const json_t *start,
                    struct refusal *no) {
    if (!json_bool(start, "guarded", false) ||
        ring_watch(s, (int)(v - s->servers), g->vm, g->life, json_int(start, "incarnation", 0)))
        return true;
    *no = (struct refusal){"this server has lost its pool", ERR_UNAVAILABLE};
    return false;
}

static json_t *do_start(struct sim *s, struct sim_server *v, const json_t *args, struct refusal *no) {
    const char *vm = vm_of(args);
    struct sim_guest *g = driver_guest(v, vm);
    if (g && g->over) {
        guest_free(g);
        g = NULL;
    }
    if (g && !driver_has(g))
        sim_broken(s, "a guest that is being moved is not started", "%s", vm);
    if (!g && !(g = make_guest(s, v, args, &no->why)))
        return NULL;
    if (!watched(s, v, g, args, no)) {
        guest_free(g);
        return NULL;
    }
    if (!g->version)
        guest_boots(s, g);
    g->running = true;
    return report(vm, "running", "");
}

/* ---- live migration ---- */

static json_t *do_receive(struct sim *s, struct sim_server *v, const json_t *args, struct refusal *no) {
    const char *vm = json_str(args, "vm");
    struct sim_guest *g = driver_guest(v, vm);
    if (g && !g->incoming)
        sim_broken(s, "a guest that is here is not overwritten by one that comes", "%s", vm);
    if (g)
        guest_free(g);
    g = make_guest(s, v, json_object_get(args, "start"), &no->why);
    if (!g)
        return NULL;
    if (!watched(s, v, g, json_object_get(args, "start"), no)) {
        guest_free(g);
        return NULL;
    }
    g->incoming = true;
    snprintf(g->move, sizeof g->move, "%s", json_str(args, "move"));
    return json_pack("{s:s, s:s, s:i}", "vm", vm, "address", v->name, "port", 1);
}

/* Everything arrives; what becomes of the source is another matter. */
static struct sim_guest *arrive(struct sim *s, const struct sim_guest *g, const json_t *args) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_guest *there = driver_guest(&s->servers[i], g->vm);
        if (!there || !there->incoming || !str_eq(there->move, json_str(args, "move")))
            continue;
        there->loaded = true;
        there->version = g->version;
        return there;
    }
    return NULL;
}

static json_t *do_send(struct sim *s, struct sim_guest *g, const json_t *args, struct refusal *no) {
    const char *move = json_str(args, "move");
    if (g && g->sent && str_eq(g->move, move))
        return report(g->vm, "suspended", "");
    if (!g || !driver_has(g) || !arrive(s, g, args)) {
        no->why = "the other side does not answer";
        return NULL;
    }
    snprintf(g->move, sizeof g->move, "%s", move);
    g->sent = true;
    g->running = false;
    return report(g->vm, "suspended", "");
}

static json_t *do_unsend(struct sim *s, struct sim_guest *g, const json_t *args) {
    bool running = json_bool(args, "running", false);
    if (!g || g->over)
        return report(json_str(args, "vm"), "unknown", "no process");
    if (g->incoming)
        sim_broken(s, "what waits at a destination is not continued as a source", "%s", g->vm);
    g->sent = g->passed = false;
    g->running = running;
    if (running)
        guest_runs(s, g);
    return report(g->vm, running ? "running" : "suspended", "");
}

/* It goes on here: its source may be ended late, when that server was given up. */
static void source_is_over(struct sim *s, const struct sim_guest *here) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_guest *g = driver_guest(&s->servers[i], here->vm);
        if (g && g->sent && str_eq(g->move, here->move))
            g->passed = true;
    }
}

static json_t *do_activate(struct sim *s, struct sim_guest *g, const json_t *args, struct refusal *no) {
    if (!g || (g->incoming && !g->loaded)) {
        *no = (struct refusal){"it is not there", g ? ERR_CONFLICT : ERR_GUEST};
        return NULL;
    }
    if (g->incoming) {
        g->incoming = false;
        source_is_over(s, g);
        g->running = !json_bool(args, "suspended", false);
        if (g->running)
            guest_runs(s, g);
    }
    return report(g->vm, g->running ? "running" : "suspended", "");
}

static json_t *do_leave(struct sim *s, struct sim_guest *g, int op) {
    if (g && !g->over && !(op == API_AGENT_OP_GUEST_DROP ? g->incoming : g->sent))
        sim_broken(s, "a move ends no guest that is here", "%s", g->vm);
    if (g)
        guest_free(g);
    return json_object();
}

static json_t *do_move(struct sim *s, struct sim_server *v, int op, const json_t *args, struct refusal *no) {
    struct sim_guest *g = driver_guest(v, json_str(args, "vm"));
    switch (op) {
    case API_AGENT_OP_GUEST_OFFER:
        return json_pack("{s:s, s:s}", "vm", json_str(args, "vm"), "machine", "sim");
    case API_AGENT_OP_GUEST_RECEIVE:
        return do_receive(s, v, args, no);
    case API_AGENT_OP_GUEST_SEND:
        return do_send(s, g, args, no);
    case API_AGENT_OP_GUEST_UNSEND:
        return do_unsend(s, g, args);
    case API_AGENT_OP_GUEST_ACTIVATE:
        return do_activate(s, g, args, no);
    default:
        return do_leave(s, g, op);
    }
}

static json_t *do_guest(struct sim *s, struct sim_server *v, const struct call *c, struct refusal *no) {
    const json_t *args = c->args;
    int op = c->op;
    const char *vm = vm_of(args);
    struct sim_guest *g = driver_guest(v, vm);
    switch (op) {
    case HOST_CALL_GUEST_FIND:
        return !g        ? report(vm, "unknown", "no process")
               : g->over ? report(vm, "stopped", "it powered itself off")
                         : report(vm, g->running ? "running" : "suspended", "");
    case API_AGENT_OP_GUEST_START:
        return do_start(s, v, args, no);
    case HOST_CALL_GUEST_SHUTDOWN:
        if (g && g->life == c->life) /* a request to a process that is gone dies with it */
            g->asked = true;
        return json_object();
    case API_AGENT_OP_GUEST_KILL:
        if (g)
            guest_free(g);
        return report(vm, "stopped", "");
    case API_AGENT_OP_GUEST_SUSPEND:
    case API_AGENT_OP_GUEST_RESUME:
        if (!g || g->over) {
            no->why = "it does not run";
            return NULL;
        }
        if (!driver_has(g))
            sim_broken(s, "a guest that is being moved is not paused or resumed", "%s", vm);
        g->running = op == API_AGENT_OP_GUEST_RESUME;
        return report(vm, g->running ? "running" : "suspended", "");
    case API_AGENT_OP_GUEST_CDROM:
        if (!g || g->over) {
            no->why = "it does not run";
            return NULL;
        }
        if (*json_str(args, "iso") && !sim_file_find(s, json_str(args, "repository"), "iso", json_str(args, "iso"))) {
            no->why = "the ISO image is not there";
            sim_broken(s, "a CD that is put in is there", "%s: %s", vm, json_str(args, "iso"));
            return NULL;
        }
        return json_object();
    case API_AGENT_OP_GUEST_FORGET:
        if (g)
            sim_broken(s, "a guest that runs is not forgotten", "%s", vm);
        return json_object();
    case API_AGENT_OP_GUEST_LIMITS:
        return json_object();
    case API_AGENT_OP_GUEST_POLICY:
        if (ring_policy(s, (int)(v - s->servers), vm, json_bool(args, "ha", false)))
            return json_object();
        *no = (struct refusal){"tarn-deadman cannot watch the guest", ERR_UNAVAILABLE};
        return NULL;
    default:
        return do_move(s, v, op, args, no);
    }
}

static void configure(struct sim *s, struct sim_server *v, const json_t *args) {
    size_t i;
    json_t *node;
    v->clustered = true;
    v->n_nodes = 0;
    json_array_foreach(json_object_get(args, "nodes"), i, node) if (i < ARRAY_LEN(v->nodes)) {
        snprintf(v->node_server[i], sizeof v->node_server[i], "%s", json_str(node, "server"));
        v->nodes[v->n_nodes++] = (uint32_t)json_int(node, "node", 0);
    }
    ring_configure(s, (int)(v - s->servers));
    if (json_bool(args, "armed", false))
        v->ring.wanted = true; /* after a start of the agent: as it was */
}

static json_t *do_cluster(struct sim *s, struct sim_server *v, int op, const json_t *args, const char **why) {
    int self = (int)(v - s->servers);
    json_t *result =
        json_pack("{s:s, s:I}", "pool", json_str(args, "pool"), "version", (json_int_t)json_int(args, "version", 0));
    switch (op) {
    case API_AGENT_OP_CLUSTER_CONFIGURE:
        configure(s, v, args);
        json_set_str(result, "secret", "5ec2e7");
        break;
    case API_AGENT_OP_CLUSTER_ARM:
        if (ring_arm(s, self, json_bool(args, "armed", false)) < 0) {
            json_decref(result);
            *why = "it does not see its pool";
            return NULL;
        }
        break;
    case API_AGENT_OP_CLUSTER_LEAVE:
        ring_leave(s, self);
        v->clustered = false;
        break;
    default:
        pool_fence(s, args, result);
    }
    ring_tell(s, self);
    return result;
}

/* What a call that dies half-way leaves: a guest that has arrived and goes on where it was; one that has taken over and
   nobody was told; corosync that counts the new servers, of which the agent knows nothing; a file (storage.c). */
static void half(struct sim *s, struct sim_server *v, int op, const json_t *args) {
    struct sim_guest *g = driver_guest(v, json_str(args, "vm"));
    struct refusal unused = {0};
    if (op == API_AGENT_OP_GUEST_SEND && g && driver_has(g))
        arrive(s, g, args);
    if (op == API_AGENT_OP_GUEST_ACTIVATE && g)
        json_decref(do_activate(s, g, args, &unused));
    if (op == API_AGENT_OP_CLUSTER_CONFIGURE)
        configure(s, v, args);
    storage_half(s, op, args);
}

struct told {
    uint64_t call;
    int op;
    struct error error;
    json_t *result;
};

static void told_free(struct told *t) {
    error_done(&t->error);
    json_decref(t->result);
    free(t);
}
static void drop_told(struct sim_event *e) { told_free(e->p); }

static void tell(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    struct told *t = e->p;
    if (!v->p.up || v->p.epoch != e->epoch) {
        told_free(t);
        return;
    }
    if (sim_deferred(s, &v->p, e))
        return;
    server_enter(s, e->server);
    host_call_done(v->h, t->call, t->error.code ? &t->error : NULL, t->result);
    if (t->op == API_AGENT_OP_CLUSTER_CONFIGURE && !t->error.code)
        ring_watch_all(s, e->server);
    told_free(t);
    server_drain(s, e->server);
}

static const char *op_name(int op) {
    return op == HOST_CALL_GUEST_FIND       ? "guest.find"
           : op == HOST_CALL_GUEST_SHUTDOWN ? "guest.shutdown"
                                            : api_agent_ops[op].name;
}

static void act(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    struct call *c = e->p;
    if (v->p.epoch != e->epoch) { /* the agent that asked is gone, see driver_crash() */
        call_free(c);
        return;
    }
    struct told *t = xcalloc(1, sizeof *t);
    t->call = c->id;
    t->op = c->op;
    struct refusal no = {.code = ERR_IO};
    bool question = c->op == HOST_CALL_GUEST_FIND;
    if (c->fails && !question && c->op != API_AGENT_OP_GUEST_KILL) {
        if (c->half)
            half(s, v, c->op, c->args);
        error_set(&t->error, ERR_IO, "the simulated driver failed");
    } else {
        bool guest = c->op >= API_AGENT_OP_COUNT || strncmp(api_agent_ops[c->op].name, "guest.", 6) == 0;
        bool cluster = c->op >= API_AGENT_OP_CLUSTER_CONFIGURE && c->op <= API_AGENT_OP_FENCE_RUN;
        t->result = guest     ? do_guest(s, v, c, &no)
                    : cluster ? do_cluster(s, v, c->op, c->args, &no.why)
                              : storage_do(s, v, c->op, c->args, &no.why);
        if (!t->result)
            error_set(&t->error, no.code, "%s", no.why ? no.why : "it cannot be done");
    }
    sim_trace(s, "%s: %s %s: %s", v->name, op_name(c->op), vm_of(c->args), t->error.code ? t->error.message : "done");
    pool_server_keeps_its_policy(s, v);
    int server = e->server;
    uint64_t epoch = e->epoch;
    call_free(c);
    struct sim_event *next = sim_at(s, s->now + sim_between(s, 10, 20000), tell);
    sim_is_work(s, next);
    next->server = server;
    next->epoch = epoch;
    next->drop = drop_told;
    next->p = t;
    check_event(s);
}

/* The agent's child processes die with it, and leave what they leave at once. */
void driver_crash(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    for (size_t k = 0; k < s->n; k++) {
        const struct sim_event *e = &s->heap[k];
        const struct call *c = e->p;
        if (e->run == act && e->server == i && e->epoch == v->p.epoch && c->half)
            half(s, v, c->op, c->args);
    }
}

void driver_call(struct sim *s, int i, const struct host_effect *e) {
    struct sim_server *v = &s->servers[i];
    struct call *c = xcalloc(1, sizeof *c);
    c->id = e->call;
    c->op = e->op;
    c->args = json_incref(e->args);
    c->half = sim_fault(s, FAULT_CALL_HALF);
    c->fails = c->half || sim_fault(s, FAULT_CALL_FAILS);
    int64_t took = sim_between(s, 100, 50000);
    if (sim_fault(s, FAULT_CALL_SLOW))
        took += sim_between(s, 1, 30000) * US_PER_MS;
    if (sim_fault(s, FAULT_CALL_HANGS))
        took += 600LL * 1000 * US_PER_MS;
    sim_trace(s, "%s: %s %s begins", v->name, op_name(e->op), vm_of(e->args));
    const struct sim_guest *g = driver_guest(v, vm_of(e->args));
    c->life = g ? g->life : 0;
    struct sim_event *next = sim_at(s, s->now + took, act);
    sim_is_work(s, next);
    next->server = i;
    next->epoch = v->p.epoch;
    next->drop = drop_call;
    next->p = c;
}

void driver_cancel(struct sim *s, int i, uint64_t call) {
    struct sim_server *v = &s->servers[i];
    for (size_t k = 0; k < s->n; k++) {
        struct sim_event *e = &s->heap[k];
        if (e->run != act || e->server != i || e->epoch != v->p.epoch || ((struct call *)e->p)->id != call)
            continue;
        struct call *c = e->p;
        if (sim_random(s, 2))
            return; /* too late, or it cannot be cancelled */
        struct told *t = xcalloc(1, sizeof *t);
        t->call = call;
        error_set(&t->error, ERR_CANCELLED, "cancelled");
        c->id = 0; /* the other event tells nobody, and does nothing */
        c->op = API_AGENT_OP_GUEST_LIMITS;
        struct sim_event *next = sim_at(s, s->now + sim_between(s, 10, 20000), tell);
        sim_is_work(s, next);
        next->server = i;
        next->epoch = v->p.epoch;
        next->drop = drop_told;
        next->p = t;
        return;
    }
}

static void drop_vm(struct sim_event *e) { free(e->p); }

static void guest_tells(struct sim *s, int i, const char *vm, enum guest_event event, const char *reason) {
    struct sim_server *v = &s->servers[i];
    sim_trace(s, "%s: guest %s: %s", v->name, vm, reason);
    if (!v->p.up || s->now < v->p.paused_until)
        return; /* found out later, by guest.find */
    server_enter(s, i);
    host_guest_event(v->h, vm, event, reason);
    server_drain(s, i);
}

static void kill_is_seen(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (v->p.up && v->p.epoch == e->epoch && sim_deferred(s, &v->p, e))
        return;
    _cleanup_free_ char *vm = e->p;
    if (!v->p.up || v->p.epoch != e->epoch)
        return;
    ring_tell(s, e->server);
    guest_tells(s, e->server, vm, GUEST_DIED, "killed: this server has lost its pool");
}

void driver_kill(struct sim *s, int i, const char *vm, uint64_t life) {
    struct sim_server *v = &s->servers[i];
    struct sim_guest *g = driver_guest(v, vm);
    if (!g || g->life != life)
        return;
    sim_trace(s, "%s: guest %s is killed by the deadman", v->name, vm);
    cover_hit(s->cover, "cluster", "the deadman kills");
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 100, 5000), kill_is_seen);
    e->server = i;
    e->epoch = v->p.epoch;
    e->p = xstrdup(vm); /* may be the guest's own */
    e->drop = drop_vm;
    guest_free(g);
}

void driver_power_off(struct sim *s, int i) {
    struct sim_guest *g, *next;
    list_for_each_safe(g, next, &s->servers[i].guests, link) guest_free(g);
}

void driver_guest_ends(struct sim *s, int i, const char *vm, bool off) {
    if (off)
        driver_guest(&s->servers[i], vm)->over = true;
    else
        guest_free(driver_guest(&s->servers[i], vm));
    guest_tells(s, i, vm, off ? GUEST_POWEROFF : GUEST_DIED, off ? "powered itself off" : "killed from outside");
}

void driver_life(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    char vm[UUID_LEN + 1];
    struct sim_guest *g, *next;
    if (v->p.up && s->now < v->p.paused_until)
        return;
    if (sim_fault(s, FAULT_REPOSITORY_LOST))
        v->repositories_lost = true;
    else if (!sim_random(s, 20) || !s->faults_on)
        v->repositories_lost = false;
    list_for_each_safe(g, next, &v->guests, link) {
        memcpy(vm, g->vm, sizeof vm);
        if (g->over)
            continue;
        if (g->running)
            guest_runs(s, g);
        if (g->running && g->asked && sim_random(s, 3)) {
            g->asked = false;
            g->over = true;
            guest_tells(s, i, vm, GUEST_POWEROFF, "shut down as asked");
            return;
        }
        if (g->running && sim_fault(s, FAULT_GUEST_OFF)) {
            driver_guest_ends(s, i, vm, true);
            return;
        }
        if (sim_fault(s, FAULT_GUEST_DIES)) {
            driver_guest_ends(s, i, vm, false);
            return;
        }
        if (g->running && sim_fault(s, FAULT_GUEST_RESETS)) {
            guest_tells(s, i, vm, GUEST_RESET, "reset");
            return;
        }
    }
}

void driver_upload(struct sim *s, int i, const char *upload) {
    struct sim_server *v = &s->servers[i];
    struct sim_file *f = NULL;
    size_t pos = 0;
    const char *key;
    void *value;
    while (!f && map_next(&s->storage, &pos, &key, &value))
        if (strncmp(key, "upload/", 7) == 0 && strncmp(key + 7, upload, UUID_LEN) == 0 &&
            map_get(&v->opened, key + 7 + UUID_LEN + 1))
            f = value;
    if (!f || !v->p.up || !v->connected || s->now < v->p.paused_until)
        return;
    f->received = f->size;
    struct api_upload_report r;
    api_upload_report_init(&r);
    str_set(&r.upload, upload);
    r.received = f->received;
    server_enter(s, i);
    host_upload_received(v->h, &r);
    api_upload_report_done(&r);
    server_drain(s, i);
}

void driver_done(struct sim_server *v) {
    struct sim_guest *g, *next;
    list_for_each_safe(g, next, &v->guests, link) guest_free(g);
    map_done(&v->opened);
}
