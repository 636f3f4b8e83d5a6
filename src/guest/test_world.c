/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/test_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct frame {
    struct list link;
    json_t *json;
};
struct coming {
    struct list link;
    char vm[UUID_LEN + 1];
    enum guest_event event;
};

static void load_store(struct world *w) {
    size_t pos = 0;
    const char *key;
    void *value;
    struct error e = ERROR_INIT;
    while (map_next(&w->store, &pos, &key, &value)) {
        if (host_load(w->h, key, value, strlen(value), &e) < 0)
            abort();
    }
}

static void brain_new(struct world *w) {
    struct host_config config = {.version = "0.1", .seed = {1, 2, 3, 4}};
    w->h = host_new(&config);
    host_set_time(w->h, 1700000000000 + w->now, w->now);
    load_store(w);
    host_start(w->h);
}

void world_init(struct world *w) {
    *w = (struct world){.now = 1000000, .fail_op = -1, .crash_after = -1};
    struct list *lists[] = {&w->frames, &w->calls, &w->commits, &w->events};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    brain_new(w);
}

static void brain_drop(struct world *w) {
    host_free(w->h);
    w->h = NULL;
    struct pending_call *c, *next_c;
    list_for_each_safe(c, next_c, &w->calls, link) {
        list_remove(&c->link);
        json_decref(c->args);
        free(c);
    }
    struct host_effect *e, *next_e;
    list_for_each_safe(e, next_e, &w->commits, link) {
        list_remove(&e->link);
        host_effect_free(e);
    }
    struct coming *v, *next_v;
    list_for_each_safe(v, next_v, &w->events, link) {
        list_remove(&v->link);
        free(v);
    }
}

void world_forget_frames(struct world *w) {
    struct frame *f, *next;
    list_for_each_safe(f, next, &w->frames, link) {
        list_remove(&f->link);
        json_decref(f->json);
        free(f);
    }
}

void world_done(struct world *w) {
    brain_drop(w);
    world_forget_frames(w);
    size_t pos = 0;
    void *value;
    while (map_next(&w->store, &pos, NULL, &value))
        free(value);
    map_done(&w->store);
    map_done(&w->processes);
    map_done(&w->made);
}

void world_restart(struct world *w) {
    brain_drop(w);
    w->crashed = false;
    brain_new(w);
}

/* ---- the hypervisor and the storage ---- */

enum process world_process(struct world *w, const char *vm) {
    uintptr_t p = (uintptr_t)map_get(&w->processes, vm);
    return p ? (enum process)(p - 1) : ABSENT;
}

void world_set_process(struct world *w, const char *vm, enum process p) {
    map_put(&w->processes, vm, (void *)(uintptr_t)(p + 1));
}

static void event_later(struct world *w, const char *vm, enum guest_event event) {
    struct coming *v = xcalloc(1, sizeof(*v));
    memcpy(v->vm, vm, UUID_LEN);
    v->event = event;
    list_append(&w->events, &v->link);
}

static json_t *found(struct world *w, const char *vm) {
    static const char *const states[] = {"unknown", "running", "suspended", "stopped", "crashed"};
    return json_pack("{ss ss ss}", "vm", vm, "state", states[world_process(w, vm)], "hypervisor", "test");
}

static json_t *do_guest(struct world *w, int op, const json_t *args) {
    const char *vm =
        op == API_AGENT_OP_GUEST_START ? json_str(json_object_get(args, "vm"), "id") : json_str(args, "vm");
    enum process p = world_process(w, vm);
    switch (op) {
    case HOST_CALL_GUEST_FIND:
        return found(w, vm);
    case API_AGENT_OP_GUEST_START:
        if (p != RUNS)
            world_set_process(w, vm, RUNS);
        return found(w, vm);
    case API_AGENT_OP_GUEST_KILL:
        world_set_process(w, vm, ABSENT);
        break;
    case HOST_CALL_GUEST_SHUTDOWN:
        if (p == RUNS && !w->ignore_shutdown) {
            world_set_process(w, vm, OFF);
            event_later(w, vm, GUEST_POWEROFF);
        }
        break;
    case API_AGENT_OP_GUEST_SUSPEND:
        world_set_process(w, vm, PAUSED);
        break;
    case API_AGENT_OP_GUEST_RESUME:
        world_set_process(w, vm, RUNS);
        break;
    case API_AGENT_OP_GUEST_RECEIVE:
    case API_AGENT_OP_GUEST_SEND:
        world_set_process(w, vm, PAUSED);
        return found(w, vm);
    case API_AGENT_OP_GUEST_UNSEND:
        if (p != ABSENT)
            world_set_process(w, vm, json_bool(args, "running", false) ? RUNS : PAUSED);
        return found(w, vm);
    case API_AGENT_OP_GUEST_ACTIVATE:
        world_set_process(w, vm, json_bool(args, "suspended", false) ? PAUSED : RUNS);
        return found(w, vm);
    case API_AGENT_OP_GUEST_RELEASE:
    case API_AGENT_OP_GUEST_DROP:
        world_set_process(w, vm, ABSENT);
        break;
    default:
        break;
    }
    return json_object();
}

