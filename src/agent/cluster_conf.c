/* SPDX-License-Identifier: Apache-2.0 */
/* corosync.conf. What comes from outside is checked here: a line of it must not become two. */
#include "agent/cluster.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"
#include "guest/deadman.h"

#include <arpa/inet.h>
#include <string.h>

/* A server is found out within TOKEN_MS and out of the ring CONSENSUS_MS later, whatever the number of servers. */
#define TOKEN_MS     1000
#define CONSENSUS_MS 1200

static bool address_valid(const char *text) {
    unsigned char space[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, space) == 1 || inet_pton(AF_INET6, text, space) == 1;
}

static int check(const struct cluster_conf *conf, struct error *e) {
    const struct api_cluster_configure *c = conf->config;
    if (!uuid_valid(c->pool))
        return error_set(e, ERR_INVALID, "the pool's id is malformed");
    if (!c->n_nodes || c->n_nodes > DEADMAN_NODES)
        return error_set(e, ERR_INVALID, "a clustered pool has 1 to %d servers, not %zu", DEADMAN_NODES, c->n_nodes);
    if (strchr(conf->dir, '\n') || strchr(conf->dir, '{') || strchr(conf->dir, '}'))
        return error_set(e, ERR_INVALID, "the agent's state directory has a character that corosync.conf cannot hold");
    for (size_t i = 0; i < c->n_nodes; i++) {
        const struct api_cluster_node *n = &c->nodes[i];
        if (!uuid_valid(n->server) || n->node < 1 || n->node > INT32_MAX || n->n_addresses < 1 || n->n_addresses > 2 ||
            n->n_addresses != c->nodes[0].n_addresses)
            return error_set(e, ERR_INVALID, "a server of the pool is described wrongly");
        for (size_t k = 0; k < n->n_addresses; k++)
            if (!address_valid(n->addresses[k]))
                return error_set(e, ERR_INVALID, "the heartbeat address of a server of the pool is malformed");
    }
    return 0;
}

static void totem(struct buf *b, const struct cluster_conf *conf) {
    buf_addf(b,
             "totem {\n    version: 2\n    cluster_name: tarn-%.8s\n    transport: knet\n    link_mode: passive\n"
             "    crypto_cipher: aes256\n    crypto_hash: sha256\n    keyfile: %s/authkey\n"
             "    token: %d\n    token_coefficient: 0\n    consensus: %d\n    max_messages: 20\n}\n",
             conf->config->pool, conf->dir, TOKEN_MS, CONSENSUS_MS);
}

static void nodelist(struct buf *b, const struct cluster_conf *conf) {
    buf_adds(b, "nodelist {\n");
    for (size_t i = 0; i < conf->config->n_nodes; i++) {
        const struct api_cluster_node *n = &conf->config->nodes[i];
        buf_addf(b, "    node {\n        nodeid: %d\n        name: %s\n", (int)n->node, n->server);
        for (size_t k = 0; k < n->n_addresses; k++)
            buf_addf(b, "        ring%zu_addr: %s\n", k, n->addresses[k]);
        buf_adds(b, "    }\n");
    }
    buf_adds(b, "}\n");
}

static void others(struct buf *b, const struct cluster_conf *conf) {
    buf_adds(b, "quorum {\n    provider: corosync_votequorum\n}\n");
    buf_addf(b,
             "logging {\n    to_stderr: no\n    to_syslog: no\n    to_logfile: yes\n    logfile: %s/corosync.log\n"
             "    timestamp: on\n}\n",
             conf->dir);
    buf_addf(b, "system {\n    state_dir: %s/corosync\n", conf->dir);
    if (!conf->realtime)
        buf_adds(b, "    sched_rr: no\n    priority: 0\n    move_to_root_cgroup: no\n");
    buf_adds(b, "}\n");
}

int cluster_conf_text(const struct cluster_conf *conf, char **ret, struct error *e) {
    int r = check(conf, e);
    if (r < 0)
        return r;
    struct buf b = {0};
    buf_adds(&b,
             "# Written by tarn-agent: changes are lost. The pool's servers are set with tarn pool add and remove.\n");
    totem(&b, conf);
    nodelist(&b, conf);
    others(&b, conf);
    *ret = b.data;
    return 0;
}
