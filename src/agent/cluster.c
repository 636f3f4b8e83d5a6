/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cluster.h"

#include "agent/agent.h"
#include "agent/corosync.h"
#include "os/file.h"
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TICK_MS          100
#define READY_MS         20000 /* for corosync to answer after it was started */
#define LEAVE_MS         5000
#define AGAIN_MS         500  /* between two tries to start the deadman */
#define STUCK_TURNS      5    /* unless we have just been woken ourselves: so many turns after another */
#define COROSYNC_MAX_MS  30000
#define COROSYNC_GOOD_MS 60000 /* it ran so long: the next start is at once */
#define SECRET_BYTES     128
#define LOG_MAX          (4 << 20)
#define LOG_TURNS        100 /* from one look at it to the next */

enum work { WORK_NONE, WORK_CONFIGURE, WORK_ARM, WORK_LEAVE };

struct cluster_shell {
    struct agent *a;
    char *dir; /* STATE/cluster */
    int dirfd;
    struct deadman_link link;
    struct corosync *corosync;
    uv_timer_t timer; /* runs while there is something to watch; closed with the agent */
    bool configured, link_open, closing;
    struct api_cluster_configure config;
    /* the call under way: the brain sends one at a time */
    enum work work;
    uint64_t call;
    bool armed, reloading, made_secret;
    bool wants_armed; /* it was armed, and is again whenever it is not: one that starts after a boot knows nothing */
    int64_t deadline;
    int64_t deadman_at, corosync_at, corosync_delay, corosync_began;
    bool unread; /* corosync has not taken its newest configuration in: it could not be told to */
    bool told_to_watch; /* the deadman that we are connected to */
    int stuck;          /* turns in which it stood still */
    unsigned turns;
};

static void on_timer(uv_timer_t *timer);

/* ---- the deadman ---- */

/* It becomes nobody's child: it must outlive us, and is known by its socket and its lock. */
static void deadman_spawn(struct cluster_shell *c) {
    _cleanup_free_ char *program = agent_program("tarn-deadman");
    const char *argv[] = {program, c->link.dir, NULL};
    struct child_spec spec = {.argv = argv, .new_session = true, .detach = true};
    struct child *child = NULL;
    int r = child_spawn(c->a->config.loop, &spec, &child);
    if (r < 0)
        log_error("%s cannot be run: %s", program, strerror(-r));
    else
        log_info("tarn-deadman started, process %d", (int)child_pid(child));
    child_free(child);
}

static int tell_nodes(struct cluster_shell *c) {
    struct deadman_request q = {.type = DEADMAN_CONFIGURE};
    for (size_t i = 0; i < c->config.n_nodes && i < DEADMAN_NODES; i++) {
        q.nodes[q.n_nodes++] = (uint32_t)c->config.nodes[i].node;
        if (str_eq(c->config.nodes[i].server, c->a->identity.server))
            q.node = (uint32_t)c->config.nodes[i].node;
    }
    return deadman_link_ask(&c->link, &q, -1);
}

static int watch_guest(struct cluster_shell *c, const char *vm) {
    struct agent *a = c->a;
    int pidfd = a->config.driver->pidfd ? a->config.driver->pidfd(a->hypervisor, vm) : -ENOENT;
    if (pidfd < 0)
        return pidfd;
    struct deadman_request q = {.type = DEADMAN_WATCH};
    snprintf(q.vm, sizeof q.vm, "%s", vm);
    int r = deadman_link_ask(&c->link, &q, pidfd);
    if (r < 0 && r != -ESTALE)
        log_error("guest %s is not watched by tarn-deadman: %s", vm, strerror(-r));
    return r;
}

static void watch_visit(void *ctx, const char *vm) {
    struct cluster_shell *c = ctx;
    int r = watch_guest(c, vm);
    if (r < 0 && r != -ESTALE)
        c->told_to_watch = false; /* not found yet after our start, or not answered: again at the next turn */
}

