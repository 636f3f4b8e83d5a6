/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that are lost, and what becomes of their guests. */
#include "core/test_cluster.h"

#include <stdio.h>

static void server_dies(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "plain", "s1", "{}");
    assert_true(vm_of(&w, "a")->guarded);
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "a", "s1", 20000), DETECT_MS + HOLD_MS, DETECT_MS + HOLD_MS + 500);
    assert_true(core_server(w.c, "s1")->cluster.gone);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_UNKNOWN);
    assert_string_equal(where(&w, "plain"), "s1");
    /* What is said of it is true of the others as well, and says what to do. */
    assert_true(has_event(&w, "server.gone", "ended its guarded guests"));
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "the others are unknown until it is back"));
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "tarn server delete s1 --force"));
    comes_back(&w, 0);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    assert_string_not_equal(where(&w, "a"), "s1");
    world_down(&w);
}

/* Nothing is to start where nobody answers, also before that is sure to be lost. */
static void not_placed_where_nobody_answers(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", "{}");
    assert_int_equal(ask(&w, API_OP_VM_KILL, "a", NULL), 202);
    walk(&w, 1000);
    dies(&w, 0);
    walk(&w, DETECT_MS + 2000);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    assert_int_equal(ask(&w, API_OP_VM_PLACEMENT, "a", NULL), 200);
    assert_non_null(strstr(w.reply, "does not answer, and the others of its pool do not see it"));
    assert_null(strstr(w.reply, "\"name\":\"s1\",\"ok\":true"));
    assert_int_equal(ask(&w, API_OP_VM_START, "a", "{}"), 202); /* nor is it waited for, to forget it */
    walk(&w, 500);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    assert_string_not_equal(where(&w, "a"), "s1");
    walk(&w, 10000);
    assert_int_equal(ask(&w, API_OP_VM_PLACEMENT, "a", NULL), 200);
    assert_null(strstr(w.reply, "does not answer, and"));
    comes_back(&w, 0);
    walk(&w, 2000);
    assert_int_equal(ask(&w, API_OP_VM_PLACEMENT, "a", NULL), 200);
    assert_non_null(strstr(w.reply, "\"name\":\"s1\",\"ok\":true"));
    world_down(&w);
}

static void only_the_manager_does_not_see_it(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 60000);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    assert_string_equal(where(&w, "a"), "s1");
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_UNKNOWN);
    world_connect(&w, &w.agents[0]);
    walk(&w, 1000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    assert_null(last_job(&w, "vm.recover"));
    world_down(&w);
}

static void heartbeat_cut_alone(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    set_half(&w, 0, 1);
    /* Its own agent says when the guest is dead, which is before the others could. */
    assert_in_range(until_elsewhere(&w, "a", "s1", 20000), PROOF_MS, PROOF_MS + 500);
    walk(&w, 5000);
    assert_true(core_server(w.c, "s1")->cluster.gone);
    world_down(&w);
}

