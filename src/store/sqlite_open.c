/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the store's file. What can be wrong with it is found here, before anything is served, and every message says
 * what to do: an inventory is not something that one starts again from nothing by mistake.
 *
 * Versions (PRAGMA user_version; application_id marks the file as ours from version 1 on):
 *     0   kv(key, value)                                   before there were revisions
 *     1   log(rev, key, value, deleted), head(key, rev), superseded(rev)
 * An older file is copied to PATH.vN first and then brought up one version at a time, all in one transaction.
 */
#include "base/mem.h"
#include "os/file.h"
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x5461726e /* "Tarn" */

static void db_close(sqlite3 **db) { sqlite3_close_v2(*db); }
#define _cleanup_db_ __attribute__((cleanup(db_close)))

/* ---- errors ---- */

int sqlite_store_errno(sqlite3 *db, int rc) {
    /* SQLite notes it when a statement is prepared, but not when one is stepped. Nothing has succeeded in between. */
    int system = sqlite3_system_errno(db) ? sqlite3_system_errno(db) : errno;
    switch (rc & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        /* A quota and a file size limit are a full disk to whoever has to make room. */
        if (system == ENOSPC || system == EDQUOT || system == EFBIG)
            return -ENOSPC;
        return system == EROFS || system == EACCES || system == EPERM || system == EMFILE || system == ENOENT ? -system
                                                                                                              : -EIO;
    default:
        return -EIO;
    }
}

int sqlite_store_error(sqlite3 *db, int rc, const char *path, struct error *e) {
    const char *reason = sqlite3_errmsg(db);
    if ((rc & 0xff) == SQLITE_CORRUPT)
        return error_set(
            e, ERR_IO,
            "the store %s is damaged (%s): stop Tarn, keep %s and %s-wal for inspection, and restore the newest "
            "backup in their place",
            path, reason, path, path);
    if ((rc & 0xff) == SQLITE_NOTADB)
        return error_set(
            e, ERR_INVALID,
            "%s is not a Tarn store (it is no SQLite database): move it away, or restore a backup in its place", path);
    switch (sqlite_store_errno(db, rc)) {
    case -ENOSPC:
        return error_set(e, ERR_NO_SPACE,
                         "there is no space left for the store %s: make room on its disk and try again", path);
    case -EROFS:
        return error_set(
            e, ERR_READ_ONLY,
            "the store %s cannot be written (%s): make the file, its directory and the file system writable for "
            "user %d",
            path, reason, (int)geteuid());
    case -EACCES:
    case -EPERM:
        return error_set(e, ERR_READ_ONLY,
                         "the store %s may not be opened by user %d: change its owner or its permissions", path,
                         (int)geteuid());
    case -ENOENT:
        return error_set(e, ERR_NOT_FOUND, "the store %s does not exist: create its directory first", path);
    case -EBUSY:
        return error_set(e, ERR_IN_USE, "the store %s is locked by another program: close it and try again", path);
    default:
        return error_set(e, ERR_IO, "the store %s cannot be read or written: %s (%s)", path, reason,
                         strerror(sqlite3_system_errno(db)));
    }
}

/* For the system calls around it. */
static int errno_error(int err, const char *path, struct error *e) {
    switch (err) {
    case ENOENT:
    case ENOTDIR:
        return error_set(e, ERR_NOT_FOUND, "the store's file %s cannot be made: create its directory first", path);
    case EROFS:
    case EACCES:
    case EPERM:
        return error_set(e, ERR_READ_ONLY,
                         "the store's file %s cannot be written (%s): make it and its directory writable for user %d",
                         path, strerror(err), (int)geteuid());
    case ENOSPC:
    case EDQUOT:
        return error_set(e, ERR_NO_SPACE, "there is no space left for the store's file %s: make room on its disk",
                         path);
    default:
        return error_set(e, ERR_IO, "the store's file %s cannot be opened: %s", path, strerror(err));
    }
}

/* ---- the lock ---- */

/* SQLite lets many processes in; two managers on one inventory would each believe their own memory. */
static int lock_take(const char *path, int *ret_fd, struct error *e) {
    _cleanup_free_ char *lock_path = xasprintf("%s.lock", path);
    _cleanup_close_ int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno_error(errno, lock_path, e);
    char text[32] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return errno_error(errno, lock_path, e);
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        return error_set(e, ERR_IN_USE, "the store %s is in use by process %d: stop that one first", path,
                         n > 0 ? atoi(text) : 0);
    }
    /* Only a hint for people: on a full disk the lock holds without it. */
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    bool noted = ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
    (void)noted;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- questions to the database ---- */

