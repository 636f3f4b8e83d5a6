/* SPDX-License-Identifier: Apache-2.0 */
/* The last sample of every server and VM, in memory only. */
#pragma once

#include "manager/http.h"

struct stats;
struct stats *stats_new(void);
void stats_free(struct stats *s);
/* What that server's agent has sent. */
void stats_sample(struct manager *m, const char *server, const struct api_stats_sample *sample);
/* Its agent has gone: what it last said is no longer so. */
void stats_forget(struct manager *m, const char *server);

/* Prometheus' text of all, a piece at a time: _go() until it is false, then _take() as often as it adds some. */
struct stats_text;
struct stats_text *stats_text_new(const struct stats *s, bool vms);
bool stats_text_go(struct stats_text *t, const struct stats *s, struct manager *m);
bool stats_text_take(struct stats_text *t, struct buf *out);
void stats_text_free(struct stats_text *t);

/* What all servers, or those of a pool (NULL for all), use together now. */
void stats_totals(struct manager *m, const char *pool, double *ret_cpu, int64_t *ret_memory);

enum stats_metric { STATS_CPU, STATS_MEMORY, STATS_DISK, STATS_NETWORK, STATS_METRICS };
#define STATS_TOP_MAX 5
struct stats_top {
    char vm[UUID_LEN + 1];
    double value;
};
/* Those that use most, the greatest first; none that uses nothing. At most a second old, if of all. */
size_t stats_top(struct manager *m, const char *pool, enum stats_metric metric,
                 struct stats_top ret[static STATS_TOP_MAX]);

/* Handlers. */
void summary_get(struct exchange *x); /* summary.c */
void stats_server(struct exchange *x);
void stats_vm(struct exchange *x);
