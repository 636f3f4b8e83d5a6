/* SPDX-License-Identifier: Apache-2.0 */
/* Alarms: raised once, made worse, ended by what raised them, kept over a restart of the manager. */
#include "core/test_world.h"

#include <stdio.h>

static const struct api_alarm *find(struct world *w, const char *object, const char *code, bool active) {
    const struct table *t = &w->c->tables[API_KIND_ALARM];
    for (size_t i = t->n; i-- > 0;) {
        const struct api_alarm *a = t->sorted[i]->v->data;
        if (str_eq(a->object.name, object) && str_eq(a->code, code) && a->active == active)
            return a;
    }
    return NULL;
}

static size_t count(struct world *w) { return w->c->tables[API_KIND_ALARM].n; }

static void restart(struct world *w) {
    w->fault = CRASH;
    w->fired = false;
    w->commits = 0;
    w->fault_at = 1;
    ask(w, API_OP_SERVER_CHANGE, "s1", "{\"description\":\"the manager dies\"}");
    w->fault = NO_FAULT;
    settle(w);
}

static void guest_says(struct world *w, const char *state, const char *reason, int sequence) {
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:s, s:s, s:i}}", "event", "guest.state", "args", "vm", core_vm(w->c, "v")->id,
                  "state", state, "reason", reason, "sequence", sequence);
    free(map_put(&w->agents[0].guests, core_vm(w->c, "v")->id, xstrdup(state)));
    core_agent_message(w->c, w->agents[0].id, m);
    pump(w);
}

static void repository_says(struct world *w, bool usable, int64_t capacity, int64_t free) {
    const struct api_repository *r = CORE_GET(w->c, repository, REPOSITORY, "local");
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:b, s:I, s:I}}", "event", "repository.state", "args", "repository", r->id, "usable",
                  usable, "capacity", (json_int_t)capacity, "free", (json_int_t)free);
    core_agent_message(w->c, w->agents[0].id, m);
    pump(w);
}

static void test_crashed(void **state) {
    struct world w;
    world_up(&w);
    make_template(&w);
    ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\",\"start\":true}");
    guest_says(&w, "crashed", "it panicked", 100);
    const struct api_alarm *a = find(&w, "v", "vm.crashed", true);
    assert_non_null(a);
    assert_non_null(strstr(a->message, "it panicked"));
    _cleanup_free_ char *id = xstrdup(a->id);
    assert_int_equal(ask(&w, API_OP_ALARM_ACKNOWLEDGE, id, NULL), 200);
    assert_string_equal(find(&w, "v", "vm.crashed", true)->acknowledged_by, "admin");
    guest_says(&w, "crashed", "it panicked again", 101);
    assert_int_equal(count(&w), 1);
    assert_string_equal(find(&w, "v", "vm.crashed", true)->acknowledged_by, "admin");
    restart(&w);
    assert_int_equal(count(&w), 1);
    struct core_counts counts;
    core_counts(w.c, &counts);
    assert_int_equal(counts.alarms[API_SEVERITY_ERROR], 1);
    ask(&w, API_OP_VM_START, "v", NULL);
    a = find(&w, "v", "vm.crashed", false);
    assert_non_null(a);
    assert_string_not_equal(a->cleared, "");
    guest_says(&w, "crashed", "once more", 1000000);
    assert_int_equal(count(&w), 2);
    ask(&w, API_OP_VM_DELETE, "v", NULL);
    settle(&w);
    assert_null(find(&w, "v", "vm.crashed", true));
    assert_int_equal(ask(&w, API_OP_ALARM_LIST, NULL, NULL), 200);
    assert_int_equal(ask(&w, API_OP_ALARM_SHOW, id, NULL), 200);
    assert_int_equal(ask(&w, API_OP_ALARM_SHOW, "no-such", NULL), 404);
    world_down(&w);
}

