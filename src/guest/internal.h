/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the host brain. host.c holds the queue of effects and the commits, ops.c the journal of op ids, guests.c
 * the guests' records and their state table, restart.c the restart policy, repositories.c what is open, report.c what
 * the manager is told.
 *
 * Memory runs ahead of the store: a change is made in memory, its key marked dirty, and everything that tells or does
 * something because of it is held back until the commit that carries it, and all before it, is durable. When a commit
 * fails, nothing is undone but the ops that had not begun durably (they are refused): what has happened to a guest has
 * happened, so its keys stay dirty and are written again until the store takes them.
 */
#pragma once

#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/units.h"
#include "guest/deadman.h"
#include "guest/host.h"

#define OP_ID_MAX         200    /* bytes of an op's id */
#define OPS_MAX           20000  /* remembered and waiting, so that a broken manager cannot fill our memory */
#define STORAGE_OPS_MAX   8      /* ops on disks, templates, uploads and repositories at once */
#define RESTART_LIMIT     5      /* restarts by policy … */
#define RESTART_WINDOW_MS 600000 /* … within this time */
#define NEVER             INT64_MAX

struct guest;
struct op;
struct repository;

enum call_purpose {
    CALL_OP,      /* the op itself */
    CALL_ASK,     /* guest.shutdown for a guest.stop */
    CALL_KILL,    /* guest.kill for a guest.kill, or at the end of a guest.stop */
    CALL_CLEAN,   /* guest.kill after the guest has ended by itself */
    CALL_RESTART, /* guest.start by the restart policy */
    CALL_FIND,
    CALL_REOPEN,
    CALL_CLUSTER, /* cluster.configure, after our start */
};

struct call {
    struct list link; /* host.calls */
    uint64_t id;
    enum call_purpose purpose;
    struct op *op;                 /* CALL_OP, and NULL else */
    struct guest *guest;           /* or NULL */
    struct repository *repository; /* CALL_REOPEN */
};

/* A live migration, as far as this server is concerned; see move.c. */
enum move {
    MOVE_NONE,
    MOVE_OUT,  /* it is being sent; it is ours, and goes on here whatever happens */
    MOVE_SENT, /* all of it has been sent: it stays paused until the manager says who has it (state migrating) */
    MOVE_IN,   /* it has come, or is coming, and has never run here (state migrating; crashed: nor will it) */
    MOVE_COUNT
};

/* What is stored of a guest. */
struct record {
    bool kept;   /* false: there is nothing to store */
    char *start; /* GuestStart as JSON text; NULL: never started here */
    bool should_run;
    bool guarded;        /* tarn-deadman watches it … */
    int64_t incarnation; /* … under this lease */
    bool lost;           /* it ended because that lease had */
    enum api_vm_state state;
    enum api_restart_policy policy;
    char *name, *reason, *hypervisor, *started;
    int64_t sequence;
    int64_t restarts;
    enum move move;
    char *move_id;                    /* "" if there was none */
    bool was_suspended;               /* MOVE_SENT: what it was before */
    int64_t restarted[RESTART_LIMIT]; /* wall_ms of the last restarts, oldest first */
    size_t n_restarted;
};

enum op_state { OP_WAITING, OP_BEGUN, OP_DONE };

struct op {
    struct list link;  /* in the queue of the guest, of storage or of the server while it waits; host.running */
    struct list fresh; /* host.fresh until its first commit is durable */
    char *id;
    enum api_agent_op kind;
    bool was_guarded; /* guest.policy: the guest, before it */
    enum op_state state;
    json_t *args;        /* until it is done */
    char *answer;        /* the frame, once it is done */
    char *subject;       /* storage ops: what it works on; guest ops: the VM's id */
    struct guest *guest; /* guest ops, until it is done */
    struct call *call;
    uint64_t first_seq;    /* the commit that first records it; 0: not handed out yet */
    uint64_t order;        /* of beginning; kept over a restart */
    struct record *before; /* the guest's record before it began, while it is fresh */
    int64_t sequence;      /* the guest's, after it began */
    bool resumed;          /* it had begun before our start */
    bool forget;           /* its job has ended: do not keep the answer */
    int progress;
    int64_t progress_at;
};