/* Are we connected to one? One that we were not connected to may be new, and knows nothing of our guests then. */
static bool deadman_here(struct cluster_shell *c) {
    if (c->link.fd < 0)
        c->told_to_watch = false;
    return deadman_link_connect(&c->link) == 0;
}

static void deadman_tend(struct cluster_shell *c) {
    if (!deadman_here(c)) {
        if (deadman_now() >= c->deadman_at) {
            c->deadman_at = deadman_now() + AGAIN_MS;
            deadman_spawn(c);
        }
        return;
    }
    if (c->told_to_watch || tell_nodes(c) < 0)
        return;
    c->told_to_watch = true;
    host_each_guarded(c->a->host, watch_visit, c);
}

/* It kills in time even when we hang; one that hangs itself (stopped by a signal or a debugger) must not stay in the
   way of another, which goes on with its lease. */
static void deadman_check(struct cluster_shell *c) {
    char byte;
    (void)deadman_here(c); /* one that did not answer in time was let go of, and would not be looked at any more */
    bool still = deadman_link_stuck(&c->link);
    c->stuck = still ? c->stuck + 1 : 0;
    if (c->stuck >= STUCK_TURNS) {
        log_error("tarn-deadman stands still: it is killed and started again");
        c->stuck = 0;
        deadman_link_kill(&c->link);
    }
    /* Has it gone meanwhile? A closed socket says so without asking. */
    if (c->link.fd >= 0 && recv(c->link.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        log_warning("tarn-deadman has ended; it is started again");
        deadman_link_drop(&c->link);
    }
}

static void kill_visit(void *ctx, const char *vm) {
    struct agent *a = ((struct cluster_shell *)ctx)->a;
    int pidfd = a->config.driver->pidfd ? a->config.driver->pidfd(a->hypervisor, vm) : -ENOENT;
    if (pidfd >= 0 && syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
        log_warning("guest %s killed: the lease has ended, and no tarn-deadman lives", vm);
}

/* No deadman lives, and none could be started: what the last one had proved holds no longer than it would have for it.
   Again at every turn until one lives, so that no guest that is found later goes on. */
static void stand_in(struct cluster_shell *c) {
    struct deadman_state s;
    if (deadman_link_read(&c->link, &s))
        return;
    if (deadman_link_left(&c->link, &s) && s.armed && deadman_now() - s.proof >= DEADMAN_PROOF_MS + TICK_MS)
        host_each_guarded(c->a->host, kill_visit, c);
}

/*
 * What an earlier deadman of this boot had proved is in its page; that one has to be armed only our record tells after
 * a boot. Until it is no guarded guest starts (guest/cluster.c).
 */
static void arm_again(struct cluster_shell *c) {
    struct deadman_state s;
    struct deadman_request q = {.type = DEADMAN_ARM, .armed = 1};
    if (!c->wants_armed || c->work == WORK_ARM || c->work == WORK_LEAVE || !deadman_link_read(&c->link, &s) ||
        s.armed || !s.incarnation)
        return;
    host_each_guarded(c->a->host, watch_visit, c);
    int r = deadman_link_ask(&c->link, &q, -1);
    if (r < 0 && r != -EAGAIN)
        log_warning("tarn-deadman cannot be armed: %s", strerror(-r));
}

void cluster_refresh(struct cluster_shell *c) {
    struct host_cluster_facts f = {0};
    struct deadman_state s;
    if (!c || c->closing)
        return;
    if (c->link_open && deadman_link_read(&c->link, &s)) {
        bool held = s.incarnation && deadman_now() - s.proof < DEADMAN_PROOF_MS;
        f = (struct host_cluster_facts){.armed = s.armed,
                                        .incarnation = held ? s.incarnation : 0,
                                        .proof = s.proof,
                                        .ring_at = s.ring_at,
                                        .now = deadman_now(),
                                        .members = s.members,
                                        .n_members = s.n_members};
        host_cluster_facts(c->a->host, &f);
    } else {
        host_cluster_facts(c->a->host, &f);
    }
}

int cluster_gate(struct cluster_shell *c, const struct api_guest_start *start, struct child_gate *ret,
                 struct error *e) {
    ret->fd = -1;
    if (!start->guarded)
        return 0;
    int r = c && c->configured ? deadman_link_connect(&c->link) : -ENOENT;
    if (r < 0)
        return error_set(e, ERR_UNAVAILABLE,
                         "tarn-deadman does not run on this server, and a highly available virtual machine starts only "
                         "under its watch: see the agent's log");
    if (deadman_link_stuck(&c->link)) /* the child would wait for it, and we with it */
        return error_set(e, ERR_UNAVAILABLE, "tarn-deadman stands still on this server, and is about to be replaced");
    c->link.gate = (struct deadman_request){
        .serial = ++c->link.serial, .type = DEADMAN_START, .incarnation = (uint64_t)start->incarnation};
    snprintf(c->link.gate.vm, sizeof c->link.gate.vm, "%s", start->vm.id);
    *ret = (struct child_gate){.fd = c->link.fd, .message = &c->link.gate, .len = sizeof c->link.gate};
    return 0;
}

/* ---- calls ---- */

static void call_end(struct cluster_shell *c, const struct error *e, json_t *result) {
    uint64_t call = c->call;
    bool configured = c->work == WORK_CONFIGURE && !e;
    c->work = WORK_NONE;
    c->call = 0;
    if (call) {
        agent_begin(c->a);
        cluster_refresh(c);
        agent_end(c->a);
        agent_call_done(c->a, call, e, result);
    }
    if (configured) /* with it the brain may have come to guard some that ran before */
        host_each_guarded(c->a->host, watch_visit, c);
    json_decref(result);
}

static void call_fail(struct cluster_shell *c, enum error_code code, const char *message) {
    struct error e = {.code = code, .message = (char *)message};
    call_end(c, &e, NULL);
}

static json_t *result_of(const struct cluster_shell *c) {
    json_t *result = json_object();
    json_set_str(result, "pool", c->config.pool);
    json_set_int(result, "version", c->config.version);
    json_object_set_new(result, "armed", json_boolean(c->armed));
    if (c->made_secret)
        json_set_str(result, "secret", c->config.secret);
    return result;
}

static void remove_files(struct cluster_shell *c) {
    int fd = open_dir(c->a->state_dir);
    close_fd(&c->dirfd);
    if (fd >= 0)
        remove_tree_at(fd, "cluster");
    close_fd(&fd);
}

/* Until the deadman counts the servers that there are now its majority is that of the ones before. */
static bool knows_nodes(const struct cluster_shell *c, const struct deadman_state *s) {
    bool same = s->n_nodes == c->config.n_nodes;
    for (size_t i = 0; same && i < s->n_nodes && i < DEADMAN_NODES; i++)
        same = s->nodes[i] == (uint32_t)c->config.nodes[i].node;
    return same;
}

static void work_go_on(struct cluster_shell *c) {
    struct deadman_state s;
    bool late = clock_mono_ms() >= c->deadline;
    bool reads = c->configured && deadman_link_read(&c->link, &s);
    switch (c->work) {
    case WORK_CONFIGURE:
        if (reads && s.ring_at && !c->reloading && knows_nodes(c, &s))
            call_end(c, NULL, result_of(c));
        else if (late)
            call_fail(c, ERR_UNAVAILABLE,
                      "corosync does not answer on this server: see cluster/corosync.log in the "
                      "agent's state directory");
        return;
    case WORK_ARM:
        if (!reads || (c->armed && !s.incarnation)) {
            if (late)
                call_fail(c, ERR_UNAVAILABLE,
                          "the server has not found more than half of its pool: is the heartbeat "
                          "network whole?");
            return;
        }
        if (c->armed) /* whatever it did not know yet */
            host_each_guarded(c->a->host, watch_visit, c);
        struct deadman_request q = {.type = DEADMAN_ARM, .armed = c->armed};
        c->wants_armed = c->wants_armed && c->armed;
        if (deadman_link_ask(&c->link, &q, -1) == 0) {
            c->wants_armed = c->armed;
            call_end(c, NULL, result_of(c));
        } else if (late)
            call_fail(c, ERR_UNAVAILABLE, "tarn-deadman does not answer");
        return;
    case WORK_LEAVE:
        if (!c->corosync || !corosync_runs(c->corosync)) {
            corosync_free(c->corosync);
            c->corosync = NULL;
            remove_files(c);
            call_end(c, NULL, NULL);
        } else if (late) {
            corosync_stop(c->corosync, SIGKILL);
        }
        return;
    default:
        return;
    }
}

/* ---- corosync ---- */

static void on_reloaded(void *ctx, const struct error *e) {
    struct cluster_shell *c = ctx;
    c->reloading = false;
    c->unread = e != NULL;
    if (e && c->work == WORK_CONFIGURE)
        call_end(c, e, NULL);
    else
        work_go_on(c);
}

static void on_corosync_end(void *ctx) {
    struct cluster_shell *c = ctx;
    int64_t now = clock_mono_ms();
    if (now - c->corosync_began > COROSYNC_GOOD_MS)
        c->corosync_delay = 0;
    c->corosync_at = now + c->corosync_delay;
    c->corosync_delay = c->corosync_delay ? c->corosync_delay * 2 : 500;
    if (c->corosync_delay > COROSYNC_MAX_MS)
        c->corosync_delay = COROSYNC_MAX_MS;
}

static void corosync_tend(struct cluster_shell *c) {
    if (!c->corosync || corosync_runs(c->corosync) || clock_mono_ms() < c->corosync_at || c->work == WORK_LEAVE)
        return;
    _cleanup_error_ struct error e = ERROR_INIT;
    c->corosync_began = clock_mono_ms();
    if (corosync_start(c->corosync, &e) == 0)
        return;
    log_error("%s", e.message);
    on_corosync_end(c);
    if (c->work == WORK_CONFIGURE)
        call_end(c, &e, NULL);
}

static bool may_have_realtime(void) {
    struct sched_param p = {.sched_priority = 1}, none = {0};
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p) < 0)
        return false;
    sched_setscheduler(0, SCHED_OTHER, &none);
    return true;
}

