/* SPDX-License-Identifier: Apache-2.0 */
/* Small texts that clients send, taken apart. Pure; each has a fuzz target in fuzz/. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 1 to 18 digits and nothing else (a repeated header arrives joined and is therefore refused). 0 or -EINVAL. */
int decimal_parse(const char *s, int64_t *ret);
/* The value of the cookie with this name, if it is 1 to size - 1 bytes of [A-Za-z0-9_.-]. */
bool cookie_find(const char *header, const char *name, char *ret, size_t size);
/* The token of "Bearer TOKEN", of the same characters. */
bool bearer_find(const char *authorization, char *ret, size_t size);
/*
 * Whom an address counts as: itself, but of IPv6 its network of 64 bits, for any customer of a provider has so many
 * addresses of their own. Those of one link alone count singly.
 */
void client_of(const char *address, char ret[static INET6_ADDRSTRLEN]);
/* Whether an Origin header names the host of a Host header, over https. */
bool origin_matches(const char *origin, const char *host);
/* If-Match: "REVISION" (the quotes may be missing) gives 0 and the digits; * gives 1; else -EINVAL. */
int if_match_parse(const char *s, char ret[static 24]);
/* ADDR:PORT, [ADDR6]:PORT, :PORT or PORT. 0 or -EINVAL. */
int listen_parse(const char *s, char host[static 64], int *ret_port);

enum version_fit { VERSION_FITS, VERSION_PEER_OLDER, VERSION_PEER_NEWER, VERSION_MALFORMED };
/* MAJOR.MINOR[.anything]: equal majors, minors at most one apart. */
enum version_fit version_compare(const char *ours, const char *theirs);
/* Whether a comma-separated list names the word. */
bool list_has(const char *list, const char *word);
/* A decoded path as api_route() takes it: its '%' encoded again. The caller's. */
char *path_encode(const char *path);
