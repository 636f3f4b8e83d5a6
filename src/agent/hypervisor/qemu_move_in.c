/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destination of a migration: a process that waits, listening on ports of the range that a firewall lets through,
 * for one peer that shows the right one-time certificate. When nothing comes for a while it ends. It runs when it is
 * told to (activate), and never by itself.
 */
#include "agent/hypervisor/qemu_move.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/log.h"

#include <string.h>

#define WATCH_MS       5000
#define DEADLINE_MS    120000 /* without anything that comes */
#define LOAD_POLL_MS   20
#define LOAD_POLLS     500
#define ARRIVE_MS      250
#define BUSY_PORT_TEXT "ddress already in use"

/* ---- receive ---- */

static json_t *inet(const struct qemu_move *m, int port) {
    _cleanup_free_ char *text = xasprintf("%d", port);
    return json_pack("{s:s, s:{s:s, s:s}}", "type", "inet", "data", "host", m->receive.address, "port", text);
}

static int next_port(struct qemu_move *m) {
    /* Anywhere in the range first, then one after the other. */
    if (!m->tries++)
        m->port = MOVE_PORT_FIRST + (int)(uv_hrtime() / 1000 % MOVE_PORTS);
    else if (++m->port == MOVE_PORT_FIRST + MOVE_PORTS)
        m->port = MOVE_PORT_FIRST;
    return m->port;
}

static bool port_is_busy(struct qemu_move *m, const struct error *error) {
    return error && error->message && strstr(error->message, BUSY_PORT_TEXT) && m->tries < MOVE_PORTS;
}

static void receive_done(struct qemu_move *m) {
    struct api_guest_received r = {.vm = m->g->vm,
                                   .address = m->receive.address,
                                   .port = m->port,
                                   .disk_port = m->disk_port,
                                   .post_copy = m->post_copy,
                                   .certificate = m->certificate ? m->certificate : (char *)""};
    move_finish(m, NULL, api_guest_received_print(&r, API_PUBLIC));
    qemu_move_watch(m->g);
}

static void listen_for_guest(struct qemu_move *m);

static void guest_listened(struct qemu_move *m, const struct error *error) {
    if (port_is_busy(m, error))
        listen_for_guest(m);
    else if (error)
        move_finish(m, error, NULL);
    else
        receive_done(m);
}

static void listen_for_guest(struct qemu_move *m) {
    const char *a = m->receive.address;
    bool v6 = strchr(a, ':') != NULL;
    _cleanup_free_ char *uri = xasprintf("tcp:%s%s%s:%d", v6 ? "[" : "", a, v6 ? "]" : "", next_port(m));
    move_do(m, "migrate-incoming", json_pack("{s:s}", "uri", uri));
    move_run(m, guest_listened);
}

static void disks_exported(struct qemu_move *m, const struct error *error) {
    if (error)
        move_finish(m, error, NULL);
    else
        listen_for_guest(m);
}

static void listen_for_disks(struct qemu_move *m);

static void disks_listened(struct qemu_move *m, const struct error *error) {
    if (port_is_busy(m, error)) {
        listen_for_disks(m);
        return;
    }
    if (error) {
        move_finish(m, error, NULL);
        return;
    }
    m->disk_port = m->port;
    m->tries = 0;
    for (size_t i = 0; i < m->receive.n_local; i++) {
        const struct api_guest_move_disk *d = &m->receive.local[i];
        _cleanup_free_ char *node = xasprintf("disk%lld", (long long)d->index), *id = xasprintf("export-%s", node);
        move_do(m, "block-export-add",
                json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "nbd", "id", id, "node-name", node, "name", d->disk,
                          "writable", 1));
    }
    move_run(m, disks_exported);
}

static void listen_for_disks(struct qemu_move *m) {
    json_t *args =
        json_pack("{s:o, s:I}", "addr", inet(m, next_port(m)), "max-connections", (json_int_t)m->receive.n_local);
    if (m->receive.tls)
        json_set_str(args, "tls-creds", MOVE_CREDENTIALS);
    move_do(m, "nbd-server-start", args);
    move_run(m, disks_listened);
}

static void settled(struct qemu_move *m, const struct error *error);

