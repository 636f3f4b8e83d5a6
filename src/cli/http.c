/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/http.h"

#include "base/buf.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_MAX        (256 * 1024 * 1024)
#define CONNECT_TIMEOUT_S 10L
#define STALL_S           60L /* an answer or upload that moves nothing for so long is given up */

struct http {
    CURL *curl;
    char *base, *ca, *token;
    bool verbose, broke;
};

struct transfer {
    struct buf answer;
    bool too_large;
    char retry_after[32];
    const struct http_request *request;
    int64_t left; /* of the body of bytes */
    int read_errno;
};

void http_reply_done(struct http_reply *r) {
    json_decref(r->body);
    free(r->text);
    *r = (struct http_reply){0};
}

struct http *http_new(const char *base, const char *ca, const char *token, bool verbose) {
    static bool ready;
    if (!ready) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
            abort();
        ready = true;
    }
    struct http *h = xcalloc(1, sizeof *h);
    h->curl = curl_easy_init();
    if (!h->curl)
        abort();
    h->base = xstrdup(base);
    h->ca = xstrdup(ca);
    h->token = xstrdup(token);
    h->verbose = verbose;
    return h;
}

void http_free(struct http *h) {
    if (!h)
        return;
    curl_easy_cleanup(h->curl);
    free(h->base);
    free(h->ca);
    free(h->token);
    free(h);
}

bool http_broke(const struct http *h) { return h->broke; }

static size_t on_data(char *data, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    if (size * n > ANSWER_MAX - t->answer.len) {
        t->too_large = true;
        return 0;
    }
    buf_add(&t->answer, data, size * n);
    return size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    if (size * n > 12 && strncasecmp(line, "retry-after:", 12) == 0)
        snprintf(t->retry_after, sizeof t->retry_after, "%ld", strtol(line + 12, NULL, 10));
    return size * n;
}

static size_t on_read(char *to, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    size_t want = size * n;
    if ((int64_t)want > t->left)
        want = (size_t)t->left;
    if (!want)
        return 0;
    ssize_t got;
    do
        got = read(t->request->fd, to, want);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        t->read_errno = got < 0 ? errno : ENODATA;
        return CURL_READFUNC_ABORT;
    }
    t->left -= got;
    return (size_t)got;
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up) {
    const struct transfer *t = ctx;
    return t->request->on_progress && !t->request->on_progress(t->request->ctx, up);
}

/* What curl's failures mean to the person who waits. */
static int explain(const struct http *h, CURLcode code, const char *detail, const struct transfer *t, struct error *e) {
    const char *why = *detail ? detail : curl_easy_strerror(code);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return error_set(e, ERR_UNAVAILABLE, "cannot reach the manager at %s: %s", h->base, why);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(e, ERR_TIMEOUT, "the manager at %s does not answer: %s", h->base, why);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return error_set(e, ERR_UNAVAILABLE, "the manager at %s cannot be trusted: %s", h->base, why);
    case CURLE_SSL_CONNECT_ERROR:
        return error_set(e, ERR_UNAVAILABLE, "no TLS connection to %s: %s (is this tarn-manager's port?)", h->base,
                         why);
    case CURLE_ABORTED_BY_CALLBACK:
        if (t->read_errno)
            return error_set(e, ERR_IO, "reading the file failed: %s",
                             t->read_errno == ENODATA ? "it became shorter" : strerror(t->read_errno));
        return error_set(e, ERR_CANCELLED, "interrupted");
    default:
        return error_set(e, ERR_UNAVAILABLE, "the connection to the manager at %s broke: %s", h->base, why);
    }
}

static enum error_code code_of_status(int status) {
    for (enum error_code c = ERR_OK + 1; c < ERR_COUNT_; c++)
        if (error_http_status(c) == status)
            return c;
    return ERR_INTERNAL;
}

/* An answer that is no success: Tarn's error object, or whatever else stands at this address. */
static int refuse(const struct http *h, const struct transfer *t, const struct http_reply *r, struct error *e) {
    const json_t *error = json_object_get(r->body, "error");
    if (json_is_string(json_object_get(error, "code")) && json_is_string(json_object_get(error, "message"))) {
        int result = error_parse(e, error);
        if (e && e->code == ERR_RATE && *t->retry_after)
            str_take(&e->message, xasprintf("%s; try again in %s s", e->message, t->retry_after));
        return result;
    }
    return error_set(
        e, code_of_status(r->status),
        "%s answered with HTTP status %d and no explanation that Tarn knows (is this tarn-manager's address?)", h->base,
        r->status);
}

