/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round the core: the store's answers and the clock go in, the effects come out. shell_pump() carries out all effects
 * before it returns; what one of them causes (an error of a connection, say) may call it again, which is left to the
 * outer call.
 */
#include "manager/agents.h"
#include "manager/history.h"
#include "manager/http.h"
#include "manager/loop.h"
#include "manager/stream.h"
#include "manager/work.h"
#include "os/log.h"
#include "store/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

int64_t manager_now(struct manager *m) { return (int64_t)uv_now(m->loop); }

int64_t manager_wall(void) {
    uv_timeval64_t t;
    uv_gettimeofday(&t);
    return t.tv_sec * 1000 + t.tv_usec / 1000;
}

void shell_time(struct manager *m) { core_set_time(m->core, manager_wall(), manager_now(m)); }

/* ---- the store ---- */

static void on_stored(void *ctx, uint64_t seq, int result) {
    struct manager *m = ctx;
    m->commits_out--;
    if (result == 0) {
        /* Tests only: dies right after the Nth commit is durable, before anything that follows from it. */
        if (++m->commits_done == m->crash_after)
            kill(getpid(), SIGKILL);
    } else {
        m->commits_failed++;
        if (!m->store_failed)
            log_error("the store takes no changes: %s; requests that change something are refused until it does",
                      strerror(-result));
        m->store_failed = true;
    }
    const char *before = loop_at(m, "commits");
    shell_time(m);
    core_stored(m->core, seq, result);
    shell_pump(m);
    loop_at(m, before);
}

static void do_commit(struct manager *m, struct core_effect *e) {
    if (m->store_failed && m->commits_out == 0) {
        /* The core tries again: everything handed out before has been reported. */
        store_reset_error(m->store);
        m->store_failed = false;
    }
    m->commits_out++;
    store_commit(m->store, e->seq, TAKE_PTR(e->batch));
}

/* ---- replies ---- */

/* The id of the object that a body shows: printed first. */
static void add_location(struct exchange *x, int status, const char *text) {
    static const char begin[] = "{\"id\":\"";
    if ((status != 201 && status != 202) || !text || strncmp(text, begin, sizeof begin - 1) != 0)
        return;
    const char *id = text + sizeof begin - 1;
    int kind = status == 202 ? API_KIND_JOB : x->op->kind;
    if (strcspn(id, "\"") == UUID_LEN && kind >= 0)
        buf_addf(&x->extra, "Location: " API_PREFIX "/%s/%.*s\r\n", api_kinds[kind].plural, UUID_LEN, id);
}

static void do_reply(struct manager *m, struct core_effect *e) {
    struct exchange *x = exchange_find(m, e->request);
    if (!x)
        return;
    if (x->on_reply) {
        x->on_reply(x, e->status, e->revision, TAKE_PTR(e->text));
        return;
    }
    add_location(x, e->status, e->text);
    exchange_reply(x, e->status, e->revision, TAKE_PTR(e->text));
}

/* ---- the pump ---- */

static void carry_out(struct manager *m, struct core_effect *e) {
    switch (e->kind) {
    case CORE_COMMIT:
        do_commit(m, e);
        break;
    case CORE_REPLY:
        do_reply(m, e);
        break;
    case CORE_SEND:
        agents_send(m, e->server, e->text);
        break;
    case CORE_PUBLISH:
        stream_publish(m, e->revision, e->object_kind, TAKE_PTR(e->text));
        break;
    case CORE_HISTORY:
        history_answer(m, e);
        break;
    case CORE_DROP:
        agents_drop(m, e->server);
        break;
    }
}

static void on_timer(uv_timer_t *t) {
    struct manager *m = t->data;
    const char *before = loop_at(m, "tick");
    shell_time(m);
    core_tick(m->core);
    shell_pump(m);
    loop_at(m, before);
}

static bool read_on(struct manager *m, struct work *w) {
    shell_time(m);
    core_work(m->core);
    shell_pump(m);
    return core_has_work(m->core);
}

void shell_pump(struct manager *m) {
    struct core_effect *e;
    if (m->pumping)
        return;
    m->pumping = true;
    while ((e = core_next_effect(m->core))) {
        carry_out(m, e);
        core_effect_free(e);
    }
    m->pumping = false;
    stream_flush(m);
    if (core_has_work(m->core))
        work_add(m, m->reads);
    int64_t deadline = core_next_deadline(m->core);
    if (deadline == INT64_MAX) {
        uv_timer_stop(&m->timer);
    } else {
        int64_t wait = deadline - manager_now(m);
        uv_timer_start(&m->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
    }
}

/* ---- start and stop ---- */

#define EVENTS_LOADED 2000 /* as many as the core keeps in memory */

struct loading {
    struct core *core;
    struct error *error;
};

static int load_event(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    struct loading *l = ctx;
    return core_load(l->core, key, value, len, l->error);
}

/* Events may be millions: only the newest are loaded, older ones are read from the store when somebody lists them. */
static int load_item(void *ctx, const char *key, const char *value, size_t len, int64_t revision) {
    return strncmp(key, "event/", 6) == 0 ? 0 : load_event(ctx, key, value, len, revision);
}

int shell_init(struct manager *m, struct error *e) {
    struct core_config config = {.version = TARN_VERSION};
    const char *after = getenv("TARN_TEST") ? getenv("TARN_CRASH_AFTER_COMMITS") : NULL;
    if (getrandom(config.seed, sizeof config.seed, 0) != sizeof config.seed)
        return error_set(e, ERR_INTERNAL, "no random numbers from the kernel");
    m->crash_after = after ? strtoull(after, NULL, 10) : 0;
    uv_timer_init(m->loop, &m->timer);
    m->timer.data = m;
    _cleanup_free_ char *path = xasprintf("%s/tarn.db", m->options->state);
    int r = store_open_sqlite(path, m->loop, on_stored, m, &m->store, e);
    if (r < 0)
        return r;
    m->reads = xcalloc(1, sizeof *m->reads);
    *m->reads = (struct work){.what = "long reads", .go = read_on};
    m->core = core_new(&config);
    shell_time(m);
    struct loading l = {m->core, e};
    r = store_load(m->store, "", load_item, &l, e);
    if (r == 0)
        r = store_load_before(m->store, "event/", NULL, EVENTS_LOADED, load_event, &l, e);
    if (r < 0)
        return e && e->code ? r : error_set(e, ERR_IO, "%s cannot be read: %s", path, strerror(-r));
    core_start(m->core, store_revision(m->store));
    return 0;
}

void shell_done(struct manager *m) {
    struct core_effect *e;
    store_close(m->store); /* what was asked for becomes durable, though nobody is told any more */
    m->store = NULL;
    while (m->core && (e = core_next_effect(m->core)))
        core_effect_free(e);
    core_free(m->core);
    m->core = NULL;
    if (m->reads)
        work_remove(m->reads);
    free(m->reads);
    m->reads = NULL;
}
