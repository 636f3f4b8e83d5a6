/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's display and its counters. */
#include "agent/hypervisor/qemu_guest.h"

#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define VNC_TIMEOUT_MS 10000
#define DISKS_EVERY_MS 1500

/* ---- the display ---- */

/*
 * QEMU gets one end of a socket under a name of its own and serves RFB on it. The viewer has been given the other end
 * already; should QEMU refuse, its end is closed there and the viewer sees the end of the file.
 */
int guest_view_display(struct guest *g, struct error *e) {
    static unsigned counter;
    int fds[2];
    if (!g->display)
        return error_set(e, ERR_UNSUPPORTED, "this virtual machine has no display; use its serial console");
    if (!qmp_is_open(g->qmp))
        return error_set(e, ERR_GUEST, "QEMU's monitor does not answer, so the display cannot be reached");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return error_set(e, ERR_IO, "no socket for the display: %s", strerror(errno));
    _cleanup_free_ char *name = xasprintf("vnc%u", ++counter);
    qmp_call_fd(g->qmp, "getfd", json_pack("{s:s}", "fdname", name), fds[1], VNC_TIMEOUT_MS, NULL, NULL);
    qmp_call(g->qmp, "add_client", json_pack("{s:s, s:s, s:b}", "protocol", "vnc", "fdname", name, "skipauth", 1),
             VNC_TIMEOUT_MS, NULL, NULL);
    /* Without effect when add_client has taken it. */
    qmp_call(g->qmp, "closefd", json_pack("{s:s}", "fdname", name), VNC_TIMEOUT_MS, NULL, NULL);
    close(fds[1]);
    return fds[0];
}

/* ---- counters ---- */

static void on_blockstats(void *ctx, const struct error *error, const json_t *result) {
    struct guest *g = ctx;
    int64_t read = 0, written = 0;
    size_t i;
    json_t *device;
    if (error || !json_is_array(result))
        return;
    json_array_foreach(result, i, device) {
        const json_t *stats = json_object_get(device, "stats");
        read = qmp_sum(read, stats, "rd_bytes");
        written = qmp_sum(written, stats, "wr_bytes");
    }
    g->disk_read = read;
    g->disk_write = written;
}

/*
 * CPU and memory are the process's, read now. Disk counters are QEMU's, asked for at most every 1.5 s, so that they are
 * one sample old. QEMU keeps no byte counters for user-mode networking: net_* stay 0.
 */
int guest_sample(struct guest *g, struct api_vm_stats *ret) {
    double cpu;
    int64_t memory;
    if (!g->process || (g->phase != GUEST_IS_RUNNING && g->phase != GUEST_IS_PAUSED))
        return -ENOENT;
    int r = qemu_process_usage(g->process, &cpu, &memory);
    if (r < 0)
        return r;
    uint64_t now = uv_now(g->h->loop);
    if (qmp_is_open(g->qmp) && (!g->disks_asked || now - g->disks_asked >= DISKS_EVERY_MS)) {
        g->disks_asked = now ? now : 1;
        qmp_call(g->qmp, "query-blockstats", NULL, VNC_TIMEOUT_MS, on_blockstats, g);
    }
    api_vm_stats_init(ret);
    str_set(&ret->vm, g->vm);
    ret->cpu = cpu;
    ret->memory = memory;
    ret->disk_read = (double)g->disk_read;
    ret->disk_write = (double)g->disk_write;
    return 0;
}
