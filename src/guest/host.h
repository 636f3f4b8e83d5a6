/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's decisions. Pure, like src/core: events in, effects out, the same code in tarn-agent and in the simulator.
 *
 *     events in                             effects out (host_next_effect)
 *     host_load*, host_start                COMMIT  make this batch durable, then call host_stored(seq)
 *     host_connected, host_disconnected     SEND    text frame to the manager
 *     host_message                          CALL    have a driver do this; answer with host_call_done(call)
 *     host_call_done, host_call_progress    CANCEL  ask that call to stop early; it still ends with host_call_done
 *     host_guest_event, host_guest_found    CHANNEL open a bulk channel (no answer)
 *     host_cluster_facts                    DROP    close the connection to the manager and dial it again
 *     host_stored, host_tick
 *
 * What it promises:
 * - An op with an id is done once. "begun" is durable before its CALL, the answer durable before it is sent; a repeat
 * gets the stored answer, or joins the one under way. After a crash, ops that had begun are called again: drivers'
 * calls are idempotent. Answers are kept until op.forget of their job.
 * - One guest has one op at a time; others queue in order (guest.kill and op.cancel pass a waiting guest.stop).
 * - A guest's record {GuestStart, desired state, state, sequence, restarts} is durable before the guest is started, and
 * a change of state durable before it is told.
 * - Restart policy: on-failure after a crash or panic, always also after the guest's own power-off; back-off 1, 2, 4 …
 * 60 s, at most 5 restarts within 10 minutes, then the guest stays crashed and says so. What had ended before our start
 * waits for the manager's first word, or half a minute. A guest.stop or .kill asked for
 * by the manager is never followed by a restart.
 * - guest.stop: one ACPI request (again every 10 s), then at the deadline either force (kill) or error timeout with the
 * guest left running.
 *
 * Guest states (enum api_vm_state; the agent uses these six, and migrating):
 *
 *     from \ event   start    running   shutdown-by-guest  stop/kill done  died/panic   pause   resume
 *     stopped        starting
 *     starting                running   stopped            stopped         crashed
 *     running                           stopped            stopped         crashed      suspended
 *     suspended                                            stopped         crashed              running
 *     stopping                          stopped            stopped         stopped*
 *     crashed        starting                              stopped
 *     (* died while we were killing it; while we only asked it to shut down: crashed)
 *     A guest that is being moved to or from another server is migrating: see move.c.
 *     A guest.stop or .kill turns starting, running and suspended into stopping; one that has failed, timed out or been
 *     cancelled turns stopping back into running. A reset is told as running again. However it ended, the driver's
 * guest.kill is called last, so that nothing of it is left when the op is answered or the guest started again.
 */
#pragma once

#include "api/api.h"
#include "base/batch.h"
#include "base/error.h"
#include "base/list.h"

struct host;

struct host_config {
    const char *version; /* "MAJOR.MINOR" */
    uint64_t seed[4];
};
struct host *host_new(const struct host_config *config);
void host_free(struct host *h);
void host_set_time(struct host *h, int64_t wall_ms, int64_t mono_ms);

int host_load(struct host *h, const char *key, const char *value, size_t len, struct error *e);
/*
 * All is loaded. CALL effects follow: repository.open for each that was open, and guest.find for each guest that is
 * known; its result is a GuestReport of what is there (see hypervisor.h). Then the ops that had begun are called again.
 */
void host_start(struct host *h);

void host_connected(struct host *h, const struct api_agent_welcome *welcome);
/* The manager does not know this server: what has ended here may have been started elsewhere, and is not restarted by
   its policy until the manager knows the server again. */
void host_disowned(struct host *h);
void host_disconnected(struct host *h);
void host_message(struct host *h, const json_t *message);
void host_set_hello(struct host *h, const struct api_agent_hello *hello);

/* error NULL or code OK: done, result (borrowed) as the op's description says. */
void host_call_done(struct host *h, uint64_t call, const struct error *error, const json_t *result);
void host_call_progress(struct host *h, uint64_t call, int percent, const char *message);

enum guest_event {
    GUEST_RUNNING,  /* vCPUs run (after start, resume, or the guest's own reset) */
    GUEST_PAUSED,   /* stopped by somebody, not by us; or an I/O error: reason says which */
    GUEST_RESET,    /* the guest rebooted itself */
    GUEST_POWEROFF, /* the guest shut itself down: its process has ended or is kept only to tell so */
    GUEST_PANICKED,
    GUEST_DIED, /* its process ended by itself or was killed from outside */
};
void host_guest_event(struct host *h, const char *vm, enum guest_event event, const char *reason);

void host_repository_state(struct host *h, const struct api_repository_report *r);
void host_upload_received(struct host *h, const struct api_upload_report *r);

/*
 * What tarn-deadman says now (times on its clock, in ms). To be told after each change of it, at the latest every
 * second, before each message of the manager, and before a guest's end: what is decided must not be older than what it
 * is decided for. Nothing is told while no deadman runs: then all is 0.
 */
struct host_cluster_facts {
    bool armed;
    uint64_t incarnation;   /* of the lease; 0: none */
    int64_t proof, ring_at; /* guest/deadman.h */
    int64_t now;            /* on their clock */
    const uint32_t *members;
    size_t n_members;
};
void host_cluster_facts(struct host *h, const struct host_cluster_facts *facts);
/* The guests that tarn-deadman must watch: after it has been started anew. */
typedef void host_guarded_visitor(void *ctx, const char *vm);
void host_each_guarded(const struct host *h, host_guarded_visitor *visit, void *ctx);

void host_stored(struct host *h, uint64_t seq, int result);
void host_tick(struct host *h);
int64_t host_next_deadline(const struct host *h);

enum host_effect_kind { HOST_COMMIT, HOST_SEND, HOST_CALL, HOST_CANCEL, HOST_CHANNEL, HOST_DROP };

/*
 * What a CALL asks for. The ops of api/agent.yaml by their own number (args as there), except that guest.stop is split
 * into what a driver can do: guest.shutdown (deliver the ACPI power button; done when delivered) and guest.kill. A
 * start is done when the vCPUs run; a kill when the process is gone; both succeed if that is so already.
 */
#define HOST_CALL_GUEST_FIND     (API_AGENT_OP_COUNT + 0) /* args GuestOp; result GuestReport */
#define HOST_CALL_GUEST_SHUTDOWN (API_AGENT_OP_COUNT + 1) /* args GuestOp */

struct host_effect {
    struct list link;
    enum host_effect_kind kind;
    uint64_t seq;        /* COMMIT */
    struct batch *batch; /* COMMIT */
    char *text;          /* SEND */
    uint64_t call;       /* CALL, CANCEL */
    int op;              /* CALL: enum api_agent_op or HOST_CALL_* */
    json_t *args;        /* CALL: as JSON; CHANNEL: ChannelOpen */
};
struct host_effect *host_next_effect(struct host *h);
void host_effect_free(struct host_effect *e);

/* Guests that this host knows: for statistics. */
typedef void host_guest_visitor(void *ctx, const char *vm, enum api_vm_state state);
void host_each_guest(const struct host *h, host_guest_visitor *visit, void *ctx);
