/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine moves from s1 to s2, with every fault at each commit: it ends on one of the two and runs. */
#include "core/test_world.h"

#include <stdio.h>

static void prepare(struct world *w) {
    static const char *const repositories[] = {"{\"name\":\"r1\",\"path\":\"/r1\",\"server\":\"s1\"}",
                                               "{\"name\":\"r2\",\"path\":\"/r2\",\"server\":\"s2\"}"};
    world_of(w, 2);
    for (size_t i = 0; i < ARRAY_LEN(repositories); i++)
        assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, repositories[i]), 202);
    settle(w);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"server\":\"s1\",\"start\":true}"), 202);
    settle(w);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}

static void move(struct world *w) {
    assert_int_equal(ask(w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    settle(w);
}

static const char *at(const struct world *w, int agent) {
    const char *state = map_get(&w->agents[agent].guests, core_vm(w->c, "v")->id);
    return state ? state : "";
}

/* It runs there and is not on the other server. */
static void check_is_on(const struct world *w, int agent) {
    const struct api_vm *vm = core_vm(w->c, "v");
    const struct api_repository *r = CORE_GET(w->c, repository, REPOSITORY, vm->repository);
    assert_string_equal(vm->server, w->agents[agent].id);
    assert_string_equal(r->server, w->agents[agent].id);
    assert_string_equal(vm->target, "");
    assert_int_equal(vm->state, API_VM_STATE_RUNNING);
    assert_string_equal(at(w, agent), "running");
    assert_string_equal(at(w, !agent), "");
    assert_int_equal(map_count(&w->c->locks), 0);
}

static void check_job(struct world *w) {
    const struct api_job *j = last_job(w, "vm.migrate");
    if (j) {
        assert_true(j->state >= API_JOB_STATE_DONE);
        check_is_on(w, j->state == API_JOB_STATE_DONE);
    } else {
        check_is_on(w, 0);
    }
}

static void test_whole(void **state) {
    struct world w;
    prepare(&w);
    move(&w);
    assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_DONE);
    check_is_on(&w, 1);
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s1\",\"disks\":true}"), 202);
    settle(&w);
    check_is_on(&w, 0);
    world_down(&w);
}

static void test_faults_at_each_commit(void **state) {
    static const enum fault faults[] = {CRASH, CRASH_BEFORE, STORE_FAILS, CUT, ABORT};
    size_t points = 0;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        bool fired = true;
        for (size_t n = 1; fired; n++) {
            struct world w;
            prepare(&w);
            w.fault = faults[f];
            w.fault_at = n;
            w.commits = 0;
            w.fired = false;
            ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}");
            settle(&w);
            fired = w.fired;
            points += fired;
            check_job(&w);
            world_down(&w);
            assert_true(n < 60);
        }
    }
    print_message("%zu points\n", points);
    assert_true(points > 20);
}

static void test_what_fails_before_the_switch_is_undone(void **state) {
    static const char *const ops[] = {"guest.offer", "guest.receive", "guest.send"};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct world w;
        prepare(&w);
        w.fail_op = ops[i];
        move(&w);
        assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_FAILED);
        check_is_on(&w, 0);
        world_down(&w);
    }
}

static void test_a_destination_that_never_ran_it_gives_it_back(void **state) {
    struct world w;
    prepare(&w);
    w.fail_op = "guest.activate";
    w.fail_code = "conflict";
    move(&w);
    assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_FAILED);
    check_is_on(&w, 0);
    world_down(&w);
}

static void test_a_destination_that_does_not_say_is_asked_again(void **state) {
    struct world w;
    prepare(&w);
    w.fail_op = "guest.activate";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    assert_string_equal(core_vm(w.c, "v")->server, w.agents[1].id);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_MIGRATING);
    assert_string_equal(at(&w, 0), "migrating");
    /* Not to be aborted any more. */
    _cleanup_free_ char *job = xstrdup(running_job(&w));
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, job, NULL), 409);
    w.fail_op = NULL;
    settle(&w);
    check_is_on(&w, 1);
    world_down(&w);
}

static void test_a_suspended_one_stays_suspended(void **state) {
    struct world w;
    prepare(&w);
    assert_int_equal(ask(&w, API_OP_VM_SUSPEND, "v", NULL), 202);
    settle(&w);
    move(&w);
    assert_string_equal(at(&w, 1), "suspended");
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_SUSPENDED);
    world_down(&w);
}

/* Whatever the moment at which it is called off: the source gets the images only when the destination has let them go.
 */
static void test_a_suspended_one_is_taken_back(void **state) {
    size_t taken_back = 0;
    bool fired = true;
    for (size_t n = 1; fired; n++) {
        struct world w;
        prepare(&w);
        assert_int_equal(ask(&w, API_OP_VM_SUSPEND, "v", NULL), 202);
        settle(&w);
        w.fault = ABORT;
        w.fault_at = n;
        w.commits = 0;
        w.fired = false;
        move(&w);
        fired = w.fired;
        const struct api_job *j = last_job(&w, "vm.migrate");
        bool there = j->state == API_JOB_STATE_DONE;
        assert_true(j->state >= API_JOB_STATE_DONE);
        assert_string_not_equal(at(&w, there), "");
        assert_string_equal(at(&w, !there), "");
        taken_back += !there;
        world_down(&w);
    }
    print_message("%zu taken back\n", taken_back);
    assert_true(taken_back > 1);
}

