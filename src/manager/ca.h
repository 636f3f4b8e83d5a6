/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's own certificate authority, in the state directory: ca.key (0600), ca.pem, and the certificate that the
 * manager shows, server.key (0600) and server.pem (with ca.pem behind it, so that a client can pin the authority).
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define CA_CLIENT_DAYS 3650 /* that a server's certificate is valid, from when it joined */

struct ca;

/* Makes what is missing; renews the server's certificate when it ends within 30 days or lacks one of the names. */
int ca_open(const char *state_dir, const char *const *names, size_t n_names, struct ca **ret, struct error *e);
void ca_free(struct ca *ca);
/* Again, while running: *ret_renewed tells whether there is a new one. */
int ca_renew(struct ca *ca, bool *ret_renewed, struct error *e);

const char *ca_certificate(const struct ca *ca); /* PEM */
const char *ca_fingerprint(const struct ca *ca); /* SHA-256 of its DER */
const char *ca_certificate_path(const struct ca *ca);
const char *ca_server_chain(const struct ca *ca); /* PEM */
const char *ca_server_key(const struct ca *ca);
const char *ca_server_chain_path(const struct ca *ca);
const char *ca_server_key_path(const struct ca *ca);
/* A client certificate for a server; fingerprint: of the new certificate. */
int ca_sign(struct ca *ca, const char *csr_pem, const char *common_name, char **ret_cert_pem,
            char ret_fingerprint[static 65], struct error *e);
