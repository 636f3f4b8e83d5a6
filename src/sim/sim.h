/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: the real core and the real host brains, in one process, on a simulated clock, network, stores,
 * disks and hypervisors, all drawn from one seed. A schedule is: servers join, clients ask for a random mix of
 * every operation in the API's description while faults are injected; then the faults stop, everything comes to
 * rest, and the world is compared with the inventory. After every event the invariants of check.c hold.
 *
 *     world.c     clock, events, randomness, trace
 *     json_quick.c  JSON, read and written faster
 *     disk.c      a process's durable store: latency, failures, what a crash leaves
 *     manager.c   the core as a process
 *     server.c    a host brain as a process, with its connection
 *     pool.c      a clustered pool: how it is made, what its policy promises
 *     ring.c      the servers of a pool among themselves: partitions, corosync, deadmen
 *     driver.c    what really is on a server: guests, files; calls take time, fail, hang, and outlive the agent
 *     client.c    requests drawn from the description
 *     check.c     the invariants
 *     watch.c     a client of the event stream
 *     cover.c     what was reached
 *     schedule.c  one schedule; main.c many
 *     hunt.c      many schedules of one pool, each from where it was made; arena.c its memory
 */
#pragma once

#include "base/batch.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"
#include "guest/deadman.h"
#include "guest/host.h"

#define SIM_SERVERS_MAX DEADMAN_NODES
#define US_PER_MS 1000
#define TRACE_LINES 150

struct sim;

/* Faults: how often, in millionths for each chance that there is. Each schedule draws its own set; many are 0. */
#define SIM_FAULTS(X)                                                                   \
    X(MANAGER_CRASH, "manager crash")            /* before an event, or between two of its effects */ \
    X(AGENT_CRASH, "agent crash")                                                       \
    X(PAUSE, "pause")                            /* a process stops for seconds and goes on */ \
    X(CUT, "connection cut")                     /* what is under way is lost */        \
    X(HALF_CUT, "one-way partition")             /* messages vanish one way until the heartbeat ends the connection */ \
    X(STORE_FAILS, "store fails")                /* full or broken for a while */       \
    X(STORE_SILENT, "store commits and does not say so") /* the process crashes in between */ \
    X(STORE_SLOW, "store slow")                                                         \
    X(CALL_FAILS, "driver error")                                                       \
    X(CALL_HALF, "driver error with half of the work done")                             \
    X(CALL_SLOW, "driver slow")                                                         \
    X(CALL_HANGS, "driver hangs")                /* until the faults stop */            \
    X(GUEST_OFF, "guest powers off")                                                    \
    X(GUEST_DIES, "guest dies")                                                         \
    X(GUEST_RESETS, "guest resets")                                                     \
    X(REPOSITORY_LOST, "repository unusable")                                           \
    X(CLOCK_JUMP, "wall clock jumps")                                                   \
    X(ABORT, "operator aborts")                                                        \
    X(PARTITION, "heartbeat network partitioned")                                       \
    X(POWER, "server loses its power")                                                  \
    X(UNREACHABLE, "server's network to the manager is down")                           \
    X(COROSYNC_DIES, "corosync dies")                                                   \
    X(COROSYNC_STUCK, "corosync hangs for a while")                                     \
    X(DEADMAN_DIES, "deadman dies")                                                     \
    X(MANAGER_AWAY, "manager away for a minute")

enum sim_fault {
#define X(name, text) FAULT_##name,
    SIM_FAULTS(X)
#undef X
    FAULT_COUNT
};
extern const char *const sim_fault_texts[FAULT_COUNT];

struct sim_config {
    uint64_t seed;
    unsigned branch; /* which schedule of those that begin with the pool that the seed makes; 0: the seed's own */
    int servers, clients, requests;
    bool pool; /* the servers are a clustered pool with highly available guests */
    bool two;  /* … of two servers, where one that is lost is switched off */
    bool ha_changes; /* somebody makes guests highly available, or not any more, again and again */
    unsigned fault[FAULT_COUNT];
    /* For the shrinker: the n-th fault or request that the seed would give is left out. */
    const bool *drop_fault, *drop_request;
    size_t n_drop_fault, n_drop_request;
};

struct sim_event {
    int64_t at; /* us */
    uint64_t order;
    void (*run)(struct sim *s, struct sim_event *e);
    void (*drop)(struct sim_event *e); /* frees p when it is not run */
    int server;                        /* -1: the manager, or none */
    bool work;                         /* until it has run, the world is not at rest */
    uint64_t epoch;                    /* of its process or connection; stale ones are dropped */
    uint64_t a;
    void *p;
};

