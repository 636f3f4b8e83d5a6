/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that must hold and contradict each other are refused with their names. */
#include "core/test_world.h"

#include <stdio.h>

static void vm_make(struct world *w, const char *name, const char *tags) {
    _cleanup_free_ char *body =
        xasprintf("{\"name\":\"%s\",\"pool\":\"p\",\"repository\":\"r\",\"tags\":[%s]}", name, tags);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL, body), 202);
    settle(w);
}

/* Pool p of s1, s2 and s3 with the repository r, and the virtual machines a, b, c, d. */
static void pool_of_three(struct world *w) {
    world_of(w, 3);
    assert_int_equal(ask(w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    for (int i = 1; i <= 3; i++) {
        _cleanup_free_ char *body = xasprintf("{\"server\":\"s%d\"}", i);
        assert_int_equal(ask(w, API_OP_POOL_ADD, "p", body), 202);
        settle(w);
    }
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\",\"pool\":\"p\"}"), 202);
    settle(w);
    for (const char *name = "abcd"; *name; name++)
        vm_make(w, (char[]){*name, 0}, "");
}

static int rule(struct world *w, const char *name, const char *type, const char *rest) {
    _cleanup_free_ char *body =
        xasprintf("{\"name\":\"%s\",\"pool\":\"p\",\"must\":true,\"type\":\"%s\",%s}", name, type, rest);
    return ask(w, API_OP_RULE_CREATE, NULL, body);
}

static void says(const struct world *w, const char *words) {
    if (!strstr(w->reply, words))
        fail_msg("%s does not say %s", w->reply, words);
}

#define AB "\"vms\":[\"a\",\"b\"]"
#define BC "\"vms\":[\"b\",\"c\"]"
#define AC "\"vms\":[\"a\",\"c\"]"

static void together_and_apart(void **state) {
    struct world w;
    pool_of_three(&w);
    assert_int_equal(rule(&w, "near", "together", AB), 201);
    assert_int_equal(rule(&w, "far", "apart", AB), 409);
    says(&w, "\\\"a\\\" and \\\"b\\\" would have to run both together and apart: with the rules \\\"near\\\"");
    says(&w, "\"field\":\"type\"");
    /* Through two of them. */
    assert_int_equal(rule(&w, "far", "apart", AC), 201);
    assert_int_equal(rule(&w, "near2", "together", BC), 409);
    says(&w, "with the rules \\\"near\\\", \\\"far\\\"");
    /* What only should hold is not refused, nor made to by a change. */
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL, "{\"name\":\"soft\",\"pool\":\"p\",\"type\":\"together\"," BC "}"), 201);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "soft", "{\"must\":true}"), 409);
    says(&w, "\\\"far\\\"");
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "soft", "{\"description\":\"x\"}"), 200);
    /* A rule does not contradict what it was itself. */
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "near", "{\"type\":\"apart\"}"), 200);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "soft", "{\"must\":true}"), 200);
    assert_int_equal(rule(&w, "other", "apart", "\"vms\":[\"a\",\"d\"]"), 201);
    world_down(&w);
}

static void servers_that_exclude_each_other(void **state) {
    struct world w;
    pool_of_three(&w);
    assert_int_equal(rule(&w, "on", "on-servers", "\"vms\":[\"a\"],\"servers\":[\"s1\",\"s2\"]"), 201);
    assert_int_equal(rule(&w, "not1", "not-on-servers", "\"vms\":[\"a\"],\"servers\":[\"s1\"]"), 201);
    assert_int_equal(rule(&w, "not2", "not-on-servers", "\"vms\":[\"a\"],\"servers\":[\"s2\"]"), 409);
    says(&w, "virtual machine \\\"a\\\" would have no server left: with the rules \\\"not1\\\", \\\"on\\\"");
    says(&w, "\"field\":\"servers\"");
    assert_int_equal(rule(&w, "not2", "not-on-servers", "\"vms\":[\"b\"],\"servers\":[\"s2\"]"), 201);
    /* Together they would have none. */
    assert_int_equal(rule(&w, "near", "together", AB), 409);
    says(&w, "\\\"not1\\\", \\\"not2\\\", \\\"on\\\"");
    assert_int_equal(rule(&w, "near", "together", AC), 201);
    assert_int_equal(rule(&w, "all", "not-on-servers", "\"vms\":[\"d\"],\"servers\":[\"s1\",\"s2\",\"s3\"]"), 409);
    says(&w, "virtual machine \\\"d\\\" would have no server left\"");
    world_down(&w);
}

