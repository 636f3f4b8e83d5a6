/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hardware_recorded.h"

#include "base/mem.h"

static const char *next_line(const char *s) {
    const char *end = strchr(s, '\n');
    return end ? end + 1 : s + strlen(s);
}

static char *recorded_read(void *ctx, const char *path) {
    size_t len = strlen(path);
    for (const char *line = ctx; *line; line = next_line(line)) {
        if (line[0] != '@' || strncmp(line + 1, path, len) != 0 || (line[1 + len] != '\n' && line[1 + len] != '\0'))
            continue;
        const char *from = next_line(line), *to = from;
        while (*to && *to != '@' && *to != '%')
            to = next_line(to);
        return xstrndup(from, (size_t)(to - from));
    }
    return NULL;
}

static size_t recorded_list(void *ctx, const char *path, char ***ret_names) {
    char **names = NULL;
    size_t n = 0, len = strlen(path);
    for (const char *line = ctx; *line; line = next_line(line)) {
        if (line[0] != '@' || strncmp(line + 1, path, len) != 0 || line[1 + len] != '/')
            continue;
        const char *name = line + len + 2;
        _cleanup_free_ char *copy = xstrndup(name, strcspn(name, "/\n"));
        bool known = str_empty(copy);
        for (size_t i = 0; i < n && !known; i++)
            known = str_eq(names[i], copy);
        if (known)
            continue;
        names = xreallocarray(names, n + 1, sizeof *names);
        names[n++] = TAKE_PTR(copy);
    }
    *ret_names = names;
    return n;
}

static size_t recorded_addresses(void *ctx, struct hardware_address **ret) {
    struct hardware_address *all = NULL;
    size_t n = 0;
    for (const char *line = ctx; *line; line = next_line(line)) {
        if (line[0] != '%')
            continue;
        size_t nic = strcspn(line + 1, " \n");
        const char *address = line[1 + nic] == ' ' ? line + 2 + nic : "";
        all = xreallocarray(all, n + 1, sizeof *all);
        all[n++] = (struct hardware_address){.nic = xstrndup(line + 1, nic),
                                             .text = xstrndup(address, strcspn(address, "\n"))};
    }
    *ret = all;
    return n;
}

struct hardware_tree hardware_recorded(const char *text) {
    return (struct hardware_tree){
        .read = recorded_read, .list = recorded_list, .addresses = recorded_addresses, .ctx = (void *)text};
}
