/* SPDX-License-Identifier: Apache-2.0 */
/* The control connection: dialled by us, for as long as we live. Guests and running calls do not depend on it. */
#include "agent/agent.h"

#include "agent/cluster.h"
#include "base/units.h"
#include "os/log.h"

#define DIAL_MIN_MS        200
#define DIAL_MAX_MS        5000
#define DIAL_SLOWLY_MS     60000
#define CONNECT_TIMEOUT_MS 10000
#define PING_MS            5000
#define TRIM_SAMPLES       3
#define MESSAGE_MAX        (4U << 20)
#define FROM_TRIES         5     /* one of so many comes from any address */
#define FROM_AGAIN_MS      60000 /* when the management address is tried again */
#define FROM_AGAIN_MAX_MS  3600000

/* HTTP_REFUSED: the certificate is not the authority's, has expired, or a clock is wrong. */
enum { HTTP_REFUSED = 401, CLOSE_VERSION = 4001, CLOSE_UNKNOWN = 4002, CLOSE_REPLACED = 4003 };

static void dial(struct agent *a);

static void redial(struct agent *a);

static void on_dial(uv_timer_t *timer) {
    struct agent *a = timer->data;
    if (a->connection_state == CONNECTION_WELCOME)
        redial(a);
    else
        dial(a);
}

static void dial_later(struct agent *a, int64_t delay) {
    a->connection_state = CONNECTION_WAITING;
    /* Half of it by chance, so that a thousand agents do not come back in one moment. */
    uint64_t ms = (uint64_t)(delay / 2) + random_u64() % (uint64_t)(delay / 2 + 1);
    uv_timer_start(&a->dial, on_dial, ms, 0);
    a->dial_tries++;
}

static void dial_again(struct agent *a) {
    int64_t delay = (int64_t)DIAL_MIN_MS << (a->dial_tries < 5 ? a->dial_tries : 5);
    dial_later(a, delay < DIAL_MAX_MS ? delay : DIAL_MAX_MS);
}

/* ---- where the connection comes from ---- */

/*
 * It comes from the management address. Where that is mistaken (no way leads from it to the manager) nobody could put
 * it right any more, so after a few tries one is made from any address; and if that gets through, the management
 * address is tried again later, in case the manager was only away before.
 */
static const char *wanted_from(const struct agent *a) {
    const char *address = agent_address(a, API_NETWORK_ROLE_MANAGEMENT);
    bool one_from_anywhere = a->from_failed % FROM_TRIES == FROM_TRIES - 1;
    return address && agent_has_address(a, address) && !one_from_anywhere ? address : NULL;
}

static void redial(struct agent *a) {
    if (!a->connection || a->redialling)
        return;
    a->redialling = true;
    ws_close(a->connection, 1000, "dialling again from another address");
}

void connect_addresses(struct agent *a) {
    const char *address = agent_address(a, API_NETWORK_ROLE_MANAGEMENT);
    char from[64];
    if (a->connection_state != CONNECTION_WELCOME || a->config.sim || !address || !agent_has_address(a, address))
        return;
    if (ws_local_address(a->connection, from, sizeof(from)) < 0 || str_eq(from, address))
        return;
    log_info("connected from %s: dialling again from the management address %s", from, address);
    a->from_failed = 0;
    redial(a);
}

static void note_from(struct agent *a) {
    const char *address = agent_address(a, API_NETWORK_ROLE_MANAGEMENT);
    if (a->dial_from || !address || a->from_failed == 0) {
        a->from_failed = 0;
        a->dial_from_again_ms = FROM_AGAIN_MS;
        return;
    }
    log_warning("the manager was not reached from the management address %s, but is from another", address);
    a->from_failed = 0;
    uv_timer_start(&a->dial, on_dial, (uint64_t)a->dial_from_again_ms, 0);
    if (a->dial_from_again_ms < FROM_AGAIN_MAX_MS)
        a->dial_from_again_ms *= 2;
}

/* ---- the connection ---- */

static void on_open(void *ctx, struct ws_client *c) {
    struct agent *a = ctx;
    char address[64];
    a->connection_state = CONNECTION_OPEN;
    if (ws_local_address(c, address, sizeof(address)) == 0)
        str_set(&a->address, address);
    json_t *frame = json_object();
    json_set_str(frame, "event", api_agent_events[API_AGENT_EVENT_HELLO].name);
    char now[TIME_TEXT_MAX];
    str_set(&a->hello.time, time_format(clock_wall_ms(), now));
    json_object_set_new(frame, "args", api_agent_hello_print(&a->hello, API_PUBLIC));
    _cleanup_free_ char *text = json_text(frame);
    json_decref(frame);
    ws_send_text(c, text, strlen(text));
}

static void on_welcome(struct agent *a, const json_t *args) {
    struct api_agent_welcome welcome;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (api_agent_welcome_parse(args, API_PEER, &welcome, &e) < 0) {
        log_error("the manager's welcome is not understood: %s", e.message);
        return;
    }
    a->connection_state = CONNECTION_WELCOME;
    a->dial_tries = 0;
    a->trim_in = a->config.sim ? 0 : TRIM_SAMPLES;
    if (!a->config.sim)
        log_info("connected to %s:%d as server %s (manager %s)", a->identity.host, a->identity.port, a->identity.name,
                 welcome.manager_version);
    int64_t theirs;
    char skew[SKEW_TEXT_MAX];
    if (time_parse(welcome.time, &theirs) == 0 && llabs(clock_wall_ms() - theirs) > CLOCK_WARN_MS)
        log_warning("this server's clock is %s the manager's: set both right (NTP)",
                    skew_format(clock_wall_ms() - theirs, skew));
    note_from(a);
    bool other = addresses_take(a, welcome.addresses, welcome.n_addresses);
    agent_begin(a);
    host_connected(a->host, &welcome);
    agent_end(a);
    api_agent_welcome_done(&welcome);
    if (other)
        connect_addresses(a);
}

