/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/stats.h"

#include "base/units.h"

#include <math.h>

#define VMS_MAX      4096 /* of one server */
#define TOP_FRESH_MS 1000

/* A server's clock that differs by more is wrong, until it differs by less than the other. */
#define CLOCK_WRONG_MS 30000
#define CLOCK_RIGHT_MS 10000

struct vm_entry {
    struct list link; /* in its server's */
    struct server_entry *server;
    char id[UUID_LEN + 1];
    uint64_t sample; /* the server's in which it was last seen */
    int64_t time_ms, memory;
    double cpu, disk_read, disk_write, net_receive, net_send;
};

struct server_entry {
    struct api_server_stats last;
    struct list vms;
    size_t n_vms;
    uint64_t sample;
    bool clock_wrong;
    struct stats_top top[STATS_METRICS][STATS_TOP_MAX]; /* of its last sample */
    size_t n_top[STATS_METRICS];
};

struct stats {
    struct map servers; /* id -> server_entry */
    struct map vms;     /* id, which is its own -> vm_entry */
    struct stats_top top[STATS_METRICS][STATS_TOP_MAX];
    size_t n_top[STATS_METRICS];
    int64_t top_at;    /* when top was made, ms; 0: never */
    int64_t totals_at; /* the same of these */
    double cpu;
    int64_t memory;
};

struct stats *stats_new(void) {
    struct stats *s = xcalloc(1, sizeof *s);
    s->vms.borrows = true;
    return s;
}

static void vm_drop(struct stats *s, struct vm_entry *v) {
    map_remove(&s->vms, v->id);
    list_remove(&v->link);
    v->server->n_vms--;
    free(v);
}

static void server_drop(struct stats *s, const char *id, struct server_entry *server) {
    struct vm_entry *v, *tmp;
    list_for_each_safe(v, tmp, &server->vms, link) { vm_drop(s, v); }
    map_remove(&s->servers, id);
    api_server_stats_done(&server->last);
    free(server);
}

void stats_free(struct stats *s) {
    if (!s)
        return;
    size_t pos = 0;
    const char *id;
    void *server;
    while (map_next(&s->servers, &pos, &id, &server))
        server_drop(s, id, server);
    map_done(&s->servers);
    map_done(&s->vms);
    free(s);
}

void stats_forget(struct manager *m, const char *server) {
    struct server_entry *entry = map_get(&m->stats->servers, server);
    if (entry)
        server_drop(m->stats, server, entry);
}

/* Of a virtual machine only its own server tells: while it moves both may, and one that lies has nothing to say. */
static void vm_store(struct manager *m, const char *from, struct server_entry *server, const struct api_vm_stats *in) {
    struct stats *s = m->stats;
    const struct api_vm *vm = core_vm(m->core, in->vm);
    struct vm_entry *v = vm ? map_get(&s->vms, vm->id) : NULL;
    if (!vm || !str_eq(vm->server, from) || !str_eq(vm->id, in->vm))
        return;
    if (v && v->server != server)
        vm_drop(s, TAKE_PTR(v)); /* it has come from there */
    if (!v) {
        if (server->n_vms >= VMS_MAX)
            return;
        v = xcalloc(1, sizeof *v);
        v->server = server;
        snprintf(v->id, sizeof v->id, "%s", in->vm);
        map_put(&s->vms, v->id, v);
        list_append(&server->vms, &v->link);
        server->n_vms++;
    }
    v->sample = server->sample;
    if (time_parse(in->time, &v->time_ms) < 0)
        v->time_ms = manager_wall();
    v->memory = in->memory;
    v->cpu = in->cpu;
    v->disk_read = in->disk_read;
    v->disk_write = in->disk_write;
    v->net_receive = in->net_receive;
    v->net_send = in->net_send;
}

/* ---- who uses most ---- */

static double metric_of(const struct vm_entry *v, enum stats_metric metric) {
    switch (metric) {
    case STATS_CPU:
        return v->cpu;
    case STATS_MEMORY:
        return (double)v->memory;
    case STATS_DISK:
        return v->disk_read + v->disk_write;
    default:
        return v->net_receive + v->net_send;
    }
}

/* Puts one among the greatest so far. */
static void top_add(struct stats_top top[static STATS_TOP_MAX], size_t *n, const char *vm, double value) {
    if (!(value > 0) || (*n == STATS_TOP_MAX && value <= top[*n - 1].value))
        return;
    size_t at = *n < STATS_TOP_MAX ? (*n)++ : *n - 1;
    for (; at > 0 && top[at - 1].value < value; at--)
        top[at] = top[at - 1];
    snprintf(top[at].vm, sizeof top[at].vm, "%s", vm);
    top[at].value = value;
}

