/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cluster.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char *one[] = {(char *)"10.0.0.1", (char *)"fd00::1"}, *two[] = {(char *)"10.0.0.2", (char *)"fd00::2"};

static void make(struct api_cluster_configure *c, struct api_cluster_node nodes[2], size_t rings) {
    nodes[0] = (struct api_cluster_node){
        .server = (char *)"01a1fccd-1c2c-7000-bf12-d49a12ddd6e3", .node = 1, .addresses = one, .n_addresses = rings};
    nodes[1] = (struct api_cluster_node){
        .server = (char *)"01a1fccd-1c5e-7000-8d5e-7fa3ca8e76ff", .node = 2, .addresses = two, .n_addresses = rings};
    *c = (struct api_cluster_configure){
        .pool = (char *)"01a1fccd-296e-7000-99c7-760d7feb6412", .version = 1, .nodes = nodes, .n_nodes = 2};
}

static void two_rings(void **state) {
    struct api_cluster_configure c;
    struct api_cluster_node nodes[2];
    make(&c, nodes, 2);
    struct cluster_conf conf = {.config = &c, .dir = "/var/lib/tarn/agent/cluster", .realtime = true};
    _cleanup_free_ char *text = NULL;
    assert_int_equal(cluster_conf_text(&conf, &text, NULL), 0);
    assert_non_null(strstr(text, "cluster_name: tarn-01a1fccd\n"));
    assert_non_null(strstr(text, "keyfile: /var/lib/tarn/agent/cluster/authkey\n"));
    assert_non_null(strstr(text, "        nodeid: 2\n        name: 01a1fccd-1c5e-7000-8d5e-7fa3ca8e76ff\n"
                                 "        ring0_addr: 10.0.0.2\n        ring1_addr: fd00::2\n"));
    assert_null(strstr(text, "sched_rr"));
    conf.realtime = false;
    free(TAKE_PTR(text));
    assert_int_equal(cluster_conf_text(&conf, &text, NULL), 0);
    assert_non_null(strstr(text, "sched_rr: no"));
}

static void refused(void **state) {
    struct api_cluster_configure c;
    struct api_cluster_node nodes[2];
    struct cluster_conf conf = {.config = &c, .dir = "/d"};
    char *text = NULL, *bad[] = {(char *)"10.0.0.1\n}"}, *name[] = {(char *)"host"};
    make(&c, nodes, 1);
    nodes[1].addresses = bad;
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    nodes[1].addresses = name;
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    make(&c, nodes, 1);
    nodes[0].n_addresses = 2;
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    make(&c, nodes, 0);
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    make(&c, nodes, 1);
    nodes[0].node = 0;
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    make(&c, nodes, 1);
    conf.dir = "/d\ntotem {";
    assert_true(cluster_conf_text(&conf, &text, NULL) < 0);
    assert_null(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_rings), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
