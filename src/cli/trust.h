/* SPDX-License-Identifier: Apache-2.0 */
/* Which CA to trust at the first contact with a manager; afterwards every connection is verified against it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* The CA certificate that ends the chain which the server at base presents (nothing is sent to it), as PEM; malloc'd.
 */
int trust_fetch_ca(const char *base, char **ret_pem, struct error *e);
/* Whether the server at base passes full verification against this CA file. */
bool trust_verifies(const char *base, const char *ca_path);
/* The distribution's bundle of public CAs, or NULL. */
const char *trust_system_ca(void);
/* Reads a PEM file and demands that it holds a certificate. */
int trust_read_ca(const char *path, char **ret_pem, struct error *e);
/* SHA-256 of the certificate, lower-case hex. */
int trust_fingerprint(const char *pem, char ret[static 65], struct error *e);
/* Compares with what a person gives: any case, with or without colons or spaces or "SHA256:". */
bool trust_fingerprint_is(const char *fingerprint, const char *given);
/* "AB:CD:…" in groups that people can compare; malloc'd. */
char *trust_fingerprint_show(const char *fingerprint);