/* ---- disk.c ---- */
struct disk_commit {
    struct list link;
    uint64_t seq;
    struct batch *batch;
};
struct sim_disk {
    struct map live;      /* key: char * value; durable */
    struct map calls;     /* ids of calls that were durable in a job's record */
    struct list queue;    /* handed in, not yet durable */
    bool flushing, failed;
    int64_t broken_until; /* us */
    int error;
};

struct process {
    const char *name;
    bool up;
    uint64_t epoch;     /* of this life */
    int64_t paused_until;
    int64_t timer_at;   /* us, of the tick that is scheduled */
    uint64_t timer_id;  /* which of those scheduled it is */
    int64_t wall_offset_ms;
    int drift_ppm;
    struct sim_disk disk;
};

/* ---- driver.c ---- */
struct sim_guest {
    struct list link;
    char vm[UUID_LEN + 1];
    bool running;  /* vCPUs run; else paused */
    bool over;     /* it powered itself off; the process is kept only to tell so */
    bool asked;    /* its power button was pressed */
    uint64_t life; /* which process it is */
    char move[UUID_LEN + 1]; /* the migration for which it waits, or in which it was sent */
    bool incoming, loaded;   /* it waits; all of it is there */
    bool sent, passed;       /* all of it has gone to another server; it goes on there */
    uint64_t version;        /* of what is in its memory: grows while it runs */
    char disks[8][UUID_LEN + 1], in[8][UUID_LEN + 1]; /* and the repositories */
    size_t n_disks;
    int64_t memory;
    int cpus;
};
struct sim_file {
    int64_t size, received;
    bool whole;
    bool sealed;
    char base[UUID_LEN + 1]; /* a linked clone's template */
};
struct sim_watched {
    char vm[UUID_LEN + 1];
    uint64_t life;
};
/* corosync and tarn-deadman of a server; see ring.c */
struct sim_ring {
    bool corosync, deadman;
    uint64_t corosync_life, life;
    int64_t stuck_until; /* us: corosync hangs */
    uint64_t id;         /* of its ring; 0: none */
    int64_t at;          /* when it was installed, on its clock */
    uint32_t members[SIM_SERVERS_MAX];
    size_t n_members;
    struct deadman_peers peers;
    struct deadman lease;
    bool armed;
    bool tended, wanted; /* by the agent: it has both started again; it has the deadman armed again */
    bool expecting; /* an event will look at the lease's end */
    bool told;      /* by this agent, what it is to watch of what ran before */
    struct sim_watched watched[64];
    size_t n_watched;
};
struct sim_server {
    struct process p;
    struct host *h;
    char *id, *name; /* in the inventory */
    int64_t memory;
    int cpus;
    bool connected;
    uint64_t connection; /* epoch */
    bool deaf, mute;     /* one-way partition: from, to the manager */
    int64_t down_at, up_at;  /* when the last message of each direction arrives: order is kept */
    struct list guests;
    struct map opened; /* repositories: every server sees in one what every other sees */
    bool repositories_lost;
    struct map done;  /* op id -> (void *)1: its answer is durable there */
    bool clustered;
    uint32_t nodes[DEADMAN_NODES];
    char node_server[DEADMAN_NODES][UUID_LEN + 1];
    size_t n_nodes;
    struct sim_ring ring;
    int64_t unreachable_until; /* us: no way to the manager */
    bool away;                 /* without power, it does not start again */
};

struct sim_manager {
    struct process p;
    struct core *c;
};

struct cover;
struct model;
struct watch;

struct sim {
    struct sim_config config;
    struct idgen rng;
    int64_t now; /* us */
    struct sim_event *heap;
    size_t n, cap, work; /* how many of them are work */
    uint64_t order, events;
    bool faults_on;
    int64_t rest_at; /* when they stopped */
    bool patient;    /* nobody gives up what waits */
    uint64_t lives; /* guests' processes until now */
    bool tight;        /* a pool in which room is short */
    bool policy_holds; /* nobody has changed what its policy allows, nor what its virtual machines need */
    bool failover_off; /* somebody has asked a pool not to restart anything, for a while at least */
    bool link[SIM_SERVERS_MAX][SIM_SERVERS_MAX]; /* of the heartbeat network, from, to */
    uint64_t rings, partitions;
    uint64_t faults[FAULT_COUNT];
    size_t fault_n, request_n;

    struct sim_manager m;
    struct sim_server servers[SIM_SERVERS_MAX];
    struct map storage; /* struct sim_file * by "disk/ID/REPOSITORY", and template, upload, proof */

