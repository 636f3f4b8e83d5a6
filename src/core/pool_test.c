/* SPDX-License-Identifier: Apache-2.0 */
/* Server pools: members, rules, the CPU model. */
#include "core/test_world.h"

static void with_running(struct world *w) {
    make_template(w);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\",\"start\":true}"), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}

static void test_pools_and_rules(void **state) {
    struct world w;
    world_up(&w);
    with_running(&w);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\",\"cpu_baseline\":\"Cray\"}"), 400);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"q\",\"memory_overcommit\":150}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"nobody\"}"), 404);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{}"), 400);
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL, "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"apart\",\"vms\":[\"v\"]}"),
        400); /* v is not in the pool */
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "q", "{\"server\":\"s1\"}"), 409);
    assert_non_null(strstr(w.reply, "one pool"));
    assert_int_equal(ask(&w, API_OP_POOL_DELETE, "p", NULL), 409);
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s1", NULL), 409);
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL, "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"apart\",\"vms\":[\"v\",\"v\"]}"),
        400);
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL, "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"vms\":[\"v\"]}"),
        400);
    assert_int_equal(ask(&w, API_OP_RULE_CREATE, NULL,
                         "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"vms\":[\"v\"],\"servers\":[\"s1\"],"
                         "\"must\":true}"),
                     201);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "r", "{\"pool\":\"q\"}"), 400);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "r", "{\"must\":false}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 409);
    assert_non_null(strstr(w.reply, "\\\"v\\\""));
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "q", "{\"server\":\"s1\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 409);
    assert_non_null(strstr(w.reply, "rule"));
    assert_int_equal(ask(&w, API_OP_RULE_LIST, NULL, NULL), 200);
    assert_int_equal(ask(&w, API_OP_VM_DELETE, "v", NULL), 202);
    assert_int_equal(ask(&w, API_OP_RULE_SHOW, "r", NULL), 404); /* it was about v alone */
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_DELETE, "p", NULL), 204);
    assert_int_equal(ask(&w, API_OP_SERVER_SHOW, "s1", NULL), 200);
    assert_non_null(strstr(w.reply, "\"pool\":\"\""));
    world_down(&w);
}

static void server_says(struct world *w, const char *server, const char *const *models, size_t n) {
    struct api_agent_hello h;
    api_agent_hello_init(&h);
    h.server.hardware.n_cpu_models = n;
    h.server.hardware.cpu_models = xcalloc(n, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        h.server.hardware.cpu_models[i] = xstrdup(models[i]);
    core_agent_connected(w->c, core_server(w->c, server)->id, &h);
    api_agent_hello_done(&h);
    pump(w);
}

static void test_cpu_baseline(void **state) {
    struct world w;
    world_up(&w);
    static const char *const old[] = {"Nehalem", "SandyBridge", "qemu64"},
                             *const young[] = {"qemu64", "Haswell-noTSX", "SandyBridge", "IvyBridge", "Nehalem"},
                             *const other[] = {"kvm64", "EPYC"};
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    const struct api_pool *p = core_data(w.c, API_KIND_POOL, "p");
    assert_string_equal(p->cpu_model, "");
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    server_says(&w, "s1", young, ARRAY_LEN(young));
    p = core_data(w.c, API_KIND_POOL, "p");
    assert_string_equal(p->cpu_model, "Haswell-noTSX");
    server_says(&w, "s1", old, ARRAY_LEN(old));
    p = core_data(w.c, API_KIND_POOL, "p");
    assert_string_equal(p->cpu_model, "SandyBridge");
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"cpu_baseline\":\"Haswell\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"cpu_baseline\":\"Nehalem\"}"), 200);
    assert_non_null(strstr(w.reply, "\"cpu_model\":\"Nehalem\""));
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"cpu_baseline\":null}"), 200);
    server_says(&w, "s1", other, ARRAY_LEN(other));
    p = core_data(w.c, API_KIND_POOL, "p");
    assert_string_equal(p->cpu_model, "EPYC");
    world_down(&w);
}

