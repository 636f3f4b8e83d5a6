/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk connections: we ask an agent to dial (channel.open), it dials, and console.c or upload.c has a WebSocket to the
 * server on which it may send and receive. See docs/agent-protocol.md.
 */
#pragma once

#include "manager/http.h"

#define CHANNEL_OP "channel/" /* begins the ids of our channel.open ops */

enum channel_end {
    CHANNEL_CLOSED = 1000, /* the agent closed it; it had been up */
    CHANNEL_VM_STOPPED = 4010,
    CHANNEL_AGENT_LOST = 4011,
    CHANNEL_NOT_OPENED = 4012,
    CHANNEL_REFUSED = 4013,
    CHANNEL_TAKEN = 4014,
    CHANNEL_STUCK = 4015,
    CHANNEL_ABANDONED = 4020, /* an upload whose client broke off */
};

struct channel;
struct channel_ops {
    void (*up)(void *ctx);
    void (*text)(void *ctx, const char *data, size_t len); /* NULL: refused */
    void (*binary)(void *ctx, const void *data, size_t len);
    void (*writable)(void *ctx);
    /* Once; the channel is freed afterwards. e: what an HTTP client is told. */
    void (*ended)(void *ctx, int code, const char *reason, const struct error *e);
    void (*tick)(void *ctx, int64_t now); /* each second */
};

/* args: everything but the channel's name. Never calls back at once. */
struct channel *channel_open(struct manager *m, const char *server, const struct api_channel_open *args,
                             const struct channel_ops *ops, void *ctx);
bool channel_send_text(struct channel *ch, const char *text);
bool channel_send_binary(struct channel *ch, const void *data, size_t len);
void channel_pause(struct channel *ch, bool pause);
struct ws *channel_ws(struct channel *ch); /* NULL before it is up */
/* No callback comes any more; frees. */
void channel_close(struct channel *ch, int code, const char *reason);

/* For agents.c. */
bool channel_upgrade(struct exchange *x, const char *server, const char *id);
void channel_answered(struct manager *m, const char *server, const char *id, const json_t *message);
void channel_agent_lost(struct manager *m, const char *server);
void channel_tick(struct manager *m);
void channel_done(struct manager *m);