static json_t *do_storage(struct world *w, int op, const json_t *args) {
    char key[80];
    switch (op) {
    case API_AGENT_OP_DISK_CREATE:
    case API_AGENT_OP_DISK_DELETE:
        snprintf(key, sizeof(key), "disk/%s", json_str(args, "disk"));
        break;
    case API_AGENT_OP_REPOSITORY_OPEN:
    case API_AGENT_OP_REPOSITORY_CLOSE:
        snprintf(key, sizeof(key), "repository/%s", json_str(args, "repository"));
        break;
    default:
        return json_object();
    }
    if (op == API_AGENT_OP_DISK_CREATE || op == API_AGENT_OP_REPOSITORY_OPEN)
        map_put(&w->made, key, w);
    else
        map_remove(&w->made, key);
    if (op == API_AGENT_OP_REPOSITORY_OPEN)
        return json_pack("{ss sb si si}", "repository", json_str(args, "repository"), "usable", 1, "capacity", 1000,
                         "free", 500);
    return json_pack("{si si}", "size", 10, "allocated", 1);
}

static void do_call(struct world *w, uint64_t call, int op, const json_t *args, enum error_code code) {
    bool guest = op <= API_AGENT_OP_GUEST_POLICY || op >= API_AGENT_OP_COUNT;
    if (code != ERR_OK) {
        struct error e = {.code = code, .message = (char *)"as the test wants it"};
        host_call_done(w->h, call, &e, NULL);
        return;
    }
    _cleanup_json_ json_t *result = guest ? do_guest(w, op, args) : do_storage(w, op, args);
    if (w->crash_after == 0) {
        w->crashed = true; /* done, but the brain has not heard of it */
        return;
    }
    host_call_done(w->h, call, NULL, result);
}

/* ---- effects ---- */

static void commit(struct world *w, struct host_effect *e) {
    w->n_commits++;
    if (w->store_error == 0) {
        for (size_t i = 0; i < e->batch->n; i++) {
            struct batch_op *b = &e->batch->ops[i];
            free(b->kind == BATCH_PUT ? map_put(&w->store, b->key, xstrndup(b->value, b->len))
                                      : map_remove(&w->store, b->key));
        }
    }
    if (w->crash_after == 0) {
        w->crashed = true;
        return;
    }
    host_stored(w->h, e->seq, w->store_error);
}

static void carry_out(struct world *w, struct host_effect *e) {
    if (w->crash_after > 0)
        w->crash_after--;
    if (e->kind == HOST_COMMIT) {
        if (w->hold_commits) {
            list_append(&w->commits, &e->link);
            return;
        }
        commit(w, e);
    } else if (e->kind == HOST_SEND) {
        struct frame *f = xcalloc(1, sizeof(*f));
        f->json = json_loads(e->text, 0, NULL);
        list_append(&w->frames, &f->link);
        if (w->crash_after == 0)
            w->crashed = true;
    } else if (e->kind == HOST_CALL) {
        w->n_calls[e->op]++;
        if (w->hold_calls && e->op != HOST_CALL_GUEST_FIND) {
            struct pending_call *c = xcalloc(1, sizeof(*c));
            *c = (struct pending_call){.call = e->call, .op = e->op, .args = json_incref(e->args)};
            list_append(&w->calls, &c->link);
        } else {
            do_call(w, e->call, e->op, e->args, e->op == w->fail_op ? w->fail_code : ERR_OK);
        }
    } else if (e->kind == HOST_CANCEL) {
        w->n_cancels++;
    } else {
        w->n_channels++;
    }
    host_effect_free(e);
}

void world_run(struct world *w) {
    for (;;) {
        if (w->crashed || !w->h)
            return;
        struct host_effect *e = host_next_effect(w->h);
        if (e) {
            carry_out(w, e);
            continue;
        }
        struct coming *v = list_first(&w->events, struct coming, link);
        if (!v)
            return;
        list_remove(&v->link);
        host_guest_event(w->h, v->vm, v->event, NULL);
        free(v);
    }
}

void world_connect(struct world *w) {
    struct api_agent_welcome welcome;
    api_agent_welcome_init(&welcome);
    host_connected(w->h, &welcome);
    api_agent_welcome_done(&welcome);
    world_run(w);
}

void world_time(struct world *w, int64_t ms) {
    int64_t end = w->now + ms;
    for (int i = 0; i < 10000 && w->h && !w->crashed; i++) {
        int64_t at = host_next_deadline(w->h);
        if (at > end)
            break;
        w->now = at > w->now ? at : w->now;
        host_set_time(w->h, 1700000000000 + w->now, w->now);
        host_tick(w->h);
        world_run(w);
    }
    w->now = end;
    if (w->h)
        host_set_time(w->h, 1700000000000 + w->now, w->now);
}

void world_send(struct world *w, json_t *message) {
    host_message(w->h, message);
    json_decref(message);
    world_run(w);
}

void world_op(struct world *w, const char *id, const char *op, json_t *args) {
    world_send(w, json_pack("{ss ss so}", "id", id, "op", op, "args", args));
}

