/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn-agent: the shell round the host brain (src/guest).
 *
 * A struct agent is one server: its identity, its brain, the brain's store, its connection to the manager, one
 * hypervisor driver and its storage. The real agent has one; with --sim a process has hundreds, on one loop.
 * agent.c feeds events to the brain and carries its effects out; connect.c keeps the connection, dispatch.c hands
 * calls to the drivers, channel.c and upload.c move bulk bytes, stats.c samples, facts.c describes the machine.
 *
 * Guests are never touched by our end: the drivers' close() leaves them running.
 */
#pragma once

#include "agent/hypervisor/hypervisor.h"
#include "agent/storage/storage.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "guest/host.h"
#include "os/wsclient.h"
#include "store/store.h"

#include <uv.h>

struct agent;
struct sim_storage;
struct cluster_shell;

/* What a joined server knows of itself: agent.json, agent.key, agent.crt and ca.crt in its state directory. */
struct identity {
    char *name, *server; /* server: its id */
    char *host;          /* of the manager, without brackets */
    int port;
    char *ca_path, *certificate_path, *key_path;
};
/* Whether an identity can be saved there: makes the directory, writes the key beside where it goes and as much as the
 * rest may take. What is there already stays. */
int identity_prepare(const char *state_dir, const char *key_pem, struct error *e);
/* Takes back what identity_prepare has written. */
void identity_abandon(const char *state_dir);
int identity_load(const char *state_dir, struct identity *ret, struct error *e);
int identity_save(const char *state_dir, const char *manager_url, const char *name, const char *server,
                  const char *certificate_pem, const char *ca_pem, struct error *e); /* after identity_prepare */
void identity_done(struct identity *i);
/* https://HOST[:PORT], PORT 8443 if it is left out. */
int manager_url_parse(const char *url, char **ret_host, int *ret_port, struct error *e);
#define MANAGER_PORT 8443

struct agent_config {
    uv_loop_t *loop;
    struct ws_context *ws;
    const struct hypervisor_driver *driver;
    const char *state_dir;  /* with its identity; the store, unless it is simulated, is agent.db in it */
    const char *guest_user; /* NULL: ours */
    bool sim;               /* simulated hardware and storage, store in memory */
    int sim_latency_ms;
    int number;             /* which one it is in this process */
};

enum connection_state { CONNECTION_OFF, CONNECTION_WAITING, CONNECTION_DIALLING, CONNECTION_OPEN, CONNECTION_WELCOME };

struct agent {
    struct agent_config config;
    char *state_dir;
    struct identity identity;
    struct host *host;
    struct store *store;
    size_t commits_waiting;
    int store_error; /* the last commit's, 0 if it went well */
    bool started, draining, closing;
    int trim_in; /* samples until memory is given back; 0: never */
    uv_timer_t tick, dial, sample; /* closed with the agent */

    struct hypervisor *hypervisor;
    struct storage *storage;
    struct sim_storage *sim_storage;
    struct cluster_shell *cluster;
    int hypervisor_fd;
    struct list fencings; /* dispatch.c: fence agents that run */
    struct list notes; /* dispatch.c: calls of which it has more to know than that they are done */

    struct api_agent_hello hello;
    struct hardware_watch *hardware_watch;
    struct cgroups *cgroups; /* NULL if it is simulated */
    struct ws_client *connection;
    char *address; /* ours, on the last connection to the manager; NULL: there was none */
    enum connection_state connection_state;
    int dial_tries;
    struct api_agent_addresses addresses;
    char *dial_from; /* the address that the connection was dialled from by wish, or NULL */
    int from_failed; /* how often in a row such a one did not come about */
    int64_t dial_from_again_ms;
    bool redialling; /* by wish: no word of it in the log */
    struct list channels;

    struct map sampled; /* vm -> struct sampled */
    struct history *history;
    int save_in; /* samples until the history is saved */
    struct server_sample *last_sample;
};

/* The agent is the callers' to free; it connects when its hypervisor has been probed. */
int agent_new(const struct agent_config *config, struct agent **ret, struct error *e);
/* Closes everything; guests go on. The loop must run until it is empty afterwards. */
void agent_close(struct agent *a);
void agent_free(struct agent *a); /* after the loop is empty */

/* Before an event is given to the brain, and after it. */
void agent_begin(struct agent *a);
void agent_end(struct agent *a);
void agent_call_done(struct agent *a, uint64_t call, const struct error *error, const json_t *result);
/* The same for a call that has had an effect on the world: what the crash tests count. ctx: the agent. */
void agent_effect_done(void *ctx, uint64_t call, const struct error *error, const json_t *result);

/* connect.c */
void connect_start(struct agent *a);
void connect_again(struct agent *a); /* closes, and dials at once: what was in the connection is gone */
void connect_stop(struct agent *a);
void connect_send(struct agent *a, const char *text);

void connect_addresses(struct agent *a); /* addresses or their roles have changed */

/* limits.c */
void limits_open(struct agent *a);
void limits_close(struct agent *a);
const char *limits_word(const struct agent *a); /* how they are kept, or why they cannot be */
const char *limits_why_died(const struct agent *a, const char *vm); /* NULL: not of them */
void limits_sweep(struct agent *a);             /* removes what guests that are gone have left */
int limits_groups(void *ctx, const struct api_guest_start *start, struct child_groups *ret, struct error *e);
void limits_call(struct agent *a, uint64_t call, const json_t *args);

/* address.c */
void addresses_load(struct agent *a);
bool addresses_take(struct agent *a, const struct api_server_address *list, size_t n); /* whether they changed */
/* The address that has the role; NULL if none has. */
const char *agent_address(const struct agent *a, enum api_network_role role);
/* Whether the machine has it now. */
bool agent_has_address(const struct agent *a, const char *text);

/* dispatch.c */
void dispatch_call(struct agent *a, uint64_t call, int op, const json_t *args);
void dispatch_cancel(struct agent *a, uint64_t call);
/* A driver's call is done: true if dispatch has something more to do for it. */
bool dispatch_continue(struct agent *a, uint64_t call, const struct error *error);
/* Whether it changes something by wish of the manager or the restart policy: what the crash tests count. */
bool dispatch_counts(const struct agent *a, uint64_t call);
void dispatch_close(struct agent *a);

/* channel.c; uploads go on in upload.c */
void channel_open(struct agent *a, const json_t *args);
void channel_close_all(struct agent *a);
void channel_check_all(struct agent *a); /* now and then: those that do not drain */

/* stats.c */
void stats_start(struct agent *a);
void stats_forget(struct agent *a);
/* Answers metrics.get: a question that is no affair of the brain's. */
void stats_answer(struct agent *a, const json_t *message);
void stats_save(struct agent *a); /* the history, to its file */

/* facts.c */
void facts_sim_hardware(int number, struct api_hardware *ret);
/* What the hypervisor driver knows of this machine's CPU, after its probe, and how limits are kept. */
void facts_take_driver(struct agent *a);
/* Watches this machine; what changes goes to the manager at once. */
void facts_watch(struct agent *a);
char *facts_read(const char *path); /* a small file of /proc or /sys; NULL if it cannot be read */

/* sim_storage.c: storage's calls with nothing behind them */
struct sim_storage *sim_storage_new(struct agent *a);
void sim_storage_call(struct sim_storage *s, uint64_t call, int op, const json_t *args);
void sim_storage_free(struct sim_storage *s);

/* The path of a program that comes with us: beside us in a build directory, else where it is installed. */
char *agent_program(const char *name);

void trim_memory(void); /* trim.c */

int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);
uint64_t random_u64(void);
