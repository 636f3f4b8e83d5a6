/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside src/core. Layers, each using only those before it:
 *
 *     inventory.c   objects by kind, id and name; versions
 *     commit.c      transactions: changes, the effects that wait for them, going back when the store fails
 *     filter.c      fields by their paths, and filters
 *     query.c       lists: filter, sort, page, fields; order.c keeps tables filtered and sorted by what was asked for
 *     search.c      text search over every kind
 *     parked.c      requests that take more than one go
 *     summary.c     figures of everything, kept as things change
 *     event_log.c   the log of events
 *     alarm.c       conditions that need somebody
 *     agents.c      connections, reports, messages
 *     job.c, lock.c the job engine (job_draft.c: records); undo.c takes back what is done
 *     job_*.c       the kinds of jobs: tables of steps
 *     cluster.c     the cluster of a pool
 *     failover.c    servers that are lost; fencing.c: of pools without a quorum
 *     protection.c  whether a highly available virtual machine would be restarted elsewhere
 *     op_*.c        the operations of the API
 *     core.c        construction, requests, ticks
 *
 * All changes of the inventory go through core_put() and core_remove() inside the transaction of the event that is
 * being handled. An object's data is immutable: to change it, copy the struct, change the copy, put it.
 */
#pragma once

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/units.h"
#include "core/core.h"
#include "core/query.h"

/* One version of an object. */
struct version {
    void *data; /* the generated struct of its kind; owned */
    char *text; /* public JSON, owned, of a kind that is read all the time; NULL: it is written when it is asked for */
    size_t len;
};

struct object {
    enum api_kind kind;
    char *id;          /* owned */
    struct version *v; /* NULL: deleted, kept only until the commit is durable */
    int64_t revision;
    uint64_t dirty;  /* the last commit that touched it */
    bool doomed;     /* never became durable; about to be freed */
    uint32_t search; /* search.c's; 0: none */
};

struct table {
    struct map by_id;       /* struct object *, whose ids it borrows */
    struct map by_name;     /* struct object *; kinds with unique names */
    struct object **sorted; /* by name, or by id for kinds without one */
    size_t n, cap;
    bool unsorted;  /* while loading */
    uint64_t dirty; /* the last commit that touched any of them */
    uint64_t swaps; /* counts every change */
    struct order orders[ORDERS_MAX];
};

/* What servers and repositories have; summary.c. */
struct capacity {
    uint64_t servers, repositories; /* their tables' swaps when it was added up */
    int64_t cpus, memory, storage, storage_free;
    size_t repository_states[CORE_STATES];
};

struct undo {
    struct object *o;
    struct version *old; /* NULL: it did not exist */
    int64_t old_revision;
};

/* What one event changes: becomes one batch. */
struct txn {
    struct list link; /* in core.pending once it is committed */
    uint64_t seq;
    struct batch *batch;
    struct undo *undo;
    size_t n_undo, cap_undo;
    struct list effects; /* REPLY, SEND, PUBLISH that wait for it */
    int64_t revision;    /* of all that it changes */
};

struct agent {
    char *server; /* id */
    bool connected, reported;
    int64_t offline_at; /* mono_ms when its guests become unknown; 0: not pending */
    /* failover.c; times in mono_ms, 0: never or none */
    struct api_cluster_state *state; /* what it said last of its pool; NULL: nothing in this connection */
    int64_t state_at, heard_at, welcome_at;
    int64_t quorate_until; /* when it was last known to hold its lease */
    int64_t check_at;      /* it is suspect, and to be looked at again then */
    uint64_t check;        /* the question about it that is open */
    int64_t check_sent;
    char *witness;        /* whom it was put to */
    int64_t silent_until; /* it has not answered one */
    uint64_t probe;       /* the question to itself whether it is there: others do not see it */
    int64_t probe_sent, probed_at;
    uint64_t late;    /* one that it had not answered in time */
    bool mute;        /* it has not answered that, whatever its connection looks like */
    int64_t again_at; /* it is to report anew then: it could not end what is not its any more, or was unheeded */
    int64_t tell_at, tell_wait; /* its guests' changes, which it could not take, are told again then; ms */
    bool unheeded;    /* it has said that it watches a guest, and was not believed: it was given up, or not armed */
    bool armed;       /* its deadman, as it says in this connection */
    char stale[UUID_LEN + 1]; /* which it was told last to end outside of a report; when */
    int64_t stale_at;
    int64_t lost_at;   /* when it said last that a guest had ended with its lease */
    int64_t belied_at; /* since when others have seen it although its power is off */
    /* fencing.c */
    int64_t unseen_at;             /* since when it has been silent, and the other of two servers has not seen it */
    int64_t fence_at, fence_delay; /* not switched off again before */
};

/* What is known of a job beyond its record. */
struct job_run {
    char *id;
    struct list link; /* core.jobs, in order of creation */
    uint64_t request; /* answered when it ends; 0: none */
    int64_t retry_at; /* mono_ms; 0: none */
    int percent;      /* of the step under way */
    bool aside;       /* queued, and in no object's queue: its kind lets it begin */
    bool woken;       /* queued, and what it waits for may be free now */
};

typedef int core_handler(struct core *c, const struct core_request *r, struct error *e);

