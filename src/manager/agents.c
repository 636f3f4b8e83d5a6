/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/agents.h"

#include "base/units.h"
#include "manager/ask.h"
#include "manager/ca.h"
#include "manager/channel.h"
#include "manager/loop.h"
#include "manager/parse.h"
#include "manager/samples.h"
#include "manager/stats.h"
#include "manager/work.h"
#include "manager/ws.h"
#include "os/log.h"

#define MESSAGE_MAX (4 * 1024 * 1024)
#define QUEUE_MAX   (64 * 1024 * 1024)
#define PING_MS     5000
#define HELLO_MS    10000

/* One that says more than it has reason to is read more slowly: it costs the others nothing. A message costs one, and
 * one more for each KiB; a whole report after a long absence is within what it may say at once. */
#define SAY_BURST    6000
#define SAY_SECOND   500
#define SAY_GO_ON    500
#define HELLO_LENGTH (512 * 1024)

struct agent {
    struct list link; /* in waiting, until its hello */
    struct manager *m;
    struct ws *ws;
    char server[UUID_LEN + 1];
    char *name;
    bool up;         /* its hello has been taken; it is in manager.agents */
    bool held;       /* it is not read for a while */
    size_t n_queued; /* messages of it in the inbox */
    int64_t since;
    int64_t may_say, said_at;
};

/* What a turn of the loop had no time for. An agent with something in it is not read. */
struct inbox {
    struct work work;
    struct list queue;
};

struct message {
    struct list link;
    struct agent *a;
    size_t len;
    char text[];
};

static void inbox_forget(struct agent *a) {
    struct message *t, *next;
    if (!a->n_queued)
        return;
    list_for_each_safe(t, next, &a->m->inbox->queue, link) {
        if (t->a != a)
            continue;
        list_remove(&t->link);
        free(t);
    }
}

static void agent_free(struct agent *a) {
    inbox_forget(a);
    if (map_get(&a->m->agents, a->server) == a)
        map_remove(&a->m->agents, a->server);
    list_remove(&a->link);
    free(a->name);
    free(a);
}

static void agent_refuse(struct agent *a, int code, const char *reason) {
    log_warning("server %s: connection refused: %s", a->name, reason);
    ws_close(a->ws, code, reason);
    agent_free(a);
}

/* The core is told, once, unless a newer connection has taken this one's place. */
static void agent_gone(struct agent *a, const char *why) {
    struct manager *m = a->m;
    bool current = a->up && map_get(&m->agents, a->server) == a;
    char server[UUID_LEN + 1];
    memcpy(server, a->server, sizeof server);
    if (current)
        log_info("server %s: disconnected: %s", a->name, why);
    agent_free(a);
    if (!current || m->stopping)
        return;
    samples_forget(m, server);
    stats_forget(m, server);
    channel_agent_lost(m, server);
    ask_agent_lost(m, server);
    shell_time(m);
    core_agent_disconnected(m->core, server, why);
    shell_pump(m);
}

/* NULL, or why its version does not fit. */
static char *version_problem(const struct api_agent_hello *h) {
    if (h->protocol != API_AGENT_PROTOCOL)
        return xasprintf("version: agent protocol %lld, the manager speaks %d; upgrade %s", (long long)h->protocol,
                         API_AGENT_PROTOCOL, h->protocol < API_AGENT_PROTOCOL ? "tarn-agent" : "tarn-manager");
    switch (version_compare(TARN_VERSION, h->version)) {
    case VERSION_FITS:
        return NULL;
    case VERSION_PEER_OLDER:
        return xasprintf("version: tarn-agent %.20s, manager %s; upgrade tarn-agent", h->version, TARN_VERSION);
    case VERSION_PEER_NEWER:
        return xasprintf("version: tarn-agent %.20s, manager %s; upgrade tarn-manager", h->version, TARN_VERSION);
    default:
        return xstrdup("version: the agent's is not MAJOR.MINOR");
    }
}

