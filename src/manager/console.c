/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/console.h"

#include "manager/agents.h"
#include "manager/auth.h"
#include "manager/channel.h"
#include "manager/ws.h"

#define STUCK_MS  60000
#define EARLY_MAX 65536
#define PER_USER  32 /* consoles of one user on one server, whose agent has few for all */

struct console {
    struct list link; /* in manager.consoles */
    struct manager *m;
    struct ws *client;
    struct channel *channel; /* NULL until the client's handshake is done */
    char vm[UUID_LEN + 1], server[UUID_LEN + 1], user[UUID_LEN + 1], token[65];
    bool vnc, up;
    struct buf early; /* what came together with the client's handshake */
};

void console_init(struct manager *m) { list_init(&m->consoles); }

static void console_free(struct console *c) {
    list_remove(&c->link);
    buf_done(&c->early);
    free(c);
}

/* ---- from the agent ---- */

static void on_up(void *ctx) {
    struct console *c = ctx;
    c->up = true;
    if (c->early.len)
        channel_send_binary(c->channel, c->early.data, c->early.len);
    buf_done(&c->early);
    ws_pause(c->client, false);
}

static void from_agent(void *ctx, const void *data, size_t len) {
    struct console *c = ctx;
    if (!ws_send_binary(c->client, data, len))
        channel_pause(c->channel, true);
}

static void agent_writable(void *ctx) {
    struct console *c = ctx;
    ws_pause(c->client, false);
}

/* When the guest has stopped the console ends for that reason, whatever the agent's words were. */
static void on_ended(void *ctx, int code, const char *reason, const struct error *e) {
    struct console *c = ctx;
    const struct api_vm *vm = core_vm(c->m->core, c->vm);
    if (code == CHANNEL_CLOSED && (!vm || vm->state == API_VM_STATE_STOPPED || vm->state == API_VM_STATE_CRASHED))
        ws_close(c->client, CHANNEL_VM_STOPPED, "the virtual machine has stopped");
    else
        ws_close(c->client, code, reason);
    console_free(c);
}

static void end_both(struct console *c, int code, const char *reason) {
    if (c->channel)
        channel_close(c->channel, code, reason);
    ws_close(c->client, code, reason);
    console_free(c);
}

static bool is_stuck(struct ws *w, int64_t now) { return w && ws_queued(w) > 0 && now - ws_progress(w) > STUCK_MS; }

static void on_tick(void *ctx, int64_t now) {
    struct console *c = ctx;
    enum auth_change now_may = auth_still_valid(c->m, c->token, API_OP_VM_CONSOLE, NULL);
    if (now_may == AUTH_DENIED)
        end_both(c, 4403, "the user's role has changed and has no consoles");
    else if (now_may == AUTH_ENDED)
        end_both(c, 4401, "the session or token has ended; sign in again");
    else if (is_stuck(c->client, now) || is_stuck(channel_ws(c->channel), now))
        end_both(c, CHANNEL_STUCK, "the other end has not read for 60 s");
}

static const struct channel_ops channel_ops = {
    .up = on_up, .binary = from_agent, .writable = agent_writable, .ended = on_ended, .tick = on_tick};

/* ---- from the client ---- */

static void on_open(struct ws *w, void *ctx) {
    struct console *c = ctx;
    if (!agents_connected(c->m, c->server)) {
        end_both(c, CHANNEL_AGENT_LOST, "the server's agent is not connected");
        return;
    }
    struct api_channel_open args;
    api_channel_open_init(&args);
    str_set(&args.type, c->vnc ? "vnc" : "serial");
    str_set(&args.vm, c->vm);
    c->channel = channel_open(c->m, c->server, &args, &channel_ops, c);
    api_channel_open_done(&args);
}

static void from_client(struct ws *w, void *ctx, const void *data, size_t len) {
    struct console *c = ctx;
    if (!c->up) {
        if (c->early.len + len <= EARLY_MAX)
            buf_add(&c->early, data, len);
    } else if (!channel_send_binary(c->channel, data, len)) {
        ws_pause(w, true);
    }
}

static void client_writable(struct ws *w, void *ctx) {
    struct console *c = ctx;
    if (c->channel)
        channel_pause(c->channel, false);
}

