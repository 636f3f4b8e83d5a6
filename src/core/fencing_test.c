/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of two servers: when one is switched off by itself, and when never. */
#include "core/test_cluster.h"

#define FENCE "{\"fence\":{\"agent\":\"fence_dummy\"}}"

/* Two servers with a fence agent each, and a guest on the first. */
static void prepare_two(struct world *w, const char *policy) {
    _cleanup_free_ char *body = xasprintf("{\"fencing\":\"%s\"}", policy);
    prepare(w, 2);
    assert_int_equal(ask(w, API_OP_SERVER_CHANGE, "s1", FENCE), 200);
    assert_int_equal(ask(w, API_OP_SERVER_CHANGE, "s2", FENCE), 200);
    assert_int_equal(ask(w, API_OP_POOL_CHANGE, "p", body), 200);
    make_vm(w, "a", "s1", HA);
    walk(w, 11000); /* the manager has been there for a while */
}

static bool is_gone(const struct world *w, const char *server) { return core_server(w->c, server)->cluster.gone; }

/* Nothing comes from it or to it, though its connection looks well; its guests go on. */
static void cut_off(struct world *w, int agent) {
    w->agents[agent].silent = w->agents[agent].away = true;
    set_half(w, agent, 1);
}

static void lost_server_is_switched_off(void **state) {
    for (int killed = 0; killed < 2; killed++) {
        struct world w;
        prepare_two(&w, "auto");
        assert_int_equal(core_pool(w.c, "p")->cluster.proof, API_FAILOVER_PROOF_FENCE);
        assert_false(has_alarm(&w, "pool.unprotected"));
        if (killed)
            dies(&w, 0);
        else
            cut_off(&w, 0);
        assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 5000, 14000);
        assert_int_equal(test_fence.orders, 1);
        assert_true(is_gone(&w, "s1"));
        assert_string_equal(core_server(w.c, "s1")->power, "off");
        assert_true(has_event(&w, "server.fence-auto", "s1"));
        assert_false(has_alarm(&w, "server.fence-needed"));
        comes_back(&w, 0);
        walk(&w, 30000);
        assert_false(is_gone(&w, "s1"));
        assert_int_equal(test_fence.orders, 1);
        assert_string_equal(where(&w, "a"), "s2");
        world_down(&w);
    }
}

/* All that it had was about to be restarted by it. */
static void switched_off_for_what_waits_for_its_restart(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    says(&w, 0, "a", "crashed", true);
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 5000, 14000);
    assert_int_equal(test_fence.orders, 1);
    world_down(&w);
}

/* The other one sees it: that the manager does not says something of the manager's network. */
static void not_when_only_the_manager_has_lost_it(void **state) {
    struct world w;
    for (int silent = 0; silent < 2; silent++) {
        prepare_two(&w, "auto");
        w.agents[0].away = true;
        if (silent)
            w.agents[0].silent = true;
        else
            world_disconnect(&w, &w.agents[0]);
        walk(&w, 60000);
        assert_int_equal(test_fence.orders, 0);
        assert_false(is_gone(&w, "s1"));
        assert_false(has_alarm(&w, "server.fence-needed"));
        world_down(&w);
    }
}

static void not_when_they_only_do_not_see_each_other(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    set_half(&w, 0, 1);
    walk(&w, 60000);
    assert_int_equal(test_fence.orders, 0);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    assert_true(has_alarm(&w, "pool.quorum"));
    set_half(&w, 0, 0);
    walk(&w, 5000);
    assert_false(has_alarm(&w, "pool.quorum"));
    world_down(&w);
}

/* The manager stood still for a moment (or had much to read): it finds the time for an answer over before it has read
   the answer, which has come in time. Both servers are well, and only do not see each other. */
static void an_answer_that_is_read_late_is_one(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    set_half(&w, 0, 1);
    walk(&w, 10000);
    struct agent *a = core_agent(w.c, w.agents[0].id);
    w.agents[0].silent = true;
    while (!a->probe)
        walk(&w, STEP_MS);
    uint64_t serial = a->probe;
    while (!a->mute)
        walk(&w, STEP_MS);
    w.agents[0].silent = false;
    _cleanup_json_ json_t *answer =
        json_pack("{s:o, s:b, s:o}", "id", json_sprintf("check/%llu/%s", (unsigned long long)serial, w.agents[0].id),
                  "ok", 1, "result", w.cluster(&w, &w.agents[0]));
    core_agent_message(w.c, w.agents[0].id, answer);
    walk(&w, 60000);
    assert_int_equal(test_fence.orders, 0);
    assert_false(a->mute);
    assert_string_equal(where(&w, "a"), "s1");
    world_down(&w);
}

