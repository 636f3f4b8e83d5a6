/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fence_rules.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void agents(void **state) {
    static const char *const good[] = {"fence_ipmilan", "fence_ilo4_ssh", "fence_dummy"};
    static const char *const bad[] = {"",           "fence_",    "sh",          "fence_x/../sh",    "../fence_x",
                                      "fence_X",    "fence_a b", "fence_kdump", "fence_ack_manual", "/bin/sh",
                                      "fence_x\nsh"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_null(fence_agent_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(fence_agent_problem(bad[i]));
}

static void words(void **state) {
    static const char *const good[] = {"", "10.0.0.9", "fe80::1%eth0", "bmc.example.org", "admin", "DOMAIN\\admin"};
    static const char *const bad[] = {
        "-oProxyCommand=x", "a -oProxyCommand=x", "a\tb", "a\"b", "a'b", "a;b", "a\nb", "$(x)"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_null(fence_word_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(fence_word_problem(bad[i]));
}

static void options(void **state) {
    static const char *const good[] = {"lanplus=1",
                                       "cipher=3",
                                       "plug=Outlet 7",
                                       "power-wait=4",
                                       "ssl=1",
                                       "identity_file=/root/.ssh/fence",
                                       "systems_uri=/redfish/v1/Systems/1",
                                       "snmp_priv_passwd=it's $ecret",
                                       "command-prompt=[\"\\$ \", \"> \"]",
                                       "community=public"};
    static const char *const bad[] = {"",
                                      "x",
                                      "=1",
                                      "a b=1",
                                      "action=on",
                                      "passwd=1",
                                      "x=1\ny=2",
                                      "ip-addr\n",
                                      "exec=sh",
                                      "debug=/x",
                                      "verbose=1",
                                      "cipher=3 sel save /etc/x",
                                      "target=0x20\tsel",
                                      "ipmitool_timeout=2'",
                                      "boot_option=;reboot",
                                      "plug=a'b",
                                      "plug=-f",
                                      "hexadecimal-kg=-o x",
                                      "ipmitool_path=/x",
                                      "ipmitool-path=/x",
                                      "ssh-options=-oProxyCommand=x",
                                      "passwd_script=/x",
                                      "snmp-priv-passwd-script=/x",
                                      "debug-file=/etc/passwd",
                                      "status_file=/etc/passwd",
                                      "identity_file=/k -oProxyCommand=x",
                                      "identity_file=k",
                                      "kubeconfig=/x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_null(fence_option_problem(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(fence_option_problem(bad[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agents), cmocka_unit_test(words), cmocka_unit_test(options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
