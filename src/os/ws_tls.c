/* SPDX-License-Identifier: Apache-2.0 */
#include "os/ws_tls.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>

/* A file as it was when it was read; renewed certificates are renamed into place. */
struct source {
    char *path; /* owned; NULL if there is none */
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct ws_identity {
    struct source ca, certificate, key;
    SSL_CTX *ssl;
};

/* RFC 6066: a server name is never an address. libwebsockets sets what it finds before the first colon of Host. */
static void on_info(const SSL *ssl, int where, int ret) {
    unsigned char address[4];
    const char *name = where & SSL_CB_HANDSHAKE_START ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;
    if (name && (name[0] == '[' || inet_pton(AF_INET, name, address) == 1))
        SSL_set_tlsext_host_name((SSL *)ssl, NULL);
}

struct ws_identity *ws_identity_new(const char *ca_path, const char *certificate_path, const char *key_path) {
    struct ws_identity *id = xcalloc(1, sizeof *id);
    id->ca.path = xstrdup(ca_path);
    id->certificate.path = xstrdup(certificate_path);
    id->key.path = xstrdup(key_path);
    id->ssl = SSL_CTX_new(TLS_client_method());
    if (!id->ssl)
        abort();
    SSL_CTX_set_min_proto_version(id->ssl, TLS1_2_VERSION);
    SSL_CTX_set_verify(id->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(id->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(id->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(id->ssl, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB for each idle connection */
    SSL_CTX_set_info_callback(id->ssl, on_info);
    return id;
}

void ws_identity_free(struct ws_identity *id) {
    if (!id)
        return;
    SSL_CTX_free(id->ssl);
    free(id->ca.path);
    free(id->certificate.path);
    free(id->key.path);
    free(id);
}

bool ws_identity_matches(const struct ws_identity *id, const char *ca_path, const char *certificate_path,
                         const char *key_path) {
    return str_eq(id->ca.path, ca_path) && str_eq(id->certificate.path, certificate_path) &&
           str_eq(id->key.path, key_path);
}

SSL_CTX *ws_identity_ssl(struct ws_identity *id) { return id->ssl; }

/* 1 if it is another file than the last time, 0 if not, negative errno. */
static int source_changed(struct source *s, char **ret_problem) {
    struct stat st;
    if (!s->path)
        return 0;
    if (stat(s->path, &st) < 0) {
        int err = errno;
        *ret_problem = xasprintf("%s cannot be read: %s", s->path, strerror(err));
        return -err;
    }
    if (s->dev == st.st_dev && s->ino == st.st_ino && s->size == st.st_size && s->changed.tv_sec == st.st_mtim.tv_sec &&
        s->changed.tv_nsec == st.st_mtim.tv_nsec)
        return 0;
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    s->size = st.st_size;
    s->changed = st.st_mtim;
    return 1;
}

static int refuse(struct source *s, const char *what, char **ret_problem) {
    ERR_clear_error();
    *ret_problem = xasprintf("%s holds no %s in PEM form, or may not be read", s->path, what);
    s->ino = 0; /* looked at again the next time */
    return -EINVAL;
}

static int load_ca(struct ws_identity *id, char **ret_problem) {
    X509_STORE *store = X509_STORE_new();
    if (!store || X509_STORE_load_file(store, id->ca.path) != 1) {
        X509_STORE_free(store);
        return refuse(&id->ca, "CA certificate", ret_problem);
    }
    SSL_CTX_set_cert_store(id->ssl, store); /* owns it */
    return 0;
}

int ws_identity_refresh(struct ws_identity *id, char **ret_problem) {
    int ca = source_changed(&id->ca, ret_problem);
    int certificate = ca < 0 ? ca : source_changed(&id->certificate, ret_problem);
    int key = certificate < 0 ? certificate : source_changed(&id->key, ret_problem);
    if (key < 0)
        return key;
    if (ca && load_ca(id, ret_problem) < 0)
        return -EINVAL;
    if (!id->ca.path && SSL_CTX_set_default_verify_paths(id->ssl) != 1) {
        ERR_clear_error();
        *ret_problem = xstrdup("the system's CA certificates cannot be read");
        return -EINVAL;
    }
    if (!certificate && !key)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(id->ssl, id->certificate.path) != 1)
        return refuse(&id->certificate, "certificate", ret_problem);
    if (SSL_CTX_use_PrivateKey_file(id->ssl, id->key.path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(id->ssl) != 1) {
        id->certificate.ino = 0;
        return refuse(&id->key, "key that belongs to the certificate", ret_problem);
    }
    return 0;
}

char *ws_certificate_problem(X509 *certificate, const char *host) {
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    int match = is_address ? X509_check_ip_asc(certificate, host, 0)
                           : X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL);
    return match == 1 ? NULL : xasprintf("its certificate is not for %s", host);
}
