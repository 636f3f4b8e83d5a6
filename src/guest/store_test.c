/* SPDX-License-Identifier: Apache-2.0 */
/* A host brain whose store fails: what it refuses, what it keeps back, and that it recovers; and what is not resumed.
 */
#include "guest/test_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_full_store_refuses_ops_and_recovers(void **state) {
    struct world *w = *state;
    w->store_error = -ENOSPC;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 0);
    world_op(w, "a/2/do", "disk.create", disk_args(DISK1));
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    world_time(w, 60000);
    w->store_error = -EROFS;
    world_time(w, 6000);
    world_op(w, "a/2/do", "disk.create", disk_args(DISK1));
    assert_string_equal(world_code(w, "a/2/do"), "read-only");
    w->store_error = 0;
    world_time(w, 6000);
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    assert_true(world_ok(w, "a/1/do"));
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void a_refused_op_is_answered_once(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    w->store_error = -ENOSPC;
    world_op(w, "a/2/do", "guest.kill",
             vm_args(VM1)); /* ends as it begins: its answer waits in the commit that fails */
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    w->store_error = 0;
    world_time(w, 6000);
    world_op(w, "a/3/do", "guest.kill", vm_args(VM1));
    assert_true(world_ok(w, "a/3/do"));
    assert_int_equal(world_replies(w, "a/2/do"), 1);
}

static void a_report_does_not_tell_of_a_refused_op(void **state) {
    struct world *w = *state;
    world_connect(w);
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    host_disconnected(w->h);
    world_forget_frames(w);
    world_connect(w); /* its report waits for the commit that begins the op */
    assert_int_equal(world_events(w, "report"), 0);
    w->store_error = -EIO;
    world_release(w);
    w->hold_commits = false;
    w->store_error = 0;
    world_time(w, 6000);
    const json_t *report = world_last_event(w, "report");
    assert_non_null(report);
    assert_int_equal(json_array_size(json_object_get(report, "guests")), 0);
}

static void answers_wait_for_the_store(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    w->store_error = -EIO;
    world_answer(w, API_AGENT_OP_GUEST_START, ERR_OK);
    assert_null(world_reply(w, "a/1/do"));
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    assert_null(world_reply(w, "a/1/do"));
    world_time(w, 20000);
    assert_null(world_reply(w, "a/1/do"));
    w->store_error = 0;
    world_time(w, 6000);
    assert_true(world_ok(w, "a/1/do"));
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
}

static void a_refused_stop_leaves_no_trace(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->store_error = -ENOSPC;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, true));
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_int_equal(w->n_calls[HOST_CALL_GUEST_SHUTDOWN], 0);
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    w->store_error = 0;
    world_time(w, 20000);
    assert_string_equal(world_state(w, VM1), "running");
    world_event(w, VM1, GUEST_DIED); /* still to be restarted */
    world_time(w, 1000);
    assert_string_equal(world_state(w, VM1), "running");
}

static void several_commits_fail_together(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    world_op(w, "a/2/do", "guest.start", start_args(VM2, "never"));
    world_op(w, "a/3/do", "disk.create", disk_args(DISK1));
    w->store_error = -ENOSPC;
    world_release(w);
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    assert_string_equal(world_code(w, "a/3/do"), "no-space");
    w->hold_commits = false;
    w->store_error = 0;
    world_time(w, 10000);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_KILL] + w->n_calls[API_AGENT_OP_DISK_CREATE], 0);
    assert_null(map_get(&w->store, "guest/" VM2));
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_reply_state(w, "a/1/do"), "stopped");
}

static void a_death_during_a_refused_kill_is_heard(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    world_event(w, VM1, GUEST_DIED);
    w->store_error = -EIO;
    world_release(w);
    w->hold_commits = false;
    w->store_error = 0;
    world_time(w, 10000);
    assert_string_equal(world_code(w, "a/1/do"), "io");
    assert_string_equal(world_state(w, VM1), "running"); /* once more: its policy has restarted it */
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 2);
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void deaths_during_a_failure_are_told_later(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->store_error = -ENOSPC;
    world_event(w, VM1, GUEST_DIED);
    assert_string_equal(world_state(w, VM1), "running");
    world_time(w, 30000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    w->store_error = 0;
    world_time(w, 10000);
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(world_process(w, VM1), RUNS);
}

static json_t *fence_args(const char *action, bool only_unseen) {
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "server", VM2, "fence", "agent", "fence_dummy", "action", action,
                     "only_unseen", only_unseen);
}

