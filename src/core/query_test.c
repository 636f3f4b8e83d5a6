/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of lists in every order, while the inventory changes; filters of what is in the store only. */
#include "core/test_world.h"

#define VMS 23

static unsigned seed = 1;
static int any(int n) { return (int)((seed = seed * 1103515245u + 12345u) >> 16) % n; }

/* A page, and where the next one begins. */
static json_t *page(struct world *w, const char *sort, const char *filter, const char *after, char **ret_next) {
    struct core_request r = {.id = ++w->request,
                             .op = API_OP_VM_LIST,
                             .actor = "a",
                             .role = API_ROLE_VIEWER,
                             .query = {.sort = sort, .filter = filter, .after = after, .limit = 4}};
    core_request(w->c, &r);
    pump(w);
    assert_int_equal(w->status, 200);
    _cleanup_json_ json_t *j = json_loads(w->reply, 0, NULL);
    *ret_next = json_object_get(j, "next") ? xstrdup(json_str(j, "next")) : NULL;
    return json_incref(json_object_get(j, "items"));
}

static json_t *whole(struct world *w, const char *sort, const char *filter) {
    json_t *all = json_array();
    char *after = NULL;
    do {
        char *next;
        _cleanup_json_ json_t *items = page(w, sort, filter, after, &next);
        assert_true(json_array_size(items) <= 4);
        json_array_extend(all, items);
        free(after);
        after = next;
    } while (after);
    return all;
}

static int compare(const json_t *a, const json_t *b, const char *field) {
    const json_t *x = json_object_get(a, field), *y = json_object_get(b, field);
    if (json_is_array(x)) { /* by its first element; those without one come first */
        x = json_array_get(x, 0);
        y = json_array_get(y, 0);
    }
    int r = json_is_number(x)
                ? (json_number_value(x) > json_number_value(y)) - (json_number_value(x) < json_number_value(y))
                : strcmp(x ? json_string_value(x) : "", y ? json_string_value(y) : "");
    return r ? r : strcmp(json_str(a, "id"), json_str(b, "id"));
}

static void check_all(struct world *w, const char *filter, size_t n) {
    static const char *const fields[] = {"cpus", "description", "memory", "state", "tags", "revision", "created"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        _cleanup_free_ char *down = xasprintf("-%s", fields[i]);
        _cleanup_json_ json_t *up = whole(w, fields[i], filter), *back = whole(w, down, filter);
        assert_int_equal(json_array_size(up), n);
        assert_int_equal(json_array_size(back), n);
        for (size_t k = 0; k < n; k++)
            assert_true(json_equal(json_array_get(up, k), json_array_get(back, n - 1 - k)));
        for (size_t k = 1; k < n; k++)
            assert_true(compare(json_array_get(up, k - 1), json_array_get(up, k), fields[i]) < 0);
    }
}

static void change_some(struct world *w, int n) {
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *name = xasprintf("vm%02d", any(VMS)),
                            *body = any(3) ? xasprintf("{\"description\":\"%d\",\"tags\":[\"t%d\"]}", any(9), any(3))
                                           : xasprintf("{\"cpus\":%d,\"tags\":[]}", 1 + any(5));
        assert_int_equal(ask(w, API_OP_VM_CHANGE, name, body), 200);
    }
}

static void test_orders(void **state) {
    struct world w;
    world_up(&w);
    for (int i = 0; i < VMS; i++) {
        _cleanup_free_ char *body = xasprintf("{\"name\":\"vm%02d\",\"cpus\":%d}", i, 1 + i % 3);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    for (int round = 0; round < 12; round++) {
        check_all(&w, NULL, VMS);
        check_all(&w, "server=s1", VMS);
        check_all(&w, "server!=s1", 0);
        change_some(&w, 6);
        if (round == 4) { /* what fails is taken back in every order */
            w.store_down = true;
            assert_true(ask(&w, API_OP_VM_CHANGE, "vm03", "{\"cpus\":60,\"description\":\"zzz\"}") >= 500);
            w.store_down = false;
            settle(&w);
        }
        if (round == 6) {
            assert_int_equal(ask(&w, API_OP_VM_DELETE, "vm07", NULL), 202);
            assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, "{\"name\":\"vm07\"}"), 202);
            assert_int_equal(ask(&w, API_OP_VM_CHANGE, "vm09", "{\"cpus\":0}"), 400);
        }
        if (round == 8) /* nobody asks for a while */
            for (int i = 0; i < 7; i++) {
                w.ms += 60000;
                core_set_time(w.c, w.ms, w.ms);
                core_tick(w.c);
                pump(&w);
            }
    }
    world_down(&w);
}

