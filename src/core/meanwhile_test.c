/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on its way, or about to happen, while somebody decides: a guest that is being moved to a server that is to be
 * emptied, one that its agent is about to restart, a job that ends when nobody looks.
 */
#include "core/test_world.h"

static void guest(struct world *w, const char *more) {
    _cleanup_free_ char *body =
        xasprintf("{\"name\":\"v\",\"pool\":\"p\",\"memory\":536870912,\"start\":true,\"server\":\"s1\"%s}", more);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL, body), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}

static const char *where(const struct world *w) {
    const struct api_server *s = core_server(w->c, core_vm(w->c, "v")->server);
    return s ? s->name : "";
}

/* Its agent tells of it; again: it is about to restart it. */
static void says(struct world *w, int agent, const char *state, bool again, int64_t sequence) {
    _cleanup_json_ json_t *m =
        json_pack("{s:s, s:{s:s, s:s, s:b, s:I}}", "event", "guest.state", "args", "vm", core_vm(w->c, "v")->id,
                  "state", state, "should_run", again, "sequence", (json_int_t)sequence);
    core_agent_message(w->c, w->agents[agent].id, m);
    pump(w);
}

/* What it was holding it answers now. */
static void let_go(struct world *w, int agent) {
    w->holds = NULL;
    world_disconnect(w, &w->agents[agent]);
    world_connect(w, &w->agents[agent]);
    pump(w);
}

static void test_who_is_on_its_way_there_leaves_too(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "");
    w.holds = "guest.send";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\"}"), 202);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s2", "{\"on\":true}"), 202);
    world_seconds(&w, 3);
    assert_int_equal(core_server(w.c, "s2")->maintenance, API_MAINTENANCE_STATE_DRAINING);
    let_go(&w, 0);
    world_seconds(&w, 20);
    assert_int_equal(core_server(w.c, "s2")->maintenance, API_MAINTENANCE_STATE_ON);
    assert_string_not_equal(where(&w), "s2");
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

static void test_who_has_left_is_not_moved_again(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "");
    w.holds = "guest.release";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\"}"), 202);
    assert_string_equal(where(&w), "s2");
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    world_seconds(&w, 3);
    let_go(&w, 0);
    world_seconds(&w, 20);
    assert_string_equal(where(&w), "s2");
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
    world_down(&w);
}

static void test_who_is_about_to_start_there_leaves_too(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "");
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s3", "{\"on\":true}"), 202);
    w.holds = "guest.forget";
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    assert_string_equal(core_vm(w.c, "v")->target, w.agents[1].id);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s2", "{\"on\":true}"), 202);
    let_go(&w, 0);
    world_seconds(&w, 20);
    assert_string_equal(where(&w), "s2");
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    assert_int_equal(core_server(w.c, "s2")->maintenance, API_MAINTENANCE_STATE_DRAINING); /* nowhere to go */
    world_down(&w);
}

static void test_who_is_about_to_be_restarted_leaves_too(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, ",\"restart_policy\":\"always\"");
    says(&w, 0, "crashed", true, 1000);
    assert_true(core_vm(w.c, "v")->restarting);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    world_seconds(&w, 3);
    const struct api_job *j = last_job(&w, "server.maintenance");
    assert_int_equal(j->state, API_JOB_STATE_RUNNING);
    assert_non_null(strstr(j->message, "about to be restarted"));
    says(&w, 0, "running", true, 1001);
    world_seconds(&w, 60);
    assert_string_not_equal(where(&w), "s1");
    assert_int_equal(core_server(w.c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
    world_down(&w);
}

/* Its disks would be copied while it writes to them. */
static void test_no_template_of_one_that_is_about_to_be_restarted(void **state) {
    struct world w;
    world_pool(&w, 2);
    guest(&w, ",\"restart_policy\":\"always\",\"disks\":[{\"size\":1048576}]");
    says(&w, 0, "stopped", true, 1000);
    assert_int_equal(ask(&w, API_OP_TEMPLATE_CREATE, NULL, "{\"name\":\"gold\",\"from_vm\":\"v\"}"), 409);
    assert_non_null(strstr(w.reply, "about to be restarted"));
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_int_equal(ask(&w, API_OP_TEMPLATE_CREATE, NULL, "{\"name\":\"gold\",\"from_vm\":\"v\"}"), 202);
    world_down(&w);
}

static void test_storage_stays_for_one_that_is_about_to_be_restarted(void **state) {
    struct world w;
    world_of(&w, 2);
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\",\"servers\":[\"s1\",\"s2\"]}"), 202);
    world_seconds(&w, 2);
    assert_int_equal(
        ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"server\":\"s1\",\"start\":true,\"repository\":\"r\"}"), 202);
    says(&w, 0, "crashed", true, 1000);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_WITHDRAW, "r", "{\"server\":\"s1\"}"), 409);
    world_down(&w);
}

