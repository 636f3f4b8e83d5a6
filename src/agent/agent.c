/* SPDX-License-Identifier: Apache-2.0 */
/* One server: events into the brain, effects out of it. */
#include "agent/agent.h"

#include "agent/cluster.h"
#include "agent/hardware.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
int64_t clock_mono_ms(void) { return clock_ms(CLOCK_MONOTONIC); }

/* TARN_TEST_CLOCK: seconds by which the clock is to be wrong, for tests. */
int64_t clock_wall_ms(void) {
    static int64_t wrong = -1;
    if (wrong == -1) {
        const char *s = getenv("TARN_TEST_CLOCK");
        wrong = s && str_eq(getenv("TARN_TEST"), "1") ? strtoll(s, NULL, 10) * 1000 : 0;
    }
    return clock_ms(CLOCK_REALTIME) + wrong;
}

uint64_t random_u64(void) {
    uint64_t v = 0;
    while (getrandom(&v, sizeof(v), 0) != sizeof(v)) {
    }
    return v;
}

/* For the crash tests: the process ends by SIGKILL after so many calls or commits, before anything is made of them. */
static void crash_after(const char *variable, int64_t *count) {
    if (*count == 0) {
        const char *n = getenv(variable);
        *count = n && str_eq(getenv("TARN_TEST"), "1") ? strtoll(n, NULL, 10) : -1;
    }
    if (*count > 0 && --*count == 0)
        kill(getpid(), SIGKILL);
}

/* ---- events and effects ---- */

void agent_begin(struct agent *a) { host_set_time(a->host, clock_wall_ms(), clock_mono_ms()); }

static void carry_out(struct agent *a, struct host_effect *e) {
    switch (e->kind) {
    case HOST_COMMIT:
        a->commits_waiting++;
        store_commit(a->store, e->seq, TAKE_PTR(e->batch));
        return;
    case HOST_SEND:
        connect_send(a, e->text);
        return;
    case HOST_CALL:
        dispatch_call(a, e->call, e->op, e->args);
        return;
    case HOST_CANCEL:
        dispatch_cancel(a, e->call);
        return;
    case HOST_CHANNEL:
        channel_open(a, e->args);
        return;
    case HOST_DROP:
        log_info("a new lease in the pool: the connection to the manager is made anew");
        connect_again(a);
        return;
    }
}

static void on_tick(uv_timer_t *timer) {
    struct agent *a = timer->data;
    agent_begin(a);
    host_tick(a->host);
    agent_end(a);
}

/* Effects that end at once (a memory store, a call that fails) come back here through agent_end: the outer loop has
   them. */
void agent_end(struct agent *a) {
    if (a->draining || a->closing)
        return;
    a->draining = true;
    struct host_effect *e;
    while ((e = host_next_effect(a->host))) {
        carry_out(a, e);
        host_effect_free(e);
    }
    a->draining = false;
    int64_t at = host_next_deadline(a->host);
    if (at == INT64_MAX) {
        uv_timer_stop(&a->tick);
        return;
    }
    uv_update_time(a->config.loop);
    int64_t delay = at - clock_mono_ms();
    uv_timer_start(&a->tick, on_tick, delay > 0 ? (uint64_t)delay : 1, 0);
}

static void on_stored(void *ctx, uint64_t seq, int result) {
    static int64_t commits_to_crash;
    struct agent *a = ctx;
    if (result == 0)
        crash_after("TARN_CRASH_AFTER_COMMITS", &commits_to_crash);
    if (result != a->store_error && result != 0)
        log_error("the agent's store cannot be written: %s; operations are refused until it can", strerror(-result));
    else if (result != a->store_error)
        log_info("the agent's store can be written again");
    a->store_error = result;
    if (--a->commits_waiting == 0 && result < 0)
        store_reset_error(a->store);
    agent_begin(a);
    host_stored(a->host, seq, result);
    agent_end(a);
}

