/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions by qemu-img. It opens no path: the source's files and the target come as descriptors, each is named with
 * its driver (nothing is probed), and backing is null below the last. The target is an empty qcow2 that we have
 * written, so that of the source nothing survives but guest data. It runs as the guest user where we are root, under
 * limits of time, memory and file size, and dies with us.
 */
#include "agent/storage/image.h"
#include "agent/storage/task.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB_64   INT64_C(1048576)
#define FIRST_FD 3

void convert_init(struct convert *c) {
    *c = (struct convert){.target = -1};
    for (size_t i = 0; i < CONVERT_CHAIN_MAX; i++)
        c->chain[i] = -1;
}

void convert_done(struct convert *c) {
    for (size_t i = 0; i < CONVERT_CHAIN_MAX; i++)
        close_fd(&c->chain[i]);
    close_fd(&c->target);
}

/* {"driver": …, "file": {"driver": "file", "filename": "/dev/fd/N"}, "backing": the next, or null} */
static json_t *source_node(const struct convert *c, size_t i) {
    char name[32];
    snprintf(name, sizeof(name), "/dev/fd/%zu", FIRST_FD + i);
    json_t *file = json_object(), *node = json_object();
    json_set_str(file, "driver", "file");
    json_set_str(file, "filename", name);
    json_set_str(node, "driver", i == 0 ? c->driver : "qcow2");
    json_object_set_new(node, "read-only", json_true());
    json_object_set_new(node, "file", file);
    if (strcmp(json_str(node, "driver"), "vpc") == 0) /* not CHS, which can be shorter than the disk */
        json_set_str(node, "force_size_calc", "current_size");
    if (strcmp(json_str(node, "driver"), "raw") != 0)
        json_object_set_new(node, "backing", i + 1 < c->n ? source_node(c, i + 1) : json_null());
    return node;
}

/* "    (12.34/100%)\r", in pieces of any size */
static int parse_percent(struct buf *line, const char *data, size_t len) {
    int percent = -1;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '(')
            line->len = 0;
        if (data[i] != '/' && line->len < 16) {
            buf_addc(line, data[i]);
        } else if (data[i] == '/') {
            double v;
            if (line->len && sscanf(line->data, "(%lf", &v) == 1 && v >= 0 && v <= 100)
                percent = (int)v;
            line->len = 0;
        }
    }
    return percent;
}

static void convert_output(void *ctx, const char *data, size_t len) {
    struct task *t = ctx;
    int percent = parse_percent(&t->line, data, len);
    if (percent >= 0)
        task_progress(t, percent, "converting");
}

int convert_spawn(struct task *t, struct convert *c) {
    struct child_fd fds[CONVERT_CHAIN_MAX + 1];
    for (size_t i = 0; i < c->n; i++)
        fds[i] = (struct child_fd){.from = c->chain[i], .to = (int)(FIRST_FD + i)};
    fds[c->n] = (struct child_fd){.from = c->target, .to = (int)(FIRST_FD + c->n)};
    _cleanup_json_ json_t *node = source_node(c, 0);
    _cleanup_free_ char *text = json_text(node), *source = xasprintf("json:%s", text);
    _cleanup_free_ char *target = xasprintf("driver=qcow2,file.driver=file,file.filename=/dev/fd/%zu", FIRST_FD + c->n);
    const char *const argv[] = {"qemu-img", "convert", "-p", "-n", "--target-is-zero", "--target-image-opts",
                                source,     target,    NULL};
    struct child_spec spec = {
        .argv = argv,
        .fds = fds,
        .n_fds = c->n + 1,
        .error_max = 4096,
        .user = t->storage->has_owner ? t->storage->guest_user : NULL,
        .limit_cpu_s = 600 + c->size / (4 * MIB_64),
        .limit_memory = 4096 * MIB_64,
        .limit_file_size = c->size + c->size / 1024 + 64 * MIB_64,
        .on_output = convert_output,
    };
    task_progress(t, 0, "converting");
    int r = task_spawn(t, &spec);
    if (r == -ENOENT)
        return error_set(&t->error, ERR_UNSUPPORTED,
                         "qemu-img is not installed on this server; install the package qemu-utils");
    return r < 0 ? task_errno(t, r, "starting qemu-img") : 0;
}

/* The last line that qemu-img wrote, without its name. */
static char *last_words(const struct buf *b) {
    size_t end = b->len;
    while (end > 0 && (b->data[end - 1] == '\n' || b->data[end - 1] == ' '))
        end--;
    size_t start = end;
    while (start > 0 && b->data[start - 1] != '\n')
        start--;
    const char *text = b->len ? b->data + start : "";
    size_t len = end - start;
    if (len > 10 && strncmp(text, "qemu-img: ", 10) == 0)
        text += 10, len -= 10;
    char *copy = xstrndup(text, len < 300 ? len : 300);
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    return copy;
}

int convert_ended(struct task *t, struct child_exit how) {
    const struct buf *b = child_error(t->child);
    const char *all = b->len ? b->data : "";
    _cleanup_free_ char *words = last_words(b);
    if (!how.signalled && how.value == 0)
        return 0;
    if (strstr(all, "No space left on device") || strstr(all, "Disk quota exceeded"))
        return task_errno(t, -ENOSPC, t->type->what);
    if (strstr(all, "Failed to get") && strstr(all, "lock"))
        return error_set(&t->error, ERR_CONFLICT,
                         "%s: the image is in use by another program; stop the virtual machine that uses it",
                         t->type->what);
    if (how.signalled)
        return error_set(&t->error, ERR_BAD_IMAGE,
                         "%s: qemu-img was killed by signal %d (the image needs more time, memory or "
                         "space than its size allows)",
                         t->type->what, how.value);
    return error_set(&t->error, ERR_BAD_IMAGE, "%s: qemu-img says: %s", t->type->what, str_or(words, "nothing"));
}

int convert_make_target(struct task *t, struct convert *c, int dir, const char *name) {
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        return -errno;
    _cleanup_close_ int fd = open_beneath(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return fd;
    int r = storage_own(t->storage, fd);
    if (r == 0)
        r = qcow2_write_empty(fd, c->size, "");
    if (r < 0)
        return r;
    close_fd(&c->target);
    c->target = TAKE_FD(fd);
    return 0;
}

int convert_seal(struct task *t, struct convert *c, int dir, const char *from, const char *to, bool for_template) {
    struct image_fd f = {.fd = c->target};
    struct image_source s;
    int64_t size, allocated;
    int r = image_source_from_fd(&f, &s);
    if (r == 0)
        r = image_check_own(&s, "", &size, &t->error);
    if (r < 0)
        return r;
    if (size != c->size)
        return error_set(&t->error, ERR_INTERNAL, "the converted disk has %lld bytes, not %lld", (long long)size,
                         (long long)c->size);
    /* Nobody but us may ever write to a template again: an owner could make it writable through its descriptor. */
    if (for_template && t->storage->has_owner && fchown(c->target, 0, 0) < 0)
        return -errno;
    if (fsync(c->target) < 0 || (r = file_allocated(c->target, NULL, &allocated)) < 0)
        return r < 0 ? r : -errno;
    if (task_cancelled(t))
        return -ECANCELED;
    if (renameat(dir, from, dir, to) < 0 || fsync(dir) < 0)
        return -errno;
    task_result_disk(t, size, allocated);
    return 0;
}