static void back_before_it_was_given_up(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    world_disconnect(&w, &w.agents[0]);
    w.agents[0].away = true;
    set_half(&w, 0, 1);
    walk(&w, 4000);
    set_half(&w, 0, 0);
    walk(&w, 20000);
    assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    world_connect(&w, &w.agents[0]);
    walk(&w, 1000);
    assert_string_equal(where(&w, "a"), "s1");
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* The hold is counted where the loss was seen. */
static void manager_restarts_meanwhile(void **state) {
    struct world w;
    for (int64_t at = 500; at < 9000; at += 500) {
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        dies(&w, 0);
        walk(&w, at);
        world_crash(&w);
        for (int i = 1; i < 3; i++)
            if (!w.agents[i].connected)
                world_connect(&w, &w.agents[i]);
        pump(&w);
        until_elsewhere(&w, "a", "s1", 20000);
        assert_string_not_equal(where(&w, "a"), "s1");
        assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
        world_down(&w);
    }
}

static void manager_alone(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    world_crash(&w);
    w.ms += 60000;
    core_set_time(w.c, w.ms, w.ms);
    for (int i = 1; i < 3; i++)
        world_connect(&w, &w.agents[i]);
    walk(&w, 20000); /* the third comes late */
    world_connect(&w, &w.agents[0]);
    walk(&w, 5000);
    assert_null(last_job(&w, "vm.recover"));
    assert_int_equal(w.agents[0].starts, 1);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void halves_without_majority(void **state) {
    struct world w;
    prepare(&w, 4);
    make_vm(&w, "a", "s1", HA);
    set_half(&w, 0, 1);
    set_half(&w, 1, 1);
    walk(&w, 30000);
    assert_int_equal(running(&w, vm_of(&w, "a")->id), 0);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_CRASHED);
    set_half(&w, 0, 0);
    set_half(&w, 1, 0);
    walk(&w, 10000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void important_ones_first_and_the_rest_waits(void **state) {
    struct world w;
    prepare(&w, 3);
    /* Room for four of them on each server. */
    for (int i = 0; i < 3; i++) {
        w.agents[i].memory = 1LL << 30;
        world_disconnect(&w, &w.agents[i]);
        world_connect(&w, &w.agents[i]);
    }
    walk(&w, 1000);
    make_vm(&w, "low", "s1", "{\"enabled\":true,\"priority\":10}");
    make_vm(&w, "high", "s1", "{\"enabled\":true,\"priority\":90}");
    make_vm(&w, "middle", "s1", "{\"enabled\":true,\"priority\":50}");
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%d", i);
        make_vm(&w, name, i % 2 ? "s2" : "s3", "{}");
    }
    dies(&w, 0);
    until_runs(&w, "high", 20000);
    until_elsewhere(&w, "high", "s1", 20000);
    walk(&w, 3000);
    assert_int_equal(vm_of(&w, "high")->state, API_VM_STATE_RUNNING);
    assert_int_equal(vm_of(&w, "middle")->state, API_VM_STATE_RUNNING);
    assert_int_equal(vm_of(&w, "low")->state, API_VM_STATE_CRASHED);
    assert_non_null(strstr(vm_of(&w, "low")->state_reason, "of memory left"));
    size_t alarms = 0;
    for (size_t i = 0; i < w.c->tables[API_KIND_ALARM].n; i++) {
        const struct api_alarm *a = w.c->tables[API_KIND_ALARM].sorted[i]->v->data;
        alarms += str_eq(a->object.kind, "vm") && str_empty(a->cleared);
    }
    assert_int_equal(alarms, 1); /* for one that waits: one, with the reason */
    assert_non_null(strstr(alarm_of(&w, "vm.recovery-waits")->message, "of memory left"));
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f0", NULL), 202);
    walk(&w, 3000);
    assert_int_equal(vm_of(&w, "low")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* Two servers that are full and one that is lost: its guest "a" waits. */
static void prepare_waiting(struct world *w) {
    prepare(w, 3);
    for (int i = 0; i < 3; i++) {
        w->agents[i].memory = i ? 512 << 20 : 1 << 30;
        world_disconnect(w, &w->agents[i]);
        world_connect(w, &w->agents[i]);
    }
    walk(w, 1000);
    make_vm(w, "a", "s1", HA);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%d", i);
        make_vm(w, name, i % 2 ? "s2" : "s3", "{}");
    }
    dies(w, 0);
    walk(w, 12000);
    assert_int_equal(vm_of(w, "a")->state, API_VM_STATE_CRASHED);
    assert_non_null(strstr(vm_of(w, "a")->state_reason, "of memory left"));
    assert_int_equal(last_job(w, "vm.recover")->state, API_JOB_STATE_QUEUED);
    assert_non_null(strstr(last_job(w, "vm.recover")->message, "of memory left"));
}

/* A few are looked at in each tick; what becomes free between two of them is for the most important nevertheless. */
static void many_wait(void **state) {
    struct world w;
    char name[8], ha[64];
    prepare(&w, 3);
    for (int i = 0; i < 3; i++) {
        w.agents[i].memory = i ? 512 << 20 : 8LL << 30;
        world_disconnect(&w, &w.agents[i]);
        world_connect(&w, &w.agents[i]);
    }
    walk(&w, 1000);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "g%02d", i);
        snprintf(ha, sizeof ha, "{\"enabled\":true,\"priority\":%d}", i * 5);
        make_vm(&w, name, "s1", ha);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "f%d", i);
        make_vm(&w, name, i % 2 ? "s2" : "s3", "{}");
    }
    dies(&w, 0);
    walk(&w, 12000);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"description\":\"they are looked at again\"}"), 200);
    for (int i = 0; i < 1000 && !w.c->round; i++) {
        w.ms += 10;
        core_set_time(w.c, w.ms, w.ms);
        core_tick(w.c);
        pump(&w);
    }
    assert_non_null(w.c->round);
    assert_true(core_next_deadline(w.c) <= w.ms);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202);
    walk(&w, 3000);
    assert_null(w.c->round);
    assert_int_equal(vm_of(&w, "g19")->state, API_VM_STATE_RUNNING);
    for (int i = 0; i < 19; i++) {
        snprintf(name, sizeof name, "g%02d", i);
        assert_int_equal(vm_of(&w, name)->state, API_VM_STATE_CRASHED);
    }
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f0", NULL), 202);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f2", NULL), 202);
    walk(&w, 5000);
    assert_int_equal(vm_of(&w, "g18")->state, API_VM_STATE_RUNNING);
    assert_int_equal(vm_of(&w, "g17")->state, API_VM_STATE_RUNNING);
    assert_int_equal(vm_of(&w, "g16")->state, API_VM_STATE_CRASHED);
    world_down(&w);
}