void agent_call_done(struct agent *a, uint64_t call, const struct error *error, const json_t *result) {
    if (a->closing || dispatch_continue(a, call, error))
        return;
    agent_begin(a);
    cluster_refresh(a->cluster); /* it may tell of a guest's end: whether that came with the lease's */
    host_call_done(a->host, call, error, result);
    agent_end(a);
}

/* ---- what the drivers say ---- */

void agent_effect_done(void *ctx, uint64_t call, const struct error *error, const json_t *result) {
    static int64_t calls_to_crash;
    struct agent *a = ctx;
    if (dispatch_counts(a, call))
        crash_after("TARN_CRASH_AFTER_EFFECTS", &calls_to_crash);
    agent_call_done(a, call, error, result);
}

static void on_guest(void *ctx, const char *vm, enum guest_event event, const char *reason) {
    struct agent *a = ctx;
    if (a->closing)
        return;
    agent_begin(a);
    cluster_refresh(a->cluster); /* whether it died with the lease */
    const char *better = event == GUEST_DIED ? limits_why_died(a, vm) : NULL;
    host_guest_event(a->host, vm, event, better ? better : reason);
    agent_end(a);
}

static int on_gate(void *ctx, const struct api_guest_start *start, struct child_gate *ret, struct error *e) {
    struct agent *a = ctx;
    return cluster_gate(a->cluster, start, ret, e);
}

static void on_progress(void *ctx, uint64_t call, int percent, const char *message) {
    struct agent *a = ctx;
    agent_begin(a);
    host_call_progress(a->host, call, percent, message);
    agent_end(a);
}

static void on_guest_progress(void *ctx, uint64_t call, int percent, const char *message) {
    const struct agent *a = ctx;
    if (!a->closing)
        on_progress(ctx, call, percent, message);
}

static void on_repository(void *ctx, const struct api_repository_report *r) {
    struct agent *a = ctx;
    agent_begin(a);
    host_repository_state(a->host, r);
    agent_end(a);
}

static void on_probed(void *ctx, const struct api_hypervisor *info) {
    struct agent *a = ctx;
    if (a->closing)
        return;
    struct api_agent_server *s = &a->hello.server;
    if (s->n_hypervisors == 0) {
        s->hypervisors = xcalloc(1, sizeof(*s->hypervisors));
        s->n_hypervisors = 1;
    } else {
        api_hypervisor_done(&s->hypervisors[0]);
    }
    api_hypervisor_copy(&s->hypervisors[0], info);
    facts_take_driver(a);
    if (!a->config.sim)
        log_info("hypervisor %s %s, accelerator %s%s%s", info->driver, str_or(info->version, "(not usable)"),
                 str_or(info->accelerator, "none"), str_empty(info->reason) ? "" : ": ", str_or(info->reason, ""));
    agent_begin(a);
    host_set_hello(a->host, &a->hello);
    agent_end(a);
    if (a->connection_state == CONNECTION_OFF)
        connect_start(a);
}

/* ---- life ---- */

static int load_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct agent *a = ((void **)ctx)[0];
    return host_load(a->host, key, value, len, ((void **)ctx)[1]);
}

static int open_store(struct agent *a, struct error *e) {
    int r;
    if (a->config.sim) {
        r = store_open_memory(on_stored, a, &a->store);
    } else {
        _cleanup_free_ char *path = xasprintf("%s/agent.db", a->state_dir);
        mode_t mask = umask(077); /* guests' cloud-init data is in it */
        r = store_open_sqlite(path, a->config.loop, on_stored, a, &a->store, e);
        umask(mask);
    }
    if (r < 0)
        return r;
    struct host_config config = {.version = TARN_VERSION,
                                 .seed = {random_u64(), random_u64(), random_u64(), random_u64()}};
    a->host = host_new(&config);
    agent_begin(a);
    void *ctx[] = {a, e};
    return store_load(a->store, "", load_item, ctx, e);
}

