/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_models.h"

#include "agent/hypervisor/qemu_probe.h"
#include "agent/hypervisor/qemu_process.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>

#define OUTPUT_MAX  (256U << 10) /* QEMU 7.2 says 48 KiB */
#define MODELS_MAX  256
#define NAME_MAX_   64
#define DEADLINE_MS 10000
#define REMEMBERED  "cpu-models.json"

void qemu_models_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

/* "EPYC-v2" is a version of "EPYC", which is listed as well. */
static bool has_version(const char *name) {
    const char *v = strstr(name, "-v");
    while (v && strstr(v + 1, "-v"))
        v = strstr(v + 1, "-v");
    return v && v[2] && strspn(v + 2, "0123456789") == strlen(v + 2);
}

static bool is_plain(const char *name) {
    size_t n = strlen(name);
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    return n > 0 && n <= NAME_MAX_ && strspn(name, good) == n;
}

/* A guest with "max" or "host" finds another CPU on another server: those are not migration-safe. */
static bool is_wanted(const json_t *d) {
    const json_t *missing = json_object_get(d, "unavailable-features");
    const char *name = json_str(d, "name");
    return json_is_array(missing) && json_array_size(missing) == 0 && json_bool(d, "migration-safe", false) &&
           is_plain(name) && !has_version(name) && !str_eq(name, "base");
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void take(const json_t *list, char ***ret, size_t *ret_n) {
    char **names = NULL;
    size_t n = 0, i;
    const json_t *d;
    json_array_foreach(list, i, d) {
        if (!is_wanted(d) || n == MODELS_MAX)
            continue;
        names = xreallocarray(names, n + 1, sizeof *names);
        names[n++] = xstrdup(json_str(d, "name"));
    }
    if (n)
        qsort(names, n, sizeof *names, compare);
    *ret = names;
    *ret_n = n;
}

int qemu_models_parse(const char *text, size_t len, char ***ret, size_t *ret_n) {
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        _cleanup_json_ json_t *j = NULL;
        if (json_parse(text + at, n, &j, NULL) == 0 && json_is_array(json_object_get(j, "return"))) {
            take(json_object_get(j, "return"), ret, ret_n);
            return 0;
        }
        at += n + 1;
    }
    return -EBADMSG;
}

int qemu_models_ask(uv_loop_t *loop, bool kvm, const char *user,
                    void (*on_exit)(void *ctx, struct child *c, struct child_exit how), void *ctx, struct child **ret) {
    static const char input[] = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"query-cpu-definitions\"}\n"
                                "{\"execute\":\"quit\"}\n";
    const char *const argv[] = {QEMU_BINARY,
                                "-nodefaults",
                                "-no-user-config",
                                "-display",
                                "none",
                                "-machine",
                                "none",
                                "-accel",
                                kvm ? "kvm" : "tcg",
                                "-qmp",
                                "stdio",
                                "-sandbox",
                                "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                                NULL};
    struct child_spec spec = {.argv = argv,
                              .env = qemu_environment(),
                              .input = input,
                              .input_len = sizeof input - 1,
                              .output_max = OUTPUT_MAX,
                              .error_max = 4096,
                              .user = user,
                              .timeout_ms = DEADLINE_MS,
                              .on_exit = on_exit,
                              .ctx = ctx};
    return child_spawn(loop, &spec, ret);
}

/* ---- what is remembered ---- */

int qemu_models_recall(int dirfd, const char *key, char ***ret, size_t *ret_n) {
    _cleanup_free_ char *text = NULL;
    _cleanup_json_ json_t *o = NULL;
    size_t len, i, n = 0;
    const json_t *name;
    int r = read_file_at(dirfd, REMEMBERED, 65536, &text, &len);
    if (r < 0)
        return r;
    const json_t *list = json_parse(text, len, &o, NULL) == 0 ? json_object_get(o, "models") : NULL;
    if (!list || !str_eq(json_str(o, "key"), key))
        return -ENOENT;
    char **names = xcalloc(json_array_size(list) + 1, sizeof *names);
    json_array_foreach(list, i, name) if (json_is_string(name) && n < MODELS_MAX) names[n++] =
        xstrdup(json_string_value(name));
    *ret = names;
    *ret_n = n;
    return 0;
}

int qemu_models_remember(int dirfd, const char *key, char *const *names, size_t n) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    json_set_str(o, "key", key);
    json_object_set_new(o, "models", list);
    _cleanup_free_ char *text = json_text(o);
    return write_file_at(dirfd, REMEMBERED, text, strlen(text), 0600);
}
