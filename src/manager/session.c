/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/session.h"

#include "base/units.h"
#include "manager/auth.h"
#include "manager/ca.h"
#include "manager/limit.h"
#include "manager/parse.h"
#include "manager/passwords.h"
#include "os/log.h"
#include "os/x509.h"

#include <openssl/crypto.h>

#define SESSION_S (12 * 3600)

/* What waits for the core's reply. */
struct issue {
    char secret[SECRET_TEXT];
    char *certificate; /* join */
    bool cookie;
};

static void issue_free(struct issue *i) {
    if (!i)
        return;
    OPENSSL_cleanse(i->secret, sizeof i->secret);
    free(i->certificate);
    free(i);
}

/* Makes the secret and fills what the core cannot know; the rest of t is the caller's. */
static struct issue *issue_new(struct exchange *x, struct api_token *t, int64_t lifetime) {
    struct issue *i = xcalloc(1, sizeof *i);
    char hash[65], time[TIME_TEXT_MAX];
    random_hex(SECRET_BYTES, i->secret);
    sha256_hex(i->secret, strlen(i->secret), hash);
    str_set(&t->hash, hash);
    int64_t now = manager_wall();
    str_set(&t->created, time_format(now, time));
    str_set(&t->expires, time_format(now + lifetime * 1000, time));
    t->lifetime = lifetime;
    x->ctx = i;
    return i;
}

static void token_to_core(struct exchange *x, const struct api_token *t, const char *actor) {
    struct manager *m = x->m;
    shell_time(m);
    exchange_client(x);
    core_token_add(m->core, x->id, actor, t);
    exchange_client_end(x);
    shell_pump(m);
}

/* The reply's body as JSON; NULL if it is an error, which has been passed on. */
static json_t *reply_body(struct exchange *x, int status, char *text) {
    json_t *j = NULL;
    if (status < 300 && text && json_parse(text, strlen(text), &j, NULL) == 0) {
        free(text);
        return j;
    }
    issue_free(x->ctx);
    x->ctx = NULL;
    exchange_reply(x, status < 300 ? 500 : status, 0, text);
    return NULL;
}

/* ---- sessions ---- */

static json_t *session_json(struct exchange *x, const char *secret) {
    json_t *j = json_object();
    json_set_str(j, "user", x->who.user);
    json_set_str(j, "role", api_role_text(x->who.role));
    json_set_str(j, "token_id", x->who.token_id);
    json_set_str(j, "expires", x->who.expires);
    if (secret)
        json_set_str(j, "secret", secret);
    if (*x->who.csrf)
        json_set_str(j, "csrf", x->who.csrf);
    return j;
}

static void session_created(struct exchange *x, int status, int64_t revision, char *text) {
    struct issue *i = x->ctx;
    json_t *token = reply_body(x, status, text);
    if (!token)
        return;
    snprintf(x->who.token_id, sizeof x->who.token_id, "%s", json_str(token, "id"));
    str_set(&x->who.expires, json_str(token, "expires"));
    auth_csrf(i->secret, x->who.csrf);
    json_decref(token);
    buf_addf(&x->extra, "Set-Cookie: " SESSION_COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Strict\r\n",
             i->secret, SESSION_S);
    json_t *j = session_json(x, i->secret);
    issue_free(i);
    exchange_reply_json(x, 201, 0, j);
}

static const char *client_key(const struct exchange *x) { return x->conn ? conn_client(x->conn) : ""; }
static char *sign_in_key(const struct exchange *x, const char *name) { return xasprintf("%s|%s", client_key(x), name); }

/* Taken before the answer is known: a flood of guesses at once counts like one after another. */
static bool sign_in_take(struct exchange *x, const char *key, int *ret_wait) {
    struct manager *m = x->m;
    if (!limiter_take(m->sign_ins, key, manager_now(m), ret_wait))
        return false;
    if (limiter_take(m->sign_ins_from, client_key(x), manager_now(m), ret_wait))
        return true;
    limiter_give(m->sign_ins, key);
    return false;
}

static void sign_in_give(struct exchange *x, const char *key) {
    limiter_give(x->m->sign_ins, key);
    limiter_give(x->m->sign_ins_from, client_key(x));
}

/* In the event log, but not the name: what people type there by mistake is often the password. */
static void note_refused(struct exchange *x) {
    struct manager *m = x->m;
    const char *peer = x->conn ? conn_peer(x->conn) : "a client that left";
    const struct api_user *u = core_user(m->core, x->who.user);
    _cleanup_free_ char *message = u ? xasprintf("A sign-in as %s from %s was refused", u->name, peer)
                                     : xasprintf("A sign-in as an unknown user from %s was refused", peer);
    shell_time(m);
    exchange_client(x);
    if (u)
        core_note_object(m->core, API_SEVERITY_WARNING, "tarn", "session.refused", API_KIND_USER, u->id, message);
    else
        core_note(m->core, API_SEVERITY_WARNING, "tarn", "session.refused", message);
    exchange_client_end(x);
    shell_pump(m);
}

