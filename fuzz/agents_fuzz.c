/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of a clustered pool whose agent lies: the bytes choose what it says, what of that is twisted, how it answers
 * ops, and what people do meanwhile. Whatever it says, the core lives on, and the guests of the two honest servers run
 * where they ran.
 */
#include "core/test_cluster.h"
#include "fuzz.h"

#include "base/json.h"
#include "base/units.h"

#include <stdio.h>

#define LIAR 2 /* s3 */

static const uint8_t *bytes;
static size_t left;
static struct world w;
static bool lies;
static json_t *(*honest)(struct world *, struct world_agent *, const char *, const json_t *);

/* 0 at the end of the input. */
static unsigned pick(unsigned n) {
    if (!left)
        return 0;
    left--;
    return *bytes++ % n;
}

static const char *const words[] = {"running",
                                    "crashed",
                                    "stopped",
                                    "migrating",
                                    "suspended",
                                    "unknown",
                                    "creating",
                                    "deleting",
                                    "starting",
                                    "",
                                    "%s%n",
                                    "\xf0\x9f\x98\x80",
                                    "9999-12-31T23:59:59Z",
                                    "-1",
                                    "guest.kill",
                                    "check/1/x",
                                    "../../x"};
#define STATES 9 /* of them */

static int64_t number(void) {
    static const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN, 60000, (int64_t)1 << 40, 1 << 20};
    return numbers[pick(ARRAY_LEN(numbers))];
}

static const char *some_id(enum api_kind kind) {
    const struct table *t = &w.c->tables[kind];
    return t->n ? t->sorted[pick(256) % t->n]->id : "";
}

/* ---- what it says ---- */

static json_t *some(void) {
    switch (pick(8)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(pick(2));
    case 2:
        return json_integer(number());
    case 3:
        return json_real(1e308);
    case 4:
        return json_array();
    case 5:
        return json_object();
    case 6:
        return json_string(some_id((enum api_kind)pick(API_KIND_COUNT)));
    default:
        return json_string(words[pick(ARRAY_LEN(words))]);
    }
}

static void twist(json_t *j, unsigned one_in) {
    const char *key;
    json_t *value;
    void *next;
    size_t i;
    json_object_foreach_safe(j, next, key, value) {
        if (pick(one_in))
            twist(value, one_in);
        else if (pick(6))
            json_object_set_new(j, key, some());
        else
            json_object_del(j, key);
    }
    json_array_foreach(j, i, value) {
        if (pick(one_in))
            twist(value, one_in);
        else
            json_array_set_new(j, i, some());
    }
    if (json_is_array(j) && json_array_size(j) && !pick(10))
        json_array_append_new(j, json_deep_copy(json_array_get(j, 0)));
}

static json_t *guest(void) {
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:b, s:I, s:s, s:I, s:I, s:s}", "vm", some_id(API_KIND_VM),
                     "name", "n", "state", words[pick(STATES)], "reason", "x", "sequence", (json_int_t)number(), "lost",
                     pick(2), "guarded", pick(2), "should_run", pick(2), "restarts", (json_int_t)pick(9), "started",
                     "2026-01-01T00:00:00Z", "size", (json_int_t)5, "allocated", (json_int_t)5, "certificate", "x");
}

static json_t *repository(void) {
    return json_pack("{s:s, s:b, s:s, s:I, s:I}", "repository", some_id(API_KIND_REPOSITORY), "usable", pick(2),
                     "reason", "r", "capacity", (json_int_t)number(), "free", (json_int_t)number());
}

static json_t *cluster(void) {
    json_t *state = w.cluster(&w, &w.agents[LIAR]);
    for (unsigned i = pick(3); i; i--)
        json_array_append_new(json_object_get(state, "left"),
                              json_pack("{s:s, s:I}", "server", w.agents[pick(3)].id, "gone_ms", (json_int_t)60000));
    return state;
}

static json_t *report(void) {
    json_t *guests = json_array(), *repositories = json_array();
    for (unsigned i = pick(4); i; i--)
        json_array_append_new(guests, guest());
    for (unsigned i = pick(2); i; i--)
        json_array_append_new(repositories, repository());
    return json_pack("{s:o, s:o, s:[], s:o}", "guests", guests, "repositories", repositories, "done", "cluster",
                     cluster());
}

static json_t *answer(void) {
    const struct job_run *r = list_first(&w.c->jobs, struct job_run, link);
    return json_pack("{s:o, s:b, s:o}", "id",
                     json_sprintf("%s/%u/%s", r ? r->id : some_id(API_KIND_JOB), pick(3), pick(2) ? "do" : "undo"),
                     "ok", pick(2), pick(2) ? "result" : "error", guest());
}

