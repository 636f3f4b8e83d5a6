/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/site.h"

#include "manager/http.h"
#include "manager/site_pure.h"
#include "os/file.h"
#include "os/log.h"
#include "os/x509.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  ((size_t)16 << 20)
#define TOTAL_MAX ((size_t)64 << 20)
#define FILES_MAX 4096
#define DEPTH_MAX 8
#define INDEX     "/index.html"

enum coding { PLAIN, BR, GZIP, CODINGS };
static const struct {
    const char *name, *ending, *mark; /* in the entity tag */
} codings[CODINGS] = {[PLAIN] = {"identity", "", ""}, [BR] = {"br", ".br", "-br"}, [GZIP] = {"gzip", ".gz", "-gz"}};

/*
 * No inline script, no eval, nothing from elsewhere, in nobody's frame. Styles that scripts set through the object
 * model need no exception; data: is for the small pictures in stylesheets.
 */
#define POLICY                                                                                                         \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "   \
    "font-src 'self' data:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "             \
    "form-action 'self'; frame-ancestors 'none'\r\n"                                                                   \
    "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n"                     \
    "Permissions-Policy: camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=()\r\n"                  \
    "Cross-Origin-Opener-Policy: same-origin\r\n"

struct blob {
    char *data; /* NULL: there is none of this coding */
    size_t len;
    char etag[24];
};

struct site_file {
    struct blob blobs[CODINGS];
};

struct site {
    struct map files; /* "/assets/x.js" -> struct site_file */
    size_t n, total;
};

void site_free(struct site *s) {
    if (!s)
        return;
    size_t pos = 0;
    void *value;
    while (map_next(&s->files, &pos, NULL, &value)) {
        struct site_file *f = value;
        for (int i = 0; i < CODINGS; i++)
            free(f->blobs[i].data);
        free(f);
    }
    map_done(&s->files);
    free(s);
}

static void site_free_p(struct site **s) { site_free(*s); }

/* ---- reading ---- */

static int take_file(struct site *s, int dir, const char *name, char *path, enum coding coding, struct error *e) {
    struct blob b = {0};
    int r = read_file_at(dir, name, FILE_MAX, &b.data, &b.len);
    if (r < 0)
        return error_set(e, ERR_IO, "the console's file %s cannot be read: %s", path, strerror(-r));
    s->total += b.len;
    if (++s->n > FILES_MAX || s->total > TOTAL_MAX) {
        free(b.data);
        return error_set(e, ERR_TOO_LARGE, "the console has more than %d files or %zu MiB; is it the right directory?",
                         FILES_MAX, TOTAL_MAX >> 20);
    }
    char hash[65];
    sha256_hex(b.data, b.len, hash);
    snprintf(b.etag, sizeof b.etag, "\"%.16s%s\"", hash, codings[coding].mark);
    path[strlen(path) - strlen(codings[coding].ending)] = 0;
    struct site_file *f = map_get(&s->files, path);
    if (!f) {
        f = xcalloc(1, sizeof *f);
        map_put(&s->files, path, f);
    }
    free(f->blobs[coding].data);
    f->blobs[coding] = b;
    return 0;
}

static enum coding coding_of(const char *name) {
    size_t len = strlen(name);
    for (int i = PLAIN + 1; i < CODINGS; i++) {
        size_t n = strlen(codings[i].ending);
        if (len > n && strcmp(name + len - n, codings[i].ending) == 0)
            return (enum coding)i;
    }
    return PLAIN;
}

static int take_dir(struct site *s, int dir, const char *path, int depth, struct error *e);

static int take_entry(struct site *s, int dir, const char *name, const char *parent, int depth, struct error *e) {
    struct stat st;
    _cleanup_free_ char *path = xasprintf("%s/%s", parent, name);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(e, ERR_IO, "the console's file %s cannot be read: %s", path, strerror(errno));
    if (S_ISREG(st.st_mode))
        return take_file(s, dir, name, path, coding_of(name), e);
    if (!S_ISDIR(st.st_mode)) {
        log_warning("the console's %s is no ordinary file and is not served", path);
        return 0;
    }
    if (depth >= DEPTH_MAX)
        return error_set(e, ERR_INVALID, "the console's directory %s lies too deep; is it the right directory?", path);
    _cleanup_close_ int sub = open_beneath(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (sub < 0)
        return error_set(e, ERR_IO, "the console's directory %s cannot be read: %s", path, strerror(-sub));
    return take_dir(s, sub, path, depth + 1, e);
}

static int take_dir(struct site *s, int dir, const char *path, int depth, struct error *e) {
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        int r = errno;
        close_fd(&copy);
        return error_set(e, ERR_IO, "the console's directory cannot be read: %s", strerror(r));
    }
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            r = take_entry(s, dir, entry->d_name, path, depth, e);
    closedir(d);
    return r;
}

