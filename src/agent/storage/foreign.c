/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int bad_field(struct task *t, const struct foreign *f, const char *member, const char *what) {
    _cleanup_free_ char *field = *f->field ? xasprintf("%s.%s", f->field, member) : xstrdup(member);
    return error_set_field(&t->error, ERR_INVALID, field, "%s", what);
}

static int open_upload(struct task *t, const struct foreign *f) {
    if (!uuid_valid(f->upload))
        return bad_field(t, f, "upload", "the id of the upload is no UUID");
    _cleanup_free_ char *name = xasprintf("uploads/%s", f->upload);
    int fd = open_regular(t->dirfd, name, O_RDONLY);
    if (fd == -ENOENT)
        return error_set(&t->error, ERR_NOT_FOUND, "the repository %s has no upload %s", t->place, f->upload);
    return fd;
}

static int open_path(struct task *t, const struct foreign *f) {
    const char *problem = path_problem(f->path);
    struct error *e = &t->error;
    if (problem) {
        _cleanup_free_ char *text = xasprintf("the path %s", problem);
        return bad_field(t, f, "path", text);
    }
    _cleanup_close_ int fd = open(f->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return error_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "opening %s on this server failed: %s", f->path,
                         strerror(errno));
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERR_BAD_IMAGE, "%s is no regular file", f->path);
    return TAKE_FD(fd);
}

int foreign_open(struct task *t, struct foreign *f) {
    _cleanup_close_ int fd = str_empty(f->upload) ? open_path(t, f) : open_upload(t, f);
    int r = fd < 0 ? fd : file_state_take(fd, &f->state);
    return r < 0 ? r : TAKE_FD(fd);
}

int foreign_check(struct task *t, const struct foreign *f, int fd) {
    if (file_state_holds(fd, &f->state))
        return 0;
    return error_set(&t->error, ERR_CONFLICT,
                     "the file was changed while it was imported; try again when nothing writes to it");
}

/* Whether qemu-img, as the guest user, may open the file again through its descriptor. */
static bool guest_may_read(const struct storage *s, int fd) {
    struct stat st;
    if (!s->has_owner)
        return true;
    if (fstat(fd, &st) < 0)
        return false;
    if (st.st_uid == s->owner)
        return st.st_mode & S_IRUSR;
    if (st.st_gid == s->group)
        return st.st_mode & S_IRGRP;
    return st.st_mode & S_IROTH;
}

/* Files that only root may read are copied (by reflink where the file system can) rather than opened up. */
static int make_readable(struct task *t, struct foreign *f, int dir, int *fd) {
    struct stat st;
    if (guest_may_read(t->storage, *fd))
        return 0;
    if (unlinkat(dir, f->copy, 0) < 0 && errno != ENOENT)
        return -errno;
    _cleanup_close_ int copy = open_beneath(dir, f->copy, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (copy < 0)
        return copy;
    if (fstat(*fd, &st) < 0)
        return -errno;
    int r = storage_own(t->storage, copy);
    if (r == 0)
        r = file_copy(t, *fd, copy, st.st_size, "copying the image");
    if (r < 0 || (r = foreign_check(t, f, *fd)) < 0 || (r = file_state_take(copy, &f->state)) < 0)
        return r;
    close_fd(fd);
    *fd = TAKE_FD(copy);
    return 0;
}

int foreign_image(struct task *t, struct foreign *f, int dir, struct convert *c) {
    _cleanup_close_ int fd = foreign_open(t, f);
    if (fd < 0)
        return fd;
    struct image_fd file = {.fd = fd, .cancel = &t->cancel};
    struct image_source s;
    struct image_info info;
    enum image_format want = IMAGE_AUTO;
    int r = image_source_from_fd(&file, &s);
    if (r < 0)
        return r;
    image_format_from_text(api_image_format_text(f->format), &want);
    task_progress(t, 0, "checking the image");
    if ((r = image_probe(&s, want, &info, &t->error)) < 0 || (r = image_verify(&s, &info, &t->error)) < 0)
        return r;
    if ((r = make_readable(t, f, dir, &fd)) < 0)
        return r;
    f->taken = true;
    c->chain[0] = TAKE_FD(fd);
    c->n = 1;
    c->driver = image_format_driver(info.format);
    c->size = (info.size + 511) & ~INT64_C(511);
    return 0;
}

int foreign_finish(struct task *t, const struct foreign *f, int dir, const struct convert *c) {
    int r = f->taken ? foreign_check(t, f, c->chain[0]) : 0;
    return r == 0 && unlinkat(dir, f->copy, 0) < 0 && errno != ENOENT ? -errno : r;
}

void foreign_rollback(struct task *t, const struct foreign *f, int dir, const struct convert *c) {
    if (f->taken && t->error.code == ERR_BAD_IMAGE) /* nor is it told what qemu-img met in a file that changed */
        foreign_check(t, f, c->chain[0]);
    unlinkat(dir, f->copy, 0);
}
