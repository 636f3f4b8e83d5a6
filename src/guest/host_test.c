/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/test_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- once ---- */

static void start_is_two_commits_and_answers(void **state) {
    struct world *w = *state;
    size_t before = w->n_commits;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_true(world_ok(w, "j/1/do"));
    assert_string_equal(world_reply_state(w, "j/1/do"), "running");
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(w->n_commits - before, 2);
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void repeats_get_the_first_answer(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
    assert_null(world_reply(w, "j/1/do"));
    world_answer(w, API_AGENT_OP_GUEST_START, ERR_OK);
    assert_int_equal(world_replies(w, "j/1/do"), 1);
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(world_replies(w, "j/1/do"), 2);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
    world_restart(w);
    world_run(w);
    world_connect(w);
    const json_t *report = world_last_event(w, "report");
    assert_string_equal(json_string_value(json_array_get(json_object_get(report, "done"), 0)), "j/1/do");
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(world_replies(w, "j/1/do"), 3);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
}

static void failures_are_remembered_too(void **state) {
    struct world *w = *state;
    w->fail_op = API_AGENT_OP_GUEST_START;
    w->fail_code = ERR_GUEST;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "always"));
    assert_string_equal(world_code(w, "j/1/do"), "guest");
    assert_string_equal(world_state(w, VM1), "stopped");
    w->fail_op = -1;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "always"));
    assert_string_equal(world_code(w, "j/1/do"), "guest");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT); /* the policy is for guests that ran */
}

static void nothing_leaves_before_it_is_durable(void **state) {
    struct world *w = *state;
    w->hold_commits = true;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 0);
    assert_string_equal(world_state(w, VM1), "");
    world_release(w);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
    assert_string_equal(world_state(w, VM1), "starting");
    assert_null(world_reply(w, "j/1/do"));
    world_release(w);
    assert_true(world_ok(w, "j/1/do"));
}

static void forget_drops_the_answers(void **state) {
    struct world *w = *state;
    world_op(w, "j/1/do", "guest.start", start_args(VM1, "never"));
    world_op(w, "jj/1/do", "guest.suspend", vm_args(VM1));
    world_op(w, "f", "op.forget", json_pack("{ss}", "job", "j"));
    assert_true(world_ok(w, "f"));
    assert_null(map_get(&w->store, "op/j/1/do"));
    assert_non_null(map_get(&w->store, "op/jj/1/do"));
    w->hold_calls = true;
    world_op(w, "k/1/do", "guest.resume", vm_args(VM1));
    world_op(w, "f", "op.forget", json_pack("{ss}", "job", "k"));
    world_answer(w, API_AGENT_OP_GUEST_RESUME, ERR_OK);
    assert_true(world_ok(w, "k/1/do"));
    assert_null(map_get(&w->store, "op/k/1/do"));
}

static void malformed_messages_are_answered_or_dropped(void **state) {
    struct world *w = *state;
    static const char *const messages[] = {
        "[]",
        "3",
        "\"x\"",
        "null",
        "{}",
        "{\"id\":\"a\"}",
        "{\"op\":\"guest.start\"}",
        "{\"id\":5,\"op\":\"guest.start\"}",
        "{\"event\":\"report\"}",
        "{\"event\":7}",
    };
    size_t before = w->n_commits;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        world_send(w, json_loads(messages[i], JSON_DECODE_ANY, NULL));
    static const char *const answered[] = {
        "{\"id\":\"a\",\"op\":\"no.such\"}",
        "{\"id\":\"a\",\"op\":5}",
        "{\"id\":\"a\",\"op\":\"guest.start\"}",
        "{\"id\":\"a\",\"op\":\"guest.start\",\"args\":[]}",
        "{\"id\":\"a\",\"op\":\"guest.start\",\"args\":{\"vm\":7}}",
        "{\"id\":\"a\",\"op\":\"guest.start\",\"args\":{\"vm\":{\"id\":\"../../etc\"}}}",
        "{\"id\":\"a\",\"op\":\"guest.kill\",\"args\":{\"vm\":\"x\"}}",
        "{\"id\":\"a\",\"op\":\"disk.create\",\"args\":{\"repository\":\"" REPO "\",\"disk\":\"/etc/passwd\"}}",
        "{\"id\":\"a\",\"op\":\"disk.create\",\"args\":{\"repository\":\"" REPO "\",\"disk\":\"" DISK1
        "\",\"size\":\"x\"}}",
        "{\"id\":\"a b\",\"op\":\"guest.kill\",\"args\":{\"vm\":\"" VM1 "\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(answered); i++) {
        json_t *m = json_loads(answered[i], 0, NULL);
        char *id = xstrdup(json_str(m, "id"));
        world_forget_frames(w);
        world_send(w, m);
        assert_int_equal(world_replies(w, id), 1);
        assert_false(world_ok(w, id));
        free(id);
    }
    assert_int_equal(w->n_commits, before);
}

