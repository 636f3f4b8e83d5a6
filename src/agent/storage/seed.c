/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/seed.h"

#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

bool seed_wanted(const struct api_vm *vm) {
    const struct api_cloud_init *c = &vm->cloud_init;
    return vm->has_cloud_init &&
           (!str_empty(c->user_data) || !str_empty(c->meta_data) || !str_empty(c->network_config));
}

void seed_hostname(const struct api_vm *vm, char ret[static HOSTNAME_MAX + 1]) {
    size_t n = 0;
    for (const char *p = str_or(vm->name, ""); *p && n < HOSTNAME_MAX; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (plain)
            ret[n++] = c;
        else if (n > 0 && ret[n - 1] != '-')
            ret[n++] = '-';
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = 0;
    if (n == 0) /* the end of a UUIDv7 is its random part */
        snprintf(ret, HOSTNAME_MAX + 1, "vm-%.12s",
                 strlen(str_or(vm->id, "")) >= 12 ? vm->id + strlen(vm->id) - 12 : "guest");
}

char *seed_document(const struct api_vm *vm) {
    const struct api_cloud_init *c = &vm->cloud_init;
    char host[HOSTNAME_MAX + 1];
    seed_hostname(vm, host);
    _cleanup_free_ char *meta = str_empty(c->meta_data)
                                    ? xasprintf("instance-id: %s\nlocal-hostname: %s\n", str_or(vm->id, ""), host)
                                    : xstrdup(c->meta_data);
    _cleanup_json_ json_t *j = json_object();
    json_set_str(j, "user_data", str_or(c->user_data, ""));
    json_set_str(j, "meta_data", meta);
    json_set_str(j, "network_config", str_or(c->network_config, ""));
    return json_text(j);
}

/* In $TARN_LIBEXEC, else beside us in a build directory (src/agent, src/tools), else where it is installed. */
static char *find_program(void) {
    const char *folder = getenv("TARN_LIBEXEC");
    char self[4096];
    ssize_t n = str_empty(folder) ? readlink("/proc/self/exe", self, sizeof(self) - 1) : -1;
    for (int i = 0; i < 2 && n > 0; i++) /* the folder above that of the program */
        while (n > 0 && self[--n] != '/')
            ;
    if (n > 0) {
        _cleanup_free_ char *beside = xasprintf("%.*s/tools/tarn-seed", (int)n, self);
        if (access(beside, X_OK) == 0)
            return TAKE_PTR(beside);
    }
    return xasprintf("%s/tarn-seed", str_or(folder, TARN_LIBEXECDIR));
}

int seed_spawn(struct task *t, const char *document, int fd) {
    _cleanup_free_ char *program = find_program();
    const char *const argv[] = {program, NULL};
    struct child_fd fds[] = {{.from = fd, .to = 3}};
    struct child_spec spec = {
        .argv = argv,
        .fds = fds,
        .n_fds = ARRAY_LEN(fds),
        .input = document,
        .input_len = strlen(document),
        .error_max = 1024,
        .user = t->storage->has_owner ? t->storage->guest_user : NULL,
        .limit_cpu_s = 10,
        .limit_file_size = 16 << 20,
        .timeout_ms = 30000,
    };
    int r = task_spawn(t, &spec);
    if (r < 0)
        return error_set(&t->error, ERR_INTERNAL,
                         "starting %s failed: %s; install tarn's helper programs (or set TARN_LIBEXEC)", program,
                         strerror(-r));
    return 0;
}

int seed_ended(struct task *t, struct child_exit how) {
    if (!how.signalled && how.value == 0)
        return 0;
    const struct buf *b = child_error(t->child);
    if (b->len && strstr(b->data, strerror(ENOSPC)))
        return task_errno(t, -ENOSPC, "making the cloud-init seed");
    return error_set(&t->error, ERR_INTERNAL, "making the cloud-init seed failed: %.200s",
                     b->len ? b->data : "tarn-seed was killed");
}
