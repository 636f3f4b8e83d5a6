/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world round one host brain, for its tests: a store that keeps what was committed, a hypervisor and a storage that
 * do what they are asked at once (or when told to), a manager that keeps the frames. The brain can be crashed after any
 * effect.
 */
#pragma once

#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "guest/host.h"

#define VM1   "01900000-0000-7000-8000-000000000001"
#define VM2   "01900000-0000-7000-8000-000000000002"
#define REPO  "01900000-0000-7000-8000-0000000000aa"
#define DISK1 "01900000-0000-7000-8000-0000000000d1"
#define DISK2 "01900000-0000-7000-8000-0000000000d2"

enum process { ABSENT, RUNS, PAUSED, OFF, PANICKED };

struct pending_call {
    struct list link;
    uint64_t call;
    int op;
    json_t *args;
};

struct world {
    struct host *h;
    int64_t now;
    struct map store;     /* key -> text, durable */
    struct map processes; /* vm -> enum process + 1 */
    struct map made;      /* "disk/ID" … that exist */
    struct list frames;   /* struct frame, oldest first */
    struct list calls;    /* those that wait for their answer, while hold_calls */
    struct list commits;  /* struct host_effect, while hold_commits */
    bool hold_commits, hold_calls;
    int store_error;      /* commits fail with it */
    bool ignore_shutdown; /* the guest does not react to its power button */
    int fail_op;          /* this call fails (-1: none) */
    enum error_code fail_code;
    int crash_after; /* effects until the brain is dropped; -1: never */
    bool crashed;
    size_t n_calls[64], n_commits, n_cancels, n_channels;
    struct list events; /* guests' events that are to come */
};

void world_init(struct world *w);
void world_done(struct world *w);
/* Drops the brain and makes a new one from what was durable. */
void world_restart(struct world *w);
/* Carries effects out until there are none (or the brain has crashed). */
void world_run(struct world *w);
void world_connect(struct world *w);
void world_time(struct world *w, int64_t ms); /* goes by, deadlines are met in their order */
void world_send(struct world *w, json_t *message /* stolen */);
void world_op(struct world *w, const char *id, const char *op, json_t *args /* stolen */);
void world_event(struct world *w, const char *vm, enum guest_event event);
void world_answer(struct world *w, int op, enum error_code code); /* the oldest held call of that op */
void world_release(struct world *w);                              /* held commits, with store_error */
enum process world_process(struct world *w, const char *vm);
void world_set_process(struct world *w, const char *vm, enum process p);

/* The last answer to this id, or NULL; borrowed. */
const json_t *world_reply(struct world *w, const char *id);
bool world_ok(struct world *w, const char *id);
const char *world_code(struct world *w, const char *id);        /* of its error */
const char *world_reply_state(struct world *w, const char *id); /* of its result */
size_t world_replies(struct world *w, const char *id);
/* The last event of this name, or NULL. */
const json_t *world_last_event(struct world *w, const char *name);
size_t world_events(struct world *w, const char *name);
/* The state in the last guest.state of the VM ("" if none). */
const char *world_state(struct world *w, const char *vm);
void world_forget_frames(struct world *w);

/* A guest that runs. */
void world_started(struct world *w, const char *vm, const char *policy);
/* For cmocka: *state is a connected world. */
int world_setup(void **state);
int world_teardown(void **state);

json_t *start_args(const char *vm, const char *policy);
json_t *vm_args(const char *vm);
json_t *stop_args(const char *vm, int timeout, bool force);
json_t *disk_args(const char *disk);
json_t *move_args(const char *vm);
json_t *receive_args(const char *vm);
json_t *pool_args(size_t servers); /* of cluster.configure, at most three */
