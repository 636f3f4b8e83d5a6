/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager does most: loading, printing and changing virtual machines of 2 KB, and finding operations. */
#include "api/api.h"
#include "base/json.h"
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>

#define REPEAT 100000

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static char *sample(void) {
    _cleanup_json_ json_t *disk = json_pack("{s:s}", "disk", "0192f0c4-0000-7000-8000-000000000003");
    _cleanup_json_ json_t *j = json_pack("{s:s,s:[s,s],s:i,s:[O,O]}", "name", "web-1", "tags", "front", "paris", "cpus",
                                         4, "disks", disk, disk);
    char user_data[900];
    memset(user_data, 'a', sizeof user_data);
    json_object_set_new(j, "cloud_init", json_pack("{s:s#}", "user_data", user_data, (int)sizeof user_data));
    struct api_vm vm;
    if (api_vm_parse(j, API_CREATE, &vm, NULL) < 0)
        abort();
    str_set(&vm.id, "0192f0c4-0000-7000-8000-000000000001");
    str_set(&vm.created, "2026-11-21T02:30:00.123Z");
    _cleanup_json_ json_t *printed = api_vm_print(&vm, API_PRIVATE);
    api_vm_done(&vm);
    return json_text(printed);
}

static void load_all(const char *text) {
    const size_t n = REPEAT;
    struct api_vm *vms = xcalloc(n, sizeof *vms);
    size_t len = strlen(text), before = mallinfo2().uordblks;
    double start = now_us();
    for (size_t i = 0; i < n; i++) {
        _cleanup_json_ json_t *j = NULL;
        if (json_parse(text, len, &j, NULL) < 0 || api_vm_parse(j, API_STORED, &vms[i], NULL) < 0)
            abort();
    }
    printf("%zu loads of %zu bytes: %.2f s, %zu bytes of heap each\n", n, len, (now_us() - start) / 1e6,
           sizeof *vms + (mallinfo2().uordblks - before) / n);
    start = now_us();
    for (size_t i = 0; i < n; i++)
        api_vm_done(&vms[i]);
    printf("done: %.2f us each\n", (now_us() - start) / (double)n);
    free(vms);
}

#define MEASURE(what, code)                                                                                            \
    do {                                                                                                               \
        double start = now_us();                                                                                       \
        for (size_t i = 0; i < REPEAT; i++) {                                                                          \
            code;                                                                                                      \
        }                                                                                                              \
        printf("%-28s %7.2f us\n", what, (now_us() - start) / REPEAT);                                                 \
    } while (0)

int main(void) {
    _cleanup_free_ char *text = sample();
    _cleanup_json_ json_t *j = NULL, *patch = json_pack("{s:i,s:s}", "cpus", 2, "description", "x");
    struct api_vm vm, other;
    struct api_route r;
    if (json_parse(text, strlen(text), &j, NULL) < 0 || api_vm_parse(j, API_STORED, &vm, NULL) < 0)
        abort();
    MEASURE("JSON text to json_t", json_t * k; if (json_parse(text, strlen(text), &k, NULL) == 0) json_decref(k));
    MEASURE("json_t to Vm, and done", api_vm_parse(j, API_STORED, &other, NULL); api_vm_done(&other));
    MEASURE("Vm to json_t", json_decref(api_vm_print(&vm, API_PRIVATE)));
    MEASURE("json_t to text", free(json_text(j)));
    MEASURE("Vm to text", struct buf b = {0}; api_vm_write(&vm, API_PRIVATE, &b); buf_done(&b));
    MEASURE("copy, and done", api_vm_copy(&other, &vm); api_vm_done(&other));
    MEASURE("merge, and done", api_vm_merge(&vm, patch, &other, NULL); api_vm_done(&other));
    MEASURE("init, and done", api_vm_init(&other); api_vm_done(&other));
    MEASURE("route, POST /vms/{vm}/start", api_route("POST", "/vms/web-1/start", &r));
    MEASURE("route, no such path", api_route("GET", "/vms/web-1/no", &r));
    load_all(text);
    api_vm_done(&vm);
    return 0;
}
