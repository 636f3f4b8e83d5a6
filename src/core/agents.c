/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers' connections and what their agents say. An agent is ready once its report has been taken in: only then are
 * the calls of running jobs sent (again), so that a call never overtakes what the server has to say of the world.
 */
#include "core/core_int.h"

#include <errno.h>

/* A short cut of the network is no news: guests become unknown only after this. */
#define OFFLINE_GRACE_MS 10000
#define AWAY_AT_ONCE     4 /* servers whose guests become unknown in one event */
#define CPUS_MAX         (1 << 20)
#define MEMORY_MAX       (INT64_C(1) << 50)
#define UNKNOWN_MAX      100 /* unknown guests that are shown of one server */

static void held_free(struct api_guest_report *g) {
    if (!g)
        return;
    api_guest_report_done(g);
    free(g);
}

struct agent *core_agent(struct core *c, const char *server) {
    struct agent *a = map_get(&c->agents, server);
    if (!a) {
        a = xcalloc(1, sizeof *a);
        a->server = xstrdup(server);
        map_put(&c->agents, server, a);
    }
    return a;
}

void core_agents_done(struct core *c) {
    size_t pos = 0;
    void *value;
    while (map_next(&c->agents, &pos, NULL, &value)) {
        struct agent *a = value;
        agent_cluster_free(a);
        free(a->witness);
        free(a->server);
        free(a);
    }
    map_done(&c->agents);
    pos = 0;
    while (map_next(&c->held, &pos, NULL, &value))
        held_free(value);
    map_done(&c->held);
    map_done(&c->arriving);
}

#define TELL_AGAIN_MS 30000
#define TELL_MOST_MS  3600000

void agent_tell_later(struct core *c, const char *server) {
    struct agent *a = core_agent(c, server);
    if (a->tell_at)
        return;
    a->tell_wait = a->tell_wait ? a->tell_wait * 2 : TELL_AGAIN_MS;
    if (a->tell_wait > TELL_MOST_MS)
        a->tell_wait = TELL_MOST_MS;
    a->tell_at = c->mono_ms + a->tell_wait;
}

bool core_agent_ready(const struct core *c, const char *server) {
    const struct agent *a = map_get(&c->agents, server);
    return a && a->connected && a->reported;
}

bool core_agent_is_connected(const struct core *c, const char *server) {
    const struct agent *a = map_get(&c->agents, server);
    return a && a->connected;
}

int core_need_agent(struct core *c, const char *server, struct error *e) {
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    if (!s)
        return error_set(e, ERR_CONFLICT, "its server is no longer in the inventory");
    if (!core_agent_is_connected(c, s->id))
        return error_set(e, ERR_UNAVAILABLE,
                         "server \"%s\" is not connected: check that tarn-agent runs there and reaches "
                         "the manager",
                         s->name);
    return 0;
}

void core_set_vm_state(struct core *c, const char *vm, enum api_vm_state state, const char *reason) {
    const struct api_vm *old = CORE_GET(c, vm, VM, vm);
    if (!old || (old->state == state && str_eq(old->state_reason, str_or(reason, ""))))
        return;
    struct api_vm *v = CORE_COPY(vm, VM, old);
    v->state = state;
    v->restarting &= state == API_VM_STATE_CRASHED;
    str_set(&v->state_reason, str_or(reason, ""));
    core_put(c, API_KIND_VM, v);
}

static void vm_unknown(struct core *c, const struct api_vm *vm, const struct api_server *s) {
    bool shown = vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED ||
                 vm->state == API_VM_STATE_STARTING || vm->state == API_VM_STATE_STOPPING;
    if (!shown || jobs_hold(c, vm->id))
        return;
    _cleanup_free_ char *reason = xasprintf("server %s does not answer", s->name);
    core_set_vm_state(c, vm->id, API_VM_STATE_UNKNOWN, reason);
}

static void vms_unknown(struct core *c, const struct api_server *s) {
    size_t n;
    _cleanup_free_ struct object **vms = server_vms(c, s->id, &n);
    for (size_t i = 0; i < n; i++)
        vm_unknown(c, vms[i]->v->data, s);
}