/* A server of no pool, or of another one, says that the power of one of ours is off, and has switched nothing. */
static void what_a_stranger_says_of_a_power_is_not_believed(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    world_add(&w);
    walk(&w, 1000);
    cut_off(&w, 0);
    world_disconnect(&w, &w.agents[1]);
    w.agents[1].away = true;
    test_fence.lies = true;
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    walk(&w, 1000);
    assert_int_equal(test_fence.orders, 1);
    w.agents[1].away = false;
    world_connect(&w, &w.agents[1]);
    walk(&w, 2000); /* before it is switched off by itself */
    test_fence.lies = false;
    walk(&w, 30000); /* no guest runs twice */
    assert_string_equal(where(&w, "a"), "s2");
    world_down(&w);
}

/* It was switched off and on again, and runs its guest, before the order's answer came; then the manager loses it. */
static void back_before_its_fence_is_told(void **state) {
    struct world w;
    prepare_two(&w, "manual");
    struct world_agent *a = &w.agents[0], *b = &w.agents[1];
    b->silent = true;
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    _cleanup_free_ char *job = xstrdup(last_job(&w, "server.fence")->id);
    dies(&w, 0);
    walk(&w, 500);
    world_disconnect(&w, a);
    a->silent = a->away = a->lease = false;
    map_put(&a->guests, vm_of(&w, "a")->id, xstrdup("running"));
    world_connect(&w, a);
    pump(&w);
    _cleanup_json_ json_t *answer = json_pack("{s:o, s:b, s:{s:s, s:b}}", "id", json_sprintf("%s/0/do", job), "ok", 1,
                                              "result", "power", "off", "was_off", 1);
    core_agent_message(w.c, b->id, answer);
    pump(&w);
    assert_string_equal(last_job(&w, "server.fence")->error_code, "conflict");
    a->silent = a->away = true;
    b->silent = false;
    walk(&w, 30000); /* no guest runs twice */
    assert_string_equal(where(&w, "a"), "s1");
    world_down(&w);
}

/* The other one has no ring, and so sees nobody. */
static void not_by_one_that_cannot_see(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    w.agents[1].clustered = false;
    cut_off(&w, 0);
    say_all(&w);
    walk(&w, 60000);
    assert_int_equal(test_fence.orders, 0);
    world_down(&w);
}

static void not_without_guests_or_the_policy(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"enabled\":false}}"), 200);
    walk(&w, 1000);
    cut_off(&w, 0);
    walk(&w, 60000);
    assert_int_equal(test_fence.orders, 0);
    assert_false(has_alarm(&w, "server.fence-needed"));
    world_down(&w);

    prepare_two(&w, "manual");
    assert_int_equal(core_pool(w.c, "p")->cluster.proof, API_FAILOVER_PROOF_NONE);
    walk(&w, 61000);
    assert_true(has_alarm(&w, "pool.unprotected"));
    cut_off(&w, 0);
    walk(&w, 60000);
    assert_int_equal(test_fence.orders, 0);
    assert_true(has_alarm(&w, "server.fence-needed"));
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 0, 5000);
    assert_false(has_alarm(&w, "server.fence-needed"));
    world_down(&w);
}

/* It comes back before its time is over. */
static void back_in_time(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    cut_off(&w, 0);
    walk(&w, DETECT_MS + 2500);
    w.agents[0].silent = w.agents[0].away = false;
    set_half(&w, 0, 0);
    world_disconnect(&w, &w.agents[0]);
    world_connect(&w, &w.agents[0]);
    walk(&w, 30000);
    assert_int_equal(test_fence.orders, 0);
    assert_string_equal(where(&w, "a"), "s1");
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void a_fence_that_fails_is_tried_again(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    w.fail_op = "fence.run";
    cut_off(&w, 0);
    walk(&w, 20000);
    assert_int_equal(test_fence.orders, 1);
    assert_true(has_alarm(&w, "fence.failed"));
    assert_true(has_alarm(&w, "server.fence-needed"));
    walk(&w, 120000);
    assert_in_range(test_fence.orders, 3, 4); /* more and more seldom */
    assert_false(is_gone(&w, "s1"));
    assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
    w.fail_op = NULL;
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1", FENCE), 200); /* somebody has put it right: at once */
    assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 0, 8000);
    assert_false(has_alarm(&w, "fence.failed"));
    world_down(&w);
}

/* Its fence agent is taken away while it works: there is nothing left to put right. */
static void a_fence_agent_that_is_gone(void **state) {
    struct world w;
    prepare_two(&w, "manual");
    w.holds = "fence.run";
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"status\"}"), 202);
    walk(&w, 500);
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1", "{\"fence\":{\"agent\":\"\"}}"), 200);
    w.holds = NULL;
    w.lose_answers = true;
    world_disconnect(&w, &w.agents[1]);
    walk(&w, 500);
    assert_int_equal(last_job(&w, "server.fence")->state, API_JOB_STATE_FAILED);
    assert_false(has_alarm(&w, "fence.failed"));
    world_down(&w);
}