/* ---- configuring ---- */

static int secret_set(struct cluster_shell *c, struct error *e) {
    c->made_secret = str_empty(c->config.secret);
    if (c->made_secret) {
        unsigned char bytes[SECRET_BYTES];
        struct buf text = {0};
        if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
            return error_set(e, ERR_INTERNAL, "no random bytes");
        for (size_t i = 0; i < sizeof bytes; i++)
            buf_addf(&text, "%02x", bytes[i]);
        str_take(&c->config.secret, buf_take(&text));
    }
    size_t n = strlen(c->config.secret);
    if (n < 128 || n > 4096 || strspn(c->config.secret, "0123456789abcdef") != n)
        return error_set(e, ERR_INVALID, "the pool's key is malformed");
    return 0;
}

/* A network that comes and goes has corosync write all the time, for as long as we do not start it anew. */
static void log_trim(struct cluster_shell *c) {
    _cleanup_close_ int log = open_beneath(c->dirfd, "corosync.log", O_WRONLY | O_CREAT, 0600);
    if (log >= 0 && lseek(log, 0, SEEK_END) > LOG_MAX && ftruncate(log, 0) < 0)
        log_warning("corosync's log cannot be shortened: %s", strerror(errno));
}

static int write_files(struct cluster_shell *c, bool *ret_changed, struct error *e) {
    struct cluster_conf conf = {.config = &c->config, .dir = c->dir, .realtime = may_have_realtime()};
    _cleanup_free_ char *text = NULL, *old = NULL, *key = NULL;
    size_t len;
    int r = cluster_conf_text(&conf, &text, e);
    if (r < 0)
        return r;
    r = c->dirfd < 0 ? make_dirs(c->dir, 0700) : 0;
    if (r == 0 && c->dirfd < 0)
        r = c->dirfd = open_dir(c->dir);
    if (r >= 0) {
        int fd = make_dir(c->dirfd, "corosync", 0700);
        close_fd(&fd);
        log_trim(c);
    }
    /* After our start nothing is: a full disk is no reason not to go on. */
    if (r >= 0 && (read_file_at(c->dirfd, "authkey", 1 << 14, &key, &len) < 0 || !str_eq(key, c->config.secret)))
        r = write_file_at(c->dirfd, "authkey", c->config.secret, strlen(c->config.secret), 0600);
    *ret_changed = r >= 0 && (read_file_at(c->dirfd, "corosync.conf", 1 << 20, &old, &len) < 0 || !str_eq(old, text));
    if (*ret_changed)
        r = write_file_at(c->dirfd, "corosync.conf", text, strlen(text), 0600);
    return r < 0 ? error_set(e, ERR_IO, "corosync's files cannot be written in %s: %s", c->dir, strerror(-r)) : 0;
}