/* For each server when its sample comes, so that nobody walks all virtual machines for those of all servers. */
static void top_of_server(struct server_entry *entry) {
    const struct vm_entry *v;
    memset(entry->n_top, 0, sizeof entry->n_top);
    list_for_each(v, &entry->vms, link) for (int metric = 0; metric < STATS_METRICS; metric++)
        top_add(entry->top[metric], &entry->n_top[metric], v->id, metric_of(v, (enum stats_metric)metric));
}

static bool top_has(const struct stats_top *top, size_t n, const char *vm) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(top[i].vm, vm))
            return true;
    return false;
}

static void top_merge(struct stats_top top[static STATS_TOP_MAX], size_t *n, const struct server_entry *entry,
                      enum stats_metric metric) {
    for (size_t i = 0; i < entry->n_top[metric]; i++) {
        const struct stats_top *t = &entry->top[metric][i];
        if (*n == STATS_TOP_MAX && t->value <= top[*n - 1].value)
            break;
        if (!top_has(top, *n, t->vm)) /* one that has moved may still be in the last sample of where it was */
            top_add(top, n, t->vm, t->value);
    }
}

/* ---- samples ---- */

static void check_clock(struct manager *m, struct server_entry *entry) {
    const struct api_server *s = core_server(m->core, entry->last.server);
    int64_t theirs;
    if (!s || time_parse(entry->last.time, &theirs) < 0)
        return;
    int64_t off = theirs - manager_wall(), by = off < 0 ? -off : off;
    bool wrong = by > (entry->clock_wrong ? CLOCK_RIGHT_MS : CLOCK_WRONG_MS);
    if (wrong == entry->clock_wrong && entry->sample > 1)
        return;
    entry->clock_wrong = wrong;
    _cleanup_free_ char *message =
        wrong ? xasprintf("The clock of server %s is %lld s %s the manager's: let both follow a time server (NTP)",
                          s->name, (long long)(by / 1000), off < 0 ? "behind" : "ahead of")
              : NULL;
    shell_time(m);
    core_condition(m->core, API_SEVERITY_WARNING, API_KIND_SERVER, s->id, "server.clock", message);
    shell_pump(m);
}

void stats_sample(struct manager *m, const char *server, const struct api_stats_sample *sample) {
    struct stats *s = m->stats;
    struct server_entry *entry = map_get(&s->servers, server);
    if (!entry) {
        entry = xcalloc(1, sizeof *entry);
        list_init(&entry->vms);
        api_server_stats_init(&entry->last);
        map_put(&s->servers, server, entry);
    }
    entry->sample++;
    api_server_stats_done(&entry->last);
    api_server_stats_copy(&entry->last, &sample->server);
    str_set(&entry->last.server, server);
    check_clock(m, entry);
    core_server_load(m->core, server, entry->last.cpu, entry->last.net_receive + entry->last.net_send);
    for (size_t i = 0; i < sample->n_vms; i++)
        vm_store(m, server, entry, &sample->vms[i]);
    struct vm_entry *v, *tmp;
    list_for_each_safe(v, tmp, &entry->vms, link) {
        if (v->sample != entry->sample)
            vm_drop(s, v);
    }
    top_of_server(entry);
}

/* ---- totals ---- */

static bool in_pool(const struct manager *m, const char *server, const char *pool) {
    const struct api_server *s = pool ? core_server(m->core, server) : NULL;
    return !pool || (s && str_eq(s->pool, pool));
}

static void add_totals(struct manager *m, const char *pool, double *ret_cpu, int64_t *ret_memory) {
    size_t pos = 0;
    const char *id;
    void *value;
    *ret_cpu = 0;
    *ret_memory = 0;
    while (map_next(&m->stats->servers, &pos, &id, &value)) {
        const struct server_entry *entry = value;
        if (!in_pool(m, id, pool))
            continue;
        *ret_cpu += entry->last.cpu;
        if (entry->last.memory_used > 0 && *ret_memory < JSON_TAME_NUMBER * 64)
            *ret_memory += entry->last.memory_used;
    }
}

/* What is of everything is at most a second old, however many look at a dashboard. */
static bool is_fresh(int64_t at, int64_t now) { return at && now - at < TOP_FRESH_MS; }

void stats_totals(struct manager *m, const char *pool, double *ret_cpu, int64_t *ret_memory) {
    struct stats *s = m->stats;
    int64_t now = manager_now(m);
    if (pool) {
        add_totals(m, pool, ret_cpu, ret_memory);
        return;
    }
    if (!is_fresh(s->totals_at, now)) {
        s->totals_at = now;
        add_totals(m, NULL, &s->cpu, &s->memory);
    }
    *ret_cpu = s->cpu;
    *ret_memory = s->memory;
}