void agent_vm_free(struct core *c, const char *id) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, id);
    const struct api_server *s = vm ? CORE_GET(c, server, SERVER, vm->server) : NULL;
    if (s && s->state == API_SERVER_STATE_OFFLINE && !core_agent(c, s->id)->offline_at)
        vm_unknown(c, vm, s);
}

static void set_offline(struct core *c, const char *server, const char *why) {
    const struct api_server *old = CORE_GET(c, server, SERVER, server);
    if (!old || old->state == API_SERVER_STATE_OFFLINE)
        return;
    struct api_server *s = CORE_COPY(server, SERVER, old);
    s->state = API_SERVER_STATE_OFFLINE;
    str_set(&s->state_reason, str_or(why, "not connected"));
    core_event(c, API_SEVERITY_WARNING, "tarn", "server.offline", API_KIND_SERVER, s->id, s->name, NULL,
               "Server %s is offline: %s", s->name, s->state_reason);
    core_put(c, API_KIND_SERVER, s);
}

/* After loading, servers have the grace too before their guests become unknown. */
void core_agents_start(struct core *c) {
    struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++)
        core_agent(c, t->sorted[i]->id)->offline_at = c->mono_ms + OFFLINE_GRACE_MS;
    t = &c->tables[API_KIND_UPLOAD];
    for (size_t i = 0; i < t->n; i++) /* when its last bytes came is not known any more */
        core_upload_heard(c, t->sorted[i]->id);
}

/* Placement adds and multiplies what a server says it has. */
static void bring_within(int64_t *n, int64_t most) {
    if (*n < 0 || *n > most)
        *n = *n < 0 ? 0 : most;
}

static void take_hello(struct api_server *s, const struct api_agent_hello *hello) {
    str_set(&s->version, hello->version);
    api_hardware_done(&s->hardware);
    api_hardware_copy(&s->hardware, &hello->server.hardware);
    bring_within(&s->hardware.cpus, CPUS_MAX);
    bring_within(&s->hardware.memory, MEMORY_MAX);
    s->has_hardware = true;
    for (size_t i = 0; i < s->n_hypervisors; i++)
        api_hypervisor_done(&s->hypervisors[i]);
    s->n_hypervisors = hello->server.n_hypervisors;
    s->hypervisors = xreallocarray(s->hypervisors, s->n_hypervisors, sizeof *s->hypervisors);
    for (size_t i = 0; i < s->n_hypervisors; i++)
        api_hypervisor_copy(&s->hypervisors[i], &hello->server.hypervisors[i]);
}

/* Something was plugged in or out, or an address has come or gone. */
static void hello_again(struct core *c, const char *server, const struct api_agent_hello *hello) {
    const struct api_server *old = CORE_GET(c, server, SERVER, server);
    struct api_server *s = CORE_COPY(server, SERVER, old);
    take_hello(s, hello);
    server_note_addresses(c, old, s);
    core_put(c, API_KIND_SERVER, s);
    pool_refresh(c, s->pool);
}

void core_agent_connected(struct core *c, const char *server, const struct api_agent_hello *hello) {
    struct agent *a = core_agent(c, server);
    c->deadline = -1;
    a->connected = true;
    a->reported = false;
    a->offline_at = 0;
    const struct api_server *old = CORE_GET(c, server, SERVER, server);
    if (!old || c->read_only)
        return;
    core_begin(c);
    struct api_server *s = CORE_COPY(server, SERVER, old);
    s->state = API_SERVER_STATE_ONLINE;
    str_set(&s->state_reason, "");
    take_hello(s, hello);
    core_alarm_clear(c, s->id, "server.offline");
    str_set(&s->connected_from, hello->address);
    server_note_addresses(c, old, s);
    if (old->state == API_SERVER_STATE_OFFLINE)
        core_event(c, API_SEVERITY_INFO, "tarn", "server.online", API_KIND_SERVER, s->id, s->name, NULL,
                   "Server %s is online", s->name);
    core_put(c, API_KIND_SERVER, s);
    pool_refresh(c, s->pool);
    failover_connected(c, server);
    core_end(c);
}