/* While nothing changes, nothing is written, for as long as it may be. */
static void waiting_is_quiet(void **state) {
    struct world w;
    prepare_waiting(&w);
    assert_true(has_alarm(&w, "vm.recovery-waits"));
    walk(&w, 65000); /* the minute's sweep may have something to say */
    size_t commits = w.c->counts.commits;
    walk(&w, 300000);
    assert_int_equal(w.c->counts.commits, commits);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202);
    assert_in_range(until_runs(&w, "a", 20000), 0, 1000);
    assert_false(has_alarm(&w, "vm.recovery-waits"));
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_DONE);
    world_down(&w);
}

/* Whatever makes room, or forbids it, is noticed at once. */
static void waiting_ends_when_something_changes(void **state) {
    struct world w;
    prepare_waiting(&w);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"memory_overcommit\":150}"), 200);
    assert_in_range(until_runs(&w, "a", 20000), 0, 1000);
    world_down(&w);

    prepare_waiting(&w); /* needs less */
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"memory\":16777216}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f0", NULL), 202);
    assert_in_range(until_runs(&w, "a", 20000), 0, 1000);
    world_down(&w);

    prepare_waiting(&w); /* the server is back */
    comes_back(&w, 0);
    assert_in_range(until_runs(&w, "a", 20000), 0, 1000);
    assert_string_equal(where(&w, "a"), "s1");
    world_down(&w);

    prepare_waiting(&w);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"failover\":\"none\",\"force\":true}"), 200);
    walk(&w, 1000);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_ABORTED);
    assert_true(has_event(&w, "vm.recovery-off", "its pool does not restart"));
    world_down(&w);
}

