/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trust.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/x509.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_S 10L
#define PEM_MAX   (1024 * 1024)

static X509 *pem_read(const char *pem) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x;
}

/* A certificate that signs itself and may sign others. */
static bool is_ca(const char *pem) {
    X509 *x = pem_read(pem);
    bool ca = x && X509_check_issued(x, x) == X509_V_OK && X509_check_ca(x) > 0;
    X509_free(x);
    return ca;
}

static CURL *tls_only(const char *base) {
    CURL *c = curl_easy_init();
    if (!c)
        abort();
    curl_easy_setopt(c, CURLOPT_URL, base);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, TIMEOUT_S);
    return c;
}

static char *ca_of(const struct curl_certinfo *info) {
    for (int i = info ? info->num_of_certs : 0; i-- > 0;)
        for (const struct curl_slist *l = info->certinfo[i]; l; l = l->next)
            if (strncmp(l->data, "Cert:", 5) == 0 && is_ca(l->data + 5))
                return xstrdup(l->data + 5);
    return NULL;
}

int trust_fetch_ca(const char *base, char **ret_pem, struct error *e) {
    char detail[CURL_ERROR_SIZE] = "";
    CURL *c = tls_only(base);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L); /* this connection only looks; nothing is sent over it */
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(c, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    CURLcode code = curl_easy_perform(c);
    int r = 0;
    if (code != CURLE_OK) {
        r = error_set(e, ERR_UNAVAILABLE, "cannot reach a manager at %s: %s", base,
                      *detail ? detail : curl_easy_strerror(code));
    } else {
        struct curl_certinfo *info = NULL;
        curl_easy_getinfo(c, CURLINFO_CERTINFO, &info);
        char *pem = ca_of(info);
        if (pem)
            *ret_pem = pem;
        else
            r = error_set(
                e, ERR_UNAVAILABLE,
                "%s does not present its CA certificate: copy ca.pem from the manager and give it with --ca FILE",
                base);
    }
    curl_easy_cleanup(c);
    return r;
}

bool trust_verifies(const char *base, const char *ca_path) {
    CURL *c = tls_only(base);
    curl_easy_setopt(c, CURLOPT_CAINFO, ca_path);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    CURLcode code = curl_easy_perform(c);
    curl_easy_cleanup(c);
    return code == CURLE_OK;
}

const char *trust_system_ca(void) { return curl_version_info(CURLVERSION_NOW)->cainfo; }

int trust_read_ca(const char *path, char **ret_pem, struct error *e) {
    _cleanup_free_ char *text = NULL;
    size_t len;
    int r = read_file_at(AT_FDCWD, path, PEM_MAX, &text, &len);
    if (r < 0)
        return error_set(e, ERR_INVALID, "cannot read the CA certificate %s: %s", path, strerror(-r));
    X509 *x = pem_read(text);
    if (!x)
        return error_set(e, ERR_INVALID, "%s is not a certificate in PEM form", path);
    X509_free(x);
    *ret_pem = TAKE_PTR(text);
    return 0;
}

int trust_fingerprint(const char *pem, char ret[static 65], struct error *e) { return x509_fingerprint(pem, ret, e); }

bool trust_fingerprint_is(const char *fingerprint, const char *given) {
    if (strncasecmp(given, "sha256:", 7) == 0)
        given += 7;
    for (; *given; given++) {
        if (*given == ':' || *given == ' ')
            continue;
        if (!*fingerprint || tolower((unsigned char)*given) != *fingerprint)
            return false;
        fingerprint++;
    }
    return !*fingerprint;
}

char *trust_fingerprint_show(const char *fingerprint) {
    struct buf b = {0};
    for (size_t i = 0; fingerprint[i]; i++) {
        if (i && i % 2 == 0)
            buf_addc(&b, ':');
        buf_addc(&b, (char)toupper((unsigned char)fingerprint[i]));
    }
    return buf_take(&b);
}
