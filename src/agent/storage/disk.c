/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual disks: blank, linked clones of a template's disk, full copies of one, and from images. */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/id.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk_task {
    struct task t;
    struct api_disk_create a;
    struct convert convert;
    struct foreign foreign;
    bool from_image;
    int dir; /* disks/ */
    char name[UUID_LEN + 8], temporary[UUID_LEN + 8], copy[UUID_LEN + 16];
};

static void disk_free(struct task *t) {
    struct disk_task *d = container_of(t, struct disk_task, t);
    api_disk_create_done(&d->a);
    convert_done(&d->convert);
    close_fd(&d->dir);
}

static int64_t round_up_512(int64_t v) { return (v + 511) & ~INT64_C(511); }

/* The template's disk goes to convert.chain[0], its backing name to backing; the wanted size is settled. */
static int open_template(struct disk_task *d, char backing[static BACKING_NAME_MAX], int64_t *ret_size) {
    int64_t size;
    if (str_empty(d->a.template))
        return 0;
    if (!uuid_valid(d->a.template) || d->a.template_disk < 0 || d->a.template_disk > 99)
        return error_set_field(&d->t.error, ERR_INVALID, "template", "the template or its disk's number is not valid");
    backing_name(d->a.template, d->a.template_disk, backing);
    int fd = open_own_disk(&d->t, d->t.dirfd, backing_path(backing), O_RDONLY, "", &size);
    if (fd == -ENOENT)
        return error_set(&d->t.error, ERR_NOT_FOUND, "the repository %s has no disk %lld of template %s", d->t.place,
                         (long long)d->a.template_disk, d->a.template);
    if (fd < 0)
        return fd;
    d->convert.chain[0] = fd;
    d->convert.n = 1;
    d->convert.driver = "qcow2";
    if (d->a.size == 0)
        d->a.size = size;
    if (d->a.size < size) {
        char is[SIZE_TEXT_MAX], wanted[SIZE_TEXT_MAX];
        return error_set_field(&d->t.error, ERR_INVALID, "size",
                               "the template's disk has %s; a clone of %s would cut it off", size_format(size, is),
                               size_format(d->a.size, wanted));
    }
    return 0;
}

/* 1: there is a disk of this id, as it should be. */
static int find_existing(struct disk_task *d, const char *backing) {
    int64_t size, allocated;
    char name[DISK_NAME_MAX];
    disk_name(d->a.disk, name);
    _cleanup_close_ int fd = open_own_disk(&d->t, d->t.dirfd, name, O_RDONLY, backing, &size);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    if (size != d->a.size && !(d->from_image && d->a.size == 0))
        return error_set(&d->t.error, ERR_CONFLICT, "there is already a disk %s of another size in %s", d->a.disk,
                         d->t.place);
    int r = file_allocated(fd, NULL, &allocated);
    if (r < 0)
        return r;
    task_result_disk(&d->t, size, allocated);
    return 1;
}

static int make_empty(struct disk_task *d, const char *backing) {
    int64_t allocated;
    if (unlinkat(d->dir, d->temporary, 0) < 0 && errno != ENOENT)
        return -errno;
    _cleanup_close_ int fd = open_beneath(d->dir, d->temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return fd;
    int r = storage_own(d->t.storage, fd);
    if (r == 0)
        r = qcow2_write_empty(fd, d->a.size, backing);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && (renameat(d->dir, d->temporary, d->dir, d->name) < 0 || fsync(d->dir) < 0))
        r = -errno;
    if (r == 0)
        r = file_allocated(fd, NULL, &allocated);
    if (r == 0)
        task_result_disk(&d->t, d->a.size, allocated);
    return r;
}

