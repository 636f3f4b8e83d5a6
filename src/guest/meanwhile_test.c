/* SPDX-License-Identifier: Apache-2.0 */
/* What comes about while an op waits, while its first commit is on the way, or while the manager is not there. */
#include "guest/test_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What was received since hold_commits is refused. */
static void disk_is_full(struct world *w) {
    w->store_error = -ENOSPC;
    world_release(w);
    w->hold_commits = false;
    w->store_error = 0;
    world_time(w, 10000);
}

/* ---- ops that are refused together ---- */

static void stop_and_kill_refused_together(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, true));
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1)); /* passes it */
    disk_is_full(w);
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(world_process(w, VM1), RUNS);
    world_op(w, "a/3/do", "guest.start", start_args(VM1, "on-failure"));
    assert_true(world_ok(w, "a/3/do"));
    world_event(w, VM1, GUEST_DIED);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS); /* by its policy */
}

/* It ends while both are on their way. */
static void stop_and_kill_refused_of_one_that_dies(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, true));
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1));
    world_event(w, VM1, GUEST_DIED);
    disk_is_full(w);
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    assert_string_equal(world_state(w, VM1), "running"); /* once more */
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 2);
}

static void settings_refused_together(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.policy", json_pack("{ss ss}", "vm", VM1, "restart_policy", "never"));
    world_op(w, "a/2/do", "guest.limits", json_pack("{s:s, s:{}}", "vm", VM1, "limits"));
    disk_is_full(w);
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    world_event(w, VM1, GUEST_DIED);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* Both have changed its state. */
static void stop_and_start_refused_together(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    world_event(w, VM1, GUEST_PANICKED);
    assert_string_equal(world_state(w, VM1), "crashed");
    w->hold_commits = true;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, false));
    world_op(w, "a/2/do", "guest.start", start_args(VM1, "never"));
    disk_is_full(w);
    assert_string_equal(world_code(w, "a/1/do"), "no-space");
    assert_string_equal(world_code(w, "a/2/do"), "no-space");
    assert_string_equal(world_state(w, VM1), "crashed");
    assert_int_equal(world_process(w, VM1), ABSENT);
}

/* ---- the cluster ---- */