static int run(sqlite3 *db, const char *sql) { return sqlite3_exec(db, sql, NULL, NULL, NULL); }

/* The first column of the first row, 0 if there is none. */
static int ask(sqlite3 *db, const char *sql, int64_t *ret) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        *ret = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

/* ---- versions ---- */

#define SCHEMA_1                                                                                                       \
    "CREATE TABLE log(rev INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT, deleted INTEGER NOT NULL DEFAULT 0);"    \
    "CREATE TABLE head(key TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;"                                     \
    "CREATE TABLE superseded(rev INTEGER PRIMARY KEY);"

static int migrate_0_to_1(sqlite3 *db) {
    return run(db, SCHEMA_1 "INSERT INTO log(key, value) SELECT key, value FROM kv ORDER BY key;"
                            "INSERT INTO head(key, rev) SELECT key, rev FROM log;"
                            "DROP TABLE kv;"
                            "PRAGMA application_id = 0x5461726e;");
}

/* [n] makes version n + 1 from version n, inside a transaction. */
static int (*const migrations[SQLITE_STORE_VERSION])(sqlite3 *db) = {
    [0] = migrate_0_to_1,
};

/* -1: nothing in it yet. */
static int find_version(sqlite3 *db, const char *path, int64_t *ret, struct error *e) {
    int64_t tables = 0, id = 0, version = 0, kv = 0;
    int rc = ask(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc == SQLITE_OK)
        rc = ask(db, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = ask(db, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = ask(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'kv'", &kv);
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    if (tables == 0) {
        *ret = -1;
        return 0;
    }
    if (id != APPLICATION_ID && !(id == 0 && version == 0 && kv == 1))
        return error_set(e, ERR_INVALID, "%s is a database of another program: choose another path for the store",
                         path);
    if (version > SQLITE_STORE_VERSION)
        return error_set(
            e, ERR_VERSION,
            "the store %s was written by a newer Tarn (version %lld of its layout, this one knows %d): install "
            "that Tarn again, or restore the copy that it made before it upgraded the store",
            path, (long long)version, SQLITE_STORE_VERSION);
    *ret = version;
    return 0;
}

static int sync_file(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = !slash          ? xstrdup(".")
                                  : slash == path ? xstrdup("/")
                                                  : xstrndup(path, (size_t)(slash - path));
    return sync_file(parent);
}

/* PATH.vN, whole or not at all. */
static int copy_old(sqlite3 *db, const char *path, int64_t version, struct error *e) {
    _cleanup_free_ char *copy = xasprintf("%s.v%lld", path, (long long)version), *partial = xasprintf("%s.tmp", copy);
    if (unlink(partial) < 0 && errno != ENOENT)
        return errno_error(errno, partial, e);
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, "VACUUM INTO ?", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, partial, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_DONE)
        rc = SQLITE_OK;
    int r = rc == SQLITE_OK ? 0 : sqlite_store_error(db, rc, path, e);
    sqlite3_finalize(st);
    if (r == 0 &&
        (chmod(partial, 0600) < 0 || sync_file(partial) < 0 || rename(partial, copy) < 0 || sync_parent(copy) < 0))
        r = errno_error(errno, copy, e);
    if (r < 0)
        unlink(partial);
    return r;
}

static int migrate(sqlite3 *db, const char *path, int64_t version, struct error *e) {
    int r = copy_old(db, path, version, e);
    if (r < 0)
        return r;
    int rc = run(db, "BEGIN IMMEDIATE");
    for (; rc == SQLITE_OK && version < SQLITE_STORE_VERSION; version++)
        rc = migrations[version](db);
    _cleanup_free_ char *set = xasprintf("PRAGMA user_version = %d", SQLITE_STORE_VERSION);
    if (rc == SQLITE_OK)
        rc = run(db, set);
    if (rc == SQLITE_OK)
        rc = run(db, "COMMIT");
    if (rc == SQLITE_OK)
        return 0;
    r = sqlite_store_error(db, rc, path, e);
    run(db, "ROLLBACK");
    return r;
}

static int create(sqlite3 *db, const char *path, struct error *e) {
    _cleanup_free_ char *sql =
        xasprintf("BEGIN IMMEDIATE;" SCHEMA_1 "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                  APPLICATION_ID, SQLITE_STORE_VERSION);
    int rc = run(db, sql);
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    sync_parent(path);
    return 0;
}

/* ---- opening ---- */

static int check_row(void *ctx, int n, char **values, char **names) {
    struct error *e = ctx;
    if (e->code == ERR_OK && n == 1 && values[0] && strcmp(values[0], "ok") != 0)
        error_set(e, ERR_IO, "%s", values[0]);
    return 0;
}

static int check(sqlite3 *db, const char *path, struct error *e) {
    _cleanup_error_ struct error found = ERROR_INIT;
    int rc = sqlite3_exec(db, "PRAGMA quick_check(1)", check_row, &found, NULL);
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    if (found.code == ERR_OK)
        return 0;
    return error_set(
        e, ERR_IO,
        "the store %s is damaged (%s): stop Tarn, keep %s and %s-wal for inspection, and restore the newest backup "
        "in their place",
        path, found.message, path, path);
}

/* SQLite would set aside 20 pages for each connection at once. */
static void configure(void) { sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0); }

/* Settings of every connection. Small caches: the inventory is in the manager's memory, and an agent has 10 MiB in all.
 */
static int connect(const char *path, int flags, sqlite3 **ret, struct error *e) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    _cleanup_db_ sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!db)
        return error_set(e, ERR_INTERNAL, "SQLite cannot start: out of memory");
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 256, 64);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db, 5000);
    if (rc == SQLITE_OK)
        rc = run(
            db,
            "PRAGMA cache_size = -256; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF");
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    *ret = TAKE_PTR(db);
    return 0;
}

