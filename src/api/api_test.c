/* SPDX-License-Identifier: Apache-2.0 */
/* What a client, an agent and the store see of the generated functions, by example; random_test.c does the rest. */
#include "api/api.h"
#include "api/cli_table.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static json_t *json_of(const char *text) {
    json_t *j = NULL;
    struct error e = ERROR_INIT;
    if (json_parse(text, strlen(text), &j, &e) < 0)
        fail_msg("%s: %s", text, e.message);
    return j;
}

static void assert_error(const struct error *e, const char *field, const char *message) {
    assert_int_equal(e->code, ERR_INVALID);
    assert_string_equal(e->field ? e->field : "", field);
    if (!strstr(e->message, message))
        fail_msg("\"%s\" does not contain \"%s\"", e->message, message);
}

static void refused(const struct api_schema *schema, const char *text, const char *field, const char *message) {
    _cleanup_json_ json_t *j = json_of(text);
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_free_ void *object = xcalloc(1, schema->size), *zero = xcalloc(1, schema->size);
    assert_int_equal(api_object_parse(schema, j, API_CREATE, object, &e), -EINVAL);
    assert_memory_equal(object, zero, schema->size);
    assert_error(&e, field, message);
    /* Nobody need want the error. */
    assert_int_equal(api_object_parse(schema, j, API_CREATE, object, NULL), -EINVAL);
}

static void vm_create(const char *text, struct api_vm *ret) {
    _cleanup_json_ json_t *j = json_of(text);
    _cleanup_error_ struct error e = ERROR_INIT;
    if (api_vm_parse(j, API_CREATE, ret, &e) < 0)
        fail_msg("%s: %s %s", text, e.field, e.message);
}

static void test_defaults(void **state) {
    struct api_vm vm;
    vm_create("{\"name\": \"web\", \"cpus\": 4}", &vm);
    assert_string_equal(vm.name, "web");
    assert_string_equal(vm.template, "");
    assert_int_equal(vm.cpus, 4);
    assert_true(vm.given_cpus);
    assert_int_equal(vm.memory, 268435456);
    assert_false(vm.given_memory);
    assert_int_equal(vm.machine, API_MACHINE_Q35);
    assert_int_equal(vm.restart_policy, API_RESTART_POLICY_ON_FAILURE);
    assert_int_equal(vm.n_boot_order, 3);
    assert_int_equal(vm.boot_order[1], API_BOOT_DEVICE_CDROM);
    assert_int_equal(vm.n_nics, 1);
    assert_int_equal(vm.nics[0].model, API_NIC_MODEL_VIRTIO);
    assert_string_equal(vm.nics[0].network, "user");
    assert_int_equal(vm.n_disks, 0);
    assert_null(vm.disks);
    assert_false(vm.has_cloud_init);
    assert_string_equal(vm.cloud_init.user_data, "");
    api_vm_done(&vm);
    api_vm_done(&vm); /* a second time does nothing */
}

