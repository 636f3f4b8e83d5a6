/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn-manager: the shell round src/core. One libuv loop, one thread; other threads only inside the store's writer and
 * for password hashing.
 *
 *     http.c      a TCP connection: TLS, HTTP/1.1, its one request under way, its reply (on libwebsockets)
 *     ws.c        the same connection after an upgrade: frames, queues, back-pressure, pings
 *     listen.c    listening sockets, limits on connections
 *     api.c       the head of a request: path, who asks, rate; then to the core or to a shell handler
 *     auth.c      who asks: sessions, API tokens, cookies      passwords.c   Argon2id in a narrow pool
 *     session.c   sign-in, sign-out, tokens, join              stats.c       the last samples of servers and VMs
 *     shell.c     events into the core, its effects out; the store
 *     stream.c    the change stream, from ring.c               agents.c      the agents' control connections
 *     ask.c       questions to agents, for one request each
 *     channel.c   bulk connections of agents, paired with console.c and upload.c
 *     ca.c        the platform's own certificates              metrics.c     Prometheus text
 *     history.c   lists of jobs and events that go on in the store
 *     work.c      what takes long, a piece at a time            loop.c        how long turns of the loop take
 *     site.c      the console's files                      room.c        until a client takes more of its answer
 *     parse.c, site_pure.c, limit.c, ring.c   pure
 *
 * Rules: a struct exchange outlives its connection until it is answered; a struct ws is freed by ws.c alone; nothing
 * that a peer does makes us allocate without a cap (http.c: head, body, reply; ws.c: message, queue; ring.c; limit.c).
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/core.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct http_server;
struct listeners;
struct passwords;
struct limiter;
struct stream;
struct stats;
struct ca;
struct store;
struct agent;
struct site;
struct loop_watch;
struct samples;
struct history;
struct work;
struct inbox;

#define VERSION_MAJOR_MINOR TARN_VERSION
#define API_PREFIX          "/api/v1"

struct options {
    const char **listens; /* ADDR:PORT; borrowed from argv */
    size_t n_listens;
    const char **names; /* more names for the certificate */
    size_t n_names;
    char *state; /* directory */
    char *admin_password_file;
    char *console_dir;
    bool console_must; /* it has been asked for */
    bool metrics_public, metrics_vms;
    bool check;
    int64_t history_days; /* events and jobs are kept; 0: for ever */
    int64_t rate, burst;  /* requests a second for each client that is not on loopback */
};

#define EXCHANGE_BUCKETS 1024
#define LATENCY_BUCKETS  14

struct manager {
    uv_loop_t *loop;
    const struct options *options;
    struct loop_watch *watch;
    struct core *core;
    struct store *store;
    struct ca *ca;
    struct site *site; /* the console's files; NULL: there are none */
    struct http_server *http;
    struct listeners *listeners;
    struct passwords *passwords;
    struct limiter *requests, *sign_ins, *sign_ins_from; /* _from: of one client, whatever the name */
    struct stream *stream;
    struct stats *stats;
    struct samples *samples;
    struct history *history;
    struct list work; /* work.c */
    uv_idle_t work_idle;
    struct work *reads;         /* shell.c: the core's long ones */
    struct inbox *inbox;        /* agents.c */
    struct map unread;          /* struct unread by user or address */
    struct map agents;          /* by server id: struct agent, after its hello */
    struct list agents_waiting; /* for their hello */
    struct map channels;        /* by channel id: struct channel */
    struct list asks;           /* ask.c */
    struct list consoles;       /* console.c */
    struct list transfers;      /* upload.c */
    uint64_t next_ask;
    struct list exchanges[EXCHANGE_BUCKETS];
    uint64_t next_exchange;

    /* shell.c */
    uv_timer_t timer;   /* core_tick */
    int64_t history_at; /* when old history is looked for next; history.c */
    bool pumping, stopping;
    bool store_failed;    /* reported to the core; the next COMMIT resets the store */
    uint64_t commits_out; /* handed to the store, not yet reported */
    uint64_t commits_done, commits_failed;
    uint64_t crash_after; /* tests only, see on_stored */

    /* metrics */
    uint64_t requests_done[6]; /* by hundreds of the status */
    uint64_t latency[LATENCY_BUCKETS + 1];
    double latency_sum;
    int64_t started_ms;
};

/* Monotonic and wall clock of this turn of the loop, ms. */
int64_t manager_now(struct manager *m);
int64_t manager_wall(void);

/* ---- shell.c ---- */

int shell_init(struct manager *m, struct error *e); /* opens and loads the store, starts the core */
void shell_done(struct manager *m);
/* Before every core_…() event. */
void shell_time(struct manager *m);
/* After every core_…() event: carries out all effects. */
void shell_pump(struct manager *m);
