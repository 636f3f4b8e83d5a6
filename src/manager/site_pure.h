/* SPDX-License-Identifier: Apache-2.0 */
/* What a browser asks of a file: which coding, which version. Pure; fuzz/headers_fuzz.c feeds it anything. */
#pragma once

#include <stdbool.h>

/* Whether an Accept-Encoding header takes the coding ("br"): named, or by *, and not with q=0. */
bool coding_accepted(const char *accept_encoding, const char *coding);
/* Whether If-None-Match names the entity tag, which has its quotes; weak ones compare equal, and * is any. */
bool etag_listed(const char *if_none_match, const char *etag);
/* Content-Type by the name's ending. */
const char *media_type(const char *path);
/* A path of the console's own router rather than a file: no dot in its last part, not below /api, /agent or /assets. */
bool path_is_route(const char *path);
/* A host name that stands for this machine only, with or without a port. */
bool host_is_local(const char *host);
