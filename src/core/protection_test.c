/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of highly available virtual machines that would not start elsewhere. */
#include "core/test_cluster.h"

#include <stdio.h>

static const char *warning_of(const struct world *w, const char *vm) {
    const struct table *t = &w->c->tables[API_KIND_JOB];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_job *j = t->sorted[i]->v->data;
        if (str_eq(j->kind, "vm.create") && str_eq(j->object.name, vm))
            return j->n_warnings ? j->warnings[0] : "";
    }
    fail_msg("no job made %s", vm);
    return NULL;
}

static void reason_is(const struct world *w, const char *vm, bool guarded, const char *reason) {
    assert_string_equal(vm_of(w, vm)->guarded_reason, reason);
    assert_int_equal(vm_of(w, vm)->guarded, guarded);
}

/* Its disk is where one server alone reaches it: said when it is made, and as long as it is so. */
static void local_disk(void **state) {
    struct world w;
    prepare(&w, 3);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"own\",\"path\":\"/own\",\"server\":\"s1\"}"),
                     202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"a\",\"pool\":\"p\",\"server\":\"s1\",\"repository\":\"own\","
                         "\"disks\":[{\"size\":1048576}],\"start\":true,\"ha\":" HA "}"),
                     202);
    walk(&w, 1000);
    static const char why[] = "no other server of its pool has the storage repository \"own\"";
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    assert_true(vm_of(&w, "a")->watched);
    reason_is(&w, "a", false, why);
    assert_non_null(strstr(warning_of(&w, "a"), why));
    make_vm(&w, "b", "s1", HA);
    reason_is(&w, "b", true, "");
    assert_string_equal(warning_of(&w, "b"), "");
    make_vm(&w, "plain", "s1", "{}");
    reason_is(&w, "plain", false, "");
    assert_string_equal(warning_of(&w, "plain"), "");
    /* Once another server has the storage it is guarded, without anybody touching it. */
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "own", "{\"server\":\"s2\"}"), 202);
    settle(&w);
    reason_is(&w, "a", true, "");
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "own", "{\"server\":\"s2\"}"), 202);
    settle(&w);
    reason_is(&w, "a", false, why);
    /* Made highly available later: the answer tells. */
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"enabled\":false}}"), 200);
    settle(&w);
    reason_is(&w, "a", false, "");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"enabled\":true}}"), 200);
    assert_non_null(strstr(w.reply, "\"guarded_reason\":\"no other server"));
    world_down(&w);
}

static void pools_that_guard_nothing(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"q\",\"force\":true}"), 400);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"failover\":\"none\"}"), 409);
    assert_non_null(strstr(w.reply, "\"field\":\"force\""));
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"description\":\"d\"}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"failover\":\"none\",\"force\":true}"), 200);
    reason_is(&w, "a", false, "its pool \"p\" restarts nothing elsewhere: its failover is none");
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"failover\":\"restart\"}"), 200);
    reason_is(&w, "a", true, "");
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"clustered\":false}"), 409); /* forced once, not for ever */
    assert_non_null(strstr(w.reply, "1 of the pool's highly available virtual machines"));
    assert_non_null(strstr(w.reply, "\\\"a\\\""));
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"clustered\":false,\"force\":true}"), 200);
    settle(&w);
    reason_is(&w, "a", false, "its pool \"p\" is not clustered");
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"clustered\":true}"), 200);
    settle(&w);
    reason_is(&w, "a", true, "");
    world_down(&w);
}

static void without_a_pool(void **state) {
    struct world w;
    world_up(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"a\",\"repository\":\"local\",\"ha\":" HA "}"), 202);
    settle(&w);
    reason_is(&w, "a", false, "it is in no server pool");
    assert_non_null(strstr(warning_of(&w, "a"), "it is in no server pool"));
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    settle(&w);
    reason_is(&w, "a", false, "its pool \"p\" is not clustered");
    world_down(&w);
}

/* What is in maintenance takes nothing, whoever is lost. */
static void others_in_maintenance(void **state) {
    struct world w;
    static const char why[] = "the other servers of its pool \"p\" that could run it are in maintenance";
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s2", "{\"on\":true}"), 202);
    settle(&w);
    reason_is(&w, "a", true, "");
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s3", "{\"on\":true}"), 202);
    settle(&w);
    reason_is(&w, "a", false, why);
    /* That it is on one itself is what is about to change. */
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s3", "{\"on\":false}"), 202);
    settle(&w);
    reason_is(&w, "a", true, "");
    world_down(&w);
}

