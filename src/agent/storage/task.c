/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/storage/task.h"

#include "base/id.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void task_free(struct task *t) {
    struct storage *s = t->storage;
    list_remove(&t->link);
    if (t->type->free)
        t->type->free(t);
    child_free(t->child);
    close_fd(&t->dirfd);
    buf_done(&t->line);
    error_done(&t->error);
    json_decref(t->result);
    free(t->key);
    free(t->upload);
    free(t->repository);
    free(t->place);
    free(t);
    s->handles--;
}

struct task *task_new(struct storage *s, const struct task_type *type, uint64_t call, const char *repository) {
    struct task *t = xcalloc(1, type->size);
    t->type = type;
    t->storage = s;
    t->call = call;
    t->dirfd = -1;
    t->percent = t->percent_told = -1;
    t->work.data = t;
    t->repository = xstrdup(str_or(repository, ""));
    t->place = xstrdup("");
    t->needs_repository = true;
    list_init(&t->link);
    s->handles++;
    return t;
}

void task_key(struct task *t, const char *kind, const char *id) {
    if (!uuid_valid(str_or(id, "")) && t->error.code == ERR_OK)
        error_set_field(&t->error, ERR_INVALID, kind, "the id of the %s is no UUID", kind);
    str_take(&t->key, xasprintf("%s/%s/%s", t->repository, kind, str_or(id, "")));
}

void task_reads_upload(struct task *t, const char *id) {
    if (str_empty(id))
        return;
    str_take(&t->upload, xasprintf("%s/upload/%s", t->repository, id));
    if (map_get(&t->storage->writers, t->upload) && t->error.code == ERR_OK)
        error_set(&t->error, ERR_CONFLICT, "the upload is still being written; try again when all of it has been sent");
}

bool task_cancelled(const struct task *t) { return __atomic_load_n(&t->cancel, __ATOMIC_RELAXED); }

static void tell_progress(struct task *t) {
    int percent = __atomic_load_n(&t->percent, __ATOMIC_ACQUIRE);
    if (percent == t->percent_told || t->storage->closing)
        return;
    t->percent_told = percent;
    if (t->storage->config.progress)
        t->storage->config.progress(t->storage->config.ctx, t->call, percent,
                                    __atomic_load_n(&t->message, __ATOMIC_RELAXED));
}

