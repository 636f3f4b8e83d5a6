/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers of a clustered pool among themselves: the heartbeat network with its partitions, corosync, and each
 * server's tarn-deadman, which is a process of its own and goes on when the agent is away. What they decide is
 * the real code of guest/deadman.c; what corosync promises is simulated:
 *
 *   - Some time after a link, a corosync or a configuration has changed, those that run form new rings. A ring is a
 *     set of servers in which each reaches each other; which one, where several are possible, is drawn. Each
 *     member installs it at a moment of its own, seconds apart on the two sides of a cut.
 *   - A message reaches those that are in the ring in which it was sent when it arrives, and nobody else.
 *
 * Times of the deadman are of its server's own clock.
 */
#include "sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SAY_MS      1000 /* seldom, which is the harder case; DEADMAN_SAY_MS would only cost events */
#define SETTLE_MIN  500  /* corosync's token and consensus */
#define SETTLE_MAX  3500
#define INSTALL_MAX 300

static int64_t clock_ms(const struct sim *s, int i) { return sim_mono_ms(s, &s->servers[i].p); }

static bool corosync_works(const struct sim *s, int i) {
    const struct sim_server *v = &s->servers[i];
    return v->clustered && v->ring.corosync && s->now >= v->ring.stuck_until;
}

/* ---- what the agent is told ---- */

void ring_tell(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    struct sim_ring *r = &v->ring;
    if (!v->p.up || s->now < v->p.paused_until)
        return;
    struct host_cluster_facts f = {0};
    if (v->clustered && r->deadman)
        f = (struct host_cluster_facts){.armed = r->armed,
                                        .incarnation = r->lease.incarnation,
                                        .proof = r->lease.proof,
                                        .ring_at = r->id ? r->at : 0,
                                        .now = clock_ms(s, i),
                                        .members = r->members,
                                        .n_members = r->id ? r->n_members : 0};
    server_enter(s, i);
    host_cluster_facts(v->h, &f);
}

static void tell_and_drain(struct sim *s, int i) {
    ring_tell(s, i);
    if (s->servers[i].p.up && s->now >= s->servers[i].p.paused_until)
        server_drain(s, i);
}

/* ---- the lease ---- */

static void expire(struct sim *s, struct sim_event *e);

static void expect_end(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    int64_t deadline = deadman_deadline(&r->lease);
    if (r->expecting || deadline == INT64_MAX)
        return;
    r->expecting = true;
    int64_t in = deadline - clock_ms(s, i);
    struct sim_event *e = sim_at(s, s->now + (in > 0 ? in : 0) * US_PER_MS + sim_between(s, 0, 60000), expire);
    e->server = i;
    e->epoch = r->life;
}

static bool is_watched(const struct sim_ring *r, uint64_t life) {
    for (size_t k = 0; k < r->n_watched; k++)
        if (r->watched[k].life == life)
            return true;
    return false;
}

static bool watch_add(struct sim_ring *r, const char *vm, uint64_t life) {
    if (r->n_watched == ARRAY_LEN(r->watched))
        return false;
    struct sim_watched *w = &r->watched[r->n_watched++];
    snprintf(w->vm, sizeof w->vm, "%s", vm);
    w->life = life;
    return true;
}

static void watched_forget(struct sim_ring *r, size_t k) { r->watched[k] = r->watched[--r->n_watched]; }

static void kill_watched(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    while (r->n_watched) {
        struct sim_watched w = r->watched[0];
        watched_forget(r, 0);
        driver_kill(s, i, w.vm, w.life);
    }
}

static void expire(struct sim *s, struct sim_event *e) {
    int i = e->server;
    struct sim_ring *r = &s->servers[i].ring;
    if (!r->deadman || r->life != e->epoch)
        return;
    if (!deadman_expire(&r->lease, clock_ms(s, i))) {
        r->expecting = false;
        expect_end(s, i);
        return;
    }
    r->expecting = false;
    sim_trace(s, "%s: lease ends%s", s->servers[i].name, r->armed ? ", its guests are killed" : "");
    cover_hit(s->cover, "cluster", "a lease ends");
    tell_and_drain(s, i);
    if (r->armed)
        kill_watched(s, i);
    check_event(s);
}

