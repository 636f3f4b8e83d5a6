/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether there is a user of a name is not to be learnt from how long a sign-in takes: the same work is done for both.
 * The program is linked so that passwords.c calls the function below instead of the library's.
 */
#include "manager/passwords.h"

#include "base/mem.h"

#include <argon2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct {
    int calls;
    char *hash; /* of the last one */
} verified;

int __real_argon2id_verify(const char *encoded, const void *password, size_t len);
int __wrap_argon2id_verify(const char *encoded, const void *password, size_t len);
int __wrap_argon2id_verify(const char *encoded, const void *password, size_t len) {
    verified.calls++; /* on a worker's thread; the loop has joined it before anybody looks */
    str_set(&verified.hash, encoded);
    return __real_argon2id_verify(encoded, password, len);
}

static void on_verified(void *ctx, bool good) { *(int *)ctx = good; }

static int ask(struct passwords *p, uv_loop_t *loop, const char *password, const char *hash) {
    int good = -1;
    verified.calls = 0;
    str_set(&verified.hash, "");
    assert_int_equal(passwords_verify(p, password, hash, on_verified, &good), 0);
    uv_run(loop, UV_RUN_DEFAULT);
    return good;
}

/* "$argon2id$v=19$m=19456,t=2,p=1$": what decides how much work it is. */
static char *cost_of(const char *hash) {
    const char *salt = strrchr(hash, '$');
    while (salt > hash && salt[-1] != '$')
        salt--;
    return xstrndup(hash, (size_t)(salt - hash));
}

static void unknown_users_take_the_same_work(void **state) {
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct passwords *p = passwords_new(&loop);
    _cleanup_free_ char *hash = password_hash_now("correct horse");
    assert_int_equal(ask(p, &loop, "correct horse", hash), 1);
    assert_int_equal(verified.calls, 1);
    assert_string_equal(verified.hash, hash);
    assert_int_equal(ask(p, &loop, "wrong", hash), 0);
    assert_int_equal(verified.calls, 1);
    /* Nobody of that name: another hash, of the same cost, and never true. */
    assert_int_equal(ask(p, &loop, "correct horse", NULL), 0);
    assert_int_equal(verified.calls, 1);
    assert_string_not_equal(verified.hash, hash);
    _cleanup_free_ char *known = cost_of(hash), *unknown = cost_of(verified.hash);
    assert_true(strlen(known) > strlen("$argon2id$"));
    assert_string_equal(known, unknown);
    assert_int_equal(strlen(hash), strlen(verified.hash));
    passwords_free(p);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    free(verified.hash);
    verified.hash = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(unknown_users_take_the_same_work)};
    return cmocka_run_group_tests_name("passwords", tests, NULL, NULL);
}
