/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's QEMU as a process: made here or found again, watched to its end, with what it says on stderr.
 *
 * A guest's directory:
 *     process.json            which process it is; {"starting": true} just before it is made
 *     qmp.sock qmp-spare.sock serial.sock    listening sockets that QEMU was handed
 *     stderr                  a FIFO that QEMU holds open for both ways: it never blocks on it nor gets SIGPIPE, 64 KiB
 * wait for an agent that is away, and no more qemu.log                what came out of it, the newest 64 to 128 KiB
 *
 * process.json is not flushed to disk: it must survive the agent, and after a crash of the server no process is there
 * to be found (it carries the boot's id). A crash of the agent between the two records leaves a process that is looked
 * for by its -uuid argument and by the FIFO that it holds (agents may share a machine, and a guest moves between them).
 */
#pragma once

#include "agent/hypervisor/qemu_args.h"
#include "base/error.h"
#include "os/child.h"

#define QEMU_QMP_SOCKET       "qmp.sock"
#define QEMU_QMP_SPARE_SOCKET "qmp-spare.sock"
#define QEMU_SERIAL_SOCKET    "serial.sock"

struct qemu_process;

/* known: it was our child, and how says how it ended. last: its last words, "" if none. The process may be freed
 * inside. */
typedef void qemu_process_end(void *ctx, bool known, struct child_exit how, const char *last);

struct qemu_process_spec {
    uv_loop_t *loop;
    int dirfd; /* the guest's directory; borrowed, for as long as the process is kept */
    const char *vm;
    /* For qemu_process_spawn() alone. */
    const struct child_gate *gate;     /* NULL: none */
    const struct child_groups *groups; /* NULL: none */
    qemu_process_end *on_end;
    void *ctx;
};

int qemu_process_spawn(const struct qemu_process_spec *spec, const struct qemu_args *args, const char *user,
                       int64_t now_ms, struct qemu_process **ret, struct error *e);
/* -ENOENT and a reason in words (static) if there is none. */
int qemu_process_find(const struct qemu_process_spec *spec, struct qemu_process **ret, const char **ret_reason);
/* Leaves it running. NULL is allowed. */
void qemu_process_free(struct qemu_process *p);
void qemu_process_kill(struct qemu_process *p);
int qemu_process_pidfd(const struct qemu_process *p); /* borrowed */
/* When it began to run: ms since 1970. */
int64_t qemu_process_started(const struct qemu_process *p);
/* CPU time and resident memory; -ENOENT if it is gone. */
int qemu_process_usage(const struct qemu_process *p, double *ret_cpu_s, int64_t *ret_rss);
/* What it has said lately, the last lines of it. */
const char *qemu_process_last_words(struct qemu_process *p);

/* QEMU's environment: the agent's own PATH, so that a QEMU of one's own can be put before the system's, and nothing
 * else. */
const char *const *qemu_environment(void);
/* A listening, or a connected, stream socket in the guest's directory, whatever the length of its path. fd or -errno.
 */
int qemu_socket_listen(int dirfd, const char *name);
int qemu_socket_connect(int dirfd, const char *name);
/* Removes what belongs to a process that has ended: record, sockets, FIFO. */
void qemu_process_clean(int dirfd);
