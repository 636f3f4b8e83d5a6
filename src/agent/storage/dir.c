/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories in a directory. The descriptor that we hold says nothing about whether the directory can still be
 * reached: a file system is unmounted lazily, a directory moved away and another one put in its place. So each look
 * (every 30 s, and after an I/O error) begins at the path again and compares the id in it.
 */
#include "agent/storage/task.h"

#include "base/id.h"
#include "base/json.h"
#include "base/units.h"
#include "os/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MARK               "tarn-repository.json"
#define PROOF              ".tarn-proof." /* and a UUID: written through another server that has the repository */
#define REPOSITORY_VERSION 1

struct open_task {
    struct task t;
    char *path;
    char *proof, *proved_by; /* "" for none */
    bool existing;
    bool watch; /* not asked for by anybody */
    struct statvfs fs;
    struct stat st;
};

static void open_free(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    free(o->path);
    free(o->proof);
    free(o->proved_by);
}

struct repository *repository_find(struct storage *s, const char *id) {
    return map_get(&s->repositories, id);
}

void repository_free(struct repository *r) {
    close_fd(&r->dirfd);
    free(r->id);
    free(r->path);
    free(r->reason);
    free(r);
}

static void repository_report(const struct repository *r, struct api_repository_report *ret) {
    api_repository_report_init(ret);
    str_set(&ret->repository, r->id);
    ret->usable = r->usable;
    str_set(&ret->reason, str_or(r->reason, ""));
    ret->capacity = r->capacity;
    ret->free = r->free;
}

/* ---- on a worker: open or look again
 * --------------------------------------------------------------------------------- */

/* What an empty file system or our own half-made beginning may hold. */
static bool may_be_there(const char *name) {
    static const char *const ours[] = {".", "..", "lost+found"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strcmp(name, ours[i]) == 0)
            return true;
    return strncmp(name, "." MARK ".", sizeof("." MARK ".") - 1) == 0;
}

static int check_empty(struct open_task *o) {
    int fd = open_beneath(o->t.dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        close_fd(&fd);
        return -EIO;
    }
    int r = 0;
    const struct dirent *entry;
    while (r == 0 && (entry = readdir(d)))
        if (!may_be_there(entry->d_name))
            r = error_set(&o->t.error, ERR_CONFLICT,
                          "the directory %s is not empty (it holds %s) and no repository; give an empty "
                          "or absent one",
                          o->path, entry->d_name);
    closedir(d);
    return r;
}

static int read_mark(struct open_task *o, const char *text, size_t len) {
    _cleanup_json_ json_t *j = NULL;
    struct error *e = &o->t.error;
    if (json_parse(text, len, &j, NULL) < 0 || !uuid_valid(json_str(j, "id")))
        return error_set(e, ERR_IO, "%s/%s is damaged; it should say {\"id\": \"%s\", \"version\": %d}", o->path, MARK,
                         o->t.repository, REPOSITORY_VERSION);
    if (json_int(j, "version", 0) > REPOSITORY_VERSION)
        return error_set(e, ERR_VERSION, "the repository in %s was made by a newer Tarn; upgrade tarn-agent", o->path);
    if (!str_eq(json_str(j, "id"), o->t.repository) && !str_empty(o->proof))
        return error_set(e, ERR_CONFLICT,
                         "%s is not the storage that server %s has there: it holds another repository (%s); mount the "
                         "same file system at this path on both servers",
                         o->path, o->proved_by, json_str(j, "id"));
    if (!str_eq(json_str(j, "id"), o->t.repository))
        return error_set(e, ERR_CONFLICT, "the directory %s holds another repository (%s); give an empty or absent one",
                         o->path, json_str(j, "id"));
    return 0;
}

/*
 * Claims know the repositories that this server has. Of storage that servers share another one may have a part: its
 * mark is found on the way up. What we put into its directories it would take for its own, and delete.
 */