static void send_welcome(struct agent *a) {
    const struct api_server *server = core_server(a->m->core, a->server);
    char now[TIME_TEXT_MAX];
    time_format(manager_wall(), now);
    struct api_agent_welcome welcome = {.server = a->server,
                                        .manager_version = (char *)TARN_VERSION,
                                        .time = now,
                                        .addresses = server->addresses,
                                        .n_addresses = server->n_addresses};
    json_t *args = api_agent_welcome_print(&welcome, API_PUBLIC), *j = json_object();
    json_set_str(j, "event", api_agent_events[API_AGENT_EVENT_WELCOME].name);
    json_object_set_new(j, "args", args);
    char *text = json_text(j);
    ws_send_text(a->ws, text, strlen(text));
    free(text);
    json_decref(j);
}

#define DAY_MS           (24LL * 3600 * 1000)
#define CERTIFICATE_DAYS 30 /* before its end an alarm is raised */

/* A server's certificate is as old as its record: it gets a new one by joining anew. */
static void check_certificate(struct agent *a) {
    struct manager *m = a->m;
    const struct api_server *s = core_server(m->core, a->server);
    int64_t made;
    if (!s || time_parse(s->created, &made) < 0)
        return;
    int64_t days = (made + CA_CLIENT_DAYS * DAY_MS - manager_wall()) / DAY_MS;
    _cleanup_free_ char *message =
        days < CERTIFICATE_DAYS
            ? xasprintf("The certificate of server %s ends in %lld days: empty it, remove it, and let it join again",
                        s->name, (long long)days)
            : NULL;
    core_condition(m->core, API_SEVERITY_WARNING, API_KIND_SERVER, s->id, "server.certificate", message);
}

/* Both sides say so: the agent logs it, from the time in the welcome. */
static void check_clock(struct agent *a, const char *time) {
    const struct api_server *s = core_server(a->m->core, a->server);
    int64_t theirs;
    char skew[SKEW_TEXT_MAX];
    if (!s || time_parse(time, &theirs) < 0)
        return;
    int64_t ahead = theirs - manager_wall();
    _cleanup_free_ char *message = llabs(ahead) > CLOCK_WARN_MS
                                       ? xasprintf("The clock of server %s is %s the manager's: set both right (NTP)",
                                                   s->name, skew_format(ahead, skew))
                                       : NULL;
    core_condition(a->m->core, API_SEVERITY_WARNING, API_KIND_SERVER, s->id, "server.clock", message);
}

static void agent_welcome(struct agent *a, struct api_agent_hello *hello) {
    struct manager *m = a->m;
    struct agent *old = map_get(&m->agents, a->server);
    if (old) {
        ws_close(old->ws, 4003, "replaced by a newer connection of the same server");
        agent_free(old);
        samples_forget(m, a->server);
        stats_forget(m, a->server);
        channel_agent_lost(m, a->server);
        ask_agent_lost(m, a->server);
    }
    a->up = true;
    list_remove(&a->link);
    map_put(&m->agents, a->server, a);
    log_info("server %s: connected from %s, tarn-agent %.20s", a->name, ws_peer(a->ws), hello->version);
    send_welcome(a);
    str_set(&hello->address, ws_peer(a->ws));
    shell_time(m);
    core_agent_connected(m->core, a->server, hello);
    check_certificate(a);
    check_clock(a, hello->time);
    shell_pump(m);
}

static void on_hello(struct agent *a, const json_t *message) {
    struct api_agent_hello hello;
    if (strcmp(json_str(message, "event"), api_agent_events[API_AGENT_EVENT_HELLO].name) != 0 ||
        api_agent_hello_parse(json_object_get(message, "args"), API_PEER, &hello, NULL) < 0) {
        agent_refuse(a, 4004, "the first frame must be the event hello");
        return;
    }
    _cleanup_free_ char *problem = version_problem(&hello);
    const struct api_server *server = core_server(a->m->core, a->server);
    if (problem)
        agent_refuse(a, 4001, problem);
    else if (!server)
        agent_refuse(a, 4002, "this server has been removed from the inventory; join again");
    else
        agent_welcome(a, &hello);
    api_agent_hello_done(&hello);
}

