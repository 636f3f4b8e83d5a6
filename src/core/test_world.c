/* SPDX-License-Identifier: Apache-2.0 */
#include "core/test_world.h"

#include <errno.h>
#include <stdio.h>

static void free_values(struct map *m) {
    size_t pos = 0;
    void *v;
    while (map_next(m, &pos, NULL, &v))
        free(v);
    map_done(m);
}

static void put(struct map *m, const char *key, const char *value) { free(map_put(m, key, xstrdup(value))); }

static void core_up(struct world *w) {
    struct core_config config = {.seed = {1, 2, 3, (uint64_t)w->ms}, .version = "0.1"};
    _cleanup_error_ struct error e = ERROR_INIT;
    w->c = core_new(&config);
    core_set_time(w->c, w->ms, w->ms);
    size_t pos = 0;
    const char *key;
    void *v;
    while (map_next(&w->store, &pos, &key, &v))
        assert_int_equal(core_load(w->c, key, v, strlen(v), &e), 0);
    core_start(w->c, 0);
}

void world_connect(struct world *w, struct world_agent *a) {
    struct api_agent_hello h;
    api_agent_hello_init(&h);
    str_set(&h.version, "0.1");
    h.server.hardware.memory = a->memory;
    h.server.hardware.cpus = a->cpus;
    core_agent_connected(w->c, a->id, &h);
    api_agent_hello_done(&h);
    json_t *guests = json_array(), *repositories = json_array();
    size_t pos = 0;
    const char *key;
    void *v;
    while (map_next(&a->guests, &pos, &key, &v))
        json_array_append_new(guests,
                              json_pack("{s:s, s:s, s:s, s:i, s:b, s:b}", "vm", key, "name", "g", "state", v,
                                        "sequence", 1, "guarded", a->clustered, "should_run", str_eq(v, "crashed")));
    pos = 0;
    while (map_next(&a->opened, &pos, &key, &v))
        json_array_append_new(repositories, json_pack("{s:s, s:b, s:I, s:I}", "repository", key, "usable", 1,
                                                      "capacity", (json_int_t)1 << 40, "free", (json_int_t)1 << 39));
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:o, s:o}}", "event", "report", "args", "guests", guests, "repositories", repositories);
    if (w->cluster)
        json_object_set_new(json_object_get(m, "args"), "cluster", w->cluster(w, a));
    a->connected = true;
    core_agent_message(w->c, a->id, m);
}

void world_disconnect(struct world *w, struct world_agent *a) {
    a->connected = false;
    core_agent_disconnected(w->c, a->id, "cut");
}

/* ---- what the agents do ---- */

/* Live migration. What waits at the destination, or has been sent, is migrating. */
static const char *move_state(const char *op, const json_t *args, const char *now) {
    if (str_eq(op, "guest.receive") || str_eq(op, "guest.send"))
        return "migrating";
    if (str_eq(op, "guest.activate"))
        return json_bool(args, "suspended", false) ? "suspended" : "running";
    if (str_eq(op, "guest.unsend"))
        return str_eq(now, "migrating") ? "running" : now;
    return str_eq(op, "guest.offer") ? now : NULL;
}

/* The guest runs as before. */
static bool is_a_change(const char *op) {
    return str_eq(op, "guest.policy") || str_eq(op, "guest.limits") || str_eq(op, "guest.cdrom");
}

static const char *told_key(const char *vm, char *key) {
    snprintf(key, 64, "told/%.36s", vm);
    return key;
}

static json_t *guest_do(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    const char *vm = json_is_object(json_object_get(args, "vm")) ? json_str(json_object_get(args, "vm"), "id")
                                                                 : json_str(args, "vm");
    const char *state = str_eq(op, "guest.start") || str_eq(op, "guest.resume") ? "running"
                        : str_eq(op, "guest.suspend")                           ? "suspended"
                                                                                : "stopped";
    const char *moved = move_state(op, args, map_get(&a->guests, vm));
    _cleanup_free_ char *to = xstrdup(moved ? moved : state);
    state = to;
    a->starts += str_eq(op, "guest.start");
    char loaded[64], key[64];
    snprintf(loaded, sizeof loaded, "loaded/%s", vm);
    if (str_eq(op, "guest.receive") && json_bool(args, "suspended", false))
        put(&w->things, loaded, a->name);
    else if (str_eq(op, "guest.drop"))
        free(map_remove(&w->things, loaded));
    if (str_eq(op, "guest.forget") || str_eq(op, "guest.release") || str_eq(op, "guest.drop"))
        free(map_remove(&a->guests, vm));
    else if (!is_a_change(op))
        put(&a->guests, vm, state);
    if (str_eq(op, "guest.policy"))
        put(&w->things, told_key(vm, key), json_bool(args, "ha", false) ? "ha" : "plain");
    char now[TIME_TEXT_MAX];
    return json_pack("{s:s, s:s, s:I, s:b, s:s}", "vm", vm, "state", state, "sequence", (json_int_t)w->changes,
                     "guarded", a->clustered, "started", str_eq(state, "running") ? time_format(w->ms, now) : "");
}

