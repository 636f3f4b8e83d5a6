/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of a migration:
 *
 *     look ─▶ settle ─▶ mirror disks ─▶ pause (TCG) ─▶ migrate ─▶ pre-switchover ─▶ finish mirrors ─▶ continue ─▶ done
 *       └──────┴────────────┴───────────────┴─────────────┴──────────────┴─────────── (fails) ──▶ take back ─▶ error
 *
 * "Take back" ends the migration and the mirrors and lets the guest go on, if it ran; unsend does the same.
 */
#include "agent/hypervisor/qemu_move.h"

#include "base/address.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/units.h"

#include <string.h>

#define POLL_MS          100
#define POLL_DISKS_MS    200
#define EMPTY_POLLS      20 /* "completed", and no figures yet */
#define BACK_POLLS       300
#define BACK_YANK        20
#define CONNECT_S        5     /* QEMU does nothing else meanwhile, and without a limit waits for TCP to give up */
#define STILL_MS         20000 /* nothing has gone through for so long … */
#define STILL_PAUSED_MS  8000  /* … and for one that waits for it … */
#define STILL_POLLS      50    /* … and it is not that nobody has looked */
#define RELEASE_MS       30000
#define POST_COPY_ROUNDS 3 /* over its memory, each after what has changed in the last */

static void send_poll(struct qemu_move *m);
static void take_back(struct qemu_move *m, move_then *then);

static json_t *named(const char *key, const char *name) { return json_pack("{s:s}", key, name); }

/* ---- offer ---- */

static void on_machine(struct qemu_move *m, const struct error *error, const json_t *result) {
    const char *type = error ? "" : str_or(json_string_value(result), "");
    size_t n = strlen(type), end = strlen("-machine");
    bool suffix = n > end && strcmp(type + n - end, "-machine") == 0;
    str_take(&m->machine, xstrndup(type, suffix ? n - end : n));
}

static void on_version(struct qemu_move *m, const struct error *error, const json_t *result) {
    const json_t *v = json_object_get(result, "qemu");
    str_take(&m->version, xasprintf("%d.%d.%d", (int)json_int(v, "major", 0), (int)json_int(v, "minor", 0),
                                    (int)json_int(v, "micro", 0)));
}

static void on_blockers(struct qemu_move *m, const struct error *error, const json_t *result) {
    const json_t *reasons = json_object_get(result, "blocked-reasons");
    if (error || !json_array_size(reasons) || m->why.code != ERR_OK)
        return;
    error_set(&m->why, ERR_UNSUPPORTED, "the guest has a device that cannot move: %.300s",
              str_or(json_string_value(json_array_get(reasons, 0)), "?"));
    qmp_text_clean(m->why.message);
}

static void offer_looked(struct qemu_move *m, const struct error *error) {
    if (m->why.code != ERR_OK)
        error = &m->why;
    struct api_guest_offered r = {.vm = m->g->vm,
                                  .certificate = m->certificate ? m->certificate : (char *)"",
                                  .machine = m->machine,
                                  .accelerator = (char *)(m->kvm ? "kvm" : "tcg"),
                                  .version = m->version};
    move_finish(m, error, error ? NULL : api_guest_offered_print(&r, API_PUBLIC));
}

/* Whether it can be sent: a guest that is there and whose monitor answers. */
static bool is_there(struct guest *g, uint64_t call) {
    int r = guest_take_up(g);
    if (r == 0 && (g->phase == GUEST_IS_RUNNING || g->phase == GUEST_IS_PAUSED) && qmp_is_open(g->qmp))
        return true;
    if (r == 0 && (g->phase == GUEST_FINDING || !qmp_is_open(g->qmp)))
        guest_call_fail(g, call, ERR_UNAVAILABLE, "QEMU's monitor does not answer; the guest cannot be moved");
    else
        guest_call_fail(g, call, ERR_CONFLICT, "the guest does not run");
    return false;
}

void qemu_move_offer(struct guest *g, uint64_t call, const struct api_guest_offer *a) {
    guest_hold(g);
    if (is_there(g, call)) {
        struct qemu_move *m = qemu_move_get(g);
        _cleanup_error_ struct error e = ERROR_INIT;
        move_begin(m, MOVE_OFFERING, call);
        m->arriving = false;
        str_take(&m->certificate, NULL);
        if (a->tls && move_credentials_make(g, a->move, false, &m->certificate, &e) < 0) {
            move_finish(m, &e, NULL);
        } else {
            move_look(m);
            move_ask(m, "query-migrate", NULL, on_blockers);
            move_ask(m, "query-version", NULL, on_version);
            move_ask(m, "qom-get", json_pack("{s:s, s:s}", "path", "/machine", "property", "type"), on_machine);
            move_run(m, offer_looked);
        }
    }
    guest_release(g);
}

