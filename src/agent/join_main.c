/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tarn-agent join: makes this server's key and has the manager certify it.
 *
 * The manager's authority is trusted because its certificate has the fingerprint that came with the token, out of band;
 * without one (and without --ca) nothing is sent. A first connection, which verifies nothing and carries nothing, only
 * fetches the chain; the second, which carries the token, is verified against the authority found in it.
 */
#include "agent/agent.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/units.h"
#include "os/file.h"
#include "os/x509.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX      65536
#define FINGERPRINT_LEN 64

struct join {
    const char *manager, *name, *ca_file;
    char *state, *token, *fingerprint;
    bool quiet, force;
};

/* What has become of the token when a join has failed. */
enum token { TOKEN_KEPT, TOKEN_SPENT, TOKEN_UNKNOWN };

static size_t on_body(char *data, size_t size, size_t n, void *ctx) {
    struct buf *b = ctx;
    if (b->len + size * n > ANSWER_MAX)
        return 0;
    buf_add(b, data, size * n);
    return size * n;
}

/* The manager's URL has been looked at; a port that it leaves out is the manager's own and not that of HTTPS. */
static char *request_url(const char *manager, const char *path) {
    _cleanup_free_ char *host = NULL;
    int port = 0;
    if (manager_url_parse(manager, &host, &port, NULL) < 0)
        return xasprintf("%s/api/v1%s", manager, path);
    bool is_ipv6 = strchr(host, ':') != NULL;
    return xasprintf("https://%s%s%s:%d/api/v1%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port, path);
}

static CURL *request(const char *manager, const char *path, struct buf *answer, char *problem) {
    CURL *c = curl_easy_init();
    _cleanup_free_ char *url = request_url(manager, path);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, problem);
    return c;
}

static int unreachable(const struct join *j, CURLcode r, const char *problem, struct error *e) {
    return error_set(e, ERR_UNAVAILABLE, "cannot reach the manager at %s: %s", j->manager,
                     *problem ? problem : curl_easy_strerror(r));
}

/* The certificate of the chain that has the fingerprint. */
static char *pick_certificate(CURL *c, const char *fingerprint) {
    struct curl_certinfo *info = NULL;
    if (curl_easy_getinfo(c, CURLINFO_CERTINFO, &info) != CURLE_OK || !info)
        return NULL;
    for (int i = 0; i < info->num_of_certs; i++) {
        for (const struct curl_slist *s = info->certinfo[i]; s; s = s->next) {
            static const char key[] = "Cert:";
            char has[FINGERPRINT_LEN + 1];
            if (strncmp(s->data, key, sizeof(key) - 1) == 0 &&
                x509_fingerprint(s->data + sizeof(key) - 1, has, NULL) == 0 && str_eq(has, fingerprint))
                return xstrdup(s->data + sizeof(key) - 1);
        }
    }
    return NULL;
}

static int fetch_ca(const struct join *j, char **ret, struct error *e) {
    char problem[CURL_ERROR_SIZE] = "";
    _cleanup_buf_ struct buf answer = {0};
    CURL *c = request(j->manager, "/about", &answer, problem);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(c, CURLOPT_CERTINFO, 1L);
    CURLcode r = curl_easy_perform(c);
    char *ca = pick_certificate(c, j->fingerprint);
    curl_easy_cleanup(c);
    if (ca) {
        *ret = ca;
        return 0;
    }
    if (r != CURLE_OK)
        return unreachable(j, r, problem, e);
    return error_set(
        e, ERR_UNAUTHENTICATED,
        "the manager at %s does not present an authority with the fingerprint %s: either the token is another "
        "manager's, or somebody stands in between",
        j->manager, j->fingerprint);
}

static int read_ca(const struct join *j, char **ret, struct error *e) {
    _cleanup_close_ int fd = open(j->ca_file, O_RDONLY | O_CLOEXEC);
    _cleanup_buf_ struct buf text = {0};
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0 && text.len < ANSWER_MAX) {
        buf_reserve(&text, 4096);
        n = read(fd, text.data + text.len, 4096);
        text.len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0)
        return error_set(e, ERR_INVALID, "cannot read %s: %s", j->ca_file, strerror(errno));
    buf_addc(&text, '\n');
    *ret = buf_take(&text);
    return 0;
}

/* ---- the join itself ---- */

static int64_t wall_ms(void) {
    struct timespec t;
    const char *wrong = str_eq(getenv("TARN_TEST"), "1") ? getenv("TARN_TEST_CLOCK") : NULL;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + (wrong ? strtoll(wrong, NULL, 10) * 1000 : 0);
}

static char *join_body(const struct join *j, const char *csr) {
    char now[TIME_TEXT_MAX];
    time_format(wall_ms(), now);
    struct api_join body = {
        .token = j->token, .csr = (char *)csr, .name = (char *)j->name, .version = (char *)TARN_VERSION, .time = now};
    _cleanup_json_ json_t *print = api_join_print(&body, API_PRIVATE);
    return json_text(print);
}