static void test_refused(void **state) {
    const struct api_schema *vm = &api_vm_schema;
    refused(vm, "[]", "", "JSON object");
    refused(vm, "{}", "name", "is required");
    refused(vm, "{\"name\": \"\"}", "name", "is empty");
    refused(vm, "{\"name\": null}", "name", "must be text, not null");
    refused(vm, "{\"name\": \"a/b\"}", "name", "other than letters");
    refused(vm, "{\"name\": \"a\", \"cpus\": \"2\"}", "cpus", "must be a whole number, not text");
    refused(vm, "{\"name\": \"a\", \"cpus\": 1.5}", "cpus", "must be a whole number, not a fraction");
    refused(vm, "{\"name\": \"a\", \"cpus\": 0}", "cpus", "must be between 1 and 255, not 0");
    refused(vm, "{\"name\": \"a\", \"cpu\": 1}", "cpu", "unknown field; did you mean \"cpus\"?");
    refused(vm, "{\"name\": \"a\", \"zzzzzzzz\": 1}", "zzzzzzzz", "unknown field");
    refused(vm, "{\"name\": \"a\", \"\\u001b[2J\": 1}", "?", "unknown field");
    refused(vm, "{\"name\": \"a\", \"id\": \"x\"}", "id", "set by Tarn");
    refused(vm, "{\"name\": \"a\", \"machine\": \"pc\"}", "machine", "must be one of q35, microvm, not \"pc\"");
    refused(vm, "{\"name\": \"a\", \"machine\": \"\"}", "machine", "must be one of");
    refused(vm, "{\"name\": \"a\", \"start\": 1}", "start", "must be true or false, not a number");
    refused(vm, "{\"name\": \"a\", \"template\": \"<b>\"}", "template", "");
    refused(vm, "{\"name\": \"a\", \"tags\": \"x\"}", "tags", "must be a list, not text");
    refused(vm, "{\"name\": \"a\", \"tags\": [\"x\", \"\"]}", "tags[1]", "is empty");
    refused(vm, "{\"name\": \"a\", \"boot_order\": [\"disk\", 3]}", "boot_order[1]", "must be text");
    refused(vm, "{\"name\": \"a\", \"boot_order\": [\"disk\",\"disk\",\"disk\",\"disk\"]}", "boot_order",
            "at most 3 items, not 4");
    refused(vm, "{\"name\": \"a\", \"disks\": [{\"size\": 1048576}, {\"size\": 5}]}", "disks[1].size",
            "must be between");
    /* Times as they are written, and not as they are counted. */
    refused(vm, "{\"name\": \"a\", \"ha\": {\"delay\": 7200}}", "ha.delay", "must be between 0 s and 1 h, not 2 h");
    refused(vm, "{\"name\": \"a\", \"ha\": {\"delay\": 3601}}", "ha.delay", "not 3601 s");
    refused(vm, "{\"name\": \"a\", \"ha\": {\"delay\": -60}}", "ha.delay", "not -1 min");
    refused(&api_token_schema, "{\"name\": \"a\", \"lifetime\": 8639913600}", "lifetime",
            "must be between 1 s and 3650 d, not 99999 d");
    refused(vm, "{\"name\": \"a\", \"disks\": [7]}", "disks[0]", "must be an object, not a number");
    refused(vm, "{\"name\": \"a\", \"nics\": [{\"mac\": \"01:00:00:00:00:00\"}]}", "nics[0].mac", "multicast");
    refused(vm, "{\"name\": \"a\", \"nics\": [{\"network\": \"lan\"}]}", "nics[0].network", "must be one of user");
    refused(vm, "{\"name\": \"a\", \"cloud_init\": {\"userdata\": \"\"}}", "cloud_init.userdata",
            "did you mean \"user_data\"");
    refused(vm, "{\"name\": \"a\", \"cloud_init\": []}", "cloud_init", "must be an object");
    refused(vm, "{\"name\": \"a\", \"description\": \"bell \\u0007\"}", "description", "control characters");
    refused(vm, "{\"name\": \"a\", \"description\": \"\\u009b2J\"}", "description", "control characters");
    refused(&api_user_schema, "{\"name\": \"a\"}", "password", "is required");
    refused(&api_user_schema, "{\"name\": \"a\", \"password\": \"short\"}", "password", "at least 8 bytes long, not 5");
    refused(&api_user_schema, "{\"name\": \"a\", \"password\": \"long enough\", \"password_hash\": \"x\"}",
            "password_hash", "unknown field");
    refused(&api_repository_schema, "{\"name\": \"a\", \"path\": \"/a/../b\"}", "path", "component");
    refused(&api_template_schema, "{\"name\": \"a\", \"image\": {\"path\": \"x\"}}", "image.path", "absolute");
    refused(&api_sign_in_schema, "{\"name\": \"a\"}", "password", "is required");
}