/* ---- failing ---- */

static void taken_back(struct qemu_move *m, const struct error *error) {
    /* What could not be done now, unsend does again. */
    move_finish(m, &m->why, NULL);
}

static void fail(struct qemu_move *m, enum error_code code, const char *message) {
    if (m->why.code == ERR_OK)
        error_set(&m->why, code, "%s", message);
    take_back(m, taken_back);
}

static void fail_stalled(struct qemu_move *m) {
    _cleanup_free_ char *text = xasprintf(
        "nothing has reached the other server at %s for %d s: is the network between the servers whole, and does that "
        "server work? The guest goes on where it was",
        m->send.destination.address, (int)(uv_now(m->g->h->loop) - m->went_at) / 1000);
    fail(m, ERR_TIMEOUT, text);
}

/* True if the script went well and nobody has called it off. */
static bool goes_on(struct qemu_move *m, const struct error *error) {
    if (!error && !m->cancelled && !m->stalled)
        return true;
    if (m->stalled)
        fail_stalled(m);
    else if (m->cancelled)
        fail(m, ERR_CANCELLED, "cancelled on request; the guest goes on where it was");
    else
        fail(m, error->code, error->message);
    return false;
}

/*
 * A network that swallows everything, a destination that hangs, a stranger who holds its port: QEMU waits for ever,
 * perhaps with the guest paused. True where it has been given up for that.
 */
static bool gave_up(struct qemu_move *m, int64_t came) {
    uint64_t now = uv_now(m->g->h->loop);
    if (came != m->went) {
        m->went = came;
        m->went_at = now;
        m->still = 0;
    }
    int64_t limit = m->paused || m->finishing ? STILL_PAUSED_MS : STILL_MS;
    if (++m->still < STILL_POLLS || now - m->went_at < (uint64_t)limit)
        return false;
    m->stalled = true;
    fail_stalled(m);
    return true;
}

/* ---- done ---- */

static void send_done(struct qemu_move *m) {
    guest_enter(m->g, GUEST_IS_PAUSED);
    json_t *report = guest_report(m->g);
    char size[SIZE_TEXT_MAX];
    bool rest = move_post_copies(m);
    int64_t still = m->paused ? (int64_t)(uv_now(m->g->h->loop) - m->paused_at) : m->downtime_ms;
    _cleanup_free_ char *text = xasprintf("%s in %.2f s; it stood still for %lld ms%s",
                                          size_format(m->transferred, size), (double)m->total_ms / 1000,
                                          (long long)still, rest ? "; the rest of its memory follows (post-copy)" : "");
    json_set_str(report, "reason", text);
    move_finish(m, NULL, report);
}

/* ---- while it goes ---- */

/* ", about 12 s": in the unit in which people count so much. */
static void time_left(double seconds, char out[static 40]) {
    static const struct {
        double from, unit;
        const char *name;
    } units[] = {{3 * 3600, 3600, "h"}, {180, 60, "min"}, {0, 1, "s"}};
    size_t i = 0;
    while (seconds < units[i].from)
        i++;
    snprintf(out, 40, ", about %.0f %s", seconds / units[i].unit + 1, units[i].name);
}

static void tell(struct qemu_move *m, int percent, const char *what, int64_t left, double rate) {
    char size[SIZE_TEXT_MAX], speed[SIZE_TEXT_MAX], end[40] = "";
    const char *paused = m->paused ? "; the guest is paused meanwhile (no hardware acceleration)" : "";
    _cleanup_free_ char *text = NULL;
    size_format(left, size);
    size_format((int64_t)rate, speed);
    if (rate > 0) {
        time_left((double)left / rate, end);
        text = xasprintf("%s: %s left, %s/s%s%s", what, size, speed, end, paused);
    } else {
        /* At first QEMU knows of nothing that is left. */
        text = left ? xasprintf("%s: %s left%s", what, size, paused) : xasprintf("%s: it begins%s", what, paused);
    }
    struct hypervisor *h = m->g->h;
    if (h->events->progress)
        h->events->progress(h->ctx, m->call, percent, text);
}