static int take_config(struct cluster_shell *c, const json_t *args, struct error *e) {
    struct api_cluster_configure config;
    if (geteuid() != 0)
        return error_set(e, ERR_UNSUPPORTED, "a server of a clustered pool needs tarn-agent to run as root");
    int r = api_cluster_configure_parse(args, API_PEER, &config, e);
    if (r < 0)
        return r;
    api_cluster_configure_done(&c->config);
    c->config = config;
    return secret_set(c, e);
}

static char *link_dir(const struct cluster_shell *c) { return xasprintf("/run/tarn/%s", c->a->identity.server); }

static int open_link(struct cluster_shell *c, struct error *e) {
    _cleanup_free_ char *dir = link_dir(c);
    int r = c->link_open ? 0 : deadman_link_open(&c->link, dir);
    if (r < 0)
        return error_set(e, ERR_IO, "the directory %s cannot be made: %s", dir, strerror(-r));
    c->link_open = true;
    return 0;
}

static int configure(struct cluster_shell *c, const json_t *args, struct error *e) {
    bool changed = false;
    int r = take_config(c, args, e);
    if (r < 0 || (r = open_link(c, e)) < 0)
        return r;
    /* From here on tarn-deadman is looked after, whatever becomes of corosync. */
    c->configured = true;
    c->told_to_watch = false;
    uv_timer_start(&c->timer, on_timer, 1, TICK_MS);
    if ((r = write_files(c, &changed, e)) < 0)
        return r;
    _cleanup_free_ char *path = xasprintf("%s/corosync.conf", c->dir);
    if (!c->corosync)
        c->corosync = corosync_new(c->a->config.loop, path, on_corosync_end, c);
    c->corosync_at = 0;
    bool ran = corosync_runs(c->corosync);
    c->corosync_began = clock_mono_ms();
    if (!ran && (r = corosync_start(c->corosync, e)) < 0)
        return r;
    ran |= corosync_is_found(c->corosync); /* it has read what was written before our start */
    if (ran && (changed || c->unread)) {
        r = corosync_reload(c->corosync, on_reloaded, e);
        c->reloading = r == 0;
    }
    return r;
}

