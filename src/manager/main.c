/* SPDX-License-Identifier: Apache-2.0 */
/* tarn-manager: start and stop. */
#include "manager/agents.h"
#include "manager/ask.h"
#include "manager/ca.h"
#include "manager/channel.h"
#include "manager/console.h"
#include "manager/history.h"
#include "manager/http.h"
#include "manager/limit.h"
#include "manager/listen.h"
#include "manager/loop.h"
#include "manager/memory.h"
#include "manager/metrics.h"
#include "manager/options.h"
#include "manager/passwords.h"
#include "manager/samples.h"
#include "manager/site.h"
#include "manager/stats.h"
#include "manager/stream.h"
#include "manager/systemd.h"
#include "manager/unread.h"
#include "manager/upload.h"
#include "manager/work.h"
#include "os/file.h"
#include "os/log.h"
#include "os/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#define STOP_MS          1500
#define SIGN_IN_FAILURES 10 /* in a minute, for one name from one address */
/* For all names from one address: enough for many people behind one, too little to keep all others from signing in. */
#define CLIENT_FAILURES         12
#define CLIENT_FAILURES_AT_ONCE 60
#define CLIENTS_MAX             65536
#define RENEW_CHECK_MS          (24 * 3600 * 1000LL)

struct program {
    struct manager m;
    uv_signal_t term, interrupt;
    uv_timer_t tick;
    int64_t stop_at, renew_at;
    bool stopped;
};

/* ---- running ---- */

static void certificate_check(struct manager *m) {
    _cleanup_error_ struct error e = ERROR_INIT;
    bool renewed = false;
    if (ca_renew(m->ca, &renewed, &e) < 0 ||
        (renewed && http_set_certificate(m, ca_server_key(m->ca), ca_server_chain(m->ca), &e) < 0))
        log_error("the server certificate could not be renewed: %s", e.message);
}

static void begin_stop(struct program *p) {
    struct manager *m = &p->m;
    if (m->stopping)
        return;
    m->stopping = true;
    log_info("stopping");
    systemd_notify("STOPPING=1");
    p->stop_at = manager_now(m) + STOP_MS;
    listen_stop(m);
    http_stop(m);
    uv_timer_start(&p->tick, p->tick.timer_cb, 20, 20);
}

static void on_tick(uv_timer_t *t) {
    struct program *p = t->data;
    struct manager *m = &p->m;
    int64_t now = manager_now(m);
    if (m->stopping) {
        if ((http_connections(m) == 0 && m->commits_out == 0) || now >= p->stop_at)
            uv_stop(m->loop);
        else
            http_stop(m); /* what has been answered meanwhile */
        return;
    }
    const char *before = loop_at(m, "housekeeping");
    http_tick(m);
    agents_tick(m);
    channel_tick(m);
    ask_tick(m);
    stream_tick(m);
    history_tick(m);
    memory_tick(now, m->commits_done);
    if (now >= p->renew_at) {
        p->renew_at = now + RENEW_CHECK_MS;
        certificate_check(m);
    }
    loop_at(m, before);
}

static void on_signal(uv_signal_t *s, int number) { begin_stop(s->data); }

/* ---- starting ---- */

static int state_open(const struct options *o, struct error *e) {
    int r = make_dirs(o->state, 0700);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot make the state directory %s: %s; give another with --state-dir", o->state,
                         strerror(-r));
    return 0;
}

static bool is_file(const char *path, bool filled) {
    struct stat st;
    return stat(path, &st) == 0 && (!filled || st.st_size > 0);
}

/*
 * A manager whose database has gone does not begin anew. The first start makes the database before the authority, and
 * the authority before the first password: however it was interrupted, neither of those is there without the first.
 */
static int refuse_loss(const struct options *o, struct error *e) {
    _cleanup_free_ char *db = xasprintf("%s/tarn.db", o->state), *key = xasprintf("%s/ca.key", o->state);
    const char *found = is_file(key, false)                      ? key
                        : is_file(o->admin_password_file, false) ? o->admin_password_file
                                                                 : NULL;
    if (!found || is_file(db, true))
        return 0;
    return error_set(e, ERR_IO,
                     "%s is %s, but %s shows that this manager has been started before: restore tarn.db from the "
                     "newest backup; or, to begin anew without the inventory, remove what is in %s and %s",
                     db, is_file(db, false) ? "empty" : "gone", found, o->state, o->admin_password_file);
}

/* The first user, when there is none: its password is in a file before it is in the store. */
static int first_user(struct manager *m, struct error *e) {
    struct core_counts counts;
    core_counts(m->core, &counts);
    if (counts.objects[API_KIND_USER])
        return 0;
    char password[25];
    random_hex(12, password);
    _cleanup_free_ char *line = xasprintf("%s\n", password);
    const char *slash = strrchr(m->options->admin_password_file, '/');
    _cleanup_free_ char *folder =
        slash ? xstrndup(m->options->admin_password_file, (size_t)(slash - m->options->admin_password_file))
              : xstrdup(".");
    _cleanup_close_ int dir = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? -errno
                    : write_file_at(dir, slash ? slash + 1 : m->options->admin_password_file, line, strlen(line), 0600);
    if (r < 0)
        return error_set(e, ERR_IO, "cannot write the first password to %s: %s", m->options->admin_password_file,
                         strerror(-r));
    _cleanup_free_ char *hash = password_hash_now(password);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s, s:s}", "name", "admin", "role",
                                            api_role_text(API_ROLE_ADMINISTRATOR), "full_name", "First administrator");
    if (!hash)
        return error_set(e, ERR_INTERNAL, "the first password could not be hashed; is memory short?");
    struct core_request request = {.id = UINT64_MAX,
                                   .op = API_OP_USER_CREATE,
                                   .actor = "tarn",
                                   .user_id = "",
                                   .role = API_ROLE_ADMINISTRATOR,
                                   .body = body,
                                   .password_hash = hash};
    shell_time(m);
    core_request(m->core, &request);
    shell_pump(m);
    log_info("made the user admin; its password is in %s", m->options->admin_password_file);
    return 0;
}

