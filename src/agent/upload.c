/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upload's bytes: collected into pieces, written and flushed one after the other in libuv's thread pool, so that a
 * slow disk never stops the loop. What is told as received has been flushed.
 */
#include "agent/channel.h"

#include "base/buf.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES (1U << 20)   /* collected before a write; above it the manager is not read from */
#define FLUSH_BYTES (64LL << 20) /* written before a flush */

struct upload {
    struct channel *channel; /* NULL: gone */
    struct agent *a;
    char *repository, *id;
    int fd; /* -1: simulated */
    int64_t size, written, durable, told;
    struct buf fill, busy; /* being collected; being written, of which n_done bytes are */
    size_t n_done;
    bool working, ended; /* a request is in the pool; the manager has said that it is the end */
    int error;
    uv_fs_t request;
};

static void go_on(struct upload *u);

static void upload_free(struct upload *u) {
    if (u->fd >= 0 && u->a->closing) /* the storage may be gone */
        close(u->fd);
    else if (u->fd >= 0)
        storage_upload_done(u->a->storage, u->repository, u->id, u->fd);
    buf_done(&u->fill);
    buf_done(&u->busy);
    free(u->repository);
    free(u->id);
    free(u);
}

static bool is_open(const struct agent *a, const char *id) {
    const struct channel *c;
    list_for_each(c, &a->channels, link) {
        if (c->upload && str_eq(c->upload->id, id))
            return true;
    }
    return false;
}

int upload_open(struct channel *c, struct error *e) {
    struct agent *a = c->a;
    int64_t received = c->args.offset;
    if (is_open(a, c->args.upload))
        return error_set(e, ERR_CONFLICT, "this upload is being sent by somebody else");
    if (c->args.offset < 0 || c->args.offset > c->args.size)
        return error_set(e, ERR_INVALID, "the offset lies outside the upload");
    int fd = -1;
    if (a->storage) {
        fd = storage_upload_fd(a->storage, c->args.repository, c->args.upload, &received, e);
        if (fd < 0)
            return fd;
        if (c->args.offset > received) {
            storage_upload_done(a->storage, c->args.repository, c->args.upload, fd);
            return error_set(e, ERR_INVALID, "only %lld bytes have arrived until now: go on from there",
                             (long long)received);
        }
    }
    struct upload *u = xcalloc(1, sizeof(*u));
    *u = (struct upload){.channel = c, .a = a, .id = xstrdup(c->args.upload), .fd = fd, .size = c->args.size};
    u->repository = xstrdup(c->args.repository);
    u->written = u->durable = u->told = c->args.offset;
    c->upload = u;
    return 0;
}

/* ---- telling ---- */

/* What has arrived is the file's length: who overwrites an earlier part takes nothing away. */
static void tell_event(struct upload *u) {
    struct stat st;
    if (u->a->closing)
        return;
    struct api_upload_report r = {.upload = u->id, .received = u->durable};
    if (u->fd >= 0 && fstat(u->fd, &st) == 0 && st.st_size > r.received)
        r.received = st.st_size < u->size ? st.st_size : u->size;
    agent_begin(u->a);
    host_upload_received(u->a->host, &r);
    agent_end(u->a);
}

static void tell_channel(struct upload *u) {
    if (!u->channel || u->told == u->durable)
        return;
    u->told = u->durable;
    _cleanup_free_ char *text = xasprintf("{\"received\":%lld}", (long long)u->durable);
    ws_send_text(u->channel->ws, text, strlen(text));
}

char *upload_error(const struct error *e) {
    _cleanup_json_ json_t *frame = json_object();
    json_object_set_new(frame, "error", error_print(e));
    return json_text(frame);
}

static void fail(struct upload *u, enum error_code code, const char *message) {
    if (!u->channel)
        return;
    struct error e = {.code = code, .message = (char *)message};
    _cleanup_free_ char *text = upload_error(&e);
    ws_send_text(u->channel->ws, text, strlen(text));
    channel_end(u->channel, CHANNEL_DONE, "");
}

/* ---- writing ---- */

