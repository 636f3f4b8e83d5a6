/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What storage is doing: one task for each call. A task goes through stages, in this order:
 *
 *     queued    until no earlier task has its key (two ops on one disk run one after the other) and, if it is heavy,
 * one of HEAVY_MAX places is free prepare   on a worker thread: opens, checks, makes what takes no time. DONE here if
 * that is all there is to do spawn     on the loop: starts t->child, whose end leads on finish    on a worker thread:
 * checks the result, flushes it, gives it its name rollback  on a worker thread, after a failure or a cancel: takes
 * away what is half made
 *
 * A worker touches nothing but its task and what that owns (its own descriptor of the repository), so there are no
 * locks but that of the claims (struct claim); `cancel` and `percent` are the only fields that both sides use
 * meanwhile. A task that is cancelled after its result got its name has succeeded: there is one point at which it
 * counts, the rename.
 */
#pragma once

#include "agent/storage/site.h"
#include "agent/storage/storage.h"
#include "base/list.h"
#include "base/map.h"
#include "os/child.h"
#include "os/file.h"

#include <sys/stat.h>

/* Moves a descriptor out of a variable with _cleanup_close_. */
#define TAKE_FD(fd)                                                                                                    \
    ({                                                                                                                 \
        int _take_fd = (fd);                                                                                           \
        (fd) = -1;                                                                                                     \
        _take_fd;                                                                                                      \
    })

#define HEAVY_MAX           2
#define REPOSITORY_CHECK_MS 30000

struct task;
enum task_next { TASK_DONE = 0, TASK_CHILD = 1 }; /* what prepare returns, or a negative errno with t->error set */

struct task_type {
    const char *what; /* "making the disk" */
    size_t size;      /* of the struct that begins with a struct task */
    bool heavy, cancellable;
    int (*prepare)(struct task *t);
    int (*spawn)(struct task *t);                              /* 0, or a negative errno with t->error set */
    int (*child_ended)(struct task *t, struct child_exit how); /* on the loop; 0, or negative with t->error set */
    int (*finish)(struct task *t);
    void (*rollback)(struct task *t);
    void (*ended)(struct task *t); /* on the loop, instead of the done callback; may be NULL */
    void (*free)(struct task *t);  /* its own members */
};

struct task {
    struct list link; /* in storage.tasks */
    const struct task_type *type;
    struct storage *storage;
    uint64_t call;
    char *key;
    char *upload;     /* the key of the upload that it reads, or NULL */
    char *repository; /* id; "" for none */
    bool needs_repository;
    char *place; /* the repository's path, for messages */
    int dirfd;   /* the repository's; the task's own */

    bool running, cancel;
    int percent, percent_told;
    const char *message; /* of progress; static text */
    uv_work_t work;
    int (*stage)(struct task *t);
    int result_code;
    struct child *child;
    struct buf line; /* of the child's progress, as far as it has come */
    struct error error;
    json_t *result;
};

struct repository {
    char *id, *path, *reason;
    int dirfd; /* -1 while it is not usable */
    bool usable;
    int64_t capacity, free, free_told;
    bool usable_told;
};

/* Where a repository is: taken before anything is written there, so that of two that overlap one comes too late. */
struct claim {
    struct list link;
    char *id, *path;
    struct site site;
};

struct storage {
    struct storage_config config;
    char *guest_user;
    bool has_owner; /* we are root and there is a guest user: what QEMU opens belongs to it */
    uid_t owner;
    gid_t group;
    struct list tasks;
    size_t heavy;
    struct map repositories; /* id -> struct repository */
    uv_mutex_t claims_lock;  /* workers take them */
    struct list claims;      /* struct claim */
    struct map writers;      /* an upload's key -> how many have it open for writing (as a pointer) */
    uv_timer_t check;
    uv_async_t wake; /* a worker made progress */
    int handles;
    bool closing;
};

/* task.c */
struct task *task_new(struct storage *s, const struct task_type *type, uint64_t call, const char *repository);
void task_key(struct task *t, const char *kind, const char *id); /* ids are checked: an error if it is no UUID */
/* The task reads this upload: nobody writes to it until the task has ended. An error if somebody does now. */
void task_reads_upload(struct task *t, const char *id);
void task_queue(struct task *t);
bool task_cancelled(const struct task *t);
void task_progress(struct task *t, int percent, const char *message); /* from a worker or the loop */
/* From a negative errno: no-space and the like, with the repository's path. Returns the code's errno. */
int task_errno(struct task *t, int r, const char *doing);
void task_result_disk(struct task *t, int64_t size, int64_t allocated);
/* Starts t->child; type->child_ended follows. */
int task_spawn(struct task *t, struct child_spec *spec);
void storage_pump(struct storage *s);
void storage_unref_handle(struct storage *s);

