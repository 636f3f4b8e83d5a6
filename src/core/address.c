/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server's addresses are for. An address may have several roles, and what has none goes the way that is left:
 *
 *     management  the agent's connection to the manager comes from it
 *     migration   guests arrive there            else management
 *     heartbeat   corosync's ring; two give two rings
 *     vm          guests' networks
 *     storage     disks are copied there         else migration, else management
 *
 * and without a management address everything uses the one that the agent's connection comes from.
 */
#include "core/core_int.h"

#include "base/address.h"

#include <stdio.h>

#define RINGS_MAX 2

static bool has_role(const struct api_server_address *a, enum api_network_role role) {
    for (size_t i = 0; i < a->n_roles; i++)
        if (a->roles[i] == role)
            return true;
    return false;
}

static const char *with_role(const struct api_server *s, enum api_network_role role) {
    for (size_t i = 0; i < s->n_addresses; i++)
        if (has_role(&s->addresses[i], role))
            return s->addresses[i].address;
    return NULL;
}

const char *server_role_address(const struct api_server *s, enum api_network_role role) {
    const char *a = with_role(s, role);
    if (!a && role == API_NETWORK_ROLE_STORAGE)
        a = with_role(s, API_NETWORK_ROLE_MIGRATION);
    if (!a)
        a = with_role(s, API_NETWORK_ROLE_MANAGEMENT);
    return a ? a : s->connected_from;
}

static size_t heartbeats(const struct api_server *s, const char *ret[static RINGS_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_addresses && n < RINGS_MAX; i++)
        if (has_role(&s->addresses[i], API_NETWORK_ROLE_HEARTBEAT))
            ret[n++] = s->addresses[i].address;
    return n;
}

size_t server_rings(const struct api_server *s, const char *ret[static 2]) {
    size_t n = heartbeats(s, ret);
    if (n == 0 && !str_empty(server_role_address(s, API_NETWORK_ROLE_HEARTBEAT)))
        ret[n++] = server_role_address(s, API_NETWORK_ROLE_HEARTBEAT);
    return n;
}

/* ---- against what the server says ---- */

/* "192.0.2.7/24" of the interface that has it, or NULL. */
static const char *find_on_nics(const struct api_server *s, const struct address *wanted) {
    for (size_t i = 0; i < s->hardware.n_nics; i++) {
        const struct api_hardware_nic *nic = &s->hardware.nics[i];
        for (size_t k = 0; k < nic->n_addresses; k++) {
            struct address a;
            int prefix;
            if (address_parse_network(nic->addresses[k], &a, &prefix) == 0 && address_equal(&a, wanted))
                return nic->addresses[k];
        }
    }
    return NULL;
}

/* What it has, for a message: "10.0.0.7/24 on eth0, …", a dozen at most. */
static char *nics_text(const struct api_server *s) {
    struct buf b = {0};
    size_t n = 0;
    for (size_t i = 0; i < s->hardware.n_nics; i++)
        for (size_t k = 0; k < s->hardware.nics[i].n_addresses; k++)
            if (n++ < 12)
                buf_addf(&b, "%s%s on %s", b.len ? ", " : "", s->hardware.nics[i].addresses[k],
                         s->hardware.nics[i].name);
    return buf_take(&b);
}

static int check_one(const struct api_server *s, size_t i, struct error *e) {
    const struct api_server_address *entry = &s->addresses[i];
    struct address a, other;
    char field[48];
    snprintf(field, sizeof field, "addresses[%zu].address", i);
    if (address_parse(entry->address, &a) < 0)
        return error_set_field(e, ERR_INVALID, field, "is an IPv4 or IPv6 address without a prefix, not \"%.64s\"",
                               entry->address);
    if (!address_is_host(&a))
        return error_set_field(e, ERR_INVALID, field, "%s is no address of one machine", entry->address);
    for (size_t k = 0; k < i; k++)
        if (address_parse(s->addresses[k].address, &other) == 0 && address_equal(&a, &other))
            return error_set_field(e, ERR_INVALID, field, "is given twice; an address takes all its roles at once");
    /* A server that has never connected is believed. */
    if (s->hardware.n_nics && !address_is_loopback(&a) && !find_on_nics(s, &a)) {
        _cleanup_free_ char *has = nics_text(s);
        return error_set_field(e, ERR_INVALID, field, "server \"%s\" has no address %s; it has %s", s->name,
                               entry->address, str_or(has, "none"));
    }
    return 0;
}

