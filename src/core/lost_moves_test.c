/* SPDX-License-Identifier: Apache-2.0 */
/* A server of a clustered pool is lost while jobs wait: what is to run runs elsewhere, what was killed does not. */
#include "core/test_cluster.h"

static void local_ha(struct world *w, size_t servers) {
    prepare(w, servers);
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"l1\",\"path\":\"/l1\",\"server\":\"s1\"}"),
                     202);
    settle(w);
    walk(w, 1000);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"pool\":\"p\",\"server\":\"s1\",\"repository\":\"l1\",\"memory\":268435456,"
                         "\"start\":true,\"ha\":" HA ",\"disks\":[{\"size\":1048576}]}"),
                     202);
    walk(w, 1000);
    assert_int_equal(vm_of(w, "v")->state, API_VM_STATE_RUNNING);
}

/* To shared storage: the destination dies before it has answered, and others have the disks. */
static void test_shared_destination_given_up(void **state) {
    struct world w;
    local_ha(&w, 3);
    w.holds = "guest.activate";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true,\"repository\":\"r\"}"), 202);
    assert_string_equal(where(&w, "v"), "s2");
    dies(&w, 1);
    w.holds = NULL;
    until_elsewhere(&w, "v", "s2", 60000);
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* It has moved, its old disk is to be deleted on a server that is lost, and then its new one is. */
static void test_a_deletion_that_waits_keeps_nothing_from_its_restart(void **state) {
    struct world w;
    local_ha(&w, 5);
    w.holds = "disk.delete";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true,\"repository\":\"r\"}"), 202);
    walk(&w, 2000);
    dies(&w, 0);
    walk(&w, 30000);
    w.holds = NULL;
    dies(&w, 1);
    until_elsewhere(&w, "v", "s2", 120000);
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    assert_string_not_equal(where(&w, "v"), "s2");
    assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_RUNNING);
    comes_back(&w, 0);
    walk(&w, 30000);
    assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_DONE);
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    assert_string_equal(vm_of(&w, "v")->target, "");
    world_down(&w);
}

/* An order to receive it that had waited there for minutes is carried out when its job has ended long ago. */
static void test_what_comes_up_where_it_does_not_belong_is_ended(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "v", "s1", HA);
    map_put(&w.agents[1].guests, vm_of(&w, "v")->id, xstrdup("migrating"));
    says(&w, 1, "v", "migrating", false);
    walk(&w, 500);
    assert_null(map_get(&w.agents[1].guests, vm_of(&w, "v")->id));
    assert_string_equal(map_get(&w.agents[0].guests, vm_of(&w, "v")->id), "running");
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    /* What it tells while it ends it is no new reason, nor is that it could not be ended. */
    size_t told = w.changes;
    says(&w, 1, "v", "stopping", false);
    says(&w, 1, "v", "migrating", false);
    walk(&w, 500);
    assert_int_equal(w.changes, told);
    /* Where it belongs it is let be. */
    says(&w, 0, "v", "running", true);
    walk(&w, 500);
    assert_string_equal(map_get(&w.agents[0].guests, vm_of(&w, "v")->id), "running");
    world_down(&w);
}

/* The order had failed a few times, and was to be tried again. */
static void test_a_kill_that_is_tried_again_holds(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "v", "s1", HA);
    w.fail_op = "guest.kill";
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    for (int i = 0; i < 600 && last_job(&w, "vm.kill")->steps[0].attempts < 5; i++)
        walk(&w, 100);
    dies(&w, 0);
    walk(&w, 60000);
    w.fail_op = NULL;
    const struct api_vm *vm = vm_of(&w, "v");
    print_message("kill %s; v %s on \"%s\"\n", api_job_state_text(last_job(&w, "vm.kill")->state),
                  api_vm_state_text(vm->state), where(&w, "v"));
    assert_int_equal(vm->state, API_VM_STATE_STOPPED);
    world_down(&w);
}

/* The destination is given up while the source releases the guest, which then cannot delete the old disk. */
static void test_it_runs_though_its_old_disk_cannot_be_deleted(void **state) {
    struct world w;
    local_ha(&w, 5);
    w.holds = "guest.activate";
    w.fail_op = "disk.delete";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true,\"repository\":\"r\"}"), 202);
    dies(&w, 1);
    until_elsewhere(&w, "v", "s2", 60000);
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    assert_string_not_equal(where(&w, "v"), "s2");
    world_down(&w);
}

static void test_it_runs_though_source_and_destination_are_lost(void **state) {
    for (int first = 0; first < 2; first++) {
        struct world w;
        local_ha(&w, 5);
        w.holds = "guest.activate";
        assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true,\"repository\":\"r\"}"), 202);
        dies(&w, first);
        walk(&w, 300);
        dies(&w, !first);
        w.holds = NULL;
        walk(&w, 60000);
        assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
        assert_string_not_equal(where(&w, "v"), "s2");
        world_down(&w);
    }
}

static void test_a_job_that_waits_keeps_nothing_from_its_restart(void **state) {
    struct world w;
    prepare(&w, 5);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL,
                         "{\"name\":\"x\",\"path\":\"/x\",\"servers\":[\"s1\",\"s2\",\"s3\",\"s4\",\"s5\"]}"),
                     202);
    settle(&w);
    walk(&w, 1000);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"pool\":\"p\",\"server\":\"s2\",\"repository\":\"x\",\"memory\":268435456,"
                         "\"start\":true,\"ha\":" HA ",\"disks\":[{\"size\":1048576}]}"),
                     202);
    walk(&w, 1000);
    w.holds = "repository.close";
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "x", "{\"server\":\"s1\"}"), 202);
    dies(&w, 0);
    walk(&w, 30000);
    w.holds = NULL;
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s2", "{\"on\":true}"), 202);
    walk(&w, 1000);
    dies(&w, 1);
    until_elsewhere(&w, "v", "s2", 120000);
    print_message("v %s (%s) on \"%s\", recovery: %s; gone %d\n", api_vm_state_text(vm_of(&w, "v")->state),
                  vm_of(&w, "v")->state_reason, where(&w, "v"),
                  last_job(&w, "vm.recover") ? last_job(&w, "vm.recover")->message : "none",
                  server_is_gone(w.c, w.agents[1].id));
    assert_int_equal(vm_of(&w, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_destination_given_up),
        cmocka_unit_test(test_a_deletion_that_waits_keeps_nothing_from_its_restart),
        cmocka_unit_test(test_it_runs_though_its_old_disk_cannot_be_deleted),
        cmocka_unit_test(test_it_runs_though_source_and_destination_are_lost),
        cmocka_unit_test(test_what_comes_up_where_it_does_not_belong_is_ended),
        cmocka_unit_test(test_a_kill_that_is_tried_again_holds),
        cmocka_unit_test(test_a_job_that_waits_keeps_nothing_from_its_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
