/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates are made file by file in templates/.ID, then sealed: read-only, flushed, and renamed to templates/ID, from
 * which moment disks may stand on them. A file in .ID has its name only when it is whole, so a repeat takes what is
 * there.
 */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/id.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum role { ROLE_DISK, ROLE_KERNEL, ROLE_INITRD };

struct make_task {
    struct task t;
    struct api_template_make a;
    enum role role;
    struct convert convert;
    struct foreign foreign;
    int dir; /* templates/.ID */
    char name[32], temporary[40];
};

static void make_free(struct task *t) {
    struct make_task *m = container_of(t, struct make_task, t);
    api_template_make_done(&m->a);
    convert_done(&m->convert);
    close_fd(&m->dir);
}

/* ---- where it comes from
 * --------------------------------------------------------------------------------------------- */

/* A stopped VM's disk with what it stands on; qemu-img finds out whether it is really stopped, by QEMU's locks. */
static int open_chain(struct make_task *m) {
    char name[DISK_NAME_MAX], backing[IMAGE_BACKING_MAX + 1];
    if (!uuid_valid(m->a.file.from_disk))
        return error_set_field(&m->t.error, ERR_INVALID, "file.from_disk", "the id of the disk is no UUID");
    disk_name(m->a.file.from_disk, name);
    _cleanup_close_ int fd = open_regular(m->t.dirfd, name, O_RDONLY);
    if (fd == -ENOENT)
        return error_set(&m->t.error, ERR_NOT_FOUND, "the repository %s has no disk %s", m->t.place,
                         m->a.file.from_disk);
    struct image_fd f = {.fd = fd};
    struct image_source s;
    int r = fd < 0 ? fd : image_source_from_fd(&f, &s);
    if (r < 0 || (r = image_own_backing(&s, backing, &m->t.error)) < 0)
        return r;
    if (backing[0] && !backing_path(backing))
        return error_set(&m->t.error, ERR_BAD_IMAGE,
                         "%s/%s stands on a file that is no template's; somebody changed it", m->t.place, name);
    if ((r = image_check_own(&s, backing, &m->convert.size, &m->t.error)) < 0)
        return r;
    m->convert.chain[m->convert.n++] = TAKE_FD(fd);
    m->convert.driver = "qcow2";
    if (!backing[0])
        return 0;
    r = open_own_disk(&m->t, m->t.dirfd, backing_path(backing), O_RDONLY, "", NULL);
    if (r < 0)
        return r == -ENOENT ? error_set(&m->t.error, ERR_NOT_FOUND, "the template on which the disk stands is missing")
                            : r;
    m->convert.chain[m->convert.n++] = r;
    return 0;
}

/* ---- making
 * ---------------------------------------------------------------------------------------------------------- */

/* The kernel of another template: sealed files do not change, so both have the same one. */
static int make_boot_link(struct make_task *m) {
    if (!uuid_valid(m->a.file.from_template))
        return error_set_field(&m->t.error, ERR_INVALID, "file.from_template", "the id of the template is no UUID");
    _cleanup_free_ char *folder = xasprintf("templates/%s", m->a.file.from_template);
    _cleanup_close_ int from = open_beneath(m->t.dirfd, folder, O_RDONLY | O_DIRECTORY, 0);
    _cleanup_close_ int fd = from < 0 ? from : open_regular(from, m->name, O_RDONLY);
    int64_t size, allocated;
    if (fd == -ENOENT)
        return error_set(&m->t.error, ERR_NOT_FOUND, "the template %s has no %s", m->a.file.from_template, m->name);
    int r = fd < 0 ? fd : file_allocated(fd, &size, &allocated);
    if (r < 0)
        return r;
    if (linkat(from, m->name, m->dir, m->name, 0) < 0 || fsync(m->dir) < 0)
        return -errno;
    task_result_disk(&m->t, size, allocated);
    return TASK_DONE;
}

