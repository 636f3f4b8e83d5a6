/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a joining server sends to be signed, and as a certificate. */
#include "fuzz.h"

#include "base/mem.h"
#include "os/x509.h"

static char *ca_key, *ca_cert;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_error_ struct error e = ERROR_INIT;
    if (!ca_key && x509_make_ca("fuzz", 10, &ca_key, &ca_cert, &e) < 0)
        abort();
    _cleanup_free_ char *text = xstrndup((const char *)data, size), *cert = NULL;
    char fingerprint[65];
    int64_t left;
    if (x509_sign_client(ca_key, ca_cert, text, "server", 10, &cert, &e) == 0) {
        if (x509_fingerprint(cert, fingerprint, &e) < 0 || x509_remaining(cert, &left, &e) < 0 || left <= 0)
            abort();
    } else if (!e.message) {
        abort();
    }
    if (x509_fingerprint(text, fingerprint, &e) == 0)
        x509_remaining(text, &left, &e);
    const char *const names[] = {text, NULL};
    _cleanup_free_ char *key = NULL, *server = NULL;
    if (size < 80)
        x509_make_server(ca_key, ca_cert, names, 1, &key, &server, &e);
    return 0;
}
