/* SPDX-License-Identifier: Apache-2.0 */
/* What a server watches, and whose word about it counts when it is lost. */
#include "core/test_cluster.h"

/* Its server was given up and is there again, outside of the pool's ring still: it runs, whoever watches it by now. */
static void becomes_highly_available_on_a_server_that_returns(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    dies(&w, 0);
    walk(&w, 20000);
    struct world_agent *a = &w.agents[0];
    assert_true(server_is_gone(w.c, a->id));
    map_put(&a->guests, vm_of(&w, "plain")->id, xstrdup("running"));
    world_disconnect(&w, a);
    a->silent = a->away = a->lease = false;
    world_connect(&w, a);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    walk(&w, 1000);
    world_crash(&w);
    for (int i = 0; i < 3; i++)
        world_connect(&w, &w.agents[i]);
    walk(&w, 1000);
    assert_true(server_is_gone(w.c, a->id));
    assert_string_equal(where(&w, "plain"), "s1");
    assert_false(vm_of(&w, "plain")->guarded);
    assert_null(last_job(&w, "vm.recover"));
    set_half(&w, 0, 0);
    walk(&w, 10000);
    assert_false(server_is_gone(w.c, a->id));
    assert_false(a->connected); /* it is to report anew */
    world_connect(&w, a);
    pump(&w);
    assert_true(vm_of(&w, "plain")->guarded);
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "plain", "s1", 20000), 0, 19999);
    world_down(&w);
}

/* A heartbeat network that is cut alone is told as that, and not as a server that is lost. */
static void cut_is_not_told_as_lost(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    set_half(&w, 0, 1);
    walk(&w, 10000);
    assert_true(has_event(&w, "vm.lost", "is to be started again")); /* which may be there, when it is back */
    assert_true(core_server(w.c, "s1")->cluster.gone);
    /* It is there, and what runs there runs on: where to look is its heartbeat network. */
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "do not see it over the heartbeat network"));
    assert_null(strstr(alarm_of(&w, "server.gone")->message, "--force"));
    if (!w.agents[0].connected)
        world_connect(&w, &w.agents[0]);
    walk(&w, 5000);
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "It answers the manager"));
    /* As long as that is so. */
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    walk(&w, 60000);
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "tarn server delete s1 --force"));
    w.agents[0].away = false;
    world_connect(&w, &w.agents[0]);
    walk(&w, 5000);
    assert_non_null(strstr(alarm_of(&w, "server.gone")->message, "It answers the manager"));
    set_half(&w, 0, 0);
    walk(&w, 10000);
    assert_false(has_alarm(&w, "server.gone"));
    world_down(&w);
}

/* It has ended, and its agent was about to restart it, or somebody had just asked for that: then its server is lost. */
static void lost_before_it_was_restarted(void **state) {
    static const struct {
        const char *said;
        bool asked;
    } cases[] = {{"crashed", false}, {"stopped", false}, {"crashed", true}};
    struct world w;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        make_vm(&w, "plain", "s1", "{}");
        says(&w, 0, "a", cases[i].said, true);
        says(&w, 0, "plain", cases[i].said, false);
        assert_true(vm_of(&w, "a")->restarting);
        dies(&w, 0);
        if (cases[i].asked)
            assert_int_equal(ask(&w, API_OP_VM_START, "a", NULL), 202);
        assert_in_range(until_elsewhere(&w, "a", "s1", 20000), 0, 19999);
        assert_int_equal(running(&w, vm_of(&w, "a")->id), 1);
        assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_UNKNOWN); /* for all we know it runs there again */
        world_down(&w);
    }
}

/* What it had said while a job worked on its guest is of before it was lost. */
static void what_it_said_meanwhile_is_over(void **state) {
    static const struct {
        enum api_op_id op;
        const char *body, *said;
        bool restarted;
    } cases[] = {{API_OP_VM_RESTART, "{}", "running", true},
                 {API_OP_VM_SUSPEND, "{}", "running", true},
                 {API_OP_VM_STOP, "{}", "stopping", false}};
    struct world w;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        prepare(&w, 3);
        make_vm(&w, "a", "s1", HA);
        w.agents[0].silent = true; /* it does not answer any more */
        assert_int_equal(ask(&w, cases[i].op, "a", cases[i].body), 202);
        says(&w, 0, "a", cases[i].said, true);
        dies(&w, 0);
        walk(&w, 20000);
        if (cases[i].restarted) {
            assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_RUNNING);
            assert_string_not_equal(where(&w, "a"), "s1");
        } else {
            assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_STOPPED);
        }
        world_down(&w);
    }
}