/* Every name that issue after issue of every such system is about. */
static void test_names(void **state) {
    static const struct {
        const char *name;
        bool good;
    } cases[] = {{"web", true},     {"新名字", true},    {"web 1", true},
                 {"a.b_c-d", true}, {"..", false},       {"a..b", false},
                 {"a/b", false},    {" a", false},       {"a ", false},
                 {"a  b", false},   {"<script>", false}, {"a\nb", false},
                 {"a\x7f", false},  {"-rf", false},      {"0192f0c4-0000-7000-8000-000000000001", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_json_ json_t *j = json_pack("{s:s}", "name", cases[i].name);
        struct api_vm vm;
        _cleanup_error_ struct error e = ERROR_INIT;
        int r = api_vm_parse(j, API_CREATE, &vm, &e);
        assert_int_equal(r, cases[i].good ? 0 : -EINVAL);
        if (r == 0)
            api_vm_done(&vm);
        else
            assert_string_equal(e.field, "name");
    }
}

static void test_views(void **state) {
    struct api_vm vm;
    vm_create("{\"name\": \"a\", \"start\": true, \"clone\": \"full\", \"disks\": [{\"size\": 1048576}],"
              " \"cloud_init\": {\"user_data\": \"secret\"}}",
              &vm);
    _cleanup_json_ json_t *public = api_vm_print(&vm, API_PUBLIC), *private = api_vm_print(&vm, API_PRIVATE);
    assert_null(json_object_get(public, "cloud_init"));
    assert_string_equal(json_str(json_object_get(private, "cloud_init"), "user_data"), "secret");
    assert_null(json_object_get(private, "start"));
    assert_null(json_object_get(private, "clone"));
    assert_null(json_object_get(json_array_get(json_object_get(private, "disks"), 0), "size"));
    assert_true(vm.start);
    assert_int_equal(vm.clone, API_CLONE_MODE_FULL);
    assert_int_equal(vm.disks[0].size, 1048576);
    api_vm_done(&vm);
}

static void test_stored_and_peer(void **state) {
    _cleanup_json_ json_t *j =
        json_of("{\"name\": \"a/b\", \"cpus\": 100000, \"hat\": 1, \"start\": true, \"state\": \"running\"}");
    struct api_vm vm;
    assert_int_equal(api_vm_parse(j, API_STORED, &vm, NULL), 0);
    assert_string_equal(vm.name, "a/b");
    assert_int_equal(vm.cpus, 100000);
    assert_int_equal(vm.state, API_VM_STATE_RUNNING);
    assert_false(vm.start);
    assert_false(vm.given_cpus);
    api_vm_done(&vm);

    _cleanup_json_ json_t *bad = json_of("{\"vm\": {\"disks\": [{\"disk\": 7}]}}");
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_guest_start start;
    assert_int_equal(api_guest_start_parse(bad, API_PEER, &start, &e), -EINVAL);
    assert_error(&e, "vm.disks[0].disk", "must be text");
    _cleanup_json_ json_t *channel = json_of("{\"type\": \"telnet\", \"new\": 1}");
    struct api_channel_open open;
    assert_int_equal(api_channel_open_parse(channel, API_PEER, &open, &e), -EINVAL);
    assert_error(&e, "type", "must be one of serial, vnc, upload");
    _cleanup_json_ json_t *good = json_of("{\"type\": \"vnc\", \"new\": 1}");
    assert_int_equal(api_channel_open_parse(good, API_PEER, &open, &e), 0);
    assert_string_equal(open.channel, "");
    api_channel_open_done(&open);
}

static int vm_merge(const struct api_vm *old, const char *patch, struct api_vm *ret, struct error *e) {
    _cleanup_json_ json_t *j = json_of(patch);
    return api_vm_merge(old, j, ret, e);
}

static void test_copy_of_an_emptied_array(void **state) {
    struct api_vm vm, copy;
    vm_create("{\"name\": \"a\", \"tags\": [\"x\"]}", &vm);
    free(vm.tags[0]);
    vm.n_tags = 0;
    api_vm_copy(&copy, &vm);
    assert_ptr_not_equal(copy.tags, vm.tags);
    api_vm_done(&vm);
    api_vm_done(&copy);
}

static void test_merge(void **state) {
    struct api_vm old, new;
    _cleanup_error_ struct error e = ERROR_INIT;
    vm_create("{\"name\": \"a\", \"tags\": [\"x\"], \"cloud_init\": {\"user_data\": \"u\", \"meta_data\": \"m\"}}",
              &old);
    str_set(&old.id, "0192f0c4-0000-7000-8000-000000000001");
    assert_int_equal(
        vm_merge(&old, "{\"name\": \"b\", \"tags\": null, \"nics\": null, \"cloud_init\": {\"meta_data\": null}}", &new,
                 &e),
        0);
    assert_string_equal(new.id, old.id);
    assert_string_equal(new.name, "b");
    assert_int_equal(new.n_tags, 0);
    assert_int_equal(new.n_nics, 1);
    assert_true(new.has_cloud_init);
    assert_string_equal(new.cloud_init.user_data, "u");
    assert_string_equal(new.cloud_init.meta_data, "");
    api_vm_done(&new);
    assert_int_equal(vm_merge(&old, "{\"cloud_init\": null}", &new, &e), 0);
    assert_false(new.has_cloud_init);
    assert_string_equal(old.cloud_init.user_data, "u");
    api_vm_done(&new);
    assert_int_equal(vm_merge(&old, "{}", &new, &e), 0);
    _cleanup_json_ json_t *a = api_vm_print(&old, API_PRIVATE), *b = api_vm_print(&new, API_PRIVATE);
    assert_true(json_equal(a, b));
    api_vm_done(&new);

    static const struct {
        const char *patch, *field, *message;
    } bad[] = {
        {"{\"name\": null}", "name", "cannot be removed"},
        {"{\"id\": \"x\"}", "id", "set by Tarn"},
        {"{\"template\": \"x\"}", "template", "not changed"},
        {"{\"start\": true}", "start", "not changed"},
        {"{\"disks\": [{\"size\": 1048576}]}", "disks[0].size", "not changed"},
        {"{\"cpus\": 0}", "cpus", "between"},
        {"{\"cpuz\": 1}", "cpuz", "did you mean"},
        {"{\"cloud_init\": {\"x\": 1}}", "cloud_init.x", "unknown field"},
        {"{\"cloud_init\": 5}", "cloud_init", "an object"},
        {"{\"nics\": [{}, {\"mac\": \"x\"}]}", "nics[1].mac", "form"},
        {"[]", "", "JSON object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(vm_merge(&old, bad[i].patch, &new, &e), -EINVAL);
        assert_error(&e, bad[i].field, bad[i].message);
    }
    api_vm_done(&old);
}

static void test_merge_changeable_input(void **state) {
    struct api_user old, new;
    _cleanup_error_ struct error e = ERROR_INIT;
    api_user_init(&old);
    str_set(&old.name, "root");
    _cleanup_json_ json_t *patch = json_of("{\"password\": \"correct horse\"}"),
                          *name = json_of("{\"name\": \"toor\"}");
    assert_int_equal(api_user_merge(&old, patch, &new, &e), 0);
    assert_string_equal(new.password, "correct horse");
    api_user_done(&new);
    assert_int_equal(api_user_merge(&old, name, &new, &e), -EINVAL);
    assert_error(&e, "name", "not changed");
    api_user_done(&old);
}

static int collect_ref(void *ctx, const char *kind, char **value, const char *field) {
    char *out = ctx;
    size_t len = strlen(out);
    snprintf(out + len, 512 - len, "%s %s=%s;", kind, field, *value);
    str_set(value, "seen");
    return strcmp(field, "disks[1].disk") == 0 ? 7 : 0;
}

static void test_each_ref(void **state) {
    struct api_vm vm;
    char seen[512] = "";
    vm_create("{\"name\": \"a\", \"template\": \"t\", \"disks\": [{\"disk\": \"d\"}, {\"size\": 1048576}]}", &vm);
    assert_int_equal(api_vm_each_ref(&vm, collect_ref, seen), 0);
    assert_string_equal(seen, "template template=t;disk disks[0].disk=d;");
    assert_string_equal(vm.disks[0].disk, "seen");
    str_set(&vm.disks[1].disk, "e");
    seen[0] = 0;
    assert_int_equal(api_kinds[API_KIND_VM].each_ref(&vm, collect_ref, seen), 7);
    api_vm_done(&vm);
}

static void test_printed_text_is_utf8(void **state) {
    struct api_error error;
    api_error_init(&error);
    str_set(&error.message, "caf\xe9 \xff!");
    _cleanup_json_ json_t *j = api_error_print(&error, API_PUBLIC);
    assert_string_equal(json_str(j, "message"), "caf? ?!");
    str_set(&error.field, "caf\xc3\xa9 \x01\x1f\x7f\b\f\n\r\t\"\\/");
    _cleanup_json_ json_t *k = api_error_print(&error, API_PUBLIC);
    _cleanup_free_ char *text = json_text(k);
    _cleanup_buf_ struct buf out = {0};
    api_error_write(&error, API_PUBLIC, &out);
    assert_string_equal(out.data, text);
    api_error_done(&error);
}

static void test_numbers(void **state) {
    static const double values[] = {0, 1, -1.5, 1e300, 0.1, 1.0 / 0.0, 0.0 / 0.0, 1e15, 123456789.125};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct api_vm_stats stats;
        api_vm_stats_init(&stats);
        stats.cpu = values[i];
        stats.memory = i ? INT64_MIN : INT64_MAX;
        _cleanup_json_ json_t *j = api_vm_stats_print(&stats, API_PUBLIC);
        _cleanup_free_ char *text = json_text(j);
        _cleanup_buf_ struct buf out = {0};
        api_vm_stats_write(&stats, API_PUBLIC, &out);
        assert_string_equal(out.data, text);
        api_vm_stats_done(&stats);
    }
}

static void test_enums(void **state) {
    enum api_disk_bus bus = API_DISK_BUS_SATA;
    assert_string_equal(api_disk_bus_text(API_DISK_BUS_VIRTIO_SCSI), "virtio-scsi");
    assert_string_equal(api_disk_bus_text((enum api_disk_bus)99), "virtio-blk");
    assert_int_equal(api_disk_bus_from_text("ide", &bus), -EINVAL);
    assert_int_equal(api_disk_bus_from_text(NULL, &bus), -EINVAL);
    assert_int_equal(bus, API_DISK_BUS_SATA);
    assert_int_equal(api_disk_bus_from_text("virtio-blk", &bus), 0);
    assert_int_equal(bus, API_DISK_BUS_VIRTIO_BLK);
    assert_int_equal(API_DISK_BUS_COUNT, 3);
}

static void test_kinds(void **state) {
    for (int k = 0; k < API_KIND_COUNT; k++) {
        const struct api_kind_info *kind = &api_kinds[k];
        assert_int_equal(api_kind_from_text(kind->name), k);
        _cleanup_free_ void *object = xcalloc(1, kind->size), *copy = xcalloc(1, kind->size);
        kind->init(object);
        str_set(api_kind_id(k, object), "the-id");
        *api_kind_revision(k, object) = 42;
        kind->copy(copy, object);
        _cleanup_json_ json_t *j = kind->print(copy, API_PRIVATE);
        assert_string_equal(json_str(j, "id"), "the-id");
        assert_int_equal(json_int(j, "revision", 0), 42);
        kind->done(object);
        kind->done(copy);
        char path[64];
        struct api_route r;
        snprintf(path, sizeof path, "/%s", kind->plural);
        const struct api_op *op = api_route("GET", path, &r);
        assert_non_null(op);
        assert_true(op->list);
        assert_int_equal(op->kind, k);
    }
    assert_int_equal(api_kind_from_text("car"), -1);
    assert_null(api_kind_name(API_KIND_JOB, &(struct api_job){0}));
}

static void test_operations(void **state) {
    for (int i = 0; i < API_OP_COUNT; i++) {
        const struct api_op *op = &api_ops[i];
        assert_int_equal(op->id, i);
        assert_true(*op->permission && *op->summary && op->roles && op->status);
        assert_true(op->roles & 1u << API_ROLE_ADMINISTRATOR);
        assert_int_equal(op->job, op->status == 202);
        /* Viewers change nothing but what is their own. */
        bool changes = strcmp(op->method, "GET") != 0 && !op->public && !op->self;
        assert_false(changes && (op->roles & 1u << API_ROLE_VIEWER));
    }
    assert_int_equal(api_ops[API_OP_VM_START].roles, 1u << API_ROLE_ADMINISTRATOR | 1u << API_ROLE_OPERATOR);
    assert_int_equal(api_ops[API_OP_USER_CREATE].roles, 1u << API_ROLE_ADMINISTRATOR);
    assert_true(api_ops[API_OP_USER_CHANGE].body_is_change);
    size_t core = 0, shell = 0;
#define X(name) core++;
    API_CORE_OPS(X)
#undef X
#define X(name) shell++;
    API_SHELL_OPS(X)
#undef X
    assert_int_equal(core + shell, API_OP_COUNT);
}

static void test_routes(void **state) {
    struct api_route r;
    const struct api_op *op = api_route("GET", "/sessions/current", &r);
    assert_int_equal(op->id, API_OP_SESSION_SHOW);
    op = api_route("POST", "/vms/%E6%96%b0%20name/start", &r);
    assert_int_equal(op->id, API_OP_VM_START);
    assert_int_equal(r.n_params, 1);
    assert_string_equal(r.params[0], "新 name");
    assert_string_equal(r.allow, "POST");
    assert_null(api_route("PUT", "/vms/a", &r));
    assert_string_equal(r.allow, "GET, PATCH, DELETE");
    assert_null(api_route("get", "/vms/a", &r));

    static const char *const unknown[] = {"",
                                          "/",
                                          "vms",
                                          "/vm",
                                          "/vmss",
                                          "/vms/",
                                          "/vms//start",
                                          "/vms/a/",
                                          "/vms/a/b",
                                          "/vms/a/start/",
                                          "/vms/a/start/x",
                                          "//vms",
                                          "/VMS",
                                          "/{vm}",
                                          "/vms/a/{vm}"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_null(api_route("GET", unknown[i], &r));
        assert_null(r.allow);
        assert_false(r.malformed);
    }
    static const char *const malformed[] = {"/vms/%",         "/vms/%4",    "/vms/a%4/start", "/vms/%zz", "/vms/%00",
                                            "/vms/a%00b",     "/vms/a%2fb", "/vms/a%2Fb",     "/vms/%ff", "/vms/%c0%80",
                                            "/vms/%ed%a0%80", "/vms/%-1",   "/vms/% 1"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        assert_null(api_route("GET", malformed[i], &r));
        assert_null(r.allow);
        assert_int_equal(r.malformed, true);
    }
    char longest[2048];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "/vms/", 5);
    longest[5 + API_ROUTE_TEXT - 1] = 0;
    assert_non_null(api_route("GET", longest, &r));
    assert_int_equal(strlen(r.params[0]), API_ROUTE_TEXT - 1);
    longest[5 + API_ROUTE_TEXT - 1] = 'a';
    longest[5 + API_ROUTE_TEXT] = 0;
    assert_null(api_route("GET", longest, &r));
    assert_true(r.malformed);
}