void task_progress(struct task *t, int percent, const char *message) {
    if (percent == __atomic_load_n(&t->percent, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&t->message, message, __ATOMIC_RELAXED);
    __atomic_store_n(&t->percent, percent, __ATOMIC_RELEASE);
    uv_async_send(&t->storage->wake);
}

int task_errno(struct task *t, int r, const char *doing) {
    if (t->error.code != ERR_OK)
        return r;
    switch (-r) {
    case ENOSPC:
    case EDQUOT:
        return error_set(&t->error, ERR_NO_SPACE,
                         "the repository %s is full: %s needs more space; make room there and try again", t->place,
                         doing);
    case EROFS:
        return error_set(&t->error, ERR_IO, "the repository %s is mounted read-only: %s failed", t->place, doing);
    case EACCES:
    case EPERM:
        return error_set(&t->error, ERR_IO,
                         "%s in %s failed: permission denied; tarn-agent must own the repository's files", doing,
                         t->place);
    case ELOOP:
    case EXDEV:
        return error_set(&t->error, ERR_IO,
                         "%s in %s failed: a symbolic link stands where a file or directory of Tarn's belongs; "
                         "remove it",
                         doing, t->place);
    default:
        return error_set(&t->error, ERR_IO, "%s in %s failed: %s", doing, t->place, strerror(-r));
    }
}

void task_result_disk(struct task *t, int64_t size, int64_t allocated) {
    struct api_disk_result d;
    api_disk_result_init(&d);
    d.size = size;
    d.allocated = allocated;
    json_decref(t->result);
    t->result = api_disk_result_print(&d, API_PRIVATE);
    api_disk_result_done(&d);
}

/* ---- stages
 * ---------------------------------------------------------------------------------------------------------- */

static void storage_drain(struct storage *s) {
    if (!s->closing || s->handles > 0)
        return;
    struct claim *claim;
    while ((claim = list_first(&s->claims, struct claim, link)))
        repository_unclaim(s, claim->id);
    uv_mutex_destroy(&s->claims_lock);
    map_done(&s->repositories);
    map_done(&s->writers);
    free(s->guest_user);
    free(s);
}

void storage_unref_handle(struct storage *s) {
    s->handles--;
    storage_drain(s);
}

static void task_end(struct task *t) {
    struct storage *s = t->storage;
    if (t->running && t->type->heavy)
        s->heavy--;
    t->running = false;
    list_remove(&t->link); /* before the callbacks: they may queue the next */
    if (!s->closing) {
        tell_progress(t);
        if (t->needs_repository && (t->error.code == ERR_IO || t->type->heavy)) /* what is free has changed */
            repository_check(s, t->repository);
        if (t->type->ended)
            t->type->ended(t);
        else
            s->config.done(s->config.ctx, t->call, t->error.code == ERR_OK ? NULL : &t->error,
                           t->error.code == ERR_OK ? t->result : NULL);
    }
    task_free(t);
    if (s->closing)
        storage_drain(s);
    else
        storage_pump(s);
}

static void task_fail(struct task *t);

static void stage_work(uv_work_t *w) {
    struct task *t = w->data;
    t->result_code = t->stage(t);
}

static int stage_rollback(struct task *t) {
    t->type->rollback(t);
    return 0;
}

/* A task that is refused at once ends from the loop all the same, never inside the call that asked for it. */
static int stage_refused(struct task *t) { return 0; }

static void run_stage(struct task *t, int (*stage)(struct task *t));

static void after_prepare(struct task *t) {
    if (t->result_code == TASK_DONE) {
        task_end(t);
        return;
    }
    int r = task_cancelled(t) ? -ECANCELED : t->type->spawn(t);
    if (r < 0)
        task_fail(t);
}

static void stage_after(uv_work_t *w, int status) {
    struct task *t = w->data;
    if (t->stage == stage_rollback || t->stage == stage_refused)
        task_end(t);
    else if (t->result_code < 0 && t->error.code == ERR_OK && !task_cancelled(t))
        task_errno(t, t->result_code, t->type->what), task_fail(t);
    else if (t->result_code < 0)
        task_fail(t);
    else if (t->stage == t->type->prepare)
        after_prepare(t);
    else
        task_end(t);
}

static void run_stage(struct task *t, int (*stage)(struct task *t)) {
    t->stage = stage;
    uv_queue_work(t->storage->config.loop, &t->work, stage_work, stage_after);
}

static void task_fail(struct task *t) {
    if (task_cancelled(t))
        error_set(&t->error, ERR_CANCELLED, "%s was cancelled", t->type->what);
    if (t->type->rollback)
        run_stage(t, stage_rollback);
    else
        task_end(t);
}

/* What every child's on_exit of a task is. */
static void child_ended(void *ctx, struct child *c, struct child_exit how) {
    struct task *t = ctx;
    int r = task_cancelled(t) ? -ECANCELED : t->type->child_ended(t, how);
    child_free(t->child);
    t->child = NULL;
    if (r < 0)
        task_fail(t);
    else
        run_stage(t, t->type->finish);
}

int task_spawn(struct task *t, struct child_spec *spec) {
    spec->on_exit = child_ended;
    spec->ctx = t;
    return child_spawn(t->storage->config.loop, spec, &t->child);
}

static int task_begin(struct task *t) {
    if (t->error.code != ERR_OK)
        return -EINVAL;
    if (task_cancelled(t))
        return error_set(&t->error, ERR_CANCELLED, "%s was cancelled", t->type->what);
    if (!t->needs_repository)
        return 0;
    const struct repository *r = repository_find(t->storage, t->repository);
    if (!r)
        return error_set(&t->error, ERR_UNAVAILABLE, "the repository %s is not open on this server", t->repository);
    str_set(&t->place, r->path);
    if (!r->usable)
        return error_set(&t->error, ERR_UNAVAILABLE, "the repository %s cannot be used: %s", r->path, r->reason);
    t->dirfd = fcntl(r->dirfd, F_DUPFD_CLOEXEC, 3);
    return t->dirfd < 0 ? task_errno(t, -errno, t->type->what) : 0;
}

static bool key_taken(struct storage *s, const struct task *t) {
    struct task *other;
    list_for_each(other, &s->tasks, link) {
        if (other == t)
            return false;
        if (t->key && str_eq(other->key, t->key))
            return true;
    }
    return false;
}

void storage_pump(struct storage *s) {
    struct task *t;
    list_for_each(t, &s->tasks, link) {
        if (t->running)
            continue;
        /* One that is cancelled waits for nothing: it will only be refused. */
        if (!task_cancelled(t) && (key_taken(s, t) || (t->type->heavy && s->heavy >= HEAVY_MAX)))
            continue;
        t->running = true;
        if (t->type->heavy)
            s->heavy++;
        run_stage(t, task_begin(t) < 0 ? stage_refused : t->type->prepare);
    }
}

void task_queue(struct task *t) {
    list_append(&t->storage->tasks, &t->link);
    storage_pump(t->storage);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------------- */

void storage_cancel(struct storage *s, uint64_t call) {
    struct task *t;
    list_for_each(t, &s->tasks, link) {
        if (t->call != call || !t->type->cancellable)
            continue;
        __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        if (t->child)
            child_kill(t->child, SIGKILL);
        storage_pump(s);
        return;
    }
}

static void on_wake(uv_async_t *h) {
    struct storage *s = h->data;
    struct task *t;
    list_for_each(t, &s->tasks, link) tell_progress(t);
}

static void on_check(uv_timer_t *h) { repositories_check_all(h->data); }

struct storage *storage_new(const struct storage_config *config) {
    struct storage *s = xcalloc(1, sizeof(*s));
    s->config = *config;
    s->guest_user = xstrdup(config->guest_user);
    s->config.guest_user = s->guest_user;
    if (geteuid() == 0 && !str_empty(s->guest_user)) {
        s->has_owner = user_find(s->guest_user, &s->owner, &s->group) == 0;
        if (!s->has_owner)
            log_error("there is no user %s: disk images are converted as root", s->guest_user);
    }
    list_init(&s->tasks);
    list_init(&s->claims);
    uv_mutex_init(&s->claims_lock);
    uv_timer_init(config->loop, &s->check);
    uv_async_init(config->loop, &s->wake, on_wake);
    s->check.data = s->wake.data = s;
    s->handles = 2;
    uv_timer_start(&s->check, on_check, REPOSITORY_CHECK_MS, REPOSITORY_CHECK_MS);
    uv_unref((uv_handle_t *)&s->check);
    uv_unref((uv_handle_t *)&s->wake);
    return s;
}

static void handle_closed(uv_handle_t *h) { storage_unref_handle(h->data); }

void storage_free(struct storage *s) {
    if (!s)
        return;
    struct task *t, *next;
    s->closing = true;
    list_for_each_safe(t, next, &s->tasks, link) {
        __atomic_store_n(&t->cancel, true, __ATOMIC_RELAXED);
        if (t->child)
            child_kill(t->child, SIGKILL);
        if (!t->running)
            task_free(t);
    }
    size_t pos = 0;
    const char *id;
    void *r;
    while (map_next(&s->repositories, &pos, &id, &r))
        repository_free(r);
    uv_close((uv_handle_t *)&s->check, handle_closed);
    uv_close((uv_handle_t *)&s->wake, handle_closed);
}