/* Nobody waits for a recovery that waits. */
static void word_of_the_user_comes_first(void **state) {
    static const struct {
        enum api_op_id op;
        const char *body;
        int status, then; /* the state; -1: it is gone */
        const char *said;
    } cases[] = {
        {API_OP_VM_STOP, "{}", 202, API_VM_STATE_STOPPED, "stopped by admin"},
        {API_OP_VM_KILL, NULL, 202, API_VM_STATE_STOPPED, "stopped by admin"},
        {API_OP_VM_DELETE, NULL, 202, -1, "it is deleted"},
        {API_OP_VM_CHANGE, "{\"ha\":{\"enabled\":false}}", 200, API_VM_STATE_CRASHED, "not highly available any more"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        prepare_waiting(&w);
        assert_int_equal(ask(&w, cases[i].op, "a", cases[i].body), cases[i].status);
        pump(&w);
        const struct api_vm *vm = core_vm(w.c, "a");
        assert_int_equal(vm ? (int)vm->state : -1, cases[i].then);
        if (vm)
            assert_non_null(strstr(vm->state_reason, cases[i].said));
        assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_ABORTED);
        assert_true(has_event(&w, "vm.recovery-off", cases[i].said));
        assert_false(has_alarm(&w, "vm.recovery-waits"));
        assert_false(has_alarm(&w, "vm.not-recovered"));
        assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202); /* room, and nobody who wants it */
        walk(&w, 40000);
        assert_int_equal(core_vm(w.c, "a") ? (int)core_vm(w.c, "a")->state : -1, cases[i].then);
        world_down(&w);
    }
}

/* A start by hand that is refused, or fails, leaves the recovery as it was; one that succeeds ends it. */
static void started_by_hand_while_it_waits(void **state) {
    struct world w;
    prepare_waiting(&w);
    assert_int_equal(ask(&w, API_OP_VM_START, "a", NULL), 507);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_QUEUED);
    assert_int_equal(ask(&w, API_OP_RULE_CREATE, NULL,
                         "{\"name\":\"n\",\"pool\":\"p\",\"type\":\"not-on-servers\",\"must\":true,\"vms\":[\"a\"],"
                         "\"servers\":[\"s2\",\"s3\"]}"),
                     201);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202);
    walk(&w, 3000);
    assert_non_null(strstr(last_job(&w, "vm.recover")->message, "rule"));
    w.fail_op = "guest.start"; /* both fail: by hand, then the recovery's */
    assert_int_equal(ask(&w, API_OP_RULE_DELETE, "n", NULL), 204);
    assert_int_equal(ask(&w, API_OP_VM_START, "a", NULL), 202);
    pump(&w);
    assert_int_equal(last_job(&w, "vm.start")->state, API_JOB_STATE_FAILED);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_QUEUED);
    w.fail_op = NULL;
    assert_in_range(until_runs(&w, "a", 20000), 0, 4000);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_DONE);
    world_down(&w);

    prepare_waiting(&w);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202);
    assert_int_equal(ask(&w, API_OP_VM_START, "a", NULL), 202);
    pump(&w);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    walk(&w, 1000);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_ABORTED);
    assert_true(has_event(&w, "vm.recovery-off", "by hand"));
    assert_string_equal(vm_of(&w, "a")->state_reason, "");
    walk(&w, 40000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* The manager is killed while one waits, and while somebody works on its virtual machine. */
static void manager_restarts_while_one_waits(void **state) {
    struct world w;
    for (int stopped = 0; stopped < 2; stopped++) {
        prepare_waiting(&w);
        if (stopped)
            assert_int_equal(ask(&w, API_OP_VM_STOP, "a", "{}"), 202);
        world_crash(&w);
        for (int i = 1; i < 3; i++)
            world_connect(&w, &w.agents[i]);
        walk(&w, 3000);
        assert_int_equal(ask(&w, API_OP_VM_KILL, "f1", NULL), 202);
        walk(&w, 3000);
        assert_int_equal(vm_of(&w, "a")->state, stopped ? API_VM_STATE_STOPPED : API_VM_STATE_RUNNING);
        assert_int_equal(last_job(&w, "vm.recover")->state, stopped ? API_JOB_STATE_ABORTED : API_JOB_STATE_DONE);
        world_down(&w);
    }
}

static void aborted_while_it_waits(void **state) {
    struct world w;
    prepare_waiting(&w);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, last_job(&w, "vm.recover")->id, NULL), 200);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_ABORTED);
    assert_true(has_alarm(&w, "vm.not-recovered"));
    assert_int_equal(ask(&w, API_OP_VM_KILL, "a", NULL), 202);
    pump(&w);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_STOPPED);
    assert_false(has_alarm(&w, "vm.not-recovered"));
    world_down(&w);
}