static void settle(struct qemu_move *m) {
    const struct api_guest_receive *a = &m->receive;
    move_settings(m, a->tls, "", m->post_copy, NULL, !a->suspended);
    move_run(m, settled);
}

static void settled(struct qemu_move *m, const struct error *error) {
    if (error && m->post_copy) { /* a kernel or a user without userfaultfd: it goes without */
        log_info("guest %s: no post-copy here: %s", m->g->vm, error->message);
        m->post_copy = false;
        settle(m);
    } else if (error)
        move_finish(m, error, NULL);
    else if (m->receive.n_local)
        listen_for_disks(m);
    else
        listen_for_guest(m);
}

void qemu_move_ready(struct guest *g, uint64_t call) {
    struct qemu_move *m = qemu_move_get(g);
    const struct api_guest_receive *a = &m->receive;
    _cleanup_error_ struct error e = ERROR_INIT;
    guest_hold(g);
    m->role = MOVE_RECEIVING;
    m->call = call;
    m->post_copy = a->post_copy;
    if (str_empty(a->address))
        error_set(&e, ERR_INVALID, "there is no address to listen on: give the server one with the role migration");
    else if (a->tls && move_credentials_make(g, a->move, true, &m->certificate, &e) == 0)
        move_credentials_add(m, a->source.certificate, true, &e);
    if (e.code != ERR_OK) {
        move_finish(m, &e, NULL);
    } else {
        settle(m);
    }
    guest_release(g);
}

void qemu_move_receive(struct guest *g, uint64_t call, const struct api_guest_receive *a, struct guest_files *files) {
    guest_hold(g);
    struct qemu_move *m = qemu_move_get(g);
    move_begin(m, MOVE_NOTHING, call);
    str_take(&m->certificate, NULL);
    m->port = m->disk_port = 0;
    m->continued = false;
    m->arriving = true;
    api_guest_receive_copy(&m->receive, a);
    m->has_receive = true;
    guest_receive(g, call, a, files);
    guest_release(g);
}

/* ---- waiting ---- */

static void on_written(struct qemu_move *m, const struct error *error, const json_t *result) {
    int64_t written = 0;
    size_t i;
    json_t *device;
    json_array_foreach(error ? NULL : result, i, device) written =
        qmp_sum(written, json_object_get(device, "stats"), "wr_bytes");
    if (written != m->written)
        m->heard = uv_now(m->g->h->loop);
    m->written = written;
}

static void watch(struct qemu_move *m);

static void watched(struct qemu_move *m, const struct error *error) {
    uint64_t now = uv_now(m->g->h->loop);
    if (m->role != MOVE_NOTHING || m->g->phase != GUEST_IS_INCOMING)
        return;
    if (error || !str_eq(m->status, "inmigrate") || str_eq(m->migration, "active"))
        m->heard = now; /* it is there, or comes; who loses its connection ends QEMU */
    if (now - m->heard < DEADLINE_MS) {
        move_later(m, WATCH_MS, watch);
        return;
    }
    log_warning("guest %s: nothing has come for %d s; the process that waited for it is ended", m->g->vm,
                DEADLINE_MS / 1000);
    str_set(&m->g->end_reason, "the other server did not send it in time");
    qemu_process_kill(m->g->process);
}

static void watch(struct qemu_move *m) {
    if (m->role != MOVE_NOTHING || m->g->phase != GUEST_IS_INCOMING)
        return;
    move_look(m);
    move_ask(m, "query-blockstats", json_pack("{s:b}", "query-nodes", 1), on_written);
    move_run(m, watched);
}

void qemu_move_watch(struct guest *g) {
    struct qemu_move *m = qemu_move_get(g);
    m->arriving = true;
    if (m->role != MOVE_NOTHING)
        return;
    m->heard = uv_now(g->h->loop);
    move_later(m, WATCH_MS, watch);
}

/* ---- what still comes after it runs ---- */

static void arrive(struct qemu_move *m);

/*
 * A part of its memory has not come and never will. QEMU would wait for the other side to come back; all of it, should
 * a device have asked for a page that is missing: then its monitor says nothing any more but that event.
 */
void qemu_move_stranded(struct qemu_move *m) {
    if (!m->g->process)
        return;
    str_set(&m->g->end_reason, "part of its memory stayed at the other server, to which the connection broke");
    qemu_process_kill(m->g->process);
}