static void memory_progress(struct qemu_move *m) {
    bool disks = m->send.n_local > 0;
    int percent = m->total > m->remaining ? (int)((m->total - m->remaining) * 100 / m->total) : 0;
    tell(m, disks ? 80 + percent / 5 : percent, "memory", m->remaining, m->mbps * 1e6 / 8);
}

/* ---- the end of the mirrors ---- */

static void continue_now(struct qemu_move *m) {
    m->switched = true;
    for (size_t i = 0; i < m->send.n_local; i++) {
        _cleanup_free_ char *node = move_node(m, i);
        move_try(m, "job-dismiss", named("id", node));
        move_try(m, "blockdev-del", named("node-name", node));
    }
    move_do(m, "migrate-continue", named("state", "pre-switchover"));
}

static void on_continued(struct qemu_move *m, const struct error *error) {
    if (goes_on(m, error))
        send_poll(m);
}

/* Whether all of the mirrors are as `wanted` says; -1 and m->why where one has failed. percent of all, for progress. */
static int mirrors_are(struct qemu_move *m, const json_t *jobs, const char *wanted, int *ret_percent,
                       int64_t *ret_left) {
    size_t n = 0, i;
    json_t *job;
    int64_t done = 0, total = 0;
    json_array_foreach(jobs, i, job) {
        const char *id = json_str(job, "id"), *words = json_str(job, "error");
        if (strncmp(id, "move", 4) != 0)
            continue;
        done = qmp_sum(done, job, "current-progress");
        total = qmp_sum(total, job, "total-progress");
        if (*words) {
            error_set(&m->why, ERR_IO, "a virtual disk could not be copied: %.200s", words);
            qmp_text_clean(m->why.message);
            return -1;
        }
        n += str_eq(json_str(job, "status"), wanted);
    }
    m->mirrored = done;
    *ret_percent = total > done ? (int)(done * 100 / total) : total > 0 ? 100 : 0;
    *ret_left = total > done ? total - done : 0;
    return n == m->send.n_local;
}

static void ask_finishing(struct qemu_move *m);

static void on_finishing(struct qemu_move *m, const struct error *error, const json_t *result) {
    int percent;
    int64_t left;
    int r = error ? 0 : mirrors_are(m, result, "concluded", &percent, &left);
    m->deciding = r > 0;
    if (r > 0)
        continue_now(m);
}

static void finishing_asked(struct qemu_move *m, const struct error *error) {
    if (m->why.code != ERR_OK)
        fail(m, m->why.code, m->why.message);
    else if (m->deciding)
        on_continued(m, error);
    else if (goes_on(m, error) && !gave_up(m, m->mirrored))
        move_later(m, POLL_DISKS_MS / 10, ask_finishing);
}

static void ask_finishing(struct qemu_move *m) {
    move_ask(m, "query-jobs", NULL, on_finishing);
    move_run(m, finishing_asked);
}

/* The guest stands still and nothing is written any more: the copies are equal, and are let go. */
static void finish_mirrors(struct qemu_move *m) {
    m->finishing = true;
    if (!m->send.n_local) {
        continue_now(m);
        move_run(m, on_continued);
        return;
    }
    for (size_t i = 0; i < m->send.n_local; i++) {
        _cleanup_free_ char *node = move_node(m, i);
        move_do(m, "block-job-cancel", json_pack("{s:s, s:b}", "device", node, "force", 0));
    }
    move_ask(m, "query-jobs", NULL, on_finishing);
    move_run(m, finishing_asked);
}

/* ---- memory ---- */

static void send_begun(struct qemu_move *m, const struct error *error) {
    if (goes_on(m, error))
        send_poll(m);
}

/* A guest that stands still need not wait for its memory; one that runs changes it faster than it can be sent. */
static bool wants_post_copy(const struct qemu_move *m) {
    return m->post_copy && m->rounds >= (m->paused ? 1 : POST_COPY_ROUNDS);
}