/* SQLite would make it with the umask's permissions. */
static int make_private(const char *path, struct error *e) {
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno_error(errno, path, e);
    struct stat st;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(e, ERR_INVALID, "%s is not a file: choose another path for the store", path);
    return 0;
}

/* SQLite begins anew with an empty file, and throws its write-ahead log away. */
static int refuse_loss(const char *path, struct error *e) {
    _cleanup_free_ char *wal = xasprintf("%s-wal", path);
    struct stat st;
    if ((stat(path, &st) == 0 && st.st_size > 0) || stat(wal, &st) < 0 || st.st_size == 0)
        return 0;
    return error_set(e, ERR_IO,
                     "the store %s is empty or gone, but its log %s holds changes: keep both for inspection, and "
                     "restore the newest backup in their place",
                     path, wal);
}

static int settle(sqlite3 *db, const char *path, struct error *e) {
    int64_t version = 0;
    int rc = run(db, "PRAGMA page_size = 8192");
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    int r = find_version(db, path, &version, e);
    if (r == 0 && sqlite3_db_readonly(db, "main") == 1)
        return error_set(e, ERR_READ_ONLY, "the store %s is read-only: make it writable for user %d", path,
                         (int)geteuid());
    if (r == 0 && version >= 0)
        r = check(db, path, e);
    if (r < 0)
        return r;
    rc = run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216");
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    if (version < 0)
        return create(db, path, e);
    return version < SQLITE_STORE_VERSION ? migrate(db, path, version, e) : 0;
}

int sqlite_store_open(const char *path, int *ret_lock_fd, sqlite3 **ret_db, struct error *e) {
    _cleanup_close_ int lock = -1;
    _cleanup_db_ sqlite3 *db = NULL;
    int r = lock_take(path, &lock, e);
    if (r == 0)
        r = refuse_loss(path, e);
    if (r == 0)
        r = make_private(path, e);
    if (r == 0)
        r = connect(path, SQLITE_OPEN_READWRITE, &db, e);
    if (r == 0)
        r = settle(db, path, e);
    if (r < 0)
        return r;
    *ret_lock_fd = lock;
    lock = -1;
    *ret_db = TAKE_PTR(db);
    return 0;
}

int sqlite_store_open_reader(const char *path, sqlite3 **ret_db, struct error *e) {
    _cleanup_db_ sqlite3 *db = NULL;
    int r = connect(path, SQLITE_OPEN_READWRITE, &db, e);
    if (r < 0)
        return r;
    int rc = run(db, "PRAGMA query_only = ON");
    if (rc != SQLITE_OK)
        return sqlite_store_error(db, rc, path, e);
    *ret_db = TAKE_PTR(db);
    return 0;
}
