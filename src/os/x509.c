/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform's own certificates. The authority signs two kinds: servers (serverAuth, with the names that clients
 * dial) and agents (clientAuth, the server's id as common name). Serials are 128 random bits, so no counter has to be
 * kept; validity begins an hour ago, because clocks of machines that just joined are often a little behind.
 */
#include "os/x509.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/random.h>
#include <time.h>

#define BACKDATE_S    86400 /* a clock that is behind finds the certificate valid, and is told of otherwise */
#define PEM_MAX_BYTES (64 * 1024)
#define NAME_MAX_LEN  64 /* ub-common-name of X.520 */
#define SAN_MAX       100

#define DEFINE_UNREF(type, name, fn)                                                                                   \
    static void name(type **p) {                                                                                       \
        if (*p)                                                                                                        \
            fn(*p);                                                                                                    \
    }
DEFINE_UNREF(EVP_PKEY, pkey_unref, EVP_PKEY_free)
DEFINE_UNREF(X509, cert_unref, X509_free)
DEFINE_UNREF(X509_REQ, req_unref, X509_REQ_free)
DEFINE_UNREF(BIO, bio_unref, BIO_free_all)
DEFINE_UNREF(BIGNUM, bn_unref, BN_free)
DEFINE_UNREF(GENERAL_NAMES, names_unref, GENERAL_NAMES_free)

/* OpenSSL's own reason goes into the message, its queue is emptied: the next error must not show this one. */
static int fault(struct error *e, const char *what) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    error_set(e, ERR_INTERNAL, "%s: %s", what, reason ? reason : "OpenSSL gave no reason");
    ERR_clear_error();
    return -EIO;
}

/* The passphrase callback of a key that has none: never asks on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *u) { return -1; }

/* ---- PEM ---- */

static BIO *pem_open(const char *pem, const char *what, struct error *e) {
    size_t len = pem ? strnlen(pem, PEM_MAX_BYTES + 1) : 0;
    if (len == 0 || len > PEM_MAX_BYTES) {
        error_set(e, ERR_INVALID, "%s is %s", what, len ? "longer than 64 KiB" : "empty");
        return NULL;
    }
    return BIO_new_mem_buf(pem, (int)len);
}

static int cert_parse(const char *pem, X509 **ret, struct error *e) {
    _cleanup_(bio_unref) BIO *bio = pem_open(pem, "the certificate", e);
    if (!bio)
        return -EINVAL;
    X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (!cert)
        return error_set(e, ERR_INVALID, "this is not a certificate in PEM form");
    *ret = cert;
    return 0;
}

static int key_parse(const char *pem, EVP_PKEY **ret, struct error *e) {
    _cleanup_(bio_unref) BIO *bio = pem_open(pem, "the key", e);
    if (!bio)
        return -EINVAL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (!key)
        return error_set(e, ERR_INVALID, "this is not a private key in PEM form without a passphrase");
    *ret = key;
    return 0;
}

static int req_parse(const char *pem, X509_REQ **ret, struct error *e) {
    _cleanup_(bio_unref) BIO *bio = pem_open(pem, "the certificate request", e);
    if (!bio)
        return -EINVAL;
    X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (!req)
        return error_set(e, ERR_INVALID, "this is not a certificate request (PKCS#10) in PEM form");
    *ret = req;
    return 0;
}

static char *bio_text(BIO *bio) {
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return xstrndup(data, (size_t)len);
}

static char *key_text(EVP_PKEY *key) {
    _cleanup_(bio_unref) BIO *bio = BIO_new(BIO_s_mem());
    return bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) ? bio_text(bio) : NULL;
}

static char *cert_text(X509 *cert) {
    _cleanup_(bio_unref) BIO *bio = BIO_new(BIO_s_mem());
    return bio && PEM_write_bio_X509(bio, cert) ? bio_text(bio) : NULL;
}

