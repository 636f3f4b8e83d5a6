/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request decides nearly everything (path, who asks, permission, rate, length), so that a request that is
 * going to be refused is refused before its body is read.
 */
#include "manager/agents.h"
#include "manager/ask.h"
#include "manager/auth.h"
#include "manager/ca.h"
#include "manager/channel.h"
#include "manager/console.h"
#include "manager/http.h"
#include "manager/limit.h"
#include "manager/loop.h"
#include "manager/metrics.h"
#include "manager/parse.h"
#include "manager/passwords.h"
#include "manager/session.h"
#include "manager/site.h"
#include "manager/stats.h"
#include "manager/stream.h"
#include "manager/upload.h"

#define PUBLIC_BODY_MAX 65536 /* of those who have not signed in */

static void (*const shell_handlers[API_OP_COUNT])(struct exchange *x) = {
    [API_OP_SESSION_CREATE] = session_create,
    [API_OP_SESSION_SHOW] = session_show,
    [API_OP_SESSION_DELETE] = session_delete,
    [API_OP_TOKEN_CREATE] = session_token_create,
    [API_OP_SERVER_TOKEN_CREATE] = session_server_token_create,
    [API_OP_SERVER_JOIN] = session_server_join,
    [API_OP_SERVER_STATS] = stats_server,
    [API_OP_VM_STATS] = stats_vm,
    [API_OP_SUMMARY] = summary_get,
    [API_OP_SERVER_METRICS] = ask_server_metrics,
    [API_OP_VM_METRICS] = ask_vm_metrics,
};

/* ---- pages beside the API ---- */

static void page_root(struct exchange *x) {
    x->type = "text/plain; charset=utf-8";
    exchange_reply(x, 200, 0,
                   xstrdup("Tarn " TARN_VERSION "\n\n"
                           "This is tarn-manager. Its web console is not installed here: it lies in no\n"
                           "directory that tarn-manager --console-dir names.\n"
                           "API:                /api/v1 (described in /api/v1/openapi.json)\n"
                           "Command line:       tarn login https://THIS-ADDRESS\n"
                           "Certificate of its authority: /ca.pem\n"));
}

static void page_ca(struct exchange *x) {
    x->type = "application/x-pem-file";
    exchange_reply(x, 200, 0, xstrdup(ca_certificate(x->m->ca)));
}

static void page_openapi(struct exchange *x) { exchange_reply_borrowed(x, api_openapi_json, api_openapi_json_len); }

struct page {
    const char *path;
    void (*get)(struct exchange *x);
    bool signed_in;
};
static const struct page console = {"", site_get, false};
static const struct page root = {"/", page_root, false};
static const struct page pages[] = {
    {"/ca.pem", page_ca, false},
    {API_PREFIX "/openapi.json", page_openapi, false},
    {"/metrics", metrics_get, true},
};

/* ---- what every request is checked for ---- */

static void refuse_method(struct exchange *x, const char *allow) {
    buf_addf(&x->extra, "Allow: %s\r\n", allow);
    if (strcmp(x->method, "OPTIONS") == 0)
        exchange_reply(x, 204, 0, NULL);
    else
        exchange_fail(x, ERR_NOT_ALLOWED, "%s is not possible here; the path has %s", x->method, allow);
}

static int check_rate(struct exchange *x) {
    int wait = 1;
    if (conn_is_loopback(x->conn))
        return 0;
    const char *client = x->who.known ? x->who.user_id : conn_client(x->conn);
    if (limiter_take(x->m->requests, client, manager_now(x->m), &wait))
        return 0;
    buf_addf(&x->extra, "Retry-After: %d\r\n", wait);
    exchange_fail(x, ERR_RATE, "too many requests; wait %d s", wait);
    return -1;
}

