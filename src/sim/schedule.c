/* SPDX-License-Identifier: Apache-2.0 */
/* One schedule: servers join, requests and faults, then rest. */
#include "guest/internal.h"
#include "sim/sim.h"

#include <stdio.h>

#define REST_LIMIT_US (3600LL * 1000 * 1000)
#define PATIENCE_US   (300LL * 1000 * 1000)
#define REST_HOLD_US  (65LL * 1000 * 1000) /* longer than the restart policy waits */
#define REST_SHORT_US (20LL * 1000 * 1000) /* where no agent waits to restart anything */

/* For each server and half second. */
static const enum sim_fault each_server[] = {FAULT_POWER, FAULT_UNREACHABLE, FAULT_COROSYNC_DIES, FAULT_COROSYNC_STUCK,
                                             FAULT_DEADMAN_DIES};

static void draw_pool_faults(struct sim_config *c, struct idgen *g) {
    static const unsigned rates[] = {0, 3000, 10000, 30000, 80000};
    for (int i = FAULT_PARTITION; i < FAULT_COUNT; i++)
        c->fault[i] = c->pool && idgen_next(g) % 2 ? rates[idgen_next(g) % ARRAY_LEN(rates)] : 0;
}

/* Most of what else can go wrong has schedules of its own. */
static void draw_requests(struct sim_config *c, struct idgen *g) {
    c->clients = 1;
    c->requests = 10 + (int)(idgen_next(g) % 30);
    for (int i = 0; i < FAULT_PARTITION; i++)
        if (idgen_next(g) % 3)
            c->fault[i] = 0;
}

/* In a large pool what happens to each of its servers happens more seldom, else all are down. */
static void spread_faults(struct sim_config *c) {
    for (size_t i = 0; i < ARRAY_LEN(each_server); i++)
        c->fault[each_server[i]] /= c->servers > 7 ? 16 : 4;
}

/* A schedule in three is of a clustered pool. Drawn apart, so that the others are what they were. */
static void draw_pool(struct sim_config *c, uint64_t seed) {
    struct idgen g;
    const uint64_t s[4] = {~seed, seed * 0x9e3779b97f4a7c15ULL, 0x2545f4914f6cdd1dULL, seed ^ 0x5851f42d4c957f2dULL};
    idgen_init(&g, s);
    for (int i = 0; i < 8; i++)
        idgen_next(&g);
    c->pool = idgen_next(&g) % 3 == 0;
    draw_pool_faults(c, &g);
    if (!c->pool)
        return;
    c->servers = 3 + (int)(idgen_next(&g) % 5);
    draw_requests(c, &g);
    if (idgen_next(&g) % 50 == 0) /* one in fifty is large */
        c->servers = 8 + (int)(idgen_next(&g) % (SIM_SERVERS_MAX - 7));
    else
        c->two = idgen_next(&g) % 8 == 0;
    if (c->two)
        c->servers = 2;
    spread_faults(c);
}

/* Most schedules have few kinds of faults, some many: both find what the other hides. */
static void draw_faults(struct sim_config *c, struct idgen *g) {
    static const unsigned rates[] = {0, 1000, 5000, 20000, 60000};
    unsigned kinds = (unsigned)(idgen_next(g) % 5);
    for (int i = 0; i < FAULT_COUNT; i++)
        c->fault[i] = idgen_next(g) % 5 <= kinds ? rates[idgen_next(g) % ARRAY_LEN(rates)] : 0;
    /* These are asked for each effect or each half second, and undo everything: seldom is enough. */
    c->fault[FAULT_MANAGER_CRASH] /= 3;
    c->fault[FAULT_CALL_HANGS] /= 10;
    c->fault[FAULT_ABORT] *= 3;
    /* And these have few chances. */
    static const enum sim_fault seldom[] = {FAULT_CALL_FAILS, FAULT_CALL_HALF,  FAULT_CALL_SLOW,
                                            FAULT_GUEST_OFF,  FAULT_GUEST_DIES, FAULT_GUEST_RESETS};
    for (size_t i = 0; i < ARRAY_LEN(seldom); i++)
        c->fault[seldom[i]] *= 4;
}

/* The pool is what its seed makes; what happens to it is the branch's own. */
static void draw_branch(struct sim_config *c, unsigned branch) {
    struct idgen g;
    const uint64_t s[4] = {c->seed, branch, ~c->seed, branch * 0x9e3779b97f4a7c15ULL};
    idgen_init(&g, s);
    for (int i = 0; i < 8; i++)
        idgen_next(&g);
    c->branch = branch;
    c->ha_changes = branch % 4 == 0;
    draw_faults(c, &g);
    draw_pool_faults(c, &g);
    draw_requests(c, &g);
    spread_faults(c);
}

