/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hardware.h"

#include "base/cpulist.h"
#include "base/mem.h"

#include <stdio.h>

#define TEXT_MAX  128
#define NODES_MAX 64

/* ---- reading ---- */

/* What goes to the manager is text that JSON can carry. */
static char *printable(const char *text) {
    size_t n = strcspn(text, "\n");
    while (n > 0 && text[n - 1] == ' ')
        n--;
    char *s = xstrndup(text, n < TEXT_MAX ? n : TEXT_MAX);
    for (char *c = s; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return s;
}

char *hardware_text(const struct hardware_tree *tree, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *path = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *text = tree->read(tree->ctx, path);
    return printable(text ? text : "");
}

int64_t hardware_number(const struct hardware_tree *tree, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *path = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *text = tree->read(tree->ctx, path);
    char *end = NULL;
    long long n = text ? strtoll(text, &end, 10) : -1;
    return text && end > text && n >= 0 && n < INT64_MAX ? n : -1;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void hardware_names_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

size_t hardware_list(const struct hardware_tree *tree, const char *path, size_t max, char ***ret) {
    size_t n = tree->list(tree->ctx, path, ret);
    if (n > 0)
        qsort(*ret, n, sizeof **ret, compare_names);
    while (n > max)
        free((*ret)[--n]);
    return n;
}

/* The value behind "KEY<blanks>:" or "KEY=" in the first line that begins with it; quotes are taken off. */
static char *line_value(const char *text, const char *key) {
    size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, key, n) != 0)
            continue;
        const char *v = line + n + strspn(line + n, " \t");
        if (*v != ':' && *v != '=')
            continue;
        v++;
        v += strspn(v, " \t\"");
        _cleanup_free_ char *value = xstrndup(v, strcspn(v, "\"\n"));
        return printable(value);
    }
    return xstrdup("");
}

/* "Node 0 MemTotal:  123 kB" and "MemTotal: 123 kB" alike, in bytes; 0 if it is not there. */
static int64_t mem_total(const char *text) {
    static const char key[] = "MemTotal:";
    const char *at = text ? strstr(text, key) : NULL;
    long long kib = at ? strtoll(at + sizeof key - 1, NULL, 10) : 0;
    return kib > 0 && kib < INT64_MAX / 1024 ? kib * 1024 : 0;
}

/* ---- CPUs, memory, NUMA ---- */

static void cpus(const struct hardware_tree *tree, struct api_hardware *h) {
    static const char dir[] = "sys/devices/system/cpu";
    struct cpulist online = {0}, packages = {0};
    _cleanup_free_ char *text = hardware_text(tree, "%s/online", dir);
    if (cpulist_parse(text, &online) < 0 || cpulist_count(&online) == 0)
        return;
    int64_t cores = 0;
    for (unsigned i = 0; i < CPULIST_MAX; i++) {
        if (!cpulist_has(&online, i))
            continue;
        int64_t package = hardware_number(tree, "%s/cpu%u/topology/physical_package_id", dir, i);
        if (package >= 0 && package < CPULIST_MAX)
            packages.bits[package / 64] |= UINT64_C(1) << package % 64;
        /* A core is counted at its first thread. */
        if (hardware_number(tree, "%s/cpu%u/topology/thread_siblings_list", dir, i) == i)
            cores++;
    }
    h->cpus = (int64_t)cpulist_count(&online);
    h->sockets = cpulist_count(&packages) ? (int64_t)cpulist_count(&packages) : 1;
    h->cores = cores >= h->sockets ? cores / h->sockets : h->cpus;
    h->threads = cores > 0 && h->cpus >= cores ? h->cpus / cores : 1;
}

static void numa(const struct hardware_tree *tree, struct api_hardware *h) {
    static const char dir[] = "sys/devices/system/node";
    struct cpulist nodes;
    _cleanup_free_ char *online = hardware_text(tree, "%s/online", dir);
    if (cpulist_parse(online, &nodes) < 0)
        return;
    for (unsigned i = 0; i < CPULIST_MAX && h->n_numa < NODES_MAX; i++) {
        if (!cpulist_has(&nodes, i))
            continue;
        h->numa = xreallocarray(h->numa, h->n_numa + 1, sizeof *h->numa);
        struct api_hardware_numa *n = &h->numa[h->n_numa++];
        api_hardware_numa_init(n);
        n->node = i;
        str_take(&n->cpus, hardware_text(tree, "%s/node%u/cpulist", dir, i));
        _cleanup_free_ char *path = xasprintf("%s/node%u/meminfo", dir, i);
        _cleanup_free_ char *meminfo = tree->read(tree->ctx, path);
        n->memory = mem_total(meminfo);
    }
}

void hardware_collect(const struct hardware_tree *tree, struct api_hardware *ret) {
    _cleanup_free_ char *cpuinfo = tree->read(tree->ctx, "proc/cpuinfo");
    _cleanup_free_ char *meminfo = tree->read(tree->ctx, "proc/meminfo");
    _cleanup_free_ char *release = tree->read(tree->ctx, "etc/os-release");
    str_take(&ret->cpu_model, line_value(cpuinfo, "model name"));
    str_take(&ret->cpu_vendor, line_value(cpuinfo, "vendor_id"));
    str_take(&ret->os, line_value(release, "PRETTY_NAME"));
    ret->memory = mem_total(meminfo);
    cpus(tree, ret);
    numa(tree, ret);
    hardware_nics(tree, ret);
    hardware_disks(tree, ret);
    hardware_accelerators(tree, ret);
}
