/* SPDX-License-Identifier: Apache-2.0 */
/* The one corosync of this server: started so that it outlives us, found again by its own /run/corosync.pid, watched.
 */
#pragma once

#include "base/error.h"
#include "os/child.h"

struct corosync;

/* conf: absolute path. on_end: it has ended; on_reloaded: corosync-cfgtool has. */
struct corosync *corosync_new(uv_loop_t *loop, const char *conf, void (*on_end)(void *ctx), void *ctx);
void corosync_free(struct corosync *c); /* it goes on */
bool corosync_runs(const struct corosync *c);
/* Takes up the one that runs with our configuration, or starts one. */
int corosync_start(struct corosync *c, struct error *e);
void corosync_find(struct corosync *c);           /* takes it up if it runs */
bool corosync_is_found(const struct corosync *c); /* it runs, and we have not started it */
/* Has all corosyncs of the pool read their files again; done is called once. */
int corosync_reload(struct corosync *c, void (*done)(void *ctx, const struct error *e), struct error *e);
void corosync_stop(struct corosync *c, int signal);