/* Who asks, and whether they may. -1: it has been answered. */
static int check_caller(struct exchange *x, bool public, unsigned roles, const char *permission) {
    _cleanup_error_ struct error e = ERROR_INIT;
    int r = auth_identify(x, &e);
    if (r < 0 && public) {
        error_done(&e); /* an old cookie must not be in the way of a sign-in */
        r = 0;
    }
    if (check_rate(x) < 0)
        return -1;
    if (r == 0 && !x->who.known && !public)
        r = error_set(&e, ERR_UNAUTHENTICATED,
                      "sign in first (POST /api/v1/sessions), or send a token (Authorization: Bearer)");
    if (r == 0 && !public && !(roles & 1u << x->who.role))
        r = error_set(&e, ERR_FORBIDDEN, "the role %s does not have the permission %s; ask an administrator",
                      api_role_text(x->who.role), permission);
    if (r == 0 && strcmp(x->method, "GET") != 0)
        r = public ? auth_check_origin(x, &e) : auth_check_csrf(x, &e);
    if (r == 0)
        return 0;
    if (e.code == ERR_UNAUTHENTICATED)
        buf_adds(&x->extra, "WWW-Authenticate: Bearer\r\n");
    exchange_reply_error(x, &e);
    return -1;
}

static void query_names(const struct api_op *op, struct buf *out) {
    switch (op->id) {
    case API_OP_UPLOAD_DATA:
        buf_adds(out, "offset");
        return;
    case API_OP_VM_CONSOLE:
        buf_adds(out, "type");
        return;
    case API_OP_STREAM:
        buf_adds(out, "since,kinds");
        return;
    default:
        buf_adds(out, op->list ? "filter,sort,limit,after,fields" : "fields");
    }
    for (size_t i = 0; op->query && i < op->query->n_fields; i++)
        buf_addf(out, ",%s", op->query->fields[i].name);
}

/* The operation's own parameters as an object, for its parser to judge: numbers become numbers where they are some. */
static json_t *query_args(struct exchange *x) {
    json_t *args = json_object();
    for (size_t i = 0; x->op->query && i < x->op->query->n_fields; i++) {
        const struct api_field *f = &x->op->query->fields[i];
        _cleanup_free_ char *text = conn_query(x->conn, f->name);
        int64_t number;
        if (!text)
            continue;
        if (f->type == API_TYPE_INTEGER && decimal_parse(text, &number) == 0)
            json_set_int(args, f->name, number);
        else if (f->type == API_TYPE_BOOLEAN && (str_eq(text, "true") || str_eq(text, "false")))
            json_object_set_new(args, f->name, json_boolean(*text == 't'));
        else
            json_set_str(args, f->name, text);
    }
    return args;
}

static int check_query(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    _cleanup_buf_ struct buf names = {0};
    query_names(x->op, &names);
    if (conn_query_check(x->conn, names.data, &e) == 0) {
        if (x->op->query)
            x->args = query_args(x);
        x->fields = conn_query(x->conn, "fields");
        if (!x->op->list)
            return 0;
        x->filter = conn_query(x->conn, "filter");
        x->sort = conn_query(x->conn, "sort");
        x->after = conn_query(x->conn, "after");
        _cleanup_free_ char *limit = conn_query(x->conn, "limit");
        if (!limit || (decimal_parse(limit, &x->limit) == 0 && x->limit >= 1 && x->limit <= 1000))
            return 0;
        error_set_field(&e, ERR_INVALID, "limit", "must be a number from 1 to 1000");
    }
    exchange_reply_error(x, &e);
    return -1;
}

static int check_if_match(struct exchange *x) {
    char text[256], revision[24];
    conn_header(x->conn, "if-match:", text, sizeof text);
    int r = *text ? if_match_parse(text, revision) : 1;
    if (r < 0) {
        exchange_fail(x, ERR_INVALID, "If-Match must be one ETag as this API sends it: \"REVISION\"");
        return -1;
    }
    if (r == 0)
        x->if_match = xstrdup(revision);
    return 0;
}

/* A WebSocket can only be refused with a status; who asks again without one is told why in words. */
static void explain_websocket(struct exchange *x) {
    if (check_caller(x, x->op->public, x->op->roles, x->op->permission) < 0 || check_query(x) < 0 ||
        (x->op->id == API_OP_VM_CONSOLE && !console_check(x)))
        return;
    exchange_fail(x, ERR_INVALID, "this path is a WebSocket; send Upgrade: websocket");
}