static void see(struct world *w, bool armed, uint64_t incarnation) {
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

static json_t *with_ha(json_t *start) {
    json_object_set_new(json_object_get(start, "vm"), "ha", json_pack("{s:b}", "enabled", 1));
    return start;
}

/* The op goes back to what was before it, and not to what was before the server came into its pool. */
static void a_guard_outlives_a_refused_op(void **state) {
    struct world *w = *state;
    world_op(w, "j/1/do", "guest.start", with_ha(start_args(VM1, "always")));
    w->hold_calls = true;
    world_op(w, "c/1/do", "cluster.configure", pool_args(3));
    w->hold_commits = true;
    world_op(w, "j/2/do", "guest.limits", json_pack("{s:s, s:{}}", "vm", VM1, "limits"));
    world_answer(w, API_AGENT_OP_CLUSTER_CONFIGURE, 0);
    w->hold_calls = false;
    disk_is_full(w);
    assert_string_equal(world_code(w, "j/2/do"), "no-space");
    assert_true(world_ok(w, "c/1/do"));
    assert_true(json_bool(world_last_event(w, "guest.state"), "guarded", false));
}

static void arm(struct world *w) {
    world_op(w, "c/1/do", "cluster.configure", pool_args(3));
    see(w, false, 7);
    world_op(w, "c/2/do", "cluster.arm", json_pack("{s:b}", "armed", 1));
    see(w, true, 7);
}

/* An op that begins only when what is left of the guest could be cleaned up. */
static void start_waits(struct world *w) {
    world_started(w, VM1, "never");
    w->fail_op = API_AGENT_OP_GUEST_KILL;
    w->fail_code = ERR_IO;
    world_event(w, VM1, GUEST_DIED);
    world_op(w, "j/1/do", "guest.start", with_ha(start_args(VM1, "never")));
    assert_null(world_reply(w, "j/1/do"));
}

static void a_repeat_brings_its_own_lease(void **state) {
    struct world *w = *state;
    arm(w);
    start_waits(w);
    see(w, true, 0);
    see(w, true, 8);
    world_connect(w);
    world_op(w, "j/1/do", "guest.start", with_ha(start_args(VM1, "never")));
    w->fail_op = -1;
    world_time(w, 5000);
    assert_true(world_ok(w, "j/1/do"));
}

static void without_a_repeat_it_has_lost_its_lease(void **state) {
    struct world *w = *state;
    arm(w);
    start_waits(w);
    see(w, true, 0);
    see(w, true, 8);
    world_connect(w);
    w->fail_op = -1;
    world_time(w, 5000);
    assert_string_equal(world_code(w, "j/1/do"), "unavailable");
}

static void a_start_that_waited_while_its_server_left(void **state) {
    struct world *w = *state;
    world_op(w, "c/1/do", "cluster.configure", pool_args(3));
    see(w, false, 7);
    start_waits(w);
    world_op(w, "c/3/do", "cluster.leave", json_object());
    assert_true(world_ok(w, "c/3/do"));
    w->fail_op = -1;
    world_time(w, 5000);
    assert_true(world_ok(w, "j/1/do"));
    assert_false(json_bool(world_last_event(w, "guest.state"), "guarded", true));
}

/* ---- ends that could not be cleaned up at once ---- */

static void an_end_while_stopping_is_remembered(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->fail_op = API_AGENT_OP_GUEST_KILL;
    w->fail_code = ERR_IO;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, false)); /* it powers itself off */
    assert_string_equal(world_code(w, "a/1/do"), "io");
    assert_string_equal(world_state(w, VM1), "stopped");
    w->fail_op = -1;
    world_time(w, 60000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1); /* a stop was asked for */
    world_op(w, "a/2/do", "guest.start", start_args(VM1, "always"));
    assert_true(world_ok(w, "a/2/do"));
}

static void an_end_while_it_is_killed_is_remembered(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, false));
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1));
    world_event(w, VM1, GUEST_DIED);
    world_answer(w, API_AGENT_OP_GUEST_KILL, ERR_IO);
    assert_string_equal(world_code(w, "a/2/do"), "io");
    w->hold_calls = false;
    world_answer(w, API_AGENT_OP_GUEST_KILL, 0); /* for the stop */
    assert_true(world_ok(w, "a/1/do"));
    world_time(w, 60000);
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void an_end_before_our_start_is_remembered(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->ignore_shutdown = true;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 500, false));
    world_set_process(w, VM1, OFF);
    w->fail_op = API_AGENT_OP_GUEST_KILL;
    w->fail_code = ERR_IO;
    world_restart(w);
    world_run(w);
    world_connect(w);
    const json_t *told = json_array_get(json_object_get(world_last_event(w, "report"), "guests"), 0);
    assert_string_equal(json_str(told, "state"), "stopped");
    w->fail_op = -1;
    world_time(w, 60000);
    assert_int_equal(world_process(w, VM1), ABSENT);
}

/* ---- what was there before our start, and runs since ---- */

