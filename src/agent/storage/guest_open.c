/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a guest's process is handed when it starts. Each chain is opened by names made from ids, and each
 * header is read to see that the overlay stands on exactly the template that the manager says: the path inside is never
 * followed. Firmware variables and the cloud-init seed are made when they are needed first, or when what they are made
 * from changed.
 */
#include "agent/storage/seed.h"
#include "os/x509.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEED           "seed.iso"
#define SEED_TEMPORARY ".seed.iso.tmp"
#define SEED_DIGEST    "seed.sha256"
#define VARS           "vars.fd"

struct place {
    char *id, *path;
    int dirfd;
};

struct guest_task {
    struct task t;
    struct api_guest_start a;
    struct guest_files files;
    struct place *places; /* every repository that the guest needs */
    size_t n_places;
    int dir;     /* guests/VM; -1 while it is not needed */
    int seed_fd; /* the new seed, being written */
    char *document;
    char digest[65];
    void (*ready)(void *ctx, const struct error *e, struct guest_files *files);
    void *ctx;
};

static void guest_free(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    for (size_t i = 0; i < g->n_places; i++) {
        close_fd(&g->places[i].dirfd);
        free(g->places[i].id);
        free(g->places[i].path);
    }
    free(g->places);
    free(g->document);
    close_fd(&g->dir);
    close_fd(&g->seed_fd);
    guest_files_done(&g->files);
    api_guest_start_done(&g->a);
}

/* ---- disks and boot files
 * -------------------------------------------------------------------------------------------- */

static const struct place *find_place(struct guest_task *g, const char *id) {
    for (size_t i = 0; i < g->n_places; i++)
        if (str_eq(g->places[i].id, id)) {
            str_set(&g->t.place, g->places[i].path);
            return &g->places[i];
        }
    return NULL;
}

static int missing(struct guest_task *g, int r, const char *what, const char *id) {
    if (r != -ENOENT)
        return r;
    return error_set(&g->t.error, ERR_NOT_FOUND, "%s %s is missing from the repository %s", what, id, g->t.place);
}

static int open_cdrom(struct guest_task *g, const struct api_guest_disk *d, struct guest_disk_files *to) {
    if (str_empty(d->iso))
        return 0;
    int fd = iso_open(find_place(g, d->repository)->dirfd, d->iso, &g->t.error);
    if (fd < 0)
        return fd;
    to->chain[to->n++] = (struct guest_file){.fd = fd, .read_only = true, .format = GUEST_DISK_RAW};
    return 0;
}

/*
 * What a killed guest has left in the page cache this server may still write when the guest runs elsewhere, and over a
 * network's file system servers do not see each other's caches: such guests' writes go to the storage at once.
 */
static bool goes_past_cache(const struct guest_task *g, int fd) {
    return (g->a.guarded || file_is_remote(fd)) && file_takes_direct(fd);
}

static int open_disk(struct guest_task *g, size_t index) {
    const struct api_guest_disk *d = &g->a.disks[index];
    struct guest_disk_files *to = &g->files.disks[index];
    char name[DISK_NAME_MAX], backing[BACKING_NAME_MAX] = "";
    if (d->cdrom)
        return open_cdrom(g, d, to);
    const struct place *p = find_place(g, d->repository);
    if (!uuid_valid(d->disk) || (!str_empty(d->template) && !uuid_valid(d->template)) || d->template_disk < 0 ||
        d->template_disk > 99)
        return error_set(&g->t.error, ERR_INVALID, "the id of disk %zu or of its template is not valid", index);
    if (!str_empty(d->template))
        backing_name(d->template, d->template_disk, backing);
    disk_name(d->disk, name);
    int fd = open_own_disk(&g->t, p->dirfd, name, d->read_only ? O_RDONLY : O_RDWR, backing, NULL);
    if (fd < 0)
        return missing(g, fd, "the disk", d->disk);
    to->chain[to->n++] = (struct guest_file){.fd = fd,
                                             .read_only = d->read_only,
                                             .direct = !d->read_only && goes_past_cache(g, fd),
                                             .format = GUEST_DISK_QCOW2};
    if (!backing[0])
        return 0;
    fd = open_own_disk(&g->t, p->dirfd, backing_path(backing), O_RDONLY, "", NULL);
    if (fd < 0)
        return missing(g, fd, "the template", d->template);
    to->chain[to->n++] = (struct guest_file){.fd = fd, .read_only = true, .format = GUEST_DISK_QCOW2};
    return 0;
}

static int open_boot_file(struct guest_task *g, const char *what, int *ret) {
    _cleanup_free_ char *name = xasprintf("templates/%s/%s", g->a.kernel_template, what);
    const struct place *p = find_place(g, g->a.kernel_repository);
    if (!uuid_valid(g->a.kernel_template))
        return error_set(&g->t.error, ERR_INVALID, "the id of the kernel's template is no UUID");
    int fd = open_regular(p->dirfd, name, O_RDONLY);
    if (fd < 0)
        return missing(g, fd, what, g->a.kernel_template);
    *ret = fd;
    return 0;
}