void core_agent_disconnected(struct core *c, const char *server, const char *why) {
    struct agent *a = map_get(&c->agents, server);
    if (!a || !a->connected)
        return;
    c->deadline = -1;
    a->connected = a->reported = false;
    a->offline_at = c->mono_ms + OFFLINE_GRACE_MS;
    if (c->read_only)
        return;
    core_begin(c);
    set_offline(c, server, why);
    failover_disconnected(c, server);
    core_end(c);
}

int64_t core_agents_deadline(const struct core *c) {
    int64_t next = INT64_MAX;
    size_t pos = 0;
    void *value;
    while (map_next(&c->agents, &pos, NULL, &value)) {
        const struct agent *a = value;
        if (a->offline_at && a->offline_at < next)
            next = a->offline_at;
    }
    return next;
}

/* Some at a time, when a network has failed for all: a thousand servers' guests are seconds of work. */
void core_agents_tick(struct core *c) {
    size_t pos = 0, n = 0;
    void *value;
    while (n < AWAY_AT_ONCE && map_next(&c->agents, &pos, NULL, &value)) {
        struct agent *a = value;
        if (!a->offline_at || c->mono_ms < a->offline_at)
            continue;
        n++;
        a->offline_at = 0;
        set_offline(c, a->server, "not connected");
        const struct api_server *s = CORE_GET(c, server, SERVER, a->server);
        if (!s)
            continue;
        vms_unknown(c, s);
        alarms_server_offline(c, s);
        if (s->has_cluster && s->cluster.gone)
            alarms_server_gone(c, s, false, "it does not answer, and the others of its pool do not see it");
        jobs_reroute(c, s->id);
    }
}

/* ---- what agents say ---- */

/* What has gone wrong there, and not what somebody has asked for. */
static bool is_of_server(enum error_code code) {
    return code == ERR_IO || code == ERR_NO_SPACE || code == ERR_GUEST || code == ERR_UNAVAILABLE;
}

/* The name of what has the id that stands there; NULL: none does. */
static const char *name_at(const struct core *c, const char *text) {
    char id[UUID_LEN + 1];
    if (strnlen(text, UUID_LEN) < UUID_LEN)
        return NULL;
    memcpy(id, text, UUID_LEN);
    id[UUID_LEN] = 0;
    for (int kind = 0; kind < API_KIND_COUNT && uuid_valid(id); kind++) {
        const struct object *o = kind_named((enum api_kind)kind) ? map_get(&c->tables[kind].by_id, id) : NULL;
        if (o && o->v)
            return object_name(o);
    }
    return NULL;
}

/* "This server" is one of many here, and agents know objects by their ids alone. */
int core_agent_error(const struct core *c, const char *server, const json_t *said, struct error *e) {
    static const char self[] = "this server";
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    int r = error_parse(e, said);
    const char *text = str_or(e->message, ""), *name;
    struct buf out = {0};
    if (!s)
        return r;
    if (!strstr(text, self) && !strstr(text, s->name) && is_of_server(e->code))
        buf_addf(&out, "server \"%s\": ", s->name);
    while (*text) {
        if (strncmp(text, self, sizeof self - 1) == 0) {
            buf_addf(&out, "server \"%s\"", s->name);
            text += sizeof self - 1;
        } else if ((name = name_at(c, text))) {
            buf_addf(&out, "\"%s\"", name);
            text += UUID_LEN;
        } else {
            buf_addc(&out, *text++);
        }
    }
    str_take(&e->message, out.data ? buf_take(&out) : xstrdup(""));
    return r;
}

static const char *const state_words[] = {
    [API_VM_STATE_STOPPED] = "stopped",
    [API_VM_STATE_RUNNING] = "runs",
    [API_VM_STATE_SUSPENDED] = "is suspended",
    [API_VM_STATE_CRASHED] = "crashed",
};

/* These two are the manager's to say. */
bool guest_state_valid(enum api_vm_state state) {
    return state != API_VM_STATE_CREATING && state != API_VM_STATE_DELETING;
}

