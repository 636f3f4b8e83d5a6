/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what is in a CD drive while the guest runs. QEMU gets the image as a descriptor in an fd set of a number of
 * our choosing, so that the commands can follow each other without waiting; afterwards the set holds only what QEMU
 * itself has open. The nodes of what was in the drive at the start have names and stay until they are deleted.
 */
#include "agent/hypervisor/qemu_guest.h"

#include "base/mem.h"
#include "os/file.h"

#define TIMEOUT_MS 10000
#define FIRST_SET  1000 /* behind all of the start's */

/* Where there is none, or it is still in use because the change was refused, QEMU says so and nothing happens. */
static void forget_node(struct guest *g, const char *name) {
    qmp_call(g->qmp, "blockdev-del", json_pack("{s:s}", "node-name", name), TIMEOUT_MS, NULL, NULL);
}

void guest_cdrom(struct guest *g, uint64_t call, int index, int fd) {
    __attribute__((unused)) _cleanup_close_ int taken = fd;
    _cleanup_free_ char *drive = xasprintf("hd%d", index);
    bool can = qmp_is_open(g->qmp) && (g->phase == GUEST_IS_RUNNING || g->phase == GUEST_IS_PAUSED);
    if (!can || fd < 0) {
        guest_ask(g, call, "eject", json_pack("{s:s, s:b}", "id", drive, "force", 1), GUEST_ABSENT);
    } else {
        int set = FIRST_SET + (int)(uv_hrtime() >> 20 & 0x3fffffff);
        _cleanup_free_ char *name = xasprintf("/dev/fdset/%d", set);
        qmp_call_fd(g->qmp, "add-fd", json_pack("{s:i}", "fdset-id", set), fd, TIMEOUT_MS, NULL, NULL);
        guest_ask(g, call, "blockdev-change-medium",
                  json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", drive, "filename", name, "format", "raw",
                            "read-only-mode", "read-only", "force", 1),
                  GUEST_ABSENT);
        qmp_call(g->qmp, "remove-fd", json_pack("{s:i}", "fdset-id", set), TIMEOUT_MS, NULL, NULL);
    }
    if (can) {
        _cleanup_free_ char *node = xasprintf("disk%d", index), *file = xasprintf("disk%d-0-file", index);
        forget_node(g, node);
        forget_node(g, file);
        qmp_call(g->qmp, "remove-fd", json_pack("{s:i}", "fdset-id", QEMU_CDROM_SET + index), TIMEOUT_MS, NULL, NULL);
    }
}