/* The server that was to restart it has forgotten it, and left the pool. */
static void test_who_belongs_to_no_server_is_restarted_by_none(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "");
    says(&w, 0, "crashed", true, 1000);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"), 202);
    world_seconds(&w, 3);
    assert_string_equal(where(&w), "");
    assert_false(core_vm(w.c, "v")->restarting);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "v", "{\"cpus\":2}"), 200);
    world_down(&w);
}

/* That it crashed was the word of the server that it has left, whose clock is ahead. */
static void test_a_word_of_the_server_it_has_left(void **state) {
    struct world w;
    world_pool(&w, 3);
    guest(&w, "");
    says(&w, 0, "crashed", true, w.ms);
    assert_int_equal(ask(&w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    w.holds = "guest.forget";
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    w.holds = NULL;
    world_disconnect(&w, &w.agents[0]);
    world_connect(&w, &w.agents[0]);
    says(&w, 0, "crashed", true, w.ms + 5000);
    world_seconds(&w, 10);
    assert_string_not_equal(where(&w), "s1");
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_RUNNING);
    world_down(&w);
}

/* What waits behind it is woken, though it ends because a server has been away for a while. */
static void test_an_end_by_the_clock_wakes_who_waits(void **state) {
    struct world w;
    world_of(&w, 3);
    assert_int_equal(
        ask(&w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"r\",\"path\":\"/r\",\"servers\":[\"s1\",\"s2\"]}"), 202);
    world_seconds(&w, 2);
    w.holds = "repository.prove";
    assert_int_equal(ask(&w, API_OP_REPOSITORY_PRESENT, "r", "{\"server\":\"s3\"}"), 202);
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576,\"repository\":\"r\"}"), 202);
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_QUEUED);
    w.agents[0].away = true;
    world_disconnect(&w, &w.agents[0]);
    pump(&w);
    w.holds = NULL;
    _cleanup_free_ char *id = xstrdup(last_job(&w, "repository.present")->id);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, id, NULL), 200);
    world_seconds(&w, 20);
    assert_int_equal(last_job(&w, "disk.create")->state, API_JOB_STATE_DONE);
    world_down(&w);
}

static void test_one_whose_server_went_away_meanwhile_is_unknown(void **state) {
    struct world w;
    world_pool(&w, 2);
    guest(&w, "");
    w.holds = "guest.release";
    assert_int_equal(ask(&w, API_OP_VM_MIGRATE, "v", "{\"to\":\"s2\"}"), 202);
    assert_string_equal(where(&w), "s2");
    w.agents[1].away = true;
    world_disconnect(&w, &w.agents[1]);
    world_seconds(&w, 15);
    let_go(&w, 0);
    world_seconds(&w, 3);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_UNKNOWN);
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_on_its_way_there_leaves_too),
        cmocka_unit_test(test_who_has_left_is_not_moved_again),
        cmocka_unit_test(test_who_is_about_to_start_there_leaves_too),
        cmocka_unit_test(test_who_is_about_to_be_restarted_leaves_too),
        cmocka_unit_test(test_no_template_of_one_that_is_about_to_be_restarted),
        cmocka_unit_test(test_storage_stays_for_one_that_is_about_to_be_restarted),
        cmocka_unit_test(test_who_belongs_to_no_server_is_restarted_by_none),
        cmocka_unit_test(test_a_word_of_the_server_it_has_left),
        cmocka_unit_test(test_an_end_by_the_clock_wakes_who_waits),
        cmocka_unit_test(test_one_whose_server_went_away_meanwhile_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