static char *req_text(X509_REQ *req) {
    _cleanup_(bio_unref) BIO *bio = BIO_new(BIO_s_mem());
    return bio && PEM_write_bio_X509_REQ(bio, req) ? bio_text(bio) : NULL;
}

/* ---- certificates ---- */

static X509_NAME *name_make(const char *common_name, struct error *e) {
    if (str_empty(common_name) || strlen(common_name) > NAME_MAX_LEN) {
        error_set(e, ERR_INVALID, "a certificate's name must have 1 to %d bytes", NAME_MAX_LEN);
        return NULL;
    }
    X509_NAME *name = X509_NAME_new();
    if (name && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0))
        return name;
    X509_NAME_free(name);
    fault(e, "making the certificate's name");
    return NULL;
}

static int set_serial(X509 *cert) {
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return 0;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and always 16 bytes long */
    _cleanup_(bn_unref) BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    return n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

/* Version, serial, name, validity and public key; not signed yet. */
static int cert_begin(const char *common_name, int64_t days, EVP_PKEY *key, X509 **ret, struct error *e) {
    X509_NAME *name = name_make(common_name, e);
    if (!name)
        return -EINVAL;
    _cleanup_(cert_unref) X509 *cert = X509_new();
    int ok = cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && X509_set_subject_name(cert, name) &&
             X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) &&
             X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL) && X509_set_pubkey(cert, key);
    X509_NAME_free(name);
    if (!ok)
        return fault(e, "making a certificate");
    *ret = TAKE_PTR(cert);
    return 0;
}

static int key_make(EVP_PKEY **ret, struct error *e) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (!key)
        return fault(e, "making a key");
    *ret = key;
    return 0;
}

int x509_make_ca(const char *common_name, int64_t days, char **ret_key_pem, char **ret_cert_pem, struct error *e) {
    _cleanup_(pkey_unref) EVP_PKEY *key = NULL;
    _cleanup_(cert_unref) X509 *cert = NULL;
    int r = key_make(&key, e);
    if (r == 0)
        r = cert_begin(common_name, days, key, &cert, e);
    if (r < 0)
        return r;
    _cleanup_free_ char *key_pem = NULL, *cert_pem = NULL;
    if (X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(cert, cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256())) {
        key_pem = key_text(key);
        cert_pem = cert_text(cert);
    }
    if (!key_pem || !cert_pem)
        return fault(e, "making the certificate authority");
    *ret_key_pem = TAKE_PTR(key_pem);
    *ret_cert_pem = TAKE_PTR(cert_pem);
    return 0;
}

struct authority {
    EVP_PKEY *key;
    X509 *cert;
};

static void authority_done(struct authority *a) {
    EVP_PKEY_free(a->key);
    X509_free(a->cert);
}

static int authority_parse(struct authority *a, const char *key_pem, const char *cert_pem, struct error *e) {
    int r = key_parse(key_pem, &a->key, e);
    if (r == 0)
        r = cert_parse(cert_pem, &a->cert, e);
    if (r < 0)
        return r;
    if (X509_check_private_key(a->cert, a->key) != 1) {
        ERR_clear_error();
        return error_set(e, ERR_INVALID,
                         "the authority's key does not belong to its certificate; restore both from the "
                         "same backup");
    }
    if (X509_check_ca(a->cert) != 1)
        return error_set(e, ERR_INVALID, "this certificate is no certificate authority's");
    return 0;
}

