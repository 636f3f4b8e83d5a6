/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes: arguments as a vector (never a shell), descriptors handed over by number, everything else closed,
 * watched by pidfd on the loop.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct child;

struct child_exit {
    bool signalled; /* value is the signal, else the exit status */
    int value;
};

struct child_fd {
    int from; /* ours; not closed */
    int to;   /* its number in the child: >= 3, or 1 or 2, which then take no part in output_max and error_max */
};

/*
 * Somebody who must know of the child before it runs. The child itself sends message with a pidfd of its own over the
 * connected SEQPACKET socket, and goes on to exec only after the answer {serial, 0}; any other result (a negative
 * errno) is what child_spawn() then returns, silence is -ETIMEDOUT as the socket's SO_RCVTIMEO has it. Our own death or
 * stop meanwhile leaves no gap: the child has been announced, or it ends.
 */
struct child_gate {
    int fd;
    const void *message; /* begins with the serial, a uint64_t */
    size_t len;
};
struct child_gate_answer {
    uint64_t serial;
    int64_t result;
};

/*
 * The control groups that it begins in. Moving a process costs milliseconds, as the kernel waits until no other one
 * forks; being born in a group (version 2), and a lone thread that moves itself (version 1, "tasks"), cost next to
 * nothing.
 */
struct child_groups {
    int into;     /* a group's directory, of version 2; -1: none */
    int tasks[4]; /* tasks files of groups of version 1, open for writing */
    size_t n_tasks;
};

void child_groups_done(struct child_groups *g);

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH unless it has a slash */
    const char *const *env;  /* NULL: a minimal environment (PATH, LANG=C.UTF-8, HOME=/) */
    const struct child_fd *fds;
    size_t n_fds;
    const char *input; /* what its stdin holds (a memory file); NULL: /dev/null */
    size_t input_len;
    size_t output_max, error_max;  /* what is kept of stdout and stderr; more is read and dropped. 0: to /dev/null */
    const char *user;              /* drop to this user (and its groups) if we are root; NULL: stay */
    const struct child_gate *gate; /* NULL: none */
    const struct child_groups *groups;                  /* not closed; NULL: ours */
    int64_t limit_cpu_s, limit_memory, limit_file_size; /* rlimits; 0: none */
    bool new_session;                                   /* setsid: outlives us (guests) */
    /* Not killed when the struct child is freed, nor when we die; any other child is killed then (PR_SET_PDEATHSIG).
       Its stdout and stderr are memory files of output_max and error_max bytes, not pipes: no on_output. */
    bool detach;
    int64_t timeout_ms;                                         /* then SIGKILL; 0: none */
    void (*on_output)(void *ctx, const char *data, size_t len); /* each piece of stdout as it comes, or NULL */
    void (*on_exit)(void *ctx, struct child *c, struct child_exit how);
    void *ctx;
};

/* Returns when the exec has succeeded or failed (with its errno). on_exit is called once, after all output has been
   read; the child may be freed in it, and in on_output. To be called on the process's main thread. */
int child_spawn(uv_loop_t *loop, const struct child_spec *spec, struct child **ret);
/* Kills it unless detached. on_exit is not called any more. NULL is allowed. */
void child_free(struct child *c);
/* SIGKILL goes to its whole process group unless it is detached. Does nothing once it has ended. */
void child_kill(struct child *c, int signal);
pid_t child_pid(const struct child *c);
int child_pidfd(const struct child *c);
const struct buf *child_output(const struct child *c);
const struct buf *child_error(const struct child *c);

/* Watches a process that may be no child of ours. on_end says only that it ended. */
struct pidwatch;
int pidwatch_new(uv_loop_t *loop, int pidfd /* dup'd */, void (*on_end)(void *ctx), void *ctx, struct pidwatch **ret);
void pidwatch_free(struct pidwatch *w);
/* Field 22 of /proc/PID/stat: with the pid it names a process for good. */
int process_start_time(pid_t pid, uint64_t *ret);