/* ---- queues, cancel ---- */

static void one_op_at_a_time_on_a_guest(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    world_op(w, "b/1/do", "guest.suspend", vm_args(VM1));
    world_op(w, "c/1/do", "guest.start", start_args(VM2, "never"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 2);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_SUSPEND], 0);
    world_answer(w, API_AGENT_OP_GUEST_START, ERR_OK);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_SUSPEND], 1);
    world_answer(w, API_AGENT_OP_GUEST_SUSPEND, ERR_OK);
    assert_string_equal(world_reply_state(w, "b/1/do"), "suspended");
}

static void storage_ops_run_eight_at_once(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    for (int i = 0; i < 12; i++) {
        char id[40], disk[UUID_LEN + 1];
        snprintf(id, sizeof(id), "d%d/1/do", i);
        snprintf(disk, sizeof(disk), "01900000-0000-7000-8000-%012d", i);
        world_op(w, id, "disk.create", disk_args(disk));
    }
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 8);
    for (int i = 0; i < 12; i++)
        world_answer(w, API_AGENT_OP_DISK_CREATE, ERR_OK);
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 12);
    assert_true(world_ok(w, "d11/1/do"));
}

static void storage_ops_on_one_object_keep_their_order(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "disk.create", disk_args(DISK1));
    world_op(w, "a/1/undo", "disk.delete", disk_args(DISK1));
    world_op(w, "b/1/do", "disk.create", disk_args(DISK2));
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 2);
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_DELETE], 0);
    world_answer(w, API_AGENT_OP_DISK_CREATE, ERR_OK);
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_DELETE], 1);
}

static void cancel_reaches_what_can_be_cancelled(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "disk.create", disk_args(DISK1));
    world_op(w, "b/1/do", "disk.create", disk_args(DISK1)); /* waits */
    world_op(w, "x", "op.cancel", json_pack("{ss}", "op", "b/1/do"));
    assert_string_equal(world_code(w, "b/1/do"), "cancelled");
    world_op(w, "x", "op.cancel", json_pack("{ss}", "op", "a/1/do"));
    assert_int_equal(w->n_cancels, 1);
    assert_null(world_reply(w, "a/1/do"));
    world_answer(w, API_AGENT_OP_DISK_CREATE, ERR_CANCELLED);
    assert_string_equal(world_code(w, "a/1/do"), "cancelled");
    world_op(w, "x", "op.cancel", json_pack("{ss}", "op", "nobody/1/do"));
    assert_true(world_ok(w, "x"));
    world_op(w, "b/1/do", "disk.create", disk_args(DISK1));
    assert_string_equal(world_code(w, "b/1/do"), "cancelled");
}

static void cancel_before_the_call_has_left(void **state) {
    struct world *w = *state;
    w->hold_commits = true;
    world_op(w, "a/1/do", "disk.create", disk_args(DISK1));
    world_op(w, "x", "op.cancel", json_pack("{ss}", "op", "a/1/do"));
    w->hold_commits = false;
    world_release(w);
    assert_string_equal(world_code(w, "a/1/do"), "cancelled");
    assert_int_equal(w->n_calls[API_AGENT_OP_DISK_CREATE], 0);
}

