/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent is killed after the 1st, 2nd, … effect of each scenario until the scenario has no more: after each it comes
 * up again from what was durable, the manager sends again what it has no answer to, and the end must be the same. A
 * call that changes something must not come again once its op's answer was durable.
 */
#include "guest/test_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct scenario {
    const char *name;
    void (*prepare)(struct world *w);
    const char *op;
    json_t *(*args)(void);
    enum process end;  /* of VM1 */
    const char *state; /* of VM1 in the last report; "" if it is not to be in it */
    bool disk;         /* DISK1 exists in the end */
    const char *code;  /* of the answer; NULL for ok */
    int call;          /* must not come after the answer was durable */
};

static json_t *start_never(void) { return start_args(VM1, "never"); }
static json_t *vm1(void) { return vm_args(VM1); }
static json_t *stop_plain(void) { return stop_args(VM1, 20, false); }
static json_t *stop_force(void) { return stop_args(VM1, 20, true); }
static json_t *disk1(void) { return disk_args(DISK1); }
static json_t *repository(void) {
    return json_pack("{ss ss ss}", "repository", REPO, "driver", "dir", "path", "/tmp/x");
}
static json_t *policy(void) { return json_pack("{ss ss}", "vm", VM1, "restart_policy", "always"); }

static json_t *move1(void) { return move_args(VM1); }
static json_t *receive1(void) { return receive_args(VM1); }

static void nothing(struct world *w) {}
static void running(struct world *w) { world_op(w, "p/1/do", "guest.start", start_args(VM1, "never")); }
static void deaf(struct world *w) {
    running(w);
    w->ignore_shutdown = true;
}
static void suspended(struct world *w) {
    running(w);
    world_op(w, "p/2/do", "guest.suspend", vm_args(VM1));
}
static void stopped(struct world *w) {
    running(w);
    world_op(w, "p/2/do", "guest.kill", vm_args(VM1));
}
static void with_disk(struct world *w) { world_op(w, "p/1/do", "disk.create", disk_args(DISK1)); }
static void sent(struct world *w) {
    running(w);
    world_op(w, "p/2/do", "guest.send", move_args(VM1));
}
static void received(struct world *w) { world_op(w, "p/1/do", "guest.receive", receive_args(VM1)); }
static void start_fails(struct world *w) {
    w->fail_op = API_AGENT_OP_GUEST_START;
    w->fail_code = ERR_GUEST;
}

static const struct scenario scenarios[] = {
    {"start", nothing, "guest.start", start_never, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_START},
    {"start again", running, "guest.start", start_never, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_START},
    {"start that fails", start_fails, "guest.start", start_never, ABSENT, "stopped", false, "guest",
     API_AGENT_OP_GUEST_START},
    {"stop", running, "guest.stop", stop_plain, ABSENT, "stopped", false, NULL, HOST_CALL_GUEST_SHUTDOWN},
    {"stop by force", deaf, "guest.stop", stop_force, ABSENT, "stopped", false, NULL, API_AGENT_OP_GUEST_KILL},
    {"stop in vain", deaf, "guest.stop", stop_plain, RUNS, "running", false, "timeout", HOST_CALL_GUEST_SHUTDOWN},
    {"kill", running, "guest.kill", vm1, ABSENT, "stopped", false, NULL, API_AGENT_OP_GUEST_KILL},
    {"kill what is suspended", suspended, "guest.kill", vm1, ABSENT, "stopped", false, NULL, API_AGENT_OP_GUEST_KILL},
    {"suspend", running, "guest.suspend", vm1, PAUSED, "suspended", false, NULL, API_AGENT_OP_GUEST_SUSPEND},
    {"resume", suspended, "guest.resume", vm1, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_RESUME},
    {"forget", stopped, "guest.forget", vm1, ABSENT, "", false, NULL, API_AGENT_OP_GUEST_FORGET},
    {"policy", running, "guest.policy", policy, RUNS, "running", false, NULL, -1},
    {"offer", running, "guest.offer", move1, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_OFFER},
    {"send", running, "guest.send", move1, PAUSED, "migrating", false, NULL, API_AGENT_OP_GUEST_SEND},
    {"unsend", sent, "guest.unsend", move1, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_UNSEND},
    {"release", sent, "guest.release", move1, ABSENT, "", false, NULL, API_AGENT_OP_GUEST_RELEASE},
    {"receive", nothing, "guest.receive", receive1, PAUSED, "migrating", false, NULL, API_AGENT_OP_GUEST_RECEIVE},
    {"activate", received, "guest.activate", move1, RUNS, "running", false, NULL, API_AGENT_OP_GUEST_ACTIVATE},
    {"drop", received, "guest.drop", move1, ABSENT, "", false, NULL, API_AGENT_OP_GUEST_DROP},
    {"disk.create", nothing, "disk.create", disk1, ABSENT, "", true, NULL, API_AGENT_OP_DISK_CREATE},
    {"disk.delete", with_disk, "disk.delete", disk1, ABSENT, "", false, NULL, API_AGENT_OP_DISK_DELETE},
    {"repository.open", nothing, "repository.open", repository, ABSENT, "", false, NULL, -1},
};