static void on_addresses(struct agent *a, const json_t *args) {
    struct api_agent_addresses told;
    if (api_agent_addresses_parse(args, API_PEER, &told, NULL) < 0)
        return;
    if (addresses_take(a, told.addresses, told.n_addresses))
        connect_addresses(a);
    api_agent_addresses_done(&told);
}

static void on_text(void *ctx, struct ws_client *c, const char *data, size_t len) {
    struct agent *a = ctx;
    _cleanup_json_ json_t *j = NULL;
    _cleanup_error_ struct error e = ERROR_INIT;
    if (json_parse(data, len, &j, &e) < 0) {
        log_warning("a message of the manager is dropped: %s", e.message);
        return;
    }
    int event = api_agent_event_from_text(json_str(j, "event"));
    if (event == API_AGENT_EVENT_WELCOME) {
        on_welcome(a, json_object_get(j, "args"));
    } else if (event == API_AGENT_EVENT_ADDRESSES) {
        on_addresses(a, json_object_get(j, "args"));
    } else if (a->connection_state == CONNECTION_WELCOME) {
        /* What is ordered, or answered, is for the lease that is held now; a new one ends this connection. */
        agent_begin(a);
        cluster_refresh(a->cluster);
        agent_end(a);
        if (a->connection != c)
            return;
        if (str_eq(json_str(j, "op"), api_agent_ops[API_AGENT_OP_METRICS_GET].name)) {
            stats_answer(a, j);
            return;
        }
        agent_begin(a);
        host_message(a->host, j);
        agent_end(a);
    }
}

static void log_lost(struct agent *a, int code, const char *reason) {
    bool first = a->dial_tries == 0;
    const char *name = a->identity.name;
    if (code == CLOSE_VERSION)
        log_error("the manager at %s refuses version %s of this agent: %s; trying again each minute", a->identity.host,
                  TARN_VERSION, reason);
    else if (code == HTTP_REFUSED && first)
        log_error("the manager at %s refuses this server's certificate (%s): has it expired, or is a clock wrong? Else "
                  "join it again with tarn-agent join --force; trying again each minute, guests go on",
                  a->identity.host, name);
    else if (code == CLOSE_UNKNOWN)
        log_error(
            "the manager at %s does not know this server (%s): if it was removed, join it again with tarn-agent join "
            "--force; its guests go on, and what has ended is not restarted here",
            a->identity.host, name);
    else if (code == CLOSE_REPLACED)
        log_error(
            "another tarn-agent has connected as %s: this one stays away. Does a second one run with a copy of %s?",
            name, a->state_dir);
    else if (first)
        log_warning("no connection to the manager at %s:%d: %s; dialling again, guests go on", a->identity.host,
                    a->identity.port, str_or(reason, "closed"));
}

static void on_close(void *ctx, struct ws_client *c, int code, const char *reason) {
    struct agent *a = ctx;
    a->connection = NULL;
    ws_free(c);
    if (a->closing)
        return;
    if (a->connection_state != CONNECTION_WELCOME && a->dial_from)
        a->from_failed++;
    else if (a->connection_state != CONNECTION_WELCOME && a->from_failed)
        a->from_failed++; /* from anywhere it is no better */
    if (!a->redialling)
        log_lost(a, code, reason);
    a->redialling = false;
    agent_begin(a);
    host_disconnected(a->host);
    if (code == CLOSE_UNKNOWN)
        host_disowned(a->host);
    agent_end(a);
    if (code == CLOSE_UNKNOWN || code == CLOSE_REPLACED)
        a->connection_state = CONNECTION_OFF;
    else if (code == CLOSE_VERSION || code == HTTP_REFUSED)
        dial_later(a, DIAL_SLOWLY_MS);
    else
        dial_again(a);
}

static void dial(struct agent *a) {
    str_set(&a->dial_from, a->config.sim ? NULL : wanted_from(a));
    struct ws_client_config config = {.host = a->identity.host,
                                      .port = a->identity.port,
                                      .local = a->dial_from,
                                      .path = "/agent/v1",
                                      .ca_path = a->identity.ca_path,
                                      .certificate_path = a->identity.certificate_path,
                                      .key_path = a->identity.key_path,
                                      .max_message = MESSAGE_MAX,
                                      .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                      .ping_ms = PING_MS,
                                      .on_open = on_open,
                                      .on_text = on_text,
                                      .on_close = on_close,
                                      .ctx = a};
    a->connection_state = CONNECTION_DIALLING;
    int r = ws_connect(a->config.ws, &config, &a->connection);
    if (r < 0) {
        a->connection = NULL;
        if (a->dial_tries == 0)
            log_warning("cannot dial %s:%d: %s", a->identity.host, a->identity.port, strerror(-r));
        dial_again(a);
    }
}

void connect_start(struct agent *a) { dial(a); }

void connect_stop(struct agent *a) {
    struct ws_client *c = a->connection;
    a->connection = NULL;
    a->connection_state = CONNECTION_OFF;
    ws_free(c);
}

void connect_again(struct agent *a) {
    struct ws_client *c = a->connection;
    if (!c)
        return;
    a->connection = NULL;
    ws_free(c);
    host_disconnected(a->host);
    a->dial_tries = 0;
    dial_again(a);
}

void connect_send(struct agent *a, const char *text) {
    if (a->connection && a->connection_state == CONNECTION_WELCOME)
        ws_send_text(a->connection, text, strlen(text));
}