static void server_has(struct world *w, const char *server, const char *vendor, const char *accelerator) {
    struct api_agent_hello h;
    static const char *const models[] = {"Haswell-noTSX", "kvm64", "qemu64"};
    api_agent_hello_init(&h);
    h.server.hardware.n_cpu_models = ARRAY_LEN(models);
    h.server.hardware.cpu_models = xcalloc(ARRAY_LEN(models), sizeof(char *));
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        h.server.hardware.cpu_models[i] = xstrdup(models[i]);
    str_set(&h.server.hardware.cpu_vendor, vendor);
    h.server.n_hypervisors = 1;
    h.server.hypervisors = xcalloc(1, sizeof *h.server.hypervisors);
    api_hypervisor_init(&h.server.hypervisors[0]);
    str_set(&h.server.hypervisors[0].accelerator, accelerator);
    core_agent_connected(w->c, core_server(w->c, server)->id, &h);
    api_agent_hello_done(&h);
    pump(w);
}

/* Where makers are mixed the pool's guests get a CPU that may go over from one to the other. */
static void test_cpu_baseline_of_mixed_vendors(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 202);
    static const struct {
        const char *vendor, *accelerator, *model;
    } cases[] = {{"GenuineIntel", "kvm", "Haswell-noTSX"},
                 {"AuthenticAMD", "kvm", "kvm64"},
                 {"AuthenticAMD", "tcg", "Haswell-noTSX"},
                 {"", "kvm", "Haswell-noTSX"}};
    server_has(&w, "s1", "GenuineIntel", "kvm");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        server_has(&w, "s2", cases[i].vendor, cases[i].accelerator);
        const struct api_pool *p = core_data(w.c, API_KIND_POOL, "p");
        assert_string_equal(p->cpu_model, cases[i].model);
    }
    world_down(&w);
}

static const struct api_repository *repository(struct world *w, const char *name) {
    return core_data(w->c, API_KIND_REPOSITORY, name);
}

#define SHARED "{\"name\":\"shared\",\"path\":\"/s\",\"servers\":[\"s1\",\"s2\"]}"

static void test_repository_of_several_servers(void **state) {
    struct world w;
    world_of(&w, 3);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\"}"), 400);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL,
                         "{\"name\":\"r\",\"path\":\"/r\",\"server\":\"s1\",\"servers\":[\"s1\",\"s2\"]}"),
                     400);
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\",\"servers\":[\"s1\",\"s1\"]}"), 400);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, SHARED), 202);
    const struct api_repository *r = repository(&w, "shared");
    assert_int_equal(r->state, API_OBJECT_STATE_READY);
    assert_int_equal(r->n_presented, 2);
    assert_string_equal(r->server, "");
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"same\",\"path\":\"/s\",\"server\":\"s2\"}"),
                     409);
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"in\",\"path\":\"/s/disks\",\"server\":\"s2\"}"), 409);
    assert_non_null(strstr(w.reply, "is inside of the storage repository \\\"shared\\\" (/s)"));
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"out\",\"path\":\"/\",\"server\":\"s2\"}"),
                     409);
    assert_non_null(strstr(w.reply, "holds the storage repository"));
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "shared", "{\"server\":\"s2\"}"), 409);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "shared", "{\"server\":\"s9\"}"), 404);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "shared", "{\"server\":\"s3\"}"), 202);
    assert_int_equal(repository(&w, "shared")->n_servers, 3);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "shared", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "shared", "{\"server\":\"s1\"}"), 409);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "shared", "{\"server\":\"s3\"}"), 202);
    assert_string_equal(repository(&w, "shared")->server, w.agents[1].id);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "shared", "{\"server\":\"s2\"}"), 409);
    assert_non_null(strstr(w.reply, "only server"));
    assert_int_equal(ask(&w, API_OP_REPOSITORY_DELETE, "shared", NULL), 202);
    assert_null(repository(&w, "shared"));
    assert_int_equal(map_count(&w.things), 0);
    world_down(&w);
}

static void test_not_the_same_storage(void **state) {
    struct world w;
    world_of(&w, 3);
    w.agents[1].own_storage = true;
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, SHARED), 202);
    settle(&w);
    const struct api_job *j = last_job(&w, "repository.create");
    assert_int_equal(j->state, API_JOB_STATE_FAILED);
    assert_non_null(strstr(j->error, "not the same storage"));
    assert_null(repository(&w, "shared"));
    assert_int_equal(map_count(&w.things), 0);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"of-pool\",\"path\":\"/s\",\"pool\":\"p\"}"),
                     202);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "of-pool", "{\"server\":\"s3\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 202);
    settle(&w);
    assert_int_equal(last_job(&w, "pool.add")->state, API_JOB_STATE_FAILED);
    assert_string_equal(core_server(w.c, "s2")->pool, "");
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 202);
    assert_int_equal(repository(&w, "of-pool")->n_presented, 2);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s3\"}"), 409); /* the last that has it */
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s3", NULL), 409);
    world_down(&w);
}