/* Who takes a server out of a pool is told what that takes away, and not told of what had nothing before. */
static void a_server_leaves(void **state) {
    struct world w;
    prepare(&w, 4);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "b", "s2", HA);
    make_vm(&w, "plain", "s1", "{}");
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s4\"}"), 202);
    settle(&w);
    assert_int_equal(last_job(&w, "pool.remove")->n_warnings, 0);
    reason_is(&w, "a", true, "");
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s3\"}"), 202);
    settle(&w);
    const struct api_job *j = last_job(&w, "pool.remove");
    assert_int_equal(j->state, API_JOB_STATE_DONE);
    assert_int_equal(j->n_warnings, 1);
    _cleanup_free_ char *why =
        xasprintf("2 highly available virtual machines are not restarted elsewhere any more when "
                  "a server is lost (\"a\", \"b\"): %s",
                  vm_of(&w, "a")->guarded_reason);
    assert_string_equal(j->warnings[0], why);
    assert_false(vm_of(&w, "a")->guarded);
    assert_non_null(strstr(why, "two servers"));
    world_down(&w);
}

/* The same of one that is gone for good, and what ended with it. */
static void a_server_is_gone(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "plain", "s3", "{}");
    dies(&w, 2);
    walk(&w, 30000);
    world_disconnect(&w, &w.agents[2]);
    walk(&w, 12000);
    assert_int_equal(forget_server(&w, "s3"), 200);
    assert_non_null(strstr(w.reply,
                           "\"name\":\"plain\"}],\"warnings\":[\"1 highly available virtual machine is not restarted "
                           "elsewhere any more when a server is lost (\\\"a\\\"): its pool \\\"p\\\" has two servers"));
    settle(&w);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_CRASHED);
    assert_non_null(strstr(vm_of(&w, "a")->guarded_reason, "two servers"));
    world_down(&w);
}

static void after_itself(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "b", "s1", HA);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"after\":[\"b\",\"a\"]}}"), 409);
    assert_non_null(strstr(w.reply, "\\\"a\\\" cannot come after itself"));
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"after\":[\"b\"]}}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "b", "{\"ha\":{\"after\":[\"a\"]}}"), 409);
    assert_non_null(strstr(w.reply, "one of these comes after it already"));
    world_down(&w);
}

static void alone(void **state) {
    struct world w;
    prepare(&w, 1);
    make_vm(&w, "a", "s1", HA);
    reason_is(&w, "a", false, "its pool \"p\" has no other server");
    world_down(&w);
}

static int tie(struct world *w, const char *rest) {
    _cleanup_free_ char *body = xasprintf("{\"name\":\"only\",\"pool\":\"p\",%s}", rest);
    return ask(w, API_OP_RULE_CREATE, NULL, body);
}

/* A rule that must hold leaves it no other server: told as long as the rule is there. */
static void tied_by_a_rule(void **state) {
    struct world w;
    static const char why[] = "placement rule \"only\" leaves it no other server of its pool \"p\"";
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "free", "s2", HA);
    assert_int_equal(tie(&w, "\"type\":\"on-servers\",\"must\":true,\"vms\":[\"a\"],\"servers\":[\"s1\"]"), 201);
    reason_is(&w, "a", false, why);
    reason_is(&w, "free", true, "");
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "only", "{\"servers\":[\"s1\",\"s2\"]}"), 200);
    reason_is(&w, "a", true, "");
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "only", "{\"servers\":[\"s3\"]}"), 200);
    reason_is(&w, "a", true, ""); /* it runs elsewhere still, and would start there */
    assert_int_equal(ask(&w, API_OP_VM_KILL, "a", NULL), 202);
    settle(&w);
    assert_string_equal(vm_of(&w, "a")->guarded_reason, why); /* it will not start where it was */
    assert_int_equal(ask(&w, API_OP_RULE_CHANGE, "only", "{\"must\":false}"), 200);
    assert_string_equal(vm_of(&w, "a")->guarded_reason, "");
    assert_int_equal(ask(&w, API_OP_RULE_DELETE, "only", NULL), 204);
    /* By its tag, and not made highly available before the rule. */
    make_vm(&w, "late", "s1", "{}");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "late", "{\"tags\":[\"t\"]}"), 200);
    assert_int_equal(tie(&w, "\"type\":\"not-on-servers\",\"must\":true,\"tag\":\"t\",\"servers\":[\"s2\",\"s3\"]"),
                     201);
    reason_is(&w, "late", false, "");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "late", "{\"ha\":" HA "}"), 200);
    assert_non_null(strstr(w.reply, "\"guarded_reason\":\"placement rule \\\"only\\\""));
    settle(&w);
    reason_is(&w, "late", false, why);
    assert_int_equal(ask(&w, API_OP_RULE_DELETE, "only", NULL), 204);
    reason_is(&w, "late", true, "");
    world_down(&w);
}

