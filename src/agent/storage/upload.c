/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads. The file's length is how much has arrived: bytes are written from the front on, and an upload that broke off
 * is taken up where the file ends.
 */
#include "agent/storage/task.h"

#include "base/id.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct upload_task {
    struct task t;
    char *id;
    int64_t size;
};

static void upload_free(struct task *t) { free(container_of(t, struct upload_task, t)->id); }

static struct upload_task *upload_new(struct storage *s, const struct task_type *type, uint64_t call,
                                      const char *repository, const char *id) {
    struct upload_task *u = container_of(task_new(s, type, call, repository), struct upload_task, t);
    u->id = xstrdup(id);
    task_key(&u->t, "upload", id);
    return u;
}

static int open_uploads(const struct task *t) { return open_beneath(t->dirfd, "uploads", O_RDONLY | O_DIRECTORY, 0); }

static int check_room(struct task *t, int64_t size, int64_t have) {
    struct statvfs v;
    char needs[SIZE_TEXT_MAX], is[SIZE_TEXT_MAX];
    if (fstatvfs(t->dirfd, &v) < 0)
        return -errno;
    int64_t room = (int64_t)((uint64_t)v.f_bavail * v.f_frsize);
    if (size - have <= room)
        return 0;
    return error_set(&t->error, ERR_NO_SPACE,
                     "the repository %s has %s free, the upload needs %s; make room there or take another "
                     "repository",
                     t->place, size_format(room, is), size_format(size - have, needs));
}

static int upload_prepare(struct task *t) {
    const struct upload_task *u = container_of(t, struct upload_task, t);
    _cleanup_close_ int dir = open_uploads(t);
    if (dir < 0)
        return dir;
    _cleanup_close_ int fd = open_regular(dir, u->id, O_RDWR);
    bool made = fd == -ENOENT;
    if (made)
        fd = open_beneath(dir, u->id, O_RDWR | O_CREAT | O_EXCL, 0600);
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    int r = check_room(t, u->size, st.st_size);
    if (r == 0)
        r = storage_own(t->storage, fd);
    if (r == 0 && fsync(dir) < 0)
        r = -errno;
    if (r < 0) {
        if (made)
            unlinkat(dir, u->id, 0);
        return r;
    }
    struct api_upload_report report;
    api_upload_report_init(&report);
    str_set(&report.upload, u->id);
    report.received = st.st_size;
    t->result = api_upload_report_print(&report, API_PRIVATE);
    api_upload_report_done(&report);
    return TASK_DONE;
}

void storage_upload_open(struct storage *s, uint64_t call, const struct api_upload_open *a) {
    static const struct task_type type = {.what = "making the upload",
                                          .size = sizeof(struct upload_task),
                                          .prepare = upload_prepare,
                                          .free = upload_free};
    struct upload_task *u = upload_new(s, &type, call, a->repository, a->upload);
    u->size = a->size;
    task_queue(&u->t);
}

static int upload_delete_prepare(struct task *t) {
    const struct upload_task *u = container_of(t, struct upload_task, t);
    _cleanup_close_ int dir = open_uploads(t);
    if (dir < 0)
        return dir;
    if ((unlinkat(dir, u->id, 0) < 0 && errno != ENOENT) || fsync(dir) < 0)
        return -errno;
    return TASK_DONE;
}

void storage_upload_delete(struct storage *s, uint64_t call, const struct api_upload_op *a) {
    static const struct task_type type = {.what = "deleting the upload",
                                          .size = sizeof(struct upload_task),
                                          .prepare = upload_delete_prepare,
                                          .free = upload_free};
    task_queue(&upload_new(s, &type, call, a->repository, a->upload)->t);
}

/* By its op, or by an import that reads it. */
static bool upload_taken(struct storage *s, const char *key) {
    struct task *t;
    list_for_each(t, &s->tasks, link)
        if (str_eq(t->key, key) || str_eq(t->upload, key))
            return true;
    return false;
}

static void count_writer(struct storage *s, const char *key, int by) {
    uintptr_t n = (uintptr_t)map_get(&s->writers, key) + (uintptr_t)by;
    if (n)
        map_put(&s->writers, key, (void *)n);
    else
        map_remove(&s->writers, key);
}

int storage_upload_fd(struct storage *s, const char *repository, const char *upload, int64_t *ret_received,
                      struct error *e) {
    const struct repository *r = repository_find(s, repository);
    if (!r || !r->usable)
        return error_set(e, ERR_UNAVAILABLE, "the repository of the upload cannot be used: %s",
                         r ? r->reason : "it is not open");
    if (!uuid_valid(upload))
        return error_set(e, ERR_INVALID, "the id of the upload is no UUID");
    _cleanup_free_ char *name = xasprintf("uploads/%s", upload), *key = xasprintf("%s/upload/%s", repository, upload);
    if (upload_taken(s, key))
        return error_set(e, ERR_CONFLICT, "the upload is being imported or deleted: it cannot be written to now");
    _cleanup_close_ int fd = open_regular(r->dirfd, name, O_RDWR);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, fd == -ENOENT ? ERR_NOT_FOUND : ERR_IO, "opening the upload in %s failed: %s", r->path,
                         strerror(fd < 0 ? -fd : errno));
    *ret_received = st.st_size;
    count_writer(s, key, 1);
    return TAKE_FD(fd);
}

void storage_upload_done(struct storage *s, const char *repository, const char *upload, int fd) {
    _cleanup_free_ char *key = xasprintf("%s/upload/%s", repository, upload);
    close(fd);
    count_writer(s, key, -1);
}