static int open_drivers(struct agent *a, struct error *e) {
    static const struct hypervisor_events events = {
        .done = agent_effect_done,
        .guest = on_guest,
        .progress = on_guest_progress,
        .gate = on_gate,
        .groups = limits_groups,
    };
    _cleanup_free_ char *path = a->state_dir ? xasprintf("%s/guests", a->state_dir) : NULL;
    if (!a->config.sim) {
        int r = make_dirs(path, 0711);
        a->hypervisor_fd = r < 0 ? r : open_dir(path);
        if (a->hypervisor_fd < 0)
            return error_set(e, ERR_IO, "cannot make the directory %s: %s", path, strerror(-a->hypervisor_fd));
    }
    struct hypervisor_config config = {.loop = a->config.loop,
                                       .state_dirfd = a->hypervisor_fd,
                                       .state_path = path,
                                       .guest_user = a->config.guest_user,
                                       .events = &events,
                                       .ctx = a};
    int r = a->config.driver->open(&config, &a->hypervisor, e);
    if (r < 0)
        return r;
    if (a->config.sim) {
        a->sim_storage = sim_storage_new(a);
        return 0;
    }
    struct storage_config storage = {.loop = a->config.loop,
                                     .guest_user = a->config.guest_user,
                                     .done = agent_effect_done,
                                     .progress = on_progress,
                                     .repository = on_repository,
                                     .ctx = a};
    a->storage = storage_new(&storage);
    a->cluster = cluster_new(a);
    return 0;
}

static void describe(struct agent *a) {
    api_agent_hello_init(&a->hello);
    str_set(&a->hello.version, TARN_VERSION);
    a->hello.protocol = API_AGENT_PROTOCOL;
    str_set(&a->hello.server.name, a->identity.name);
    a->hello.has_server = true;
    a->hello.server.has_hardware = true;
    if (a->config.sim)
        facts_sim_hardware(a->config.number, &a->hello.server.hardware);
    else
        hardware_of_system(&a->hello.server.hardware);
}

int agent_new(const struct agent_config *config, struct agent **ret, struct error *e) {
    struct agent *a = xcalloc(1, sizeof(*a));
    a->config = *config;
    a->state_dir = xstrdup(config->state_dir);
    a->hypervisor_fd = -1;
    list_init(&a->channels);
    list_init(&a->notes);
    list_init(&a->fencings);
    uv_timer_t *timers[] = {&a->tick, &a->dial, &a->sample};
    for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
        uv_timer_init(config->loop, timers[i]);
        timers[i]->data = a;
    }
    *ret = a;
    int r = identity_load(a->state_dir, &a->identity, e);
    if (r < 0)
        return r;
    describe(a);
    addresses_load(a);
    limits_open(a);
    if ((r = open_store(a, e)) < 0 || (r = open_drivers(a, e)) < 0)
        return r;
    a->started = true;
    agent_begin(a);
    cluster_refresh(a->cluster);
    host_start(a->host);
    agent_end(a);
    stats_start(a);
    facts_watch(a);
    config->driver->probe(a->hypervisor, on_probed, a);
    return 0;
}

void agent_close(struct agent *a) {
    a->closing = true;
    stats_save(a);
    channel_close_all(a);
    connect_stop(a);
    hardware_watch_free(TAKE_PTR(a->hardware_watch));
    limits_close(a);
    uv_close((uv_handle_t *)&a->tick, NULL);
    uv_close((uv_handle_t *)&a->dial, NULL);
    uv_close((uv_handle_t *)&a->sample, NULL);
    store_close(a->store);
    a->store = NULL;
    if (a->hypervisor)
        a->config.driver->close(a->hypervisor);
    if (a->storage)
        storage_free(a->storage);
    if (a->sim_storage)
        sim_storage_free(a->sim_storage);
    cluster_close(a->cluster);
    dispatch_close(a);
}

void agent_free(struct agent *a) {
    host_free(a->host);
    stats_forget(a);
    if (a->started || a->hello.version)
        api_agent_hello_done(&a->hello);
    identity_done(&a->identity);
    api_agent_addresses_done(&a->addresses);
    free(a->dial_from);
    close_fd(&a->hypervisor_fd);
    free(a->state_dir);
    free(a->address);
    free(a);
}