static void hold_report(struct core *c, const struct api_guest_report *g) {
    struct api_guest_report *copy = xcalloc(1, sizeof *copy);
    api_guest_report_copy(copy, g);
    held_free(map_put(&c->held, g->vm, copy));
}

void core_drop_held_report(struct core *c, const char *vm, int64_t answered_sequence) {
    const struct api_guest_report *g = map_get(&c->held, vm);
    if (g && g->sequence <= answered_sequence)
        held_free(map_remove(&c->held, vm));
}

bool core_held_guarded(const struct core *c, const char *vm, const struct api_guest_report *answer) {
    const struct api_guest_report *g = map_get(&c->held, vm);
    return g && g->sequence == answer->sequence ? g->guarded : answer->guarded;
}

void core_drop_held_alive(struct core *c, const char *vm) {
    const struct api_guest_report *g = map_get(&c->held, vm);
    if (g && !(state_is_off(g->state) && !g->should_run))
        held_free(map_remove(&c->held, vm));
}

static void apply_guest(struct core *c, const struct api_server *s, const struct api_guest_report *g) {
    const struct api_vm *old = CORE_GET(c, vm, VM, g->vm);
    if (!old || !str_eq(old->server, s->id) || !guest_state_valid(g->state))
        return;
    /* While a job moves it, the job's answers tell its state; what it shows meanwhile is the job's intent. */
    if (jobs_hold(c, old->id)) {
        hold_report(c, g);
        return;
    }
    if (old->state == API_VM_STATE_CREATING || old->state == API_VM_STATE_DELETING)
        return;
    if (old->state != g->state && old->state != API_VM_STATE_UNKNOWN)
        undo_touched(c, old->id);
    bool lost = g->lost && g->state == API_VM_STATE_CRASHED;
    bool restarted = old->restarts != g->restarts || (!str_empty(g->started) && !str_eq(old->started, g->started));
    bool watched = failover_watches(c, s->id, g);
    if (old->state == g->state && str_eq(old->state_reason, g->reason) && !restarted && old->watched == watched &&
        old->restarting == vm_will_restart(g)) {
        if (lost) /* what was to follow may have gone down with a manager that had just noted this */
            failover_vm_lost(c, g->vm);
        return;
    }
    struct api_vm *v = CORE_COPY(vm, VM, old);
    v->state = g->state;
    v->restarts = g->restarts;
    v->watched = watched;
    v->restarting = vm_will_restart(g);
    str_set(&v->state_reason, g->reason);
    if (!str_empty(g->started))
        str_set(&v->started, g->started);
    if (old->state != g->state || restarted) {
        const char *word = g->state < ARRAY_LEN(state_words) && state_words[g->state] ? state_words[g->state]
                                                                                      : api_vm_state_text(g->state);
        _cleanup_free_ char *actor = xasprintf("server:%s", s->name),
                            *code = xasprintf("vm.%s", api_vm_state_text(g->state));
        core_event(c, g->state == API_VM_STATE_CRASHED ? API_SEVERITY_ERROR : API_SEVERITY_INFO, actor, code,
                   API_KIND_VM, v->id, v->name, NULL, "Virtual machine %s %s%s%s", v->name, word,
                   str_empty(g->reason) ? "" : ": ", g->reason);
    }
    _cleanup_free_ char *id = xstrdup(v->id);
    core_put(c, API_KIND_VM, v);
    if (lost)
        failover_vm_lost(c, id);
}

void core_apply_held_report(struct core *c, const char *vm) {
    struct api_guest_report *g = map_remove(&c->held, vm);
    const struct api_vm *v = g ? CORE_GET(c, vm, VM, vm) : NULL;
    const struct api_server *s = v ? CORE_GET(c, server, SERVER, v->server) : NULL;
    if (s)
        apply_guest(c, s, g);
    held_free(g);
}

