/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that waits for a network that swallows everything. Sending memory has threads of its own, but a mirror's
 * target is opened and drained by the thread that carries out the monitor's commands: it reads none meanwhile, not even
 * the one that would end the wait. That one (yank) can be carried out beside it, out of band, over a connection that
 * has asked for it while all was well. It goes over whichever of the guest's two monitors is free.
 */
#include "agent/hypervisor/qemu_move.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/log.h"

#include <unistd.h>

#define PATIENCE_MS 10000 /* with a command, where there is a rescue */
#define READY_MS    20000
#define YANK_MS     5000

static void on_event(void *ctx, const char *name, const json_t *data) {}

static void on_closed(void *ctx, const char *why) { qemu_rescue_close(ctx); }

static const struct qmp_handler handler = {.event = on_event, .closed = on_closed};

static void on_ready(void *ctx, const struct error *error, const json_t *result) {
    struct qemu_move *m = ctx;
    m->rescue_ready = !error;
}

void qemu_rescue_open(struct qemu_move *m) {
    struct guest *g = m->g;
    qemu_rescue_close(m);
    int fd = qemu_socket_connect(g->dirfd, g->spare ? QEMU_QMP_SOCKET : QEMU_QMP_SPARE_SOCKET);
    if (fd >= 0 && qmp_open_oob(g->h->loop, fd, &handler, m, on_ready, READY_MS, &m->rescue) < 0)
        close(fd);
}

void qemu_rescue_close(struct qemu_move *m) {
    qmp_free(TAKE_PTR(m->rescue));
    m->rescue_ready = false;
}

int64_t qemu_rescue_patience(const struct qemu_move *m) { return m->rescue_ready ? PATIENCE_MS : MOVE_TIMEOUT_MS; }

static void yank(struct qemu_move *m, json_t *instance) {
    qmp_call_oob(m->rescue, "yank", json_pack("{s:[o]}", "instances", instance), YANK_MS, NULL, NULL);
}

void qemu_rescue(struct qemu_move *m) {
    if (!m->rescue_ready || !qmp_is_open(m->rescue) || !m->has_send)
        return;
    log_warning("guest %s: QEMU's monitor waits for the network; its connections are broken off", m->g->vm);
    m->stalled = m->stalled || m->why.code == ERR_OK;
    yank(m, json_pack("{s:s}", "type", "migration"));
    for (size_t i = 0; i < m->send.n_local; i++) {
        _cleanup_free_ char *node = move_node(m, i);
        yank(m, json_pack("{s:s, s:s}", "type", "block-node", "node-name", node));
    }
}
