/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core alone at full inventory: memory for each VM, time of reads and of changes, and of the longest piece of one,
 * which is how long everybody else waits. Prints one JSON object.
 */
#include "base/mem.h"
#include "base/units.h"
#include "core/core.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static long resident_kib(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    long size = 0, resident = 0;
    if (f && fscanf(f, "%ld %ld", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void drain(struct core *c) {
    struct core_effect *e;
    while ((e = core_next_effect(c))) {
        if (e->kind == CORE_COMMIT)
            core_stored(c, e->seq, 0);
        if (e->kind == CORE_REPLY && e->status >= 400)
            fprintf(stderr, "%d %s\n", e->status, e->text);
        core_effect_free(e);
    }
}

static void load(struct core *c, enum api_kind kind, void *object, const char *id) {
    json_t *j = api_kinds[kind].print(object, API_PRIVATE);
    char *text = json_dumps(j, JSON_COMPACT), key[64];
    struct error e = ERROR_INIT;
    snprintf(key, sizeof key, "%s/%s", api_kinds[kind].name, id);
    if (core_load(c, key, text, strlen(text), &e) < 0)
        fprintf(stderr, "%s\n", e.message);
    error_done(&e);
    free(text);
    json_decref(j);
    api_kinds[kind].done(object);
}

static void load_server(struct core *c, int i) {
    char id[40], name[40];
    struct api_server s;
    snprintf(id, sizeof id, "00000000-0000-7000-9000-%012d", i);
    snprintf(name, sizeof name, "server-%03d", i);
    api_server_init(&s);
    str_set(&s.id, id);
    str_set(&s.name, name);
    load(c, API_KIND_SERVER, &s, id);
}

static void load_disk(struct core *c, int i) {
    char id[40], name[40];
    struct api_disk d;
    snprintf(id, sizeof id, "00000000-0000-7000-8000-%012d", i);
    snprintf(name, sizeof name, "vm-%05d-1", i);
    api_disk_init(&d);
    str_set(&d.id, id);
    str_set(&d.vm, id);
    str_set(&d.name, name);
    d.state = API_OBJECT_STATE_READY;
    load(c, API_KIND_DISK, &d, id);
}

static void load_vm(struct core *c, int i) {
    char id[40], name[40], server[40];
    struct api_vm vm;
    snprintf(id, sizeof id, "00000000-0000-7000-8000-%012d", i);
    snprintf(name, sizeof name, "vm-%05d", i);
    snprintf(server, sizeof server, "00000000-0000-7000-9000-%012d", i % 1000);
    api_vm_init(&vm);
    str_set(&vm.id, id);
    str_set(&vm.name, name);
    str_set(&vm.server, server);
    str_set(&vm.created, "2026-01-01T00:00:00.000Z");
    vm.state = i % 3 ? API_VM_STATE_RUNNING : API_VM_STATE_STOPPED;
    vm.n_disks = 1;
    vm.disks = xcalloc(1, sizeof *vm.disks);
    api_vm_disk_init(&vm.disks[0]);
    str_set(&vm.disks[0].disk, id);
    load(c, API_KIND_VM, &vm, id);
}

static void measure_query(struct core *c, const char *label, enum api_op_id op, const char *param, struct core_query q,
                          const char *body, const char *args, int n) {
    double *t = xcalloc((size_t)n, sizeof *t), *longest = xcalloc((size_t)n, sizeof *t);
    json_t *j = body ? json_loads(body, 0, NULL) : NULL, *query = args ? json_loads(args, 0, NULL) : NULL;
    for (int i = 0; i < n; i++) {
        struct core_request r = {.id = 1,
                                 .op = op,
                                 .actor = "a",
                                 .user_id = "u",
                                 .role = API_ROLE_ADMINISTRATOR,
                                 .params = {param},
                                 .body = j,
                                 .args = query,
                                 .query = q};
        double t0 = now_us();
        core_request(c, &r);
        drain(c);
        longest[i] = now_us() - t0;
        while (core_has_work(c)) {
            double t1 = now_us();
            core_work(c);
            drain(c);
            if (now_us() - t1 > longest[i])
                longest[i] = now_us() - t1;
        }
        t[i] = now_us() - t0;
    }
    qsort(t, (size_t)n, sizeof *t, compare);
    qsort(longest, (size_t)n, sizeof *longest, compare);
    printf(", \"%s_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"longest_piece_p99\": %.1f, \"longest_piece\": "
           "%.1f}\n",
           label, t[n / 2], t[n * 99 / 100], t[n - 1], longest[n * 99 / 100], longest[n - 1]);
    json_decref(j);
    json_decref(query);
    free(t);
    free(longest);
}

static void measure(struct core *c, const char *label, enum api_op_id op, const char *param, struct core_query q,
                    const char *body, int n) {
    measure_query(c, label, op, param, q, body, NULL, n);
}

static void measure_search(struct core *c, const char *label, const char *text) {
    char args[80];
    snprintf(args, sizeof args, "{\"q\":\"%s\"}", text);
    measure_query(c, label, API_OP_SEARCH, NULL, (struct core_query){0}, NULL, args, 200);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 30000;
    struct core_config config = {.seed = {1}, .version = "0.1"};
    long before = resident_kib();
    double t0 = now_us();
    struct core *c = core_new(&config);
    for (int i = 0; i < 1000; i++)
        load_server(c, i);
    for (int i = 0; i < n; i++) {
        load_disk(c, i);
        load_vm(c, i);
    }
    core_start(c, 1);
    printf("{\"vms\": %d, \"load_s\": %.2f, \"resident_mib\": %.1f, \"bytes_per_vm\": %ld", n, (now_us() - t0) / 1e6,
           (double)(resident_kib() - before) / 1024, (resident_kib() - before) * 1024 / n);
    measure(c, "show", API_OP_VM_SHOW, "vm-00777", (struct core_query){0}, NULL, 2000);
    measure(c, "list_100", API_OP_VM_LIST, NULL, (struct core_query){.after = "vm-20000"}, NULL, 2000);
    measure(c, "list_filtered", API_OP_VM_LIST, NULL, (struct core_query){.filter = "state=running,name~77"}, NULL,
            200);
    for (int i = 0; i < 12; i++) { /* each another one: nobody has asked for it before */
        char filter[40];
        snprintf(filter, sizeof filter, "description~%d,name~%d", i, 500 + i);
        measure(c, "list_filtered_cold", API_OP_VM_LIST, NULL, (struct core_query){.filter = filter}, NULL, 1);
    }
    measure(c, "list_fields", API_OP_VM_LIST, NULL, (struct core_query){.fields = "name,state", .limit = 1000}, NULL,
            50);
    measure(c, "list_1000", API_OP_VM_LIST, NULL, (struct core_query){.limit = 1000}, NULL, 50);
    measure(c, "list_sorted", API_OP_VM_LIST, NULL, (struct core_query){.sort = "-memory"}, NULL, 50);
    measure(c, "change", API_OP_VM_CHANGE, "vm-00777", (struct core_query){0}, "{\"description\":\"x\"}", 2000);
    measure_search(c, "search_all", "vm");
    measure_search(c, "search_letter", "0");
    measure_search(c, "search_one", "m-12345");
    measure_search(c, "search_none", "nothing-like-it");
    printf("}\n");
    core_free(c);
    return 0;
}
