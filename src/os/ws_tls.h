/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of wsclient.c: one SSL_CTX for each set of files, made anew when they change. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

struct ws_identity; /* a CA, and perhaps a client certificate and its key */

struct ws_identity *ws_identity_new(const char *ca_path, const char *certificate_path, const char *key_path);
void ws_identity_free(struct ws_identity *id);
bool ws_identity_matches(const struct ws_identity *id, const char *ca_path, const char *certificate_path,
                         const char *key_path);
/* Reads files that have changed since the last time. 0, or negative errno with what to do in *ret_problem (owned). */
int ws_identity_refresh(struct ws_identity *id, char **ret_problem);
SSL_CTX *ws_identity_ssl(struct ws_identity *id);
/* NULL if the certificate is for this host name or IP address; else what is wrong (owned). */
char *ws_certificate_problem(X509 *certificate, const char *host);