static void on_closed(struct ws *w, void *ctx, int code, const char *reason) {
    struct console *c = ctx;
    if (c->channel)
        channel_close(c->channel, 1000, "the client ended the console");
    console_free(c);
}

/* NULL, or why this VM has no console now, with its code. */
static const char *problem(struct manager *m, const struct api_vm *vm, bool vnc, enum error_code *ret) {
    *ret = ERR_CONFLICT;
    switch (vm->state) {
    case API_VM_STATE_STARTING:
    case API_VM_STATE_RUNNING:
    case API_VM_STATE_STOPPING:
    case API_VM_STATE_SUSPENDED:
        break;
    case API_VM_STATE_UNKNOWN:
        *ret = ERR_UNAVAILABLE;
        return "its server does not answer";
    default:
        return "it is not running; start it first";
    }
    if (vnc && vm->machine == API_MACHINE_MICROVM)
        return "a microvm has no display; use its serial console";
    if (vnc && vm->display != API_DISPLAY_VNC)
        return "it has no display (display: none); use its serial console";
    *ret = ERR_UNAVAILABLE;
    return agents_connected(m, vm->server) ? NULL : "its server's agent is not connected";
}

/* Who has a console has the guest: that stands in the log. */
static void note_opening(struct exchange *x, const struct api_vm *vm, bool vnc) {
    struct manager *m = x->m;
    _cleanup_free_ char *id = xstrdup(vm->id),
                        *message = xasprintf("%s opened the %s of virtual machine %s", x->who.user,
                                             vnc ? "display" : "serial console", vm->name);
    shell_time(m);
    exchange_client(x);
    core_note_object(m->core, API_SEVERITY_INFO, x->who.user, "vm.console", API_KIND_VM, id, message);
    exchange_client_end(x);
    shell_pump(m);
}

static bool has_too_many(const struct exchange *x, const struct api_vm *vm) {
    const struct console *c;
    size_t n = 0;
    list_for_each(c, &x->m->consoles, link) n +=
        strcmp(c->user, x->who.user_id) == 0 && strcmp(c->server, vm->server) == 0;
    return n >= PER_USER;
}

bool console_check(struct exchange *x) {
    struct manager *m = x->m;
    const struct api_vm *vm = core_vm(m->core, x->route.params[0]);
    _cleanup_free_ char *type = conn_query(x->conn, "type");
    bool vnc = str_eq(type, "vnc");
    enum error_code code = ERR_NOT_FOUND;
    const char *why = vm ? problem(m, vm, vnc, &code) : "there is none of this name";
    if (type && !vnc && strcmp(type, "serial") != 0) {
        exchange_fail(x, ERR_INVALID, "type must be serial or vnc");
        return false;
    }
    if (why) {
        exchange_fail(x, code, "the virtual machine %s has no console: %s", x->route.params[0], why);
        return false;
    }
    if (has_too_many(x, vm)) {
        exchange_fail(x, ERR_RATE, "%s has %d consoles on this server already; close those that nobody looks at",
                      x->who.user, PER_USER);
        return false;
    }
    return true;
}

bool console_upgrade(struct exchange *x) {
    static const struct ws_ops ops = {
        .open = on_open, .binary = from_client, .writable = client_writable, .closed = on_closed};
    if (!console_check(x))
        return false;
    struct manager *m = x->m;
    const struct api_vm *vm = core_vm(m->core, x->route.params[0]);
    _cleanup_free_ char *type = conn_query(x->conn, "type");
    bool vnc = str_eq(type, "vnc");
    struct console *c = xcalloc(1, sizeof *c);
    list_append(&m->consoles, &c->link);
    c->m = m;
    c->vnc = vnc;
    snprintf(c->vm, sizeof c->vm, "%s", vm->id);
    snprintf(c->server, sizeof c->server, "%s", vm->server);
    memcpy(c->user, x->who.user_id, sizeof c->user);
    memcpy(c->token, x->who.hash, sizeof c->token);
    note_opening(x, vm, vnc);
    c->client = exchange_accept_ws(
        x, &(struct ws_config){
               .ops = &ops, .ctx = c, .max_queue = 8 * 1024 * 1024, .ping_ms = 20000, .silence_ms = 60000});
    ws_pause(c->client, true); /* until the agent is there */
    return true;
}
