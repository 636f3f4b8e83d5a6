/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core in the world of test_world.h. Every kind of job is run whole, then again with the manager crashing after its
 * 1st, 2nd, … commit, with the store failing there, with the agent's connection cut there, and aborted there: it must
 * end all or nothing.
 */
#include "core/test_world.h"

#include <errno.h>
#include <stdio.h>

/* ---- scenarios: one for every kind of job ---- */

struct scenario {
    const char *kind;
    void (*prepare)(struct world *w);
    enum api_op_id op;
    const char *param, *body;
};

static void with_vm(struct world *w) {
    make_template(w);
    assert_int_equal(
        ask(w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\",\"disks\":[{\"size\":2097152}]}"), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_STOPPED);
}
static void with_running(struct world *w) {
    with_vm(w);
    assert_int_equal(ask(w, API_OP_VM_START, "v", NULL), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}
static void with_suspended(struct world *w) {
    with_running(w);
    assert_int_equal(ask(w, API_OP_VM_SUSPEND, "v", NULL), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_SUSPENDED);
}
static void with_isos(struct world *w) {
    assert_int_equal(ask(w, API_OP_ISO_CREATE, NULL, "{\"name\":\"one\",\"image\":{\"path\":\"/1.iso\"}}"), 202);
    assert_int_equal(ask(w, API_OP_ISO_CREATE, NULL, "{\"name\":\"two\",\"image\":{\"path\":\"/2.iso\"}}"), 202);
}
/* It has a drive with "one" in it, and runs. */
static void with_drive(struct world *w) {
    with_isos(w);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"cdrom\":\"one\",\"start\":true,\"disks\":[{\"size\":1048576}]}"),
                     202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}
