/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster of a pool: which servers are in it, under which numbers and addresses. When the pool's servers, or their
 * heartbeat addresses, are not those of the cluster, a job pool.cluster makes it so, one server at a time: majorities
 * of two sets that differ by one server have a server in common, so at no moment can two halves both believe in theirs.
 *
 *     configure new   the server that comes in, which sees nobody yet; if that fails, nothing has happened
 *     store           point of no return: what the cluster is from now on
 *     disarm          all, where fewer than CLUSTER_ARMED servers remain: two servers cannot tell who of them is cut
 * off leave           the server that goes configure       the others arm             all: from now on tarn-deadman
 * kills there, and others may start what it has killed
 *
 * A server's mark "armed" is durable before the call that disarms it, and set by the answer of the one that arms it: it
 * is never set where nobody kills.
 */
#include "core/core_int.h"

#include <errno.h>

#define CLUSTER_ARMED 3 /* DEADMAN_ARMED of the agent */
#define CLUSTER_MAX   32
#define RINGS_MAX     2

static const struct api_server *server_of(const struct core *c, const char *id) {
    return CORE_GET(c, server, SERVER, id);
}
static const struct api_pool *pool_of(const struct job_ctx *x) { return CORE_GET(x->c, pool, POOL, x->job->object.id); }

static const char *clustered_in(const struct api_server *s) {
    return s->has_cluster ? str_or(s->cluster.pool, "") : "";
}

bool cluster_is_armed(const struct api_server *s) { return s->has_cluster && s->cluster.armed; }

/* ---- what is wanted ---- */

static bool pool_clustered(const struct api_pool *p, const struct api_server *s) {
    return p->clustered && str_eq(s->pool, p->id);
}

static const struct api_pool_cluster_node *node_find(const struct api_pool *p, const char *server) {
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes; i++)
        if (str_eq(p->cluster.nodes[i].server, server))
            return &p->cluster.nodes[i];
    return NULL;
}

static int64_t free_node(const struct api_pool *p) {
    for (int64_t number = 1;; number++) {
        bool taken = false;
        for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes && !taken; i++)
            taken = p->cluster.nodes[i].node == number;
        if (!taken)
            return number;
    }
}

struct change {
    const struct api_server *in; /* comes */
    char out[UUID_LEN + 1];      /* goes; may be deleted already */
    bool differs;                /* there is something to do */
    json_t *nodes;               /* the cluster afterwards */
};

static void node_add(json_t *nodes, const struct api_server *s, int64_t number, size_t rings) {
    const char *address[RINGS_MAX];
    json_t *list = json_array();
    size_t n = server_rings(s, address);
    for (size_t i = 0; i < n && i < rings; i++)
        json_array_append_new(list, json_string(address[i]));
    json_array_append_new(nodes,
                          json_pack("{s:s, s:I, s:o}", "server", s->id, "node", (json_int_t)number, "addresses", list));
}

/* Two rings where every server has two. */
static size_t count_rings(struct core *c, const struct api_pool *p, const struct change *ch) {
    size_t rings = RINGS_MAX, n;
    const char *address[RINGS_MAX];
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes; i++) {
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        if (s && !str_eq(s->id, ch->out) && (n = server_rings(s, address)) < rings)
            rings = n;
    }
    if (ch->in && (n = server_rings(ch->in, address)) < rings)
        rings = n;
    return rings;
}

/* It was away, or refused: what it takes for the cluster is of before the last change. */
static bool is_behind(const struct api_pool *p, const struct api_server *s) {
    return s && str_eq(clustered_in(s), p->id) && s->cluster.version != p->cluster.version;
}

static bool another_is_behind(struct core *c, const struct api_pool *p, const char *out) {
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes; i++)
        if (!str_eq(p->cluster.nodes[i].server, out) && is_behind(p, server_of(c, p->cluster.nodes[i].server)))
            return true;
    return false;
}

/* One at a time, and only when all know of the last: two that differ by more than one server could each find more than
   half of what they take for the pool. */