/* Made highly available when its server was lost already: why not, and what to do. */
static void told_too_late(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    says(&w, 0, "plain", "running", false);
    dies(&w, 0);
    walk(&w, 20000);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_UNKNOWN);
    reason_is(&w, "plain", false, "");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    assert_non_null(strstr(w.reply, "\"guarded_reason\":\"its server \\\"s1\\\" could not be told to watch it"));
    assert_non_null(strstr(vm_of(&w, "plain")->guarded_reason, "tarn server delete s1 --force"));
    map_put(&w.agents[0].guests, vm_of(&w, "plain")->id, xstrdup("running"));
    comes_back(&w, 0);
    walk(&w, 5000);
    reason_is(&w, "plain", false, "its server does not watch it yet"); /* in the world, which tells no more */
    world_down(&w);
}

static void waits_to_be_restarted(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "b", "s2", "{}");
    make_vm(&w, "c", "s3", "{}");
    assert_int_equal(tie(&w, "\"type\":\"apart\",\"must\":true,\"vms\":[\"a\",\"b\",\"c\"]"), 201);
    dies(&w, 0);
    walk(&w, 20000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_CRASHED);
    const char *why = vm_of(&w, "a")->guarded_reason;
    assert_true(strncmp(why, "it has crashed, no server can take", 34) == 0);
    assert_non_null(strstr(why, ": unless it is restarted by itself, start it with: tarn vm start a"));
    assert_false(vm_of(&w, "a")->guarded);
    assert_int_equal(ask(&w, API_OP_RULE_DELETE, "only", NULL), 204);
    until_runs(&w, "a", 20000);
    reason_is(&w, "a", true, "");
    world_down(&w);
}

/* The third server is there, and the cluster takes it in: that is not for good. */
static void a_third_server_comes(void **state) {
    struct world w;
    prepare(&w, 2);
    make_vm(&w, "a", "s1", HA);
    world_add(&w);
    w.holds = "cluster.configure";
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 202);
    walk(&w, 500);
    assert_string_equal(core_server(w.c, "s3")->pool, core_pool(w.c, "p")->id);
    static const char why[] =
        "server \"s3\" is just being taken into the cluster of its pool \"p\", which until then has "
        "two servers only";
    reason_is(&w, "a", false, why);
    assert_int_equal(
        ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"q\",\"pool\":\"p\",\"repository\":\"r\",\"ha\":" HA "}"), 202);
    assert_non_null(strstr(warning_of(&w, "q"), why));
    w.holds = NULL;
    world_down(&w);
}

/* Two servers do not tell who of them is lost; switching the lost one off does. */
static void two_servers(void **state) {
    struct world w;
    prepare(&w, 2);
    make_vm(&w, "a", "s1", HA);
    assert_false(vm_of(&w, "a")->guarded);
    assert_non_null(strstr(vm_of(&w, "a")->guarded_reason, "two servers"));
    static const char fence[] = "{\"fence\":{\"agent\":\"fence_dummy\",\"address\":\"192.0.2.1\"}}";
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1", fence), 200);
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s2", fence), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"fencing\":\"auto\"}"), 200);
    settle(&w);
    reason_is(&w, "a", true, "");
    world_down(&w);
}

/* What was stored by a manager that had one field for both. */
static void stored_before(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    _cleanup_free_ char *key = xasprintf("vm/%s", vm_of(&w, "a")->id);
    _cleanup_json_ json_t *stored = json_loads(map_get(&w.store, key), 0, NULL);
    assert_true(json_is_true(json_object_get(stored, "watched")));
    json_object_del(stored, "watched");
    free(map_put(&w.store, key, json_text(stored)));
    world_crash(&w);
    assert_true(vm_of(&w, "a")->watched);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_disk),
        cmocka_unit_test(pools_that_guard_nothing),
        cmocka_unit_test(without_a_pool),
        cmocka_unit_test(two_servers),
        cmocka_unit_test(stored_before),
        cmocka_unit_test(others_in_maintenance),
        cmocka_unit_test(alone),
        cmocka_unit_test(after_itself),
        cmocka_unit_test(a_server_leaves),
        cmocka_unit_test(a_server_is_gone),
        cmocka_unit_test(tied_by_a_rule),
        cmocka_unit_test(told_too_late),
        cmocka_unit_test(waits_to_be_restarted),
        cmocka_unit_test(a_third_server_comes),
    };
    return cmocka_run_group_tests_name("protection", tests, NULL, NULL);
}
