/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of changes (GET /api/v1/stream), as messages. */
#pragma once

#include "cli/cli.h"

#include <uv.h>

struct stream;

struct stream_config {
    const char *kinds; /* comma-separated; NULL: all */
    int64_t since;     /* resume after this revision; -1: from now */
    void (*on_open)(void *ctx);
    void (*on_message)(void *ctx, const json_t *message);
    /* Once, also if it never opened; the stream may be freed in it. */
    void (*on_close)(void *ctx, int code, const char *reason);
    void *ctx;
};

/* One context for all WebSockets of the program; on the default loop. */
struct ws_context;
struct ws_context *cli_ws(void);
/* Connects to the manager as the profile says; of config, path, the callbacks and max_message are the caller's. */
struct ws_client;
struct ws_client_config;
int cli_ws_connect(struct cli *cli, struct ws_client_config *config, struct ws_client **ret);
/* Whether a WebSocket that ended with this code was refused for good: the manager, asked again without one, says why.
   path: with /api/v1. */
bool cli_refused(struct cli *cli, const char *path, int code, struct error *e);
void cli_ws_free(void);

int stream_open(struct cli *cli, const struct stream_config *config, struct stream **ret, struct error *e);
void stream_free(struct stream *s);
