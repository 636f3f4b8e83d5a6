/* SPDX-License-Identifier: Apache-2.0 */
/* Undoing jobs that are done: what is offered, until when, and that it takes back what was done. */
#include "api/said.h"
#include "core/test_world.h"

#include <stdio.h>

static bool undoable(struct world *w, const char *kind) {
    const struct api_job *j = last_job(w, kind);
    assert_non_null(j);
    return j->undoable;
}

/* Undoes the last job of a kind; the status. */
static int undo(struct world *w, const char *kind) {
    _cleanup_free_ char *id = xstrdup(last_job(w, kind)->id);
    int status = ask(w, API_OP_JOB_UNDO, id, NULL);
    settle(w);
    return status;
}

static enum api_vm_state vm_state(struct world *w) { return core_vm(w->c, "v")->state; }

static void with_vm(struct world *w, bool start) {
    world_up(w);
    make_template(w);
    assert_int_equal(
        ask(w, API_OP_VM_CREATE, NULL,
            start ? "{\"name\":\"v\",\"template\":\"t\",\"start\":true}" : "{\"name\":\"v\",\"template\":\"t\"}"),
        202);
    settle(w);
}

static void test_back_and_forth(void **state) {
    struct world w;
    with_vm(&w, false);
    assert_true(undoable(&w, "vm.create"));
    ask(&w, API_OP_VM_START, "v", NULL);
    assert_false(undoable(&w, "vm.create"));
    assert_true(undoable(&w, "vm.start"));
    _cleanup_free_ char *start = xstrdup(last_job(&w, "vm.start")->id);
    assert_int_equal(undo(&w, "vm.start"), 202);
    assert_int_equal(vm_state(&w), API_VM_STATE_STOPPED);
    const struct api_job *stop = last_job(&w, "vm.stop"), *was = CORE_GET(w.c, job, JOB, start);
    assert_string_equal(stop->undoes, start);
    assert_string_equal(was->undone_by, stop->id);
    assert_false(was->undoable);
    assert_true(stop->undoable);
    assert_int_equal(ask(&w, API_OP_JOB_UNDO, start, NULL), 409);
    assert_non_null(strstr(w.reply, "already"));
    assert_int_equal(undo(&w, "vm.stop"), 202);
    assert_int_equal(vm_state(&w), API_VM_STATE_RUNNING);
    ask(&w, API_OP_VM_SUSPEND, "v", NULL);
    assert_int_equal(undo(&w, "vm.suspend"), 202);
    assert_int_equal(vm_state(&w), API_VM_STATE_RUNNING);
    assert_int_equal(undo(&w, "vm.resume"), 202);
    assert_int_equal(vm_state(&w), API_VM_STATE_SUSPENDED);
    world_down(&w);
}

static void test_creations(void **state) {
    struct world w;
    with_vm(&w, true);
    assert_true(undoable(&w, "vm.create"));
    assert_false(undoable(&w, "template.create")); /* the virtual machine stands on it */
    assert_int_equal(undo(&w, "vm.create"), 202);
    assert_null(core_vm(w.c, "v"));
    ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}");
    assert_int_equal(undo(&w, "disk.create"), 202);
    assert_int_equal(ask(&w, API_OP_DISK_SHOW, "d", NULL), 404);
    assert_int_equal(undo(&w, "disk.delete"), 409); /* what is deleted is gone */
    world_down(&w);
}

static void test_until_something_touches_it(void **state) {
    struct world w;
    with_vm(&w, false);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "v", "{\"bogus\":1}"), 400);
    assert_true(undoable(&w, "vm.create"));
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "v", "{\"description\":\"mine\"}"), 200);
    assert_false(undoable(&w, "vm.create"));
    assert_int_equal(undo(&w, "vm.create"), 409);
    ask(&w, API_OP_VM_START, "v", NULL);
    assert_true(undoable(&w, "vm.start"));
    _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:s, s:s, s:i}}", "event", "guest.state", "args", "vm",
                                         core_vm(w.c, "v")->id, "state", "stopped", "sequence", 1000);
    core_agent_message(w.c, w.agents[0].id, m);
    pump(&w);
    assert_false(undoable(&w, "vm.start"));
    assert_int_equal(ask(&w, API_OP_JOB_UNDO, "no-such-job", NULL), 404);
    world_down(&w);
}

static void test_roles(void **state) {
    struct world w;
    world_up(&w);
    ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"other\",\"path\":\"/other\"}");
    settle(&w);
    const struct api_job *j = last_job(&w, "repository.create");
    assert_true(j->undoable);
    w.request++;
    core_request(
        w.c, &(struct core_request){
                 .id = w.request, .op = API_OP_JOB_UNDO, .actor = "o", .role = API_ROLE_OPERATOR, .params = {j->id}});
    pump(&w);
    assert_int_equal(w.status, 403);
    assert_non_null(strstr(w.reply, "repository.edit"));
    world_down(&w);
}

/* The offer is durable, and so is its end. */
static void test_over_a_restart(void **state) {
    struct world w;
    with_vm(&w, false);
    for (int touched = 0; touched < 2; touched++) {
        w.fault = CRASH;
        w.fired = false;
        w.commits = 0;
        w.fault_at = 1;
        ask(&w, API_OP_SERVER_CHANGE, "s1", "{\"description\":\"the manager dies\"}");
        settle(&w);
        assert_int_equal(undoable(&w, "vm.create"), !touched);
        ask(&w, API_OP_VM_CHANGE, "v", "{\"description\":\"mine\"}");
    }
    world_down(&w);
}

/* Something was done elsewhere, and nothing takes it back: whoever says that all is undone is wrong. */
static bool leaves_something(const struct job_kind *k) {
    for (size_t i = 0; i < k->n_steps; i++)
        if (!k->steps[i].forward && k->steps[i].done && !k->steps[i].undo)
            return true;
    /* Of these the manager does it by itself, by other jobs, or the server goes on with it. */
    return k == &job_server_maintenance || k == &job_vm_policy;
}

static void test_what_is_left_of_failed_ones_is_said(void **state) {
    static const struct job_kind *const more[] = {&job_vm_policy, &job_vm_recover, &job_pool_cluster};
    size_t n = 0;
    for (size_t i = 0; i < API_OP_COUNT + ARRAY_LEN(more); i++) {
        const char *name = i < API_OP_COUNT ? api_ops[i].job_kind : more[i - API_OP_COUNT]->name;
        const struct job_kind *k = name ? job_kind_by_name(name) : NULL;
        if (!name)
            continue;
        assert_non_null(k);
        if (leaves_something(k) == str_eq(said_job_stays(name), SAID_ALL_UNDONE))
            fail_msg("%s: %s", name, said_job_stays(name));
        n += leaves_something(k);
    }
    assert_true(n >= 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_and_forth),
        cmocka_unit_test(test_creations),
        cmocka_unit_test(test_until_something_touches_it),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_over_a_restart),
        cmocka_unit_test(test_what_is_left_of_failed_ones_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
