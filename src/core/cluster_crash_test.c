/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager is killed at, and before, each of its commits while clusters change and servers are lost; its store fails
 * there, and the connection of the agent that was asked ends. Afterwards all is as if nothing had happened.
 */
#include "core/test_cluster.h"

#include <stdio.h>

struct scenario {
    const char *name;
    void (*before)(struct world *w);
    void (*act)(struct world *w);
    void (*after)(struct world *w);
};

static void three(struct world *w) { prepare(w, 3); }
static void four(struct world *w) { prepare(w, 4); }

static void third_leaves(struct world *w) { ask(w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s3\"}"); }
static void fourth_leaves(struct world *w) { ask(w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s4\"}"); }

static void third_left(struct world *w) {
    three(w);
    third_leaves(w);
    walk(w, 5000);
    assert_int_equal(core_pool(w->c, "p")->cluster.n_nodes, 2);
}
static void third_comes(struct world *w) { ask(w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"); }

static void not_clustered_any_more(struct world *w) {
    ask(w, API_OP_POOL_CHANGE, "p", "{\"clustered\":false,\"force\":true}");
}

/* The cluster is what the pool is, and every server knows it. */
static void whole(struct world *w) {
    const struct api_pool *p = core_pool(w->c, "p");
    size_t members = 0;
    for (size_t i = 0; i < w->n_agents; i++) {
        const struct api_server *s = core_server(w->c, w->agents[i].id);
        bool in = p->clustered && str_eq(s->pool, p->id);
        members += in;
        assert_string_equal(s->has_cluster ? s->cluster.pool : "", in ? p->id : "");
        if (in)
            assert_int_equal(s->cluster.version, p->cluster.version);
    }
    assert_int_equal(p->cluster.n_nodes, members);
    for (size_t i = 0; i < w->n_agents; i++) {
        bool in = p->clustered && str_eq(core_server(w->c, w->agents[i].id)->pool, p->id);
        assert_int_equal(cluster_is_armed(core_server(w->c, w->agents[i].id)), in && members >= 3);
        if (in)
            assert_int_equal(w->agents[i].armed, members >= 3);
    }
    assert_string_equal(p->cluster.reason, "");
}

static void two_guests(struct world *w) {
    three(w);
    make_vm(w, "a", "s1", HA);
    make_vm(w, "b", "s1", "{\"enabled\":true,\"priority\":90,\"after\":[\"a\"]}");
}
static void first_dies(struct world *w) { dies(w, 0); }

static void run_once_elsewhere(struct world *w) {
    for (int i = 0; i < 2; i++) {
        const struct api_vm *vm = vm_of(w, i ? "b" : "a");
        assert_int_equal(vm->state, API_VM_STATE_RUNNING);
        assert_string_not_equal(where(w, vm->name), "s1");
        assert_int_equal(running(w, vm->id), 1);
        assert_false(has_alarm(w, "vm.recovery-waits"));
    }
    assert_true(core_server(w->c, "s1")->cluster.gone);
}

static void two_with_fences(struct world *w) {
    prepare(w, 2);
    ask(w, API_OP_SERVER_CHANGE, "s1", "{\"fence\":{\"agent\":\"fence_dummy\"}}");
    ask(w, API_OP_POOL_CHANGE, "p", "{\"fencing\":\"auto\"}");
    make_vm(w, "a", "s1", HA);
    make_vm(w, "b", "s1", HA);
    walk(w, 11000);
}
static void first_is_cut_off(struct world *w) {
    w->agents[0].silent = w->agents[0].away = true;
    set_half(w, 0, 1);
}

static void first_comes_back(struct world *w) { comes_back(w, 0); }
static void first_is_gone(struct world *w) {
    two_guests(w);
    dies(w, 0);
    walk(w, 12000);
    map_put(&w->agents[0].guests, vm_of(w, "a")->id, xstrdup("running")); /* whatever it still runs */
    assert_int_equal(running(w, vm_of(w, "b")->id), 1);
    free(map_remove(&w->agents[0].guests, vm_of(w, "a")->id));
}
static void back_without_them(struct world *w) {
    assert_false(core_server(w->c, "s1")->cluster.gone);
    for (int i = 0; i < 2; i++)
        assert_int_equal(running(w, vm_of(w, i ? "b" : "a")->id), 1);
}

static const struct scenario scenarios[] = {
    {"a fourth leaves", four, fourth_leaves, whole},
    {"a third leaves", three, third_leaves, whole},
    {"a third comes", third_left, third_comes, whole},
    {"no cluster any more", three, not_clustered_any_more, whole},
    {"a server dies", two_guests, first_dies, run_once_elsewhere},
    {"one of two is cut off", two_with_fences, first_is_cut_off, run_once_elsewhere},
    {"a server comes back", first_is_gone, first_comes_back, back_without_them},
};

/* Time passes, agents come back, and the store. */
static void live(struct world *w, int64_t ms) {
    for (int64_t end = w->ms + ms; w->ms < end;) {
        bool down = w->store_down;
        walk(w, 1000);
        if (down)
            w->store_down = false;
        for (size_t i = 0; i < w->n_agents && !w->store_down; i++)
            if (!w->agents[i].connected && !w->agents[i].away)
                world_connect(w, &w->agents[i]);
    }
}

static size_t each_commit(enum fault fault) {
    size_t points = 0;
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        for (size_t at = 1;; at++) {
            struct world w;
            scenarios[i].before(&w);
            w.fault = fault;
            w.fault_at = at;
            scenarios[i].act(&w);
            live(&w, 60000);
            if (running_job(&w))
                fail_msg("%s, %d at %zu: a job does not end: %s", scenarios[i].name, fault, at,
                         ((const struct api_job *)core_data(w.c, API_KIND_JOB, running_job(&w)))->message);
            scenarios[i].after(&w);
            assert_int_equal(map_count(&w.c->locks), 0);
            bool fired = w.fired;
            world_down(&w);
            if (!fired)
                break;
            points++;
        }
    }
    printf("%zu points\n", points);
    return points;
}

static void killed_after_each_commit(void **state) { assert_true(each_commit(CRASH) > 30); }
static void killed_before_each_commit(void **state) { assert_true(each_commit(CRASH_BEFORE) > 30); }
static void store_fails_at_each_commit(void **state) { assert_true(each_commit(STORE_FAILS) > 30); }
static void connection_ends_at_each_commit(void **state) { assert_true(each_commit(CUT) > 30); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_after_each_commit),
        cmocka_unit_test(killed_before_each_commit),
        cmocka_unit_test(store_fails_at_each_commit),
        cmocka_unit_test(connection_ends_at_each_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
