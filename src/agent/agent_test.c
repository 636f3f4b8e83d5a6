/* SPDX-License-Identifier: Apache-2.0 */
/* What of the agent's shell needs no manager. */
#include "agent/agent.h"
#include "agent/delay.h"
#include "agent/sim.h"

#include "os/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void urls(void **state) {
    static const struct {
        const char *url, *host;
        int port;
    } good[] = {
        {"https://manager.example", "manager.example", 8443}, {"https://127.0.0.1:9000", "127.0.0.1", 9000},
        {"https://manager.example:1/", "manager.example", 1}, {"https://[::1]:8443", "::1", 8443},
        {"https://[2001:db8::1]", "2001:db8::1", 8443},
    };
    static const char *const bad[] = {"",
                                      "manager.example",
                                      "http://x",
                                      "https://",
                                      "https://:80",
                                      "https://x:",
                                      "https://x:0",
                                      "https://x:65536",
                                      "https://x:8443/api",
                                      "https://[::1",
                                      "https://x:12ab"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char *host;
        int port;
        assert_int_equal(manager_url_parse(good[i].url, &host, &port, NULL), 0);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
        free(host);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *host = NULL;
        int port;
        struct error e = ERROR_INIT;
        assert_true(manager_url_parse(bad[i], &host, &port, &e) < 0);
        assert_null(host);
        error_done(&e);
    }
}

static int count_entries(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void identities(void **state) {
    char dir[] = "/tmp/agent-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct identity i;
    struct error e = ERROR_INIT;
    assert_true(identity_load(dir, &i, &e) < 0);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "tarn-agent join"));
    error_done(&e);
    assert_int_equal(identity_prepare(dir, "KEY", NULL), 0);
    assert_int_equal(identity_save(dir, "https://m:1234", "s1", "id", "CERT", "CA", NULL), 0);
    assert_int_equal(identity_load(dir, &i, NULL), 0);
    assert_string_equal(i.host, "m");
    assert_int_equal(i.port, 1234);
    assert_string_equal(i.name, "s1");
    assert_string_equal(i.server, "id");
    struct stat st;
    assert_int_equal(stat(i.key_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* One that comes to nothing leaves what was there, and nothing else. */
    assert_int_equal(identity_prepare(dir, "OTHER KEY", NULL), 0);
    identity_abandon(dir);
    assert_int_equal(stat(i.key_path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(count_entries(dir), 4);
    identity_done(&i);
    /* What could not be put in place is found before. */
    _cleanup_free_ char *in_the_way = xasprintf("%s/agent.crt", dir);
    assert_int_equal(unlink(in_the_way), 0);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    assert_true(identity_prepare(dir, "KEY", &e) < 0);
    assert_non_null(strstr(e.message, dir));
    error_done(&e);
    assert_int_equal(count_entries(dir), 4);
    assert_true(identity_prepare("relative", "KEY", &e) < 0);
    assert_non_null(strstr(e.message, "absolute"));
    error_done(&e);
    assert_int_equal(remove_tree_at(AT_FDCWD, dir), 0);
}

static void sim_options(void **state) {
    int n = 0;
    assert_int_equal(sim_parse("servers=100", &n, NULL), 0);
    assert_int_equal(n, 100);
    static const char *const bad[] = {"",           "servers",      "servers=",   "servers=0",
                                      "servers=-1", "servers=1001", "servers=5x", "vms=5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(sim_parse(bad[i], &n, NULL) < 0);
}

static char order[8];
static void note(void *ctx) { order[strlen(order)] = *(const char *)ctx; }
static struct delay *queue;
static void note_and_add(void *ctx) {
    note(ctx);
    delay_add(queue, note, note, (void *)"c");
}

static void delays(void **state) {
    uv_loop_t loop;
    uv_loop_init(&loop);
    queue = delay_new(&loop, 1);
    delay_add(queue, note_and_add, note, (void *)"a");
    delay_add(queue, note, note, (void *)"b");
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "abc");
    delay_add(queue, note, note, (void *)"d"); /* dropped */
    delay_free(queue);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "abcd");
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void facts(void **state) {
    struct api_hardware a, b;
    api_hardware_init(&a);
    api_hardware_init(&b);
    facts_sim_hardware(0, &a);
    facts_sim_hardware(700, &b);
    assert_int_equal(a.cpus, a.sockets * a.cores * a.threads);
    assert_string_not_equal(a.nics[0].addresses[0], b.nics[0].addresses[0]);
    assert_string_not_equal(a.nics[0].mac, b.nics[0].mac);
    api_hardware_done(&a);
    api_hardware_done(&b);
    assert_null(facts_read("/proc/no-such-file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),   cmocka_unit_test(identities), cmocka_unit_test(sim_options),
        cmocka_unit_test(delays), cmocka_unit_test(facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
