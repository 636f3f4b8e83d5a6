/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stream.h"

#include "base/mem.h"
#include "cli/show.h"
#include "cli/text.h"
#include "os/wsclient.h"

#include <signal.h>
#include <stdio.h>

#define MESSAGE_MAX (16 * 1024 * 1024)
#define CONNECT_MS  10000
#define PING_MS     20000

static struct ws_context *context;

struct ws_context *cli_ws(void) {
    if (!context && ws_context_new(uv_default_loop(), &context) < 0)
        abort();
    return context;
}

int cli_ws_connect(struct cli *cli, struct ws_client_config *config, struct ws_client **ret) {
    config->host = cli->url.host;
    config->port = cli->url.port;
    config->ca_path = cli->profile.ca;
    config->bearer = str_empty(cli->profile.token) ? NULL : cli->profile.token;
    config->connect_timeout_ms = CONNECT_MS;
    config->ping_ms = PING_MS;
    return ws_connect(cli_ws(), config, ret);
}

void cli_ws_free(void) {
    if (!context)
        return;
    ws_context_free(context);
    context = NULL;
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
}

bool cli_refused(struct cli *cli, const char *path, int code, struct error *e) {
    _cleanup_error_ struct error why = ERROR_INIT;
    json_t *unused = NULL;
    if (code < 400 || code >= 500 || code == 429)
        return false;
    int r = http_get(cli->http, path + strlen("/api/v1"), &unused, &why);
    json_decref(unused);
    bool final = r < 0 && !http_broke(cli->http) &&
                 (why.code == ERR_UNAUTHENTICATED || why.code == ERR_FORBIDDEN || why.code == ERR_NOT_FOUND);
    if (final)
        error_move(e, &why);
    return final;
}

struct stream {
    struct ws_client *ws;
    struct stream_config config;
};

static void on_open(void *ctx, struct ws_client *c) {
    struct stream *s = ctx;
    if (s->config.on_open)
        s->config.on_open(s->config.ctx);
}

static void on_text(void *ctx, struct ws_client *c, const char *data, size_t len) {
    struct stream *s = ctx;
    _cleanup_json_ json_t *message = NULL;
    if (json_parse(data, len, &message, NULL) == 0 && json_is_object(message))
        s->config.on_message(s->config.ctx, message);
}

static void on_close(void *ctx, struct ws_client *c, int code, const char *reason) {
    struct stream *s = ctx;
    s->config.on_close(s->config.ctx, code, reason);
}

int stream_open(struct cli *cli, const struct stream_config *config, struct stream **ret, struct error *e) {
    struct buf path = {0};
    buf_adds(&path, "/api/v1/stream");
    if (config->kinds)
        url_query(&path, "kinds", config->kinds);
    if (config->since >= 0) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)config->since);
        url_query(&path, "since", number);
    }
    struct stream *s = xcalloc(1, sizeof *s);
    s->config = *config;
    struct ws_client_config ws = {
        .path = path.data,
        .max_message = MESSAGE_MAX,
        .on_open = on_open,
        .on_text = on_text,
        .on_close = on_close,
        .ctx = s,
    };
    int r = cli_ws_connect(cli, &ws, &s->ws);
    buf_done(&path);
    if (r < 0) {
        free(s);
        return error_set(e, ERR_UNAVAILABLE, "cannot open the stream of changes: %s", strerror(-r));
    }
    *ret = s;
    return 0;
}

void stream_free(struct stream *s) {
    if (!s)
        return;
    ws_free(s->ws);
    free(s);
}