static void on_worked(uv_fs_t *req) {
    struct upload *u = req->data;
    ssize_t n = req->result;
    bool flushed = req->fs_type == UV_FS_FDATASYNC;
    uv_fs_req_cleanup(req);
    u->working = false;
    if (n < 0 || (!flushed && n == 0)) {
        u->error = n < 0 ? (int)n : -EIO;
        log_error("upload %s cannot be written: %s", u->id, strerror(-u->error));
        fail(u, u->error == -ENOSPC || u->error == -EDQUOT ? ERR_NO_SPACE : ERR_IO, strerror(-u->error));
    } else if (flushed) {
        u->durable = u->written;
        if (!u->ended)
            tell_channel(u);
    } else {
        u->n_done += (size_t)n;
        u->written += n;
    }
    go_on(u);
}

static void write_piece(struct upload *u) {
    uv_buf_t buf = uv_buf_init(u->busy.data + u->n_done, (unsigned)(u->busy.len - u->n_done));
    u->request.data = u;
    u->working = uv_fs_write(u->a->config.loop, &u->request, u->fd, &buf, 1, u->written, on_worked) == 0;
    if (!u->working)
        u->error = -EIO;
}

static void flush(struct upload *u) {
    u->request.data = u;
    u->working = uv_fs_fdatasync(u->a->config.loop, &u->request, u->fd, on_worked) == 0;
    if (!u->working)
        u->error = -EIO;
}

static void all_done(struct upload *u) {
    struct channel *c = u->channel;
    tell_event(u); /* before the channel, so that the inventory knows first */
    if (!c) {
        upload_free(u);
        return;
    }
    u->told = -1;
    tell_channel(u);
    channel_end(c, CHANNEL_DONE, "");
    c->upload = NULL;
    u->channel = NULL;
    upload_free(u);
}

/* The next request for the pool, whatever it is; at the end what is to be said. */
static void go_on(struct upload *u) {
    if (u->working)
        return;
    bool over = u->ended || !u->channel;
    if (u->error < 0) {
        if (!u->channel)
            upload_free(u);
        return;
    }
    if (u->n_done == u->busy.len && u->fill.len && (over || u->fill.len >= PIECE_BYTES || u->fd < 0)) {
        struct buf piece = u->busy;
        u->busy = u->fill;
        u->fill = piece;
        u->fill.len = 0;
        u->n_done = 0;
        if (u->channel)
            ws_pause_reading(u->channel->ws, false);
    }
    if (u->fd < 0) { /* simulated: taken and thrown away */
        u->written += (int64_t)(u->busy.len - u->n_done);
        u->n_done = u->busy.len;
        u->durable = u->written;
    }
    if (u->n_done < u->busy.len)
        write_piece(u);
    else if (u->written - u->durable >= FLUSH_BYTES || (over && u->written > u->durable))
        flush(u);
    else if (over) {
        all_done(u);
        return;
    }
    if (u->error < 0)
        fail(u, ERR_IO, "the upload cannot be written");
}

void upload_data(struct channel *c, const void *data, size_t len) {
    struct upload *u = c->upload;
    int64_t come = u->written + (int64_t)(u->busy.len - u->n_done + u->fill.len);
    if (u->error < 0 || u->ended)
        return;
    if (come + (int64_t)len > u->size) {
        u->error = -E2BIG;
        fail(u, ERR_TOO_LARGE, "more bytes came than the upload was announced with");
        return;
    }
    buf_add(&u->fill, data, len);
    go_on(u);
    if (u->fill.len >= PIECE_BYTES)
        ws_pause_reading(c->ws, true);
}

void upload_text(struct channel *c, const char *data, size_t len) {
    _cleanup_json_ json_t *j = NULL;
    if (json_parse(data, len, &j, NULL) < 0 || !json_bool(j, "end", false))
        return;
    c->upload->ended = true;
    go_on(c->upload);
}

void upload_lost(struct channel *c) {
    struct upload *u = c->upload;
    c->upload = NULL;
    u->channel = NULL;
    go_on(u);
}
