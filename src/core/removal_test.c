/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server is removed for good, or something else goes, while a job is at work on what was there: nothing is lost that
 * is needed still, and the manager goes on.
 */
#include "core/test_world.h"

static void test_an_order_that_is_tried_again_ends_with_its_server(void **state) {
    struct world w;
    world_up(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"start\":true}"), 202);
    w.fail_op = "guest.kill";
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    world_lose(&w, 0);
    assert_int_equal(forget_server(&w, "s1"), 200);
    world_seconds(&w, 70);
    assert_true(last_job(&w, "vm.kill")->state >= API_JOB_STATE_DONE);
    world_down(&w);
}

static size_t deleted;

static json_t *count_deletions(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    deleted += str_eq(op, "disk.delete");
    return NULL;
}

static void move_with_a_disk(struct world *w, const char *holds, const char *fails) {
    static const char *const repositories[] = {"{\"name\":\"r1\",\"path\":\"/r1\",\"server\":\"s1\"}",
                                               "{\"name\":\"r2\",\"path\":\"/r2\",\"server\":\"s2\"}"};
    world_of(w, 2);
    for (size_t i = 0; i < ARRAY_LEN(repositories); i++)
        assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, repositories[i]), 202);
    settle(w);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"server\":\"s1\",\"start\":true,\"disks\":[{\"size\":1048576}]}"),
                     202);
    settle(w);
    deleted = 0;
    w->op = count_deletions;
    w->holds = holds;
    w->fail_op = fails;
    assert_int_equal(ask(w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    assert_string_equal(core_vm(w->c, "v")->server, w->agents[1].id);
}

static void test_a_switch_that_is_tried_again_goes_back(void **state) {
    struct world w;
    move_with_a_disk(&w, NULL, "guest.activate");
    w.fail_op = NULL;
    world_lose(&w, 1);
    assert_int_equal(forget_server(&w, "s2"), 200);
    world_seconds(&w, 70);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_CRASHED);
    assert_string_equal(core_vm(w.c, "v")->server, w.agents[0].id);
    assert_int_equal(deleted, 0);
    world_down(&w);
}

/* It may have to take the guest back, should that not have come to run at the destination. */
static void test_a_source_stays_until_the_destination_has_answered(void **state) {
    struct world w;
    move_with_a_disk(&w, "guest.activate", NULL);
    world_lose(&w, 0);
    assert_int_equal(forget_server(&w, "s1"), 409);
    assert_non_null(strstr(w.reply, "under way"));
    w.holds = NULL;
    world_disconnect(&w, &w.agents[1]);
    world_connect(&w, &w.agents[1]);
    world_seconds(&w, 5);
    assert_int_equal(forget_server(&w, "s1"), 200);
    settle(&w);
    assert_int_equal(deleted, 0);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void test_the_template_stays_while_its_clone_may_come_back(void **state) {
    struct world w;
    world_up(&w);
    make_template(&w);
    world_add(&w);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r2\",\"path\":\"/r2\",\"server\":\"s2\"}"),
                     202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\",\"start\":true}"), 202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_TEMPLATE_DELETE, "t", NULL), 409);
    w.holds = "guest.activate";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    assert_string_equal(core_vm(w.c, "v")->server, w.agents[1].id);
    ask(&w, API_OP_TEMPLATE_DELETE, "t", NULL);
    w.holds = NULL;
    w.fail_op = "guest.activate";
    w.fail_code = "conflict";
    world_disconnect(&w, &w.agents[1]);
    settle(&w);
    const struct api_vm *vm = core_vm(w.c, "v");
    const struct api_disk *d = CORE_GET(w.c, disk, DISK, vm->disks[0].disk);
    assert_non_null(core_data(w.c, API_KIND_TEMPLATE, d->template));
    world_down(&w);
}

static void test_a_server_with_one_that_is_being_deleted_is_not_empty(void **state) {
    struct world w;
    world_up(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"start\":true}"), 202);
    _cleanup_free_ char *job = xstrdup(last_job(&w, "vm.create")->id);
    w.holds = "guest.kill";
    assert_int_equal(ask(&w, API_OP_JOB_UNDO, job, NULL), 202);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_DELETING);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    world_seconds(&w, 10);
    assert_int_not_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
    world_down(&w);
}