/* What is common to all that the authority issues; usage is the extended key usage. */
static int cert_issue(const struct authority *a, X509 *cert, const char *usage, struct error *e) {
    if (X509_set_issuer_name(cert, X509_get_subject_name(a->cert)) &&
        add_extension(cert, a->cert, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(cert, a->cert, NID_key_usage, "critical,digitalSignature") &&
        add_extension(cert, a->cert, NID_ext_key_usage, usage) &&
        add_extension(cert, a->cert, NID_subject_key_identifier, "hash") &&
        add_extension(cert, a->cert, NID_authority_key_identifier, "keyid") && X509_sign(cert, a->key, EVP_sha256()))
        return 0;
    return fault(e, "signing a certificate");
}

static GENERAL_NAME *general_name(const char *name) {
    unsigned char address[16];
    int family = inet_pton(AF_INET, name, address) == 1    ? AF_INET
                 : inet_pton(AF_INET6, name, address) == 1 ? AF_INET6
                                                           : 0;
    GENERAL_NAME *general = GENERAL_NAME_new();
    ASN1_STRING *value = family ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    int ok = general && value &&
             (family ? ASN1_STRING_set(value, address, family == AF_INET ? 4 : 16) : ASN1_STRING_set(value, name, -1));
    if (!ok) {
        GENERAL_NAME_free(general);
        ASN1_STRING_free(value);
        return NULL;
    }
    GENERAL_NAME_set0_value(general, family ? GEN_IPADD : GEN_DNS, value);
    return general;
}

/* A host name as it can stand in a certificate: RFC 1123, with one wildcard label in front at most. */
static bool host_name_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > 253 ||
        strspn(name, "*.-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != len)
        return false;
    return !strchr(name + 1, '*') && (name[0] != '*' || name[1] == '.') && name[0] != '.';
}

static int add_names(X509 *cert, const char *const *names, struct error *e) {
    _cleanup_(names_unref) GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    for (size_t i = 0; all && names[i]; i++) {
        unsigned char address[16];
        if (i >= SAN_MAX)
            return error_set(e, ERR_INVALID, "a certificate can have %d names at most", SAN_MAX);
        if (inet_pton(AF_INET6, names[i], address) != 1 && !host_name_valid(names[i]))
            return error_set(e, ERR_INVALID, "\"%s\" is neither a host name nor an IP address", names[i]);
        GENERAL_NAME *general = general_name(names[i]);
        if (!general || !sk_GENERAL_NAME_push(all, general)) {
            GENERAL_NAME_free(general);
            return fault(e, "making the certificate's names");
        }
    }
    if (!all || !X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, 0))
        return fault(e, "making the certificate's names");
    return 0;
}

int x509_make_server(const char *ca_key_pem, const char *ca_cert_pem, const char *const *names, int64_t days,
                     char **ret_key_pem, char **ret_cert_pem, struct error *e) {
    if (!names || !names[0])
        return error_set(e, ERR_INVALID, "a server certificate needs at least one name");
    _cleanup_(authority_done) struct authority a = {0};
    _cleanup_(pkey_unref) EVP_PKEY *key = NULL;
    _cleanup_(cert_unref) X509 *cert = NULL;
    int r = authority_parse(&a, ca_key_pem, ca_cert_pem, e);
    if (r == 0)
        r = key_make(&key, e);
    if (r == 0) /* clients read the alternative names; the common name is for people, and short */
        r = cert_begin(strlen(names[0]) <= NAME_MAX_LEN ? names[0] : "tarn-manager", days, key, &cert, e);
    if (r == 0)
        r = add_names(cert, names, e);
    if (r == 0)
        r = cert_issue(&a, cert, "serverAuth", e);
    if (r < 0)
        return r;
    _cleanup_free_ char *key_pem = key_text(key), *cert_pem = cert_text(cert);
    if (!key_pem || !cert_pem)
        return fault(e, "writing a certificate");
    *ret_key_pem = TAKE_PTR(key_pem);
    *ret_cert_pem = TAKE_PTR(cert_pem);
    return 0;
}

