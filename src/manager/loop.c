/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/loop.h"

#include <time.h>

static const double limits[] = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};
#define BUCKETS ARRAY_LEN(limits)

struct histogram {
    uint64_t n[BUCKETS + 1];
    double sum, longest;
};

struct loop_watch {
    uv_prepare_t prepare;
    uint64_t wall_ns, idle_ns, cpu_ns; /* at the end of the last turn */
    struct histogram wall, cpu;
};

static void add(struct histogram *h, uint64_t ns) {
    double s = (double)ns / 1e9;
    size_t i = 0;
    while (i < BUCKETS && s > limits[i])
        i++;
    h->n[i]++;
    h->sum += s;
    if (s > h->longest)
        h->longest = s;
}

static uint64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Just before the loop waits again: its turn is over. What it waited before it is no part of it. */
static void on_prepare(uv_prepare_t *p) {
    struct loop_watch *w = p->data;
    uint64_t wall = uv_hrtime(), idle = uv_metrics_idle_time(p->loop), cpu = thread_cpu_ns();
    if (w->wall_ns) {
        uint64_t waited = idle - w->idle_ns, passed = wall - w->wall_ns;
        add(&w->wall, passed > waited ? passed - waited : 0);
        add(&w->cpu, cpu - w->cpu_ns);
    }
    w->wall_ns = wall;
    w->idle_ns = idle;
    w->cpu_ns = cpu;
}

struct loop_watch *loop_watch_new(uv_loop_t *loop) {
    struct loop_watch *w = xcalloc(1, sizeof *w);
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    uv_prepare_init(loop, &w->prepare);
    w->prepare.data = w;
    uv_prepare_start(&w->prepare, on_prepare);
    uv_unref((uv_handle_t *)&w->prepare);
    return w;
}

void loop_watch_free(struct loop_watch *w) { free(w); }

static void print(const struct histogram *h, const char *name, const char *help, struct buf *out) {
    uint64_t sum = 0;
    buf_addf(out, "# HELP tarn_%s %s\n# TYPE tarn_%s histogram\n", name, help, name);
    for (size_t i = 0; i < BUCKETS; i++) {
        sum += h->n[i];
        buf_addf(out, "tarn_%s_bucket{le=\"%g\"} %llu\n", name, limits[i], (unsigned long long)sum);
    }
    sum += h->n[BUCKETS];
    buf_addf(out, "tarn_%s_bucket{le=\"+Inf\"} %llu\ntarn_%s_sum %.6f\ntarn_%s_count %llu\n", name,
             (unsigned long long)sum, name, h->sum, name, (unsigned long long)sum);
    buf_addf(out, "# HELP tarn_%s_longest The longest of them\n# TYPE tarn_%s_longest gauge\ntarn_%s_longest %.6f\n",
             name, name, name, h->longest);
}

void loop_watch_metrics(const struct loop_watch *w, struct buf *out) {
    print(&w->wall, "loop_turn_seconds", "Turns of the event loop by the clock: nobody is answered before they end",
          out);
    print(&w->cpu, "loop_turn_cpu_seconds", "The same by the processor time that they took", out);
}