static void none_comes_after_itself(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "base", "s1", HA);
    make_vm(&w, "app", "s1", "{\"enabled\":true,\"after\":[\"base\"]}");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "base", "{\"ha\":{\"after\":[\"app\"]}}"), 409);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "base", "{\"ha\":{\"after\":[\"base\"]}}"), 409);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "base", "{\"ha\":{\"priority\":1}}"), 200);
    world_down(&w);
}

static void after_another_and_its_delay(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "base", "s1", "{\"enabled\":true,\"priority\":10}");
    make_vm(&w, "app", "s1", "{\"enabled\":true,\"priority\":90,\"after\":[\"base\"],\"delay\":7}");
    dies(&w, 0);
    until_elsewhere(&w, "base", "s1", 20000);
    assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_CRASHED);
    walk(&w, 5000);
    assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_CRASHED);
    walk(&w, 4000);
    assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void ends_with_the_lease(struct world *w, struct world_agent *a, const char *name) {
    const char *vm = vm_of(w, name)->id;
    _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:s, s:s, s:b, s:b, s:I, s:s}}", "event", "guest.state", "args",
                                         "vm", vm, "state", "crashed", "guarded", 1, "lost", 1, "sequence",
                                         (json_int_t)1 << 40, "reason", "its server had lost its pool");
    free(map_remove(&a->guests, vm));
    core_agent_message(w->c, a->id, m);
}

/* Its server tells of the one that comes after the other first. */
static void after_one_whose_end_is_not_known_yet(void **state) {
    for (int ends = 0; ends < 2; ends++) {
        struct world w;
        prepare(&w, 3);
        make_vm(&w, "base", "s1", "{\"enabled\":true,\"priority\":90}");
        make_vm(&w, "app", "s1", "{\"enabled\":true,\"priority\":10,\"after\":[\"base\"],\"delay\":3}");
        walk(&w, 5000);
        ends_with_the_lease(&w, &w.agents[0], "app");
        walk(&w, 1000);
        assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_CRASHED);
        assert_string_equal(vm_of(&w, "app")->state_reason, "it comes after base");
        if (ends) {
            ends_with_the_lease(&w, &w.agents[0], "base");
            walk(&w, 2500);
            assert_int_equal(vm_of(&w, "base")->state, API_VM_STATE_RUNNING);
            assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_CRASHED);
        }
        walk(&w, 4000); /* one that goes on after all is not waited for for ever */
        assert_int_equal(vm_of(&w, "app")->state, API_VM_STATE_RUNNING);
        world_down(&w);
    }
}