static const char *vm1_state(struct world *w) {
    const json_t *guests = json_object_get(world_last_event(w, "report"), "guests");
    size_t i;
    const json_t *g;
    const char *state = "";
    json_array_foreach((json_t *)guests, i, g) {
        if (str_eq(json_str(g, "vm"), VM1))
            state = json_str(g, "state");
    }
    return state;
}

/* The op is asked for until it is answered, as the manager does. */
static void until_answered(struct world *w, const struct scenario *s) {
    for (int i = 0; i < 20 && !world_reply(w, "job/1/do"); i++) {
        if (w->crashed)
            return;
        world_op(w, "job/1/do", s->op, s->args());
        world_time(w, 25000);
    }
}

static bool answer_is_durable(struct world *w) {
    const char *record = map_get(&w->store, "op/job/1/do");
    return record && strstr(record, "\"answer\"");
}

/* Returns whether the scenario was long enough for a crash after n effects. */
static bool run(const struct scenario *s, int n) {
    struct world w;
    world_init(&w);
    world_run(&w);
    world_connect(&w);
    s->prepare(&w);
    world_forget_frames(&w);
    w.crash_after = n;
    until_answered(&w, s);
    bool crashed = w.crashed;
    w.crash_after = -1;
    bool durable = answer_is_durable(&w);
    size_t calls = s->call >= 0 ? w.n_calls[s->call] : 0;
    world_forget_frames(&w);
    world_restart(&w);
    world_run(&w);
    world_connect(&w);
    until_answered(&w, s);
    const json_t *reply = world_reply(&w, "job/1/do");
    assert_non_null(reply);
    assert_int_equal(json_bool(reply, "ok", false), s->code == NULL);
    if (s->code)
        assert_string_equal(json_str(json_object_get(reply, "error"), "code"), s->code);
    if (durable && s->call >= 0)
        assert_int_equal(w.n_calls[s->call], calls);
    /* Once more: the inventory after all this equals what is there. */
    world_restart(&w);
    world_run(&w);
    world_connect(&w);
    world_time(&w, 120000);
    assert_string_equal(vm1_state(&w), s->state);
    assert_int_equal(world_process(&w, VM1), s->end);
    assert_int_equal(map_get(&w.made, "disk/" DISK1) != NULL, s->disk);
    world_op(&w, "f", "op.forget", json_pack("{ss}", "job", "job"));
    assert_null(map_get(&w.store, "op/job/1/do"));
    world_done(&w);
    return crashed;
}

static void every_point_of_every_op(void **state) {
    int points = 0;
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        for (int n = 1; run(&scenarios[i], n); n++)
            points++;
    }
    print_message("%d crash points in %zu scenarios\n", points, ARRAY_LEN(scenarios));
    assert_true(points > 60);
}

/* The restart policy is a chain of effects too. */
static bool run_restart(int n) {
    struct world w;
    world_init(&w);
    world_run(&w);
    world_connect(&w);
    world_op(&w, "p/1/do", "guest.start", start_args(VM1, "on-failure"));
    w.crash_after = n;
    world_event(&w, VM1, GUEST_DIED);
    world_time(&w, 5000);
    bool crashed = w.crashed;
    w.crash_after = -1;
    world_restart(&w);
    world_run(&w);
    world_connect(&w);
    world_time(&w, 60000);
    assert_int_equal(world_process(&w, VM1), RUNS);
    world_forget_frames(&w);
    world_connect(&w);
    assert_string_equal(vm1_state(&w), "running");
    world_done(&w);
    return crashed;
}

static void every_point_of_a_restart(void **state) {
    int n = 1;
    while (run_restart(n))
        n++;
    assert_true(n > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_of_every_op),
        cmocka_unit_test(every_point_of_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