static void storage_in_common(void **state) {
    struct world w;
    pool_of_three(&w);
    for (int i = 1; i <= 2; i++) {
        _cleanup_free_ char *repository = xasprintf("{\"name\":\"r%d\",\"path\":\"/r%d\",\"server\":\"s%d\"}", i, i, i),
                            *vm = xasprintf("{\"name\":\"v%d\",\"pool\":\"p\",\"repository\":\"r%d\","
                                            "\"disks\":[{\"size\":1048576}]}",
                                            i, i);
        assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, repository), 202);
        settle(&w);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, vm), 202);
        settle(&w);
    }
    assert_int_equal(rule(&w, "near", "together", "\"vms\":[\"v1\",\"v2\"]"), 409);
    says(&w, "together with \\\"v1\\\" have no server in common that has all their storage");
    assert_int_equal(rule(&w, "near", "together", "\"vms\":[\"v1\",\"a\"]"), 201);
    assert_int_equal(rule(&w, "apart", "apart", "\"vms\":[\"v1\",\"v2\"]"), 201);
    world_down(&w);
}

static void tags(void **state) {
    struct world w;
    pool_of_three(&w);
    assert_int_equal(rule(&w, "near", "together", "\"tag\":\"db\""), 201);
    assert_int_equal(rule(&w, "far", "apart", AB), 201);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"tags\":[\"db\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "b", "{\"tags\":[\"db\",\"x\"]}"), 409);
    says(&w, "\"field\":\"tags\"");
    says(&w, "\\\"near\\\", \\\"far\\\"");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "b", "{\"tags\":[\"x\"]}"), 200);
    /* One that is made with a tag. */
    assert_int_equal(rule(&w, "not", "not-on-servers", "\"tag\":\"z\",\"servers\":[\"s1\",\"s2\"]"), 201);
    assert_int_equal(rule(&w, "on", "on-servers", "\"tag\":\"y\",\"servers\":[\"s2\"]"), 201);
    assert_int_equal(
        ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"e\",\"pool\":\"p\",\"repository\":\"r\",\"tags\":[\"y\",\"z\"]}"),
        409);
    says(&w, "\\\"e\\\" would have no server left: with the rules \\\"not\\\", \\\"on\\\"");
    vm_make(&w, "e", "\"y\"");
    world_down(&w);
}

/* A server that left has made two rules contradict each other: that is no reason to refuse anything else. */
static void what_was_so_before(void **state) {
    struct world w;
    pool_of_three(&w);
    assert_int_equal(rule(&w, "on", "on-servers", "\"vms\":[\"a\"],\"servers\":[\"s1\",\"s2\"]"), 201);
    assert_int_equal(rule(&w, "not", "not-on-servers", "\"vms\":[\"a\"],\"servers\":[\"s1\"]"), 201);
    struct api_rule *put = core_copy(API_KIND_RULE, core_data(w.c, API_KIND_RULE, "not"));
    put->servers = xreallocarray(put->servers, 2, sizeof *put->servers);
    put->servers[put->n_servers++] = xstrdup(core_server(w.c, "s2")->id);
    core_begin(w.c);
    core_put(w.c, API_KIND_RULE, put);
    core_end(w.c);
    pump(&w);
    assert_int_equal(rule(&w, "far", "apart", BC), 201);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"tags\":[\"x\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"description\":\"x\"}"), 200);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "on", "{\"description\":\"x\"}"), 200);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "on", "{\"servers\":[\"s1\"]}"), 409);
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "on", "{\"must\":false}"), 200);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_and_apart), cmocka_unit_test(servers_that_exclude_each_other),
        cmocka_unit_test(storage_in_common),  cmocka_unit_test(tags),
        cmocka_unit_test(what_was_so_before),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