static void choose(struct core *c, const struct api_pool *p, struct change *ch) {
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes && !*ch->out; i++) {
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        if (!s || !pool_clustered(p, s))
            memcpy(ch->out, p->cluster.nodes[i].server, UUID_LEN);
    }
    if (another_is_behind(c, p, ch->out)) {
        ch->out[0] = 0;
        return;
    }
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n && !*ch->out && !ch->in; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        if (pool_clustered(p, s) && !node_find(p, s->id))
            ch->in = s;
    }
}

static json_t *nodes_now(const struct api_pool *p) {
    if (!p->has_cluster)
        return json_array();
    json_t *whole = api_pool_cluster_print(&p->cluster, API_PUBLIC);
    json_t *nodes = json_incref(json_object_get(whole, "nodes"));
    json_decref(whole);
    return nodes ? nodes : json_array();
}

static bool settled(struct core *c, const struct api_pool *p) {
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes; i++) {
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        if (s && (!str_eq(clustered_in(s), p->id) || s->cluster.version != p->cluster.version ||
                  s->cluster.armed != (p->cluster.n_nodes >= CLUSTER_ARMED)))
            return false;
    }
    return true;
}

/* The next step on the way from what the cluster is to what the pool is. The nodes are the caller's. */
static void change_find(struct core *c, const struct api_pool *p, struct change *ch) {
    *ch = (struct change){0};
    choose(c, p, ch);
    size_t rings = count_rings(c, p, ch);
    ch->nodes = json_array();
    for (size_t i = 0; p->has_cluster && i < p->cluster.n_nodes; i++) {
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        if (s && !str_eq(s->id, ch->out))
            node_add(ch->nodes, s, p->cluster.nodes[i].node, rings);
    }
    if (ch->in)
        node_add(ch->nodes, ch->in, free_node(p), rings);
    json_t *now = nodes_now(p);
    ch->differs = !json_equal(now, ch->nodes) || !settled(c, p);
    json_decref(now);
}

/* ---- the job ---- */

static void set_reason(struct core *c, const char *pool, const char *reason) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, pool);
    if (!p)
        return;
    if (*reason)
        core_alarm_raise(c, API_SEVERITY_WARNING, API_KIND_POOL, p->id, p->name, "pool.cluster",
                         "The cluster of pool %s is not as it should be: %s", p->name, reason);
    else
        core_alarm_clear(c, p->id, "pool.cluster");
    if (p->has_cluster ? str_eq(p->cluster.reason, reason) : !*reason)
        return;
    struct api_pool *put = CORE_COPY(pool, POOL, p);
    put->has_cluster = true;
    str_set(&put->cluster.reason, reason);
    core_put(c, API_KIND_POOL, put);
}

static int check_nodes(struct core *c, const struct api_pool *p, const struct change *ch, struct error *e) {
    size_t i;
    json_t *node;
    if (json_array_size(ch->nodes) > CLUSTER_MAX)
        return error_set(e, ERR_CONFLICT, "a clustered pool has at most %d servers", CLUSTER_MAX);
    if (pool_check_all_heartbeats(c, p->id, e) < 0)
        return -EINVAL;
    json_array_foreach(ch->nodes, i, node) {
        const struct api_server *s = server_of(c, json_str(node, "server"));
        /* One that was given up and has not reported yet is asked nothing: a job would be done at once, with nothing
           done, and the next one too. */
        if (!core_agent_ready(c, s->id))
            return error_set(e, ERR_UNAVAILABLE, "server \"%s\" is not connected", s->name);
    }
    return 0;
}