static void prove(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    struct sim_ring *r = &v->ring;
    int64_t now = clock_ms(s, i);
    int64_t proof = corosync_works(s, i) ? deadman_proof(&r->peers, v->n_nodes, now) : 0;
    if (deadman_prove(&r->lease, proof, now, sim_wall_ms(s, &v->p))) {
        sim_trace(s, "%s: a lease begins", v->name);
        cover_hit(s->cover, "cluster", "a lease begins");
        tell_and_drain(s, i);
    }
    expect_end(s, i);
}

bool ring_is_watched(const struct sim *s, int i, uint64_t life) { return is_watched(&s->servers[i].ring, life); }

/* Whether a guest may be started now under the lease of that time; it is watched from here on. */
bool ring_watch(struct sim *s, int i, const char *vm, uint64_t life, int64_t incarnation) {
    struct sim_ring *r = &s->servers[i].ring;
    if (!r->deadman || !deadman_may_start(&r->lease, r->armed, (uint64_t)incarnation, clock_ms(s, i)))
        return false;
    return is_watched(r, life) || watch_add(r, vm, life);
}

/* A guest that runs already is watched; without a lease it ends. */
static bool watch_running(struct sim *s, int i, const struct sim_guest *g) {
    struct sim_ring *r = &s->servers[i].ring;
    if (is_watched(r, g->life))
        return true;
    if (!r->armed || r->lease.incarnation)
        return watch_add(r, g->vm, g->life);
    driver_kill(s, i, g->vm, g->life);
    return true;
}

bool ring_policy(struct sim *s, int i, const char *vm, bool ha) {
    struct sim_server *v = &s->servers[i];
    const struct sim_guest *g = driver_guest(v, vm);
    if (!v->clustered)
        return true;
    if (!v->ring.deadman || (ha && !g))
        return false;
    for (size_t k = v->ring.n_watched; k-- > 0 && !ha;)
        if (str_eq(v->ring.watched[k].vm, vm))
            watched_forget(&v->ring, k);
    return !ha || watch_running(s, i, g);
}

struct watching {
    struct sim *s;
    int server;
};

static void watch_visit(void *ctx, const char *vm) {
    const struct watching *w = ctx;
    struct sim_server *v = &w->s->servers[w->server];
    const struct sim_guest *g = driver_guest(v, vm);
    if (g)
        watch_running(w->s, w->server, g);
    else
        v->ring.told = false; /* again at the next turn */
}

/* An agent tells the deadman to which it has just connected, as it or that has started. What comes later is told by its
   start, or by an order. */
static void watch_all(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    if (!v->p.up || s->now < v->p.paused_until || !v->clustered || !v->ring.deadman || v->ring.told)
        return;
    v->ring.told = true;
    host_each_guarded(v->h, watch_visit, &(struct watching){s, i});
}

void ring_watch_all(struct sim *s, int i) {
    s->servers[i].ring.told = false;
    watch_all(s, i);
}

/* ---- what is said ---- */

struct spoken {
    struct deadman_message m;
    size_t len;
    uint64_t ring;
    int from;
    uint32_t node;
    int events; /* that will deliver it */
};

static uint32_t node_of(const struct sim_server *v, const char *server) {
    for (size_t k = 0; k < v->n_nodes; k++)
        if (str_eq(v->node_server[k], server))
            return v->nodes[k];
    return 0;
}

static void spoken_drop(struct sim_event *e) {
    struct spoken *m = e->p;
    if (--m->events == 0)
        free(m);
}

static void hear(struct sim *s, struct sim_event *e) {
    const struct spoken *m = e->p;
    for (int k = 0; k < s->config.servers; k++) {
        struct sim_ring *r = &s->servers[k].ring;
        if (!(e->a & 1ULL << k) || !r->deadman || !corosync_works(s, k) || r->id != m->ring || !s->link[m->from][k])
            continue;
        deadman_hear(&r->peers, m->node, &m->m, m->len, clock_ms(s, k));
        prove(s, k);
    }
    spoken_drop(e);
}

static void hear_at(struct sim *s, struct spoken *m, uint64_t servers) {
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 200, 20000), hear);
    e->a = servers;
    e->p = m;
    e->drop = spoken_drop;
    m->events++;
}