static void on_message(struct agent *a, const json_t *message) {
    struct manager *m = a->m;
    if (!a->up) {
        on_hello(a, message);
    } else if (strcmp(json_str(message, "event"), api_agent_events[API_AGENT_EVENT_STATS].name) == 0) {
        struct api_stats_sample sample;
        if (api_stats_sample_parse(json_object_get(message, "args"), API_PEER, &sample, NULL) < 0)
            return;
        stats_sample(m, a->server, &sample);
        api_stats_sample_done(&sample);
    } else if (strncmp(json_str(message, "id"), ASK_OP, strlen(ASK_OP)) == 0) {
        ask_answered(m, a->server, json_str(message, "id") + strlen(ASK_OP), message);
    } else if (strncmp(json_str(message, "id"), CHANNEL_OP, strlen(CHANNEL_OP)) == 0) {
        channel_answered(m, a->server, json_str(message, "id") + strlen(CHANNEL_OP), message);
    } else {
        shell_time(m);
        core_agent_message(m->core, a->server, message);
        shell_pump(m);
    }
}

static void end_bad(struct agent *a, const char *reason, const char *why) {
    log_warning("server %s: %s", a->name, why);
    ws_close(a->ws, 4004, reason);
    agent_gone(a, why);
}

static void malformed(struct agent *a) {
    end_bad(a, "a frame is not a JSON object", "it sent something that is not a JSON object");
}

void agents_malformed(struct manager *m, const char *server) {
    struct agent *a = map_get(&m->agents, server);
    if (a)
        malformed(a);
}

static void say_refill(struct agent *a) {
    int64_t now = manager_now(a->m);
    a->may_say += (now - a->said_at) * SAY_SECOND / 1000;
    a->said_at = now;
    if (a->may_say > SAY_BURST)
        a->may_say = SAY_BURST;
}

static void say_count(struct agent *a, size_t len) {
    say_refill(a);
    a->may_say -= 1 + (int64_t)(len / 1024);
    if (a->may_say >= 0)
        return;
    if (!a->held)
        log_warning("server %s: says more than can be listened to; it is read more slowly", a->name);
    a->held = true;
    ws_pause(a->ws, true);
}

static void say_go_on(struct agent *a) {
    say_refill(a);
    if (!a->held || a->may_say < SAY_GO_ON)
        return;
    a->held = false;
    if (!a->n_queued)
        ws_pause(a->ws, false);
}

static void take_text(struct agent *a, const char *data, size_t len) {
    json_t *message = NULL;
    if (json_parse(data, len, &message, NULL) < 0 || !json_is_object(message)) {
        json_decref(message);
        malformed(a);
        return;
    }
    json_tame(message);
    /* What it says of its server is kept and shown to everybody. */
    if (len > HELLO_LENGTH && str_eq(json_str(message, "event"), api_agent_events[API_AGENT_EVENT_HELLO].name))
        end_bad(a, "the hello is too long", "its hello is longer than any server's hardware");
    else
        on_message(a, message);
    json_decref(message);
}

static const char messages[] = "messages of agents";

static bool inbox_go(struct manager *m, struct work *w) {
    struct inbox *in = m->inbox;
    struct message *t = list_first(&in->queue, struct message, link);
    if (!t)
        return false;
    struct agent *a = t->a;
    list_remove(&t->link);
    if (--a->n_queued == 0 && !a->held)
        ws_pause(a->ws, false);
    take_text(a, t->text, t->len);
    free(t);
    return !list_empty(&in->queue);
}

static void inbox_add(struct agent *a, const char *data, size_t len) {
    struct message *t = xmalloc(sizeof *t + len + 1);
    t->a = a;
    t->len = len;
    memcpy(t->text, data, len);
    t->text[len] = 0;
    t->link = (struct list){0};
    list_append(&a->m->inbox->queue, &t->link);
    a->n_queued++;
    ws_pause(a->ws, true);
    work_add(a->m, &a->m->inbox->work);
}

static void on_text(struct ws *w, void *ctx, const char *data, size_t len) {
    struct agent *a = ctx;
    struct manager *m = a->m;
    say_count(a, len);
    if (a->up && !a->n_queued && samples_are(data, len)) {
        samples_add(m, a->server, data, len);
    } else if (a->n_queued || loop_had_enough(m, messages)) {
        inbox_add(a, data, len);
    } else {
        const char *before = loop_at(m, messages);
        take_text(a, data, len);
        loop_at(m, before);
    }
}