/* A full copy of the same size is the template's file itself: at once where the file system has reflinks. */
static int make_copy(struct disk_task *d) {
    struct stat st;
    if (fstat(d->convert.chain[0], &st) < 0 || (unlinkat(d->dir, d->temporary, 0) < 0 && errno != ENOENT))
        return -errno;
    d->convert.target = open_beneath(d->dir, d->temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (d->convert.target < 0)
        return d->convert.target;
    int r = storage_own(d->t.storage, d->convert.target);
    if (r == 0)
        r = file_copy(&d->t, d->convert.chain[0], d->convert.target, st.st_size, "copying");
    if (r == 0)
        r = convert_seal(&d->t, &d->convert, d->dir, d->temporary, d->name, false);
    return r < 0 ? r : TASK_DONE;
}

static int prepare_image(struct disk_task *d) {
    struct task *t = &d->t;
    int r = find_existing(d, "");
    if (r != 0)
        return r < 0 ? r : TASK_DONE;
    if ((r = foreign_image(t, &d->foreign, d->dir, &d->convert)) < 0)
        return r;
    if (d->a.size == 0)
        d->a.size = d->convert.size;
    if (d->a.size < d->convert.size) {
        char is[SIZE_TEXT_MAX], wanted[SIZE_TEXT_MAX];
        return error_set_field(&t->error, ERR_INVALID, "size", "the image's disk has %s; one of %s would cut it off",
                               size_format(d->convert.size, is), size_format(d->a.size, wanted));
    }
    d->convert.size = d->a.size;
    r = convert_make_target(t, &d->convert, d->dir, d->temporary);
    return r < 0 ? r : TASK_CHILD;
}

static int disk_prepare(struct task *t) {
    struct disk_task *d = container_of(t, struct disk_task, t);
    char backing[BACKING_NAME_MAX] = "";
    snprintf(d->name, sizeof(d->name), "%s.qcow2", d->a.disk);
    snprintf(d->temporary, sizeof(d->temporary), ".%s.tmp", d->a.disk);
    if (d->a.size < 0 || d->a.size > IMAGE_SIZE_MAX || (d->a.size == 0 && str_empty(d->a.template) && !d->from_image))
        return error_set_field(&t->error, ERR_INVALID, "size", "the size of a disk is from 1 MiB to 64 TiB");
    d->a.size = round_up_512(d->a.size);
    d->dir = open_beneath(t->dirfd, "disks", O_RDONLY | O_DIRECTORY, 0);
    if (d->dir < 0)
        return d->dir;
    if (d->from_image)
        return prepare_image(d);
    int64_t size = 0; /* the template's */
    int r = open_template(d, backing, &size);
    bool full = t->type->heavy;
    if (r < 0 || (r = find_existing(d, full ? "" : backing)) != 0)
        return r < 0 ? r : TASK_DONE;
    if (!full)
        return make_empty(d, backing);
    d->convert.size = d->a.size;
    if (d->a.size == size)
        return make_copy(d);
    r = convert_make_target(t, &d->convert, d->dir, d->temporary);
    return r < 0 ? r : TASK_CHILD;
}

static int disk_spawn(struct task *t) { return convert_spawn(t, &container_of(t, struct disk_task, t)->convert); }

static int disk_finish(struct task *t) {
    struct disk_task *d = container_of(t, struct disk_task, t);
    int r = foreign_finish(t, &d->foreign, d->dir, &d->convert);
    return r < 0 ? r : convert_seal(t, &d->convert, d->dir, d->temporary, d->name, false);
}

static void disk_rollback(struct task *t) {
    struct disk_task *d = container_of(t, struct disk_task, t);
    if (d->dir < 0)
        return;
    foreign_rollback(t, &d->foreign, d->dir, &d->convert);
    unlinkat(d->dir, d->temporary, 0);
}

void storage_disk_create(struct storage *s, uint64_t call, const struct api_disk_create *a) {
    static const struct task_type light = {.what = "making the disk",
                                           .size = sizeof(struct disk_task),
                                           .prepare = disk_prepare,
                                           .rollback = disk_rollback,
                                           .free = disk_free};
    static const struct task_type heavy = {.what = "copying the disk",
                                           .size = sizeof(struct disk_task),
                                           .heavy = true,
                                           .cancellable = true,
                                           .prepare = disk_prepare,
                                           .spawn = disk_spawn,
                                           .child_ended = convert_ended,
                                           .finish = disk_finish,
                                           .rollback = disk_rollback,
                                           .free = disk_free};
    bool image = !str_empty(a->upload) || !str_empty(a->path);
    bool full = image || (!str_empty(a->template) && a->clone == API_CLONE_MODE_FULL);
    struct disk_task *d = container_of(task_new(s, full ? &heavy : &light, call, a->repository), struct disk_task, t);
    api_disk_create_copy(&d->a, a);
    d->from_image = image;
    snprintf(d->copy, sizeof(d->copy), ".%.36s.source.tmp", a->disk);
    d->foreign =
        (struct foreign){.upload = d->a.upload, .path = d->a.path, .format = d->a.format, .field = "", .copy = d->copy};
    if (image)
        task_reads_upload(&d->t, a->upload);
    convert_init(&d->convert);
    d->dir = -1;
    task_key(&d->t, "disk", a->disk);
    task_queue(&d->t);
}

/* ---- delete
 * ---------------------------------------------------------------------------------------------------------- */

struct delete_task {
    struct task t;
    char *id;
};

static void delete_free(struct task *t) { free(container_of(t, struct delete_task, t)->id); }

static int delete_prepare(struct task *t) {
    const struct delete_task *d = container_of(t, struct delete_task, t);
    _cleanup_free_ char *name = xasprintf("%s.qcow2", d->id), *temporary = xasprintf(".%s.tmp", d->id);
    _cleanup_free_ char *copy = xasprintf(".%s.source.tmp", d->id);
    _cleanup_close_ int dir = open_beneath(t->dirfd, "disks", O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return dir;
    if ((unlinkat(dir, name, 0) < 0 && errno != ENOENT) || (unlinkat(dir, temporary, 0) < 0 && errno != ENOENT) ||
        (unlinkat(dir, copy, 0) < 0 && errno != ENOENT) || fsync(dir) < 0)
        return -errno;
    return TASK_DONE;
}

void storage_disk_delete(struct storage *s, uint64_t call, const struct api_disk_op *a) {
    static const struct task_type type = {.what = "deleting the disk",
                                          .size = sizeof(struct delete_task),
                                          .prepare = delete_prepare,
                                          .free = delete_free};
    struct delete_task *d = container_of(task_new(s, &type, call, a->repository), struct delete_task, t);
    d->id = xstrdup(a->disk);
    task_key(&d->t, "disk", a->disk);
    task_queue(&d->t);
}