void schedule_draw(struct sim_config *c, uint64_t seed, unsigned branch) {
    struct idgen g;
    const uint64_t s[4] = {seed, seed ^ 0x9e3779b97f4a7c15ULL, 0x5851f42d4c957f2dULL, seed * 0x2545f4914f6cdd1dULL};
    idgen_init(&g, s);
    for (int i = 0; i < 8; i++)
        idgen_next(&g);
    *c = (struct sim_config){.seed = seed};
    c->servers = 1 + (int)(idgen_next(&g) % 3);
    c->clients = 1 + (int)(idgen_next(&g) % 4);
    c->requests = 40 + (int)(idgen_next(&g) % 160);
    draw_faults(c, &g);
    draw_pool(c, seed);
    if (branch && c->pool)
        draw_branch(c, branch);
}

static void everyday(struct sim *s, struct sim_event *e) {
    for (int i = 0; i < s->config.servers; i++)
        driver_life(s, i);
    ring_everyday(s);
    if (s->faults_on) {
        client_changes_ha(s);
        int who = (int)sim_random(s, (uint64_t)s->config.servers + 1) - 1;
        struct process *p = who < 0 ? &s->m.p : &s->servers[who].p;
        if (p->up && s->now >= p->paused_until &&
            sim_fault(s, FAULT_PAUSE)) { /* never shorter: what waits keeps its order */
            if (who >= 0)
                ring_deadman_again(s, who);
            p->paused_until = s->now + sim_between(s, 100, 20000) * US_PER_MS;
        }
        if (sim_fault(s, FAULT_CLOCK_JUMP))
            p->wall_offset_ms += sim_between(s, -3600000, 3600000);
    } else if (s->requests_left <= 0 && !s->patient && !sim_random(s, 20)) {
        client_gives_up(s, s->now - s->rest_at > PATIENCE_US);
    }
    sim_at(s, s->now + sim_between(s, 200, 500) * US_PER_MS, everyday);
}

static void join(struct sim *s) {
    for (int i = 0; i < s->config.servers; i++) {
        struct sim_server *v = &s->servers[i];
        struct api_token t;
        char hash[32];
        snprintf(hash, sizeof hash, "hash-%d", i);
        api_token_init(&t);
        t.kind = API_TOKEN_KIND_JOIN;
        t.uses = 1;
        t.lifetime = 1000;
        str_set(&t.name, "join");
        str_set(&t.hash, hash);
        manager_enter(s);
        core_token_add(s->m.c, 1 + (uint64_t)i, "admin", &t);
        manager_drain(s);
        api_token_done(&t);
        manager_enter(s);
        core_server_join(s->m.c, 100 + (uint64_t)i, hash, v->name, "0.1", v->name);
        manager_drain(s);
        v->id = xstrdup(core_server(s->m.c, v->name)->id);
    }
}

void schedule_ask(struct sim *s, uint64_t id, enum api_op_id op, const char *param, json_t *body /* stolen */) {
    struct core_request r = {.id = id,
                             .op = op,
                             .actor = "admin",
                             .user_id = "admin",
                             .role = API_ROLE_ADMINISTRATOR,
                             .params = {param},
                             .body = body};
    manager_enter(s);
    core_request(s->m.c, &r);
    manager_drain(s);
    json_decref(body);
}

/* A repository on each server: without one nothing else can be made. In a clustered pool, which has one that all share,
   two are enough. */
static void make_repositories(struct sim *s) {
    int n = s->config.pool ? 2 : s->config.servers;
    for (int i = 0; i < n; i++)
        schedule_ask(s, 200 + (uint64_t)i, API_OP_REPOSITORY_CREATE, NULL,
                     json_pack("{s:o, s:s, s:s}", "name", json_sprintf("base-%d", i), "path", "/base", "server",
                               s->servers[i].id));
}

/* In half of the worlds all servers but the last are a pool with a repository that they share. */
static void make_pool(struct sim *s) {
    if (s->config.servers < 2 || sim_random(s, 2))
        return;
    schedule_ask(s, 300, API_OP_POOL_CREATE, NULL, json_pack("{s:s, s:i}", "name", "pool", "memory_reserve", 0));
    for (int i = 0; i < s->config.servers - (s->config.servers > 2); i++)
        schedule_ask(s, 301 + (uint64_t)i, API_OP_POOL_ADD, "pool", json_pack("{s:s}", "server", s->servers[i].id));
    schedule_ask(s, 320, API_OP_REPOSITORY_CREATE, NULL,
                 json_pack("{s:s, s:s, s:s}", "name", "shared", "path", "/shared", "pool", "pool"));
}

static void in_peace(struct sim *s, int64_t ms) {
    int64_t until = s->now + ms * US_PER_MS;
    while (!s->broken && s->now < until && sim_step(s)) {
    }
}

/* Something is under way: a message, a commit, a driver's call, a process that is stopped. */
static bool busy(const struct sim *s) {
    if (s->work)
        return true;
    for (int i = 0; i < s->config.servers; i++)
        if (s->now < s->servers[i].p.paused_until)
            return true;
    return s->now < s->m.p.paused_until;
}