/* Two servers that are not armed: only of what does not run after our start the manager decides. */
static void restarted_since_our_start(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    world_set_process(w, VM1, ABSENT);
    world_restart(w);
    world_run(w);
    world_connect(w);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS); /* by its policy */
    world_op(w, "c/1/do", "cluster.configure", pool_args(2));
    see(w, false, 7);
    world_op(w, "j/1/do", "guest.policy",
             json_pack("{s:s, s:s, s:s, s:b}", "vm", VM1, "name", "n", "restart_policy", "always", "ha", 1));
    assert_true(world_ok(w, "j/1/do"));
    world_event(w, VM1, GUEST_DIED);
    assert_false(json_bool(world_last_event(w, "guest.state"), "lost", true));
    world_time(w, 10000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void taken_over_since_our_start(void **state) {
    struct world *w = *state;
    world_op(w, "c/1/do", "cluster.configure", pool_args(2));
    see(w, false, 7);
    json_t *receive = receive_args(VM1);
    with_ha(json_object_get(receive, "start"));
    world_op(w, "j/1/do", "guest.receive", receive);
    assert_true(world_ok(w, "j/1/do"));
    world_restart(w);
    world_run(w);
    see(w, false, 7);
    world_connect(w);
    world_op(w, "j/2/do", "guest.activate", move_args(VM1));
    assert_true(world_ok(w, "j/2/do"));
    world_event(w, VM1, GUEST_DIED);
    assert_false(json_bool(world_last_event(w, "guest.state"), "lost", true));
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* The report waits for a slow disk, and the manager cannot say anything before it has it. */
static void the_managers_word_is_waited_for(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    world_set_process(w, VM1, ABSENT);
    world_restart(w);
    w->hold_commits = true;
    world_run(w);
    world_forget_frames(w);
    world_connect(w);
    world_time(w, 60000);
    assert_int_equal(world_events(w, "report"), 0);
    world_release(w);
    assert_int_equal(world_events(w, "report"), 1);
    w->hold_commits = false;
    world_time(w, 900);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 200);
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* The connection ends before it has left: as if there had been none. */
static void without_a_manager_it_is_restarted_at_last(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    world_set_process(w, VM1, ABSENT);
    world_restart(w);
    w->hold_commits = true;
    world_run(w);
    world_connect(w);
    world_time(w, 20000);
    host_disconnected(w->h);
    w->hold_commits = false;
    world_release(w);
    world_time(w, 29000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 2000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* ---- repositories ---- */

static json_t *repository_args(void) {
    return json_pack("{s:s, s:s, s:s}", "repository", REPO, "driver", "dir", "path", "/x");
}

static void repository_says(struct world *w, bool usable) {
    struct api_repository_report r;
    api_repository_report_init(&r);
    str_set(&r.repository, REPO);
    r.usable = usable;
    str_set(&r.reason, usable ? "" : "the file system is gone");
    host_repository_state(w->h, &r);
    api_repository_report_done(&r);
    world_run(w);
}

static void restarts_wait_for_the_repository(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open", repository_args());
    assert_true(world_ok(w, "r/1/do"));
    world_started(w, VM1, "always");
    world_set_process(w, VM1, ABSENT);
    w->fail_op = API_AGENT_OP_REPOSITORY_OPEN;
    w->fail_code = ERR_UNAVAILABLE;
    world_restart(w);
    world_run(w);
    world_connect(w);
    world_time(w, 3600000);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1); /* the one before */
    w->fail_op = -1;
    world_time(w, 31000);
    assert_int_equal(world_process(w, VM1), RUNS);
    world_event(w, VM1, GUEST_DIED);
    repository_says(w, false);
    world_time(w, 3600000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    repository_says(w, true);
    world_time(w, 100);
    assert_int_equal(world_process(w, VM1), RUNS);
    world_event(w, VM1, GUEST_DIED);
    repository_says(w, false);
    world_time(w, 10000);
    world_op(w, "r/2/do", "repository.close", repository_args());
    world_time(w, 100); /* that it is not there is for the start to say */
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 4);
}

static void restarts_wait_for_no_other_repository(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open", repository_args());
    json_t *start = start_args(VM1, "always");
    json_object_set_new(start, "disks", json_pack("[{s:s, s:s}]", "disk", DISK1, "repository", DISK2));
    world_op(w, "j/1/do", "guest.start", start);
    assert_true(world_ok(w, "j/1/do"));
    repository_says(w, false);
    world_event(w, VM1, GUEST_DIED);
    world_time(w, 5000);
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* What was told of it at once is newer than the report that waits for a slow disk. */
static void a_report_does_not_overtake(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open", repository_args());
    world_started(w, VM1, "never");
    w->hold_commits = true;
    world_event(w, VM1, GUEST_DIED);
    host_disconnected(w->h);
    world_forget_frames(w);
    world_connect(w);
    assert_null(world_last_event(w, "report"));
    repository_says(w, false);
    w->hold_commits = false;
    world_release(w);
    assert_int_equal(world_events(w, "report"), 1);
    const json_t *told = json_array_get(json_object_get(world_last_event(w, "report"), "repositories"), 0);
    assert_false(json_bool(told, "usable", true));
}

/* Its file system hangs while it is closed. */
static void not_opened_behind_its_closing(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open", repository_args());
    w->fail_op = API_AGENT_OP_REPOSITORY_OPEN;
    w->fail_code = ERR_UNAVAILABLE;
    world_restart(w);
    world_run(w);
    world_connect(w);
    w->hold_calls = true;
    world_op(w, "r/2/do", "repository.close", repository_args());
    world_time(w, 100000);
    assert_int_equal(w->n_calls[API_AGENT_OP_REPOSITORY_OPEN], 2);
    world_answer(w, API_AGENT_OP_REPOSITORY_CLOSE, ERR_TIMEOUT);
    w->hold_calls = false;
    world_time(w, 31000); /* it is still to be open */
    assert_int_equal(w->n_calls[API_AGENT_OP_REPOSITORY_OPEN], 3);
    world_op(w, "r/3/do", "repository.close", repository_args());
    assert_true(world_ok(w, "r/3/do"));
    world_time(w, 100000);
    assert_int_equal(w->n_calls[API_AGENT_OP_REPOSITORY_OPEN], 3);
}

/* Sent, and it takes a while after our start to see that it is gone. */
static void a_move_settled_while_it_is_looked_for(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    world_op(w, "m1/1/do", "guest.send", move_args(VM1));
    assert_true(world_ok(w, "m1/1/do"));
    world_set_process(w, VM1, ABSENT);
    w->fail_op = HOST_CALL_GUEST_FIND;
    w->fail_code = ERR_IO;
    world_restart(w);
    world_run(w);
    world_connect(w);
    assert_non_null(world_last_event(w, "report"));
    world_op(w, "forget/m1", "op.forget", json_pack("{s:s}", "job", "m1"));
    w->fail_op = -1;
    world_time(w, 60000);
    assert_int_equal(world_process(w, VM1), ABSENT); /* it may run elsewhere */
    assert_string_equal(world_state(w, VM1), "crashed");
    world_op(w, "j/2/do", "guest.start", start_args(VM1, "always"));
    assert_true(world_ok(w, "j/2/do"));
}

/* ---- orders to switch a power ---- */

static json_t *fence_args(void) {
    return json_pack("{s:s, s:{s:s}, s:s}", "server", VM2, "fence", "agent", "fence_dummy", "action", "off");
}

/* As many as may be at once, and none of them ends. */
static void storage_hangs(struct world *w) {
    w->hold_calls = true;
    for (int i = 0; i < 9; i++) {
        char disk[40], id[40];
        snprintf(disk, sizeof disk, "01900000-0000-7000-8000-00000000%04d", 1000 + i);
        snprintf(id, sizeof id, "d%d/1/do", i);
        world_op(w, id, "disk.create", disk_args(disk));
    }
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 8);
}

static void only_storage_waits_behind_storage(void **state) {
    struct world *w = *state;
    storage_hangs(w);
    world_op(w, "f/1/do", "fence.run", fence_args());
    world_op(w, "c/1/do", "cluster.configure", pool_args(3));
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1);
    assert_int_equal(w->n_calls[API_AGENT_OP_CLUSTER_CONFIGURE], 1);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
    world_answer(w, API_AGENT_OP_FENCE_RUN, 0); /* and leaves no place to a ninth */
    world_answer(w, API_AGENT_OP_CLUSTER_CONFIGURE, 0);
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 8);
    world_answer(w, API_AGENT_OP_DISK_CREATE, 0);
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 9);
}