static void on_closed(struct ws *w, void *ctx, int code, const char *reason) {
    agent_gone(ctx, *reason ? reason : "the agent closed the connection");
}

static bool control_upgrade(struct exchange *x, const struct api_server *server) {
    static const struct ws_ops ops = {.text = on_text, .closed = on_closed};
    struct manager *m = x->m;
    struct agent *a = xcalloc(1, sizeof *a);
    a->m = m;
    a->name = xstrdup(server->name);
    snprintf(a->server, sizeof a->server, "%s", server->id);
    a->since = a->said_at = manager_now(m);
    a->may_say = SAY_BURST;
    list_append(&m->agents_waiting, &a->link);
    const struct ws_config config = {.ops = &ops,
                                     .ctx = a,
                                     .max_text = MESSAGE_MAX,
                                     .max_queue = QUEUE_MAX,
                                     .ping_ms = PING_MS,
                                     .silence_ms = CORE_SILENCE_MS};
    a->ws = exchange_accept_ws(x, &config);
    return true;
}

/* A certificate of ours whose server has been removed: the agent is told so in words that it knows. */
static bool stranger_upgrade(struct exchange *x) {
    static const struct ws_ops ops = {0};
    const struct ws_config config = {.ops = &ops, .ping_ms = PING_MS, .silence_ms = CORE_SILENCE_MS};
    ws_close(exchange_accept_ws(x, &config), 4002, "this server has been removed from the inventory; join again");
    return true;
}

bool agents_upgrade(struct exchange *x) {
    char fingerprint[65];
    const char *rest = x->path + strlen(AGENT_PATH);
    if (!conn_certificate(x->conn, fingerprint)) {
        exchange_fail(x, ERR_UNAUTHENTICATED, "this needs a server's client certificate; join with: tarn-agent join");
        return false;
    }
    const struct api_server *server = core_server_by_certificate(x->m->core, fingerprint);
    if (*rest == 0)
        return server ? control_upgrade(x, server) : stranger_upgrade(x);
    if (server && strncmp(rest, "/channel/", 9) == 0)
        return channel_upgrade(x, server->id, rest + 9);
    exchange_fail(x, ERR_NOT_FOUND, "there is nothing at this path");
    return false;
}

bool agents_connected(struct manager *m, const char *server) { return map_get(&m->agents, server) != NULL; }

void agents_send(struct manager *m, const char *server, const char *text) {
    struct agent *a = map_get(&m->agents, server);
    if (a)
        ws_send_text(a->ws, text, strlen(text));
}

void agents_drop(struct manager *m, const char *server) {
    struct agent *a = map_get(&m->agents, server);
    if (!a)
        return;
    if (core_server(m->core, server))
        ws_close(a->ws, 1000, "the manager ends this connection; connect again");
    else
        ws_close(a->ws, 4002, "this server has been removed from the inventory; join again");
    agent_gone(a, "the manager ended the connection");
}

void agents_init(struct manager *m) {
    list_init(&m->agents_waiting);
    m->inbox = xcalloc(1, sizeof *m->inbox);
    m->inbox->work.what = messages;
    m->inbox->work.go = inbox_go;
    list_init(&m->inbox->queue);
}

void agents_tick(struct manager *m) {
    struct agent *a, *tmp;
    list_for_each_safe(a, tmp, &m->agents_waiting, link) {
        if (manager_now(m) - a->since > HELLO_MS)
            agent_refuse(a, 4004, "no hello came within 10 s");
    }
    size_t pos = 0;
    void *value;
    while (map_next(&m->agents, &pos, NULL, &value))
        say_go_on(value);
}

void agents_done(struct manager *m) {
    struct message *t, *next;
    list_for_each_safe(t, next, &m->inbox->queue, link) {
        list_remove(&t->link);
        free(t);
    }
    work_remove(&m->inbox->work);
    free(m->inbox);
    m->inbox = NULL;
    map_done(&m->agents);
}
