/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repository on SQLite.
 *
 *     log(rev, key, value, deleted)   each value once, appended; rev counts every put and delete
 *     head(key, rev)                  where a key's present value is
 *     superseded(rev)                 rows of log that nothing points at any more
 *
 * Appending values and turning a small index costs less flushing than rewriting rows in place. One thread writes: it
 * takes all commits that wait (at most GROUP_MAX) into one transaction, so that as many requests as there are share one
 * flush. A batch's compares are looked up before its first change; one that does not hold costs its own batch only.
 *
 *     loop's thread                                  writer's thread
 *     store_commit → queue ────────────────────────→ BEGIN, apply…, COMMIT
 *     done(seq, result) ←── async ←── finished ←──── results
 *
 * A failure of the disk fails the whole group and everything committed before store_reset_error(): those were decided
 * by somebody who believed the failed ones. Each commit therefore carries the epoch in which it was made, and a reset
 * begins a new one; a commit of an epoch that has failed is never tried.
 *
 * A file that is cut to nothing or replaced behind our back takes no commit any more, and its log is left as it is.
 *
 * Between groups the writer moves the write-ahead log into the database, and when it has nothing to do it removes
 * superseded rows, a few at a time. Where it is never idle, a group removes twice as many as it makes, within its own
 * transaction: a clean-up of its own would be one more flush, for which the next commit would wait.
 */
#include "store/sqlite.h"

#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"
#include "store/store_ops.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define GROUP_MAX       256
#define GROUP_MAX_BYTES (8 << 20)
#define CHECKPOINT_IDLE 500  /* pages in the write-ahead log that are moved when nothing waits */
#define CHECKPOINT_BUSY 4000 /* and when something does */
#define PRUNE_ROWS      200  /* in one step */
#define PRUNE_WAIT_MS   100  /* idle time before a step */
#define PRUNE_LAG       2000 /* rows that may be left for idle times */
#define PRUNE_ALONG     1000 /* at most, with a group */

struct commit {
    struct commit *next;
    uint64_t seq, epoch;
    struct batch *batch; /* owned */
    int result;
};

/* A queue of commits, oldest first. */
struct commits {
    struct commit *first, **last;
};

struct sqlite {
    struct store store;
    char *path;
    int lock_fd;
    store_done *done;
    void *ctx;

    /* the loop's thread */
    sqlite3 *reader;
    uv_async_t async;
    uint64_t outstanding, epoch;
    bool closed;

    /* both, under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct commits queue, finished;
    bool stop;
    int64_t revision; /* durable */

    /* the writer's thread */
    pthread_t thread;
    sqlite3 *writer;
    sqlite3_stmt *begin, *commit, *rollback, *find, *insert, *point, *unpoint, *supersede, *prune_log, *prune_list;
    sqlite3_stmt *save, *release, *take_back;
    uint64_t failed_epoch; /* commits of this one and older ones are not tried */
    int failed_result;
    int64_t last_revision, garbage; /* garbage: rows in superseded */
    bool warm;                      /* the page cache holds something */
    dev_t device;                   /* of the file that was opened */
    ino_t inode;
    bool lost;    /* that file is not at its path any more, or is empty */
    bool resting; /* the disk is full, or worse: no clean-up before something has been committed again */
    int wal_pages;
};

static void commits_init(struct commits *q) { *q = (struct commits){NULL, &q->first}; }

static void commits_add(struct commits *q, struct commit *c) {
    c->next = NULL;
    *q->last = c;
    q->last = &c->next;
}

/* All of from go to the end of to. */
static void commits_move(struct commits *to, struct commits *from) {
    if (from->first) {
        *to->last = from->first;
        to->last = from->last;
        commits_init(from);
    }
}

static struct commit *commits_take(struct commits *q) {
    struct commit *c = q->first;
    if (c && !(q->first = c->next))
        q->last = &q->first;
    return c;
}

static void commit_free(struct commit *c) {
    batch_free(c->batch);
    free(c);
}

/* ---- the writer ---- */