static int take_answer(const struct buf *answer, long status, enum token *token, struct api_joined *ret,
                       struct error *e) {
    _cleanup_json_ json_t *body = NULL;
    bool good = status >= 200 && status <= 299;
    *token = good ? TOKEN_SPENT : TOKEN_KEPT;
    int r = json_parse(answer->data ? answer->data : "", answer->len, &body, e);
    if (r < 0)
        return error_set(e, ERR_INTERNAL, "the manager's answer (HTTP status %ld) is not understood", status);
    if (!good) {
        const json_t *inner = json_object_get(body, "error");
        return error_parse(e, inner ? inner : body);
    }
    r = api_joined_parse(body, API_PEER, ret, e);
    if (r == 0 && (str_empty(ret->server) || str_empty(ret->certificate))) {
        api_joined_done(ret);
        r = error_set(e, ERR_INTERNAL, "the manager's answer has no certificate in it");
    }
    return r;
}

static int post(const struct join *j, const char *ca, const char *csr, enum token *token, struct api_joined *ret,
                struct error *e) {
    char problem[CURL_ERROR_SIZE] = "";
    _cleanup_buf_ struct buf answer = {0};
    _cleanup_free_ char *body = join_body(j, csr);
    struct curl_blob blob = {.data = (void *)ca, .len = strlen(ca), .flags = CURL_BLOB_COPY};
    struct curl_slist *headers =
        curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    CURL *c = request(j->manager, "/join", &answer, problem);
    curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    CURLcode r = curl_easy_perform(c);
    long status = 0, sent = 0;
    curl_easy_getinfo(c, CURLINFO_REQUEST_SIZE, &sent);
    *token = sent > 0 ? TOKEN_UNKNOWN : TOKEN_KEPT;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    if (r == CURLE_PEER_FAILED_VERIFICATION && (strstr(problem, "not yet valid") || strstr(problem, "expired"))) {
        char now[TIME_TEXT_MAX];
        return error_set(
            e, ERR_UNAUTHENTICATED,
            "the manager's certificate is not valid by this server's clock, which says %s (%s): is the clock "
            "right? timedatectl set-ntp true sets it",
            time_format(wall_ms(), now), problem);
    }
    if (r == CURLE_PEER_FAILED_VERIFICATION)
        return error_set(
            e, ERR_UNAUTHENTICATED,
            "the manager's certificate does not fit %s: %s. Use a name or address that the manager was started with",
            j->manager, problem);
    if (r != CURLE_OK)
        return unreachable(j, r, problem, e);
    return take_answer(&answer, status, token, ret, e);
}

static int check_absent(const struct join *j, struct error *e) {
    _cleanup_free_ char *path = xasprintf("%s/agent.json", j->state);
    if (j->force || access(path, F_OK) != 0)
        return 0;
    return error_set(e, ERR_EXISTS, "this server has joined already (%s); --force joins it again, with a new identity",
                     path);
}

/* The manager has made a server that nobody will be: who reads this must know before he tries again. */
static int failed_after(const struct join *j, enum token token, struct error *e) {
    _cleanup_free_ char *why = xstrdup(e->message);
    if (token == TOKEN_SPENT)
        return error_set(e, e->code,
                         "%s. The token is spent, and the manager has a server %s now: delete it (tarn server delete "
                         "%s) before its name can be used again, and join with a new token",
                         why, j->name, j->name);
    if (token == TOKEN_UNKNOWN)
        return error_set(e, e->code,
                         "%s. Whether the token is spent is not known: if tarn server list shows %s, delete it (tarn "
                         "server delete %s) before its name can be used again, and join with a new token",
                         why, j->name, j->name);
    return -error_errno(e->code);
}

static int join(struct join *j, struct error *e) {
    _cleanup_free_ char *ca = NULL, *key = NULL, *csr = NULL, *host = NULL;
    int port;
    int r = manager_url_parse(j->manager, &host, &port, e);
    if (r == 0)
        r = check_absent(j, e);
    const char *problem = name_problem(j->name);
    if (r == 0 && problem)
        r = error_set_field(e, ERR_INVALID, "name", "the name \"%s\" %s: give another with --name", j->name, problem);
    if (r == 0)
        r = j->ca_file ? read_ca(j, &ca, e) : fetch_ca(j, &ca, e);
    if (r == 0)
        r = x509_make_request(j->name, &key, &csr, e);
    /* All that can fail here comes before the token is used. */
    if (r == 0)
        r = identity_prepare(j->state, key, e);
    if (r < 0)
        return r;
    struct api_joined joined;
    enum token token = TOKEN_KEPT;
    r = post(j, ca, csr, &token, &joined, e);
    if (r == 0) {
        r = identity_save(j->state, j->manager, j->name, joined.server, joined.certificate, ca, e);
        api_joined_done(&joined);
    }
    if (r < 0) {
        identity_abandon(j->state);
        return failed_after(j, token, e);
    }
    if (!j->quiet)
        printf("Joined %s as server %s. Start the agent: tarn-agent --state-dir %s\n", j->manager, j->name, j->state);
    return 0;
}

