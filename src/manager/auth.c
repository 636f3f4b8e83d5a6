/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/auth.h"

#include "base/units.h"
#include "manager/parse.h"
#include "os/x509.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

void auth_csrf(const char *secret, char ret[static 65]) {
    static const char purpose[] = "tarn csrf";
    unsigned char mac[32];
    unsigned int len = sizeof mac;
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)purpose, sizeof purpose - 1, mac, &len);
    for (size_t i = 0; i < sizeof mac; i++)
        snprintf(ret + 2 * i, 3, "%02x", mac[i]);
}

static int token_check(struct manager *m, const struct api_token *t, struct error *e) {
    int64_t expires;
    if (!t || t->kind == API_TOKEN_KIND_JOIN)
        return error_set(e, ERR_UNAUTHENTICATED,
                         "this token is not known; it has been revoked or has expired: sign in again");
    if (time_parse(t->expires, &expires) < 0 || expires <= manager_wall())
        return error_set(e, ERR_UNAUTHENTICATED, "the %s expired at %s: sign in again",
                         t->kind == API_TOKEN_KIND_SESSION ? "session" : "token", t->expires);
    return 0;
}

int auth_identify(struct exchange *x, struct error *e) {
    char buf[1024], cookies[HTTP_HEAD_MAX], secret[SECRET_TEXT], hash[65];
    struct manager *m = x->m;
    bool by_cookie = false;
    conn_header(x->conn, "authorization:", buf, sizeof buf);
    if (*buf) {
        if (!bearer_find(buf, secret, sizeof secret))
            return error_set(e, ERR_UNAUTHENTICATED, "Authorization must be: Bearer TOKEN");
    } else {
        conn_header(x->conn, "cookie:", cookies, sizeof cookies);
        by_cookie = cookie_find(cookies, SESSION_COOKIE, secret, sizeof secret);
        if (!by_cookie)
            return 0;
    }
    sha256_hex(secret, strlen(secret), hash);
    const struct api_token *t = core_token_by_hash(m->core, hash);
    int r = token_check(m, t, e);
    const struct api_user *u = r == 0 ? core_user(m->core, t->user) : NULL;
    if (r == 0 && !u)
        r = error_set(e, ERR_UNAUTHENTICATED, "the user of this token has been deleted");
    if (r == 0) {
        struct identity *who = &x->who;
        who->known = true;
        who->by_cookie = by_cookie;
        who->by_api_token = t->kind == API_TOKEN_KIND_API;
        who->role = u->role;
        memcpy(who->hash, hash, sizeof who->hash);
        snprintf(who->user_id, sizeof who->user_id, "%s", u->id);
        snprintf(who->token_id, sizeof who->token_id, "%s", t->id);
        str_set(&who->user, u->name);
        str_set(&who->expires, t->expires);
        if (by_cookie)
            auth_csrf(secret, who->csrf);
    }
    OPENSSL_cleanse(buf, sizeof buf);
    OPENSSL_cleanse(cookies, sizeof cookies);
    OPENSSL_cleanse(secret, sizeof secret);
    return r;
}

enum auth_change auth_still_valid(struct manager *m, const char *hash, enum api_op_id op, enum api_role *ret_role) {
    const struct api_token *t = core_token_by_hash(m->core, hash);
    const struct api_user *u = token_check(m, t, NULL) == 0 ? core_user(m->core, t->user) : NULL;
    if (!u)
        return AUTH_ENDED;
    if (ret_role)
        *ret_role = u->role;
    return api_ops[op].roles & 1u << u->role ? AUTH_GOOD : AUTH_DENIED;
}

int auth_check_origin(struct exchange *x, struct error *e) {
    char origin[512], host[512];
    if (!conn_header(x->conn, "origin:", origin, sizeof origin)[0] ||
        origin_matches(origin, conn_header(x->conn, "host:", host, sizeof host)))
        return 0;
    return error_set(e, ERR_FORBIDDEN, "a page of another site (%.100s) may not use this manager", origin);
}

int auth_check_csrf(struct exchange *x, struct error *e) {
    char given[128];
    if (!x->who.by_cookie)
        return 0;
    int r = auth_check_origin(x, e);
    if (r < 0)
        return r;
    conn_header(x->conn, "x-tarn-csrf:", given, sizeof given);
    if (strlen(given) != 64 || CRYPTO_memcmp(given, x->who.csrf, 64) != 0)
        return error_set(e, ERR_FORBIDDEN,
                         "a change made with the session cookie needs the header X-Tarn-CSRF, whose value "
                         "GET /sessions/current shows");
    return 0;
}