static void says_of_repository(struct world *w, size_t agent, bool usable) {
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:b, s:s, s:I, s:I}}", "event", "repository.state", "args", "repository",
                  repository(w, "shared")->id, "usable", usable, "reason", usable ? "" : "it is not mounted",
                  "capacity", (json_int_t)1000, "free", (json_int_t)500);
    core_agent_message(w->c, w->agents[agent].id, m);
    pump(w);
}

/* One server that cannot use it takes nothing from the others; ops go where it can be used. */
static void test_unusable_on_one_server(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, SHARED), 202);
    const struct api_repository *r = repository(&w, "shared");
    assert_string_equal(repository_route(w.c, r, NULL), w.agents[0].id);
    assert_string_equal(repository_route(w.c, r, w.agents[1].id), w.agents[1].id);
    says_of_repository(&w, 0, false);
    r = repository(&w, "shared");
    assert_int_equal(r->state, API_OBJECT_STATE_READY);
    assert_false(r->presented[0].usable);
    assert_string_equal(r->presented[0].reason, "it is not mounted");
    assert_string_equal(repository_route(w.c, r, w.agents[0].id), w.agents[1].id);
    says_of_repository(&w, 1, false);
    assert_int_equal(repository(&w, "shared")->state, API_OBJECT_STATE_UNAVAILABLE);
    says_of_repository(&w, 0, true);
    assert_int_equal(repository(&w, "shared")->state, API_OBJECT_STATE_READY);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    pump(&w);
    assert_string_equal(repository_route(w.c, repository(&w, "shared"), NULL), w.agents[1].id);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_DONE);
    w.agents[1].away = true;
    world_disconnect(&w, &w.agents[1]);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"e\",\"size\":1048576}"), 503);
    world_down(&w);
}

/* The server that was to delete a disk goes away in the middle: another one does it. */
static void test_a_deletion_goes_to_another_server(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, SHARED), 202);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    w.lose_answers = true;
    w.agents[0].away = true;
    assert_int_equal(ask(&w, API_OP_DISK_DELETE, "d", NULL), 202);
    assert_int_equal(last_job(&w, "disk.delete")->state, API_JOB_STATE_RUNNING);
    settle(&w);
    const struct api_job *j = last_job(&w, "disk.delete");
    assert_int_equal(j->state, API_JOB_STATE_DONE);
    assert_string_equal(j->steps[1].server, w.agents[1].id);
    assert_null(core_find(w.c, API_KIND_DISK, "d"));
    world_down(&w);
}

/* What makes something waits for the server that was asked: it may be at it still. */
static void test_a_creation_waits_for_its_server(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, SHARED), 202);
    w.lose_answers = true;
    w.agents[0].away = true;
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    for (int i = 0; i < 30; i++) {
        w.ms += 1000;
        core_set_time(w.c, w.ms, w.ms);
        core_tick(w.c);
        pump(&w);
    }
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_RUNNING);
    w.agents[0].away = false;
    settle(&w);
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_DONE);
    world_down(&w);
}

/* ---- placement in jobs ---- */

static const char *where(const struct world *w, const char *vm) {
    const struct api_server *s = core_server(w->c, core_vm(w->c, vm)->server);
    return s ? s->name : "";
}

#define START(name, more) "{\"name\":\"" name "\",\"pool\":\"p\",\"memory\":3221225472,\"start\":true" more "}"

static void test_starts_are_spread_until_the_pool_is_full(void **state) {
    struct world w;
    world_pool(&w, 2); /* 8 GiB each */
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v1", "")), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v2", "")), 202);
    assert_string_not_equal(where(&w, "v1"), where(&w, "v2"));
    const struct api_job *j = last_job(&w, "vm.create");
    assert_int_equal(j->n_placement, 2);
    assert_true(j->placement[0].chosen && j->placement[0].ok);
    assert_string_equal(j->placement[0].server, core_vm(w.c, "v2")->server);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v3", "")), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v4", "")), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v5", "")), 507);
    assert_non_null(strstr(w.reply, "s1"));
    assert_non_null(strstr(w.reply, "s2"));
    assert_int_equal(server_load(w.c, w.agents[0].id)->memory, 6LL << 30);
    assert_int_equal(server_load(w.c, w.agents[0].id)->guests, 2);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"memory_overcommit\":50}"), 200);
    assert_int_equal(core_vm(w.c, "v1")->state, API_VM_STATE_RUNNING); /* nothing is stopped */
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"memory_overcommit\":200}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v5", "")), 202);
    assert_int_equal(ask(&w, API_OP_VM_PLACEMENT, "v5", NULL), 200);
    _cleanup_json_ json_t *told = json_loads(w.reply, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(told, "servers")), 2);
    assert_string_not_equal(json_str(told, "server"), core_vm(w.c, "v5")->server);
    world_down(&w);
}

