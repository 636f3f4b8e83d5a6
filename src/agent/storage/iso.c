/* SPDX-License-Identifier: Apache-2.0 */
/* ISO images: checked, copied into isos/, sealed. A file has its name there only when it is whole. */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define ISO_NAME_MAX 64

struct iso_task {
    struct task t;
    char *id;
    char *upload, *path;
    struct foreign foreign;
    int dir; /* isos/ */
    char name[ISO_NAME_MAX], temporary[ISO_NAME_MAX];
};

static void iso_free(struct task *t) {
    struct iso_task *i = container_of(t, struct iso_task, t);
    free(i->id);
    free(i->upload);
    free(i->path);
    close_fd(&i->dir);
}

static struct iso_task *iso_new(struct storage *s, const struct task_type *type, uint64_t call, const char *repository,
                                const char *id) {
    struct iso_task *i = container_of(task_new(s, type, call, repository), struct iso_task, t);
    i->id = xstrdup(id);
    i->dir = -1;
    snprintf(i->name, sizeof i->name, "%.36s.iso", id);
    snprintf(i->temporary, sizeof i->temporary, ".%.36s.tmp", id);
    task_key(&i->t, "iso", id);
    return i;
}

static int set_result(struct iso_task *i, int fd) {
    char label[IMAGE_LABEL_MAX + 1];
    struct image_fd f = {.fd = fd, .cancel = &i->t.cancel};
    struct image_source s;
    int r = image_source_from_fd(&f, &s);
    if (r == 0)
        r = image_check_iso(&s, label, &i->t.error);
    if (r == 0)
        i->t.result = json_pack("{s:I, s:s}", "size", (json_int_t)s.length, "label", label);
    return r;
}

static int iso_copy(struct iso_task *i, int from) {
    struct task *t = &i->t;
    struct stat st;
    if (fstat(from, &st) < 0 || (unlinkat(i->dir, i->temporary, 0) < 0 && errno != ENOENT))
        return -errno;
    _cleanup_close_ int to = open_beneath(i->dir, i->temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    int r = to < 0 ? to : storage_own(t->storage, to);
    if (r == 0)
        r = file_copy(t, from, to, st.st_size, "copying");
    if (r == 0)
        r = foreign_check(t, &i->foreign, from);
    if (r == 0)
        r = set_result(i, to);
    if (r == 0 && (fchmod(to, 0444) < 0 || fsync(to) < 0 || renameat(i->dir, i->temporary, i->dir, i->name) < 0 ||
                   fsync(i->dir) < 0))
        r = -errno;
    return r;
}

static int make_prepare(struct task *t) {
    struct iso_task *i = container_of(t, struct iso_task, t);
    i->dir = open_beneath(t->dirfd, "isos", O_RDONLY | O_DIRECTORY, 0);
    if (i->dir < 0)
        return i->dir;
    _cleanup_close_ int made = open_regular(i->dir, i->name, O_RDONLY);
    if (made != -ENOENT)
        return made < 0 ? made : set_result(i, made); /* by an earlier try */
    _cleanup_close_ int fd = foreign_open(t, &i->foreign);
    if (fd < 0)
        return fd;
    task_progress(t, 0, "checking the image");
    int r = set_result(i, fd); /* what is none is not even copied */
    if (r < 0)
        return r;
    json_decref(TAKE_PTR(t->result));
    r = iso_copy(i, fd);
    return r < 0 ? r : TASK_DONE;
}

static void make_rollback(struct task *t) {
    struct iso_task *i = container_of(t, struct iso_task, t);
    if (i->dir >= 0)
        unlinkat(i->dir, i->temporary, 0);
}

void storage_iso_make(struct storage *s, uint64_t call, const struct api_iso_make *a) {
    static const struct task_type type = {.what = "importing the ISO image",
                                          .size = sizeof(struct iso_task),
                                          .heavy = true,
                                          .cancellable = true,
                                          .prepare = make_prepare,
                                          .rollback = make_rollback,
                                          .free = iso_free};
    struct iso_task *i = iso_new(s, &type, call, a->repository, a->iso);
    i->upload = xstrdup(a->upload);
    i->path = xstrdup(a->path);
    i->foreign = (struct foreign){.upload = i->upload, .path = i->path, .field = "", .copy = i->temporary};
    task_reads_upload(&i->t, a->upload);
    task_queue(&i->t);
}

static int delete_prepare(struct task *t) {
    struct iso_task *i = container_of(t, struct iso_task, t);
    i->dir = open_beneath(t->dirfd, "isos", O_RDONLY | O_DIRECTORY, 0);
    if (i->dir < 0)
        return i->dir;
    if ((unlinkat(i->dir, i->name, 0) < 0 && errno != ENOENT) ||
        (unlinkat(i->dir, i->temporary, 0) < 0 && errno != ENOENT) || fsync(i->dir) < 0)
        return -errno;
    return TASK_DONE;
}

void storage_iso_delete(struct storage *s, uint64_t call, const struct api_iso_op *a) {
    static const struct task_type type = {
        .what = "deleting the ISO image", .size = sizeof(struct iso_task), .prepare = delete_prepare, .free = iso_free};
    task_queue(&iso_new(s, &type, call, a->repository, a->iso)->t);
}

int iso_open(int dirfd, const char *id, struct error *e) {
    if (!uuid_valid(id))
        return error_set(e, ERR_INVALID, "the id of the ISO image is no UUID");
    _cleanup_free_ char *name = xasprintf("isos/%s.iso", id);
    int fd = open_regular(dirfd, name, O_RDONLY);
    if (fd < 0)
        return error_set(e, fd == -ENOENT ? ERR_NOT_FOUND : ERR_IO, "opening the ISO image %s failed: %s", id,
                         fd == -ENOENT ? "it is missing from its repository" : strerror(-fd));
    return fd;
}

/* ---- for a drive of a guest that runs ---- */

struct open_task {
    struct task t;
    char *id;
    int fd;
    void (*ready)(void *ctx, const struct error *e, int fd);
    void *ctx;
};

static int open_prepare(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    o->fd = iso_open(t->dirfd, o->id, &t->error);
    return o->fd < 0 ? o->fd : TASK_DONE;
}

static void open_ended(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    o->ready(o->ctx, t->error.code == ERR_OK ? NULL : &t->error, t->error.code == ERR_OK ? TAKE_FD(o->fd) : -1);
}

static void open_free(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    close_fd(&o->fd);
    free(o->id);
}

void storage_iso_open(struct storage *s, const char *repository, const char *iso,
                      void (*ready)(void *ctx, const struct error *e, int fd), void *ctx) {
    static const struct task_type type = {.what = "opening the ISO image",
                                          .size = sizeof(struct open_task),
                                          .prepare = open_prepare,
                                          .ended = open_ended,
                                          .free = open_free};
    struct open_task *o = container_of(task_new(s, &type, 0, repository), struct open_task, t);
    o->id = xstrdup(iso);
    o->fd = -1;
    o->ready = ready;
    o->ctx = ctx;
    task_key(&o->t, "iso", iso);
    task_queue(&o->t);
}