struct guest {
    struct list touched; /* host.touched: something about it has changed in this event */
    struct list timed;   /* host.timed: it waits for a moment */
    char vm[UUID_LEN + 1];
    struct record r;
    struct op *active; /* the op that it has */
    struct op *kill;   /* a guest.kill that has passed a waiting guest.stop (active) */
    struct list queue;
    size_t n_calls;
    bool finding, first_find; /* after our start, until we know what is there */
    bool resume;              /* its ops had begun before our start: call them again */
    bool starting;            /* a start is being carried out */
    bool before;              /* it is from before our start, and does not run */
    bool settled;             /* its move (MOVE_SENT) was, without us: see host_move_forgotten */
    bool asking, killing, cleaning;
    enum api_vm_state end_state; /* what it is once the kill under way is done */
    char *end_reason;
    int early; /* enum guest_event that came while a call under way must end first; -1: none */
    char *early_reason;
    int find_tries;
    int64_t at; /* the first of those below that counts now */
    int64_t find_at, clean_at, restart_at, stop_at, ask_at;
    int64_t reset_at;           /* when a reset was last told */
    int64_t back_from, back_to; /* sequences: an op was rolled back at the one, and had begun at the other */
};

static inline bool guest_is_off(const struct guest *g) {
    return g->r.state == API_VM_STATE_STOPPED || g->r.state == API_VM_STATE_CRASHED;
}

struct repository {
    struct list link; /* host.repositories */
    char id[UUID_LEN + 1];
    char *args; /* RepositoryOp as JSON text */
    struct api_repository_report report;
    bool opening, first_open;
    int64_t retry_at;
};

/* The clustered pool (cluster.c). */
#define OP_SUBJECT_CLUSTER "cluster" /* of all ops on it: one at a time */
struct cluster {
    char *config; /* ClusterConfigure as JSON text, with "armed"; NULL: none */
    struct api_cluster_configure c;
    bool wanted_armed;
    bool armed;
    int64_t incarnation, seen; /* now; the last that there was */
    int64_t held;              /* what tarn-deadman holds, whether it would kill at its end or not */
    int64_t proof, ring_at;
    int64_t proof_at; /* proof, on our own clock */
    uint32_t members[DEADMAN_NODES];
    size_t n_members;
    char *told;       /* the state as it was told last, without times */
    bool configuring; /* after our start */
    int64_t retry_at;
};

struct commit {
    struct list link; /* host.commits */
    uint64_t seq;
    char **keys;
    size_t n_keys;
};

struct host {
    struct host_config config;
    char *version;
    int64_t wall, mono;
    bool started, connected;
    bool dropping; /* it has asked for its connection's end: what is read of it still is void */
    char *hello;   /* text of the hello event */

    struct map guests, ops;
    struct list repositories, touched, timed, calls;
    struct list queue;        /* storage ops that wait */
    struct list server_queue; /* ops on the server itself that wait: never for storage */
    struct list running;      /* of both */
    struct list fresh;
    struct list forgotten; /* to be freed at the end of the event */
    size_t n_running;      /* storage ops */
    uint64_t next_call, next_order;
    size_t opening;        /* repositories that are opened again after our start: ops wait for them … */
    int64_t opening_until; /* … but not for ever */
    int64_t alone_until;   /* what had ended before our start waits that long for the manager's word */
    bool disowned;         /* the manager does not know this server */
    size_t finding;        /* guests whose first find has not ended: the report waits */
    bool report_wanted;

    struct cluster cluster;