/* To all that are in the ring, mostly at one time, as corosync does. */
static void send(struct sim *s, int i, uint32_t self) {
    struct sim_ring *r = &s->servers[i].ring;
    bool together = sim_random(s, 8) != 0;
    uint64_t all = 0;
    for (int k = 0; k < s->config.servers; k++)
        if (k != i && s->servers[k].ring.id == r->id && s->link[i][k])
            all |= 1ULL << k;
    if (!all)
        return;
    struct spoken *m = xcalloc(1, sizeof *m);
    m->len = deadman_say(&r->peers, clock_ms(s, i), &m->m);
    m->ring = r->id;
    m->from = i;
    m->node = self;
    if (together)
        hear_at(s, m, all);
    for (int k = 0; k < s->config.servers && !together; k++)
        if (all & 1ULL << k)
            hear_at(s, m, 1ULL << k);
}

static void say(struct sim *s, struct sim_event *e) {
    int i = e->server;
    struct sim_server *v = &s->servers[i];
    struct sim_ring *r = &v->ring;
    if (!r->deadman || r->life != e->epoch)
        return;
    if (corosync_works(s, i) && r->id) {
        uint32_t self = node_of(v, v->id);
        r->peers.self = self;
        deadman_keep(&r->peers, v->nodes, v->n_nodes);
        send(s, i, self);
        prove(s, i);
        tell_and_drain(s, i);
    }
    struct sim_event *next = sim_at(s, s->now + sim_between(s, SAY_MS - 100, SAY_MS + 100) * US_PER_MS, say);
    next->server = i;
    next->epoch = e->epoch;
}

/* ---- rings ---- */

static void drop_installing(struct sim_event *e) { free(e->p); }

struct installing {
    uint64_t ring;
    uint32_t members[SIM_SERVERS_MAX];
    size_t n;
};

static void install(struct sim *s, struct sim_event *e) {
    struct installing *in = e->p;
    struct sim_ring *r = &s->servers[e->server].ring;
    if (corosync_works(s, e->server) && r->corosync_life == e->epoch && in->ring > r->id) {
        r->id = in->ring;
        r->at = clock_ms(s, e->server);
        r->n_members = in->n;
        memcpy(r->members, in->members, in->n * sizeof *in->members);
        sim_trace(s, "%s: ring %llu of %zu", s->servers[e->server].name, (unsigned long long)in->ring, in->n);
        tell_and_drain(s, e->server);
    }
    free(in);
}

static bool reach(const struct sim *s, int a, int b) {
    const struct sim_server *v = &s->servers[a], *w = &s->servers[b];
    return s->link[a][b] && s->link[b][a] && node_of(v, w->id) && node_of(w, v->id);
}

static void form(struct sim *s, const int *group, size_t n) {
    uint64_t id = s->servers[group[0]].ring.id;
    bool same = true;
    for (size_t k = 0; k < n; k++) {
        const struct sim_ring *r = &s->servers[group[k]].ring;
        same &= id && r->id == id && r->n_members == n;
    }
    if (same)
        return;
    uint64_t ring = ++s->rings;
    int64_t at = s->now + sim_between(s, 0, SETTLE_MAX - SETTLE_MIN) * US_PER_MS;
    for (size_t k = 0; k < n; k++) {
        const struct sim_server *v = &s->servers[group[k]];
        struct installing *in = xcalloc(1, sizeof *in);
        in->ring = ring;
        in->n = n;
        for (size_t m = 0; m < n; m++)
            in->members[m] = node_of(v, s->servers[group[m]].id);
        struct sim_event *e = sim_at(s, at + sim_between(s, 0, INSTALL_MAX) * US_PER_MS, install);
        e->server = group[k];
        e->epoch = v->ring.corosync_life;
        e->p = in;
        e->drop = drop_installing;
    }
}

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void settle(struct sim *s, struct sim_event *e) {
    (void)e;
    bool taken[SIM_SERVERS_MAX] = {false};
    int start = (int)sim_random(s, (uint64_t)s->config.servers);
    for (int a = 0; a < s->config.servers; a++) {
        int first = (start + a) % s->config.servers, group[SIM_SERVERS_MAX];
        size_t n = 0;
        if (taken[first] || !corosync_works(s, first))
            continue;
        for (int b = 0; b < s->config.servers; b++) {
            int other = (first + b) % s->config.servers;
            bool fits = !taken[other] && corosync_works(s, other) && (other == first || reach(s, first, other));
            for (size_t k = 0; k < n && fits; k++)
                fits = group[k] == other || reach(s, group[k], other);
            if (!fits)
                continue;
            taken[other] = true;
            group[n++] = other;
        }
        qsort(group, n, sizeof *group, by_number); /* as corosync does, whose numbers grow with ours */
        form(s, group, n);
    }
}