static json_t *check_answer(void) {
    const struct agent *about = core_agent(w.c, w.agents[pick(3)].id);
    unsigned long long serial = pick(2) ? about->check : about->probe;
    return json_pack("{s:o, s:b, s:o}", "id", json_sprintf("check/%llu/%s", serial, w.agents[pick(3)].id), "ok", 1,
                     "result", cluster());
}

static json_t *message(void) {
    switch (pick(7)) {
    case 0:
        return json_pack("{s:s, s:o}", "event", "cluster.state", "args", cluster());
    case 1:
        return json_pack("{s:s, s:o}", "event", "guest.state", "args", guest());
    case 2:
        return json_pack("{s:s, s:o}", "event", "report", "args", report());
    case 3:
        return json_pack("{s:s, s:{s:o, s:I, s:s}}", "event", "op.progress", "args", "op",
                         json_sprintf("%s/0/do", some_id(API_KIND_JOB)), "percent", (json_int_t)number(), "message",
                         "m");
    case 4:
        return json_pack("{s:s, s:o}", "event", "repository.state", "args", repository());
    case 5:
        return check_answer();
    default:
        return answer();
    }
}

static json_t *do_op(struct world *world, struct world_agent *a, const char *op, const json_t *args) {
    json_t *result = honest(world, a, op, args);
    if (!lies || a != &w.agents[LIAR] || !pick(2))
        return result;
    if (!result) {
        result = guest();
        json_set_str(result, "vm", json_str(args, "vm"));
    }
    twist(result, 4);
    return result;
}

/* ---- what people do ---- */

static void work(void) {
    static const struct {
        enum api_op_id op;
        const char *of, *body;
    } requests[] = {{API_OP_VM_START, "v3", "{}"},
                    {API_OP_VM_STOP, "v3", "{}"},
                    {API_OP_VM_KILL, "v4", "{}"},
                    {API_OP_VM_MIGRATE, "v3", "{\"to\":\"s1\"}"},
                    {API_OP_VM_MIGRATE, "v4", "{\"to\":\"s2\"}"},
                    {API_OP_SERVER_MAINTENANCE, "s3", "{\"on\":true}"},
                    {API_OP_SERVER_MAINTENANCE, "s3", "{\"on\":false}"},
                    {API_OP_VM_CREATE, NULL,
                     "{\"name\":\"v9\",\"pool\":\"p\",\"server\":\"s3\",\"repository\":\"r\",\"memory\":268435456,"
                     "\"start\":true}"},
                    {API_OP_VM_DELETE, "v9", "{}"},
                    {API_OP_VM_CHANGE, "v4", "{\"ha\":{\"enabled\":true}}"},
                    {API_OP_POOL_SHOW, "p", NULL}};
    unsigned n = pick(40);
    const struct job_run *r = list_first(&w.c->jobs, struct job_run, link);
    if (n < ARRAY_LEN(requests)) {
        ask(&w, requests[n].op, requests[n].of, requests[n].body);
    } else if (n == 38 && r) {
        _cleanup_free_ char *id = xstrdup(r->id);
        ask(&w, API_OP_JOB_ABORT, id, NULL);
    } else if (n == 39 && w.agents[LIAR].connected) {
        world_disconnect(&w, &w.agents[LIAR]);
    }
}

/* The others' guests are none of its business. */
static void check_others(void) {
    for (int i = 1; i <= 2; i++) {
        char vm[8], server[8];
        snprintf(vm, sizeof vm, "v%d", i);
        snprintf(server, sizeof server, "s%d", i);
        if (vm_of(&w, vm)->state != API_VM_STATE_RUNNING || !str_eq(where(&w, vm), server))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes = data;
    left = size < 2000 ? size : 2000;
    lies = false;
    prepare(&w, 3);
    honest = w.op;
    w.op = do_op;
    make_vm(&w, "v1", "s1", HA);
    make_vm(&w, "v2", "s2", HA);
    make_vm(&w, "v3", "s3", HA);
    make_vm(&w, "v4", "s3", "{\"enabled\":false}");
    lies = true;
    while (left) {
        struct world_agent *a = &w.agents[LIAR];
        if (!a->connected)
            world_connect(&w, a);
        json_t *m = message();
        if (pick(3))
            twist(m, 4 + pick(16));
        json_tame(m);
        core_agent_message(w.c, a->id, m);
        json_decref(m);
        pump(&w);
        w.ms += 100 * pick(30);
        core_set_time(w.c, w.ms, w.ms);
        core_tick(w.c);
        pump(&w);
        work();
        check_others();
    }
    world_down(&w);
    return 0;
}