int x509_make_request(const char *common_name, char **ret_key_pem, char **ret_csr_pem, struct error *e) {
    _cleanup_(pkey_unref) EVP_PKEY *key = NULL;
    int r = key_make(&key, e);
    if (r < 0)
        return r;
    X509_NAME *name = name_make(common_name, e);
    if (!name)
        return -EINVAL;
    _cleanup_(req_unref) X509_REQ *req = X509_REQ_new();
    int ok = req && X509_REQ_set_version(req, X509_REQ_VERSION_1) && X509_REQ_set_subject_name(req, name) &&
             X509_REQ_set_pubkey(req, key) && X509_REQ_sign(req, key, EVP_sha256());
    X509_NAME_free(name);
    _cleanup_free_ char *key_pem = ok ? key_text(key) : NULL, *csr_pem = ok ? req_text(req) : NULL;
    if (!key_pem || !csr_pem)
        return fault(e, "making a certificate request");
    *ret_key_pem = TAKE_PTR(key_pem);
    *ret_csr_pem = TAKE_PTR(csr_pem);
    return 0;
}

/* Keys that we are willing to vouch for. */
static bool key_acceptable(EVP_PKEY *key) {
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 8192;
    char group[64];
    if (!EVP_PKEY_is_a(key, "EC") || !EVP_PKEY_get_group_name(key, group, sizeof group, NULL))
        return false;
    return str_eq(group, "prime256v1") || str_eq(group, "P-256") || str_eq(group, "secp384r1") ||
           str_eq(group, "P-384");
}

int x509_sign_client(const char *ca_key_pem, const char *ca_cert_pem, const char *csr_pem, const char *common_name,
                     int64_t days, char **ret_cert_pem, struct error *e) {
    _cleanup_(authority_done) struct authority a = {0};
    _cleanup_(req_unref) X509_REQ *req = NULL;
    _cleanup_(cert_unref) X509 *cert = NULL;
    int r = req_parse(csr_pem, &req, e);
    if (r < 0)
        return r;
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    if (!key || !key_acceptable(key)) {
        ERR_clear_error();
        return error_set(e, ERR_INVALID, "the request's key must be EC P-256 or P-384, or RSA with 2048 bits or more");
    }
    if (X509_REQ_verify(req, key) != 1) {
        ERR_clear_error();
        return error_set(e, ERR_INVALID, "the request is not signed with its own key");
    }
    r = authority_parse(&a, ca_key_pem, ca_cert_pem, e);
    if (r == 0)
        r = cert_begin(common_name, days, key, &cert, e);
    if (r == 0)
        r = cert_issue(&a, cert, "clientAuth", e);
    if (r < 0)
        return r;
    char *pem = cert_text(cert);
    if (!pem)
        return fault(e, "writing a certificate");
    *ret_cert_pem = pem;
    return 0;
}

/* ---- questions ---- */

static void hex(const unsigned char *bytes, size_t n, char *ret) {
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    ret[2 * n] = 0;
}

int x509_fingerprint(const char *cert_pem, char ret[static 65], struct error *e) {
    _cleanup_(cert_unref) X509 *cert = NULL;
    int r = cert_parse(cert_pem, &cert, e);
    if (r < 0)
        return r;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!X509_digest(cert, EVP_sha256(), digest, &n) || n != 32)
        return fault(e, "making a fingerprint");
    hex(digest, 32, ret);
    return 0;
}

int x509_remaining(const char *cert_pem, int64_t *ret_seconds, struct error *e) {
    _cleanup_(cert_unref) X509 *cert = NULL;
    int r = cert_parse(cert_pem, &cert, e);
    if (r < 0)
        return r;
    int days, seconds;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)))
        return fault(e, "reading a certificate's end");
    *ret_seconds = (int64_t)days * 86400 + seconds;
    return 0;
}

void sha256_hex(const void *data, size_t len, char ret[static 65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL))
        abort();
    hex(digest, 32, ret);
}

void random_hex(size_t n, char *ret) {
    unsigned char bytes[64];
    *ret = 0;
    while (n > 0) {
        size_t part = n < sizeof bytes ? n : sizeof bytes;
        /* Up to 256 bytes come whole (getrandom(2)); without randomness no secret can be made. */
        if (getrandom(bytes, part, 0) != (ssize_t)part)
            abort();
        hex(bytes, part, ret);
        ret += 2 * part;
        n -= part;
    }
    explicit_bzero(bytes, sizeof bytes);
}
