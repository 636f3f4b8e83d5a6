/* SPDX-License-Identifier: Apache-2.0 */
/* What a console's channel and an upload's have in common: a WebSocket of their own to the manager. */
#pragma once

#include "agent/agent.h"

enum channel_close_code {
    CHANNEL_DONE = 1000,
    CHANNEL_GUEST_STOPPED = 4010,
    CHANNEL_REFUSED = 4013,
    CHANNEL_STUCK = 4015,
};

struct upload;

struct channel {
    struct list link; /* agent.channels */
    struct agent *a;
    struct ws_client *ws;
    struct api_channel_open args;
    char *refusal; /* it is dialled only to say why it is refused */
    char *refused_error; /* the same as an upload's error frame, or NULL */
    bool open;     /* the WebSocket is */
    struct upload *upload; /* or NULL */

    /* consoles */
    int fd;
    uv_poll_t *poll;
    char *unsent; /* from the manager, not yet taken by the console */
    size_t n_unsent;
    bool blocked; /* the manager does not take more now … */
    int64_t blocked_since;
};

/* Ends it from our side; it is freed when the close is done. */
void channel_end(struct channel *c, enum channel_close_code code, const char *reason);
void channel_free(struct channel *c);

/* upload.c */
int upload_open(struct channel *c, struct error *e);
char *upload_error(const struct error *e); /* the frame that says so */
void upload_data(struct channel *c, const void *data, size_t len);
void upload_text(struct channel *c, const char *data, size_t len);
/* The channel is gone: what has come is made durable and told, then the upload is freed. */
void upload_lost(struct channel *c);
