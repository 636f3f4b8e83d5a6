/* SPDX-License-Identifier: Apache-2.0 */
/* A server: the host brain as a process, its store, and its connection to the manager. */
#include "sim/sim.h"

#define RESTART_MIN_MS 200
#define RESTART_MAX_MS 8000
#define HEARTBEAT_MS   15000

void server_init(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    list_init(&v->guests);
    disk_init(&v->p.disk);
    v->name = xasprintf("server-%d", i);
    v->p.name = v->name;
    v->p.drift_ppm = (int)sim_between(s, -200, 200);
    v->p.wall_offset_ms = sim_between(s, -3000, 3000);
}

void server_enter(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    host_set_time(v->h, sim_wall_ms(s, &v->p), sim_mono_ms(s, &v->p));
}

static void tick(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (!v->p.up || e->epoch != v->p.epoch || e->a != v->p.timer_id || sim_deferred(s, &v->p, e))
        return;
    v->p.timer_at = 0;
    server_enter(s, e->server);
    host_tick(v->h);
    server_drain(s, e->server);
}

void server_timer(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    int64_t next = host_next_deadline(v->h);
    if (next == INT64_MAX)
        return;
    int64_t at = s->now + (next - sim_mono_ms(s, &v->p)) * US_PER_MS;
    if (at < s->now + US_PER_MS)
        at = s->now + US_PER_MS;
    if (v->p.timer_at && v->p.timer_at <= at)
        return;
    v->p.timer_at = at;
    v->p.timer_id++;
    struct sim_event *e = sim_at(s, at, tick);
    e->server = i;
    e->a = v->p.timer_id;
    e->epoch = v->p.epoch;
}

static void up(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (v->p.up || e->epoch != v->p.epoch)
        return;
    if (!v->away) {
        server_start(s, e->server);
        return;
    }
    struct sim_event *again = sim_at(s, s->now + RESTART_MIN_MS * US_PER_MS, up);
    again->server = e->server;
    again->epoch = e->epoch;
}

void server_start(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    struct host_config config = {.version = "0.1"};
    _cleanup_error_ struct error why = ERROR_INIT;
    for (int k = 0; k < 4; k++)
        config.seed[k] = idgen_next(&s->rng);
    v->h = host_new(&config);
    v->p.up = true;
    v->p.epoch++;
    v->p.timer_at = 0;
    sim_trace(s, "%s: agent starts", v->name);
    server_enter(s, i);
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&v->p.disk.live, &pos, &key, &value))
        if (host_load(v->h, key, value, strlen(value), &why) < 0)
            sim_broken(s, "an agent can read what it has stored", "%s: %s", key, why.message);
    ring_tell(s, i);
    host_start(v->h);
    server_drain(s, i);
    if (v->p.up)
        server_connect_later(s, i);
}

static void crash(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    sim_trace(s, "%s: agent crashes", v->name);
    driver_crash(s, i);
    ring_agent_gone(s, i);
    host_free(v->h);
    v->h = NULL;
    v->p.up = false;
    v->p.epoch++;
    v->p.paused_until = 0;
    disk_crash(s, i, &v->p.disk);
    server_cut(s, i, "the agent has crashed");
    struct sim_event *e = sim_at(s, s->now + sim_between(s, RESTART_MIN_MS, RESTART_MAX_MS) * US_PER_MS, up);
    e->server = i;
    e->epoch = v->p.epoch;
}

void server_crash(struct sim *s, int i) {
    if (!s->servers[i].p.up)
        return;
    ring_deadman_again(s, i);
    crash(s, i);
}

/* All that runs on it ends at once; it comes back after a while. */
void server_power_off(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    sim_trace(s, "%s: power off", v->name);
    driver_power_off(s, i);
    ring_power_off(s, i);
    if (v->p.up)
        crash(s, i);
}

void server_stored(struct sim *s, int i, uint64_t seq, int result) {
    struct sim_server *v = &s->servers[i];
    if (!v->p.up)
        return;
    sim_trace(s, "%s: commit %llu: %d", v->name, (unsigned long long)seq, result);
    if (result < 0)
        disk_reset_error(&v->p.disk);
    server_enter(s, i);
    host_stored(v->h, seq, result);
    server_drain(s, i);
}

