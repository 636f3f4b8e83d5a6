/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/upload.h"

#include "base/id.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRIES  5 /* in a row without any byte that arrived */
#define RETRY_MS 1000

volatile sig_atomic_t upload_interrupted;

static void on_interrupt(int number) { upload_interrupted = 1; }

void upload_catch_interrupts(bool on) {
    struct sigaction action = {.sa_handler = on ? on_interrupt : SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

struct sending {
    struct cli *cli;
    const char *name;
    int fd;
    int64_t size, from; /* from: where this request began */
    int64_t started_ms;
    int said; /* plain lines: the last tenth */
    struct progress progress;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool on_progress(void *ctx, int64_t sent) {
    struct sending *s = ctx;
    int64_t done = s->from + sent, elapsed = now_ms() - s->started_ms;
    int percent = (int)(s->size ? done * 100 / s->size : 100);
    char size[SIZE_TEXT_MAX], total[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX];
    if (s->progress.on) {
        int64_t speed = elapsed > 500 ? sent * 1000 / elapsed : 0;
        _cleanup_free_ char *tail = speed ? xasprintf("%s of %s, %s/s", size_format(done, size),
                                                      size_format(s->size, total), size_format(speed, rate))
                                          : xasprintf("%s of %s", size_format(done, size), size_format(s->size, total));
        progress_show(&s->progress, s->name, percent, tail);
    } else if (!s->cli->quiet && percent / 10 > s->said) {
        s->said = percent / 10;
        _cleanup_free_ char *safe = text_safe(s->name);
        fprintf(stderr, "upload %s: %d%%\n", safe, percent);
    }
    return !upload_interrupted;
}

static char *upload_path(const char *id, const char *rest) {
    struct buf b = {0};
    buf_adds(&b, "/uploads/");
    url_encode(&b, id);
    buf_adds(&b, rest);
    return buf_take(&b);
}

/* One request from offset on. *ret_received: what has arrived in all, as far as the manager said. */
static int send_once(struct sending *s, const char *id, int64_t offset, int64_t *ret_received, struct error *e) {
    _cleanup_free_ char *rest = xasprintf("/data?offset=%lld", (long long)offset), *path = upload_path(id, rest);
    if (lseek(s->fd, offset, SEEK_SET) < 0)
        return error_set(e, ERR_IO, "cannot read %s: %s", s->name, strerror(errno));
    s->from = offset;
    s->started_ms = now_ms();
    struct http_request request = {
        .method = "PUT", .path = path, .fd = s->fd, .length = s->size - offset, .on_progress = on_progress, .ctx = s};
    _cleanup_reply_ struct http_reply reply = {0};
    int r = http_do(s->cli->http, &request, &reply, e);
    if (r >= 0)
        *ret_received = json_int(reply.body, "received", 0);
    return r;
}

static int received_ask(struct sending *s, const char *id, int64_t *ret, struct error *e) {
    _cleanup_free_ char *path = upload_path(id, "");
    _cleanup_json_ json_t *upload = NULL;
    int r = http_get(s->cli->http, path, &upload, e);
    if (r >= 0)
        *ret = json_int(upload, "received", 0);
    return r;
}

static void pause_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Whether another try may help: the connection broke, or the manager or the agent was not there for a moment. */
static bool may_retry(const struct sending *s, const struct error *e) {
    return http_broke(s->cli->http) || e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT ||
           e->code == ERR_CONFLICT || e->code == ERR_RATE;
}

static int send_all(struct sending *s, const char *id, int64_t offset, struct error *e) {
    for (int tries = 0; offset < s->size;) {
        int64_t received = offset;
        int r = send_once(s, id, offset, &received, e);
        if (upload_interrupted)
            return error_set(e, ERR_CANCELLED, "interrupted");
        if (r < 0 && !may_retry(s, e))
            return r;
        if (r < 0) {
            progress_clear(&s->progress);
            if (++tries > RETRIES)
                return r;
            cli_note(s->cli, "the upload broke off (%s); trying again", e->message);
            pause_ms(RETRY_MS * tries);
            if (received_ask(s, id, &received, NULL) < 0)
                received = offset;
        } else if (received <= offset && ++tries > RETRIES) {
            return error_set(e, ERR_INTERNAL, "the manager takes no more of the upload: %lld of %lld bytes arrived",
                             (long long)received, (long long)s->size);
        }
        if (received > offset)
            tries = 0;
        offset = received;
    }
    return 0;
}

static int upload_announce(struct sending *s, const char *repository, char **ret, struct error *e) {
    _cleanup_json_ json_t *body = json_object();
    json_set_str(body, "name", s->name);
    json_set_int(body, "size", s->size);
    if (repository)
        json_set_str(body, "repository", repository);
    _cleanup_reply_ struct http_reply reply = {0};
    int r = http_do(s->cli->http, &(struct http_request){.method = "POST", .path = "/uploads", .body = body, .fd = -1},
                    &reply, e);
    if (r < 0)
        return r;
    if (!*json_str(reply.body, "id"))
        return error_set(e, ERR_INTERNAL, "the manager's answer names no upload");
    *ret = xstrdup(json_str(reply.body, "id"));
    return 0;
}

/* Of the uploads to go on with, the one of this file. */
static int upload_resume(struct sending *s, const json_t *resume, char **ret, int64_t *ret_received, struct error *e) {
    size_t i;
    json_t *id;
    json_array_foreach((json_t *)resume, i, id) {
        _cleanup_free_ char *path = upload_path(json_string_value(id), "");
        _cleanup_json_ json_t *upload = NULL;
        int r = http_get(s->cli->http, path, &upload, e);
        if (r < 0)
            return r;
        if (str_eq(json_str(upload, "name"), s->name) && json_int(upload, "size", -1) == s->size) {
            *ret = xstrdup(json_str(upload, "id"));
            *ret_received = json_int(upload, "received", 0);
            return 0;
        }
    }
    return 0;
}

int upload_send(struct cli *cli, const char *path, const char *repository, const json_t *resume, char **ret,
                struct error *e) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, ERR_INVALID, "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERR_INVALID, "%s is not a file", path);
    if (st.st_size == 0)
        return error_set(e, ERR_BAD_IMAGE, "%s is empty", path);
    const char *slash = strrchr(path, '/');
    struct sending s = {.cli = cli, .name = slash ? slash + 1 : path, .fd = fd, .size = st.st_size};
    if (!utf8_valid(s.name))
        s.name = "image";
    s.progress.on = cli->tty_err && !cli->quiet;
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    int64_t received = 0;
    int r = upload_resume(&s, resume, ret, &received, e);
    if (r >= 0 && !*ret)
        r = upload_announce(&s, repository, ret, e);
    if (r >= 0)
        r = send_all(&s, *ret, received, e);
    progress_clear(&s.progress);
    return r;
}

void upload_discard(struct cli *cli, const char *id) {
    _cleanup_free_ char *path = upload_path(id, "");
    http_do(cli->http, &(struct http_request){.method = "DELETE", .path = path, .fd = -1}, NULL, NULL);
}