struct core {
    struct core_config config;
    core_handler *handlers[API_OP_COUNT];
    struct idgen ids;
    int64_t last_id_ms;
    unsigned last_id_n;
    int64_t wall_ms, mono_ms;
    char client[64]; /* the address of who asks; "" */
    struct table tables[API_KIND_COUNT];
    struct map macs;   /* struct object * of the virtual machine, by address */
    struct map tagged; /* place_rules.c: struct tagged * by POOL/TAG */
    struct search *search;
    struct map undoable; /* struct object * of the job that could be undone, by its object */
    const char *undoing; /* while a job is being undone: its id, and of the job that does so */
    char undone_by[UUID_LEN + 1];
    const struct api_field *states[API_KIND_COUNT]; /* summary.c: the field "state"; NULL: it has none */
    struct map pool_sums;                           /* summary.c: struct pool_sum * by pool */
    struct capacity capacity;                       /* of everything */
    struct map alarms;                              /* struct object * of the active ones, by OBJECT/CODE */
    int64_t revision;

    struct list parked;     /* struct parked, in the order in which they came */
    struct parked *resumed; /* the one that is being gone on with */

    struct list effects; /* ready to go out */
    struct txn *txn;     /* the open one */
    struct list pending; /* committed, not yet durable; in order of seq */
    uint64_t seq, durable, failed_through, reported;
    bool started;
    int64_t began_at; /* mono_ms of core_start() */
    bool read_only;
    int64_t probe_at; /* when to try the store again */
    uint64_t probe_seq;

    struct map agents;    /* struct agent * by server id */
    struct list jobs;     /* struct job_run: queued, running and undoing */
    size_t n_aside;       /* of them */
    size_t n_woken;       /* of them */
    int64_t jobs_at;      /* mono_ms; none of them is to be tried again before that */
    int64_t recover_at;   /* job_recover.c: mono_ms of the next look at those that wait; 0: none */
    int64_t recovered_at; /* of the last one */
    struct round *round;  /* the look that is under way; NULL */
    struct map runs;      /* struct job_run * by job id */
    struct map locks;     /* struct lock * by object id */
    struct map held;      /* struct api_guest_report * by VM id */
    struct map arriving;  /* by id of an upload: when its last bytes came (core_upload_heard) */
    uint64_t next_check;  /* failover.c: of the questions */
    struct map loads;     /* struct server_load * by server id */
    int64_t next_sweep;
    int64_t deadline; /* core_next_deadline(); -1: something has happened since it was found */
    struct core_counts counts;
};

/* ---- inventory.c ---- */

struct object *core_find(const struct core *c, enum api_kind kind, const char *id_or_name); /* live ones only */
void *core_data(const struct core *c, enum api_kind kind, const char *id_or_name);          /* its data or NULL */
const char *object_name(const struct object *o); /* its id if it has no name */
void table_insert(struct core *c, struct object *o);
void table_sort(struct table *t, enum api_kind kind);
size_t table_lower_bound(const struct table *t, enum api_kind kind, const char *key);
void core_inventory_done(struct core *c);
/* Puts v in o's place, keeping the indexes; returns the old version (the caller's). */
struct version *object_swap(struct core *c, struct object *o, struct version *v, int64_t revision);
void object_forget(struct core *c, struct object *o); /* out of memory, not out of the store */
struct version *version_new(enum api_kind kind, void *data);
void version_free(enum api_kind kind, struct version *v);
void version_write(enum api_kind kind, const struct version *v, struct buf *out); /* its public JSON */
bool kind_named(enum api_kind kind); /* its names are unique: objects are found and sorted by them */
const char *kind_id(enum api_kind kind, const void *data);
const char *kind_name(enum api_kind kind, const void *data);                      /* NULL if the kind has none */
const char *own_key(enum api_kind kind, const char *id, const struct version *v); /* by which its table is sorted */

#define CORE_GET(c, lower, UPPER, id) ((struct api_##lower *)core_data(c, API_KIND_##UPPER, id))
/* A fresh copy of an object's struct, to be changed and put; the caller's. */
void *core_copy(enum api_kind kind, const void *data);
#define CORE_COPY(lower, UPPER, data) ((struct api_##lower *)core_copy(API_KIND_##UPPER, data))

/* ---- commit.c ---- */

void core_begin(struct core *c);
void core_end(struct core *c);    /* commits if anything changed */
void core_cancel(struct core *c); /* takes everything back, effects too: a refused request changes nothing */
/* Takes data (an allocated struct of the kind). Adds or replaces. */
void core_put(struct core *c, enum api_kind kind, void *data);
/* The same in memory only, for what is not worth storing (progress, free space). */
void core_put_volatile(struct core *c, enum api_kind kind, void *data);
/* Adds an object in memory only, outside a transaction: for the time when the store takes nothing. */
void core_show(struct core *c, enum api_kind kind, void *data);
void core_remove(struct core *c, enum api_kind kind, const char *id);
void core_remove_stored(struct core *c, const char *key); /* what is in the store alone */
void core_new_id(struct core *c, char ret[static UUID_LEN + 1]);
const char *core_now(const struct core *c, char buf[static TIME_TEXT_MAX]);

/* Effects of the open transaction. after: the reply also waits for that commit (what it read was not durable yet). */
void core_reply(struct core *c, uint64_t request, int status, char *text /* stolen */, int64_t revision,
                uint64_t after);
