/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid) {
    errno = 0;
    const struct passwd *pw = getpwnam(name);
    if (!pw)
        return errno ? -errno : -ENOENT;
    *ret_uid = pw->pw_uid;
    *ret_gid = pw->pw_gid;
    return 0;
}

void disk_name(const char *id, char ret[static DISK_NAME_MAX]) { snprintf(ret, DISK_NAME_MAX, "disks/%s.qcow2", id); }

int storage_own(const struct storage *s, int fd) {
    return s->has_owner && fchown(fd, s->owner, s->group) < 0 ? -errno : 0;
}

int file_allocated(int fd, int64_t *ret_size, int64_t *ret_allocated) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (ret_size)
        *ret_size = st.st_size;
    *ret_allocated = st.st_blocks * 512;
    return 0;
}

#define TICK_MS 50 /* several of the kernel's: two writes in one tick give a file the same time */

static int state_read(int fd, struct file_state *ret) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = (struct file_state){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
    return 0;
}

int file_state_take(int fd, struct file_state *ret) {
    struct timespec now, pause = {.tv_nsec = TICK_MS * 1000000L};
    struct file_state s = {0};
    int r = state_read(fd, &s);
    if (r < 0)
        return r;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)(now.tv_sec - s.changed.tv_sec) * 1000 + (now.tv_nsec - s.changed.tv_nsec) / 1000000;
    if (age < TICK_MS)
        nanosleep(&pause, NULL);
    *ret = s; /* what was written during the pause counts as a change */
    return 0;
}

static bool same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

bool file_state_holds(int fd, const struct file_state *s) {
    struct file_state is = {0};
    return state_read(fd, &is) == 0 && is.dev == s->dev && is.ino == s->ino && is.size == s->size &&
           same_time(is.modified, s->modified) && same_time(is.changed, s->changed);
}

int make_dir_durably(int dirfd, const char *parent, const char *name) {
    int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return fd;
    _cleanup_close_ int made = make_dir(dirfd, name, 0700),
                        above = open_beneath(dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
    if (made < 0 || above < 0)
        return made < 0 ? made : above;
    return fsync(above) < 0 ? -errno : TAKE_FD(made);
}

int open_regular(int dirfd, const char *name, int flags) {
    _cleanup_close_ int fd = open_beneath(dirfd, name, flags | O_NONBLOCK | O_NOCTTY, 0);
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    /* O_NONBLOCK was only against a FIFO in its place. */
    if (fcntl(fd, F_SETFL, flags & (O_APPEND | O_DIRECT)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

void backing_name(const char *template, int64_t index, char ret[static BACKING_NAME_MAX]) {
    snprintf(ret, BACKING_NAME_MAX, "../templates/%s/disk-%lld.qcow2", template, (long long)index);
}

const char *backing_path(const char *backing) {
    static const char head[] = "../templates/";
    char id[UUID_LEN + 1], again[BACKING_NAME_MAX];
    int index, end = 0;
    if (strncmp(backing, head, sizeof(head) - 1) != 0 || strlen(backing) < sizeof(head) - 1 + UUID_LEN)
        return NULL;
    memcpy(id, backing + sizeof(head) - 1, UUID_LEN);
    id[UUID_LEN] = 0;
    if (!uuid_valid(id) || sscanf(backing + sizeof(head) - 1 + UUID_LEN, "/disk-%2d.qcow2%n", &index, &end) != 1 ||
        end == 0 || index < 0)
        return NULL;
    backing_name(id, index, again);
    return strcmp(again, backing) == 0 ? backing + 3 : NULL;
}

int open_own_disk(struct task *t, int dirfd, const char *name, int flags, const char *backing, int64_t *ret_size) {
    _cleanup_close_ int fd = open_regular(dirfd, name, flags);
    if (fd < 0)
        return fd;
    struct image_fd f = {.fd = fd};
    struct image_source source;
    _cleanup_error_ struct error e = ERROR_INIT;
    int64_t size;
    int r = image_source_from_fd(&f, &source);
    if (r < 0)
        return r;
    if ((r = image_check_own(&source, backing, &size, &e)) < 0)
        return error_set(&t->error, e.code, "%s/%s: %s", t->place, name, e.message);
    if (ret_size)
        *ret_size = size;
    return TAKE_FD(fd);
}