/* The manager's job has failed when it lost the one that was to switch the power. */
static void an_order_ends_with_the_connection(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "f/1/do", "fence.run", fence_args());
    world_op(w, "f/2/do", "fence.run", fence_args()); /* waits for it */
    host_disconnected(w->h);
    world_run(w);
    world_time(w, 600000);
    world_connect(w);
    world_answer(w, API_AGENT_OP_FENCE_RUN, 0);
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1);
    world_op(w, "f/2/do", "fence.run", fence_args());
    assert_string_equal(world_code(w, "f/2/do"), "unavailable");
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1);
}

static void an_order_ends_with_its_job(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "f/1/do", "fence.run", fence_args());
    world_op(w, "g/1/do", "fence.run", fence_args());
    world_op(w, "forget/g", "op.forget", json_pack("{s:s}", "job", "g"));
    assert_string_equal(world_code(w, "g/1/do"), "unavailable");
    world_answer(w, API_AGENT_OP_FENCE_RUN, 0);
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1);
    assert_null(map_get(&w->store, "op/g/1/do"));
}

/* Its store takes nothing: nobody is answered, and nothing is done. */
static void an_order_ends_on_a_full_disk(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "f/1/do", "fence.run", fence_args());
    world_op(w, "f/2/do", "fence.run", fence_args());
    w->store_error = -ENOSPC;
    world_op(w, "d/1/do", "disk.create", disk_args(DISK1));
    host_disconnected(w->h);
    world_run(w);
    w->store_error = 0;
    world_time(w, 10000);
    world_connect(w);
    world_answer(w, API_AGENT_OP_FENCE_RUN, 0);
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 1);
}

