/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hypervisor/qemu_move.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_CA          "own-ca.pem"
#define DOWNTIME_MS     300
#define NO_LIMIT        (1LL << 40) /* bytes/s; QEMU's own default is less than a fast network */
#define CREDENTIAL_DAYS 1
#define MBPS_MAX        1e7 /* faster than any network: no figure */

struct move_step {
    struct list link;
    const char *command;
    json_t *args;
    int fd; /* goes with it; -1: none */
    bool tolerant;
    move_reply *reply;
};

/* ---- scripts ---- */

static struct move_step *step_new(const char *command, json_t *args) {
    struct move_step *s = xcalloc(1, sizeof *s);
    *s = (struct move_step){.command = command, .args = args, .fd = -1};
    return s;
}

static void step_free(struct move_step *s) {
    if (!s)
        return;
    json_decref(s->args);
    free(s);
}

static void script_drop(struct qemu_move *m) {
    struct move_step *s;
    while ((s = list_first(&m->script, struct move_step, link))) {
        list_remove(&s->link);
        step_free(s);
    }
}

static struct move_step *add(struct qemu_move *m, const char *command, json_t *args) {
    struct move_step *s = step_new(command, args);
    list_append(&m->script, &s->link);
    return s;
}
void move_do(struct qemu_move *m, const char *command, json_t *args) { add(m, command, args); }
void move_try(struct qemu_move *m, const char *command, json_t *args) { add(m, command, args)->tolerant = true; }
void move_ask(struct qemu_move *m, const char *command, json_t *args, move_reply *reply) {
    struct move_step *s = add(m, command, args);
    s->reply = reply;
    s->tolerant = true;
}

static void script_next(struct qemu_move *m);

static void script_ends(struct qemu_move *m, const struct error *error) {
    move_then *then = m->then;
    m->then = NULL;
    script_drop(m);
    close_fd(&m->dir_fd);
    if (then)
        then(m, error);
}

static void on_reply(void *ctx, const struct error *error, const json_t *result) {
    struct qemu_move *m = ctx;
    struct guest *g = m->g;
    struct move_step *s = TAKE_PTR(m->current);
    guest_hold(g);
    if (error && error->code == ERR_TIMEOUT)
        qemu_rescue(m);
    if (s->reply)
        s->reply(m, error, result);
    if (error && !s->tolerant)
        script_ends(m, error);
    else
        script_next(m);
    step_free(s);
    guest_release(g);
}

static void script_next(struct qemu_move *m) {
    struct move_step *s = list_first(&m->script, struct move_step, link);
    if (!s) {
        script_ends(m, NULL);
        return;
    }
    if (!qmp_is_open(m->g->qmp)) {
        _cleanup_error_ struct error e = ERROR_INIT;
        error_set(&e, ERR_UNAVAILABLE, "QEMU's monitor does not answer");
        script_ends(m, &e);
        return;
    }
    list_remove(&s->link);
    m->current = s;
    if (s->fd >= 0)
        qmp_call_fd(m->g->qmp, s->command, TAKE_PTR(s->args), s->fd, qemu_rescue_patience(m), on_reply, m);
    else
        qmp_call(m->g->qmp, s->command, TAKE_PTR(s->args), qemu_rescue_patience(m), on_reply, m);
}

void move_run(struct qemu_move *m, move_then *then) {
    m->then = then;
    if (!m->current)
        script_next(m);
}

/* ---- the move ---- */

static void on_timer(uv_timer_t *t) {
    struct qemu_move *m = t->data;
    if (m->on_time)
        TAKE_PTR(m->on_time)(m);
}

void move_later(struct qemu_move *m, int64_t ms, void (*on_time)(struct qemu_move *m)) {
    m->on_time = on_time;
    if (on_time)
        uv_timer_start(&m->timer, on_timer, (uint64_t)ms, 0);
    else
        uv_timer_stop(&m->timer);
}

struct qemu_move *qemu_move_get(struct guest *g) {
    if (g->move)
        return g->move;
    struct qemu_move *m = xcalloc(1, sizeof *m);
    m->g = g;
    m->dir_fd = -1;
    list_init(&m->script);
    uv_timer_init(g->h->loop, &m->timer);
    m->timer.data = m;
    g->move = m;
    return m;
}

