/* SPDX-License-Identifier: Apache-2.0 */
/* What machine this is. */
#include "agent/agent.h"

#include "base/buf.h"
#include "os/file.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_MAX (256U << 10)

char *facts_read(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    _cleanup_buf_ struct buf text = {0};
    while (text.len < FILE_MAX) {
        buf_reserve(&text, 4096);
        ssize_t n = read(fd, text.data + text.len, 4096);
        if (n < 0)
            return NULL;
        if (n == 0)
            break;
        text.len += (size_t)n;
        text.data[text.len] = '\0';
    }
    return buf_take(&text);
}

/* The value behind "KEY<blanks>: " or "KEY=" in the first line that has it; quotes are taken off. */
static char *line_value(const char *text, const char *key) {
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t n = strlen(key);
        if (strncmp(line, key, n) != 0)
            continue;
        const char *v = line + n + strspn(line + n, " \t");
        if (*v != ':' && *v != '=')
            continue;
        v++;
        v += strspn(v, " \t\"");
        return xstrndup(v, strcspn(v, "\"\n"));
    }
    return xstrdup("");
}

static int64_t read_number(const char *path) {
    _cleanup_free_ char *text = facts_read(path);
    return text ? strtoll(text, NULL, 10) : -1;
}

/* Distinct packages and cores, from the kernel's topology. */
static void topology(int64_t cpus, struct api_hardware *h) {
    int64_t packages = 0, cores = 0;
    for (int64_t i = 0; i < cpus && i < 4096; i++) {
        static const char dir[] = "/sys/devices/system/cpu";
        _cleanup_free_ char *id = xasprintf("%s/cpu%lld/topology/physical_package_id", dir, (long long)i);
        int64_t package = read_number(id);
        if (package >= packages)
            packages = package + 1;
        _cleanup_free_ char *list = xasprintf("%s/cpu%lld/topology/thread_siblings_list", dir, (long long)i);
        _cleanup_free_ char *siblings = facts_read(list);
        if (siblings && strtoll(siblings, NULL, 10) == i)
            cores++;
    }
    h->sockets = packages > 0 ? packages : 1;
    h->cores = cores >= h->sockets ? cores / h->sockets : cpus;
}

void facts_hardware(struct api_hardware *ret) {
    struct utsname u;
    struct sysinfo info;
    _cleanup_free_ char *cpuinfo = facts_read("/proc/cpuinfo");
    _cleanup_free_ char *release = facts_read("/etc/os-release");
    ret->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    topology(ret->cpus, ret);
    str_take(&ret->cpu_model, line_value(cpuinfo, "model name"));
    str_take(&ret->os, line_value(release, "PRETTY_NAME"));
    if (uname(&u) == 0) {
        str_set(&ret->kernel, u.release);
        str_set(&ret->architecture, u.machine);
    }
    if (sysinfo(&info) == 0)
        ret->memory = (int64_t)info.totalram * info.mem_unit;
}

void facts_sim_hardware(struct api_hardware *ret) {
    str_set(&ret->cpu_model, "simulated");
    ret->cpus = 64;
    ret->sockets = 2;
    ret->cores = 16;
    ret->memory = (int64_t)512 << 30;
    str_set(&ret->kernel, "simulated");
    str_set(&ret->os, "simulated");
    str_set(&ret->architecture, "x86_64");
}
