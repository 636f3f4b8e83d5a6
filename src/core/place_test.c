/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement against the cases in tests/golden/place (its README says how they are written).
 */
#include "base/units.h"
#include "core/core_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>

static const char *directory;

#define WORDS_MAX 32

struct line {
    char *words[WORDS_MAX];
    size_t n;
    char *rest; /* of the text from the third word on */
};

struct world {
    struct core *c;
    const char *file, *name;
    size_t cases, ids;
    json_t *objects; /* kind -> name -> object, until they are loaded */
    bool loaded;
    struct placement p;
    char *vm;
    bool placed;
};

static const char *value_of(const struct line *l, const char *key) {
    size_t n = strlen(key);
    for (size_t i = 2; i < l->n; i++)
        if (strncmp(l->words[i], key, n) == 0 && (l->words[i][n] == '=' || !l->words[i][n]))
            return l->words[i][n] ? l->words[i] + n + 1 : "yes";
    return NULL;
}

static int64_t number_of(const struct line *l, const char *key, int64_t otherwise) {
    const char *v = value_of(l, key);
    int64_t n = otherwise;
    if (v && size_parse(v, &n) < 0)
        fail_msg("%s: %s", key, v);
    return n;
}

static json_t *add(struct world *w, const char *kind, const char *name) {
    json_t *o = json_pack("{s:o, s:s, s:i}", "id", json_sprintf("00000000-0000-7000-8000-%012zu", ++w->ids), "name",
                          name, "revision", 1);
    json_t *all = json_object_get(w->objects, kind);
    if (!all)
        json_object_set_new(w->objects, kind, all = json_object());
    json_object_set_new(all, name, o);
    return o;
}

static const char *id_of(struct world *w, const char *kind, const char *name) {
    const char *id = json_str(json_object_get(json_object_get(w->objects, kind), name), "id");
    if (!*id)
        fail_msg("%s: case %s: there is no %s %s", w->file, w->name, kind, name);
    return id;
}

static void set_ref(struct world *w, json_t *o, const char *field, const char *kind, const char *name) {
    if (name)
        json_set_str(o, field, id_of(w, kind, name));
}

/* a,b,c as ids of that kind, or as they are (kind NULL). */
static json_t *list_of(struct world *w, const char *kind, const char *text) {
    json_t *list = json_array();
    while (text && *text) {
        size_t n = strcspn(text, ",");
        _cleanup_free_ char *word = xstrndup(text, n);
        json_array_append_new(list, json_string(kind ? id_of(w, kind, word) : word));
        text += n + (text[n] == ',');
    }
    return list;
}

/* ---- the world's lines ---- */

static void line_pool(struct world *w, const struct line *l) {
    json_t *o = add(w, "pool", l->words[1]);
    json_set_str(o, "placement", str_or(value_of(l, "placement"), "balance"));
    json_set_int(o, "cpu_overcommit", number_of(l, "cpus", 100));
    json_set_int(o, "memory_overcommit", number_of(l, "memory", 100));
    json_set_int(o, "memory_reserve", number_of(l, "reserve", 0));
    json_set_int(o, "admission_failures", number_of(l, "failures", 0));
    json_set_str(o, "cpu_model", str_or(value_of(l, "model"), ""));
}

static void line_server(struct world *w, const struct line *l) {
    json_t *o = add(w, "server", l->words[1]);
    const char *accelerator = value_of(l, "accel"), *driver = value_of(l, "driver");
    driver = accelerator && !driver ? "qemu" : driver;
    set_ref(w, o, "pool", "pool", value_of(l, "pool"));
    json_set_str(o, "state", value_of(l, "offline") ? "offline" : "online");
    json_set_str(o, "maintenance", str_or(value_of(l, "maintenance"), "off"));
    json_object_set_new(o, "hardware",
                        json_pack("{s:I, s:I, s:s, s:s, s:s, s:o, s:[{s:i, s:o}, {s:i}], s:[{s:b, s:i}]}", "cpus",
                                  (json_int_t)number_of(l, "cpus", 8), "memory",
                                  (json_int_t)number_of(l, "memory", 8LL << 30), "limits", "simulated", "cpu_model",
                                  str_or(value_of(l, "cpu"), "any"), "cpu_vendor", str_or(value_of(l, "vendor"), ""),
                                  "cpu_models", list_of(w, NULL, value_of(l, "models")), "numa", "node", 0, "cpus",
                                  json_sprintf("0-%d", (int)number_of(l, "cpus", 8) - 1), "node", 1, "nics", "up", true,
                                  "speed", 1000));
    if (driver)
        json_object_set_new(o, "hypervisors",
                            json_pack("[{s:s, s:b, s:s, s:s}]", "driver", str_eq(driver, "broken") ? "qemu" : driver,
                                      "usable", !str_eq(driver, "broken"), "reason", "it does not start", "accelerator",
                                      str_or(accelerator, "")));
}