/* The answer that was held is asked for anew. */
static void go_on(struct world *w, int agent) {
    w->holds = NULL;
    world_disconnect(w, &w->agents[agent]);
    settle(w);
}

static size_t deleted;

static json_t *count_deletions(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    deleted += str_eq(op, "disk.delete");
    return NULL;
}

static void move_with_a_disk(struct world *w) {
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
    w->holds = "guest.activate";
    assert_int_equal(ask(w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    assert_string_equal(core_vm(w->c, "v")->server, w->agents[1].id);
}

/* The order to run there may not have come, and the source has the only whole copy of the disks that is left. */
static void test_a_destination_that_is_removed_takes_no_disk_along(void **state) {
    struct world w;
    move_with_a_disk(&w);
    w.agents[1].away = true;
    world_disconnect(&w, &w.agents[1]);
    pump(&w);
    w.holds = NULL;
    assert_int_equal(forget_server(&w, "s2"), 200);
    assert_non_null(strstr(w.reply, "\"crashed\":[{"));
    settle(&w);
    const struct api_vm *vm = core_vm(w.c, "v");
    assert_int_equal(deleted, 0);
    assert_int_equal(vm->state, API_VM_STATE_CRASHED);
    assert_string_equal(vm->server, w.agents[0].id);
    assert_string_equal(vm->target, "");
    assert_string_equal(CORE_GET(w.c, repository, REPOSITORY, vm->repository)->name, "r1");
    assert_string_equal(CORE_GET(w.c, disk, DISK, vm->disks[0].disk)->repository, vm->repository);
    assert_string_equal(at(&w, 0), "");
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    settle(&w);
    assert_string_equal(at(&w, 0), "running");
    world_down(&w);
}

static void test_a_destination_that_is_back_has_the_disks(void **state) {
    struct world w;
    move_with_a_disk(&w);
    go_on(&w, 1);
    assert_int_equal(deleted, 1);
    check_is_on(&w, 1);
    world_down(&w);
}

/* A second move that waits for the first may be called off: the first keeps its room at the destination. */
static void test_one_that_waited_takes_no_room_back(void **state) {
    struct world w;
    prepare(&w);
    w.holds = "guest.receive";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    assert_string_equal(core_vm(w.c, "v")->target, w.agents[1].id);
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 202);
    const struct api_job *waits = last_job(&w, "vm.migrate");
    assert_int_equal(waits->state, API_JOB_STATE_QUEUED);
    _cleanup_free_ char *job = xstrdup(waits->id);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, job, NULL), 200);
    assert_string_equal(core_vm(w.c, "v")->target, w.agents[1].id);
    go_on(&w, 1);
    check_is_on(&w, 1);
    world_down(&w);
}

/* Nor that of a virtual machine that is being created and is to start then. */
static void test_a_start_that_waited_takes_no_room_back(void **state) {
    struct world w;
    prepare(&w);
    w.holds = "guest.start";
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"n\",\"server\":\"s2\",\"start\":true}"), 202);
    assert_true(core_vm(w.c, "n")->reserved);
    assert_int_equal(ask(&w, API_OP_VM_START, "n", NULL), 202);
    _cleanup_free_ char *job = xstrdup(last_job(&w, "vm.start")->id);
    assert_int_equal(CORE_GET(w.c, job, JOB, job)->state, API_JOB_STATE_QUEUED);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, job, NULL), 200);
    assert_true(core_vm(w.c, "n")->reserved);
    go_on(&w, 1);
    assert_int_equal(core_vm(w.c, "n")->state, API_VM_STATE_RUNNING);
    assert_false(core_vm(w.c, "n")->reserved);
    world_down(&w);
}

static void test_what_is_refused(void **state) {
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{\"to\":\"s1\",\"disks\":true}", "is on server \\\"s1\\\" already"},
        {"{\"to\":\"s9\"}", "no server"},
        {"{\"to\":\"s2\"}", "--disks"},
        {"{\"to\":\"s2\",\"disks\":true,\"repository\":\"r1\"}", "does not reach"},
    };
    struct world w;
    prepare(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(ask(&w, API_OP_VM_MIGRATE, "v", cases[i].body) >= 400);
        if (!strstr(w.reply, cases[i].words))
            fail_msg("%s: %s", cases[i].body, w.reply);
    }
    w.agents[1].away = true;
    /* Whether anything of it would go there or not. */
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"repository\":\"none\"}"), 404);
    assert_non_null(strstr(w.reply, "there is no storage repository \\\"none\\\""));
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"repository\":\"none\"}"), 404);
    world_disconnect(&w, &w.agents[1]);
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\",\"disks\":true}"), 503);
    assert_non_null(strstr(w.reply, "not connected"));
    check_is_on(&w, 0);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_faults_at_each_commit),
        cmocka_unit_test(test_what_fails_before_the_switch_is_undone),
        cmocka_unit_test(test_a_destination_that_never_ran_it_gives_it_back),
        cmocka_unit_test(test_a_destination_that_does_not_say_is_asked_again),
        cmocka_unit_test(test_a_suspended_one_stays_suspended),
        cmocka_unit_test(test_a_suspended_one_is_taken_back),
        cmocka_unit_test(test_one_that_waited_takes_no_room_back),
        cmocka_unit_test(test_a_start_that_waited_takes_no_room_back),
        cmocka_unit_test(test_a_destination_that_is_removed_takes_no_disk_along),
        cmocka_unit_test(test_a_destination_that_is_back_has_the_disks),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
