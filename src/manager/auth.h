/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: the Authorization header or the session cookie, looked up in the core's tokens. */
#pragma once

#include "manager/http.h"

/* The prefix: browsers take it only from this very host, not from a neighbour in its domain. */
#define SESSION_COOKIE "__Host-tarn_session"
#define SECRET_BYTES   32
#define SECRET_TEXT    (SECRET_BYTES * 2 + 1)

/* Fills x->who. No credentials: 0 and x->who.known is false. Bad or expired ones: an error. */
int auth_identify(struct exchange *x, struct error *e);
/* A page of another site may not sign its visitor in as somebody of its choice: 0 or an error. */
int auth_check_origin(struct exchange *x, struct error *e);
/* What a change made with a cookie must show besides it, so that no other site can make it: 0 or an error. */
int auth_check_csrf(struct exchange *x, struct error *e);
/* For connections that stay, whose user may have been given another role since. */
enum auth_change {
    AUTH_GOOD,
    AUTH_ENDED,  /* the token may not be used any more */
    AUTH_DENIED, /* its user may not do that any more */
};
/* Whether the token of that hash may still be used for op; ret_role (may be NULL) is filled unless it has ended. */
enum auth_change auth_still_valid(struct manager *m, const char *hash, enum api_op_id op, enum api_role *ret_role);
/* X-Tarn-CSRF of a session: HMAC-SHA-256 keyed with its secret, in hex. */
void auth_csrf(const char *secret, char ret[static 65]);