    /* clients */
    uint64_t request;
    int requests_left;
    uint64_t asked_now; /* the request that is being handed to the core; 0: none */
    int64_t asked_before, asked_after; /* its inventory's revisions */
    struct map ends;      /* job: (uintptr_t), in which order they were told to have ended */
    struct map versions; /* vm: the newest version of its memory, uint64_t * */
    struct map waiting; /* request id as text: struct asked * */
    struct model *model;
    struct watch *watch;

    struct cover *cover;
    const char *broken; /* the invariant that did not hold */
    char *broken_detail;
    bool trace_all;            /* print every line … */
    bool trace_keep;           /* … or keep the last ones */
    char *trace[TRACE_LINES];
    size_t trace_n;
};

/* ---- world.c ---- */
uint64_t sim_random(struct sim *s, uint64_t below);
int64_t sim_between(struct sim *s, int64_t low, int64_t high);
bool sim_fault(struct sim *s, enum sim_fault fault); /* does it happen now? */
struct sim_event *sim_at(struct sim *s, int64_t at, void (*run)(struct sim *, struct sim_event *));
void sim_is_work(struct sim *s, struct sim_event *e);
bool sim_step(struct sim *s); /* false: nothing is left to happen */
extern const char *sim_trace_only; /* show lines with this text only; NULL: all */
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_broken(struct sim *s, const char *invariant, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int64_t sim_mono_ms(const struct sim *s, const struct process *p);
int64_t sim_wall_ms(const struct sim *s, const struct process *p);
void sim_world_done(struct sim *s);
/* Records and messages are read as text where only a field or two is asked for: parsing them all took most of the time.
   What is behind the mark ("\"state\":\"") up to the next quote, in buf, or NULL; the first such, or the last. */
const char *sim_text_after(const char *text, const char *mark, char *buf, size_t size);
const char *sim_text_after_last(const char *text, const char *mark, char *buf, size_t size);
int64_t sim_number_after(const char *text, const char *mark, int64_t otherwise); /* the last such */
bool sim_job_state_is_end(const char *state);
bool sim_job_has_ended(const char *record); /* of a job, as text */
/* Whether the event must wait because its process is stopped; it is put back then. */
bool sim_deferred(struct sim *s, struct process *p, struct sim_event *e);

/* ---- disk.c ---- */
void disk_init(struct sim_disk *d);
void disk_commit(struct sim *s, int server, struct process *p, uint64_t seq, struct batch *b);
void disk_crash(struct sim *s, int server, struct sim_disk *d); /* some of what was queued became durable, in order */
void disk_reset_error(struct sim_disk *d);
void disk_done(struct sim_disk *d);

/* ---- manager.c ---- */
void manager_start(struct sim *s);
void manager_crash(struct sim *s);
void manager_stored(struct sim *s, uint64_t seq, int result);
void manager_drain(struct sim *s);
void manager_message(struct sim *s, int server, const json_t *message);
void manager_timer(struct sim *s);
void manager_enter(struct sim *s); /* before any call into the core */

/* ---- server.c ---- */
void server_init(struct sim *s, int i);
void server_start(struct sim *s, int i);
void server_crash(struct sim *s, int i);
void server_power_off(struct sim *s, int i);
void server_stored(struct sim *s, int i, uint64_t seq, int result);
void server_drain(struct sim *s, int i);
void server_timer(struct sim *s, int i);
void server_enter(struct sim *s, int i);
void server_cut(struct sim *s, int i, const char *why);
void server_connect_later(struct sim *s, int i);
void server_to_agent(struct sim *s, int i, const char *text, json_t *message);
void server_done(struct sim *s, int i);

/* ---- ring.c ---- */
void ring_init(struct sim *s);
void ring_tell(struct sim *s, int i); /* host_cluster_facts() */
bool ring_watch(struct sim *s, int i, const char *vm, uint64_t life, int64_t incarnation);
void ring_watch_all(struct sim *s, int i);
bool ring_is_watched(const struct sim *s, int i, uint64_t life);
/* The deadman is told to watch a guest that runs, or not to any more; false: it cannot. */
bool ring_policy(struct sim *s, int i, const char *vm, bool ha);
void ring_configure(struct sim *s, int i);
int ring_arm(struct sim *s, int i, bool armed);
void ring_leave(struct sim *s, int i);
void ring_deadman_again(struct sim *s, int i);
void ring_power_off(struct sim *s, int i);
void ring_agent_gone(struct sim *s, int i);
void ring_disturbed(struct sim *s);
void ring_everyday(struct sim *s);
void ring_rest(struct sim *s);

/* ---- pool.c ---- */
void pool_draw_servers(struct sim *s);
void pool_make(struct sim *s);
void pool_fence(struct sim *s, const json_t *args, json_t *result); /* a fence agent does it */
void pool_policy_asked(struct sim *s, const char *operation, const json_t *body);
void pool_promises_no_more_than_it_has(struct sim *s);
void pool_server_keeps_its_policy(struct sim *s, struct sim_server *v);

/* ---- driver.c ---- */
void driver_kill(struct sim *s, int i, const char *vm, uint64_t life); /* by the deadman */
void driver_power_off(struct sim *s, int i);
void driver_call(struct sim *s, int i, const struct host_effect *e);
void driver_crash(struct sim *s, int i); /* before the epoch of its agent ends */
void driver_cancel(struct sim *s, int i, uint64_t call);
void driver_guest_ends(struct sim *s, int i, const char *vm, bool off); /* by itself; off: as it should */
void driver_life(struct sim *s, int i); /* things that guests do by themselves */
struct sim_guest *driver_guest(struct sim_server *v, const char *vm);
/* It runs or is paused here, and nowhere else: neither only on its way here nor gone. */
bool driver_has(const struct sim_guest *g);
void driver_upload(struct sim *s, int i, const char *upload);
void driver_done(struct sim_server *v);

/* ---- loss.c ---- */
/* At rest: servers are lost, and stay away until what was guarded there runs again. False: there is no pool for it, or
   something is broken. All are free to come back then, and have not yet. */
bool loss_at_rest(struct sim *s);

/* ---- storage.c ---- */
struct sim_file *sim_file_find(struct sim *s, const char *repository, const char *kind, const char *id);
/* What a call about storage does; NULL: it refuses, with the reason in *why. */
json_t *storage_do(struct sim *s, struct sim_server *v, int op, const json_t *args, const char **why);
void storage_half(struct sim *s, int op, const json_t *args);
void storage_done(struct sim *s);

/* ---- client.c ---- */
void client_start(struct sim *s);
void client_moves(struct sim *s, const char *vm); /* to wherever there is a place */
void client_changes_ha(struct sim *s);
void client_gives_up(struct sim *s, bool late);
void client_reply(struct sim *s, uint64_t request, int status, const char *text);
void client_forget_all(struct sim *s); /* the manager crashed: no answer comes any more */
void client_done(struct sim *s);

/* ---- check.c ---- */
void check_event(struct sim *s);
void check_send(struct sim *s, const json_t *message);                             /* before it leaves the manager */
void check_answer(struct sim *s, int server, const json_t *message);               /* before it leaves an agent */
void check_call(struct sim *s, int server, const struct host_effect *e);           /* before a driver does it */
/* Before it reaches a client. */
void check_reply(struct sim *s, const char *operation, const char *param, int status, const char *text);
void check_refused(struct sim *s, const char *operation, int64_t before, int64_t after);
void check_rest(struct sim *s);                                                    /* when all is quiet */
void check_done(struct sim *s);

/* ---- watch.c ---- */
void watch_load(struct sim *s);
void watch_publish(struct sim *s, const struct core_effect *e, const char *object);
void watch_done(struct sim *s);
void a_watcher_has_seen_every_change(struct sim *s);

/* ---- cover.c ---- */
/* Where no cover is given nothing is noted. */
struct cover *cover_new(void);
void cover_hit(struct cover *c, const char *kind, const char *what);
void cover_print(const struct cover *c);
size_t cover_missing(const struct cover *c);
void cover_free(struct cover *c);
void cover_publish(struct sim *s, const struct core_effect *e, const char *object);
/* A record that an agent makes durable: its guests' and ops' states. value NULL: deleted. */
void cover_record(struct sim *s, int server, const char *key, const char *value);

/* ---- schedule.c ---- */
void schedule_draw(struct sim_config *c, uint64_t seed, unsigned branch);
void schedule_ask(struct sim *s, uint64_t id, enum api_op_id op, const char *param, json_t *body /* stolen */);
/* Runs it; true if every invariant held. s is for sim_schedule_done(). */
bool schedule_run(struct sim *s, const struct sim_config *config, struct cover *cover, bool trace_all, bool trace_keep);
/* Its two parts: all that is made in peace, which the seed alone decides, and what comes then. */
void schedule_make(struct sim *s, const struct sim_config *config, struct cover *cover, bool trace_all,
                   bool trace_keep);
bool schedule_go(struct sim *s, const struct sim_config *config);
void schedule_done(struct sim *s);