static json_t *agent_do(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    char key[160];
    if (strncmp(op, "guest.", 6) == 0)
        return guest_do(w, a, op, args);
    if (str_eq(op, "fence.run"))
        return json_pack("{s:s}", "power", "on");
    json_t *result = json_object();
    size_t dot = strcspn(op, ".");
    _cleanup_free_ char *kind = xstrndup(op, dot);
    const char *id = json_str(args, kind);
    snprintf(key, sizeof key, "%s/%s", kind, id);
    json_set_int(result, "size", 1 << 20);
    json_set_int(result, "allocated", 4096);
    if (str_eq(op, "repository.prove")) {
        snprintf(key, sizeof key, "proof/%s", json_str(args, "proof"));
        if (json_bool(args, "remove", false))
            free(map_remove(&w->things, key));
        else
            put(&w->things, key, a->name);
    } else if (str_eq(op, "repository.open")) {
        put(&w->things, key, "");
        put(&a->opened, id, "open");
        json_object_set_new(result, "usable", json_true());
        json_set_int(result, "capacity", 1LL << 40);
        json_set_int(result, "free", 1LL << 39);
    } else if (str_eq(op, "repository.close")) {
        free(map_remove(&a->opened, id));
        if (!json_bool(args, "keep", false))
            free(map_remove(&w->things, key));
    } else if (strstr(op, ".delete")) {
        free(map_remove(&w->things, key));
    } else {
        put(&w->things, key, json_str(args, "size"));
    }
    return result;
}

/* Why it refuses; NULL: it does it. */
static const char *agent_refuses(struct world *w, const struct world_agent *a, const char *op, const json_t *args) {
    char key[160];
    if (w->fail_op && str_eq(op, w->fail_op))
        return "it broke";
    const char *repository = json_str(args, "repository"), *proof = json_str(args, "proof");
    snprintf(key, sizeof key, "loaded/%s", json_str(args, "vm"));
    if (str_eq(op, "guest.unsend") && map_get(&w->things, key)) /* of a suspended one the images are there already */
        return "Failed to get shared \"write\" lock";
    if (str_eq(op, "repository.open")) {
        snprintf(key, sizeof key, "proof/%s", proof);
        const char *by = *proof ? map_get(&w->things, key) : NULL;
        return !*proof          ? NULL
               : !by            ? "what the other server has written is not here"
               : a->own_storage ? "it is not the same storage"
                                : NULL;
    }
    if (strncmp(op, "guest.", 6) == 0 || str_eq(op, "repository.close") || str_eq(op, "fence.run"))
        return NULL;
    return map_get(&a->opened, repository) ? NULL : "the repository is not open here";
}

static void answer_cancelled(struct world *w, struct world_agent *a, const char *id) {
    _cleanup_json_ json_t *answer = json_pack("{s:s, s:b, s:{s:s, s:s}}", "id", id, "ok", 0, "error", "code",
                                              "cancelled", "message", "cancelled on request");
    if (w->holds && !a->silent)
        core_agent_message(w->c, a->id, answer);
}

static void agent_message(struct world *w, struct world_agent *a, const char *text) {
    _cleanup_json_ json_t *m = NULL;
    assert_int_equal(json_parse(text, strlen(text), &m, NULL), 0);
    const char *op = json_str(m, "op"), *id = json_str(m, "id");
    if (str_eq(op, "op.cancel"))
        answer_cancelled(w, a, json_str(json_object_get(m, "args"), "op"));
    if (str_eq(op, "op.forget") || str_eq(op, "op.cancel"))
        return;
    if (a->silent || (w->holds && str_eq(op, w->holds)))
        return;
    json_t *own = w->op ? w->op(w, a, op, json_object_get(m, "args")) : NULL;
    if (own) {
        _cleanup_json_ json_t *answer = json_pack("{s:s, s:b, s:o}", "id", id, "ok", 1, "result", own);
        core_agent_message(w->c, a->id, answer);
        return;
    }
    const char *known = map_get(&a->answers, id);
    if (!known) {
        json_t *answer;
        const char *why = agent_refuses(w, a, op, json_object_get(m, "args"));
        if (why)
            answer = json_pack("{s:s, s:b, s:{s:s, s:s}}", "id", id, "ok", 0, "error", "code",
                               w->fail_code ? w->fail_code : "io", "message", why);
        else
            answer = json_pack("{s:s, s:b, s:o}", "id", id, "ok", 1, "result",
                               agent_do(w, a, op, json_object_get(m, "args")));
        w->changes++;
        _cleanup_free_ char *s = json_text(answer);
        put(&a->answers, id, s);
        json_decref(answer);
        known = map_get(&a->answers, id);
    }
    if (w->lose_answers) {
        w->lose_answers = false;
        world_disconnect(w, a);
        return;
    }
    _cleanup_json_ json_t *answer = NULL;
    assert_int_equal(json_parse(known, strlen(known), &answer, NULL), 0);
    core_agent_message(w->c, a->id, answer);
}