static void with_template(struct world *w) { make_template(w); }
static void with_disk(struct world *w) {
    assert_int_equal(ask(w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
}
static void with_empty_repository(struct world *w) {
    make_template(w);
    assert_int_equal(ask(w, API_OP_TEMPLATE_DELETE, "t", NULL), 202);
}
static void with_servers(struct world *w) {
    assert_int_equal(ask(w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
    world_add(w);
    world_add(w);
}
static void with_shared(struct world *w) {
    with_servers(w);
    assert_int_equal(
        ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"shared\",\"path\":\"/s\",\"servers\":[\"s1\",\"s2\"]}"),
        202);
}
static void with_pool_repository(struct world *w) {
    with_servers(w);
    assert_int_equal(ask(w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_int_equal(ask(w, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"shared\",\"path\":\"/s\",\"pool\":\"p\"}"),
                     202);
}
static void with_two_members(struct world *w) {
    with_pool_repository(w);
    assert_int_equal(ask(w, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"), 202);
    assert_int_equal(ask(w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"v\",\"repository\":\"shared\",\"server\":\"s1\",\"disks\":[{\"size\":2097152}]}"),
                     202);
}
static void with_fence(struct world *w) {
    assert_int_equal(ask(w, API_OP_SERVER_CHANGE, "s1", "{\"fence\":{\"agent\":\"fence_dummy\"}}"), 200);
}
static void with_pool(struct world *w) {
    with_vm(w);
    assert_int_equal(ask(w, API_OP_POOL_CREATE, NULL, "{\"name\":\"p\"}"), 201);
}
static void with_member(struct world *w) {
    with_pool(w);
    assert_int_equal(ask(w, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"), 202);
    assert_string_equal(core_vm(w->c, "v")->pool, core_server(w->c, "s1")->pool);
}
static void with_guest_to_move(struct world *w) {
    with_two_members(w);
    assert_int_equal(ask(w, API_OP_VM_START, "v", NULL), 202);
    assert_int_equal(core_vm(w->c, "v")->state, API_VM_STATE_RUNNING);
}
static void with_maintenance(struct world *w) {
    with_two_members(w);
    assert_int_equal(ask(w, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"), 202);
    assert_int_equal(core_server(w->c, "s1")->maintenance, API_MAINTENANCE_STATE_ON);
}
static void none(struct world *w) {}

static const struct scenario scenarios[] = {
    {"repository.create", none, API_OP_REPOSITORY_CREATE, NULL, "{\"name\":\"other\",\"path\":\"/o\"}"},
    {"repository.delete", with_empty_repository, API_OP_REPOSITORY_DELETE, "local", NULL},
    {"upload.create", none, API_OP_UPLOAD_CREATE, NULL, "{\"name\":\"y.img\",\"size\":10}"},
    {"upload.delete", none, API_OP_UPLOAD_DELETE, "UPLOAD", NULL},
    {"disk.create", none, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"},
    {"disk.delete", with_disk, API_OP_DISK_DELETE, "d", NULL},
    {"template.create", none, API_OP_TEMPLATE_CREATE, NULL,
     "{\"name\":\"t\",\"kernel_image\":{\"upload\":\"UPLOAD\"},\"initrd_image\":{\"path\":\"/i\"}}"},
    {"template.create", with_vm, API_OP_TEMPLATE_CREATE, NULL, "{\"name\":\"gold\",\"from_vm\":\"v\"}"},
    {"template.delete", with_template, API_OP_TEMPLATE_DELETE, "t", NULL},
    {"vm.create", with_template, API_OP_VM_CREATE, NULL,
     "{\"name\":\"n\",\"template\":\"t\",\"start\":true,\"disks\":[{\"size\":1048576}]}"},
    {"vm.delete", with_vm, API_OP_VM_DELETE, "v", NULL},
    {"vm.start", with_vm, API_OP_VM_START, "v", NULL},
    {"vm.stop", with_running, API_OP_VM_STOP, "v", "{\"timeout\":5}"},
    {"vm.kill", with_running, API_OP_VM_KILL, "v", NULL},
    {"vm.restart", with_running, API_OP_VM_RESTART, "v", NULL},
    {"vm.suspend", with_running, API_OP_VM_SUSPEND, "v", NULL},
    {"vm.resume", with_suspended, API_OP_VM_RESUME, "v", NULL},
    {"disk.create", none, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"image\":{\"upload\":\"UPLOAD\"}}"},
    {"iso.create", none, API_OP_ISO_CREATE, NULL, "{\"name\":\"i\",\"image\":{\"upload\":\"UPLOAD\"}}"},
    {"iso.delete", with_isos, API_OP_ISO_DELETE, "one", NULL},
    {"vm.create", with_isos, API_OP_VM_CREATE, NULL,
     "{\"name\":\"n\",\"cdrom\":\"two\",\"start\":true,\"disks\":[{\"image\":{\"upload\":\"UPLOAD\"}}]}"},
    {"vm.cdrom", with_drive, API_OP_VM_CDROM, "v", "{\"iso\":\"two\"}"},
    {"vm.cdrom", with_drive, API_OP_VM_CDROM, "v", "{}"},
    {"vm.policy", with_running, API_OP_VM_CHANGE, "v", "{\"name\":\"renamed\"}"},
    {"pool.add", with_pool, API_OP_POOL_ADD, "p", "{\"server\":\"s1\"}"},
    {"pool.add", with_pool_repository, API_OP_POOL_ADD, "p", "{\"server\":\"s2\"}"},
    {"repository.create", with_servers, API_OP_REPOSITORY_CREATE, NULL,
     "{\"name\":\"other\",\"path\":\"/o\",\"servers\":[\"s1\",\"s2\",\"s3\"]}"},
    {"server.maintenance", with_guest_to_move, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":true}"},
    {"server.maintenance", with_maintenance, API_OP_SERVER_MAINTENANCE, "s1", "{\"on\":false}"},
    {"repository.present", with_shared, API_OP_REPOSITORY_PRESENT, "shared", "{\"server\":\"s3\"}"},
    {"repository.withdraw", with_shared, API_OP_REPOSITORY_WITHDRAW, "shared", "{\"server\":\"s1\"}"},
    {"repository.delete", with_shared, API_OP_REPOSITORY_DELETE, "shared", NULL},
    {"pool.remove", with_two_members, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"},
    {"pool.remove", with_member, API_OP_POOL_REMOVE, "p", "{\"server\":\"s1\"}"},
    {"server.fence", with_fence, API_OP_SERVER_FENCE, "s1", "{\"action\":\"status\"}"},
};

/* Each server knows its own guests, and has open what is presented to it. */
static void check_agents(struct world *w, const char *kind) {
    for (size_t a = 0; a < w->n_agents; a++) {
        size_t pos = 0;
        const char *key;
        void *v;
        while (map_next(&w->agents[a].guests, &pos, &key, &v))
            if (!core_vm(w->c, key) || !str_eq(core_vm(w->c, key)->server, w->agents[a].id))
                fail_msg("%s: %s still has the guest %s", kind, w->agents[a].name, key);
        pos = 0;
        while (map_next(&w->agents[a].opened, &pos, &key, &v))
            if (!repository_on(core_data(w->c, API_KIND_REPOSITORY, key), w->agents[a].id))
                fail_msg("%s: %s still has the repository %s", kind, w->agents[a].name, key);
    }
}

/* Nothing half done, and the agent has exactly what the inventory says. */
static void check_world(struct world *w, const struct scenario *s) {
    struct table *jobs = &w->c->tables[API_KIND_JOB];
    for (size_t i = 0; i < jobs->n; i++) {
        const struct api_job *j = jobs->sorted[i]->v->data;
        assert_true(j->state >= API_JOB_STATE_DONE);
    }
    assert_int_equal(map_count(&w->c->locks), 0);
    size_t expected = 0;
    for (int kind = 0; kind < API_KIND_COUNT; kind++) {
        struct table *t = &w->c->tables[kind];
        for (size_t i = 0; i < t->n; i++) {
            char key[128];
            void *d = t->sorted[i]->v->data;
            snprintf(key, sizeof key, "%s/%s", api_kinds[kind].name, t->sorted[i]->id);
            assert_non_null(map_get(&w->store, key));
            if (kind == API_KIND_DISK || kind == API_KIND_TEMPLATE || kind == API_KIND_REPOSITORY ||
                kind == API_KIND_UPLOAD || kind == API_KIND_ISO) {
                expected++;
                if (!map_get(&w->things, key))
                    fail_msg("%s: the inventory has %s, the agent has not", s->kind, key);
            }
            if (kind == API_KIND_DISK)
                assert_int_equal(((struct api_disk *)d)->state, API_OBJECT_STATE_READY);
            if (kind == API_KIND_TEMPLATE)
                assert_int_equal(((struct api_template *)d)->state, API_OBJECT_STATE_READY);
            if (kind == API_KIND_ISO)
                assert_int_equal(((struct api_iso *)d)->state, API_OBJECT_STATE_READY);
            if (kind == API_KIND_VM) {
                const struct api_vm *vm = d;
                const char *real = NULL;
                for (size_t a = 0; a < w->n_agents; a++)
                    if (str_eq(vm->server, w->agents[a].id))
                        real = map_get(&w->agents[a].guests, vm->id);
                if (!str_eq(real ? real : "stopped", api_vm_state_text(vm->state)))
                    fail_msg("%s: %s is %s in the inventory and %s in truth", s->kind, vm->name,
                             api_vm_state_text(vm->state), real);
            }
        }
    }
    check_agents(w, s->kind);
    size_t pos = 0, n = 0;
    const char *key;
    void *v;
    while (map_next(&w->things, &pos, &key, &v))
        n += strncmp(key, "proof/", 6) != 0 && strncmp(key, "told/", 5) != 0; /* one may be left; it is an empty file */
    if (n != expected)
        fail_msg("%s: the agents have %zu things, the inventory %zu", s->kind, n, expected);
}

static void run_scenario(struct world *w, const struct scenario *s, enum fault fault, size_t at, const char *fail_op) {
    world_up(w);
    s->prepare(w);
    const char *upload = NULL;
    if ((s->param && str_eq(s->param, "UPLOAD")) || (s->body && strstr(s->body, "UPLOAD")))
        complete_upload(w, &upload);
    _cleanup_free_ char *body = xstrdup(s->body), *id = xstrdup(upload);
    char *mark = body ? strstr(body, "UPLOAD") : NULL;
    if (mark) {
        *mark = 0;
        str_take(&body, xasprintf("%s%s%s", body, id, mark + 6));
    }
    w->fault = fault;
    w->fault_at = at;
    w->commits = 0;
    w->fail_op = fail_op;
    ask(w, s->op, upload && s->param ? id : s->param, body);
    settle(w);
}

static void test_every_kind_has_a_scenario(void **state) {
    for (int op = 0; op < API_OP_COUNT; op++) {
        if (!api_ops[op].job_kind || str_eq(api_ops[op].job_kind, "vm.migrate")) /* it has tests of its own */
            continue;
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(scenarios) && !found; i++)
            found = str_eq(scenarios[i].kind, api_ops[op].job_kind);
        if (!found)
            fail_msg("no scenario for %s", api_ops[op].job_kind);
        assert_non_null(job_kind_by_name(api_ops[op].job_kind));
    }
}

static void test_whole(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        struct world w;
        run_scenario(&w, &scenarios[i], NO_FAULT, 0, NULL);
        const struct api_job *j = last_job(&w, scenarios[i].kind);
        if (!j || j->state != API_JOB_STATE_DONE)
            fail_msg("%s: %d %s; %s", scenarios[i].kind, w.status, w.reply ? w.reply : "", j ? j->error : "no job");
        check_world(&w, &scenarios[i]);
        world_down(&w);
    }
}

static size_t each_commit(enum fault fault) {
    size_t points = 0;
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++) {
        for (size_t at = 1;; at++) {
            struct world w;
            run_scenario(&w, &scenarios[i], fault, at, NULL);
            bool fired = w.fired;
            if (fired) {
                points++;
                check_world(&w, &scenarios[i]);
            }
            world_down(&w);
            if (!fired)
                break;
            assert_true(at < 100);
        }
    }
    return points;
}

static void test_crash_at_each_commit(void **state) { print_message("%zu points\n", each_commit(CRASH)); }
static void test_crash_before_each_commit(void **state) { print_message("%zu points\n", each_commit(CRASH_BEFORE)); }
static void test_store_fails_after_each_commit(void **state) {
    print_message("%zu points\n", each_commit(STORE_FAILS));
}
static void test_connection_cut_after_each_commit(void **state) { print_message("%zu points\n", each_commit(CUT)); }
static void test_abort_after_each_commit(void **state) { print_message("%zu points\n", each_commit(ABORT)); }

/* With many servers an agent's "this server" says nothing to who reads it. */
static void test_errors_name_the_server(void **state) {
    static const struct {
        enum error_code code;
        const char *said, *told;
    } cases[] = {
        {ERR_UNSUPPORTED, "this server has no UEFI firmware; install ovmf",
         "server \"s1\" has no UEFI firmware; install ovmf"},
        {ERR_IO, "the repository /r is not open on this server, and this server is busy",
         "the repository /r is not open on server \"s1\", and server \"s1\" is busy"},
        {ERR_NO_SPACE, "no space left in /r", "server \"s1\": no space left in /r"},
        {ERR_GUEST, "s1 has said it", "s1 has said it"},
        {ERR_CONFLICT, "the name is taken", "the name is taken"},
        {ERR_BAD_IMAGE, "the image is damaged", "the image is damaged"},
    };
    struct world w;
    world_of(&w, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_json_ json_t *said =
            json_pack("{s:s, s:s}", "code", error_code_text(cases[i].code), "message", cases[i].said);
        assert_true(core_agent_error(w.c, w.agents[0].id, said, &e) < 0);
        assert_string_equal(e.message, cases[i].told);
    }
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_json_ json_t *ids =
        json_pack("{s:s, s:s+++}", "code", "not-found", "message", w.agents[0].id,
                  " has no disk 01234567-89ab-7def-8123-456789abcdef, nor /r/", w.agents[0].id, ".raw");
    core_agent_error(w.c, w.agents[0].id, ids, &e);
    assert_string_equal(e.message, "\"s1\" has no disk 01234567-89ab-7def-8123-456789abcdef, nor /r/\"s1\".raw");
    world_down(&w);
}

static void test_failing_op_is_undone(void **state) {
    struct world w;
    run_scenario(&w,
                 &(struct scenario){"vm.create", with_template, API_OP_VM_CREATE, NULL,
                                    "{\"name\":\"n\",\"template\":\"t\",\"start\":true}"},
                 NO_FAULT, 0, "guest.start");
    const struct api_job *j = last_job(&w, "vm.create");
    assert_int_equal(j->state, API_JOB_STATE_FAILED);
    assert_string_equal(j->error, "server \"s1\": it broke");
    assert_null(core_vm(w.c, "n"));
    assert_int_equal(w.c->tables[API_KIND_DISK].n, 0);
    check_world(&w, &scenarios[0]);
    world_down(&w);
}

static void test_write_ahead(void **state) {
    struct world w;
    world_up(&w);
    struct core_request r = {.id = ++w.request,
                             .op = API_OP_USER_DELETE,
                             .actor = "a",
                             .role = API_ROLE_ADMINISTRATOR,
                             .params = {"nobody"}};
    core_request(w.c, &r);
    pump(&w);
    assert_int_equal(w.status, 404);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:i}", "name", "d", "size", 1 << 20);
    r = (struct core_request){
        .id = ++w.request, .op = API_OP_DISK_CREATE, .actor = "a", .role = API_ROLE_ADMINISTRATOR, .body = body};
    core_request(w.c, &r);
    struct core_effect *e = core_next_effect(w.c);
    assert_int_equal(e->kind, CORE_COMMIT);
    assert_null(core_next_effect(w.c)); /* neither the reply nor the message to the agent before it is durable */
    uint64_t seq = e->seq;
    core_effect_free(e);
    core_stored(w.c, seq, -EIO);
    e = core_next_effect(w.c);
    assert_int_equal(e->kind, CORE_REPLY);
    assert_int_equal(e->status, 503);
    core_effect_free(e);
    assert_null(core_find(w.c, API_KIND_DISK, "d"));
    assert_true(core_read_only(w.c));
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 503);
    assert_int_equal(ask(&w, API_OP_VM_LIST, NULL, NULL), 200);
    settle(&w);
    assert_false(core_read_only(w.c));
    assert_int_equal(ask(&w, API_OP_DISK_CREATE, NULL, "{\"name\":\"d\",\"size\":1048576}"), 202);
    world_down(&w);
}

/* A server's report takes a job's message back, in memory only: that must not tell of the job before the job is
 * durable. */
static void test_what_is_not_stored_tells_of_nothing_not_durable(void **state) {
    struct world w;
    world_up(&w);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:i}", "name", "d", "size", 1 << 20);
    struct core_request r = {
        .id = ++w.request, .op = API_OP_DISK_CREATE, .actor = "a", .role = API_ROLE_ADMINISTRATOR, .body = body};
    core_request(w.c, &r);
    struct core_effect *e = core_next_effect(w.c);
    const struct api_job *job = NULL;
    struct table *t = &w.c->tables[API_KIND_JOB];
    for (size_t i = 0; i < t->n; i++)
        if (((const struct api_job *)t->sorted[i]->v->data)->state == API_JOB_STATE_RUNNING)
            job = t->sorted[i]->v->data;
    _cleanup_json_ json_t *m = json_pack("{s:s, s:{s:o, s:i, s:s}}", "event", "op.progress", "args", "op",
                                         json_sprintf("%s/0/do", job->id), "percent", 50, "message", "half");
    core_agent_message(w.c, w.agents[0].id, m);
    assert_null(core_next_effect(w.c));
    core_stored(w.c, e->seq, 0);
    core_effect_free(e);
    assert_non_null(e = core_next_effect(w.c));
    core_effect_free(e);
    world_down(&w);
}

static void change_in_memory(struct world *w, const char *reason) {
    const struct api_server *s = core_server(w->c, "s1");
    struct api_server *put = CORE_COPY(server, SERVER, s);
    str_set(&put->state_reason, reason);
    core_put_volatile(w->c, API_KIND_SERVER, put);
}

/* … and is told in the order in which it changed, whatever becomes of the rest of its transaction. */
static void test_what_is_not_stored_is_told_in_order(void **state) {
    struct world w;
    world_up(&w);
    core_begin(w.c);
    core_put(w.c, API_KIND_REPOSITORY,
             CORE_COPY(repository, REPOSITORY, CORE_GET(w.c, repository, REPOSITORY, "local")));
    change_in_memory(&w, "one");
    core_end(w.c);
    core_begin(w.c);
    change_in_memory(&w, "two");
    core_end(w.c);
    uint64_t seq = 0;
    char *told[4] = {0};
    size_t n = 0;
    for (struct core_effect *e; (e = core_next_effect(w.c)); core_effect_free(e)) {
        if (e->kind == CORE_COMMIT)
            seq = e->seq;
        else if (n < ARRAY_LEN(told))
            told[n++] = xstrdup(e->text);
    }
    assert_int_equal(n, 2);
    assert_non_null(strstr(told[0], "\"state_reason\":\"one\""));
    assert_non_null(strstr(told[1], "\"state_reason\":\"two\""));
    for (size_t i = 0; i < n; i++)
        free(told[i]);
    core_stored(w.c, seq, -EIO);
    assert_string_equal(core_server(w.c, "s1")->state_reason, "two");
    world_down(&w);
}

static void test_queue_and_kill_passes_stop(void **state) {
    struct world w;
    world_up(&w);
    with_running(&w);
    w.agents[0].connected = false; /* the agent does not get to see the stop: it waits */
    assert_int_equal(ask(&w, API_OP_VM_STOP, "v", NULL), 202);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_STOPPING);
    assert_int_equal(ask(&w, API_OP_VM_START, "v", NULL), 202);
    const struct api_job *j = last_job(&w, "vm.start");
    assert_int_equal(j->state, API_JOB_STATE_QUEUED);
    assert_int_equal(j->n_waiting_for, 1);
    _cleanup_free_ char *id = xstrdup(j->id);
    assert_int_equal(ask(&w, API_OP_JOB_ABORT, id, NULL), 200);
    assert_int_equal(((struct api_job *)core_data(w.c, API_KIND_JOB, id))->state, API_JOB_STATE_ABORTED);
    assert_int_equal(ask(&w, API_OP_VM_KILL, "v", NULL), 202);
    assert_true(last_job(&w, "vm.stop")->abort_requested);
    settle(&w);
    assert_int_equal(core_vm(w.c, "v")->state, API_VM_STATE_STOPPED);
    world_down(&w);
}

static void test_names_and_refusals(void **state) {
    struct world w;
    world_up(&w);
    with_vm(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"v\",\"template\":\"t\"}"), 409);
    assert_non_null(strstr(w.reply, "\"field\":\"name\""));
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"w\",\"template\":\"nope\"}"), 404);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"w\",\"memory\":17179869184}"), 507);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"w\",\"disks\":[{\"bus\":\"sata\"}]}"), 400);
    assert_int_equal(
        ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"w\",\"disks\":[{\"size\":1048576},{\"disk\":\"v-1\"}]}"), 409);
    assert_int_equal(w.c->tables[API_KIND_DISK].n, 2); /* what the refused request had made is taken back */
    assert_int_equal(ask(&w, API_OP_TEMPLATE_DELETE, "t", NULL), 409);
    assert_non_null(strstr(w.reply, "\\\"v\\\""));
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "v", "{\"cpus\":2,\"name\":\"v2\"}"), 200);
    assert_int_equal(ask(&w, API_OP_VM_START, "v2", NULL), 202);
    assert_int_equal(ask(&w, API_OP_VM_START, "v2", NULL), 409);
    assert_int_equal(ask(&w, API_OP_VM_CHANGE, "v2", "{\"cpus\":1}"), 409);
    assert_int_equal(ask(&w, API_OP_VM_DELETE, "v2", NULL), 409);
    assert_int_equal(ask(&w, API_OP_REPOSITORY_DELETE, "local", NULL), 409);
    struct core_request r = {
        .id = ++w.request, .op = API_OP_VM_START, .actor = "x", .role = API_ROLE_VIEWER, .params = {"v2"}};
    core_request(w.c, &r);
    pump(&w);
    assert_int_equal(w.status, 403);
    world_down(&w);
}

