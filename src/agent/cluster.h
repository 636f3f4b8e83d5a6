/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server in its clustered pool: corosync, tarn-deadman, and what they know, carried to the brain
 * (src/guest/cluster.c decides). Both programs outlive the agent and are found again.
 *
 *     STATE/cluster/          corosync.conf, authkey (0600), corosync.log, corosync/ (its own state)
 *     /run/tarn/SERVER/       what belongs to tarn-deadman (deadman/deadman_proto.h): in memory, so that no disk that
 *                             hangs can hold it up
 */
#pragma once

#include "agent/deadman/deadman_proto.h"
#include "api/api.h"
#include "base/error.h"
#include "os/child.h"

struct agent;
struct cluster_shell;

struct cluster_shell *cluster_new(struct agent *a);
void cluster_close(struct cluster_shell *c); /* corosync and tarn-deadman go on */
/* Ends in agent_call_done(call): cluster.configure, .arm, .leave, and guest.policy of a guest that is watched. */
void cluster_call(struct cluster_shell *c, uint64_t call, int op, const json_t *args);
/* Tells the brain what the deadman says at this moment. */
void cluster_refresh(struct cluster_shell *c);
/* What a guest must pass before it is started; ret->fd stays -1 for one that is not watched. Valid until the next. */
int cluster_gate(struct cluster_shell *c, const struct api_guest_start *start, struct child_gate *ret, struct error *e);

/* ---- cluster_conf.c ---- */

struct cluster_conf {
    const struct api_cluster_configure *config;
    const char *dir; /* absolute */
    bool realtime;   /* corosync may have realtime priority */
};
/* corosync.conf; the caller's. ERR_INVALID for what cannot be put into it. */
int cluster_conf_text(const struct cluster_conf *conf, char **ret, struct error *e);

/* ---- cluster_deadman.c: the connection; each request waits for its answer, a second at most ---- */

struct deadman_link {
    char *dir;
    int dirfd, fd;
    uint64_t serial;
    int pidfd; /* of the deadman at the other end; -1: unknown */
    const struct deadman_page *page;
    struct deadman_request gate; /* what cluster_gate() hands out */
};
int deadman_link_open(struct deadman_link *l, const char *dir);
void deadman_link_close(struct deadman_link *l);
void deadman_link_drop(struct deadman_link *l); /* the connection only */
/* Connected, or -errno: -ENOENT, -ECONNREFUSED while none runs. */
int deadman_link_connect(struct deadman_link *l);
/* It has not written its page for so long that it is to be replaced; it is asked nothing then. */
bool deadman_link_stuck(const struct deadman_link *l);
/* pidfd: sent along, -1 for none; not closed. The deadman's answer, or -errno; the connection is closed on errors of
 * it. */
int deadman_link_ask(struct deadman_link *l, struct deadman_request *q, int pidfd);
/* False if no deadman runs that has looked at the clock lately. */
bool deadman_link_read(struct deadman_link *l, struct deadman_state *ret);
/* What the last one of this boot left in its page, whether it lives or not; false if there was none. */
bool deadman_link_left(struct deadman_link *l, struct deadman_state *ret);
/* Ends one that stands still (it was stopped, or hangs), so that another can take its place. */
void deadman_link_kill(struct deadman_link *l);
/* The server leaves its pool: the deadman ends, and nothing of its lease remains. */
void deadman_link_quit(struct deadman_link *l);
int64_t deadman_now(void);