static void line_repo(struct world *w, const struct line *l) {
    json_t *o = add(w, "repository", l->words[1]), *presented = json_array(), *id;
    size_t i;
    _cleanup_json_ json_t *on = list_of(w, "server", value_of(l, "on")),
                          *bad = list_of(w, "server", value_of(l, "unusable"));
    json_array_foreach(on, i, id) {
        bool usable = true;
        size_t k;
        json_t *b;
        json_array_foreach(bad, k, b) usable &= !json_equal(b, id);
        json_array_append_new(presented, json_pack("{s:O, s:b, s:s}", "server", id, "usable", usable, "reason",
                                                   usable ? "" : "it is not mounted"));
    }
    json_set_str(o, "state", "ready");
    json_object_set_new(o, "presented", presented);
    json_object_set(o, "servers", on);
}

static void line_vm(struct world *w, const struct line *l) {
    json_t *o = add(w, "vm", l->words[1]);
    set_ref(w, o, "pool", "pool", value_of(l, "pool"));
    set_ref(w, o, "server", "server", value_of(l, "server"));
    set_ref(w, o, "target", "server", value_of(l, "target"));
    json_set_str(o, "started", value_of(l, "server") && !value_of(l, "new") ? "2026-01-01T00:00:00Z" : "");
    set_ref(w, o, "repository", "repository", value_of(l, "in"));
    json_set_str(o, "state", str_or(value_of(l, "state"), value_of(l, "server") ? "running" : "stopped"));
    json_set_str(o, "restart_policy", str_or(value_of(l, "restart"), "on-failure"));
    json_set_str(o, "cpu_model", str_or(value_of(l, "model"), ""));
    json_set_str(o, "hypervisor", str_or(value_of(l, "driver"), ""));
    json_set_int(o, "cpus", number_of(l, "cpus", 1));
    json_set_int(o, "memory", number_of(l, "memory", 1LL << 30));
    json_object_set_new(o, "tags", list_of(w, NULL, value_of(l, "tags")));
    json_object_set_new(o, "restarting", json_boolean(value_of(l, "restarting") != NULL));
    json_object_set_new(o, "reserved", json_boolean(value_of(l, "reserved") != NULL));
    json_object_set_new(o, "ha", json_pack("{s:b}", "enabled", value_of(l, "ha") != NULL));
    json_object_set_new(o, "limits",
                        json_pack("{s:s, s:I}", "pinning", str_or(value_of(l, "pin"), ""), "numa_node",
                                  (json_int_t)(value_of(l, "numa") ? number_of(l, "numa", 0) : -1)));
}

static void line_rule(struct world *w, const struct line *l) {
    json_t *o = add(w, "rule", l->words[1]);
    set_ref(w, o, "pool", "pool", value_of(l, "pool"));
    json_set_str(o, "type", value_of(l, "type"));
    json_set_str(o, "tag", str_or(value_of(l, "tag"), ""));
    json_object_set_new(o, "must", json_boolean(value_of(l, "must") != NULL));
    json_object_set_new(o, "vms", list_of(w, "vm", value_of(l, "vms")));
    json_object_set_new(o, "servers", list_of(w, "server", value_of(l, "servers")));
}

/* ---- the question ---- */

static void load_all(struct world *w) {
    struct core_config config = {.seed = {1, 2, 3, 4}, .version = "0.1"};
    const char *kind, *name;
    json_t *all, *o;
    w->c = core_new(&config);
    core_set_time(w->c, 1000, 1000);
    json_object_foreach(w->objects, kind, all) json_object_foreach(all, name, o) {
        _cleanup_free_ char *text = json_text(o), *key = xasprintf("%s/%s", kind, json_str(o, "id"));
        _cleanup_error_ struct error e = ERROR_INIT;
        if (core_load(w->c, key, text, strlen(text), &e) < 0)
            fail_msg("%s: case %s: %s", w->file, w->name, e.message);
        if (str_eq(kind, "server") && str_eq(json_str(o, "state"), "online"))
            core_agent(w->c, json_str(o, "id"))->connected = core_agent(w->c, json_str(o, "id"))->reported = true;
    }
    for (int k = 0; k < API_KIND_COUNT; k++)
        table_sort(&w->c->tables[k], (enum api_kind)k);
    w->loaded = true;
}

static void line_busy(struct world *w, const struct line *l) {
    if (!w->loaded)
        load_all(w);
    core_server_load(w->c, id_of(w, "server", l->words[1]), strtod(str_or(value_of(l, "cpus"), "0"), NULL),
                     strtod(str_or(value_of(l, "net"), "0"), NULL));
}

static void line_place(struct world *w, const struct line *l) {
    if (!w->loaded)
        load_all(w);
    const char *only = value_of(l, "only"), *not_on = value_of(l, "not-on");
    struct place_options o = {.only = only ? id_of(w, "server", only) : NULL,
                              .not_on = not_on ? id_of(w, "server", not_on) : NULL,
                              .moving = value_of(l, "moving") != NULL,
                              .recovery = value_of(l, "recovery") != NULL,
                              .stopped = value_of(l, "stopped") != NULL,
                              .fresh = value_of(l, "fresh") != NULL,
                              .takes_storage = value_of(l, "takes-storage") != NULL};
    placement_done(&w->p);
    str_set(&w->vm, l->words[1]);
    place(w->c, core_vm(w->c, id_of(w, "vm", l->words[1])), &o, &w->p);
    w->placed = true;
    w->cases++;
}

