/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/ca.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/log.h"
#include "os/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#define CA_DAYS     7300
#define SERVER_DAYS 397 /* what browsers accept */
#define CLIENT_DAYS CA_CLIENT_DAYS
#define RENEW_S     (30 * 86400)
#define PEM_MAX     65536

struct ca {
    int dir;
    char *ca_path, *chain_path, *key_path;
    char *key, *cert;              /* of the authority */
    char *server_key, *server_pem; /* of the manager; server_pem has the authority's behind it */
    char *names;                   /* one in a line */
    char fingerprint[65];
};

static void secret_free(char *s) {
    if (s)
        OPENSSL_cleanse(s, strlen(s));
    free(s);
}

void ca_free(struct ca *ca) {
    if (!ca)
        return;
    close_fd(&ca->dir);
    free(ca->ca_path);
    free(ca->chain_path);
    free(ca->key_path);
    secret_free(ca->key);
    secret_free(ca->server_key);
    free(ca->cert);
    free(ca->server_pem);
    free(ca->names);
    free(ca);
}

static int save(struct ca *ca, const char *name, const char *text, mode_t mode, struct error *e) {
    int r = write_file_at(ca->dir, name, text, strlen(text), mode);
    return r < 0 ? error_set(e, ERR_IO, "cannot write %s in the state directory: %s", name, strerror(-r)) : 0;
}

/* 1: read; 0: there is none. */
static int load(struct ca *ca, const char *name, char **ret, struct error *e) {
    size_t len;
    int r = read_file_at(ca->dir, name, PEM_MAX, ret, &len);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? error_set(e, ERR_IO, "cannot read %s in the state directory: %s", name, strerror(-r)) : 1;
}

static int authority_open(struct ca *ca, struct error *e) {
    int key = load(ca, "ca.key", &ca->key, e);
    int cert = key < 0 ? key : load(ca, "ca.pem", &ca->cert, e);
    if (cert < 0)
        return cert;
    if (key != cert)
        return error_set(e, ERR_IO,
                         "the state directory has only one of ca.key and ca.pem; restore the other from a backup "
                         "(without them no server's certificate is valid any more)");
    if (!key) {
        int r = x509_make_ca("Tarn", CA_DAYS, &ca->key, &ca->cert, e);
        if (r < 0 || (r = save(ca, "ca.key", ca->key, 0600, e)) < 0 || (r = save(ca, "ca.pem", ca->cert, 0644, e)) < 0)
            return r;
        log_info("made a certificate authority");
    }
    return x509_fingerprint(ca->cert, ca->fingerprint, e);
}

/* Whether the certificate in the state directory still serves. */
static bool server_is_good(struct ca *ca) {
    _cleanup_free_ char *key = NULL, *pem = NULL, *names = NULL;
    int64_t left;
    if (load(ca, "server.key", &key, NULL) != 1 || load(ca, "server.pem", &pem, NULL) != 1 ||
        load(ca, "server.names", &names, NULL) != 1)
        return false;
    if (x509_remaining(pem, &left, NULL) < 0 || left < RENEW_S || strcmp(names, ca->names) != 0 ||
        !strstr(pem, ca->cert))
        return false;
    secret_free(ca->server_key);
    free(ca->server_pem);
    ca->server_key = TAKE_PTR(key);
    ca->server_pem = TAKE_PTR(pem);
    return true;
}

int ca_renew(struct ca *ca, bool *ret_renewed, struct error *e) {
    *ret_renewed = false;
    if (server_is_good(ca))
        return 0;
    const char *list[64] = {0};
    size_t n = 0;
    _cleanup_free_ char *names = xstrdup(ca->names);
    char *save_ptr = NULL;
    for (char *s = strtok_r(names, "\n", &save_ptr); s && n < ARRAY_LEN(list) - 1; s = strtok_r(NULL, "\n", &save_ptr))
        list[n++] = s;
    _cleanup_free_ char *key = NULL, *cert = NULL;
    int r = x509_make_server(ca->key, ca->cert, list, SERVER_DAYS, &key, &cert, e);
    if (r < 0)
        return r;
    char *chain = xasprintf("%s%s", cert, ca->cert);
    secret_free(ca->server_key);
    free(ca->server_pem);
    ca->server_key = TAKE_PTR(key);
    ca->server_pem = chain;
    if ((r = save(ca, "server.key", ca->server_key, 0600, e)) < 0 || (r = save(ca, "server.pem", chain, 0644, e)) < 0 ||
        (r = save(ca, "server.names", ca->names, 0644, e)) < 0)
        return r;
    *ret_renewed = true;
    log_info("made a server certificate");
    return 0;
}

static void names_add(struct buf *b, const char *name) {
    _cleanup_free_ char *line = xasprintf("\n%s\n", name);
    _cleanup_free_ char *all = xasprintf("\n%s", b->data ? b->data : "");
    if (!str_empty(name) && !strstr(all, line))
        buf_addf(b, "%s\n", name);
}

int ca_open(const char *state_dir, const char *const *names, size_t n_names, struct ca **ret, struct error *e) {
    struct ca *ca = xcalloc(1, sizeof *ca);
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    ca->dir = open_dir(state_dir);
    if (ca->dir < 0) {
        int r = error_set(e, ERR_IO, "cannot open the state directory %s: %s", state_dir, strerror(-ca->dir));
        ca_free(ca);
        return r;
    }
    ca->ca_path = xasprintf("%s/ca.pem", state_dir);
    ca->chain_path = xasprintf("%s/server.pem", state_dir);
    ca->key_path = xasprintf("%s/server.key", state_dir);
    struct buf b = {0};
    names_add(&b, "localhost");
    names_add(&b, "127.0.0.1");
    names_add(&b, "::1");
    names_add(&b, host);
    for (size_t i = 0; i < n_names; i++)
        names_add(&b, names[i]);
    ca->names = buf_take(&b);
    bool renewed;
    int r = authority_open(ca, e);
    if (r == 0)
        r = ca_renew(ca, &renewed, e);
    if (r < 0) {
        ca_free(ca);
        return r;
    }
    *ret = ca;
    return 0;
}

const char *ca_certificate(const struct ca *ca) { return ca->cert; }
const char *ca_fingerprint(const struct ca *ca) { return ca->fingerprint; }
const char *ca_certificate_path(const struct ca *ca) { return ca->ca_path; }
const char *ca_server_chain(const struct ca *ca) { return ca->server_pem; }
const char *ca_server_key(const struct ca *ca) { return ca->server_key; }
const char *ca_server_chain_path(const struct ca *ca) { return ca->chain_path; }
const char *ca_server_key_path(const struct ca *ca) { return ca->key_path; }

int ca_sign(struct ca *ca, const char *csr_pem, const char *common_name, char **ret_cert_pem,
            char ret_fingerprint[static 65], struct error *e) {
    _cleanup_free_ char *cert = NULL;
    int r = x509_sign_client(ca->key, ca->cert, csr_pem, common_name, CLIENT_DAYS, &cert, e);
    if (r < 0 || (r = x509_fingerprint(cert, ret_fingerprint, e)) < 0)
        return r;
    *ret_cert_pem = TAKE_PTR(cert);
    return 0;
}