static size_t kills;

static json_t *counts_kills(struct world *w, struct world_agent *a, const char *op, const json_t *args) {
    kills += str_eq(op, "guest.kill");
    return NULL;
}

/* Its server comes back, where it had crashed and waited for its restart: somebody has stopped it meanwhile. */
static void stopped_while_its_server_was_lost(void **state) {
    struct world w;
    for (int stopped = 0; stopped < 2; stopped++) {
        prepare(&w, 3);
        make_vm(&w, "plain", "s1", "{}");
        if (stopped)
            assert_int_equal(ask(&w, API_OP_VM_STOP, "plain", "{}"), 202);
        walk(&w, 1000);
        world_disconnect(&w, &w.agents[0]);
        free(map_put(&w.agents[0].guests, vm_of(&w, "plain")->id, xstrdup("crashed")));
        kills = 0;
        w.op = counts_kills;
        world_connect(&w, &w.agents[0]);
        pump(&w);
        assert_int_equal(kills, stopped);
        assert_int_equal(vm_of(&w, "plain")->state, stopped ? API_VM_STATE_STOPPED : API_VM_STATE_CRASHED);
        assert_int_equal(vm_of(&w, "plain")->restarting, !stopped);
        world_down(&w);
    }
}

/* After a boot it watches nothing until it is armed again, whatever it says. */
static void an_unarmed_server_watches_nothing(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    struct world_agent *a = &w.agents[0];
    set_half(&w, 0, 1);
    world_disconnect(&w, a);
    a->armed = a->lease = false;
    world_connect(&w, a);
    pump(&w);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    walk(&w, 20000);
    assert_true(server_is_gone(w.c, a->id));
    assert_string_equal(where(&w, "plain"), "s1");
    assert_null(last_job(&w, "vm.recover"));
    world_down(&w);
}

/* Nobody knows whether it runs there, unwatched, when its start is ordered: it is not one that ends with its server. */
static void it_may_have_run_unwatched(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    struct world_agent *a = &w.agents[0];
    says(&w, 0, "plain", "running", false);
    a->away = true;
    world_disconnect(&w, a);
    walk(&w, 15000);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_UNKNOWN);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    struct api_agent_hello h;
    api_agent_hello_init(&h);
    a->silent = a->connected = true;
    core_agent_connected(w.c, a->id, &h);
    api_agent_hello_done(&h);
    assert_int_equal(ask(&w, API_OP_RULE_CREATE, NULL,
                         "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"vms\":[\"plain\"],\"servers\":"
                         "[\"s1\"]}"),
                     201);
    assert_int_equal(ask(&w, API_OP_VM_START, "plain", "{}"), 202);
    assert_false(vm_of(&w, "plain")->watched);
    assert_true(vm_of(&w, "plain")->untold); /* nor does one that runs take anything from that order */
    set_half(&w, 0, 1);
    walk(&w, 1000);
    world_disconnect(&w, a);
    walk(&w, 20000);
    assert_true(server_is_gone(w.c, a->id));
    assert_null(last_job(&w, "vm.recover"));
    assert_string_equal(where(&w, "plain"), "s1");
    world_down(&w);
}

/* The one on which it was to start is lost before it has answered. */
static void second_server_is_lost_too(void **state) {
    struct world w;
    prepare(&w, 5);
    make_vm(&w, "a", "s1", HA);
    assert_int_equal(ask(&w, API_OP_RULE_CREATE, NULL,
                         "{\"name\":\"r\",\"pool\":\"p\",\"type\":\"on-servers\",\"vms\":[\"a\"],\"servers\":"
                         "[\"s1\",\"s2\",\"s3\"]}"),
                     201);
    dies(&w, 0);
    w.lose_answers = true;
    while (w.lose_answers)
        walk(&w, STEP_MS);
    assert_int_equal(vm_of(&w, "a")->state, API_VM_STATE_STARTING);
    int second = str_eq(where(&w, "a"), "s2") ? 1 : 2;
    dies(&w, second);
    assert_in_range(until_runs(&w, "a", 30000), 0, 29999);
    assert_string_equal(where(&w, "a"), second == 1 ? "s3" : "s2");
    world_down(&w);
}

