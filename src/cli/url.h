/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of managers and paths of the API. Pure. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

#define URL_DEFAULT_PORT 8443

struct url {
    char *host; /* without brackets */
    int port;
    char *base; /* https://HOST:PORT, brackets where they are needed, no slash at the end */
};

/* "https://host:port", "host:port", "host", "[::1]:8443"; nothing else may stand in it: no user, path, query or http:.
 */
int url_parse(const char *text, struct url *ret, struct error *e);
void url_done(struct url *u);
#define _cleanup_url_ __attribute__((cleanup(url_done)))
bool url_is_loopback(const struct url *u);

/* Appends text percent-encoded as one path segment or query value (RFC 3986 unreserved characters stay). */
void url_encode(struct buf *out, const char *text);
/* "/vms/{vm}/start" with its parameters replaced in order by the encoded args; stops the program's mistakes with
 * abort(). */
char *url_path(const char *pattern, const char *const *args, size_t n_args);
/* Appends ?name=value or &name=value. */
void url_query(struct buf *path, const char *name, const char *value);
