/* SPDX-License-Identifier: Apache-2.0 */
/* Roles of addresses: what is refused, what stands in for what is missing, and the heartbeat networks of pools. */
#include "core/test_world.h"

#include <stdio.h>

/* The server says that it has the addresses 10.0.0.N (mgmt) and, with hb, 10.1.0.N (hb). */
static void says(struct world *w, const char *server, int n, bool hb) {
    struct api_agent_hello h;
    char *address[2] = {xasprintf("10.0.0.%d/24", n), xasprintf("10.1.0.%d/24", n)};
    struct api_hardware_nic nics[2] = {{.name = (char *)"mgmt", .n_addresses = 1, .addresses = &address[0]},
                                       {.name = (char *)"hb", .n_addresses = 1, .addresses = &address[1]}};
    api_agent_hello_init(&h);
    str_take(&h.address, xasprintf("10.0.0.%d", n));
    h.server.hardware.nics = nics;
    h.server.hardware.n_nics = hb ? 2 : 1;
    core_agent_connected(w->c, core_server(w->c, server)->id, &h);
    h.server.hardware.nics = NULL;
    h.server.hardware.n_nics = 0;
    api_agent_hello_done(&h);
    free(address[0]);
    free(address[1]);
    pump(w);
}

static int set(struct world *w, const char *server, const char *addresses) {
    _cleanup_free_ char *body = xasprintf("{\"addresses\":[%s]}", addresses);
    return ask(w, API_OP_SERVER_CHANGE, server, body);
}

#define SAYS(text) assert_non_null(strstr(w.reply, text))

static void test_checks(void **state) {
    struct world w;
    world_of(&w, 1);
    says(&w, "s1", 1, true);
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.0.0\"}"), 400);
    SAYS("addresses[0].address");
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.0.0.2\",\"roles\":[\"migration\"]}"), 400);
    SAYS("it has 10.0.0.1/24 on mgmt, 10.1.0.1/24 on hb");
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.0.0.1\"},{\"address\":\"10.0.0.1\"}"), 400);
    SAYS("twice");
    assert_int_equal(set(&w, "s1",
                         "{\"address\":\"10.0.0.1\",\"roles\":[\"migration\"]},"
                         "{\"address\":\"10.1.0.1\",\"roles\":[\"migration\"]}"),
                     400);
    SAYS("at most 1");
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.0.0.1\",\"roles\":[\"telephone\"]}"), 400);
    assert_int_equal(set(&w, "s1", "{\"address\":\"127.0.0.9\",\"roles\":[\"migration\"]}"), 200);
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.1.0.1\",\"roles\":[\"migration\"]}"), 200);
    /* Other fields may change while an address is away. */
    says(&w, "s1", 1, false);
    assert_int_equal(ask(&w, API_OP_SERVER_CHANGE, "s1", "{\"description\":\"x\"}"), 200);
    world_down(&w);
}

static void test_stand_ins(void **state) {
    struct world w;
    world_of(&w, 1);
    says(&w, "s1", 1, true);
    const struct api_server *s = core_server(w.c, "s1");
    assert_string_equal(server_role_address(s, API_NETWORK_ROLE_STORAGE), "10.0.0.1");
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.1.0.1\",\"roles\":[\"migration\"]}"), 200);
    s = core_server(w.c, "s1");
    assert_string_equal(server_role_address(s, API_NETWORK_ROLE_STORAGE), "10.1.0.1");
    assert_string_equal(server_role_address(s, API_NETWORK_ROLE_HEARTBEAT), "10.0.0.1");
    assert_int_equal(set(&w, "s1", "{\"address\":\"127.0.0.2\",\"roles\":[\"management\"]}"), 200);
    s = core_server(w.c, "s1");
    assert_string_equal(server_role_address(s, API_NETWORK_ROLE_MIGRATION), "127.0.0.2");
    const char *rings[2];
    assert_int_equal(server_rings(s, rings), 1);
    assert_string_equal(rings[0], "127.0.0.2");
    assert_int_equal(set(&w, "s1",
                         "{\"address\":\"10.0.0.1\",\"roles\":[\"heartbeat\"]},"
                         "{\"address\":\"10.1.0.1\",\"roles\":[\"heartbeat\",\"vm\"]}"),
                     200);
    assert_int_equal(server_rings(core_server(w.c, "s1"), rings), 2);
    assert_string_equal(rings[1], "10.1.0.1");
    world_down(&w);
}