static void progress_is_told(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "disk.create", disk_args(DISK1));
    struct pending_call *c = list_first(&w->calls, struct pending_call, link);
    host_call_progress(w->h, c->call, 40, "copying");
    host_call_progress(w->h, c->call, 41, "copying");
    host_call_progress(w->h, 999, 50, "nothing");
    world_run(w);
    assert_int_equal(world_events(w, "op.progress"), 1);
    assert_int_equal(json_int(world_last_event(w, "op.progress"), "percent", 0), 40);
    assert_string_equal(json_str(world_last_event(w, "op.progress"), "op"), "a/1/do");
}

/* ---- stop and kill ---- */

static void stop_asks_and_waits(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    size_t before = w->n_commits;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 60, false));
    assert_string_equal(world_reply_state(w, "s/1/do"), "stopped");
    assert_int_equal(w->n_commits - before, 2);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT); /* asked for: no restart */
}

static void stop_times_out_and_leaves_it_running(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 35, false));
    assert_string_equal(world_state(w, VM1), "stopping");
    world_time(w, 34000);
    assert_int_equal(w->n_calls[HOST_CALL_GUEST_SHUTDOWN], 4);
    assert_null(world_reply(w, "s/1/do"));
    world_time(w, 2000);
    assert_string_equal(world_code(w, "s/1/do"), "timeout");
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(world_process(w, VM1), RUNS);
    world_event(w, VM1, GUEST_DIED);
    assert_string_equal(world_state(w, VM1), "crashed");
}

static void stop_with_force_kills(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 5, true));
    world_time(w, 6000);
    assert_string_equal(world_reply_state(w, "s/1/do"), "stopped");
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void kill_passes_a_waiting_stop(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 500, false));
    world_op(w, "p/1/do", "guest.suspend", vm_args(VM1));
    world_op(w, "k/1/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_reply_state(w, "k/1/do"), "stopped");
    assert_string_equal(world_reply_state(w, "s/1/do"), "stopped");
    assert_string_equal(world_code(w, "p/1/do"), "conflict");
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void a_kill_that_fails_leaves_the_stop_waiting(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 20, false));
    w->fail_op = API_AGENT_OP_GUEST_KILL;
    w->fail_code = ERR_GUEST;
    world_op(w, "k/1/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_code(w, "k/1/do"), "guest");
    assert_null(world_reply(w, "s/1/do"));
    world_time(w, 21000);
    assert_string_equal(world_code(w, "s/1/do"), "timeout");
    world_op(w, "k/2/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_code(w, "k/2/do"), "guest");
    assert_string_equal(world_state(w, VM1), "running");
}

static void stop_can_be_cancelled(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 500, false));
    world_op(w, "x", "op.cancel", json_pack("{ss}", "op", "s/1/do"));
    assert_string_equal(world_code(w, "s/1/do"), "cancelled");
    assert_string_equal(world_state(w, VM1), "running");
}

static void death_while_stopping_is_a_crash(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->ignore_shutdown = true;
    world_op(w, "s/1/do", "guest.stop", stop_args(VM1, 500, false));
    world_event(w, VM1, GUEST_DIED);
    assert_string_equal(world_reply_state(w, "s/1/do"), "crashed");
    assert_string_equal(world_state(w, VM1), "crashed");
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void death_while_being_killed_is_not(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    w->hold_calls = true;
    world_op(w, "k/1/do", "guest.kill", vm_args(VM1));
    world_event(w, VM1, GUEST_DIED);
    world_answer(w, API_AGENT_OP_GUEST_KILL, ERR_OK);
    assert_string_equal(world_reply_state(w, "k/1/do"), "stopped");
}

static void stop_and_kill_of_what_does_not_run(void **state) {
    struct world *w = *state;
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, false));
    assert_string_equal(world_reply_state(w, "a/1/do"), "stopped");
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1));
    assert_string_equal(world_reply_state(w, "a/2/do"), "stopped");
    world_op(w, "a/3/do", "guest.resume", vm_args(VM1));
    assert_string_equal(world_code(w, "a/3/do"), "conflict");
    world_op(w, "a/4/do", "guest.policy", json_pack("{ss ss}", "vm", VM1, "name", "x"));
    assert_true(world_ok(w, "a/4/do"));
    world_op(w, "a/5/do", "guest.forget", vm_args(VM1));
    assert_true(world_ok(w, "a/5/do"));
    size_t n = 0;
    const char *key;
    void *value;
    while (map_next(&w->store, &n, &key, &value))
        assert_true(strncmp(key, "guest/", 6) != 0);
}