void world_event(struct world *w, const char *vm, enum guest_event event) {
    world_set_process(w, vm,
                      event == GUEST_POWEROFF   ? OFF
                      : event == GUEST_PANICKED ? PANICKED
                      : event == GUEST_DIED     ? ABSENT
                      : event == GUEST_PAUSED   ? PAUSED
                                                : RUNS);
    host_guest_event(w->h, vm, event, NULL);
    world_run(w);
}

void world_answer(struct world *w, int op, enum error_code code) {
    struct pending_call *c;
    list_for_each(c, &w->calls, link) {
        if (c->op == op)
            break;
    }
    if (&c->link == &w->calls)
        abort();
    list_remove(&c->link);
    do_call(w, c->call, c->op, c->args, code);
    json_decref(c->args);
    free(c);
    world_run(w);
}

void world_release(struct world *w) {
    struct host_effect *e;
    while ((e = list_first(&w->commits, struct host_effect, link))) {
        list_remove(&e->link);
        commit(w, e);
        host_effect_free(e);
    }
    world_run(w);
}

/* ---- what the manager has got ---- */

const json_t *world_reply(struct world *w, const char *id) {
    const json_t *last = NULL;
    struct frame *f;
    list_for_each(f, &w->frames, link) {
        if (str_eq(json_str(f->json, "id"), id))
            last = f->json;
    }
    return last;
}

size_t world_replies(struct world *w, const char *id) {
    size_t n = 0;
    struct frame *f;
    list_for_each(f, &w->frames, link) n += str_eq(json_str(f->json, "id"), id);
    return n;
}

size_t world_events(struct world *w, const char *name) {
    size_t n = 0;
    struct frame *f;
    list_for_each(f, &w->frames, link) n += str_eq(json_str(f->json, "event"), name);
    return n;
}

const json_t *world_last_event(struct world *w, const char *name) {
    const json_t *last = NULL;
    struct frame *f;
    list_for_each(f, &w->frames, link) {
        if (str_eq(json_str(f->json, "event"), name))
            last = json_object_get(f->json, "args");
    }
    return last;
}

const char *world_state(struct world *w, const char *vm) {
    const char *state = "";
    struct frame *f;
    list_for_each(f, &w->frames, link) {
        const json_t *args = json_object_get(f->json, "args");
        if (str_eq(json_str(f->json, "event"), "guest.state") && str_eq(json_str(args, "vm"), vm))
            state = json_str(args, "state");
    }
    return state;
}

/* ---- arguments ---- */

json_t *start_args(const char *vm, const char *policy) {
    return json_pack("{s{ss ss si si ss} ss s[{ss ss}]}", "vm", "id", vm, "name", "hello", "cpus", 1, "memory",
                     268435456, "restart_policy", policy, "repository", REPO, "disks", "disk", DISK1, "repository",
                     REPO);
}
json_t *vm_args(const char *vm) { return json_pack("{ss}", "vm", vm); }
json_t *stop_args(const char *vm, int timeout, bool force) {
    return json_pack("{ss si sb}", "vm", vm, "timeout", timeout, "force", force);
}
json_t *disk_args(const char *disk) {
    return json_pack("{ss ss si}", "repository", REPO, "disk", disk, "size", 1048576);
}

json_t *move_args(const char *vm) { return json_pack("{ss ss}", "vm", vm, "move", "m1"); }

json_t *receive_args(const char *vm) {
    json_t *args = move_args(vm);
    json_object_set_new(args, "start", start_args(vm, "on-failure"));
    return args;
}

json_t *pool_args(size_t servers) {
    static const char *const ids[] = {VM1, VM2, REPO}, *const addresses[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
    json_t *nodes = json_array();
    for (size_t i = 0; i < servers; i++)
        json_array_append_new(
            nodes, json_pack("{s:s, s:i, s:[s]}", "server", ids[i], "node", (int)i + 1, "addresses", addresses[i]));
    return json_pack("{s:s, s:i, s:o, s:s}", "pool", VM2, "version", 1, "nodes", nodes, "secret", "aa");
}

/* ---- what most tests begin with ---- */

bool world_ok(struct world *w, const char *id) { return json_bool(world_reply(w, id), "ok", false); }
const char *world_code(struct world *w, const char *id) {
    return json_str(json_object_get(world_reply(w, id), "error"), "code");
}
const char *world_reply_state(struct world *w, const char *id) {
    return json_str(json_object_get(world_reply(w, id), "result"), "state");
}

int world_setup(void **state) {
    struct world *w = xcalloc(1, sizeof(*w));
    world_init(w);
    world_run(w);
    world_connect(w);
    *state = w;
    return 0;
}
int world_teardown(void **state) {
    world_done(*state);
    free(*state);
    return 0;
}

void world_started(struct world *w, const char *vm, const char *policy) {
    static int n;
    char id[40];
    snprintf(id, sizeof(id), "setup%d/start/do", n++);
    world_op(w, id, "guest.start", start_args(vm, policy));
    assert_true(world_ok(w, id));
    assert_string_equal(world_state(w, vm), "running");
}
