/* SPDX-License-Identifier: Apache-2.0 */
/* The manager: the core, its store, and what a shell does with its effects. */
#include "sim/sim.h"

#define RESTART_MIN_MS 200
#define RESTART_MAX_MS 8000

void manager_enter(struct sim *s) {
    struct sim_manager *m = &s->m;
    core_set_time(m->c, sim_wall_ms(s, &m->p), sim_mono_ms(s, &m->p));
}

static void tick(struct sim *s, struct sim_event *e) {
    struct sim_manager *m = &s->m;
    if (!m->p.up || e->epoch != m->p.epoch || e->a != m->p.timer_id || sim_deferred(s, &m->p, e))
        return;
    m->p.timer_at = 0;
    manager_enter(s);
    core_tick(m->c);
    manager_drain(s);
}

void manager_timer(struct sim *s) {
    struct sim_manager *m = &s->m;
    int64_t next = core_next_deadline(m->c);
    if (next == INT64_MAX)
        return;
    int64_t at = s->now + (next - sim_mono_ms(s, &m->p)) * US_PER_MS;
    if (at < s->now + US_PER_MS)
        at = s->now + US_PER_MS;
    if (m->p.timer_at && m->p.timer_at <= at)
        return;
    m->p.timer_at = at;
    m->p.timer_id++;
    struct sim_event *e = sim_at(s, at, tick);
    e->a = m->p.timer_id;
    e->epoch = m->p.epoch;
}

static void up(struct sim *s, struct sim_event *e) {
    if (!s->m.p.up && e->epoch == s->m.p.epoch)
        manager_start(s);
}

void manager_start(struct sim *s) {
    struct sim_manager *m = &s->m;
    struct core_config config = {.version = "0.1", .history = 200};
    _cleanup_error_ struct error why = ERROR_INIT;
    for (int i = 0; i < 4; i++)
        config.seed[i] = idgen_next(&s->rng);
    m->c = core_new(&config);
    m->p.up = true;
    m->p.epoch++;
    m->p.timer_at = 0;
    sim_trace(s, "manager starts");
    manager_enter(s);
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&m->p.disk.live, &pos, &key, &value))
        if (core_load(m->c, key, value, strlen(value), &why) < 0)
            sim_broken(s, "a manager can read what it has stored", "%s: %s", key, why.message);
    core_start(m->c, 0);
    watch_load(s);
    manager_drain(s);
}

void manager_crash(struct sim *s) {
    struct sim_manager *m = &s->m;
    if (!m->p.up)
        return;
    sim_trace(s, "manager crashes");
    watch_done(s);
    core_free(m->c);
    m->c = NULL;
    m->p.up = false;
    m->p.epoch++;
    m->p.paused_until = 0;
    disk_crash(s, -1, &m->p.disk);
    client_forget_all(s);
    for (int i = 0; i < s->config.servers; i++)
        server_cut(s, i, "the manager has crashed");
    int64_t away = sim_fault(s, FAULT_MANAGER_AWAY) ? 60000 : RESTART_MAX_MS;
    struct sim_event *e = sim_at(s, s->now + sim_between(s, RESTART_MIN_MS, away) * US_PER_MS, up);
    e->epoch = m->p.epoch;
}

void manager_stored(struct sim *s, uint64_t seq, int result) {
    if (!s->m.p.up)
        return;
    sim_trace(s, "manager: commit %llu: %d", (unsigned long long)seq, result);
    manager_enter(s);
    core_stored(s->m.c, seq, result);
    manager_drain(s);
}

void manager_message(struct sim *s, int server, const json_t *message) {
    manager_enter(s);
    core_agent_message(s->m.c, s->servers[server].id, message);
    manager_drain(s);
}

static int server_by_id(struct sim *s, const char *id) {
    for (int i = 0; i < s->config.servers; i++)
        if (str_eq(s->servers[i].id, id))
            return i;
    return -1;
}

static void send(struct sim *s, const struct core_effect *e) {
    int i = server_by_id(s, e->server);
    if (i < 0)
        return;
    _cleanup_json_ json_t *m = NULL;
    if (json_parse(e->text, strlen(e->text), &m, NULL) < 0) {
        sim_broken(s, "the manager speaks JSON", "%.200s", e->text);
        return;
    }
    check_send(s, m);
    server_to_agent(s, i, e->text, m);
}

static void publish(struct sim *s, const struct core_effect *e) {
    static const char mark[] = ",\"object\":";
    const char *object = strstr(e->text, mark);
    if (object)
        object += strlen(mark);
    cover_publish(s, e, object);
    watch_publish(s, e, object);
}

static void carry_out(struct sim *s, struct core_effect *e) {
    int i;
    switch (e->kind) {
    case CORE_COMMIT:
        if (core_read_only(s->m.c))
            disk_reset_error(&s->m.p.disk);
        disk_commit(s, -1, &s->m.p, e->seq, TAKE_PTR(e->batch));
        break;
    case CORE_REPLY:
        client_reply(s, e->request, e->status, e->text);
        break;
    case CORE_HISTORY:
        client_reply(s, e->request, 200, NULL);
        break;
    case CORE_SEND:
        send(s, e);
        break;
    case CORE_PUBLISH:
        publish(s, e);
        break;
    case CORE_DROP:
        i = server_by_id(s, e->server);
        if (i >= 0)
            server_cut(s, i, "dropped by the manager");
        break;
    }
}

static struct core_effect *next_effect(struct core *c) {
    struct core_effect *e;
    while (!(e = core_next_effect(c)) && core_has_work(c))
        core_work(c);
    return e;
}

void manager_drain(struct sim *s) {
    struct sim_manager *m = &s->m;
    uint64_t epoch = m->p.epoch;
    struct core_effect *e;
    while (m->p.up && m->p.epoch == epoch && (e = next_effect(m->c))) {
        if (sim_fault(s, FAULT_MANAGER_CRASH)) {
            core_effect_free(e);
            manager_crash(s);
            return;
        }
        carry_out(s, e);
        core_effect_free(e);
    }
    if (m->p.up && m->p.epoch == epoch)
        manager_timer(s);
}