/* ---- connection ---- */

/* Each side learns of the cut by itself, at once or after the heartbeat's time. */
static void manager_learns(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (!s->m.p.up || e->a != s->m.p.epoch || v->connection != e->epoch || sim_deferred(s, &s->m.p, e))
        return; /* a newer connection has told it already */
    manager_enter(s);
    core_agent_disconnected(s->m.c, v->id, "the connection broke");
    manager_drain(s);
}

static void agent_learns(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (!v->p.up || e->a != v->p.epoch || v->connection != e->epoch || sim_deferred(s, &v->p, e))
        return;
    server_enter(s, e->server);
    host_disconnected(v->h);
    server_drain(s, e->server);
    if (v->p.up)
        server_connect_later(s, e->server);
}

void server_cut(struct sim *s, int i, const char *why) {
    struct sim_server *v = &s->servers[i];
    if (!v->connected)
        return;
    sim_trace(s, "%s: connection ends: %s", v->name, why);
    v->connected = false;
    v->deaf = v->mute = false;
    v->connection++;
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 100, 3000), manager_learns);
    e->server = i;
    e->epoch = v->connection;
    e->a = s->m.p.epoch;
    e = sim_at(s, s->now + sim_between(s, 100, 3000), agent_learns);
    e->server = i;
    e->epoch = v->connection;
    e->a = v->p.epoch;
}

static void heartbeat_ends(struct sim *s, struct sim_event *e) {
    if (s->servers[e->server].connection == e->epoch)
        server_cut(s, e->server, "no heartbeat");
}

static void connect(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    if (v->connected || !v->p.up || e->a != v->p.epoch || sim_deferred(s, &v->p, e))
        return;
    /* One that has been removed is refused: its certificate is unknown. */
    bool reached = s->m.p.up && v->id && s->now >= s->m.p.paused_until && s->now >= v->unreachable_until;
    if (!reached || !core_server(s->m.c, v->id)) {
        if (reached) {
            server_enter(s, e->server);
            host_disowned(v->h);
            server_drain(s, e->server);
        }
        server_connect_later(s, e->server);
        return;
    }
    v->connected = true;
    v->connection++;
    v->down_at = v->up_at = s->now;
    sim_trace(s, "%s: connected", v->name);
    struct api_agent_hello hello;
    struct api_agent_welcome welcome;
    api_agent_hello_init(&hello);
    api_agent_welcome_init(&welcome);
    str_set(&hello.version, "0.1");
    hello.protocol = API_AGENT_PROTOCOL;
    hello.server.hardware.memory = v->memory;
    hello.server.hardware.cpus = v->cpus;
    str_set(&welcome.server, v->id);
    int i = e->server;
    uint64_t connection = v->connection;
    manager_enter(s);
    core_agent_connected(s->m.c, v->id, &hello);
    manager_drain(s);
    if (v->p.up && v->connected && v->connection == connection) {
        server_enter(s, i);
        host_connected(v->h, &welcome);
        server_drain(s, i);
    }
    api_agent_hello_done(&hello);
    api_agent_welcome_done(&welcome);
}

void server_connect_later(struct sim *s, int i) {
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 100, 1500) * US_PER_MS, connect);
    e->server = i;
    e->a = s->servers[i].p.epoch;
}

/* A message under way; the text is for the trace. */
struct frame {
    json_t *message;
    char *text;
};

static struct frame *frame_new(const struct sim *s, const char *text, json_t *message) {
    struct frame *f = xcalloc(1, sizeof *f);
    f->message = json_incref(message);
    f->text = s->trace_all || s->trace_keep ? xstrdup(text) : NULL;
    return f;
}

static void frame_free(struct frame *f) {
    json_decref(f->message);
    free(f->text);
    free(f);
}
static void drop_frame(struct sim_event *e) { frame_free(e->p); }

/* True if the message is to be lost, and with it everything after it. */
static bool lost(struct sim *s, int i, bool *silent) {
    struct sim_server *v = &s->servers[i];
    if (sim_fault(s, FAULT_CUT)) {
        server_cut(s, i, "cut");
        return true;
    }
    if (!*silent && sim_fault(s, FAULT_HALF_CUT)) {
        *silent = true;
        struct sim_event *e = sim_at(s, s->now + sim_between(s, 1, HEARTBEAT_MS) * US_PER_MS, heartbeat_ends);
        e->server = i;
        e->epoch = v->connection;
    }
    return *silent;
}