static void send_looked(struct qemu_move *m, const struct error *error) {
    const char *s = str_or(m->migration, "");
    if (move_post_copies(m) || (str_eq(s, "completed") && (m->total > 0 || m->polls++ > EMPTY_POLLS))) {
        send_done(m); /* too late to be called off */
    } else if (!goes_on(m, error)) {
        ;
    } else if (str_eq(s, "failed") || str_eq(s, "cancelled")) {
        _cleanup_free_ char *text = xasprintf("QEMU could not send it: %s", str_or(m->migration_error, s));
        fail(m, ERR_GUEST, text);
    } else if (str_eq(s, "pre-switchover") && m->switched) {
        move_later(m, 1, send_poll); /* it has been told, and its thread has not woken up yet */
    } else if (str_eq(s, "pre-switchover")) {
        finish_mirrors(m);
    } else if (str_eq(s, "active") && wants_post_copy(m)) {
        m->post_copy = false;
        memory_progress(m);
        move_do(m, "migrate-start-postcopy", NULL);
        move_run(m, send_begun);
    } else if (!gave_up(m, m->transferred)) {
        memory_progress(m);
        move_later(m, m->news ? 0 : POLL_MS, send_poll);
    }
}

static void send_poll(struct qemu_move *m) {
    m->news = false;
    move_look(m);
    move_run(m, send_looked);
}

void qemu_move_event(struct qemu_move *m, const char *status) {
    if (m->arriving && str_eq(status, "postcopy-paused")) {
        qemu_move_stranded(m);
        return;
    }
    m->news = true; /* what is being asked may have been answered before it */
    if (m->role == MOVE_SENDING && m->on_time == send_poll && !m->current) {
        move_later(m, 0, NULL);
        send_poll(m);
    }
}

static void send_memory(struct qemu_move *m) {
    const char *address = m->send.destination.address;
    bool v6 = strchr(address, ':') != NULL;
    _cleanup_free_ char *uri =
        xasprintf("tcp:%s%s%s:%lld", v6 ? "[" : "", address, v6 ? "]" : "", (long long)m->send.destination.port);
    if (!m->kvm && m->running) {
        move_do(m, "stop", NULL);
        m->paused = true;
        m->paused_at = uv_now(m->g->h->loop);
    }
    move_do(m, "migrate", named("uri", uri));
    move_run(m, send_begun);
}

/* ---- disks ---- */

static void ask_mirrors(struct qemu_move *m);

static void on_mirrors(struct qemu_move *m, const struct error *error, const json_t *result) {
    int percent = 0;
    int64_t left = 0;
    int r = error ? 0 : mirrors_are(m, result, "ready", &percent, &left);
    m->deciding = r > 0;
    if (r == 0 && !error)
        tell(m, percent * 8 / 10, "virtual disks", left, 0);
}

static void mirrors_asked(struct qemu_move *m, const struct error *error) {
    if (m->why.code != ERR_OK)
        fail(m, m->why.code, m->why.message);
    else if (!goes_on(m, error))
        return;
    else if (m->deciding)
        send_memory(m);
    else if (!gave_up(m, m->mirrored))
        move_later(m, POLL_DISKS_MS, ask_mirrors);
}

static void ask_mirrors(struct qemu_move *m) {
    move_ask(m, "query-jobs", NULL, on_mirrors);
    move_run(m, mirrors_asked);
}

static void mirror_disk(struct qemu_move *m, size_t i) {
    const struct api_guest_send *a = &m->send;
    _cleanup_free_ char *node = move_node(m, i), *port = xasprintf("%lld", (long long)a->destination.disk_port);
    _cleanup_free_ char *disk = xasprintf("disk%lld", (long long)a->local[i].index),
                        *filter = xasprintf("%s-filter", node);
    json_t *target = json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:s, s:s, s:i}", "driver", "nbd", "node-name", node,
                               "server", "type", "inet", "host", a->destination.address, "port", port, "export",
                               a->local[i].disk, "discard", "unmap", "open-timeout", CONNECT_S);
    if (a->tls) {
        json_set_str(target, "tls-creds", MOVE_CREDENTIALS);
        json_set_str(target, "tls-hostname", a->move);
    }
    move_do(m, "blockdev-add", target);
    move_do(m, "blockdev-mirror",
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "job-id", node, "device", disk, "target", node,
                      "sync", "full", "filter-node-name", filter, "on-source-error", "report", "on-target-error",
                      "report", "auto-dismiss", 0));
}

static void send_settled(struct qemu_move *m, const struct error *error) {
    if (!goes_on(m, error))
        return;
    if (!m->send.n_local) {
        send_memory(m);
        return;
    }
    for (size_t i = 0; i < m->send.n_local; i++)
        mirror_disk(m, i);
    move_run(m, mirrors_asked);
}

/* ---- the beginning ---- */