/* ---- the store ---- */

static void store_apply(struct world *w, const struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_PUT)
            put(&w->store, b->ops[i].key, b->ops[i].value);
        else if (b->ops[i].kind == BATCH_DELETE)
            free(map_remove(&w->store, b->ops[i].key));
    }
}

const char *running_job(struct world *w) {
    struct job_run *r = list_first(&w->c->jobs, struct job_run, link);
    return r ? r->id : NULL;
}

void world_crash(struct world *w) {
    core_free(w->c);
    core_up(w);
    for (size_t i = 0; i < w->n_agents; i++) {
        w->agents[i].connected = false;
        if (!w->agents[i].away)
            world_connect(w, &w->agents[i]);
    }
}

static void commit(struct world *w, struct core_effect *e) {
    uint64_t seq = e->seq;
    if (w->store_down) {
        core_stored(w->c, seq, -ENOSPC);
        return;
    }
    bool fire = w->fault != NO_FAULT && !w->fired && ++w->commits == w->fault_at;
    if (!fire || w->fault != CRASH_BEFORE)
        store_apply(w, e->batch);
    if (fire) {
        w->fired = true;
        if (w->fault == CRASH || w->fault == CRASH_BEFORE) {
            world_crash(w);
            return;
        }
    }
    core_stored(w->c, seq, 0);
    if (fire && w->fault == STORE_FAILS)
        w->store_down = true;
    if (fire && w->fault == CUT)
        w->lose_answers = true;
    if (fire && w->fault == ABORT && running_job(w)) {
        _cleanup_free_ char *id = xstrdup(running_job(w));
        struct core_request r = {
            .id = 999999, .op = API_OP_JOB_ABORT, .actor = "admin", .role = API_ROLE_ADMINISTRATOR, .params = {id}};
        core_request(w->c, &r);
    }
}

/* ---- driving ---- */

static struct world_agent *agent_of(struct world *w, const char *server) {
    for (size_t i = 0; i < w->n_agents; i++)
        if (str_eq(w->agents[i].id, server))
            return &w->agents[i];
    return NULL;
}

/* The next effect, of whatever is under way. */
static struct core_effect *next_effect(struct world *w) {
    struct core_effect *e;
    while (!(e = core_next_effect(w->c)) && core_has_work(w->c) && !w->no_work)
        core_work(w->c);
    return e;
}

void pump(struct world *w) {
    struct core_effect *e;
    while ((e = next_effect(w))) {
        struct world_agent *a = e->server ? agent_of(w, e->server) : NULL;
        switch (e->kind) {
        case CORE_COMMIT:
            commit(w, e);
            break;
        case CORE_SEND:
            if (a && a->connected)
                agent_message(w, a, e->text);
            break;
        case CORE_REPLY:
            if (e->request == w->request) {
                w->status = e->status;
                str_set(&w->reply, e->text);
            }
            break;
        case CORE_DROP:
            if (a)
                world_disconnect(w, a);
            break;
        default:
            break;
        }
        core_effect_free(e);
    }
}

static bool all_connected(const struct world *w) {
    for (size_t i = 0; i < w->n_agents; i++)
        if (!w->agents[i].connected && !w->agents[i].away)
            return false;
    return true;
}

void settle(struct world *w) {
    for (int i = 0; i < 60; i++) {
        pump(w);
        w->ms += 1000;
        core_set_time(w->c, w->ms, w->ms);
        if (i > 1)
            w->store_down = false;
        core_tick(w->c);
        pump(w);
        for (size_t k = 0; k < w->n_agents && !w->store_down; k++)
            if (!w->agents[k].connected && !w->agents[k].away)
                world_connect(w, &w->agents[k]);
        pump(w);
        if (!running_job(w) && all_connected(w) && !w->store_down && !core_read_only(w->c) && i > 3)
            break;
    }
    assert_null(running_job(w));
}

int ask(struct world *w, enum api_op_id op, const char *param, const char *body) {
    _cleanup_json_ json_t *j = NULL;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (body && json_parse(body, strlen(body), &j, &e) < 0)
        fail_msg("%s: %s", body, e.message);
    w->status = 0;
    str_set(&w->reply, NULL);
    struct core_request r = {.id = ++w->request,
                             .op = op,
                             .actor = "admin",
                             .user_id = "u",
                             .role = API_ROLE_ADMINISTRATOR,
                             .params = {param},
                             .body = j};
    w->ms++;
    core_set_time(w->c, w->ms, w->ms);
    core_request(w->c, &r);
    pump(w);
    return w->status;
}