static void agent_gets(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    struct frame *f = e->p;
    bool there = e->a ? e->a == v->p.epoch : v->connection == e->epoch;
    if (!v->p.up || !there) {
        frame_free(f);
        return;
    }
    e->a = v->p.epoch; /* in the socket of a stopped agent: it reads it when it goes on, whatever became of the
                          connection */
    if (sim_deferred(s, &v->p, e))
        return;
    sim_trace(s, "%s <- %s", v->name, f->text);
    ring_tell(s, e->server);
    server_enter(s, e->server);
    host_message(v->h, f->message);
    frame_free(f);
    server_drain(s, e->server);
}

void server_to_agent(struct sim *s, int i, const char *text, json_t *message) {
    struct sim_server *v = &s->servers[i];
    if (!v->connected || lost(s, i, &v->deaf))
        return;
    int64_t at = s->now + sim_between(s, 50, 3000);
    if (at <= v->down_at)
        at = v->down_at + 1;
    v->down_at = at;
    struct sim_event *e = sim_at(s, at, agent_gets);
    sim_is_work(s, e);
    e->server = i;
    e->epoch = v->connection;
    e->drop = drop_frame;
    e->p = frame_new(s, text, message);
}

static void manager_gets(struct sim *s, struct sim_event *e) {
    struct sim_server *v = &s->servers[e->server];
    struct frame *f = e->p;
    if (!s->m.p.up || v->connection != e->epoch) {
        frame_free(f);
        return;
    }
    if (sim_deferred(s, &s->m.p, e))
        return;
    sim_trace(s, "%s -> %s", v->name, f->text);
    manager_message(s, e->server, f->message);
    frame_free(f);
}

static void to_manager(struct sim *s, int i, const char *text, json_t *message) {
    struct sim_server *v = &s->servers[i];
    if (!v->connected || lost(s, i, &v->mute))
        return;
    int64_t at = s->now + sim_between(s, 50, 3000);
    if (at <= v->up_at)
        at = v->up_at + 1;
    v->up_at = at;
    struct sim_event *e = sim_at(s, at, manager_gets);
    sim_is_work(s, e);
    e->server = i;
    e->epoch = v->connection;
    e->drop = drop_frame;
    e->p = frame_new(s, text, message);
}

static void send(struct sim *s, int i, const char *text) {
    _cleanup_json_ json_t *m = NULL;
    if (json_parse(text, strlen(text), &m, NULL) < 0) {
        sim_broken(s, "agents speak JSON", "%.200s", text);
        return;
    }
    check_answer(s, i, m);
    to_manager(s, i, text, m);
}

static void carry_out(struct sim *s, int i, struct host_effect *e) {
    struct sim_server *v = &s->servers[i];
    switch (e->kind) {
    case HOST_COMMIT:
        disk_commit(s, i, &v->p, e->seq, TAKE_PTR(e->batch));
        break;
    case HOST_SEND:
        send(s, i, e->text);
        break;
    case HOST_CALL:
        check_call(s, i, e);
        driver_call(s, i, e);
        break;
    case HOST_CANCEL:
        driver_cancel(s, i, e->call);
        break;
    case HOST_CHANNEL:
        break;
    case HOST_DROP:
        server_cut(s, i, "a new lease");
        break;
    }
}

void server_drain(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    uint64_t epoch = v->p.epoch;
    struct host_effect *e;
    while (v->p.up && v->p.epoch == epoch && (e = host_next_effect(v->h))) {
        if (sim_fault(s, FAULT_AGENT_CRASH)) {
            host_effect_free(e);
            server_crash(s, i);
            return;
        }
        carry_out(s, i, e);
        host_effect_free(e);
    }
    if (v->p.up && v->p.epoch == epoch)
        server_timer(s, i);
}

void server_done(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    host_free(v->h);
    disk_done(&v->p.disk);
    driver_done(v);
    map_done(&v->done);
    free(v->id);
    free(v->name);
}
