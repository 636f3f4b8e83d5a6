/* SPDX-License-Identifier: Apache-2.0 */
/* Live migration, one server's part: whose the guest is, whatever happens and whoever asks. */
#include "guest/test_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void up(struct world *w) {
    world_init(w);
    world_run(w);
    world_connect(w);
}

static void up_sent(struct world *w, const char *policy) {
    up(w);
    world_op(w, "p/1/do", "guest.start", start_args(VM1, policy));
    world_op(w, "p/2/do", "guest.send", move_args(VM1));
    assert_string_equal(world_state(w, VM1), "migrating");
}

static void up_received(struct world *w) {
    up(w);
    world_op(w, "p/1/do", "guest.receive", receive_args(VM1));
    assert_string_equal(world_state(w, VM1), "migrating");
}

static void again(struct world *w) {
    world_forget_frames(w);
    world_restart(w);
    world_run(w);
    world_connect(w);
}

static bool answered(struct world *w, const char *id) {
    const json_t *r = world_reply(w, id);
    assert_non_null(r);
    return json_bool(r, "ok", false);
}
static const char *code(struct world *w, const char *id) {
    return json_str(json_object_get(world_reply(w, id), "error"), "code");
}

static json_t *stop1(void) { return stop_args(VM1, 5, true); }
static json_t *start1(void) { return start_args(VM1, "never"); }
static json_t *vm1(void) { return vm_args(VM1); }

/* Neither side does anything with it but what the move asks for. */
static void nobody_starts_stops_or_resumes_it(void **state) {
    static const struct {
        const char *op;
        json_t *(*args)(void);
    } ops[] = {{"guest.start", start1}, {"guest.stop", stop1}, {"guest.suspend", vm1}, {"guest.resume", vm1}};
    for (int side = 0; side < 2; side++) {
        struct world w;
        if (side)
            up_received(&w);
        else
            up_sent(&w, "always");
        for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
            world_op(&w, "j/1/do", ops[i].op, ops[i].args());
            assert_false(answered(&w, "j/1/do"));
            assert_string_equal(code(&w, "j/1/do"), "conflict");
            world_op(&w, "f", "op.forget", json_pack("{ss}", "job", "j"));
            assert_int_equal(world_process(&w, VM1), PAUSED);
        }
        again(&w);
        world_time(&w, 120000);
        assert_int_equal(world_process(&w, VM1), PAUSED);
        world_done(&w);
    }
}

/* Its restart policy is the other server's to follow now. */
static void what_was_sent_is_not_restarted(void **state) {
    struct world w;
    up_sent(&w, "always");
    world_set_process(&w, VM1, ABSENT);
    world_event(&w, VM1, GUEST_DIED);
    world_time(&w, 120000);
    assert_int_equal(world_process(&w, VM1), ABSENT);
    again(&w);
    world_time(&w, 120000);
    assert_int_equal(world_process(&w, VM1), ABSENT);
    world_op(&w, "j/1/do", "guest.release", move_args(VM1));
    assert_true(answered(&w, "j/1/do"));
    assert_null(map_get(&w.store, "guest/" VM1));
    world_done(&w);
}

/* The move is taken back, and the guest has died meanwhile: it was this server's after all. */
static void what_died_and_comes_back_follows_its_policy(void **state) {
    struct world w;
    up_sent(&w, "on-failure");
    world_set_process(&w, VM1, ABSENT);
    world_event(&w, VM1, GUEST_DIED);
    world_op(&w, "j/1/do", "guest.unsend", move_args(VM1));
    assert_true(answered(&w, "j/1/do"));
    world_time(&w, 10000);
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_done(&w);
}

/* The store does not take that it is taken back: it is the other server's still, for all that is recorded. */
static void what_could_not_be_taken_back_is_not_restarted(void **state) {
    struct world w;
    up_sent(&w, "on-failure");
    world_set_process(&w, VM1, ABSENT);
    world_event(&w, VM1, GUEST_DIED);
    w.store_error = -ENOSPC;
    world_op(&w, "j/1/do", "guest.unsend", move_args(VM1));
    assert_string_equal(code(&w, "j/1/do"), "no-space");
    w.store_error = 0;
    world_time(&w, 120000);
    assert_int_equal(world_process(&w, VM1), ABSENT);
    world_op(&w, "j/2/do", "guest.unsend", move_args(VM1));
    assert_true(answered(&w, "j/2/do"));
    world_time(&w, 10000);
    assert_int_equal(world_process(&w, VM1), RUNS);
    assert_string_equal(world_state(&w, VM1), "running");
    world_done(&w);
}