static void test_the_repository_stays_while_its_guest_may_come_back(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r1\",\"path\":\"/r1\",\"server\":\"s1\"}"),
                     202);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r2\",\"path\":\"/r2\",\"server\":\"s2\"}"),
                     202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"server\":\"s1\",\"start\":true}"), 202);
    w.holds = "guest.activate";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    ask(&w, API_OP_REPOSITORY_DELETE, "r1", NULL);
    w.holds = NULL;
    w.fail_op = "guest.activate";
    w.fail_code = "conflict";
    world_disconnect(&w, &w.agents[1]);
    settle(&w);
    const struct api_vm *vm = core_vm(w.c, "v");
    assert_non_null(CORE_GET(w.c, repository, REPOSITORY, vm->repository));
    world_down(&w);
}

static void test_disks_that_others_have_too_are_not_those_of_the_source(void **state) {
    struct world w;
    world_of(&w, 3);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r1\",\"path\":\"/r1\",\"server\":\"s1\"}"),
                     202);
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"sh\",\"path\":\"/sh\",\"servers\":[\"s2\",\"s3\"]}"), 202);
    settle(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"server\":\"s1\",\"start\":true,\"disks\":[{\"size\":1048576}]}"),
                     202);
    settle(&w);
    w.op = count_deletions;
    w.holds = "guest.activate"; /* it was carried out, say, and the answer did not come */
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    world_lose(&w, 1);
    w.holds = NULL;
    world_seconds(&w, 20);
    deleted = 0;
    assert_int_equal(forget_server(&w, "s2"), 200);
    settle(&w);
    const struct api_vm *vm = core_vm(w.c, "v");
    const struct api_disk *d = CORE_GET(w.c, disk, DISK, vm->disks[0].disk);
    assert_string_equal(CORE_GET(w.c, repository, REPOSITORY, d->repository)->name, "sh");
    world_down(&w);
}

static void test_so_it_does_after_the_managers_start(void **state) {
    struct world w;
    world_up(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"start\":true}"), 202);
    w.fail_op = "guest.kill";
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    world_lose(&w, 0);
    assert_int_equal(forget_server(&w, "s1"), 200);
    world_crash(&w);
    world_down(&w);
}
static void test_the_next_servers_get_the_pools_storage(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\",\"memory_reserve\":0}"), 201);
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *body = xasprintf("{\"server\":\"%s\"}", w.agents[i].name);
        assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", body), 202);
    }
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"shared\",\"path\":\"/s\",\"pool\":\"p\"}"),
                     202);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"pool\":\"p\",\"memory\":536870912,\"start\":true,\"server\":\"s1\","
                         "\"disks\":[{\"size\":1048576}]}"),
                     202);
    world_lose(&w, 0);
    world_lose(&w, 1);
    assert_int_equal(forget_server(&w, "s1"), 200);
    assert_int_equal(forget_server(&w, "s2"), 200);
    world_add(&w);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 202);
    settle(&w);
    const struct api_repository *r = core_data(w.c, API_KIND_REPOSITORY, "shared");
    assert_int_equal(r->n_presented, 1);
    world_down(&w);
}
static void test_an_upload_that_takes_days_arrives(void **state) {
    struct world w;
    world_of(&w, 1);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"local\",\"path\":\"/r\"}"), 202);
    assert_int_equal(ask(&w, API_OP_UPLOAD_CREATE, NULL, "{\"name\":\"x.img\",\"size\":1000}"), 201);
    for (int h = 0; h < 30 && w.c->tables[API_KIND_UPLOAD].n; h++) {
        const char *id = w.c->tables[API_KIND_UPLOAD].sorted[0]->id;
        _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:s, s:I}}", "event", "upload.received", "args", "upload", id,
                                             "received", (json_int_t)(h + 1) * 10);
        core_agent_message(w.c, w.agents[0].id, m);
        pump(&w);
        w.ms += 3600000;
        world_seconds(&w, 2);
    }
    assert_int_equal(w.c->tables[API_KIND_UPLOAD].n, 1);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order_that_is_tried_again_ends_with_its_server),
        cmocka_unit_test(test_a_switch_that_is_tried_again_goes_back),
        cmocka_unit_test(test_a_source_stays_until_the_destination_has_answered),
        cmocka_unit_test(test_the_template_stays_while_its_clone_may_come_back),
        cmocka_unit_test(test_a_server_with_one_that_is_being_deleted_is_not_empty),
        cmocka_unit_test(test_the_repository_stays_while_its_guest_may_come_back),
        cmocka_unit_test(test_disks_that_others_have_too_are_not_those_of_the_source),
        cmocka_unit_test(test_so_it_does_after_the_managers_start),
        cmocka_unit_test(test_the_next_servers_get_the_pools_storage),
        cmocka_unit_test(test_an_upload_that_takes_days_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
