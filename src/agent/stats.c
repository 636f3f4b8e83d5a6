/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics: every 2 s the counters of the machine and of the guests, as rates, to the manager, which keeps the last
 * ones; what they were over a day is in history.c.
 */
#include "agent/agent.h"
#include "agent/history.h"

#include "base/units.h"
#include "os/file.h"
#include "os/log.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define SAMPLE_MS 2000
#define TRIM_AGAIN 30 /* samples: a minute */
#define SAVE_AGAIN 450 /* samples: a quarter of an hour */

#define HISTORY_FILE "history"
#define HISTORY_MAX  (256 * 1024 * 1024)

struct server_sample {
    int64_t at; /* mono, ms */
    double cpu; /* seconds */
    double disk_read, disk_write, net_receive, net_send;
};

struct sampled {
    int64_t at;
    struct api_vm_stats totals; /* its strings are not used */
    bool seen;
};

/* ---- the machine ---- */

static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

static void sample_cpu(struct server_sample *s) {
    _cleanup_free_ char *text = facts_read("/proc/stat");
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    if (text && sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq,
                       &softirq, &steal) == 8)
        s->cpu = (double)(user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
}

/* Whole disks only: what a partition does is counted in its disk too. */
static bool is_disk(const char *name) {
    _cleanup_free_ char *path = xasprintf("/sys/block/%s/device", name);
    return access(path, F_OK) == 0;
}

static void sample_disks(struct server_sample *s) {
    _cleanup_free_ char *text = facts_read("/proc/diskstats");
    for (const char *line = text; line && *line; line = next_line(line)) {
        char name[64];
        unsigned long long read, written;
        if (sscanf(line, " %*u %*u %63s %*u %*u %llu %*u %*u %*u %llu", name, &read, &written) != 3 || !is_disk(name))
            continue;
        s->disk_read += (double)read * 512;
        s->disk_write += (double)written * 512;
    }
}