static int check_counts(const struct api_server *s, struct error *e) {
    static const size_t most[] = {[API_NETWORK_ROLE_MANAGEMENT] = 1,
                                  [API_NETWORK_ROLE_MIGRATION] = 1,
                                  [API_NETWORK_ROLE_HEARTBEAT] = RINGS_MAX,
                                  [API_NETWORK_ROLE_VM] = SIZE_MAX,
                                  [API_NETWORK_ROLE_STORAGE] = 1};
    for (enum api_network_role role = 0; role < API_NETWORK_ROLE_COUNT; role++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n_addresses; i++)
            n += has_role(&s->addresses[i], role);
        if (n > most[role])
            return error_set_field(e, ERR_INVALID, "addresses", "at most %zu may have the role %s, not %zu", most[role],
                                   api_network_role_text(role), n);
    }
    return 0;
}

static bool same_heartbeats(const struct api_server *a, const struct api_server *b) {
    const char *x[RINGS_MAX], *y[RINGS_MAX];
    size_t n = heartbeats(a, x);
    if (n != heartbeats(b, y))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!str_eq(x[i], y[i]))
            return false;
    return true;
}

int server_check_addresses(const struct core *c, const struct api_server *old, const struct api_server *next,
                           struct error *e) {
    for (size_t i = 0; i < next->n_addresses; i++) {
        int r = check_one(next, i, e);
        if (r < 0)
            return r;
    }
    const struct api_pool *p = CORE_GET(c, pool, POOL, next->pool);
    if (p && p->clustered && !same_heartbeats(old, next))
        return error_set_field(e, ERR_CONFLICT, "addresses",
                               "pool \"%s\" is clustered over the heartbeat addresses of server \"%s\": remove the "
                               "server from the pool before they change",
                               p->name, next->name);
    return check_counts(next, e);
}

/* ---- a clustered pool's heartbeat networks ---- */

/* Whether two servers' addresses are in one network, by what either says of its own. Unknown ones and those that are a
 * network of their own (routed) are believed. */
static bool may_meet(const struct api_server *a, const char *at, const struct api_server *b, const char *bt) {
    struct address x, y, net;
    int prefix = 0;
    if (address_parse(at, &x) < 0 || address_parse(bt, &y) < 0)
        return false;
    const char *of = find_on_nics(a, &x);
    if (!of)
        of = find_on_nics(b, &y);
    if (!of || address_parse_network(of, &net, &prefix) < 0)
        return true;
    return prefix >= net.bits - 1 || address_near(&x, &y, prefix);
}

static int check_pair(const struct api_server *s, const struct api_server *other, const char *const *mine, size_t n,
                      struct error *e) {
    const char *theirs[RINGS_MAX];
    size_t m = heartbeats(other, theirs);
    if (n == 0 && m > 0)
        return error_set(e, ERR_CONFLICT,
                         "the pool's heartbeat network is missing on server \"%s\" (\"%s\" has it at %s): give one of "
                         "its addresses the role with: tarn server set %s --address address=ADDRESS,roles=heartbeat",
                         s->name, other->name, theirs[0], s->name);
    if (m != n)
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" has %zu heartbeat network%s and server \"%s\" of the pool has %zu: give each "
                         "the same number of addresses with the role heartbeat",
                         s->name, n, n == 1 ? "" : "s", other->name, m);
    for (size_t i = 0; i < n; i++)
        if (!may_meet(s, mine[i], other, theirs[i]))
            return error_set(e, ERR_CONFLICT,
                             "the heartbeat network of server \"%s\" (%s) is missing on server \"%s\", whose "
                             "heartbeat address is %s",
                             other->name, theirs[i], s->name, mine[i]);
    return 0;
}

