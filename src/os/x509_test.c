/* SPDX-License-Identifier: Apache-2.0 */
#include "os/x509.h"

#include "base/mem.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char *ca_key, *ca_cert;

static int make_ca(void **state) {
    struct error e = ERROR_INIT;
    return x509_make_ca("Tarn test", 3650, &ca_key, &ca_cert, &e);
}

static int free_ca(void **state) {
    free(ca_key);
    free(ca_cert);
    return 0;
}

static X509 *parse(const char *pem) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

/* What a TLS peer does: the chain, and the purpose. */
static bool verifies(const char *pem, const char *ca_pem, int purpose) {
    X509 *cert = parse(pem), *ca = parse(ca_pem);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_CTX_init(ctx, store, cert, NULL);
    X509_STORE_CTX_set_purpose(ctx, purpose);
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
    bool ok = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(cert);
    X509_free(ca);
    return ok;
}

static void test_server(void **state) {
    struct error e = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *cert = NULL, *key2 = NULL, *cert2 = NULL;
    const char *const names[] = {"localhost", "*.example.org", "127.0.0.1", "::1", NULL};
    assert_int_equal(x509_make_server(ca_key, ca_cert, names, 365, &key, &cert, &e), 0);
    assert_true(verifies(cert, ca_cert, X509_PURPOSE_SSL_SERVER));
    assert_false(verifies(cert, ca_cert, X509_PURPOSE_SSL_CLIENT));
    X509 *c = parse(cert);
    assert_int_equal(X509_check_host(c, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "a.example.org", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(c, "example.com", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(c, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(c, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(c, "127.0.0.2", 0), 0);
    assert_int_equal(X509_get0_serialNumber(c)->length, 16);
    X509_free(c);
    int64_t left;
    assert_int_equal(x509_remaining(cert, &left, &e), 0);
    assert_true(left > 364 * 86400 && left <= 365 * 86400);
    char a[65], b[65];
    assert_int_equal(x509_make_server(ca_key, ca_cert, names, -1, &key2, &cert2, &e), 0);
    assert_int_equal(x509_remaining(cert2, &left, &e), 0);
    assert_true(left < 0);
    assert_int_equal(x509_fingerprint(cert, a, &e), 0);
    assert_int_equal(x509_fingerprint(cert2, b, &e), 0);
    assert_int_equal(strlen(a), 64);
    assert_string_not_equal(a, b);
}

static void test_client(void **state) {
    struct error e = ERROR_INIT;
    _cleanup_free_ char *key = NULL, *csr = NULL, *cert = NULL;
    assert_int_equal(x509_make_request("pretender", &key, &csr, &e), 0);
    assert_int_equal(x509_sign_client(ca_key, ca_cert, csr, "server-1", 10, &cert, &e), 0);
    assert_true(verifies(cert, ca_cert, X509_PURPOSE_SSL_CLIENT));
    assert_false(verifies(cert, ca_cert, X509_PURPOSE_SSL_SERVER));
    X509 *c = parse(cert);
    char name[64];
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(c), NID_commonName, name, sizeof name) > 0);
    assert_string_equal(name, "server-1");
    assert_int_equal(X509_check_ca(c), 0);
    X509_free(c);
    /* Another authority does not vouch for it, and a client's certificate signs nothing. */
    _cleanup_free_ char *other_key = NULL, *other_cert = NULL, *none = NULL;
    assert_int_equal(x509_make_ca("Tarn test", 10, &other_key, &other_cert, &e), 0);
    assert_false(verifies(cert, other_cert, X509_PURPOSE_SSL_CLIENT));
    assert_true(x509_sign_client(other_key, ca_cert, csr, "x", 1, &none, &e) < 0);
    assert_true(x509_sign_client(key, cert, csr, "x", 1, &none, &e) < 0);
    assert_null(none);
    error_done(&e);
}

static char *make_csr(EVP_PKEY *key, EVP_PKEY *signer) {
    X509_REQ *req = X509_REQ_new();
    X509_REQ_set_pubkey(req, key);
    assert_true(X509_REQ_sign(req, signer, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, req);
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *pem = xstrndup(data, (size_t)len);
    BIO_free(bio);
    X509_REQ_free(req);
    return pem;
}

static int sign(const char *csr) {
    struct error e = ERROR_INIT;
    char *cert = NULL;
    int r = x509_sign_client(ca_key, ca_cert, csr, "server-1", 10, &cert, &e);
    assert_true((r == 0) == (cert != NULL));
    if (r < 0)
        assert_int_equal(e.code, ERR_INVALID);
    error_done(&e);
    free(cert);
    return r;
}

static void test_requests_are_checked(void **state) {
    EVP_PKEY *p256 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), *p384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    EVP_PKEY *p224 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-224"),
             *rsa1 = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    EVP_PKEY *rsa2 = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    struct {
        EVP_PKEY *key, *signer;
        bool good;
    } cases[] = {{p256, p256, true},  {p384, p384, true},  {rsa2, rsa2, true}, {p224, p224, false},
                 {rsa1, rsa1, false}, {p256, p384, false}, {rsa2, p256, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *csr = make_csr(cases[i].key, cases[i].signer);
        assert_int_equal(sign(csr) == 0, cases[i].good);
    }
    assert_true(sign("") < 0);
    assert_true(sign("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n") < 0);
    assert_true(sign(ca_cert) < 0);
    _cleanup_free_ char *huge = xmalloc(200000);
    memset(huge, 'A', 199999);
    huge[199999] = 0;
    assert_true(sign(huge) < 0);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(p224);
    EVP_PKEY_free(rsa1);
    EVP_PKEY_free(rsa2);
}

static void test_bad_names(void **state) {
    struct error e = ERROR_INIT;
    char *key = NULL, *cert = NULL;
    const char *const bad[] = {"", "a b", "DNS:evil", "a,b", "x\n", ".a", "a*b", "1::2::3", "localhost\xc3\xa4", NULL};
    for (size_t i = 0; bad[i]; i++) {
        const char *const names[] = {"localhost", bad[i], NULL};
        assert_true(x509_make_server(ca_key, ca_cert, names, 1, &key, &cert, &e) < 0);
        assert_int_equal(e.code, ERR_INVALID);
    }
    assert_true(x509_make_server(ca_key, ca_cert, (const char *const[]){NULL}, 1, &key, &cert, &e) < 0);
    char name[100];
    memset(name, 'a', 99);
    name[99] = 0;
    assert_true(x509_make_request(name, &key, &cert, &e) < 0);
    assert_true(x509_make_ca("", 1, &key, &cert, &e) < 0);
    assert_null(key);
    error_done(&e);
}

static void test_digests(void **state) {
    char h[65];
    sha256_hex("abc", 3, h);
    assert_string_equal(h, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char a[401], b[401];
    random_hex(200, a);
    random_hex(200, b);
    assert_int_equal(strlen(a), 400);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 400);
    random_hex(0, a);
    assert_string_equal(a, "");
    struct error e = ERROR_INIT;
    assert_true(x509_fingerprint("nonsense", h, &e) < 0);
    int64_t left;
    assert_true(x509_remaining(ca_key, &left, &e) < 0);
    error_done(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),    cmocka_unit_test(test_client),  cmocka_unit_test(test_requests_are_checked),
        cmocka_unit_test(test_bad_names), cmocka_unit_test(test_digests),
    };
    return cmocka_run_group_tests(tests, make_ca, free_ca);
}
