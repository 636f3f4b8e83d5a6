/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long each turn of the loop takes, for /metrics: whoever waits for an answer waits for the turns before it. A turn
 * is timed by the clock and by the processor: when the first is much longer than the second, the machine was busy with
 * something else.
 *
 * Those that take more than a millisecond of processor time are counted by what took most of it: whoever does something
 * on the loop says so with loop_at(). What nobody claims is "connections": TLS, framing, accepting.
 */
#pragma once

#include "manager/manager.h"

struct loop_watch;

/* Once, before the loop runs. */
struct loop_watch *loop_watch_new(uv_loop_t *loop);
/* When the loop's handles have been closed. */
void loop_watch_free(struct loop_watch *w);
/* What the loop does from now on (a static string); what it did until now, for the call that ends it. */
const char *loop_at(struct manager *m, const char *what);
/* Whether this turn has had enough of something, which has to be more than one in a turn. */
bool loop_had_enough(struct manager *m, const char *what);
void loop_watch_metrics(const struct loop_watch *w, struct buf *out);
