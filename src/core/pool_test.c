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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools_and_rules),
        cmocka_unit_test(test_cpu_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