static void tries_come_to_an_end(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", "{\"enabled\":true,\"max_tries\":3}");
    w.fail_op = "guest.start";
    dies(&w, 0);
    walk(&w, 60000);
    const struct table *t = &w.c->tables[API_KIND_JOB];
    size_t jobs = 0;
    for (size_t i = 0; i < t->n; i++)
        jobs += str_eq(((const struct api_job *)t->sorted[i]->v->data)->kind, "vm.recover");
    assert_int_equal(jobs, 3);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_CRASHED);
    w.fail_op = NULL;
    assert_int_equal(ask(&w, API_OP_VM_START, "a", NULL), 202);
    walk(&w, 2000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* A server whose guests were not killed, whatever the reason: it is told to, and about none else. */
static void returns_with_its_guests(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    make_vm(&w, "plain", "s1", "{}");
    dies(&w, 0);
    until_elsewhere(&w, "a", "s1", 20000);
    map_put(&w.agents[0].guests, vm_of(&w, "plain")->id, xstrdup("running"));
    struct world_agent *a = &w.agents[0];
    world_disconnect(&w, a);
    a->silent = a->away = false;
    map_put(&a->guests, vm_of(&w, "a")->id, xstrdup("running"));
    set_half(&w, 0, 0);
    world_connect(&w, a);
    pump(&w);
    assert_null(map_get(&a->guests, vm_of(&w, "a")->id));
    assert_string_equal(map_get(&a->guests, vm_of(&w, "plain")->id), "running");
    walk(&w, 5000);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void fenced_needs_no_hold(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    dies(&w, 0);
    core_begin(w.c);
    failover_fenced(w.c, w.agents[0].id);
    core_end(w.c);
    pump(&w);
    assert_in_range(until_elsewhere(&w, "a", "s1", 20000), DETECT_MS, DETECT_MS + 2200);
    world_down(&w);
}

/* Its power is off, they say; but the others see it. */
static void fence_that_lies(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    core_begin(w.c);
    failover_fenced(w.c, w.agents[0].id);
    core_end(w.c);
    walk(&w, 20000);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 20000);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    world_down(&w);
}

/* Somebody says so of one that hangs: the others see it, and its guests run. */
static void confirmed_of_one_that_is_up(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 1000);
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"confirm\"}"), 409);
    assert_non_null(strstr(w.reply, "the others of its pool see it"));
    /* What was said when nobody saw it does not hold once they do. */
    core_begin(w.c);
    failover_fenced(w.c, w.agents[0].id);
    core_end(w.c);
    walk(&w, 4000);
    assert_true(core_server(w.c, "s1")->cluster.fenced);
    walk(&w, 4000);
    assert_false(core_server(w.c, "s1")->cluster.fenced);
    assert_true(has_event(&w, "server.power", "the others of its pool go on seeing it"));
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "a", "s1", 20000), DETECT_MS + HOLD_MS, DETECT_MS + HOLD_MS + 500);
    /* Its power is on when it has come back. */
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"confirm\"}"), 202);
    walk(&w, 500);
    assert_string_equal(core_server(w.c, "s1")->power, "off");
    comes_back(&w, 0);
    assert_string_equal(core_server(w.c, "s1")->power, "on");
    world_down(&w);
}

static void two_servers_wait_for_the_fence(void **state) {
    struct world w;
    prepare(&w, 2);
    make_vm(&w, "a", "s1", HA);
    dies(&w, 0);
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 30000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_UNKNOWN);
    assert_int_equal(running(&w, vm_of(&w, "a")->id), 0);
    core_begin(w.c);
    failover_fenced(w.c, w.agents[0].id);
    core_end(w.c);
    assert_in_range(until_elsewhere(&w, "a", "s1", 20000), 0, 5000);
    world_down(&w);
}

/* The cluster is changed without a member that dies meanwhile, and again with it when it is back. */
static void member_dies_while_the_cluster_changes(void **state) {
    for (int adds = 0; adds < 2; adds++) {
        struct world w;
        prepare(&w, 4);
        if (adds) {
            assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s4\"}"), 202);
            walk(&w, 3000);
        }
        assert_int_equal(core_pool(w.c, "p")->cluster.n_nodes, adds ? 3 : 4);
        dies(&w, 0);
        assert_int_equal(ask(&w, adds ? API_OP_POOL_ADD : API_OP_POOL_REMOVE, "p", "{\"server\":\"s4\"}"), 202);
        walk(&w, 20000);
        assert_true(core_server(w.c, "s1")->cluster.gone);
        assert_null(running_job(&w));
        assert_int_equal(core_pool(w.c, "p")->cluster.n_nodes,
                         3); /* who comes has to wait: all must be there for that */
        assert_non_null(strstr(core_pool(w.c, "p")->cluster.reason, "s1"));
        assert_true(has_alarm(&w, "pool.cluster"));
        int64_t version = core_pool(w.c, "p")->cluster.version;
        assert_int_equal(core_server(w.c, "s3")->cluster.version, version);
        comes_back(&w, 0);
        walk(&w, 5000);
        assert_int_equal(core_pool(w.c, "p")->cluster.n_nodes, adds ? 4 : 3);
        assert_int_equal(core_server(w.c, "s1")->cluster.version, core_pool(w.c, "p")->cluster.version);
        assert_true(cluster_is_armed(core_server(w.c, "s1")));
        assert_false(has_alarm(&w, "pool.cluster"));
        world_down(&w);
    }
}

