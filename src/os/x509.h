/* SPDX-License-Identifier: Apache-2.0 */
/* The platform's own certificates on OpenSSL: ECDSA P-256, SHA-256. PEM in and out; strings are the caller's to free.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

int x509_make_ca(const char *common_name, int64_t days, char **ret_key_pem, char **ret_cert_pem, struct error *e);
/* A server certificate for the manager; names: host names and IP addresses, NULL-terminated. */
int x509_make_server(const char *ca_key_pem, const char *ca_cert_pem, const char *const *names, int64_t days,
                     char **ret_key_pem, char **ret_cert_pem, struct error *e);
/* A key and a PKCS#10 request, on the machine that joins. */
int x509_make_request(const char *common_name, char **ret_key_pem, char **ret_csr_pem, struct error *e);
/* Verifies the request's own signature and issues a client certificate for common_name whatever name the request says.
 */
int x509_sign_client(const char *ca_key_pem, const char *ca_cert_pem, const char *csr_pem, const char *common_name,
                     int64_t days, char **ret_cert_pem, struct error *e);
/* SHA-256 of the DER, lower-case hex. */
int x509_fingerprint(const char *cert_pem, char ret[static 65], struct error *e);
/* Seconds until it ends; negative if it has. */
int x509_remaining(const char *cert_pem, int64_t *ret_seconds, struct error *e);
void sha256_hex(const void *data, size_t len, char ret[static 65]);
/* n random bytes as 2n hex digits, from getrandom(2). */
void random_hex(size_t n, char *ret);