static const char *next_cd(struct world *w) {
    static char iso[64];
    char key[64];
    snprintf(key, sizeof key, "guest/%s", VM1);
    _cleanup_json_ json_t *record = json_loads(map_get(&w->store, key), 0, NULL);
    const json_t *kept = json_object_get(record, "start");
    _cleanup_json_ json_t *start =
        json_is_string(kept) ? json_loads(json_string_value(kept), 0, NULL) : json_deep_copy(kept);
    snprintf(iso, sizeof iso, "%s", json_str(json_array_get(json_object_get(start, "disks"), 0), "iso"));
    return iso;
}

static void cd_drives(void **state) {
    struct world *w = *state;
    json_t *args = start_args(VM1, "always");
    json_object_set_new(args, "disks", json_pack("[{s:b, s:s, s:s}]", "cdrom", 1, "iso", "one", "repository", "r"));
    world_op(w, "a/1/do", "guest.start", args);
    assert_string_equal(next_cd(w), "one");
    world_op(w, "a/2/do", "guest.cdrom",
             json_pack("{ss si ss ss}", "vm", VM1, "index", 0, "iso", "two", "repository", "r"));
    assert_string_equal(world_reply_state(w, "a/2/do"), "running");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_CDROM], 1);
    assert_string_equal(next_cd(w), "two");
    /* Refused by the driver: the next start has what is in it now. */
    w->fail_op = API_AGENT_OP_GUEST_CDROM;
    w->fail_code = ERR_IO;
    world_op(w, "a/3/do", "guest.cdrom", json_pack("{ss si ss}", "vm", VM1, "index", 0, "iso", ""));
    assert_string_equal(world_code(w, "a/3/do"), "io");
    assert_string_equal(next_cd(w), "two");
    /* While it does not run nobody is asked, and a drive that is none does not matter. */
    world_op(w, "a/4/do", "guest.kill", vm_args(VM1));
    world_op(w, "a/5/do", "guest.cdrom", json_pack("{ss si ss}", "vm", VM1, "index", 0, "iso", ""));
    assert_true(world_ok(w, "a/5/do"));
    assert_string_equal(next_cd(w), "");
    world_op(w, "a/6/do", "guest.cdrom", json_pack("{ss si ss}", "vm", VM1, "index", 7, "iso", "three"));
    assert_true(world_ok(w, "a/6/do"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_CDROM], 2);
    world_op(w, "a/7/do", "guest.cdrom", json_pack("{ss si ss}", "vm", VM2, "index", 0, "iso", "x"));
    assert_true(world_ok(w, "a/7/do"));
}

static void suspended_guests(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    world_op(w, "a/1/do", "guest.suspend", vm_args(VM1));
    world_op(w, "a/2/do", "guest.suspend", vm_args(VM1));
    assert_string_equal(world_reply_state(w, "a/2/do"), "suspended");
    world_op(w, "a/3/do", "guest.start", start_args(VM1, "never"));
    assert_string_equal(world_code(w, "a/3/do"), "conflict");
    world_op(w, "a/4/do", "guest.stop", stop_args(VM1, 60, false));
    assert_string_equal(world_code(w, "a/4/do"), "conflict");
    world_op(w, "a/5/do", "guest.resume", vm_args(VM1));
    assert_string_equal(world_reply_state(w, "a/5/do"), "running");
    world_event(w, VM1, GUEST_PAUSED);
    assert_string_equal(world_state(w, VM1), "suspended");
    world_op(w, "a/6/do", "guest.stop", stop_args(VM1, 60, true));
    assert_string_equal(world_reply_state(w, "a/6/do"), "stopped");
}

static void forget_removes_the_record(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    world_op(w, "a/1/do", "guest.forget", vm_args(VM1));
    assert_string_equal(world_code(w, "a/1/do"), "conflict");
    world_op(w, "a/2/do", "guest.kill", vm_args(VM1));
    world_op(w, "a/3/do", "guest.forget", vm_args(VM1));
    assert_true(world_ok(w, "a/3/do"));
    assert_null(map_get(&w->store, "guest/" VM1));
}