/* Finds the operation. -1: it has been answered. */
static int find_operation(struct exchange *x, bool websocket) {
    size_t prefix = strlen(API_PREFIX);
    if (strncmp(x->path, API_PREFIX, prefix) != 0 || x->path[prefix] != '/') {
        exchange_fail(x, ERR_NOT_FOUND, "there is nothing at this path; the API is at " API_PREFIX);
        return -1;
    }
    x->op = api_route(x->method, x->path + prefix, &x->route);
    if (!x->op && x->route.malformed)
        exchange_fail(x, ERR_INVALID, "the path is not well-formed: bad percent-encoding, or no UTF-8");
    else if (!x->op && x->route.allow)
        refuse_method(x, x->route.allow);
    else if (!x->op)
        exchange_fail(x, ERR_NOT_FOUND, "there is nothing at this path; see " API_PREFIX "/openapi.json");
    else if (!websocket && x->op->websocket)
        explain_websocket(x);
    else if (websocket && !x->op->websocket)
        exchange_fail(x, ERR_INVALID, "this path is no WebSocket");
    else
        return 0;
    return -1;
}

/* ---- requests ---- */

static const struct page *find_page(struct exchange *x) {
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (strcmp(x->path, pages[i].path) == 0)
            return &pages[i];
    if (site_has(x->m->site, x->path))
        return &console;
    return strcmp(x->path, root.path) == 0 ? &root : NULL;
}

static void page_begin(struct exchange *x, const struct page *p) {
    bool public = !p->signed_in || x->m->options->metrics_public;
    unsigned roles = api_ops[API_OP_STREAM].roles;
    if (check_caller(x, public, roles, api_ops[API_OP_STREAM].permission) < 0)
        return;
    if (strcmp(x->method, "GET") != 0)
        refuse_method(x, "GET");
    else
        p->get(x);
}

void api_begin(struct exchange *x) {
    char expect[64];
    const struct page *p = find_page(x);
    if (p) {
        page_begin(x, p);
        return;
    }
    if (find_operation(x, false) < 0 ||
        check_caller(x, x->op->public, x->op->self ? ~0u : x->op->roles, x->op->permission) < 0 || check_query(x) < 0 ||
        check_if_match(x) < 0)
        return;
    int max = x->op->public ? PUBLIC_BODY_MAX : HTTP_BODY_MAX;
    if (!x->op->stream && x->content_length > max) {
        exchange_fail(x, ERR_TOO_LARGE, "the body is longer than %d bytes", max);
        return;
    }
    conn_header(x->conn, "content-encoding:", expect, sizeof expect);
    if (*expect && strcasecmp(expect, "identity") != 0) {
        exchange_fail(x, ERR_INVALID, "encoded bodies are not taken; send it plain");
        return;
    }
    conn_header(x->conn, "expect:", expect, sizeof expect);
    if (strcasecmp(expect, "100-continue") == 0 && x->content_length > 0)
        conn_send_continue(x->conn);
    if (x->op->id == API_OP_UPLOAD_DATA)
        upload_begin(x);
}

/* The body as JSON; one that is not asked for may only be {}. -1: it has been answered. */
static int parse_body(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    int r = 0;
    if (x->body.len)
        r = json_parse(x->body.data, x->body.len, &x->json, &e);
    if (r == 0 && x->json && !json_is_object(x->json))
        r = error_set(&e, ERR_INVALID, "the body must be a JSON object");
    if (r == 0 && !x->op->body && x->json && json_object_size(x->json))
        r = error_set(&e, ERR_INVALID, "this operation takes no body");
    buf_done(&x->body);
    if (r == 0)
        return 0;
    exchange_reply_error(x, &e);
    return -1;
}

void exchange_client(const struct exchange *x) { core_set_client(x->m->core, x->conn ? conn_peer(x->conn) : NULL); }

void exchange_client_end(const struct exchange *x) { core_set_client(x->m->core, NULL); }

