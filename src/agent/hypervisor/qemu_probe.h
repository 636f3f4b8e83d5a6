/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which QEMU there is and whether KVM really works with it. /dev/kvm that opens proves nothing: under some nested KVMs
 * a guest's firmware runs and its kernel never gets anywhere. So a tiny guest (qemu_probe_guest.S) is run with a
 * deadline, and the answer kept in probe.json for this kernel, this QEMU and this CPU. TARN_ACCEL=kvm or tcg in the
 * environment decides without asking. Then it is asked for its CPU models, and the answer kept alike.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#define QEMU_BINARY "qemu-system-x86_64"

struct qemu_probe_result {
    bool usable, kvm;
    int version_major;
    char version[32]; /* "7.2.22" */
    char *reason;     /* owned */
    char **models;    /* qemu_models.h; owned */
    size_t n_models;
};
void qemu_probe_result_done(struct qemu_probe_result *r);

struct qemu_probe;
typedef void qemu_probe_done(void *ctx, const struct qemu_probe_result *result);
/* done is called once, never from inside. state_dirfd is borrowed. user: whom QEMU runs as, or NULL. */
struct qemu_probe *qemu_probe_new(uv_loop_t *loop, int state_dirfd, const char *user, qemu_probe_done *done, void *ctx);
/* done does not come any more. NULL is allowed. */
void qemu_probe_free(struct qemu_probe *p);
/* From the first line of qemu-system-x86_64 -version. */
int qemu_version_parse(const char *text, char *ret, size_t size, int *ret_major);