/* ---- what guests do themselves, and the restart policy ---- */

static void poweroff_inside(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    world_event(w, VM1, GUEST_POWEROFF);
    assert_string_equal(world_state(w, VM1), "stopped");
    assert_int_equal(world_process(w, VM1), ABSENT); /* cleaned up */
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_started(w, VM1, "always");
    world_event(w, VM1, GUEST_POWEROFF);
    assert_string_equal(world_state(w, VM1), "stopped");
    world_time(w, 1000);
    assert_string_equal(world_state(w, VM1), "running");
}

static void panic_and_death_obey_the_policy(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    world_event(w, VM1, GUEST_PANICKED);
    assert_string_equal(world_state(w, VM1), "crashed");
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_started(w, VM1, "on-failure");
    world_event(w, VM1, GUEST_DIED);
    assert_string_equal(world_state(w, VM1), "crashed");
    world_time(w, 900);
    assert_string_equal(world_state(w, VM1), "crashed");
    world_time(w, 200);
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(json_int(world_last_event(w, "guest.state"), "restarts", 0), 1);
}

static void restarts_back_off_and_end(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    for (int i = 0; i < 5; i++) {
        world_event(w, VM1, GUEST_DIED);
        world_time(w, (1000 << i) - 1);
        assert_string_equal(world_state(w, VM1), "crashed");
        world_time(w, 1);
        assert_string_equal(world_state(w, VM1), "running");
    }
    world_event(w, VM1, GUEST_DIED);
    assert_non_null(strstr(json_str(world_last_event(w, "guest.state"), "reason"), "not restarted any more"));
    world_time(w, 3600000);
    assert_string_equal(world_state(w, VM1), "crashed");
    world_started(w, VM1, "on-failure"); /* by hand: counts anew */
    assert_int_equal(json_int(world_last_event(w, "guest.state"), "restarts", 9), 0);
    world_event(w, VM1, GUEST_DIED);
    world_time(w, 1000);
    assert_string_equal(world_state(w, VM1), "running");
}

static void restarts_that_fail_count(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    w->fail_op = API_AGENT_OP_GUEST_START;
    w->fail_code = ERR_IO;
    world_event(w, VM1, GUEST_DIED);
    world_time(w, 3600000);
    assert_string_equal(world_state(w, VM1), "crashed");
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 6);
}

static void old_restarts_do_not_count(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    for (int i = 0; i < 20; i++) {
        world_event(w, VM1, GUEST_DIED);
        world_time(w, 200000);
        assert_string_equal(world_state(w, VM1), "running");
    }
}

static void a_waiting_restart_can_be_called_off(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "always");
    world_event(w, VM1, GUEST_DIED);
    world_op(w, "a/1/do", "guest.stop", stop_args(VM1, 5, false));
    assert_string_equal(world_reply_state(w, "a/1/do"), "stopped");
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_started(w, VM1, "always");
    world_event(w, VM1, GUEST_DIED);
    world_op(w, "a/2/do", "guest.policy", json_pack("{ss ss}", "vm", VM1, "restart_policy", "never"));
    world_time(w, 120000);
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void a_waiting_restart_outlives_the_agent(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "on-failure");
    world_event(w, VM1, GUEST_DIED);
    world_restart(w);
    world_run(w);
    world_connect(w);
    world_time(w, 1000);
    assert_string_equal(world_state(w, VM1), "running");
    assert_int_equal(world_process(w, VM1), RUNS);
}

static void resets_are_told_but_not_each(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    size_t before = w->n_commits;
    for (int i = 0; i < 50; i++)
        world_event(w, VM1, GUEST_RESET);
    assert_int_equal(w->n_commits - before, 1);
    assert_string_equal(json_str(world_last_event(w, "guest.state"), "reason"), "the guest restarted itself");
}

static void an_end_during_the_start(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "on-failure"));
    world_event(w, VM1, GUEST_DIED);
    world_answer(w, API_AGENT_OP_GUEST_START, ERR_OK);
    assert_true(world_ok(w, "a/1/do"));
    assert_string_equal(world_state(w, VM1), "crashed");
}