void core_reply_error(struct core *c, uint64_t request, const struct error *e);
void core_send(struct core *c, const char *server, json_t *message /* stolen */);
void core_publish(struct core *c, const char *type, enum api_kind kind, const char *id, const struct version *v,
                  int64_t revision);
void core_drop(struct core *c, const char *server);
struct core_effect *effect_new(enum core_effect_kind kind);
void core_commit_tick(struct core *c);
void core_commit_done(struct core *c);

/* ---- summary.c ---- */

/* Adds (by 1) or takes away (by -1) an object in core.counts. */
void count_state(struct core *c, const struct object *o, int by);
void counts_init(struct core *c);
void counts_done(struct core *c);

/* ---- search.c ---- */

struct search *search_new(void);
void search_free(struct search *s);
/* After every change of an object's version. */
void search_update(struct search *s, struct object *o);
void search_run_free(struct core *c, struct search_run *run);

/* ---- event_log.c ---- */

void core_event(struct core *c, enum api_severity severity, const char *actor, const char *code, enum api_kind kind,
                const char *id, const char *name, const char *job, const char *fmt, ...)
    __attribute__((format(printf, 9, 10)));
/* Drops ended jobs and events beyond config.history from memory. */
void core_trim_history(struct core *c);

/* ---- alarm.c: its head tells how to use it ---- */