static void arrived(struct qemu_move *m, const struct error *error) {
    if (m->role != MOVE_NOTHING || !m->g->process)
        return;
    m->arriving = m->arriving || move_post_copies(m);
    if (error || !m->told || move_post_copies(m))
        move_later(m, ARRIVE_MS, arrive);
    else if (str_eq(m->migration, "postcopy-paused") || str_eq(m->migration, "failed"))
        qemu_move_stranded(m);
    else
        m->arriving = false;
}

static void arrive(struct qemu_move *m) {
    move_look(m);
    move_run(m, arrived);
}

void qemu_move_arriving(struct guest *g) {
    struct qemu_move *m = qemu_move_get(g);
    if (m->role == MOVE_NOTHING)
        arrive(m);
}

/* ---- activate ---- */

static void activate_again(struct qemu_move *m);

static void activated(struct qemu_move *m, const struct error *error) {
    if (error && qmp_is_open(m->g->qmp) && error->code == ERR_GUEST) {
        /* QEMU's refusal: it has not run. The source goes on before we are told to end it, and could not if QEMU had
           got some of the images and not all; so it is answered when it has ended. */
        error_set(&m->why, ERR_CONFLICT, "QEMU cannot run it here: %s", error->message);
        m->continued = false;
        qemu_process_kill(m->g->process);
    } else if (error) {
        move_finish(m, error, NULL);
    } else {
        guest_enter(m->g, m->suspended ? GUEST_IS_PAUSED : GUEST_IS_RUNNING);
        move_finish(m, NULL, guest_report(m->g));
        if (m->role == MOVE_NOTHING && m->g->phase == GUEST_IS_RUNNING)
            arrive(m);
    }
}

static void switch_on(struct qemu_move *m) {
    move_credentials_forget(m->g);
    move_try(m, "nbd-server-stop", NULL);
    move_try(m, "object-del", json_pack("{s:s}", "id", MOVE_CREDENTIALS));
    if (!m->suspended) {
        m->continued = true;
        move_do(m, "cont", NULL);
    }
    move_run(m, activated);
}

static void activate_looked(struct qemu_move *m, const struct error *error) {
    _cleanup_error_ struct error e = ERROR_INIT;
    const char *s = str_or(m->status, "");
    if (error || !*s) {
        error_set(&e, ERR_UNAVAILABLE, "QEMU's monitor does not answer");
        move_finish(m, &e, NULL);
    } else if (str_eq(s, "inmigrate") && m->polls++ < LOAD_POLLS) {
        move_later(m, LOAD_POLL_MS, activate_again);
    } else if (str_eq(s, "inmigrate")) {
        error_set(&e, ERR_CONFLICT, "it has not arrived whole");
        move_finish(m, &e, NULL);
    } else if (str_eq(s, "paused") || str_eq(s, "prelaunch")) {
        switch_on(m);
    } else { /* it has run: an earlier try had done it */
        guest_enter(m->g, str_eq(s, "running") ? GUEST_IS_RUNNING : GUEST_IS_PAUSED);
        move_finish(m, NULL, guest_report(m->g));
    }
}

static void activate_again(struct qemu_move *m) {
    move_look(m);
    move_run(m, activate_looked);
}

void qemu_move_activate(struct guest *g, uint64_t call, const struct api_guest_activate *a) {
    guest_hold(g);
    int r = guest_take_up(g);
    bool there = r == 0 && (g->phase == GUEST_IS_INCOMING || g->phase == GUEST_IS_PAUSED);
    if (r == 0 && g->phase == GUEST_IS_RUNNING) {
        guest_call_done(g, call, NULL, guest_report(g));
    } else if (there && qmp_is_open(g->qmp)) {
        struct qemu_move *m = qemu_move_get(g);
        move_begin(m, MOVE_ACTIVATING, call);
        m->suspended = a->suspended;
        activate_again(m);
    } else if (r == 0) {
        guest_call_fail(g, call, ERR_UNAVAILABLE, "QEMU's monitor does not answer");
    } else {
        guest_call_fail(g, call, ERR_GUEST, "its process has ended");
    }
    guest_release(g);
}
