/* SPDX-License-Identifier: Apache-2.0 */
/* Search: what is found, in which order, by whom, and that the index follows the inventory. */
#include "core/core_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

static struct core *c;

static void put(enum api_kind kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(enum api_kind kind, const char *fmt, ...) {
    char key[64];
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_json_ json_t *j = json_loads(text, 0, NULL);
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_non_null(j);
    snprintf(key, sizeof key, "%s/%s", api_kinds[kind].name, json_str(j, "id"));
    assert_int_equal(core_load(c, key, text, strlen(text), &e), 0);
}

#define ID(n) "0192aaaa-0000-7000-8000-00000000000" #n

static int up(void **state) {
    struct core_config config = {.seed = {1}, .version = "0.1"};
    c = core_new(&config);
    put(API_KIND_SERVER, "{\"id\":\"" ID(1) "\",\"name\":\"Rack-One\",\"description\":\"Under the Desk\"}");
    put(API_KIND_VM, "{\"id\":\"" ID(2) "\",\"name\":\"web\",\"state\":\"running\",\"server\":\"" ID(1) "\"}");
    put(API_KIND_VM, "{\"id\":\"" ID(3) "\",\"name\":\"website\",\"tags\":[\"Prod\"]}");
    put(API_KIND_VM, "{\"id\":\"" ID(4) "\",\"name\":\"old-web\",\"nics\":[{\"mac\":\"52:54:00:AB:cd:ef\"}]}");
    put(API_KIND_VM, "{\"id\":\"" ID(5) "\",\"name\":\"cobweb\",\"description\":\"spider's\"}");
    put(API_KIND_VM, "{\"id\":\"" ID(6) "\",\"name\":\"mail\",\"description\":\"not the web\"}");
    put(API_KIND_DISK, "{\"id\":\"" ID(7) "\",\"name\":\"web-disk\",\"vm\":\"" ID(2) "\"}");
    put(API_KIND_USER, "{\"id\":\"" ID(8) "\",\"name\":\"webmaster\",\"role\":\"operator\"}");
    put(API_KIND_UPLOAD, "{\"id\":\"" ID(9) "\",\"name\":\"secret.iso\"}");
    core_start(c, 1);
    return 0;
}

static int down(void **state) {
    core_free(c);
    return 0;
}

/* Names found, with a blank between them; of an error its status. */
static const char *find(enum api_role role, const char *q, int limit, const char *field) {
    static char found[1000];
    _cleanup_json_ json_t *args = json_object(), *answer = NULL;
    json_set_str(args, "q", q);
    if (limit)
        json_set_int(args, "limit", limit);
    core_request(c, &(struct core_request){.id = 1, .op = API_OP_SEARCH, .actor = "a", .role = role, .args = args});
    struct core_effect *e;
    int status = 0;
    while ((e = core_next_effect(c))) {
        if (e->kind == CORE_REPLY) {
            status = e->status;
            answer = json_loads(e->text, 0, NULL);
        }
        core_effect_free(e);
    }
    snprintf(found, sizeof found, "%d", status);
    if (status != 200)
        return found;
    size_t i;
    json_t *item;
    *found = 0;
    json_array_foreach(json_object_get(answer, "items"), i, item)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", *found ? " " : "", json_str(item, field));
    return found;
}

static void ranks(void **state) {
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "web", 0, "name"),
                        "web website old-web cobweb mail web-disk webmaster");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, " WEB ", 2, "name"), "web website web-disk webmaster");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "web-d", 0, "name"), "web-disk");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "nothing", 0, "name"), "");
}

static void other_fields(void **state) {
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "prod", 0, "name"), "website");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "prod", 0, "detail"), "Prod");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "54:00:ab", 0, "name"), "old-web");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "the desk", 0, "detail"), "Under the Desk");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "web-disk", 0, "detail"), "web");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "old-web", 0, "state"), "creating");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, ID(6), 0, "name"), "mail");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "0192", 0, "kind"), "vm vm vm vm vm server disk user upload");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "019", 0, "name"), "");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "7000-8000", 0, "name"), "");
}

static void roles(void **state) {
    assert_string_equal(find(API_ROLE_OPERATOR, "secret", 0, "kind"), "upload");
    assert_string_equal(find(API_ROLE_VIEWER, "secret", 0, "kind"), "");
}

static void bad(void **state) {
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "", 0, "name"), "400");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "  ", 0, "name"), "400");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "x", 101, "name"), "400");
}

static void rename_vm(const char *id, const char *name) {
    struct api_vm *vm = CORE_COPY(vm, VM, core_vm(c, id));
    str_set(&vm->name, name);
    core_begin(c);
    core_put(c, API_KIND_VM, vm);
    core_end(c);
    struct core_effect *e;
    while ((e = core_next_effect(c))) {
        if (e->kind == CORE_COMMIT)
            core_stored(c, e->seq, 0);
        core_effect_free(e);
    }
}

/* Renamed until the index has been written anew a few times. */
static void follows(void **state) {
    char name[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "mail-with-quite-a-long-name-%d", i);
        rename_vm(ID(6), name);
    }
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "long-name", 0, "name"), "mail-with-quite-a-long-name-4999");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "website", 0, "name"), "website");
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "rack", 0, "name"), "Rack-One");
    core_begin(c);
    core_remove(c, API_KIND_VM, ID(6));
    core_end(c);
    assert_string_equal(find(API_ROLE_ADMINISTRATOR, "long-name", 0, "name"), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranks, up, down),   cmocka_unit_test_setup_teardown(other_fields, up, down),
        cmocka_unit_test_setup_teardown(roles, up, down),   cmocka_unit_test_setup_teardown(bad, up, down),
        cmocka_unit_test_setup_teardown(follows, up, down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