/* What makes something waits for the server that was asked, and says so; also when it is aborted. */
static void what_waits_says_for_whom(void **state) {
    struct world w;
    prepare(&w, 3);
    for (int i = 0; i < 3; i++)
        w.agents[i].silent = true;
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576,\"repository\":\"r\"}"), 202);
    for (int i = 0; i < 3; i++) {
        w.agents[i].away = true;
        world_disconnect(&w, &w.agents[i]);
    }
    walk(&w, 12000);
    const struct api_job *j = last_job(&w, "disk.create");
    assert_non_null(strstr(j->message, "waits for server s"));
    assert_non_null(strstr(j->message, "--force"));
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, j->id, NULL), 200);
    assert_non_null(strstr(last_job(&w, "disk.create")->message, "aborting: waits for server s"));
    for (int i = 0; i < 3; i++) {
        w.agents[i].silent = w.agents[i].away = false;
        world_connect(&w, &w.agents[i]);
    }
    walk(&w, 2000);
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_ABORTED);
    world_down(&w);
}

static json_t *(*others)(struct world *w, struct world_agent *a, const char *op, const json_t *args);
static json_t *says_lost(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    if (!str_eq(op, "guest.unsend"))
        return others(w, a, op, args);
    free(map_remove(&a->guests, json_str(args, "vm")));
    return json_pack("{s:s, s:s, s:b, s:b, s:I}", "vm", json_str(args, "vm"), "state", "crashed", "guarded", 1, "lost",
                     1, "sequence", (json_int_t)1 << 40);
}

/* It ended with the lease while a job held it, and it is an answer to the job that says so. */
static void job_is_told_that_it_was_lost(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    others = w.op;
    w.op = says_lost;
    w.fail_op = "guest.offer";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "a", "{\"to\":\"s2\"}"), 202);
    w.fail_op = NULL;
    until_runs(&w, "a", 20000);
    assert_int_equal(last_job(&w, "vm.migrate")->state, API_JOB_STATE_FAILED);
    assert_int_equal(last_job(&w, "vm.recover")->state, API_JOB_STATE_DONE);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void policy_none(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"failover\":\"none\",\"force\":true}"), 200);
    dies(&w, 0);
    walk(&w, 20000);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_UNKNOWN);
    assert_null(last_job(&w, "vm.recover"));
    world_down(&w);
}

/* s2 holds its lease by an old proof and calls s1 gone, whatever has happened since. */
static json_t *by_an_old_proof(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    if (!str_eq(op, "cluster.check") || a != &w->agents[1])
        return NULL;
    return json_pack("{s:s, s:I, s:b, s:b, s:[s, s], s:[{s:s, s:i}], s:i}", "pool", a->pool, "version", (json_int_t)1,
                     "armed", 1, "quorate", 1, "members", a->id, w->agents[2].id, "left", "server", w->agents[0].id,
                     "gone_ms", 7000, "proof_age_ms", 4000);
}

