/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for tests of the core: a store that is a map, and agents that do ops at once and remember their
 * answers, as real ones do. All agents see one storage, but those that have a storage of their own.
 */
#pragma once

#include "core/core_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORLD_AGENTS_MAX 8

enum fault { NO_FAULT, CRASH, CRASH_BEFORE, STORE_FAILS, CUT, ABORT };

struct world_agent {
    char *id;
    char name[8];
    bool connected;
    bool away;        /* does not connect again by itself */
    bool own_storage; /* what others put into a repository is not there */
    int64_t memory;   /* that it tells */
    int64_t cpus;
    struct map answers; /* char * by op id */
    struct map guests;  /* state by VM */
    struct map opened;  /* repositories */
    size_t starts;
    /* failover_test.c: its place in a cluster */
    bool clustered, armed, lease;
    bool silent; /* its machine is dead or cut off: nothing comes from it, though its connection looks well */
    int half;    /* of the heartbeat network: it sees those in the same */
    int64_t ring_at, lost_at;
    char pool[UUID_LEN + 1];
};

struct world {
    struct core *c;
    struct map store;  /* char * */
    struct map things; /* "disk/ID", "template/ID", "upload/ID", "repository/ID", "nonce/ID" */
    struct world_agent agents[WORLD_AGENTS_MAX];
    size_t n_agents;
    int64_t ms;
    uint64_t request;
    int status; /* of the last reply */
    char *reply;
    size_t commits, changes; /* changes: ops that agents carried out, not repeats */
    enum fault fault;
    size_t fault_at; /* commit number since it was set */
    bool fired, store_down;
    const char *holds;     /* agents answer this op only when it is called off, as cancelled */
    const char *fail_op;   /* agents answer this op with an error … */
    const char *fail_code; /* … of this code; NULL: io */
    bool lose_answers;     /* the connection breaks before the answer */
    bool no_work;          /* long reads are not gone on with */
    /* Answers an op in the agents' stead, each time anew, or leaves it to them (NULL); what a report says of the pool.
     */
    json_t *(*op)(struct world *w, struct world_agent *a, const char *op, const json_t *args);
    json_t *(*cluster)(struct world *w, struct world_agent *a);
};

/* One server s1, connected, with the repository local and an upload. */
void world_up(struct world *w);
/* As many servers s1, s2 … connected, and nothing else. */
void world_of(struct world *w, size_t servers);
/* One more server. */
struct world_agent *world_add(struct world *w);
void world_down(struct world *w);
void world_connect(struct world *w, struct world_agent *a);
void world_disconnect(struct world *w, struct world_agent *a);
/* The manager is killed and starts anew; the agents are cut off, and connect again only when they are told to. */
void world_crash(struct world *w);
/* Carries effects out until there are none. */
void pump(struct world *w);
/* Lets everything come to its end: time passes, the store and the agents come back. */
void settle(struct world *w);
/* A request of an administrator; its status. */
int ask(struct world *w, enum api_op_id op, const char *param, const char *body);
int forget_server(struct world *w, const char *server); /* server_delete with force */
/* The last upload arrives whole. */
void complete_upload(struct world *w, const char **ret_id);
/* Template t of the upload. */
void make_template(struct world *w);
const char *running_job(struct world *w);
const struct api_job *last_job(struct world *w, const char *kind);
/* They go by, one after the other. */
void world_seconds(struct world *w, int n);
/* It is cut off, and does not come back. */
void world_lose(struct world *w, size_t agent);
/* Pool p of so many servers s1, s2 … with the repository "shared". */
void world_pool(struct world *w, size_t servers);