/* ---- what is expected ---- */

static const struct place_choice *choice_of(struct world *w, const char *server) {
    for (size_t i = 0; i < w->p.n; i++)
        if (str_eq(w->p.choices[i].server->name, server))
            return &w->p.choices[i];
    fail_msg("%s: case %s: server %s was not looked at", w->file, w->name, server);
    return NULL;
}

static void line_best(struct world *w, const struct line *l) {
    const char *best = w->p.best ? w->p.best->name : "none";
    assert_true(w->placed);
    if (str_eq(best, l->words[1]))
        return;
    for (size_t i = 0; i < w->p.n; i++)
        print_message("  %s: %s %lld %s\n", w->p.choices[i].server->name, w->p.choices[i].ok ? "ok" : "no",
                      (long long)w->p.choices[i].score, w->p.choices[i].reason);
    fail_msg("%s: case %s: %s goes to %s, not to %s", w->file, w->name, w->vm, best, l->words[1]);
}

static void line_reason(struct world *w, const struct line *l) {
    const struct place_choice *ch = choice_of(w, l->words[1]);
    bool ok = str_eq(l->words[0], "ok");
    if (ch->ok != ok)
        fail_msg("%s: case %s: %s is %s: %s", w->file, w->name, l->words[1], ch->ok ? "possible" : "refused",
                 ch->reason);
    if (l->rest && !strstr(ch->reason, l->rest))
        fail_msg("%s: case %s: %s: \"%s\" instead of \"%s\"", w->file, w->name, l->words[1], ch->reason, l->rest);
}

static void line_error(struct world *w, const struct line *l) {
    _cleanup_error_ struct error e = ERROR_INIT;
    assert_null(w->p.best);
    placement_error(&w->p, core_vm(w->c, id_of(w, "vm", w->vm)), &e);
    if (!str_eq(error_code_text(e.code), l->words[1]) || (l->rest && !strstr(e.message, l->rest)))
        fail_msg("%s: case %s: %s: %s", w->file, w->name, error_code_text(e.code), e.message);
}

static void case_end(struct world *w) {
    placement_done(&w->p);
    json_decref(w->objects);
    core_free(w->c);
    free(w->vm);
    w->c = NULL;
    w->vm = NULL;
    w->objects = json_object();
    w->loaded = w->placed = false;
    w->ids = 0;
}

static void line_do(struct world *w, const struct line *l) {
    static const struct {
        const char *word;
        void (*run)(struct world *w, const struct line *l);
    } verbs[] = {{"pool", line_pool}, {"server", line_server}, {"repo", line_repo},   {"vm", line_vm},
                 {"rule", line_rule}, {"busy", line_busy},     {"place", line_place}, {"=>", line_best},
                 {"ok", line_reason}, {"no", line_reason},     {"error", line_error}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (str_eq(l->words[0], verbs[i].word)) {
            assert_true(l->n > 1);
            verbs[i].run(w, l);
            return;
        }
    fail_msg("%s: case %s: what is \"%s\"?", w->file, w->name, l->words[0]);
}

static void file_run(struct world *w, const char *path) {
    FILE *f = fopen(path, "re");
    char text[1000], name[200] = "";
    assert_non_null(f);
    w->file = path;
    w->name = name;
    while (fgets(text, sizeof text, f)) {
        _cleanup_free_ char *copy = xstrdup(text);
        struct line l = {0};
        char *save = NULL;
        text[strcspn(text, "\n")] = '\0';
        copy[strcspn(copy, "\n")] = '\0';
        for (char *word = strtok_r(text, " ", &save); word && l.n < WORDS_MAX; word = strtok_r(NULL, " ", &save)) {
            if (l.n == 2)
                l.rest = copy + (word - text);
            l.words[l.n++] = word;
        }
        if (!l.n || *l.words[0] == '#')
            continue;
        if (str_eq(l.words[0], "case")) {
            case_end(w);
            snprintf(name, sizeof name, "%s", copy + 5);
        } else {
            line_do(w, &l);
        }
    }
    case_end(w);
    fclose(f);
}

static void test_cases(void **state) {
    struct world w = {.objects = json_object()};
    DIR *d = opendir(directory);
    const struct dirent *entry;
    assert_non_null(d);
    while ((entry = readdir(d))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || !str_eq(dot, ".cases"))
            continue;
        _cleanup_free_ char *path = xasprintf("%s/%s", directory, entry->d_name);
        file_run(&w, path);
    }
    closedir(d);
    print_message("%zu cases\n", w.cases);
    assert_true(w.cases >= 60);
    json_decref(w.objects);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    directory = argc > 1 ? argv[1] : "tests/golden/place";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