/* What is there only compressed is not served at all: not everybody takes it. */
static void drop_incomplete(struct site *s) {
    size_t pos = 0;
    const char *path;
    void *value;
    while (map_next(&s->files, &pos, &path, &value)) {
        struct site_file *f = value;
        if (f->blobs[PLAIN].data)
            continue;
        log_warning("the console's %s is there only compressed and is not served", path);
        map_remove(&s->files, path);
        for (int i = 0; i < CODINGS; i++)
            free(f->blobs[i].data);
        free(f);
    }
}

int site_load(const char *dir, bool must, struct site **ret, struct error *e) {
    _cleanup_close_ int fd = !*dir ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        if (must)
            return error_set(e, ERR_IO,
                             "the console's directory %s cannot be opened: %s; give another with "
                             "--console-dir",
                             dir, strerror(errno));
        *ret = NULL;
        return 0;
    }
    _cleanup_(site_free_p) struct site *s = xcalloc(1, sizeof *s);
    int r = take_dir(s, fd, "", 0, e);
    if (r < 0)
        return r;
    drop_incomplete(s);
    if (!map_get(&s->files, INDEX))
        return error_set(e, ERR_INVALID,
                         "there is no index.html in %s; give the directory of the built console with "
                         "--console-dir",
                         dir);
    log_info("the console in %s: %zu files, %zu KiB", dir, s->n, s->total >> 10);
    *ret = TAKE_PTR(s);
    return 0;
}

/* ---- serving ---- */

static const struct site_file *find(const struct site *s, const char *path, const char **ret_path) {
    const struct site_file *f = map_get(&s->files, path);
    *ret_path = path;
    if (!f && path_is_route(path))
        f = map_get(&s->files, *ret_path = INDEX);
    return f;
}

bool site_has(const struct site *s, const char *path) {
    const char *real;
    return s && find(s, path, &real);
}

static const struct blob *choose(struct exchange *x, const struct site_file *f, enum coding *ret) {
    char accept[512];
    conn_header(x->conn, "accept-encoding:", accept, sizeof accept);
    for (int i = PLAIN + 1; i < CODINGS; i++)
        if (f->blobs[i].data && coding_accepted(accept, codings[i].name)) {
            *ret = (enum coding)i;
            return &f->blobs[i];
        }
    *ret = PLAIN;
    return &f->blobs[PLAIN];
}

/*
 * Names below assets/ carry a hash of what is in them, so they never change. HSTS is not for names of this machine: it
 * would bind everything else that answers at another port of localhost.
 */
static void add_headers(struct exchange *x, const char *path, const struct blob *b, enum coding coding) {
    char host[256];
    buf_addf(&x->extra, "ETag: %s\r\nVary: Accept-Encoding\r\nCache-Control: %s\r\n", b->etag,
             strncmp(path, "/assets/", 8) == 0 ? "public, max-age=31536000, immutable" : "no-cache");
    if (coding != PLAIN)
        buf_addf(&x->extra, "Content-Encoding: %s\r\n", codings[coding].name);
    if (!host_is_local(conn_header(x->conn, "host:", host, sizeof host)))
        buf_adds(&x->extra, "Strict-Transport-Security: max-age=31536000\r\n");
    x->policy = POLICY;
}

void site_get(struct exchange *x) {
    const char *path;
    char known[512];
    enum coding coding;
    const struct site_file *f = find(x->m->site, x->path, &path);
    const struct blob *b = choose(x, f, &coding);
    add_headers(x, path, b, coding);
    x->type = media_type(path);
    if (etag_listed(conn_header(x->conn, "if-none-match:", known, sizeof known), b->etag))
        exchange_reply(x, 304, 0, NULL);
    else
        exchange_reply_borrowed(x, b->data, b->len);
}
