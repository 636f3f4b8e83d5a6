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

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(stop_and_kill_refused_together),
        T(stop_and_kill_refused_of_one_that_dies),
        T(settings_refused_together),
        T(stop_and_start_refused_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