static void submit(struct core *c, const struct api_pool *p, struct change *ch) {
    _cleanup_error_ struct error e = ERROR_INIT;
    size_t n = json_array_size(ch->nodes);
    bool was_armed = p->has_cluster && p->cluster.n_nodes >= CLUSTER_ARMED;
    struct job_request q = {.kind = &job_pool_cluster,
                            .actor = "tarn",
                            .object_kind = API_KIND_POOL,
                            .object_id = p->id,
                            .object_name = p->name,
                            .title = xasprintf("Set up the cluster of pool %s", p->name),
                            .args = json_pack("{s:O, s:s}", "nodes", ch->nodes, "out", ch->out)};
    struct api_job *j = job_draft(c, &q);
    job_lock(j, API_KIND_POOL, p->id, p->name, false);
    if (ch->in)
        job_add_step(j, q.kind, "configure new", (int64_t)n - 1);
    job_add_step(j, q.kind, "store", 0);
    for (size_t i = 0; was_armed && n < CLUSTER_ARMED && i < n; i++)
        job_add_step(j, q.kind, "disarm", (int64_t)i);
    if (*ch->out)
        job_add_step(j, q.kind, "leave", 0);
    for (size_t i = 0; i < n - (ch->in ? 1 : 0); i++)
        job_add_step(j, q.kind, "configure", (int64_t)i);
    for (size_t i = 0; n >= CLUSTER_ARMED && i < n; i++)
        job_add_step(j, q.kind, "arm", (int64_t)i);
    if (job_submit(c, &q, j, &e) < 0)
        set_reason(c, p->id, e.message);
}

void cluster_sync(struct core *c, const char *pool) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, pool);
    _cleanup_error_ struct error e = ERROR_INIT;
    struct change ch;
    if (!p || map_get(&c->locks, pool))
        return; /* the job that holds it comes here at its end */
    change_find(c, p, &ch);
    if (ch.differs && check_nodes(c, p, &ch, &e) < 0)
        set_reason(c, pool, e.message);
    else if (ch.differs)
        submit(c, p, &ch);
    else
        set_reason(c, pool, "");
    json_decref(ch.nodes);
}

void cluster_sync_all(struct core *c) {
    struct table *t = &c->tables[API_KIND_POOL];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_pool *p = t->sorted[i]->v->data;
        if (p->clustered || (p->has_cluster && p->cluster.n_nodes))
            cluster_sync(c, p->id);
    }
}

/* ---- steps ---- */

static const json_t *node_arg(const struct job_ctx *x) {
    return json_array_get(json_object_get(x->job->args, "nodes"), (size_t)x->param);
}

static struct api_server *server_copy(const struct job_ctx *x, const char *id) {
    const struct api_server *s = server_of(x->c, id);
    struct api_server *put = s ? CORE_COPY(server, SERVER, s) : NULL;
    if (put)
        put->has_cluster = true;
    return put;
}

static int step_configure(struct job_ctx *x, struct error *e) {
    const struct api_pool *p = pool_of(x);
    const char *secret = p && p->has_cluster ? str_or(p->cluster.secret, "") : "";
    int64_t version = p && p->has_cluster ? p->cluster.version : 0;
    bool stored = json_bool(x->job->vars, "stored", false);
    return job_call(x, json_str(node_arg(x), "server"), API_AGENT_OP_CLUSTER_CONFIGURE,
                    json_pack("{s:s, s:I, s:O, s:s}", "pool", x->job->object.id, "version",
                              (json_int_t)(version + !stored), "nodes", json_object_get(x->job->args, "nodes"),
                              "secret", secret),
                    e);
}

static int step_configured(struct job_ctx *x, const json_t *result, struct error *e) {
    const char *secret = json_str(result, "secret");
    const struct api_pool *p = pool_of(x);
    if (*secret && p) {
        struct api_pool *put = CORE_COPY(pool, POOL, p);
        put->has_cluster = true;
        str_set(&put->cluster.secret, secret);
        core_put(x->c, API_KIND_POOL, put);
    }
    struct api_server *s = server_copy(x, json_str(node_arg(x), "server"));
    if (!s)
        return 0;
    str_set(&s->cluster.pool, x->job->object.id);
    s->cluster.node = json_int(node_arg(x), "node", 0);
    s->cluster.version = json_int(result, "version", 0);
    job_changed(x, API_KIND_SERVER, s->id, s->name, "changed", "is in the pool's cluster");
    core_put(x->c, API_KIND_SERVER, s);
    return 0;
}

static int leave_call(struct job_ctx *x, const char *server, struct error *e) {
    struct api_server *s = server_copy(x, server);
    if (!s)
        return STEP_DONE;
    api_server_cluster_done(&s->cluster); /* not armed any more, before it is told so */
    api_server_cluster_init(&s->cluster);
    core_put(x->c, API_KIND_SERVER, s);
    return job_call(x, server, API_AGENT_OP_CLUSTER_LEAVE, json_object(), e);
}