static int answer_take(const struct http *h, struct transfer *t, struct http_reply *r, struct error *e) {
    r->len = t->answer.len;
    r->text = buf_take(&t->answer);
    _cleanup_error_ struct error bad = ERROR_INIT;
    if (r->len)
        json_parse(r->text, r->len, &r->body, &bad);
    if (r->status < 200 || r->status > 299)
        return refuse(h, t, r, e);
    if (bad.code)
        return error_set(e, ERR_INTERNAL, "the answer of %s is damaged: %s", h->base, bad.message);
    return 0;
}

static struct curl_slist *headers_make(const struct http *h, const struct http_request *q) {
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    list = curl_slist_append(list, "Expect:");
    if (h->token) {
        _cleanup_free_ char *line = xasprintf("Authorization: Bearer %s", h->token);
        list = curl_slist_append(list, line);
    }
    if (q->if_match) {
        _cleanup_free_ char *line = xasprintf("If-Match: \"%s\"", q->if_match);
        list = curl_slist_append(list, line);
    }
    if (q->body)
        list = curl_slist_append(list, strcmp(q->method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json"
                                                                       : "Content-Type: application/json");
    else if (q->fd >= 0)
        list = curl_slist_append(list, "Content-Type: application/octet-stream");
    return list;
}

static void options_set(struct http *h, const struct http_request *q, struct transfer *t, const char *url,
                        const char *body, char *detail) {
    CURL *c = h->curl;
    curl_easy_reset(c); /* keeps the connection */
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* the WebSockets take none either */
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "tarn/" TARN_VERSION);
    curl_easy_setopt(c, CURLOPT_CAINFO, h->ca);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_S);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    if (q->fd >= 0) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(c, CURLOPT_READDATA, t);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->length);
        curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    } else if (body || strcmp(q->method, "GET") != 0) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body ? body : "");
    }
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
}

int http_do(struct http *h, const struct http_request *q, struct http_reply *ret, struct error *e) {
    _cleanup_free_ char *url = xasprintf("%s/api/v1%s", h->base, q->path);
    _cleanup_free_ char *body = q->body ? json_text(q->body) : NULL;
    char detail[CURL_ERROR_SIZE] = "";
    struct transfer t = {.request = q, .left = q->length};
    options_set(h, q, &t, url, body, detail);
    struct curl_slist *headers = headers_make(h, q);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);

    CURLcode code = curl_easy_perform(h->curl);
    curl_slist_free_all(headers);
    long status = 0;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    /* A server may refuse an upload and close before it has read everything: then its answer counts. */
    bool answered = code == CURLE_SEND_ERROR && status >= 400;
    if (h->verbose) {
        double seconds = 0;
        curl_easy_getinfo(h->curl, CURLINFO_TOTAL_TIME, &seconds);
        fprintf(stderr, "tarn: %s %s: %ld, %zu bytes in %.1f ms\n", q->method, url, status, t.answer.len,
                seconds * 1e3);
    }
    h->broke = code != CURLE_OK && code != CURLE_ABORTED_BY_CALLBACK && !answered;

    _cleanup_reply_ struct http_reply reply = {.status = (int)status};
    int r;
    if (t.too_large)
        r = error_set(e, ERR_TOO_LARGE, "the answer of %s is larger than %d MiB", h->base, ANSWER_MAX >> 20);
    else if (code != CURLE_OK && !answered)
        r = explain(h, code, detail, &t, e);
    else
        r = answer_take(h, &t, &reply, e);
    buf_done(&t.answer);
    if (r == 0 && ret) {
        *ret = reply;
        reply = (struct http_reply){0};
    }
    return r;
}

int http_get(struct http *h, const char *path, json_t **ret, struct error *e) {
    _cleanup_reply_ struct http_reply reply = {0};
    int r = http_do(h, &(struct http_request){.method = "GET", .path = path, .fd = -1}, &reply, e);
    if (r < 0)
        return r;
    if (!json_is_object(reply.body))
        return error_set(e, ERR_INTERNAL, "the answer of %s is not an object", h->base);
    *ret = TAKE_PTR(reply.body);
    return 0;
}