/* Its power is off, they say, and it answers. */
static void a_fence_that_lies(void **state) {
    struct world w;
    prepare_two(&w, "manual");
    test_fence.lies = true;
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    walk(&w, 30000);
    assert_false(is_gone(&w, "s1"));
    assert_false(core_server(w.c, "s1")->cluster.fenced);
    assert_true(has_alarm(&w, "fence.failed"));
    /* Nor when only the other server hears it. */
    w.agents[0].silent = w.agents[0].away = true;
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    walk(&w, 30000);
    assert_false(is_gone(&w, "s1"));
    world_down(&w);
}

/* An order to a server that is away is not kept for later. */
static void orders_are_for_now(void **state) {
    struct world w;
    prepare_two(&w, "manual");
    w.lose_answers = true;
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"off\"}"), 202);
    walk(&w, 500);
    assert_int_equal(last_job(&w, "server.fence")->state, API_JOB_STATE_FAILED);
    assert_non_null(strstr(last_job(&w, "server.fence")->error, "not known"));
    world_connect(&w, &w.agents[1]);
    walk(&w, 10000);
    assert_int_equal(test_fence.orders, 1);
    world_down(&w);
}

static void somebody_has_seen_it(void **state) {
    struct world w;
    prepare_two(&w, "manual");
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"confirm\"}"), 409);
    dies(&w, 0);
    walk(&w, 10000);
    assert_int_equal(ask(&w, API_OP_SERVER_FENCE, "s1", "{\"action\":\"confirm\"}"), 202);
    assert_int_equal(last_job(&w, "server.fence")->state, API_JOB_STATE_DONE);
    assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 0, 5000);
    assert_int_equal(test_fence.orders, 0);
    world_down(&w);
}

/* The manager is killed at each moment of it. */
static void manager_restarts_meanwhile(void **state) {
    struct world w;
    for (int64_t at = 500; at < 12000; at += 500) {
        prepare_two(&w, "auto");
        cut_off(&w, 0);
        walk(&w, at);
        world_crash(&w);
        until_elsewhere(&w, "a", "s1", 40000);
        assert_string_equal(where(&w, "a"), "s2");
        assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
        world_down(&w);
    }
}

/* Both are well, and come back late: nobody is switched off. */
static void manager_alone(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    w.agents[0].away = true;
    world_crash(&w);
    walk(&w, 9000);
    world_connect(&w, &w.agents[0]);
    walk(&w, 30000);
    assert_int_equal(test_fence.orders, 0);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* After the boot its agent may start it by its own restart policy: it has not heard that others do. */
static void what_it_does_not_know_to_be_highly_available_stays_its(void **state) {
    struct world w;
    prepare_two(&w, "auto");
    make_vm(&w, "plain", "s1", "{}");
    struct world_agent *a = &w.agents[0];
    a->away = true;
    world_disconnect(&w, a);
    walk(&w, 1000);
    struct api_vm *vm = CORE_COPY(vm, VM, vm_of(&w, "plain")); /* the world's agents watch all that they have */
    vm->watched = false;
    core_begin(w.c);
    core_put(w.c, API_KIND_VM, vm);
    core_end(w.c);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "a", "s1", 30000), 0, 29999);
    walk(&w, 5000);
    assert_true(is_gone(&w, "s1"));
    assert_string_equal(where(&w, "plain"), "s1");
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_UNKNOWN);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_server_is_switched_off),
        cmocka_unit_test(switched_off_for_what_waits_for_its_restart),
        cmocka_unit_test(not_when_only_the_manager_has_lost_it),
        cmocka_unit_test(not_when_they_only_do_not_see_each_other),
        cmocka_unit_test(an_answer_that_is_read_late_is_one),
        cmocka_unit_test(what_a_stranger_says_of_a_power_is_not_believed),
        cmocka_unit_test(back_before_its_fence_is_told),
        cmocka_unit_test(not_by_one_that_cannot_see),
        cmocka_unit_test(not_without_guests_or_the_policy),
        cmocka_unit_test(back_in_time),
        cmocka_unit_test(a_fence_that_fails_is_tried_again),
        cmocka_unit_test(a_fence_agent_that_is_gone),
        cmocka_unit_test(a_fence_that_lies),
        cmocka_unit_test(orders_are_for_now),
        cmocka_unit_test(somebody_has_seen_it),
        cmocka_unit_test(manager_restarts_meanwhile),
        cmocka_unit_test(manager_alone),
        cmocka_unit_test(what_it_does_not_know_to_be_highly_available_stays_its),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