/* The mirrors that there are, perhaps from before a crash of ours: each is ended, and those that have ended counted. */
static void on_jobs(struct qemu_move *m, const struct error *error, const json_t *result) {
    size_t i;
    json_t *job;
    m->mirrors_left = 0;
    json_array_foreach(error ? NULL : result, i, job) {
        const char *id = json_str(job, "id");
        if (strncmp(id, "move", 4) != 0)
            continue;
        m->mirrors_left++;
        if (str_eq(json_str(job, "status"), "concluded")) {
            move_try(m, "job-dismiss", named("id", id));
            move_try(m, "blockdev-del", named("node-name", id));
        } else {
            move_try(m, "block-job-cancel", json_pack("{s:s, s:b}", "device", id, "force", 1));
        }
    }
}

/* Nodes of an earlier try that got no mirror. */
static void drop_nodes(struct qemu_move *m) {
    for (size_t i = 0; i < m->send.n_local; i++) {
        _cleanup_free_ char *node = move_node(m, i);
        move_try(m, "blockdev-del", named("node-name", node));
    }
}

static void ask_left(struct qemu_move *m);
static void send_settings(struct qemu_move *m);

static void send_first_look(struct qemu_move *m, const struct error *error) {
    if (!error && (move_post_copies(m) || (str_eq(m->status, "postmigrate") && str_eq(m->migration, "completed")))) {
        send_done(m); /* before a crash of ours */
        return;
    }
    if (!error && (move_under_way(m) || str_eq(m->status, "postmigrate"))) {
        m->paused = m->running;
        fail(m, ERR_UNAVAILABLE,
             "an earlier move of the guest had not ended (tarn-agent was restarted, or the network swallowed it); the "
             "guest goes on where it was: try again in a minute");
        return;
    }
    if (!goes_on(m, error))
        return;
    m->polls = 0;
    if (m->send.n_local)
        ask_left(m);
    else
        send_settings(m);
}

static void none_left(struct qemu_move *m, const struct error *error) {
    if (!goes_on(m, error))
        return;
    if (!m->mirrors_left)
        send_settings(m);
    else if (m->polls++ < BACK_POLLS)
        move_later(m, POLL_MS / 4, ask_left);
    else
        fail(m, ERR_UNAVAILABLE,
             "the copying of its virtual disks by an earlier move does not end; the guest goes on where it was: try "
             "again in a minute");
}

/* A mirror that was called off holds its disk until it has ended: another one would be refused. */
static void ask_left(struct qemu_move *m) {
    move_ask(m, "query-jobs", NULL, on_jobs);
    move_run(m, none_left);
}

static void send_settings(struct qemu_move *m) {
    _cleanup_error_ struct error e = ERROR_INIT;
    m->post_copy = m->send.destination.post_copy && m->running;
    drop_nodes(m);
    if (m->send.tls && move_credentials_add(m, m->send.destination.certificate, false, &e) < 0) {
        fail(m, e.code, e.message);
        return;
    }
    move_settings(m, m->send.tls, m->send.move, m->send.destination.post_copy, &m->send, false);
    move_run(m, send_settled);
}

/* The other server's word: in QEMU's address a comma would begin an option, and a name is looked up. */
static bool is_address(const struct api_guest_received *d) {
    struct address a;
    return address_parse(d->address, &a) == 0 && d->port > 0 && d->port <= 65535 && d->disk_port >= 0 &&
           d->disk_port <= 65535;
}

void qemu_move_send(struct guest *g, uint64_t call, const struct api_guest_send *a) {
    guest_hold(g);
    if (!is_address(&a->destination)) {
        guest_call_fail(g, call, ERR_INVALID, "the other server has told no address to which a guest could be sent");
    } else if (is_there(g, call)) {
        struct qemu_move *m = qemu_move_get(g);
        move_begin(m, MOVE_SENDING, call);
        api_guest_send_copy(&m->send, a);
        m->has_send = true;
        m->running = a->running;
        if (m->send.n_local)
            qemu_rescue_open(m);
        move_look(m);
        move_run(m, send_first_look);
    }
    guest_release(g);
}

void qemu_move_cancel(struct guest *g) {
    struct qemu_move *m = g->move;
    if (!m || m->role != MOVE_SENDING || m->cancelled || m->why.code != ERR_OK)
        return;
    m->cancelled = true;
    if (m->on_time && !m->current) { /* it waits for the next look */
        guest_hold(g);
        move_later(m, 0, NULL);
        goes_on(m, NULL);
        guest_release(g);
    }
}

/* ---- taking back ---- */