int forget_server(struct world *w, const char *server) {
    _cleanup_json_ json_t *args = json_pack("{s:b}", "force", 1);
    w->status = 0;
    str_set(&w->reply, NULL);
    struct core_request r = {.id = ++w->request,
                             .op = API_OP_SERVER_DELETE,
                             .actor = "admin",
                             .user_id = "u",
                             .role = API_ROLE_ADMINISTRATOR,
                             .params = {server},
                             .args = args};
    core_request(w->c, &r);
    pump(w);
    return w->status;
}

static void join(struct world *w, struct world_agent *a) {
    struct api_token t;
    api_token_init(&t);
    t.kind = API_TOKEN_KIND_JOIN;
    str_set(&t.name, "join");
    str_set(&t.hash, a->name);
    core_token_add(w->c, ++w->request, "admin", &t);
    api_token_done(&t);
    pump(w);
    core_server_join(w->c, ++w->request, a->name, a->name, "0.1", a->name);
    pump(w);
    assert_int_equal(w->status, 201);
    a->id = xstrdup(core_server(w->c, a->name)->id);
    world_connect(w, a);
    pump(w);
}

struct world_agent *world_add(struct world *w) {
    struct world_agent *a = &w->agents[w->n_agents++];
    a->memory = 8LL << 30;
    snprintf(a->name, sizeof a->name, "s%zu", w->n_agents);
    join(w, a);
    return a;
}

void world_of(struct world *w, size_t servers) {
    *w = (struct world){.ms = 1700000000000};
    core_up(w);
    while (w->n_agents < servers)
        world_add(w);
}

void world_up(struct world *w) {
    world_of(w, 1);
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"local\",\"path\":\"/r\"}"), 202);
    assert_int_equal(ask(w, API_OP_UPLOAD_CREATE, NULL, "{\"name\":\"x.img\",\"size\":10}"), 201);
}

void world_down(struct world *w) {
    core_free(w->c);
    free_values(&w->store);
    free_values(&w->things);
    for (size_t i = 0; i < w->n_agents; i++) {
        free_values(&w->agents[i].answers);
        free_values(&w->agents[i].guests);
        free_values(&w->agents[i].opened);
        free(w->agents[i].id);
    }
    free(w->reply);
}

void complete_upload(struct world *w, const char **ret_id) {
    const struct table *t = &w->c->tables[API_KIND_UPLOAD];
    const struct api_upload *u = t->sorted[t->n - 1]->v->data;
    *ret_id = t->sorted[t->n - 1]->id;
    _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:s, s:I}}", "event", "upload.received", "args", "upload", u->id,
                                         "received", (json_int_t)u->size);
    core_agent_message(w->c, w->agents[0].id, m);
    pump(w);
}

void make_template(struct world *w) {
    const char *upload;
    complete_upload(w, &upload);
    _cleanup_free_ char *body = xasprintf("{\"name\":\"t\",\"image\":{\"upload\":\"%s\"}}", upload);
    assert_int_equal(ask(w, API_OP_TEMPLATE_CREATE, NULL, body), 202);
    assert_int_equal(((struct api_template *)core_data(w->c, API_KIND_TEMPLATE, "t"))->state, API_OBJECT_STATE_READY);
    assert_int_equal(w->c->tables[API_KIND_UPLOAD].n, 0);
}

const struct api_job *last_job(struct world *w, const char *kind) {
    struct table *t = &w->c->tables[API_KIND_JOB];
    for (size_t i = t->n; i-- > 0;)
        if (str_eq(((struct api_job *)t->sorted[i]->v->data)->kind, kind))
            return t->sorted[i]->v->data;
    return NULL;
}

void world_seconds(struct world *w, int n) {
    for (int i = 0; i < n; i++) {
        w->ms += 1000;
        core_set_time(w->c, w->ms, w->ms);
        core_tick(w->c);
        pump(w);
    }
}

void world_lose(struct world *w, size_t agent) {
    w->agents[agent].away = true;
    world_disconnect(w, &w->agents[agent]);
}

void world_pool(struct world *w, size_t servers) {
    world_of(w, servers);
    assert_int_equal(ask(w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\",\"memory_reserve\":0}"), 201);
    for (size_t i = 0; i < servers; i++) {
        _cleanup_free_ char *body = xasprintf("{\"server\":\"%s\"}", w->agents[i].name);
        assert_int_equal(ask(w, API_OP_POOL_ADD, "p", body), 202);
    }
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"shared\",\"path\":\"/s\",\"pool\":\"p\"}"),
                     202);
}