static void test_numbers(void **state) {
    struct world w;
    world_up(&w);
    for (int i = 0; i < 12; i++) {
        _cleanup_free_ char *body = xasprintf("{\"name\":\"vm%02d\",\"cpus\":%d}", i, 1 + i);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    static const struct {
        const char *filter;
        size_t n;
    } cases[] = {{"cpus=3", 1}, {"cpus=03", 0},  {"cpus=3.0", 0},   {"cpus!=3", 11},
                 {"cpus~1", 4}, {"cpus<3", 2},   {"cpus>=10", 3},   {"name~VM1", 2},
                 {"name~", 12}, {"name~m0", 10}, {"server~s1", 12}, {"server=s2", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_json_ json_t *all = whole(&w, NULL, cases[i].filter);
        if (json_array_size(all) != cases[i].n)
            fail_msg("%s: %zu", cases[i].filter, json_array_size(all));
    }
    world_down(&w);
}

static void test_stored(void **state) {
    static const char text[] =
        "{\"id\":\"01\",\"time\":\"2026-01-01T00:00:00Z\",\"severity\":\"warning\",\"actor\":\"a "
        "\\\"b\\\"\",\"kind\":\"vm.stopped\","
        "\"object\":{\"kind\":\"vm\",\"id\":\"02\",\"name\":\"Web 1\"},\"message\":\"It stopped\",\"job\":\"\"}";
    static const struct {
        const char *filter;
        bool may, matches;
    } cases[] = {{"severity=warning", true, true},
                 {"severity=error", false, false},
                 {"object.id=02", true, true},
                 {"object.id=03", false, false},
                 {"object.name=Web 1", true, true},
                 {"actor=a \"b\"", true, true}, /* not as JSON writes it */
                 {"message~STOPPED", true, true},
                 {"message~gone", true, false},
                 {"severity!=error", true, true},
                 {"address=", true, true},
                 {"address=1", true, false}, /* a field that an older manager did not know */
                 {"severity=warning,kind=vm.started", false, false}};
    struct api_event event;
    _cleanup_json_ json_t *j = json_loads(text, 0, NULL);
    assert_int_equal(api_event_parse(j, API_STORED, &event, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct core_filter *f;
        assert_int_equal(core_filter_new(API_KIND_EVENT, cases[i].filter, &f, NULL), 0);
        if (core_filter_may_match(f, text, sizeof text - 1) != cases[i].may ||
            core_filter_matches(f, &event) != cases[i].matches)
            fail_msg("%s", cases[i].filter);
        core_filter_free(f);
    }
    _cleanup_error_ struct error e = ERROR_INIT;
    struct core_filter *f = NULL;
    assert_true(core_filter_new(API_KIND_EVENT, "nope=1", &f, &e) < 0);
    assert_null(f);
    api_event_done(&event);
}

/* What can find nothing is refused, with what there is. */
static void refused(void **state) {
    static const struct {
        const char *filter, *said; /* said NULL: it is taken */
    } cases[] = {
        {"nope=1", "Vm has no field \"nope\"; it has id, "},
        {"ha.nope=1", "\"nope\"; it has enabled, "},
        {"server.name=x", "server is a value, which has no fields of its own"},
        {"state=foo", "state is one of "},
        {"state!=", "state is one of "},
        {"guarded=yes", "guarded is one of true, false, not \"yes\""},
        {"state~foo", NULL},
        {"state=running,guarded!=true,server=,template=x", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct core_filter *f = NULL;
        int r = core_filter_new(API_KIND_VM, cases[i].filter, &f, &e);
        if ((r < 0) != (cases[i].said != NULL) || (cases[i].said && !strstr(e.message, cases[i].said)))
            fail_msg("%s: %s", cases[i].filter, e.message);
        core_filter_free(f);
    }
}

/* ---- in pieces ---- */

/* What a read answers, its revision left out; begun with the slice, and whatever else happens while it goes on. */
static json_t *read_in_pieces(struct world *w, const struct core_request *read, size_t slice, bool changes) {
    struct core_request r = *read;
    uint64_t id = r.id = ++w->request;
    w->c->config.slice = slice;
    w->status = 0;
    w->no_work = true;
    core_request(w->c, &r);
    pump(w);
    for (int i = 0; !w->status; i++) {
        assert_true(core_has_work(w->c));
        assert_true(i < 20000);
        if (changes && any(2)) {
            change_some(w, 1);
            w->status = 0; /* of the change */
            w->request = id;
        }
        core_work(w->c);
        pump(w);
    }
    w->no_work = false;
    w->c->config.slice = 0;
    assert_int_equal(w->status, 200);
    json_t *answer = json_loads(w->reply, 0, NULL);
    json_object_del(answer, "revision");
    return answer;
}

/* The answer that comes in pieces is what one gets at once, then. */
static void check_pieces(struct world *w, const char *filter, const char *sort, const char *q) {
    _cleanup_json_ json_t *args = q ? json_pack("{s:s, s:i}", "q", q, "limit", 3 + any(3)) : NULL;
    struct core_request r = {.op = q ? API_OP_SEARCH : API_OP_VM_LIST,
                             .actor = "a",
                             .role = API_ROLE_ADMINISTRATOR,
                             .args = args,
                             .query = {.filter = q ? NULL : filter, .sort = q ? NULL : sort, .limit = q ? 0 : 5}};
    _cleanup_json_ json_t *a = read_in_pieces(w, &r, 1 + (size_t)any(4), true);
    for (size_t i = 0; i < API_KIND_COUNT; i++) /* from nothing that is known already */
        orders_done(&w->c->tables[i]);
    _cleanup_json_ json_t *b = read_in_pieces(w, &r, 0, false);
    if (!json_equal(a, b))
        fail_msg("%s %s %s: %s instead of %s", filter, sort, q, json_dumps(a, 0), json_dumps(b, 0));
}

static void test_pieces(void **state) {
    static const char *const filters[] = {NULL, "tags~t", "tags=t1", "description>3", "name~vm,cpus>1", "name~9"};
    static const char *const sorts[] = {NULL, "-name", "cpus", "-tags", "description", "revision"};
    static const char *const texts[] = {"vm", "t1", "0", "nothing", "3"};
    struct world w;
    world_up(&w);
    for (int i = 0; i < VMS; i++) {
        _cleanup_free_ char *body = xasprintf("{\"name\":\"vm%02d\",\"cpus\":%d}", i, 1 + i % 3);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    for (int round = 0; round < 300; round++)
        check_pieces(&w, filters[any(ARRAY_LEN(filters))], sorts[any(ARRAY_LEN(sorts))],
                     any(3) ? NULL : texts[any(ARRAY_LEN(texts))]);
    world_down(&w);
}

/* Each is answered, in the order in which they came, though one of them is refused by then and one gets nothing. */
static void test_many(void **state) {
    static const char *const filters[] = {"name~1", "tags=none", "cpus>1", "name~1"};
    struct world w;
    world_up(&w);
    for (int i = 0; i < VMS; i++) {
        _cleanup_free_ char *body = xasprintf("{\"name\":\"vm%02d\"}", i);
        assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL, body), 202);
    }
    w.no_work = true;
    w.c->config.slice = 2;
    uint64_t first = w.request + 1, answered = 0;
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        core_request(w.c, &(struct core_request){.id = ++w.request,
                                                 .op = API_OP_VM_LIST,
                                                 .actor = "a",
                                                 .role = API_ROLE_VIEWER,
                                                 .query = {.filter = filters[i], .sort = "cpus"}});
    while (core_has_work(w.c)) {
        core_work(w.c);
        for (struct core_effect *e; (e = core_next_effect(w.c)); core_effect_free(e)) {
            assert_int_equal(e->kind, CORE_REPLY);
            assert_int_equal(e->status, 200);
            assert_int_equal(e->request, first + answered++);
        }
    }
    assert_int_equal(answered, ARRAY_LEN(filters));
    core_request(w.c, &(struct core_request){.id = ++w.request, /* nobody waits for its answer */
                                             .op = API_OP_VM_LIST,
                                             .actor = "a",
                                             .role = API_ROLE_VIEWER,
                                             .query = {.sort = "memory"}});
    assert_true(core_has_work(w.c));
    world_down(&w);
}

static void test_fields(void **state) {
    struct world w;
    world_up(&w);
    assert_int_equal(ask(&w, API_OP_VM_CREATE, NULL,
                         "{\"name\":\"a\",\"description\":\"{\\\"x\\\\\\\":[,\",\"tags\":[\"b\",\"c\"]}"),
                     202);
    static const char *const fields[] = {"name", "description,tags", "tags,name", "nics,id", "disks,state,cpus"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct core_request r = {.op = API_OP_VM_LIST, .actor = "a", .role = API_ROLE_VIEWER};
        _cleanup_json_ json_t *all = read_in_pieces(&w, &r, 0, false), *want = json_object();
        r.query.fields = fields[i];
        _cleanup_json_ json_t *some = read_in_pieces(&w, &r, 0, false);
        const json_t *vm = json_array_get(json_object_get(all, "items"), 0);
        for (const char *f = fields[i]; *f; f += strcspn(f, ",") + (f[strcspn(f, ",")] == ',')) {
            _cleanup_free_ char *name = xstrndup(f, strcspn(f, ","));
            json_object_set(want, name, json_object_get(vm, name));
        }
        assert_true(json_equal(json_array_get(json_object_get(some, "items"), 0), want));
    }
    world_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused),      cmocka_unit_test(test_orders),
                                       cmocka_unit_test(test_numbers), cmocka_unit_test(test_stored),
                                       cmocka_unit_test(test_pieces),  cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