/* The sums are what adding up gives, also after a commit has failed. */
static void test_loads_follow_what_is_taken_back(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v1", "")), 202);
    w.fault = STORE_FAILS;
    w.fault_at = 1;
    ask(&w, API_OP_VM_CREATE, NULL, START("v2", ""));
    settle(&w);
    for (size_t a = 0; a < 2; a++) {
        int64_t memory = 0;
        const struct table *t = &w.c->tables[API_KIND_VM];
        for (size_t i = 0; i < t->n; i++) {
            const struct api_vm *vm = t->sorted[i]->v->data;
            if (vm_counts(vm) && str_eq(vm->server, w.agents[a].id))
                memory += vm->memory;
        }
        assert_int_equal(server_load(w.c, w.agents[a].id)->memory, memory);
    }
    world_down(&w);
}

static void test_a_stopped_one_starts_elsewhere(void **state) {
    struct world w;
    world_pool(&w, 3);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"pool\":\"p\",\"disks\":[{\"size\":1048576}]}"),
                     202);
    assert_string_equal(where(&w, "v"), ""); /* its first start decides */
    assert_int_equal(ask(&w, API_OP_VM_STOP, "v", NULL), 409);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(where(&w, "v"), "s1");
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(where(&w, "v"), "s1"); /* it keeps to where it ran */
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL,
            "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"must\":true,\"vms\":[\"v\"],\"servers\":["
            "\"s2\"]}"),
        201);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(where(&w, "v"), "s2");
    assert_int_equal(map_count(&w.agents[0].guests), 0); /* s1 has forgotten it */
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    /* s2 goes away: a must rule cannot be kept, a should rule can. */
    w.agents[1].away = true;
    world_disconnect(&w, &w.agents[1]);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 507);
    assert_non_null(strstr(w.reply, "rule r"));
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "r", "{\"must\":false}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(where(&w, "v"), "s1");
    assert_int_equal(map_count(&w.agents[1].guests), 1);
    w.agents[1].away = false;
    settle(&w);
    assert_int_equal(map_count(&w.agents[1].guests), 0); /* told so when it is back */
    assert_string_equal(map_get(&w.agents[0].guests, core_vm(w.c, "v")->id), "running");
    world_down(&w);
}

static void says_of_guest(struct world *w, const char *vm, const char *state, bool should_run) {
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:s, s:b, s:i}}", "event", "guest.state", "args", "vm", core_vm(w->c, vm)->id, "state",
                  state, "should_run", should_run, "sequence", 99);
    core_agent_message(w->c, w->agents[0].id, m);
    pump(w);
}

/* One that its agent is about to start again keeps its room, and is not started elsewhere while that cannot be asked.
 */
static void test_what_may_run_again_waits_for_its_server(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("v", ",\"restart_policy\":\"always\"")), 202);
    assert_string_equal(where(&w, "v"), "s1");
    says_of_guest(&w, "v", "stopped", true);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_STOPPED);
    assert_int_equal(server_load(w.c, w.agents[0].id)->guests, 1);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 503);
    w.agents[0].away = false;
    world_connect(&w, &w.agents[0]);
    says_of_guest(&w, "v", "stopped", false);
    assert_int_equal(server_load(w.c, w.agents[0].id)->guests, 0);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(where(&w, "v"), "s2");
    world_down(&w);
}

/* ---- maintenance ---- */

static void guest(struct world *w, const char *name, int64_t mib, const char *more) {
    _cleanup_free_ char *body =
        xasprintf("{\"name\":\"%s\",\"pool\":\"p\",\"memory\":%lld,\"start\":true,\"server\":\"s1\"%s}", name,
                  (long long)mib << 20, more);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL, body), 202);
    assert_string_equal(where(w, name), "s1");
}

