/* SPDX-License-Identifier: Apache-2.0 */
/* The last sample of every server and VM, in memory only. */
#pragma once

#include "manager/http.h"

struct stats;
struct stats *stats_new(void);
void stats_free(struct stats *s);
/* args of a stats event from that server's agent. */
void stats_sample(struct manager *m, const char *server, const json_t *args);
/* Its agent has gone: what it last said is no longer so. */
void stats_forget(struct manager *m, const char *server);
void stats_metrics(const struct stats *s, struct manager *m, bool vms, struct buf *out);

/* Handlers. */
void stats_server(struct exchange *x);
void stats_vm(struct exchange *x);