int pool_check_heartbeats(const struct core *c, const char *pool, const struct api_server *s, struct error *e) {
    const char *mine[RINGS_MAX];
    size_t n = heartbeats(s, mine);
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *other = t->sorted[i]->v->data;
        int r = str_eq(other->pool, pool) && other != s ? check_pair(s, other, mine, n, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The entry that a role goes by; NULL: none, but where the agent's connection comes from. */
static const struct api_server_address *entry_of(const struct api_server *s, enum api_network_role role) {
    const struct api_server_address *stand_in = NULL;
    for (size_t i = 0; i < s->n_addresses; i++) {
        if (has_role(&s->addresses[i], role))
            return &s->addresses[i];
        if (!stand_in && has_role(&s->addresses[i], API_NETWORK_ROLE_MANAGEMENT))
            stand_in = &s->addresses[i];
    }
    return stand_in;
}

/* The command that puts another address in that one's place; it names all, as the list is set as a whole. */
static char *mending_command(const struct api_server *s, const struct api_server_address *bad) {
    struct buf b = {0};
    buf_addf(&b, "tarn server set %s", s->name);
    for (size_t i = 0; i < s->n_addresses; i++) {
        const struct api_server_address *a = &s->addresses[i];
        buf_addf(&b, " --address address=%s", a == bad ? "ADDRESS" : a->address);
        for (size_t k = 0; k < a->n_roles; k++)
            buf_addf(&b, "%s%s", k ? "+" : ",roles=", api_network_role_text(a->roles[k]));
    }
    if (!bad)
        buf_adds(&b, " --address address=ADDRESS,roles=management");
    return buf_take(&b);
}

static int unreachable(const struct api_server *s, enum api_network_role role, struct error *e) {
    const struct api_server_address *bad = entry_of(s, role);
    _cleanup_free_ char *command = mending_command(s, bad);
    if (!bad)
        return error_set(e, ERR_CONFLICT,
                         "server \"%s\" is known by %s, an address of that machine alone, by which no other server "
                         "reaches it: say which one they do with: %s",
                         s->name, s->connected_from, command);
    return error_set(e, ERR_CONFLICT,
                     "server \"%s\" has %s for the role %s, an address of that machine alone, by which no other server "
                     "reaches it: say which one they do with: %s",
                     s->name, bad->address,
                     api_network_role_text(has_role(bad, role) ? role : API_NETWORK_ROLE_MANAGEMENT), command);
}

static bool on_loopback(const struct api_server *s, enum api_network_role role) {
    struct address a;
    return address_parse(server_role_address(s, role), &a) == 0 && address_is_loopback(&a);
}

/* One that has joined on the manager's own machine by way of 127.0.0.1, and others elsewhere. */
int pool_check_reach(const struct core *c, const char *pool, const struct api_server *s, struct error *e) {
    static const enum api_network_role roles[] = {API_NETWORK_ROLE_HEARTBEAT, API_NETWORK_ROLE_MIGRATION};
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *other = t->sorted[i]->v->data;
        for (size_t k = 0; k < ARRAY_LEN(roles) && str_eq(other->pool, pool) && other != s; k++) {
            bool mine = on_loopback(s, roles[k]);
            if (str_empty(server_role_address(s, roles[k])) || str_empty(server_role_address(other, roles[k])) ||
                mine == on_loopback(other, roles[k]))
                continue;
            return unreachable(mine ? s : other, roles[k], e);
        }
    }
    return 0;
}

int pool_check_all_heartbeats(const struct core *c, const char *pool, struct error *e) {
    const struct table *t = &c->tables[API_KIND_SERVER];
    for (size_t i = 0; i < t->n; i++) {
        const struct api_server *s = t->sorted[i]->v->data;
        int r = str_eq(s->pool, pool) ? pool_check_heartbeats(c, pool, s, e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- what the agent is told, and what it tells ---- */

void server_tell_addresses(struct core *c, const struct api_server *s) {
    struct api_agent_addresses told = {.addresses = s->addresses, .n_addresses = s->n_addresses};
    json_t *m = json_object();
    json_set_str(m, "event", api_agent_events[API_AGENT_EVENT_ADDRESSES].name);
    json_object_set_new(m, "args", api_agent_addresses_print(&told, API_PUBLIC));
    core_send(c, s->id, m);
}

void server_note_addresses(struct core *c, const struct api_server *old, const struct api_server *now) {
    _cleanup_buf_ struct buf missing = {0};
    for (size_t i = 0; i < now->n_addresses; i++) {
        const char *text = now->addresses[i].address;
        struct address a;
        if (!now->addresses[i].n_roles || address_parse(text, &a) < 0 || address_is_loopback(&a))
            continue;
        const char *role = api_network_role_text(now->addresses[i].roles[0]);
        bool was = !old->hardware.n_nics || find_on_nics(old, &a), is = !now->hardware.n_nics || find_on_nics(now, &a);
        if (!is)
            buf_addf(&missing, "%s%s (%s)", missing.len ? ", " : "", text, role);
        if (was && !is)
            core_event(c, API_SEVERITY_WARNING, "tarn", "server.address-lost", API_KIND_SERVER, now->id, now->name,
                       NULL, "Server %s has lost its address %s (%s)", now->name, text, role);
        else if (!was && is)
            core_event(c, API_SEVERITY_INFO, "tarn", "server.address-back", API_KIND_SERVER, now->id, now->name, NULL,
                       "Server %s has its address %s again", now->name, text);
    }
    if (missing.len)
        core_alarm_raise(c, API_SEVERITY_ERROR, API_KIND_SERVER, now->id, now->name, "server.address",
                         "Server %s does not have the address %s: look at its network, or change its addresses with "
                         "tarn server set %s --address",
                         now->name, missing.data, now->name);
    else
        core_alarm_clear(c, now->id, "server.address");
}