/* Also what was configured before our start and not recorded: both go on without us. */
static void leave(struct cluster_shell *c) {
    _cleanup_free_ char *path = xasprintf("%s/corosync.conf", c->dir);
    if (c->link_open) {
        deadman_link_quit(&c->link);
        deadman_link_close(&c->link);
    }
    c->link_open = c->configured = c->wants_armed = false;
    if (!c->corosync)
        c->corosync = corosync_new(c->a->config.loop, path, on_corosync_end, c);
    corosync_find(c->corosync);
    corosync_stop(c->corosync, SIGTERM);
}

static int unwatch_guest(struct cluster_shell *c, const char *vm) {
    struct deadman_request q = {.type = DEADMAN_FORGET};
    snprintf(q.vm, sizeof q.vm, "%s", vm);
    return deadman_link_ask(&c->link, &q, -1);
}

static void policy(struct cluster_shell *c, uint64_t call, const json_t *args) {
    const char *vm = json_str(args, "vm");
    bool ha = json_bool(args, "ha", false);
    int r = ha ? watch_guest(c, vm) : c->configured ? unwatch_guest(c, vm) : 0;
    struct error e = {.code = ERR_UNAVAILABLE, .message = (char *)"tarn-deadman cannot watch the guest"};
    if (r == -ESTALE) /* there is no lease any more: it has been killed, and is heard of as lost */
        r = 0;
    if (ha && r < 0)
        c->told_to_watch = false; /* it may be one that is guarded already: the next turn tells all */
    agent_begin(c->a);
    cluster_refresh(c); /* under which lease it is watched */
    agent_end(c->a);
    agent_call_done(c->a, call, r < 0 ? &e : NULL, NULL);
}