static int open_guest_dir(struct guest_task *g) {
    _cleanup_free_ char *name = xasprintf("guests/%s", g->a.vm.id);
    if (g->dir >= 0)
        return 0;
    const struct place *p = find_place(g, g->a.repository);
    if (!p)
        return error_set(&g->t.error, ERR_INVALID,
                         "the virtual machine has no repository for its firmware variables and seed");
    g->dir = make_dir_durably(p->dirfd, "guests", name);
    return g->dir < 0 ? g->dir : 0;
}

/* ---- firmware
 * -------------------------------------------------------------------------------------------------------- */

struct firmware {
    const char *code, *vars;
};
static const struct firmware firmwares[] = {
    {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"}, /* Debian, Ubuntu */
    {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"}, /* Fedora, RHEL */
};

/* The variables' size tells which build they belong to: one of 2 MiB cannot run on those of 4 MiB. size < 0: any. */
static const struct firmware *find_firmware(int64_t size) {
    struct stat st;
    for (size_t i = 0; i < ARRAY_LEN(firmwares); i++)
        if (access(firmwares[i].code, R_OK) == 0 && stat(firmwares[i].vars, &st) == 0 &&
            (size < 0 || st.st_size == size))
            return &firmwares[i];
    return NULL;
}

static int make_vars(struct guest_task *g, const struct firmware *f) {
    char *data;
    size_t len;
    int r = read_file_at(AT_FDCWD, f->vars, 16 << 20, &data, &len);
    if (r < 0)
        return r;
    r = write_file_at(g->dir, VARS, data, len, 0600);
    free(data);
    return r;
}

static int open_firmware(struct guest_task *g) {
    struct stat st = {.st_size = -1};
    int r = open_guest_dir(g);
    if (r < 0)
        return r;
    int fd = open_regular(g->dir, VARS, O_RDWR);
    if (fd >= 0 && fstat(fd, &st) < 0)
        r = -errno;
    g->files.vars_fd = fd >= 0 ? fd : -1;
    if (r < 0 || (fd < 0 && fd != -ENOENT))
        return r < 0 ? r : fd;
    const struct firmware *f = find_firmware(st.st_size);
    if (!f)
        return error_set(&g->t.error, ERR_UNSUPPORTED, "this server has no UEFI firmware%s; install ovmf",
                         st.st_size >= 0 ? " that fits the virtual machine's variables" : "");
    if (fd < 0) {
        if ((r = make_vars(g, f)) < 0)
            return r;
        fd = open_regular(g->dir, VARS, O_RDWR);
        if (fd < 0)
            return fd;
        g->files.vars_fd = fd;
    }
    if ((r = storage_own(g->t.storage, g->files.vars_fd)) < 0)
        return r;
    g->files.vars_direct = goes_past_cache(g, g->files.vars_fd);
    g->files.firmware_fd = open(f->code, O_RDONLY | O_CLOEXEC);
    return g->files.firmware_fd < 0 ? -errno : 0;
}

/* ---- seed
 * ------------------------------------------------------------------------------------------------------------ */

/* TASK_CHILD: a new one is to be made. */
static int open_seed(struct guest_task *g) {
    _cleanup_free_ char *digest = NULL;
    size_t len;
    int r = open_guest_dir(g);
    if (r < 0)
        return r;
    g->document = seed_document(&g->a.vm);
    sha256_hex(g->document, strlen(g->document), g->digest);
    r = read_file_at(g->dir, SEED_DIGEST, 100, &digest, &len);
    if (r == 0 && str_eq(digest, g->digest)) {
        g->files.seed_fd = open_regular(g->dir, SEED, O_RDONLY);
        if (g->files.seed_fd >= 0)
            return TASK_DONE;
        g->files.seed_fd = -1;
    }
    /* The digest goes before the seed changes and comes after it has: a crash between only makes it again. */
    if ((unlinkat(g->dir, SEED_DIGEST, 0) < 0 && errno != ENOENT) ||
        (unlinkat(g->dir, SEED_TEMPORARY, 0) < 0 && errno != ENOENT))
        return -errno;
    g->seed_fd = open_beneath(g->dir, SEED_TEMPORARY, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (g->seed_fd < 0)
        return g->seed_fd;
    r = storage_own(g->t.storage, g->seed_fd);
    return r < 0 ? r : TASK_CHILD;
}

static int guest_spawn(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    return seed_spawn(t, g->document, g->seed_fd);
}

static int guest_finish(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    if (fsync(g->seed_fd) < 0 || renameat(g->dir, SEED_TEMPORARY, g->dir, SEED) < 0)
        return -errno;
    int r = write_file_at(g->dir, SEED_DIGEST, g->digest, strlen(g->digest), 0600);
    if (r < 0)
        return r;
    g->files.seed_fd = open_regular(g->dir, SEED, O_RDONLY);
    return g->files.seed_fd < 0 ? g->files.seed_fd : 0;
}

static void guest_rollback(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    if (g->dir >= 0)
        unlinkat(g->dir, SEED_TEMPORARY, 0);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------------- */

static int guest_prepare(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    int r = 0;
    if (g->a.n_disks > ARRAY_LEN(g->files.disks))
        return error_set(&t->error, ERR_INVALID, "a virtual machine has at most %zu disks", ARRAY_LEN(g->files.disks));
    for (size_t i = 0; i < g->a.n_disks && r == 0; i++) {
        g->files.n_disks = i + 1;
        r = open_disk(g, i);
    }
    if (r == 0 && !str_empty(g->a.kernel_template)) {
        r = open_boot_file(g, "kernel", &g->files.kernel_fd);
        if (r == 0 && g->a.has_initrd)
            r = open_boot_file(g, "initrd", &g->files.initrd_fd);
    }
    if (r == 0 && g->a.vm.firmware == API_FIRMWARE_UEFI)
        r = open_firmware(g);
    if (r == 0 && seed_wanted(&g->a.vm))
        return open_seed(g);
    return r;
}

static void guest_ended(struct task *t) {
    struct guest_task *g = container_of(t, struct guest_task, t);
    struct guest_files files = g->files;
    guest_files_init(&g->files);
    if (t->error.code != ERR_OK)
        guest_files_done(&files);
    g->ready(g->ctx, t->error.code == ERR_OK ? NULL : &t->error, t->error.code == ERR_OK ? &files : NULL);
}

static void add_place(struct guest_task *g, const char *id) {
    struct error *e = &g->t.error;
    for (size_t i = 0; i < g->n_places; i++)
        if (str_eq(g->places[i].id, id))
            return;
    const struct repository *r = repository_find(g->t.storage, id);
    if (!r || !r->usable) {
        error_set(e, ERR_UNAVAILABLE, "the repository %s cannot be used: %s", r ? r->path : id,
                  r ? r->reason : "it is not open on this server");
        return;
    }
    g->places = xreallocarray(g->places, g->n_places + 1, sizeof(*g->places));
    g->places[g->n_places++] =
        (struct place){.id = xstrdup(id), .path = xstrdup(r->path), .dirfd = fcntl(r->dirfd, F_DUPFD_CLOEXEC, 3)};
}

void storage_guest_open(struct storage *s, const struct api_guest_start *a,
                        void (*ready)(void *ctx, const struct error *e, struct guest_files *files), void *ctx) {
    static const struct task_type type = {.what = "opening the virtual machine's files",
                                          .size = sizeof(struct guest_task),
                                          .prepare = guest_prepare,
                                          .spawn = guest_spawn,
                                          .child_ended = seed_ended,
                                          .finish = guest_finish,
                                          .rollback = guest_rollback,
                                          .ended = guest_ended,
                                          .free = guest_free};
    struct guest_task *g = container_of(task_new(s, &type, 0, a->repository), struct guest_task, t);
    api_guest_start_copy(&g->a, a);
    guest_files_init(&g->files);
    g->dir = g->seed_fd = -1;
    g->ready = ready;
    g->ctx = ctx;
    g->t.needs_repository = false;
    task_key(&g->t, "guest", a->vm.id);
    for (size_t i = 0; i < a->n_disks; i++)
        if (!a->disks[i].cdrom || !str_empty(a->disks[i].iso))
            add_place(g, a->disks[i].repository);
    if (!str_empty(a->kernel_template))
        add_place(g, a->kernel_repository);
    if (a->vm.firmware == API_FIRMWARE_UEFI || seed_wanted(&a->vm))
        add_place(g, a->repository);
    task_queue(&g->t);
}

/* ---- forget
 * ---------------------------------------------------------------------------------------------------------- */

struct forget_task {
    struct task t;
    char *vm;
};

static void forget_free(struct task *t) { free(container_of(t, struct forget_task, t)->vm); }

static int forget_prepare(struct task *t) {
    const struct forget_task *f = container_of(t, struct forget_task, t);
    if (t->dirfd < 0)
        return TASK_DONE; /* it never had a repository */
    _cleanup_close_ int dir = open_beneath(t->dirfd, "guests", O_RDONLY | O_DIRECTORY, 0);
    int r = dir < 0 ? dir : remove_tree_at(dir, f->vm);
    return r == 0 && fsync(dir) < 0 ? -errno : r;
}

void storage_guest_forget(struct storage *s, uint64_t call, const struct api_guest_forget *a) {
    static const struct task_type type = {.what = "removing the virtual machine's files",
                                          .size = sizeof(struct forget_task),
                                          .prepare = forget_prepare,
                                          .free = forget_free};
    struct forget_task *f = container_of(task_new(s, &type, call, a->repository), struct forget_task, t);
    f->vm = xstrdup(a->vm);
    f->t.needs_repository = !str_empty(a->repository);
    task_key(&f->t, "guest", a->vm);
    task_queue(&f->t);
}