    struct map dirty;    /* keys to write with the next commit */
    struct list commits; /* handed out, not yet reported */
    uint64_t seq, durable;
    int broken; /* the store's error; 0 when it takes changes */
    int64_t retry_at;
    int retry_tries;
    struct list ready;   /* effects to carry out */
    struct list held;    /* effects that wait for a commit, by effect_item.after; 0 (the next commit) last */
    struct list pending; /* effects of this event that will wait */
};

/* host.c */
void host_dirty(struct host *h, const char *kind, const char *id);
/* A frame to the manager, if it is connected; steals frame. Held until everything until now is durable, or sent at
 * once. */
void host_send(struct host *h, json_t *frame, bool held);
void host_send_text(struct host *h, char *text, bool held);
/* A guest.state, held; and takes back those that are still held. */
void host_send_state(struct host *h, const struct guest *g, json_t *frame);
void host_unsend_states(struct host *h, const struct guest *g);
/* An op's answer, held; and takes back those that are still held. */
void host_send_answer(struct host *h, const struct op *op);
void host_unsend_answer(struct host *h, const struct op *op);
/* The report, held; and has one that is still held made anew: what it tells has been taken back. */
void host_send_report(struct host *h, json_t *frame);
void host_renew_report(struct host *h);
struct call *host_call(struct host *h, enum call_purpose purpose, int op, json_t *args, bool held);
/* Its effect if that has not come out yet, and forgets the call. True: nobody has seen the call. */
bool host_call_drop(struct host *h, struct call *c);
void host_call_free(struct host *h, struct call *c);
void host_cancel_call(struct host *h, uint64_t call);
void host_open_channel(struct host *h, json_t *args);
void host_drop(struct host *h);
/* Ends an event: queues are looked at, and what has changed goes into a commit. */
void host_settle(struct host *h);

/* ops.c */
void op_done_call(struct host *h, struct op *op, const struct error *error, const json_t *result);
void op_finish(struct host *h, struct op *op, const struct error *error, json_t *result);
void op_refuse_fresh(struct host *h);
bool op_is_running(const struct host *h, const char *subject);
void op_schedule(struct host *h);
void op_drop_orders(struct host *h);
void op_resume_all(struct host *h);
int op_load(struct host *h, const char *id, const json_t *value, struct error *e);
char *op_record_text(const struct op *op);
void op_free(struct op *op);
void op_run(struct host *h, struct op *op);
void op_begin(struct host *h, struct op *op);

/* guests.c: records and states */
struct guest *host_guest_get(struct host *h, const char *vm);
void host_guest_free(struct guest *g);
int host_guest_load(struct host *h, const char *vm, const json_t *value, struct error *e);
char *host_guest_record_text(const struct guest *g);
struct record *host_record_copy(const struct record *r);
void host_record_free(struct record *r);
void host_guest_roll_back(struct host *h, struct guest *g, struct op *op);
/* The only place that changes a guest's state. */
void host_guest_set_state(struct host *h, struct guest *g, enum api_vm_state state, const char *reason);
void host_guest_forget(struct host *h, struct guest *g);
void host_guest_touch(struct host *h, struct guest *g);
void host_guest_touch_all(struct host *h);
void host_guest_settle(struct host *h, struct guest *g);
json_t *host_guest_args(const struct guest *g);

/* guest_ops.c: what ops, calls and events do to a guest */
void host_guest_run(struct host *h, struct guest *g, struct op *op);
void host_guest_call_done(struct host *h, struct call *c, const struct error *error, const json_t *result);
void host_guest_stop_cancel(struct host *h, struct guest *g);
void host_guest_find(struct host *h, struct guest *g);
void host_guest_tick(struct host *h, struct guest *g);
void host_guest_happens(struct host *h, struct guest *g, enum guest_event event, const char *reason);

void host_guest_call_op(struct host *h, struct guest *g, struct op *op);
void host_guest_finish(struct host *h, struct guest *g, struct op *op);
void host_guest_fail(struct host *h, struct op *op, enum error_code code, const char *message);
/* What is left of its process is ended, now that its end is recorded. */
void host_guest_clean(struct host *h, struct guest *g);
void host_guest_keep_start(struct guest *g, const json_t *start);
void host_guest_apply_early(struct host *h, struct guest *g);
void host_guest_apply_all_early(struct host *h);

