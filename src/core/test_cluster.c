/* SPDX-License-Identifier: Apache-2.0 */
#include "core/test_cluster.h"

#include <stdio.h>

/* ---- the cluster ---- */

static size_t half_size(const struct world *w, int half) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_agents; i++)
        n += w->agents[i].half == half;
    return n;
}

static bool has_quorum(const struct world *w, const struct world_agent *a) {
    return a->clustered && half_size(w, a->half) > w->n_agents / 2;
}

/* The ring follows the network when corosync has noticed. */
static bool ring_is_new(const struct world *w, const struct world_agent *a) { return w->ms - a->ring_at >= DETECT_MS; }

static json_t *state_of(struct world *w, struct world_agent *a) {
    bool quorate = a->lease && has_quorum(w, a);
    json_t *members = json_array(), *left = json_array();
    for (size_t i = 0; i < w->n_agents && a->clustered; i++) {
        struct world_agent *b = &w->agents[i];
        if (b->half == a->half || !ring_is_new(w, a))
            json_array_append_new(members, json_string(b->id));
        else if (quorate)
            json_array_append_new(left, json_pack("{s:s, s:I}", "server", b->id, "gone_ms",
                                                  (json_int_t)(w->ms - a->ring_at - DETECT_MS)));
    }
    return json_pack("{s:s, s:I, s:b, s:b, s:o, s:o}", "pool", a->pool, "version", (json_int_t)1, "armed", a->armed,
                     "quorate", quorate, "members", members, "left", left);
}

/* ---- power ---- */

struct test_fence test_fence;

static json_t *fence_op(struct world *w, const json_t *args) {
    if (str_eq(json_str(args, "action"), "status"))
        return json_pack("{s:s}", "power", "on");
    test_fence.orders++;
    if (w->fail_op || w->lose_answers)
        return NULL;
    for (int i = 0; i < (int)w->n_agents && !test_fence.lies; i++)
        if (str_eq(w->agents[i].id, json_str(args, "server")))
            dies(w, i);
    return json_pack("{s:s, s:b}", "power", "off", "was_off", 1);
}

static json_t *cluster_op(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    if (str_eq(op, "fence.run"))
        return fence_op(w, args);
    if (strncmp(op, "cluster.", 8) != 0)
        return NULL;
    if (str_eq(op, "cluster.configure")) {
        a->clustered = a->lease = true;
        snprintf(a->pool, sizeof a->pool, "%.36s", json_str(args, "pool"));
        return json_pack("{s:I, s:s}", "version", (json_int_t)json_int(args, "version", 0), "secret", "aa");
    }
    if (str_eq(op, "cluster.arm"))
        a->armed = json_bool(args, "armed", false);
    return str_eq(op, "cluster.leave") ? json_object() : state_of(w, a);
}

static void say(struct world *w, struct world_agent *a) {
    if (!a->connected || a->silent)
        return;
    _cleanup_json_ json_t *m = json_pack("{s:s, s:o}", "event", "cluster.state", "args", state_of(w, a));
    core_agent_message(w->c, a->id, m);
}

void say_all(struct world *w) {
    for (size_t i = 0; i < w->n_agents; i++)
        say(w, &w->agents[i]);
    pump(w);
}

static void kill_guests(struct world *w, struct world_agent *a) {
    size_t pos = 0;
    const char *vm;
    void *state;
    while (map_next(&a->guests, &pos, &vm, &state)) {
        if (!a->connected || a->silent)
            continue;
        _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:s, s:s, s:b, s:b, s:I, s:s}}", "event", "guest.state", "args",
                                             "vm", vm, "state", "crashed", "guarded", 1, "lost", 1, "sequence",
                                             (json_int_t)1 << 40, "reason", "its server had lost its pool");
        core_agent_message(w->c, a->id, m);
    }
    pos = 0;
    while (map_next(&a->guests, &pos, &vm, &state))
        free(state);
    map_done(&a->guests);
}

void set_half(struct world *w, int agent, int half) {
    w->agents[agent].half = half;
    for (size_t i = 0; i < w->n_agents; i++) {
        w->agents[i].ring_at = w->ms;
        w->agents[i].lost_at = has_quorum(w, &w->agents[i]) ? 0 : w->ms;
    }
}

size_t running(const struct world *w, const char *vm) {
    size_t n = 0;
    for (size_t i = 0; i < w->n_agents; i++) {
        const char *state = map_get(&w->agents[i].guests, vm);
        n += state && !str_eq(state, "stopped");
    }
    return n;
}

static void check_none_twice(const struct world *w) {
    const struct table *t = &w->c->tables[API_KIND_VM];
    for (size_t i = 0; i < t->n; i++)
        assert_in_range(running(w, t->sorted[i]->id), 0, 1);
}

