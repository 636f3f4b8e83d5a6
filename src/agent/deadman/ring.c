/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/deadman/ring.h"

#include <corosync/cpg.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS   250
#define STACK_SIZE (4U << 20) /* libcpg keeps a message of a MiB on it */

static struct {
    int fd;
    pthread_mutex_t lock; /* of the three below */
    uint32_t node, nodes[DEADMAN_NODES];
    size_t n_nodes;
    /* of the thread alone */
    cpg_handle_t handle;
    bool open;
    struct deadman_peers peers;
    struct ring_note note;
    int64_t said_at;
} ring = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static const struct cpg_name group = {.length = sizeof "tarn-deadman" - 1, .value = "tarn-deadman"};

int64_t boot_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void ring_configure(uint32_t node, const uint32_t *nodes, size_t n) {
    pthread_mutex_lock(&ring.lock);
    ring.node = node;
    ring.n_nodes = n < DEADMAN_NODES ? n : DEADMAN_NODES;
    memcpy(ring.nodes, nodes, ring.n_nodes * sizeof *nodes);
    pthread_mutex_unlock(&ring.lock);
}

/* A full pipe is no loss: the next note says more. */
static void tell(void) {
    pthread_mutex_lock(&ring.lock);
    size_t n = ring.n_nodes;
    pthread_mutex_unlock(&ring.lock);
    ring.note.proof = ring.open ? deadman_proof(&ring.peers, n, boot_ms()) : 0;
    ssize_t ignored = write(ring.fd, &ring.note, sizeof ring.note);
    (void)ignored;
}

/* ---- corosync's callbacks ---- */

/* One that has left the pool may be in our ring still, until corosync has read its new configuration: what it has heard
   of us proves nothing. */
static bool is_ours(uint32_t node) {
    bool ours = false;
    pthread_mutex_lock(&ring.lock);
    for (size_t i = 0; i < ring.n_nodes && !ours; i++)
        ours = ring.nodes[i] == node;
    pthread_mutex_unlock(&ring.lock);
    return ours;
}

static void on_message(cpg_handle_t handle, const struct cpg_name *name, uint32_t node, uint32_t pid, void *data,
                       size_t len) {
    (void)handle, (void)name, (void)pid;
    if (is_ours(node))
        deadman_hear(&ring.peers, node, data, len, boot_ms());
}

static void on_group(cpg_handle_t handle, const struct cpg_name *name, const struct cpg_address *members,
                     size_t n_members, const struct cpg_address *left, size_t n_left, const struct cpg_address *joined,
                     size_t n_joined) {
    (void)handle, (void)name, (void)members, (void)n_members, (void)left, (void)n_left, (void)joined, (void)n_joined;
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id id, uint32_t n, const uint32_t *members) {
    (void)handle, (void)id;
    ring.note.ring_at = boot_ms();
    ring.note.n_members = n < DEADMAN_NODES ? n : DEADMAN_NODES;
    memcpy(ring.note.members, members, ring.note.n_members * sizeof *members);
    tell();
}

/* ---- the thread ---- */

static void ring_close(void) {
    if (ring.open)
        cpg_finalize(ring.handle);
    ring.open = false;
    ring.note.ring_at = 0;
    ring.note.n_members = 0;
    tell();
}

static bool ring_open(void) {
    static cpg_model_v1_data_t model = {.model = CPG_MODEL_V1,
                                        .cpg_deliver_fn = on_message,
                                        .cpg_confchg_fn = on_group,
                                        .cpg_totem_confchg_fn = on_ring,
                                        .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF};
    if (cpg_model_initialize(&ring.handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, NULL) != CS_OK)
        return false;
    ring.open = true;
    if (cpg_join(ring.handle, &group) == CS_OK)
        return true;
    ring_close();
    return false;
}

static void follow_configuration(void) {
    pthread_mutex_lock(&ring.lock);
    ring.peers.self = ring.node;
    deadman_keep(&ring.peers, ring.nodes, ring.n_nodes);
    pthread_mutex_unlock(&ring.lock);
}

static bool say(void) {
    struct deadman_message m;
    int64_t now = boot_ms();
    struct iovec part = {.iov_base = &m, .iov_len = deadman_say(&ring.peers, now, &m)};
    cs_error_t r = cpg_mcast_joined(ring.handle, CPG_TYPE_AGREED, &part, 1);
    ring.said_at = now;
    return r == CS_OK || r == CS_ERR_TRY_AGAIN;
}

static bool turn(void) {
    int fd = -1;
    if (cpg_fd_get(ring.handle, &fd) != CS_OK)
        return false;
    int64_t wait = ring.said_at + DEADMAN_SAY_MS - boot_ms();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (wait > 0)
        poll(&p, 1, (int)wait);
    follow_configuration();
    cs_error_t r = cpg_dispatch(ring.handle, CS_DISPATCH_ALL);
    if (r != CS_OK && r != CS_ERR_TRY_AGAIN)
        return false;
    if (boot_ms() - ring.said_at >= DEADMAN_SAY_MS && !say())
        return false;
    tell();
    return true;
}

static void *thread_main(void *unused) {
    (void)unused;
    ring.peers.began = boot_ms();
    while (getrandom(&ring.peers.session, sizeof ring.peers.session, 0) != sizeof ring.peers.session) {
    }
    for (;;) {
        if (ring.open ? turn() : ring_open())
            continue;
        ring_close();
        poll(NULL, 0, RETRY_MS);
    }
    return NULL;
}

int ring_start(int fd) {
    pthread_t thread;
    pthread_attr_t attr;
    ring.fd = fd;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int r = pthread_create(&thread, &attr, thread_main, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}