static int step_unconfigure(struct job_ctx *x, struct error *e) {
    return leave_call(x, json_str(node_arg(x), "server"), e);
}
static int step_leave(struct job_ctx *x, struct error *e) { return leave_call(x, json_str(x->job->args, "out"), e); }

static int step_store(struct job_ctx *x, struct error *e) {
    struct api_pool *p = CORE_COPY(pool, POOL, pool_of(x));
    struct api_pool_cluster cluster;
    json_t *old = p->has_cluster ? api_pool_cluster_print(&p->cluster, API_PRIVATE) : json_object();
    const json_t *nodes = json_object_get(x->job->args, "nodes");
    json_object_set(old, "nodes", (json_t *)nodes);
    json_set_int(old, "version", json_int(old, "version", 0) + 1);
    json_set_int(old, "rings", (int64_t)json_array_size(json_object_get(json_array_get(nodes, 0), "addresses")));
    int r = api_pool_cluster_parse(old, API_STORED, &cluster, e);
    json_decref(old);
    if (r < 0) {
        api_pool_done(p);
        free(p);
        return r;
    }
    api_pool_cluster_done(&p->cluster);
    p->cluster = cluster;
    p->has_cluster = true;
    core_put(x->c, API_KIND_POOL, p);
    json_object_set_new(x->job->vars, "stored", json_true());
    return STEP_DONE;
}

static int arm_call(struct job_ctx *x, bool armed, struct error *e) {
    return job_call(x, json_str(node_arg(x), "server"), API_AGENT_OP_CLUSTER_ARM, json_pack("{s:b}", "armed", armed),
                    e);
}

static void set_armed(struct job_ctx *x, bool armed) {
    struct api_server *s = server_copy(x, json_str(node_arg(x), "server"));
    if (!s)
        return;
    s->cluster.armed = armed;
    core_put(x->c, API_KIND_SERVER, s);
}

/* A server that was away when it was to be configured, and is back: it does not know the newest one, and those two may
   not find each other. The job that follows this one begins with it. */
static bool one_is_behind(const struct job_ctx *x) {
    const struct api_pool *p = pool_of(x);
    for (size_t i = 0; p && p->has_cluster && i < p->cluster.n_nodes; i++) {
        const struct api_server *s = server_of(x->c, p->cluster.nodes[i].server);
        if (is_behind(p, s) && core_agent_ready(x->c, s->id))
            return true;
    }
    return false;
}

static int step_arm(struct job_ctx *x, struct error *e) { return one_is_behind(x) ? STEP_DONE : arm_call(x, true, e); }
static int step_armed(struct job_ctx *x, const json_t *result, struct error *e) {
    set_armed(x, true);
    return 0;
}
static int step_disarm(struct job_ctx *x, struct error *e) {
    set_armed(x, false);
    return arm_call(x, false, e);
}

static void cluster_ended(struct job_ctx *x) {
    job_put_end(x);
    if (x->job->state == API_JOB_STATE_DONE)
        cluster_sync(x->c, x->job->object.id);
    else
        set_reason(x->c, x->job->object.id, str_or(x->job->error, "its setting-up was aborted"));
    cluster_check_proof(x->c, x->job->object.id);
}

static const struct job_step_def cluster_steps[] = {
    {"configure new", 3, false, step_configure, step_configured, step_unconfigure, NULL, false},
    {"store", 1, true, step_store, NULL, NULL, NULL, false},
    {"disarm", 1, true, step_disarm, NULL, NULL, NULL, false},
    {"leave", 1, true, step_leave, NULL, NULL, NULL, false},
    {"configure", 3, true, step_configure, step_configured, NULL, NULL, false},
    {"arm", 1, true, step_arm, step_armed, NULL, NULL, false},
};
const struct job_kind job_pool_cluster = {
    .name = "pool.cluster", .steps = cluster_steps, .n_steps = ARRAY_LEN(cluster_steps), .ended = cluster_ended};

/* ---- what servers say of it: shown, and in memory only ---- */

static bool same_list(char *const *a, size_t n, char *const *b, size_t m) {
    bool same = n == m;
    for (size_t i = 0; i < n && same; i++)
        same = str_eq(a[i], b[i]);
    return same;
}