/* ---- options ---- */

static char *default_state(void) {
    if (geteuid() == 0)
        return xstrdup("/var/lib/tarn/agent");
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    return !str_empty(state) ? xasprintf("%s/tarn/agent", state)
                             : xasprintf("%s/.local/state/tarn/agent", str_or(home, "/"));
}

static bool is_fingerprint(const char *s) {
    return strlen(s) == FINGERPRINT_LEN && strspn(s, "0123456789abcdef") == FINGERPRINT_LEN;
}

/* The token may carry the fingerprint behind a dot. */
static void split_token(struct join *j) {
    char *dot = strrchr(j->token, '.');
    if (!dot || !is_fingerprint(dot + 1))
        return;
    if (!j->fingerprint)
        j->fingerprint = xstrdup(dot + 1);
    *dot = '\0';
}

static int check_options(struct join *j, struct error *e) {
    if (!j->manager || str_empty(j->token))
        return error_set(e, ERR_INVALID,
                         "give --manager https://HOST:PORT, and the token in the environment variable TARN_JOIN_TOKEN "
                         "(or with --token-file or --token); tarn server token create prints the whole line");
    split_token(j);
    if (!j->fingerprint && !j->ca_file)
        return error_set(
            e, ERR_INVALID,
            "the token is not whole: it is SECRET.FINGERPRINT, as tarn server token create prints it. Of one without "
            "the fingerprint of the manager's authority give that with --ca-fingerprint, or the authority's "
            "certificate with --ca FILE");
    if (j->fingerprint && !is_fingerprint(j->fingerprint))
        return error_set(e, ERR_INVALID, "--ca-fingerprint takes 64 lower-case hex digits (SHA-256)");
    return 0;
}

static const char usage[] =
    "Usage: TARN_JOIN_TOKEN=TOKEN tarn-agent join --manager https://HOST[:PORT] [--name NAME] [--state-dir DIR]\n"
    "                       [--token-file FILE | --token TOKEN] [--ca-fingerprint SHA256 | --ca FILE]\n"
    "                       [--force]\n"
    "\n"
    "Makes this server known to a manager. TOKEN comes from: tarn server token create, which prints the whole line.\n"
    "It stands in the environment variable TARN_JOIN_TOKEN, in the FILE of --token-file, or after --token, where\n"
    "other users of this machine can see it. PORT is 8443 if it is left out, NAME this machine's host name.\n";

static char *read_token(const char *path) {
    char text[1024];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n < 0) {
        fprintf(stderr, "tarn-agent join: cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    text[n] = '\0';
    text[strcspn(text, " \r\n")] = '\0';
    return xstrdup(text);
}

static int parse(int argc, char **argv, struct join *j) {
    static const struct option longs[] = {
        {"manager", required_argument, NULL, 'm'},
        {"token", required_argument, NULL, 't'},
        {"name", required_argument, NULL, 'n'},
        {"state-dir", required_argument, NULL, 's'},
        {"ca", required_argument, NULL, 'c'},
        {"ca-fingerprint", required_argument, NULL, 'f'},
        {"quiet", no_argument, NULL, 'q'},
        {"force", no_argument, NULL, 'F'},
        {"token-file", required_argument, NULL, 'T'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        if (c == 'm')
            j->manager = optarg;
        else if (c == 't')
            str_set(&j->token, optarg);
        else if (c == 'T')
            str_take(&j->token, read_token(optarg));
        else if (c == 'n')
            j->name = optarg;
        else if (c == 's')
            str_set(&j->state, optarg);
        else if (c == 'c')
            j->ca_file = optarg;
        else if (c == 'f')
            str_set(&j->fingerprint, optarg);
        else if (c == 'q')
            j->quiet = true;
        else if (c == 'F')
            j->force = true;
        else {
            fputs(c == 'h' ? usage : "see tarn-agent join --help\n", c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    return optind < argc ? 2 : -1;
}

int main(int argc, char **argv) {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    struct join j = {.name = name, .token = xstrdup(getenv("TARN_JOIN_TOKEN"))};
    umask(077);
    int code = parse(argc, argv, &j);
    if (code < 0) {
        _cleanup_error_ struct error e = ERROR_INIT;
        if (!j.state)
            j.state = default_state();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        code = 0;
        if (check_options(&j, &e) < 0 || join(&j, &e) < 0) {
            fprintf(stderr, "tarn-agent join: %s\n", e.message);
            code = error_exit_code(e.code);
        }
        curl_global_cleanup();
    }
    free(j.state);
    free(j.token);
    free(j.fingerprint);
    return code;
}
