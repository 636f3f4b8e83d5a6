/* SPDX-License-Identifier: Apache-2.0 */
/* How many tokens and sessions a user may have. */
#include "core/test_world.h"

#include <stdio.h>

#define MOST 250

/* The status. */
static int add(struct world *w, enum api_token_kind kind, const char *user, const char *hash) {
    struct api_token t;
    api_token_init(&t);
    t.kind = kind;
    str_set(&t.name, hash);
    str_set(&t.user, user);
    str_set(&t.hash, hash);
    w->ms++;
    core_set_time(w->c, w->ms, w->ms);
    core_token_add(w->c, ++w->request, "admin", &t);
    api_token_done(&t);
    pump(w);
    return w->status;
}

static void add_many(struct world *w, enum api_token_kind kind, const char *user, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char hash[64];
        snprintf(hash, sizeof hash, "%s-%d-%zu", user, (int)kind, i);
        assert_int_equal(add(w, kind, user, hash), 201);
    }
}

static void test_sessions(void **state) {
    struct world w;
    world_of(&w, 0);
    add_many(&w, API_TOKEN_KIND_SESSION, "b", 1);
    add_many(&w, API_TOKEN_KIND_API, "a", 1);
    add_many(&w, API_TOKEN_KIND_SESSION, "a", MOST);
    assert_non_null(core_token_by_hash(w.c, "a-0-0"));
    assert_int_equal(add(&w, API_TOKEN_KIND_SESSION, "a", "new"), 201);
    assert_null(core_token_by_hash(w.c, "a-0-0")); /* the oldest has ended, and no other */
    assert_non_null(core_token_by_hash(w.c, "a-0-1"));
    assert_non_null(core_token_by_hash(w.c, "a-1-0"));
    assert_non_null(core_token_by_hash(w.c, "b-0-0"));
    assert_non_null(core_token_by_hash(w.c, "new"));
    world_down(&w);
}

static void test_api_tokens(void **state) {
    struct world w;
    world_of(&w, 0);
    add_many(&w, API_TOKEN_KIND_API, "a", MOST);
    assert_int_equal(add(&w, API_TOKEN_KIND_API, "a", "new"), 409);
    assert_non_null(strstr(w.reply, "revoke"));
    assert_null(core_token_by_hash(w.c, "new"));
    assert_non_null(core_token_by_hash(w.c, "a-1-0"));
    assert_int_equal(add(&w, API_TOKEN_KIND_API, "b", "of another"), 201);
    assert_int_equal(ask(&w, API_OP_TOKEN_DELETE, core_token_by_hash(w.c, "a-1-7")->id, NULL), 204);
    assert_int_equal(add(&w, API_TOKEN_KIND_API, "a", "new"), 201);
    add_many(&w, API_TOKEN_KIND_JOIN, "", MOST + 10); /* there are as many as there are servers */
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sessions), cmocka_unit_test(test_api_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