static void sequence_grows(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    int64_t first = json_int(world_last_event(w, "guest.state"), "sequence", 0);
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    world_op(w, "a/2/do", "guest.forget", vm_args(VM1));
    world_time(w, 10);
    world_started(w, VM1, "never");
    assert_true(json_int(world_last_event(w, "guest.state"), "sequence", 0) > first);
}

/* ---- after a restart of the agent ---- */

static void restart_with(struct world *w, enum process p) {
    world_set_process(w, VM1, p);
    world_forget_frames(w);
    world_restart(w);
    world_run(w);
    world_connect(w);
}

static const char *reported(struct world *w) {
    const json_t *guests = json_object_get(world_last_event(w, "report"), "guests");
    return json_str(json_array_get(guests, 0), "state");
}

static void found_as_it_was(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    size_t before = w->n_commits;
    restart_with(w, RUNS);
    assert_string_equal(reported(w), "running");
    assert_int_equal(w->n_commits, before);
    restart_with(w, PAUSED);
    assert_string_equal(reported(w), "suspended");
    restart_with(w, RUNS);
    assert_string_equal(reported(w), "running");
}

static void found_gone_or_ended(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    restart_with(w, ABSENT);
    assert_string_equal(reported(w), "crashed");
    world_started(w, VM1, "never");
    restart_with(w, OFF);
    assert_string_equal(reported(w), "stopped");
    assert_int_equal(world_process(w, VM1), ABSENT);
    world_started(w, VM1, "on-failure");
    restart_with(w, PANICKED);
    assert_string_equal(reported(w), "crashed");
    world_time(w, 1000);
    assert_string_equal(world_state(w, VM1), "running");
    world_op(w, "a/1/do", "guest.kill", vm_args(VM1));
    restart_with(w, RUNS); /* not what our record says: it is taken as it is */
    assert_string_equal(reported(w), "running");
}

static void a_start_that_fails_leaves_nothing_that_runs(void **state) {
    struct world *w = *state;
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    w->hold_calls = false;
    w->fail_op = API_AGENT_OP_GUEST_START;
    w->fail_code = ERR_IO;
    restart_with(w, RUNS); /* the first try had started it; the second fails */
    w->fail_op = -1;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    assert_string_equal(world_code(w, "a/1/do"), "io");
    assert_int_equal(world_process(w, VM1), ABSENT);
}

static void find_that_fails_is_tried_again(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    w->fail_op = HOST_CALL_GUEST_FIND;
    w->fail_code = ERR_TIMEOUT;
    restart_with(w, RUNS);
    world_op(w, "a/1/do", "guest.suspend", vm_args(VM1));
    assert_null(world_reply(w, "a/1/do"));
    w->fail_op = -1;
    world_time(w, 1000);
    assert_true(world_ok(w, "a/1/do"));
}

static void repositories_are_opened_first(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open",
             json_pack("{ss ss ss}", "repository", REPO, "driver", "dir", "path", "/tmp/x"));
    assert_true(world_ok(w, "r/1/do"));
    w->hold_calls = true;
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    world_restart(w);
    world_run(w);
    world_connect(w);
    struct pending_call *c = list_first(&w->calls, struct pending_call, link);
    assert_int_equal(c->op, API_AGENT_OP_REPOSITORY_OPEN);
    assert_true(json_bool(c->args, "existing", false));
    assert_ptr_equal(c->link.next, &w->calls);
    world_answer(w, API_AGENT_OP_REPOSITORY_OPEN, ERR_OK);
    world_answer(w, API_AGENT_OP_GUEST_START, ERR_OK);
    assert_true(world_ok(w, "a/1/do"));
    const json_t *r = json_array_get(json_object_get(world_last_event(w, "report"), "repositories"), 0);
    assert_true(json_bool(r, "usable", false));
    world_op(w, "r/2/do", "repository.close", json_pack("{ss}", "repository", REPO));
    world_answer(w, API_AGENT_OP_REPOSITORY_CLOSE, ERR_OK);
    assert_null(map_get(&w->store, "repository/" REPO));
}