static int fit(struct world *w, const char *server, struct error *e) {
    return pool_check_heartbeats(w->c, ((const struct api_pool *)core_data(w->c, API_KIND_POOL, "p"))->id,
                                 core_server(w->c, server), e);
}

static void test_heartbeat_networks(void **state) {
    struct world w;
    _cleanup_error_ struct error e = ERROR_INIT;
    world_of(&w, 3);
    says(&w, "s1", 1, true);
    says(&w, "s2", 2, true);
    says(&w, "s3", 3, false);
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.1.0.1\",\"roles\":[\"heartbeat\"]}"), 200);
    assert_int_equal(set(&w, "s2", "{\"address\":\"10.1.0.2\",\"roles\":[\"heartbeat\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(fit(&w, "s2", &e), 0);
    assert_true(fit(&w, "s3", &e) < 0);
    assert_non_null(strstr(e.message, "missing on server \"s3\""));
    error_done(&e);
    e = ERROR_INIT;
    assert_int_equal(set(&w, "s3", "{\"address\":\"10.0.0.3\",\"roles\":[\"heartbeat\"]}"), 200);
    assert_true(fit(&w, "s3", &e) < 0); /* another network */
    assert_non_null(strstr(e.message, "missing on server \"s3\""));
    error_done(&e);
    e = ERROR_INIT;
    assert_int_equal(set(&w, "s2",
                         "{\"address\":\"10.1.0.2\",\"roles\":[\"heartbeat\"]},"
                         "{\"address\":\"10.0.0.2\",\"roles\":[\"heartbeat\"]}"),
                     200);
    assert_true(fit(&w, "s2", &e) < 0); /* two rings here, one there */
    assert_non_null(strstr(e.message, "same number"));
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_CHANGE, "p", "{\"clustered\":true}"), 409);
    SAYS("missing on server");
    world_down(&w);
}

/* One joined by way of 127.0.0.1 on the manager's machine: others cannot reach that. */
static void test_an_address_of_one_machine_alone(void **state) {
    struct world w;
    world_of(&w, 3);
    for (int i = 1; i <= 3; i++)
        says(&w, (char[]){'s', (char)('0' + i), 0}, i, true);
    assert_int_equal(set(&w, "s1", "{\"address\":\"127.0.0.1\",\"roles\":[\"management\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 409);
    SAYS("tarn server set s1 --address address=ADDRESS,roles=management");
    assert_int_equal(set(&w, "s2", "{\"address\":\"127.0.0.2\",\"roles\":[\"management\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 202); /* all on one machine */
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 409);
    assert_int_equal(ask(&w, API_OP_POOL_REMOVE, "p", "{\"server\":\"s2\"}"), 202);
    assert_int_equal(set(&w, "s1", "{\"address\":\"10.0.0.1\",\"roles\":[\"management\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s3\"}"), 202);
    world_down(&w);
}

/* The role that is wrong is named, and the command keeps what is right. */
static void test_the_role_that_is_wrong(void **state) {
    struct world w;
    world_of(&w, 2);
    says(&w, "s1", 1, true);
    says(&w, "s2", 2, true);
    assert_int_equal(ask(&w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 202);
    assert_int_equal(set(&w, "s1", "{\"address\":\"127.0.0.1\",\"roles\":[\"heartbeat\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 409);
    SAYS("127.0.0.1 for the role heartbeat");
    SAYS("tarn server set s1 --address address=ADDRESS,roles=heartbeat\"");
    assert_int_equal(set(&w, "s1",
                         "{\"address\":\"10.1.0.1\",\"roles\":[\"heartbeat\"]},"
                         "{\"address\":\"127.0.0.1\",\"roles\":[\"migration\",\"storage\"]}"),
                     200);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 409);
    SAYS("127.0.0.1 for the role migration");
    SAYS("s1 --address address=10.1.0.1,roles=heartbeat --address address=ADDRESS,roles=migration+storage");
    /* What has no role of its own goes by the management address. */
    assert_int_equal(set(&w, "s1", "{\"address\":\"127.0.0.1\",\"roles\":[\"management\",\"vm\"]}"), 200);
    assert_int_equal(ask(&w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 409);
    SAYS("127.0.0.1 for the role management");
    SAYS("s1 --address address=ADDRESS,roles=management+vm");
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_stand_ins),
        cmocka_unit_test(test_heartbeat_networks),
        cmocka_unit_test(test_an_address_of_one_machine_alone),
        cmocka_unit_test(test_the_role_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
