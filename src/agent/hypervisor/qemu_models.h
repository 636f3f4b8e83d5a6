/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU models that this QEMU can give a guest here with all their features, as QEMU tells them for an accelerator.
 * A pool gives its guests one that all its servers have.
 */
#pragma once

#include "os/child.h"

/* Names without a version, sorted; what QEMU answers to the commands of qemu_models_ask(). -EBADMSG: no such answer. */
int qemu_models_parse(const char *text, size_t len, char ***ret, size_t *ret_n);
void qemu_models_free(char **names, size_t n);

/* Runs a QEMU without a machine; its output is for qemu_models_parse(). user: whom it runs as, or NULL. */
int qemu_models_ask(uv_loop_t *loop, bool kvm, const char *user,
                    void (*on_exit)(void *ctx, struct child *c, struct child_exit how), void *ctx, struct child **ret);

/* Kept in the directory for this key (which QEMU, kernel, CPU and accelerator). */
int qemu_models_recall(int dirfd, const char *key, char ***ret, size_t *ret_n);
int qemu_models_remember(int dirfd, const char *key, char *const *names, size_t n);