static void top_make(struct stats *s, int64_t now) {
    if (is_fresh(s->top_at, now))
        return;
    s->top_at = now;
    memset(s->n_top, 0, sizeof s->n_top);
    size_t pos = 0;
    void *value;
    while (map_next(&s->servers, &pos, NULL, &value))
        for (int metric = 0; metric < STATS_METRICS; metric++)
            top_merge(s->top[metric], &s->n_top[metric], value, (enum stats_metric)metric);
}

static size_t top_of_pool(struct manager *m, const char *pool, enum stats_metric metric,
                          struct stats_top ret[static STATS_TOP_MAX]) {
    size_t pos = 0, n = 0;
    const char *id;
    void *value;
    while (map_next(&m->stats->servers, &pos, &id, &value))
        if (in_pool(m, id, pool))
            top_merge(ret, &n, value, metric);
    return n;
}

size_t stats_top(struct manager *m, const char *pool, enum stats_metric metric,
                 struct stats_top ret[static STATS_TOP_MAX]) {
    struct stats *s = m->stats;
    if (pool)
        return top_of_pool(m, pool, metric, ret);
    top_make(s, manager_now(m));
    memcpy(ret, s->top[metric], s->n_top[metric] * sizeof *ret);
    return s->n_top[metric];
}

/* ---- handlers ---- */

void stats_server(struct exchange *x) {
    const struct api_server *server = core_server(x->m->core, x->route.params[0]);
    struct server_entry *entry = server ? map_get(&x->m->stats->servers, server->id) : NULL;
    if (!server)
        exchange_fail(x, ERR_NOT_FOUND, "there is no server %s", x->route.params[0]);
    else if (!entry)
        exchange_fail(x, ERR_NOT_FOUND, "there is no sample of the server %s: %s", server->name,
                      core_agent_is_connected(x->m->core, server->id) ? "it has just connected" : "it is offline");
    else
        exchange_reply_json(x, 200, 0, api_server_stats_print(&entry->last, API_PUBLIC));
}

static json_t *vm_json(const struct vm_entry *v) {
    char time[TIME_TEXT_MAX];
    struct api_vm_stats out;
    api_vm_stats_init(&out);
    str_set(&out.vm, v->id);
    str_set(&out.time, time_format(v->time_ms, time));
    out.cpu = v->cpu;
    out.memory = v->memory;
    out.disk_read = v->disk_read;
    out.disk_write = v->disk_write;
    out.net_receive = v->net_receive;
    out.net_send = v->net_send;
    json_t *j = api_vm_stats_print(&out, API_PUBLIC);
    api_vm_stats_done(&out);
    return j;
}

void stats_vm(struct exchange *x) {
    const struct api_vm *vm = core_vm(x->m->core, x->route.params[0]);
    struct vm_entry *v = vm ? map_get(&x->m->stats->vms, vm->id) : NULL;
    if (!vm)
        exchange_fail(x, ERR_NOT_FOUND, "there is no virtual machine %s", x->route.params[0]);
    else if (!v)
        exchange_fail(x, ERR_NOT_FOUND, "there is no sample of the virtual machine %s: it is %s", vm->name,
                      api_vm_state_text(vm->state));
    else
        exchange_reply_json(x, 200, 0, vm_json(v));
}

/* ---- metrics ---- */

/* A label's value. */
static void add_label(struct buf *out, const char *s) {
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_addc(out, '\\');
        buf_addc(out, *s);
    }
}

static const struct {
    const char *name, *help;
    size_t offset;
    bool integer;
} server_gauges[] =
    {
        {"cpu", "CPUs in use", offsetof(struct api_server_stats, cpu), false},
        {"memory_used_bytes", "Memory in use", offsetof(struct api_server_stats, memory_used), true},
        {"memory_total_bytes", "Memory in all", offsetof(struct api_server_stats, memory_total), true},
        {"disk_read_bytes_per_second", "Read from disks", offsetof(struct api_server_stats, disk_read), false},
        {"disk_write_bytes_per_second", "Written to disks", offsetof(struct api_server_stats, disk_write), false},
        {"net_receive_bytes_per_second", "Received", offsetof(struct api_server_stats, net_receive), false},
        {"net_send_bytes_per_second", "Sent", offsetof(struct api_server_stats, net_send), false},
        {"agent_memory_bytes", "Resident memory of tarn-agent", offsetof(struct api_server_stats, agent_memory), true},
},
  vm_gauges[] = {
      {"cpu", "CPUs in use", offsetof(struct vm_entry, cpu), false},
      {"memory_bytes", "Resident memory of its process", offsetof(struct vm_entry, memory), true},
      {"disk_read_bytes_per_second", "Read from disks", offsetof(struct vm_entry, disk_read), false},
      {"disk_write_bytes_per_second", "Written to disks", offsetof(struct vm_entry, disk_write), false},
      {"net_receive_bytes_per_second", "Received", offsetof(struct vm_entry, net_receive), false},
      {"net_send_bytes_per_second", "Sent", offsetof(struct vm_entry, net_send), false},
};