/* Runs to the end; SQLITE_OK, or what went wrong. */
static int finish(sqlite3_stmt *st) {
    errno = 0; /* for sqlite_store_errno() */
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* The revision that key has now; 0 if it is absent. */
static int find_head(struct sqlite *s, const char *key, int64_t *ret) {
    errno = 0;
    sqlite3_bind_text(s->find, 1, key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s->find);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(s->find, 0) : 0;
    sqlite3_reset(s->find);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int supersede(struct sqlite *s, int64_t revision) {
    s->garbage++;
    sqlite3_bind_int64(s->supersede, 1, revision);
    return finish(s->supersede);
}

static int apply_op(struct sqlite *s, const struct batch_op *op) {
    int64_t old;
    int rc = find_head(s, op->key, &old);
    bool put = op->kind == BATCH_PUT;
    if (rc != SQLITE_OK || (!put && old == 0))
        return rc;
    int64_t revision = ++s->last_revision;
    sqlite3_bind_int64(s->insert, 1, revision);
    sqlite3_bind_text(s->insert, 2, op->key, -1, SQLITE_STATIC);
    if (put)
        sqlite3_bind_text64(s->insert, 3, op->value, op->len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(s->insert, 3);
    sqlite3_bind_int(s->insert, 4, !put);
    rc = finish(s->insert);
    sqlite3_stmt *turn = put ? s->point : s->unpoint;
    sqlite3_bind_text(turn, 1, op->key, -1, SQLITE_STATIC);
    if (put)
        sqlite3_bind_int64(turn, 2, revision);
    if (rc == SQLITE_OK)
        rc = finish(turn);
    if (rc == SQLITE_OK && old)
        rc = supersede(s, old);
    if (rc == SQLITE_OK && !put)
        rc = supersede(s, revision);
    return rc;
}

static int apply(struct sqlite *s, struct commit *c) {
    for (size_t i = 0; i < c->batch->n; i++) {
        const struct batch_op *op = &c->batch->ops[i];
        int64_t revision;
        if (op->kind != BATCH_COMPARE_ABSENT)
            continue;
        int rc = find_head(s, op->key, &revision);
        if (rc != SQLITE_OK)
            return rc;
        if (revision) {
            c->result = -ESTALE;
            return SQLITE_OK;
        }
    }
    for (size_t i = 0; i < c->batch->n; i++) {
        const struct batch_op *op = &c->batch->ops[i];
        int rc = op->kind == BATCH_COMPARE_ABSENT ? SQLITE_OK : apply_op(s, op);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

/* Whether the file is still what was opened. What has been lost stays lost until the next start. */
static bool is_lost(struct sqlite *s) {
    struct stat st;
    if (s->lost)
        return true;
    if (stat(s->path, &st) == 0)
        s->lost = st.st_dev != s->device || st.st_ino != s->inode || st.st_size == 0;
    else
        s->lost = errno == ENOENT;
    if (s->lost)
        log_error("the store %s was cut to nothing, replaced or removed while in use: nothing is written any more; "
                  "stop Tarn, keep %s-wal for inspection, and restore the newest backup",
                  s->path, s->path);
    return s->lost;
}

static int remember_file(struct sqlite *s) {
    struct stat st;
    if (stat(s->path, &st) < 0)
        return -errno;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    return 0;
}

/* Of the oldest superseded rows, at most `most`. The newest revision stays, or the count would begin again below it
   after a restart. */
static int remove_rows(struct sqlite *s, int64_t most, int64_t *ret_removed) {
    sqlite3_bind_int64(s->prune_log, 1, s->last_revision);
    sqlite3_bind_int64(s->prune_log, 2, most);
    sqlite3_bind_int64(s->prune_list, 1, s->last_revision);
    sqlite3_bind_int64(s->prune_list, 2, most);
    int rc = finish(s->prune_log);
    *ret_removed = sqlite3_changes(s->writer);
    return rc == SQLITE_OK ? finish(s->prune_list) : rc;
}

/* Within the group's transaction, which does not fail because of it. */
static int prune_along(struct sqlite *s, int64_t made) {
    if (s->garbage < PRUNE_LAG || s->resting || made <= 0)
        return SQLITE_OK;
    int64_t removed = 0;
    int rc = finish(s->save);
    if (rc != SQLITE_OK)
        return rc;
    rc = remove_rows(s, 2 * made < PRUNE_ALONG ? 2 * made : PRUNE_ALONG, &removed);
    if (rc == SQLITE_OK) {
        s->garbage -= removed;
        return finish(s->release);
    }
    s->resting = true;
    if (sqlite3_get_autocommit(s->writer)) /* it has taken everything with it */
        return rc;
    rc = finish(s->take_back);
    return rc == SQLITE_OK ? finish(s->release) : rc;
}

/* The group as one transaction. Its commits' results are set. */
static void write_group(struct sqlite *s, struct commits *group) {
    int64_t before = s->last_revision, garbage = s->garbage;
    int rc = is_lost(s) ? SQLITE_IOERR : SQLITE_OK;
    bool begun = false;
    for (struct commit *c = group->first; c && rc == SQLITE_OK; c = c->next) {
        c->result = c->epoch <= s->failed_epoch ? s->failed_result : 0;
        if (c->result == 0 && !begun) {
            rc = finish(s->begin);
            begun = rc == SQLITE_OK;
        }
        if (c->result == 0 && rc == SQLITE_OK)
            rc = apply(s, c);
    }
    bool resting = s->resting;
    if (begun && rc == SQLITE_OK)
        rc = prune_along(s, s->last_revision - before);
    if (begun && rc == SQLITE_OK)
        rc = finish(s->commit);
    if (rc == SQLITE_OK) {
        s->resting = s->resting && (!begun || !resting);
        return;
    }
    s->failed_result = s->lost ? -EIO : sqlite_store_errno(s->writer, rc);
    if (!sqlite3_get_autocommit(s->writer))
        finish(s->rollback);
    s->last_revision = before;
    s->garbage = garbage;
    for (struct commit *c = group->first; c; c = c->next) {
        c->result = s->failed_result;
        if (c->epoch > s->failed_epoch)
            s->failed_epoch = c->epoch;
    }
}

/* Removes some superseded rows, in a transaction of its own. */
static void prune(struct sqlite *s) {
    int rc = finish(s->begin);
    int64_t removed = 0;
    if (rc == SQLITE_OK)
        rc = remove_rows(s, PRUNE_ROWS, &removed);
    if (rc == SQLITE_OK)
        rc = finish(s->commit);
    if (!sqlite3_get_autocommit(s->writer))
        finish(s->rollback);
    if (rc != SQLITE_OK)
        s->resting = true;
    else if (removed < PRUNE_ROWS)
        s->garbage = 0; /* but perhaps the newest */
    else
        s->garbage -= removed;
}

static void checkpoint(struct sqlite *s) {
    sqlite3_wal_checkpoint_v2(s->writer, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    s->wal_pages = 0; /* it is counted again at the next commit */
}

static int note_wal(void *ctx, sqlite3 *db, const char *name, int pages) {
    ((struct sqlite *)ctx)->wal_pages = pages;
    return SQLITE_OK;
}

static void take_group(struct sqlite *s, struct commits *group) {
    size_t bytes = 0;
    for (int n = 0; n < GROUP_MAX && bytes < GROUP_MAX_BYTES && s->queue.first; n++) {
        struct commit *c = commits_take(&s->queue);
        for (size_t i = 0; i < c->batch->n; i++)
            bytes += c->batch->ops[i].len;
        commits_add(group, c);
    }
}

/* Waits until there is something to write, or a while if there is something to clean up. With the mutex. */
static void wait_for_work(struct sqlite *s) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PRUNE_WAIT_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    bool timed = s->warm || (s->garbage > 0 && !s->resting) || s->wal_pages > CHECKPOINT_IDLE;
    int r = 0;
    while (!s->queue.first && !s->stop && r == 0)
        r = timed ? pthread_cond_timedwait(&s->wake, &s->mutex, &until) : pthread_cond_wait(&s->wake, &s->mutex);
}

/* After a group or a rest: idle if nothing waits. */
static void clean_up(struct sqlite *s, bool idle) {
    if (s->lost) {
        s->garbage = s->wal_pages = 0; /* there is nothing to come back for */
        s->warm = false;
        return;
    }
    if (s->garbage > 0 && !s->resting && idle)
        prune(s);
    if (s->wal_pages > (idle ? CHECKPOINT_IDLE : CHECKPOINT_BUSY))
        checkpoint(s);
    if (idle && s->warm) {
        sqlite3_db_release_memory(s->writer);
        s->warm = false;
    }
}

static void *writer_main(void *arg) {
    struct sqlite *s = arg;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        wait_for_work(s);
        bool idle = !s->queue.first;
        if (idle && s->stop)
            break;
        struct commits group;
        commits_init(&group);
        take_group(s, &group);
        pthread_mutex_unlock(&s->mutex);
        if (!idle) {
            s->warm = true;
            write_group(s, &group);
            pthread_mutex_lock(&s->mutex);
            s->revision = s->last_revision;
            commits_move(&s->finished, &group);
            pthread_mutex_unlock(&s->mutex);
            uv_async_send(&s->async);
        }
        clean_up(s, idle);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- the loop's side ---- */

static void on_finished(uv_async_t *h) {
    struct sqlite *s = h->data;
    struct commits results;
    commits_init(&results);
    pthread_mutex_lock(&s->mutex);
    commits_move(&results, &s->finished);
    pthread_mutex_unlock(&s->mutex);
    struct commit *c;
    while ((c = commits_take(&results))) {
        if (--s->outstanding == 0)
            uv_unref((uv_handle_t *)&s->async);
        if (!s->closed) /* by an earlier one's done() */
            s->done(s->ctx, c->seq, c->result);
        commit_free(c);
    }
}

static void sqlite_commit(struct store *store, uint64_t seq, struct batch *b) {
    struct sqlite *s = (struct sqlite *)store;
    struct commit *c = xcalloc(1, sizeof *c);
    *c = (struct commit){.seq = seq, .epoch = s->epoch, .batch = b};
    /* The store alone does not keep the loop alive; a commit whose end is awaited does. */
    if (s->outstanding++ == 0)
        uv_ref((uv_handle_t *)&s->async);
    pthread_mutex_lock(&s->mutex);
    commits_add(&s->queue, c);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
}

static void sqlite_reset_error(struct store *store) { ((struct sqlite *)store)->epoch++; }

static int64_t sqlite_revision(struct store *store) {
    struct sqlite *s = (struct sqlite *)store;
    pthread_mutex_lock(&s->mutex);
    int64_t revision = s->revision;
    pthread_mutex_unlock(&s->mutex);
    return revision;
}

/* Made when first used: an agent reads when it starts and hardly ever after. */
static int prepare_read(struct sqlite *s, const char *sql, sqlite3_stmt **ret, struct error *e) {
    if (!s->reader) {
        int r = sqlite_store_open_reader(s->path, &s->reader, e);
        if (r < 0)
            return r;
    }
    int rc = sqlite3_prepare_v2(s->reader, sql, -1, ret, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_store_error(s->reader, rc, s->path, e);
}

/* Rows of key, value, rev; st is finalized. */
static int visit(struct sqlite *s, sqlite3_stmt *st, store_item *item, void *ctx, struct error *e) {
    int rc, r = 0;
    while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0), *value = (const char *)sqlite3_column_text(st, 1);
        if (!key || !value)
            r = error_set(e, ERR_IO, "the store %s is damaged (a key without a value): restore the newest backup",
                          s->path);
        else
            r = item(ctx, key, value, (size_t)sqlite3_column_bytes(st, 1), sqlite3_column_int64(st, 2));
    }
    if (r == 0 && rc != SQLITE_DONE)
        r = sqlite_store_error(s->reader, rc, s->path, e);
    sqlite3_finalize(st);
    sqlite3_db_release_memory(s->reader);
    return r;
}

/* The first text that sorts behind every key with the prefix. No key has a byte 0xff (it is not in UTF-8). */
static char *prefix_end(const char *prefix) { return xasprintf("%s\xff", prefix); }

#define ROWS                                                                                                           \
    "SELECT h.key, l.value, h.rev FROM head h CROSS JOIN log l ON l.rev = h.rev WHERE h.key >= ?1 AND h.key < ?2 "

static int sqlite_load(struct store *store, const char *prefix, store_item *item, void *ctx, struct error *e) {
    struct sqlite *s = (struct sqlite *)store;
    sqlite3_stmt *st;
    int r = prepare_read(s, ROWS "ORDER BY h.key", &st, e);
    if (r < 0)
        return r;
    _cleanup_free_ char *end = prefix_end(prefix);
    sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, end, -1, SQLITE_STATIC);
    return visit(s, st, item, ctx, e);
}

static int sqlite_load_before(struct store *store, const char *prefix, const char *before, int64_t limit,
                              store_item *item, void *ctx, struct error *e) {
    struct sqlite *s = (struct sqlite *)store;
    if (limit <= 0)
        return 0;
    sqlite3_stmt *st;
    int r = prepare_read(s, ROWS "ORDER BY h.key DESC LIMIT ?3", &st, e);
    if (r < 0)
        return r;
    _cleanup_free_ char *end = prefix_end(prefix);
    sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, before && strcmp(before, end) < 0 ? before : end, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, limit);
    return visit(s, st, item, ctx, e);
}

struct got {
    char *value;
    size_t len;
    int64_t revision;
};

static int get_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct got *g = ctx;
    *g = (struct got){xmalloc(len + 1), len, revision};
    memcpy(g->value, value, len);
    g->value[len] = 0;
    return 0;
}

static int sqlite_get(struct store *store, const char *key, char **ret_value, size_t *ret_len, int64_t *ret_revision,
                      struct error *e) {
    struct sqlite *s = (struct sqlite *)store;
    sqlite3_stmt *st;
    int r =
        prepare_read(s, "SELECT h.key, l.value, h.rev FROM head h JOIN log l ON l.rev = h.rev WHERE h.key = ?", &st, e);
    if (r < 0)
        return r;
    struct got g = {0};
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    r = visit(s, st, get_item, &g, e);
    if (r == 0 && !g.value)
        r = error_set(e, ERR_NOT_FOUND, "the store has no %s", key);
    if (r < 0) {
        free(g.value);
        return r;
    }
    *ret_value = g.value;
    if (ret_len)
        *ret_len = g.len;
    if (ret_revision)
        *ret_revision = g.revision;
    return 0;
}

/* ---- opening and closing ---- */

static void databases_close(struct sqlite *s) {
    sqlite3_stmt *const all[] = {s->begin, s->commit,  s->rollback,  s->find,      s->insert,
                                 s->point, s->unpoint, s->supersede, s->prune_log, s->prune_list,
                                 s->save,  s->release, s->take_back};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        sqlite3_finalize(all[i]);
    if (s->inode && is_lost(s)) /* the log would go into the wrong file, and then away */
        sqlite3_db_config(s->writer, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(s->reader);
    sqlite3_close(s->writer); /* the last one: moves the write-ahead log into the database */
    close_fd(&s->lock_fd);
}

static void sqlite_free(struct sqlite *s) {
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->wake);
    free(s->path);
    free(s);
}

static void on_async_closed(uv_handle_t *h) { sqlite_free(h->data); }

static void sqlite_close(struct store *store) {
    struct sqlite *s = (struct sqlite *)store;
    s->closed = true;
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    databases_close(s);
    struct commit *c;
    while ((c = commits_take(&s->finished)))
        commit_free(c);
    uv_close((uv_handle_t *)&s->async, on_async_closed);
}

static const struct store_ops sqlite_ops = {
    .close = sqlite_close,
    .load = sqlite_load,
    .load_before = sqlite_load_before,
    .get = sqlite_get,
    .revision = sqlite_revision,
    .commit = sqlite_commit,
    .reset_error = sqlite_reset_error,
};

static int prepare_all(struct sqlite *s) {
#define OLDEST "(SELECT rev FROM superseded WHERE rev < ?1 ORDER BY rev LIMIT ?2)"
    const struct {
        sqlite3_stmt **st;
        const char *sql;
    } all[] = {
        {&s->begin, "BEGIN IMMEDIATE"},
        {&s->commit, "COMMIT"},
        {&s->rollback, "ROLLBACK"},
        {&s->find, "SELECT rev FROM head WHERE key = ?1"},
        {&s->insert, "INSERT INTO log(rev, key, value, deleted) VALUES(?1, ?2, ?3, ?4)"},
        {&s->point, "INSERT INTO head(key, rev) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET rev = excluded.rev"},
        {&s->unpoint, "DELETE FROM head WHERE key = ?1"},
        {&s->supersede, "INSERT INTO superseded(rev) VALUES(?1)"},
        {&s->save, "SAVEPOINT prune"},
        {&s->release, "RELEASE prune"},
        {&s->take_back, "ROLLBACK TO prune"},
        {&s->prune_log, "DELETE FROM log WHERE rev IN " OLDEST},
        {&s->prune_list, "DELETE FROM superseded WHERE rev IN " OLDEST},
    };
    int rc = SQLITE_OK;
    for (size_t i = 0; i < ARRAY_LEN(all) && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(s->writer, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st, NULL);
    return rc;
}

/* Where the counting goes on. */
static int count(struct sqlite *s) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(
        s->writer, "SELECT (SELECT coalesce(max(rev), 0) FROM log), (SELECT count(*) FROM superseded)", -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        s->revision = s->last_revision = sqlite3_column_int64(st, 0);
        s->garbage = sqlite3_column_int64(st, 1);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

static int start_writer(struct sqlite *s) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the loop's thread */
    int r = pthread_create(&s->thread, &attr, writer_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

static struct sqlite *sqlite_new(const char *path, store_done *done, void *ctx) {
    struct sqlite *s = xcalloc(1, sizeof *s);
    s->store.ops = &sqlite_ops;
    s->path = xstrdup(path);
    s->lock_fd = -1;
    s->done = done;
    s->ctx = ctx;
    s->epoch = 1;
    commits_init(&s->queue);
    commits_init(&s->finished);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->mutex, NULL);
    return s;
}

int store_open_sqlite(const char *path, void *loop, store_done *done, void *ctx, struct store **ret, struct error *e) {
    struct sqlite *s = sqlite_new(path, done, ctx);
    int r = sqlite_store_open(path, &s->lock_fd, &s->writer, e);
    if (r == 0) {
        int rc = prepare_all(s);
        if (rc == SQLITE_OK)
            rc = count(s);
        if (rc != SQLITE_OK)
            r = sqlite_store_error(s->writer, rc, path, e);
        else if (remember_file(s) < 0)
            r = error_set(e, ERR_IO, "the store %s is gone: somebody else has removed it", path);
    }
    if (r < 0) {
        databases_close(s);
        sqlite_free(s);
        return r;
    }
    sqlite3_wal_hook(s->writer, note_wal, s); /* also ends SQLite's own checkpoints */
    if (uv_async_init(loop, &s->async, on_finished) < 0)
        abort(); /* a loop without its eventfd */
    s->async.data = s;
    uv_unref((uv_handle_t *)&s->async);
    r = start_writer(s);
    if (r < 0) {
        databases_close(s);
        uv_close((uv_handle_t *)&s->async, on_async_closed);
        return error_set(e, ERR_INTERNAL, "the store's writer cannot be started: %s", strerror(-r));
    }
    *ret = &s->store;
    return 0;
}