void core_alarm_raise(struct core *c, enum api_severity severity, enum api_kind kind, const char *id, const char *name,
                      const char *code, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
void core_alarm_clear(struct core *c, const char *id, const char *code);
void alarms_index(struct core *c, struct object *o, bool add);
void alarms_observe(struct core *c, const struct object *o); /* after every change */
void alarms_forget(struct core *c, const char *id);          /* the object is removed */
void alarms_server_offline(struct core *c, const struct api_server *s);
void alarms_server_gone(struct core *c, const struct api_server *s, bool answers, const char *why);
void alarms_start(struct core *c);
void alarms_sweep(struct core *c);
void alarms_read_only(struct core *c, const char *message);
void alarms_writable(struct core *c);

/* ---- agents.c ---- */

struct agent *core_agent(struct core *c, const char *server); /* never NULL for a known server */
bool core_agent_ready(const struct core *c, const char *server);
void core_agents_tick(struct core *c);
int64_t core_agents_deadline(const struct core *c);
void core_agents_start(struct core *c);
void core_agents_done(struct core *c);
int core_need_agent(struct core *c, const char *server, struct error *e);
int server_check_stopped(struct core *c, const struct api_server *s, struct error *e); /* no guest of it may run */
/* Reports that came while a job held the virtual machine: applied when it lets go, unless its answer was newer. */
void core_apply_held_report(struct core *c, const char *vm);
/* A job lets it go: with its server out of reach since then, its state is not known any more. */
void agent_vm_free(struct core *c, const char *vm);
void core_drop_held_report(struct core *c, const char *vm, int64_t answered_sequence);
/* Whether it is guarded, by the answer or by a report that came with the same sequence: that is the later word, as an
   answer may be given again long after, and being guarded is no state of its own. */
bool core_held_guarded(const struct core *c, const char *vm, const struct api_guest_report *answer);
void core_drop_held_alive(struct core *c, const char *vm); /* unless it says that it has ended */
void core_set_vm_state(struct core *c, const char *vm, enum api_vm_state state, const char *reason);

/* ---- lock.c ---- */

void locks_add(struct core *c, const struct api_job *j); /* at the end of the queues */
void locks_add_first(struct core *c, const struct api_job *j); /* before those that wait: nobody else may hold one */
void locks_remove(struct core *c, const struct api_job *j);
bool locks_held(const struct core *c, const struct api_job *j, char ***ret_waiting, size_t *ret_n); /* may it run? */
const char *locks_holder(const struct core *c, const char *object);
void locks_done(struct core *c);

/* ---- job.c ---- */

struct job_ctx {
    struct core *c;
    struct api_job *job; /* the copy being changed; put by the engine */
    struct job_run *run;
    int64_t param; /* of the step */
    bool undo;
    bool called; /* a call was made */
};

/* LATER: nothing has been done; run again at run->retry_at, which it has set. Until then the job can be aborted. */
enum { STEP_DONE = 0, STEP_WAIT = 1, STEP_LATER = 2 };

struct job_step_def {
    const char *name;
    unsigned weight;
    bool forward; /* past the point of no return: retried until it succeeds, not undone */
    int (*run)(struct job_ctx *x, struct error *e);                        /* STEP_DONE, STEP_WAIT or an error */
    int (*done)(struct job_ctx *x, const json_t *result, struct error *e); /* the call's answer; NULL: nothing to do */
    int (*undo)(struct job_ctx *x, struct error *e);                       /* NULL: nothing to undo */
    int (*undone)(struct job_ctx *x, const json_t *result,
                  struct error *e); /* the undo's answer; NULL: nothing to do */
    /* An undo refused with ERR_CONFLICT is done: what it would take back is no longer so. And of a forward step: one
       refused with ERR_CONFLICT has not happened and never will, so the job goes back after all. */
    bool moot;
    /* Where its call is about a repository and may be made twice: another server that has it does it when the one that
       was asked goes away. Not what makes something: the first server may be at it still. */
    unsigned anywhere;
    /* The server to which the call went was given up, and its guests are dead, or it was removed: is the step done
       (STEP_DONE), or an error? NULL: a step that goes forward, or is undone, is done, any other has failed. */
    int (*gone)(struct job_ctx *x, struct error *e);
    /* Only that server can say what has become of it: while it is given up, and not removed, it is waited for. */
    bool (*waits)(const struct core *c, const struct api_job *j);
};
#define ANYWHERE_DO   1u
#define ANYWHERE_UNDO 2u

struct job_kind {
    const char *name;
    const struct job_step_def *steps;
    size_t n_steps;
    /* May it run now? Asked at the request if nothing is queued before it, and again when its turn comes. NULL: yes. */
    int (*check)(struct job_ctx *x, struct error *e);
    /* After its last step or its last undo, in the same transaction. NULL: nothing. */
    void (*ended)(struct job_ctx *x);
    /* Its jobs wait outside of their objects' queues, in nobody's way, until job_admit() or job_call_off(). */
    bool aside;
    /* Whether it cannot come to a good end without that server, whoever carries out its step: until a forward step it
       is called off when the server is given up. NULL: no. */
    bool (*needs)(const struct api_job *j, const char *server);
};

struct job_request {
    const struct job_kind *kind;
    const char *actor;
    char *title;  /* stolen */
    json_t *args; /* stolen */
    enum api_kind object_kind;
    const char *object_id, *object_name;
    uint64_t request;  /* the request to answer, 0 for none */
    bool reply_at_end; /* with the object itself rather than the job */
};

/* Adds steps and locks to the job of a request, then job_submit(). */
struct api_job *job_draft(struct core *c, const struct job_request *q);
void job_add_step(struct api_job *j, const struct job_kind *kind, const char *step, int64_t param);
void job_lock(struct api_job *j, enum api_kind kind, const char *id, const char *name, bool shared);
void job_warn(struct api_job *j, char *text /* stolen */); /* its field warnings */
/* In vars: "asked", every server that was asked for something, as an undo or another try may have gone to another one;
   "skipped", those that should have been and were not, because they were given up. */
void job_note_server(struct api_job *j, const char *list, const char *server);
char *job_wait_text(const struct api_server *s, bool aborting);
/* Its virtual machine runs elsewhere for good, and disks that it has left are to be deleted: nobody waits for that. */
bool migrate_has_moved(const struct api_job *j);
/* Its virtual machine may have to go back to that server, which it has left. */
bool migrate_may_go_back(const struct api_job *j, const char *server);
/* {server, message}: the call that is under way, or after whose failure it tries again; NULL: none. */
const json_t *job_call_of(const struct api_job *j);
void job_reply_at_end(struct job_ctx *x);
/* Refuses (freeing the draft) or takes it: runs its first steps now or queues it. Replies unless it fails. */
int job_submit(struct core *c, const struct job_request *q, struct api_job *j, struct error *e);

/* A step's remote effect: made durable with the step, then sent whenever that server is connected. args is stolen. */
int job_call(struct job_ctx *x, const char *server, enum api_agent_op op, json_t *args, struct error *e);
void job_drop_changes(struct api_job *j); /* they have been taken back */
void job_changed(struct job_ctx *x, enum api_kind kind, const char *id, const char *name, const char *action,
                 const char *detail);
const struct job_kind *job_kind_by_name(const char *name);
/* In ended(), before another job on the same objects is submitted: in each batch this one's end comes first. */
void job_put_end(struct job_ctx *x);

void jobs_start(struct core *c); /* after loading, and after the store's recovery: rebuild, go on */
void jobs_resend(struct core *c, const char *server);
void jobs_reroute(struct core *c, const char *server); /* it has been away for a while */
/* The server was given up: calls to guests there are not waited for any more. */
void jobs_server_gone(struct core *c, const char *server, const char *name);
/* Orders to fence agents are for now: one whose server is away is not waited for, nor one that `by` had ("": none). */
void jobs_fence_lost(struct core *c, const char *by);
void jobs_server_forgotten(struct core *c, const char *server, const char *name); /* out of the inventory, for good */
void jobs_answer(struct core *c, const char *server, const char *id, const json_t *message);
void jobs_progress(struct core *c, const char *server, const char *op, int percent, const char *message);
bool jobs_active(const struct core *c, const char *job);
bool jobs_hold(const struct core *c, const char *object); /* exclusively, running or undoing */
void jobs_tick(struct core *c);
int64_t jobs_deadline(const struct core *c);
int job_abort(struct core *c, const char *id, const char *actor, struct error *e);
/* Into the log: who asked for it. */
void job_abort_note(struct core *c, const struct core_request *r, const char *id);
void jobs_done(struct core *c);
/* It waits for another try: now. */
void job_soon(struct core *c, const char *id);
/* One that stands aside begins; its objects are free. With vars.KEY = value first. */
void job_admit(struct core *c, const char *id, const char *key, const char *value);
/* One that stands aside ends as aborted, because it is not wanted any more. */
void job_call_off(struct core *c, const char *id, const char *why);

/* ---- undo.c ---- */

void undo_offer(struct api_job *j); /* it has ended; before its arguments are dropped */
void undo_index(struct core *c, struct object *o, bool add);
/* Something else has changed the object: the job that changed it before can no longer be undone. */
void undo_touched(struct core *c, const char *object);

/* ---- kinds of jobs ---- */

extern const struct job_kind job_repository_create, job_repository_delete, job_upload_create, job_upload_delete,
    job_disk_create, job_disk_delete, job_template_create, job_template_delete, job_vm_create, job_vm_delete,
    job_vm_start, job_vm_stop, job_vm_kill, job_vm_restart, job_vm_suspend, job_vm_resume, job_vm_policy, job_pool_add,
    job_pool_remove, job_vm_migrate, job_iso_create, job_iso_delete, job_vm_cdrom, job_repository_present,
    job_repository_withdraw, job_pool_cluster, job_vm_recover, job_server_fence, job_server_maintenance;

/* Parts of jobs on virtual machines. */
void vm_job_state(struct job_ctx *x, enum api_vm_state state);
int vm_wrong_state(const struct api_vm *vm, const char *hint, struct error *e);
int vm_disks_ready(struct core *c, const struct api_vm *vm, struct error *e);
int vm_step_start(struct job_ctx *x, struct error *e);
int vm_step_kill(struct job_ctx *x, struct error *e);

/* Before a start is ordered: it has the CPU that its pool gives its guests now, and with it its server is told all;
   unless it may run there already (may_run), and the order is for nothing. */
void vm_begin_anew(struct core *c, const char *vm, bool may_run);
/* Its server is told its name and policy, or its limits, as they are now: at once, or when it is there again. */
void vm_tell(struct core *c, const char *vm, const char *actor, bool policy, bool limits);
/* What it could not be told, if there was something; of one, or of all that the server has. */
void vm_tell_again(struct core *c, const char *vm);
void vms_tell_again(struct core *c, const char *server);
/* GuestStart for a VM, with everything that its agent needs. */
json_t *vm_guest_start(struct core *c, const struct api_vm *vm);
int vm_check_server(struct core *c, const struct api_vm *vm, struct error *e);
/* An answer that is a GuestReport: the virtual machine is as it says. */
int vm_take_report(struct job_ctx *x, const json_t *result, struct error *e);
/* Not every state is an agent's to report. */
bool guest_state_valid(enum api_vm_state state);
void vm_ended(struct job_ctx *x);
/* The job has ended, whatever its kind: what has waited for that, on each virtual machine that it held. */
void vms_let_go(struct job_ctx *x);

/* Live migration: a job vm.migrate, for the operation and for what moves many (a server's maintenance). */
struct vm_migrate {
    const char *vm;         /* id */
    const char *to;         /* server; NULL or "": Tarn chooses */
    const char *repository; /* for disks that move too; NULL or "": one of its own */
    bool disks;             /* those that the other server does not reach move too */
    const char *actor;
    uint64_t request; /* the request to answer; 0: none */
};
/* Checks, drafts and submits. ret_job (UUID_LEN + 1 bytes, or NULL): the job's id. A job under way has its destination
   in args.to. */
int vm_migrate(struct core *c, const struct vm_migrate *m, char *ret_job, struct error *e);
/* The upload's file on its server goes; a step's run. */
int job_upload_delete_call(struct job_ctx *x, const char *upload, struct error *e);
/* An image in a job's arguments: {upload, path, format}. */
int job_check_image(struct core *c, const json_t *image, struct error *e); /* the upload is there and complete */
void job_image_args(json_t *args, const json_t *image);
/* The steps "tidy" and "forget upload" of the kind, if the image is an upload's, and the lock of that. */
void job_add_image_steps(struct core *c, struct api_job *j, const struct job_kind *kind, const json_t *image,
                         int64_t param);
void core_upload_heard(struct core *c, const char *id); /* bytes of it have come */
void core_upload_expire(struct core *c, const struct api_upload *u);

/* ---- repository.c ---- */

/* How that server finds it; NULL: it is not presented there. */
const struct api_repository_server *repository_on(const struct api_repository *r, const char *server);
/* One of a pool is on storage that the pool's next servers may have. */
bool repository_is_only_on(const struct api_repository *r, const char *server);
/* The server that does an op on it: prefer (or NULL) if that can, else the first that can, else one that will. "" if it
   is presented nowhere. */
const char *repository_route(const struct core *c, const struct api_repository *r, const char *prefer);
int core_need_repository(struct core *c, const struct api_repository *r, struct error *e);
/* The pool all of whose servers it is for, or that all its servers are in; "" for none. */
const char *repository_pool(const struct core *c, const struct api_repository *r);
bool repository_usable(const struct api_repository *r); /* by any of its servers */
/* Changes of a copy that is to be put. */
void repository_presented(struct api_repository *r, const char *server, bool usable, const char *reason);
void repository_withdrawn(struct api_repository *r, const char *server);
void repository_upgrade(struct api_repository *r); /* one stored before there were several servers */
void repositories_forget_server(struct core *c, const char *server);
int repository_check_path(struct core *c, const struct api_repository *r, const char *server, struct error *e);
bool vm_needs_repository(const struct core *c, const struct api_vm *vm, const char *repository);
/* A repository that it needs and the server has not; NULL: none. */
const struct api_repository *vm_unreached(const struct core *c, const struct api_vm *vm, const char *server);
/* One that it needs and the server has but cannot use now; NULL: none. */
const struct api_repository *vm_unusable(const struct core *c, const struct api_vm *vm, const char *server);
int vm_check_reach(const struct core *c, const struct api_vm *vm,
                   struct error *e); /* is there a server for it at all? */
bool state_is_off(enum api_vm_state state);
bool vm_is_off(const struct api_vm *vm); /* stopped or crashed */
/* It runs there, is on its way there, or is about to be restarted there. */
bool vm_needs_server(const struct api_vm *vm, const char *server);

/* Steps of job_repository.c for other jobs, on args.present[param]. */
void present_entry(struct job_ctx *x, const char *repository, const char *server, const char *proof);
int present_prove(struct job_ctx *x, struct error *e);
int present_tidy(struct job_ctx *x, struct error *e);
int present_open(struct job_ctx *x, struct error *e);
int present_opened(struct job_ctx *x, const json_t *result, struct error *e);
int present_close(struct job_ctx *x, struct error *e);
int present_closed(struct job_ctx *x, const json_t *result, struct error *e);
int present_take_away(struct job_ctx *x, struct error *e);
/* ---- cluster.c: the cluster of a pool ---- */

bool cluster_is_armed(const struct api_server *s);
/* Makes the cluster what the pool is, by a job, if it is not. */
void cluster_sync(struct core *c, const char *pool);
void cluster_sync_all(struct core *c);
void cluster_show(struct core *c, const struct api_server *s, const struct api_cluster_state *state);
void cluster_show_pool(struct core *c, const char *pool);
void cluster_check_proof(struct core *c, const char *pool); /* what its failover rests on may have changed */

/* ---- failover.c: servers that are lost ---- */

void agent_cluster_free(struct agent *a);
bool server_is_gone(const struct core *c, const char *server);
/* Its guests' changes are told again after a while, longer each time. */
void agent_tell_later(struct core *c, const char *server);
/* What a report makes of `watched`; its start is ordered. */
bool failover_watches(struct core *c, const char *server, const struct api_guest_report *g);
void failover_vm_ordered(struct core *c, const char *vm, bool off);
void failover_connected(struct core *c, const char *server);
void failover_disconnected(struct core *c, const char *server);
void failover_state(struct core *c, const char *server, const struct api_cluster_state *state);
void failover_answer(struct core *c, const char *server, const char *id, const json_t *message); /* to check/... */
void failover_fenced(struct core *c, const char *server);                                        /* its power is off */
/* No job holds it any more: what became of its server meanwhile counts now. */
void failover_vm_free(struct job_ctx *x, const char *vm);
/* Its server has lost its pool, so it ends with the lease; that it has is on its way. */
bool failover_vm_ending(struct core *c, const struct api_vm *vm);
bool failover_is_seen(struct core *c, const struct api_server *s); /* by one that holds its lease: it is up */
bool failover_vm_dies(const struct core *c, const struct api_vm *vm); /* for good, when its server is given up */
void failover_vm_skipped(struct job_ctx *x, const char *vm);
void failover_vm_lost(struct core *c, const char *vm); /* its agent says so */
/* A guest in the report of a server to which it does not belong any more. */
bool failover_stale(struct core *c, const char *server, const struct api_guest_report *g);
void failover_came_up(struct core *c, const char *server, const struct api_guest_report *g);
void failover_kill_stale(struct core *c, const char *server, const struct api_guest_report *g);
/* Its agent's answer to an order of that; true: the last of them. */
bool failover_stale_answered(struct core *c, const char *server, const char *id, const json_t *message);
void failover_look(struct core *c, const char *server); /* something about it has changed */
void failover_look_pool(struct core *c, const char *pool);
/* For fencing.c: asks it itself whether it is there; asks another what it sees. */
void failover_probe(struct core *c, struct agent *a, const struct api_server *s);
void failover_ask(struct core *c, struct agent *a, struct agent *witness);
void failover_start(struct core *c);
void failover_tick(struct core *c);
int64_t failover_deadline(const struct core *c);

/* ---- fencing.c: lost servers of pools without a quorum ---- */

/* The other of two servers has a ring, and this one is not in it. */
bool fencing_missed(const struct core *c, const struct api_server *s);
bool fencing_seen(const struct core *c, const struct api_server *s); /* by another of its pool, as that said last */
bool fencing_contradicted(const struct core *c, const struct api_server *s);
void fencing_review(struct core *c, struct agent *a, const struct api_server *s);
void fencing_answered(struct core *c, struct agent *a, const struct api_server *s);
void fencing_stand_down(struct core *c, struct agent *a);
void fencing_failed(struct core *c, const char *server);
void fencing_changed(struct core *c, const char *server); /* its fence agent's settings */
enum api_failover_proof pool_proof(const struct core *c, const struct api_pool *p);
void pool_check_protection(struct core *c, const struct api_pool *p);
/* job_fence.c */
bool fence_under_way(const struct core *c, const char *server);
void fence_off(struct core *c, const char *server);

/* ---- protection.c: whether a highly available virtual machine would be restarted elsewhere ---- */

char *vm_unguarded(const struct core *c, const struct api_vm *vm); /* what is against it, a clause; NULL: nothing */
void protection_fill(const struct core *c, struct api_vm *vm);     /* one that is about to be put */
/* What of its pool loses its protection when that server leaves it now, with its own virtual machines or without, in
   words; NULL: nothing. */
char *protection_without(const struct core *c, const char *server, bool takes_its_own);
void protection_pool(struct core *c, const char *pool);            /* what its failover rests on has changed */
void protection_rule(struct core *c, const struct api_rule *r);    /* which has been removed */
void protection_observe(struct core *c, enum api_kind kind, const void *was /* NULL */, const void *now);

/* ---- job_recover.c ---- */

void recover_submit(struct core *c, const char *vm, int64_t tries);
/* A recovery of this virtual machine waits. */
bool recover_waits(const struct core *c, const char *vm);
/* Somebody has decided otherwise: the recovery that waits, if there is one, ends. */
void recover_call_off(struct core *c, const char *vm, const char *why);
/* Something has changed that those that wait may have waited for. */
void recover_soon(struct core *c);
/* The same, after every change of an object. */
void recover_observe(struct core *c, const struct object *o, const struct version *old);
void recover_tick(struct core *c);
void recover_done(struct core *c);
bool pool_restarts(const struct core *c, const struct api_vm *vm);

/* ---- load.c ---- */

/* The virtual machines that have this server, sorted by name: an array of its own for the caller. */
struct object **server_vms(const struct core *c, const char *server, size_t *ret_n);

struct server_load {
    int64_t cpus, memory, guests, nics; /* of virtual machines that count there */
    int64_t ha_cpus, ha_memory;         /* of those that are highly available */
    double busy_cpus, busy_net;         /* measured: CPUs in use, bytes in a second */
    int64_t told_at;                    /* mono_ms; 0: never */
    struct object **vms;                /* that have it as their server, whatever their state */
    size_t n_vms, cap_vms;
};
const struct server_load *server_load(const struct core *c, const char *server); /* never NULL */
bool load_is_told(const struct core *c, const struct server_load *l);
bool vm_counts(const struct api_vm *vm); /* it takes room on its server */
bool vm_counts_at(const struct api_vm *vm, const char *server);
bool vm_will_restart(const struct api_guest_report *g); /* its agent is about to restart it */
/* place_rules.c: a rule that keeps it from that server for good, whatever runs where; NULL: none does. */
const struct api_rule *rule_barring(const struct core *c, const struct api_vm *vm, const char *server);
bool rule_bars(const struct api_rule *r); /* it may be such a one */
bool rule_is_about(const struct api_rule *r, const struct api_vm *vm);
/* After every change of a virtual machine. */
void tags_index(struct core *c, struct object *o, const struct version *old);
void tags_done(struct core *c);
void load_count(struct core *c, struct object *vm, int by); /* from object_swap() */
void loads_done(struct core *c);

/* ---- place.c ---- */

struct server_room {
    int64_t cpus, memory; /* that may be promised in all; -1: no limit */
};
struct server_room pool_room(const struct api_pool *pool, const struct api_server *s); /* pool: NULL for none */

struct place_options {
    const char *only;   /* this server or none; NULL, "": any */
    const char *not_on; /* it is to leave this one; NULL, "": none */
    bool moving;        /* it runs: its CPU must be there as it was started with */
    bool recovery;      /* after a failure: the room that is kept for that may be taken */
    bool stopped;       /* it does not start now: room and rules do not count */
    bool takes_storage; /* disks that the other server does not reach move with it */
    bool fresh;         /* the server that it has was chosen for it a moment ago: no reason to stay */
};
struct place_choice {
    const struct api_server *server;
    bool ok;
    int64_t score;
    enum error_code code; /* of what is against it */
    char *reason;         /* reads on from: server "x" … */
};
struct placement {
    struct place_choice *choices; /* the best first, then those that are refused */
    size_t n;
    const struct api_server *best; /* NULL: none can take it */
};
/* vm may be one that is not in the inventory yet. o: NULL for none. */
void place(const struct core *c, const struct api_vm *vm, const struct place_options *o, struct placement *ret);
void placement_done(struct placement *p);
/* Why none can take it. */
int placement_error(const struct placement *p, const struct api_vm *vm, struct error *e);
/* That server if it can take it, else the best; NULL: none. */
const struct api_server *placement_keeps(const struct placement *p, const char *server);
#define PLACEMENT_KEPT 16
/* With the job, PLACEMENT_KEPT at most; chosen: NULL for none. */
void placement_keep(const struct placement *p, const struct api_server *chosen, struct api_job *j);
void placement_tell(const struct placement *p, struct api_placement *ret);
/* Its job has ended: it counts where it runs only. */
void vm_unreserve(struct core *c, const char *vm);

/* A guest has left the server, or was to: its maintenance may go on. */
void maintenance_look(struct core *c, const char *server);

/* ---- pools ---- */

/* Whether guests with this CPU model can run there; also true where the server has not told its models. */
bool server_has_cpu_model(const struct api_server *s, const char *model);
/* Their CPUs are of different makers, and KVM shows that to guests: none that runs goes over from the one to the other,
   unless its model is neutral. */
bool servers_differ_in_cpu(const struct api_server *a, const struct api_server *b);
bool cpu_model_is_neutral(const char *model);
bool cpu_model_known(const char *model);
/* The model that the pool's guests are given, from its baseline and its members; the caller's. */
char *pool_cpu_model(const struct core *c, const struct api_pool *p);
/* Whether its servers hold more than its policy allows, which is shown and changes nothing. */
void pool_check_room(struct core *c, const struct api_pool *p);
/* Its members or their hardware have changed. */
void pool_refresh(struct core *c, const char *pool);
/* Out of the inventory, and out of what names it. */
void vm_remove(struct core *c, const char *vm);
/* rules_check.c: whether all that must hold can, with this rule (as it is to be) or with this virtual machine's tags
   (old: NULL for a new one). */
int rules_check(const struct core *c, const struct api_rule *rule, struct error *e);
int rules_check_vm(const struct core *c, const struct api_vm *old, const struct api_vm *vm, struct error *e);
void rules_forget_vm(struct core *c, const char *vm);
void rules_forget_server(struct core *c, const char *server);
/* server_forget.c: removes a server that is gone for good; *ret: a ServerRemoved, owned. */
int server_forget(struct core *c, const char *server, const char *actor, json_t **ret, struct error *e);

/* ---- limits.c ---- */

bool vm_has_limits(const struct api_vm *vm);
bool vm_same_limits(const struct api_vm *a, const struct api_vm *b);
int vm_check_limits(const struct api_vm *vm, struct error *e);
/* Why the server cannot keep them, a clause; NULL if it can, or has not told. The caller's. */
char *server_limits_problem(const struct api_server *s, const struct api_vm *vm);

/* ---- address.c: what servers' addresses are for ---- */

/* The address of this role or the one that stands in for it; "" for a server that has never connected. Borrowed. */
const char *server_role_address(const struct api_server *s, enum api_network_role role);
/* Where corosync's rings are, in their order; 0 for a server that has no address yet. */
size_t server_rings(const struct api_server *s, const char *ret[static 2]);
int server_check_addresses(const struct core *c, const struct api_server *old, const struct api_server *next,
                           struct error *e);
/* Whether the fence settings may be so (base/fence_rules.h). */
int server_check_fence(const struct api_server *s, struct error *e);
/* Whether a server fits into a clustered pool, and its members to each other. */
int pool_check_heartbeats(const struct core *c, const char *pool, const struct api_server *s, struct error *e);
/* Whether the others can reach it at all. */
int pool_check_reach(const struct core *c, const char *pool, const struct api_server *s, struct error *e);
int pool_check_all_heartbeats(const struct core *c, const char *pool, struct error *e);
void server_tell_addresses(struct core *c, const struct api_server *s);
/* Events for addresses with a role that have gone or come back, and an alarm while one is missing. */
void server_note_addresses(struct core *c, const struct api_server *old, const struct api_server *now);

/* ---- operations ---- */

#define X(name) core_handler op_##name;
API_CORE_OPS(X)
#undef X

/* The object that a path parameter names, or ERR_NOT_FOUND. */
struct object *core_param(struct core *c, const struct core_request *r, int i, enum api_kind kind, struct error *e);
int core_check_if_match(const struct core_request *r, const struct object *o, struct error *e);
int core_check_name_free(struct core *c, enum api_kind kind, const char *name, const char *except_id, struct error *e);
/* Turns names in x-ref fields into ids. */
int core_resolve_refs(struct core *c, enum api_kind kind, void *data, struct error *e);
/* The repository named, or the only one there is. */
struct api_repository *core_pick_repository(struct core *c, const char *id_or_name, struct error *e);
/* Checks an ImageSource of a request; *ret is the image for a job's arguments, the caller's. */
int core_image_source(struct core *c, const struct core_request *r, const struct api_image_source *s, const char *field,
                      const char *repository, json_t **ret, struct error *e);
/* Where its upload is; NULL. */
const char *core_image_repository(struct core *c, const struct api_image_source *s);
/* A change of an object that needs no job: merged, its name free, checked (NULL: nothing more is to be), put and
   told as an event. *ret is the object, for core_reply_object(). */
typedef int core_change_check(struct core *c, const struct core_request *r, const struct object *o, const void *next,
                              struct error *e);
int core_change(struct core *c, const struct core_request *r, enum api_kind kind, core_change_check *check,
                struct object **ret, struct error *e);
/* The same with its reply, for kinds of which nothing else depends on a change. */
int core_change_and_reply(struct core *c, const struct core_request *r, enum api_kind kind, core_change_check *check,
                          struct error *e);
/* A deletion by job: one lock, the steps of the kind in their order. */
int core_submit_delete(struct core *c, const struct core_request *r, const struct job_kind *kind, struct object *o,
                       struct error *e);
/* Completes the CD drives among a virtual machine's disks, and refuses what makes no sense. */
int core_shape_cdroms(struct api_vm *vm, struct error *e);
void core_add_cdrom(struct api_vm *vm, const char *iso);
/* Whether a virtual machine on that server may have it in a drive; "" is nothing, and may. */
int core_check_iso(struct core *c, const char *server, const char *id, const char *field, struct error *e);
/* Has the handler called, in a transaction. */
void core_handle(struct core *c, const struct core_request *r);
bool core_is_admin(const struct core_request *r);
const char *kind_word(enum api_kind kind); /* "virtual machine" */
