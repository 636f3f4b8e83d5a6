/* SPDX-License-Identifier: Apache-2.0 */
/* Files, relative to a directory descriptor; no symlink is followed, nothing above the directory is reached. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

void close_fd(int *fd); /* closes if >= 0, sets -1 */
#define _cleanup_close_ __attribute__((cleanup(close_fd)))

/* openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), O_CLOEXEC added. Returns the fd or -errno. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* An absolute path, its last component not a symlink. */
int open_dir(const char *path);
/* Makes and opens a directory (existing is fine). */
int make_dir(int dirfd, const char *name, mode_t mode);
int make_dirs(const char *path, mode_t mode); /* mkdir -p */
/* Whole file, at most max bytes (-EFBIG), NUL-terminated, malloc'd. */
/* An open file of /proc or /sys, whose size nobody knows before: at most about max bytes; NULL if it cannot be read (an
   attribute that its device does not have, say). */
char *read_attribute(int fd, size_t max);
int read_file_at(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len);
/* Atomic and durable: temporary, write, fsync, rename, fsync of the directory. */
int write_file_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode);
/* Removes a file or a whole tree; absent is success. */
int remove_tree_at(int dirfd, const char *name);
int write_all(int fd, const void *data, size_t len);
/* On a file system of the network: this server's page cache may hold what others do not see, or write it late. */
bool file_is_remote(int fd);
/* Whether it can be read and written past the page cache (O_DIRECT); leaves its flags as they are. */
bool file_takes_direct(int fd);