static void sample_net(struct server_sample *s) {
    _cleanup_free_ char *text = facts_read("/proc/net/dev");
    for (const char *line = text; line && *line; line = next_line(line)) {
        char name[64];
        unsigned long long in, out;
        if (sscanf(line, " %63[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &in, &out) != 3 || str_eq(name, "lo"))
            continue;
        s->net_receive += (double)in;
        s->net_send += (double)out;
    }
}

static int64_t meminfo(const char *text, const char *key) {
    const char *line = text ? strstr(text, key) : NULL;
    return line ? strtoll(line + strlen(key), NULL, 10) * 1024 : 0;
}

static int64_t own_memory(void) {
    _cleanup_free_ char *text = facts_read("/proc/self/statm");
    long long pages = 0;
    if (!text || sscanf(text, "%*u %lld", &pages) != 1)
        return 0;
    return pages * sysconf(_SC_PAGESIZE);
}

static void fill_server(struct agent *a, struct api_server_stats *ret) {
    struct server_sample s = {.at = clock_mono_ms()};
    sample_cpu(&s);
    sample_disks(&s);
    sample_net(&s);
    _cleanup_free_ char *memory = facts_read("/proc/meminfo"), *load = facts_read("/proc/loadavg");
    ret->memory_total = meminfo(memory, "MemTotal:");
    ret->memory_used = ret->memory_total - meminfo(memory, "MemAvailable:");
    ret->load = load ? strtod(load, NULL) : 0;
    ret->agent_memory = own_memory();
    const struct server_sample *old = a->last_sample;
    if (old && s.at > old->at) {
        double t = (double)(s.at - old->at) / 1000;
        ret->cpu = (s.cpu - old->cpu) / t;
        ret->disk_read = (s.disk_read - old->disk_read) / t;
        ret->disk_write = (s.disk_write - old->disk_write) / t;
        ret->net_receive = (s.net_receive - old->net_receive) / t;
        ret->net_send = (s.net_send - old->net_send) / t;
    }
    free(a->last_sample);
    a->last_sample = xmemdup(&s, sizeof(s));
}

/* A simulated server's load is the sum of its guests'. */
static void fill_sim_server(struct agent *a, const struct api_stats_sample *sample, struct api_server_stats *ret) {
    ret->memory_total = a->hello.server.hardware.memory;
    ret->memory_used = (int64_t)2 << 30;
    ret->cpu = 0.1;
    for (size_t i = 0; i < sample->n_vms; i++) {
        const struct api_vm_stats *v = &sample->vms[i];
        ret->cpu += v->cpu;
        ret->memory_used += v->memory;
        ret->disk_read += v->disk_read;
        ret->disk_write += v->disk_write;
        ret->net_receive += v->net_receive;
        ret->net_send += v->net_send;
    }
    ret->load = ret->cpu;
    ret->agent_memory = (int64_t)8 << 20;
}

/* ---- the guests ---- */

struct collect {
    struct agent *a;
    struct api_stats_sample *sample;
    size_t cap;
    int64_t now, wall_s;
    char time[TIME_TEXT_MAX];
};

static double rate(double now, double before, double seconds) {
    if (isnan(now) || isnan(before))
        return NAN;
    return now >= before && seconds > 0 ? (now - before) / seconds : 0;
}

static void add_vm(struct collect *c, const char *vm, const struct api_vm_stats *t, const struct sampled *old) {
    struct api_stats_sample *sample = c->sample;
    if (sample->n_vms == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        sample->vms = xreallocarray(sample->vms, c->cap, sizeof(*sample->vms));
    }
    double s = old ? (double)(c->now - old->at) / 1000 : 0;
    struct api_vm_stats zero = {0};
    const struct api_vm_stats *b = old ? &old->totals : &zero;
    sample->vms[sample->n_vms++] = (struct api_vm_stats){.vm = (char *)vm,
                                                         .time = c->time,
                                                         .cpu = rate(t->cpu, b->cpu, s),
                                                         .memory = t->memory,
                                                         .disk_read = rate(t->disk_read, b->disk_read, s),
                                                         .disk_write = rate(t->disk_write, b->disk_write, s),
                                                         .net_receive = rate(t->net_receive, b->net_receive, s),
                                                         .net_send = rate(t->net_send, b->net_send, s)};
    const struct api_vm_stats *v = &sample->vms[sample->n_vms - 1];
    if (old) /* a rate takes two */
        history_add(c->a->history, vm, c->wall_s,
                    (double[]){v->cpu, (double)v->memory, v->disk_read, v->disk_write, v->net_receive, v->net_send});
}

static void sample_guest(void *ctx, const char *vm, enum api_vm_state state) {
    struct collect *c = ctx;
    struct agent *a = c->a;
    if (state != API_VM_STATE_RUNNING && state != API_VM_STATE_SUSPENDED && state != API_VM_STATE_STOPPING)
        return;
    struct api_vm_stats totals = {.net_receive = NAN, .net_send = NAN}; /* not every network tells */
    if (a->config.driver->sample(a->hypervisor, vm, &totals) < 0)
        return;
    struct sampled *s = map_get(&a->sampled, vm);
    add_vm(c, vm, &totals, s);
    free(TAKE_PTR(totals.vm)); /* only the numbers are kept */
    free(TAKE_PTR(totals.time));
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        map_put(&a->sampled, vm, s);
    }
    *s = (struct sampled){.at = c->now, .totals = totals, .seen = true};
}

static void forget_unseen(struct agent *a) {
    size_t pos = 0;
    const char *vm;
    void *value;
    while (map_next(&a->sampled, &pos, &vm, &value)) {
        struct sampled *s = value;
        if (s->seen) {
            s->seen = false;
            continue;
        }
        map_remove(&a->sampled, vm);
        free(s);
    }
}

void stats_forget(struct agent *a) {
    size_t pos = 0;
    void *value;
    while (map_next(&a->sampled, &pos, NULL, &value))
        free(value);
    map_done(&a->sampled);
    free(a->last_sample);
    history_free(a->history);
}

/* ---- history ---- */

void stats_save(struct agent *a) {
    a->save_in = SAVE_AGAIN;
    if (a->config.sim || !a->history)
        return;
    _cleanup_buf_ struct buf out = {0};
    history_trim(a->history, clock_wall_ms() / 1000);
    history_save(a->history, &out);
    int dir = open_dir(a->state_dir);
    int r = dir < 0 ? dir : write_file_at(dir, HISTORY_FILE, out.data, out.len, 0600);
    close_fd(&dir);
    if (r < 0)
        log_warning("the history of what guests used cannot be saved: %s", strerror(-r));
}

static void history_open(struct agent *a) {
    a->history = history_new();
    a->save_in = SAVE_AGAIN;
    _cleanup_free_ char *data = NULL;
    size_t len = 0;
    int dir = a->config.sim ? -1 : open_dir(a->state_dir);
    if (dir >= 0 && read_file_at(dir, HISTORY_FILE, HISTORY_MAX, &data, &len) >= 0) {
        history_load(a->history, data, len);
        history_trim(a->history, clock_wall_ms() / 1000);
    }
    close_fd(&dir);
}

void stats_answer(struct agent *a, const json_t *message) {
    struct api_metrics_get get;
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_json_ json_t *id = json_string(json_str(message, "id")), *problem = NULL;
    _cleanup_free_ char *id_text = json_text(id), *problem_text = NULL;
    _cleanup_buf_ struct buf out = {0};
    if (api_metrics_get_parse(json_object_get(message, "args"), API_PEER, &get, &e) < 0) {
        problem = error_print(&e);
        problem_text = json_text(problem);
        buf_addf(&out, "{\"id\":%s,\"ok\":false,\"error\":%s}", id_text, problem_text);
    } else {
        buf_addf(&out, "{\"id\":%s,\"ok\":true,\"result\":", id_text);
        history_print(a->history, get.vm, get.range, clock_wall_ms() / 1000, &out);
        buf_addc(&out, '}');
        api_metrics_get_done(&get);
    }
    connect_send(a, out.data);
}

static void send_sample(struct agent *a, const struct api_stats_sample *sample) {
    _cleanup_buf_ struct buf frame = {0};
    buf_addf(&frame, "{\"event\":\"%s\",\"args\":", api_agent_events[API_AGENT_EVENT_STATS].name);
    api_stats_sample_write(sample, API_PUBLIC, &frame);
    buf_addc(&frame, '}');
    connect_send(a, frame.data);
}

static void on_sample(uv_timer_t *timer);

/*
 * Simulated servers of one process take turns. Each time is counted from the beginning, not from the last one: timers
 * that were late together, after the process had stood still, would fall due together ever after.
 */
static void sample_next(struct agent *a) {
    uint64_t own = (uint64_t)a->config.number * 37 % SAMPLE_MS, now = uv_now(a->config.loop);
    uv_timer_start(&a->sample, on_sample, SAMPLE_MS - (now + SAMPLE_MS - own) % SAMPLE_MS, 0);
}

static void on_sample(uv_timer_t *timer) {
    struct agent *a = timer->data;
    sample_next(a);
    channel_check_all(a);
    limits_sweep(a);
    if (a->trim_in && --a->trim_in == 0) {
        trim_memory();
        a->trim_in = TRIM_AGAIN;
    }
    if (--a->save_in == 0)
        stats_save(a);
    struct api_stats_sample sample = {.has_server = true};
    int64_t wall = clock_wall_ms();
    struct collect c = {.a = a, .sample = &sample, .now = clock_mono_ms(), .wall_s = wall / 1000};
    time_format(wall, c.time);
    host_each_guest(a->host, sample_guest, &c);
    forget_unseen(a);
    sample.server.server = a->identity.server;
    sample.server.time = c.time;
    bool known = a->last_sample || a->config.sim;
    if (a->config.sim)
        fill_sim_server(a, &sample, &sample.server);
    else
        fill_server(a, &sample.server);
    if (known)
        history_add(a->history, "", c.wall_s,
                    (double[]){sample.server.cpu, (double)sample.server.memory_used, sample.server.disk_read,
                               sample.server.disk_write, sample.server.net_receive, sample.server.net_send});
    if (a->connection_state == CONNECTION_WELCOME)
        send_sample(a, &sample);
    free(sample.vms);
}

void stats_start(struct agent *a) {
    history_open(a);
    sample_next(a);
}