static bool at_rest(struct sim *s) {
    struct core_counts n;
    if (!s->m.p.up || core_read_only(s->m.c))
        return false;
    core_counts(s->m.c, &n);
    if (n.jobs_active || n.jobs_queued)
        return false;
    for (int i = 0; i < s->config.servers; i++) {
        const struct sim_server *v = &s->servers[i];
        if (!core_server(s->m.c, v->id))
            continue; /* removed */
        if (!v->p.up || !v->connected || v->deaf || v->mute || !core_agent_is_connected(s->m.c, v->id))
            return false;
    }
    return !busy(s);
}

static bool restarts_wait(const struct sim *s) {
    for (int i = 0; i < s->config.servers; i++) {
        const struct sim_server *v = &s->servers[i];
        size_t pos = 0;
        void *value;
        while (v->p.up && map_next(&v->h->guests, &pos, NULL, &value))
            if (((const struct guest *)value)->restart_at != INT64_MAX)
                return true;
    }
    return false;
}

/* Hung processes go on, broken things are mended: what is left must come to its end by itself. */
static void rest(struct sim *s) {
    int64_t limit = s->now + REST_LIMIT_US, since = -1;
    s->faults_on = false;
    s->rest_at = s->now;
    ring_rest(s);
    s->requests_left = 0;
    sim_trace(s, "the faults stop");
    while (!s->broken && s->now < limit && sim_step(s)) {
        if (!at_rest(s))
            since = -1;
        else if (since < 0)
            since = s->now;
        else if (s->now - since > REST_HOLD_US || (s->now - since > REST_SHORT_US && !restarts_wait(s)))
            break;
    }
    if (s->broken)
        return;
    if (s->now >= limit && !at_rest(s)) {
        if (s->m.p.up)
            check_rest(s);
        sim_broken(s, "when faults stop, the world comes to rest", "after an hour it has not");
        return;
    }
    check_rest(s);
}

/* What the store holds of what people see, for those who look at a trace. */
static void show_store(struct sim *s) {
    static const char *const kinds[] = {"pool/", "server/", "vm/", "job/"};
    size_t pos = 0;
    const char *key;
    void *value;
    while (map_next(&s->m.p.disk.live, &pos, &key, &value))
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
            if (strncmp(key, kinds[i], strlen(kinds[i])) == 0 && !strstr(value, "\"ended\":\"2"))
                sim_trace(s, "store: %s %s", key, (const char *)value);
}

static void seed_random(struct sim *s, uint64_t seed, uint64_t branch) {
    const uint64_t seeds[4] = {seed, ~seed, 0x1234567 ^ branch, 0x89abcdef + branch * 0x9e3779b97f4a7c15ULL};
    idgen_init(&s->rng, seeds);
    for (int i = 0; i < 8; i++)
        idgen_next(&s->rng);
}

void schedule_make(struct sim *s, const struct sim_config *config, struct cover *cover, bool trace_all,
                   bool trace_keep) {
    *s = (struct sim){.config = *config, .cover = cover, .trace_all = trace_all, .trace_keep = trace_keep};
    seed_random(s, config->seed, 0);
    s->now = US_PER_MS;
    s->request = 1000;
    s->m.p.name = "manager";
    disk_init(&s->m.p.disk);
    ring_init(s);
    for (int i = 0; i < config->servers; i++)
        server_init(s, i);
    pool_draw_servers(s);
    manager_start(s);
    join(s);
    for (int i = 0; i < config->servers; i++)
        server_start(s, i);
    sim_at(s, s->now + US_PER_MS, everyday);
    if (config->pool) {
        in_peace(s, 2000); /* they connect */
        make_repositories(s);
        pool_make(s);
    } else {
        in_peace(s, 10000);
        make_repositories(s);
        in_peace(s, 1000);
        make_pool(s);
    }
    in_peace(s, 2000);
}

bool schedule_go(struct sim *s, const struct sim_config *config) {
    s->config = *config;
    if (config->branch)
        seed_random(s, config->seed, config->branch);
    s->faults_on = true;
    client_start(s);
    int64_t until = s->now + 900LL * 1000 * US_PER_MS;
    while (!s->broken && s->requests_left > 0 && s->now < until && sim_step(s)) {
    }
    if (!s->broken)
        rest(s);
    if (!s->broken && config->pool && sim_random(s, 5) == 0 && loss_at_rest(s))
        rest(s); /* they are back */
    if (s->broken && s->trace_all)
        show_store(s);
    return !s->broken;
}

bool schedule_run(struct sim *s, const struct sim_config *config, struct cover *cover, bool trace_all,
                  bool trace_keep) {
    schedule_make(s, config, cover, trace_all, trace_keep);
    return schedule_go(s, config);
}

void schedule_done(struct sim *s) {
    if (s->m.c)
        core_free(s->m.c);
    disk_done(&s->m.p.disk);
    for (int i = 0; i < s->config.servers; i++)
        server_done(s, i);
    storage_done(s);
    client_done(s);
    check_done(s);
    watch_done(s);
    size_t pos = 0;
    void *value;
    while (map_next(&s->versions, &pos, NULL, &value))
        free(value);
    map_done(&s->versions);
    map_done(&s->ends);
    sim_world_done(s);
}
