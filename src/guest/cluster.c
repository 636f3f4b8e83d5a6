/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server in its clustered pool: what is configured, what tarn-deadman says (deadman.h), what of it the manager is
 * told, and which guests may run.
 *
 * An order to start a guest is stamped with the lease under which it was received and is carried out under that one
 * only. When a new lease begins the connection to the manager is dropped: what lay in it may be older than the time
 * without a lease, and the manager sends what is still wanted after it has heard our report.
 */
#include "guest/internal.h"

#include <string.h>

#define RETRY_MS 5000

static bool is_configured(const struct host *h) { return h->cluster.config != NULL; }

/* ---- what is known ---- */

static const struct api_cluster_node *node_of(const struct host *h, uint32_t node) {
    for (size_t i = 0; i < h->cluster.c.n_nodes; i++)
        if (h->cluster.c.nodes[i].node == node)
            return &h->cluster.c.nodes[i];
    return NULL;
}

static bool is_member(const struct host *h, int64_t node) {
    for (size_t i = 0; i < h->cluster.n_members; i++)
        if (h->cluster.members[i] == node)
            return true;
    return false;
}

bool host_cluster_misses(const struct host *h, const char *server) {
    bool there = false;
    for (size_t i = 0; i < h->cluster.c.n_nodes && !there; i++)
        there = str_eq(h->cluster.c.nodes[i].server, server) && is_member(h, h->cluster.c.nodes[i].node);
    return h->cluster.ring_at && h->cluster.n_members && !there;
}

static const char *why_not(const struct host *h) {
    const struct cluster *c = &h->cluster;
    if (c->incarnation)
        return "";
    if (!c->ring_at)
        return "corosync does not run or does not answer";
    if (c->wanted_armed && !c->armed && c->held)
        return "its tarn-deadman has just started, and does not watch over its guests yet";
    if (c->n_members < cluster_quorum(c->c.n_nodes))
        return "it sees too few servers of its pool: are they up, and is the heartbeat network whole?";
    return "the other servers of its pool do not answer yet";
}

json_t *host_cluster_state(const struct host *h, bool times) {
    const struct cluster *c = &h->cluster;
    json_t *j = json_object(), *members = json_array(), *left = json_array();
    json_set_str(j, "pool", is_configured(h) ? c->c.pool : "");
    json_object_set_new(j, "members", members);
    json_object_set_new(j, "left", left);
    if (!is_configured(h))
        return j;
    json_set_int(j, "version", c->c.version);
    json_object_set_new(j, "armed", json_boolean(c->armed));
    json_object_set_new(j, "quorate", json_boolean(c->incarnation != 0));
    json_set_int(j, "incarnation", c->incarnation);
    json_set_str(j, "reason", why_not(h));
    for (size_t i = 0; i < c->n_members; i++) {
        const struct api_cluster_node *n = node_of(h, c->members[i]);
        if (n)
            json_array_append_new(members, json_string(n->server));
    }
    for (size_t i = 0; i < c->c.n_nodes; i++) {
        const struct api_cluster_node *n = &c->c.nodes[i];
        if (!c->incarnation || is_member(h, n->node))
            continue;
        int64_t gone = times ? cluster_gone_ms(c->ring_at, c->proof) : 0;
        json_array_append_new(left, json_pack("{s:s, s:I}", "server", n->server, "gone_ms", (json_int_t)gone));
    }
    if (times && c->incarnation)
        json_set_int(j, "proof_age_ms", h->mono > c->proof_at ? h->mono - c->proof_at : 0);
    return j;
}

static void tell(struct host *h) {
    _cleanup_json_ json_t *now = host_cluster_state(h, false);
    _cleanup_free_ char *text = json_text(now);
    if (str_eq(text, h->cluster.told))
        return;
    str_set(&h->cluster.told, text);
    host_renew_report(h); /* one that waits for the disk holds what was true before, and would come after this */
    if (h->connected && !h->report_wanted)
        host_send(h, host_event_frame(API_AGENT_EVENT_CLUSTER_STATE, host_cluster_state(h, true)), false);
}

/* A lease at whose end nobody would be killed is none. After a boot a deadman knows nothing, and is armed again. */
static bool counts(const struct cluster *c, bool armed) { return armed || !c->wanted_armed; }