/* An order to switch a power that was under way when the agent ended is not carried out by the next one. */
static void orders_to_fence_are_for_now(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "j/1/do", "fence.run", fence_args("off", false));
    world_op(w, "j/2/do", "fence.run", fence_args("status", false));
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1); /* one after the other */
    world_restart(w);
    world_run(w);
    world_connect(w);
    world_op(w, "j/1/do", "fence.run", fence_args("off", false)); /* the manager asks again */
    assert_string_equal(world_code(w, "j/1/do"), "unavailable");
    w->hold_calls = false;
    world_op(w, "j/3/do", "fence.run", fence_args("off", true)); /* it is in no ring that could miss anybody */
    assert_string_equal(world_code(w, "j/3/do"), "conflict");
}

static void see(struct world *w, int64_t proof) {
    static const uint32_t members[] = {1, 2};
    struct host_cluster_facts f = {
        .incarnation = proof ? 7 : 0, .proof = proof, .ring_at = 1, .members = members, .n_members = proof ? 2 : 1};
    host_cluster_facts(w->h, &f);
    world_run(w);
}

/* One of two servers comes back from a loss of power: the other one may have its guest. */
static void not_restarted_where_another_may_have_it(void **state) {
    struct world *w = *state;
    json_t *start = start_args(VM1, "always");
    json_object_set_new(json_object_get(start, "vm"), "ha", json_pack("{s:b}", "enabled", 1));
    world_op(w, "c/1/do", "cluster.configure", pool_args(2));
    see(w, 5);
    world_op(w, "j/1/do", "guest.start", start);
    assert_true(world_ok(w, "j/1/do"));
    world_set_process(w, VM1, ABSENT);
    world_restart(w);
    world_run(w);
    world_connect(w);
    see(w, 0);
    world_time(w, 120000);
    see(w, 6); /* it sees the other one: that says nothing of the guest */
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    const json_t *told = json_array_get(json_object_get(world_last_event(w, "report"), "guests"), 0);
    assert_string_equal(json_str(told, "state"), "crashed");
    assert_true(json_bool(told, "lost", false)); /* the manager decides */
    start = start_args(VM1, "always");
    json_object_set_new(json_object_get(start, "vm"), "ha", json_pack("{s:b}", "enabled", 1));
    world_op(w, "j/2/do", "guest.start", start);
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void see_armed(struct world *w, bool armed, uint64_t incarnation) {
    static const uint32_t members[] = {1, 2, 3};
    struct host_cluster_facts f = {.armed = armed,
                                   .incarnation = incarnation,
                                   .proof = 5,
                                   .now = 125,
                                   .ring_at = 1,
                                   .members = members,
                                   .n_members = 3};
    host_cluster_facts(w->h, &f);
    world_run(w);
}

static void arm(struct world *w) {
    world_op(w, "c/1/do", "cluster.configure", pool_args(3));
    see_armed(w, false, 7);
    world_op(w, "c/2/do", "cluster.arm", json_pack("{s:b}", "armed", 1));
    see_armed(w, true, 7);
}

/* The order came before the server was in its pool, and is carried out once more after a boot. */
static void what_was_ordered_before_its_pool_is_watched(void **state) {
    struct world *w = *state;
    json_t *receive = receive_args(VM1);
    json_object_set_new(json_object_get(json_object_get(receive, "start"), "vm"), "ha",
                        json_pack("{s:b}", "enabled", 1));
    w->hold_calls = true;
    world_op(w, "j/1/do", "guest.receive", receive);
    assert_false(json_bool(world_last_event(w, "guest.state"), "guarded", true));
    world_op(w, "c/1/do", "cluster.configure", pool_args(2));
    world_answer(w, API_AGENT_OP_CLUSTER_CONFIGURE, 0);
    assert_true(json_bool(world_last_event(w, "guest.state"), "guarded", false));
    w->hold_calls = false;
    world_restart(w);
    world_run(w);
    world_connect(w);
    const json_t *told = json_array_get(json_object_get(world_last_event(w, "report"), "guests"), 0);
    assert_string_equal(json_str(told, "state"), "migrating");
    assert_true(json_bool(told, "guarded", false));
}

/* After a boot its tarn-deadman knows nothing: until it is armed again nobody would kill what is started. */
static void nothing_starts_until_it_is_armed_again(void **state) {
    struct world *w = *state;
    arm(w);
    assert_true(json_bool(world_last_event(w, "cluster.state"), "quorate", false));
    world_op(w, "check/1", "cluster.check", json_object());
    assert_int_equal(json_int(json_object_get(world_reply(w, "check/1"), "result"), "proof_age_ms", -1), 120);
    world_restart(w);
    world_run(w);
    see_armed(w, false, 8);
    world_connect(w);
    const json_t *told = json_object_get(world_last_event(w, "report"), "cluster");
    assert_false(json_bool(told, "quorate", true));
    assert_non_null(strstr(json_str(told, "reason"), "does not watch over its guests yet"));
    json_t *start = start_args(VM1, "always");
    json_object_set_new(json_object_get(start, "vm"), "ha", json_pack("{s:b}", "enabled", 1));
    json_t *again = json_deep_copy(start);
    world_op(w, "j/1/do", "guest.start", start);
    assert_string_equal(world_code(w, "j/1/do"), "unavailable");
    assert_int_equal(world_process(w, VM1), ABSENT);
    see_armed(w, true, 8);
    world_op(w, "j/2/do", "guest.start", json_incref(again)); /* a new lease: what lies in the old connection is void */
    assert_null(world_reply(w, "j/2/do"));
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_connect(w);
    world_op(w, "j/2/do", "guest.start", again);
    assert_true(world_ok(w, "j/2/do"));
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void back_after_a_boot(struct world *w) {
    world_set_process(w, VM1, ABSENT);
    world_restart(w);
    world_run(w);
}

/* While it was away the guest may have been started elsewhere, and the manager says so, if it is there. */
static void restarts_wait_for_the_managers_word(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    back_after_a_boot(w);
    world_time(w, 29000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 3000);
    assert_int_equal(world_process(w, VM1), RUNS); /* it is not there */
    back_after_a_boot(w);
    world_connect(w);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
    back_after_a_boot(w);
    world_time(w, 100);
    world_connect(w);
    host_disconnected(w->h); /* before it could say anything: it is gone again */
    world_run(w);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
    back_after_a_boot(w);
    host_disowned(w->h); /* it has removed this server */
    world_run(w);
    world_time(w, 3600000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_connect(w); /* joined again */
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

static json_t *ha(bool on) {
    return json_pack("{s:s, s:s, s:s, s:b}", "vm", VM1, "name", "n", "restart_policy", "on-failure", "ha", on);
}

/* What is not watched yet goes on without a lease: tarn-deadman is not told to watch it, and to kill it. */
static void not_watched_without_a_lease(void **state) {
    struct world *w = *state;
    arm(w);
    world_started(w, VM1, "on-failure");
    see_armed(w, true, 0);
    world_op(w, "j/1/do", "guest.policy", ha(true));
    assert_string_equal(world_code(w, "j/1/do"), "unavailable");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_POLICY], 0);
    see_armed(w, true, 8);
    world_connect(w);
    world_op(w, "j/2/do", "guest.policy", ha(true));
    assert_true(world_ok(w, "j/2/do"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_POLICY], 1);
    assert_true(json_bool(world_last_event(w, "guest.state"), "guarded", false));
    see_armed(w, true, 0); /* one that is watched stays so, and may be no longer */
    world_op(w, "j/3/do", "guest.policy", ha(true));
    assert_true(world_ok(w, "j/3/do"));
    world_op(w, "j/4/do", "guest.policy", ha(false));
    assert_true(world_ok(w, "j/4/do"));
    assert_false(json_bool(world_last_event(w, "guest.state"), "guarded", true));
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_full_store_refuses_ops_and_recovers),
        T(a_refused_op_is_answered_once),
        T(a_report_does_not_tell_of_a_refused_op),
        T(answers_wait_for_the_store),
        T(a_refused_stop_leaves_no_trace),
        T(several_commits_fail_together),
        T(a_death_during_a_refused_kill_is_heard),
        T(deaths_during_a_failure_are_told_later),
        T(orders_to_fence_are_for_now),
        T(not_restarted_where_another_may_have_it),
        T(what_was_ordered_before_its_pool_is_watched),
        T(nothing_starts_until_it_is_armed_again),
        T(not_watched_without_a_lease),
        T(restarts_wait_for_the_managers_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