static void agent_step(struct world *w, struct world_agent *a) {
    bool quorum = has_quorum(w, a);
    if (a->lease && a->lost_at && w->ms - a->lost_at >= PROOF_MS) {
        a->lease = false;
        if (a->armed)
            kill_guests(w, a);
        say(w, a);
    }
    if (!a->lease && quorum && a->clustered && ring_is_new(w, a)) {
        a->lease = true;
        say(w, a);
    }
    int64_t since = w->ms - a->ring_at;
    if (a->ring_at && since >= DETECT_MS && since < DETECT_MS + STEP_MS)
        say(w, a);
}

void walk(struct world *w, int64_t ms) {
    for (int64_t end = w->ms + ms; w->ms < end;) {
        w->ms += STEP_MS;
        core_set_time(w->c, w->ms, w->ms);
        for (size_t i = 0; i < w->n_agents; i++)
            agent_step(w, &w->agents[i]);
        pump(w);
        core_tick(w->c);
        pump(w);
        check_none_twice(w);
    }
}

/* ---- what the tests begin with ---- */

const struct api_vm *vm_of(const struct world *w, const char *name) { return core_vm(w->c, name); }

const char *where(const struct world *w, const char *name) {
    const struct api_server *s = core_server(w->c, vm_of(w, name)->server);
    return s ? s->name : "";
}

void make_vm(struct world *w, const char *name, const char *server, const char *ha) {
    _cleanup_free_ char *body = xasprintf("{\"name\":\"%s\",\"pool\":\"p\",\"server\":\"%s\",\"repository\":\"r\","
                                          "\"memory\":268435456,\"start\":true,\"ha\":%s}",
                                          name, server, ha);
    if (ask(w, API_OP_VM_CREATE, NULL, body) != 202)
        fail_msg("%s", w->reply);
    walk(w, 1000);
    assert_int_equal(vm_of(w, name)->state, API_VM_STATE_RUNNING);
    assert_string_equal(where(w, name), server);
}

void prepare(struct world *w, size_t servers) {
    test_fence = (struct test_fence){0};
    world_of(w, servers);
    w->op = cluster_op;
    w->cluster = state_of;
    assert_int_equal(ask(w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\",\"clustered\":true,\"memory_reserve\":0}"), 201);
    for (size_t i = 0; i < servers; i++) {
        _cleanup_free_ char *body = xasprintf("{\"server\":\"s%zu\"}", i + 1);
        assert_int_equal(ask(w, API_OP_POOL_ADD, "p", body), 202);
        settle(w);
    }
    say_all(w);
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\",\"pool\":\"p\"}"), 202);
    settle(w);
    for (size_t i = 0; i < servers; i++)
        assert_int_equal(cluster_is_armed(core_server(w->c, w->agents[i].name)), servers >= 3);
}

void dies(struct world *w, int agent) {
    w->agents[agent].silent = w->agents[agent].away = true;
    size_t pos = 0;
    const char *vm;
    void *state;
    while (map_next(&w->agents[agent].guests, &pos, &vm, &state))
        free(state);
    map_done(&w->agents[agent].guests);
    set_half(w, agent, 100 + agent);
}

void comes_back(struct world *w, int agent) {
    struct world_agent *a = &w->agents[agent];
    if (a->connected)
        world_disconnect(w, a);
    a->silent = a->away = false;
    set_half(w, agent, 0);
    walk(w, DETECT_MS + 1000);
    world_connect(w, a);
    pump(w);
}

int64_t until_runs(struct world *w, const char *name, int64_t limit) {
    int64_t began = w->ms;
    while (w->ms - began < limit && vm_of(w, name)->state != API_VM_STATE_RUNNING)
        walk(w, STEP_MS);
    return w->ms - began;
}

void says(struct world *w, int agent, const char *vm, const char *state, bool guarded) {
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:s, s:b, s:b, s:I}}", "event", "guest.state", "args", "vm", vm_of(w, vm)->id, "state",
                  state, "guarded", guarded, "should_run", 1, "sequence", (json_int_t)1 << 30);
    core_agent_message(w->c, w->agents[agent].id, m);
}

int64_t until_elsewhere(struct world *w, const char *name, const char *server, int64_t limit) {
    int64_t began = w->ms;
    while (w->ms - began < limit && (vm_of(w, name)->state != API_VM_STATE_RUNNING || str_eq(where(w, name), server) ||
                                     str_empty(vm_of(w, name)->server)))
        walk(w, STEP_MS);
    return w->ms - began;
}

const struct api_alarm *alarm_of(const struct world *w, const char *code) {
    const struct table *t = &w->c->tables[API_KIND_ALARM];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_alarm *a = t->sorted[i]->v->data;
        if (str_eq(a->code, code) && a->active)
            return a;
    }
    return NULL;
}

bool has_alarm(const struct world *w, const char *code) { return alarm_of(w, code) != NULL; }

bool has_event(const struct world *w, const char *code, const char *words) {
    const struct table *t = &w->c->tables[API_KIND_EVENT];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_event *e = t->sorted[i]->v->data;
        if (str_eq(e->kind, code) && strstr(e->message, words))
            return true;
    }
    return false;
}
