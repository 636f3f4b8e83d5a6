/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include "base/buf.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Directories nested deeper than this are nobody's but an attacker's: each level holds a descriptor while it is
 * removed. */
#define TREE_DEPTH_MAX 100

void close_fd(int *fd) {
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
    *fd = -1;
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode) {
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        /* EAGAIN: something was renamed meanwhile, and the kernel could not tell whether we stayed beneath. */
        if (errno != EINTR && !(errno == EAGAIN && tries < 100))
            return -errno;
    }
}

/* AT_FDCWD stands for a path that the operator gave: it is followed as any program would. */
static int open_at(int dirfd, const char *path, int flags, mode_t mode) {
    if (dirfd != AT_FDCWD)
        return open_beneath(dirfd, path, flags, mode);
    int fd = openat(dirfd, path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

int open_dir(const char *path) {
    if (path[0] != '/')
        return -EINVAL;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Opens the directory that holds path; *ret_name points at the last component, inside path. */
static int open_parent(int dirfd, const char *path, const char **ret_name) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    *ret_name = name;
    if (!slash)
        return open_at(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    _cleanup_free_ char *parent = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
    return open_at(dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
}

int make_dir(int dirfd, const char *name, mode_t mode) {
    const char *last;
    _cleanup_close_ int parent = open_parent(dirfd, name, &last);
    if (parent < 0)
        return parent;
    if (mkdirat(parent, last, mode) < 0 && errno != EEXIST)
        return -errno;
    return open_beneath(parent, last, O_RDONLY | O_DIRECTORY, 0);
}

int make_dirs(const char *path, mode_t mode) {
    if (!*path)
        return -EINVAL;
    _cleanup_free_ char *copy = xstrdup(path);
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(copy, mode) < 0 && errno != EEXIST && !(errno == EROFS && access(copy, F_OK) == 0))
            return -errno;
        *p = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int read_file_at(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len) {
    /* O_NONBLOCK: opening a FIFO that was put there must not hang us. */
    _cleanup_close_ int fd = open_at(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (st.st_size > 0 && (uint64_t)st.st_size > max)
        return -EFBIG;
    /* The size is only a hint: files in /proc say 0, and a file may grow. */
    size_t cap = (size_t)st.st_size + 512, len = 0;
    _cleanup_free_ char *data = xmalloc(cap + 1);
    for (;;) {
        if (len == cap) {
            cap *= 2;
            data = xreallocarray(data, cap + 1, 1);
        }
        ssize_t n = read(fd, data + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > max)
            return -EFBIG;
    }
    data[len] = 0;
    *ret = TAKE_PTR(data);
    if (ret_len)
        *ret_len = len;
    return 0;
}

int write_all(int fd, const void *data, size_t len) {
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_temporary(int parent, const char *temporary, const void *data, size_t len, mode_t mode) {
    _cleanup_close_ int fd = open_beneath(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fd;
    int r = write_all(fd, data, len);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

int write_file_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode) {
    const char *last;
    _cleanup_close_ int parent = open_parent(dirfd, name, &last);
    if (parent < 0)
        return parent;
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return -EIO;
    _cleanup_free_ char *temporary = xasprintf(".%s.%016llx", last, (unsigned long long)random);
    int r = write_temporary(parent, temporary, data, len, mode);
    if (r == 0 && renameat(parent, temporary, parent, last) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(parent, temporary, 0);
        return r;
    }
    return fsync(parent) < 0 ? -errno : 0;
}

static int remove_entry(int parent, const char *name, int depth);

/* Empties the directory fd (which it closes). */
static int empty_dir(int fd, int depth) {
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    bool removed = true;
    /* A file system may skip entries when others are removed while it is read: again until a pass finds none. */
    while (r == 0 && removed) {
        removed = false;
        rewinddir(d);
        for (;;) {
            errno = 0;
            struct dirent *entry = readdir(d);
            if (!entry) {
                r = -errno;
                break;
            }
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            r = remove_entry(dirfd(d), entry->d_name, depth + 1);
            if (r < 0)
                break;
            removed = true;
        }
    }
    closedir(d);
    return r;
}

static int remove_entry(int parent, const char *name, int depth) {
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int saved = -errno;
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTDIR)
        return saved; /* a file that may not be unlinked */
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    if (depth >= TREE_DEPTH_MAX)
        return -ELOOP;
    int fd = open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = empty_dir(fd, depth);
    if (r < 0)
        return r;
    return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int remove_tree_at(int dirfd, const char *name) {
    const char *last;
    _cleanup_close_ int parent = open_parent(dirfd, name, &last);
    if (parent < 0)
        return parent == -ENOENT ? 0 : parent;
    return remove_entry(parent, last, 0);
}

char *read_attribute(int fd, size_t max) {
    _cleanup_buf_ struct buf text = {0};
    while (text.len < max) {
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

bool file_is_remote(int fd) {
    static const unsigned long remote[] = {NFS_SUPER_MAGIC,  0xff534d42 /* CIFS */, SMB2_SUPER_MAGIC,
                                           CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC,      V9FS_MAGIC};
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if (((unsigned long)st.f_type & 0xffffffff) == remote[i])
            return true;
    return false;
}

bool file_takes_direct(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
        return false;
    return fcntl(fd, F_SETFL, flags) == 0;
}
