/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/deadman.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* A pool whose messages reach everybody in the same half, at once. */
struct pool {
    size_t n;
    struct deadman_peers nodes[5];
    int half[5];
};

static void pool_make(struct pool *p, size_t n) {
    memset(p, 0, sizeof *p);
    p->n = n;
    for (size_t i = 0; i < n; i++)
        p->nodes[i] = (struct deadman_peers){.self = (uint32_t)i + 1, .session = 100 + (uint32_t)i, .began = 1};
}

static void pool_say(struct pool *p, size_t from, int64_t now) {
    struct deadman_message m;
    size_t len = deadman_say(&p->nodes[from], now, &m);
    for (size_t i = 0; i < p->n; i++)
        if (p->half[i] == p->half[from])
            assert_true(deadman_hear(&p->nodes[i], (uint32_t)from + 1, &m, len, now));
}

static void pool_round(struct pool *p, int64_t now) {
    for (size_t i = 0; i < p->n; i++)
        pool_say(p, i, now);
}

static void proof_needs_more_than_half(void **state) {
    struct pool p;
    pool_make(&p, 3);
    pool_round(&p, 1000);
    /* The last one to speak told the first what it had heard of it. */
    assert_int_equal(deadman_proof(&p.nodes[0], 3, 1000), 1000);
    assert_int_equal(deadman_proof(&p.nodes[2], 3, 1000), 0);
    pool_round(&p, 1200);
    for (int i = 0; i < 3; i++)
        assert_in_range(deadman_proof(&p.nodes[i], 3, 1200), 1000, 1200);
    p.half[2] = 1;
    for (int64_t t = 1400; t < 5000; t += 200)
        pool_round(&p, t);
    assert_int_equal(deadman_proof(&p.nodes[0], 3, 5000), 4800);
    assert_in_range(deadman_proof(&p.nodes[2], 3, 5000), 1000, 1200);
    /* The same halves are no majority of five, of which two are not there at all. */
    assert_in_range(deadman_proof(&p.nodes[0], 5, 5000), 1000, 1200);
}

static void what_another_session_said_counts_not(void **state) {
    struct pool p;
    pool_make(&p, 3);
    pool_round(&p, 90000);
    pool_round(&p, 90200);
    struct deadman_peers *n = &p.nodes[0];
    *n = (struct deadman_peers){.self = 1, .session = 7, .began = 500};
    pool_say(&p, 1, 600);
    pool_say(&p, 2, 600);
    assert_int_equal(deadman_proof(n, 3, 600), 0);
    n->session = 100; /* the number drawn by chance again: the times are not this life's */
    pool_say(&p, 1, 800);
    assert_int_equal(deadman_proof(n, 3, 800), 0);
}

static void alone_in_a_pool_of_one(void **state) {
    struct deadman_peers p = {.self = 1};
    assert_int_equal(deadman_proof(&p, 1, 77), 77);
    assert_int_equal(deadman_proof(&p, 2, 77), 0);
    assert_int_equal(deadman_proof(&p, 0, 77), 0);
}

static void nodes_that_left_are_forgotten(void **state) {
    struct pool p;
    pool_make(&p, 3);
    pool_round(&p, 1000);
    pool_round(&p, 1200);
    uint32_t kept[] = {1, 3};
    deadman_keep(&p.nodes[0], kept, 2);
    assert_int_equal(p.nodes[0].n, 1);
    assert_int_equal(p.nodes[0].peers[0].heard.node, 3);
}

static void malformed_messages(void **state) {
    struct deadman_peers p = {.self = 1};
    struct deadman_message m;
    struct deadman_peers other = {.self = 2, .n = 2};
    size_t len = deadman_say(&other, 5, &m);
    assert_true(deadman_hear(&p, 2, &m, len, 9));
    assert_false(deadman_hear(&p, 2, &m, len - 1, 9));
    assert_false(deadman_hear(&p, 2, &m, 3, 9));
    assert_false(deadman_hear(&p, 2, &m, len + 1, 9));
    m.n_acks = 60000;
    assert_false(deadman_hear(&p, 2, &m, len, 9));
    m.n_acks = 2;
    m.magic++;
    assert_false(deadman_hear(&p, 2, &m, len, 9));
}

static void lease_begins_and_ends(void **state) {
    struct deadman d = {0};
    assert_false(deadman_expire(&d, 10));
    assert_false(deadman_prove(&d, 0, 10, 5000));
    assert_false(deadman_allows(&d, 0, 10));
    assert_true(deadman_prove(&d, 100, 110, 5000));
    assert_int_equal(d.incarnation, 5000);
    assert_true(deadman_allows(&d, 5000, 200));
    assert_false(deadman_allows(&d, 4999, 200));
    assert_false(deadman_prove(&d, 90, 210, 6000)); /* older than what there is */
    assert_int_equal(deadman_deadline(&d), 100 + DEADMAN_PROOF_MS);
    assert_false(deadman_expire(&d, 99 + DEADMAN_PROOF_MS));
    assert_false(deadman_allows(&d, 5000, 100 + DEADMAN_PROOF_MS));
    assert_true(deadman_expire(&d, 100 + DEADMAN_PROOF_MS));
    assert_false(deadman_expire(&d, 101 + DEADMAN_PROOF_MS));
    assert_false(deadman_allows(&d, 5000, 101 + DEADMAN_PROOF_MS));
    assert_false(deadman_may_start(&d, false, 5000, 101 + DEADMAN_PROOF_MS)); /* disarmed since it was ordered */
    assert_true(deadman_may_start(&d, false, 0, 101 + DEADMAN_PROOF_MS));
    assert_false(deadman_may_start(&d, true, 0, 101 + DEADMAN_PROOF_MS));
    /* A proof that has come too late begins nothing. */
    assert_false(deadman_prove(&d, 200, 200 + DEADMAN_PROOF_MS, 4000));
    assert_true(deadman_prove(&d, 9000, 9001, 4000));
    assert_int_equal(d.incarnation, 5001); /* though the clock went back */
    assert_false(deadman_may_start(&d, false, 5000, 9002));
    assert_true(deadman_may_start(&d, false, 5001, 9002));
    assert_true(deadman_may_start(&d, true, 5001, 9002));
}

static void proof_from_the_future_is_none(void **state) {
    struct deadman d = {0};
    assert_false(deadman_prove(&d, 1000, 999, 1));
}

static void gone_counts_from_the_ring_to_the_proof(void **state) {
    assert_int_equal(cluster_gone_ms(1000, 900), 0);
    assert_int_equal(cluster_gone_ms(1000, 6000), 5000);
    assert_int_equal(cluster_quorum(3), 2);
    assert_int_equal(cluster_quorum(4), 3);
}

/* A server whose corosync has died sees nobody; its lease, which goes on for a while, must not tell that all are gone.
 */
static void without_a_ring_nobody_is_gone(void **state) {
    (void)state;
    assert_int_equal(cluster_gone_ms(0, 119186), 0);
    assert_int_equal(cluster_gone_ms(1000, 1000), 0);
    assert_int_equal(cluster_gone_ms(1000, 6000), 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_ring_nobody_is_gone),
        cmocka_unit_test(proof_needs_more_than_half),
        cmocka_unit_test(what_another_session_said_counts_not),
        cmocka_unit_test(alone_in_a_pool_of_one),
        cmocka_unit_test(nodes_that_left_are_forgotten),
        cmocka_unit_test(malformed_messages),
        cmocka_unit_test(lease_begins_and_ends),
        cmocka_unit_test(proof_from_the_future_is_none),
        cmocka_unit_test(gone_counts_from_the_ring_to_the_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
