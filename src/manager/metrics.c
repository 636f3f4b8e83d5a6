/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/metrics.h"

#include "manager/loop.h"
#include "manager/memory.h"
#include "manager/stats.h"
#include "manager/stream.h"
#include "manager/unread.h"
#include "manager/work.h"

#include <stdio.h>

#define AT_ONCE 4 /* of one client: each is written in memory, and may be megabytes */

static void counter(struct buf *b, const char *name, const char *help, uint64_t value) {
    buf_addf(b, "# HELP tarn_%s %s\n# TYPE tarn_%s counter\ntarn_%s %llu\n", name, help, name, name,
             (unsigned long long)value);
}

static void gauge(struct buf *b, const char *name, const char *help, double value) {
    buf_addf(b, "# HELP tarn_%s %s\n# TYPE tarn_%s gauge\ntarn_%s %.15g\n", name, help, name, name, value);
}

static void add_latency(struct buf *b, const struct manager *m) {
    static const char *const limits[LATENCY_BUCKETS] = {"0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05",
                                                        "0.1",    "0.2",   "0.5",   "1",     "2",    "5",    "10"};
    uint64_t sum = 0;
    buf_adds(b, "# HELP tarn_request_seconds Time from a request's head to its answer\n# TYPE tarn_request_seconds "
                "histogram\n");
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        sum += m->latency[i];
        buf_addf(b, "tarn_request_seconds_bucket{le=\"%s\"} %llu\n", limits[i], (unsigned long long)sum);
    }
    sum += m->latency[LATENCY_BUCKETS];
    buf_addf(b,
             "tarn_request_seconds_bucket{le=\"+Inf\"} %llu\ntarn_request_seconds_sum %.6f\ntarn_request_seconds_count "
             "%llu\n",
             (unsigned long long)sum, m->latency_sum, (unsigned long long)sum);
}

static void add_inventory(struct buf *b, const struct core_counts *c) {
    buf_adds(b, "# HELP tarn_objects Objects of the inventory\n# TYPE tarn_objects gauge\n");
    for (int k = 0; k < API_KIND_COUNT; k++)
        buf_addf(b, "tarn_objects{kind=\"%s\"} %zu\n", api_kinds[k].name, c->objects[k]);
    buf_adds(b, "# HELP tarn_vms Virtual machines by state\n# TYPE tarn_vms gauge\n");
    for (int s = 0; s < API_VM_STATE_COUNT; s++)
        buf_addf(b, "tarn_vms{state=\"%s\"} %zu\n", api_vm_state_text((enum api_vm_state)s),
                 c->by_state[API_KIND_VM][s]);
    gauge(b, "jobs_active", "Jobs under way", (double)c->jobs_active);
    gauge(b, "jobs_queued", "Jobs that wait", (double)c->jobs_queued);
    gauge(b, "servers_online", "Servers that are online, or have been away for less than the grace",
          (double)c->by_state[API_KIND_SERVER][API_SERVER_STATE_ONLINE]);
    counter(b, "core_requests_total", "Requests that reached the core", c->requests);
    counter(b, "agent_messages_total", "Messages from agents", c->agent_messages);
    counter(b, "agent_errors_total", "Malformed messages from agents", c->agent_errors);
}

static void add_own(struct buf *b, struct manager *m) {
    struct core_counts c;
    core_counts(m->core, &c);
    buf_addf(b, "# HELP tarn_info Version\n# TYPE tarn_info gauge\ntarn_info{version=\"%s\"} 1\n", TARN_VERSION);
    gauge(b, "start_time_seconds", "When the manager started", (double)m->started_ms / 1000);
    gauge(b, "process_resident_memory_bytes", "Resident memory of tarn-manager", (double)memory_resident());
    gauge(b, "connections", "Open connections", (double)http_connections(m));
    gauge(b, "stream_clients", "Clients of the stream", (double)stream_clients(m));
    gauge(b, "agents_connected", "Agents whose control connection is up", (double)map_count(&m->agents));
    gauge(b, "read_only", "1 while the store takes no changes", core_read_only(m->core));
    gauge(b, "revision", "Revision of the inventory", (double)core_revision(m->core));
    counter(b, "commits_total", "Durable commits", m->commits_done);
    counter(b, "commit_failures_total", "Commits that failed", m->commits_failed);
    add_inventory(b, &c);
    buf_adds(b, "# HELP tarn_requests_total Answers by status\n# TYPE tarn_requests_total counter\n");
    for (int i = 1; i <= 5; i++)
        buf_addf(b, "tarn_requests_total{status=\"%dxx\"} %llu\n", i, (unsigned long long)m->requests_done[i]);
    add_latency(b, m);
    loop_watch_metrics(m->watch, b);
}

/* Thousands of servers, perhaps each virtual machine: written a piece at a time. */
struct rendering {
    struct work work;
    uint64_t request;
    struct stats_text *text;
    struct buf out;
};

static void rendering_free(struct rendering *r) {
    work_remove(&r->work);
    stats_text_free(r->text);
    buf_done(&r->out);
    free(r);
}

static bool go(struct manager *m, struct work *w) {
    struct rendering *r = container_of(w, struct rendering, work);
    struct exchange *x = exchange_find(m, r->request);
    if (x && x->conn && (stats_text_go(r->text, m->stats, m) || stats_text_take(r->text, &r->out)))
        return true;
    if (x && x->conn) {
        add_own(&r->out, m);
        exchange_reply(x, 200, 0, buf_take(&r->out));
    } else if (x) { /* nobody waits for it any more */
        exchange_reply(x, 503, 0, NULL);
    }
    rendering_free(r);
    return false;
}

/* It is answered later, and has no body. */
static void on_complete(struct exchange *x) {}

static size_t under_way(const struct exchange *x) {
    struct work *w;
    size_t n = 0;
    list_for_each(w, &x->m->work, link) {
        const struct exchange *other =
            w->go == go ? exchange_find(x->m, container_of(w, struct rendering, work)->request) : NULL;
        n += other && other->conn && strcmp(unread_client(other), unread_client(x)) == 0;
    }
    return n;
}

void metrics_get(struct exchange *x) {
    if (under_way(x) >= AT_ONCE) {
        buf_adds(&x->extra, "Retry-After: 1\r\n");
        exchange_fail(x, ERR_RATE, "the metrics are being written for you %d times already; wait for them", AT_ONCE);
        return;
    }
    struct rendering *r = xcalloc(1, sizeof *r);
    r->work.what = "metrics";
    r->work.go = go;
    r->request = x->id;
    r->text = stats_text_new(x->m->stats, x->m->options->metrics_vms);
    x->type = "text/plain; version=0.0.4; charset=utf-8";
    x->on_complete = on_complete;
    work_add(x->m, &r->work);
}

void metrics_done(struct manager *m) {
    struct work *w, *next;
    list_for_each_safe(w, next, &m->work, link) {
        if (w->go == go)
            rendering_free(container_of(w, struct rendering, work));
    }
}