static void test_a_server_is_emptied(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "small", 512, "");
    guest(&w, "great", 4096, "");
    guest(&w, "middle", 1024, "");
    assert_int_equal(ask(&w, API_OP_VM_SUSPEND, "middle", NULL), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"off\",\"pool\":\"p\",\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{}"), 400);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":false}"), 409);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    const struct table *jobs = &w.c->tables[API_KIND_JOB];
    const struct api_job *first = NULL;
    for (size_t i = 0; i < jobs->n && !first; i++) {
        const struct api_job *j = jobs->sorted[i]->v->data;
        first = str_eq(j->kind, "vm.migrate") ? j : NULL;
    }
    assert_string_equal(first->object.name, "great");
    world_seconds(&w, 20);
    assert_int_equal(last_job(&w, "server.maintenance")->state, API_JOB_STATE_DONE);
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
    static const char *const names[] = {"small", "great", "middle"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_not_equal(where(&w, names[i]), "s1");
        assert_int_equal(core_vm(w.c, names[i])->state, i == 2 ? API_VM_STATE_SUSPENDED : API_VM_STATE_RUNNING);
    }
    assert_int_equal(map_count(&w.agents[0].guests), 0);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 409);
    assert_int_equal(ask(&w, API_OP_VM_START, "off", NULL), 202); /* elsewhere */
    assert_string_not_equal(where(&w, "off"), "s1");
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, START("no", ",\"server\":\"s1\"")), 409);
    assert_non_null(strstr(w.reply, "is in maintenance"));
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":false}"), 202);
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_OFF);
    world_down(&w);
}

static size_t aborts_noted(const struct world *w) {
    const struct table *t = &w->c->tables[API_KIND_EVENT];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += str_eq(((const struct api_event *)t->sorted[i]->v->data)->kind, "job.abort");
    return n;
}

static void test_what_cannot_move_is_named_and_waited_for(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"own\",\"path\":\"/own\",\"server\":\"s1\"}"),
                     202);
    guest(&w, "bound", 512, ",\"repository\":\"own\"");
    guest(&w, "free", 512, ",\"repository\":\"shared\"");
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    world_seconds(&w, 10);
    const struct api_job *j = last_job(&w, "server.maintenance");
    assert_int_equal(j->state, API_JOB_STATE_RUNNING);
    assert_non_null(strstr(j->message, "cannot move: bound: "));
    assert_non_null(strstr(j->message, "\"own\" is not reached by server \"s2\""));
    assert_string_equal(where(&w, "free"), "s2");
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_DRAINING);
    /* Asked for again it is the same job, and no other one behind it. */
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    assert_non_null(strstr(w.reply, last_job(&w, "server.maintenance")->id));
    assert_string_equal(j->id, last_job(&w, "server.maintenance")->id);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true,\"timeout\":5}"), 409);
    assert_non_null(strstr(w.reply, "maintenance off s1"));
    assert_int_equal(ask(&w, API_OP_VM_STOP, "bound", NULL), 202);
    world_seconds(&w, 2);
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
    /* A stopped one starts only where its disks are. */
    assert_int_equal(ask(&w, API_OP_VM_START, "bound", NULL), 409);
    assert_non_null(strstr(w.reply, "is in maintenance"));
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":false}"), 202);
    assert_int_equal(ask(&w, API_OP_VM_START, "bound", NULL), 202);
    /* Given up: by an abort, by asking for the end, by the time. */
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    _cleanup_free_ char *id = xstrdup(last_job(&w, "server.maintenance")->id);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, id, NULL), 200);
    world_seconds(&w, 2);
    assert_int_equal(last_job(&w, "server.maintenance")->state, API_JOB_STATE_ABORTED);
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_OFF);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    size_t noted = aborts_noted(&w);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":false}"), 202);
    assert_int_equal(aborts_noted(&w), noted + 1); /* who began it is not who ended it */
    world_seconds(&w, 2);
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_OFF);
    /* As long as was said, and no look longer. */
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true,\"timeout\":7}"), 202);
    world_seconds(&w, 6);
    assert_int_equal(last_job(&w, "server.maintenance")->state, API_JOB_STATE_RUNNING);
    world_seconds(&w, 2);
    j = last_job(&w, "server.maintenance");
    assert_int_equal(j->state, API_JOB_STATE_FAILED);
    assert_string_equal(j->error_code, "timeout");
    assert_non_null(strstr(j->error, "its time is over, and 1 guest is left on the server; cannot move: bound: "));
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_OFF);
    assert_int_equal(core_vm(w.c, "bound")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* ---- what people try ---- */

static void test_one_that_is_on_no_server(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_ISO_CREATE, NULL, "{\"name\":\"cd\",\"image\":{\"path\":\"/1.iso\"}}"), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"pool\":\"p\",\"cdrom\":\"cd\"}"), 202);
    assert_string_equal(core_vm(w.c, "v")->server, "");
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\"}"), 409);
    assert_non_null(strstr(w.reply, "is stopped: only one that runs"));
    assert_int_equal(ask(&w, API_OP_VM_CDROM, "v", "{}"), 202);
    assert_int_equal(last_job(&w, "vm.cdrom")->state, API_JOB_STATE_DONE);
    assert_string_equal(core_vm(w.c, "v")->disks[0].iso, "");
    assert_int_equal(ask(&w, API_OP_VM_CDROM, "v", "{\"iso\":\"cd\"}"), 202);
    assert_string_not_equal(core_vm(w.c, "v")->disks[0].iso, "");
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void test_a_disk_says_where_it_belongs(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"own\",\"path\":\"/own\",\"server\":\"s1\"}"),
                     202);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 400);
    assert_non_null(strstr(w.reply, "own"));
    assert_non_null(strstr(w.reply, "shared"));
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576,\"repository\":\"own\"}"),
                     202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"disks\":[{\"disk\":\"d\"}]}"), 202);
    assert_string_equal(CORE_GET(w.c, repository, REPOSITORY, core_vm(w.c, "v")->repository)->name, "own");
    world_down(&w);
}