/* move.c: live migration */
const char *host_move_text(enum move m);
int host_move_from_text(const char *text, enum move *ret);
void host_move_run(struct host *h, struct guest *g, struct op *op);
void host_move_call_done(struct host *h, struct guest *g, struct op *op, const struct error *error,
                         const json_t *result);
/* A send that was cancelled before its call had come out. */
void host_move_cancelled(struct host *h, struct guest *g, struct op *op);
/* An event, and what was found after our start, of a guest that is or was on its way: true if that is all. */
/* The job of that move has ended, and the manager has nothing more to say about it. */
void host_move_forgotten(struct host *h, struct guest *g, const char *job);
bool host_move_happens(struct host *h, struct guest *g, enum guest_event event, const char *reason);
bool host_move_found(struct host *h, struct guest *g, bool alive, const char *reason);

/* restart.c */
/* It has ended by itself: what the policy says is put into the record and the timer, and the state set with the reason.
 */
void host_guest_ended(struct host *h, struct guest *g, enum api_vm_state state, const char *reason);
void host_guest_restart_later(struct host *h, struct guest *g);
void host_guest_restart(struct host *h, struct guest *g);
void host_guest_restart_forget(struct guest *g);
bool host_guest_restart_is_due(struct host *h, const struct guest *g);

/* repositories.c */
struct repository *host_repository_find(struct host *h, const char *id);
void host_repository_opened(struct host *h, const json_t *args, const json_t *result);
void host_repository_closed(struct host *h, const json_t *args);
/* All that this GuestStart (JSON text) needs, as far as is known. */
bool host_repository_usable_to(struct host *h, const char *start);
void host_repository_reopen(struct host *h, struct repository *r);
void host_repository_reopened(struct host *h, struct repository *r, const struct error *error, const json_t *result);
int host_repository_load(struct host *h, const char *id, const json_t *value, struct error *e);
void host_repository_free(struct repository *r);

/* cluster.c */
int host_cluster_load(struct host *h, const json_t *value, struct error *e);
void host_cluster_start(struct host *h);
void host_cluster_done(struct host *h);
void host_cluster_tick(struct host *h);
void host_cluster_reconfigured(struct host *h, const struct error *error);
/* An op on the cluster has been carried out. */
void host_cluster_op_done(struct host *h, enum api_agent_op kind, const json_t *args, const json_t *result);
json_t *host_cluster_state(const struct host *h, bool times);
/* Notes in a GuestStart whether it is to be watched, and under which lease the order came. */
void host_cluster_stamp(const struct host *h, json_t *start);
/* What was ordered before the server came into its pool and is begun, or begun again, after it: watched too. Its order
   came under no lease, so it does not start where one is needed by now, unless it was under way and came under it.
   What was ordered before the server left its pool is watched no more. */
void host_cluster_stamp_late(const struct host *h, const struct guest *g, const struct op *op, json_t *start);
/* May a guest that is watched run under the lease that its order came under? */
bool host_cluster_allows(const struct host *h, bool guarded, int64_t incarnation);
int64_t host_cluster_lease(const struct host *h, const struct guest *g); /* under which it is started again */
/* It was started before our start, and another server may have it by now. */
bool host_cluster_doubts(const struct host *h, const struct guest *g);
/* There is a ring, and that server is not in it. */
bool host_cluster_misses(const struct host *h, const char *server);
bool host_cluster_guards(const struct host *h);

/* report.c */
json_t *host_guest_report(const struct guest *g);
void host_report_guest(struct host *h, const struct guest *g);
void host_report_all(struct host *h);
void host_report_progress(struct host *h, struct op *op, int percent, const char *message);
json_t *host_event_frame(enum api_agent_event event, json_t *args);