static int make_boot_file(struct make_task *m) {
    if (!str_empty(m->a.file.from_template))
        return make_boot_link(m);
    _cleanup_close_ int fd = foreign_open(&m->t, &m->foreign);
    if (fd < 0)
        return fd;
    struct image_fd f = {.fd = fd, .cancel = &m->t.cancel};
    struct image_source s;
    int64_t allocated;
    int r = image_source_from_fd(&f, &s);
    if (r < 0 || (r = image_check_boot_file(&s, m->role == ROLE_KERNEL ? IMAGE_KERNEL : IMAGE_INITRD, &m->t.error)) < 0)
        return r;
    if (unlinkat(m->dir, m->temporary, 0) < 0 && errno != ENOENT)
        return -errno;
    _cleanup_close_ int to = open_beneath(m->dir, m->temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (to < 0)
        return to;
    if ((r = file_copy(&m->t, fd, to, (int64_t)s.length, "copying")) < 0 ||
        (r = foreign_check(&m->t, &m->foreign, fd)) < 0)
        return r;
    if (fsync(to) < 0 || renameat(m->dir, m->temporary, m->dir, m->name) < 0 || fsync(m->dir) < 0)
        return -errno;
    if ((r = file_allocated(to, NULL, &allocated)) < 0)
        return r;
    task_result_disk(&m->t, (int64_t)s.length, allocated);
    return TASK_DONE;
}

/* 1: the file is there already, made by an earlier try (sealed even, if its answer was lost). */
static int find_made(struct make_task *m) {
    _cleanup_free_ char *making = xasprintf("templates/.%s/%s", m->a.template, m->name);
    _cleanup_free_ char *sealed = xasprintf("templates/%s/%s", m->a.template, m->name);
    int64_t size, allocated;
    _cleanup_close_ int fd = open_regular(m->t.dirfd, making, O_RDONLY);
    if (fd == -ENOENT)
        fd = open_regular(m->t.dirfd, sealed, O_RDONLY);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    struct image_fd f = {.fd = fd};
    struct image_source s;
    int r = file_allocated(fd, &size, &allocated);
    if (r == 0 && m->role == ROLE_DISK && (r = image_source_from_fd(&f, &s)) == 0)
        r = image_check_own(&s, "", &size, &m->t.error);
    if (r < 0)
        return r;
    task_result_disk(&m->t, size, allocated);
    return 1;
}

static int make_names(struct make_task *m) {
    static const char *const roles[] = {"disk", "kernel", "initrd"};
    const struct api_template_file *f = &m->a.file;
    bool own = !str_empty(f->from_disk), others = !str_empty(f->from_template);
    int sources = !str_empty(f->upload) + !str_empty(f->path) + own + others;
    for (m->role = ROLE_DISK; !str_eq(f->role, roles[m->role]); m->role++)
        if (m->role == ROLE_INITRD)
            return error_set_field(&m->t.error, ERR_INVALID, "file.role", "the role is disk, kernel or initrd");
    if (!m->a.has_file || sources != 1 || (m->role == ROLE_DISK ? others : own))
        return error_set_field(
            &m->t.error, ERR_INVALID, "file",
            "exactly one of upload, path, from_disk (a disk) and from_template (a kernel) is needed");
    if (f->index < 0 || f->index > 99)
        return error_set_field(&m->t.error, ERR_INVALID, "file.index", "a template has disks 0 to 99");
    if (m->role == ROLE_DISK)
        snprintf(m->name, sizeof(m->name), "disk-%d.qcow2", (int)f->index);
    else
        snprintf(m->name, sizeof(m->name), "%s", roles[m->role]);
    snprintf(m->temporary, sizeof(m->temporary), ".%s.tmp", m->name);
    return 0;
}

static int make_prepare(struct task *t) {
    struct make_task *m = container_of(t, struct make_task, t);
    _cleanup_free_ char *folder = xasprintf("templates/.%s", m->a.template);
    int r = make_names(m);
    if (r < 0 || (r = find_made(m)) != 0)
        return r < 0 ? r : TASK_DONE;
    m->dir = make_dir_durably(t->dirfd, "templates", folder);
    if (m->dir < 0)
        return m->dir;
    if (m->role != ROLE_DISK)
        return make_boot_file(m);
    r = str_empty(m->a.file.from_disk) ? foreign_image(t, &m->foreign, m->dir, &m->convert) : open_chain(m);
    if (r == 0)
        r = convert_make_target(t, &m->convert, m->dir, m->temporary);
    return r < 0 ? r : TASK_CHILD;
}

static int make_spawn(struct task *t) { return convert_spawn(t, &container_of(t, struct make_task, t)->convert); }

static int make_finish(struct task *t) {
    struct make_task *m = container_of(t, struct make_task, t);
    int r = foreign_finish(t, &m->foreign, m->dir, &m->convert);
    if (r < 0)
        return r;
    return convert_seal(t, &m->convert, m->dir, m->temporary, m->name, true);
}

static void make_rollback(struct task *t) {
    struct make_task *m = container_of(t, struct make_task, t);
    if (m->dir < 0)
        return;
    foreign_rollback(t, &m->foreign, m->dir, &m->convert);
    unlinkat(m->dir, m->temporary, 0);
}

void storage_template_make(struct storage *s, uint64_t call, const struct api_template_make *a) {
    static const struct task_type type = {.what = "importing",
                                          .size = sizeof(struct make_task),
                                          .heavy = true,
                                          .cancellable = true,
                                          .prepare = make_prepare,
                                          .spawn = make_spawn,
                                          .child_ended = convert_ended,
                                          .finish = make_finish,
                                          .rollback = make_rollback,
                                          .free = make_free};
    struct make_task *m = container_of(task_new(s, &type, call, a->repository), struct make_task, t);
    api_template_make_copy(&m->a, a);
    m->foreign = (struct foreign){.upload = m->a.file.upload,
                                  .path = m->a.file.path,
                                  .format = m->a.file.format,
                                  .field = "file",
                                  .copy = ".source.tmp"};
    convert_init(&m->convert);
    m->dir = -1;
    task_key(&m->t, "template", a->template);
    if (a->has_file)
        task_reads_upload(&m->t, a->file.upload);
    task_queue(&m->t);
}

/* ---- seal and delete
 * -------------------------------------------------------------------------------------------------- */

struct template_task {
    struct task t;
    char *id;
};

static void template_free(struct task *t) { free(container_of(t, struct template_task, t)->id); }

static int seal_file(int dir, const char *name) {
    _cleanup_close_ int fd = open_regular(dir, name, O_RDONLY);
    if (fd < 0)
        return fd;
    return fchmod(fd, 0444) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Seals each file; those that begin with a dot are left from a try that failed. */
static int seal_files(int dirfd, const char *folder) {
    int fd = open_beneath(dirfd, folder, O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int r = fd < 0 ? fd : -errno;
        close_fd(&fd);
        return r;
    }
    int r = 0;
    const struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_name[0] == '.')
            r = unlinkat(fd, entry->d_name, 0) < 0 ? -errno : 0;
        else
            r = seal_file(fd, entry->d_name);
    }
    if (r == 0)
        r = errno ? -errno : fsync(fd) < 0 ? -errno : 0;
    closedir(d);
    return r;
}