static void back_on(struct qemu_move *m);

/* What waits for the network is woken: it would until TCP gives up. One by one, as what is unknown spoils an order. */
static void yank_all(struct qemu_move *m) {
    move_try(m, "yank", json_pack("{s:[{s:s}]}", "instances", "type", "migration"));
    for (size_t i = 0; m->has_send && i < m->send.n_local; i++) {
        _cleanup_free_ char *node = move_node(m, i);
        move_try(m, "yank", json_pack("{s:[{s:s, s:s}]}", "instances", "type", "block-node", "node-name", node));
    }
}

static void back_looked(struct qemu_move *m, const struct error *error) {
    if (!error && (move_under_way(m) || m->mirrors_left) && m->polls++ < BACK_POLLS) {
        if (m->polls == BACK_YANK) /* called off, and something still waits for the network */
            yank_all(m);
        move_later(m, POLL_MS / 4, back_on);
        return;
    }
    move_try(m, "object-del", named("id", MOVE_CREDENTIALS));
    if (m->running && !str_eq(m->status, "running"))
        move_do(m, "cont", NULL);
    if (!m->running && str_eq(m->status, "postmigrate")) {
        /* Only so does QEMU take its images again. It has not run elsewhere, and runs for a moment here. */
        move_do(m, "cont", NULL);
        move_do(m, "stop", NULL);
    }
    move_run(m, m->back);
}

static void back_on(struct qemu_move *m) {
    move_ask(m, "query-jobs", NULL, on_jobs);
    move_look(m);
    move_run(m, back_looked);
}

static void take_back(struct qemu_move *m, move_then *then) {
    m->back = then;
    m->polls = 0;
    move_credentials_forget(m->g);
    move_try(m, "migrate_cancel", NULL);
    if (m->stalled)
        yank_all(m);
    back_on(m);
}

static void unsent(struct qemu_move *m, const struct error *error) {
    if (error) {
        move_finish(m, error, NULL);
        return;
    }
    guest_enter(m->g, m->running ? GUEST_IS_RUNNING : GUEST_IS_PAUSED);
    move_finish(m, NULL, guest_report(m->g));
}

/*
 * With post-copy it has handed over what it was, and QEMU continues it no more, whatever has become of the destination
 * ("Migration is not finalized yet"). It has never run there, so it has crashed here.
 */
static void unsend_looked(struct qemu_move *m, const struct error *error) {
    if (strncmp(str_or(m->migration, ""), "postcopy-", strlen("postcopy-")) != 0 || !m->g->process) {
        take_back(m, unsent);
        return;
    }
    str_set(&m->g->end_reason, "the other server was lost when its memory had begun to move (post-copy)");
    qemu_process_kill(m->g->process);
}

void qemu_move_unsend(struct guest *g, uint64_t call, const struct api_guest_move *a) {
    guest_hold(g);
    int r = guest_take_up(g);
    if (r == -ENOENT) {
        guest_call_done(g, call, NULL, guest_report(g));
    } else if (is_there(g, call)) {
        struct qemu_move *m = qemu_move_get(g);
        move_begin(m, MOVE_UNSENDING, call);
        m->running = a->running;
        move_look(m);
        move_run(m, unsend_looked);
    }
    guest_release(g);
}

/* ---- release ---- */

static void release_poll(struct qemu_move *m);

/*
 * While pages still go (post-copy) the guest at the other server needs this process. Where that is not to be told they
 * may go as well, for QEMU sends them from a thread of its own; but one that hangs for good is not waited for.
 */
static void release_looked(struct qemu_move *m, const struct error *error) {
    bool known = !error && m->told;
    if (known)
        m->heard = uv_now(m->g->h->loop);
    if (known ? move_post_copies(m) : uv_now(m->g->h->loop) - m->heard < RELEASE_MS) {
        move_later(m, POLL_MS / 2, release_poll);
        return;
    }
    m->role = MOVE_NOTHING;
    guest_kill(m->g, m->call);
}

static void release_poll(struct qemu_move *m) {
    move_look(m);
    move_run(m, release_looked);
}

void qemu_move_release(struct guest *g, uint64_t call) {
    guest_hold(g);
    if (guest_take_up(g) == 0) {
        struct qemu_move *m = qemu_move_get(g);
        move_begin(m, MOVE_RELEASING, call);
        m->heard = uv_now(g->h->loop);
        release_poll(m);
    } else {
        guest_kill(g, call);
    }
    guest_release(g);
}