static void repository_event(struct core *c, const struct api_repository *r, const struct api_repository_report *p) {
    bool usable = r->state == API_OBJECT_STATE_READY;
    core_event(c, usable ? API_SEVERITY_INFO : API_SEVERITY_ERROR, "tarn",
               usable ? "repository.ready" : "repository.unavailable", API_KIND_REPOSITORY, r->id, r->name, NULL,
               "Storage repository %s is %s%s%s", r->name, usable ? "usable again" : "not usable",
               usable || str_empty(p->reason) ? "" : ": ", usable ? "" : p->reason);
}

/* One of several servers cannot use it, or can again: the repository itself is as usable as before. */
static void repository_partly(struct core *c, const struct api_server *s, const struct api_repository *r,
                              const struct api_repository_report *p) {
    core_event(c, p->usable ? API_SEVERITY_INFO : API_SEVERITY_WARNING, "tarn",
               p->usable ? "repository.server-ready" : "repository.server-unavailable", API_KIND_REPOSITORY, r->id,
               r->name, NULL, "Server %s %s storage repository %s%s%s", s->name,
               p->usable ? "can use again" : "cannot use", r->name, p->usable || str_empty(p->reason) ? "" : ": ",
               p->usable ? "" : p->reason);
}

static void apply_repository(struct core *c, const char *server, const struct api_repository_report *r) {
    const struct api_repository *old = CORE_GET(c, repository, REPOSITORY, r->repository);
    const struct api_repository_server *here = repository_on(old, server);
    if (!here)
        return;
    bool same = here->usable == r->usable && str_eq(here->reason, r->usable ? "" : r->reason);
    bool counts = r->usable && (old->n_presented == 1 || str_eq(repository_route(c, old, NULL), server));
    if (same && (!counts || (r->capacity == old->capacity && r->free == old->free)))
        return;
    struct api_repository *n = CORE_COPY(repository, REPOSITORY, old);
    repository_presented(n, server, r->usable, r->usable ? "" : r->reason);
    if (counts || old->n_presented == 1) {
        n->capacity = r->capacity;
        n->free = r->free;
    }
    if (old->state == API_OBJECT_STATE_READY || old->state == API_OBJECT_STATE_UNAVAILABLE)
        n->state = repository_usable(n) ? API_OBJECT_STATE_READY : API_OBJECT_STATE_UNAVAILABLE;
    if (same) {
        core_put_volatile(c, API_KIND_REPOSITORY, n);
        return;
    }
    if (n->state != old->state)
        repository_event(c, n, r);
    else if (here->usable != r->usable && n->n_presented > 1)
        repository_partly(c, CORE_GET(c, server, SERVER, server), n, r);
    core_put(c, API_KIND_REPOSITORY, n);
}

static int compare_strings(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void show_unknown_guests(struct core *c, const struct api_server *s, const struct api_agent_report *r) {
    char **names = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n_guests; i++) {
        const struct api_vm *vm = CORE_GET(c, vm, VM, r->guests[i].vm);
        bool alive = r->guests[i].state == API_VM_STATE_RUNNING || r->guests[i].state == API_VM_STATE_SUSPENDED;
        if (alive && n < UNKNOWN_MAX && (!vm || !str_eq(vm->server, s->id)) &&
            !failover_stale(c, s->id, &r->guests[i])) {
            names = xreallocarray(names, n + 1, sizeof *names);
            names[n++] = xasprintf("%.255s (%.64s)", str_or(r->guests[i].name, "unnamed"), r->guests[i].vm);
        }
    }
    if (n)
        qsort(names, n, sizeof *names, compare_strings);
    bool same = n == s->n_unknown_guests;
    for (size_t i = 0; i < n && same; i++)
        same = str_eq(names[i], s->unknown_guests[i]);
    if (!same) {
        struct api_server *put = CORE_COPY(server, SERVER, s);
        for (size_t i = 0; i < put->n_unknown_guests; i++)
            free(put->unknown_guests[i]);
        free(put->unknown_guests);
        put->unknown_guests = TAKE_PTR(names);
        put->n_unknown_guests = n;
        if (n)
            core_event(c, API_SEVERITY_WARNING, "tarn", "server.unknown-guests", API_KIND_SERVER, s->id, s->name, NULL,
                       "Server %s runs %zu guests that are not in the inventory; they are left alone", s->name, n);
        core_put(c, API_KIND_SERVER, put);
    } else {
        for (size_t i = 0; i < n; i++)
            free(names[i]);
        free(names);
    }
}