/* Nobody reaches s1, and its guest has ended: that is what s2 says, rightly or not. */
static void cut_off(struct world *w) {
    _cleanup_json_ json_t *m = json_pack("{s:s, s:o}", "event", "cluster.state", "args",
                                         by_an_old_proof(w, &w->agents[1], "cluster.check", NULL));
    struct world_agent *a = &w->agents[0];
    free(map_remove(&a->guests, vm_of(w, "a")->id));
    core_agent_message(w->c, w->agents[1].id, m);
    a->away = true;
    if (a->connected)
        world_disconnect(w, a);
}

static void what_was_true_before_it_was_well(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    w.op = by_an_old_proof;
    cut_off(&w);
    walk(&w, 3900);
    assert_false(core_server(w.c, "s1")->cluster.gone); /* it held its lease when the connection broke */
    walk(&w, 1500);
    assert_true(core_server(w.c, "s1")->cluster.gone);
    world_down(&w);
}

/* … nor what was true before the manager itself started: it has forgotten whom it gave what to do. */
static void what_was_true_before_the_manager_began(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    w.op = by_an_old_proof;
    w.agents[0].away = true;
    world_crash(&w);
    for (int i = 1; i < 3; i++)
        if (!w.agents[i].connected)
            world_connect(&w, &w.agents[i]);
    cut_off(&w);
    walk(&w, 3900);
    assert_false(core_server(w.c, "s1")->cluster.gone);
    walk(&w, 1500);
    assert_true(core_server(w.c, "s1")->cluster.gone);
    world_down(&w);
}

/* Its move had ended it on both sides when the room was counted. */
static void what_is_on_its_way_counts_where_it_waits(void **state) {
    struct api_vm vm = {
        .state = API_VM_STATE_CRASHED, .server = (char *)"from", .target = (char *)"to", .pool = (char *)"p"};
    assert_true(vm_counts_at(&vm, "to"));
    assert_false(vm_counts_at(&vm, "from"));
    vm.restarting = true; /* by the source's agent */
    assert_true(vm_counts_at(&vm, "from"));
    vm.target = NULL;
    assert_false(vm_counts_at(&vm, ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_dies),
        cmocka_unit_test(not_placed_where_nobody_answers),
        cmocka_unit_test(only_the_manager_does_not_see_it),
        cmocka_unit_test(heartbeat_cut_alone),
        cmocka_unit_test(back_before_it_was_given_up),
        cmocka_unit_test(manager_restarts_meanwhile),
        cmocka_unit_test(manager_alone),
        cmocka_unit_test(halves_without_majority),
        cmocka_unit_test(important_ones_first_and_the_rest_waits),
        cmocka_unit_test(many_wait),
        cmocka_unit_test(waiting_is_quiet),
        cmocka_unit_test(waiting_ends_when_something_changes),
        cmocka_unit_test(word_of_the_user_comes_first),
        cmocka_unit_test(started_by_hand_while_it_waits),
        cmocka_unit_test(manager_restarts_while_one_waits),
        cmocka_unit_test(aborted_while_it_waits),
        cmocka_unit_test(none_comes_after_itself),
        cmocka_unit_test(after_another_and_its_delay),
        cmocka_unit_test(after_one_whose_end_is_not_known_yet),
        cmocka_unit_test(tries_come_to_an_end),
        cmocka_unit_test(returns_with_its_guests),
        cmocka_unit_test(fenced_needs_no_hold),
        cmocka_unit_test(fence_that_lies),
        cmocka_unit_test(confirmed_of_one_that_is_up),
        cmocka_unit_test(two_servers_wait_for_the_fence),
        cmocka_unit_test(member_dies_while_the_cluster_changes),
        cmocka_unit_test(what_waits_says_for_whom),
        cmocka_unit_test(job_is_told_that_it_was_lost),
        cmocka_unit_test(policy_none),
        cmocka_unit_test(what_was_true_before_it_was_well),
        cmocka_unit_test(what_was_true_before_the_manager_began),
        cmocka_unit_test(what_is_on_its_way_counts_where_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