void host_cluster_facts(struct host *h, const struct host_cluster_facts *f) {
    struct cluster *c = &h->cluster;
    size_t n = f->n_members < DEADMAN_NODES ? f->n_members : DEADMAN_NODES;
    int64_t incarnation = counts(c, f->armed) ? (int64_t)f->incarnation : 0;
    /* The deadman says so several times a second, and hardly ever anything new. */
    bool same = c->told && c->armed == f->armed && c->incarnation == incarnation && !c->ring_at == !f->ring_at &&
                c->n_members == n && (!n || memcmp(c->members, f->members, n * sizeof *c->members) == 0);
    c->armed = f->armed;
    c->incarnation = incarnation;
    c->held = (int64_t)f->incarnation;
    c->proof = f->proof;
    c->ring_at = f->ring_at;
    c->proof_at = h->mono - (f->now - f->proof);
    c->n_members = n;
    if (c->n_members)
        memcpy(c->members, f->members, c->n_members * sizeof *c->members);
    if (c->incarnation && c->incarnation != c->seen) {
        /* What was ordered before is not for this lease; after a boot, of which we have seen none, neither. */
        if ((c->seen || c->wanted_armed) && h->connected)
            host_drop(h);
        c->seen = c->incarnation;
    }
    if (!same)
        tell(h);
    host_settle(h);
}

/* ---- guests ---- */

static bool start_wants(const json_t *start) {
    return json_bool(json_object_get(json_object_get(start, "vm"), "ha"), "enabled", false);
}

bool host_cluster_guards(const struct host *h) { return is_configured(h); }

void host_cluster_stamp(const struct host *h, json_t *start) {
    json_object_set_new(start, "guarded", json_boolean(is_configured(h) && start_wants(start)));
    json_set_int(start, "incarnation", h->cluster.incarnation);
}

void host_cluster_stamp_late(const struct host *h, const struct guest *g, const struct op *op, json_t *start) {
    if (!is_configured(h)) { /* it has left its pool since */
        json_object_set_new(start, "guarded", json_false());
        return;
    }
    if (json_bool(start, "guarded", false) || !start_wants(start))
        return;
    json_object_set_new(start, "guarded", json_true());
    if (op->resumed && g->r.kept && g->r.guarded) /* adopted while it was under way */
        json_set_int(start, "incarnation", g->r.incarnation);
}

/* The deadman says so; one that should be and does not run lets nothing start. */
static bool is_armed(const struct host *h) { return h->cluster.armed || h->cluster.wanted_armed; }

bool host_cluster_allows(const struct host *h, bool guarded, int64_t incarnation) {
    return !guarded || !is_armed(h) || (incarnation && incarnation == h->cluster.incarnation);
}

/*
 * One of two servers, which are not armed, may have been switched off while it was cut off, and its guests run on the
 * other one. So what does not run when we start is not started again by our own decision: the manager decides.
 */
bool host_cluster_doubts(const struct host *h, const struct guest *g) {
    return g->before && g->r.guarded && is_configured(h) && !is_armed(h);
}

int64_t host_cluster_lease(const struct host *h, const struct guest *g) {
    return is_armed(h) ? g->r.incarnation : h->cluster.incarnation;
}

void host_each_guarded(const struct host *h, host_guarded_visitor *visit, void *ctx) {
    size_t pos = 0;
    const char *vm;
    void *value;
    while (map_next(&h->guests, &pos, &vm, &value)) {
        const struct guest *g = value;
        if (g->r.kept && g->r.guarded && !guest_is_off(g))
            visit(ctx, vm);
    }
}

/* Those that ran before the server came into the pool. */
static bool guard(const struct host *h, struct record *r) {
    _cleanup_json_ json_t *start = r->kept && r->start && !r->guarded ? json_loads(r->start, 0, NULL) : NULL;
    if (!start || !start_wants(start))
        return false;
    r->guarded = true;
    r->incarnation = h->cluster.incarnation;
    return true;
}

/* They run under the lease that is held when the deadman is armed. */
static bool adopt(const struct host *h, struct record *r) {
    if (!r->kept || !r->guarded)
        return false;
    r->incarnation = h->cluster.incarnation;
    return true;
}

static bool unguard(const struct host *h, struct record *r) {
    bool was = r->kept && r->guarded;
    if (was)
        r->guarded = false;
    return was;
}