static void take_list(char ***to, size_t *n, char *const *from, size_t m) {
    for (size_t i = 0; i < *n; i++)
        free((*to)[i]);
    *to = xreallocarray(*to, m ? m : 1, sizeof **to);
    for (size_t i = 0; i < m; i++)
        (*to)[i] = xstrdup(from[i]);
    *n = m;
}

static void show_server(struct core *c, const struct api_server *s, const struct api_cluster_state *state) {
    if (!s->has_cluster || (s->cluster.quorate == state->quorate && str_eq(s->cluster.reason, state->reason) &&
                            same_list(s->cluster.members, s->cluster.n_members, state->members, state->n_members)))
        return;
    struct api_server *put = CORE_COPY(server, SERVER, s);
    put->cluster.quorate = state->quorate;
    str_set(&put->cluster.reason, state->reason);
    take_list(&put->cluster.members, &put->cluster.n_members, state->members, state->n_members);
    core_put_volatile(c, API_KIND_SERVER, put);
}

/* Those that can be heard have all lost it. When none can be heard, that says something of the manager's network only.
 */
static void alarm_quorum(struct core *c, const struct api_pool *p, bool quorate) {
    size_t heard = 0;
    bool two = p->cluster.n_nodes == 2;
    for (size_t i = 0; i < p->cluster.n_nodes; i++) {
        const struct agent *a = map_get(&c->agents, p->cluster.nodes[i].server);
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        heard += a && a->connected && a->reported && a->state && s && (s->cluster.armed || two);
    }
    if (quorate)
        core_alarm_clear(c, p->id, "pool.quorum");
    else if (two && heard == 2)
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_POOL, p->id, p->name, "pool.quorum",
                         "The two servers of pool %s do not see each other: is the heartbeat network whole, and does "
                         "corosync run on both? Their guests go on",
                         p->name);
    else if (heard && !two)
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_POOL, p->id, p->name, "pool.quorum",
                         "Pool %s has lost its majority: fewer than half of its servers see each other, and highly "
                         "available virtual machines do not run until more do",
                         p->name);
}

void cluster_check_proof(struct core *c, const char *pool) {
    cluster_show_pool(c, pool);
    const struct api_pool *p = CORE_GET(c, pool, POOL, pool);
    if (p)
        pool_check_protection(c, p);
}

void cluster_show_pool(struct core *c, const char *pool) {
    const struct api_pool *p = CORE_GET(c, pool, POOL, pool);
    const struct api_server *witness = NULL;
    for (size_t i = 0; p && p->has_cluster && i < p->cluster.n_nodes; i++) {
        const struct api_server *s = server_of(c, p->cluster.nodes[i].server);
        if (s && s->has_cluster && s->cluster.quorate && core_agent_is_connected(c, s->id) && !witness)
            witness = s;
    }
    if (p && p->has_cluster && p->cluster.n_nodes > 1)
        alarm_quorum(c, p, witness != NULL);
    enum api_failover_proof proof = p ? pool_proof(c, p) : API_FAILOVER_PROOF_NONE;
    if (!p || !p->has_cluster ||
        (p->cluster.quorate == (witness != NULL) && p->cluster.proof == proof &&
         same_list(p->cluster.members, p->cluster.n_members, witness ? witness->cluster.members : NULL,
                   witness ? witness->cluster.n_members : 0)))
        return;
    struct api_pool *put = CORE_COPY(pool, POOL, p);
    put->cluster.quorate = witness != NULL;
    put->cluster.proof = proof;
    take_list(&put->cluster.members, &put->cluster.n_members, witness ? witness->cluster.members : NULL,
              witness ? witness->cluster.n_members : 0);
    bool proof_changed = p->cluster.proof != proof;
    core_put_volatile(c, API_KIND_POOL, put);
    if (proof_changed)
        protection_pool(c, pool);
}

void cluster_show(struct core *c, const struct api_server *s, const struct api_cluster_state *state) {
    _cleanup_free_ char *pool = xstrdup(clustered_in(s));
    show_server(c, s, state);
    cluster_show_pool(c, pool);
}