/* What the inventory says runs there and the agent does not know. */
static void stop_unreported(struct core *c, const char *server, const struct api_agent_report *r) {
    struct map known = {0};
    for (size_t i = 0; i < r->n_guests; i++)
        if (!str_empty(r->guests[i].vm))
            map_put(&known, r->guests[i].vm, &r->guests[i]);
    size_t n;
    _cleanup_free_ struct object **vms = server_vms(c, server, &n);
    for (size_t i = 0; i < n; i++) {
        const struct api_vm *vm = vms[i]->v->data;
        if (map_get(&known, vm->id) || jobs_hold(c, vm->id))
            continue;
        if (vm->state == API_VM_STATE_RUNNING || vm->state == API_VM_STATE_SUSPENDED ||
            vm->state == API_VM_STATE_UNKNOWN || vm->state == API_VM_STATE_STARTING ||
            vm->state == API_VM_STATE_STOPPING) {
            core_event(c, API_SEVERITY_WARNING, "tarn", "vm.stopped", API_KIND_VM, vm->id, vm->name, NULL,
                       "Virtual machine %s does not run: its server does not know it", vm->name);
            core_set_vm_state(c, vm->id, API_VM_STATE_STOPPED, "its server did not know it");
        }
    }
    map_done(&known);
}

/* What has become another server's meanwhile. */
static void kill_stale(struct core *c, const char *server, const struct api_agent_report *r) {
    for (size_t i = 0; i < r->n_guests; i++)
        if (failover_stale(c, server, &r->guests[i]))
            failover_kill_stale(c, server, &r->guests[i]);
}

static void forget_answers(struct core *c, const char *server, const char *op_id) {
    _cleanup_free_ char *job = xstrndup(op_id, strcspn(op_id, "/"));
    if (!jobs_active(c, job)) {
        json_t *m = json_pack("{s:o, s:s, s:{s:s}}", "id", json_sprintf("forget/%s", job), "op", "op.forget", "args",
                              "job", job);
        core_send(c, server, m);
    }
}

/* It was stopped on request while its server was lost and could not be told: it is not to restart it now. */
static bool ended_without_it(const struct core *c, const char *server, const struct api_guest_report *g) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, g->vm);
    return vm && str_eq(vm->server, server) && vm->state == API_VM_STATE_STOPPED && !vm->restarting &&
           vm_will_restart(g) && !jobs_hold(c, vm->id) && (str_empty(g->started) || str_eq(g->started, vm->started));
}

static void end_there(struct core *c, const char *server, const struct api_guest_report *g) {
    const struct api_vm *vm = CORE_GET(c, vm, VM, g->vm);
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    core_event(c, API_SEVERITY_INFO, "tarn", "vm.stays-stopped", API_KIND_VM, vm->id, vm->name, NULL,
               "Virtual machine %s had ended on server %s and waited for its restart there: it was stopped while the "
               "server was away, and is not restarted",
               vm->name, s->name);
    failover_kill_stale(c, server, g);
}

static int take_report(struct core *c, const char *server, const json_t *args, struct error *e) {
    struct api_agent_report r;
    int result = api_agent_report_parse(args, API_PEER, &r, e);
    if (result < 0)
        return result;
    const struct api_server *s = CORE_GET(c, server, SERVER, server);
    struct agent *a = core_agent(c, server);
    a->armed |= r.cluster.armed;
    for (size_t i = 0; i < r.n_guests; i++) {
        if (ended_without_it(c, server, &r.guests[i]))
            end_there(c, server, &r.guests[i]);
        else
            apply_guest(c, s, &r.guests[i]);
    }
    for (size_t i = 0; i < r.n_repositories; i++)
        apply_repository(c, server, &r.repositories[i]);
    stop_unreported(c, server, &r);
    kill_stale(c, server, &r);
    s = CORE_GET(c, server, SERVER, server);
    show_unknown_guests(c, s, &r);
    a->reported = true;
    recover_soon(c); /* it was no place for anything until now */
    failover_state(c, server, &r.cluster);
    jobs_resend(c, server);
    for (size_t i = 0; i < r.n_guests; i++)
        vm_tell_again(c, r.guests[i].vm);
    s = CORE_GET(c, server, SERVER, server);
    cluster_sync(c, s->pool); /* it may have been missing */
    for (size_t i = 0; i < r.n_done; i++)
        if (i == 0 || strncmp(r.done[i], r.done[i - 1], UUID_LEN) != 0)
            forget_answers(c, server, r.done[i]);
    api_agent_report_done(&r);
    return 0;
}