/* What its server was told last, of whether it is highly available; NULL: nothing since the start. */
static const char *told(const struct world *w, const char *vm) {
    char key[64];
    snprintf(key, sizeof key, "told/%.36s", vm_of(w, vm)->id);
    return map_get(&w->things, key);
}

/* Out of reach, it is told when it is there again; and what it watches then is restarted elsewhere. */
static void a_server_out_of_reach_is_told_later(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    struct world_agent *a = &w.agents[0];
    for (int round = 0; round < 2; round++) {
        a->away = true;
        world_disconnect(&w, a);
        walk(&w, round ? 1000 : 15000);
        assert_int_equal(vm_of(&w, "plain")->state, round ? API_VM_STATE_RUNNING : API_VM_STATE_UNKNOWN);
        const char *change = round ? "{\"ha\":" HA "}" : "{\"restart_policy\":\"always\"}";
        assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", change), 200);
        walk(&w, 1000);
        if (round)
            world_crash(&w); /* nor does the manager forget it */
        else
            assert_null(last_job(&w, "vm.policy")); /* it does not stand in anybody's way */
        a->away = false;
        for (int i = 0; i < 3; i++)
            if (!w.agents[i].connected)
                world_connect(&w, &w.agents[i]);
        walk(&w, 1000);
        assert_string_equal(told(&w, "plain"), round ? "ha" : "plain");
        assert_false(vm_of(&w, "plain")->untold);
    }
    assert_true(vm_of(&w, "plain")->guarded);
    dies(&w, 0);
    assert_in_range(until_elsewhere(&w, "plain", "s1", 20000), 0, 19999);
    world_down(&w);
}

/* It was given up and is there again: it is told when it is its pool's again. */
static void a_server_that_was_given_up_is_told_when_it_is_back(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    struct world_agent *a = &w.agents[0];
    dies(&w, 0);
    walk(&w, 20000);
    map_put(&a->guests, vm_of(&w, "plain")->id, xstrdup("running"));
    world_disconnect(&w, a);
    a->silent = a->away = a->lease = false;
    world_connect(&w, a);
    pump(&w);
    assert_true(server_is_gone(w.c, a->id));
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    walk(&w, 1000);
    assert_null(told(&w, "plain"));
    set_half(&w, 0, 0);
    walk(&w, 10000);
    assert_false(server_is_gone(w.c, a->id));
    assert_string_equal(told(&w, "plain"), "ha");
    world_down(&w);
}

/* Whoever works on it is waited for, and then the server on which it is then is told; an order that failed is given
   again after a while. */
static void who_works_on_it_is_waited_for(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    w.holds = "guest.send";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "plain", "{\"to\":\"s2\"}"), 202);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_MIGRATING);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    assert_null(told(&w, "plain"));
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, last_job(&w, "vm.migrate")->id, "{}"), 200);
    w.holds = NULL;
    walk(&w, 1000);
    assert_int_equal(vm_of(&w, "plain")->state, API_VM_STATE_RUNNING);
    assert_string_equal(told(&w, "plain"), "ha");
    w.fail_op = "guest.policy";
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":{\"enabled\":false}}"), 200);
    walk(&w, 1000);
    assert_int_equal(last_job(&w, "vm.policy")->state, API_JOB_STATE_FAILED);
    w.fail_op = NULL;
    says(&w, 0, "plain", "running", true);
    walk(&w, 5000);
    assert_string_equal(told(&w, "plain"), "ha");
    walk(&w, 30000);
    assert_string_equal(told(&w, "plain"), "plain");
    world_down(&w);
}

/* That it is not to watch it any more is on its way, and may have been carried out; that it is to again is not. */
static void what_it_may_not_watch_any_more_goes_on(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "a", "s1", HA);
    struct world_agent *a = &w.agents[0];
    a->silent = a->away = true;
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":{\"enabled\":false}}"), 200);
    assert_false(vm_of(&w, "a")->watched);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "a", "{\"ha\":" HA "}"), 200);
    set_half(&w, 0, 1);
    walk(&w, 20000);
    assert_true(server_is_gone(w.c, a->id));
    assert_null(last_job(&w, "vm.recover"));
    assert_string_equal(where(&w, "a"), "s1");
    assert_true(vm_of(&w, "a")->untold);
    world_down(&w);
}

