/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a failure costs the manager's core: processor time in all, and of the longest event, which is how long everyone
 * else waits. 30,000 virtual machines on 1,000 servers; in one clustered pool of 32 each server has as many highly
 * available ones as are given, and rules for some of them; two of its servers lose their power.
 *
 *     core_failover [HA VMS OF EACH SERVER [RULES]]
 */
#include "core/core_int.h"

#include <stdio.h>
#include <time.h>

#define SERVERS 1000
#define VMS     30000
#define MEMBERS 32
#define DEAD    2

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct {
    struct core *c;
    json_t *calls; /* guest.start that nobody has answered: {server, message} */
    size_t recovered;
    double total, longest, begun;
    int64_t ms;
} w;

static void id_of(char which, int i, char ret[static 40]) {
    snprintf(ret, 40, "00000000-0000-7000-%c000-%012d", which, i);
}

static void put(enum api_kind kind, void *object) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct buf text = {0};
    _cleanup_free_ char *key = xasprintf("%s/%s", api_kinds[kind].name, kind_id(kind, object));
    api_kinds[kind].write(object, API_PRIVATE, &text);
    if (core_load(w.c, key, text.data, text.len, &e) < 0)
        fprintf(stderr, "%s: %s\n", key, e.message);
    buf_done(&text);
    api_kinds[kind].done(object);
}

static void load_pool(void) {
    char id[40];
    struct api_pool p;
    struct api_repository r;
    api_pool_init(&p);
    id_of('a', 0, id);
    str_set(&p.id, id);
    str_set(&p.name, "pool");
    p.clustered = true;
    p.failover = API_FAILOVER_POLICY_RESTART;
    p.memory_reserve = 0;
    put(API_KIND_POOL, &p);
    api_repository_init(&r);
    id_of('b', 0, id);
    str_set(&r.id, id);
    str_set(&r.name, "shared");
    r.state = API_OBJECT_STATE_READY;
    r.presented = xcalloc(r.n_presented = MEMBERS, sizeof *r.presented);
    for (int i = 0; i < MEMBERS; i++) {
        api_repository_server_init(&r.presented[i]);
        id_of('9', i, id);
        str_set(&r.presented[i].server, id);
        r.presented[i].usable = true;
    }
    put(API_KIND_REPOSITORY, &r);
}

static void load_server(int i) {
    char id[40], pool[40];
    struct api_server s;
    api_server_init(&s);
    id_of('9', i, id);
    id_of('a', 0, pool);
    str_set(&s.id, id);
    str_take(&s.name, xasprintf("server-%04d", i));
    if (i < MEMBERS) {
        str_set(&s.pool, pool);
        s.has_cluster = true;
        str_set(&s.cluster.pool, pool);
    }
    put(API_KIND_SERVER, &s);
}

static void load_vm(int i, int server, bool ha) {
    char id[40], other[40];
    struct api_vm vm;
    struct api_disk d;
    api_disk_init(&d);
    id_of('8', i, id);
    str_set(&d.id, id);
    str_take(&d.name, xasprintf("disk-%05d", i));
    str_set(&d.vm, id);
    id_of('b', 0, other);
    str_set(&d.repository, other);
    d.state = API_OBJECT_STATE_READY;
    put(API_KIND_DISK, &d);
    api_vm_init(&vm);
    str_set(&vm.id, id);
    str_take(&vm.name, xasprintf("vm-%05d", i));
    id_of('9', server, other);
    str_set(&vm.server, other);
    id_of('a', 0, other);
    str_set(&vm.pool, ha ? other : "");
    vm.state = API_VM_STATE_RUNNING;
    vm.memory = (int64_t)1 << 30;
    vm.has_ha = true;
    vm.ha.enabled = vm.watched = ha;
    vm.ha.priority = i % 100;
    vm.tags = xcalloc(vm.n_tags = 1, sizeof *vm.tags);
    vm.tags[0] = xasprintf("rack%d", i % 40);
    vm.disks = xcalloc(vm.n_disks = 1, sizeof *vm.disks);
    api_vm_disk_init(&vm.disks[0]);
    str_set(&vm.disks[0].disk, id);
    put(API_KIND_VM, &vm);
}

static void load_rule(int i) {
    char id[40];
    struct api_rule r;
    api_rule_init(&r);
    id_of('c', i, id);
    str_set(&r.id, id);
    str_take(&r.name, xasprintf("rule-%d", i));
    id_of('a', 0, id);
    str_set(&r.pool, id);
    r.type = API_RULE_TYPE_SPREAD;
    str_take(&r.tag, xasprintf("rack%d", i));
    put(API_KIND_RULE, &r);
}

/* ---- events ---- */

static void drain(void) {
    struct core_effect *e;
    while ((e = core_next_effect(w.c))) {
        json_t *m = e->kind == CORE_SEND ? json_loads(e->text, 0, NULL) : NULL;
        if (m && str_eq(json_str(m, "op"), "guest.start"))
            json_array_append_new(w.calls, json_pack("{s:s, s:O}", "server", e->server, "message", m));
        json_decref(m);
        if (e->kind == CORE_COMMIT)
            core_stored(w.c, e->seq, 0);
        core_effect_free(e);
    }
}

