/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/loop.h"

#include "os/log.h"

#include <time.h>

static const double limits[] = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};
#define BUCKETS ARRAY_LEN(limits)

struct histogram {
    uint64_t n[BUCKETS + 1];
    double sum, longest;
};

#define LONG_NS     1000000
#define ENOUGH_NS   400000
#define DOINGS      256 /* a power of two, well above the number of operations */
#define CONNECTIONS "connections"

/* Something that the loop does. */
struct doing {
    const char *what;           /* static; NULL: free */
    struct doing *next;         /* of this turn's */
    bool now;                   /* it is among this turn's */
    uint64_t ns;                /* in this turn */
    uint64_t total_ns;          /* in those before it */
    uint64_t longs, longest_ns; /* turns that were long because of it */
};

struct loop_watch {
    uv_prepare_t prepare;
    uint64_t wall_ns, idle_ns, cpu_ns; /* at the end of the last turn */
    struct histogram wall, cpu;
    struct doing doings[DOINGS];
    struct doing *turn, *at; /* turn: what has been done in it */
    uint64_t at_ns;
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

/* ---- what it does ---- */

static struct doing *doing_of(struct loop_watch *w, const char *what) {
    size_t i = (size_t)((uintptr_t)what * UINT64_C(0x9e3779b97f4a7c15) >> 56) % DOINGS;
    while (w->doings[i].what && w->doings[i].what != what)
        i = (i + 1) % DOINGS;
    struct doing *d = &w->doings[i];
    d->what = what;
    if (!d->now) {
        d->now = true;
        d->next = w->turn;
        w->turn = d;
    }
    return d;
}

const char *loop_at(struct manager *m, const char *what) {
    struct loop_watch *w = m->watch;
    const char *before = w->at->what;
    uint64_t now = uv_hrtime();
    w->at->ns += now - w->at_ns;
    w->at_ns = now;
    w->at = doing_of(w, what);
    return before;
}

bool loop_had_enough(struct manager *m, const char *what) {
    const struct doing *d = doing_of(m->watch, what);
    return d->ns > ENOUGH_NS;
}

/* waited: what of its time the loop waited, which "connections" has got. */
static void turn_end(struct loop_watch *w, uint64_t now, uint64_t waited, uint64_t cpu) {
    struct doing *most = w->at;
    w->at->ns += now - w->at_ns;
    w->at->ns -= waited < w->at->ns ? waited : w->at->ns;
    for (struct doing *d = w->turn; d; d = d->next)
        if (d->ns > most->ns)
            most = d;
    if (cpu > LONG_NS) {
        most->longs++;
        if (cpu > most->longest_ns) {
            most->longest_ns = cpu;
            log_debug("a turn of the loop took %.1f ms of processor time, most of it for %s", (double)cpu / 1e6,
                      most->what);
        }
    }
    for (struct doing *d = w->turn; d; d = d->next) {
        d->total_ns += d->ns;
        d->ns = 0;
        d->now = false;
    }
    w->turn = NULL;
    w->at = doing_of(w, CONNECTIONS);
    w->at_ns = now;
}

/* Just before the loop waits again: its turn is over. What it waited before it is no part of it. */
static void on_prepare(uv_prepare_t *p) {
    struct loop_watch *w = p->data;
    uint64_t wall = uv_hrtime(), idle = uv_metrics_idle_time(p->loop), cpu = thread_cpu_ns();
    if (w->wall_ns) {
        uint64_t waited = idle - w->idle_ns, passed = wall - w->wall_ns;
        add(&w->wall, passed > waited ? passed - waited : 0);
        add(&w->cpu, cpu - w->cpu_ns);
        turn_end(w, wall, waited, cpu - w->cpu_ns);
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
    w->at = doing_of(w, CONNECTIONS);
    w->at_ns = uv_hrtime();
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
    buf_adds(out,
             "# HELP tarn_loop_seconds_total What the event loop does, by the clock\n# TYPE tarn_loop_seconds_total "
             "counter\n");
    for (size_t i = 0; i < DOINGS; i++)
        if (w->doings[i].what)
            buf_addf(out, "tarn_loop_seconds_total{doing=\"%s\"} %.6f\n", w->doings[i].what,
                     (double)w->doings[i].total_ns / 1e9);
    buf_adds(out,
             "# HELP tarn_loop_long_turns_total Turns that took more than a millisecond of processor time, by what "
             "took most of it\n# TYPE tarn_loop_long_turns_total counter\n");
    for (size_t i = 0; i < DOINGS; i++)
        if (w->doings[i].longs)
            buf_addf(out, "tarn_loop_long_turns_total{most=\"%s\"} %llu\n", w->doings[i].what,
                     (unsigned long long)w->doings[i].longs);
    buf_adds(out,
             "# HELP tarn_loop_long_turn_seconds The longest of these\n# TYPE tarn_loop_long_turn_seconds gauge\n");
    for (size_t i = 0; i < DOINGS; i++)
        if (w->doings[i].longs)
            buf_addf(out, "tarn_loop_long_turn_seconds{most=\"%s\"} %.6f\n", w->doings[i].what,
                     (double)w->doings[i].longest_ns / 1e9);
}
