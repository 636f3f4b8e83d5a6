/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clustered pool on a simulated clock. Who is in the same half of the heartbeat network as more than half of the
 * servers holds a lease, and a guest whose armed server has been without for PROOF_MS is killed, as tarn-deadman does.
 * After every moment no guest runs on two servers.
 */
#pragma once

#include "core/test_world.h"

#define DETECT_MS 2300 /* corosync's, until the others form a ring without it */
#define PROOF_MS  4500
#define HOLD_MS   5000
#define STEP_MS   100

#define HA "{\"enabled\":true}"

/* What fence agents do: an order to switch off kills the server, unless the world's fail_op or lose_answers is set. */
extern struct test_fence {
    int orders;
    bool lies; /* it says off, and switches nothing */
} test_fence;

/* Those who see each other now; as far as corosync goes it takes DETECT_MS to notice. */
void set_half(struct world *w, int agent, int half);
void say_all(struct world *w);
/* Time passes. */
void walk(struct world *w, int64_t ms);
const struct api_vm *vm_of(const struct world *w, const char *name);
const char *where(const struct world *w, const char *name);
void make_vm(struct world *w, const char *name, const char *server, const char *ha);
/* Pool p of so many servers s1, s2 … with the repository r. */
void prepare(struct world *w, size_t servers);
/* Its power goes. */
void dies(struct world *w, int agent);
void comes_back(struct world *w, int agent);
/* Milliseconds until the guest runs, limit if it does not. */
int64_t until_runs(struct world *w, const char *name, int64_t limit);
/* The agent tells of a guest, that is to run. */
void says(struct world *w, int agent, const char *vm, const char *state, bool guarded);
int64_t until_elsewhere(struct world *w, const char *name, const char *server, int64_t limit);
size_t running(const struct world *w, const char *vm);
const struct api_alarm *alarm_of(const struct world *w, const char *code); /* an active one, or NULL */
bool has_alarm(const struct world *w, const char *code);
bool has_event(const struct world *w, const char *code, const char *words);