static void test_lists(void **state) {
    struct world w;
    world_up(&w);
    for (int i = 0; i < 25; i++) {
        _cleanup_free_ char *body =
            xasprintf("{\"name\":\"vm%02d\",\"cpus\":%d,\"tags\":[\"%s\"]}", i, 1 + i % 3, i % 2 ? "odd" : "even");
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    size_t seen = 0;
    _cleanup_free_ char *after = NULL;
    static const char *const sorts[] = {NULL, "-name", "cpus", "-cpus"};
    for (size_t k = 0; k < ARRAY_LEN(sorts); k++) {
        seen = 0;
        str_set(&after, NULL);
        do {
            struct core_request r = {
                .id = ++w.request,
                .op = API_OP_VM_LIST,
                .actor = "a",
                .role = API_ROLE_VIEWER,
                .query = {
                    .filter = "tags=odd,cpus!=3", .sort = sorts[k], .limit = 4, .after = after, .fields = "name,cpus"}};
            core_request(w.c, &r);
            pump(&w);
            assert_int_equal(w.status, 200);
            _cleanup_json_ json_t *j = json_loads(w.reply, 0, NULL);
            seen += json_array_size(json_object_get(j, "items"));
            assert_null(json_object_get(json_array_get(json_object_get(j, "items"), 0), "id"));
            str_set(&after, json_string_value(json_object_get(j, "next")));
        } while (after);
        assert_int_equal(seen, 8);
    }
    struct core_request r = {
        .id = ++w.request, .op = API_OP_VM_LIST, .actor = "a", .role = API_ROLE_VIEWER, .query = {.filter = "nope=1"}};
    core_request(w.c, &r);
    pump(&w);
    assert_int_equal(w.status, 400);
    r = (struct core_request){.id = ++w.request,
                              .op = API_OP_VM_LIST,
                              .actor = "a",
                              .role = API_ROLE_VIEWER,
                              .query = {.filter = "server=s1", .limit = 1000}};
    core_request(w.c, &r);
    pump(&w);
    _cleanup_json_ json_t *j = json_loads(w.reply, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(j, "items")), 25);
    world_down(&w);
}