static int manager_open(struct manager *m, struct error *e) {
    const struct options *o = m->options;
    uint64_t seed[2];
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return error_set(e, ERR_INTERNAL, "no random numbers from the kernel");
    map_seed(seed[0], seed[1]);
    for (size_t i = 0; i < EXCHANGE_BUCKETS; i++)
        list_init(&m->exchanges[i]);
    work_init(m);
    agents_init(m);
    ask_init(m);
    console_init(m);
    upload_init(m);
    m->started_ms = manager_wall();
    int r;
    if ((r = state_open(o, e)) < 0 || (r = refuse_loss(o, e)) < 0 || (r = listen_init(m, e)) < 0 ||
        (r = site_load(o->console_dir, o->console_must, &m->site, e)) < 0 || (r = shell_init(m, e)) < 0 ||
        (r = ca_open(o->state, o->names, o->n_names, &m->ca, e)) < 0)
        return r;
    m->passwords = passwords_new(m->loop);
    m->requests = limiter_new((double)o->rate, (double)o->burst, CLIENTS_MAX);
    m->sign_ins = limiter_new(SIGN_IN_FAILURES / 60.0, SIGN_IN_FAILURES, CLIENTS_MAX);
    m->sign_ins_from = limiter_new(CLIENT_FAILURES / 60.0, CLIENT_FAILURES_AT_ONCE, CLIENTS_MAX);
    m->stats = stats_new();
    samples_init(m);
    history_init(m);
    m->stream = stream_new(core_revision(m->core));
    return http_init(m, e);
}

static int manager_start(struct manager *m, struct error *e) {
    shell_pump(m);
    int r = first_user(m, e);
    return r < 0 ? r : listen_start(m, e);
}

static void exchanges_drop(struct manager *m) {
    for (size_t i = 0; i < EXCHANGE_BUCKETS; i++) {
        struct exchange *x, *tmp;
        list_for_each_safe(x, tmp, &m->exchanges[i], link) { exchange_reply(x, 503, 0, NULL); }
    }
}

static void close_handle(uv_handle_t *h, void *ctx) {
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void manager_close(struct manager *m) {
    listen_stop(m);
    passwords_free(m->passwords);
    if (m->core) {
        channel_done(m);
        m->pumping = true; /* nobody is told any more */
        http_done(m);
        exchanges_drop(m);
        ask_done(m);
        shell_done(m);
    }
    agents_done(m);
    stream_free(m->stream);
    samples_done(m);
    history_done(m);
    metrics_done(m);
    stats_free(m->stats);
    limiter_free(m->requests);
    unread_done(m);
    limiter_free(m->sign_ins);
    limiter_free(m->sign_ins_from);
    ca_free(m->ca);
    site_free(m->site);
    uv_walk(m->loop, close_handle, NULL);
    while (uv_run(m->loop, UV_RUN_NOWAIT))
        ;
    listen_done(m);
    uv_loop_close(m->loop);
    loop_watch_free(m->watch);
}

static int run(struct program *p, const struct options *o) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct manager *m = &p->m;
    uv_loop_t loop;
    uv_loop_init(&loop);
    m->loop = &loop;
    m->watch = loop_watch_new(&loop);
    m->options = o;
    int r = manager_open(m, &e);
    if (r == 0 && !o->check)
        r = manager_start(m, &e);
    if (r < 0) {
        fprintf(stderr, "tarn-manager: %s\n", e.message);
    } else if (o->check) {
        printf("tarn-manager: the state directory %s is good\n", o->state);
    } else {
        _cleanup_free_ char *address = listen_address(m);
        p->term.data = p->interrupt.data = p->tick.data = p;
        uv_signal_init(&loop, &p->term);
        uv_signal_init(&loop, &p->interrupt);
        uv_signal_start(&p->term, on_signal, SIGTERM);
        uv_signal_start(&p->interrupt, on_signal, SIGINT);
        uv_timer_init(&loop, &p->tick);
        p->renew_at = manager_now(m) + RENEW_CHECK_MS;
        uv_timer_start(&p->tick, on_tick, 1000, 1000);
        log_info("tarn-manager %s ready at %s", TARN_VERSION, address);
        systemd_notify("READY=1");
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    manager_close(m);
    return r < 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    struct options o;
    struct program *p = xcalloc(1, sizeof *p);
    int r = options_parse(argc, argv, &o);
    memory_init();
    json_scratch_init();
    signal(SIGPIPE, SIG_IGN);
    umask(0077);
    r = r < 0 ? 2 : r > 0 ? 0 : run(p, &o);
    options_done(&o);
    free(p);
    return r;
}