static void args_done(struct qemu_move *m) {
    if (m->has_send)
        api_guest_send_done(&m->send);
    if (m->has_receive)
        api_guest_receive_done(&m->receive);
    m->has_send = m->has_receive = false;
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void qemu_move_free(struct qemu_move *m) {
    if (!m)
        return;
    char **texts[] = {&m->status, &m->migration, &m->migration_error, &m->machine, &m->version, &m->certificate};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        str_take(texts[i], NULL);
    args_done(m);
    qemu_rescue_close(m);
    script_drop(m);
    step_free(m->current);
    close_fd(&m->dir_fd);
    error_done(&m->why);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}

bool qemu_move_busy(const struct qemu_move *m) { return m && m->role != MOVE_NOTHING; }

void move_begin(struct qemu_move *m, enum move_role role, uint64_t call) {
    args_done(m);
    script_drop(m);
    move_later(m, 0, NULL);
    error_done(&m->why);
    m->why = (struct error)ERROR_INIT;
    m->role = role;
    m->call = call;
    m->running = m->paused = m->cancelled = m->finishing = m->switched = false;
    m->deciding = m->suspended = false;
    qemu_rescue_close(m);
    m->polls = m->tries = 0;
    m->stalled = false;
    m->went = -1;
    m->still = 0;
    m->went_at = uv_now(m->g->h->loop);
    m->total = m->remaining = m->transferred = m->expected_ms = m->downtime_ms = m->total_ms = 0;
    str_take(&m->migration_error, NULL);
}

char *move_node(const struct qemu_move *m, size_t i) {
    return xasprintf("move%lld", (long long)m->send.local[i].index);
}

void move_finish(struct qemu_move *m, const struct error *error, json_t *result) {
    struct guest *g = m->g;
    guest_hold(g);
    m->role = MOVE_NOTHING;
    qemu_rescue_close(m);
    move_later(m, 0, NULL);
    guest_call_done(g, m->call, error, result);
    guest_release(g);
}

void qemu_move_ended(struct qemu_move *m, const char *why) {
    _cleanup_error_ struct error e = ERROR_INIT;
    enum error_code code = m->role == MOVE_ACTIVATING && !m->continued ? ERR_CONFLICT : ERR_GUEST;
    step_free(TAKE_PTR(m->current));
    script_drop(m);
    m->then = NULL;
    close_fd(&m->dir_fd);
    move_later(m, 0, NULL);
    move_credentials_forget(m->g);
    m->continued = false;
    if (m->role == MOVE_NOTHING)
        return;
    if (m->role == MOVE_RELEASING) {
        move_finish(m, NULL, NULL);
        return;
    }
    if (m->role == MOVE_UNSENDING) {
        move_finish(m, NULL, guest_report(m->g));
        return;
    }
    if (m->why.code != ERR_OK)
        error_set(&e, m->why.code, "%s", m->why.message);
    else
        error_set(&e, code, "the guest has ended while it was moved: %s", why);
    move_finish(m, &e, NULL);
}

/* ---- how it is ---- */

static void on_status(struct qemu_move *m, const struct error *error, const json_t *result) {
    str_set(&m->status, error ? "" : json_str(result, "status"));
}
static void on_kvm(struct qemu_move *m, const struct error *error, const json_t *result) {
    m->kvm = !error && json_bool(result, "enabled", false);
}
static void on_migration(struct qemu_move *m, const struct error *error, const json_t *result) {
    const json_t *ram = json_object_get(result, "ram");
    m->told = !error;
    str_set(&m->migration, error ? "" : json_str(result, "status"));
    str_set(&m->migration_error, error ? "" : json_str(result, "error-desc"));
    qmp_text_clean(m->migration_error);
    m->downtime_ms = qmp_count(result, "downtime");
    m->total_ms = qmp_count(result, "total-time");
    m->total = qmp_count(ram, "total");
    m->remaining = qmp_count(ram, "remaining");
    m->rounds = qmp_count(ram, "dirty-sync-count");
    m->transferred = qmp_count(ram, "transferred");
    double mbps = json_number_value(json_object_get(ram, "mbps"));
    m->mbps = mbps > 0 && mbps < MBPS_MAX ? mbps : 0;
}

void move_look(struct qemu_move *m) {
    move_ask(m, "query-status", NULL, on_status);
    move_ask(m, "query-kvm", NULL, on_kvm);
    move_ask(m, "query-migrate", NULL, on_migration);
}

bool move_under_way(const struct qemu_move *m) {
    static const char *const over[] = {"", "none", "completed", "failed", "cancelled", "postcopy-paused"};
    for (size_t i = 0; i < ARRAY_LEN(over); i++)
        if (str_eq(str_or(m->migration, ""), over[i]))
            return false;
    return true;
}

bool move_post_copies(const struct qemu_move *m) { return str_eq(m->migration, "postcopy-active"); }

/* ---- one-time credentials ---- */

/* The group ffdhe2048 of RFC 7919. Without one QEMU looks for a prime of its own, which takes half a second. */
static const char dh_params[] = "-----BEGIN DH PARAMETERS-----\n"
                                "MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n"
                                "+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n"
                                "87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n"
                                "YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n"
                                "7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n"
                                "ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==\n"
                                "-----END DH PARAMETERS-----\n";

/* The guest's process must read them. */
static int give_to_user(const struct guest *g, int fd) {
    const struct passwd *pw = g->h->user ? getpwnam(g->h->user) : NULL;
    if (g->h->user && !pw)
        return -ENOENT;
    return pw && fchown(fd, pw->pw_uid, pw->pw_gid) < 0 ? -errno : 0;
}

static int file_make(const struct guest *g, int dirfd, const char *name, const char *a, const char *b) {
    _cleanup_close_ int fd = open_beneath(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int r = fd < 0 ? fd : write_all(fd, a, strlen(a));
    if (r >= 0 && b)
        r = write_all(fd, b, strlen(b));
    return r < 0 ? r : give_to_user(g, fd);
}

static int sign(const char *move, bool server, const char *ca_key, const char *ca, char **ret_key, char **ret_cert,
                struct error *e) {
    const char *names[] = {move, NULL};
    _cleanup_free_ char *csr = NULL;
    if (server)
        return x509_make_server(ca_key, ca, names, CREDENTIAL_DAYS, ret_key, ret_cert, e);
    int r = x509_make_request(move, ret_key, &csr, e);
    return r < 0 ? r : x509_sign_client(ca_key, ca, csr, move, CREDENTIAL_DAYS, ret_cert, e);
}

/*
 * QEMU gets a descriptor of it. It may read there what is its own, and that is all: what a guest that has taken it over
 * could put there we would have to remove again, and it could go on for ever. Others do not come by, for the directory
 * around it is ours alone.
 */
static int directory_make(struct guest *g) {
    int r = guest_directory_open(g, true);
    if (r < 0 || (r = remove_tree_at(g->dirfd, MOVE_DIR)) < 0)
        return r;
    int fd = make_dir(g->dirfd, MOVE_DIR, 0700);
    if (fd >= 0 && fchmod(fd, 0711) < 0) {
        r = -errno;
        close_fd(&fd);
        return r;
    }
    return fd;
}

int move_credentials_make(struct guest *g, const char *move, bool server, char **ret_certificate, struct error *e) {
    _cleanup_free_ char *ca_key = NULL, *ca = NULL, *key = NULL, *cert = NULL;
    _cleanup_close_ int dir = directory_make(g);
    if (dir < 0)
        return error_set(e, ERR_IO, "no directory for the credentials can be made: %s", strerror(-dir));
    int r = x509_make_ca("Tarn migration", CREDENTIAL_DAYS, &ca_key, &ca, e);
    if (r == 0)
        r = sign(move, server, ca_key, ca, &key, &cert, e);
    if (r < 0)
        return r;
    if ((r = file_make(g, dir, server ? "server-key.pem" : "client-key.pem", key, NULL)) < 0 ||
        (r = file_make(g, dir, server ? "server-cert.pem" : "client-cert.pem", cert, NULL)) < 0 ||
        (server && (r = file_make(g, dir, "dh-params.pem", dh_params, NULL)) < 0) ||
        (r = file_make(g, dir, OWN_CA, ca, NULL)) < 0)
        return error_set(e, r == -ENOSPC ? ERR_NO_SPACE : ERR_IO, "the credentials cannot be written: %s",
                         strerror(-r));
    str_take(ret_certificate, TAKE_PTR(ca));
    return 0;
}

void move_credentials_forget(struct guest *g) {
    if (g->dirfd >= 0)
        remove_tree_at(g->dirfd, MOVE_DIR);
}

/* QEMU has read them: the key is nowhere else any more. */
static void on_loaded(struct qemu_move *m, const struct error *error, const json_t *result) {
    move_credentials_forget(m->g);
}

/* The number that the directory's descriptor has in QEMU is part of the path by which it opens it. */
static void on_fd_added(struct qemu_move *m, const struct error *error, const json_t *result) {
    struct move_step *s = list_first(&m->script, struct move_step, link);
    _cleanup_free_ char *dir = xasprintf("/proc/self/fd/%lld", (long long)json_int(result, "fd", -1));
    close_fd(&m->dir_fd);
    if (error || !s)
        return;
    json_set_str(s->args, "dir", dir);
    struct move_step *forget =
        step_new("remove-fd", json_pack("{s:I}", "fdset-id", (json_int_t)json_int(result, "fdset-id", -1)));
    forget->tolerant = true;
    list_insert_before(s->link.next, &forget->link);
}

int move_credentials_add(struct qemu_move *m, const char *peer, bool server, struct error *e) {
    struct guest *g = m->g;
    _cleanup_free_ char *own = NULL;
    size_t len;
    int r = guest_directory_open(g, false);
    m->dir_fd = r < 0 ? r : open_beneath(g->dirfd, MOVE_DIR, O_RDONLY | O_DIRECTORY, 0);
    r = m->dir_fd < 0 ? m->dir_fd : read_file_at(m->dir_fd, OWN_CA, 65536, &own, &len);
    if (r == 0)
        r = file_make(g, m->dir_fd, "ca-cert.pem", own, peer);
    if (r < 0)
        return error_set(e, ERR_IO, "the credentials of this move are not there: %s", strerror(-r));
    move_try(m, "object-del", json_pack("{s:s}", "id", MOVE_CREDENTIALS));
    struct move_step *s = add(m, "add-fd", NULL);
    s->fd = m->dir_fd;
    s->reply = on_fd_added;
    s = add(m, "object-add",
            json_pack("{s:s, s:s, s:s, s:b, s:s}", "qom-type", "tls-creds-x509", "id", MOVE_CREDENTIALS, "endpoint",
                      server ? "server" : "client", "verify-peer", 1, "dir", ""));
    s->reply = on_loaded;
    return 0;
}

/* ---- settings ---- */

static void capability(json_t *list, const char *name, bool on) {
    json_array_append_new(list, json_pack("{s:s, s:b}", "capability", name, "state", on));
}

void move_settings(struct qemu_move *m, bool tls, const char *name, bool post_copy, const struct api_guest_send *send,
                   bool late) {
    json_t *list = json_array(), *p;
    capability(list, "events", true);
    capability(list, "multifd", !post_copy);
    capability(list, "postcopy-ram", post_copy);
    capability(list, "pause-before-switchover", send != NULL);
    capability(list, "return-path", send != NULL);
    capability(list, "auto-converge", send && send->auto_converge);
    capability(list, "late-block-activate", late);
    capability(list, "xbzrle", false);
    move_do(m, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list));
    p = json_pack("{s:i, s:s, s:s}", "multifd-channels", MOVE_CHANNELS, "tls-creds", tls ? MOVE_CREDENTIALS : "",
                  "tls-hostname", tls && send ? name : "");
    if (send) {
        json_int_t limit = send->bandwidth > 0 ? (json_int_t)send->bandwidth : NO_LIMIT;
        json_object_set_new(p, "max-bandwidth", json_integer(limit));
        json_object_set_new(p, "max-postcopy-bandwidth", json_integer(send->bandwidth > 0 ? limit : 0));
        json_object_set_new(p, "downtime-limit", json_integer(DOWNTIME_MS));
    }
    move_do(m, "migrate-set-parameters", p);
}