static int listed(struct world *w, const char *filter) {
    struct core_request r = {.id = ++w->request,
                             .op = API_OP_VM_LIST,
                             .actor = "a",
                             .role = API_ROLE_VIEWER,
                             .query = {.filter = filter, .limit = 1000}};
    core_request(w->c, &r);
    pump(w);
    _cleanup_json_ json_t *j = json_loads(w->reply, 0, NULL);
    return w->status == 200 ? (int)json_array_size(json_object_get(j, "items")) : -w->status;
}

/* A size with its unit is that many bytes, and not the digits before the unit. */
static void test_numbers_in_filters(void **state) {
    struct world w;
    world_up(&w);
    for (int i = 1; i <= 4; i++) {
        _cleanup_free_ char *body =
            xasprintf("{\"name\":\"vm-%d\",\"cpus\":%d,\"memory\":%lld}", i, i, (long long)i * 96 << 20);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    assert_int_equal(listed(&w, "memory>100MiB"), 3);
    assert_int_equal(listed(&w, "memory<=192MiB"), 2);
    assert_int_equal(listed(&w, "memory=192MiB"), 1);
    assert_int_equal(listed(&w, "memory=201326592"), 1);
    assert_int_equal(listed(&w, "memory!=192MiB"), 3);
    assert_int_equal(listed(&w, "cpus>=3"), 2);
    assert_int_equal(listed(&w, "cpus>2.5"), 2);
    assert_int_equal(listed(&w, "cpus=2"), 1);
    assert_int_equal(listed(&w, "cpus~2"), 1);
    assert_int_equal(listed(&w, "cpus>many"), -400);
    assert_int_equal(listed(&w, "cpus="), -400);
    assert_int_equal(listed(&w, "memory>100 MB?"), -400);
    world_down(&w);
}

static void test_agent_nonsense(void **state) {
    struct world w;
    world_up(&w);
    static const char *const messages[] = {
        "{}",
        "{\"event\":1}",
        "{\"event\":\"report\"}",
        "{\"event\":\"guest.state\",\"args\":[]}",
        "{\"id\":\"\"}",
        "{\"id\":\"x/y/z\",\"ok\":true}",
        "{\"event\":\"op.progress\",\"args\":{\"op\":\"////\",\"percent\":1e9}}",
        "{\"event\":\"report\",\"args\":{\"guests\":[{\"vm\":5}]}}",
        "{\"event\":\"upload.received\",\"args\":{\"upload\":\"\",\"received\":-1}}"};
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        _cleanup_json_ json_t *m = json_loads(messages[i], 0, NULL);
        core_agent_message(w.c, w.agents[0].id, m);
        pump(&w);
    }
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_has_a_scenario),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_write_ahead),
        cmocka_unit_test(test_what_is_not_stored_tells_of_nothing_not_durable),
        cmocka_unit_test(test_what_is_not_stored_is_told_in_order),
        cmocka_unit_test(test_failing_op_is_undone),
        cmocka_unit_test(test_errors_name_the_server),
        cmocka_unit_test(test_crash_at_each_commit),
        cmocka_unit_test(test_crash_before_each_commit),
        cmocka_unit_test(test_store_fails_after_each_commit),
        cmocka_unit_test(test_connection_cut_after_each_commit),
        cmocka_unit_test(test_abort_after_each_commit),
        cmocka_unit_test(test_queue_and_kill_passes_stop),
        cmocka_unit_test(test_names_and_refusals),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_numbers_in_filters),
        cmocka_unit_test(test_agent_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