/* This server was given up, and the move settled without it: nobody will say whose the guest is now. */
static void what_was_sent_and_nobody_asks_about(void **state) {
    struct world w;
    up_sent(&w, "always");
    world_set_process(&w, VM1, ABSENT);
    again(&w);
    world_op(&w, "f", "op.forget", json_pack("{ss}", "job", "m1"));
    world_time(&w, 120000);
    assert_int_equal(world_process(&w, VM1), ABSENT);
    assert_false(json_bool(world_last_event(&w, "guest.state"), "should_run", true));
    world_op(&w, "j/1/do", "guest.start", start_args(VM1, "always"));
    assert_true(answered(&w, "j/1/do"));
    world_done(&w);
}

static void a_send_that_fails_changes_nothing(void **state) {
    struct world w;
    up(&w);
    world_op(&w, "p/1/do", "guest.start", start_args(VM1, "never"));
    w.fail_op = API_AGENT_OP_GUEST_SEND;
    w.fail_code = ERR_GUEST;
    world_op(&w, "j/1/do", "guest.send", move_args(VM1));
    assert_false(answered(&w, "j/1/do"));
    assert_string_equal(world_state(&w, VM1), "running");
    w.fail_op = -1;
    world_op(&w, "j/1/undo", "guest.unsend", move_args(VM1));
    assert_true(answered(&w, "j/1/undo"));
    world_op(&w, "j/2/do", "guest.suspend", vm_args(VM1));
    assert_true(answered(&w, "j/2/do"));
    world_done(&w);
}

static void a_send_is_cancelled(void **state) {
    struct world w;
    up(&w);
    world_op(&w, "p/1/do", "guest.start", start_args(VM1, "never"));
    w.hold_calls = true;
    world_op(&w, "j/1/do", "guest.send", move_args(VM1));
    world_op(&w, "c", "op.cancel", json_pack("{ss}", "op", "j/1/do"));
    assert_int_equal(w.n_cancels, 1);
    world_answer(&w, API_AGENT_OP_GUEST_SEND, ERR_CANCELLED);
    assert_string_equal(code(&w, "j/1/do"), "cancelled");
    assert_string_equal(world_state(&w, VM1), "running");
    world_done(&w);
}

/* What the driver does to the guest while it sends is no news; what the guest does is. */
static void events_while_it_is_sent(void **state) {
    struct world w;
    up(&w);
    world_op(&w, "p/1/do", "guest.start", start_args(VM1, "never"));
    w.hold_calls = true;
    world_op(&w, "j/1/do", "guest.send", move_args(VM1));
    world_event(&w, VM1, GUEST_PAUSED);
    assert_string_equal(world_state(&w, VM1), "running");
    world_event(&w, VM1, GUEST_DIED);
    assert_string_equal(world_state(&w, VM1), "crashed");
    w.hold_calls = false;
    world_answer(&w, API_AGENT_OP_GUEST_KILL, ERR_OK);
    world_answer(&w, API_AGENT_OP_GUEST_SEND, ERR_OK);
    assert_string_equal(code(&w, "j/1/do"), "guest");
    world_done(&w);
}

/* Dead before it could run: said for certain, and said again after a crash. */
static void what_ended_before_it_ran_never_runs(void **state) {
    for (int found_late = 0; found_late < 2; found_late++) {
        struct world w;
        up_received(&w);
        world_set_process(&w, VM1, ABSENT);
        if (!found_late)
            world_event(&w, VM1, GUEST_DIED);
        again(&w);
        world_op(&w, "j/1/do", "guest.activate", move_args(VM1));
        assert_string_equal(code(&w, "j/1/do"), "conflict");
        world_time(&w, 120000);
        assert_int_equal(world_process(&w, VM1), ABSENT);
        world_op(&w, "j/2/do", "guest.drop", move_args(VM1));
        assert_true(answered(&w, "j/2/do"));
        assert_null(map_get(&w.store, "guest/" VM1));
        world_done(&w);
    }
}

static void up_refused(struct world *w, enum error_code how) {
    up_received(w);
    w->fail_op = API_AGENT_OP_GUEST_ACTIVATE;
    w->fail_code = how;
    world_op(w, "j/1/do", "guest.activate", move_args(VM1));
    w->fail_op = -1;
}

/* The driver is certain: it has not run. */
static void a_refused_activation_can_be_dropped(void **state) {
    struct world w;
    up_refused(&w, ERR_CONFLICT);
    assert_string_equal(code(&w, "j/1/do"), "conflict");
    world_event(&w, VM1, GUEST_DIED);
    world_time(&w, 60000);
    world_op(&w, "j/2/do", "guest.drop", move_args(VM1));
    assert_true(answered(&w, "j/2/do"));
    assert_int_equal(world_process(&w, VM1), ABSENT);
    world_done(&w);
}

/* The driver does not know: asked again, and should it have died meanwhile, it may have run and is ours. */
static void an_activation_of_which_nothing_is_known(void **state) {
    struct world w;
    up_refused(&w, ERR_TIMEOUT);
    assert_string_equal(code(&w, "j/1/do"), "timeout");
    world_set_process(&w, VM1, ABSENT);
    world_event(&w, VM1, GUEST_DIED);
    assert_string_equal(world_state(&w, VM1), "crashed");
    world_op(&w, "j/1/do/1", "guest.activate", move_args(VM1));
    assert_true(answered(&w, "j/1/do/1"));
    world_time(&w, 10000);
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_done(&w);
}