void ring_disturbed(struct sim *s) {
    sim_at(s, s->now + sim_between(s, SETTLE_MIN, SETTLE_MAX) * US_PER_MS, settle);
    /* What one settling leaves, as a message lost while it formed, the next mends. */
    sim_at(s, s->now + sim_between(s, SETTLE_MAX, 3 * SETTLE_MAX) * US_PER_MS, settle);
}

/* ---- processes ---- */

static void deadman_start(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    r->deadman = true;
    r->life++;
    r->expecting = r->told = false;
    r->n_watched = 0;
    r->peers = (struct deadman_peers){.session = (uint32_t)idgen_next(&s->rng), .began = clock_ms(s, i)};
    if (r->lease.incarnation && deadman_expire(&r->lease, clock_ms(s, i)))
        sim_trace(s, "%s: the lease ended while no deadman ran", s->servers[i].name);
    expect_end(s, i);
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 1, 200) * US_PER_MS, say);
    e->server = i;
    e->epoch = r->life;
}

static void corosync_start(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    r->corosync = true;
    r->corosync_life++;
    r->id = 0;
    ring_disturbed(s);
}

static void corosync_stop(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    r->corosync = false;
    r->corosync_life++;
    r->id = 0;
    r->n_members = 0;
    ring_disturbed(s);
}

/* How many of the servers that the one or the other takes for the pool. */
static size_t nodes_of_both(const struct sim_server *a, const struct sim_server *b) {
    size_t n = a->n_nodes;
    for (size_t i = 0; i < b->n_nodes; i++)
        n += !node_of(a, b->node_server[i]);
    return n;
}

/* Whatever the network does: no two of a pool can each find more than half of what they take for it, one without the
   other. One that the manager has taken out of the pool, or has forgotten, does not count. */
static void no_two_majorities(struct sim *s, int i) {
    const struct sim_server *v = &s->servers[i];
    for (int k = 0; k < s->config.servers; k++) {
        const struct sim_server *w = &s->servers[k];
        if (k == i || !w->clustered || !node_of(v, w->id) || !node_of(w, v->id))
            continue;
        if (v->n_nodes / 2 + 1 + w->n_nodes / 2 + 1 <= nodes_of_both(v, w))
            sim_broken(s, "no pool has two majorities", "%s takes %zu servers for it, %s %zu, both %zu", v->name,
                       v->n_nodes, w->name, w->n_nodes, nodes_of_both(v, w));
    }
}

/* The agent has configured the cluster. Both start if they do not run, and take the new configuration if they do. */
void ring_configure(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    r->tended = true;
    no_two_majorities(s, i);
    if (!r->deadman)
        deadman_start(s, i);
    if (!r->corosync)
        corosync_start(s, i);
    else
        ring_disturbed(s);
    ring_watch_all(s, i);
}

int ring_arm(struct sim *s, int i, bool armed) {
    struct sim_ring *r = &s->servers[i].ring;
    if (armed && (!r->deadman || !r->lease.incarnation))
        return -EAGAIN;
    if (armed)
        ring_watch_all(s, i);
    r->armed = r->wanted = armed;
    return 0;
}

void ring_leave(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    corosync_stop(s, i);
    r->deadman = r->armed = r->wanted = r->tended = false;
    r->life++;
    r->n_watched = 0;
    r->lease = (struct deadman){.last = r->lease.last};
}

/* The power of a server goes: nothing of its processes is left, and what was proved was proved before this boot. */
void ring_power_off(struct sim *s, int i) {
    struct sim_ring *r = &s->servers[i].ring;
    ring_leave(s, i);
    r->stuck_until = 0;
}

/* What it saw to it knows no more. */
void ring_agent_gone(struct sim *s, int i) {
    s->servers[i].ring.tended = s->servers[i].ring.wanted = s->servers[i].ring.told = false;
}

/* Killed at once with its agent, or while that hangs, the deadman does not come back in time: nothing then kills the
   guests (docs/failover.md). Otherwise the agent starts it again, and has done so before it ends or hangs itself. */
void ring_deadman_again(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    if (!v->p.up || s->now < v->p.paused_until || !v->clustered || v->ring.deadman)
        return;
    deadman_start(s, i);
    watch_all(s, i);
}