static void test_agent_tables(void **state) {
    for (int i = 0; i < API_AGENT_OP_COUNT; i++)
        assert_int_equal(api_agent_op_from_text(api_agent_ops[i].name), i);
    for (int i = 0; i < API_AGENT_EVENT_COUNT; i++)
        assert_int_equal(api_agent_event_from_text(api_agent_events[i].name), i);
    assert_true(api_agent_ops[API_AGENT_OP_GUEST_STOP].cancel);
    assert_false(api_agent_ops[API_AGENT_OP_OP_CANCEL].once);
    assert_ptr_equal(api_agent_ops[API_AGENT_OP_GUEST_START].args, &api_guest_start_schema);
    assert_ptr_equal(api_agent_events[API_AGENT_EVENT_GUEST_STATE].args, &api_guest_report_schema);
    assert_int_equal(api_agent_op_from_text("guest"), -1);
    assert_int_equal(api_agent_event_from_text(NULL), -1);
}

static const struct api_cli_flag *flag(const struct api_cli_flag *flags, const char *name) {
    for (; flags->name; flags++)
        if (strcmp(flags->name, name) == 0)
            return flags;
    return NULL;
}

static void test_cli_table(void **state) {
    for (size_t i = 0; i < api_cli_n_commands; i++) {
        const struct api_cli_command *c = &api_cli_commands[i];
        assert_true(*c->summary && *c->object);
        if (strcmp(c->operation, "vm_create") == 0) {
            assert_string_equal(c->args[0], "name");
            assert_null(flag(c->flags, "name"));
            assert_null(flag(c->flags, "id"));
            assert_null(flag(c->flags, "state"));
            assert_int_equal(flag(c->flags, "memory")->type, API_CLI_SIZE);
            assert_int_equal(flag(c->flags, "cpus")->max, 255);
            assert_string_equal(flag(c->flags, "template")->ref, "template");
            assert_int_equal(flag(flag(c->flags, "disk")->members, "size")->type, API_CLI_SIZE);
            assert_string_equal(flag(c->flags, "machine")->choices[1], "microvm");
        } else if (strcmp(c->operation, "vm_change") == 0) {
            assert_non_null(flag(c->flags, "name"));
            assert_null(flag(c->flags, "template"));
            assert_null(flag(flag(c->flags, "disk")->members, "size"));
        }
    }
}

static void test_openapi(void **state) {
    _cleanup_json_ json_t *j = NULL;
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_int_equal(api_openapi_json[api_openapi_json_len], 0);
    assert_int_equal(json_parse(api_openapi_json, api_openapi_json_len, &j, &e), 0);
    json_t *paths = json_object_get(j, "paths");
    for (int i = 0; i < API_OP_COUNT; i++)
        assert_non_null(json_object_get(paths, api_ops[i].path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_views),
        cmocka_unit_test(test_stored_and_peer), cmocka_unit_test(test_copy_of_an_emptied_array),
        cmocka_unit_test(test_merge),           cmocka_unit_test(test_merge_changeable_input),
        cmocka_unit_test(test_each_ref),        cmocka_unit_test(test_printed_text_is_utf8),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_enums),
        cmocka_unit_test(test_kinds),           cmocka_unit_test(test_operations),
        cmocka_unit_test(test_routes),          cmocka_unit_test(test_agent_tables),
        cmocka_unit_test(test_cli_table),       cmocka_unit_test(test_openapi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