/* It died in the moment when it took over: it has crashed here, and its policy holds here. */
static void what_may_have_run_has_crashed_here(void **state) {
    struct world w;
    up_refused(&w, ERR_GUEST);
    assert_true(answered(&w, "j/1/do"));
    const json_t *result = json_object_get(world_reply(&w, "j/1/do"), "result");
    assert_string_equal(json_str(result, "state"), "crashed");
    world_time(&w, 10000);
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_done(&w);
}

/* Ops of a move that is over, or of another one, end nothing. */
static void a_move_ends_only_what_is_its_own(void **state) {
    struct world w;
    up_received(&w);
    world_op(&w, "j/1/do", "guest.activate", move_args(VM1));
    world_op(&w, "j/2/do", "guest.drop", move_args(VM1));
    assert_true(answered(&w, "j/2/do"));
    world_op(&w, "j/3/do", "guest.release", json_pack("{ss ss}", "vm", VM1, "move", "m2"));
    assert_true(answered(&w, "j/3/do"));
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_op(&w, "j/4/do", "guest.receive", receive_args(VM1));
    assert_string_equal(code(&w, "j/4/do"), "conflict");
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_op(&w, "j/5/do", "guest.unsend", move_args(VM2));
    assert_true(answered(&w, "j/5/do"));
    world_done(&w);
}

/* Its destination was given up and the job that had brought it ended without it: the next one to come removes it. */
static void what_an_earlier_move_has_left_is_dropped(void **state) {
    struct world w;
    up_received(&w);
    json_t *next = receive_args(VM1);
    json_object_set_new(next, "move", json_string("m2"));
    world_op(&w, "j/2/do", "guest.receive", next);
    assert_string_equal(code(&w, "j/2/do"), "conflict");
    world_op(&w, "j/2/undo", "guest.drop", json_pack("{ss ss}", "vm", VM1, "move", "m2"));
    assert_true(answered(&w, "j/2/undo"));
    assert_int_equal(world_process(&w, VM1), ABSENT);
    assert_null(map_get(&w.store, "guest/" VM1));
    world_done(&w);
}

/* The store does not take the beginning: the op is refused, and nothing has begun. */
static void a_store_that_fails(void **state) {
    struct world w;
    up(&w);
    world_op(&w, "p/1/do", "guest.start", start_args(VM1, "never"));
    w.store_error = -28;
    world_op(&w, "j/1/do", "guest.send", move_args(VM1));
    world_op(&w, "j/2/do", "guest.receive", receive_args(VM2));
    assert_false(answered(&w, "j/1/do"));
    assert_false(answered(&w, "j/2/do"));
    assert_int_equal(w.n_calls[API_AGENT_OP_GUEST_SEND] + w.n_calls[API_AGENT_OP_GUEST_RECEIVE], 0);
    w.store_error = 0;
    world_time(&w, 20000);
    world_op(&w, "j/3/do", "guest.send", move_args(VM1));
    assert_true(answered(&w, "j/3/do"));
    world_done(&w);
}

static void a_kill_ends_it_on_either_side(void **state) {
    for (int side = 0; side < 2; side++) {
        struct world w;
        if (side)
            up_received(&w);
        else
            up_sent(&w, "always");
        world_op(&w, "j/1/do", "guest.kill", vm_args(VM1));
        assert_true(answered(&w, "j/1/do"));
        assert_int_equal(world_process(&w, VM1), ABSENT);
        world_time(&w, 120000);
        assert_int_equal(world_process(&w, VM1), ABSENT);
        world_done(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_starts_stops_or_resumes_it),
        cmocka_unit_test(what_was_sent_is_not_restarted),
        cmocka_unit_test(what_died_and_comes_back_follows_its_policy),
        cmocka_unit_test(what_could_not_be_taken_back_is_not_restarted),
        cmocka_unit_test(what_was_sent_and_nobody_asks_about),
        cmocka_unit_test(a_send_that_fails_changes_nothing),
        cmocka_unit_test(a_send_is_cancelled),
        cmocka_unit_test(events_while_it_is_sent),
        cmocka_unit_test(what_ended_before_it_ran_never_runs),
        cmocka_unit_test(a_refused_activation_can_be_dropped),
        cmocka_unit_test(what_an_earlier_move_has_left_is_dropped),
        cmocka_unit_test(an_activation_of_which_nothing_is_known),
        cmocka_unit_test(what_may_have_run_has_crashed_here),
        cmocka_unit_test(a_move_ends_only_what_is_its_own),
        cmocka_unit_test(a_store_that_fails),
        cmocka_unit_test(a_kill_ends_it_on_either_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