static int take_event(struct core *c, const char *server, const char *event, const json_t *args, struct error *e) {
    if (str_eq(event, "report"))
        return take_report(c, server, args, e);
    if (str_eq(event, "hello")) {
        struct api_agent_hello hello;
        int r = api_agent_hello_parse(args, API_PEER, &hello, e);
        if (r == 0) {
            hello_again(c, server, &hello);
            api_agent_hello_done(&hello);
        }
        return r;
    }
    if (str_eq(event, "guest.state")) {
        struct api_guest_report g;
        int r = api_guest_report_parse(args, API_PEER, &g, e);
        if (r == 0) {
            apply_guest(c, CORE_GET(c, server, SERVER, server), &g);
            vm_tell_again(c, g.vm);
            failover_came_up(c, server, &g);
            api_guest_report_done(&g);
        }
        return r;
    }
    if (str_eq(event, "cluster.state")) {
        struct api_cluster_state state;
        int r = api_cluster_state_parse(args, API_PEER, &state, e);
        if (r == 0) {
            failover_state(c, server, &state);
            api_cluster_state_done(&state);
        }
        return r;
    }
    if (str_eq(event, "op.progress")) {
        jobs_progress(c, server, json_str(args, "op"), (int)json_int(args, "percent", 0), json_str(args, "message"));
        return 0;
    }
    if (str_eq(event, "repository.state")) {
        struct api_repository_report rep;
        int r = api_repository_report_parse(args, API_PEER, &rep, e);
        if (r == 0) {
            apply_repository(c, server, &rep);
            api_repository_report_done(&rep);
        }
        return r;
    }
    if (str_eq(event, "upload.received")) {
        const struct api_upload *old = CORE_GET(c, upload, UPLOAD, json_str(args, "upload"));
        int64_t received = json_int(args, "received", -1);
        const struct api_repository *rep = old ? CORE_GET(c, repository, REPOSITORY, old->repository) : NULL;
        if (!repository_on(rep, server))
            return 0; /* another server's: not for this one to say */
        if (received < 0 || received > old->size || received == old->received)
            return 0;
        struct api_upload *u = CORE_COPY(upload, UPLOAD, old);
        u->received = received;
        if (received)
            core_upload_heard(c, u->id);
        u->state = received == u->size ? API_UPLOAD_STATE_COMPLETE : API_UPLOAD_STATE_OPEN;
        core_put(c, API_KIND_UPLOAD, u);
        return 0;
    }
    return error_set(e, ERR_INVALID, "unknown event");
}

void core_agent_message(struct core *c, const char *server, const json_t *message) {
    c->counts.agent_messages++;
    if (c->read_only || !CORE_GET(c, server, SERVER, server))
        return; /* it will say so again when it reconnects, which it is made to do */
    _cleanup_error_ struct error e = ERROR_INIT;
    core_begin(c);
    const char *id = json_string_value(json_object_get(message, "id"));
    const char *event = json_string_value(json_object_get(message, "event"));
    int r = 0;
    if (id && strncmp(id, "check/", 6) == 0)
        failover_answer(c, server, id, message);
    else if (id)
        jobs_answer(c, server, id, message);
    else if (event)
        r = take_event(c, server, event, json_object_get(message, "args"), &e);
    else
        r = -EINVAL;
    if (r < 0)
        c->counts.agent_errors++;
    core_end(c);
}