void cluster_call(struct cluster_shell *c, uint64_t call, int op, const json_t *args) {
    _cleanup_error_ struct error e = ERROR_INIT;
    int r = 0;
    if (op == API_AGENT_OP_GUEST_POLICY) {
        policy(c, call, args);
        return;
    }
    if (c->work != WORK_NONE) { /* the one after our start, and an op of the manager */
        error_set(&e, ERR_UNAVAILABLE, "the server's cluster is being set up already");
        agent_call_done(c->a, call, &e, NULL);
        return;
    }
    c->call = call;
    c->deadline = clock_mono_ms() + (op == API_AGENT_OP_CLUSTER_LEAVE ? LEAVE_MS : READY_MS);
    if (op == API_AGENT_OP_CLUSTER_CONFIGURE) {
        c->work = WORK_CONFIGURE;
        c->armed = json_bool(args, "armed", false);
        c->wants_armed = c->wants_armed || c->armed; /* after our start: as it was */
        r = configure(c, args, &e);
    } else if (op == API_AGENT_OP_CLUSTER_ARM) {
        c->work = WORK_ARM;
        c->armed = json_bool(args, "armed", false);
        if (!c->configured)
            r = error_set(&e, ERR_CONFLICT, "the server is in no clustered pool");
    } else {
        c->work = WORK_LEAVE;
        leave(c);
        uv_timer_start(&c->timer, on_timer, 1, TICK_MS);
    }
    if (r < 0)
        call_end(c, &e, NULL);
}

/* ---- life ---- */

static void on_timer(uv_timer_t *timer) {
    struct cluster_shell *c = timer->data;
    corosync_tend(c);
    if (c->configured) {
        deadman_check(c);
        deadman_tend(c);
        stand_in(c);
        arm_again(c);
        if (++c->turns % LOG_TURNS == 0)
            log_trim(c);
    }
    work_go_on(c);
    agent_begin(c->a);
    cluster_refresh(c);
    agent_end(c->a);
    if (!c->configured && c->work == WORK_NONE)
        uv_timer_stop(timer);
}

/* The lease that is held is known before the brain starts, so that the first orders are stamped with it. */
struct cluster_shell *cluster_new(struct agent *a) {
    struct cluster_shell *c = xcalloc(1, sizeof *c);
    c->a = a;
    c->dir = xasprintf("%s/cluster", a->state_dir);
    c->dirfd = -1;
    c->link.fd = c->link.dirfd = c->link.pidfd = -1;
    api_cluster_configure_init(&c->config);
    uv_timer_init(a->config.loop, &c->timer);
    c->timer.data = c;
    _cleanup_free_ char *dir = link_dir(c);
    if (access(dir, F_OK) == 0 && open_link(c, NULL) == 0)
        deadman_link_connect(&c->link);
    return c;
}

static void on_closed(uv_handle_t *handle) {
    struct cluster_shell *c = handle->data;
    free(c->dir);
    free(c);
}

void cluster_close(struct cluster_shell *c) {
    if (!c)
        return;
    c->closing = true;
    if (c->link_open)
        deadman_link_close(&c->link);
    corosync_free(c->corosync);
    api_cluster_configure_done(&c->config);
    close_fd(&c->dirfd);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}