/* The manager has asked for its end, and it had ended while the agent was away. */
static void one_that_was_killed_and_found_ended_does_not_run(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    world_set_process(w, VM1, ABSENT);
    w->hold_calls = false;
    w->fail_op = API_AGENT_OP_GUEST_KILL;
    w->fail_code = ERR_IO;
    world_restart(w);
    world_run(w);
    world_connect(w);
    w->fail_op = -1;
    world_time(w, 600000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_restart(w);
    world_run(w);
    world_connect(w);
    world_time(w, 100000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_op(w, "a/3/do", "guest.start", start_args(VM1, "always"));
    assert_int_equal(world_process(w, VM1), RUNS);
}

/* It has begun, and its call waits for the disk. */
static void a_fence_order_that_waits_for_the_disk_is_for_now(void **state) {
    struct world *w = *state;
    w->hold_commits = true;
    world_op(w, "f/1/do", "fence.run", fence_args());
    world_op(w, "g/1/do", "fence.run", fence_args());
    world_op(w, "forget/g", "op.forget", json_pack("{s:s}", "job", "g"));
    host_disconnected(w->h);
    world_run(w);
    world_time(w, 600000);
    w->hold_commits = false;
    world_release(w);
    assert_int_equal(w->n_calls[API_AGENT_OP_FENCE_RUN], 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(stop_and_kill_refused_together),
        T(stop_and_kill_refused_of_one_that_dies),
        T(settings_refused_together),
        T(stop_and_start_refused_together),
        T(a_guard_outlives_a_refused_op),
        T(a_repeat_brings_its_own_lease),
        T(without_a_repeat_it_has_lost_its_lease),
        T(a_start_that_waited_while_its_server_left),
        T(an_end_while_stopping_is_remembered),
        T(an_end_while_it_is_killed_is_remembered),
        T(an_end_before_our_start_is_remembered),
        T(restarted_since_our_start),
        T(taken_over_since_our_start),
        T(the_managers_word_is_waited_for),
        T(without_a_manager_it_is_restarted_at_last),
        T(restarts_wait_for_the_repository),
        T(restarts_wait_for_no_other_repository),
        T(a_report_does_not_overtake),
        T(not_opened_behind_its_closing),
        T(a_move_settled_while_it_is_looked_for),
        T(only_storage_waits_behind_storage),
        T(an_order_ends_with_the_connection),
        T(an_order_ends_with_its_job),
        T(one_that_was_killed_and_found_ended_does_not_run),
        T(a_fence_order_that_waits_for_the_disk_is_for_now),
        T(an_order_ends_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