static void add_value(struct buf *out, const void *entry, size_t offset, bool integer) {
    const char *p = (const char *)entry + offset;
    if (integer)
        buf_addf(out, "\"} %lld\n", (long long)*(const int64_t *)(const void *)p);
    else
        buf_addf(out, "\"} %.6g\n", *(const double *)(const void *)p);
}

/*
 * The lines of a metric stand together, but what is walked over are servers, each with its virtual machines: so each
 * metric has a text of its own. Servers that come while it goes on are left out.
 */
struct stats_text {
    char (*servers)[UUID_LEN + 1];
    size_t n, at;
    struct buf server[ARRAY_LEN(server_gauges)], vm[ARRAY_LEN(vm_gauges)];
};

struct stats_text *stats_text_new(const struct stats *s, bool vms) {
    struct stats_text *t = xcalloc(1, sizeof *t);
    const char *id;
    t->servers = xcalloc(map_count(&s->servers) + 1, sizeof *t->servers);
    for (size_t pos = 0; map_next(&s->servers, &pos, &id, NULL);)
        snprintf(t->servers[t->n++], sizeof *t->servers, "%s", id);
    for (size_t g = 0; g < ARRAY_LEN(server_gauges); g++)
        buf_addf(&t->server[g], "# HELP tarn_server_%s %s\n# TYPE tarn_server_%s gauge\n", server_gauges[g].name,
                 server_gauges[g].help, server_gauges[g].name);
    for (size_t g = 0; vms && g < ARRAY_LEN(vm_gauges); g++)
        buf_addf(&t->vm[g], "# HELP tarn_vm_%s %s\n# TYPE tarn_vm_%s gauge\n", vm_gauges[g].name, vm_gauges[g].help,
                 vm_gauges[g].name);
    return t;
}

static void text_add_vm(struct stats_text *t, struct manager *m, const struct vm_entry *v) {
    const struct api_vm *vm = core_vm(m->core, v->id);
    for (size_t g = 0; g < ARRAY_LEN(vm_gauges); g++) {
        const char *figure = (const char *)v + vm_gauges[g].offset;
        if (!vm_gauges[g].integer && isnan(*(const double *)(const void *)figure))
            continue; /* not known */
        buf_addf(&t->vm[g], "tarn_vm_%s{vm=\"", vm_gauges[g].name);
        add_label(&t->vm[g], vm ? vm->name : v->id);
        add_value(&t->vm[g], v, vm_gauges[g].offset, vm_gauges[g].integer);
    }
}

bool stats_text_go(struct stats_text *t, const struct stats *s, struct manager *m) {
    if (t->at == t->n)
        return false;
    const char *id = t->servers[t->at++];
    const struct server_entry *entry = map_get(&s->servers, id);
    const struct api_server *server = core_server(m->core, id);
    for (size_t g = 0; entry && g < ARRAY_LEN(server_gauges); g++) {
        buf_addf(&t->server[g], "tarn_server_%s{server=\"", server_gauges[g].name);
        add_label(&t->server[g], server ? server->name : id);
        add_value(&t->server[g], &entry->last, server_gauges[g].offset, server_gauges[g].integer);
    }
    const struct vm_entry *v;
    if (entry && t->vm[0].len)
        list_for_each(v, &entry->vms, link) text_add_vm(t, m, v);
    return true;
}

bool stats_text_take(struct stats_text *t, struct buf *out) {
    for (size_t g = 0; g < ARRAY_LEN(server_gauges) + ARRAY_LEN(vm_gauges); g++) {
        struct buf *b = g < ARRAY_LEN(server_gauges) ? &t->server[g] : &t->vm[g - ARRAY_LEN(server_gauges)];
        if (!b->len)
            continue;
        buf_add(out, b->data, b->len);
        buf_done(b);
        return true;
    }
    return false;
}

void stats_text_free(struct stats_text *t) {
    _cleanup_buf_ struct buf rest = {0};
    while (t && stats_text_take(t, &rest))
        ;
    if (t)
        free(t->servers);
    free(t);
}