/* dir.c */
struct repository *repository_find(struct storage *s, const char *id);
void repository_check(struct storage *s, const char *id); /* soon, in the background */
void repository_free(struct repository *r);
void repository_unclaim(struct storage *s, const char *id);
void repositories_check_all(struct storage *s);

/* convert.c: qemu-img */
#define CONVERT_CHAIN_MAX 8
struct convert {
    int chain[CONVERT_CHAIN_MAX]; /* top first; owned */
    size_t n;
    const char *driver; /* QEMU's, of chain[0]; those below are qcow2 */
    int target;         /* an empty qcow2; owned */
    int64_t size;       /* of the target's disk */
};
void convert_init(struct convert *c);
void convert_done(struct convert *c);
int convert_spawn(struct task *t, struct convert *c);
int convert_ended(struct task *t, struct child_exit how);
/* Makes dir/name, an empty qcow2 of c->size that the guest user may write, as c->target. */
int convert_make_target(struct task *t, struct convert *c, int dir, const char *name);
/* Checks and flushes the target and renames dir/from to dir/to; sets the task's result. */
int convert_seal(struct task *t, struct convert *c, int dir, const char *from, const char *to, bool for_template);

/* files.c: small things about files in a repository */
#define DISK_NAME_MAX 64
void disk_name(const char *id, char ret[static DISK_NAME_MAX]); /* disks/ID.qcow2 */
int user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid);
int storage_own(const struct storage *s, int fd); /* gives a file to the guest user */
int file_allocated(int fd, int64_t *ret_size, int64_t *ret_allocated);
/* Opens parent/…, which is made if it is absent; then parent is flushed. */
int make_dir_durably(int dirfd, const char *parent, const char *name);
/* A foreign file as it was when it was looked at: what is checked and what is converted have to be the same bytes. */
struct file_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified, changed;
};
/* Waits until a later write is bound to give the file another time. */
int file_state_take(int fd, struct file_state *ret);
bool file_state_holds(int fd, const struct file_state *s);
int open_regular(int dirfd, const char *name, int flags); /* beneath; -EINVAL if it is no regular file */
/* Opens a qcow2 of ours and checks that its backing file is `backing`. */
int open_own_disk(struct task *t, int dirfd, const char *name, int flags, const char *backing, int64_t *ret_size);
/* "../templates/T/disk-N.qcow2" */
#define BACKING_NAME_MAX 96
void backing_name(const char *template, int64_t index, char ret[static BACKING_NAME_MAX]);
/* The same read back: the path beneath the repository, or NULL if it has not exactly this form. */
const char *backing_path(const char *backing);

/*
 * foreign.c: a file from outside, an upload or a path on this server, that something is made of. It is looked at, and
 * what is made of it counts only if it is still the same afterwards: one that changed may name other files by now.
 */
struct foreign {
    const char *upload, *path; /* one of them; borrowed */
    enum api_image_format format;
    const char *field; /* of the call's arguments, for messages */
    const char *copy;  /* a name in the directory in which it is worked on */
    struct file_state state;
    bool taken; /* convert.chain[0] is it, or a copy of it */
};
int foreign_open(struct task *t, struct foreign *f); /* a descriptor, or a negative errno with t->error set */
int foreign_check(struct task *t, const struct foreign *f, int fd);
/* A disk image: opened, checked, and made ready for qemu-img as c->chain[0]; dir is where a copy may lie. */
int foreign_image(struct task *t, struct foreign *f, int dir, struct convert *c);
/* After the conversion, and after a failure of anything. */
int foreign_finish(struct task *t, const struct foreign *f, int dir, const struct convert *c);
void foreign_rollback(struct task *t, const struct foreign *f, int dir, const struct convert *c);

/* iso.c: a descriptor, or a negative errno with *e set */
int iso_open(int dirfd, const char *id, struct error *e);

/* copy.c: length bytes into an empty file, with progress; -ECANCELED when the task is cancelled */
int file_copy(struct task *t, int from, int to, int64_t length, const char *message);

/* empty.c */
/* Writes an empty qcow2 of size bytes (backing "" or the name of a qcow2) to fd, which is empty. */
int qcow2_write_empty(int fd, int64_t size, const char *backing);