/* An order is on its way, and may fail: the next tells all of it once more. */
static void a_later_change_tells_all(void **state) {
    struct world w;
    prepare(&w, 3);
    make_vm(&w, "plain", "s1", "{}");
    w.agents[0].silent = true;
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"ha\":" HA "}"), 200);
    assert_int_equal(last_job(&w, "vm.policy")->n_steps, 1);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "plain", "{\"limits\":{\"cpu_cap\":50}}"), 200);
    assert_int_equal(last_job(&w, "vm.policy")->n_steps, 2);
    assert_string_equal(last_job(&w, "vm.policy")->steps[0].name, "tell");
    world_down(&w);
}

static const char *lists_of(const struct world *w, const char *pool, const char *server) {
    const struct api_pool *p = core_pool(w->c, pool);
    for (size_t i = 0; i < p->cluster.n_nodes; i++)
        if (str_eq(p->cluster.nodes[i].server, core_server(w->c, server)->id))
            return server;
    return NULL;
}

static void add_to_pool(struct world *w, const char *server) {
    _cleanup_free_ char *body = xasprintf("{\"server\":\"%s\"}", server);
    world_add(w);
    assert_int_equal(ask(w, API_OP_POOL_ADD, "p", body), 202);
    walk(w, 30000);
}

/* It was away while another came; the next comes when it knows of that. Otherwise it finds more than half of three, and
   those that it does not know more than half of five. */
static void who_was_away_learns_of_one_change_first(void **state) {
    struct world w;
    prepare(&w, 3);
    dies(&w, 2);
    walk(&w, 20000);
    assert_true(server_is_gone(w.c, w.agents[2].id));
    int64_t version = core_pool(w.c, "p")->cluster.version;
    add_to_pool(&w, "s4");
    assert_null(lists_of(&w, "p", "s4")); /* not all can be told */
    assert_int_equal(core_pool(w.c, "p")->cluster.version, version);
    /* As if it had gone when that was stored already. */
    struct api_pool *p = CORE_COPY(pool, POOL, core_pool(w.c, "p"));
    p->cluster.version++;
    core_begin(w.c);
    core_put(w.c, API_KIND_POOL, p);
    for (int i = 0; i < 2; i++) {
        struct api_server *s = CORE_COPY(server, SERVER, core_server(w.c, w.agents[i].name));
        s->cluster.version++;
        core_put(w.c, API_KIND_SERVER, s);
    }
    core_end(w.c);
    pump(&w);
    w.fail_op = "cluster.configure"; /* whatever comes first, it is only begun */
    w.fail_code = "unavailable";
    json_t *(*op)(struct world * w, struct world_agent * a, const char *op, const json_t *args) = w.op;
    w.op = NULL;
    comes_back(&w, 2);
    walk(&w, 3000);
    const struct api_job *j = last_job(&w, "pool.cluster");
    assert_non_null(j);
    assert_int_equal(json_array_size(json_object_get(j->args, "nodes")), 3);
    w.op = op;
    w.fail_op = NULL;
    walk(&w, 60000);
    assert_non_null(lists_of(&w, "p", "s4"));
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_is_not_told_as_lost),
        cmocka_unit_test(becomes_highly_available_on_a_server_that_returns),
        cmocka_unit_test(lost_before_it_was_restarted),
        cmocka_unit_test(what_it_said_meanwhile_is_over),
        cmocka_unit_test(stopped_while_its_server_was_lost),
        cmocka_unit_test(an_unarmed_server_watches_nothing),
        cmocka_unit_test(it_may_have_run_unwatched),
        cmocka_unit_test(second_server_is_lost_too),
        cmocka_unit_test(a_server_out_of_reach_is_told_later),
        cmocka_unit_test(a_server_that_was_given_up_is_told_when_it_is_back),
        cmocka_unit_test(who_works_on_it_is_waited_for),
        cmocka_unit_test(what_it_may_not_watch_any_more_goes_on),
        cmocka_unit_test(a_later_change_tells_all),
        cmocka_unit_test(who_was_away_learns_of_one_change_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
