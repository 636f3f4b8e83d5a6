/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a directory is, whatever way leads to it: its file system, and its path from that one's root. Symbolic links on
 * the way are gone from the path of an open descriptor; what a bind mount shows is told by /proc/self/mountinfo, which
 * says for each mount of which directory of its file system it is. So two repositories of which one is inside of the
 * other are found by comparing paths. Where a network file system is mounted twice from different exports nobody on
 * this side can tell.
 */
#include "agent/storage/site.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOUNTS_MAX (16U << 20)

void site_done(struct site *p) {
    free(p->fs);
    free(p->path);
    *p = (struct site){0};
}

bool site_overlaps(const struct site *a, const struct site *b) {
    return a->fs && b->fs && str_eq(a->fs, b->fs) && path_overlaps(a->path, b->path);
}

/* A space, tab, newline and backslash stand there as \040 and the like. */
static char *unescape(const char *s, size_t len) {
    struct buf b = {0};
    for (size_t i = 0; i < len; i++) {
        bool octal = s[i] == '\\' && i + 3 < len && strspn(s + i + 1, "01234567") >= 3;
        buf_addc(&b, octal ? (char)((s[i + 1] - '0') * 64 + (s[i + 2] - '0') * 8 + (s[i + 3] - '0')) : s[i]);
        i += octal ? 3 : 0;
    }
    return buf_take(&b);
}

/* ID PARENT MAJOR:MINOR ROOT MOUNT-POINT … */
int site_find(const char *mountinfo, long mount, const char *path, struct site *ret) {
    for (const char *line = mountinfo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *field[5], *s = line;
        size_t len[5];
        if (strtol(line, NULL, 10) != mount)
            continue;
        for (int i = 0; i < 5; i++) {
            s += strspn(s, " ");
            field[i] = s;
            len[i] = strcspn(s, " \n");
            s += len[i];
            if (!len[i])
                return -EBADMSG;
        }
        _cleanup_free_ char *root = unescape(field[3], len[3]), *point = unescape(field[4], len[4]);
        size_t n = strlen(point);
        n -= n == 1; /* "/" */
        if (strncmp(path, point, n) != 0 || (path[n] && path[n] != '/'))
            return -ENOENT;
        *ret = (struct site){xstrndup(field[2], len[2]), xasprintf("%s%s", str_eq(root, "/") ? "" : root, path + n)};
        return 0;
    }
    return -ENOENT;
}

int site_of(int fd, struct site *ret) {
    char name[64], path[PATH_MAX];
    _cleanup_free_ char *info = NULL, *mounts = NULL;
    size_t len;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    if (n <= 0)
        return n < 0 ? -errno : -ENOENT;
    path[n] = 0;
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    int r = read_file_at(AT_FDCWD, name, 4096, &info, &len);
    const char *id = r < 0 ? NULL : strstr(info, "mnt_id:");
    if (r == 0 && !id)
        r = -ENOENT;
    if (r == 0)
        r = read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &mounts, &len);
    return r < 0 ? r : site_find(mounts, strtol(id + strlen("mnt_id:"), NULL, 10), path, ret);
}