static void to_core(struct exchange *x) {
    struct core_request r = {
        .id = x->id,
        .op = x->op->id,
        .actor = x->who.known ? x->who.user : "",
        .user_id = x->who.user_id,
        .role = x->who.known ? x->who.role : API_ROLE_VIEWER,
        .params = {x->route.params[0], x->route.params[1]},
        .body = x->op->body ? x->json : NULL,
        .args = x->args,
        .if_match = x->if_match,
        .password_hash = x->password_hash,
        .query = {x->filter, x->sort, x->after, x->fields, x->limit},
    };
    struct manager *m = x->m;
    const char *before = loop_at(m, x->op->name);
    shell_time(m);
    exchange_client(x);
    core_request(m->core, &r);
    exchange_client_end(x);
    shell_pump(m);
    loop_at(m, before);
}

static void on_hashed(void *ctx, const char *hash) {
    struct exchange *x = ctx;
    if (!hash) {
        exchange_fail(x, ERR_INTERNAL, "the password could not be hashed; is memory short?");
        return;
    }
    x->password_hash = xstrdup(hash);
    to_core(x);
}

/* A token may end before its user's trust in it; who has found one must not become its user for good. */
static bool is_oneself(const struct exchange *x) {
    const struct api_user *u = core_user(x->m->core, x->route.params[0]);
    return u && strcmp(u->id, x->who.user_id) == 0;
}

/* Whoever is signed in could else keep everybody from signing in, with changes of a password that are refused anyway.
 */
static bool may_hash(struct exchange *x) {
    _cleanup_free_ char *key = xasprintf("password|%s", x->who.user_id);
    int wait = 1;
    if (x->who.role == API_ROLE_ADMINISTRATOR || limiter_take(x->m->sign_ins, key, manager_now(x->m), &wait))
        return true;
    buf_addf(&x->extra, "Retry-After: %d\r\n", wait);
    exchange_fail(x, ERR_RATE, "too many changes of passwords; wait %d s", wait);
    return false;
}

/* Takes the password out of the body. 1: it is being hashed, and the request goes on later; -1: it has been answered.
 */
static int take_password(struct exchange *x) {
    json_t *p = json_object_get(x->json, "password");
    if ((x->op->id != API_OP_USER_CREATE && x->op->id != API_OP_USER_CHANGE) || !p)
        return 0;
    if (x->op->id == API_OP_USER_CHANGE && x->who.by_api_token && is_oneself(x)) {
        exchange_fail(x, ERR_FORBIDDEN,
                      "a token cannot change its user's password; sign in (tarn login) and change it");
        return -1;
    }
    if (!may_hash(x))
        return -1;
    const char *text = json_string_value(p);
    size_t len = json_string_length(p);
    if (!text || len < 8 || len > 256) {
        _cleanup_error_ struct error e = ERROR_INIT;
        error_set_field(&e, ERR_INVALID, "password", "must be a text of 8 to 256 bytes");
        exchange_reply_error(x, &e);
        return -1;
    }
    int r = passwords_hash(x->m->passwords, text, on_hashed, x);
    json_object_del(x->json, "password");
    if (r < 0) {
        exchange_fail(x, ERR_RATE, "too many passwords are being checked just now; try again in a few seconds");
        return -1;
    }
    return 1;
}

void api_complete(struct exchange *x) {
    struct manager *m = x->m;
    if (parse_body(x) < 0)
        return;
    if (x->op->shell) {
        const char *before = loop_at(m, x->op->name);
        shell_handlers[x->op->id](x);
        loop_at(m, before);
    } else if (take_password(x) == 0) {
        to_core(x);
    }
}

/* ---- WebSockets ---- */

static bool check_origin(struct exchange *x) {
    char origin[512], host[512];
    conn_header(x->conn, "origin:", origin, sizeof origin);
    conn_header(x->conn, "host:", host, sizeof host);
    if (!x->who.by_cookie || (*origin && origin_matches(origin, host)))
        return true;
    exchange_fail(x, ERR_FORBIDDEN, "a page of another site may not use this session");
    return false;
}

bool api_upgrade(struct exchange *x) {
    if (strncmp(x->path, AGENT_PATH, strlen(AGENT_PATH)) == 0)
        return agents_upgrade(x);
    if (find_operation(x, true) < 0 || check_caller(x, false, x->op->roles, x->op->permission) < 0 ||
        !check_origin(x) || check_query(x) < 0)
        return false;
    return x->op->id == API_OP_STREAM ? stream_upgrade(x) : console_upgrade(x);
}