/* Also in what an op goes back to that is refused yet. */
static void change_all(struct host *h, bool (*change)(const struct host *h, struct record *r), bool told) {
    size_t pos = 0;
    void *value;
    while (map_next(&h->guests, &pos, NULL, &value)) {
        struct guest *g = value;
        if (!change(h, &g->r))
            continue;
        host_dirty(h, "guest", g->vm);
        if (told)
            host_report_guest(h, g);
    }
    struct op *op;
    list_for_each(op, &h->fresh, fresh) {
        if (op->before)
            change(h, op->before);
    }
}

/* ---- the configuration ---- */

static int config_set(struct host *h, const json_t *value, struct error *e) {
    struct api_cluster_configure c;
    int r = api_cluster_configure_parse(value, API_PEER, &c, e);
    if (r < 0)
        return r;
    if (is_configured(h))
        api_cluster_configure_done(&h->cluster.c);
    h->cluster.c = c;
    h->cluster.wanted_armed = json_bool(value, "armed", false);
    str_take(&h->cluster.config, json_text(value));
    return 0;
}

static void config_keep(struct host *h, const json_t *args, const char *secret, bool armed) {
    _cleanup_json_ json_t *kept = json_deep_copy(args);
    if (*secret)
        json_set_str(kept, "secret", secret);
    json_object_set_new(kept, "armed", json_boolean(armed));
    if (config_set(h, kept, NULL) == 0)
        host_dirty(h, "cluster", "config");
}

int host_cluster_load(struct host *h, const json_t *value, struct error *e) {
    if (is_configured(h))
        return error_set(e, ERR_IO, "the agent's store holds its cluster twice");
    return config_set(h, value, e);
}

static void forget(struct host *h) {
    if (is_configured(h))
        api_cluster_configure_done(&h->cluster.c);
    memset(&h->cluster.c, 0, sizeof h->cluster.c);
    str_take(&h->cluster.config, NULL);
    h->cluster.wanted_armed = h->cluster.armed = false;
    h->cluster.incarnation = h->cluster.seen = h->cluster.held = 0;
    h->cluster.n_members = 0;
    h->cluster.retry_at = NEVER;
}

void host_cluster_done(struct host *h) {
    forget(h);
    str_take(&h->cluster.told, NULL);
}

void host_cluster_op_done(struct host *h, enum api_agent_op kind, const json_t *args, const json_t *result) {
    if (kind == API_AGENT_OP_CLUSTER_CONFIGURE) {
        config_keep(h, args, json_str(result, "secret"), h->cluster.wanted_armed);
        change_all(h, guard, true);
    } else if (kind == API_AGENT_OP_CLUSTER_ARM && is_configured(h)) {
        _cleanup_json_ json_t *config = json_loads(h->cluster.config, 0, NULL);
        bool was = h->cluster.wanted_armed;
        config_keep(h, config, "", json_bool(args, "armed", false));
        h->cluster.incarnation = counts(&h->cluster, h->cluster.armed) ? h->cluster.held : 0;
        if (!was) /* what has ended with a lease, unheard as yet, must not come under another */
            change_all(h, adopt, false);
    } else if (kind == API_AGENT_OP_CLUSTER_LEAVE) {
        change_all(h, unguard, true);
        forget(h);
        host_dirty(h, "cluster", "config");
    }
    tell(h);
}

/* ---- after our start ---- */

void host_cluster_start(struct host *h) {
    if (!is_configured(h) || h->cluster.configuring)
        return;
    if (op_is_running(h, OP_SUBJECT_CLUSTER)) {
        h->cluster.retry_at = h->mono + RETRY_MS;
        return;
    }
    h->cluster.configuring = true;
    h->cluster.retry_at = NEVER;
    host_call(h, CALL_CLUSTER, API_AGENT_OP_CLUSTER_CONFIGURE, json_loads(h->cluster.config, 0, NULL), false);
}

void host_cluster_reconfigured(struct host *h, const struct error *error) {
    h->cluster.configuring = false;
    h->cluster.retry_at = error && is_configured(h) ? h->mono + RETRY_MS : NEVER;
}

void host_cluster_tick(struct host *h) {
    if (h->mono >= h->cluster.retry_at)
        host_cluster_start(h);
}