static int seal_prepare(struct task *t) {
    const struct template_task *s = container_of(t, struct template_task, t);
    _cleanup_free_ char *making = xasprintf(".%s", s->id);
    _cleanup_close_ int dir = open_beneath(t->dirfd, "templates", O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return dir;
    _cleanup_close_ int sealed = open_beneath(dir, s->id, O_RDONLY | O_DIRECTORY, 0);
    if (sealed >= 0)
        return remove_tree_at(dir, making); /* an earlier try got so far */
    if (sealed != -ENOENT)
        return sealed;
    int r = seal_files(dir, making);
    if (r == -ENOENT)
        return error_set(&t->error, ERR_NOT_FOUND, "the repository %s has no template %s to seal", t->place, s->id);
    if (r < 0)
        return r;
    if (renameat(dir, making, dir, s->id) < 0 || fsync(dir) < 0)
        return -errno;
    return TASK_DONE;
}

static int delete_prepare(struct task *t) {
    const struct template_task *s = container_of(t, struct template_task, t);
    _cleanup_free_ char *making = xasprintf(".%s", s->id);
    _cleanup_close_ int dir = open_beneath(t->dirfd, "templates", O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return dir;
    int r = remove_tree_at(dir, s->id);
    if (r == 0)
        r = remove_tree_at(dir, making);
    if (r == 0 && fsync(dir) < 0)
        r = -errno;
    return r;
}

static void template_queue(struct storage *s, const struct task_type *type, uint64_t call,
                           const struct api_template_op *a) {
    struct template_task *t = container_of(task_new(s, type, call, a->repository), struct template_task, t);
    t->id = xstrdup(a->template);
    task_key(&t->t, "template", a->template);
    task_queue(&t->t);
}

void storage_template_seal(struct storage *s, uint64_t call, const struct api_template_op *a) {
    static const struct task_type type = {.what = "sealing the template",
                                          .size = sizeof(struct template_task),
                                          .prepare = seal_prepare,
                                          .free = template_free};
    template_queue(s, &type, call, a);
}

void storage_template_delete(struct storage *s, uint64_t call, const struct api_template_op *a) {
    static const struct task_type type = {.what = "deleting the template",
                                          .size = sizeof(struct template_task),
                                          .prepare = delete_prepare,
                                          .free = template_free};
    template_queue(s, &type, call, a);
}