static void on_verified(void *ctx, bool good) {
    struct exchange *x = ctx;
    struct manager *m = x->m;
    /* The name was kept in who.user; it may have been deleted while the password was being checked. */
    const struct api_user *u = good ? core_user(m->core, x->who.user) : NULL;
    if (!u) {
        note_refused(x);
        exchange_fail(x, ERR_UNAUTHENTICATED, "the name or the password is wrong");
        return;
    }
    _cleanup_free_ char *key = sign_in_key(x, x->who.user);
    sign_in_give(x, key);
    x->who.role = u->role;
    snprintf(x->who.user_id, sizeof x->who.user_id, "%s", u->id);
    struct api_token t;
    char random[9];
    random_hex(4, random);
    api_token_init(&t);
    str_take(&t.name, xasprintf("session-%.60s-%s", u->id, random));
    str_set(&t.user, u->id);
    t.kind = API_TOKEN_KIND_SESSION;
    issue_new(x, &t, SESSION_S);
    x->on_reply = session_created;
    token_to_core(x, &t, x->who.user);
    api_token_done(&t);
}

void session_create(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_sign_in s;
    struct manager *m = x->m;
    int wait = 1;
    if (api_sign_in_parse(x->json, API_CREATE, &s, &e) < 0) {
        exchange_reply_error(x, &e);
        return;
    }
    _cleanup_free_ char *key = sign_in_key(x, s.name);
    const struct api_user *u = core_user(m->core, s.name);
    /* core_user() takes an id as well, which is no sign-in name. */
    bool exists = u && strcmp(u->name, s.name) == 0;
    str_set(&x->who.user, s.name);
    x->who.known = false;
    if (!sign_in_take(x, key, &wait)) {
        buf_addf(&x->extra, "Retry-After: %d\r\n", wait);
        exchange_fail(x, ERR_RATE, "too many failed sign-ins for this name or from this address; wait %d s", wait);
    } else if (passwords_verify(m->passwords, s.password, exists ? u->password_hash : NULL, on_verified, x) < 0) {
        sign_in_give(x, key); /* nothing was tried */
        buf_adds(&x->extra, "Retry-After: 5\r\n");
        exchange_fail(x, ERR_RATE, "too many sign-ins just now; try again in a few seconds");
    }
    OPENSSL_cleanse(s.password, strlen(s.password));
    api_sign_in_done(&s);
}

void session_show(struct exchange *x) { exchange_reply_json(x, 200, 0, session_json(x, NULL)); }

static void session_deleted(struct exchange *x, int status, int64_t revision, char *text) {
    if (status < 300)
        buf_adds(&x->extra,
                 "Set-Cookie: " SESSION_COOKIE "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict\r\n");
    exchange_reply(x, status, 0, text);
}

void session_delete(struct exchange *x) {
    struct manager *m = x->m;
    x->on_reply = session_deleted;
    shell_time(m);
    exchange_client(x);
    core_token_remove(m->core, x->id, x->who.user, x->who.token_id);
    exchange_client_end(x);
    shell_pump(m);
}

/* ---- API and join tokens ---- */

static void token_created(struct exchange *x, int status, int64_t revision, char *text) {
    struct issue *i = x->ctx;
    json_t *token = reply_body(x, status, text);
    if (!token)
        return;
    json_t *j = json_object();
    buf_addf(&x->extra, "Location: " API_PREFIX "/tokens/%s\r\n", json_str(token, "id"));
    json_object_set_new(j, "token", token);
    json_set_str(j, "secret", i->secret);
    json_set_str(j, "ca_fingerprint", ca_fingerprint(x->m->ca));
    issue_free(i);
    exchange_reply_json(x, 201, revision, j);
}

#define JOIN_LIFETIME_S (24 * 3600)

static void token_create(struct exchange *x, enum api_token_kind kind) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_token t;
    _cleanup_json_ json_t *empty = json_object();
    if (api_token_parse(x->json ? x->json : empty, API_CREATE, &t, &e) < 0) {
        exchange_reply_error(x, &e);
        return;
    }
    t.kind = kind;
    if (kind == API_TOKEN_KIND_API)
        str_set(&t.user, x->who.user_id);
    /* Or whoever has found a token that is about to expire would have one for ever. */
    int64_t expires, now = manager_wall();
    if (kind == API_TOKEN_KIND_API && x->who.by_api_token && time_parse(x->who.expires, &expires) == 0 &&
        t.lifetime > (expires - now) / 1000)
        t.lifetime = expires > now + 1000 ? (expires - now) / 1000 : 1;
    /* A token with which a server joins is meant to be used now; one that lies about for months is a door left open. */
    bool short_lived = kind == API_TOKEN_KIND_JOIN && !json_object_get(x->json, "lifetime");
    issue_new(x, &t, short_lived ? JOIN_LIFETIME_S : t.lifetime);
    x->on_reply = token_created;
    token_to_core(x, &t, x->who.user);
    api_token_done(&t);
}