static void test_space(void **state) {
    struct world w;
    world_up(&w);
    repository_says(&w, true, 1000, 101);
    assert_int_equal(count(&w), 0);
    repository_says(&w, true, 1000, 99);
    assert_int_equal(find(&w, "local", "repository.space", true)->severity, API_SEVERITY_WARNING);
    _cleanup_free_ char *id = xstrdup(find(&w, "local", "repository.space", true)->id);
    ask(&w, API_OP_ALARM_ACKNOWLEDGE, id, NULL);
    repository_says(&w, true, 1000, 105); /* no flicker */
    assert_non_null(find(&w, "local", "repository.space", true));
    repository_says(&w, true, 1000, 29);
    assert_int_equal(find(&w, "local", "repository.space", true)->severity, API_SEVERITY_ERROR);
    assert_string_equal(find(&w, "local", "repository.space", true)->acknowledged_by, ""); /* it is worse now */
    repository_says(&w, true, 1000, 35);
    assert_int_equal(find(&w, "local", "repository.space", true)->severity, API_SEVERITY_ERROR);
    repository_says(&w, true, 1000, 50);
    assert_int_equal(find(&w, "local", "repository.space", true)->severity, API_SEVERITY_WARNING);
    repository_says(&w, true, 1000, 500);
    assert_null(find(&w, "local", "repository.space", true));
    assert_int_equal(count(&w), 1);
    repository_says(&w, false, 0, 0);
    assert_non_null(find(&w, "local", "repository.unavailable", true));
    repository_says(&w, true, 1000, 500);
    assert_null(find(&w, "local", "repository.unavailable", true));
    world_down(&w);
}

static void pass(struct world *w, int64_t ms) {
    w->ms += ms;
    core_set_time(w->c, w->ms, w->ms);
    core_tick(w->c);
    pump(w);
}

static void test_offline(void **state) {
    struct world w;
    world_up(&w);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    pump(&w);
    pass(&w, 1000);
    assert_int_equal(count(&w), 0); /* a short cut is none */
    pass(&w, 10000);
    assert_non_null(find(&w, "s1", "server.offline", true));
    restart(&w);
    pass(&w, 11000);
    assert_int_equal(count(&w), 1);
    w.agents[0].away = false;
    world_connect(&w, &w.agents[0]);
    pump(&w);
    assert_null(find(&w, "s1", "server.offline", true));
    core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, w.agents[0].id, "server.clock", "Its clock is wrong");
    core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, w.agents[0].id, "server.clock", "Its clock is wrong");
    pump(&w);
    assert_non_null(find(&w, "s1", "server.clock", true));
    core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, w.agents[0].id, "server.clock", NULL);
    core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, "none", "server.clock", "of nobody");
    pump(&w);
    assert_null(find(&w, "s1", "server.clock", true));
    assert_int_equal(count(&w), 2);
    world_down(&w);
}

static void test_stuck_undo(void **state) {
    struct world w;
    world_up(&w);
    w.fail_op = "disk.delete";
    ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}");
    ask(&w, API_OP_DISK_DELETE, "d", NULL);
    assert_int_equal(count(&w), 0);
    for (int i = 0; i < 60; i++)
        pass(&w, 1000);
    const struct table *t = &w.c->tables[API_KIND_ALARM];
    assert_int_equal(t->n, 1);
    const struct api_alarm *a = t->sorted[0]->v->data;
    assert_string_equal(a->code, "job.stuck");
    assert_non_null(strstr(a->message, "it broke"));
    w.fail_op = NULL;
    for (int i = 0; i < 70; i++)
        pass(&w, 1000);
    assert_false(((const struct api_alarm *)t->sorted[0]->v->data)->active);
    world_down(&w);
}

static void test_read_only(void **state) {
    struct world w;
    world_up(&w);
    w.store_down = true;
    ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}");
    assert_true(core_read_only(w.c));
    assert_non_null(find(&w, "manager", "manager.read-only", true));
    pass(&w, 2000);
    assert_int_equal(count(&w), 1);
    settle(&w);
    assert_false(core_read_only(w.c));
    assert_int_equal(count(&w), 1);
    assert_non_null(find(&w, "manager", "manager.read-only", false));
    restart(&w); /* it has become durable */
    assert_int_equal(count(&w), 1);
    assert_non_null(find(&w, "manager", "manager.read-only", false));
    world_down(&w);
}

static void test_old_ones_go(void **state) {
    struct world w;
    world_up(&w);
    for (int i = 0; i < 1100; i++) {
        core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, w.agents[0].id, "server.clock",
                       "Its clock is wrong");
        if (i < 1099)
            core_condition(w.c, API_SEVERITY_WARNING, API_KIND_SERVER, w.agents[0].id, "server.clock", NULL);
        pump(&w);
    }
    pass(&w, 120000);
    assert_int_equal(count(&w), 1001);
    assert_non_null(find(&w, "s1", "server.clock", true));
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashed),    cmocka_unit_test(test_space),     cmocka_unit_test(test_offline),
        cmocka_unit_test(test_stuck_undo), cmocka_unit_test(test_read_only), cmocka_unit_test(test_old_ones_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
