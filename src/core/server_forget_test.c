/* SPDX-License-Identifier: Apache-2.0 */
/* A server that is gone for good: what is lost with it, what stays, and that jobs which wait for it end. */
#include "core/test_world.h"

#include <stdio.h>

#define SAYS(text) assert_non_null(strstr(w.reply, text))

static bool there(struct world *w, enum api_kind kind, const char *name) { return core_data(w->c, kind, name) != NULL; }

static void test_what_is_lost(void **state) {
    struct world w;
    world_up(&w);
    make_template(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\",\"start\":true}"), 202);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    assert_int_equal(forget_server(&w, "s1"), 409); /* it is online, and what it runs comes first */
    SAYS("\\\"v\\\"; move them away first (tarn server maintenance on s1), or stop them");
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(forget_server(&w, "s1"), 409);
    SAYS("is online");
    SAYS("If it has failed just now, it counts as that until it has been silent for 15 s");
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s1", NULL), 409);
    assert_null(strstr(w.reply, "silent"));
    core_agent(w.c, core_server(w.c, "s1")->id)->mute = true;
    assert_int_equal(forget_server(&w, "s1"), 409);
    SAYS("server \\\"s1\\\" does not answer, but counts as connected until it has been silent for 15 s: wait");
    core_agent(w.c, core_server(w.c, "s1")->id)->mute = false;
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    world_lose(&w, 0);
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s1", NULL), 409);
    SAYS("--force");
    assert_int_equal(forget_server(&w, "s1"), 200);
    SAYS("\"kind\":\"vm\"");
    SAYS("\"name\":\"d\"");
    SAYS("\"name\":\"local\"");
    SAYS("\"name\":\"t\"");
    assert_false(there(&w, API_KIND_SERVER, "s1"));
    assert_false(there(&w, API_KIND_VM, "v"));
    assert_false(there(&w, API_KIND_DISK, "d"));
    assert_false(there(&w, API_KIND_TEMPLATE, "t"));
    assert_false(there(&w, API_KIND_REPOSITORY, "local"));
    assert_null(core_server_by_certificate(w.c, "s1"));
    assert_int_equal(ask(&w, API_OP_SERVER_LIST, NULL, NULL), 200);
    world_down(&w);
}

/* No advice leads to one that cannot be followed. */
static void test_advice_about_one_of_a_pool(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s1", NULL), 409);
    SAYS("first tarn pool remove p s1");
    world_lose(&w, 0);
    assert_int_equal(ask(&w, API_OP_SERVER_DELETE, "s1", NULL), 409);
    SAYS("give --force");
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 503);
    SAYS("tarn server delete s1 --force");
    assert_int_equal(forget_server(&w, "s1"), 200);
    world_down(&w);
}

/* Its jobs wait for it: they end, undone as far as there is something to undo. */
static void test_jobs_end(void **state) {
    struct world w;
    world_up(&w);
    make_template(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\"}"), 202);
    w.agents[0].away = true;
    w.lose_answers = true;
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    assert_non_null(running_job(&w));
    assert_true(there(&w, API_KIND_DISK, "d"));
    assert_int_equal(forget_server(&w, "s1"), 200);
    assert_null(running_job(&w));
    assert_false(there(&w, API_KIND_VM, "v"));
    assert_false(there(&w, API_KIND_DISK, "d"));
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_FAILED);
    world_down(&w);
}

static void test_what_others_have_stays(void **state) {
    struct world w;
    world_of(&w, 3);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    for (int i = 1; i <= 3; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"server\":\"s%d\"}", i);
        assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", body), 202);
    }
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"shared\",\"pool\":\"p\",\"path\":\"/shared\"}"), 202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"pool\":\"p\",\"server\":\"s2\",\"repository\":\"shared\",\"start\":true,"
                         "\"disks\":[{\"size\":1048576}]}"),
                     202);
    settle(&w);
    assert_string_equal(core_vm(w.c, "v")->server, core_server(w.c, "s2")->id);
    assert_int_equal(
        ask(&w, API_OP_RULE_CREATE, NULL,
            "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"vms\":[\"v\"],\"servers\":[\"s2\"]}"),
        201);
    world_lose(&w, 1);
    assert_int_equal(forget_server(&w, "s2"), 200);
    SAYS("\"lost\":[],\"crashed\":[{\"kind\":\"vm\"");
    SAYS("\"name\":\"v\"}],\"warnings\":[]");
    const struct api_vm *vm = core_vm(w.c, "v");
    assert_int_equal(vm->state, API_VM_STATE_CRASHED);
    assert_non_null(strstr(vm->state_reason, "removed for good"));
    assert_string_equal(vm->server, "");
    assert_int_equal(vm->n_disks, 1);
    assert_false(there(&w, API_KIND_RULE, "r"));
    const struct api_repository *r = core_data(w.c, API_KIND_REPOSITORY, "shared");
    assert_int_equal(r->n_presented, 2);
    assert_int_equal(r->n_servers, 2);
    /* It runs again, elsewhere. */
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    settle(&w);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    assert_string_not_equal(core_vm(w.c, "v")->server, "");
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_lost),
        cmocka_unit_test(test_advice_about_one_of_a_pool),
        cmocka_unit_test(test_jobs_end),
        cmocka_unit_test(test_what_others_have_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