void session_token_create(struct exchange *x) { token_create(x, API_TOKEN_KIND_API); }
void session_server_token_create(struct exchange *x) { token_create(x, API_TOKEN_KIND_JOIN); }

/* ---- servers ---- */

static void server_joined(struct exchange *x, int status, int64_t revision, char *text) {
    struct issue *i = x->ctx;
    json_t *server = reply_body(x, status, text);
    if (!server)
        return;
    json_t *j = json_object();
    json_set_str(j, "server", json_str(server, "id"));
    json_set_str(j, "certificate", i->certificate);
    json_set_str(j, "ca", ca_certificate(x->m->ca));
    json_decref(server);
    issue_free(i);
    exchange_reply_json(x, 201, 0, j);
}

static int join_check(struct exchange *x, const struct api_join *join, char hash[static 65], struct error *e) {
    struct manager *m = x->m;
    sha256_hex(join->token, strlen(join->token), hash);
    const struct api_token *t = core_token_by_hash(m->core, hash);
    int64_t expires;
    /* Before the signature is made, so that only who has a token can make us work. The core checks again and counts its
     * uses. */
    if (!t || t->kind != API_TOKEN_KIND_JOIN || time_parse(t->expires, &expires) < 0 || expires <= manager_wall())
        return error_set(e, ERR_UNAUTHENTICATED,
                         "the join token is unknown, used up or has expired; make a new one with: "
                         "tarn server token create");
    int64_t theirs;
    char skew[SKEW_TEXT_MAX];
    if (time_parse(join->time, &theirs) == 0 && llabs(theirs - manager_wall()) > CLOCK_REFUSE_MS) {
        const char *peer = x->conn ? conn_peer(x->conn) : "";
        skew_format(theirs - manager_wall(), skew);
        log_warning("server %s at %s may not join: its clock is %s the manager's", join->name, peer, skew);
        return error_set_field(
            e, ERR_INVALID, "time",
            "the server's clock (%s) is %s the manager's: set both right (timedatectl set-ntp true), "
            "then join again; the token still serves",
            join->time, skew);
    }
    switch (str_empty(join->version) ? VERSION_FITS : version_compare(TARN_VERSION, join->version)) {
    case VERSION_FITS:
        return 0;
    case VERSION_PEER_OLDER:
        return error_set(e, ERR_VERSION, "tarn-agent %s is too old for this manager (%s); upgrade tarn-agent",
                         join->version, TARN_VERSION);
    case VERSION_PEER_NEWER:
        return error_set(e, ERR_VERSION, "tarn-agent %s is too new for this manager (%s); upgrade tarn-manager first",
                         join->version, TARN_VERSION);
    default:
        return error_set_field(e, ERR_INVALID, "version", "must be MAJOR.MINOR");
    }
}

void session_server_join(struct exchange *x) {
    _cleanup_error_ struct error e = ERROR_INIT;
    struct api_join join;
    struct manager *m = x->m;
    char hash[65], fingerprint[65];
    int wait = 1;
    if (api_join_parse(x->json, API_CREATE, &join, &e) < 0) {
        exchange_reply_error(x, &e);
        return;
    }
    _cleanup_free_ char *key = xasprintf("%s|join", client_key(x));
    struct issue *i = xcalloc(1, sizeof *i);
    int r = limiter_peek(m->sign_ins, key, manager_now(m), &wait)
                ? join_check(x, &join, hash, &e)
                : error_set(&e, ERR_RATE, "too many failed joins from this address; wait %d s", wait);
    if (r < 0 && e.code == ERR_UNAUTHENTICATED)
        limiter_take(m->sign_ins, key, manager_now(m), NULL);
    if (r == 0)
        r = ca_sign(m->ca, join.csr, join.name, &i->certificate, fingerprint, &e);
    if (r < 0) {
        issue_free(i);
        exchange_reply_error(x, &e);
    } else {
        x->ctx = i;
        x->on_reply = server_joined;
        shell_time(m);
        exchange_client(x);
        core_server_join(m->core, x->id, hash, join.name, join.version, fingerprint);
        exchange_client_end(x);
        shell_pump(m);
    }
    api_join_done(&join);
}
