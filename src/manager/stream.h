/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /stream: the changes of the inventory as they become durable. A client that comes back with ?since=REVISION gets
 * what it missed, then {"type":"synced"}; if that is no longer in the ring it gets {"type":"resync"} and lists again.
 * Objects that the client's role may not list are left out.
 *
 * Close codes: 4008 fell too far behind (come back with since), 4401 the session or token has ended, 4403 the user's
 * role has changed and watches nothing. A role that may list more than before is told so by another resync.
 */
#pragma once

#include "manager/http.h"

struct stream;
struct stream *stream_new(int64_t revision);
void stream_free(struct stream *s);
size_t stream_clients(const struct manager *m);
void stream_publish(struct manager *m, int64_t revision, const char *kind, char *text /* owned */);
/* After a round of stream_publish(): wakes the clients. */
void stream_flush(struct manager *m);
void stream_tick(struct manager *m);
bool stream_upgrade(struct exchange *x);