static void a_repository_that_hangs_does_not_stop_the_rest(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open",
             json_pack("{ss ss ss}", "repository", REPO, "driver", "dir", "path", "/tmp/x"));
    world_restart(w);
    w->hold_calls = true;
    world_run(w);
    world_op(w, "a/1/do", "guest.start", start_args(VM1, "never"));
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 0);
    world_time(w, 30000);
    assert_int_equal(w->n_calls[API_AGENT_OP_GUEST_START], 1);
}

static void a_repository_that_fails_is_tried_again(void **state) {
    struct world *w = *state;
    world_op(w, "r/1/do", "repository.open",
             json_pack("{ss ss ss}", "repository", REPO, "driver", "dir", "path", "/tmp/x"));
    w->fail_op = API_AGENT_OP_REPOSITORY_OPEN;
    w->fail_code = ERR_IO;
    world_restart(w);
    world_run(w);
    world_connect(w);
    const json_t *r = json_array_get(json_object_get(world_last_event(w, "report"), "repositories"), 0);
    assert_false(json_bool(r, "usable", true));
    w->fail_op = -1;
    world_time(w, 31000);
    assert_true(json_bool(world_last_event(w, "repository.state"), "usable", false));
}

/* ---- the manager ---- */

static void report_after_reconnecting(void **state) {
    struct world *w = *state;
    world_started(w, VM1, "never");
    host_disconnected(w->h);
    world_forget_frames(w);
    world_event(w, VM1, GUEST_DIED);
    assert_int_equal(world_events(w, "guest.state"), 0);
    w->hold_calls = true;
    world_op(w, "a/1/do", "disk.create", disk_args(DISK1));
    world_connect(w);
    const json_t *report = world_last_event(w, "report");
    assert_string_equal(reported(w), "crashed");
    assert_string_equal(json_string_value(json_array_get(json_object_get(report, "active"), 0)), "a/1/do");
    assert_int_equal(json_array_size(json_object_get(report, "done")), 1);
}

static void channels(void **state) {
    struct world *w = *state;
    world_op(w, "c/1", "channel.open", json_pack("{ss ss ss}", "channel", "00", "type", "serial", "vm", VM1));
    assert_string_equal(world_code(w, "c/1"), "conflict");
    world_started(w, VM1, "never");
    world_op(w, "c/2", "channel.open", json_pack("{ss ss ss}", "channel", "00", "type", "serial", "vm", VM1));
    assert_true(world_ok(w, "c/2"));
    assert_int_equal(w->n_channels, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(start_is_two_commits_and_answers),
        T(repeats_get_the_first_answer),
        T(failures_are_remembered_too),
        T(nothing_leaves_before_it_is_durable),
        T(forget_drops_the_answers),
        T(malformed_messages_are_answered_or_dropped),
        T(one_op_at_a_time_on_a_guest),
        T(storage_ops_run_eight_at_once),
        T(storage_ops_on_one_object_keep_their_order),
        T(cancel_reaches_what_can_be_cancelled),
        T(cancel_before_the_call_has_left),
        T(progress_is_told),
        T(stop_asks_and_waits),
        T(stop_times_out_and_leaves_it_running),
        T(stop_with_force_kills),
        T(kill_passes_a_waiting_stop),
        T(a_kill_that_fails_leaves_the_stop_waiting),
        T(stop_can_be_cancelled),
        T(death_while_stopping_is_a_crash),
        T(death_while_being_killed_is_not),
        T(stop_and_kill_of_what_does_not_run),
        T(cd_drives),
        T(suspended_guests),
        T(forget_removes_the_record),
        T(poweroff_inside),
        T(panic_and_death_obey_the_policy),
        T(restarts_back_off_and_end),
        T(restarts_that_fail_count),
        T(old_restarts_do_not_count),
        T(a_waiting_restart_can_be_called_off),
        T(a_waiting_restart_outlives_the_agent),
        T(resets_are_told_but_not_each),
        T(an_end_during_the_start),
        T(sequence_grows),
        T(found_as_it_was),
        T(found_gone_or_ended),
        T(a_start_that_fails_leaves_nothing_that_runs),
        T(find_that_fails_is_tried_again),
        T(repositories_are_opened_first),
        T(a_repository_that_hangs_does_not_stop_the_rest),
        T(a_repository_that_fails_is_tried_again),
        T(report_after_reconnecting),
        T(channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