/* The agent sees to it that both run, as far as it runs itself. */
static void supervise(struct sim *s, int i) {
    struct sim_server *v = &s->servers[i];
    if (!v->p.up || s->now < v->p.paused_until || !v->clustered || !v->ring.tended)
        return;
    ring_deadman_again(s, i);
    watch_all(s, i);
    if (!v->ring.corosync && sim_random(s, 3) == 0)
        corosync_start(s, i);
    /* In truth at once; a while is the harder case. */
    if (v->ring.wanted && !v->ring.armed && v->ring.lease.incarnation && sim_random(s, 8) == 0) {
        v->ring.armed = true;
        tell_and_drain(s, i);
    }
}

/* ---- faults ---- */

static void links_set(struct sim *s, bool on) {
    for (int a = 0; a < SIM_SERVERS_MAX; a++)
        for (int b = 0; b < SIM_SERVERS_MAX; b++)
            s->link[a][b] = on;
}

void ring_init(struct sim *s) { links_set(s, true); }

static void heal(struct sim *s, struct sim_event *e) {
    if (e && e->epoch != s->partitions)
        return;
    links_set(s, true);
    sim_trace(s, "the heartbeat network is whole");
    ring_disturbed(s);
}

/* Every shape: one off, two halves, islands, one direction of one link, links at random, all. */
static void partition(struct sim *s) {
    int n = s->config.servers, one = (int)sim_random(s, (uint64_t)n), shape = (int)sim_random(s, 6);
    unsigned side[SIM_SERVERS_MAX];
    for (int a = 0; a < n; a++)
        side[a] = shape == 0 ? a == one : shape == 1 ? (unsigned)(a >= n / 2) : (unsigned)sim_random(s, 3);
    for (int a = 0; a < n; a++) {
        for (int b = 0; b < n; b++) {
            bool cut = shape <= 2   ? side[a] != side[b]
                       : shape == 3 ? a == one && b == (one + 1) % n
                       : shape == 4 ? sim_random(s, 3) == 0
                                    : true;
            if (a != b && cut)
                s->link[a][b] = false;
        }
    }
    static const char *const names[] = {"one is cut off", "halves", "islands", "one way", "at random", "all"};
    sim_trace(s, "FAULT the heartbeat network: %s", names[shape]);
    cover_hit(s->cover, "partition", names[shape]);
    /* Often the same cable carries the manager's connection. */
    for (int a = 0; shape <= 2 && a < n; a++)
        if (side[a] && sim_random(s, 2))
            s->servers[a].unreachable_until = s->now + sim_between(s, 1, 40) * 1000 * US_PER_MS;
    struct sim_event *e = sim_at(s, s->now + sim_between(s, 1, 40) * 1000 * US_PER_MS, heal);
    e->epoch = ++s->partitions;
    ring_disturbed(s);
}

/* Faults, and what the agents do about them; every half second or so. */
void ring_everyday(struct sim *s) {
    if (!s->config.pool)
        return;
    if (sim_fault(s, FAULT_PARTITION))
        partition(s);
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_server *v = &s->servers[i];
        supervise(s, i);
        if (v->clustered && v->ring.corosync && sim_fault(s, FAULT_COROSYNC_DIES))
            corosync_stop(s, i);
        if (v->clustered && sim_fault(s, FAULT_COROSYNC_STUCK)) {
            v->ring.stuck_until = s->now + sim_between(s, 500, 15000) * US_PER_MS;
            ring_disturbed(s);
            sim_at(s, v->ring.stuck_until + 1, settle);
        }
        bool seen = v->p.up && s->now >= v->p.paused_until;
        if (v->clustered && v->ring.deadman && seen && sim_fault(s, FAULT_DEADMAN_DIES)) {
            v->ring.deadman = false;
            v->ring.life++;
            v->ring.n_watched = 0;
            tell_and_drain(s, i);
            if (!v->ring.tended) /* corosync's start takes its time: the deadman's does not wait for that */
                ring_deadman_again(s, i);
        }
        if (sim_fault(s, FAULT_POWER))
            server_power_off(s, i);
        if (sim_fault(s, FAULT_UNREACHABLE)) {
            v->unreachable_until = s->now + sim_between(s, 1, 60) * 1000 * US_PER_MS;
            server_cut(s, i, "its network is down");
        }
        if (v->unreachable_until > s->now && v->connected)
            server_cut(s, i, "its network is down");
    }
}

void ring_rest(struct sim *s) {
    heal(s, NULL);
    for (int i = 0; i < s->config.servers; i++)
        s->servers[i].ring.stuck_until = s->servers[i].unreachable_until = 0;
}