static void test_settings_that_could_not_work(void **state) {
    struct world w;
    world_pool(&w, 1);
    static const char *const fences[] = {"{\"fence\":{\"agent\":\"rm -rf\"}}",
                                         "{\"fence\":{\"agent\":\"fence_x\",\"password\":\"a\\nb\"}}",
                                         "{\"fence\":{\"agent\":\"fence_x\",\"address\":\"1.2.3.4\\n\"}}",
                                         "{\"fence\":{\"agent\":\"fence_x\",\"options\":[\"lanplus\"]}}"};
    for (size_t i = 0; i < ARRAY_LEN(fences); i++)
        assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1", fences[i]), 400);
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1",
                         "{\"fence\":{\"agent\":\"fence_ipmilan\",\"password\":\"a b\",\"options\":[\"lanplus=1\"]}}"),
                     200);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"migration\":{\"bandwidth\":10}}"), 400);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"q\",\"migration\":{\"bandwidth\":1000000}}"), 400);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"migration\":{\"bandwidth\":1048576}}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"migration\":{\"bandwidth\":0}}"), 200);
    world_down(&w);
}

/* As many as there are, or more: nothing could start. Before there are any it may be anything. */
static void test_failures_that_leave_no_server(void **state) {
    struct world w;
    world_pool(&w, 2);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"admission_failures\":2}"), 409);
    assert_non_null(strstr(w.reply, "the pool has 2 servers, of which one has to be left: the failure of at most 1"));
    assert_non_null(strstr(w.reply, "\"field\":\"admission_failures\""));
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"admission_failures\":1}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"q\",\"admission_failures\":9}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "q", "{\"admission_failures\":8}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s2\"}"), 202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"description\":\"d\"}"), 200); /* of another matter */
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools_and_rules),
        cmocka_unit_test(test_cpu_baseline),
        cmocka_unit_test(test_cpu_baseline_of_mixed_vendors),
        cmocka_unit_test(test_repository_of_several_servers),
        cmocka_unit_test(test_not_the_same_storage),
        cmocka_unit_test(test_unusable_on_one_server),
        cmocka_unit_test(test_a_deletion_goes_to_another_server),
        cmocka_unit_test(test_a_creation_waits_for_its_server),
        cmocka_unit_test(test_starts_are_spread_until_the_pool_is_full),
        cmocka_unit_test(test_loads_follow_what_is_taken_back),
        cmocka_unit_test(test_a_stopped_one_starts_elsewhere),
        cmocka_unit_test(test_what_may_run_again_waits_for_its_server),
        cmocka_unit_test(test_a_server_is_emptied),
        cmocka_unit_test(test_what_cannot_move_is_named_and_waited_for),
        cmocka_unit_test(test_one_that_is_on_no_server),
        cmocka_unit_test(test_a_disk_says_where_it_belongs),
        cmocka_unit_test(test_settings_that_could_not_work),
        cmocka_unit_test(test_failures_that_leave_no_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
