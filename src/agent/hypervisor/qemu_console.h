/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's serial console, for any number of viewers. The agent holds the only connection to QEMU and reads it at once
 * whoever watches, because a guest whose serial port is not drained stands still. The last CONSOLE_RING bytes are kept,
 * so that a viewer who comes later sees how it got there.
 *
 *     guest → QEMU → ring → each viewer's socket; a viewer who does not read loses output and is told so
 *     viewers → 4 KiB → QEMU; when the guest does not read, viewers are not read either
 */
#pragma once

#include "base/error.h"

#include <uv.h>

#define CONSOLE_RING        (16 * 1024)
#define CONSOLE_VIEWERS_MAX 64

struct qemu_console;

/* Nothing connected yet; the ring is empty. */
struct qemu_console *qemu_console_new(uv_loop_t *loop);
/* Viewers see the end of the file. NULL is allowed. */
void qemu_console_free(struct qemu_console *c);
/* fd: connected to QEMU's serial socket; taken. */
int qemu_console_connect(struct qemu_console *c, int fd);
/* The viewer's end of a new socket (non-blocking, close-on-exec, the caller's). */
int qemu_console_view(struct qemu_console *c, struct error *e);
