/* SPDX-License-Identifier: Apache-2.0 */
/* What was under way when a server was lost: jobs that had asked it something, or were about to. */
#include "core/test_cluster.h"

#include <stdlib.h>

static void jobs_under_way_end(void **state) {
    static const struct {
        enum api_op_id op;
        const char *body;
        enum api_vm_state then;
    } cases[] = {{API_OP_VM_STOP, "{}", API_VM_STATE_STOPPED},
                 {API_OP_VM_KILL, NULL, API_VM_STATE_STOPPED},
                 {API_OP_VM_SUSPEND, NULL, API_VM_STATE_RUNNING}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        dies(&w, 0);
        assert_int_equal(ask(&w, cases[i].op, "a", cases[i].body), 202);
        walk(&w, 12000);
        assert_int_equal(vm_of(&w, "a")->state, cases[i].then);
        assert_int_equal(map_count(&w.c->locks), 0);
        world_down(&w);
    }
}

/* It is still being sent, and nobody is there any more to take it: called off at once, it goes on where it was. */
static void destination_of_a_move_is_lost(void **state) {
    struct world w;
    for (int away = 0; away < 2; away++) {
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        w.holds = "guest.send";
        assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "a", "{\"to\":\"s2\"}"), 202);
        dies(&w, 1);
        walk(&w, DETECT_MS + HOLD_MS - 500);
        assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_MIGRATING);
        w.agents[0].away = away;
        if (away) /* the source is told when it is connected again */
            world_disconnect(&w, &w.agents[0]);
        walk(&w, 1000);
        if (away) {
            w.agents[0].away = false;
            world_connect(&w, &w.agents[0]);
            walk(&w, 1000);
        }
        assert_true(core_server(w.c, "s2")->cluster.gone);
        const struct api_job *j = last_job(&w, "vm.migrate");
        assert_int_equal(j->state, API_JOB_STATE_FAILED);
        assert_string_equal(j->error, "server \"s2\" was lost meanwhile");
        assert_string_equal(where(&w, "a"), "s1");
        assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
        assert_int_equal(w.agents[0].starts, 1);
        world_down(&w);
    }
}

/* The destination is at work, or has been and answers later: nobody is asked any more who is not there. */
static void source_of_a_move_is_lost(void **state) {
    struct world w;
    for (int late = 0; late < 2; late++) {
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        w.holds = "guest.receive";
        assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "a", "{\"to\":\"s2\"}"), 202);
        if (late) /* it is told with its next report */
            world_disconnect(&w, &w.agents[1]);
        w.agents[1].away = late;
        dies(&w, 0);
        walk(&w, DETECT_MS + HOLD_MS + 1000);
        w.holds = NULL;
        w.agents[1].away = false;
        if (late)
            world_connect(&w, &w.agents[1]);
        assert_in_range(until_elsewhere(&w, "a", "s1", 10000), 0, 9999);
        assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_FAILED);
        assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
        world_down(&w);
    }
}

/* The manager dies, or its store fails, just when a server has been given up: what that had been asked ends as well. */
static void asked_when_it_was_lost(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    w.holds = "guest.send";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "a", "{\"to\":\"s2\"}"), 202);
    dies(&w, 0); /* its connection looks well until the manager is gone as well */
    walk(&w, DETECT_MS + HOLD_MS + 500);
    assert_true(core_server(w.c, "s1")->cluster.gone);
    world_crash(&w);
    w.holds = NULL;
    for (int i = 1; i < 3; i++)
        world_connect(&w, &w.agents[i]);
    assert_in_range(until_elsewhere(&w, "a", "s1", 10000), 0, 9999);
    world_down(&w);
}

/* That the server is lost as well to which it was given is no failed try of its own. */
static void lost_with_its_next_server_too(void **state) {
    struct world w;
    prepare(&w, 5);
    make_vm(&w, "a", "s1", "{\"enabled\":true,\"max_tries\":1}");
    w.holds = "guest.start";
    dies(&w, 0);
    walk(&w, DETECT_MS + HOLD_MS + 1000);
    assert_string_not_equal(where(&w, "a"), "s1");
    w.holds = NULL;
    int next = atoi(where(&w, "a") + 1) - 1;
    dies(&w, next);
    walk(&w, DETECT_MS + HOLD_MS + 2000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    assert_false(w.agents[next].silent && str_eq(where(&w, "a"), w.agents[next].name));
    world_down(&w);
}

/* Its agent is dead and nothing else: whoever took it for gone would have its guests run twice. */
static void not_deleted_while_its_pool_sees_it(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 60000);
    assert_int_equal(forget_server(&w, "s1"), 409);
    assert_non_null(strstr(w.reply, "tarn server fence s1 --action off"));
    dies(&w, 0);
    walk(&w, 20000);
    assert_int_equal(forget_server(&w, "s1"), 200);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_under_way_end),
        cmocka_unit_test(destination_of_a_move_is_lost),
        cmocka_unit_test(source_of_a_move_is_lost),
        cmocka_unit_test(asked_when_it_was_lost),
        cmocka_unit_test(lost_with_its_next_server_too),
        cmocka_unit_test(not_deleted_while_its_pool_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