#define WAY_UP_MAX 2048 /* components of a path */
static int check_around(struct open_task *o) {
    struct stat st, above;
    _cleanup_close_ int fd = open_beneath(o->t.dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    for (int i = 0; i < WAY_UP_MAX && fd >= 0 && fstat(fd, &st) == 0; i++) {
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close_fd(&fd);
        fd = up;
        if (fd < 0 || fstat(fd, &above) < 0 || (st.st_dev == above.st_dev && st.st_ino == above.st_ino))
            break;
        if (faccessat(fd, MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return error_set(&o->t.error, ERR_CONFLICT,
                             "the directory %s is inside of that of another storage repository; give one of its own",
                             o->path);
    }
    return 0;
}

static int make_mark(struct open_task *o) {
    if (!str_empty(o->proof))
        return error_set(&o->t.error, ERR_CONFLICT,
                         "%s is not the storage that server %s has there: it holds no repository; mount the same file "
                         "system at this path on both servers",
                         o->path, o->proved_by);
    if (o->existing)
        return error_set(&o->t.error, ERR_UNAVAILABLE, "there is no repository in %s; is its file system mounted?",
                         o->path);
    int r = check_around(o);
    if (r == 0)
        r = check_empty(o);
    if (r < 0)
        return r;
    _cleanup_json_ json_t *j = json_object();
    json_set_str(j, "id", o->t.repository);
    json_set_int(j, "version", REPOSITORY_VERSION);
    _cleanup_free_ char *text = json_text(j);
    return write_file_at(o->t.dirfd, MARK, text, strlen(text), 0644);
}

static const char *const folders[] = {"templates", "disks", "isos", "guests", "uploads"};

static int make_folders(const struct task *t) {
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        _cleanup_close_ int fd = make_dir(t->dirfd, folders[i], 0700);
        if (fd < 0)
            return fd;
    }
    return fsync(t->dirfd) < 0 ? -errno : 0;
}

/*
 * The mark says which repository this is or is a copy of. That it is the same storage shows in what another server has
 * just written: under a name that nobody has looked for before, so that no cache of a network file system knows better.
 */
static int check_proof(struct open_task *o) {
    if (str_empty(o->proof))
        return 0;
    if (!uuid_valid(o->proof))
        return error_set_field(&o->t.error, ERR_INVALID, "proof", "is no UUID");
    _cleanup_free_ char *name = xasprintf(PROOF "%s", o->proof);
    if (faccessat(o->t.dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return error_set(&o->t.error, ERR_CONFLICT,
                     "%s is not the storage that server %s has there, but a copy of it: what that server has just "
                     "written is not here; mount the same file system at this path on both servers",
                     o->path, o->proved_by);
}

static int open_path(struct open_task *o) {
    const char *problem = path_problem(o->path);
    if (problem)
        return error_set_field(&o->t.error, ERR_INVALID, "path", "the path %s", problem);
    if (!o->existing) {
        int r = make_dirs(o->path, 0755);
        if (r < 0)
            return error_set(&o->t.error, r == -ENOSPC ? ERR_NO_SPACE : ERR_IO, "making the directory %s failed: %s",
                             o->path, strerror(-r));
    }
    int fd = open_dir(o->path);
    struct stat st;
    if (fd == -ELOOP || (fd == -ENOTDIR && lstat(o->path, &st) == 0 && S_ISLNK(st.st_mode)))
        return error_set(&o->t.error, ERR_INVALID, "%s is a symbolic link; give the directory itself", o->path);
    if (fd < 0)
        return error_set(&o->t.error, ERR_UNAVAILABLE, "opening the directory %s failed: %s", o->path, strerror(-fd));
    o->t.dirfd = fd;
    return 0;
}

/* ---- claims: no two repositories share a directory tree ---- */

static struct claim *claim_find(struct storage *s, const char *id) {
    struct claim *c;
    list_for_each(c, &s->claims, link) if (str_eq(c->id, id)) return c;
    return NULL;
}

static void claim_free(struct claim *c) {
    list_remove(&c->link);
    site_done(&c->site);
    free(c->path);
    free(c->id);
    free(c);
}

void repository_unclaim(struct storage *s, const char *id) {
    uv_mutex_lock(&s->claims_lock);
    struct claim *c = claim_find(s, id);
    if (c)
        claim_free(c);
    uv_mutex_unlock(&s->claims_lock);
}

static int claim_check(struct open_task *o, const struct site *site) {
    const struct claim *c;
    list_for_each(c, &o->t.storage->claims, link) {
        if (str_eq(c->id, o->t.repository) || !site_overlaps(&c->site, site))
            continue;
        const char *how = str_eq(c->site.path, site->path)            ? "is"
                          : strlen(c->site.path) < strlen(site->path) ? "is inside of"
                                                                      : "holds";
        return error_set(&o->t.error, ERR_CONFLICT,
                         "the directory %s %s that of another storage repository, %s; give one of its own", o->path,
                         how, c->path);
    }
    return 0;
}

/* One that has been in use stays so, whatever was put beside it. A place that cannot be told is nobody's. */
static int claim_take(struct open_task *o) {
    struct storage *s = o->t.storage;
    struct site site = {0};
    site_of(o->t.dirfd, &site);
    uv_mutex_lock(&s->claims_lock);
    int r = o->existing && str_empty(o->proof) ? 0 : claim_check(o, &site);
    struct claim *c = r == 0 ? claim_find(s, o->t.repository) : NULL;
    if (r == 0 && !c) {
        c = xcalloc(1, sizeof *c);
        c->id = xstrdup(o->t.repository);
        list_append(&s->claims, &c->link);
    }
    if (r == 0) {
        str_set(&c->path, o->path);
        site_done(&c->site);
        c->site = site;
        site = (struct site){0};
    }
    uv_mutex_unlock(&s->claims_lock);
    site_done(&site);
    return r;
}

static int open_prepare(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    _cleanup_free_ char *text = NULL;
    size_t len;
    str_set(&t->place, o->path);
    int r = open_path(o);
    if (r < 0)
        return r;
    if (fstatvfs(t->dirfd, &o->fs) < 0 || fstat(t->dirfd, &o->st) < 0)
        return -errno;
    if (o->fs.f_flag & ST_RDONLY)
        return error_set(&t->error, ERR_UNAVAILABLE, "%s is mounted read-only", o->path);
    if (faccessat(t->dirfd, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0)
        return error_set(&t->error, ERR_UNAVAILABLE, "tarn-agent may not write to %s; give the directory to its user",
                         o->path);
    r = read_file_at(t->dirfd, MARK, 4096, &text, &len);
    if (r == 0)
        r = read_mark(o, text, len); /* of another's the mark tells best what it is */
    else if (r == -ENOENT && (r = claim_take(o)) == 0)
        r = make_mark(o);
    if (r == 0)
        r = check_proof(o);
    if (r == 0)
        r = claim_take(o);
    return r < 0 || o->watch ? r : make_folders(&o->t);
}

/* ---- on the loop
 * ----------------------------------------------------------------------------------------------------- */

static void repository_tell(struct storage *s, struct repository *r) {
    struct api_repository_report report;
    r->usable_told = r->usable;
    r->free_told = r->free;
    if (!s->config.repository)
        return;
    repository_report(r, &report);
    s->config.repository(s->config.ctx, &report);
    api_repository_report_done(&report);
}

static void repository_lost(struct repository *r, const struct error *e) {
    r->usable = false;
    str_set(&r->reason, e->message);
    close_fd(&r->dirfd);
}

static void repository_found(struct repository *r, struct open_task *o) {
    close_fd(&r->dirfd);
    r->dirfd = TAKE_FD(o->t.dirfd);
    r->usable = true;
    str_set(&r->reason, "");
    r->capacity = (int64_t)((uint64_t)o->fs.f_blocks * o->fs.f_frsize);
    r->free = (int64_t)((uint64_t)o->fs.f_bavail * o->fs.f_frsize);
}

static struct repository *repository_add(struct storage *s, const struct open_task *o) {
    struct repository *r = xcalloc(1, sizeof(*r));
    r->id = xstrdup(o->t.repository);
    r->path = xstrdup(o->path);
    r->dirfd = -1;
    map_put(&s->repositories, r->id, r);
    return r;
}

/* Space changes all the time: worth telling is one part in a thousand. */
static bool worth_telling(const struct repository *r) {
    int64_t change = r->free > r->free_told ? r->free - r->free_told : r->free_told - r->free;
    return r->usable != r->usable_told || change > r->capacity / 1000;
}

static void open_ended(struct task *t) {
    struct open_task *o = container_of(t, struct open_task, t);
    struct storage *s = t->storage;
    bool good = t->error.code == ERR_OK, keep = o->existing && str_empty(o->proof);
    struct repository *r = repository_find(s, t->repository);
    if (!r && !o->watch && (good || keep))
        r = repository_add(s, o);
    if (!r)
        repository_unclaim(s, t->repository);
    if (r && (good || keep)) {
        bool was = r->usable;
        str_set(&r->path, o->path);
        if (good)
            repository_found(r, o);
        else
            repository_lost(r, &t->error);
        if (was && !r->usable)
            log_warning("repository %s: %s", r->id, r->reason);
        if (!o->watch || worth_telling(r))
            repository_tell(s, r);
    }
    if (o->watch)
        return;
    if (good && r) {
        struct api_repository_report report;
        repository_report(r, &report);
        t->result = api_repository_report_print(&report, API_PRIVATE);
        api_repository_report_done(&report);
    }
    s->config.done(s->config.ctx, t->call, good ? NULL : &t->error, t->result);
}

static const struct task_type type_open = {.what = "opening the repository",
                                           .size = sizeof(struct open_task),
                                           .prepare = open_prepare,
                                           .ended = open_ended,
                                           .free = open_free};

static struct open_task *open_new(struct storage *s, uint64_t call, const char *id, const char *path) {
    struct open_task *o = container_of(task_new(s, &type_open, call, id), struct open_task, t);
    o->t.needs_repository = false;
    o->path = xstrdup(str_or(path, ""));
    task_key(&o->t, "repository", id);
    return o;
}

void storage_repository_open(struct storage *s, uint64_t call, const struct api_repository_op *a) {
    struct open_task *o = open_new(s, call, a->repository, a->path);
    o->existing = a->existing || !str_empty(a->proof);
    o->proof = xstrdup(a->proof);
    o->proved_by = xstrdup(str_or(a->proved_by, "another"));
    task_queue(&o->t);
}

void repository_check(struct storage *s, const char *id) {
    const struct repository *r = repository_find(s, id);
    struct task *t;
    if (!r)
        return;
    list_for_each(t, &s->tasks, link) /* one look at a time, also where the file system hangs */
        if (t->type == &type_open && str_eq(t->repository, id)) return;
    struct open_task *o = open_new(s, 0, id, r->path);
    o->existing = o->watch = true;
    task_queue(&o->t);
}

void repositories_check_all(struct storage *s) {
    size_t pos = 0;
    const char *id;
    void *r;
    while (map_next(&s->repositories, &pos, &id, &r))
        repository_check(s, id);
}

/* ---- proofs ---- */

struct prove_task {
    struct task t;
    char *name;
    bool remove;
};

static void prove_free(struct task *t) { free(container_of(t, struct prove_task, t)->name); }

static int prove_prepare(struct task *t) {
    const struct prove_task *p = container_of(t, struct prove_task, t);
    if (!uuid_valid(p->name + strlen(PROOF)))
        return error_set_field(&t->error, ERR_INVALID, "proof", "is no UUID");
    if (p->remove) {
        if (unlinkat(t->dirfd, p->name, 0) < 0 && errno != ENOENT)
            return -errno;
    } else {
        _cleanup_close_ int fd = open_beneath(t->dirfd, p->name, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            return fd;
        if (fsync(fd) < 0)
            return -errno;
    }
    return fsync(t->dirfd) < 0 ? -errno : TASK_DONE;
}

void storage_repository_prove(struct storage *s, uint64_t call, const struct api_repository_proof *a) {
    static const struct task_type type = {.what = "writing a proof into the repository",
                                          .size = sizeof(struct prove_task),
                                          .prepare = prove_prepare,
                                          .free = prove_free};
    struct prove_task *p = container_of(task_new(s, &type, call, a->repository), struct prove_task, t);
    p->name = xasprintf(PROOF "%s", a->proof);
    p->remove = a->remove;
    task_key(&p->t, "repository", a->repository);
    task_queue(&p->t);
}

/* One that holds nothing leaves nothing, so that another can be made in its place; one that holds something keeps its
 * mark. */
static int close_prepare(struct task *t) {
    if (t->dirfd < 0)
        return TASK_DONE;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (unlinkat(t->dirfd, folders[i], AT_REMOVEDIR) < 0 && errno != ENOENT) {
            make_folders(t);
            return TASK_DONE;
        }
    }
    unlinkat(t->dirfd, MARK, 0);
    fsync(t->dirfd);
    return TASK_DONE;
}

static void close_ended(struct task *t) {
    struct repository *r = t->error.code == ERR_OK ? map_remove(&t->storage->repositories, t->repository) : NULL;
    if (r)
        repository_free(r);
    if (t->error.code == ERR_OK)
        repository_unclaim(t->storage, t->repository);
    t->storage->config.done(t->storage->config.ctx, t->call, t->error.code == ERR_OK ? NULL : &t->error, NULL);
}

void storage_repository_close(struct storage *s, uint64_t call, const struct api_repository_op *a) {
    static const struct task_type type = {
        .what = "closing the repository", .size = sizeof(struct task), .prepare = close_prepare, .ended = close_ended};
    struct task *t = task_new(s, &type, call, a->repository);
    t->needs_repository = false;
    const struct repository *r = repository_find(s, a->repository);
    if (r && r->dirfd >= 0 && !a->keep)
        t->dirfd = fcntl(r->dirfd, F_DUPFD_CLOEXEC, 3);
    task_key(t, "repository", a->repository);
    task_queue(t);
}