static void begin(void) { w.begun = now_ms(); }

static void end(void) {
    drain();
    core_next_deadline(w.c);
    double took = now_ms() - w.begun;
    w.total += took;
    if (took > w.longest)
        w.longest = took;
}

static void wait(int64_t ms) {
    w.ms += ms;
    core_set_time(w.c, 1767225600000 + w.ms, w.ms);
    begin();
    core_tick(w.c);
    end();
}

static void connect_server(int i) {
    char id[40];
    id_of('9', i, id);
    struct api_agent_hello hello;
    struct api_hypervisor h;
    api_agent_hello_init(&hello);
    api_hypervisor_init(&h);
    str_set(&h.driver, "sim");
    h.usable = true;
    hello.server.hardware.cpus = 1 << 20;
    hello.server.hardware.memory = (int64_t)64 << 40;
    hello.server.hypervisors = xmemdup(&h, sizeof h);
    hello.server.n_hypervisors = 1;
    begin();
    core_agent_connected(w.c, id, &hello);
    end();
    api_agent_hello_done(&hello);
    size_t n;
    struct object **vms = server_vms(w.c, id, &n);
    json_t *guests = json_array();
    for (size_t k = 0; k < n; k++)
        json_array_append_new(guests,
                              json_pack("{s:s, s:s, s:b}", "vm", vms[k]->id, "state", "running", "guarded", true));
    free(vms);
    char pool[40];
    id_of('a', 0, pool);
    _cleanup_json_ json_t *report =
        json_pack("{s:s, s:{s:o, s:[], s:[], s:[], s:{s:s, s:b}}}", "event", "report", "args", "guests", guests,
                  "repositories", "done", "active", "cluster", "pool", i < MEMBERS ? pool : "", "quorate", i < MEMBERS);
    begin();
    core_agent_message(w.c, id, report);
    end();
}

static void answer_all(void) {
    while (json_array_size(w.calls)) {
        _cleanup_json_ json_t *call = json_incref(json_array_get(w.calls, 0));
        json_array_remove(w.calls, 0);
        const json_t *message = json_object_get(call, "message");
        _cleanup_json_ json_t *reply = json_pack("{s:s, s:b, s:{s:s, s:s, s:s}}", "id", json_str(message, "id"), "ok",
                                                 true, "result", "vm", json_str(json_object_get(message, "args"), "vm"),
                                                 "state", "running", "started", "2026-01-01T00:00:00.000Z");
        begin();
        core_agent_message(w.c, json_str(call, "server"), reply);
        end();
        w.recovered++;
    }
}

static void tell(const char *what) {
    printf("\"%s\": {\"total_ms\": %.1f, \"longest_ms\": %.1f}, ", what, w.total, w.longest);
    w.total = w.longest = 0;
}

static void fail_servers(void) {
    char id[40];
    for (int i = 0; i < DEAD; i++) {
        id_of('9', i, id);
        begin();
        core_agent_disconnected(w.c, id, "the connection was lost");
        end();
        begin();
        core_begin(w.c);
        failover_fenced(w.c, id);
        core_end(w.c);
        end();
    }
    for (int i = 0; i < 1000 && (i < 400 || json_array_size(w.calls)); i++) {
        wait(50);
        while (core_next_deadline(w.c) <= w.ms)
            wait(0);
        answer_all();
    }
}

static void all_away(void) {
    char id[40];
    for (int i = DEAD; i < SERVERS; i++) {
        id_of('9', i, id);
        begin();
        core_agent_disconnected(w.c, id, "the connection was lost");
        end();
    }
    wait(11000);
    while (core_next_deadline(w.c) <= w.ms)
        wait(0);
}

int main(int argc, char **argv) {
    int each = argc > 1 ? atoi(argv[1]) : 100, rules = argc > 2 ? atoi(argv[2]) : 5;
    struct core_config config = {.seed = {1}, .version = "0.1"};
    w.calls = json_array();
    w.c = core_new(&config);
    core_set_time(w.c, 1767225600000, 0);
    begin();
    load_pool();
    for (int i = 0; i < SERVERS; i++)
        load_server(i);
    for (int i = 0; i < VMS; i++)
        load_vm(i, i < each * MEMBERS ? i % MEMBERS : MEMBERS + i % (SERVERS - MEMBERS), i < each * MEMBERS);
    for (int i = 0; i < rules; i++)
        load_rule(i);
    core_start(w.c, 1);
    end();
    printf("{");
    tell("load");
    for (int i = 0; i < SERVERS; i++)
        connect_server(i);
    tell("all agents connect");
    fail_servers();
    printf("\"recovered\": %zu, ", w.recovered);
    tell("two servers die");
    all_away();
    tell("all agents are away");
    printf("\"vms\": %d}\n", VMS);
    json_decref(w.calls);
    core_free(w.c);
    return 0;
}
